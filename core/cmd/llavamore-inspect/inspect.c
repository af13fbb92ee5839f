/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect.h"
#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "config/config.h"
#include "image/decode.h"
#include "plugin/options.h"

#include <errno.h>
#include <llavamore/cuda.h>
#include <llavamore/language.h>
#include <llavamore/projector.h>
#include <llavamore/vision.h>
#include <string.h>
#include <unistd.h>

/* ---- Option tables ---------------------------------------------------------------------------------------------- */

static json_t *describe_option(const more_option *option)
{
    core_buffer allowed = {0};
    core_option_describe(option, &allowed);
    json_t *row = json_pack("{s:s, s:s, s:s}", "name", option->name, "value", allowed.failed ? "" : allowed.data, "doc",
                            option->doc);
    core_buffer_free(&allowed);
    return row;
}

static json_t *describe_options(const more_option *table, int32_t count)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < count; i++)
        json_array_append_new(list, describe_option(&table[i]));
    return list;
}

json_t *inspect_keys(void)
{
    json_t *sections = json_array();
    const core_section *section;
    for (size_t i = 0; (section = core_section_at(i)); i++)
        json_array_append_new(sections, json_pack("{s:s, s:s, s:o}", "section", section->name, "doc", section->doc,
                                                  "options", describe_options(section->keys, section->count)));
    return json_pack("{s:s, s:o}", "what", "keys of an INI file", "sections", sections);
}

/* ---- Devices ---------------------------------------------------------------------------------------------------- */

static json_t *describe_device(const more_host *host, const more_cuda_service *cuda, int32_t number)
{
    more_error error = {{0}};
    more_cuda_info info = {.struct_size = sizeof info};
    char device[24], capability[24];
    snprintf(device, sizeof device, "cuda:%d", (int)number);
    if (cuda->describe(host, number, &info, &error) != MORE_OK)
        return json_pack("{s:s, s:o}", "device", device, "error", core_json_text(error.message));
    snprintf(capability, sizeof capability, "%d.%d", (int)info.capability / 10, (int)info.capability % 10);
    return json_pack("{s:s, s:o, s:s, s:i, s:I, s:I}", "device", device, "name", core_json_text(info.name),
                     "capability", capability, "processors", (int)info.processors, "total_bytes",
                     (json_int_t)info.total_bytes, "free_bytes", (json_int_t)info.free_bytes);
}

json_t *inspect_devices(const core_host *host)
{
    const more_host *abi = core_host_abi(host);
    const more_cuda_service *cuda = abi->get_service(abi, MORE_CUDA_SERVICE);
    int32_t count = cuda->count(abi);
    json_t *list = json_array();
    for (int32_t i = 0; i < count; i++)
        json_array_append_new(list, describe_device(abi, cuda, i));
    return json_pack("{s:s, s:o, s:o}", "what", count ? "NVIDIA devices" : "no NVIDIA device", "reason",
                     core_json_text(cuda->reason(abi)), "devices", list);
}

/* ---- Plugins ---------------------------------------------------------------------------------------------------- */

static json_t *interfaces_of(const more_plugin *plugin)
{
    static const char *const known[] = {MORE_VISION_INTERFACE, MORE_PROJECTOR_INTERFACE, MORE_LANGUAGE_INTERFACE,
                                        MORE_FUNCTIONS_INTERFACE};
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (plugin->get_interface(known[i]))
            json_array_append_new(list, json_string(known[i]));
    }
    return list;
}

static json_t *functions_of(const more_plugin *plugin)
{
    const more_functions_interface *table = plugin->get_interface(MORE_FUNCTIONS_INTERFACE);
    json_t *list = json_array();
    for (int32_t i = 0; table && i < table->count; i++) {
        const more_function *function = &table->functions[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "stage", function->stage, "name", function->name,
                                              "parameters", function->parameters, "doc", function->doc));
    }
    return list;
}

more_status inspect_plugin(const char *path, json_t **report, more_error *error)
{
    const more_plugin *plugin;
    char version[32];
    more_status status = core_plugin_load(path, &plugin, error);
    if (status != MORE_OK)
        return status;
    snprintf(version, sizeof version, "%u.%u", plugin->abi_version >> 16, plugin->abi_version & 0xffff);
    *report = json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o}", "what", "plugin", "path",
                        core_json_text(path), "kind", plugin->kind, "id", plugin->id, "version", plugin->version,
                        "license", plugin->license, "description", plugin->description, "abi", version, "score",
                        plugin->score(), "interfaces", interfaces_of(plugin), "options",
                        describe_options(plugin->options, plugin->option_count), "functions", functions_of(plugin));
    return MORE_OK;
}

