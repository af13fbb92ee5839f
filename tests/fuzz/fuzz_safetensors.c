/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a safetensors file: it is refused, or every byte of every tensor may be read.
 */
#include "weights/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    core_safetensors *file = NULL;
    more_error error;
    if (core_safetensors_parse(data, size, "fuzz", &file, &error) != MORE_OK)
        return 0;
    volatile unsigned sum = 0;
    for (size_t i = 0; i < core_safetensors_tensors(file)->count; i++) {
        const core_tensor_entry *entry = &core_safetensors_tensors(file)->entries[i];
        if (core_tensor_table_find(core_safetensors_tensors(file), entry->name) != entry)
            __builtin_trap();
        for (size_t k = 0; k < entry->bytes; k++)
            sum += entry->data[k];
    }
    core_safetensors_close(file);
    (void)sum;
    return 0;
}
