/* SPDX-License-Identifier: Apache-2.0 */
#include "encoder.h"

#include <string.h>

const char *nn_encoder_key(const more_weights_service *weights, more_checkpoint *checkpoint, const char *name,
                           char key[NN_ENCODER_KEY_SIZE])
{
    bool nested = weights->length(checkpoint, "vision_config") > 0;

    snprintf(key, NN_ENCODER_KEY_SIZE, "%s%s", nested ? "vision_config." : "", name);
    return key;
}

more_status nn_encoder_require_type(const nn_encoder *encoder, const nn_source *source, const char *title,
                                    const char *const *types, int32_t count, more_error *error)
{
    char key[NN_ENCODER_KEY_SIZE];
    const char *type = types[0];
    more_status status = nn_config_string_or(
        source, nn_encoder_key(source->weights, source->checkpoint, "model_type", key), &type, error);

    for (int32_t i = 0; i < count && !status; i++)
        if (!strcmp(type, types[i]))
            return MORE_OK;
    return status ? status
                  : more_fail(error, MORE_ERROR_UNSUPPORTED,
                              "%s: %s is \"%s\", not %s: [vision] weights must name the %s tower's own folder",
                              source->weights->path(source->checkpoint), key, type, encoder->kind->name, title);
}

/* ---- The common keys -------------------------------------------------------------------------------------------- */

static more_status read_sizes(nn_encoder *encoder, const nn_source *source, more_error *error)
{
    int64_t channels = 3;
    const struct {
        const char *name;
        int64_t minimum, maximum, *value;
        bool optional;
    } sizes[] = {{"hidden_size", 1, 1 << 16, &encoder->width, false},
                 {"num_hidden_layers", 1, 1024, &encoder->layers, false},
                 {"num_attention_heads", 1, 1024, &encoder->heads, false},
                 {"intermediate_size", 1, 1 << 18, &encoder->intermediate, true},
                 {"image_size", 1, 1 << 14, &encoder->image_size, false},
                 {"patch_size", 1, 1 << 10, &encoder->patch_size, false},
                 {"num_channels", 3, 3, &channels, true}};
    char key[NN_ENCODER_KEY_SIZE];
    more_status status = MORE_OK;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !status; i++) {
        bool required = !sizes[i].optional && !*sizes[i].value;
        nn_encoder_key(source->weights, source->checkpoint, sizes[i].name, key);
        status = (required ? nn_config_int64 : nn_config_int64_or)(source, key, sizes[i].minimum, sizes[i].maximum,
                                                                   sizes[i].value, error);
    }
    return status;
}

static more_status check_sizes(nn_encoder *encoder, const nn_source *source, more_error *error)
{
    const char *path = source->weights->path(source->checkpoint);

    if (encoder->width % encoder->heads)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: hidden_size %lld is no multiple of num_attention_heads %lld",
                         path, (long long)encoder->width, (long long)encoder->heads);
    encoder->head_dimension = encoder->width / encoder->heads;
    if (encoder->head_dimension > NN_HEAD_DIMENSION)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: hidden_size %lld over num_attention_heads %lld makes heads of %lld, at most %d are taken",
                         path, (long long)encoder->width, (long long)encoder->heads, (long long)encoder->head_dimension,
                         NN_HEAD_DIMENSION);
    if (encoder->patch_size > encoder->image_size)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: patch_size %lld is larger than image_size %lld", path,
                         (long long)encoder->patch_size, (long long)encoder->image_size);
    return MORE_OK;
}

static more_status read_activation(nn_encoder *encoder, const nn_source *source, more_error *error)
{
    static const struct {
        const char *name;
        nn_activation activation;
    } activations[] = {
        {"quick_gelu", NN_QUICK_GELU}, {"gelu", NN_GELU_ERF}, {"gelu_pytorch_tanh", NN_GELU_TANH}, {"silu", NN_SILU}};
    const char *name = NULL;
    char key[NN_ENCODER_KEY_SIZE];
    more_status status = nn_config_string_or(
        source, nn_encoder_key(source->weights, source->checkpoint, "hidden_act", key), &name, error);

    if (status || !name)
        return status;
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (!strcmp(name, activations[i].name)) {
            encoder->activation = activations[i].activation;
            return MORE_OK;
        }
    return more_fail(error, MORE_ERROR_UNSUPPORTED,
                     "%s: %s is \"%s\", the %s plugin takes quick_gelu, gelu, gelu_pytorch_tanh and silu",
                     source->weights->path(source->checkpoint), key, name, encoder->kind->name);
}

more_status nn_encoder_read_config(nn_encoder *encoder, const nn_source *source, more_error *error)
{
    char key[NN_ENCODER_KEY_SIZE];
    more_status status = read_sizes(encoder, source, error);

    if (!status)
        status = check_sizes(encoder, source, error);
    if (!status)
        status = nn_config_double_or(source, nn_encoder_key(source->weights, source->checkpoint, "layer_norm_eps", key),
                                     &encoder->epsilon, error);
    if (!status && !(encoder->epsilon > 0 && encoder->epsilon < 1))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: layer_norm_eps %g is not between 0 and 1",
                           source->weights->path(source->checkpoint), encoder->epsilon);
    return status ? status : read_activation(encoder, source, error);
}

void nn_encoder_fix_size(nn_encoder *encoder)
{
    int64_t grid = encoder->image_size / encoder->patch_size;

    encoder->tokens = encoder->prefix_tokens + grid * grid;
    encoder->embed_floats = grid * grid * 3 * encoder->patch_size * encoder->patch_size;
}

/* ---- Recognising ------------------------------------------------------------------------------------------------ */

const more_weights_service *nn_encoder_recognise(const more_host *host, more_checkpoint *checkpoint,
                                                 const char *const *types, int32_t count, more_recognition *recognition)
{
    const more_weights_service *weights = host->get_service(host, MORE_WEIGHTS_SERVICE);
    char key[NN_ENCODER_KEY_SIZE];
    const char *type = NULL;

    recognition->score = 0;
    recognition->settings[0] = 0;
    if (!weights) {
        snprintf(recognition->reason, sizeof recognition->reason, "the host offers no %s", MORE_WEIGHTS_SERVICE);
        return NULL;
    }
    weights->get_string(checkpoint, nn_encoder_key(weights, checkpoint, "model_type", key), &type, NULL);
    snprintf(recognition->reason, sizeof recognition->reason, "%s %s", key, type ? type : "not given");
    for (int32_t i = 0; type && i < count; i++)
        if (!strcmp(type, types[i]))
            recognition->score = 100;
    return weights;
}
