/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIP: recognising a checkpoint, its config, its tensors.
 */
#include "clip.h"

#include <string.h>

#define KEY_SIZE 64

/* ---- Names ------------------------------------------------------------------------------------------------------ */

#define LAYER "layers.*."
#define HF "vision_model.encoder.layers.*."
#define GGUF "v.blk.*."

static const more_tensor_name names[] = {
    {"class_token", "vision_model.embeddings.class_embedding", "v.class_embd", MORE_TRANSFORM_NONE, false},
    {"patch.weight", "vision_model.embeddings.patch_embedding.weight", "v.patch_embd.weight", MORE_TRANSFORM_NONE,
     false},
    {"positions", "vision_model.embeddings.position_embedding.weight", "v.position_embd.weight", MORE_TRANSFORM_NONE,
     false},
    {"norm.weight", "vision_model.pre_layrnorm.weight", "v.pre_ln.weight", MORE_TRANSFORM_NONE, false},
    {"norm.bias", "vision_model.pre_layrnorm.bias", "v.pre_ln.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "norm1.weight", HF "layer_norm1.weight", GGUF "ln1.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "norm1.bias", HF "layer_norm1.bias", GGUF "ln1.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.query.weight", HF "self_attn.q_proj.weight", GGUF "attn_q.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.query.bias", HF "self_attn.q_proj.bias", GGUF "attn_q.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.key.weight", HF "self_attn.k_proj.weight", GGUF "attn_k.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.key.bias", HF "self_attn.k_proj.bias", GGUF "attn_k.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.value.weight", HF "self_attn.v_proj.weight", GGUF "attn_v.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.value.bias", HF "self_attn.v_proj.bias", GGUF "attn_v.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.output.weight", HF "self_attn.out_proj.weight", GGUF "attn_out.weight", MORE_TRANSFORM_NONE,
     false},
    {LAYER "attention.output.bias", HF "self_attn.out_proj.bias", GGUF "attn_out.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "norm2.weight", HF "layer_norm2.weight", GGUF "ln2.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "norm2.bias", HF "layer_norm2.bias", GGUF "ln2.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.up.weight", HF "mlp.fc1.weight", GGUF "ffn_up.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.up.bias", HF "mlp.fc1.bias", GGUF "ffn_up.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.down.weight", HF "mlp.fc2.weight", GGUF "ffn_down.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.down.bias", HF "mlp.fc2.bias", GGUF "ffn_down.bias", MORE_TRANSFORM_NONE, false},
};

const more_tensor_map *clip_tensor_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names,
                                        (int32_t)(sizeof names / sizeof *names)};
    return &map;
}

/* ---- Config ----------------------------------------------------------------------------------------------------- */

/* A whole CLIP model keeps the tower's keys under "vision_config.", a tower alone at top level. */
static const char *key_of(const more_weights_service *weights, more_checkpoint *checkpoint, const char *name,
                          char key[KEY_SIZE])
{
    bool nested = weights->length(checkpoint, "vision_config") > 0;
    snprintf(key, KEY_SIZE, "%s%s", nested ? "vision_config." : "", name);
    return key;
}

static bool is_clip(const char *type)
{
    return !strcmp(type, "clip") || !strcmp(type, "clip_vision_model");
}

static more_status read_sizes(const nn_source *source, clip_config *config, more_error *error)
{
    const struct {
        const char *name;
        int64_t minimum, maximum, *value;
    } sizes[] = {
        {"hidden_size", 1, 1 << 16, &config->width},      {"num_hidden_layers", 1, 1024, &config->layers},
        {"num_attention_heads", 1, 1024, &config->heads}, {"intermediate_size", 1, 1 << 18, &config->intermediate},
        {"image_size", 1, 1 << 14, &config->image_size},  {"patch_size", 1, 1 << 10, &config->patch_size}};
    int64_t channels = 3;
    char key[KEY_SIZE];
    more_status status = MORE_OK;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !status; i++)
        status = nn_config_int64(source, key_of(source->weights, source->checkpoint, sizes[i].name, key),
                                 sizes[i].minimum, sizes[i].maximum, sizes[i].value, error);
    if (!status)
        status = nn_config_int64_or(source, key_of(source->weights, source->checkpoint, "num_channels", key), 3, 3,
                                    &channels, error);
    return status;
}

