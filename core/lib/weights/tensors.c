/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors of a checkpoint by name: canonical names through the plugin's map, shapes, and rows in the wanted format.
 */
#include "weights/adapter/delta.h"
#include "weights/convert.h"
#include "weights/gguf/quantised.h"
#include "weights/synthetic.h"
#include "weights/view.h"

#include "base/buffer.h"
#include "base/json.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct tensor {
    const core_tensor_entry *entry;
    bool transposed; /* the file holds the transpose of what the plugin asks for */
    bool minus_one;  /* it holds numbers that are larger by 1 */
    int64_t head;    /* it holds the rows of each head of this many interleaved: 0, n/2, 1, n/2+1, ...; 0 = in order */
} tensor;

bool core_name_match(const char *pattern, const char *name, const char **digits, size_t *length)
{
    *digits = NULL;
    *length = 0;
    while (*pattern) {
        if (*pattern != '*') {
            if (*pattern++ != *name++)
                return false;
            continue;
        }
        size_t here = strspn(name, "0123456789");
        if (!here || (*digits && (here != *length || strncmp(*digits, name, here))))
            return false;
        *digits = name;
        *length = here;
        name += here;
        pattern++;
    }
    return !*name;
}

void core_name_fill_in(core_buffer *buffer, const char *pattern, const char *digits, size_t length)
{
    for (; *pattern; pattern++) {
        if (*pattern == '*' && digits)
            core_buffer_append(buffer, digits, length);
        else
            core_buffer_append(buffer, pattern, 1);
    }
}

static int name_against(const void *key, const void *member)
{
    return strcmp(key, (*(const core_named *const *)member)->name);
}

static const core_tensor_entry *find_plain(const more_checkpoint *checkpoint, const char *name)
{
    core_named *const *found =
        bsearch(name, checkpoint->sorted, (size_t)checkpoint->count, sizeof(core_named *), name_against);
    return found ? (*found)->entry : NULL;
}

more_checkpoint *core_checkpoint_unmapped(more_checkpoint *checkpoint)
{
    while (checkpoint->map && checkpoint->parent)
        checkpoint = checkpoint->parent;
    return checkpoint;
}

/* Tries the rows of the map whose canonical name fits, in their order; lists the names tried. */
static more_status find_mapped(const more_checkpoint *checkpoint, const char *name, tensor *found,
                               more_transform *transform, core_buffer *tried, more_error *error)
{
    const char *path = checkpoint->source->path;
    core_buffer stored = {0};
    more_status status = MORE_OK;
    for (int32_t i = 0; i < checkpoint->map->count && !found->entry && status == MORE_OK; i++) {
        const more_tensor_name *row = &checkpoint->map->names[i];
        const char *digits;
        size_t length;
        const char *pattern = checkpoint->source->gguf ? row->gguf : row->huggingface;
        if (!pattern || !core_name_match(row->canonical, name, &digits, &length))
            continue;
        core_buffer_clear(&stored);
        core_name_fill_in(&stored, pattern, digits, length);
        core_buffer_format(tried, "%s'%s'", tried->size ? ", " : "", stored.data ? stored.data : "");
        if (stored.failed || tried->failed) {
            status = more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
        } else {
            found->entry = find_plain(checkpoint, stored.data ? stored.data : "");
            found->transposed = row->transform == MORE_TRANSFORM_TRANSPOSED;
            *transform = checkpoint->source->gguf ? row->transform : MORE_TRANSFORM_NONE;
        }
    }
    core_buffer_free(&stored);
    return status;
}

/* What a GGUF file's transform means for the tensor that was found. */
static more_status set_transform(const more_checkpoint *checkpoint, more_transform transform, tensor *found,
                                 more_error *error)
{
    const core_tensor_entry *entry = found->entry;
    found->minus_one = transform == MORE_TRANSFORM_MINUS_ONE;
    if (transform != MORE_TRANSFORM_PERMUTED_QUERY && transform != MORE_TRANSFORM_PERMUTED_KEY)
        return MORE_OK;
    json_t *heads = core_json_at(checkpoint->config, "num_attention_heads"), *keys = NULL;
    if (transform == MORE_TRANSFORM_PERMUTED_KEY)
        keys = core_json_at(checkpoint->config, "num_key_value_heads");
    json_int_t count = json_integer_value(keys ? keys : heads);
    if (entry->rank < 1 || count < 1 || entry->shape[0] % count || entry->shape[0] / count % 2)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: tensor '%s': %" PRId64 " rows are not an even number for each of %lld heads", entry->path,
                         entry->name, entry->rank ? entry->shape[0] : 1, (long long)count);
    found->head = entry->shape[0] / count;
    return MORE_OK;
}

