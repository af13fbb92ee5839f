/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed matrices: memory, packing, and rows back.
 */
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "pack.h"

bool nn_storage_of(DLDataType dtype, nn_storage *storage)
{
    if (more_dtype_equal(dtype, more_f32()))
        *storage = NN_F32;
    else if (more_dtype_equal(dtype, more_f16()))
        *storage = NN_F16;
    else if (more_dtype_equal(dtype, more_bf16()))
        *storage = NN_BF16;
    else
        return false;
    return true;
}

DLDataType nn_storage_dtype(nn_storage storage)
{
    return storage == NN_F16 ? more_f16() : storage == NN_BF16 ? more_bf16() : more_f32();
}

float nn_stored_value(nn_storage storage, const void *values, int64_t index)
{
    const char *at = (const char *)values + index * nn_storage_bytes(storage);
    uint16_t half;
    float value;
    if (storage == NN_F32) {
        memcpy(&value, at, sizeof value); /* a file's tensors need not be aligned */
        return value;
    }
    memcpy(&half, at, sizeof half);
    return storage == NN_F16 ? nn_f16_to_f32(half) : nn_bf16_to_f32(half);
}

void nn_store_value(nn_storage storage, void *values, int64_t index, float value)
{
    if (storage == NN_F32)
        ((float *)values)[index] = value;
    else
        ((uint16_t *)values)[index] = storage == NN_F16 ? nn_f32_to_f16(value) : nn_f32_to_bf16(value);
}

int64_t nn_matrix_bytes(int64_t rows, int64_t columns, DLDataType dtype)
{
    return nn_ceil_divide(rows, NN_PANEL) * NN_PANEL * columns * dtype.bits / 8;
}

more_status nn_matrix_create(nn_context *context, const char *name, int64_t rows, int64_t columns, nn_storage storage,
                             nn_matrix **result, more_error *error)
{
    int64_t padded, elements;
    *result = NULL;
    if (rows < 1 || columns < 1 || rows > INT64_MAX - NN_PANEL)
        return more_fail(error, MORE_ERROR_ARGUMENT, "matrix '%s' is [%lld, %lld], but needs at least one element",
                         name, (long long)rows, (long long)columns);
    padded = nn_ceil_divide(rows, NN_PANEL) * NN_PANEL;
    nn_matrix *matrix = NULL;
    if (!__builtin_mul_overflow(padded, columns, &elements))
        matrix = calloc(1, sizeof *matrix);
    if (matrix) {
        matrix->rows = rows;
        matrix->columns = columns;
        matrix->panels = padded / NN_PANEL;
        matrix->storage = storage;
        matrix->data = nn_allocate(context, elements, nn_storage_bytes(storage));
    }
    if (!matrix || !matrix->data) {
        free(matrix);
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for matrix '%s' [%lld, %lld] of %lld bytes an element",
                         name, (long long)rows, (long long)columns, (long long)nn_storage_bytes(storage));
    }
    *result = matrix;
    return MORE_OK;
}

void nn_matrix_free(nn_context *context, nn_matrix *matrix)
{
    if (!matrix)
        return;
    nn_release(context, matrix->data);
    free(matrix);
}

enum { PACK_BLOCK = 32 /* columns that are transposed at a time, in cache */ };

/* Rows of the same stored type, element by element as bits. */
static void pack_words(const void *const rows[NN_PANEL], int64_t columns, uint32_t *panel)
{
    uint32_t block[NN_PANEL][PACK_BLOCK];
    for (int64_t k = 0; k < columns; k += PACK_BLOCK) {
        int64_t count = nn_min(PACK_BLOCK, columns - k);
        for (int r = 0; r < NN_PANEL; r++)
            memcpy(block[r], (const char *)rows[r] + k * 4, (size_t)count * 4);
        for (int64_t i = 0; i < count; i++)
            for (int r = 0; r < NN_PANEL; r++)
                panel[(k + i) * NN_PANEL + r] = block[r][i];
    }
}

static void pack_halves(const void *const rows[NN_PANEL], int64_t columns, uint16_t *panel)
{
    uint16_t block[NN_PANEL][PACK_BLOCK];
    for (int64_t k = 0; k < columns; k += PACK_BLOCK) {
        int64_t count = nn_min(PACK_BLOCK, columns - k);
        for (int r = 0; r < NN_PANEL; r++)
            memcpy(block[r], (const char *)rows[r] + k * 2, (size_t)count * 2);
        for (int64_t i = 0; i < count; i++)
            for (int r = 0; r < NN_PANEL; r++)
                panel[(k + i) * NN_PANEL + r] = block[r][i];
    }
}

/* One row of a panel; NULL = zeros. */
static void pack_row(const void *row, nn_storage from, int64_t columns, nn_storage to, void *panel, int lane)
{
    for (int64_t k = 0; k < columns; k++)
        nn_store_value(to, panel, k * NN_PANEL + lane, row ? nn_stored_value(from, row, k) : 0.0f);
}

void nn_pack_panel(const void *const rows[NN_PANEL], const nn_storage from[NN_PANEL], nn_matrix *matrix, int64_t panel)
{
    bool plain = true;
    void *data = (char *)matrix->data + panel * matrix->columns * NN_PANEL * nn_storage_bytes(matrix->storage);
    for (int r = 0; r < NN_PANEL; r++)
        plain = plain && rows[r] && from[r] == matrix->storage;
    if (!plain) {
        for (int r = 0; r < NN_PANEL; r++)
            pack_row(rows[r], from[r], matrix->columns, matrix->storage, data, r);
    } else if (matrix->storage == NN_F32) {
        pack_words(rows, matrix->columns, data);
    } else {
        pack_halves(rows, matrix->columns, data);
    }
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
        nn_storage from[NN_PANEL];
        for (int r = 0; r < NN_PANEL; r++) {
            int64_t row = panel * NN_PANEL + r;
            rows[r] = row < job->matrix->rows ? job->values + row * job->matrix->columns : NULL;
            from[r] = NN_F32;
        }
        nn_pack_panel(rows, from, job->matrix, panel);
    }
}

more_status nn_matrix_pack(nn_context *context, const float *values, int64_t rows, int64_t columns, DLDataType dtype,
                           nn_matrix **matrix, more_error *error)
{
    nn_storage storage;
    *matrix = NULL;
    if (!nn_storage_of(dtype, &storage))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "a matrix cannot be packed as dtype %d.%d, only as f32, f16, bf16", dtype.code, dtype.bits);
    more_status status = nn_matrix_create(context, "packed values", rows, columns, storage, matrix, error);
    if (status)
        return status;
    pack_job job = {values, *matrix};
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
    const nn_matrix *m = job->matrix;
    for (int64_t i = begin; i < end; i++) {
        int64_t first = job->ids[i] / NN_PANEL * m->columns * NN_PANEL + job->ids[i] % NN_PANEL;
        float *row = job->rows + i * m->columns;
        for (int64_t k = 0; k < m->columns; k++)
            row[k] = nn_stored_value(m->storage, m->data, first + k * NN_PANEL);
    }
}

void nn_matrix_rows(nn_context *context, const nn_matrix *matrix, const int32_t *ids, int64_t count, float *rows)
{
    rows_job job = {matrix, ids, rows};
    nn_parallel_sized(context, (double)count * (double)matrix->columns, count, 1, unpack_rows, &job);
}
