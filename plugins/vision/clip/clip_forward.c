/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIP: pixels to hidden states.
 */
#include "clip.h"

#include "require.h"

#include <math.h>
#include <string.h>

/* Scratch of one chunk; rows = images * tokens. */
typedef struct buffers {
    float *x;               /* [rows, width] */
    float *patches;         /* [grid^2, 3 patch_size^2], one image's */
    float *normed;          /* [rows, width] */
    float *query_key_value; /* [rows, 3 width] */
    float *attended;        /* [rows, width] */
    float *inner;           /* [rows, intermediate] */
} buffers;

static int64_t patch_floats(const clip_config *config)
{
    return config->grid * config->grid * 3 * config->patch_size * config->patch_size;
}

int64_t clip_activation_bytes(const clip_config *config, int64_t images)
{
    int64_t rows = (images < CLIP_CHUNK ? images : CLIP_CHUNK) * config->tokens;
    return (rows * (6 * config->width + config->intermediate) + patch_floats(config)) * (int64_t)sizeof(float);
}

static more_status take_buffers(nn_arena *arena, const clip_config *config, int64_t rows, buffers *b, more_error *error)
{
    *b = (buffers){.x = nn_arena_f32(arena, rows * config->width),
                   .patches = nn_arena_f32(arena, patch_floats(config)),
                   .normed = nn_arena_f32(arena, rows * config->width),
                   .query_key_value = nn_arena_f32(arena, rows * 3 * config->width),
                   .attended = nn_arena_f32(arena, rows * config->width),
                   .inner = nn_arena_f32(arena, rows * config->intermediate)};
    if (!b->x || !b->patches || !b->normed || !b->query_key_value || !b->attended || !b->inner)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld image tokens: encode fewer images at once",
                         (long long)rows);
    return MORE_OK;
}

/* ---- The model -------------------------------------------------------------------------------------------------- */

/* State 0 of one image: norm([class token; patches W^T] + positions) */
static void embed(const more_vision *clip, const float *pixels, const buffers *b, float *x)
{
    const clip_config *config = &clip->config;
    int64_t width = config->width;

    nn_patches(clip->context, pixels, config->image_size, config->image_size, config->patch_size, b->patches);
    memcpy(x, clip->class_token, (size_t)width * sizeof *x);
    nn_add(clip->context, clip->positions, width, x);
    nn_linear(clip->context, &(nn_linear_args){.x = b->patches,
                                               .rows = config->grid * config->grid,
                                               .weight = clip->patch,
                                               .residual = clip->positions + width,
                                               .y = x + width});
    nn_layer_norm(clip->context, x, config->tokens, width, clip->norm_weight, clip->norm_bias, (float)config->epsilon,
                  x);
}

/* x += output(attention(norm1(x))); x += down(activation(up(norm2(x)))) */
static void run_block(const more_vision *clip, const clip_block *block, int64_t images, const buffers *b)
{
    const clip_config *config = &clip->config;
    int64_t width = config->width, rows = images * config->tokens;
    float *query = b->query_key_value, epsilon = (float)config->epsilon;

    nn_layer_norm(clip->context, b->x, rows, width, block->norm1_weight, block->norm1_bias, epsilon, b->normed);
    nn_linear(clip->context, &(nn_linear_args){.x = b->normed,
                                               .rows = rows,
                                               .weight = block->query_key_value,
                                               .bias = block->query_key_value_bias,
                                               .y = query});
    nn_attention_full(clip->context, query, query + width, query + 2 * width, 3 * width, images, config->tokens, NULL,
                      config->heads, config->head_dimension, 1 / sqrtf((float)config->head_dimension), b->attended);
    nn_linear(clip->context, &(nn_linear_args){.x = b->attended,
                                               .rows = rows,
                                               .weight = block->output,
                                               .bias = block->output_bias,
                                               .residual = b->x,
                                               .y = b->x});
    nn_layer_norm(clip->context, b->x, rows, width, block->norm2_weight, block->norm2_bias, epsilon, b->normed);
    nn_linear(clip->context, &(nn_linear_args){.x = b->normed,
                                               .rows = rows,
                                               .weight = block->up,
                                               .bias = block->up_bias,
                                               .activation = config->activation,
                                               .y = b->inner});
    nn_linear(
        clip->context,
        &(nn_linear_args){
            .x = b->inner, .rows = rows, .weight = block->down, .bias = block->down_bias, .residual = b->x, .y = b->x});
}

/* ---- A batch ---------------------------------------------------------------------------------------------------- */

/* Index of the state that `layer` means: negative numbers count from the end. */
static int64_t state_of(const clip_config *config, int32_t layer)
{
    return layer < 0 ? config->layers + 1 + layer : layer;
}

