/* SPDX-License-Identifier: Apache-2.0
 *
 * LLaVA's projectors: `linear`, one linear layer, and `mlpNx_gelu`, N of them with GELU (exact, by the error function)
 * between. Every feature row becomes one visual token.
 */
#include "projector.h"

#include <stdlib.h>
#include <string.h>

struct more_projector {
    nn_context *context;
    nn_mlp mlp;
    int64_t weight_bytes;
    bool metadata_only;
};

/* ---- Names ------------------------------------------------------------------------------------------------------ */

/* LLaVA stores a torch.nn.Sequential, or for `linear` a single torch.nn.Linear; llava-hf counts its two layers from 1.
 */
static const more_tensor_name names[] = {
    {"layers.*.weight", "*.weight", "mm.*.weight", MORE_TRANSFORM_NONE, true},
    {"layers.*.bias", "*.bias", "mm.*.bias", MORE_TRANSFORM_NONE, true},
    {"layers.0.weight", "weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.bias", "bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.weight", "linear_1.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.bias", "linear_1.bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.2.weight", "linear_2.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.2.bias", "linear_2.bias", NULL, MORE_TRANSFORM_NONE, true},
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
    if (sscanf(kind, "mlp%dx_gelu%n", &layers, &end) != 1 || end == 0 || kind[end] || layers < 1 ||
        layers > NN_MLP_LAYERS)
        return 0;
    return layers;
}

static bool has(const more_weights_service *weights, more_checkpoint *checkpoint, const char *name)
{
    more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};
    return !weights->info(checkpoint, name, &info, NULL) && info.rank == 2;
}

static void mlp_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = host->get_service(host, MORE_WEIGHTS_SERVICE);
    more_weight_info norm = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};
    const char *kind = NULL, *activation = NULL;
    bool fits;

    recognition->score = 0;
    recognition->settings[0] = 0;
    if (!weights) {
        snprintf(recognition->reason, sizeof recognition->reason, "the host offers no %s", MORE_WEIGHTS_SERVICE);
        return;
    }
    weights->get_string(checkpoint, "mm_projector_type", &kind, NULL);
    weights->get_string(checkpoint, "projector_hidden_act", &activation, NULL);
    fits = (has(weights, checkpoint, "0.weight") || has(weights, checkpoint, "mm.0.weight") ||
            has(weights, checkpoint, "weight") || has(weights, checkpoint, "linear_1.weight")) &&
           weights->info(checkpoint, "layer_norm.weight", &norm, NULL) == MORE_ERROR_NOT_FOUND;
    if (fits && (!kind || layers_of_kind(kind)))
        recognition->score = kind || activation ? 100 : 50;
    snprintf(recognition->reason, sizeof recognition->reason, "mm_projector_type %.200s, %s", kind ? kind : "not given",
             fits ? "layers as torch.nn.Sequential or llava-hf name them"
                  : "no matrix 0.weight, weight or linear_1.weight without a norm before it");
}

/* ---- Opening and closing ---------------------------------------------------------------------------------------- */

/* Against what LLaVA's config says. */
static more_status check_kind(const more_projector *projector, const nn_source *source, more_error *error)
{
    const char *path = source->weights->path(source->checkpoint), *kind = NULL;
    more_status status = nn_config_string_or(source, "mm_projector_type", &kind, error);

    if (status || !kind)
        return status;
    if (!layers_of_kind(kind))
        return more_fail(
            error, MORE_ERROR_UNSUPPORTED,
            "%s: mm_projector_type is \"%s\", the mlp plugin takes linear and mlpNx_gelu of up to %d layers", path,
            kind, NN_MLP_LAYERS);
    if (layers_of_kind(kind) != projector->mlp.layers)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: mm_projector_type %s has %d layers, the tensors make %d", path,
                         kind, (int)layers_of_kind(kind), (int)projector->mlp.layers);
    return MORE_OK;
}

static more_status load(more_projector *projector, const nn_source *source, more_error *error)
{
    nn_loader loader = {.source = source, .error = error};
    bool biases = true; /* llava-hf may leave them out */
    more_status status = nn_config_bool_or(source, "multimodal_projector_bias", &biases, error);

    if (status)
        return status;
    nn_mlp_load(&projector->mlp, &loader, biases);
    projector->weight_bytes = loader.bytes;
    return loader.status;
}

static void mlp_close(more_projector *projector)
{
    if (!projector)
        return;
    if (projector->context) { /* else nothing was loaded */
        nn_mlp_free(&projector->mlp, projector->context);
        nn_context_destroy(projector->context);
    }
    free(projector);
}

static more_status mlp_open(const more_open *arguments, int64_t width_in, int64_t width_out, more_projector **projector,
                            more_error *error)
{
    more_projector *own = calloc(1, sizeof *own);
    nn_source source;
    more_status status;

    *projector = NULL;
    if (!own)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for mlp");
    status = nn_open(arguments, "mlp", &own->context, &source, error);
    if (!status)
        status = nn_mlp_find(&own->mlp, &source, error);
    if (!status)
        status = check_kind(own, &source, error);
    if (!status)
        status = nn_mlp_require_widths(&own->mlp, &source, width_in, 1, width_out, error);
    if (!status)
        status = load(own, &source, error);
    status = nn_settled(own->context, status, error);
    if (status) {
        mlp_close(own);
        return status;
    }
    own->metadata_only = source.metadata_only;
    *projector = own;
    return MORE_OK;
}

/* ---- The rest of the interface ---------------------------------------------------------------------------------- */

static more_status mlp_estimate(const more_projector *projector, int64_t features, more_memory *memory,
                                more_error *error)
{
    if (features < 0)
        return more_fail(error, MORE_ERROR_ARGUMENT, "no estimate for %lld features", (long long)features);
    *memory = (more_memory){.weight_bytes = projector->weight_bytes,
                            .activation_bytes = nn_mlp_activation_bytes(&projector->mlp, features)};
    return MORE_OK;
}

static more_status mlp_plan(const more_projector *projector, const more_grid *grid, int64_t *tokens, more_error *error)
{
    (void)projector;
    return nn_grid_rows(grid, tokens, error);
}

static more_status run(const more_projector *projector, const more_projection *projection, int64_t rows,
                       more_error *error)
{
    nn_context *context = projector->context;
    nn_arena *arena = nn_arena_begin(context);
    const float *features =
        arena ? nn_bring(arena, more_tensor_data(projection->features), rows * projector->mlp.layer[0].columns) : NULL;
    more_status status =
        nn_mlp_run(&projector->mlp, context, arena, features, rows, more_tensor_data(projection->tokens), error);

    nn_arena_end(context, arena);
    return nn_settled(context, status, error);
}

static more_status mlp_project(more_projector *projector, const more_projection *projection, more_error *error)
{
    const nn_mlp *mlp = &projector->mlp;
    int64_t rows;
    more_status status;

    if (projector->metadata_only)
        return more_fail(error, MORE_ERROR_ARGUMENT, "the projector was opened for its metadata only and cannot run");
    status = nn_grid_rows(&projection->grid, &rows, error);
    if (!status)
        status =
            nn_require_projection(projection, mlp->layer[0].columns, rows, mlp->layer[mlp->layers - 1].rows, error);
    if (!status)
        status = nn_begin(projector->context, error);
    return status ? status : run(projector, projection, rows, error);
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

static const more_option options[NN_OPTION_COUNT] = {NN_OPTION_ROWS};

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
    .options = options,
    .option_count = NN_OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
