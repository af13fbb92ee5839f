/* SPDX-License-Identifier: Apache-2.0
 *
 * What config.json says of a decoder: sizes, rotary frequencies, end tokens; and how a checkpoint is recognised by it.
 */
#include "decoder.h"

#include <math.h>
#include <string.h>

#define KEY_SIZE 64 /* bytes of the longest dotted key, the NUL included */

static const char *path_of(const nn_source *source)
{
    return source->weights->path(source->checkpoint);
}

more_status nn_decoder_refuse(const nn_source *source, const char *plugin, const char *key, const char *value,
                              const char *allowed, more_error *error)
{
    return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: %s is \"%s\", the %s plugin takes %s", path_of(source), key,
                     value, plugin, allowed);
}

more_status nn_decoder_positive(const nn_source *source, const char *group, const char *name, double *value,
                                more_error *error)
{
    char key[KEY_SIZE];
    more_status status;

    *value = NAN;
    snprintf(key, sizeof key, "%s%s%s", group ? group : "", group ? "." : "", name);
    status = nn_config_double_or(source, key, value, error);
    if (!status && !(*value > 0 && isfinite(*value)))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %s is %s, it must be a number above 0", path_of(source), key,
                           isnan(*value) ? "missing" : "out of range");
    return status;
}

more_status nn_decoder_positive_or(const nn_source *source, const char *name, double *value, more_error *error)
{
    more_status status = nn_config_double_or(source, name, value, error);

    if (!status && !(*value > 0 && isfinite((float)*value)))
        status =
            more_fail(error, MORE_ERROR_CORRUPT, "%s: %s %g is not a number above 0", path_of(source), name, *value);
    return status;
}

more_status nn_decoder_positive_or_none(const nn_source *source, const char *name, float *value, more_error *error)
{
    double number = 0;
    more_status status = source->weights->get_double(source->checkpoint, name, &number, error);

    *value = 0;
    if (status == MORE_ERROR_NOT_FOUND)
        return MORE_OK;
    if (!status)
        status = nn_decoder_positive_or(source, name, &number, error);
    *value = (float)number;
    return status;
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

static more_status read_heads(const nn_source *source, nn_decoder_config *config, more_error *error)
{
    const size_key heads[] = {{"num_attention_heads", 1, 1024, &config->heads, true}};
    const size_key rest[] = {{"num_key_value_heads", 1, 1024, &config->key_value_heads, false},
                             {"head_dim", 2, NN_HEAD_DIMENSION, &config->head_dimension, false}};
    more_status status = read_sizes(source, heads, 1, error);

    if (status)
        return status;
    if (!config->key_value_heads)
        config->key_value_heads = config->heads;
    if (!config->head_dimension)
        config->head_dimension = config->width / config->heads;
    status = read_sizes(source, rest, 2, error);
    if (!status && config->heads % config->key_value_heads)
        status = more_fail(error, MORE_ERROR_CORRUPT,
                           "%s: num_attention_heads %lld is no multiple of num_key_value_heads %lld", path_of(source),
                           (long long)config->heads, (long long)config->key_value_heads);
    if (!status && (config->head_dimension < 2 || config->head_dimension % 2))
        status = more_fail(error, MORE_ERROR_CORRUPT,
                           "%s: head_dim %lld is not even, rotary embedding turns pairs of channels", path_of(source),
                           (long long)config->head_dimension);
    if (!status && config->head_dimension > NN_HEAD_DIMENSION)
        status =
            more_fail(error, MORE_ERROR_UNSUPPORTED,
                      "%s: hidden_size %lld over num_attention_heads %lld makes heads of %lld, at most %d are taken",
                      path_of(source), (long long)config->width, (long long)config->heads,
                      (long long)config->head_dimension, NN_HEAD_DIMENSION);
    config->rotary_dimensions = config->head_dimension;
    config->attention_scale = 1 / sqrtf((float)config->head_dimension);
    if (!status) /* how many channels of a head turn: what GGUF files say, and GPT-J's config */
        status = nn_config_int64_or(source, "rotary_dim", 2, config->head_dimension, &config->rotary_dimensions, error);
    if (!status && config->rotary_dimensions % 2)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: rotary_dim %lld is not even, channels turn in pairs",
                           path_of(source), (long long)config->rotary_dimensions);
    return status;
}

