/* SPDX-License-Identifier: Apache-2.0
 *
 * What projector plugins share: an MLP whose layers are found by the tensors that are there, and checks of what a
 * caller hands over.
 */
#ifndef LLAVAMORE_NN_PROJECTOR_H
#define LLAVAMORE_NN_PROJECTOR_H

#include "loader.h"
#include "options.h"

#include <llavamore/projector.h>

#define NN_MLP_LAYERS 16 /* most */

/* y = W_n gelu(... gelu(W_1 x + b_1) ...) + b_n, with the exact GELU. Layer i has the canonical names layers.2i.weight
 * and .bias, for torch.nn.Sequential counts the activations too; a plugin's tensor map says what else they may be
 * called. Zeroed before use; read-only once loaded. */
typedef struct nn_mlp {
    int32_t layers;
    struct nn_mlp_layer {
        int64_t columns, rows; /* width in and out */
        nn_matrix *weight;
        float *bias; /* NULL without */
    } layer[NN_MLP_LAYERS];
    int64_t widest; /* of what lies between layers; 0 with one layer */
} nn_mlp;

/* Counts the layers and reads their shapes, loading nothing. Errors name file and tensor: the first layer is missing,
 * one is no matrix, or takes another width than the one before it gives; there are more than NN_MLP_LAYERS; or the
 * config's projector_hidden_act (llava-hf) is not "gelu". [any-thread] */
more_status nn_mlp_find(nn_mlp *mlp, const nn_source *source, more_error *error);
/* MORE_ERROR_ARGUMENT, naming both numbers, unless the MLP takes merged * width_in channels (`merged` patches side by
 * side) and gives width_out. [any-thread] */
more_status nn_mlp_require_widths(const nn_mlp *mlp, const nn_source *source, int64_t width_in, int64_t merged,
                                  int64_t width_out, more_error *error);
/* Loads what nn_mlp_find found. Without `biases` a bias may be absent. The loader keeps the first failure; what was
 * loaded before it stays for nn_mlp_free. */
void nn_mlp_load(nn_mlp *mlp, nn_loader *loader, bool biases);
void nn_mlp_free(nn_mlp *mlp, nn_context *context);
/* Bytes of the buffers of nn_mlp_run on `rows` rows. */
int64_t nn_mlp_activation_bytes(const nn_mlp *mlp, int64_t rows);
/* x [rows, width in], where operators work, to tokens [rows, width out] on the host, which must not overlap. What lies
 * between is taken from the arena; MORE_ERROR_MEMORY where that, the arena or x is NULL. [any-thread] */
more_status nn_mlp_run(const nn_mlp *mlp, nn_context *context, nn_arena *arena, const float *x, int64_t rows,
                       float *tokens, more_error *error);

/* Rows of features of a grid, prefix included: at least 1; else MORE_ERROR_ARGUMENT with the grid. [any-thread] */
more_status nn_grid_rows(const more_grid *grid, int64_t *rows, more_error *error);
/* MORE_ERROR_ARGUMENT unless features are [rows of the grid, width_in] and tokens [tokens, width_out]. [any-thread] */
more_status nn_require_projection(const more_projection *projection, int64_t width_in, int64_t tokens,
                                  int64_t width_out, more_error *error);

#endif
