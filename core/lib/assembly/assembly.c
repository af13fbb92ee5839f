/* SPDX-License-Identifier: Apache-2.0 */
#include "assembly/assembly.h"

#include "assembly/data.h"
#include "base/clock.h"
#include "image/steps.h"
#include "recall/recall.h"
#include "weights/checkpoint.h"
#include "weights/locate.h"
#include <stdlib.h>
#include <string.h>

more_status core_functions_gather(core_registry *registry, core_functions **functions, more_error *error)
{
    const core_plugin_file *files;
    size_t count;
    more_status status = core_functions_create(functions, error);
    if (status == MORE_OK)
        status = core_functions_add(*functions, core_image_steps(), "core", error);
    if (status == MORE_OK)
        status = core_functions_add(*functions, core_sampler_functions(), "core", error);
    if (status == MORE_OK)
        status = core_registry_list(registry, &files, &count, error);
    for (size_t i = 0; status == MORE_OK && i < count; i++) {
        if (!files[i].plugin || !core_registry_chosen(registry, &files[i]))
            continue;
        const more_functions_interface *table = files[i].plugin->get_interface(MORE_FUNCTIONS_INTERFACE);
        if (table)
            status = core_functions_add(*functions, table, files[i].path, error);
    }
    return status;
}

char *core_assembly_setting(const core_assembly *assembly, const char *name)
{
    const char *dot = strchr(name, '.');
    char section[32];
    snprintf(section, sizeof section, "%.*s", (int)(dot - name), name);
    const core_config_entry *entry = core_config_find(assembly->config, section, dot + 1);
    if (entry && entry->rank > CORE_FROM_CHECKPOINT && entry->value[0] && strcmp(entry->value, "auto") != 0)
        return strdup(entry->value);
    char *text = NULL;
    if (assembly->tower_layout && core_checkpoint_is_gguf(assembly->tower))
        text = core_layout_setting(assembly->tower_layout, assembly->tower, name);
    if (!text && assembly->layout)
        text = core_layout_setting(assembly->layout, assembly->folder, name);
    return text;
}

more_status core_assembly_locate(const core_assembly *assembly, const char *section, char **path, more_error *error)
{
    const core_config_entry *entry = core_config_find(assembly->config, section, "weights");
    *path = NULL;
    if (!entry || !entry->value[0])
        return MORE_OK;
    return core_weights_locate(entry->value, entry->folder, path, error);
}

/* Puts one adapter, a place as `weights` names them, on the folder. */
static more_status add_adapter(core_assembly *assembly, const char *place, const char *base_folder, more_error *error)
{
    char *path = NULL;
    more_checkpoint *merged = NULL;
    more_status status = core_weights_locate(place, base_folder, &path, error);
    if (status == MORE_OK)
        status = core_checkpoint_add_adapter(assembly->folder, path, &merged, error);
    if (status == MORE_OK) {
        core_log(core_host_abi(assembly->host), MORE_LOG_INFO, "llm", "adapter %s is merged into %s as it is read",
                 path, assembly->language_path);
        core_checkpoint_release(assembly->folder);
        assembly->folder = merged;
    }
    free(path);
    return status;
}

/* Those of [llm] lora, in their order. */
static more_status add_adapters(core_assembly *assembly, more_error *error)
{
    const core_config_entry *entry = core_config_find(assembly->config, "llm", "lora");
    char *list = entry ? strdup(entry->value) : NULL, *rest = NULL;
    more_status status = entry && !list ? more_fail(error, MORE_ERROR_MEMORY, "out of memory") : MORE_OK;
    for (char *one = list ? strtok_r(list, ":", &rest) : NULL; one && status == MORE_OK;
         one = strtok_r(NULL, ":", &rest))
        status = add_adapter(assembly, one, entry->folder, error);
    free(list);
    return status;
}

static more_status open_folder(core_assembly *assembly, more_error *error)
{
    more_status status = core_assembly_locate(assembly, "llm", &assembly->language_path, error);
    if (status == MORE_OK && !assembly->language_path)
        return more_fail(
            error, MORE_ERROR_ARGUMENT,
            "[llm] weights is not set: give a model folder in the INI file or with --set llm.weights=PATH");
    if (status == MORE_OK)
        status = core_checkpoint_open(assembly->language_path, &assembly->folder, error);
    if (status == MORE_OK)
        status = add_adapters(assembly, error);
    char *layouts = core_data_folder("layouts");
    if (status == MORE_OK && !layouts)
        status = more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    if (status == MORE_OK)
        status = core_layout_find(layouts, assembly->folder, &assembly->layout, error);
    free(layouts);
    return status;
}

