/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing, shared by the matrices and their loader.
 */
#ifndef NN_PACK_H
#define NN_PACK_H

#include "internal.h"

/* A matrix with its memory not yet filled; `name` for the message. */
more_status nn_matrix_create(nn_context *context, const char *name, int64_t rows, int64_t columns, nn_storage storage,
                             nn_matrix **matrix, more_error *error);
/* How a row of a checkpoint is stored: plain values (the first three have the numbers of their nn_storage), or GGUF's
 * blocks, whose columns are a multiple of the block's. */
typedef enum nn_row_format {
    NN_ROW_F32,
    NN_ROW_F16,
    NN_ROW_BF16,
    NN_ROW_Q8_0,
    NN_ROW_Q4_0,
    NN_ROW_Q4_1,
    NN_ROW_Q4_K, /* blocks of 256 */
    NN_ROW_FORMATS
} nn_row_format;
/* Bytes of a row of `columns` columns, whole blocks. */
int64_t nn_row_bytes(nn_row_format format, int64_t columns);

/* Fills a panel from its rows (any alignment), each of its own format; a NULL row becomes zeros. Lossless for Q8_0 ->
 * NN_Q8, Q4_0 -> NN_Q4, Q4_1 -> NN_Q4_OFFSET; Q4_K -> NN_Q4_OFFSET rounds only the scales, to f16. Every other pair
 * goes through f32, by rounding or nn_quantise. */
void nn_pack_panel(const void *const rows[NN_PANEL], const nn_row_format from[NN_PANEL], nn_matrix *matrix,
                   int64_t panel);

/* The same of one row into a row of a float storage, as devices keep them. */
void nn_pack_row(const void *row, nn_row_format from, int64_t columns, nn_storage storage, void *to);

/* A row of the matrix as f32 [columns]. */
void nn_unpack_row(const nn_matrix *matrix, int64_t row, float *values);

/* One element of stored float values: read at any alignment, written to aligned ones, rounded to nearest even. */
float nn_stored_value(nn_storage storage, const void *values, int64_t index);
void nn_store_value(nn_storage storage, void *values, int64_t index, float value);

#endif
