/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIP's vision tower: patch embedding, class token, learned positions, layer norm, then blocks of {layer norm,
 * attention, layer norm, MLP}. The final norm and the projection are not part of what a language model is given.
 */
#include "encoder.h"

#include <string.h>

struct more_vision {
    nn_encoder encoder;
    nn_matrix *patch;               /* [width, 3 patch_size^2] */
    float *class_token;             /* [width] */
    float *positions;               /* [tokens, width] */
    float *norm_weight, *norm_bias; /* before the first block */
};

static const char *const types[] = {"clip", "clip_vision_model"};

/* ---- Config ----------------------------------------------------------------------------------------------------- */

/* The image processor of OpenAI's checkpoints, for this tower's size. */
static void write_preprocess(nn_encoder *encoder)
{
    long long size = (long long)encoder->image_size;

    snprintf(encoder->preprocess, sizeof encoder->preprocess,
             "convert_rgb(), resize_shortest(%lld, bicubic), center_crop(%lld, %lld), rescale(1/255), "
             "normalize(0.48145466, 0.4578275, 0.40821073, 0.26862954, 0.26130258, 0.27577711)",
             size, size, size);
}

static more_status configure(nn_encoder *encoder, const nn_source *source, const more_open *arguments,
                             more_error *error)
{
    more_status status;

    (void)arguments;
    encoder->epsilon = 1e-5;
    encoder->activation = NN_QUICK_GELU;
    encoder->attention_bias = true;
    encoder->prefix_tokens = 1;
    encoder->resolutions = MORE_RESOLUTION_FIXED;
    status = nn_encoder_require_type(encoder, source, "CLIP", types, 2, error);
    if (!status)
        status = nn_encoder_read_config(encoder, source, error);
    if (status)
        return status;
    nn_encoder_fix_size(encoder);
    write_preprocess(encoder);
    return MORE_OK;
}

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

static void load(nn_encoder *encoder, nn_loader *loader)
{
    more_vision *clip = (more_vision *)encoder;

    nn_load_convolution(loader, "patch.weight", encoder->width, 3 * encoder->patch_size * encoder->patch_size,
                        &clip->patch);
    nn_load_vector(loader, "class_token", 0, encoder->width, &clip->class_token);
    nn_load_table(loader, "positions", encoder->tokens, encoder->width, &clip->positions);
    nn_load_vector(loader, "norm.weight", 0, encoder->width, &clip->norm_weight);
    nn_load_vector(loader, "norm.bias", 0, encoder->width, &clip->norm_bias);
}

static void unload(nn_encoder *encoder)
{
    more_vision *clip = (more_vision *)encoder;

    nn_matrix_free(encoder->context, clip->patch);
    nn_free(encoder->context, clip->class_token);
    nn_free(encoder->context, clip->positions);
    nn_free(encoder->context, clip->norm_weight);
    nn_free(encoder->context, clip->norm_bias);
}

/* ---- Forward ---------------------------------------------------------------------------------------------------- */

/* x = norm([class token; patches W^T] + positions) */
static more_status embed(const nn_encoder *encoder, nn_arena *arena, const float *pixels, const more_vision_plan *plan,
                         float *x, more_error *error)
{
    const more_vision *clip = (const more_vision *)encoder;
    int64_t width = encoder->width;
    more_status status = nn_encoder_embed_patches(encoder, arena, pixels, plan, clip->patch, NULL,
                                                  clip->positions + width, x + width, error);

    if (status)
        return status;
    nn_copy(encoder->context, x, clip->class_token, (size_t)width * sizeof *x);
    nn_add(encoder->context, clip->positions, width, x);
    nn_layer_norm(encoder->context, x, plan->tokens, width, clip->norm_weight, clip->norm_bias, (float)encoder->epsilon,
                  x);
    return MORE_OK;
}

static const nn_encoder_kind kind = {.name = "clip",
                                     .size = sizeof(more_vision),
                                     .configure = configure,
                                     .load = load,
                                     .unload = unload,
                                     .embed = embed};

/* ---- The plugin ------------------------------------------------------------------------------------------------- */

static void recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = nn_encoder_recognise(host, checkpoint, types, 2, recognition);
    more_weight_info info = {.struct_size = sizeof info};

    if (weights && recognition->score == 0 &&
        !weights->info(checkpoint, "vision_model.embeddings.class_embedding", &info, NULL)) {
        recognition->score = 50;
        snprintf(recognition->reason, sizeof recognition->reason, "tensor vision_model.embeddings.class_embedding");
    }
}

static more_status clip_open(const more_open *arguments, more_vision **vision, more_error *error)
{
    return nn_encoder_open(&kind, arguments, vision, error);
}

static const more_vision_interface vision_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_vision_interface, encode),
    .recognise = recognise,
    .tensor_map = nn_encoder_vision_model_map,
    .open = clip_open,
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
    .id = "clip",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "CLIP vision towers (ViT), as OpenAI's clip-vit-large-patch14-336",
    .options = nn_encoder_options,
    .option_count = NN_ENCODER_OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
