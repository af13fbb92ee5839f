/* SPDX-License-Identifier: Apache-2.0
 *
 * Phi-3 and Phi-4: LLaMA's blocks with query, key and value stored as one matrix, gate and up as another, a rotary
 * embedding that may turn only the first channels of a head, and LongRoPE. Serves Phi-4-mini, Phi-4 and Phi-3.
 *
 * LongRoPE has two lists of factors on the rotary frequencies: short ones for sequences of up to
 * original_max_position_embeddings rows, long ones for longer sequences, and these for every row, the first included.
 * So a session is in one of two regimes, and the keys of one are of no use in the other:
 *  - a session that passes the edge is answered MORE_NEEDS_REPLAY, and so is one that was truncated back below it, when
 *    it is next advanced and not before: rows may be added that take it past the edge again;
 *  - planned_length is taken at its word: a session planned past the edge is long from its first row on, so that a long
 *    prompt can be read in chunks, until it is truncated. What it says of its rows is what one call over the planned
 *    number of rows would; who does not know how long a session becomes plans 0.
 */
#include "decoder.h"

#include <math.h>
#include <string.h>

enum { SHORT, LONG }; /* regimes */

/* ---- Names ------------------------------------------------------------------------------------------------------ */

#define LAYER "layers.*."
#define HF "model.layers.*."
#define GGUF "blk.*."

/* A GGUF file also has LongRoPE's lists, as tensors: rope_factors_short.weight and rope_factors_long.weight. */
static const more_tensor_name names[] = {
    {"embedding.weight", "model.embed_tokens.weight", "token_embd.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention_norm.weight", HF "input_layernorm.weight", GGUF "attn_norm.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.query_key_value.weight", HF "self_attn.qkv_proj.weight", GGUF "attn_qkv.weight",
     MORE_TRANSFORM_NONE, false},
    {LAYER "attention.output.weight", HF "self_attn.o_proj.weight", GGUF "attn_output.weight", MORE_TRANSFORM_NONE,
     false},
    {LAYER "mlp_norm.weight", HF "post_attention_layernorm.weight", GGUF "ffn_norm.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.gate_up.weight", HF "mlp.gate_up_proj.weight", GGUF "ffn_up.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.down.weight", HF "mlp.down_proj.weight", GGUF "ffn_down.weight", MORE_TRANSFORM_NONE, false},
    {"norm.weight", "model.norm.weight", "output_norm.weight", MORE_TRANSFORM_NONE, false},
    {"head.weight", "lm_head.weight", "output.weight", MORE_TRANSFORM_NONE, true},
};

static const more_tensor_map *tensor_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names,
                                        (int32_t)(sizeof names / sizeof *names)};
    return &map;
}

/* ---- Config ----------------------------------------------------------------------------------------------------- */

#define KEY_SIZE 64 /* bytes of the longest dotted key, the NUL included */

/* The names that LongRoPE has had in Phi-3's config.json. */
static bool is_longrope(const char *type)
{
    return !strcmp(type, "longrope") || !strcmp(type, "su") || !strcmp(type, "yarn");
}

/* How many channels of a head turn. */
static more_status read_partial(const nn_source *source, const char *group, nn_decoder_config *config,
                                more_error *error)
{
    double factor = (double)config->rotary_dimensions / (double)config->head_dimension;
    char key[KEY_SIZE];
    more_status status = nn_config_double_or(source, "partial_rotary_factor", &factor, error);

    snprintf(key, sizeof key, "%s.partial_rotary_factor", group);
    if (!status)
        status = nn_config_double_or(source, key, &factor, error);
    if (!status && !(factor > 0 && factor <= 1))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: partial_rotary_factor %g is not above 0 and at most 1",
                         source->weights->path(source->checkpoint), factor);
    /* transformers rounds down; the small addition is for factors that are themselves quotients */
    config->rotary_dimensions = (int64_t)((double)config->head_dimension * factor + 1e-9);
    if (!status && (config->rotary_dimensions < 2 || config->rotary_dimensions % 2))
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: partial_rotary_factor %g of head_dim %lld is %lld channels, it must be an even number",
                         source->weights->path(source->checkpoint), factor, (long long)config->head_dimension,
                         (long long)config->rotary_dimensions);
    return status;
}

