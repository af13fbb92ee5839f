/* SPDX-License-Identifier: Apache-2.0 */
#include "encoder.h"

#include "require.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 16 /* images that go through the blocks together; bounds the memory of a large batch */
#define MAX_TOKENS (1 << 20)
#define LAYER "layers.*."

static const nn_encoder *of(const more_vision *vision)
{
    return (const nn_encoder *)(const void *)vision;
}

/* ---- Loading ---------------------------------------------------------------------------------------------------- */

static void load_attention(nn_loader *loader, const nn_encoder *encoder, int64_t i, nn_encoder_block *block)
{
    int64_t width = encoder->width;
    const nn_part weights[] = {{LAYER "attention.query.weight", width},
                               {LAYER "attention.key.weight", width},
                               {LAYER "attention.value.weight", width}};
    const nn_part biases[] = {{LAYER "attention.query.bias", width},
                              {LAYER "attention.key.bias", width},
                              {LAYER "attention.value.bias", width}};

    nn_load_vector(loader, LAYER "norm1.weight", i, width, &block->norm1_weight);
    nn_load_vector(loader, LAYER "norm1.bias", i, width, &block->norm1_bias);
    nn_load_stacked(loader, weights, 3, i, width, &block->query_key_value);
    if (encoder->attention_bias)
        nn_load_stacked_vector(loader, biases, 3, i, &block->query_key_value_bias);
    nn_load_matrix(loader, LAYER "attention.output.weight", i, width, width, &block->output);
    nn_load_vector(loader, LAYER "attention.output.bias", i, width, &block->output_bias);
    if (encoder->layer_scale)
        nn_load_vector(loader, LAYER "scale1", i, width, &block->scale1);
}

static void load_mlp(nn_loader *loader, const nn_encoder *encoder, int64_t i, nn_encoder_block *block)
{
    int64_t width = encoder->width, up = (encoder->gated ? 2 : 1) * encoder->intermediate;

    nn_load_vector(loader, LAYER "norm2.weight", i, width, &block->norm2_weight);
    nn_load_vector(loader, LAYER "norm2.bias", i, width, &block->norm2_bias);
    nn_load_matrix(loader, LAYER "mlp.up.weight", i, up, width, &block->up);
    nn_load_vector(loader, LAYER "mlp.up.bias", i, up, &block->up_bias);
    nn_load_matrix(loader, LAYER "mlp.down.weight", i, width, encoder->intermediate, &block->down);
    nn_load_vector(loader, LAYER "mlp.down.bias", i, width, &block->down_bias);
    if (encoder->layer_scale)
        nn_load_vector(loader, LAYER "scale2", i, width, &block->scale2);
}

static more_status load(nn_encoder *encoder, const nn_source *source, more_error *error)
{
    nn_loader loader = {.source = source, .error = error};
    char stage[64];

    snprintf(stage, sizeof stage, "loading %s", encoder->kind->name);
    encoder->kind->load(encoder, &loader);
    for (int64_t i = 0; i < encoder->loaded && !loader.status; i++) {
        load_attention(&loader, encoder, i, &encoder->blocks[i]);
        load_mlp(&loader, encoder, i, &encoder->blocks[i]);
        nn_progress(encoder->context, stage, i + 1, encoder->loaded);
        if (!loader.status && nn_cancelled(encoder->context))
            loader.status = more_fail(error, MORE_ERROR_CANCELLED, "loading of %s was stopped", encoder->kind->name);
    }
    encoder->weight_bytes = loader.bytes;
    return loader.status;
}

static void unload_block(nn_context *context, const nn_encoder_block *block)
{
    float *vectors[] = {block->norm1_weight, block->norm1_bias,   block->query_key_value_bias, block->output_bias,
                        block->scale1,       block->norm2_weight, block->norm2_bias,           block->up_bias,
                        block->down_bias,    block->scale2};
    nn_matrix *matrices[] = {block->query_key_value, block->output, block->up, block->down};

    for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++)
        nn_free(context, vectors[k]);
    for (size_t k = 0; k < sizeof matrices / sizeof *matrices; k++)
        nn_matrix_free(context, matrices[k]);
}

