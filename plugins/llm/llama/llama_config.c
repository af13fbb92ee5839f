/* SPDX-License-Identifier: Apache-2.0
 *
 * What config.json says of a LLaMA: sizes, rotary scaling, end tokens, conversation template.
 */
#include "llama.h"

#include <math.h>
#include <string.h>

#define KEY_SIZE 64 /* bytes of the longest dotted key, the NUL included */

static more_status refuse(const nn_source *source, const char *key, const char *value, const char *allowed,
                          more_error *error)
{
    return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: %s is \"%s\", the llama plugin takes %s",
                     source->weights->path(source->checkpoint), key, value, allowed);
}

/* ---- Sizes ------------------------------------------------------------------------------------------------------ */

typedef struct size_key {
    const char *name;
    int64_t minimum, maximum;
    int64_t *value;
    bool required; /* else *value is the default */
} size_key;

static more_status read_sizes(const nn_source *source, const size_key *sizes, size_t count, more_error *error)
{
    more_status status = MORE_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = (sizes[i].required ? nn_config_int64 : nn_config_int64_or)(source, sizes[i].name, sizes[i].minimum,
                                                                            sizes[i].maximum, sizes[i].value, error);
    }
    return status;
}

static more_status read_heads(const nn_source *source, llama_config *config, more_error *error)
{
    const size_key heads[] = {{"num_attention_heads", 1, 1024, &config->heads, true}};
    const size_key rest[] = {{"num_key_value_heads", 1, 1024, &config->key_value_heads, false},
                             {"head_dim", 2, 1024, &config->head_dimension, false}};
    more_status status = read_sizes(source, heads, 1, error);

    if (status)
        return status;
    config->key_value_heads = config->heads;
    config->head_dimension = config->width / config->heads;
    status = read_sizes(source, rest, 2, error);
    if (!status && config->heads % config->key_value_heads)
        status = more_fail(
            error, MORE_ERROR_CORRUPT, "%s: num_attention_heads %lld is no multiple of num_key_value_heads %lld",
            source->weights->path(source->checkpoint), (long long)config->heads, (long long)config->key_value_heads);
    if (!status && (config->head_dimension < 2 || config->head_dimension % 2))
        status = more_fail(error, MORE_ERROR_CORRUPT,
                           "%s: head_dim %lld is not even, rotary embedding turns pairs of channels",
                           source->weights->path(source->checkpoint), (long long)config->head_dimension);
    return status;
}

/* ---- End tokens and template ------------------------------------------------------------------------------------ */

/* eos_token_id: a number, a list, or absent. Entries behind the last that fits are left out. */
static more_status read_stops(const nn_source *source, llama_config *config, more_error *error)
{
    const char *key = "eos_token_id";
    int64_t length = source->weights->length(source->checkpoint, key), count = length < 0 ? 1 : length;
    more_status status = MORE_OK;

    for (int64_t i = 0; i < count && i < LLAMA_MAX_STOPS && !status; i++) {
        int64_t id = -1;
        char element[KEY_SIZE];
        if (length < 0)
            snprintf(element, sizeof element, "%s", key);
        else
            snprintf(element, sizeof element, "%s.%lld", key, (long long)i);
        status = nn_config_int64_or(source, element, 0, INT32_MAX, &id, error);
        if (!status && id >= 0)
            config->stop_ids[config->stop_count++] = (int32_t)id;
    }
    return status;
}

/* The conversation that the model was tuned on, by what its config tells of its family; NULL = unknown. LLaMA-3.1 and
 * DeepSeek's distillation of it share the rotary scaling and differ in their end tokens: a list, or end-of-text alone.
 */
static const char *find_template(const nn_source *source, const llama_config *config)
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

/* ---- All of it -------------------------------------------------------------------------------------------------- */

more_status llama_config_read(const nn_source *source, llama_config *config, more_error *error)
{
    const size_key sizes[] = {{"vocab_size", 1, 1 << 24, &config->vocabulary, true},
                              {"hidden_size", 1, 1 << 16, &config->width, true},
                              {"num_hidden_layers", 1, 1024, &config->layers, true},
                              {"intermediate_size", 1, 1 << 20, &config->intermediate, true},
                              {"max_position_embeddings", 1, 1 << 24, &config->context, false}};
    const char *activation = "silu";
    more_status status;

    *config = (llama_config){.context = 2048, .epsilon = 1e-6}; /* transformers' defaults of absent keys */
    status = read_sizes(source, sizes, sizeof sizes / sizeof *sizes, error);
    if (!status)
        status = read_heads(source, config, error);
    if (!status)
        status = nn_config_double_or(source, "rms_norm_eps", &config->epsilon, error);
    if (!status && !(config->epsilon > 0 && config->epsilon < 1))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: rms_norm_eps %g is not between 0 and 1",
                           source->weights->path(source->checkpoint), config->epsilon);
    if (!status)
        status = nn_config_string_or(source, "hidden_act", &activation, error);
    if (!status && strcmp(activation, "silu"))
        status = refuse(source, "hidden_act", activation, "silu", error);
    if (!status)
        status = nn_config_bool_or(source, "tie_word_embeddings", &config->tied_head, error);
    if (!status)
        status = nn_config_bool_or(source, "attention_bias", &config->attention_bias, error);
    if (!status)
        status = nn_config_bool_or(source, "mlp_bias", &config->mlp_bias, error);
    if (!status)
        status = read_stops(source, config, error);
    if (!status)
        config->template_name = find_template(source, config);
    return status;
}

/* ---- Rotary frequencies ----------------------------------------------------------------------------------------- */

