/* SPDX-License-Identifier: Apache-2.0
 *
 * The eyes of an assembly: encoder and projector; preprocessing.c has what comes before them.
 */
#include "assembly/assembly.h"
#include "assembly/data.h"
#include "generate/multiscale.h"
#include "plugin/value.h"
#include "weights/checkpoint.h"
#include "weights/locate.h"
#include <stdlib.h>
#include <string.h>

/* The tower's folder as it is on disk; where it describes the tower without holding its weights (safetensors), they are
 * taken from the language folder, which the released checkpoints store them in. */
static more_status open_tower_folder(core_assembly *assembly, more_checkpoint **whole, more_error *error)
{
    more_checkpoint *facts = NULL, *stored = NULL;
    more_status status = core_checkpoint_open(assembly->vision_path, whole, error);
    /* No weights at all, or only in a format that is not read, as OpenAI's repository has them. */
    if (status != MORE_ERROR_NOT_FOUND && status != MORE_ERROR_UNSUPPORTED)
        return status;
    if (core_checkpoint_open_metadata(assembly->vision_path, &facts, NULL) == MORE_OK &&
        core_checkpoint_config(facts) &&
        core_layout_part(assembly->layout, assembly->folder, "vision", &stored, NULL) == MORE_OK) {
        status = core_checkpoint_join(stored, facts, whole, error);
        core_log(core_host_abi(assembly->host), MORE_LOG_INFO, "vision", "%s has no weights: they come from %s",
                 assembly->vision_path, assembly->language_path);
    }
    core_checkpoint_release(stored);
    core_checkpoint_release(facts);
    return status;
}

/* The encoder's checkpoint: [vision] weights, else the one that the language folder names. *whole is NULL, with
 * MORE_OK, when nothing is said of an encoder anywhere. */
static more_status open_tower(core_assembly *assembly, more_checkpoint **whole, more_error *error)
{
    more_error reason = {{0}};
    *whole = NULL;
    more_status status = core_assembly_locate(assembly, "vision", &assembly->vision_path, error);
    if (status != MORE_OK || assembly->vision_path)
        return status == MORE_OK ? open_tower_folder(assembly, whole, error) : status;
    char *name = core_assembly_setting(assembly, "vision.weights");
    if (!name)
        return MORE_OK;
    status = core_weights_locate(name, core_checkpoint_folder(assembly->folder), &assembly->vision_path, &reason);
    if (status == MORE_OK)
        status = open_tower_folder(assembly, whole, error);
    else
        more_fail(error, status, "%s: its vision tower '%s' is not on this machine (%.400s); set [vision] weights",
                  assembly->language_path, name, reason.message);
    free(name);
    return status;
}

/* The part of the tower's folder that is the encoder, under the layout that fits the folder. */
static more_status tower_part(core_assembly *assembly, more_checkpoint **part, more_error *error)
{
    char *folder = core_data_folder("layouts");
    more_status status = folder ? core_layout_find(folder, assembly->tower, &assembly->tower_layout, error)
                                : more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    if (status == MORE_OK)
        status = core_layout_part(assembly->tower_layout, assembly->tower, "vision", part, error);
    free(folder);
    return status;
}

static more_status parse_layers(core_assembly *assembly, const char *text, more_error *error)
{
    more_error reason = {{0}};
    int64_t layers = assembly->vision_info.layers;
    if (core_int32_list(text, assembly->layers, CORE_MAX_LAYERS, &assembly->layer_count, &reason) != MORE_OK)
        return more_fail(error, MORE_ERROR_ARGUMENT, "[vision] layer = %.100s: %.400s", text, reason.message);
    for (int32_t i = 0; i < assembly->layer_count; i++)
        if (assembly->layers[i] > layers || assembly->layers[i] < -(layers + 1))
            return more_fail(error, MORE_ERROR_ARGUMENT,
                             "[vision] layer = %d: %s has hidden states 0 to %lld (or -1 to %lld from the end)",
                             (int)assembly->layers[i], assembly->vision_path, (long long)layers,
                             (long long)-(layers + 1));
    return MORE_OK;
}

