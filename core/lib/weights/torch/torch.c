/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/torch/torch.h"

#include "base/buffer.h"
#include "base/file.h"
#include "weights/convert.h"
#include "weights/torch/pickle.h"
#include "weights/torch/zip.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PICKLE "/data.pkl"

struct core_torch {
    char *path;
    core_map map; /* empty when the caller keeps the bytes */
    core_zip zip;
    const char *prefix; /* of all names in the archive, up to the '/'; lies in the archive */
    size_t prefix_length;
    core_tensor_table tensors; /* in the state dict's order */
};

static more_status no_memory(const char *path, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
}

/* ---- The archive ------------------------------------------------------------------------------------------------ */

/* The entry PREFIX/NAME; NULL when there is none. */
static const core_zip_entry *find_entry(const core_torch *file, const char *name, size_t length)
{
    core_buffer whole = {0};
    core_buffer_append(&whole, file->prefix, file->prefix_length);
    core_buffer_append(&whole, "/", 1);
    core_buffer_append(&whole, name, length);
    const core_zip_entry *entry = whole.failed ? NULL : core_zip_find(&file->zip, whole.data, whole.size);
    core_buffer_free(&whole);
    return entry;
}

static bool ends_with(const core_zip_entry *entry, const char *ending)
{
    size_t length = strlen(ending);
    return entry->length >= length && !memcmp(entry->name + entry->length - length, ending, length);
}

/* The pickle, which also tells the prefix. */
static more_status find_pickle(core_torch *file, const core_zip_entry **pickle, more_error *error)
{
    *pickle = NULL;
    for (size_t i = 0; i < file->zip.count && !*pickle; i++)
        if (ends_with(&file->zip.entries[i], PICKLE))
            *pickle = &file->zip.entries[i];
    if (!*pickle)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: a zip archive without data.pkl: it was not written by torch.save", file->path);
    file->prefix = (*pickle)->name;
    file->prefix_length = (*pickle)->length - strlen(PICKLE);
    if (find_entry(file, "constants.pkl", 13))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: a TorchScript program; only state dicts of torch.save are read", file->path);
    if (!(*pickle)->stored)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: its data.pkl is compressed; torch.save stores it",
                         file->path);
    return MORE_OK;
}

/* Files from before the record existed are little-endian. */
static more_status check_byte_order(const core_torch *file, more_error *error)
{
    const core_zip_entry *order = find_entry(file, "byteorder", 9);
    if (!order || (order->stored && order->size == 6 && !memcmp(order->data, "little", 6)))
        return MORE_OK;
    return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: byteorder is '%.*s'; only little-endian files are read",
                     file->path, order->stored && order->size < 16 ? (int)order->size : 0,
                     order->stored ? (const char *)order->data : "");
}

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

/* True when the elements lie in the shape's order without gaps. */
static bool is_contiguous(const core_pickle_tensor *tensor)
{
    int64_t expected = 1;
    for (int32_t i = tensor->rank - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->strides[i] != expected)
            return false;
        expected *= tensor->shape[i]; /* read_shape has checked the product */
    }
    return true;
}

static more_status read_shape(const core_torch *file, const core_pickle_tensor *tensor, core_tensor_entry *entry,
                              more_error *error)
{
    entry->rank = tensor->rank;
    entry->elements = 1;
    for (int32_t i = 0; i < tensor->rank; i++) {
        entry->shape[i] = tensor->shape[i];
        if (__builtin_mul_overflow(entry->elements, tensor->shape[i], &entry->elements))
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s': the product of its shape overflows",
                             file->path, entry->name);
    }
    if (entry->elements && !is_contiguous(tensor))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: tensor '%s': its strides are those of a transposed or cut view; save "
                         "tensor.contiguous()",
                         file->path, entry->name);
    return MORE_OK;
}

