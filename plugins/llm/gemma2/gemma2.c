/* SPDX-License-Identifier: Apache-2.0
 *
 * The Gemma-2 architecture: embedding times sqrt(width), blocks whose attention and GeGLU feed-forward stand between
 * two RMS norms each (weights stored as w, used as 1 + w), every other layer's attention through a sliding window,
 * scores and logits soft-capped by cap tanh(x / cap), head tied to the embedding. Serves Gemma-2 2B, 9B and 27B.
 */
#include "decoder.h"

#include <math.h>
#include <string.h>

/* ---- Names ------------------------------------------------------------------------------------------------------ */

#define LAYER "layers.*."
#define HF "model.layers.*."
#define GGUF "blk.*."

static const more_tensor_name names[] = {
    {"embedding.weight", "model.embed_tokens.weight", "token_embd.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention_norm.weight", HF "input_layernorm.weight", GGUF "attn_norm.weight", MORE_TRANSFORM_MINUS_ONE,
     false},
    {LAYER "attention.query.weight", HF "self_attn.q_proj.weight", GGUF "attn_q.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.key.weight", HF "self_attn.k_proj.weight", GGUF "attn_k.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.value.weight", HF "self_attn.v_proj.weight", GGUF "attn_v.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.output.weight", HF "self_attn.o_proj.weight", GGUF "attn_output.weight", MORE_TRANSFORM_NONE,
     false},
    {LAYER "attention.query.bias", HF "self_attn.q_proj.bias", GGUF "attn_q.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "attention.key.bias", HF "self_attn.k_proj.bias", GGUF "attn_k.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "attention.value.bias", HF "self_attn.v_proj.bias", GGUF "attn_v.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "attention.output.bias", HF "self_attn.o_proj.bias", GGUF "attn_output.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "attention_post_norm.weight", HF "post_attention_layernorm.weight", GGUF "post_attention_norm.weight",
     MORE_TRANSFORM_MINUS_ONE, false},
    {LAYER "mlp_norm.weight", HF "pre_feedforward_layernorm.weight", GGUF "ffn_norm.weight", MORE_TRANSFORM_MINUS_ONE,
     false},
    {LAYER "mlp.gate.weight", HF "mlp.gate_proj.weight", GGUF "ffn_gate.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.up.weight", HF "mlp.up_proj.weight", GGUF "ffn_up.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.down.weight", HF "mlp.down_proj.weight", GGUF "ffn_down.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp_post_norm.weight", HF "post_feedforward_layernorm.weight", GGUF "post_ffw_norm.weight",
     MORE_TRANSFORM_MINUS_ONE, false},
    {"norm.weight", "model.norm.weight", "output_norm.weight", MORE_TRANSFORM_MINUS_ONE, false},
    {"head.weight", "lm_head.weight", "output.weight", MORE_TRANSFORM_NONE, true},
};

static const more_tensor_map *tensor_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names,
                                        (int32_t)(sizeof names / sizeof *names)};
    return &map;
}

/* ---- Configuration ---------------------------------------------------------------------------------------------- */

/* Which layers have the window: what layer_types says, else every other one from the first on. */
static more_status read_windows(const nn_source *source, nn_decoder_config *config, more_error *error)
{
    int64_t count = source->weights->length(source->checkpoint, "layer_types");
    more_status status;

    config->window = 4096;
    status = nn_config_int64_or(source, "sliding_window", 1, 1 << 24, &config->window, error);
    if (!status && count >= 0 && count != config->layers)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: layer_types has %lld entries, num_hidden_layers is %lld",
                           source->weights->path(source->checkpoint), (long long)count, (long long)config->layers);
    for (int64_t i = 0; i < config->layers && !status; i++) {
        const char *type = i % 2 ? "full_attention" : "sliding_attention";
        char key[40];
        snprintf(key, sizeof key, "layer_types.%lld", (long long)i);
        if (count >= 0)
            status = nn_config_string_or(source, key, &type, error);
        config->windowed[i] = !strcmp(type, "sliding_attention");
        if (!status && !config->windowed[i] && strcmp(type, "full_attention"))
            status = nn_decoder_refuse(source, "gemma2", key, type, "sliding_attention and full_attention", error);
    }
    return status;
}