void nn_encoder_close(more_vision *vision)
{
    nn_encoder *encoder = (nn_encoder *)(void *)vision;

    if (!encoder)
        return;
    if (encoder->context) { /* else nothing was loaded */
        encoder->kind->unload(encoder);
        for (int64_t i = 0; encoder->blocks && i < encoder->loaded; i++)
            unload_block(encoder->context, &encoder->blocks[i]);
        nn_context_destroy(encoder->context);
    }
    free(encoder->blocks);
    free(encoder);
}

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

const more_option nn_encoder_options[NN_ENCODER_OPTION_COUNT] = {NN_ENCODER_OPTION_ROWS};

/* What configure() left, and the numbers that follow. */
static more_status complete(nn_encoder *encoder, const nn_source *source, const more_open *arguments, more_error *error)
{
    const char *path = source->weights->path(source->checkpoint);
    int64_t blocks =
        arguments->option_count > NN_ENCODER_OPTION_BLOCKS ? arguments->options[NN_ENCODER_OPTION_BLOCKS].as.i : 0;

    if (encoder->intermediate < 1)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: intermediate_size is missing", path);
    if (encoder->tokens > MAX_TOKENS)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: image_size %lld over patch_size %lld makes %lld tokens",
                         path, (long long)encoder->image_size, (long long)encoder->patch_size,
                         (long long)encoder->tokens);
    if (blocks < 0 || blocks > encoder->layers)
        return more_fail(error, MORE_ERROR_ARGUMENT, "blocks = %lld, but %s has %lld", (long long)blocks, path,
                         (long long)encoder->layers);
    encoder->metadata_only = source->metadata_only;
    encoder->loaded = blocks > 0 ? blocks : encoder->layers;
    encoder->blocks = calloc((size_t)encoder->loaded, sizeof *encoder->blocks);
    if (!encoder->blocks)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld blocks", (long long)encoder->loaded);
    return MORE_OK;
}

more_status nn_encoder_open(const nn_encoder_kind *kind, const more_open *arguments, more_vision **vision,
                            more_error *error)
{
    nn_encoder *encoder = calloc(1, kind->size);
    nn_source source;
    more_status status;

    *vision = NULL;
    if (!encoder)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %s", kind->name);
    encoder->kind = kind;
    status = nn_open(arguments, kind->name, &encoder->context, &source, error);
    if (!status)
        status = kind->configure(encoder, &source, arguments, error);
    if (!status)
        status = complete(encoder, &source, arguments, error);
    if (!status)
        status = load(encoder, &source, error);
    status = nn_settled(encoder->context, status, error);
    if (status) {
        nn_encoder_close((more_vision *)(void *)encoder);
        return status;
    }
    *vision = (more_vision *)(void *)encoder;
    return MORE_OK;
}

/* ---- What it says of itself ------------------------------------------------------------------------------------- */

void nn_encoder_describe(const more_vision *vision, more_vision_info *info)
{
    const nn_encoder *encoder = of(vision);
    const more_vision_info own = {.feature_width = encoder->width,
                                  .layers = encoder->layers,
                                  .patch_size = encoder->patch_size,
                                  .image_size = encoder->image_size,
                                  .prefix_tokens = encoder->prefix_tokens,
                                  .resolutions = encoder->resolutions,
                                  .preprocess = encoder->preprocess,
                                  .weight_formats = NN_WEIGHT_FORMATS};
    size_t size = info->struct_size < sizeof own ? info->struct_size : sizeof own;

    memcpy((char *)info + sizeof size, (const char *)&own + sizeof size, size - sizeof size);
}

/* Floats of the buffers of `rows` tokens. */
static int64_t buffer_floats(const nn_encoder *encoder, int64_t rows)
{
    return rows * (6 * encoder->width + (encoder->layer_scale ? encoder->width : 0) +
                   (encoder->gated ? 3 : 1) * encoder->intermediate);
}

