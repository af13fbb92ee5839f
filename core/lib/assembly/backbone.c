/* SPDX-License-Identifier: Apache-2.0 */
#include "assembly/backbone.h"

#include "base/host.h"
#include "base/json.h"
#include "device/choice.h"
#include "plugin/value.h"
#include "weights/checkpoint.h"
#include <llavamore/language.h>
#include <llavamore/projector.h>
#include <llavamore/vision.h>
#include <stdlib.h>
#include <string.h>

#define CERTAIN 100 /* score of a plugin whose architecture the config names */

_Static_assert(offsetof(core_backbone_interface, tensor_map) == offsetof(more_vision_interface, tensor_map) &&
                   offsetof(core_backbone_interface, tensor_map) == offsetof(more_projector_interface, tensor_map) &&
                   offsetof(core_backbone_interface, tensor_map) == offsetof(more_language_interface, tensor_map),
               "the three interfaces begin alike");

static more_recognition recognise(const void *interface, const more_host *host, more_checkpoint *part)
{
    const core_backbone_interface *table = interface;
    more_recognition recognition = {.struct_size = sizeof recognition};
    if (table->recognise)
        table->recognise(host, part, &recognition);
    recognition.reason[sizeof recognition.reason - 1] = '\0';
    recognition.settings[sizeof recognition.settings - 1] = '\0';
    return recognition;
}

static json_t *candidate(const core_plugin_file *file, const more_recognition *said)
{
    return json_pack("{s:s, s:i, s:o}", "plugin", file->id, "score", (int)said->score, "reason",
                     core_json_text(said->reason));
}

/* Keeps `others` in falling order of score, equal ones in the order of arrival. */
static void add_other(json_t *others, const core_plugin_file *file, const more_recognition *said)
{
    size_t at = json_array_size(others);
    while (at && json_integer_value(json_object_get(json_array_get(others, at - 1), "score")) < said->score)
        at--;
    if (said->score > 0)
        json_array_insert_new(others, at, candidate(file, said));
}

static void take(core_backbone *backbone, const core_plugin_file *file, const more_recognition *said)
{
    if (backbone->file)
        add_other(backbone->others, backbone->file, &backbone->recognition);
    backbone->file = file;
    backbone->interface = core_plugin_interface(file->plugin);
    backbone->recognition = *said;
}

/* Asks every plugin of the kind. `chosen` (NULL = none) is taken whatever it says, else the best; `reasons` gets what
 * each said. */
static more_status ask_all(core_registry *registry, const char *kind, const core_plugin_file *chosen,
                           const more_host *host, more_checkpoint *part, core_backbone *backbone, core_buffer *reasons,
                           more_error *error)
{
    const core_plugin_file *files;
    size_t count;
    more_status status = core_registry_list(registry, &files, &count, error);
    for (size_t i = 0; status == MORE_OK && i < count; i++) {
        if (!files[i].plugin || strcmp(files[i].kind, kind) != 0 || !core_registry_chosen(registry, &files[i]))
            continue;
        more_recognition said = recognise(core_plugin_interface(files[i].plugin), host, part);
        core_buffer_format(reasons, "%s%s: %s", reasons->size ? "; " : "", files[i].id, said.reason);
        if (chosen ? &files[i] == chosen : said.score > backbone->recognition.score)
            take(backbone, &files[i], &said);
        else
            add_other(backbone->others, &files[i], &said);
    }
    return status;
}

/* The best of the others; NULL when there is none. */
static const char *rival_of(const core_backbone *backbone, int *score, const char **reason)
{
    json_t *best = json_array_get(backbone->others, 0);
    const char *said = json_string_value(json_object_get(best, "reason"));
    *score = (int)json_integer_value(json_object_get(best, "score"));
    *reason = said ? said : "";
    return json_string_value(json_object_get(best, "plugin"));
}

/* A plugin that the user chose must not take what it does not know where the config names another one's architecture:
 * tensors of the same names would load, and answer nonsense. */
static more_status refuse_strange(const core_backbone *backbone, const char *section, more_checkpoint *part,
                                  more_error *error)
{
    int score;
    const char *reason, *rival = rival_of(backbone, &score, &reason);
    if (backbone->recognition.score > 0 || !rival || score < CERTAIN)
        return MORE_OK;
    return more_fail(
        error, MORE_ERROR_UNSUPPORTED,
        "%s: plugin '%s' does not know this checkpoint (%.200s), plugin '%s' does (%.200s): say [%s] plugin "
        "= %s, or give other weights",
        core_weights_service()->path(part), backbone->file->id, backbone->recognition.reason, rival, reason, section,
        rival);
}

