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
/* Fills a panel from its rows (any alignment), each of its own stored type; a NULL row becomes zeros. */
void nn_pack_panel(const void *const rows[NN_PANEL], const nn_storage from[NN_PANEL], nn_matrix *matrix, int64_t panel);

/* One element of stored values: read at any alignment, written to aligned ones, rounded to nearest even. */
float nn_stored_value(nn_storage storage, const void *values, int64_t index);
void nn_store_value(nn_storage storage, void *values, int64_t index, float value);

#endif
