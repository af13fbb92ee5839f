/* SPDX-License-Identifier: Apache-2.0
 *
 * The eyes of an assembly: encoder, preprocessing and projector.
 */
#include "assembly/assembly.h"
#include "assembly/data.h"
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

/* The part of a tower folder that is the encoder, under the layout that fits the folder. */
static more_status tower_part(more_checkpoint *whole, more_checkpoint **part, more_error *error)
{
    core_layout *layout = NULL;
    char *folder = core_data_folder("layouts");
    more_status status =
        folder ? core_layout_find(folder, whole, &layout, error) : more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    if (status == MORE_OK)
        status = core_layout_part(layout, whole, "vision", part, error);
    core_layout_free(layout);
    free(folder);
    return status;
}

static more_status parse_layers(core_assembly *assembly, const char *text, more_error *error)
{
    const char *at = text;
    int64_t layers = assembly->vision_info.layers;
    assembly->layer_count = 0;
    while (*at) {
        char *end;
        long layer = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',' && *end != ' '))
            return more_fail(error, MORE_ERROR_ARGUMENT, "[vision] layer = %s: want numbers such as -2 or -2, -5",
                             text);
        if (layer > layers || layer < -(layers + 1))
            return more_fail(error, MORE_ERROR_ARGUMENT,
                             "[vision] layer = %ld: %s has hidden states 0 to %lld (or -1 to %lld from the end)", layer,
                             assembly->vision_path, (long long)layers, (long long)-(layers + 1));
        if (assembly->layer_count == CORE_MAX_LAYERS)
            return more_fail(error, MORE_ERROR_ARGUMENT, "[vision] layer = %s: at most %d layers", text,
                             CORE_MAX_LAYERS);
        assembly->layers[assembly->layer_count++] = (int32_t)layer;
        at = end + strspn(end, ", ");
    }
    if (!assembly->layer_count)
        return more_fail(error, MORE_ERROR_ARGUMENT, "[vision] layer is empty: want a number such as -2");
    return MORE_OK;
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
    return status;
}

static more_status open_encoder(core_assembly *assembly, more_checkpoint *part, more_error *error)
{
    const more_host *host = core_host_abi(assembly->host);
    more_status status =
        core_backbone_choose(assembly->registry, assembly->config, host, "vision", part, &assembly->vision_part, error);
    if (status != MORE_OK)
        return status;
    assembly->vision_api = assembly->vision_part.interface;
    more_open arguments = core_backbone_open(&assembly->vision_part, host, assembly->flags);
    status = assembly->vision_api->open(&arguments, &assembly->vision, error);
    if (status != MORE_OK)
        return status;
    assembly->vision_info.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats);
    assembly->vision_api->describe(assembly->vision, &assembly->vision_info);
    return read_selection(assembly, error);
}

static core_pad read_padding(const core_assembly *assembly)
{
    char *text = core_assembly_setting(assembly, "preprocess.pad");
    core_pad pad = CORE_PAD_NONE;
    if (text && (!strcmp(text, "square") || !strcmp(text, "pad")))
        pad = CORE_PAD_SQUARE;
    else if (text && strcmp(text, "none") != 0)
        core_log(core_host_abi(assembly->host), MORE_LOG_INFO, "preprocess", "image_aspect_ratio '%s' adds no padding",
                 text);
    free(text);
    return pad;
}

/* The steps come from the INI, which is then taken as it stands, else from the tower's preprocessor_config.json, else
 * from the plugin. */
static more_status open_preprocessing(core_assembly *assembly, more_error *error)
{
    const core_config_entry *given = core_config_find(assembly->config, "preprocess", "steps");
    const char *where = given ? given->where : assembly->vision_path;
    core_pad pad = read_padding(assembly);
    more_status status;
    if (given) {
        status = core_preprocess_add_padding(given->value, pad, &assembly->steps, error);
    } else {
        const char *folder = core_checkpoint_folder(assembly->vision_part.checkpoint);
        status = core_preprocess_steps_from_config(folder, pad, &assembly->steps, error);
        if (status == MORE_ERROR_NOT_FOUND)
            status = core_preprocess_add_padding(assembly->vision_info.preprocess, pad, &assembly->steps, error);
    }
    if (status == MORE_OK)
        status = core_pipeline_create(assembly->functions, assembly->steps, where,
                                      core_config_int64(assembly->config, "preprocess", "max_pixels"),
                                      &assembly->preprocess, error);
    assembly->pads_square = assembly->steps && strstr(assembly->steps, "pad_square(");
    return status;
}

/* The projector's part: of [projector] weights where given, else of the language folder. */
static more_status projector_part(core_assembly *assembly, more_checkpoint **part, more_error *error)
{
    more_checkpoint *whole = NULL;
    more_status status = core_assembly_locate(assembly, "projector", &assembly->projector_path, error);
    if (status != MORE_OK)
        return status;
    if (!assembly->projector_path) {
        assembly->projector_path = strdup(assembly->language_path);
        return core_layout_part(assembly->layout, assembly->folder, "projector", part, error);
    }
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

static more_status open_projector(core_assembly *assembly, more_error *error)
{
    const more_host *host = core_host_abi(assembly->host);
    more_checkpoint *part = NULL;
    more_status status = projector_part(assembly, &part, error);
    if (status == MORE_OK)
        status = core_backbone_choose(assembly->registry, assembly->config, host, "projector", part,
                                      &assembly->projector_part, error);
    core_checkpoint_release(part);
    if (status != MORE_OK)
        return status;
    assembly->projector_api = assembly->projector_part.interface;
    more_open arguments = core_backbone_open(&assembly->projector_part, host, assembly->flags);
    return assembly->projector_api->open(&arguments, assembly->vision_info.feature_width * assembly->layer_count,
                                         assembly->language_info.width, &assembly->projector, error);
}

more_status core_assembly_open_vision(core_assembly *assembly, more_error *error)
{
    more_checkpoint *whole = NULL, *part = NULL;
    more_status status = open_tower(assembly, &whole, error);
    if (status == MORE_OK && !whole)
        return MORE_OK;
    if (status == MORE_OK)
        status = tower_part(whole, &part, error);
    if (status == MORE_OK)
        status = open_encoder(assembly, part, error);
    core_checkpoint_release(part);
    core_checkpoint_release(whole);
    if (status == MORE_OK)
        status = open_preprocessing(assembly, error);
    if (status == MORE_OK)
        status = open_projector(assembly, error);
    return status;
}
