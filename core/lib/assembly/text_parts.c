/* SPDX-License-Identifier: Apache-2.0
 *
 * The text parts of an assembly: tokenizer, conversation template, stop ids and the sampler's stages.
 */
#include "assembly/assembly.h"
#include "assembly/data.h"
#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer_gguf.h"
#include "weights/checkpoint.h"
#include <stdlib.h>
#include <string.h>

static more_status open_tokenizer(core_assembly *assembly, more_error *error)
{
    const char *path = core_config_string(assembly->config, "llm", "tokenizer");
    if (!path || !path[0])
        path = core_checkpoint_tokenizer(assembly->folder);
    if (!core_tokenizer_is_gguf(path))
        return core_tokenizer_load(path, &assembly->tokenizer, error);
    char *folder = core_data_folder("layouts");
    char *rules = folder ? core_path_join(folder, "gguf-tokenizers.json") : NULL;
    more_status status = rules ? core_tokenizer_load_gguf(path, rules, &assembly->tokenizer, error)
                               : more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    free(folder);
    free(rules);
    return status;
}

/* The template's name or text: the user's or the checkpoint's own, else what the plugin takes it to be; NULL = unknown.
 * *own is what must be freed. */
static const char *template_source(const core_assembly *assembly, char **own)
{
    const char *source = *own = core_assembly_setting(assembly, "llm.template");
    if (!source)
        source = core_config_string(assembly->config, "llm", "template");
    if (!source || !source[0] || !strcmp(source, "auto"))
        source = assembly->language_info.template_text;
    return source ? source : assembly->language_info.template_name;
}

static more_status open_template(core_assembly *assembly, more_error *error)
{
    char *own;
    const char *source = template_source(assembly, &own);
    if (!source)
        return more_fail(error, MORE_ERROR_NOT_FOUND,
                         "%s: the checkpoint does not say which conversation template it was trained with; set [llm] "
                         "template",
                         assembly->language_path);
    char *folder = core_data_folder("templates");
    const char *compat = core_config_string(assembly->config, "llm", "prompt_compat");
    more_status status = folder ? core_template_load(source, folder, compat && strcmp(compat, "none") ? compat : NULL,
                                                     &assembly->conversation, error)
                                : more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    free(folder);
    free(own);
    return status;
}

/* Adds an id once. */
static void add_stop(core_assembly *assembly, int64_t id)
{
    for (size_t i = 0; i < assembly->stop_ids.count; i++)
        if (assembly->stop_ids.data[i] == id)
            return;
    if (id >= 0 && id < assembly->language_info.vocabulary)
        core_ids_push(&assembly->stop_ids, (int32_t)id);
}

/* eos_token_id of generation_config.json, a number or a list; that file is optional. */
static more_status add_generation_stops(core_assembly *assembly, more_error *error)
{
    json_t *json = NULL;
    if (core_checkpoint_is_gguf(assembly->folder))
        return MORE_OK;
    char *path = core_path_join(core_checkpoint_folder(assembly->folder), "generation_config.json");
    if (!path)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    more_status status = core_file_exists(path) ? core_json_load(path, &json, error) : MORE_OK;
    free(path);
    json_t *ids = json ? core_json_at(json, "eos_token_id") : NULL;
    if (json_is_integer(ids))
        add_stop(assembly, json_integer_value(ids));
    for (size_t i = 0; i < json_array_size(ids); i++)
        add_stop(assembly, json_integer_value(json_array_get(ids, i)));
    json_decref(json);
    return status;
}

static more_status collect_stops(core_assembly *assembly, more_error *error)
{
    const more_language_info *info = &assembly->language_info;
    core_ids named = {0};
    more_status status = core_template_stop_ids(assembly->conversation, assembly->tokenizer, &named, error);
    for (size_t i = 0; i < named.count; i++)
        add_stop(assembly, named.data[i]);
    if (status == MORE_OK)
        status = add_generation_stops(assembly, error);
    for (int32_t i = 0; i < info->stop_count; i++)
        add_stop(assembly, info->stop_ids[i]);
    if (status == MORE_OK && (named.failed || assembly->stop_ids.failed))
        status = more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    core_ids_free(&named);
    return status;
}

more_status core_assembly_open_text(core_assembly *assembly, more_error *error)
{
    more_status status = open_tokenizer(assembly, error);
    if (status == MORE_OK)
        status = open_template(assembly, error);
    if (status == MORE_OK)
        status = collect_stops(assembly, error);
    const core_config_entry *stages = core_config_find(assembly->config, "generate", "sampler");
    if (status == MORE_OK && stages)
        status = core_calls_parse(assembly->functions, MORE_STAGE_SAMPLER, stages->value, stages->where,
                                  &assembly->sampler_calls, error);
    return status;
}
