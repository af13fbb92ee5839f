/* SPDX-License-Identifier: Apache-2.0
 *
 * DINOv2 (transformers' Dinov2Model and Dinov2WithRegistersModel): patch embedding, class token, learned positions that
 * are interpolated for other sizes than the trained one, registers without position behind the class token, then blocks
 * of {layer norm, attention, LayerScale, layer norm, MLP or SwiGLU, LayerScale}. The final norm is not part of what a
 * language model is given, and the mask token serves training alone.
 */
#include "encoder.h"

#include <string.h>

struct more_vision {
    nn_encoder encoder;
    int64_t grid;      /* patches a side at the trained size */
    int64_t registers; /* 0 = a model without */
    nn_matrix *patch;  /* [width, 3 patch_size^2] */
    float *patch_bias; /* [width] */
    float *class_token;
    float *register_tokens; /* [registers, width]; NULL without */
    float *positions;       /* [1 + grid^2, width], the class token's first */
};

static const char *const types[] = {"dinov2", "dinov2_with_registers"};

/* ---- Config ----------------------------------------------------------------------------------------------------- */

/* The image processor of Meta's checkpoints: 224 pixels of 256 whatever the size that the positions were trained for,
 * here in whole patches. */
static void write_preprocess(nn_encoder *encoder)
{
    int64_t patch = encoder->patch_size;
    long long size = (long long)(patch < 224 ? 224 / patch * patch : patch), shortest = size < 256 ? 256 : size;

    snprintf(encoder->preprocess, sizeof encoder->preprocess,
             "convert_rgb(), resize_shortest(%lld, bicubic), center_crop(%lld, %lld), rescale(1/255), "
             "normalize(0.485, 0.456, 0.406, 0.229, 0.224, 0.225)",
             shortest, size, size);
}

/* Width of the MLP: hidden_size * mlp_ratio, of which SwiGLU takes two thirds, rounded up to a multiple of 8. */
static more_status read_mlp(nn_encoder *encoder, const nn_source *source, more_error *error)
{
    char key[NN_ENCODER_KEY_SIZE];
    double ratio = 4, inner;
    more_status status = nn_config_bool_or(
        source, nn_encoder_key(source->weights, source->checkpoint, "use_swiglu_ffn", key), &encoder->gated, error);

    if (!status)
        status = nn_config_double_or(source, nn_encoder_key(source->weights, source->checkpoint, "mlp_ratio", key),
                                     &ratio, error);
    if (status)
        return status;
    inner = (double)encoder->width * ratio;
    if (!(inner >= 1 && inner <= 1 << 18))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: %s %g times hidden_size %lld is no width of an MLP",
                         source->weights->path(source->checkpoint), key, ratio, (long long)encoder->width);
    encoder->intermediate = (int64_t)inner;
    if (encoder->gated) {
        encoder->intermediate = (2 * encoder->intermediate / 3 + 7) / 8 * 8;
        encoder->activation = NN_SILU;
    }
    return MORE_OK;
}

/* Registers are what tells the two models apart: the config's type, else the tensor. */
static more_status read_registers(more_vision *dinov2, const nn_source *source, more_error *error)
{
    more_weight_info info = {.struct_size = sizeof info};
    const char *type = NULL;
    char key[NN_ENCODER_KEY_SIZE];
    more_status status = nn_config_string_or(
        source, nn_encoder_key(source->weights, source->checkpoint, "model_type", key), &type, error);
    bool has = type ? !strcmp(type, types[1]) : !source->weights->info(source->checkpoint, "registers", &info, NULL);

    if (status || !has)
        return status;
    dinov2->registers = 4;
    return nn_config_int64_or(source, nn_encoder_key(source->weights, source->checkpoint, "num_register_tokens", key),
                              1, 1024, &dinov2->registers, error);
}

