/* SPDX-License-Identifier: Apache-2.0
 *
 * SigLIP 2: pixels to hidden state 0, and the plugin.
 */
#include "siglip2.h"

#include "cuda/cuda.h"
#include "siglip2_cuda.h"

#include <math.h>
#include <string.h>

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

static void load(nn_encoder *encoder, nn_loader *loader)
{
    more_vision *siglip2 = (more_vision *)encoder;

    nn_load_convolution(loader, "patch.weight", encoder->width, 3 * encoder->patch_size * encoder->patch_size,
                        &siglip2->patch);
    nn_load_vector(loader, "patch.bias", 0, encoder->width, &siglip2->patch_bias);
    nn_load_table(loader, "positions", siglip2->side * siglip2->side, encoder->width, &siglip2->positions);
}

static void unload(nn_encoder *encoder)
{
    more_vision *siglip2 = (more_vision *)encoder;

    nn_matrix_free(encoder->context, siglip2->patch);
    nn_free(encoder->context, siglip2->patch_bias);
    nn_free(encoder->context, siglip2->positions);
}

/* ---- Plan ------------------------------------------------------------------------------------------------------- */

/* Patches that a side of `pixels` makes at this scale: the next whole patch, at least one. */
static double scaled_patches(double scale, int64_t pixels, int64_t patch)
{
    double patches = ceil((double)pixels * scale / (double)patch);
    return patches < 1 ? 1 : patches;
}

/* The largest scale at which the picture fits the budget, found by halving as transformers'
 * get_image_size_for_max_num_patches finds it, steps and end included. */
static more_status plan_size(const nn_encoder *encoder, int64_t width, int64_t height, more_vision_plan *plan,
                             more_error *error)
{
    const more_vision *siglip2 = (const more_vision *)encoder;
    int64_t patch = encoder->patch_size;
    double low = 1e-5 / 10, high = 100;

    if (!siglip2->naflex) {
        plan->grid_width = plan->grid_height = siglip2->side;
        plan->pixel_width = plan->pixel_height = encoder->image_size;
    } else {
        while (high - low >= 1e-5) {
            double middle = (low + high) / 2;
            bool fits =
                scaled_patches(middle, height, patch) * scaled_patches(middle, width, patch) <= (double)siglip2->budget;
            *(fits ? &low : &high) = middle;
        }
        double columns = scaled_patches(low, width, patch), rows = scaled_patches(low, height, patch);
        if (columns * rows > (double)siglip2->budget)
            return more_fail(error, MORE_ERROR_LIMIT, "an image of %lld x %lld pixels is too long for %lld patches",
                             (long long)width, (long long)height, (long long)siglip2->budget);
        plan->grid_width = (int64_t)columns;
        plan->grid_height = (int64_t)rows;
        plan->pixel_width = plan->grid_width * patch;
        plan->pixel_height = plan->grid_height * patch;
    }
    plan->prefix_tokens = 0;
    plan->tokens = plan->grid_width * plan->grid_height;
    return MORE_OK;
}

/* ---- Forward ---------------------------------------------------------------------------------------------------- */

/* patches [grid, patch^2 * 3], each in the order (row, column, channel) that NaFlex's linear layer reads. */
static void cut_on_host(const float *pixels, const more_vision_plan *plan, int64_t patch, float *patches)
{
    int64_t plane = plan->pixel_width * plan->pixel_height;

    for (int64_t y = 0; y < plan->grid_height; y++)
        for (int64_t x = 0; x < plan->grid_width; x++)
            for (int64_t row = 0; row < patch; row++) {
                const float *from = pixels + (y * patch + row) * plan->pixel_width + x * patch;
                for (int64_t column = 0; column < patch; column++)
                    for (int64_t channel = 0; channel < 3; channel++)
                        *patches++ = from[channel * plane + column];
            }
}