/* Rotary sizes, and where LongRoPE's edge is. */
static more_status read_positions(const nn_source *source, nn_decoder_config *config, more_error *error)
{
    const char *group, *type;
    char key[KEY_SIZE];
    double theta = 10000;
    int64_t original = 4096;
    more_status status = nn_decoder_rotary_group(source, &group, &type, &theta, error);

    if (!status)
        status = read_partial(source, group, config, error);
    if (status || !is_longrope(type))
        return status;
    snprintf(key, sizeof key, "%s.original_max_position_embeddings", group);
    status = nn_config_int64_or(source, key, 2, 1 << 24, &original, error);
    if (!status) /* transformers lets this one win */
        status = nn_config_int64_or(source, "original_max_position_embeddings", 2, 1 << 24, &original, error);
    config->original_context = original;
    return status;
}

/* Every layer sees `sliding_window` rows; one of the whole context is none. */
static more_status read_window(const nn_source *source, nn_decoder_config *config, more_error *error)
{
    int64_t window = 0;
    more_status status = nn_config_int64_or(source, "sliding_window", 1, INT32_MAX, &window, error);

    if (status || window == 0 || window >= config->context)
        return status;
    config->window = window;
    for (int64_t i = 0; i < config->layers; i++)
        config->windowed[i] = true;
    return MORE_OK;
}

/* The conversation that the model was tuned on, by what its config tells of it; NULL = unknown. Of the family, the
 * study tuned Phi-4-mini, known by its vocabulary. */
static const char *find_template(const nn_source *source, const nn_decoder_config *config)
{
    const char *architecture = "";

    source->weights->get_string(source->checkpoint, "model_architecture", &architecture, NULL);
    return config->vocabulary == 200064 || !strcmp(architecture, "phi_4") ? "phi_4" : NULL;
}

static more_status read_config(const nn_source *source, nn_decoder_config *config, more_error *error)
{
    const char *activation = "silu";
    bool bias = false;
    more_status status;

    *config = nn_decoder_config_default();
    config->context = 4096; /* transformers' defaults of absent keys */
    config->epsilon = 1e-5;
    status = nn_decoder_read_config(source, config, error);
    if (!status)
        status = nn_config_string_or(source, "hidden_act", &activation, error);
    if (!status && strcmp(activation, "silu"))
        status = nn_decoder_refuse(source, "phi4", "hidden_act", activation, "silu", error);
    if (!status)
        status = nn_config_bool_or(source, "attention_bias", &bias, error);
    if (!status && bias)
        status = nn_decoder_refuse(source, "phi4", "attention_bias", "true", "false", error);
    if (!status)
        status = read_positions(source, config, error);
    if (!status)
        status = read_window(source, config, error);
    if (!status)
        config->template_name = find_template(source, config);
    return status;
}

/* ---- Rotary frequencies ----------------------------------------------------------------------------------------- */

/* One list of factors, and the frequencies that it gives. */
static more_status read_factors(const nn_source *source, const nn_decoder_config *config, const char *group,
                                const char *name, double theta, nn_decoder_rotary *rotary, more_error *error)
{
    int64_t count = config->rotary_dimensions / 2, length;
    char key[KEY_SIZE];
    more_status status = MORE_OK;

    snprintf(key, sizeof key, "%s.%s", group, name);
    length = source->weights->length(source->checkpoint, key);
    if (length < 0)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: %s is missing, LongRoPE needs %lld numbers there",
                         source->weights->path(source->checkpoint), key, (long long)count);
    if (length != count)
        return more_fail(
            error, MORE_ERROR_CORRUPT,
            "%s: %s has %lld numbers, LongRoPE needs %lld: one for each pair of the %lld channels that turn",
            source->weights->path(source->checkpoint), key, (long long)length, (long long)count,
            (long long)config->rotary_dimensions);
    float factors[NN_HEAD_DIMENSION / 2];
    for (int64_t i = 0; i < count && !status; i++) {
        char element[KEY_SIZE];
        double factor;
        snprintf(element, sizeof element, "%s.%lld", name, (long long)i);
        status = nn_decoder_positive(source, group, element, &factor, error);
        factors[i] = (float)factor;
    }
    if (!status)
        nn_rotary_frequencies_long(theta, config->rotary_dimensions, factors, rotary->values);
    return status;
}

/* Keys of other models' LongRoPE, which would turn rows otherwise than the reference does. */
static more_status refuse_scales(const nn_source *source, const char *group, more_error *error)
{
    static const char *const foreign[] = {"short_mscale", "long_mscale"};
    more_status status = MORE_OK;

    for (size_t i = 0; i < sizeof foreign / sizeof *foreign && !status; i++) {
        char key[KEY_SIZE], text[32];
        double value = NAN;
        snprintf(key, sizeof key, "%s.%s", group, foreign[i]);
        status = nn_config_double_or(source, key, &value, error);
        snprintf(text, sizeof text, "%g", value);
        if (!status && !isnan(value))
            status = nn_decoder_refuse(source, "phi4", key, text, "attention_factor alone", error);
    }
    return status;
}