static more_status configure(nn_encoder *encoder, const nn_source *source, const more_open *arguments,
                             more_error *error)
{
    more_vision *dinov2 = (more_vision *)encoder;
    char key[NN_ENCODER_KEY_SIZE];
    more_status status;

    (void)arguments;
    encoder->epsilon = 1e-6;
    encoder->activation = NN_GELU_ERF;
    encoder->attention_bias = true;
    encoder->layer_scale = true;
    encoder->resolutions = MORE_RESOLUTION_MULTIPLE;
    status = nn_encoder_require_type(encoder, source, "DINOv2", types, 2, error);
    if (!status)
        status = nn_encoder_read_config(encoder, source, error);
    if (!status)
        status = nn_config_bool_or(source, nn_encoder_key(source->weights, source->checkpoint, "qkv_bias", key),
                                   &encoder->attention_bias, error);
    if (!status)
        status = read_mlp(encoder, source, error);
    if (!status)
        status = read_registers(dinov2, source, error);
    if (status)
        return status;
    dinov2->grid = encoder->image_size / encoder->patch_size;
    encoder->prefix_tokens = 1 + dinov2->registers;
    nn_encoder_fix_size(encoder);
    write_preprocess(encoder);
    return MORE_OK;
}

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

#define LAYER "layers.*."
#define HF "encoder.layer.*."

/* No GGUF names: no mmproj file holds a DINOv2. */
static const more_tensor_name names[] = {
    {"class_token", "embeddings.cls_token", NULL, MORE_TRANSFORM_NONE, false},
    {"registers", "embeddings.register_tokens", NULL, MORE_TRANSFORM_NONE, true},
    {"positions", "embeddings.position_embeddings", NULL, MORE_TRANSFORM_NONE, false},
    {"patch.weight", "embeddings.patch_embeddings.projection.weight", NULL, MORE_TRANSFORM_NONE, false},
    {"patch.bias", "embeddings.patch_embeddings.projection.bias", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "norm1.weight", HF "norm1.weight", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "norm1.bias", HF "norm1.bias", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "attention.query.weight", HF "attention.attention.query.weight", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "attention.query.bias", HF "attention.attention.query.bias", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "attention.key.weight", HF "attention.attention.key.weight", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "attention.key.bias", HF "attention.attention.key.bias", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "attention.value.weight", HF "attention.attention.value.weight", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "attention.value.bias", HF "attention.attention.value.bias", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "attention.output.weight", HF "attention.output.dense.weight", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "attention.output.bias", HF "attention.output.dense.bias", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "scale1", HF "layer_scale1.lambda1", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "norm2.weight", HF "norm2.weight", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "norm2.bias", HF "norm2.bias", NULL, MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.up.weight", HF "mlp.fc1.weight", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.up.bias", HF "mlp.fc1.bias", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.down.weight", HF "mlp.fc2.weight", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.down.bias", HF "mlp.fc2.bias", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.up.weight", HF "mlp.weights_in.weight", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.up.bias", HF "mlp.weights_in.bias", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.down.weight", HF "mlp.weights_out.weight", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.down.bias", HF "mlp.weights_out.bias", NULL, MORE_TRANSFORM_NONE, true},
    {LAYER "scale2", HF "layer_scale2.lambda1", NULL, MORE_TRANSFORM_NONE, false},
};

static const more_tensor_map *tensor_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names,
                                        (int32_t)(sizeof names / sizeof *names)};
    return &map;
}

static void load(nn_encoder *encoder, nn_loader *loader)
{
    more_vision *dinov2 = (more_vision *)encoder;
    int64_t width = encoder->width;

    nn_load_convolution(loader, "patch.weight", width, 3 * encoder->patch_size * encoder->patch_size, &dinov2->patch);
    nn_load_vector(loader, "patch.bias", 0, width, &dinov2->patch_bias);
    nn_load_vector(loader, "class_token", 0, width, &dinov2->class_token);
    if (dinov2->registers)
        nn_load_vector(loader, "registers", 0, dinov2->registers * width, &dinov2->register_tokens);
    nn_load_vector(loader, "positions", 0, (1 + dinov2->grid * dinov2->grid) * width, &dinov2->positions);
}

static void unload(nn_encoder *encoder)
{
    more_vision *dinov2 = (more_vision *)encoder;

    nn_matrix_free(encoder->context, dinov2->patch);
    nn_free(encoder->context, dinov2->patch_bias);
    nn_free(encoder->context, dinov2->class_token);
    nn_free(encoder->context, dinov2->register_tokens);
    nn_free(encoder->context, dinov2->positions);
}

