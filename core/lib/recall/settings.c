/* SPDX-License-Identifier: Apache-2.0 */
#include "recall/settings.h"

#include "device/choice.h"
#include "weights/identity.h"
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>

#define FORM 1 /* of this text and of what core does between pixels and rows */

/* The file that this code came from: a library built anew may do its steps otherwise under the same version. */
static void add_library(core_buffer *text)
{
    Dl_info about;
    core_buffer_format(text, "llavamore %s, form %d, libc %s\n", LLAVAMORE_VERSION, FORM, gnu_get_libc_version());
    if (dladdr((const void *)(uintptr_t)core_recall_settings, &about) && about.dli_fname)
        core_file_identity(about.dli_fname, text);
}

/* Which kernels run, and how they round, follows from the processor and from what the user allows. */
static void add_processor(core_buffer *text)
{
    const char *allowed = getenv("LLAVAMORE_CPU");
    char *line = NULL;
    size_t capacity = 0;
    FILE *file = fopen("/proc/cpuinfo", "re");
    core_buffer_format(text, "cpu %s\n", allowed ? allowed : "all");
    while (file && getline(&line, &capacity, file) >= 0)
        if (!strncmp(line, "flags", 5) || !strncmp(line, "Features", 8)) {
            core_buffer_text(text, line);
            break;
        }
    if (file)
        fclose(file);
    free(line);
}

static void add_value(const more_value *value, core_buffer *text)
{
    switch (value->type) {
    case MORE_INT64:
        core_buffer_format(text, "%lld\n", (long long)value->as.i);
        break;
    case MORE_DOUBLE:
        core_buffer_format(text, "%.17g\n", value->as.f);
        break;
    case MORE_BOOL:
        core_buffer_text(text, value->as.i ? "true\n" : "false\n");
        break;
    default:
        core_buffer_format(text, "%s\n", value->as.s ? value->as.s : "");
    }
}

/* The device is the one that was taken: under `auto` it can be another one tomorrow. */
static void add_backbone(const core_assembly *assembly, const core_backbone *backbone, core_buffer *text)
{
    const more_plugin *plugin = backbone->file->plugin;
    char device[192];
    core_buffer_format(text, "plugin %s %s %s\n", plugin->kind, plugin->id, plugin->version);
    core_buffer_format(text, "device %s\n", core_device_shown(core_host_abi(assembly->host), backbone->device, device));
    core_file_identity(backbone->file->path, text);
    for (int32_t i = 0; i < backbone->options.count; i++) {
        core_buffer_format(text, "option %s = ", plugin->options[i].name);
        add_value(&backbone->options.values[i], text);
    }
    core_checkpoint_identity(backbone->checkpoint, text);
}

/* Each step as it is called, with the file of the plugin that it comes from. */
static void add_steps(const core_assembly *assembly, core_buffer *text)
{
    const char *origin;
    const more_function *function;
    core_buffer_format(text, "steps %s\n", assembly->steps);
    for (size_t i = 0; (function = core_functions_at(assembly->functions, i, &origin)); i++)
        if (!strcmp(function->stage, MORE_STAGE_PREPROCESS) && strcmp(origin, "core") != 0)
            core_file_identity(origin, text);
}

void core_recall_settings(const core_assembly *assembly, core_buffer *text)
{
    const core_config *config = assembly->config;
    add_library(text);
    add_processor(text);
    core_buffer_format(text, "exif %d\nmax_pixels %lld\n", (int)core_config_bool(config, "preprocess", "exif"),
                       (long long)core_config_int64(config, "preprocess", "max_pixels"));
    add_steps(assembly, text);
    core_buffer_format(text, "select %d\nlayers", (int)assembly->select);
    for (int32_t i = 0; i < assembly->layer_count; i++)
        core_buffer_format(text, " %d", (int)assembly->layers[i]);
    core_buffer_text(text, "\nscales");
    for (int32_t i = 0; i < assembly->scale_count; i++)
        core_buffer_format(text, " %lld/%lld", (long long)assembly->scales[i].side,
                           (long long)assembly->scales[i].tile);
    core_buffer_format(text, "\nwidth %lld\n", (long long)assembly->language_info.width);
    add_backbone(assembly, &assembly->vision_part, text);
    add_backbone(assembly, &assembly->projector_part, text);
}