/* Required number above 0 of the scaling group. */
static more_status read_scaling(const nn_source *source, const char *group, const char *name, double *value,
                                more_error *error)
{
    char key[KEY_SIZE];
    more_status status;

    *value = NAN;
    snprintf(key, sizeof key, "%s.%s", group, name);
    status = nn_config_double_or(source, key, value, error);
    if (!status && !(*value > 0 && isfinite(*value)))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %s is %s, it must be a number above 0",
                           source->weights->path(source->checkpoint), key, isnan(*value) ? "missing" : "out of range");
    return status;
}

static more_status scale_llama3(const nn_source *source, const char *group, float *frequencies, int64_t count,
                                more_error *error)
{
    double factor, low, high, original;
    more_status status = read_scaling(source, group, "factor", &factor, error);

    if (!status)
        status = read_scaling(source, group, "low_freq_factor", &low, error);
    if (!status)
        status = read_scaling(source, group, "high_freq_factor", &high, error);
    if (!status)
        status = read_scaling(source, group, "original_max_position_embeddings", &original, error);
    if (!status && low >= high)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %s.low_freq_factor %g is not below high_freq_factor %g",
                           source->weights->path(source->checkpoint), group, low, high);
    if (!status)
        nn_rotary_scale_llama3(frequencies, count, factor, low, high, original);
    return status;
}

static more_status scale(const nn_source *source, const char *group, float *frequencies, int64_t count,
                         more_error *error)
{
    const char *type = "default";
    char key[KEY_SIZE];
    double factor;
    more_status status;

    snprintf(key, sizeof key, "%s.type", group); /* the older name of the key */
    status = nn_config_string_or(source, key, &type, error);
    snprintf(key, sizeof key, "%s.rope_type", group);
    if (!status)
        status = nn_config_string_or(source, key, &type, error);
    if (status || !strcmp(type, "default"))
        return status;
    if (!strcmp(type, "llama3"))
        return scale_llama3(source, group, frequencies, count, error);
    if (strcmp(type, "linear"))
        return refuse(source, key, type, "default, linear and llama3", error);
    status = read_scaling(source, group, "factor", &factor, error);
    for (int64_t i = 0; i < count && !status; i++)
        frequencies[i] /= (float)factor;
    return status;
}

more_status llama_frequencies(const nn_source *source, const llama_config *config, float **frequencies,
                              more_error *error)
{
    int64_t count = config->head_dimension / 2;
    /* transformers 5 writes rope_parameters with the base inside, older ones rope_scaling with it beside. */
    bool joined = source->weights->length(source->checkpoint, "rope_parameters") >= 0;
    const char *group = joined ? "rope_parameters" : "rope_scaling";
    const char *theta_key = joined ? "rope_parameters.rope_theta" : "rope_theta";
    double theta = 10000;
    more_status status;

    status = nn_config_double_or(source, theta_key, &theta, error);
    if (!status && !(theta > 0 && isfinite(theta)))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %s %g is not above 0",
                           source->weights->path(source->checkpoint), theta_key, theta);
    if (status)
        return status;
    *frequencies = nn_alloc_f32(source->context, count);
    if (!*frequencies)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld rotary frequencies", (long long)count);
    nn_rotary_frequencies(theta, config->head_dimension, *frequencies);
    return scale(source, group, *frequencies, count, error);
}

/* ---- Recognising ------------------------------------------------------------------------------------------------ */

/* Names that every LLaMA file has, and one that tells another architecture with the same names apart. */
static bool names_fit(const more_weights_service *weights, more_checkpoint *checkpoint)
{
    more_weight_info info = {.struct_size = sizeof info};
    return !weights->info(checkpoint, "model.embed_tokens.weight", &info, NULL) &&
           !weights->info(checkpoint, "model.layers.0.self_attn.q_proj.weight", &info, NULL) &&
           !weights->info(checkpoint, "model.layers.0.mlp.gate_proj.weight", &info, NULL) &&
           weights->info(checkpoint, "model.layers.0.pre_feedforward_layernorm.weight", &info, NULL);
}

/* The settings that follow from the config, where it can be read. */
static void recommend(const nn_source *source, more_recognition *recognition)
{
    llama_config config;
    if (llama_config_read(source, &config, NULL))
        return;
    if (config.template_name)
        snprintf(recognition->settings, sizeof recognition->settings, "template = %s\n", config.template_name);
    snprintf(recognition->reason + strlen(recognition->reason),
             sizeof recognition->reason - strlen(recognition->reason), ", %lld layers of %lld",
             (long long)config.layers, (long long)config.width);
}

void llama_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = host->get_service(host, MORE_WEIGHTS_SERVICE);
    nn_source source = {.weights = weights, .checkpoint = checkpoint, .metadata_only = true};
    const char *type = NULL;

    recognition->score = 0;
    recognition->settings[0] = 0;
    if (!weights) {
        snprintf(recognition->reason, sizeof recognition->reason, "the host offers no %s", MORE_WEIGHTS_SERVICE);
        return;
    }
    weights->get_string(checkpoint, "model_type", &type, NULL);
    if (type && (!strcmp(type, "llama") || !strcmp(type, "llava_llama")))
        recognition->score = 100;
    else if (!type && names_fit(weights, checkpoint))
        recognition->score = 50;
    snprintf(recognition->reason, sizeof recognition->reason, "model_type %s", type ? type : "not given");
    if (recognition->score == 50)
        snprintf(recognition->reason, sizeof recognition->reason, "tensors named as LLaMA's");
    if (recognition->score)
        recommend(&source, recognition);
}