/* eos_token_id: a number, a list, or absent. Entries behind the last that fits are left out. */
static more_status read_stops(const nn_source *source, nn_decoder_config *config, more_error *error)
{
    const char *key = "eos_token_id";
    int64_t length = source->weights->length(source->checkpoint, key), count = length < 0 ? 1 : length;
    more_status status = MORE_OK;

    for (int64_t i = 0; i < count && i < NN_DECODER_STOPS && !status; i++) {
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

nn_decoder_config nn_decoder_config_default(void)
{
    return (nn_decoder_config){.context = 2048, .epsilon = 1e-6, .embedding_scale = 1, .activation = NN_SILU};
}

more_status nn_decoder_read_config(const nn_source *source, nn_decoder_config *config, more_error *error)
{
    const size_key sizes[] = {{"vocab_size", 1, 1 << 24, &config->vocabulary, true},
                              {"hidden_size", 1, 1 << 16, &config->width, true},
                              {"num_hidden_layers", 1, NN_DECODER_LAYERS, &config->layers, true},
                              {"intermediate_size", 1, 1 << 20, &config->intermediate, true},
                              {"max_position_embeddings", 1, 1 << 24, &config->context, false}};
    more_status status = read_sizes(source, sizes, sizeof sizes / sizeof *sizes, error);

    if (!status)
        status = read_heads(source, config, error);
    if (!status)
        status = nn_config_double_or(source, "rms_norm_eps", &config->epsilon, error);
    if (!status && !(config->epsilon > 0 && config->epsilon < 1))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: rms_norm_eps %g is not between 0 and 1", path_of(source),
                           config->epsilon);
    if (!status)
        status = nn_config_bool_or(source, "tie_word_embeddings", &config->tied_head, error);
    if (!status)
        status = read_stops(source, config, error);
    return status;
}

/* ---- Rotary frequencies ----------------------------------------------------------------------------------------- */

more_status nn_decoder_rotary_group(const nn_source *source, const char **group, const char **type, double *theta,
                                    more_error *error)
{
    /* transformers 5 writes rope_parameters with the base inside, older ones rope_scaling with it beside. */
    bool joined = source->weights->length(source->checkpoint, "rope_parameters") >= 0;
    const char *theta_key = joined ? "rope_parameters.rope_theta" : "rope_theta";
    char key[KEY_SIZE];
    more_status status = nn_config_double_or(source, theta_key, theta, error);

    *group = joined ? "rope_parameters" : "rope_scaling";
    *type = "default";
    if (!status && !(*theta > 0 && isfinite(*theta)))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %s %g is not above 0", path_of(source), theta_key, *theta);
    snprintf(key, sizeof key, "%s.type", *group); /* the older name of the key */
    if (!status)
        status = nn_config_string_or(source, key, type, error);
    snprintf(key, sizeof key, "%s.rope_type", *group);
    if (!status)
        status = nn_config_string_or(source, key, type, error);
    return status;
}

/* Divides each frequency by its own number, where the checkpoint has the scaling worked out (GGUF files do). */
static more_status divide_by_factors(const nn_source *source, const char *group, float *frequencies, int64_t count,
                                     int64_t factors, more_error *error)
{
    more_status status = MORE_OK;

    if (factors != count)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: %s.factors has %lld numbers, %lld channels that turn need %lld", path_of(source), group,
                         (long long)factors, (long long)(2 * count), (long long)count);
    for (int64_t i = 0; i < count && !status; i++) {
        char element[KEY_SIZE];
        double factor;
        snprintf(element, sizeof element, "factors.%lld", (long long)i);
        status = nn_decoder_positive(source, group, element, &factor, error);
        frequencies[i] /= (float)factor;
    }
    return status;
}

