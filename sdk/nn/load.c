/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading matrices and vectors from a checkpoint: straight from the map where the host gives the raw bytes, by
 * read_rows where something stands between (a transform, a merge, synthetic weights).
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

/* A tensor that was found and whose format and byte count are sound. */
typedef struct tensor {
    const char *name; /* canonical */
    more_weight_info info;
    nn_storage storage;
    int64_t rows, columns; /* as read_rows sees it; a rank 0 or 1 is one row */
} tensor;

static const char *path_of(const nn_source *source)
{
    return source->weights->path(source->checkpoint);
}

static void write_shape(const more_weight_info *info, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int32_t i = 0; i < info->rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "", (long long)info->shape[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
}

static bool format_storage(const char *format, nn_storage *storage)
{
    if (!strcmp(format, "f32"))
        *storage = NN_F32;
    else if (!strcmp(format, "f16"))
        *storage = NN_F16;
    else if (!strcmp(format, "bf16"))
        *storage = NN_BF16;
    else if (!strncmp(format, "gguf.", 5))
        *storage = NN_F16; /* rounds by 2^-12, a sixteenth of the step of 8-bit blocks at their largest number */
    else
        return false;
    return true;
}

static more_status find_tensor(const nn_source *source, const char *name, tensor *found, more_error *error)
{
    memset(found, 0, sizeof *found);
    found->name = name;
    found->info.struct_size = sizeof found->info;
    more_status status = source->weights->info(source->checkpoint, name, &found->info, error);
    if (status)
        return status;
    more_weight_info *info = &found->info;
    if (!strncmp(info->format, "gguf.", 5)) { /* blocks of quantised numbers, which read_rows turns into plain ones */
        info->data = NULL;
        info->bytes = 0;
    }
    if (info->rank < 0 || info->rank > MORE_MAX_RANK)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' has %d dimensions, at most %d are possible",
                         path_of(source), info->name, info->rank, MORE_MAX_RANK);
    if (!format_storage(info->format, &found->storage))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: tensor '%s' is stored as %s, but only f32, f16, bf16 and GGUF's "
                         "quantised formats can be loaded",
                         path_of(source), info->name, info->format);
    int64_t bytes = nn_storage_bytes(found->storage);
    found->rows = info->rank > 1 ? info->shape[0] : 1;
    found->columns = 1;
    bool sound = found->rows >= 0;
    for (int32_t i = info->rank > 1 ? 1 : 0; i < info->rank; i++)
        sound =
            sound && info->shape[i] >= 0 && !__builtin_mul_overflow(found->columns, info->shape[i], &found->columns);
    sound = sound && !__builtin_mul_overflow(bytes, found->rows, &bytes) &&
            !__builtin_mul_overflow(bytes, found->columns, &bytes);
    if (!sound || (info->data && info->bytes != (size_t)bytes)) {
        char shape[256];
        write_shape(info, shape, sizeof shape);
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' of shape %s and format %s has %zu bytes of data",
                         path_of(source), info->name, shape, info->format, info->bytes);
    }
    return MORE_OK;
}

static more_status find_matrix(const nn_source *source, const char *name, int64_t rows, int64_t columns, tensor *found,
                               more_error *error)
{
    more_status status = find_tensor(source, name, found, error);
    if (status)
        return status;
    if (found->info.rank >= 2 && found->rows == rows && found->columns == columns)
        return MORE_OK;
    char shape[256];
    write_shape(&found->info, shape, sizeof shape);
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' has shape %s, but the config asks for [%lld, %lld]",
                     path_of(source), found->info.name, shape, (long long)rows, (long long)columns);
}

more_status nn_tensor_check(const nn_source *source, const char *name, int64_t rows, int64_t columns, DLDataType *dtype,
                            more_error *error)
{
    tensor found;
    more_status status = find_matrix(source, name, rows, columns, &found, error);
    if (!status)
        *dtype = nn_storage_dtype(found.storage);
    return status;
}

/* ---- Matrices --------------------------------------------------------------------------------------------------- */

typedef struct load_job {
    const nn_source *source;
    const tensor *parts; /* stacked in this order */
    int32_t count;
    nn_matrix *matrix;
    atomic_int failed; /* the first failure takes it, and owns what follows */
    more_status status;
    more_error error;
} load_job;

static void report(load_job *job, more_status status, const more_error *error)
{
    if (atomic_exchange(&job->failed, 1))
        return;
    job->status = status;
    job->error = *error;
}

/* Points `rows` at `count` rows of one part from `first` on, reading them into `buffer` where there is no map. */
static more_status take_rows(load_job *job, const tensor *part, int64_t first, int64_t count, char *buffer,
                             const void **rows, more_error *error)
{
    int64_t row_bytes = part->columns * nn_storage_bytes(part->storage);
    const char *base = buffer;
    if (part->info.data) {
        base = (const char *)part->info.data + first * row_bytes;
    } else {
        more_status status = job->source->weights->read_rows(job->source->checkpoint, part->name, first, count,
                                                             nn_storage_dtype(part->storage), buffer, error);
        if (status)
            return status;
    }
    for (int64_t r = 0; r < count; r++)
        rows[r] = base + r * row_bytes;
    return MORE_OK;
}

