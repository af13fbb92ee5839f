/* SPDX-License-Identifier: Apache-2.0
 *
 * What a checkpoint is: a model's folder, a file of tensors, an adapter.
 */
#include "weights/checkpoint.h"
#include "base/file.h"
#include "base/json.h"
#include "inspect.h"
#include "weights/locate.h"

#include <stdlib.h>
#include <string.h>

#define ADAPTER_CONFIG "adapter_config.json"

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

static json_t *describe_tensor(const more_weight_info *info)
{
    json_t *shape = json_array();
    for (int32_t i = 0; i < info->rank; i++)
        json_array_append_new(shape, json_integer(info->shape[i]));
    return json_pack("{s:s, s:s, s:o, s:I}", "name", info->name, "format", info->format, "shape", shape, "bytes",
                     (json_int_t)info->bytes);
}

/* Counts by stored format; with `list`, each tensor as well. */
static more_status describe_tensors(more_checkpoint *checkpoint, json_t *formats, json_t *list, more_error *error)
{
    const more_weights_service *weights = core_weights_service();
    int64_t count = weights->count(checkpoint);
    for (int64_t i = 0; i < count; i++) {
        more_weight_info info = {.struct_size = sizeof info};
        more_status status = weights->info(checkpoint, weights->name_at(checkpoint, i), &info, error);
        if (status != MORE_OK)
            return status;
        json_int_t before = json_integer_value(json_object_get(formats, info.format));
        json_object_set_new(formats, info.format, json_integer(before + 1));
        if (list)
            json_array_append_new(list, describe_tensor(&info));
    }
    return MORE_OK;
}

/* What holds of every checkpoint. *report is NULL on failure. */
static more_status describe(more_checkpoint *checkpoint, const char *what, const char *path, bool all_tensors,
                            json_t **report, more_error *error)
{
    const more_weights_service *weights = core_weights_service();
    const char *model_type = "";
    json_t *formats = json_object(), *list = all_tensors ? json_array() : NULL;
    more_status status = describe_tensors(checkpoint, formats, list, error);
    weights->get_string(checkpoint, "model_type", &model_type, NULL);
    *report = json_pack("{s:s, s:o, s:s, s:I, s:I, s:o, s:o*}", "what", what, "path", core_json_text(path),
                        "model_type", model_type, "tensors", (json_int_t)weights->count(checkpoint), "bytes",
                        (json_int_t)core_checkpoint_bytes(checkpoint), "formats", formats, "list", list);
    if (status == MORE_OK)
        return MORE_OK;
    json_decref(*report);
    *report = NULL;
    return status;
}

static void set_ini(json_t *report, json_t *ini)
{
    if (ini)
        json_object_set_new(report, "ini", ini);
}

/* ---- Adapters --------------------------------------------------------------------------------------------------- */

/* The adapter's own tensors, as a file of them. */
static more_status open_adapter_file(const char *folder, more_checkpoint **checkpoint, more_error *error)
{
    char *safe = core_path_join(folder, "adapter_model.safetensors");
    char *torch = core_path_join(folder, "adapter_model.bin");
    more_status status = MORE_ERROR_MEMORY;
    if (safe && torch)
        status = core_checkpoint_open(core_file_exists(safe) ? safe : torch, checkpoint, error);
    else
        more_fail(error, status, "%s: out of memory", folder);
    free(safe);
    free(torch);
    return status;
}

/* What its config says, in PEFT's words, and what its files hold. */
static more_status describe_adapter(const char *folder, json_t **report, char **base, more_error *error)
{
    static const char *const keys[] = {"base_model_name_or_path", "r", "lora_alpha", "use_rslora", "target_modules",
                                       "modules_to_save"};
    more_checkpoint *own = NULL;
    json_t *config = NULL;
    char *path = core_path_join(folder, ADAPTER_CONFIG);
    more_status status =
        path ? core_json_load(path, &config, error) : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", folder);
    if (status == MORE_OK)
        status = open_adapter_file(folder, &own, error);
    if (status == MORE_OK)
        status = describe(own, "LoRA adapter", folder, false, report, error);
    for (size_t i = 0; status == MORE_OK && i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(config, keys[i]);
        if (value && !json_is_null(value))
            json_object_set(*report, keys[i], value);
    }
    const char *name = json_string_value(json_object_get(config, keys[0]));
    *base = name ? strdup(name) : NULL;
    core_checkpoint_release(own);
    json_decref(config);
    free(path);
    return status;
}

/* The base as an INI file anywhere can name it. */
static char *base_place(const char *base, const char *folder)
{
    char *path = NULL, *joined = core_path_join(folder, base), *place = NULL;
    if (joined && core_folder_exists(joined) && core_weights_locate(base, folder, &path, NULL) == MORE_OK)
        place = realpath(path, NULL);
    free(joined);
    free(path);
    return place ? place : strdup(base);
}

static more_status inspect_adapter(const core_host *host, core_registry *registry, const char *path,
                                   const char *absolute, json_t **report, more_error *error)
{
    more_checkpoint *merged = NULL;
    more_error reason = {{0}};
    char *base = NULL;
    more_status status = describe_adapter(path, report, &base, error);
    if (status != MORE_OK) {
        free(base);
        return status;
    }
    char *place = base ? base_place(base, absolute) : NULL;
    if (core_checkpoint_open(path, &merged, &reason) == MORE_OK && place) {
        json_t *ini = inspect_parts(host, registry, merged, place, absolute, *report);
        json_object_set_new(*report, "what", json_string("LoRA adapter, with its base model"));
        set_ini(*report, ini);
    } else {
        core_buffer ini = {0};
        core_buffer_format(&ini, "[llm]\n; %s\n%sweights = %s\nlora = %s\n", reason.message, place ? "" : "; ",
                           place ? place : "the base model", absolute);
        json_object_set_new(*report, "missing", core_json_text(reason.message));
        set_ini(*report, ini.failed ? NULL : core_json_text(ini.data));
        core_buffer_free(&ini);
    }
    core_checkpoint_release(merged);
    free(place);
    free(base);
    return MORE_OK;
}

static bool is_adapter(const char *folder)
{
    static const char *const models[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                         "pytorch_model.bin.index.json"};
    char *path = core_path_join(folder, ADAPTER_CONFIG);
    bool adapter = path && core_file_exists(path);
    free(path);
    for (size_t i = 0; i < sizeof models / sizeof *models && adapter; i++) {
        path = core_path_join(folder, models[i]);
        adapter = path && !core_file_exists(path);
        free(path);
    }
    return adapter;
}

/* ---- Any of them ------------------------------------------------------------------------------------------------ */

more_status inspect_checkpoint(const core_host *host, core_registry *registry, const char *path, const char *file_kind,
                               json_t **report, more_error *error)
{
    more_checkpoint *checkpoint = NULL;
    char *real = realpath(path, NULL);
    const char *absolute = real ? real : path;
    more_status status;
    if (!file_kind && is_adapter(path)) {
        status = inspect_adapter(host, registry, path, absolute, report, error);
    } else {
        status = core_checkpoint_open(path, &checkpoint, error);
        if (status == MORE_OK)
            status = describe(checkpoint, file_kind ? file_kind : "checkpoint folder", path, file_kind != NULL, report,
                              error);
        if (status == MORE_OK)
            set_ini(*report, inspect_parts(host, registry, checkpoint, absolute, NULL, *report));
        if (status == MORE_OK && file_kind)
            json_object_set_new(*report, "what", json_string(file_kind));
    }
    core_checkpoint_release(checkpoint);
    free(real);
    return status;
}
