/* SPDX-License-Identifier: Apache-2.0
 *
 * Things that are named and not pointed at: plugins by id, presets, models in the Hugging Face cache.
 */
#include "assembly/data.h"
#include "base/file.h"
#include "inspect.h"
#include "weights/locate.h"

#include <stdlib.h>
#include <string.h>

#define SYNTHETIC "synthetic:"

/* The file of the first plugin of this id that the program would take; NULL when there is none. */
static const char *plugin_file(core_registry *registry, const char *id)
{
    const core_plugin_file *files;
    size_t count;
    if (core_registry_list(registry, &files, &count, NULL) != MORE_OK)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (core_registry_chosen(registry, &files[i]) && !strcmp(files[i].id, id))
            return files[i].path;
    return NULL;
}

/* "org/name", which only the cache can hold. */
static bool is_model_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash && slash != name && name[0] != '.' && name[0] != '~' && slash[1] && !strchr(slash + 1, '/');
}

more_status inspect_named(const core_host *host, core_registry *registry, const char *name, json_t **report,
                          more_error *error)
{
    char *path = NULL;
    const char *plugin = plugin_file(registry, name);
    if (plugin)
        return inspect_plugin(plugin, report, error);
    if (!strncmp(name, SYNTHETIC, strlen(SYNTHETIC)))
        return inspect_checkpoint(host, registry, name, NULL, report, error);
    more_status status = MORE_ERROR_NOT_FOUND;
    if (is_model_name(name)) {
        status = core_weights_locate(name, "", &path, error);
        if (status == MORE_OK)
            status = inspect_checkpoint(host, registry, path, NULL, report, error);
    } else if (strchr(name, '/')) {
        more_fail(error, status, "%s: no such file or folder", name);
    } else if (core_preset_locate(name, &path, NULL) == MORE_OK) {
        status = inspect_config(path, report, error);
    } else {
        more_fail(error, status, "%s: no such file or folder, and no plugin or preset of this name", name);
    }
    free(path);
    return status;
}
