/* SPDX-License-Identifier: Apache-2.0
 *
 * Fewer visual tokens than patches: each square of scale x scale patches becomes one row, their channels side by side,
 * which an optional layer norm and an MLP map to the language model's width. The order within a row is that of
 * Idefics3's and InternVL's (ps_version v2) pixel_shuffle: the patches of the square row by row, top left first.
 *
 * What follows it is decided by the tensors that are there: InternVL's norm, linear, GELU, linear; Idefics3's one
 * linear layer, without bias; or LLaVA's Sequential without a norm. As in both models a grid that is no multiple of
 * scale is refused, and so are rows before the patches, which have no place in a square.
 */
#include "projector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_SCALE = NN_OPTION_COUNT, OPTION_COUNT, MOST_SCALE = 16 };

static const more_option options[OPTION_COUNT] = {
    NN_OPTION_ROWS,
    {"scale", MORE_INT64, "0", 0, MOST_SCALE, NULL,
     "Patches a side that become one visual token; 0 = the checkpoint's scale_factor or 1 / downsample_ratio, else 2"},
};

struct more_projector {
    nn_context *context;
    int64_t scale;
    int64_t width;                  /* channels of a patch */
    int64_t merged;                 /* channels of a square: scale^2 width */
    float *norm_weight, *norm_bias; /* [merged]; NULL without a norm */
    nn_mlp mlp;
    int64_t weight_bytes;
    bool metadata_only;
};

/* ---- Names ------------------------------------------------------------------------------------------------------ */

/* InternVL: mlp1 = Sequential(norm, linear, GELU, linear), in transformers layer_norm, linear_1, linear_2. Idefics3:
 * modality_projection.proj. Else a Sequential that begins with the linear layer, or a single one. */
static const more_tensor_name names[] = {
    {"norm.weight", "layer_norm.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"norm.bias", "layer_norm.bias", NULL, MORE_TRANSFORM_NONE, true},
    {"norm.weight", "0.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"norm.bias", "0.bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.weight", "linear_1.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.bias", "linear_1.bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.weight", "1.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.bias", "1.bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.weight", "modality_projection.proj.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.bias", "modality_projection.proj.bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.weight", "weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.bias", "bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.weight", "0.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.0.bias", "0.bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.2.weight", "linear_2.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.2.bias", "linear_2.bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.2.weight", "3.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.2.bias", "3.bias", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.2.weight", "2.weight", NULL, MORE_TRANSFORM_NONE, true},
    {"layers.2.bias", "2.bias", NULL, MORE_TRANSFORM_NONE, true},
};

static const more_tensor_map *shuffle_tensor_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names,
                                        (int32_t)(sizeof names / sizeof *names)};
    return &map;
}

/* ---- Recognising ------------------------------------------------------------------------------------------------ */

static int32_t rank_of(const more_weights_service *weights, more_checkpoint *checkpoint, const char *name)
{
    more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};
    return weights->info(checkpoint, name, &info, NULL) ? 0 : info.rank;
}

static void shuffle_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = host->get_service(host, MORE_WEIGHTS_SERVICE);
    const char *kind = NULL, *found = NULL;
    double ratio = 0;

    recognition->score = 0;
    recognition->settings[0] = 0;
    if (!weights) {
        snprintf(recognition->reason, sizeof recognition->reason, "the host offers no %s", MORE_WEIGHTS_SERVICE);
        return;
    }
    weights->get_string(checkpoint, "mm_projector_type", &kind, NULL);
    if (rank_of(weights, checkpoint, "modality_projection.proj.weight") == 2)
        found = "modality_projection.proj, as Idefics3";
    else if (rank_of(weights, checkpoint, "layer_norm.weight") == 1)
        found = "layer_norm, as InternVL";
    else if (rank_of(weights, checkpoint, "0.weight") == 1 && rank_of(weights, checkpoint, "1.weight") == 2)
        found = "a norm and a linear layer, as InternVL's mlp1";
    if (kind)
        recognition->score = strcmp(kind, "pixel_shuffle") ? 0 : 100;
    else if (found)
        recognition->score = weights->get_double(checkpoint, "downsample_ratio", &ratio, NULL) &&
                                     weights->get_double(checkpoint, "scale_factor", &ratio, NULL)
                                 ? 50
                                 : 100;
    snprintf(recognition->reason, sizeof recognition->reason, "mm_projector_type %.200s, %s", kind ? kind : "not given",
             found ? found : "no tensors of Idefics3's or InternVL's projector");
}

/* ---- Opening and closing ---------------------------------------------------------------------------------------- */

/* The option, else the config's scale_factor (Idefics3) or downsample_ratio (InternVL), else 2. */
static more_status read_scale(const more_open *arguments, const nn_source *source, int64_t *scale, more_error *error)
{
    double ratio = 0.5, exact;
    more_status status;

    *scale = arguments->option_count > OPTION_SCALE ? arguments->options[OPTION_SCALE].as.i : 0;
    if (*scale > 0)
        return MORE_OK;
    status = nn_config_int64_or(source, "scale_factor", 1, MOST_SCALE, scale, error);
    if (status || *scale > 0)
        return status;
    status = nn_config_double_or(source, "downsample_ratio", &ratio, error);
    if (status)
        return status;
    exact = 1 / ratio;
    if (!(exact > 0.5 && exact < MOST_SCALE + 0.5) || fabs(exact - round(exact)) > 1e-6)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: downsample_ratio %g is not 1 over a whole number up to %d",
                         source->weights->path(source->checkpoint), ratio, (int)MOST_SCALE);
    *scale = (int64_t)round(exact);
    return MORE_OK;
}

