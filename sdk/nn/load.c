/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading matrices and vectors from a checkpoint: straight from the map where the host gives the raw bytes, by
 * read_stored_rows where the rows only have another order, by read_rows where the numbers change on the way (a
 * transform, a merge, synthetic weights, blocks that no packed storage holds).
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda.h"
#include "pack.h"

/* A stored format that is taken. */
typedef struct stored_format {
    const char *name;
    nn_storage storage;   /* what a matrix of it becomes */
    bool packable;        /* nn_pack_panel takes its rows as `row` */
    nn_row_format row;    /* else they are read as this */
    int32_t block, bytes; /* elements and bytes of a block; 1 and the element's for floats */
} stored_format;

static const stored_format formats[] = {
    {"f32", NN_F32, true, NN_ROW_F32, 1, 4},
    {"f16", NN_F16, true, NN_ROW_F16, 1, 2},
    {"bf16", NN_BF16, true, NN_ROW_BF16, 1, 2},
    {"gguf.q8_0", NN_Q8, true, NN_ROW_Q8_0, 32, 34},
    {"gguf.q4_0", NN_Q4, true, NN_ROW_Q4_0, 32, 18},
    {"gguf.q4_1", NN_Q4_OFFSET, true, NN_ROW_Q4_1, 32, 20},
    {"gguf.q4_K", NN_Q4_OFFSET, true, NN_ROW_Q4_K, 256, 144},
    {"gguf.q5_K", NN_Q8, false, NN_ROW_F32, 256, 176},
    {"gguf.q6_K", NN_Q8, false, NN_ROW_F32, 256, 210},
};

/* How rows are had. */
typedef enum access { FROM_MAP, AS_STORED, CONVERTED } access;

/* A tensor that was found and whose format and byte count are sound. */
typedef struct tensor {
    const char *name; /* canonical */
    more_weight_info info;
    const stored_format *format;
    int64_t rows, columns; /* as read_rows sees it; a rank 0 or 1 is one row */

    /* of matrices */
    access access;
    nn_row_format row;  /* of what access gives */
    nn_storage storage; /* it would have alone */
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

/* ---- Finding ---------------------------------------------------------------------------------------------------- */

static const stored_format *find_format(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(formats[i].name, name))
            return &formats[i];
    return NULL;
}

/* Rows and columns; false where the shape is none, rows are no whole blocks, or the mapped bytes are not its own. */
static bool take_shape(tensor *found)
{
    const more_weight_info *info = &found->info;
    int64_t bytes = found->format->bytes;
    found->rows = info->rank > 1 ? info->shape[0] : 1;
    found->columns = 1;
    bool sound = found->rows >= 0;
    for (int32_t i = info->rank > 1 ? 1 : 0; i < info->rank; i++)
        sound =
            sound && info->shape[i] >= 0 && !__builtin_mul_overflow(found->columns, info->shape[i], &found->columns);
    sound = sound && found->columns % found->format->block == 0 &&
            !__builtin_mul_overflow(bytes, found->rows, &bytes) &&
            !__builtin_mul_overflow(bytes, found->columns / found->format->block, &bytes);
    return sound && (!info->data || info->bytes == (size_t)bytes);
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
    if (info->rank < 0 || info->rank > MORE_MAX_RANK)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' has %d dimensions, at most %d are possible",
                         path_of(source), info->name, info->rank, MORE_MAX_RANK);
    found->format = find_format(info->format);
    if (!found->format)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: tensor '%s' is stored as %s, but only " NN_WEIGHT_FORMATS " can be loaded",
                         path_of(source), info->name, info->format);
    if (take_shape(found))
        return MORE_OK;
    char shape[256];
    write_shape(info, shape, sizeof shape);
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' of shape %s and format %s has %zu bytes of data",
                     path_of(source), info->name, shape, info->format, info->bytes);
}

/* ---- Storage ---------------------------------------------------------------------------------------------------- */

static int bits_of(nn_storage storage)
{
    static const int bits[NN_STORAGES] = {
        [NN_F32] = 32, [NN_F16] = 16, [NN_BF16] = 16, [NN_Q8] = 8, [NN_Q4] = 4, [NN_Q4_OFFSET] = 4};
    return bits[storage];
}