static more_status load_panel(load_job *job, int64_t panel, char *buffer, more_error *error)
{
    const void *rows[NN_PANEL] = {NULL};
    nn_storage from[NN_PANEL] = {NN_F32};
    int64_t start = panel * NN_PANEL, end = start + NN_PANEL, part_start = 0;
    for (int32_t i = 0; i < job->count; i++) {
        const tensor *part = &job->parts[i];
        int64_t first = nn_max(start, part_start), last = nn_min(end, part_start + part->rows);
        if (first < last) {
            int64_t lane = first - start;
            more_status status =
                take_rows(job, part, first - part_start, last - first,
                          buffer ? buffer + lane * part->columns * (int64_t)sizeof(float) : NULL, rows + lane, error);
            if (status)
                return status;
            for (int64_t r = lane; r < last - start; r++)
                from[r] = part->storage;
        }
        part_start += part->rows;
    }
    nn_pack_panel(rows, from, job->matrix, panel);
    return MORE_OK;
}

static bool all_mapped(const load_job *job)
{
    for (int32_t i = 0; i < job->count; i++)
        if (!job->parts[i].info.data)
            return false;
    return true;
}

static void load_panels(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    load_job *job = argument;
    more_error error;
    char *buffer = NULL;
    if (!all_mapped(job)) {
        buffer = nn_allocate(job->source->context, job->matrix->columns, NN_PANEL * (int64_t)sizeof(float));
        if (!buffer) {
            more_status status = more_fail(&error, MORE_ERROR_MEMORY, "no memory to read %d rows of tensor '%s'",
                                           NN_PANEL, job->parts[0].info.name);
            report(job, status, &error);
            return;
        }
    }
    for (int64_t panel = begin; panel < end && !atomic_load(&job->failed); panel++) {
        more_status status = load_panel(job, panel, buffer, &error);
        if (status)
            report(job, status, &error);
    }
    nn_release(job->source->context, buffer);
}

/* Of different stored types the widest; f32 where two 16-bit ones meet, since neither holds the other. */
static nn_storage common_storage(const tensor *parts, int32_t count)
{
    for (int32_t i = 1; i < count; i++)
        if (parts[i].storage != parts[0].storage)
            return NN_F32;
    return parts[0].storage;
}

static more_status load_parts(const nn_source *source, const tensor *parts, int32_t count, nn_matrix **matrix,
                              more_error *error)
{
    load_job job = {.source = source, .parts = parts, .count = count};
    int64_t rows = 0;
    for (int32_t i = 0; i < count; i++)
        if (__builtin_add_overflow(rows, parts[i].rows, &rows))
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' has too many rows", path_of(source),
                             parts[i].info.name);
    more_status status = nn_matrix_create(source->context, parts[0].info.name, rows, parts[0].columns,
                                          common_storage(parts, count), &job.matrix, error);
    if (status)
        return status;
    nn_parallel_sized(source->context, (double)rows * (double)parts[0].columns, job.matrix->panels, 4, load_panels,
                      &job);
    if (job.status) {
        nn_matrix_free(source->context, job.matrix);
        return more_fail(error, job.status, "%s", job.error.message);
    }
    for (int32_t i = 0; i < count && MORE_HAS(source->weights, more_weights_service, drop); i++)
        source->weights->drop(source->checkpoint, parts[i].name);
    *matrix = job.matrix;
    return MORE_OK;
}

more_status nn_matrix_load_stacked(const nn_source *source, int32_t count, const char *const *names,
                                   const int64_t *rows, int64_t columns, nn_matrix **matrix, more_error *error)
{
    *matrix = NULL;
    if (count < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: a stacked matrix of %d tensors was asked for",
                         path_of(source), count);
    tensor *parts = calloc((size_t)count, sizeof *parts);
    if (!parts)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory to load tensor '%s'", names[0]);
    more_status status = MORE_OK;
    for (int32_t i = 0; i < count && !status; i++)
        status = find_matrix(source, names[i], rows[i], columns, &parts[i], error);
    if (!status && !source->metadata_only)
        status = load_parts(source, parts, count, matrix, error);
    free(parts);
    return status;
}

more_status nn_matrix_load(const nn_source *source, const char *name, int64_t rows, int64_t columns, nn_matrix **matrix,
                           more_error *error)
{
    return nn_matrix_load_stacked(source, 1, &name, &rows, columns, matrix, error);
}

/* ---- Vectors ---------------------------------------------------------------------------------------------------- */

static more_status read_vector(const nn_source *source, const tensor *found, int64_t count, float **vector,
                               more_error *error)
{
    float *values = nn_alloc_f32(source->context, count);
    if (!values)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for the %lld values of tensor '%s'", (long long)count,
                         found->info.name);
    if (found->info.data) {
        for (int64_t i = 0; i < count; i++)
            values[i] = nn_stored_value(found->storage, found->info.data, i);
    } else {
        more_status status =
            source->weights->read_rows(source->checkpoint, found->name, 0, found->rows, more_f32(), values, error);
        if (status) {
            nn_free(source->context, values);
            return status;
        }
    }
    *vector = values;
    return MORE_OK;
}

more_status nn_vector_load(const nn_source *source, const char *name, int64_t count, float **vector, more_error *error)
{
    tensor found;
    *vector = NULL;
    more_status status = find_tensor(source, name, &found, error);
    if (status)
        return status;
    if (found.rows * found.columns != count) {
        char shape[256];
        write_shape(&found.info, shape, sizeof shape);
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' has shape %s, but the config asks for %lld values",
                         path_of(source), found.info.name, shape, (long long)count);
    }
    return source->metadata_only ? MORE_OK : read_vector(source, &found, count, vector, error);
}

more_status nn_vector_load_optional(const nn_source *source, const char *name, int64_t count, float **vector,
                                    more_error *error)
{
    more_status status = nn_vector_load(source, name, count, vector, error);
    return status == MORE_ERROR_NOT_FOUND ? MORE_OK : status;
}
