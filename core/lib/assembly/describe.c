/* SPDX-License-Identifier: Apache-2.0
 *
 * The resolved assembly as JSON, for --dry-run and --json.
 */
#include "assembly/assembly.h"
#include "base/json.h"
#include "device/choice.h"
#include "generate/multiscale.h"
#include "weights/checkpoint.h"
#include <llavamore/cuda.h>
#include <string.h>

static json_t *describe_memory(const more_memory *memory)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "weights", (json_int_t)memory->weight_bytes, "cache",
                     (json_int_t)memory->cache_bytes, "activations", (json_int_t)memory->activation_bytes, "scratch",
                     (json_int_t)memory->scratch_bytes);
}

/* What every part says of itself; the caller adds its own facts. */
static json_t *describe_part(const core_backbone *part, const char *path)
{
    char device[24];
    return json_pack("{s:s, s:s, s:o, s:b, s:i, s:o, s:O, s:o, s:I, s:s}", "plugin", part->file->id, "version",
                     part->file->plugin->version, "file", core_json_text(part->file->path), "chosen_by_user",
                     part->chosen_by_user, "score", (int)part->recognition.score, "reason",
                     core_json_text(part->recognition.reason), "also_fits", part->others, "weights",
                     core_json_text(path), "stored_bytes", (json_int_t)core_checkpoint_bytes(part->checkpoint),
                     "device", core_device_text(part->device, device));
}

static json_t *describe_layers(const core_assembly *assembly)
{
    json_t *layers = json_array();
    for (int32_t i = 0; i < assembly->layer_count; i++)
        json_array_append_new(layers, json_integer(assembly->layers[i]));
    return layers;
}

/* S2's sides in pixels and the tiles that each is cut into; nothing without S2. */
static void add_scales(const core_assembly *assembly, json_t *part)
{
    json_t *sides = json_array(), *tiles = json_array();
    for (int32_t i = 0; i < assembly->scale_count; i++) {
        json_array_append_new(sides, json_integer(assembly->scales[i].side));
        json_array_append_new(tiles, json_integer(assembly->scales[i].tiles * assembly->scales[i].tiles));
    }
    if (assembly->scale_count)
        json_object_update_new(part, json_pack("{s:O, s:O}", "scales", sides, "tiles", tiles));
    json_decref(sides);
    json_decref(tiles);
}

static more_status describe_vision(const core_assembly *assembly, json_t *json, int64_t *image_tokens,
                                   more_error *error)
{
    const more_vision_info *info = &assembly->vision_info;
    const more_vision_plan *plan = &assembly->nominal;
    more_memory vision = {0}, projector = {0};
    more_status status =
        assembly->vision_api->estimate(assembly->vision, core_multiscale_images(assembly), &vision, error);
    if (status != MORE_OK)
        return status;
    vision.activation_bytes += core_multiscale_bytes(assembly);
    int64_t prefix = assembly->select == MORE_SELECT_PATCH ? 0 : plan->prefix_tokens;
    more_grid grid = {plan->grid_width, plan->grid_height, prefix};
    int64_t features = grid.grid_width * grid.grid_height + prefix, width = core_assembly_feature_width(assembly);
    status = assembly->projector_api->plan(assembly->projector, &grid, image_tokens, error);
    if (status == MORE_OK)
        status = assembly->projector_api->estimate(assembly->projector, features, &projector, error);
    if (status != MORE_OK)
        return status;
    json_t *part = describe_part(&assembly->vision_part, assembly->vision_path);
    json_object_update_new(part, json_pack("{s:I, s:I, s:I, s:I, s:[I,I,I], s:[I,I], s:o, s:s, s:o}", "blocks",
                                           (json_int_t)info->layers, "feature_width", (json_int_t)info->feature_width,
                                           "patch_size", (json_int_t)info->patch_size, "image_size",
                                           (json_int_t)info->image_size, "pixels", (json_int_t)3,
                                           (json_int_t)plan->pixel_height, (json_int_t)plan->pixel_width, "features",
                                           (json_int_t)features, (json_int_t)width, "layers", describe_layers(assembly),
                                           "select", assembly->select == MORE_SELECT_PATCH ? "patch" : "cls_patch",
                                           "memory", describe_memory(&vision)));
    add_scales(assembly, part);
    json_object_set_new(json, "vision", part);
    json_object_set_new(
        json, "preprocess",
        json_pack("{s:s, s:o}", "steps", assembly->steps, "source", core_json_text(assembly->steps_source)));
    part = describe_part(&assembly->projector_part, assembly->projector_path);
    json_object_update_new(part,
                           json_pack("{s:[I,I], s:[I,I], s:o}", "input", (json_int_t)features, (json_int_t)width,
                                     "output", (json_int_t)*image_tokens, (json_int_t)assembly->language_info.width,
                                     "memory", describe_memory(&projector)));
    json_object_set_new(json, "projector", part);
    return MORE_OK;
}

