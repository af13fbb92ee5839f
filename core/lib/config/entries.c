/* SPDX-License-Identifier: Apache-2.0 */
#include "config/entries.h"

#include "base/file.h"
#include "base/suggest.h"
#include "plugin/value.h"
#include <stdlib.h>
#include <string.h>

#define SHOWN 64 /* bytes of a name or value that a message quotes */

void core_entry_free(core_entry *entry)
{
    const char *strings[] = {entry->shown.key, entry->shown.text, entry->shown.value, entry->shown.where,
                             entry->shown.folder};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        free((void *)(uintptr_t)strings[i]);
    *entry = (core_entry){0};
}

more_status core_config_section(const char *where, const char *name, const core_section **section, more_error *error)
{
    char shown[SHOWN];
    *section = core_section_find(name);
    if (*section)
        return MORE_OK;
    core_suggest nearest = core_suggest_for(name);
    core_buffer names = {0};
    const core_section *each;
    for (size_t i = 0; (each = core_section_at(i)); i++) {
        core_suggest_offer(&nearest, each->name);
        core_buffer_format(&names, "%s[%s]", i ? " " : "", each->name);
    }
    more_fail(error, MORE_ERROR_NOT_FOUND, "%s: unknown section [%s]%s; there are %s", where,
              core_printable(name, shown, sizeof shown), core_suggest_text(&nearest), names.size ? names.data : "none");
    core_buffer_free(&names);
    return MORE_ERROR_NOT_FOUND;
}

/* ---- Paths ------------------------------------------------------------------------------------------------------ */

char *core_config_resolve(const char *folder, const char *path)
{
    const char *home = getenv("HOME");
    if (path[0] == '~' && path[1] == '/' && home && *home)
        return core_path_join(home, path + 2);
    return *path ? core_path_join(folder, path) : strdup("");
}

static char *resolve_list(const char *folder, const char *list)
{
    core_buffer out = {0};
    core_buffer_append(&out, "", 0);
    for (;;) {
        size_t length = strcspn(list, ":");
        char *one = strndup(list, length), *path = one ? core_config_resolve(folder, one) : NULL;
        if (path)
            core_buffer_text(&out, path);
        else
            out.failed = 1;
        free(one);
        free(path);
        if (!list[length])
            return core_buffer_take(&out);
        core_buffer_text(&out, ":");
        list += length + 1;
    }
}

static bool names_a_file(const char *text)
{
    size_t length = strlen(text);
    return strchr(text, '/') || (length > 4 && !strcmp(text + length - 4, ".ini"));
}

static char *resolved_value(core_path_kind kind, const char *folder, const char *plain)
{
    if (kind == CORE_PATH_LIST)
        return resolve_list(folder, plain);
    if (kind == CORE_PATH_FILE || (kind == CORE_PATH_NAMED && names_a_file(plain) && !strchr(plain, '\n')))
        return core_config_resolve(folder, plain);
    return strdup(plain);
}

/* ---- Checking --------------------------------------------------------------------------------------------------- */

static more_status unknown_key(const core_config_source *source, const core_section *section, const char *key,
                               more_error *error)
{
    char shown[SHOWN];
    core_suggest nearest = core_suggest_for(key);
    core_buffer names = {0};
    for (int32_t i = 0; i < section->count; i++) {
        core_suggest_offer(&nearest, section->keys[i].name);
        core_buffer_format(&names, "%s%s", i ? ", " : "", section->keys[i].name);
    }
    more_fail(error, MORE_ERROR_NOT_FOUND, "%s: [%s] has no key '%s'%s; there are: %s%s", source->where, section->name,
              core_printable(key, shown, sizeof shown), core_suggest_text(&nearest), names.size ? names.data : "none",
              section->plugin_kind ? ", and those of its plugin" : "");
    core_buffer_free(&names);
    return MORE_ERROR_NOT_FOUND;
}

/* *plain becomes what the text says, quotes off; the type of *value stays 0 for a plugin's key, whose table we do not
 * have yet. */
static more_status check_value(const core_section *section, const char *key, const char *text, more_value *value,
                               char **plain, more_error *error)
{
    static const more_option any = {.type = MORE_STRING};
    const more_option *option = core_option_find(section->keys, section->count, key);
    more_status status = core_option_value(option ? option : &any, text, value, plain, error);
    if (!option)
        value->type = 0;
    if (status == MORE_OK && !*plain && !(*plain = strdup(text)))
        status = more_fail(error, MORE_ERROR_MEMORY, "does not fit in memory");
    return status;
}

static more_status fill(core_entry *entry, const core_config_source *source, const core_section *section,
                        const char *key, const char *text, const char *plain)
{
    entry->shown.section = section->name;
    entry->shown.key = strdup(key);
    entry->shown.text = strdup(text);
    entry->shown.value = resolved_value(core_key_path(section->name, key), source->folder, plain);
    entry->shown.where = strdup(source->where);
    entry->shown.folder = strdup(source->folder);
    entry->shown.rank = source->rank;
    if (entry->value.type == MORE_STRING)
        entry->value.as.s = entry->shown.value;
    const core_config_entry *shown = &entry->shown;
    return shown->key && shown->text && shown->value && shown->where && shown->folder ? MORE_OK : MORE_ERROR_MEMORY;
}

static more_status put_entry(core_config *config, core_entry *entry)
{
    for (size_t i = 0; i < config->count; i++) {
        core_entry *old = &config->entries[i];
        if (strcmp(old->shown.section, entry->shown.section) || strcmp(old->shown.key, entry->shown.key))
            continue;
        core_entry loser = *entry;
        if (entry->shown.rank >= old->shown.rank) {
            loser = *old;
            *old = *entry;
        }
        core_entry_free(&loser);
        return MORE_OK;
    }
    if (config->count == CORE_CONFIG_KEYS)
        return MORE_ERROR_MEMORY;
    core_entry *entries = realloc(config->entries, (config->count + 1) * sizeof *entries);
    if (!entries)
        return MORE_ERROR_MEMORY;
    config->entries = entries;
    config->entries[config->count++] = *entry;
    return MORE_OK;
}

more_status core_config_put(core_config *config, const core_config_source *source, const char *section, const char *key,
                            const char *text, more_error *error)
{
    const core_section *known;
    more_error reason = {{0}};
    core_entry entry = {0};
    char *plain = NULL;
    more_status status = core_config_section(source->where, section, &known, error);
    if (status != MORE_OK)
        return status;
    if (!core_option_find(known->keys, known->count, key) && !(known->plugin_kind && core_is_name(key)))
        return unknown_key(source, known, key, error);
    status = check_value(known, key, text, &entry.value, &plain, &reason);
    if (status != MORE_OK)
        return more_fail(error, status, "%s: [%s] %s %s", source->where, section, key, reason.message);
    status = fill(&entry, source, known, key, text, plain);
    free(plain);
    if (status == MORE_OK)
        status = put_entry(config, &entry);
    if (status != MORE_OK) {
        core_entry_free(&entry);
        return more_fail(error, status, "%s: no room for key '%s': out of memory, or more than %d keys", source->where,
                         key, CORE_CONFIG_KEYS);
    }
    return MORE_OK;
}