/* S2: what the user says, else, where the checkpoint was trained so, its own scales. */
static more_status read_scales(core_assembly *assembly, more_error *error)
{
    const core_config_entry *entry = core_config_find(assembly->config, "vision", "scales");
    bool given = entry && entry->rank > CORE_FROM_CHECKPOINT && entry->value[0] && strcmp(entry->value, "auto") != 0;
    char *used = given ? NULL : core_assembly_setting(assembly, "vision.multiscale");
    char *text = given || (used && !strcmp(used, "true")) ? core_assembly_setting(assembly, "vision.scales") : NULL;
    long long side = assembly->vision_info.image_size;
    char thrice[64];
    more_error reason = {{0}};
    more_status status = MORE_OK;
    snprintf(thrice, sizeof thrice, "%lld,%lld,%lld", side, 2 * side, 3 * side);
    const char *scales = text ? text : used && !strcmp(used, "true") ? thrice : "none";
    if (strcmp(scales, "none") != 0)
        status = core_scales_parse(scales, assembly->scales, &assembly->scale_count, &reason);
    if (status != MORE_OK)
        more_fail(error, status, "[vision] scales = %.100s: %.400s; want sides in pixels such as %s", scales,
                  reason.message, thrice);
    free(text);
    free(used);
    return status == MORE_OK ? core_multiscale_check(assembly, error) : status;
}

int64_t core_assembly_feature_width(const core_assembly *assembly)
{
    int64_t scales = assembly->scale_count ? assembly->scale_count : 1;
    return assembly->vision_info.feature_width * assembly->layer_count * scales;
}

static more_status read_selection(core_assembly *assembly, more_error *error)
{
    char *layer = core_assembly_setting(assembly, "vision.layer");
    char *select = core_assembly_setting(assembly, "vision.select");
    more_status status = parse_layers(assembly, layer ? layer : "-2", error);
    if (select && !strcmp(select, "cls_patch"))
        assembly->select = MORE_SELECT_CLS_PATCH;
    else if (status == MORE_OK && select && strcmp(select, "patch") != 0)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED, "[vision] select = %s: want patch or cls_patch", select);
    free(layer);
    free(select);
    return status == MORE_OK ? read_scales(assembly, error) : status;
}

static more_status open_encoder_plugin(void *user, const more_open *arguments, more_error *error)
{
    core_assembly *assembly = user;
    return assembly->vision_api->open(arguments, &assembly->vision, error);
}

static more_status open_encoder(core_assembly *assembly, more_checkpoint *part, more_error *error)
{
    const more_host *host = core_host_abi(assembly->host);
    more_status status =
        core_backbone_choose(assembly->registry, assembly->config, host, "vision", part, &assembly->vision_part, error);
    if (status != MORE_OK)
        return status;
    assembly->vision_api = assembly->vision_part.interface;
    status = core_backbone_open(&assembly->vision_part, assembly->config, host, "vision", assembly->flags,
                                open_encoder_plugin, assembly, error);
    if (status != MORE_OK)
        return status;
    assembly->vision_info.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats);
    assembly->vision_api->describe(assembly->vision, &assembly->vision_info);
    return read_selection(assembly, error);
}

/* The projector's part where [projector] weights names none: of the language folder, else of the tower's file, which in
 * GGUF holds both. */
static more_status stored_projector(core_assembly *assembly, more_checkpoint **part, more_error *error)
{
    more_status status = core_layout_part(assembly->layout, assembly->folder, "projector", part, error);
    bool with_tower = status == MORE_ERROR_NOT_FOUND && core_checkpoint_is_gguf(assembly->tower) &&
                      core_layout_part(assembly->tower_layout, assembly->tower, "projector", part, NULL) == MORE_OK;
    assembly->projector_path = strdup(with_tower ? assembly->vision_path : assembly->language_path);
    return with_tower ? MORE_OK : status;
}

