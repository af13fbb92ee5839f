/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/safetensors.h"

#include "base/file.h"
#include "weights/convert.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct core_safetensors {
    char *path;
    core_map map;              /* empty when the caller keeps the bytes */
    const unsigned char *data; /* first byte behind the header */
    uint64_t data_size;
    json_t *header;
    core_tensor_table tensors; /* in the order of their bytes */
};

static const struct {
    const char *dtype, *format;
} formats[] = {{"F64", "f64"}, {"F32", "f32"}, {"F16", "f16"},   {"BF16", "bf16"},       {"I64", "i64"},
               {"I32", "i32"}, {"I16", "i16"}, {"I8", "i8"},     {"U64", "u64"},         {"U32", "u32"},
               {"U16", "u16"}, {"U8", "u8"},   {"BOOL", "bool"}, {"F8_E4M3", "f8_e4m3"}, {"F8_E5M2", "f8_e5m2"}};

static more_status bad(const core_safetensors *file, const char *name, const char *reason, more_error *error)
{
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s': %s", file->path, name, reason);
}

static more_status read_dtype(const core_safetensors *file, json_t *json, core_tensor_entry *entry, more_error *error)
{
    const char *dtype = json_string_value(json_object_get(json, "dtype"));
    if (!dtype)
        return bad(file, entry->name, "dtype is missing or not a string", error);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(dtype, formats[i].dtype))
            entry->format = formats[i].format;
    if (!entry->format)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: tensor '%s': dtype '%.40s' is not known here", file->path,
                         entry->name, dtype);
    return MORE_OK;
}

static more_status read_shape(const core_safetensors *file, json_t *json, core_tensor_entry *entry, more_error *error)
{
    json_t *shape = json_object_get(json, "shape");
    if (!json_is_array(shape))
        return bad(file, entry->name, "shape is missing or not an array", error);
    if (json_array_size(shape) > MORE_MAX_RANK)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s': %zu dimensions, at most %d are taken", file->path,
                         entry->name, json_array_size(shape), MORE_MAX_RANK);
    entry->rank = (int32_t)json_array_size(shape);
    entry->elements = 1;
    for (int32_t i = 0; i < entry->rank; i++) {
        json_t *item = json_array_get(shape, (size_t)i);
        if (!json_is_integer(item) || json_integer_value(item) < 0)
            return bad(file, entry->name, "a dimension of its shape is not a whole number of 0 or more", error);
        entry->shape[i] = json_integer_value(item);
        if (__builtin_mul_overflow(entry->elements, entry->shape[i], &entry->elements))
            return bad(file, entry->name, "the product of its shape overflows", error);
    }
    return MORE_OK;
}

static more_status read_offsets(const core_safetensors *file, json_t *json, core_tensor_entry *entry, more_error *error)
{
    json_t *offsets = json_object_get(json, "data_offsets");
    json_t *first = json_array_get(offsets, 0), *second = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second))
        return bad(file, entry->name, "data_offsets is missing or not two whole numbers", error);
    int64_t begin = json_integer_value(first), end = json_integer_value(second), bytes;
    if (begin < 0 || begin > end || (uint64_t)end > file->data_size)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: tensor '%s': data_offsets [%" PRId64 ", %" PRId64 "] do not lie in the %" PRIu64
                         " bytes of data: the file is truncated or lies",
                         file->path, entry->name, begin, end, file->data_size);
    if (__builtin_mul_overflow(entry->elements, (int64_t)core_format_width(entry->format), &bytes) ||
        bytes != end - begin)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: tensor '%s': %" PRId64 " elements of %s do not fill the %" PRId64
                         " bytes of its data_offsets",
                         file->path, entry->name, entry->elements, entry->format, end - begin);
    entry->data = file->data + begin;
    entry->bytes = (size_t)bytes;
    entry->mapped = file->map.data != NULL;
    return MORE_OK;
}

static more_status read_entry(const core_safetensors *file, const char *name, json_t *json, core_tensor_entry *entry,
                              more_error *error)
{
    entry->path = file->path;
    entry->name = strdup(name);
    if (!entry->name)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", file->path);
    if (!json_is_object(json))
        return bad(file, name, "its header entry is not an object", error);
    more_status status = read_dtype(file, json, entry, error);
    if (status == MORE_OK)
        status = read_shape(file, json, entry, error);
    if (status == MORE_OK)
        status = read_offsets(file, json, entry, error);
    return status;
}

