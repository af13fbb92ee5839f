/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a checkpoint's config through the host's weights service.
 */
#include "internal.h"

more_status nn_source_open(nn_context *context, const more_open *arguments, nn_source *source, more_error *error)
{
    source->context = context;
    source->checkpoint = arguments->checkpoint;
    source->metadata_only = (arguments->flags & MORE_OPEN_METADATA_ONLY) != 0;
    source->quantise = NN_F32;
    source->weights = context->host->get_service(context->host, MORE_WEIGHTS_SERVICE);
    if (!source->weights || !MORE_HAS(source->weights, more_weights_service, path))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "the host lacks the service '%s', without which no weights load", MORE_WEIGHTS_SERVICE);
    if (!source->checkpoint)
        return more_fail(error, MORE_ERROR_ARGUMENT, "open() was given no checkpoint");
    return MORE_OK;
}

static const char *path_of(const nn_source *source)
{
    return source->weights->path(source->checkpoint);
}

static more_status check_range(const nn_source *source, const char *key, int64_t minimum, int64_t maximum,
                               int64_t value, more_error *error)
{
    if (value >= minimum && value <= maximum)
        return MORE_OK;
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: config key '%s' is %lld, but must be from %lld to %lld",
                     path_of(source), key, (long long)value, (long long)minimum, (long long)maximum);
}

more_status nn_config_int64(const nn_source *source, const char *key, int64_t minimum, int64_t maximum, int64_t *value,
                            more_error *error)
{
    int64_t read = 0;
    more_status status = source->weights->get_int64(source->checkpoint, key, &read, error);
    if (!status)
        status = check_range(source, key, minimum, maximum, read, error);
    if (!status)
        *value = read;
    return status;
}

more_status nn_config_int64_or(const nn_source *source, const char *key, int64_t minimum, int64_t maximum,
                               int64_t *value, more_error *error)
{
    int64_t read = 0;
    more_status status = source->weights->get_int64(source->checkpoint, key, &read, error);
    if (status == MORE_ERROR_NOT_FOUND)
        return MORE_OK;
    if (!status)
        status = check_range(source, key, minimum, maximum, read, error);
    if (!status)
        *value = read;
    return status;
}

/* An absent key is no failure: its default stands. */
static more_status absent_is_fine(more_status status)
{
    return status == MORE_ERROR_NOT_FOUND ? MORE_OK : status;
}

more_status nn_config_double_or(const nn_source *source, const char *key, double *value, more_error *error)
{
    return absent_is_fine(source->weights->get_double(source->checkpoint, key, value, error));
}

more_status nn_config_bool_or(const nn_source *source, const char *key, bool *value, more_error *error)
{
    return absent_is_fine(source->weights->get_bool(source->checkpoint, key, value, error));
}

more_status nn_config_string_or(const nn_source *source, const char *key, const char **value, more_error *error)
{
    return absent_is_fine(source->weights->get_string(source->checkpoint, key, value, error));
}
