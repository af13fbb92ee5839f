/* SPDX-License-Identifier: Apache-2.0
 *
 * LLaVA's projectors: `linear`, one linear layer, and `mlpNx_gelu`, N of them with GELU (exact, by the error function)
 * between. Every feature row becomes one visual token.
 */
#include "loader.h"
#include "require.h"

#include <llavamore/projector.h>

#include <stdlib.h>
#include <string.h>

#define MAX_LAYERS 16
#define NAME_SIZE 32

typedef struct layer {
    int64_t columns, rows; /* width in and out */
    nn_matrix *weight;
    float *bias;
} layer;

struct more_projector {
    nn_context *context;
    bool unnumbered; /* one layer, whose tensors have no number in their names */
    int32_t layers;
    layer layer[MAX_LAYERS];
    int64_t widest; /* of what lies between layers */
    int64_t weight_bytes;
    bool metadata_only;
};

/* ---- Names ------------------------------------------------------------------------------------------------------ */

/* torch.nn.Sequential counts the activations too, so layer i of an MLP is number 2i; a single layer has no number. */
static const more_tensor_name names[] = {
    {"layers.*.weight", "*.weight", "mm.*.weight", MORE_TRANSFORM_NONE, true},
    {"layers.*.bias", "*.bias", "mm.*.bias", MORE_TRANSFORM_NONE, true},
    {"linear.weight", "weight", NULL, MORE_TRANSFORM_NONE, true},
    {"linear.bias", "bias", NULL, MORE_TRANSFORM_NONE, true},
};

static const more_tensor_map *mlp_tensor_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names,
                                        (int32_t)(sizeof names / sizeof *names)};
    return &map;
}

/* ---- Recognising ------------------------------------------------------------------------------------------------ */

/* Layers of a kind that LLaVA's config names: 1 for linear, N for mlpNx_gelu, 0 for anything else. */
static int32_t layers_of_kind(const char *kind)
{
    int layers = 0, end = 0;
    if (!strcmp(kind, "linear"))
        return 1;
    if (sscanf(kind, "mlp%dx_gelu%n", &layers, &end) != 1 || end == 0 || kind[end] || layers < 1 || layers > MAX_LAYERS)
        return 0;
    return layers;
}

static void mlp_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = host->get_service(host, MORE_WEIGHTS_SERVICE);
    more_weight_info info = {.struct_size = sizeof info};
    const char *kind = NULL;
    bool has_tensors;

    recognition->score = 0;
    recognition->settings[0] = 0;
    if (!weights) {
        snprintf(recognition->reason, sizeof recognition->reason, "the host offers no %s", MORE_WEIGHTS_SERVICE);
        return;
    }
    weights->get_string(checkpoint, "mm_projector_type", &kind, NULL);
    has_tensors = !weights->info(checkpoint, "0.weight", &info, NULL) ||
                  !weights->info(checkpoint, "mm.0.weight", &info, NULL) ||
                  (!weights->info(checkpoint, "weight", &info, NULL) && info.rank == 2);
    if (has_tensors && (!kind || layers_of_kind(kind)))
        recognition->score = kind ? 100 : 50;
    snprintf(recognition->reason, sizeof recognition->reason, "mm_projector_type %.200s, %s", kind ? kind : "not given",
             has_tensors ? "layers as torch.nn.Sequential numbers them" : "no tensor 0.weight or weight");
}

/* ---- Loading ---------------------------------------------------------------------------------------------------- */

/* Canonical name of layer i's weight or bias. */
static const char *name_of(const more_projector *mlp, int32_t i, const char *what, char name[NAME_SIZE])
{
    if (mlp->unnumbered)
        snprintf(name, NAME_SIZE, "linear.%s", what);
    else
        snprintf(name, NAME_SIZE, "layers.%d.%s", 2 * (int)i, what);
    return name;
}

/* Reads the shape of layer i; MORE_ERROR_NOT_FOUND when there is no such layer. */
static more_status find_layer(more_projector *mlp, const nn_source *source, int32_t i, more_error *error)
{
    more_weight_info info = {.struct_size = sizeof info};
    char name[NAME_SIZE];
    more_status status = source->weights->info(source->checkpoint, name_of(mlp, i, "weight", name), &info, error);

    if (status)
        return status;
    if (info.rank != 2 || info.shape[0] < 1 || info.shape[1] < 1)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor %s has rank %d, a projector's layer is a matrix",
                         source->weights->path(source->checkpoint), info.name, (int)info.rank);
    mlp->layer[i].rows = info.shape[0];
    mlp->layer[i].columns = info.shape[1];
    if (i > 0 && mlp->layer[i - 1].rows != info.shape[1])
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor %s takes %lld channels, the layer before it gives %lld",
                         source->weights->path(source->checkpoint), info.name, (long long)info.shape[1],
                         (long long)mlp->layer[i - 1].rows);
    return MORE_OK;
}