static more_status read_config(const nn_source *source, nn_decoder_config *config, more_error *error)
{
    const char *activation = "gelu_pytorch_tanh";
    double scalar = 256;
    more_status status;

    *config = nn_decoder_config_default();
    config->context = 8192;
    config->key_value_heads = 4;
    config->head_dimension = 256;
    config->tied_head = true;
    config->norm_offset = 1;
    config->activation = NN_GELU_TANH;
    config->template_name = "gemma_2";
    status = nn_decoder_read_config(source, config, error);
    config->embedding_scale = (float)sqrt((double)config->width);
    if (!status)
        status = nn_config_string_or(source, "hidden_activation", &activation, error);
    if (!status && strcmp(activation, "gelu_pytorch_tanh"))
        status = nn_decoder_refuse(source, "gemma2", "hidden_activation", activation, "gelu_pytorch_tanh", error);
    if (!status)
        status = nn_config_bool_or(source, "attention_bias", &config->attention_bias, error);
    if (!status)
        status = nn_decoder_positive_or(source, "query_pre_attn_scalar", &scalar, error);
    config->attention_scale = (float)(1 / sqrt(scalar));
    /* transformers always writes both caps; null turns one off. */
    if (!status)
        status = nn_decoder_positive_or_none(source, "attn_logit_softcapping", &config->attention_softcap, error);
    if (!status)
        status = nn_decoder_positive_or_none(source, "final_logit_softcapping", &config->logit_softcap, error);
    return status ? status : read_windows(source, config, error);
}

static more_status read_rotary(const nn_source *source, const nn_decoder_config *config, nn_decoder_rotary *rotary,
                               more_error *error)
{
    return nn_decoder_read_rotary(source, "gemma2", config, 10000, rotary, error);
}

/* ---- One block -------------------------------------------------------------------------------------------------- */

static void load_block(nn_loader *loader, const nn_decoder_config *config, int64_t layer, nn_decoder_block *block)
{
    nn_decoder_load_block(loader, config, layer, block);
    nn_load_vector(loader, LAYER "attention_post_norm.weight", layer, config->width, &block->attention_post_norm);
    nn_load_vector(loader, LAYER "mlp_post_norm.weight", layer, config->width, &block->mlp_post_norm);
}

/* x += norm(attention(norm(x))); x += norm(feed_forward(norm(x))) */
static void block(const more_language *gemma, const nn_batch *batch, int64_t layer, const nn_decoder_scratch *scratch,
                  float *x)
{
    const nn_decoder_block *weights = &gemma->blocks[layer];
    nn_context *context = scratch->context;
    float *normed = scratch->normed;

    nn_decoder_norm(gemma, context, x, batch->rows, weights->attention_norm, normed);
    nn_decoder_attend(gemma, batch, layer, scratch, NULL, normed);
    nn_decoder_norm(gemma, context, normed, batch->rows, weights->attention_post_norm, normed);
    nn_add(context, normed, batch->rows * gemma->config.width, x);

    nn_decoder_norm(gemma, context, x, batch->rows, weights->mlp_norm, normed);
    nn_decoder_feed_forward(gemma, batch, layer, scratch, NULL, normed);
    nn_decoder_norm(gemma, context, normed, batch->rows, weights->mlp_post_norm, normed);
    nn_add(context, normed, batch->rows * gemma->config.width, x);
}

/* ---- The interface ---------------------------------------------------------------------------------------------- */

static const nn_decoder_architecture architecture = {
    .name = "gemma2",
    .read_config = read_config,
    .read_rotary = read_rotary,
    .load_block = load_block,
    .block = block,
};

static void recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    /* Four norms a layer are Gemma-2's and Gemma-3's; the latter also norms queries. */
    static const char *const types[] = {"gemma2", "llava_gemma2", "llava_gemma", NULL};
    static const char *const present[] = {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
                                          "model.layers.0.pre_feedforward_layernorm.weight",
                                          "model.layers.0.post_feedforward_layernorm.weight", NULL};
    static const char *const absent[] = {"model.layers.0.self_attn.q_norm.weight", NULL};
    static const nn_decoder_signature signature = {types, present, absent, "tensors named as Gemma-2's"};

    nn_decoder_recognise(&architecture, &signature, host, checkpoint, recognition);
}

static more_status gemma2_open(const more_open *arguments, more_language **language, more_error *error)
{
    return nn_decoder_open(&architecture, arguments, language, error);
}

static const more_language_interface language_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_language_interface, decode),
    .recognise = recognise,
    .tensor_map = tensor_map,
    .open = gemma2_open,
    .close = nn_decoder_close,
    .describe = nn_decoder_describe,
    .estimate = nn_decoder_estimate,
    .kv_bytes = nn_decoder_kv_bytes,
    .session_create = nn_decoder_session_create,
    .session_fork = nn_session_fork,
    .session_truncate = nn_session_truncate,
    .session_info = nn_session_info,
    .session_destroy = nn_session_destroy,
    .embed = nn_decoder_embed,
    .advance = nn_decoder_advance,
};

static int32_t score(void)
{
    return 100;
}

static const void *get_interface(const char *id)
{
    return strcmp(id, MORE_LANGUAGE_INTERFACE) ? NULL : &language_interface;
}

static const more_plugin plugin = {
    .struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
    .abi_version = MORE_ABI_VERSION,
    .kind = MORE_KIND_LANGUAGE,
    .id = "gemma2",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "Gemma-2 language models: 2B, 9B, 27B",
    .options = nn_decoder_options,
    .option_count = NN_DECODER_OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
