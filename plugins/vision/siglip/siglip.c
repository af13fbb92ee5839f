/* SPDX-License-Identifier: Apache-2.0
 *
 * SigLIP's vision tower (transformers' SiglipVisionModel): patch embedding with bias, learned positions, then blocks of
 * {layer norm, attention, layer norm, MLP}. No class token and no norm before the blocks; the final norm and the
 * pooling head are not part of what a language model is given. Where image_size is no multiple of patch_size (384 over
 * 14), the last pixels right and below are left out.
 */
#include "encoder.h"

#include <string.h>

struct more_vision {
    nn_encoder encoder;
    nn_matrix *patch;  /* [width, 3 patch_size^2] */
    float *patch_bias; /* [width] */
    float *positions;  /* [tokens, width] */
};

static const char *const types[] = {"siglip", "siglip_vision_model"};

/* ---- Config ----------------------------------------------------------------------------------------------------- */

/* Google's image processor for these checkpoints, for this tower's size. */
static void write_preprocess(nn_encoder *encoder)
{
    long long size = (long long)encoder->image_size;

    snprintf(encoder->preprocess, sizeof encoder->preprocess,
             "convert_rgb(), resize(%lld, %lld, bicubic), rescale(1/255), normalize(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)",
             size, size);
}

/* Keys that are missing have SiglipVisionConfig's defaults: those of the base size. */
static more_status configure(nn_encoder *encoder, const nn_source *source, const more_open *arguments,
                             more_error *error)
{
    more_status status;

    (void)arguments;
    encoder->width = 768;
    encoder->layers = 12;
    encoder->heads = 12;
    encoder->intermediate = 3072;
    encoder->image_size = 224;
    encoder->patch_size = 16;
    encoder->epsilon = 1e-6;
    encoder->activation = NN_GELU_TANH;
    encoder->attention_bias = true;
    encoder->resolutions = MORE_RESOLUTION_FIXED;
    status = nn_encoder_require_type(encoder, source, "SigLIP", types, 2, error);
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
    more_vision *siglip = (more_vision *)encoder;

    nn_load_convolution(loader, "patch.weight", encoder->width, 3 * encoder->patch_size * encoder->patch_size,
                        &siglip->patch);
    nn_load_vector(loader, "patch.bias", 0, encoder->width, &siglip->patch_bias);
    nn_load_table(loader, "positions", encoder->tokens, encoder->width, &siglip->positions);
}

static void unload(nn_encoder *encoder)
{
    more_vision *siglip = (more_vision *)encoder;

    nn_matrix_free(encoder->context, siglip->patch);
    nn_free(encoder->context, siglip->patch_bias);
    nn_free(encoder->context, siglip->positions);
}

/* ---- Forward ---------------------------------------------------------------------------------------------------- */

static more_status embed(const nn_encoder *encoder, nn_arena *arena, const float *pixels, const more_vision_plan *plan,
                         float *x, more_error *error)
{
    const more_vision *siglip = (const more_vision *)encoder;

    return nn_encoder_embed_patches(encoder, arena, pixels, plan, siglip->patch, siglip->patch_bias, siglip->positions,
                                    x, error);
}

static const nn_encoder_kind kind = {.name = "siglip",
                                     .size = sizeof(more_vision),
                                     .configure = configure,
                                     .load = load,
                                     .unload = unload,
                                     .embed = embed};

/* ---- The plugin ------------------------------------------------------------------------------------------------- */

/* SigLIP 2 at a fixed resolution has the same config and the same tensors, and is taken as well; the siglip2 plugin
 * scores higher where something in the folder tells them apart. */
static void recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = nn_encoder_recognise(host, checkpoint, types, 2, recognition);
    more_weight_info info = {.struct_size = sizeof info};

    if (recognition->score) {
        recognition->score = 90;
    } else if (weights && !weights->info(checkpoint, "vision_model.embeddings.patch_embedding.bias", &info, NULL) &&
               info.rank == 1 &&
               !weights->info(checkpoint, "vision_model.embeddings.patch_embedding.weight", &info, NULL) &&
               info.rank == 4) {
        recognition->score = 45;
        snprintf(recognition->reason, sizeof recognition->reason,
                 "tensor vision_model.embeddings.patch_embedding.bias");
    }
}

static more_status siglip_open(const more_open *arguments, more_vision **vision, more_error *error)
{
    return nn_encoder_open(&kind, arguments, vision, error);
}

static const more_vision_interface vision_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_vision_interface, encode),
    .recognise = recognise,
    .tensor_map = nn_encoder_vision_model_map,
    .open = siglip_open,
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
    .id = "siglip",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "SigLIP vision towers (ViT), as Google's siglip-so400m-patch14-384",
    .options = nn_encoder_options,
    .option_count = NN_ENCODER_OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