/* A norm is there if a vector stands where one would be. */
static more_status load(more_projector *own, const nn_source *source, more_error *error)
{
    nn_loader loader = {.source = source, .error = error};
    more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};

    if (!source->weights->info(source->checkpoint, "norm.weight", &info, NULL) && info.rank == 1) {
        nn_load_vector(&loader, "norm.weight", 0, own->merged, &own->norm_weight);
        nn_load_vector(&loader, "norm.bias", 0, own->merged, &own->norm_bias);
    }
    nn_mlp_load(&own->mlp, &loader, own->mlp.layers > 1);
    own->weight_bytes = loader.bytes;
    return loader.status;
}

static void shuffle_close(more_projector *own)
{
    if (!own)
        return;
    if (own->context) { /* else nothing was loaded */
        nn_free(own->context, own->norm_weight);
        nn_free(own->context, own->norm_bias);
        nn_mlp_free(&own->mlp, own->context);
        nn_context_destroy(own->context);
    }
    free(own);
}

static more_status shuffle_open(const more_open *arguments, int64_t width_in, int64_t width_out,
                                more_projector **projector, more_error *error)
{
    more_projector *own = calloc(1, sizeof *own);
    nn_source source;
    more_status status;

    *projector = NULL;
    if (!own)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for pixel_shuffle");
    status = nn_open(arguments, "pixel_shuffle", &own->context, &source, error);
    if (!status)
        status = read_scale(arguments, &source, &own->scale, error);
    if (!status)
        status = nn_mlp_find(&own->mlp, &source, error);
    if (!status)
        status = nn_mlp_require_widths(&own->mlp, &source, width_in, own->scale * own->scale, width_out, error);
    if (!status) {
        own->width = width_in;
        own->merged = own->mlp.layer[0].columns;
        own->metadata_only = source.metadata_only;
        status = load(own, &source, error);
    }
    status = nn_settled(own->context, status, error);
    if (status) {
        shuffle_close(own);
        return status;
    }
    *projector = own;
    return MORE_OK;
}

/* ---- The rest of the interface ---------------------------------------------------------------------------------- */

static more_status shuffle_estimate(const more_projector *own, int64_t features, more_memory *memory, more_error *error)
{
    int64_t tokens = features / (own->scale * own->scale);

    if (features < 0)
        return more_fail(error, MORE_ERROR_ARGUMENT, "no estimate for %lld features", (long long)features);
    *memory = (more_memory){.weight_bytes = own->weight_bytes,
                            .activation_bytes = tokens * own->merged * (int64_t)sizeof(float) +
                                                nn_mlp_activation_bytes(&own->mlp, tokens)};
    return MORE_OK;
}

static more_status shuffle_plan(const more_projector *own, const more_grid *grid, int64_t *tokens, more_error *error)
{
    long long scale = (long long)own->scale;
    int64_t rows;
    more_status status = nn_grid_rows(grid, &rows, error);

    if (status)
        return status;
    if (grid->prefix_tokens)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "pixel_shuffle merges patches and has no place for the %lld rows before them: set select = "
                         "patch",
                         (long long)grid->prefix_tokens);
    if (grid->grid_width % own->scale || grid->grid_height % own->scale)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "a grid of %lld x %lld patches cannot be cut into squares of %lld x %lld (scale = %lld)",
                         (long long)grid->grid_width, (long long)grid->grid_height, scale, scale, scale);
    *tokens = rows / (own->scale * own->scale);
    return MORE_OK;
}

/* squares [tokens, merged]: a row of a square is `scale` neighbouring patches, which lie together in the features too.
 */
static void shuffle(const more_projector *own, const more_grid *grid, const float *features, float *squares)
{
    int64_t scale = own->scale, span = scale * own->width;

    for (int64_t y = 0; y < grid->grid_height; y += scale)
        for (int64_t x = 0; x < grid->grid_width; x += scale)
            for (int64_t row = y; row < y + scale; row++, squares += span)
                nn_copy(own->context, squares, features + (row * grid->grid_width + x) * own->width,
                        (size_t)span * sizeof *squares);
}

static more_status shuffle_project(more_projector *own, const more_projection *projection, more_error *error)
{
    int64_t tokens;
    float *squares;
    nn_arena *arena;
    more_status status;

    if (own->metadata_only)
        return more_fail(error, MORE_ERROR_ARGUMENT, "the projector was opened for its metadata only and cannot run");
    status = shuffle_plan(own, &projection->grid, &tokens, error);
    if (!status)
        status = nn_require_projection(projection, own->width, tokens, own->mlp.layer[own->mlp.layers - 1].rows, error);
    if (!status)
        status = nn_begin(own->context, error);
    if (status)
        return status;
    arena = nn_arena_begin(own->context);
    squares = arena ? nn_arena_f32(arena, tokens * own->merged) : NULL;
    if (squares) {
        shuffle(own, &projection->grid, more_tensor_data(projection->features), squares);
        if (own->norm_weight)
            nn_layer_norm(own->context, squares, tokens, own->merged, own->norm_weight, own->norm_bias, 1e-5f, squares);
        status =
            nn_mlp_run(&own->mlp, own->context, arena, squares, tokens, more_tensor_data(projection->tokens), error);
    } else {
        status = more_fail(error, MORE_ERROR_MEMORY, "no memory to project %lld rows", (long long)tokens);
    }
    nn_arena_end(own->context, arena);
    return nn_settled(own->context, status, error);
}

static const more_projector_interface projector_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_projector_interface, project),
    .recognise = shuffle_recognise,
    .tensor_map = shuffle_tensor_map,
    .open = shuffle_open,
    .close = shuffle_close,
    .estimate = shuffle_estimate,
    .plan = shuffle_plan,
    .project = shuffle_project,
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
    .id = "pixel_shuffle",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "Squares of patches as one visual token each, as Idefics3 and InternVL",
    .options = options,
    .option_count = OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
