/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/descriptor.h"

#include "base/file.h"
#include "config/keys.h"
#include "plugin/call.h"
#include "plugin/loader.h"
#include "plugin/options.h"
#include "plugin/shared_object.h"
#include "plugin/value.h"
#include <dlfcn.h>
#include <llavamore/functions.h>
#include <llavamore/language.h>
#include <llavamore/projector.h>
#include <llavamore/vision.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_ID 128       /* bytes of a kind or id */
#define LONGEST_TEXT 1024    /* bytes of a version, licence or description */
#define LARGEST_STRUCT 65536 /* bytes: a struct_size beyond is no size */

/* ---- Checks of a descriptor ------------------------------------------------------------------------------------- */

static more_status check_text(const char *what, const char *text, more_error *error)
{
    if (!text)
        return more_fail(error, MORE_ERROR_CORRUPT, "its %s is NULL", what);
    if (!*text || strnlen(text, LONGEST_TEXT + 1) > LONGEST_TEXT || strpbrk(text, "\n\r"))
        return more_fail(error, MORE_ERROR_CORRUPT, "its %s is not one line of 1 to %d bytes", what, LONGEST_TEXT);
    return MORE_OK;
}

/* "adder", "org.example.merge2x2": words of a-z, 0-9, '_' and '-', apart by dots, the first byte a letter. */
static more_status check_id(const char *what, const char *id, more_error *error)
{
    char shown[64];
    if (!id)
        return more_fail(error, MORE_ERROR_CORRUPT, "its %s is NULL", what);
    size_t length = strnlen(id, LONGEST_ID + 1);
    bool good = length && length <= LONGEST_ID && id[0] >= 'a' && id[0] <= 'z' && id[length - 1] != '.';
    for (size_t i = 0; good && i < length; i++)
        good = strchr("abcdefghijklmnopqrstuvwxyz0123456789_-.", id[i]) && !(id[i] == '.' && id[i + 1] == '.');
    if (!good)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "its %s is '%s'; words of a-z, 0-9, '_' and '-', apart by dots, are allowed", what,
                         core_printable(id, shown, sizeof shown));
    return MORE_OK;
}

/* Sizes and version come first: nothing behind them means anything when they are wrong. */
static more_status check_version(const more_plugin *plugin, more_error *error)
{
    size_t least = MORE_STRUCT_SIZE(more_plugin, get_interface);
    if (plugin->struct_size < MORE_STRUCT_SIZE(more_plugin, abi_version) || plugin->struct_size > LARGEST_STRUCT)
        return more_fail(error, MORE_ERROR_CORRUPT, "its descriptor says a size of %zu bytes; %zu are expected",
                         plugin->struct_size, least);
    uint32_t version = plugin->abi_version;
    bool served = MORE_ABI_MAJOR == 0 ? version == MORE_ABI_VERSION
                                      : version >> 16 == MORE_ABI_MAJOR && version <= MORE_ABI_VERSION;
    if (!served)
        return more_fail(error, MORE_ERROR_VERSION,
                         "it was built for ABI %u.%u and this program serves ABI %u.%u; build it against these headers",
                         version >> 16, version & 0xffff, (unsigned)MORE_ABI_MAJOR, (unsigned)MORE_ABI_MINOR);
    if (plugin->struct_size < least)
        return more_fail(error, MORE_ERROR_CORRUPT, "its descriptor says a size of %zu bytes; at least %zu are needed",
                         plugin->struct_size, least);
    return MORE_OK;
}

static more_status check_options(const more_plugin *plugin, more_error *error)
{
    more_status status = core_options_check(plugin->options, plugin->option_count, error);
    const core_section *section = core_section_of_kind(plugin->kind);
    for (int32_t i = 0; i < plugin->option_count && status == MORE_OK; i++) {
        const char *name = plugin->options[i].name;
        if (!strcmp(name, "include") || (section && core_option_find(section->keys, section->count, name)))
            status = more_fail(error, MORE_ERROR_CORRUPT, "its option '%s' has the name of a key of the core", name);
    }
    return status;
}

/* The functions that every plugin of a kind must have: from struct_size up to `required`, pointers side by side. */
static const struct {
    const char *kind, *interface;
    size_t required;
} interfaces[] = {
    {MORE_KIND_VISION, MORE_VISION_INTERFACE, MORE_STRUCT_SIZE(more_vision_interface, encode)},
    {MORE_KIND_PROJECTOR, MORE_PROJECTOR_INTERFACE, MORE_STRUCT_SIZE(more_projector_interface, project)},
    {MORE_KIND_LANGUAGE, MORE_LANGUAGE_INTERFACE, MORE_STRUCT_SIZE(more_language_interface, advance)},
};

static more_status check_table(const char *id, const void *table, size_t required, more_error *error)
{
    size_t size;
    memcpy(&size, table, sizeof size);
    if (size < required || size > LARGEST_STRUCT)
        return more_fail(error, MORE_ERROR_CORRUPT, "its %s says a size of %zu bytes; at least %zu are needed", id,
                         size, required);
    for (size_t offset = sizeof size; offset < required; offset += sizeof(void *)) {
        void *function;
        memcpy(&function, (const char *)table + offset, sizeof function);
        if (!function)
            return more_fail(error, MORE_ERROR_CORRUPT, "its %s has NULL for function %zu", id,
                             offset / sizeof(void *));
    }
    return MORE_OK;
}

