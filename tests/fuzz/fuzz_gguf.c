/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a GGUF file: it is refused, or every array of its keys may be walked and every tensor read.
 */
#include "weights/convert.h"
#include "weights/gguf/gguf.h"
#include "weights/gguf/quantised.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every byte of an array, texts one by one. */
static unsigned walk(const core_gguf_array *array)
{
    unsigned sum = 0;
    const unsigned char *at = array->data;
    for (uint64_t i = 0; i < array->count && array->type == CORE_GGUF_STRING; i++) {
        size_t size;
        const char *text = core_gguf_next_text(&at, &size);
        for (size_t k = 0; k < size; k++)
            sum += (unsigned char)text[k];
    }
    return sum;
}

/* Every byte, and every number of those that are stored in blocks. */
static unsigned read_tensor(const core_tensor_entry *entry)
{
    unsigned sum = 0;
    float values[CORE_QUANTISED_BLOCK];
    const core_gguf_format *format = core_quantised(entry->format);
    for (size_t k = 0; k < entry->bytes; k++)
        sum += entry->data[k];
    for (int64_t i = 0; format && i < entry->elements; i += format->block)
        if (!core_quantised_read(format, entry->data, i, format->block, more_f32(), values))
            __builtin_trap();
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    core_gguf *file = NULL;
    more_error error;
    const char *key;
    json_t *value;
    if (core_gguf_parse(data, size, "fuzz", &file, &error) != MORE_OK)
        return 0;
    volatile unsigned sum = 0;
    json_object_foreach(core_gguf_metadata(file), key, value)
    {
        core_gguf_array array;
        if (core_gguf_find_array(file, key, &array))
            sum += walk(&array);
    }
    for (size_t i = 0; i < core_gguf_tensors(file)->count; i++) {
        const core_tensor_entry *entry = &core_gguf_tensors(file)->entries[i];
        if (core_tensor_table_find(core_gguf_tensors(file), entry->name) != entry)
            __builtin_trap();
        sum += read_tensor(entry);
    }
    core_gguf_close(file);
    (void)sum;
    return 0;
}
