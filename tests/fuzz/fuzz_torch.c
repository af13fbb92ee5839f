/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a file of torch.save: an archive first, and what it holds as the bare pickle of an archive of one
 * storage. Both are refused, or every byte of every tensor may be read.
 */
#include "weights/torch/pickle.h"
#include "weights/torch/torch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_archive(const uint8_t *data, size_t size)
{
    core_torch *file = NULL;
    more_error error;
    volatile unsigned sum = 0;
    if (core_torch_parse(data, size, "fuzz", &file, &error) != MORE_OK)
        return;
    for (size_t i = 0; i < core_torch_tensors(file)->count; i++) {
        const core_tensor_entry *entry = &core_torch_tensors(file)->entries[i];
        if (core_tensor_table_find(core_torch_tensors(file), entry->name) != entry)
            __builtin_trap();
        for (size_t k = 0; k < entry->bytes; k++)
            sum += entry->data[k];
    }
    core_torch_close(file);
    (void)sum;
}

static void read_pickle(const uint8_t *data, size_t size)
{
    core_pickle_tensor *tensors = NULL;
    size_t count = 0;
    more_error error;
    volatile unsigned sum = 0;
    if (core_pickle_read(data, size, "fuzz", &tensors, &count, &error) != MORE_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < tensors[i].name_length; k++)
            sum += (unsigned char)tensors[i].name[k];
        for (size_t k = 0; k < tensors[i].key_length; k++)
            sum += (unsigned char)tensors[i].key[k];
        if (tensors[i].rank < 0 || tensors[i].rank > MORE_MAX_RANK || tensors[i].offset < 0)
            __builtin_trap();
    }
    free(tensors);
    (void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_archive(data, size);
    read_pickle(data, size);
    return 0;
}
