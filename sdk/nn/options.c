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

more_status nn_open(const more_open *arguments, const char *plugin, nn_context **context, nn_source *source,
                    more_error *error)
{
    nn_arithmetic arithmetic = NN_ARITHMETIC_AUTO;
    more_status status = nn_require_host(arguments, plugin, error);

    *context = NULL;
    if (!status)
        status = nn_context_create(arguments->host, context, error);
    if (!status)
        status = nn_source_open(*context, arguments, source, error);
    if (!status)
        status = read_quantize(arguments, &source->quantise, error);
    if (!status)
        status = read_arithmetic(arguments, &arithmetic, error);
    if (!status)
        nn_context_set_arithmetic(*context, arithmetic);
    return status;
}