static more_status check_sizes(const nn_source *source, clip_config *config, more_error *error)
{
    const char *path = source->weights->path(source->checkpoint);

    if (config->width % config->heads)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: hidden_size %lld is no multiple of num_attention_heads %lld",
                         path, (long long)config->width, (long long)config->heads);
    if (config->patch_size > config->image_size)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: patch_size %lld is larger than image_size %lld", path,
                         (long long)config->patch_size, (long long)config->image_size);
    config->head_dimension = config->width / config->heads;
    config->grid = config->image_size / config->patch_size;
    config->tokens = 1 + config->grid * config->grid;
    if (config->tokens > 1 << 20)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: image_size %lld over patch_size %lld makes %lld tokens",
                         path, (long long)config->image_size, (long long)config->patch_size, (long long)config->tokens);
    return MORE_OK;
}

static more_status read_activation(const nn_source *source, nn_activation *activation, more_error *error)
{
    const char *name = "quick_gelu";
    char key[KEY_SIZE];
    more_status status =
        nn_config_string_or(source, key_of(source->weights, source->checkpoint, "hidden_act", key), &name, error);

    if (status)
        return status;
    if (!strcmp(name, "quick_gelu"))
        *activation = NN_QUICK_GELU;
    else if (!strcmp(name, "gelu"))
        *activation = NN_GELU_ERF;
    else if (!strcmp(name, "gelu_pytorch_tanh"))
        *activation = NN_GELU_TANH;
    else
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: %s is \"%s\", the clip plugin takes quick_gelu, gelu and gelu_pytorch_tanh",
                         source->weights->path(source->checkpoint), key, name);
    return MORE_OK;
}

more_status clip_config_read(const nn_source *source, clip_config *config, more_error *error)
{
    const char *path = source->weights->path(source->checkpoint), *type = "clip";
    char key[KEY_SIZE];
    more_status status;

    *config = (clip_config){.epsilon = 1e-5};
    status = nn_config_string_or(source, key_of(source->weights, source->checkpoint, "model_type", key), &type, error);
    if (!status && !is_clip(type)) /* else a language model's hidden_size would be taken for the tower's */
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: %s is \"%s\", not clip: [vision] weights must name the CLIP tower's own folder", path,
                         key, type);
    if (!status)
        status = read_sizes(source, config, error);
    if (!status)
        status = check_sizes(source, config, error);
    if (!status)
        status = nn_config_double_or(source, key_of(source->weights, source->checkpoint, "layer_norm_eps", key),
                                     &config->epsilon, error);
    if (!status && !(config->epsilon > 0 && config->epsilon < 1))
        status =
            more_fail(error, MORE_ERROR_CORRUPT, "%s: layer_norm_eps %g is not between 0 and 1", path, config->epsilon);
    return status ? status : read_activation(source, &config->activation, error);
}

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

static void load_block(nn_loader *loader, const clip_config *config, int64_t i, clip_block *block)
{
    int64_t width = config->width;
    const nn_part weights[] = {{LAYER "attention.query.weight", width},
                               {LAYER "attention.key.weight", width},
                               {LAYER "attention.value.weight", width}};
    const nn_part biases[] = {{LAYER "attention.query.bias", width},
                              {LAYER "attention.key.bias", width},
                              {LAYER "attention.value.bias", width}};

    nn_load_vector(loader, LAYER "norm1.weight", i, width, &block->norm1_weight);
    nn_load_vector(loader, LAYER "norm1.bias", i, width, &block->norm1_bias);
    nn_load_stacked(loader, weights, 3, i, width, &block->query_key_value);
    nn_load_stacked_vector(loader, biases, 3, i, &block->query_key_value_bias);
    nn_load_matrix(loader, LAYER "attention.output.weight", i, width, width, &block->output);
    nn_load_vector(loader, LAYER "attention.output.bias", i, width, &block->output_bias);
    nn_load_vector(loader, LAYER "norm2.weight", i, width, &block->norm2_weight);
    nn_load_vector(loader, LAYER "norm2.bias", i, width, &block->norm2_bias);
    nn_load_matrix(loader, LAYER "mlp.up.weight", i, config->intermediate, width, &block->up);
    nn_load_vector(loader, LAYER "mlp.up.bias", i, config->intermediate, &block->up_bias);
    nn_load_matrix(loader, LAYER "mlp.down.weight", i, width, config->intermediate, &block->down);
    nn_load_vector(loader, LAYER "mlp.down.bias", i, width, &block->down_bias);
}