more_status nn_encoder_estimate(const more_vision *vision, int64_t images, more_memory *memory, more_error *error)
{
    const nn_encoder *encoder = of(vision);
    int64_t rows = (images < CHUNK ? images : CHUNK) * encoder->tokens;

    if (images < 0)
        return more_fail(error, MORE_ERROR_ARGUMENT, "no estimate for %lld images", (long long)images);
    *memory =
        (more_memory){.weight_bytes = encoder->weight_bytes,
                      .activation_bytes =
                          images ? (buffer_floats(encoder, rows) + encoder->embed_floats) * (int64_t)sizeof(float) : 0};
    return MORE_OK;
}

more_status nn_encoder_plan(const more_vision *vision, int64_t width, int64_t height, more_vision_plan *plan,
                            more_error *error)
{
    const nn_encoder *encoder = of(vision);
    int64_t grid = encoder->image_size / encoder->patch_size;

    if (width < 1 || height < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT, "an image of %lld x %lld pixels has no content", (long long)width,
                         (long long)height);
    if (encoder->kind->plan)
        return encoder->kind->plan(encoder, width, height, plan, error);
    plan->pixel_width = plan->pixel_height = encoder->image_size;
    plan->grid_width = plan->grid_height = grid;
    plan->prefix_tokens = encoder->prefix_tokens;
    plan->tokens = encoder->prefix_tokens + grid * grid;
    return MORE_OK;
}

/* ---- Blocks ----------------------------------------------------------------------------------------------------- */

/* A chunk of images on its way through the blocks. */
typedef struct chunk {
    const nn_encoder *encoder;
    const more_vision_batch *batch;
    int64_t first, images;
    int64_t rows;           /* tokens of all its images, one image behind the other */
    float *x;               /* [rows, width] */
    float *normed;          /* [rows, width] */
    float *query_key_value; /* [rows, 3 width] */
    float *attended;        /* [rows, width] */
    float *inner;           /* [rows, intermediate]; gated: twice as wide */
    float *gated;           /* [rows, intermediate]; inner itself where there is no gate */
    float *branch;          /* [rows, width], before its LayerScale; NULL without */
} chunk;

static more_status take_buffers(nn_arena *arena, chunk *c, more_error *error)
{
    const nn_encoder *encoder = c->encoder;
    int64_t rows = c->rows, width = encoder->width, intermediate = encoder->intermediate;

    c->x = nn_arena_f32(arena, rows * width);
    c->normed = nn_arena_f32(arena, rows * width);
    c->query_key_value = nn_arena_f32(arena, rows * 3 * width);
    c->attended = nn_arena_f32(arena, rows * width);
    c->inner = nn_arena_f32(arena, rows * intermediate * (encoder->gated ? 2 : 1));
    c->gated = encoder->gated ? nn_arena_f32(arena, rows * intermediate) : c->inner;
    c->branch = encoder->layer_scale ? nn_arena_f32(arena, rows * width) : NULL;
    if (!c->x || !c->normed || !c->query_key_value || !c->attended || !c->inner || !c->gated ||
        (encoder->layer_scale && !c->branch))
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld image tokens: encode fewer images at once",
                         (long long)rows);
    return MORE_OK;
}

/* x += scale * (in W^T + bias); scale NULL = 1 */
static void add_branch(const chunk *c, const float *in, const nn_matrix *weight, const float *bias, const float *scale)
{
    nn_context *context = c->encoder->context;

    nn_linear(context, &(nn_linear_args){.x = in,
                                         .rows = c->rows,
                                         .weight = weight,
                                         .bias = bias,
                                         .residual = scale ? NULL : c->x,
                                         .y = scale ? c->branch : c->x});
    if (scale)
        nn_add_scaled(context, c->branch, scale, c->rows, c->encoder->width, c->x);
}

