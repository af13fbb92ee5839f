/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed matrices: their storages, memory, and entries.
 */
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda.h"
#include "pack.h"
#include "profile.h"

DLDataType nn_storage_dtype(nn_storage storage)
{
    return storage == NN_F16 ? more_f16() : storage == NN_BF16 ? more_bf16() : more_f32();
}

static const char *const storage_names[NN_STORAGES] = {"f32", "f16", "bf16", "q8", "q4", "q4_1"};

const char *nn_storage_name(nn_storage storage)
{
    return storage_names[storage];
}

bool nn_storage_named(const char *name, nn_storage *storage)
{
    for (int i = 0; i < NN_STORAGES; i++) {
        if (!strcmp(name, storage_names[i])) {
            *storage = (nn_storage)i;
            return true;
        }
    }
    return false;
}

int64_t nn_matrix_bytes(int64_t rows, int64_t columns, nn_storage storage)
{
    return nn_ceil_divide(rows, NN_PANEL) * nn_panel_bytes(storage, columns);
}

more_status nn_matrix_create(nn_context *context, const char *name, int64_t rows, int64_t columns, nn_storage storage,
                             nn_matrix **result, more_error *error)
{
    *result = NULL;
    if (rows < 1 || columns < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT, "matrix '%s' is [%lld, %lld], but needs at least one element",
                         name, (long long)rows, (long long)columns);
    if (!nn_on_host(context) && nn_is_quantised(storage))
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "matrix '%s' would be %s, which only the CPU takes", name,
                         nn_storage_name(storage));
    nn_matrix *matrix = NULL;
    const int64_t most = INT64_MAX / 128; /* keeps the products below within 64 bits */
    if (rows < most && columns < most)
        matrix = calloc(1, sizeof *matrix);
    if (matrix) {
        matrix->rows = rows;
        matrix->columns = columns;
        matrix->panels = nn_ceil_divide(rows, NN_PANEL);
        matrix->storage = storage;
        matrix->data = nn_on_host(context) ? nn_allocate(context, matrix->panels, nn_panel_bytes(storage, columns))
                                           : nn_place(context, rows, nn_row_stride_bytes(matrix), "weights");
    }
    if (!matrix || !matrix->data) {
        free(matrix);
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for matrix '%s' [%lld, %lld] stored as %s", name,
                         (long long)rows, (long long)columns, nn_storage_name(storage));
    }
    if (!nn_on_host(context) && storage != NN_F32 && context->cuda->narrow == NN_F32)
        context->cuda->narrow = storage;
    *result = matrix;
    return MORE_OK;
}

void nn_matrix_free(nn_context *context, nn_matrix *matrix)
{
    if (!matrix)
        return;
    nn_free(context, matrix->data);
    free(matrix);
}

typedef struct pack_job {
    const float *values;
    nn_matrix *matrix;
} pack_job;

static void pack_values(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    pack_job *job = argument;
    for (int64_t panel = begin; panel < end; panel++) {
        const void *rows[NN_PANEL];
        nn_row_format from[NN_PANEL];
        for (int r = 0; r < NN_PANEL; r++) {
            int64_t row = panel * NN_PANEL + r;
            rows[r] = row < job->matrix->rows ? job->values + row * job->matrix->columns : NULL;
            from[r] = NN_ROW_F32;
        }
        nn_pack_panel(rows, from, job->matrix, panel);
    }
}

/* nn_cuda_fill */
static more_status pack_rows(void *argument, int64_t first, int64_t end, void *piece, more_error *error)
{
    const pack_job *job = argument;
    (void)error;
    for (int64_t row = first; row < end; row++)
        nn_pack_row(job->values + row * job->matrix->columns, NN_ROW_F32, job->matrix->columns, job->matrix->storage,
                    (char *)piece + (row - first) * nn_row_stride_bytes(job->matrix));
    return MORE_OK;
}

more_status nn_matrix_pack(nn_context *context, const float *values, int64_t rows, int64_t columns, nn_storage storage,
                           nn_matrix **matrix, more_error *error)
{
    more_status status = nn_matrix_create(context, "packed values", rows, columns, storage, matrix, error);
    if (status)
        return status;
    pack_job job = {values, *matrix};
    if (!nn_on_host(context)) {
        status =
            nn_cuda_upload(context, (*matrix)->data, rows, nn_row_stride_bytes(*matrix), 1, pack_rows, &job, error);
        if (status) {
            nn_matrix_free(context, *matrix);
            *matrix = NULL;
        }
        return status;
    }
    nn_parallel_sized(context, (double)rows * (double)columns, (*matrix)->panels, 1, pack_values, &job);
    return MORE_OK;
}

typedef struct rows_job {
    const nn_matrix *matrix;
    const int32_t *ids;
    float *rows;
} rows_job;

static void unpack_rows(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const rows_job *job = argument;
    for (int64_t i = begin; i < end; i++)
        nn_unpack_row(job->matrix, job->ids[i], job->rows + i * job->matrix->columns);
}

void nn_host_matrix_rows(nn_context *context, const nn_matrix *matrix, const int32_t *ids, int64_t count, float *rows)
{
    double begin = nn_profile_begin(context);
    rows_job job = {matrix, ids, rows};
    nn_parallel_sized(context, (double)count * (double)matrix->columns, count, 1, unpack_rows, &job);
    nn_profile_end_rows(context, begin, matrix, count);
}