static more_status choose(core_registry *registry, const char *section, const char *kind, const char *id,
                          const more_host *host, more_checkpoint *part, core_backbone *backbone, more_error *error)
{
    const core_plugin_file *chosen = NULL;
    core_buffer reasons = {0};
    more_status status = MORE_OK;
    backbone->chosen_by_user = strcmp(id, "auto") != 0;
    backbone->others = json_array();
    if (backbone->chosen_by_user)
        status = core_registry_find(registry, kind, id, &chosen, error);
    if (status == MORE_OK)
        status = ask_all(registry, kind, chosen, host, part, backbone, &reasons, error);
    /* What each plugin of the kind said is why none fits. */
    if (status == MORE_OK && !backbone->file)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: no %s plugin takes this checkpoint: %s",
                           core_weights_service()->path(part), kind,
                           reasons.size && !reasons.failed ? reasons.data : "no plugin of this kind was found");
    if (status == MORE_OK && backbone->chosen_by_user)
        status = refuse_strange(backbone, section, part, error);
    core_buffer_free(&reasons);
    return status;
}

static void tell_choice(const core_backbone *backbone, const more_host *host, const char *kind, more_checkpoint *part)
{
    const char *path = core_weights_service()->path(part), *id = backbone->file->id, *reason;
    int score;
    const char *rival = rival_of(backbone, &score, &reason), *why = backbone->recognition.reason;
    if (rival && !backbone->chosen_by_user && score == backbone->recognition.score)
        core_log(host, MORE_LOG_WARNING, kind, "'%s' and '%s' fit %s equally well: took '%s'; say plugin = to choose",
                 id, rival, path, id);
    if (rival)
        core_log(host, MORE_LOG_INFO, kind,
                 "plugin '%s' for %s (%s; %.200s, score %d); '%s' fits too (%.200s, score %d)", id, path,
                 backbone->chosen_by_user ? "as the settings say" : "the best fit", why,
                 (int)backbone->recognition.score, rival, reason, score);
    else
        core_log(host, MORE_LOG_INFO, kind, "plugin '%s' for %s (%s)", id, path, why[0] ? why : "as the settings say");
}

/* Passes on what open() returned, with a word on the plugin that would have fitted. */
static more_status tell_rival(const core_backbone *backbone, const more_host *host, const char *section,
                              more_status status, more_error *error)
{
    int score;
    const char *reason, *rival = rival_of(backbone, &score, &reason);
    if (!backbone->chosen_by_user || backbone->recognition.score > 0 || !rival || status == MORE_ERROR_CANCELLED)
        return status;
    if (status == MORE_OK) {
        core_log(host, MORE_LOG_WARNING, section, "plugin '%s' does not know %s (%.200s), but '%s' does (%.200s)",
                 backbone->file->id, core_weights_service()->path(backbone->checkpoint), backbone->recognition.reason,
                 rival, reason);
    } else if (error) {
        more_error said = *error;
        more_fail(error, status, "%.700s; plugin '%s' fits it (%.120s): say [%s] plugin = %s", said.message, rival,
                  reason, section, rival);
    }
    return status;
}

static more_status bind(core_config *config, const char *section, more_checkpoint *part, core_backbone *backbone,
                        more_error *error)
{
    const core_backbone_interface *table = backbone->interface;
    core_view view = {.map = table->tensor_map ? table->tensor_map() : NULL};
    more_status status =
        core_config_settings(config, section, backbone->recognition.settings, backbone->file->path, error);
    if (status == MORE_OK)
        status = core_config_plugin_options(config, section, backbone->file->plugin, &backbone->options, error);
    if (status == MORE_OK)
        status = core_checkpoint_view(part, &view, &backbone->checkpoint, error);
    return status;
}