/* Copies state `state` of images [first, first + count) to the outputs that asked for it. */
static void give_state(const more_vision *clip, const more_vision_batch *batch, int64_t state, int64_t first,
                       int64_t count, const float *x)
{
    const clip_config *config = &clip->config;
    int64_t skipped = batch->select == MORE_SELECT_PATCH ? 1 : 0, kept = config->tokens - skipped;

    for (int32_t k = 0; k < batch->layer_count; k++) {
        float *features = more_tensor_data(&batch->features[k]);
        int64_t rows = batch->features[k].dl.shape[1];
        if (state_of(config, batch->layers[k]) != state)
            continue;
        for (int64_t i = 0; i < count; i++) {
            float *own = features + (first + i) * rows * config->width;
            memcpy(own, x + (i * config->tokens + skipped) * config->width,
                   (size_t)(kept * config->width) * sizeof *own);
            memset(own + kept * config->width, 0, (size_t)((rows - kept) * config->width) * sizeof *own);
        }
    }
}

static more_status run_chunk(more_vision *clip, const more_vision_batch *batch, int64_t first, int64_t count,
                             int64_t last_state, more_error *error)
{
    const clip_config *config = &clip->config;
    nn_arena *arena = nn_arena_begin(clip->context);
    buffers b;
    more_status status;

    if (!arena)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory to encode %lld images", (long long)count);
    status = take_buffers(arena, config, count * config->tokens, &b, error);
    for (int64_t i = 0; i < count && !status; i++)
        embed(clip, more_tensor_data(&batch->pixels[first + i]), &b, b.x + i * config->tokens * config->width);
    for (int64_t state = 0; state <= last_state && !status; state++) {
        if (nn_cancelled(clip->context)) {
            status = more_fail(error, MORE_ERROR_CANCELLED, "encoding was stopped after %lld of %lld blocks",
                               (long long)(state > 0 ? state - 1 : 0), (long long)config->layers);
            break;
        }
        if (state > 0)
            run_block(clip, &clip->blocks[state - 1], count, &b);
        give_state(clip, batch, state, first, count, b.x);
        nn_progress(clip->context, "encoding", first * (last_state + 1) + count * (state + 1),
                    batch->images * (last_state + 1));
    }
    nn_arena_end(clip->context, arena);
    return status;
}

static more_status check_batch(const more_vision *clip, const more_vision_batch *batch, int64_t *last_state,
                               more_error *error)
{
    const clip_config *config = &clip->config;
    int64_t pixels[3] = {3, config->image_size, config->image_size};
    int64_t kept = config->tokens - (batch->select == MORE_SELECT_PATCH ? 1 : 0);
    more_status status = MORE_OK;

    *last_state = 0;
    if (batch->images < 0 || batch->layer_count < 0 || (batch->images > 0 && (!batch->pixels || !batch->counts)) ||
        (batch->layer_count > 0 && (!batch->layers || !batch->features)))
        return more_fail(error, MORE_ERROR_ARGUMENT, "a batch of %lld images and %d layers without its arrays",
                         (long long)batch->images, (int)batch->layer_count);
    if (batch->select != MORE_SELECT_PATCH && batch->select != MORE_SELECT_CLS_PATCH)
        return more_fail(error, MORE_ERROR_ARGUMENT, "select %d is neither patch nor cls_patch", (int)batch->select);
    for (int64_t i = 0; i < batch->images && !status; i++)
        status = nn_require_tensor(&batch->pixels[i], "pixels of image", i, 3, pixels, error);
    for (int32_t k = 0; k < batch->layer_count && !status; k++) {
        const more_tensor *features = &batch->features[k];
        int64_t state = state_of(config, batch->layers[k]), rows = features->dl.ndim == 3 ? features->dl.shape[1] : 0;
        int64_t shape[3] = {batch->images, rows > kept ? rows : kept, config->width};
        if (state < 0 || state > config->layers)
            return more_fail(error, MORE_ERROR_ARGUMENT, "layer %d was asked of a tower of %lld blocks",
                             (int)batch->layers[k], (long long)config->layers);
        if (state > clip->loaded)
            return more_fail(error, MORE_ERROR_ARGUMENT, "layer %d was asked, but blocks = %lld left it out",
                             (int)batch->layers[k], (long long)clip->loaded);
        status = nn_require_tensor(features, "features of layer", batch->layers[k], 3, shape, error);
        if (state > *last_state)
            *last_state = state;
    }
    return status;
}

more_status clip_encode(more_vision *clip, const more_vision_batch *batch, more_error *error)
{
    int64_t last_state;
    more_status status;

    if (clip->metadata_only)
        return more_fail(error, MORE_ERROR_ARGUMENT, "the tower was opened for its metadata only and cannot encode");
    status = check_batch(clip, batch, &last_state, error);
    for (int64_t first = 0; first < batch->images && !status; first += CLIP_CHUNK) {
        int64_t rest = batch->images - first;
        status = run_chunk(clip, batch, first, rest < CLIP_CHUNK ? rest : CLIP_CHUNK, last_state, error);
    }
    for (int64_t i = 0; i < batch->images && !status; i++)
        batch->counts[i] = clip->config.tokens - (batch->select == MORE_SELECT_PATCH ? 1 : 0);
    return status;
}