static more_status find(const more_checkpoint *checkpoint, const char *name, tensor *found, more_error *error)
{
    const char *path = checkpoint->source->path;
    core_buffer tried = {0};
    more_transform transform = MORE_TRANSFORM_NONE;
    more_status status = MORE_OK;
    *found = (tensor){0};
    if (checkpoint->map)
        status = find_mapped(checkpoint, name, found, &transform, &tried, error);
    else
        found->entry = find_plain(checkpoint, name);
    if (status == MORE_OK && !found->entry)
        status =
            checkpoint->map && !tried.size
                ? more_fail(error, MORE_ERROR_NOT_FOUND, "%s: '%s' is not in the plugin's tensor map", path, name)
                : more_fail(error, MORE_ERROR_NOT_FOUND, "%s: tensor '%s' is missing%s%.600s%s", path, name,
                            tried.size ? " (looked for " : "", tried.size ? tried.data : "", tried.size ? ")" : "");
    if (status == MORE_OK && found->transposed && found->entry->rank != 2)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' has %d dimensions; a transposed one has 2",
                           found->entry->path, found->entry->name, found->entry->rank);
    core_buffer_free(&tried);
    return status == MORE_OK ? set_transform(checkpoint, transform, found, error) : status;
}

/* True when the stored bytes are what is asked for, in its order. */
static bool is_plain(const tensor *found)
{
    return !found->transposed && !found->minus_one && !found->head && !found->entry->delta;
}

more_status core_tensor_info(more_checkpoint *checkpoint, const char *name, more_weight_info *info, more_error *error)
{
    tensor found;
    if (!MORE_HAS(info, more_weight_info, bytes))
        return more_fail(error, MORE_ERROR_VERSION,
                         "weight info of '%s': struct_size %zu is too small, set it to "
                         "MORE_STRUCT_SIZE(more_weight_info, bytes)",
                         name, info->struct_size);
    more_status status = find(checkpoint, name, &found, error);
    if (status != MORE_OK)
        return status;
    const core_tensor_entry *entry = found.entry;
    info->name = entry->name;
    info->format = entry->format;
    info->rank = entry->rank;
    memcpy(info->shape, entry->shape, sizeof info->shape);
    info->data = is_plain(&found) ? entry->data : NULL;
    info->bytes = info->data ? entry->bytes : 0;
    if (found.transposed) {
        info->shape[0] = entry->shape[1];
        info->shape[1] = entry->shape[0];
    }
    return MORE_OK;
}

int64_t core_tensor_count(more_checkpoint *checkpoint)
{
    return checkpoint->count;
}

const char *core_tensor_name_at(more_checkpoint *checkpoint, int64_t index)
{
    return index >= 0 && index < checkpoint->count ? checkpoint->tensors[index].name : NULL;
}

/* The tensor as [rows, columns]. */
static void matrix_of(const tensor *found, int64_t *rows, int64_t *columns)
{
    const core_tensor_entry *entry = found->entry;
    *rows = entry->rank < 2 ? 1 : entry->shape[0];
    *columns = entry->elements ? 1 : 0; /* of an empty tensor the other dimensions need not even fit a product */
    for (int32_t i = entry->rank < 2 ? 0 : 1; i < entry->rank && *columns; i++)
        *columns *= entry->shape[i];
    if (found->transposed) {
        *rows = entry->shape[1];
        *columns = entry->shape[0];
    }
}

/* Converts elements first, first + stride, ... of the stored tensor; of a quantised one the stride is 1 and all are
 * whole rows. */
static bool fetch(const core_source *source, const core_tensor_entry *entry, int64_t first, int64_t stride,
                  int64_t count, DLDataType dtype, void *to)
{
    const core_gguf_format *quantised = core_quantised(entry->format);
    if (quantised)
        return core_quantised_read(quantised, entry->data, first, count, dtype, to);
    if (!entry->data)
        return core_synthetic_fill(entry, source->seed, first, stride, count, dtype, to);
    return core_convert(entry->format, entry->data + (size_t)first * core_format_width(entry->format), stride, count,
                        dtype, to);
}

