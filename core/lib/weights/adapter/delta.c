/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/adapter/delta.h"

#include "weights/convert.h"
#include <stdlib.h>
#include <string.h>

enum {
    TILE_ROWS = 4,     /* rows and columns of the sum that stay in registers; the compiler makes vectors of loops */
    TILE_COLUMNS = 16, /* whose length it knows */
    PIECE = 1024       /* columns of A that are widened at a time, for all rows asked for */
};

/* Columns [first, first + count) of row `row` of a factor as f32. */
static void read_part(const core_tensor_entry *factor, int64_t row, int64_t first, int64_t count, float *to)
{
    size_t width = core_format_width(factor->format);
    core_convert(factor->format, factor->data + (size_t)(row * factor->shape[1] + first) * width, 1, count, more_f32(),
                 to);
}

/* rows[i, j] += scale sum over k of b[i, k] a[k, j] for one tile; a has PIECE columns a row, and what
 * stands behind the matrix in the last piece is left out again. */
static void add_tile(const float *restrict a, const float *restrict b, int64_t rank, float scale, int64_t rows,
                     int64_t columns, int64_t stride, float *restrict to)
{
    float sum[TILE_ROWS][TILE_COLUMNS] = {{0}};
    for (int64_t k = 0; k < rank; k++, a += PIECE)
        for (int i = 0; i < TILE_ROWS; i++) {
            float factor = b[i * rank + k];
            for (int j = 0; j < TILE_COLUMNS; j++)
                sum[i][j] += factor * a[j];
        }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            to[i * stride + j] += scale * sum[i][j];
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* rows[i, :] += scale sum over k of B[first + i, k] A[k, :]. a: [rank, PIECE]; b: [CORE_DELTA_ROWS, rank], zeroed. */
static void add_straight(const core_delta *delta, int64_t first, int64_t count, int64_t width, float *a, float *b,
                         float *rows)
{
    int64_t rank = delta->a->shape[0];
    for (int64_t i = 0; i < count; i++)
        read_part(delta->b, first + i, 0, rank, b + i * rank);
    for (int64_t piece = 0; piece < width; piece += PIECE) {
        int64_t columns = least(PIECE, width - piece);
        for (int64_t k = 0; k < rank; k++)
            read_part(delta->a, k, piece, columns, a + k * PIECE);
        for (int64_t i = 0; i < count; i += TILE_ROWS)
            for (int64_t j = 0; j < columns; j += TILE_COLUMNS)
                add_tile(a + j, b + i * rank, rank, delta->scale, least(TILE_ROWS, count - i),
                         least(TILE_COLUMNS, columns - j), width, rows + i * width + piece + j);
    }
}

/* rows[i, j] += scale sum over k of A[k, first + i] B[j, k]. a: [CORE_DELTA_ROWS, rank]; b: [rank]. */
static void add_transposed(const core_delta *delta, int64_t first, int64_t count, int64_t width, float *a, float *b,
                           float *rows)
{
    int64_t rank = delta->a->shape[0], columns = delta->a->shape[1];
    size_t bytes = core_format_width(delta->a->format);
    for (int64_t i = 0; i < count; i++)
        core_convert(delta->a->format, delta->a->data + (size_t)(first + i) * bytes, columns, rank, more_f32(),
                     a + i * rank);
    for (int64_t j = 0; j < width; j++) {
        read_part(delta->b, j, 0, rank, b);
        for (int64_t i = 0; i < count; i++) {
            float sum = 0;
            for (int64_t k = 0; k < rank; k++)
                sum += a[i * rank + k] * b[k];
            rows[i * width + j] += delta->scale * sum;
        }
    }
}

bool core_delta_add(const core_delta *delta, bool flipped, int64_t first, int64_t count, int64_t width, float *rows)
{
    for (; delta; delta = delta->next) {
        size_t rank = (size_t)delta->a->shape[0];
        float *a = calloc(rank, PIECE * sizeof *a), *b = calloc(rank, CORE_DELTA_ROWS * sizeof *b);
        bool good = a && b;
        if (good && delta->transposed == flipped)
            add_straight(delta, first, count, width, a, b, rows);
        else if (good)
            add_transposed(delta, first, count, width, b, a, rows);
        free(a);
        free(b);
        if (!good)
            return false;
    }
    return true;
}

void core_delta_round(const char *format, int64_t count, float *values)
{
    if (!strcmp(format, "f16"))
        for (int64_t i = 0; i < count; i++)
            values[i] = core_f16_to_f32(core_f32_to_f16(values[i]));
    else if (!strcmp(format, "bf16"))
        for (int64_t i = 0; i < count; i++)
            values[i] = core_bf16_to_f32(core_f32_to_bf16(values[i]));
}