more_status core_backbone_choose(core_registry *registry, core_config *config, const more_host *host,
                                 const char *section, more_checkpoint *part, core_backbone *backbone, more_error *error)
{
    const char *kind = core_section_find(section)->plugin_kind;
    const char *id = core_config_string(config, section, "plugin");
    *backbone = (core_backbone){0};
    more_status status = choose(registry, section, kind, id, host, part, backbone, error);
    if (status == MORE_OK)
        status = bind(config, section, part, backbone, error);
    if (status == MORE_OK)
        tell_choice(backbone, host, kind, part);
    else
        core_backbone_clear(backbone);
    return status;
}

void core_backbone_clear(core_backbone *backbone)
{
    json_decref(backbone->others);
    core_options_free(&backbone->options);
    core_checkpoint_release(backbone->checkpoint);
    *backbone = (core_backbone){0};
}

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

/* [runtime] device; an error names the line that it stands in. */
static more_status choose_device(const core_config *config, const more_host *host, core_device_choice *choice,
                                 more_error *error)
{
    const core_config_entry *entry = core_config_find(config, "runtime", "device");
    const char *text = entry ? entry->value : "auto";
    char shown[64];
    more_error reason = {{0}};
    more_status status = core_device_choose(host, text, choice, &reason);
    if (status != MORE_OK)
        return more_fail(error, status, "%s: [runtime] device = %s: %s", entry ? entry->where : "default",
                         core_printable(text, shown, sizeof shown), reason.message);
    return MORE_OK;
}

enum { MOST_LAYERS = 1024 };

/* The layers on a device: those behind the first `layers` are on the CPU; -1 = none is. */
static more_status open_on(core_backbone *backbone, DLDevice device, int64_t layers, const more_host *host,
                           more_open_flags flags, core_open_function open, void *user, more_error *error)
{
    const DLDevice devices[CORE_BACKBONE_DEVICES] = {device, {kDLCPU, 0}};
    int32_t layer_devices[MOST_LAYERS];
    more_open arguments = {.struct_size = MORE_STRUCT_SIZE(more_open, layer_count),
                           .host = host,
                           .checkpoint = backbone->checkpoint,
                           .options = backbone->options.values,
                           .option_count = backbone->options.count,
                           .flags = flags,
                           .devices = devices,
                           .device_count = 1};
    backbone->device = device;
    backbone->split = layers >= 0 && device.device_type != kDLCPU;
    for (int i = 0; i < MOST_LAYERS; i++)
        layer_devices[i] = i >= layers;
    if (backbone->split) {
        arguments.device_count = CORE_BACKBONE_DEVICES;
        arguments.layer_devices = layer_devices;
        arguments.layer_count = MOST_LAYERS;
    }
    return open(user, &arguments, error);
}

/* Whether `auto` takes the CPU after this. */
static bool falls_back(const core_device_choice *choice, more_status status)
{
    return choice->automatic && choice->device.device_type != kDLCPU &&
           (status == MORE_ERROR_UNSUPPORTED || status == MORE_ERROR_MEMORY);
}

more_status core_backbone_open(core_backbone *backbone, const core_config *config, const more_host *host,
                               const char *section, more_open_flags flags, core_open_function open, void *user,
                               more_error *error)
{
    core_device_choice choice;
    more_error refusal = {{0}};
    char shown[192];
    bool language = !strcmp(core_section_find(section)->plugin_kind, MORE_KIND_LANGUAGE);
    int64_t layers = language ? core_config_int64(config, section, "gpu_layers") : -1;
    more_status status = choose_device(config, host, &choice, error);
    if (status != MORE_OK)
        return status;
    status = open_on(backbone, choice.device, layers, host, flags, open, user, &refusal);
    if (falls_back(&choice, status)) {
        core_log(host, status == MORE_ERROR_MEMORY ? MORE_LOG_WARNING : MORE_LOG_INFO, section,
                 "runs on the CPU, since device = auto and not on %s: %s",
                 core_device_shown(host, choice.device, shown), refusal.message);
        status = open_on(backbone, (DLDevice){kDLCPU, 0}, -1, host, flags, open, user, &refusal);
    } else if (status == MORE_OK && choice.device.device_type != kDLCPU) {
        core_log(host, MORE_LOG_INFO, section, "runs on %s, %s", core_device_shown(host, choice.device, shown),
                 choice.automatic ? "since device = auto and it can" : "as the settings say");
    }
    if (status != MORE_OK)
        more_fail(error, status, "%s", refusal.message);
    return tell_rival(backbone, host, section, status, error);
}