static more_status scale_llama3(const nn_source *source, const char *group, float *frequencies, int64_t count,
                                more_error *error)
{
    double factor, low, high, original;
    char key[KEY_SIZE];
    int64_t factors;
    more_status status;

    snprintf(key, sizeof key, "%s.factors", group);
    factors = source->weights->length(source->checkpoint, key);
    if (factors >= 0)
        return divide_by_factors(source, group, frequencies, count, factors, error);
    status = nn_decoder_positive(source, group, "factor", &factor, error);
    if (!status)
        status = nn_decoder_positive(source, group, "low_freq_factor", &low, error);
    if (!status)
        status = nn_decoder_positive(source, group, "high_freq_factor", &high, error);
    if (!status)
        status = nn_decoder_positive(source, group, "original_max_position_embeddings", &original, error);
    if (!status && low >= high)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %s.low_freq_factor %g is not below high_freq_factor %g",
                           path_of(source), group, low, high);
    if (!status)
        nn_rotary_scale_llama3(frequencies, count, factor, low, high, original);
    return status;
}

more_status nn_decoder_read_rotary(const nn_source *source, const char *plugin, const nn_decoder_config *config,
                                   double theta, nn_decoder_rotary *rotary, more_error *error)
{
    int64_t count = config->rotary_dimensions / 2;
    const char *group, *type;
    char key[KEY_SIZE];
    double factor;
    more_status status = nn_decoder_rotary_group(source, &group, &type, &theta, error);

    if (status)
        return status;
    nn_rotary_frequencies(theta, config->rotary_dimensions, rotary->values);
    if (!strcmp(type, "default"))
        return MORE_OK;
    if (!strcmp(type, "llama3"))
        return scale_llama3(source, group, rotary->values, count, error);
    snprintf(key, sizeof key, "%s.rope_type", group);
    if (strcmp(type, "linear"))
        return nn_decoder_refuse(source, plugin, key, type, "default, linear and llama3", error);
    status = nn_decoder_positive(source, group, "factor", &factor, error);
    for (int64_t i = 0; i < count && !status; i++)
        rotary->values[i] /= (float)factor;
    return status;
}

/* ---- Recognising ------------------------------------------------------------------------------------------------ */

static bool is_one_of(const char *const *list, const char *name)
{
    while (*list && strcmp(*list, name))
        list++;
    return *list != NULL;
}

static bool names_fit(const nn_decoder_signature *signature, const more_weights_service *weights,
                      more_checkpoint *checkpoint)
{
    more_weight_info info = {.struct_size = sizeof info};
    for (const char *const *name = signature->present; *name; name++)
        if (weights->info(checkpoint, *name, &info, NULL))
            return false;
    for (const char *const *name = signature->absent; *name; name++)
        if (!weights->info(checkpoint, *name, &info, NULL))
            return false;
    return true;
}

/* The settings that follow from the config, where it can be read. */
static void recommend(const nn_decoder_architecture *architecture, const nn_source *source,
                      more_recognition *recognition)
{
    nn_decoder_config config;
    size_t written = strlen(recognition->reason);
    if (architecture->read_config(source, &config, NULL))
        return;
    if (config.template_name)
        snprintf(recognition->settings, sizeof recognition->settings, "template = %s\n", config.template_name);
    snprintf(recognition->reason + written, sizeof recognition->reason - written, ", %lld layers of %lld",
             (long long)config.layers, (long long)config.width);
}

void nn_decoder_recognise(const nn_decoder_architecture *architecture, const nn_decoder_signature *signature,
                          const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
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
    if (type && is_one_of(signature->model_types, type))
        recognition->score = 100;
    else if (!type && names_fit(signature, weights, checkpoint))
        recognition->score = 50;
    snprintf(recognition->reason, sizeof recognition->reason, "model_type %s", type ? type : "not given");
    if (recognition->score == 50)
        snprintf(recognition->reason, sizeof recognition->reason, "%s", signature->tensors);
    if (recognition->score)
        recommend(architecture, &source, recognition);
}
