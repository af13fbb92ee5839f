/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/gguf/gguf.h"

#include "base/file.h"
#include "weights/gguf/quantised.h"
#include "weights/gguf/values.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "GGUF"
#define MOST_KEYS 4096  /* a model has about fifty; bounds the memory that a made-up file takes */
#define KEY_LIMIT 65535 /* bytes; the format's own */
#define NAME_LIMIT 256  /* bytes; the format says 64, converters have gone beyond */
#define LEAST_PAIR 13   /* bytes: length, type, value of one */
#define LEAST_INFO 24   /* bytes: length, dimensions, type, offset */
#define MOST_DIMENSIONS 4

struct core_gguf {
    char *path;
    core_map map; /* empty when the caller keeps the bytes */
    json_t *metadata;
    json_t *keys; /* of every key the index in arrays, -1 for a value that is no array of scalars */
    core_gguf_array *arrays;
    size_t array_count;
    core_tensor_table tensors; /* in the order of their bytes */
};

static more_status no_memory(const char *path, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
}

bool core_gguf_is(const void *bytes, size_t size)
{
    return size >= 4 && !memcmp(bytes, MAGIC, 4);
}

/* ---- Key-values ------------------------------------------------------------------------------------------------- */

/* Notes the key, and its array where it is one. */
static more_status add_key(core_gguf *file, const char *key, const core_gguf_array *array, more_error *error)
{
    json_int_t index = -1;
    if (array->data) {
        core_gguf_array *grown = realloc(file->arrays, (file->array_count + 1) * sizeof *grown);
        if (!grown)
            return no_memory(file->path, error);
        file->arrays = grown;
        index = (json_int_t)file->array_count;
        grown[file->array_count++] = *array;
    }
    return json_object_set_new(file->keys, key, json_integer(index)) ? no_memory(file->path, error) : MORE_OK;
}

static more_status read_pair(core_gguf *file, core_gguf_cursor *cursor, more_error *error)
{
    char *key = NULL;
    json_t *json = NULL;
    core_gguf_array array = {0};
    more_status status = core_gguf_take_name(cursor, "a key", KEY_LIMIT, &key, error);
    if (status == MORE_OK && json_object_get(file->keys, key))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: key '%.200s' stands in the file twice", file->path, key);
    if (status == MORE_OK)
        status = core_gguf_take_value(cursor, key, &json, &array, error);
    if (status == MORE_OK)
        status = add_key(file, key, &array, error);
    if (status == MORE_OK && json && json_object_set(file->metadata, key, json))
        status = no_memory(file->path, error);
    json_decref(json);
    free(key);
    return status;
}

static more_status read_pairs(core_gguf *file, core_gguf_cursor *cursor, uint64_t count, more_error *error)
{
    more_status status = MORE_OK;
    file->metadata = json_object();
    file->keys = json_object();
    if (!file->metadata || !file->keys)
        return no_memory(file->path, error);
    for (uint64_t i = 0; i < count && status == MORE_OK; i++)
        status = read_pair(file, cursor, error);
    json_t *parts = json_object_get(file->metadata, "split.count");
    if (status == MORE_OK && json_integer_value(parts) > 1)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED,
                           "%s: one of %lld files of a split model: join them with gguf-split --merge", file->path,
                           (long long)json_integer_value(parts));
    return status;
}

static more_status find_alignment(const core_gguf *file, uint64_t *alignment, more_error *error)
{
    json_t *json = json_object_get(file->metadata, "general.alignment");
    json_int_t value = json ? json_integer_value(json) : CORE_GGUF_ALIGNMENT;
    if (value < 1 || value > 1 << 20 || (value & (value - 1)))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: key 'general.alignment': %lld is no power of two", file->path,
                         (long long)value);
    *alignment = (uint64_t)value;
    return MORE_OK;
}

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

static more_status bad(const core_gguf *file, const core_tensor_entry *entry, const char *reason, more_error *error)
{
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s': %s", file->path, entry->name, reason);
}

/* The file has the innermost dimension first. */
static more_status read_shape(const core_gguf *file, core_gguf_cursor *cursor, core_tensor_entry *entry,
                              more_error *error)
{
    uint64_t rank, sizes[MOST_DIMENSIONS];
    more_status status = core_gguf_take(cursor, 4, entry->name, &rank, error);
    if (status == MORE_OK && rank > MOST_DIMENSIONS)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s': %" PRIu64 " dimensions, at most %d are possible",
                         file->path, entry->name, rank, MOST_DIMENSIONS);
    for (uint64_t i = 0; status == MORE_OK && i < rank; i++)
        status = core_gguf_take(cursor, 8, entry->name, &sizes[i], error);
    if (status != MORE_OK)
        return status;
    entry->rank = (int32_t)rank;
    entry->elements = 1;
    for (int32_t i = 0; i < entry->rank; i++) {
        uint64_t size = sizes[entry->rank - 1 - i];
        if (size > INT64_MAX || __builtin_mul_overflow(entry->elements, (int64_t)size, &entry->elements))
            return bad(file, entry, "the product of its shape overflows", error);
        entry->shape[i] = (int64_t)size;
    }
    return MORE_OK;
}