static more_status find_layers(more_projector *mlp, const nn_source *source, more_error *error)
{
    more_status status = find_layer(mlp, source, 0, error);

    if (status == MORE_ERROR_NOT_FOUND) {
        mlp->unnumbered = true;
        status = find_layer(mlp, source, 0, NULL);
        if (status == MORE_ERROR_NOT_FOUND)
            return more_fail(error, status, "%s: no projector here, neither 0.weight nor weight is among its tensors",
                             source->weights->path(source->checkpoint));
        mlp->layers = 1;
        return status ? find_layer(mlp, source, 0, error) : MORE_OK;
    }
    while (!status && ++mlp->layers < MAX_LAYERS)
        status = find_layer(mlp, source, mlp->layers, error);
    return status == MORE_ERROR_NOT_FOUND ? MORE_OK : status;
}

/* Against what the config says and what stands on both sides. */
static more_status check_layers(const more_projector *mlp, const nn_source *source, int64_t width_in, int64_t width_out,
                                more_error *error)
{
    const char *path = source->weights->path(source->checkpoint), *kind = NULL;
    int64_t in = mlp->layer[0].columns, out = mlp->layer[mlp->layers - 1].rows;
    more_status status = nn_config_string_or(source, "mm_projector_type", &kind, error);

    if (status)
        return status;
    if (kind && !layers_of_kind(kind))
        return more_fail(
            error, MORE_ERROR_UNSUPPORTED,
            "%s: mm_projector_type is \"%s\", the mlp plugin takes linear and mlpNx_gelu of up to %d layers", path,
            kind, MAX_LAYERS);
    if (kind && layers_of_kind(kind) != mlp->layers)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: mm_projector_type %s has %d layers, the tensors make %d", path,
                         kind, (int)layers_of_kind(kind), (int)mlp->layers);
    if (in != width_in)
        return more_fail(
            error, MORE_ERROR_ARGUMENT,
            "%s: the projector takes %lld channels, the vision encoder gives %lld: they do not belong together", path,
            (long long)in, (long long)width_in);
    if (out != width_out)
        return more_fail(
            error, MORE_ERROR_ARGUMENT,
            "%s: the projector gives rows of %lld, the language model's width is %lld: they do not belong together",
            path, (long long)out, (long long)width_out);
    return MORE_OK;
}

static more_status load(more_projector *mlp, const nn_source *source, more_error *error)
{
    nn_loader loader = {.source = source, .error = error};
    char name[NAME_SIZE];

    for (int32_t i = 0; i < mlp->layers; i++) {
        layer *own = &mlp->layer[i];
        nn_load_matrix(&loader, name_of(mlp, i, "weight", name), 0, own->rows, own->columns, &own->weight);
        nn_load_vector(&loader, name_of(mlp, i, "bias", name), 0, own->rows, &own->bias);
        if (i + 1 < mlp->layers && own->rows > mlp->widest)
            mlp->widest = own->rows;
    }
    mlp->weight_bytes = loader.bytes;
    return loader.status;
}

/* ---- Opening and closing ---------------------------------------------------------------------------------------- */

static void mlp_close(more_projector *mlp)
{
    if (!mlp)
        return;
    for (int32_t i = 0; i < mlp->layers; i++) {
        nn_matrix_free(mlp->context, mlp->layer[i].weight);
        nn_free(mlp->context, mlp->layer[i].bias);
    }
    if (mlp->context)
        nn_context_destroy(mlp->context);
    free(mlp);
}

static more_status mlp_open(const more_open *arguments, int64_t width_in, int64_t width_out, more_projector **projector,
                            more_error *error)
{
    more_projector *mlp = calloc(1, sizeof *mlp);
    nn_source source;
    more_status status;

    *projector = NULL;
    if (!mlp)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for mlp");
    status = nn_require_host(arguments, "mlp", error);
    if (!status)
        status = nn_context_create(arguments->host, &mlp->context, error);
    if (!status)
        status = nn_source_open(mlp->context, arguments, &source, error);
    if (!status)
        status = find_layers(mlp, &source, error);
    if (!status)
        status = check_layers(mlp, &source, width_in, width_out, error);
    if (!status)
        status = load(mlp, &source, error);
    if (status) {
        mlp_close(mlp);
        return status;
    }
    mlp->metadata_only = source.metadata_only;
    *projector = mlp;
    return MORE_OK;
}