/* The projector's part: of [projector] weights where given, else where it is stored. */
static more_status projector_part(core_assembly *assembly, more_checkpoint **part, more_error *error)
{
    more_checkpoint *whole = NULL;
    more_status status = core_assembly_locate(assembly, "projector", &assembly->projector_path, error);
    if (status != MORE_OK)
        return status;
    if (!assembly->projector_path)
        return stored_projector(assembly, part, error);
    core_layout *layout = NULL;
    char *folder = core_data_folder("layouts");
    status = core_checkpoint_open(assembly->projector_path, &whole, error);
    /* A file of nothing but the projector's tensors fits no layout: it is then taken as a whole. */
    if (status == MORE_OK && folder && core_layout_find(folder, whole, &layout, NULL) == MORE_OK &&
        core_layout_has_part(layout, "projector"))
        status = core_layout_part(layout, whole, "projector", part, error);
    else if (status == MORE_OK)
        status = core_checkpoint_view(whole, &(core_view){0}, part, error);
    core_layout_free(layout);
    core_checkpoint_release(whole);
    free(folder);
    return status;
}

/* A refusal over the widths gets both sides by name: the plugin knows the numbers alone. */
static void name_both_sides(const core_assembly *assembly, more_error *error)
{
    more_error said = *error;
    more_fail(
        error, MORE_ERROR_ARGUMENT,
        "%.500s (%lld channels x %d layer(s) x %d scale(s) of encoder '%s', %.120s; width %lld of language model '%s', "
        "%.120s)",
        said.message, (long long)assembly->vision_info.feature_width, (int)assembly->layer_count,
        assembly->scale_count ? (int)assembly->scale_count : 1, assembly->vision_part.file->id, assembly->vision_path,
        (long long)assembly->language_info.width, assembly->language_part.file->id, assembly->language_path);
}

static more_status choose_projector(core_assembly *assembly, more_error *error)
{
    more_checkpoint *part = NULL;
    more_error missing = {{0}};
    more_status found = projector_part(assembly, &part, &missing), status = found;
    /* Some projectors have no tensors: the folder's config, or the user, then names one. */
    if (found == MORE_ERROR_NOT_FOUND && !*core_config_string(assembly->config, "projector", "weights"))
        status = core_checkpoint_view(assembly->folder, &(core_view){0}, &part, &missing);
    if (status != MORE_OK)
        return more_fail(error, status, "%s", missing.message);
    status = core_backbone_choose(assembly->registry, assembly->config, core_host_abi(assembly->host), "projector",
                                  part, &assembly->projector_part, error);
    core_checkpoint_release(part);
    if (found == MORE_ERROR_NOT_FOUND && status == MORE_ERROR_UNSUPPORTED)
        return more_fail(error, found, "%s", missing.message);
    return status;
}

static more_status open_projector_plugin(void *user, const more_open *arguments, more_error *error)
{
    core_assembly *assembly = user;
    more_status status = assembly->projector_api->open(arguments, core_assembly_feature_width(assembly),
                                                       assembly->language_info.width, &assembly->projector, error);
    if (status == MORE_ERROR_ARGUMENT)
        name_both_sides(assembly, error);
    return status;
}

static more_status open_projector(core_assembly *assembly, more_error *error)
{
    const more_host *host = core_host_abi(assembly->host);
    more_status status = choose_projector(assembly, error);
    if (status != MORE_OK)
        return status;
    assembly->projector_api = assembly->projector_part.interface;
    return core_backbone_open(&assembly->projector_part, assembly->config, host, "projector", assembly->flags,
                              open_projector_plugin, assembly, error);
}

more_status core_assembly_open_vision(core_assembly *assembly, more_error *error)
{
    more_checkpoint *part = NULL;
    more_status status = open_tower(assembly, &assembly->tower, error);
    if (status == MORE_OK && !assembly->tower)
        return MORE_OK;
    if (status == MORE_OK)
        status = tower_part(assembly, &part, error);
    if (status == MORE_OK)
        status = open_encoder(assembly, part, error);
    core_checkpoint_release(part);
    if (status == MORE_OK)
        status = core_assembly_open_preprocessing(assembly, error);
    if (status == MORE_OK)
        status = open_projector(assembly, error);
    return status;
}