/* Sets the format, and the bytes that the shape takes in it. */
static more_status read_format(const core_gguf *file, core_gguf_cursor *cursor, core_tensor_entry *entry,
                               more_error *error)
{
    uint64_t number;
    more_status status = core_gguf_take(cursor, 4, entry->name, &number, error);
    if (status != MORE_OK)
        return status;
    const core_gguf_format *format = core_gguf_format_numbered((uint32_t)number);
    if (!format)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: tensor '%s': number format %" PRIu64 " is not known here",
                         file->path, entry->name, number);
    if (!format->name)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: tensor '%s': is stored as %s; of quantised formats Q8_0, Q4_0, Q4_1, Q4_K, Q5_K and Q6_K "
                         "are read",
                         file->path, entry->name, format->title);
    int64_t inner = entry->rank ? entry->shape[entry->rank - 1] : 1, bytes;
    if (inner % format->block)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: tensor '%s': rows of %" PRId64 " numbers are no whole blocks of %s, which have %d",
                         file->path, entry->name, inner, format->title, (int)format->block);
    if (__builtin_mul_overflow(entry->elements / format->block, (int64_t)format->bytes, &bytes))
        return bad(file, entry, "the bytes of its shape overflow", error);
    entry->format = format->name;
    entry->bytes = (size_t)bytes;
    return MORE_OK;
}

/* `place` becomes the offset behind the header. */
static more_status read_info(const core_gguf *file, core_gguf_cursor *cursor, core_tensor_entry *entry, uint64_t *place,
                             more_error *error)
{
    entry->path = file->path;
    more_status status = core_gguf_take_name(cursor, "a tensor", NAME_LIMIT, &entry->name, error);
    if (status == MORE_OK)
        status = read_shape(file, cursor, entry, error);
    if (status == MORE_OK)
        status = read_format(file, cursor, entry, error);
    if (status == MORE_OK)
        status = core_gguf_take(cursor, 8, entry->name, place, error);
    return status;
}

/* Points the entries into the `size` bytes of data. */
static more_status place_entries(core_gguf *file, const unsigned char *data, uint64_t size, const uint64_t *places,
                                 uint64_t alignment, more_error *error)
{
    for (size_t i = 0; i < file->tensors.count; i++) {
        core_tensor_entry *entry = &file->tensors.entries[i];
        if (places[i] % alignment)
            return more_fail(error, MORE_ERROR_CORRUPT,
                             "%s: tensor '%s': offset %" PRIu64 " is no multiple of the alignment %" PRIu64, file->path,
                             entry->name, places[i], alignment);
        if (places[i] > size || entry->bytes > size - places[i])
            return more_fail(error, MORE_ERROR_CORRUPT,
                             "%s: tensor '%s': %zu bytes from offset %" PRIu64 " on do not lie in the %" PRIu64
                             " bytes of data: the file is truncated or lies",
                             file->path, entry->name, entry->bytes, places[i], size);
        entry->data = data + places[i];
        entry->mapped = file->map.data != NULL;
    }
    return MORE_OK;
}

/* Sorts; no tensor may share bytes or a name with another. Gaps are padding. */
static more_status check_entries(core_gguf *file, more_error *error)
{
    core_tensor_table *table = &file->tensors;
    core_tensor_table_order(table);
    const core_tensor_entry *twice = core_tensor_table_index(table);
    for (size_t i = 1; i < table->count; i++) {
        const core_tensor_entry *before = &table->entries[i - 1], *entry = &table->entries[i];
        if (entry->data < before->data + before->bytes)
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s': overlaps the bytes of '%s'", file->path,
                             entry->name, before->name);
    }
    return twice ? bad(file, twice, "stands in the file twice", error) : MORE_OK;
}