static more_status open_plugin(void *user, const more_open *arguments, more_error *error)
{
    core_assembly *assembly = user;
    return assembly->language_api->open(arguments, &assembly->language, error);
}

more_status core_assembly_open_language(core_assembly *assembly, more_error *error)
{
    more_checkpoint *part = NULL;
    const more_host *host = core_host_abi(assembly->host);
    more_status status = open_folder(assembly, error);
    if (status == MORE_OK)
        status = core_layout_part(assembly->layout, assembly->folder, "language", &part, error);
    if (status == MORE_OK)
        status = core_backbone_choose(assembly->registry, assembly->config, host, "llm", part, &assembly->language_part,
                                      error);
    core_checkpoint_release(part);
    if (status != MORE_OK)
        return status;
    assembly->language_api = assembly->language_part.interface;
    status = core_backbone_open(&assembly->language_part, assembly->config, host, "llm", assembly->flags, open_plugin,
                                assembly, error);
    if (status != MORE_OK)
        return status;
    assembly->language_info.struct_size = MORE_STRUCT_SIZE(more_language_info, weight_formats);
    assembly->language_api->describe(assembly->language, &assembly->language_info);
    int64_t asked = core_config_int64(assembly->config, "llm", "context");
    assembly->context = assembly->language_info.context;
    if (asked > assembly->context)
        return more_fail(error, MORE_ERROR_LIMIT, "[llm] context = %lld: the model in %s holds at most %lld rows",
                         (long long)asked, assembly->language_path, (long long)assembly->context);
    char *trained = core_layout_setting(assembly->layout, assembly->folder, "llm.max_length");
    int64_t rows = trained ? strtoll(trained, NULL, 10) : 0;
    if (asked > 0)
        assembly->context = asked;
    else if (rows > 0 && rows < assembly->context)
        assembly->context = rows;
    free(trained);
    return MORE_OK;
}

core_assembly *core_assembly_new(core_config *config, core_host *host, core_registry *registry,
                                 core_functions *functions, more_open_flags flags, more_error *error)
{
    core_assembly *assembly = calloc(1, sizeof *assembly);
    if (!assembly) {
        more_fail(error, MORE_ERROR_MEMORY, "out of memory");
        return NULL;
    }
    assembly->config = config;
    assembly->host = host;
    assembly->registry = registry;
    assembly->functions = functions;
    assembly->flags = flags;
    pthread_mutex_init(&assembly->eyes, NULL);
    return assembly;
}

more_status core_assembly_open(core_config *config, core_host *host, core_registry *registry, core_functions *functions,
                               more_open_flags flags, core_assembly **result, more_error *error)
{
    double start = core_now_ms();
    *result = NULL;
    core_assembly *assembly = core_assembly_new(config, host, registry, functions, flags, error);
    if (!assembly)
        return MORE_ERROR_MEMORY;
    /* The text parts come before the encoder: they fail in milliseconds where that loads for seconds. */
    more_status status = core_assembly_open_language(assembly, error);
    if (status == MORE_OK)
        status = core_assembly_open_text(assembly, error);
    if (status == MORE_OK)
        status = core_assembly_check_text(assembly, error);
    if (status == MORE_OK)
        status = core_assembly_open_vision(assembly, error);
    if (status == MORE_OK && assembly->vision && !(flags & MORE_OPEN_METADATA_ONLY))
        status = core_recall_create(assembly, &assembly->recall, error);
    if (status != MORE_OK) {
        core_assembly_close(assembly);
        return status;
    }
    assembly->load_ms = core_now_ms() - start;
    *result = assembly;
    return MORE_OK;
}

void core_assembly_close(core_assembly *assembly)
{
    if (!assembly)
        return;
    core_recall_destroy(assembly->recall);
    if (assembly->projector_api)
        assembly->projector_api->close(assembly->projector);
    if (assembly->vision_api)
        assembly->vision_api->close(assembly->vision);
    if (assembly->language_api)
        assembly->language_api->close(assembly->language);
    core_pipeline_free(assembly->preprocess);
    core_calls_free(&assembly->sampler_calls);
    core_backbone_clear(&assembly->projector_part);
    core_backbone_clear(&assembly->vision_part);
    core_backbone_clear(&assembly->language_part);
    core_template_destroy(assembly->conversation);
    core_tokenizer_destroy(assembly->tokenizer);
    core_ids_free(&assembly->stop_ids);
    core_layout_free(assembly->tower_layout);
    core_checkpoint_release(assembly->tower);
    core_layout_free(assembly->layout);
    core_checkpoint_release(assembly->folder);
    free(assembly->steps_source);
    free(assembly->steps);
    free(assembly->projector_path);
    free(assembly->vision_path);
    free(assembly->language_path);
    pthread_mutex_destroy(&assembly->eyes);
    free(assembly);
}