/* Every image looks at its own rows; neighbours of one size go in one call. */
static void attend(const chunk *c)
{
    const nn_encoder *encoder = c->encoder;
    int64_t width = encoder->width, row = 0, images;

    for (int64_t i = 0; i < c->images; i += images) {
        const more_vision_plan *plans = &c->batch->plans[c->first + i];
        const float *query = c->query_key_value + row * 3 * width;
        images = 1;
        while (i + images < c->images && plans[images].tokens == plans[0].tokens)
            images++;
        nn_attention_full(encoder->context, query, query + width, query + 2 * width, 3 * width, images, plans[0].tokens,
                          NULL, encoder->heads, encoder->head_dimension, 1 / sqrtf((float)encoder->head_dimension),
                          c->attended + row * width);
        row += images * plans[0].tokens;
    }
}

static void run_block(const chunk *c, const nn_encoder_block *block)
{
    const nn_encoder *encoder = c->encoder;
    float epsilon = (float)encoder->epsilon;

    nn_layer_norm(encoder->context, c->x, c->rows, encoder->width, block->norm1_weight, block->norm1_bias, epsilon,
                  c->normed);
    nn_linear(encoder->context, &(nn_linear_args){.x = c->normed,
                                                  .rows = c->rows,
                                                  .weight = block->query_key_value,
                                                  .bias = block->query_key_value_bias,
                                                  .y = c->query_key_value});
    attend(c);
    add_branch(c, c->attended, block->output, block->output_bias, block->scale1);
    nn_layer_norm(encoder->context, c->x, c->rows, encoder->width, block->norm2_weight, block->norm2_bias, epsilon,
                  c->normed);
    nn_linear(encoder->context, &(nn_linear_args){.x = c->normed,
                                                  .rows = c->rows,
                                                  .weight = block->up,
                                                  .bias = block->up_bias,
                                                  .activation = encoder->gated ? NN_IDENTITY : encoder->activation,
                                                  .y = c->inner});
    if (encoder->gated)
        nn_glu(encoder->context, encoder->activation, c->inner, c->rows, encoder->intermediate, c->gated);
    add_branch(c, c->gated, block->down, block->down_bias, block->scale2);
}

/* ---- A batch ---------------------------------------------------------------------------------------------------- */

/* Index of the state that `layer` means: negative numbers count from the end. */
static int64_t state_of(const nn_encoder *encoder, int32_t layer)
{
    return layer < 0 ? encoder->layers + 1 + layer : layer;
}

/* Rows that are given out of an image, and those before them that are not. */
static int64_t kept_rows(const more_vision_batch *batch, const more_vision_plan *plan)
{
    return plan->tokens - (batch->select == MORE_SELECT_PATCH ? plan->prefix_tokens : 0);
}

/* Copies state `state` of the chunk's images to the outputs that asked for it. */
static void give_state(const chunk *c, int64_t state)
{
    const more_vision_batch *batch = c->batch;
    int64_t width = c->encoder->width;

    for (int32_t k = 0; k < batch->layer_count; k++) {
        float *features = more_tensor_data(&batch->features[k]);
        int64_t rows = batch->features[k].dl.shape[1];
        const float *x = c->x;
        if (state_of(c->encoder, batch->layers[k]) != state)
            continue;
        for (int64_t i = c->first; i < c->first + c->images; i++) {
            const more_vision_plan *plan = &c->batch->plans[i];
            int64_t kept = kept_rows(batch, plan);
            float *own = features + i * rows * width;
            nn_copy(c->encoder->context, own, x + (plan->tokens - kept) * width, (size_t)(kept * width) * sizeof *own);
            memset(own + kept * width, 0, (size_t)((rows - kept) * width) * sizeof *own);
            x += plan->tokens * width;
        }
    }
}