static more_status read_tensors(core_gguf *file, core_gguf_cursor *cursor, const unsigned char *bytes, uint64_t count,
                                more_error *error)
{
    uint64_t *places = calloc(count + 1, sizeof *places), alignment = CORE_GGUF_ALIGNMENT;
    core_tensor_table *table = &file->tensors;
    more_status status = core_tensor_table_create(table, count) && places ? MORE_OK : no_memory(file->path, error);
    for (uint64_t i = 0; i < count && status == MORE_OK; i++)
        status = read_info(file, cursor, &table->entries[table->count++], &places[i], error);
    if (status == MORE_OK)
        status = find_alignment(file, &alignment, error);
    if (status == MORE_OK) {
        uint64_t size = (uint64_t)(cursor->end - bytes), start = (uint64_t)(cursor->at - bytes);
        start = (start + alignment - 1) / alignment * alignment;
        if (start > size) /* a file without tensors may end before the padding */
            start = size;
        status = place_entries(file, bytes + start, size - start, places, alignment, error);
    }
    free(places);
    return status == MORE_OK ? check_entries(file, error) : status;
}

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

static more_status check_version(const core_gguf *file, uint64_t version, more_error *error)
{
    if (version == 2 || version == 3)
        return MORE_OK;
    bool swapped = version && !(version & 0xFFFF);
    return more_fail(error, MORE_ERROR_UNSUPPORTED,
                     "%s: GGUF version %" PRIu64 "%s; versions 2 and 3, little-endian, "
                     "are read",
                     file->path, swapped ? version >> 24 : version, swapped ? ", big-endian" : "");
}

static more_status read_file(core_gguf *file, const unsigned char *bytes, size_t size, more_error *error)
{
    uint64_t version, tensors, pairs;
    core_gguf_cursor cursor = {bytes, bytes + size, file->path};
    if (!core_gguf_is(bytes, size))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: does not begin with GGUF", file->path);
    cursor.at += strlen(MAGIC);
    more_status status = core_gguf_take(&cursor, 4, "the header", &version, error);
    if (status == MORE_OK)
        status = check_version(file, version, error);
    if (status == MORE_OK)
        status = core_gguf_take(&cursor, 8, "the header", &tensors, error);
    if (status == MORE_OK)
        status = core_gguf_take(&cursor, 8, "the header", &pairs, error);
    if (status != MORE_OK)
        return status;
    uint64_t rest = (uint64_t)(cursor.end - cursor.at);
    if (pairs > MOST_KEYS)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: %" PRIu64 " keys, at most %d are taken", file->path, pairs,
                         MOST_KEYS);
    if (pairs > rest / LEAST_PAIR || tensors > rest / LEAST_INFO)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: %" PRIu64 " keys and %" PRIu64
                         " tensors do not fit its %zu bytes: it is truncated or lies",
                         file->path, pairs, tensors, size);
    status = read_pairs(file, &cursor, pairs, error);
    return status == MORE_OK ? read_tensors(file, &cursor, bytes, tensors, error) : status;
}

static more_status open_bytes(const char *path, const void *bytes, size_t size, core_gguf **result, more_error *error)
{
    core_gguf *file = calloc(1, sizeof *file);
    more_status status = MORE_OK;
    *result = NULL;
    if (file)
        file->path = strdup(path);
    if (!file || !file->path)
        status = no_memory(path, error);
    if (status == MORE_OK && !bytes) {
        status = core_map_open(path, &file->map, error);
        bytes = file->map.data;
        size = file->map.size;
    }
    if (status == MORE_OK)
        status = read_file(file, bytes, size, error);
    if (status == MORE_OK)
        *result = file;
    else
        core_gguf_close(file);
    return status;
}

more_status core_gguf_parse(const void *bytes, size_t size, const char *path, core_gguf **file, more_error *error)
{
    return open_bytes(path, size ? bytes : "", size, file, error);
}

more_status core_gguf_open(const char *path, core_gguf **file, more_error *error)
{
    return open_bytes(path, NULL, 0, file, error);
}

void core_gguf_close(core_gguf *file)
{
    if (!file)
        return;
    core_tensor_table_free(&file->tensors);
    free(file->arrays);
    json_decref(file->metadata);
    json_decref(file->keys);
    core_map_close(&file->map);
    free(file->path);
    free(file);
}

/* ---- What is in it ---------------------------------------------------------------------------------------------- */

const core_tensor_table *core_gguf_tensors(const core_gguf *file)
{
    return &file->tensors;
}

json_t *core_gguf_metadata(const core_gguf *file)
{
    return file->metadata;
}

bool core_gguf_find_array(const core_gguf *file, const char *key, core_gguf_array *array)
{
    json_t *index = json_object_get(file->keys, key);
    if (!index || json_integer_value(index) < 0)
        return false;
    *array = file->arrays[json_integer_value(index)];
    return true;
}
