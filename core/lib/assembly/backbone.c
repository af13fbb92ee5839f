/* SPDX-License-Identifier: Apache-2.0 */
#include "assembly/backbone.h"

#include "base/host.h"
#include "weights/checkpoint.h"
#include <llavamore/language.h>
#include <llavamore/projector.h>
#include <llavamore/vision.h>
#include <stdlib.h>
#include <string.h>

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

static more_status choose_named(core_registry *registry, const char *kind, const char *id, const more_host *host,
                                more_checkpoint *part, core_backbone *backbone, more_error *error)
{
    more_status status = core_registry_find(registry, kind, id, &backbone->file, error);
    if (status == MORE_OK) {
        backbone->interface = core_plugin_interface(backbone->file->plugin);
        backbone->recognition = recognise(backbone->interface, host, part);
    }
    backbone->chosen_by_user = true;
    return status;
}

/* What each plugin of the kind said, for the message that none fits. */
static more_status nobody_fits(const char *kind, more_checkpoint *part, const core_buffer *reasons, more_error *error)
{
    const char *said = reasons->size && !reasons->failed ? reasons->data : "no plugin of this kind was found";
    return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: no %s plugin takes this checkpoint: %s",
                     core_weights_service()->path(part), kind, said);
}

static more_status choose_best(core_registry *registry, const char *kind, const more_host *host, more_checkpoint *part,
                               core_backbone *backbone, more_error *error)
{
    const core_plugin_file *files, *rival = NULL;
    size_t count;
    core_buffer reasons = {0};
    more_status status = core_registry_list(registry, &files, &count, error);
    for (size_t i = 0; status == MORE_OK && i < count; i++) {
        if (!files[i].plugin || strcmp(files[i].kind, kind) != 0 || !core_registry_chosen(registry, &files[i]))
            continue;
        const void *interface = core_plugin_interface(files[i].plugin);
        more_recognition said = recognise(interface, host, part);
        core_buffer_format(&reasons, "%s%s: %s", reasons.size ? "; " : "", files[i].id, said.reason);
        if (said.score == backbone->recognition.score && backbone->file)
            rival = &files[i];
        if (said.score <= backbone->recognition.score)
            continue;
        backbone->file = &files[i];
        backbone->interface = interface;
        backbone->recognition = said;
        rival = NULL;
    }
    if (status == MORE_OK && !backbone->file)
        status = nobody_fits(kind, part, &reasons, error);
    else if (status == MORE_OK && rival)
        core_log(host, MORE_LOG_WARNING, kind, "'%s' and '%s' fit %s equally well: took '%s'; say plugin = to choose",
                 backbone->file->id, rival->id, core_weights_service()->path(part), backbone->file->id);
    core_buffer_free(&reasons);
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
    more_status status;
    *backbone = (core_backbone){0};
    if (strcmp(id, "auto") != 0)
        status = choose_named(registry, kind, id, host, part, backbone, error);
    else
        status = choose_best(registry, kind, host, part, backbone, error);
    if (status == MORE_OK)
        status = bind(config, section, part, backbone, error);
    if (status == MORE_OK)
        core_log(host, MORE_LOG_INFO, kind, "plugin '%s' for %s (%s)", backbone->file->id,
                 core_weights_service()->path(part),
                 backbone->recognition.reason[0] ? backbone->recognition.reason : "as the INI says");
    else
        core_backbone_clear(backbone);
    return status;
}

void core_backbone_clear(core_backbone *backbone)
{
    core_options_free(&backbone->options);
    core_checkpoint_release(backbone->checkpoint);
    *backbone = (core_backbone){0};
}

more_open core_backbone_open(const core_backbone *backbone, const more_host *host, more_open_flags flags)
{
    static const DLDevice cpu = {kDLCPU, 0};
    return (more_open){.struct_size = MORE_STRUCT_SIZE(more_open, layer_count),
                       .host = host,
                       .checkpoint = backbone->checkpoint,
                       .options = backbone->options.values,
                       .option_count = backbone->options.count,
                       .flags = flags,
                       .devices = &cpu,
                       .device_count = 1};
}