more_status nn_encoder_embed_patches(const nn_encoder *encoder, nn_arena *arena, const float *pixels,
                                     const more_vision_plan *plan, const nn_matrix *weight, const float *bias,
                                     const float *positions, float *x, more_error *error)
{
    int64_t patch = encoder->patch_size, grid = plan->grid_width * plan->grid_height;
    float *patches = nn_arena_f32(arena, grid * 3 * patch * patch);

    if (!patches)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld patches", (long long)grid);
    nn_patches(encoder->context, pixels, plan->pixel_height, plan->pixel_width, patch, patches);
    nn_linear(
        encoder->context,
        &(nn_linear_args){.x = patches, .rows = grid, .weight = weight, .bias = bias, .residual = positions, .y = x});
    return MORE_OK;
}

static more_status embed_images(const chunk *c, more_error *error)
{
    const nn_encoder *encoder = c->encoder;
    float *x = c->x;
    more_status status = MORE_OK;

    for (int64_t i = c->first; i < c->first + c->images && !status; i++) {
        const more_vision_plan *plan = &c->batch->plans[i];
        nn_arena *arena = nn_arena_begin(encoder->context);
        const float *pixels =
            arena ? nn_bring(arena, more_tensor_data(&c->batch->pixels[i]), 3 * plan->pixel_height * plan->pixel_width)
                  : NULL;
        if (pixels)
            status = encoder->kind->embed(encoder, arena, pixels, plan, x, error);
        else
            status = more_fail(error, MORE_ERROR_MEMORY, "no memory for the patches of image %lld", (long long)i);
        nn_arena_end(encoder->context, arena);
        x += plan->tokens * encoder->width;
    }
    return status;
}

static more_status run_chunk(chunk *c, int64_t last_state, more_error *error)
{
    const nn_encoder *encoder = c->encoder;
    nn_arena *arena = nn_arena_begin(encoder->context);
    more_status status;

    if (!arena)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory to encode %lld images", (long long)c->images);
    status = take_buffers(arena, c, error);
    if (!status)
        status = embed_images(c, error);
    for (int64_t state = 0; state <= last_state && !status; state++) {
        if (nn_cancelled(encoder->context)) {
            status = more_fail(error, MORE_ERROR_CANCELLED, "encoding was stopped after %lld of %lld blocks",
                               (long long)(state > 0 ? state - 1 : 0), (long long)encoder->layers);
            break;
        }
        if (state > 0)
            run_block(c, &encoder->blocks[state - 1]);
        give_state(c, state);
        nn_progress(encoder->context, "encoding", c->first * (last_state + 1) + c->images * (state + 1),
                    c->batch->images * (last_state + 1));
    }
    nn_arena_end(encoder->context, arena);
    return status;
}

/* ---- What callers may ask --------------------------------------------------------------------------------------- */

static more_status check_image(const nn_encoder *encoder, const more_vision_batch *batch, int64_t i, more_error *error)
{
    const more_vision_plan *plan = &batch->plans[i];
    int64_t patch = encoder->patch_size, limit = (int64_t)MAX_TOKENS * patch;
    int64_t pixels[3] = {3, plan->pixel_height, plan->pixel_width};

    if (plan->pixel_width < patch || plan->pixel_height < patch || plan->pixel_width > limit ||
        plan->pixel_height > limit || plan->grid_width != plan->pixel_width / patch ||
        plan->grid_height != plan->pixel_height / patch || plan->prefix_tokens != encoder->prefix_tokens ||
        plan->tokens != plan->prefix_tokens + plan->grid_width * plan->grid_height || plan->tokens > MAX_TOKENS)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "plan of image %lld: %lld x %lld pixels, %lld x %lld patches of %lld, %lld tokens do not fit "
                         "together",
                         (long long)i, (long long)plan->pixel_width, (long long)plan->pixel_height,
                         (long long)plan->grid_width, (long long)plan->grid_height, (long long)patch,
                         (long long)plan->tokens);
    if (encoder->resolutions == MORE_RESOLUTION_FIXED &&
        (plan->pixel_width != encoder->image_size || plan->pixel_height != encoder->image_size))
        return more_fail(error, MORE_ERROR_ARGUMENT, "plan of image %lld: %lld x %lld pixels, %s takes %lld x %lld",
                         (long long)i, (long long)plan->pixel_width, (long long)plan->pixel_height, encoder->kind->name,
                         (long long)encoder->image_size, (long long)encoder->image_size);
    return nn_require_tensor(&batch->pixels[i], "pixels of image", i, 3, pixels, error);
}

