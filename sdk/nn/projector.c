/* SPDX-License-Identifier: Apache-2.0 */
#include "projector.h"

#include "require.h"

#include <string.h>

#define NAME_SIZE 32

/* ---- Finding layers --------------------------------------------------------------------------------------------- */

/* Reads the shape of layer i; MORE_ERROR_NOT_FOUND when there is no such layer. */
static more_status find_layer(nn_mlp *mlp, const nn_source *source, int32_t i, more_error *error)
{
    more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};
    const char *path = source->weights->path(source->checkpoint);
    char name[NAME_SIZE];
    more_status status;

    snprintf(name, sizeof name, "layers.%d.weight", 2 * (int)i);
    status = source->weights->info(source->checkpoint, name, &info, error);
    if (status)
        return status;
    if (info.rank != 2 || info.shape[0] < 1 || info.shape[1] < 1)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor %s has rank %d, a projector's layer is a matrix", path,
                         info.name, (int)info.rank);
    mlp->layer[i].rows = info.shape[0];
    mlp->layer[i].columns = info.shape[1];
    if (i > 0 && mlp->layer[i - 1].rows != info.shape[1])
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor %s takes %lld channels, the layer before it gives %lld",
                         path, info.name, (long long)info.shape[1], (long long)mlp->layer[i - 1].rows);
    if (i > 0 && info.shape[1] > mlp->widest)
        mlp->widest = info.shape[1];
    return MORE_OK;
}

/* MORE_ERROR_NOT_FOUND where no layer lies behind the last that we take. */
static more_status refuse_more(const nn_source *source, more_error *error)
{
    more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};
    char name[NAME_SIZE];
    more_status status;

    snprintf(name, sizeof name, "layers.%d.weight", 2 * NN_MLP_LAYERS);
    status = source->weights->info(source->checkpoint, name, &info, error);
    return status ? status
                  : more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: tensor %s is of layer %d, at most %d are taken",
                              source->weights->path(source->checkpoint), info.name, NN_MLP_LAYERS + 1, NN_MLP_LAYERS);
}

more_status nn_mlp_find(nn_mlp *mlp, const nn_source *source, more_error *error)
{
    const char *activation = "gelu";
    more_status status = nn_config_string_or(source, "projector_hidden_act", &activation, error);

    if (!status && strcmp(activation, "gelu"))
        status =
            more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: projector_hidden_act is \"%s\", projectors here use gelu",
                      source->weights->path(source->checkpoint), activation);
    if (!status)
        status = find_layer(mlp, source, 0, error);
    if (status)
        return status;
    while (!status && ++mlp->layers < NN_MLP_LAYERS)
        status = find_layer(mlp, source, mlp->layers, error);
    if (!status)
        status = refuse_more(source, error);
    return status == MORE_ERROR_NOT_FOUND ? MORE_OK : status;
}

more_status nn_mlp_require_widths(const nn_mlp *mlp, const nn_source *source, int64_t width_in, int64_t merged,
                                  int64_t width_out, more_error *error)
{
    const char *path = source->weights->path(source->checkpoint);
    int64_t in = mlp->layer[0].columns, out = mlp->layer[mlp->layers - 1].rows;
    char times[32] = "";

    if (merged > 1)
        snprintf(times, sizeof times, "%lld x ", (long long)merged);
    if (in % merged || in / merged != width_in)
        return more_fail(
            error, MORE_ERROR_ARGUMENT,
            "%s: the projector takes %lld channels, the vision encoder gives %s%lld: they do not belong together", path,
            (long long)in, times, (long long)width_in);
    if (out != width_out)
        return more_fail(
            error, MORE_ERROR_ARGUMENT,
            "%s: the projector gives rows of %lld, the language model's width is %lld: they do not belong together",
            path, (long long)out, (long long)width_out);
    return MORE_OK;
}

/* ---- Loading and running ---------------------------------------------------------------------------------------- */