/* Where element or row `row` of what is asked for lies among the interleaved ones. */
static int64_t interleaved(const tensor *found, int64_t row)
{
    int64_t half = found->head / 2, place = row % found->head;
    return row - place + place % half * 2 + place / half;
}

/* Rows of what is asked for: of the stored matrix, or its columns. */
static bool fetch_rows(const core_source *source, const tensor *found, int64_t first, int64_t count, int64_t height,
                       int64_t width, DLDataType dtype, void *rows)
{
    bool good = true;
    size_t row_bytes = (size_t)width * (size_t)(dtype.bits / 8);
    for (int64_t i = 0; i < count && found->head && good; i++)
        good = fetch(source, found->entry, interleaved(found, first + i) * width, 1, width, dtype,
                     (char *)rows + (size_t)i * row_bytes);
    if (found->head)
        return good;
    if (!found->transposed)
        return fetch(source, found->entry, first * width, 1, count * width, dtype, rows);
    for (int64_t i = 0; i < count && good; i++)
        good = fetch(source, found->entry, first + i, height, width, dtype, (char *)rows + (size_t)i * row_bytes);
    return good;
}

/* The same where the numbers themselves change: 1 is taken off each in f32, or one row's are interleaved. */
static more_status fetch_changed(const core_source *source, const tensor *found, int64_t first, int64_t count,
                                 int64_t height, int64_t width, DLDataType dtype, void *rows, more_error *error)
{
    const core_tensor_entry *entry = found->entry;
    bool one_row = found->head && entry->rank < 2;
    tensor stored = *found;
    stored.head = one_row ? 0 : found->head;
    float *values = malloc((size_t)width * 2 * sizeof *values), *changed = values ? values + width : NULL;
    bool good = values != NULL;
    for (int64_t i = 0; i < count && good; i++) {
        good = fetch_rows(source, &stored, first + i, 1, height, width, more_f32(), values);
        for (int64_t k = 0; k < width && good; k++)
            changed[k] = values[one_row ? interleaved(found, k) : k] - (found->minus_one ? 1 : 0);
        if (good)
            core_convert("f32", (const unsigned char *)changed, 1, width, dtype,
                         (char *)rows + (size_t)(i * width) * (size_t)(dtype.bits / 8));
    }
    free(values);
    return good ? MORE_OK
                : more_fail(error, MORE_ERROR_MEMORY, "%s: tensor '%s': out of memory to read it", entry->path,
                            entry->name);
}

/* The same with adapters on it: summed in f32, rounded once to the stored format, given in `dtype`. */
static more_status fetch_merged(const core_source *source, const tensor *found, int64_t first, int64_t count,
                                int64_t height, int64_t width, DLDataType dtype, void *rows, more_error *error)
{
    const core_tensor_entry *entry = found->entry;
    float *block = malloc((size_t)(CORE_DELTA_ROWS * width) * sizeof *block);
    bool good = block != NULL;
    for (int64_t done = 0; done < count && good; done += CORE_DELTA_ROWS) {
        int64_t some = count - done < CORE_DELTA_ROWS ? count - done : CORE_DELTA_ROWS;
        good = fetch_rows(source, found, first + done, some, height, width, more_f32(), block) &&
               core_delta_add(entry->delta, found->transposed, first + done, some, width, block);
        if (!good)
            break;
        core_delta_round(entry->format, some * width, block);
        core_convert("f32", (const unsigned char *)block, 1, some * width, dtype,
                     (char *)rows + (size_t)(done * width) * (size_t)(dtype.bits / 8));
    }
    free(block);
    return good ? MORE_OK
                : more_fail(error, MORE_ERROR_MEMORY, "%s: tensor '%s': out of memory to add its adapter", entry->path,
                            entry->name);
}

/* The tensor as a matrix that has rows [first, first + count). */
static more_status find_rows(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count, tensor *found,
                             int64_t *height, int64_t *width, more_error *error)
{
    more_status status = find(checkpoint, name, found, error);
    if (status != MORE_OK)
        return status;
    matrix_of(found, height, width);
    if (first >= 0 && count >= 0 && first <= *height && count <= *height - first)
        return MORE_OK;
    return more_fail(error, MORE_ERROR_ARGUMENT,
                     "%s: tensor '%s': %" PRId64 " rows from row %" PRId64 " on are asked for, it has %" PRId64,
                     found->entry->path, found->entry->name, count, first, *height);
}