static more_status check_images(const nn_encoder *encoder, const more_vision_batch *batch, int64_t *most,
                                more_error *error)
{
    more_status status = MORE_OK;

    *most = 0;
    for (int64_t i = 0; i < batch->images && !status; i++) {
        status = check_image(encoder, batch, i, error);
        if (!status && kept_rows(batch, &batch->plans[i]) > *most)
            *most = kept_rows(batch, &batch->plans[i]);
    }
    return status;
}

static more_status check_layers(const nn_encoder *encoder, const more_vision_batch *batch, int64_t most,
                                int64_t *last_state, more_error *error)
{
    more_status status = MORE_OK;

    *last_state = 0;
    for (int32_t k = 0; k < batch->layer_count && !status; k++) {
        const more_tensor *features = &batch->features[k];
        int64_t state = state_of(encoder, batch->layers[k]), rows = features->dl.ndim == 3 ? features->dl.shape[1] : 0;
        int64_t shape[3] = {batch->images, rows > most ? rows : most, encoder->width};
        if (state < 0 || state > encoder->layers)
            return more_fail(error, MORE_ERROR_ARGUMENT, "layer %d was asked of a tower of %lld blocks",
                             (int)batch->layers[k], (long long)encoder->layers);
        if (state > encoder->loaded)
            return more_fail(error, MORE_ERROR_ARGUMENT, "layer %d was asked, but blocks = %lld left it out",
                             (int)batch->layers[k], (long long)encoder->loaded);
        status = nn_require_tensor(features, "features of layer", batch->layers[k], 3, shape, error);
        if (state > *last_state)
            *last_state = state;
    }
    return status;
}

static more_status check_arrays(const nn_encoder *encoder, const more_vision_batch *batch, more_error *error)
{
    if (encoder->metadata_only)
        return more_fail(error, MORE_ERROR_ARGUMENT, "the tower was opened for its metadata only and cannot encode");
    if (batch->images < 0 || batch->layer_count < 0 || (batch->images > 0 && (!batch->pixels || !batch->counts)) ||
        (batch->images > 0 && !batch->plans) || (batch->layer_count > 0 && (!batch->layers || !batch->features)))
        return more_fail(error, MORE_ERROR_ARGUMENT, "a batch of %lld images and %d layers without its arrays",
                         (long long)batch->images, (int)batch->layer_count);
    if (batch->select != MORE_SELECT_PATCH && batch->select != MORE_SELECT_CLS_PATCH)
        return more_fail(error, MORE_ERROR_ARGUMENT, "select %d is neither patch nor cls_patch", (int)batch->select);
    return MORE_OK;
}

more_status nn_encoder_encode(more_vision *vision, const more_vision_batch *batch, more_error *error)
{
    const nn_encoder *encoder = of(vision);
    int64_t most, last_state;
    more_status status = check_arrays(encoder, batch, error);

    if (!status)
        status = check_images(encoder, batch, &most, error);
    if (!status)
        status = check_layers(encoder, batch, most, &last_state, error);
    if (!status)
        status = nn_begin(encoder->context, error);
    for (int64_t first = 0; first < batch->images && !status; first += CHUNK) {
        int64_t rest = batch->images - first;
        chunk c = {.encoder = encoder, .batch = batch, .first = first, .images = rest < CHUNK ? rest : CHUNK};
        for (int64_t i = first; i < first + c.images; i++)
            c.rows += batch->plans[i].tokens;
        status = nn_settled(encoder->context, run_chunk(&c, last_state, error), error);
    }
    for (int64_t i = 0; i < batch->images && !status; i++)
        batch->counts[i] = kept_rows(batch, &batch->plans[i]);
    return status;
}