void nn_mlp_load(nn_mlp *mlp, nn_loader *loader, bool biases)
{
    for (int32_t i = 0; i < mlp->layers; i++) {
        struct nn_mlp_layer *own = &mlp->layer[i];
        more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};
        const nn_source *source = loader->source;
        char bias[NAME_SIZE];
        nn_load_matrix(loader, "layers.*.weight", 2 * i, own->rows, own->columns, &own->weight);
        snprintf(bias, sizeof bias, "layers.%d.bias", 2 * (int)i);
        if (biases || source->weights->info(source->checkpoint, bias, &info, NULL) != MORE_ERROR_NOT_FOUND)
            nn_load_vector(loader, bias, 0, own->rows, &own->bias);
    }
}

void nn_mlp_free(nn_mlp *mlp, nn_context *context)
{
    for (int32_t i = 0; i < mlp->layers; i++) {
        nn_matrix_free(context, mlp->layer[i].weight);
        nn_free(context, mlp->layer[i].bias);
    }
}

int64_t nn_mlp_activation_bytes(const nn_mlp *mlp, int64_t rows)
{
    return (mlp->layers > 2 ? 2 : 1) * rows * mlp->widest * (int64_t)sizeof(float);
}

more_status nn_mlp_run(const nn_mlp *mlp, nn_context *context, nn_arena *arena, const float *x, int64_t rows,
                       float *tokens, more_error *error)
{
    int64_t size = rows * mlp->layer[mlp->layers - 1].rows;
    float *between[2] = {NULL, NULL}, *y = arena ? nn_stand_in(arena, tokens, size) : NULL;
    bool failed = !x || !y;

    for (int32_t i = 0; i < 2 && i + 1 < mlp->layers && !failed; i++) {
        between[i] = nn_arena_f32(arena, rows * mlp->widest);
        failed = !between[i];
    }
    if (failed)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory to project %lld rows", (long long)rows);
    for (int32_t i = 0; i < mlp->layers; i++) {
        bool last = i + 1 == mlp->layers;
        float *out = last ? y : between[i % 2];
        nn_linear(context, &(nn_linear_args){.x = x,
                                             .rows = rows,
                                             .weight = mlp->layer[i].weight,
                                             .bias = mlp->layer[i].bias,
                                             .activation = last ? NN_IDENTITY : NN_GELU_ERF,
                                             .y = out});
        x = out;
    }
    if (y != tokens)
        nn_copy(context, tokens, y, (size_t)size * sizeof *tokens);
    return MORE_OK;
}

/* ---- What callers may ask --------------------------------------------------------------------------------------- */

more_status nn_grid_rows(const more_grid *grid, int64_t *rows, more_error *error)
{
    const int64_t most = 1 << 24; /* a side or a prefix; keeps the product far from overflow */

    if (grid->grid_width < 0 || grid->grid_width > most || grid->grid_height < 0 || grid->grid_height > most ||
        grid->prefix_tokens < 0 || grid->prefix_tokens > most ||
        grid->prefix_tokens + grid->grid_width * grid->grid_height < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "a grid of %lld x %lld patches behind %lld other rows has no features",
                         (long long)grid->grid_width, (long long)grid->grid_height, (long long)grid->prefix_tokens);
    *rows = grid->prefix_tokens + grid->grid_width * grid->grid_height;
    return MORE_OK;
}

more_status nn_require_projection(const more_projection *projection, int64_t width_in, int64_t tokens,
                                  int64_t width_out, more_error *error)
{
    int64_t in[2] = {0, width_in}, out[2] = {tokens, width_out};
    more_status status = nn_grid_rows(&projection->grid, &in[0], error);

    if (!status)
        status = nn_require_tensor(projection->features, "features", -1, 2, in, error);
    return status ? status : nn_require_tensor(projection->tokens, "tokens", -1, 2, out, error);
}
