/* SPDX-License-Identifier: Apache-2.0
 *
 * What a checkpoint is: its tensors, its layout, which plugins take its parts, and an INI file that runs it.
 */
#include "weights/checkpoint.h"
#include "assembly/backbone.h"
#include "assembly/data.h"
#include "base/buffer.h"
#include "inspect.h"
#include "weights/layout.h"

#include <llavamore/language.h>
#include <llavamore/projector.h>
#include <llavamore/vision.h>
#include <stdlib.h>
#include <string.h>

/* The parts of an assembly: the layouts' name, the INI section, the plugins' kind and interface. */
static const struct part {
    const char *name, *section, *kind, *interface;
} parts[] = {
    {"vision", "vision", MORE_KIND_VISION, MORE_VISION_INTERFACE},
    {"projector", "projector", MORE_KIND_PROJECTOR, MORE_PROJECTOR_INTERFACE},
    {"language", "llm", MORE_KIND_LANGUAGE, MORE_LANGUAGE_INTERFACE},
};

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

/* ---- Plugins that take a part ----------------------------------------------------------------------------------- */

/* The candidates with score and reason; the best one's id and settings go to *best. */
static json_t *ask_plugins(const core_host *host, core_registry *registry, const struct part *part,
                           more_checkpoint *view, const core_plugin_file **best, more_recognition *recognition)
{
    const core_plugin_file *files;
    size_t count;
    json_t *candidates = json_array();
    *best = NULL;
    recognition->score = 0;
    if (core_registry_list(registry, &files, &count, NULL) != MORE_OK)
        return candidates;
    for (size_t i = 0; i < count; i++) {
        if (!files[i].plugin || strcmp(files[i].kind, part->kind) != 0 || !core_registry_chosen(registry, &files[i]))
            continue;
        const core_backbone_interface *table = files[i].plugin->get_interface(part->interface);
        more_recognition said = {.struct_size = sizeof said};
        if (!table || !table->recognise)
            continue;
        table->recognise(core_host_abi(host), view, &said);
        json_array_append_new(candidates, json_pack("{s:s, s:i, s:s}", "plugin", files[i].id, "score", said.score,
                                                    "reason", said.reason));
        if (said.score > recognition->score) {
            *best = &files[i];
            *recognition = said;
        }
    }
    return candidates;
}

static void write_section(core_buffer *ini, const struct part *part, const core_plugin_file *best, const char *weights,
                          const char *settings)
{
    core_buffer_format(ini, "%s[%s]\n", ini->size ? "\n" : "", part->section);
    if (best)
        core_buffer_format(ini, "plugin = %s\n", best->id);
    if (weights)
        core_buffer_format(ini, "weights = %s\n", weights);
    core_buffer_text(ini, settings);
}

/* One part: asks the plugins, and writes the part's section of the INI file. */
static json_t *describe_part(const core_host *host, core_registry *registry, const struct part *part,
                             more_checkpoint *view, const char *weights, core_buffer *ini)
{
    const core_plugin_file *best;
    more_recognition recognition = {.struct_size = sizeof recognition};
    json_t *candidates = ask_plugins(host, registry, part, view, &best, &recognition);
    if (best)
        write_section(ini, part, best, weights, recognition.settings);
    return json_pack("{s:s, s:I, s:I, s:o}", "part", part->name, "tensors",
                     (json_int_t)core_weights_service()->count(view), "bytes", (json_int_t)core_checkpoint_bytes(view),
                     "plugins", candidates);
}

/* Where a checkpoint names its tower elsewhere, the section says so. */
static void write_tower_elsewhere(const core_layout *layout, more_checkpoint *checkpoint, const struct part *part,
                                  core_buffer *ini)
{
    core_buffer key = {0};
    core_buffer_format(&key, "%s.weights", part->section);
    char *weights = key.failed ? NULL : core_layout_setting(layout, checkpoint, key.data);
    if (weights)
        write_section(ini, part, NULL, weights, "");
    free(weights);
    core_buffer_free(&key);
}

static json_t *describe_parts(const core_host *host, core_registry *registry, const core_layout *layout,
                              more_checkpoint *checkpoint, const char *path, core_buffer *ini)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        more_checkpoint *view = NULL;
        if (core_layout_has_part(layout, parts[i].name) &&
            core_layout_part(layout, checkpoint, parts[i].name, &view, NULL) == MORE_OK) {
            json_array_append_new(list, describe_part(host, registry, &parts[i], view, path, ini));
            core_checkpoint_release(view);
        } else {
            write_tower_elsewhere(layout, checkpoint, &parts[i], ini);
        }
    }
    return list;
}

/* A file of no known layout may still be one part as a whole. */
static json_t *describe_whole(const core_host *host, core_registry *registry, more_checkpoint *checkpoint,
                              const char *path, core_buffer *ini)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        json_array_append_new(list, describe_part(host, registry, &parts[i], checkpoint, path, ini));
    return list;
}

static void add_parts(const core_host *host, core_registry *registry, more_checkpoint *checkpoint, const char *path,
                      json_t *report)
{
    core_layout *layout = NULL;
    core_buffer ini = {0};
    more_error reason = {{0}};
    char *folder = core_data_folder("layouts");
    json_t *list;
    if (folder && core_layout_find(folder, checkpoint, &layout, &reason) == MORE_OK) {
        json_object_set_new(report, "layout", json_string(core_layout_name(layout)));
        list = describe_parts(host, registry, layout, checkpoint, path, &ini);
    } else {
        json_object_set_new(report, "layout", json_pack("s+", "none: ", reason.message));
        list = describe_whole(host, registry, checkpoint, path, &ini);
    }
    json_object_set_new(report, "parts", list);
    if (ini.size && !ini.failed)
        json_object_set_new(report, "ini", json_string(ini.data));
    core_buffer_free(&ini);
    core_layout_free(layout);
    free(folder);
}

more_status inspect_checkpoint(const core_host *host, core_registry *registry, const char *path, bool all_tensors,
                               json_t **report, more_error *error)
{
    more_checkpoint *checkpoint = NULL;
    const more_weights_service *weights = core_weights_service();
    const char *model_type = "";
    char *absolute = realpath(path, NULL);
    more_status status = core_checkpoint_open(path, &checkpoint, error);
    if (status != MORE_OK) {
        free(absolute);
        return status;
    }
    json_t *formats = json_object(), *list = all_tensors ? json_array() : NULL;
    status = describe_tensors(checkpoint, formats, list, error);
    weights->get_string(checkpoint, "model_type", &model_type, NULL);
    json_t *about = json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o*}", "what",
                              all_tensors ? "safetensors file" : "checkpoint folder", "path", path, "model_type",
                              model_type, "tensors", (json_int_t)weights->count(checkpoint), "bytes",
                              (json_int_t)core_checkpoint_bytes(checkpoint), "formats", formats, "list", list);
    if (status == MORE_OK) {
        add_parts(host, registry, checkpoint, absolute ? absolute : path, about);
        *report = about;
    } else {
        json_decref(about);
    }
    core_checkpoint_release(checkpoint);
    free(absolute);
    return status;
}
