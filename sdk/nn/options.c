/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include "require.h"

#include <string.h>

static const char *text_of(const more_open *arguments, int32_t option, const char *otherwise)
{
    return arguments->option_count > option ? arguments->options[option].as.s : otherwise;
}

static more_status read_quantize(const more_open *arguments, nn_storage *quantise, more_error *error)
{
    const char *name = text_of(arguments, NN_OPTION_QUANTIZE, "none");

    *quantise = NN_F32;
    if (!strcmp(name, "none"))
        return MORE_OK;
    if (nn_storage_named(name, quantise) && *quantise >= NN_FLOATS)
        return MORE_OK;
    return more_fail(error, MORE_ERROR_ARGUMENT, "quantize is '%s': use none, q8, q4 or q4_1", name);
}

static more_status read_arithmetic(const more_open *arguments, nn_arithmetic *arithmetic, more_error *error)
{
    const char *name = text_of(arguments, NN_OPTION_ARITHMETIC, "auto");

    if (nn_arithmetic_named(name, arithmetic))
        return MORE_OK;
    return more_fail(error, MORE_ERROR_ARGUMENT, "arithmetic is '%s': use auto, exact or fast", name);
}

/* The context of device `index` of open(). */
static more_status open_place(const more_open *arguments, const char *plugin, int32_t index, nn_arithmetic arithmetic,
                              nn_context **place, more_error *error)
{
    more_status status = nn_context_create(arguments->host, place, error);

    if (!status)
        status = nn_context_set_device(*place, plugin, arguments->devices[index], error);
    if (!status)
        nn_context_set_arithmetic(*place, arithmetic);
    return status;
}

static more_status open_places(const more_open *arguments, const char *plugin, int32_t most, nn_context **places,
                               int32_t *count, nn_source *source, more_error *error)
{
    nn_arithmetic arithmetic = NN_ARITHMETIC_AUTO;
    more_status status = nn_require_devices(arguments, plugin, most, error);

    *count = 0;
    if (!status)
        status = read_arithmetic(arguments, &arithmetic, error);
    for (int32_t i = 0; !status && i < arguments->device_count; i++) {
        status = open_place(arguments, plugin, i, arithmetic, &places[i], error);
        *count += places[i] != NULL;
    }
    if (!status)
        status = nn_source_open(places[0], arguments, source, error);
    return status ? status : read_quantize(arguments, &source->quantise, error);
}

more_status nn_open(const more_open *arguments, const char *plugin, nn_context **context, nn_source *source,
                    more_error *error)
{
    int32_t count;

    *context = NULL;
    return open_places(arguments, plugin, 1, context, &count, source, error);
}

more_status nn_open_places(const more_open *arguments, const char *plugin, nn_context *places[NN_PLACES],
                           int32_t *count, nn_source *source, more_error *error)
{
    memset(places, 0, NN_PLACES * sizeof *places);
    return open_places(arguments, plugin, NN_PLACES, places, count, source, error);
}
