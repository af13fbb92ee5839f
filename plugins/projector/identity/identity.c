/* SPDX-License-Identifier: Apache-2.0
 *
 * LLaVA's `identity`: features are visual tokens as they are, so the vision encoder's channels must be the language
 * model's width. It has no weights; whatever checkpoint it is opened on is not looked into.
 */
#include "projector.h"
#include "require.h"

#include <stdlib.h>
#include <string.h>

struct more_projector {
    int64_t width;
    bool metadata_only;
};

static void identity_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = host->get_service(host, MORE_WEIGHTS_SERVICE);
    const char *kind = NULL;

    if (weights)
        weights->get_string(checkpoint, "mm_projector_type", &kind, NULL);
    recognition->score = kind && !strcmp(kind, "identity") ? 100 : 0;
    recognition->settings[0] = 0;
    snprintf(recognition->reason, sizeof recognition->reason, "mm_projector_type %.200s", kind ? kind : "not given");
}

static const more_tensor_map *identity_tensor_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), NULL, 0};
    return &map;
}

static more_status identity_open(const more_open *arguments, int64_t width_in, int64_t width_out,
                                 more_projector **projector, more_error *error)
{
    /* Any will do: nothing is computed. */
    more_status status = nn_require_devices(arguments, "identity", 1, error);

    *projector = NULL;
    if (!status && width_in != width_out)
        status = more_fail(error, MORE_ERROR_ARGUMENT,
                           "the vision encoder gives %lld channels, the language model's width is %lld: the identity "
                           "projector needs them equal, mlp maps one to the other",
                           (long long)width_in, (long long)width_out);
    if (status)
        return status;
    *projector = malloc(sizeof **projector);
    if (!*projector)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for identity");
    **projector = (more_projector){width_in, (arguments->flags & MORE_OPEN_METADATA_ONLY) != 0};
    return MORE_OK;
}

static void identity_close(more_projector *projector)
{
    free(projector);
}

static more_status identity_estimate(const more_projector *projector, int64_t features, more_memory *memory,
                                     more_error *error)
{
    (void)projector;
    if (features < 0)
        return more_fail(error, MORE_ERROR_ARGUMENT, "no estimate for %lld features", (long long)features);
    *memory = (more_memory){0};
    return MORE_OK;
}

static more_status identity_plan(const more_projector *projector, const more_grid *grid, int64_t *tokens,
                                 more_error *error)
{
    (void)projector;
    return nn_grid_rows(grid, tokens, error);
}

static more_status identity_project(more_projector *projector, const more_projection *projection, more_error *error)
{
    int64_t rows;
    more_status status;

    if (projector->metadata_only)
        return more_fail(error, MORE_ERROR_ARGUMENT, "the projector was opened for its metadata only and cannot run");
    status = nn_grid_rows(&projection->grid, &rows, error);
    if (!status)
        status = nn_require_projection(projection, projector->width, rows, projector->width, error);
    if (!status)
        memcpy(more_tensor_data(projection->tokens), more_tensor_data(projection->features),
               (size_t)(rows * projector->width) * sizeof(float));
    return status;
}

static const more_projector_interface projector_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_projector_interface, project),
    .recognise = identity_recognise,
    .tensor_map = identity_tensor_map,
    .open = identity_open,
    .close = identity_close,
    .estimate = identity_estimate,
    .plan = identity_plan,
    .project = identity_project,
};

static int32_t score(void)
{
    return 100;
}

static const void *get_interface(const char *id)
{
    return strcmp(id, MORE_PROJECTOR_INTERFACE) ? NULL : &projector_interface;
}

static const more_plugin plugin = {
    .struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
    .abi_version = MORE_ABI_VERSION,
    .kind = MORE_KIND_PROJECTOR,
    .id = "identity",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "Features as visual tokens, unchanged: for an encoder as wide as the language model",
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