more_status core_tensor_read_rows(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count,
                                  DLDataType dtype, void *rows, more_error *error)
{
    tensor found;
    int64_t height, width;
    more_status status = find_rows(checkpoint, name, first, count, &found, &height, &width, error);
    if (status != MORE_OK)
        return status;
    const core_tensor_entry *entry = found.entry;
    const core_gguf_format *quantised = core_quantised(entry->format);
    if (!quantised && !core_format_is_float(entry->format))
        return more_fail(
            error, MORE_ERROR_UNSUPPORTED,
            "%s: tensor '%s' is stored as %s; only f64, f32, f16, bf16 and quantised formats are converted",
            entry->path, entry->name, entry->format);
    if (quantised && found.transposed)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: tensor '%s' is stored as %s and transposed; its columns cannot be read", entry->path,
                         entry->name, entry->format);
    if (!more_dtype_equal(dtype, more_f32()) && !more_dtype_equal(dtype, more_f16()) &&
        !more_dtype_equal(dtype, more_bf16()))
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: tensor '%s': rows are given as f32, f16 or bf16 only",
                         entry->path, entry->name);
    if (!count || !entry->elements)
        return MORE_OK;
    if (entry->delta)
        return fetch_merged(checkpoint->source, &found, first, count, height, width, dtype, rows, error);
    if (found.minus_one || (found.head && entry->rank < 2))
        return fetch_changed(checkpoint->source, &found, first, count, height, width, dtype, rows, error);
    if (!fetch_rows(checkpoint->source, &found, first, count, height, width, dtype, rows))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: tensor '%s': holds numbers that an f16 cannot, of more than 65504", entry->path,
                         entry->name);
    return MORE_OK;
}

/* Why the stored bytes of whole rows are not what is asked for; NULL where they are. */
static const char *not_as_stored(const tensor *found, int64_t width)
{
    const core_gguf_format *quantised = core_quantised(found->entry->format);
    if (!found->entry->data)
        return "it is synthetic";
    if (found->entry->delta)
        return "an adapter is merged into it";
    if (found->transposed)
        return "it is stored transposed";
    if (found->minus_one)
        return "it is stored plus 1";
    if (found->head && found->entry->rank < 2)
        return "its numbers are interleaved";
    if (quantised && width % quantised->block)
        return "its rows are no whole blocks";
    return NULL;
}

/* Bytes of a stored row of `width` numbers; whole blocks where the format has them. */
static size_t stored_row_bytes(const core_tensor_entry *entry, int64_t width)
{
    const core_gguf_format *quantised = core_quantised(entry->format);
    if (quantised)
        return (size_t)(width / quantised->block) * quantised->bytes;
    return (size_t)width * core_format_width(entry->format);
}

more_status core_tensor_read_stored_rows(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count,
                                         void *rows, more_error *error)
{
    tensor found;
    int64_t height, width;
    more_status status = find_rows(checkpoint, name, first, count, &found, &height, &width, error);
    if (status != MORE_OK)
        return status;
    const core_tensor_entry *entry = found.entry;
    const char *reason = not_as_stored(&found, width);
    if (reason)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: tensor '%s': rows cannot be given as stored: %s",
                         entry->path, entry->name, reason);
    size_t bytes = stored_row_bytes(entry, width);
    if (!found.head && count && bytes)
        memcpy(rows, entry->data + (size_t)first * bytes, (size_t)count * bytes);
    for (int64_t i = 0; i < count && found.head && bytes; i++)
        memcpy((char *)rows + (size_t)i * bytes, entry->data + (size_t)interleaved(&found, first + i) * bytes, bytes);
    return MORE_OK;
}

void core_tensor_drop(more_checkpoint *checkpoint, const char *name)
{
    tensor found;
    if (find(checkpoint, name, &found, NULL) != MORE_OK || !found.entry->mapped)
        return;
    /* Only pages of its own: a neighbour may be in use. They come back from the file when touched. */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), data = (uintptr_t)found.entry->data;
    uintptr_t begin = (data + page - 1) / page * page, end = (data + found.entry->bytes) / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}