/* ---- The rest of the interface ---------------------------------------------------------------------------------- */

static more_status mlp_estimate(const more_projector *mlp, int64_t features, more_memory *memory, more_error *error)
{
    if (features < 0)
        return more_fail(error, MORE_ERROR_ARGUMENT, "no estimate for %lld features", (long long)features);
    *memory = (more_memory){.weight_bytes = mlp->weight_bytes,
                            .activation_bytes = 2 * features * mlp->widest * (int64_t)sizeof(float)};
    return MORE_OK;
}

static more_status mlp_plan(const more_projector *mlp, const more_grid *grid, int64_t *tokens, more_error *error)
{
    const int64_t most = 1 << 24; /* a side or a prefix; keeps the product far from overflow */

    (void)mlp;
    if (grid->grid_width < 0 || grid->grid_width > most || grid->grid_height < 0 || grid->grid_height > most ||
        grid->prefix_tokens < 0 || grid->prefix_tokens > most ||
        grid->prefix_tokens + grid->grid_width * grid->grid_height < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "a grid of %lld x %lld patches behind %lld other rows has no features",
                         (long long)grid->grid_width, (long long)grid->grid_height, (long long)grid->prefix_tokens);
    *tokens = grid->prefix_tokens + grid->grid_width * grid->grid_height;
    return MORE_OK;
}

/* tokens = W_n gelu(... gelu(W_1 features + b_1) ...) + b_n */
static void run(const more_projector *mlp, const float *features, int64_t rows, float *const between[2], float *tokens)
{
    const float *x = features;

    for (int32_t i = 0; i < mlp->layers; i++) {
        bool last = i + 1 == mlp->layers;
        float *y = last ? tokens : between[i % 2];
        nn_linear(mlp->context, &(nn_linear_args){.x = x,
                                                  .rows = rows,
                                                  .weight = mlp->layer[i].weight,
                                                  .bias = mlp->layer[i].bias,
                                                  .activation = last ? NN_IDENTITY : NN_GELU_ERF,
                                                  .y = y});
        x = y;
    }
}

static more_status mlp_project(more_projector *mlp, const more_projection *projection, more_error *error)
{
    int64_t rows, shape_in[2] = {0, mlp->layer[0].columns}, shape_out[2] = {0, mlp->layer[mlp->layers - 1].rows};
    float *between[2] = {NULL, NULL};
    nn_arena *arena;
    more_status status;

    if (mlp->metadata_only)
        return more_fail(error, MORE_ERROR_ARGUMENT, "the projector was opened for its metadata only and cannot run");
    status = mlp_plan(mlp, &projection->grid, &rows, error);
    shape_in[0] = shape_out[0] = rows;
    if (!status)
        status = nn_require_tensor(projection->features, "features", -1, 2, shape_in, error);
    if (!status)
        status = nn_require_tensor(projection->tokens, "tokens", -1, 2, shape_out, error);
    if (status)
        return status;
    arena = nn_arena_begin(mlp->context);
    for (int i = 0; i < 2 && arena && mlp->layers > 1; i++)
        between[i] = nn_arena_f32(arena, rows * mlp->widest);
    if (!arena || (mlp->layers > 1 && (!between[0] || !between[1])))
        status = more_fail(error, MORE_ERROR_MEMORY, "no memory to project %lld rows", (long long)rows);
    else
        run(mlp, more_tensor_data(projection->features), rows, between, more_tensor_data(projection->tokens));
    nn_arena_end(mlp->context, arena);
    return status;
}

static const more_projector_interface projector_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_projector_interface, project),
    .recognise = mlp_recognise,
    .tensor_map = mlp_tensor_map,
    .open = mlp_open,
    .close = mlp_close,
    .estimate = mlp_estimate,
    .plan = mlp_plan,
    .project = mlp_project,
};

static int32_t score(void)
{
    return 100;
}

static const void *get_interface(const char *id)
{
    return strcmp(id, MORE_PROJECTOR_INTERFACE) ? NULL : &projector_interface;
}

static const more_plugin plugin = {
    .struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
    .abi_version = MORE_ABI_VERSION,
    .kind = MORE_KIND_PROJECTOR,
    .id = "mlp",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "LLaVA's projectors: linear and mlpNx_gelu",
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