static void cut_patches(nn_context *context, const float *pixels, const more_vision_plan *plan, int64_t patch,
                        float *patches)
{
    if (nn_on_host(context))
        cut_on_host(pixels, plan, patch, patches);
    else
        nn_cuda_launched(
            context->cuda,
            siglip2_cuda_patches(context->cuda->stream, pixels, plan->grid_width, plan->grid_height, patch, patches),
            "cutting of patches");
}

/* x = patches W^T + bias + positions resized to the picture's grid */
static more_status embed_naflex(const more_vision *siglip2, nn_arena *arena, const float *pixels,
                                const more_vision_plan *plan, float *x, more_error *error)
{
    const nn_encoder *encoder = &siglip2->encoder;
    int64_t patch = encoder->patch_size;
    float *patches = nn_arena_f32(arena, plan->tokens * 3 * patch * patch);
    float *positions = nn_arena_f32(arena, plan->tokens * encoder->width);

    if (!patches || !positions)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld patches", (long long)plan->tokens);
    cut_patches(encoder->context, pixels, plan, patch, patches);
    nn_resize_table(encoder->context, siglip2->positions, siglip2->side, siglip2->side, encoder->width,
                    plan->grid_height, plan->grid_width, NN_RESIZE_BILINEAR_ANTIALIAS, positions);
    nn_linear(encoder->context, &(nn_linear_args){.x = patches,
                                                  .rows = plan->tokens,
                                                  .weight = siglip2->patch,
                                                  .bias = siglip2->patch_bias,
                                                  .residual = positions,
                                                  .y = x});
    return MORE_OK;
}

static more_status embed(const nn_encoder *encoder, nn_arena *arena, const float *pixels, const more_vision_plan *plan,
                         float *x, more_error *error)
{
    const more_vision *siglip2 = (const more_vision *)encoder;

    if (siglip2->naflex)
        return embed_naflex(siglip2, arena, pixels, plan, x, error);
    return nn_encoder_embed_patches(encoder, arena, pixels, plan, siglip2->patch, siglip2->patch_bias,
                                    siglip2->positions, x, error);
}

static const nn_encoder_kind kind = {.name = "siglip2",
                                     .size = sizeof(more_vision),
                                     .configure = siglip2_configure,
                                     .load = load,
                                     .unload = unload,
                                     .plan = plan_size,
                                     .embed = embed};

/* ---- The plugin ------------------------------------------------------------------------------------------------- */

static const more_option options[SIGLIP2_OPTION_COUNT] = {
    NN_ENCODER_OPTION_ROWS,
    {"max_num_patches", MORE_INT64, "0", 0, 16384, NULL,
     "NaFlex: most patches of an image, which is resized to fit them at its own aspect ratio; 0 = as the checkpoint's "
     "preprocessor_config.json says, else 256."},
};

static more_status siglip2_open(const more_open *arguments, more_vision **vision, more_error *error)
{
    return nn_encoder_open(&kind, arguments, vision, error);
}

static const more_vision_interface vision_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_vision_interface, encode),
    .recognise = siglip2_recognise,
    .tensor_map = nn_encoder_vision_model_map,
    .open = siglip2_open,
    .close = nn_encoder_close,
    .describe = nn_encoder_describe,
    .estimate = nn_encoder_estimate,
    .plan = nn_encoder_plan,
    .encode = nn_encoder_encode,
};

static int32_t score(void)
{
    return 100;
}

static const void *get_interface(const char *id)
{
    return strcmp(id, MORE_VISION_INTERFACE) ? NULL : &vision_interface;
}

static const more_plugin plugin = {
    .struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
    .abi_version = MORE_ABI_VERSION,
    .kind = MORE_KIND_VISION,
    .id = "siglip2",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description =
        "SigLIP 2 vision towers (ViT) of fixed resolution and NaFlex, as Google's siglip2-so400m-patch14-384",
    .options = options,
    .option_count = SIGLIP2_OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