more_status clip_load(more_vision *clip, const nn_source *source, more_error *error)
{
    const clip_config *config = &clip->config;
    nn_loader loader = {.source = source, .error = error};

    nn_load_matrix(&loader, "patch.weight", 0, config->width, 3 * config->patch_size * config->patch_size,
                   &clip->patch);
    nn_load_vector(&loader, "class_token", 0, config->width, &clip->class_token);
    nn_load_table(&loader, "positions", config->tokens, config->width, &clip->positions);
    nn_load_vector(&loader, "norm.weight", 0, config->width, &clip->norm_weight);
    nn_load_vector(&loader, "norm.bias", 0, config->width, &clip->norm_bias);
    for (int64_t i = 0; i < clip->loaded && !loader.status; i++) {
        load_block(&loader, config, i, &clip->blocks[i]);
        nn_progress(clip->context, "loading clip", i + 1, clip->loaded);
        if (!loader.status && nn_cancelled(clip->context))
            loader.status = more_fail(error, MORE_ERROR_CANCELLED, "loading of clip was stopped");
    }
    clip->weight_bytes = loader.bytes;
    return loader.status;
}

void clip_unload(more_vision *clip)
{
    nn_context *context = clip->context;
    float *vectors[] = {clip->class_token, clip->positions, clip->norm_weight, clip->norm_bias};

    for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++)
        nn_free(context, vectors[k]);
    nn_matrix_free(context, clip->patch);
    for (int64_t i = 0; clip->blocks && i < clip->loaded; i++) {
        clip_block *block = &clip->blocks[i];
        float *own[] = {block->norm1_weight,         block->norm1_bias,  block->norm2_weight, block->norm2_bias,
                        block->query_key_value_bias, block->output_bias, block->up_bias,      block->down_bias};
        nn_matrix *matrices[] = {block->query_key_value, block->output, block->up, block->down};
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            nn_free(context, own[k]);
        for (size_t k = 0; k < sizeof matrices / sizeof *matrices; k++)
            nn_matrix_free(context, matrices[k]);
    }
}

/* ---- Recognising ------------------------------------------------------------------------------------------------ */

void clip_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = host->get_service(host, MORE_WEIGHTS_SERVICE);
    more_weight_info info = {.struct_size = sizeof info};
    const char *type = NULL;
    char key[KEY_SIZE];

    recognition->score = 0;
    recognition->settings[0] = 0;
    if (!weights) {
        snprintf(recognition->reason, sizeof recognition->reason, "the host offers no %s", MORE_WEIGHTS_SERVICE);
        return;
    }
    weights->get_string(checkpoint, key_of(weights, checkpoint, "model_type", key), &type, NULL);
    if (type && is_clip(type)) {
        recognition->score = 100;
        snprintf(recognition->reason, sizeof recognition->reason, "%s %s", key, type);
    } else if (!weights->info(checkpoint, "vision_model.embeddings.class_embedding", &info, NULL)) {
        recognition->score = 50;
        snprintf(recognition->reason, sizeof recognition->reason, "tensor vision_model.embeddings.class_embedding");
    } else {
        snprintf(recognition->reason, sizeof recognition->reason,
                 "%s %s, and no vision_model.embeddings.class_embedding", key, type ? type : "not given");
    }
}