/* ---- Forward ---------------------------------------------------------------------------------------------------- */

static more_status plan_image(const nn_encoder *encoder, int64_t width, int64_t height, more_vision_plan *plan,
                              more_error *error)
{
    int64_t patch = encoder->patch_size, most = 1 << 20; /* patches a side; keeps the product far from overflow */

    if (width % patch || height % patch || width / patch > most || height / patch > most)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "an image of %lld x %lld pixels is not made of whole patches of %lld x %lld: crop it to "
                         "multiples of %lld",
                         (long long)width, (long long)height, (long long)patch, (long long)patch, (long long)patch);
    plan->pixel_width = width;
    plan->pixel_height = height;
    plan->grid_width = width / patch;
    plan->grid_height = height / patch;
    plan->prefix_tokens = encoder->prefix_tokens;
    plan->tokens = encoder->prefix_tokens + plan->grid_width * plan->grid_height;
    return MORE_OK;
}

/* The patches' positions [grid_height, grid_width, width] of a plan: the table itself at the trained size, else resized
 * by plain bicubic, and with registers by the antialiased one, as transformers does. NULL when out of memory. */
static const float *positions_of(const more_vision *dinov2, nn_arena *arena, const more_vision_plan *plan)
{
    const nn_encoder *encoder = &dinov2->encoder;
    const float *trained = dinov2->positions + encoder->width;
    float *resized;

    if (plan->grid_width == dinov2->grid && plan->grid_height == dinov2->grid)
        return trained;
    resized = nn_arena_f32(arena, plan->grid_width * plan->grid_height * encoder->width);
    if (resized)
        nn_resize_table(encoder->context, trained, dinov2->grid, dinov2->grid, encoder->width, plan->grid_height,
                        plan->grid_width, dinov2->registers ? NN_RESIZE_BICUBIC_ANTIALIAS : NN_RESIZE_BICUBIC, resized);
    return resized;
}

/* x = [class token + its position; registers; patches W^T + bias + positions] */
static more_status embed(const nn_encoder *encoder, nn_arena *arena, const float *pixels, const more_vision_plan *plan,
                         float *x, more_error *error)
{
    const more_vision *dinov2 = (const more_vision *)encoder;
    int64_t width = encoder->width;
    const float *positions = positions_of(dinov2, arena, plan);

    if (!positions)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld positions", (long long)plan->tokens);
    nn_copy(encoder->context, x, dinov2->class_token, (size_t)width * sizeof *x);
    nn_add(encoder->context, dinov2->positions, width, x);
    if (dinov2->registers)
        nn_copy(encoder->context, x + width, dinov2->register_tokens, (size_t)(dinov2->registers * width) * sizeof *x);
    return nn_encoder_embed_patches(encoder, arena, pixels, plan, dinov2->patch, dinov2->patch_bias, positions,
                                    x + encoder->prefix_tokens * width, error);
}

static const nn_encoder_kind kind = {.name = "dinov2",
                                     .size = sizeof(more_vision),
                                     .configure = configure,
                                     .load = load,
                                     .unload = unload,
                                     .plan = plan_image,
                                     .embed = embed};

/* ---- The plugin ------------------------------------------------------------------------------------------------- */

static void recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = nn_encoder_recognise(host, checkpoint, types, 2, recognition);
    more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};

    if (!recognition->score && weights &&
        !weights->info(checkpoint, "encoder.layer.0.layer_scale1.lambda1", &info, NULL)) {
        recognition->score = 50;
        snprintf(recognition->reason, sizeof recognition->reason, "tensor encoder.layer.0.layer_scale1.lambda1");
    }
}

static more_status dinov2_open(const more_open *arguments, more_vision **vision, more_error *error)
{
    return nn_encoder_open(&kind, arguments, vision, error);
}

static const more_vision_interface vision_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_vision_interface, encode),
    .recognise = recognise,
    .tensor_map = tensor_map,
    .open = dinov2_open,
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
    .id = "dinov2",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "DINOv2 vision towers, with and without registers, as Meta's dinov2-large",
    .options = nn_encoder_options,
    .option_count = NN_ENCODER_OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