/* Finds the storage in the archive and the tensor in the storage. */
static more_status find_bytes(const core_torch *file, const core_pickle_tensor *tensor, core_tensor_entry *entry,
                              more_error *error)
{
    core_buffer name = {0};
    core_buffer_text(&name, "data/");
    core_buffer_append(&name, tensor->key, tensor->key_length);
    const core_zip_entry *storage = name.failed ? NULL : find_entry(file, name.data, name.size);
    core_buffer_free(&name);
    int64_t width = (int64_t)core_format_width(entry->format), bytes;
    if (!storage || !storage->stored)
        return more_fail(error, storage ? MORE_ERROR_UNSUPPORTED : MORE_ERROR_CORRUPT,
                         "%s: tensor '%s': its storage data/%.*s is %s", file->path, entry->name,
                         (int)(tensor->key_length < 100 ? tensor->key_length : 100), tensor->key,
                         storage ? "compressed; torch.save stores it" : "not in the archive");
    if (__builtin_mul_overflow(tensor->storage_elements, width, &bytes) || (uint64_t)bytes > storage->size)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: tensor '%s': a storage of %" PRId64 " elements of %s does not fit the %zu bytes of "
                         "data/%.*s",
                         file->path, entry->name, tensor->storage_elements, entry->format, storage->size,
                         (int)(tensor->key_length < 100 ? tensor->key_length : 100), tensor->key);
    if (tensor->offset > tensor->storage_elements || entry->elements > tensor->storage_elements - tensor->offset)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: tensor '%s': %" PRId64 " elements from element %" PRId64 " on do not lie in its storage "
                         "of %" PRId64,
                         file->path, entry->name, entry->elements, tensor->offset, tensor->storage_elements);
    entry->data = storage->data + tensor->offset * width;
    entry->bytes = (size_t)(entry->elements * width);
    entry->mapped = file->map.data != NULL;
    return MORE_OK;
}

static more_status read_entry(const core_torch *file, const core_pickle_tensor *tensor, core_tensor_entry *entry,
                              more_error *error)
{
    entry->path = file->path;
    entry->format = tensor->format;
    entry->name = strndup(tensor->name, tensor->name_length);
    if (!entry->name)
        return no_memory(file->path, error);
    more_status status = read_shape(file, tensor, entry, error);
    return status == MORE_OK ? find_bytes(file, tensor, entry, error) : status;
}

static more_status read_entries(core_torch *file, const core_pickle_tensor *tensors, size_t count, more_error *error)
{
    core_tensor_table *table = &file->tensors;
    more_status status = core_tensor_table_create(table, count) ? MORE_OK : no_memory(file->path, error);
    for (size_t i = 0; i < count && status == MORE_OK; i++)
        status = read_entry(file, &tensors[i], &table->entries[table->count++], error);
    if (status != MORE_OK)
        return status;
    const core_tensor_entry *twice = core_tensor_table_index(table);
    if (twice)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' is in its state dict twice", file->path,
                         twice->name);
    return MORE_OK;
}

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

static more_status read_all(core_torch *file, const void *bytes, size_t size, more_error *error)
{
    const core_zip_entry *pickle = NULL;
    core_pickle_tensor *tensors = NULL;
    size_t count = 0;
    more_status status = core_zip_read(bytes, size, file->path, &file->zip, error);
    if (status == MORE_OK)
        status = find_pickle(file, &pickle, error);
    if (status == MORE_OK)
        status = check_byte_order(file, error);
    if (status == MORE_OK)
        status = core_pickle_read(pickle->data, pickle->size, file->path, &tensors, &count, error);
    if (status == MORE_OK)
        status = read_entries(file, tensors, count, error);
    free(tensors);
    return status;
}

static more_status open_bytes(const char *path, const void *bytes, size_t size, core_torch **result, more_error *error)
{
    core_torch *file = calloc(1, sizeof *file);
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
        status = read_all(file, bytes, size, error);
    if (status == MORE_OK)
        *result = file;
    else
        core_torch_close(file);
    return status;
}

more_status core_torch_parse(const void *bytes, size_t size, const char *path, core_torch **file, more_error *error)
{
    return open_bytes(path, size ? bytes : "", size, file, error);
}

more_status core_torch_open(const char *path, core_torch **file, more_error *error)
{
    return open_bytes(path, NULL, 0, file, error);
}

void core_torch_close(core_torch *file)
{
    if (!file)
        return;
    core_tensor_table_free(&file->tensors);
    core_zip_free(&file->zip);
    core_map_close(&file->map);
    free(file->path);
    free(file);
}

const core_tensor_table *core_torch_tensors(const core_torch *file)
{
    return &file->tensors;
}