static more_status check_interface(const more_plugin *plugin, more_error *error)
{
    if (!strcmp(plugin->kind, MORE_KIND_FUNCTIONS)) {
        const more_functions_interface *table = plugin->get_interface(MORE_FUNCTIONS_INTERFACE);
        if (!table)
            return more_fail(error, MORE_ERROR_CORRUPT, "it does not offer %s", MORE_FUNCTIONS_INTERFACE);
        return core_functions_check(table, error);
    }
    for (size_t i = 0; i < sizeof interfaces / sizeof *interfaces; i++) {
        if (strcmp(plugin->kind, interfaces[i].kind))
            continue;
        const void *table = plugin->get_interface(interfaces[i].interface);
        if (!table)
            return more_fail(error, MORE_ERROR_CORRUPT, "it does not offer %s", interfaces[i].interface);
        return check_table(interfaces[i].interface, table, interfaces[i].required, error);
    }
    return MORE_OK;
}

const void *core_plugin_interface(const more_plugin *plugin)
{
    for (size_t i = 0; i < sizeof interfaces / sizeof *interfaces; i++)
        if (!strcmp(plugin->kind, interfaces[i].kind))
            return plugin->get_interface(interfaces[i].interface);
    return NULL;
}

more_status core_plugin_check(const more_plugin *plugin, more_error *error)
{
    more_status status = check_version(plugin, error);
    if (status == MORE_OK)
        status = check_id("kind", plugin->kind, error);
    if (status == MORE_OK)
        status = check_id("id", plugin->id, error);
    if (status == MORE_OK)
        status = check_text("version", plugin->version, error);
    if (status == MORE_OK)
        status = check_text("license", plugin->license, error);
    if (status == MORE_OK)
        status = check_text("description", plugin->description, error);
    if (status == MORE_OK && (!plugin->score || !plugin->get_interface))
        status = more_fail(error, MORE_ERROR_CORRUPT, "its %s is NULL", plugin->score ? "get_interface" : "score");
    if (status == MORE_OK)
        status = check_options(plugin, error);
    return status == MORE_OK ? check_interface(plugin, error) : status;
}

bool core_plugin_is_named(const more_plugin *plugin)
{
    return check_version(plugin, NULL) == MORE_OK && check_id("kind", plugin->kind, NULL) == MORE_OK &&
           check_id("id", plugin->id, NULL) == MORE_OK;
}

/* ---- Loading one file ------------------------------------------------------------------------------------------- */

/* A plugin's own reason, made one line. */
static more_status declined(more_error *reason, more_error *error)
{
    reason->message[MORE_ERROR_SIZE - 1] = '\0';
    char shown[MORE_ERROR_SIZE / 2];
    if (!reason->message[0])
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "it declined without giving a reason");
    return more_fail(error, MORE_ERROR_VERSION, "it declined: %s",
                     core_printable(reason->message, shown, sizeof shown));
}

/* A path without a slash would be looked for among the system's libraries. */
static void *open_object(const char *path, more_error *error)
{
    char *local = core_path_join(strchr(path, '/') ? "" : ".", path);
    void *object = local ? dlopen(local, RTLD_NOW | RTLD_LOCAL) : NULL;
    const char *reason = object ? NULL : dlerror();
    size_t length = local ? strlen(local) : 0;
    if (reason && local && !strncmp(reason, local, length) && reason[length] == ':')
        reason += length + 2;
    if (!object)
        more_fail(error, MORE_ERROR_UNSUPPORTED, "does not load: %s", reason ? reason : "out of memory");
    free(local);
    return object;
}

more_status core_plugin_open(const char *path, const more_plugin **plugin, more_error *error)
{
    more_plugin_entry_function entry = NULL;
    more_error reason = {{0}};
    *plugin = NULL;
    more_status status = core_shared_object_check(path, error);
    if (status != MORE_OK)
        return status;
    void *object = open_object(path, error);
    if (!object)
        return MORE_ERROR_UNSUPPORTED;
    void *symbol = dlsym(object, MORE_PLUGIN_ENTRY);
    if (!symbol)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "is no plugin: it has no function %s", MORE_PLUGIN_ENTRY);
    memcpy(&entry, &symbol, sizeof entry);
    /* before 1.0 no other version is served, see plugin.h */
    uint32_t oldest = MORE_ABI_MAJOR == 0 ? MORE_ABI_VERSION : (uint32_t)MORE_ABI_MAJOR << 16;
    *plugin = entry(oldest, MORE_ABI_VERSION, &reason);
    return *plugin ? core_plugin_check(*plugin, error) : declined(&reason, error);
}

more_status core_plugin_load(const char *path, const more_plugin **plugin, more_error *error)
{
    more_error reason = {{0}};
    more_status status = core_plugin_open(path, plugin, &reason);
    if (status == MORE_OK)
        return MORE_OK;
    *plugin = NULL;
    return more_fail(error, status, "%s: %s", path, reason.message);
}
