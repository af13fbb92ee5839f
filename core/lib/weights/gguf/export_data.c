/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers of an export: read, turned and put into the file's format by pieces of rows, so that memory stays
 * bounded.
 */
#include "weights/gguf/export_plan.h"

#include "weights/checkpoint.h"
#include "weights/convert.h"
#include "weights/view.h"
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PIECE ((int64_t)4 << 20) /* numbers read at a time, of more than one row */
#define ROWS 16                  /* of a worker at least */
#define LARGEST_F16 65504.0f
#define LARGEST_BF16 3.38953139e38f

/* One piece of a tensor, shared by the workers that fill it. */
typedef struct piece {
    const core_export *export;
    const core_export_tensor *tensor;
    int64_t first, width;  /* its first row, in the file; numbers of a row */
    float *values;         /* [rows, width] */
    unsigned char *stored; /* [rows, width] in the file's format */
    _Atomic(int32_t) status;
    more_error error;   /* of the first failure */
    atomic_flag failed; /* who sets it writes error */
} piece;

static void fail(piece *p, more_status status, const more_error *error)
{
    if (atomic_flag_test_and_set(&p->failed))
        return;
    p->error = *error;
    atomic_store(&p->status, status);
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

/* Which row of the plugin's order stands at `row` of the file: 0, n/2, 1, n/2 + 1, ... of each head. */
static int64_t interleaved(const core_export_tensor *tensor, int64_t row)
{
    int64_t place = row % tensor->head;
    return row - place + place / 2 + place % 2 * (tensor->head / 2);
}

/* Rows in the plugin's order. */
static more_status read_rows(const core_export_tensor *tensor, int64_t first, int64_t count, float *values,
                             more_error *error)
{
    bool as_stored = tensor->transform == MORE_TRANSFORM_TRANSPOSED; /* every format has the transpose */
    more_checkpoint *checkpoint = tensor->part->checkpoint;
    return core_weights_service()->read_rows(as_stored ? core_checkpoint_unmapped(checkpoint) : checkpoint,
                                             as_stored ? tensor->stored : tensor->canonical, first, count, more_f32(),
                                             values, error);
}

/* One row of a matrix of interleaved heads, or a vector of them. */
static more_status read_interleaved(const core_export_tensor *tensor, int64_t row, int64_t width, float *values,
                                    more_error *error)
{
    more_status status = read_rows(tensor, tensor->rank > 1 ? interleaved(tensor, row) : row, 1, values, error);
    if (status != MORE_OK || tensor->rank > 1)
        return status;
    float *copy = malloc((size_t)width * sizeof *copy);
    if (!copy)
        return more_fail(error, MORE_ERROR_MEMORY, "tensor '%s': out of memory", tensor->name);
    memcpy(copy, values, (size_t)width * sizeof *copy);
    for (int64_t i = 0; i < width; i++)
        values[i] = copy[interleaved(tensor, i)];
    free(copy);
    return MORE_OK;
}

/* ---- Converting ------------------------------------------------------------------------------------------------- */

/* Every number must be one, and within the format's reach: scales of blocks are f16. */
static more_status check_numbers(const core_export_tensor *tensor, const float *values, int64_t count,
                                 more_error *error)
{
    const char *title = tensor->format->title;
    float most = !strcmp(title, "F32") ? INFINITY : !strcmp(title, "BF16") ? LARGEST_BF16 : LARGEST_F16;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            return more_fail(error, MORE_ERROR_CORRUPT, "tensor '%s': holds %g, which is no number that can be stored",
                             tensor->stored, (double)values[i]);
        if (fabsf(values[i]) > most)
            return more_fail(error, MORE_ERROR_UNSUPPORTED, "tensor '%s': holds %g, %s reaches %g: use bf16 or f32",
                             tensor->stored, (double)values[i], title, (double)most);
    }
    return MORE_OK;
}

static void store(const core_export *export, const core_gguf_format *format, const float *values, int64_t count,
                  void *to)
{
    const unsigned char *from = (const unsigned char *)values;
    if (format->block > 1)
        export->request->quantise(format, values, count, to);
    else if (!strcmp(format->title, "F16"))
        core_convert("f32", from, 1, count, more_f16(), to);
    else if (!strcmp(format->title, "BF16"))
        core_convert("f32", from, 1, count, more_bf16(), to);
    else /* on a little-endian machine nothing changes */
        core_convert("f32", from, 1, count, more_f32(), to);
}

/* Rows [begin, end) of the piece as the file has them; at one go where they follow one another, since an adapter is
 * added to many rows at a time. */
static more_status read_range(const piece *p, int64_t begin, int64_t end, more_error *error)
{
    const core_export_tensor *tensor = p->tensor;
    more_status status = MORE_OK;
    if (!tensor->head)
        status = read_rows(tensor, p->first + begin, end - begin, p->values + begin * p->width, error);
    for (int64_t i = begin; i < end && tensor->head && status == MORE_OK; i++)
        status = read_interleaved(tensor, p->first + i, p->width, p->values + i * p->width, error);
    for (int64_t k = begin * p->width; k < end * p->width && status == MORE_OK; k++)
        p->values[k] += tensor->transform == MORE_TRANSFORM_MINUS_ONE;
    return status;
}

