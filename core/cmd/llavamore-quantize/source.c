/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include "assembly/data.h"
#include "base/file.h"
#include "weights/checkpoint.h"

#include <stdlib.h>
#include <string.h>

/* ---- What several assemblies share ------------------------------------------------------------------------------ */

static void log_line(void *user, more_log_level level, const char *component, const char *message)
{
    (void)user;
    fprintf(stderr, "%s: %s%s: %s\n", PROGRAM, level <= MORE_LOG_WARNING ? "warning: " : "", component, message);
}

more_status workshop_open(workshop *shop, core_config *config, more_error *error)
{
    core_host_config host = {.threads = (int32_t)core_config_int64(config, "runtime", "threads"),
                             .log_level = MORE_LOG_WARNING,
                             .log = log_line,
                             .weights = core_weights_service()};
    more_status status = core_host_create(&host, &shop->host, error);
    if (status == MORE_OK)
        status = core_registry_create(core_config_string(config, "runtime", "plugin_path"), &shop->registry, error);
    return status == MORE_OK ? core_functions_gather(shop->registry, &shop->functions, error) : status;
}

void workshop_clear(workshop *shop)
{
    core_functions_destroy(shop->functions);
    core_registry_destroy(shop->registry);
    core_host_destroy(shop->host);
    *shop = (workshop){0};
}

/* ---- SOURCE -------------------------------------------------------------------------------------------------------
 */

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), size = strlen(ending);
    return length >= size && !strcmp(text + length - size, ending);
}

/* Quotes keep what an INI file would read otherwise. */
more_status source_set_path(core_config *config, const char *key, const char *path, more_error *error)
{
    core_buffer text = {0};
    char *value = quoted(path);
    core_buffer_format(&text, "%s=%s", key, value ? value : "");
    more_status status = text.failed || !value ? more_fail(error, MORE_ERROR_MEMORY, "out of memory")
                                               : core_config_set(config, text.data, error);
    core_buffer_free(&text);
    free(value);
    return status;
}

/* An INI file, the name of a preset, or what `weights` may name. */
static more_status take_source(core_config *config, const char *source, more_error *error)
{
    bool there = core_folder_exists(source) || core_file_exists(source);
    bool is_name = !there && !strchr(source, '/') && strncmp(source, "synthetic:", 10) != 0;
    char *path = NULL;
    if (!(there && ends_with(source, ".ini") && !core_folder_exists(source)) && !is_name)
        return source_set_path(config, "llm.weights", source, error);
    more_status status = core_preset_locate(source, &path, error);
    if (status == MORE_OK)
        status = core_config_load(config, path, error);
    free(path);
    return status;
}

more_status source_config(const arguments *args, core_config **config, more_error *error)
{
    more_status status = core_config_create(config, error);
    if (status == MORE_OK)
        status = take_source(*config, args->source, error);
    for (int i = 0; i < args->assignment_count && status == MORE_OK; i++)
        status = core_config_set(*config, args->assignments[i], error);
    if (status == MORE_OK)
        return MORE_OK;
    core_config_destroy(*config);
    *config = NULL;
    return status;
}

/* ---- Opening ------------------------------------------------------------------------------------------------------
 */

/* Tokenizer, then template; what is only missing stays NULL. */
static more_status open_text(core_assembly *assembly, more_error *error)
{
    more_error reason = {{0}};
    more_status status = core_assembly_open_text(assembly, &reason);
    if (status != MORE_OK && status != MORE_ERROR_NOT_FOUND)
        return more_fail(error, status, "%s", reason.message);
    return MORE_OK;
}

more_status source_open(const workshop *shop, core_config *config, bool eyes, core_assembly **result, more_error *error)
{
    core_assembly *assembly =
        core_assembly_new(config, shop->host, shop->registry, shop->functions, MORE_OPEN_METADATA_ONLY, error);
    *result = NULL;
    if (!assembly)
        return MORE_ERROR_MEMORY;
    /* only facts are asked for, and written: no device is worth looking for */
    more_status status = core_config_set(config, "runtime.device=cpu", error);
    if (status == MORE_OK)
        status = core_assembly_open_language(assembly, error);
    if (status == MORE_OK)
        status = open_text(assembly, error);
    if (status == MORE_OK && eyes)
        status = core_assembly_open_vision(assembly, error);
    if (status == MORE_OK)
        *result = assembly;
    else
        core_assembly_close(assembly);
    return status;
}