/* How the rows of a matrix are had, and what it becomes by itself. */
static void choose_access(const nn_source *source, tensor *found)
{
    const stored_format *format = found->format;
    bool stored =
        format->packable &&
        (found->info.data || (MORE_HAS(source->weights, more_weights_service, read_stored_rows) &&
                              !source->weights->read_stored_rows(source->checkpoint, found->name, 0, 0, NULL, NULL)));
    found->access = !stored ? CONVERTED : found->info.data ? FROM_MAP : AS_STORED;
    found->row = stored || format->block == 1 ? format->row : NN_ROW_F32;
    /* Numbers that were changed are no longer those that 4 bits hold. */
    found->storage = stored || format->block == 1 ? format->storage : NN_Q8;
    if (nn_is_quantised(source->quantise) && bits_of(source->quantise) < bits_of(found->storage))
        found->storage = source->quantise;
}

/* Whether `storage` holds the numbers of a part as well as the storage that it would have alone. */
static bool holds(nn_storage storage, const tensor *part)
{
    if (storage == part->storage || storage == NN_F32)
        return true;
    if (storage == NN_Q4_OFFSET)
        return part->storage == NN_Q4 && part->row != NN_ROW_Q4_0;
    return storage != NN_BF16 && nn_is_quantised(part->storage) && storage != NN_Q4;
}

/* The smallest that holds all parts; NN_F32 does. */
static nn_storage common_storage(const tensor *parts, int32_t count)
{
    static const nn_storage smallest_first[] = {NN_Q4, NN_Q4_OFFSET, NN_Q8, NN_F16, NN_BF16};
    for (size_t i = 0; i < sizeof smallest_first / sizeof *smallest_first; i++) {
        bool all = true;
        for (int32_t k = 0; k < count; k++)
            all = all && holds(smallest_first[i], &parts[k]);
        if (all)
            return smallest_first[i];
    }
    return NN_F32;
}

static more_status find_matrix(const nn_source *source, const char *name, int64_t rows, int64_t columns, tensor *found,
                               more_error *error)
{
    more_status status = find_tensor(source, name, found, error);
    if (status)
        return status;
    if (found->info.rank >= 2 && found->rows == rows && found->columns == columns) {
        choose_access(source, found);
        return MORE_OK;
    }
    char shape[256];
    write_shape(&found->info, shape, sizeof shape);
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' has shape %s, but the config asks for [%lld, %lld]",
                     path_of(source), found->info.name, shape, (long long)rows, (long long)columns);
}

/* ---- Matrices --------------------------------------------------------------------------------------------------- */

typedef struct load_job {
    const nn_source *source;
    const tensor *parts; /* stacked in this order */
    int32_t count;
    nn_matrix *matrix;
    char *piece;       /* on its way to a device: rows from first_row on */
    int64_t first_row; /* a multiple of NN_PANEL */
    int64_t end_row;
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
    const nn_source *source = job->source;
    int64_t row_bytes = nn_row_bytes(part->row, part->columns);
    const char *base = buffer;
    more_status status = MORE_OK;
    if (part->access == FROM_MAP)
        base = (const char *)part->info.data + first * row_bytes;
    else if (part->access == AS_STORED)
        status = source->weights->read_stored_rows(source->checkpoint, part->name, first, count, buffer, error);
    else
        status = source->weights->read_rows(source->checkpoint, part->name, first, count,
                                            nn_storage_dtype((nn_storage)part->row), buffer, error);
    for (int64_t r = 0; r < count && !status; r++)
        rows[r] = base + r * row_bytes;
    return status;
}

/* Points at the rows [start, start + NN_PANEL) of the stack; those past its end stay as they are. */
static more_status gather_rows(load_job *job, int64_t start, char *buffer, const void *rows[NN_PANEL],
                               nn_row_format from[NN_PANEL], more_error *error)
{
    int64_t end = start + NN_PANEL, part_start = 0;
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
                from[r] = part->row;
        }
        part_start += part->rows;
    }
    return MORE_OK;
}

/* Panel `panel` of the matrix, or of the piece of it that is on its way. */
static more_status load_panel(load_job *job, int64_t panel, char *buffer, more_error *error)
{
    const void *rows[NN_PANEL] = {NULL};
    nn_row_format from[NN_PANEL] = {NN_ROW_F32};
    int64_t start = job->first_row + panel * NN_PANEL, bytes = nn_row_stride_bytes(job->matrix);
    more_status status = gather_rows(job, start, buffer, rows, from, error);
    if (!status && !job->piece)
        nn_pack_panel(rows, from, job->matrix, panel);
    for (int64_t r = start; r < nn_min(start + NN_PANEL, job->end_row) && !status && job->piece; r++)
        nn_pack_row(rows[r - start], from[r - start], job->matrix->columns, job->matrix->storage,
                    job->piece + (r - job->first_row) * bytes);
    return status;
}