static void fill_rows(void *context, int64_t begin, int64_t end, int32_t worker)
{
    piece *p = context;
    const core_gguf_format *format = p->tensor->format;
    size_t row_bytes = (size_t)(p->width / format->block) * format->bytes;
    more_error error = {{0}};
    (void)worker;
    if (atomic_load(&p->status))
        return;
    more_status status = read_range(p, begin, end, &error);
    for (int64_t i = begin; i < end && status == MORE_OK; i++) {
        const float *values = p->values + i * p->width;
        status = check_numbers(p->tensor, values, p->width, &error);
        if (status == MORE_OK)
            store(p->export, format, values, p->width, p->stored + (size_t)i * row_bytes);
    }
    if (status != MORE_OK)
        fail(p, status, &error);
}

/* ---- One tensor ------------------------------------------------------------------------------------------------- */

/* The bytes as they are stored, where the file wants just these; NULL where it does not. */
static const void *plain_bytes(const core_export_tensor *tensor, size_t *size)
{
    more_weight_info info = {.struct_size = sizeof info};
    bool turned = tensor->transform != MORE_TRANSFORM_NONE;
    if (turned || core_weights_service()->info(tensor->part->checkpoint, tensor->canonical, &info, NULL) != MORE_OK)
        return NULL;
    const char *name = tensor->format->name;
    *size = info.bytes;
    /* Blocks are copied; of plain numbers each is looked at, as it may be none. */
    return tensor->format->block > 1 && !strcmp(info.format, name) ? info.data : NULL;
}

static more_status write_pieces(core_export *export, const core_export_tensor *tensor, piece *p, int64_t rows,
                                int64_t step, more_error *error)
{
    const core_export_request *request = export->request;
    const more_threads_service *threads = request->host->get_service(request->host, MORE_THREADS_SERVICE);
    size_t row_bytes = (size_t)(p->width / tensor->format->block) * tensor->format->bytes;
    more_status status = MORE_OK;
    for (; p->first < rows && status == MORE_OK; p->first += step) {
        int64_t some = rows - p->first < step ? rows - p->first : step;
        if (request->stopped && request->stopped(request->user))
            return more_fail(error, MORE_ERROR_CANCELLED, "%s: stopped", request->path);
        threads->parallel_for(request->host, some, ROWS, fill_rows, p);
        status = atomic_load(&p->status);
        if (status != MORE_OK)
            return more_fail(error, status, "%s: %s", core_weights_service()->path(tensor->part->checkpoint),
                             p->error.message);
        status = core_gguf_writer_data(export->writer, p->stored, (size_t)some * row_bytes, error);
    }
    return status;
}

static more_status write_tensor(core_export *export, const core_export_tensor *tensor, more_error *error)
{
    size_t size = 0;
    int64_t rows = tensor->rank < 2 ? 1 : tensor->shape[0], width = tensor->rank < 2 ? tensor->shape[0] : 1;
    if (tensor->values)
        return core_gguf_writer_data(export->writer, tensor->values, (size_t)tensor->shape[0] * sizeof(float), error);
    const void *bytes = plain_bytes(tensor, &size);
    if (bytes)
        return core_gguf_writer_data(export->writer, bytes, size, error);
    for (int32_t i = 1; i < tensor->rank; i++)
        width *= tensor->shape[i];
    int64_t step = PIECE / width < 1 ? 1 : PIECE / width < rows ? PIECE / width : rows;
    piece p = {.export = export, .tensor = tensor, .width = width, .failed = ATOMIC_FLAG_INIT};
    p.values = malloc((size_t)(step * width) * sizeof *p.values);
    p.stored = malloc((size_t)(step * (width / tensor->format->block)) * tensor->format->bytes);
    more_status status = p.values && p.stored
                             ? write_pieces(export, tensor, &p, rows, step, error)
                             : more_fail(error, MORE_ERROR_MEMORY, "tensor '%s': out of memory", tensor->name);
    free(p.values);
    free(p.stored);
    return status;
}

more_status core_export_write(core_export *export, more_error *error)
{
    const core_export_request *request = export->request;
    int64_t total = core_gguf_writer_bytes(export->writer);
    more_status status = core_gguf_writer_begin(export->writer, error);
    for (size_t i = 0; i < export->count && status == MORE_OK; i++) {
        const core_export_tensor *tensor = &export->tensors[i];
        status = write_tensor(export, tensor, error);
        if (tensor->canonical)
            core_weights_service()->drop(tensor->part->checkpoint, tensor->canonical);
        if (request->progress)
            request->progress(request->user, core_gguf_writer_done(export->writer), total);
    }
    if (status == MORE_OK && request->stopped && request->stopped(request->user))
        status = more_fail(error, MORE_ERROR_CANCELLED, "%s: stopped", request->path);
    return status == MORE_OK ? core_gguf_writer_end(export->writer, error) : status;
}