static more_status describe_language(const core_assembly *assembly, json_t *json, more_error *error)
{
    const more_language_info *info = &assembly->language_info;
    more_memory memory[CORE_BACKBONE_DEVICES] = {{0}};
    int64_t batch = core_config_int64(assembly->config, "runtime", "batch");
    json_t *stops = json_array();
    more_status status =
        assembly->language_api->estimate(assembly->language, 1, assembly->context, batch, memory, error);
    for (size_t i = 0; i < assembly->stop_ids.count; i++)
        json_array_append_new(stops, json_integer(assembly->stop_ids.data[i]));
    json_t *part = describe_part(&assembly->language_part, assembly->language_path);
    json_object_update_new(part, json_pack("{s:I, s:I, s:I, s:I, s:s, s:o, s:o}", "blocks", (json_int_t)info->layers,
                                           "width", (json_int_t)info->width, "vocabulary", (json_int_t)info->vocabulary,
                                           "context", (json_int_t)assembly->context, "template",
                                           core_template_name(assembly->conversation), "stop_ids", stops, "memory",
                                           describe_memory(&memory[0])));
    if (assembly->language_part.split)
        json_object_set_new(part, "memory_on_cpu", describe_memory(&memory[1]));
    json_object_set_new(json, "llm", part);
    return status;
}

static json_t *describe_generation(const core_assembly *assembly)
{
    const core_config *config = assembly->config;
    const core_config_entry *sampler = core_config_find(config, "generate", "sampler");
    return json_pack(
        "{s:I, s:f, s:I, s:f, s:f, s:f, s:I, s:s}", "max_new_tokens",
        (json_int_t)core_config_int64(config, "generate", "max_new_tokens"), "temperature",
        core_config_double(config, "generate", "temperature"), "top_k",
        (json_int_t)core_config_int64(config, "generate", "top_k"), "top_p",
        core_config_double(config, "generate", "top_p"), "min_p", core_config_double(config, "generate", "min_p"),
        "repetition_penalty", core_config_double(config, "generate", "repetition_penalty"), "seed",
        (json_int_t)core_config_int64(config, "generate", "seed"), "sampler", sampler ? sampler->value : "");
}

/* Adds the device of a part, and what was used of its memory, unless it is the CPU or there already. */
static void add_device(const more_host *host, const core_backbone *part, json_t *devices)
{
    const more_cuda_service *cuda = host->get_service(host, MORE_CUDA_SERVICE);
    more_cuda_info info = {.struct_size = sizeof info};
    char name[24];
    size_t i;
    json_t *device;
    if (!part->file || part->device.device_type != kDLCUDA)
        return;
    core_device_text(part->device, name);
    json_array_foreach(devices, i, device)
    {
        if (!strcmp(json_string_value(json_object_get(device, "device")), name))
            return;
    }
    if (cuda->describe(host, part->device.device_id, &info, NULL) == MORE_OK)
        json_array_append_new(devices, json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I}", "device", name, "name",
                                                 core_json_text(info.name), "total_bytes", (json_int_t)info.total_bytes,
                                                 "free_bytes", (json_int_t)info.free_bytes, "used_bytes",
                                                 (json_int_t)info.used_bytes, "peak_bytes", (json_int_t)info.peak_bytes,
                                                 "cached_bytes", (json_int_t)info.cached_bytes));
}

/* `device` is the language model's. */
static json_t *describe_runtime(const core_assembly *assembly)
{
    const more_host *host = core_host_abi(assembly->host);
    const more_threads_service *threads = host->get_service(host, MORE_THREADS_SERVICE);
    char device[24];
    json_t *devices = json_array();
    add_device(host, &assembly->language_part, devices);
    add_device(host, &assembly->vision_part, devices);
    add_device(host, &assembly->projector_part, devices);
    return json_pack("{s:i, s:s, s:o}", "threads", (int)threads->count(host), "device",
                     core_device_text(assembly->language_part.device, device), "devices", devices);
}

more_status core_assembly_describe(const core_assembly *assembly, json_t **json, more_error *error)
{
    int64_t image_tokens = 0;
    more_status status = MORE_OK;
    *json = json_object();
    if (assembly->vision)
        status = describe_vision(assembly, *json, &image_tokens, error);
    if (status == MORE_OK)
        status = describe_language(assembly, *json, error);
    json_object_set_new(*json, "generate", describe_generation(assembly));
    json_object_set_new(*json, "runtime", describe_runtime(assembly));
    json_object_set_new(*json, "image_tokens", json_integer(image_tokens));
    if (status != MORE_OK) {
        json_decref(*json);
        *json = NULL;
    }
    return status;
}
