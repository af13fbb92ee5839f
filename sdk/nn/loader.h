/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading a backbone's weights as one list of statements: the loader remembers the first failure and does nothing after
 * it, so that a loading table reads without an `if` a line, and adds up the exact bytes of what it loads.
 */
#ifndef LLAVAMORE_NN_LOADER_H
#define LLAVAMORE_NN_LOADER_H

#include "nn.h"

/* Names are canonical names of the plugin's tensor map; a '*' in one stands for `layer`. Not shared between threads. */
typedef struct nn_loader {
    const nn_source *source;
    more_error *error;
    more_status status; /* MORE_OK until something failed; error then holds the reason */
    int64_t bytes;      /* of everything loaded so far, as packed; the same when only metadata is asked for */
} nn_loader;

/* One tensor of a stack: its rows lie behind those of the tensor before it. */
typedef struct nn_part {
    const char *name;
    int64_t rows;
} nn_part;

#define NN_MAX_PARTS 4

/* A matrix [rows, columns]; *matrix stays NULL on failure and when only metadata is asked for, as in all below. */
void nn_load_matrix(nn_loader *loader, const char *name, int64_t layer, int64_t rows, int64_t columns,
                    nn_matrix **matrix);
/* The same for what stays as it is stored whatever source->quantise says: the convolution that turns pixels into the
 * first hidden state, small beside the rest and all that every block sees of the picture. */
void nn_load_convolution(nn_loader *loader, const char *name, int64_t rows, int64_t columns, nn_matrix **matrix);
/* Up to NN_MAX_PARTS matrices of the same columns as one, see nn_matrix_load_stacked. */
void nn_load_stacked(nn_loader *loader, const nn_part *parts, int32_t count, int64_t layer, int64_t columns,
                     nn_matrix **matrix);
/* A vector of `count` elements as f32. */
void nn_load_vector(nn_loader *loader, const char *name, int64_t layer, int64_t count, float **vector);
/* Up to NN_MAX_PARTS vectors (biases of a stack) one behind the other. */
void nn_load_stacked_vector(nn_loader *loader, const nn_part *parts, int32_t count, int64_t layer, float **vector);
/* A table [rows, columns] as f32, row-major: positions. */
void nn_load_table(nn_loader *loader, const char *name, int64_t rows, int64_t columns, float **table);

#endif