static more_status read_rotary(const nn_source *source, const nn_decoder_config *config, nn_decoder_rotary *rotary,
                               more_error *error)
{
    const char *group, *type;
    char key[KEY_SIZE];
    double theta = 10000, factor = 1;
    more_status status = nn_decoder_rotary_group(source, &group, &type, &theta, error);

    if (!status && !strcmp(type, "default"))
        return nn_decoder_read_rotary(source, "phi4", config, theta, rotary, error);
    snprintf(key, sizeof key, "%s.type", group);
    if (!status && !is_longrope(type))
        return nn_decoder_refuse(source, "phi4", key, type, "longrope, su and yarn, or no scaling", error);
    if (!status)
        status = refuse_scales(source, group, error);
    if (!status)
        factor = nn_rotary_attention_factor((double)config->context, (double)config->original_context);
    snprintf(key, sizeof key, "%s.attention_factor", group);
    if (!status)
        status = nn_config_double_or(source, key, &factor, error);
    if (!status && !(factor > 0 && isfinite(factor)))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %s %g is not above 0",
                           source->weights->path(source->checkpoint), key, factor);
    if (!status)
        status = read_factors(source, config, group, "short_factor", theta, &rotary[SHORT], error);
    if (!status)
        status = read_factors(source, config, group, "long_factor", theta, &rotary[LONG], error);
    rotary[SHORT].factor = rotary[LONG].factor = (float)factor;
    return status;
}

/* Which factors all rows of the session turn by, once the new ones are in. */
static more_status admit(const nn_language *language, nn_admission *admission, more_error *error)
{
    int64_t original = ((const more_language *)language)->config.original_context;
    bool is_long = original > 0 && (admission->reach > original || admission->planned_length > original);

    if (admission->length > 0 && admission->regime != (is_long ? LONG : SHORT))
        return more_fail(error, MORE_NEEDS_REPLAY,
                         "the %lld rows of the session turn by LongRoPE's %s factors, the %lld that it is to have by "
                         "its %s ones: the edge is at %lld",
                         (long long)admission->length, is_long ? "short" : "long",
                         (long long)(admission->length + admission->rows), is_long ? "long" : "short",
                         (long long)original);
    admission->regime = is_long ? LONG : SHORT;
    return MORE_OK;
}

/* ---- Weights ---------------------------------------------------------------------------------------------------- */

static void load_block(nn_loader *loader, const nn_decoder_config *config, int64_t i, nn_decoder_block *block)
{
    int64_t query = config->heads * config->head_dimension, key = config->key_value_heads * config->head_dimension;
    int64_t width = config->width, inner = config->intermediate;

    nn_load_vector(loader, LAYER "attention_norm.weight", i, width, &block->attention_norm);
    nn_load_matrix(loader, LAYER "attention.query_key_value.weight", i, query + 2 * key, width,
                   &block->query_key_value);
    nn_load_matrix(loader, LAYER "attention.output.weight", i, width, query, &block->output);
    nn_load_vector(loader, LAYER "mlp_norm.weight", i, width, &block->mlp_norm);
    nn_load_matrix(loader, LAYER "mlp.gate_up.weight", i, 2 * inner, width, &block->gate_up);
    nn_load_matrix(loader, LAYER "mlp.down.weight", i, width, inner, &block->down);
}

/* ---- The interface ---------------------------------------------------------------------------------------------- */

static const nn_decoder_architecture architecture = {
    .name = "phi4",
    .read_config = read_config,
    .read_rotary = read_rotary,
    .load_block = load_block,
    .block = nn_decoder_block_prenorm,
    .admit = admit,
};

static void recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    static const char *const types[] = {"phi3", "phi4", "llava_phi", NULL};
    static const char *const present[] = {"model.embed_tokens.weight", "model.layers.0.self_attn.qkv_proj.weight",
                                          "model.layers.0.mlp.gate_up_proj.weight", NULL};
    static const char *const absent[] = {"model.layers.0.self_attn.q_proj.weight", NULL};
    static const nn_decoder_signature signature = {types, present, absent, "tensors named as Phi-3's"};

    nn_decoder_recognise(&architecture, &signature, host, checkpoint, recognition);
}

static more_status phi4_open(const more_open *arguments, more_language **language, more_error *error)
{
    return nn_decoder_open(&architecture, arguments, language, error);
}

static const more_language_interface language_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_language_interface, decode),
    .recognise = recognise,
    .tensor_map = tensor_map,
    .open = phi4_open,
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
    .id = "phi4",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "Phi language models: Phi-4-mini, Phi-4, Phi-3",
    .options = nn_decoder_options,
    .option_count = NN_DECODER_OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