/* ---- INI files and pictures ------------------------------------------------------------------------------------- */

more_status inspect_config(const char *path, json_t **report, more_error *error)
{
    core_config *config;
    core_buffer text = {0};
    more_status status = core_config_create(&config, error);
    if (status != MORE_OK)
        return status;
    status = core_config_load(config, path, error);
    if (status == MORE_OK) {
        core_config_dump(config, &text);
        *report = json_pack("{s:s, s:o, s:o}", "what", "INI file", "path", core_json_text(path), "ini",
                            core_json_text(text.failed || !text.data ? "" : text.data));
    }
    core_buffer_free(&text);
    core_config_destroy(config);
    return status;
}

more_status inspect_image(const char *path, json_t **report, more_error *error)
{
    core_image image;
    core_image_init(&image, 0);
    more_status status = core_image_load(path, NULL, &image, error);
    if (status == MORE_OK)
        *report = json_pack("{s:s, s:o, s:I, s:I}", "what", "picture", "path", core_json_text(path), "width",
                            (json_int_t)image.abi.width, "height", (json_int_t)image.abi.height);
    core_image_free(&image);
    return status;
}

/* ---- Which of them ---------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), size = strlen(ending);
    return length >= size && !strcmp(text + length - size, ending);
}

/* A safetensors file begins with a length of 8 bytes, little-endian, and '{'. */
static bool is_safetensors(const char *path, const unsigned char *head, size_t size)
{
    return ends_with(path, ".safetensors") || (size >= 9 && head[8] == '{' && !head[6] && !head[7]);
}

static more_status read_head(const char *path, unsigned char *head, size_t *size, more_error *error)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return more_fail(error, errno == ENOENT || errno == ENOTDIR ? MORE_ERROR_NOT_FOUND : MORE_ERROR_IO, "%s: %s",
                         path, strerror(errno));
    *size = fread(head, 1, *size, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    return failed ? more_fail(error, MORE_ERROR_IO, "%s: can't be read", path) : MORE_OK;
}

/* What torch.save writes is a zip archive, or was a pickle; the ending tells both. */
static bool is_torch(const char *path, const unsigned char *head, size_t size)
{
    return ends_with(path, ".bin") || ends_with(path, ".pt") || ends_with(path, ".pth") ||
           (size >= 4 && !memcmp(head, "PK\3\4", 4));
}

more_status inspect_path(const core_host *host, core_registry *registry, const char *path, json_t **report,
                         more_error *error)
{
    unsigned char head[16];
    size_t size = sizeof head;
    if (core_folder_exists(path))
        return inspect_checkpoint(host, registry, path, NULL, report, error);
    if (access(path, F_OK) && errno == ENOENT)
        return inspect_named(host, registry, path, report, error);
    more_status status = read_head(path, head, &size, error);
    if (status != MORE_OK)
        return status;
    if (ends_with(path, ".so") || (size >= 4 && !memcmp(head, "\177ELF", 4)))
        return inspect_plugin(path, report, error);
    if (ends_with(path, ".ini"))
        return inspect_ini(path, report, error);
    if (ends_with(path, ".model"))
        return inspect_tokenizer(path, report, error);
    if (ends_with(path, ".json"))
        return inspect_json(path, report, error);
    if (is_safetensors(path, head, size))
        return inspect_checkpoint(host, registry, path, "safetensors file", report, error);
    if (size >= 4 && !memcmp(head, "GGUF", 4))
        return inspect_checkpoint(host, registry, path, "GGUF file", report, error);
    if (is_torch(path, head, size))
        return inspect_checkpoint(host, registry, path, "PyTorch file", report, error);
    status = inspect_image(path, report, error);
    if (status == MORE_ERROR_UNSUPPORTED)
        return more_fail(
            error, status,
            "%s: neither a picture (JPEG, PNG, BMP, GIF, PNM), nor a .safetensors, PyTorch or GGUF file, a "
            "model folder, a tokenizer, an .ini file or a plugin",
            path);
    return status;
}