/* The format wants the tensors to tile the data: no overlap, no hole, nothing behind the last. */
static more_status check_tiling(const core_safetensors *file, more_error *error)
{
    const unsigned char *next = file->data;
    for (size_t i = 0; i < file->tensors.count; i++) {
        const core_tensor_entry *entry = &file->tensors.entries[i];
        if (entry->data < next)
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s': overlaps the bytes of '%s'", file->path,
                             entry->name, entry[-1].name);
        if (entry->data > next)
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s': a hole of %td bytes lies before it",
                             file->path, entry->name, entry->data - next);
        next = entry->data + entry->bytes;
    }
    uint64_t used = (uint64_t)(next - file->data);
    if (used != file->data_size)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: %" PRIu64 " bytes lie behind the last tensor, which the header does not account for",
                         file->path, file->data_size - used);
    return MORE_OK;
}

static more_status read_entries(core_safetensors *file, more_error *error)
{
    const char *name;
    json_t *json;
    size_t size = json_object_size(file->header);
    core_tensor_table *table = &file->tensors;
    if (!core_tensor_table_create(table, size))
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory for %zu tensors", file->path, size);
    json_object_foreach(file->header, name, json)
    {
        if (!strcmp(name, "__metadata__"))
            continue;
        more_status status = read_entry(file, name, json, &table->entries[table->count++], error);
        if (status != MORE_OK)
            return status;
    }
    core_tensor_table_order(table);
    core_tensor_table_index(table); /* JSON objects with a key twice were refused */
    return check_tiling(file, error);
}

static more_status read_metadata(const core_safetensors *file, more_error *error)
{
    json_t *metadata = json_object_get(file->header, "__metadata__"), *value;
    const char *key;
    if (metadata && !json_is_object(metadata))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: __metadata__ is not an object", file->path);
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: __metadata__ '%s' is not a string", file->path, key);
    }
    return MORE_OK;
}

static more_status read_header(core_safetensors *file, const unsigned char *bytes, size_t size, more_error *error)
{
    json_error_t reason;
    uint64_t length = 0;
    if (size < 8)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: %zu bytes are too few for a safetensors file", file->path,
                         size);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > CORE_SAFETENSORS_HEADER_LIMIT)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: header length %" PRIu64 " is over the limit of %" PRIu64 ": not a safetensors file",
                         file->path, length, CORE_SAFETENSORS_HEADER_LIMIT);
    if (length > size - 8)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: header length %" PRIu64 " is more than the %zu bytes behind it: the file is truncated",
                         file->path, length, size - 8);
    if (length < 2 || bytes[8] != '{')
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: the header does not begin with '{'", file->path);
    file->data = bytes + 8 + length;
    file->data_size = size - 8 - length;
    file->header = json_loadb((const char *)bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &reason);
    if (!file->header)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: header byte %d: %s", file->path, reason.position, reason.text);
    more_status status = read_metadata(file, error);
    return status == MORE_OK ? read_entries(file, error) : status;
}

static more_status create(const char *path, core_safetensors **file, more_error *error)
{
    *file = calloc(1, sizeof **file);
    if (*file)
        (*file)->path = strdup(path);
    if (*file && (*file)->path)
        return MORE_OK;
    free(*file);
    *file = NULL;
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
}

more_status core_safetensors_parse(const void *bytes, size_t size, const char *path, core_safetensors **file,
                                   more_error *error)
{
    more_status status = create(path, file, error);
    if (status == MORE_OK)
        status = read_header(*file, bytes, size, error);
    if (status != MORE_OK) {
        core_safetensors_close(*file);
        *file = NULL;
    }
    return status;
}

more_status core_safetensors_open(const char *path, core_safetensors **file, more_error *error)
{
    more_status status = create(path, file, error);
    if (status == MORE_OK)
        status = core_map_open(path, &(*file)->map, error);
    if (status == MORE_OK)
        status = read_header(*file, (*file)->map.data, (*file)->map.size, error);
    if (status != MORE_OK) {
        core_safetensors_close(*file);
        *file = NULL;
    }
    return status;
}

void core_safetensors_close(core_safetensors *file)
{
    if (!file)
        return;
    core_tensor_table_free(&file->tensors);
    json_decref(file->header);
    core_map_close(&file->map);
    free(file->path);
    free(file);
}

const core_tensor_table *core_safetensors_tensors(const core_safetensors *file)
{
    return &file->tensors;
}

const char *core_safetensors_metadata(const core_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}
