/* SPDX-License-Identifier: Apache-2.0
 *
 * The LLaMA architecture: token embedding, blocks of {RMS norm, rotary grouped-query attention, RMS norm, SwiGLU},
 * final RMS norm, head. Serves LLaMA-1/2/3/3.1, Vicuna and DeepSeek-R1-Distill-Llama.
 */
#include "decoder.h"

#include <string.h>

/* ---- Names ------------------------------------------------------------------------------------------------------ */

#define LAYER "layers.*."
#define HF "model.layers.*."
#define GGUF "blk.*."

static const more_tensor_name names[] = {
    {"embedding.weight", "model.embed_tokens.weight", "token_embd.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention_norm.weight", HF "input_layernorm.weight", GGUF "attn_norm.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.query.weight", HF "self_attn.q_proj.weight", GGUF "attn_q.weight", MORE_TRANSFORM_PERMUTED_QUERY,
     false},
    {LAYER "attention.key.weight", HF "self_attn.k_proj.weight", GGUF "attn_k.weight", MORE_TRANSFORM_PERMUTED_KEY,
     false},
    {LAYER "attention.value.weight", HF "self_attn.v_proj.weight", GGUF "attn_v.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.output.weight", HF "self_attn.o_proj.weight", GGUF "attn_output.weight", MORE_TRANSFORM_NONE,
     false},
    {LAYER "attention.query.bias", HF "self_attn.q_proj.bias", GGUF "attn_q.bias", MORE_TRANSFORM_PERMUTED_QUERY, true},
    {LAYER "attention.key.bias", HF "self_attn.k_proj.bias", GGUF "attn_k.bias", MORE_TRANSFORM_PERMUTED_KEY, true},
    {LAYER "attention.value.bias", HF "self_attn.v_proj.bias", GGUF "attn_v.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "attention.output.bias", HF "self_attn.o_proj.bias", GGUF "attn_output.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "mlp_norm.weight", HF "post_attention_layernorm.weight", GGUF "ffn_norm.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.gate.weight", HF "mlp.gate_proj.weight", GGUF "ffn_gate.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.up.weight", HF "mlp.up_proj.weight", GGUF "ffn_up.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.down.weight", HF "mlp.down_proj.weight", GGUF "ffn_down.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.gate.bias", HF "mlp.gate_proj.bias", GGUF "ffn_gate.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.up.bias", HF "mlp.up_proj.bias", GGUF "ffn_up.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.down.bias", HF "mlp.down_proj.bias", GGUF "ffn_down.bias", MORE_TRANSFORM_NONE, true},
    {"norm.weight", "model.norm.weight", "output_norm.weight", MORE_TRANSFORM_NONE, false},
    {"head.weight", "lm_head.weight", "output.weight", MORE_TRANSFORM_NONE, true},
};

static const more_tensor_map *tensor_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names,
                                        (int32_t)(sizeof names / sizeof *names)};
    return &map;
}

/* ---- Configuration ---------------------------------------------------------------------------------------------- */

/* The conversation that the model was tuned on, by what its config tells of its family; NULL = unknown. LLaMA-3.1 and
 * DeepSeek's distillation of it share the rotary scaling and differ in their end tokens: a list, or end-of-text alone.
 */
static const char *find_template(const nn_source *source, const nn_decoder_config *config)
{
    const more_weights_service *weights = source->weights;
    const char *type = NULL, *architecture = NULL;
    int64_t begin = -1;

    weights->get_string(source->checkpoint, "rope_scaling.rope_type", &type, NULL);
    weights->get_string(source->checkpoint, "rope_parameters.rope_type", &type, NULL);
    weights->get_string(source->checkpoint, "model_architecture", &architecture, NULL);
    weights->get_int64(source->checkpoint, "bos_token_id", &begin, NULL);
    if (config->vocabulary == 32000 || config->vocabulary == 32064)
        return "vicuna_v1";
    if (!type || strcmp(type, "llama3"))
        return NULL;
    if (begin == 128000 && config->stop_count == 1 && config->stop_ids[0] == 128001)
        return "llama_3_1_reasoning";
    for (int32_t i = 0; i < config->stop_count; i++)
        if (begin == 128000 && config->stop_ids[i] == 128009)
            return "llama_3_1";
    return architecture && !strcmp(architecture, "llama_3_1") ? "llama_3_1" : NULL;
}

static more_status read_config(const nn_source *source, nn_decoder_config *config, more_error *error)
{
    const char *activation = "silu";
    more_status status;

    *config = nn_decoder_config_default();
    status = nn_decoder_read_config(source, config, error);
    if (!status)
        status = nn_config_string_or(source, "hidden_act", &activation, error);
    if (!status && strcmp(activation, "silu"))
        status = nn_decoder_refuse(source, "llama", "hidden_act", activation, "silu", error);
    if (!status)
        status = nn_config_bool_or(source, "attention_bias", &config->attention_bias, error);
    if (!status)
        status = nn_config_bool_or(source, "mlp_bias", &config->mlp_bias, error);
    if (!status)
        config->template_name = find_template(source, config);
    return status;
}

static more_status read_rotary(const nn_source *source, const nn_decoder_config *config, nn_decoder_rotary *rotary,
                               more_error *error)
{
    return nn_decoder_read_rotary(source, "llama", config, 10000, rotary, error);
}

/* ---- The interface ---------------------------------------------------------------------------------------------- */

static const nn_decoder_architecture architecture = {
    .name = "llama",
    .read_config = read_config,
    .read_rotary = read_rotary,
    .load_block = nn_decoder_load_block,
    .block = nn_decoder_block_prenorm,
};

static void recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    /* Names that every LLaMA file has, and one that tells another architecture with the same names apart. */
    static const char *const types[] = {"llama", "llava_llama", NULL};
    static const char *const present[] = {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
                                          "model.layers.0.mlp.gate_proj.weight", NULL};
    static const char *const absent[] = {"model.layers.0.pre_feedforward_layernorm.weight", NULL};
    static const nn_decoder_signature signature = {types, present, absent, "tensors named as LLaMA's"};

    nn_decoder_recognise(&architecture, &signature, host, checkpoint, recognition);
}

static more_status llama_open(const more_open *arguments, more_language **language, more_error *error)
{
    return nn_decoder_open(&architecture, arguments, language, error);
}

static const more_language_interface language_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_language_interface, decode),
    .recognise = recognise,
    .tensor_map = tensor_map,
    .open = llama_open,
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
    .id = "llama",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "LLaMA language models: LLaMA-2, LLaMA-3.1, Vicuna, DeepSeek-R1-Distill-Llama",
    .options = nn_decoder_options,
    .option_count = NN_DECODER_OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