static bool all_mapped(const load_job *job)
{
    for (int32_t i = 0; i < job->count; i++)
        if (job->parts[i].access != FROM_MAP)
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

/* nn_cuda_fill: rows [first, end) of the matrix into a piece of memory on its way to the device. */
static more_status load_piece(void *argument, int64_t first, int64_t end, void *piece, more_error *error)
{
    load_job *job = argument;
    job->piece = piece;
    job->first_row = first;
    job->end_row = end;
    nn_parallel_sized(job->source->context, (double)(end - first) * (double)job->matrix->columns,
                      nn_ceil_divide(end - first, NN_PANEL), 4, load_panels, job);
    return job->status ? more_fail(error, job->status, "%s", job->error.message) : MORE_OK;
}

static more_status load_rows(load_job *job, more_error *error)
{
    nn_matrix *matrix = job->matrix;
    if (!nn_on_host(job->source->context))
        return nn_cuda_upload(job->source->context, matrix->data, matrix->rows, nn_row_stride_bytes(matrix), NN_PANEL,
                              load_piece, job, error);
    nn_parallel_sized(job->source->context, (double)matrix->rows * (double)matrix->columns, matrix->panels, 4,
                      load_panels, job);
    return job->status ? more_fail(error, job->status, "%s", job->error.message) : MORE_OK;
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
    status = load_rows(&job, error);
    if (status) {
        nn_matrix_free(source->context, job.matrix);
        return status;
    }
    for (int32_t i = 0; i < count && MORE_HAS(source->weights, more_weights_service, drop); i++)
        source->weights->drop(source->checkpoint, parts[i].name);
    *matrix = job.matrix;
    return MORE_OK;
}

/* Finds and checks the parts of a stack, which the caller frees in any case. */
static more_status find_parts(const nn_source *source, int32_t count, const char *const *names, const int64_t *rows,
                              int64_t columns, tensor **parts, more_error *error)
{
    *parts = NULL;
    if (count < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: a stacked matrix of %d tensors was asked for",
                         path_of(source), count);
    *parts = calloc((size_t)count, sizeof **parts);
    if (!*parts)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory to load tensor '%s'", names[0]);
    more_status status = MORE_OK;
    for (int32_t i = 0; i < count && !status; i++)
        status = find_matrix(source, names[i], rows[i], columns, &(*parts)[i], error);
    return status;
}

more_status nn_matrix_check(const nn_source *source, int32_t count, const char *const *names, const int64_t *rows,
                            int64_t columns, nn_storage *storage, more_error *error)
{
    tensor *parts;
    more_status status = find_parts(source, count, names, rows, columns, &parts, error);
    if (!status)
        *storage = common_storage(parts, count);
    if (!status && !nn_on_host(source->context) && nn_is_quantised(*storage))
        status =
            more_fail(error, MORE_ERROR_UNSUPPORTED,
                      "%s: tensor '%s' would be %s, which only the CPU takes: on a CUDA device weights are f32, f16 "
                      "or bf16",
                      path_of(source), parts[0].info.name, nn_storage_name(*storage));
    free(parts);
    return status;
}

more_status nn_matrix_load_stacked(const nn_source *source, int32_t count, const char *const *names,
                                   const int64_t *rows, int64_t columns, nn_matrix **matrix, more_error *error)
{
    tensor *parts;
    *matrix = NULL;
    more_status status = find_parts(source, count, names, rows, columns, &parts, error);
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

/* The values, which it takes, where operators work; NULL when out of memory. */
static float *place_vector(nn_context *context, float *values, int64_t count)
{
    if (nn_on_host(context))
        return values;
    float *placed = nn_place(context, count, sizeof *placed, "vectors of weights");
    if (placed)
        nn_copy(context, placed, values, (size_t)count * sizeof *values);
    nn_release(context, values);
    return placed;
}

static more_status read_vector(const nn_source *source, const tensor *found, int64_t count, float **vector,
                               more_error *error)
{
    float *values = nn_allocate(source->context, count, sizeof(float));
    if (!values)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for the %lld values of tensor '%s'", (long long)count,
                         found->info.name);
    if (found->info.data && found->format->block == 1) {
        for (int64_t i = 0; i < count; i++)
            values[i] = nn_stored_value(found->format->storage, found->info.data, i);
    } else {
        more_status status =
            source->weights->read_rows(source->checkpoint, found->name, 0, found->rows, more_f32(), values, error);
        if (status) {
            nn_release(source->context, values);
            return status;
        }
    }
    *vector = place_vector(source->context, values, count);
    return *vector ? MORE_OK
                   : more_fail(error, MORE_ERROR_MEMORY, "no memory for the %lld values of tensor '%s'",
                               (long long)count, found->info.name);
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
