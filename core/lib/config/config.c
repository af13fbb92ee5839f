/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include "base/file.h"
#include "config/entries.h"
#include "config/ini.h"
#include "plugin/value.h"
#include <stdlib.h>
#include <string.h>

#define INCLUDE_KEY "include"

typedef struct given_key {
    char section[CORE_INI_NAME + 1], key[CORE_INI_NAME + 1];
    int line;
} given_key;

/* One INI text being read; `parent` includes it. */
typedef struct ini_file {
    core_config *config;
    const struct ini_file *parent;
    const char *name;    /* for messages */
    const char *folder;  /* of the file; NULL = it may include nothing */
    const char *real;    /* canonical path, to find circles; NULL for none */
    const char *section; /* of lines without a header; NULL = they need one */
    int rank, depth;
    given_key *given;
    size_t given_count;
} ini_file;

static more_status read_file(core_config *config, const char *path, const ini_file *parent, more_error *error);

more_status core_config_create(core_config **config, more_error *error)
{
    *config = calloc(1, sizeof **config);
    return *config ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory for the settings");
}

void core_config_destroy(core_config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->count; i++)
        core_entry_free(&config->entries[i]);
    free(config->entries);
    free(config);
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

static more_status include(const ini_file *file, const char *where, const char *text, more_error *error)
{
    static const more_option any = {.type = MORE_STRING};
    more_value value;
    char *plain = NULL;
    more_error reason = {{0}};
    if (!file->folder || file->rank != CORE_FROM_FILE)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: include is not possible here", where);
    more_status status = core_option_value(&any, text, &value, &plain, &reason);
    if (status != MORE_OK)
        return more_fail(error, status, "%s: include %s", where, reason.message);
    char *path = core_config_resolve(file->folder, plain);
    if (!*plain)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "%s: include names no file", where);
    else if (!path)
        status = more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", where);
    else if (!core_file_exists(path))
        status = more_fail(error, MORE_ERROR_NOT_FOUND, "%s: include: there is no file '%s'", where, path);
    else
        status = read_file(file->config, path, file, error);
    free(plain);
    free(path);
    return status;
}

static more_status refuse_second(ini_file *file, const char *where, const char *section, const char *key, int line,
                                 more_error *error)
{
    for (size_t i = 0; i < file->given_count; i++)
        if (!strcmp(file->given[i].section, section) && !strcmp(file->given[i].key, key))
            return more_fail(error, MORE_ERROR_ARGUMENT, "%s: [%s] %s is given already in line %d; remove one", where,
                             section, key, file->given[i].line);
    given_key *given = realloc(file->given, (file->given_count + 1) * sizeof *given);
    if (!given)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", where);
    file->given = given;
    given += file->given_count++;
    snprintf(given->section, sizeof given->section, "%s", section);
    snprintf(given->key, sizeof given->key, "%s", key);
    given->line = line;
    return MORE_OK;
}

static more_status take_key(ini_file *file, const char *where, const char *section, const char *key, const char *text,
                            int line, more_error *error)
{
    const core_section *known;
    char shown[64];
    if (!key) {
        if (file->section)
            return more_fail(error, MORE_ERROR_ARGUMENT, "%s: no section header is possible here", where);
        return core_config_section(where, section, &known, error);
    }
    if (!strcmp(key, INCLUDE_KEY))
        return include(file, where, text, error);
    if (file->section)
        section = file->section;
    if (!*section)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: key '%s' stands before any [section]", where,
                         core_printable(key, shown, sizeof shown));
    core_config_source source = {where, file->folder ? file->folder : "", file->rank};
    more_status status = core_config_put(file->config, &source, section, key, text, error);
    return status == MORE_OK ? refuse_second(file, where, section, key, line, error) : status;
}

static more_status on_key(void *user, const char *section, const char *key, const char *text, int line,
                          more_error *error)
{
    ini_file *file = user;
    core_buffer where = {0};
    if (file->rank == CORE_FROM_CHECKPOINT)
        core_buffer_text(&where, file->name);
    else
        core_buffer_format(&where, "%s:%d", file->name, line);
    more_status status = MORE_ERROR_MEMORY;
    if (where.failed)
        more_fail(error, status, "%s: out of memory", file->name);
    else
        status = take_key(file, where.data, section, key, text, line, error);
    core_buffer_free(&where);
    return status;
}

static more_status read_text(ini_file *file, const char *text, size_t size, more_error *error)
{
    more_status status;
    if (size > CORE_CONFIG_LIMIT)
        status = more_fail(error, MORE_ERROR_MEMORY, "%s: %zu bytes; an INI file may have %zu", file->name, size,
                           CORE_CONFIG_LIMIT);
    else
        status = core_ini_parse(text, size, file->name, on_key, file, error);
    free(file->given);
    return status;
}

/* ---- Files ------------------------------------------------------------------------------------------------------ */

static more_status refuse_circle(const ini_file *file, more_error *error)
{
    const ini_file *above = file->parent;
    while (above && !(above->real && file->real && !strcmp(above->real, file->real)))
        above = above->parent;
    if (!above && file->depth <= CORE_CONFIG_DEPTH)
        return MORE_OK;
    core_buffer chain = {0}, longer = {0};
    for (const ini_file *each = file; each && chain.size < MORE_ERROR_SIZE / 2; each = each->parent) {
        core_buffer_clear(&longer);
        core_buffer_format(&longer, "%s%s%s", each->name, chain.size ? " -> " : "", chain.size ? chain.data : "");
        core_buffer_clear(&chain);
        core_buffer_text(&chain, longer.data ? longer.data : "");
    }
    const char *text = chain.data ? chain.data : file->name;
    more_status status =
        above ? more_fail(error, MORE_ERROR_ARGUMENT, "%s: includes go in a circle: %s", file->name, text)
              : more_fail(error, MORE_ERROR_MEMORY, "%s: more than %d files include one another: %s", file->name,
                          CORE_CONFIG_DEPTH, text);
    core_buffer_free(&chain);
    core_buffer_free(&longer);
    return status;
}

static more_status read_file(core_config *config, const char *path, const ini_file *parent, more_error *error)
{
    bool input = !strcmp(path, "-");
    core_buffer text = {0};
    char *folder = strchr(path, '/') ? core_path_folder(path) : strdup("");
    char *real = input ? NULL : realpath(path, NULL);
    ini_file file = {.config = config,
                     .parent = parent,
                     .name = input ? "standard input" : path,
                     .folder = folder,
                     .real = real,
                     .rank = CORE_FROM_FILE,
                     .depth = parent ? parent->depth + 1 : 1};
    more_status status = MORE_ERROR_MEMORY;
    if (!folder)
        more_fail(error, status, "%s: out of memory", path);
    else if (config->files++ >= CORE_CONFIG_FILES)
        status = more_fail(error, status, "%s: more than %d files are included", path, CORE_CONFIG_FILES);
    else
        status = refuse_circle(&file, error);
    if (status == MORE_OK)
        status = core_file_read(path, CORE_CONFIG_LIMIT, &text, error);
    if (status == MORE_OK)
        status = read_text(&file, text.data, text.size, error);
    core_buffer_free(&text);
    free(folder);
    free(real);
    return status;
}

more_status core_config_load(core_config *config, const char *path, more_error *error)
{
    return read_file(config, path, NULL, error);
}

more_status core_config_parse(core_config *config, const char *text, size_t size, const char *name, const char *folder,
                              more_error *error)
{
    ini_file file = {.config = config, .name = name, .folder = folder, .rank = CORE_FROM_FILE, .depth = 1};
    return read_text(&file, text, size, error);
}

more_status core_config_settings(core_config *config, const char *section, const char *text, const char *origin,
                                 more_error *error)
{
    ini_file file = {.config = config, .name = origin, .section = section, .rank = CORE_FROM_CHECKPOINT, .depth = 1};
    return read_text(&file, text, strlen(text), error);
}

/* ---- --set ------------------------------------------------------------------------------------------------------ */

static char *trimmed(const char *begin, const char *end)
{
    while (begin < end && strchr(" \t", *begin))
        begin++;
    while (end > begin && strchr(" \t", end[-1]))
        end--;
    return strndup(begin, (size_t)(end - begin));
}

static bool has_control_byte(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < ' ' && *text != '\n' && *text != '\t') || *text == 0x7f)
            return true;
    return false;
}

more_status core_config_set(core_config *config, const char *assignment, more_error *error)
{
    char shown[128];
    const char *equals = strchr(assignment, '=');
    const char *dot = equals ? memchr(assignment, '.', (size_t)(equals - assignment)) : NULL;
    if (!dot || has_control_byte(assignment))
        return more_fail(error, MORE_ERROR_ARGUMENT, "--set %s: expected section.key=value, as in generate.seed=1",
                         core_printable(assignment, shown, sizeof shown));
    char *section = trimmed(assignment, dot), *key = trimmed(dot + 1, equals);
    char *text = trimmed(equals + 1, equals + strlen(equals));
    core_config_source source = {"--set", "", CORE_FROM_COMMAND};
    more_status status;
    if (key && !strcmp(key, INCLUDE_KEY))
        status = more_fail(error, MORE_ERROR_ARGUMENT, "--set: include is possible in INI files only");
    else if (section && key && text)
        status = core_config_put(config, &source, section, key, text, error);
    else
        status = more_fail(error, MORE_ERROR_MEMORY, "--set: out of memory");
    free(section);
    free(key);
    free(text);
    return status;
}

/* ---- Asking ----------------------------------------------------------------------------------------------------- */

const core_config_entry *core_config_find(const core_config *config, const char *section, const char *key)
{
    for (size_t i = 0; i < config->count; i++) {
        const core_config_entry *entry = &config->entries[i].shown;
        if (!strcmp(entry->section, section) && !strcmp(entry->key, key))
            return entry;
    }
    return NULL;
}

more_value core_config_value(const core_config *config, const char *section, const char *key)
{
    more_value value = {0};
    for (size_t i = 0; i < config->count; i++) {
        const core_entry *entry = &config->entries[i];
        if (!strcmp(entry->shown.section, section) && !strcmp(entry->shown.key, key))
            return entry->value;
    }
    const core_section *known = core_section_find(section);
    const more_option *option = known ? core_option_find(known->keys, known->count, key) : NULL;
    if (option)
        (void)core_value_parse(option->type, option->default_value, &value, NULL);
    return value;
}

const char *core_config_string(const core_config *config, const char *section, const char *key)
{
    more_value value = core_config_value(config, section, key);
    return value.type == MORE_STRING ? value.as.s : NULL;
}

int64_t core_config_int64(const core_config *config, const char *section, const char *key)
{
    more_value value = core_config_value(config, section, key);
    return value.type == MORE_INT64 ? value.as.i : 0;
}

double core_config_double(const core_config *config, const char *section, const char *key)
{
    more_value value = core_config_value(config, section, key);
    return value.type == MORE_DOUBLE ? value.as.f : 0;
}

bool core_config_bool(const core_config *config, const char *section, const char *key)
{
    more_value value = core_config_value(config, section, key);
    return value.type == MORE_BOOL && value.as.i;
}

more_status core_config_plugin_options(const core_config *config, const char *section, const more_plugin *plugin,
                                       core_options *options, more_error *error)
{
    const core_section *known;
    *options = (core_options){0};
    more_status status = core_config_section("settings", section, &known, error);
    if (status != MORE_OK)
        return status;
    core_option_text *texts = calloc(config->count + 1, sizeof *texts);
    if (!texts)
        return more_fail(error, MORE_ERROR_MEMORY, "[%s]: out of memory", section);
    size_t count = 0;
    for (size_t i = 0; i < config->count; i++) {
        const core_config_entry *entry = &config->entries[i].shown;
        if (!strcmp(entry->section, section) && !core_option_find(known->keys, known->count, entry->key))
            texts[count++] = (core_option_text){entry->key, entry->text, entry->where};
    }
    status = core_options_parse(section, plugin->options, plugin->option_count, texts, count, known->keys, known->count,
                                options, error);
    free(texts);
    return status;
}

/* ---- Dump ------------------------------------------------------------------------------------------------------- */

static bool needs_quotes(const char *value)
{
    size_t length = strlen(value);
    if (!length || strchr("[;# \t", value[0]) || strchr(" \t", value[length - 1]) || strpbrk(value, "\"\n\t"))
        return true;
    return strstr(value, " ;") || strstr(value, " #");
}

/* `weights` is looked for relative to its file; a dump may lie anywhere: so what is there gets its whole path. */
static void append_place(const core_config_entry *entry, const char *place, core_buffer *value)
{
    char *path = core_config_resolve(entry->folder, place);
    core_buffer_text(value, path && (core_file_exists(path) || core_folder_exists(path)) ? path : place);
    free(path);
}

/* NULL without memory. */
static char *dumped_value(const core_config_entry *entry)
{
    core_path_kind kind = core_key_path(entry->section, entry->key);
    core_buffer value = {0};
    if (!entry->value[0] || (kind != CORE_PATH_WEIGHTS && kind != CORE_PATH_WEIGHTS_LIST))
        return strdup(entry->value);
    char *copy = strdup(entry->value), *rest = NULL;
    if (copy && kind == CORE_PATH_WEIGHTS)
        append_place(entry, copy, &value);
    for (char *one = copy && kind != CORE_PATH_WEIGHTS ? strtok_r(copy, ":", &rest) : NULL; one;
         one = strtok_r(NULL, ":", &rest)) {
        if (value.size)
            core_buffer_text(&value, ":");
        append_place(entry, one, &value);
    }
    bool failed = !copy;
    free(copy);
    if (!failed && value.data)
        return core_buffer_take(&value);
    core_buffer_free(&value);
    return failed ? NULL : strdup("");
}

static void dump_entry(const core_config_entry *entry, core_buffer *buffer)
{
    char shown[256];
    char *value = dumped_value(entry);
    core_buffer_format(buffer, "%s = ", entry->key);
    if (!value)
        buffer->failed = 1;
    else if (needs_quotes(value))
        core_quote(buffer, value);
    else
        core_buffer_text(buffer, value);
    core_buffer_format(buffer, "  # %s\n", core_printable(entry->where, shown, sizeof shown));
    free(value);
}

void core_config_dump(const core_config *config, core_buffer *buffer)
{
    const core_section *section;
    for (size_t i = 0; (section = core_section_at(i)); i++) {
        core_buffer_format(buffer, "%s[%s]\n", i ? "\n" : "", section->name);
        for (int32_t k = 0; k < section->count; k++) {
            const core_config_entry *entry = core_config_find(config, section->name, section->keys[k].name);
            if (entry)
                dump_entry(entry, buffer);
            else
                core_buffer_format(buffer, "# %s = %s\n", section->keys[k].name, section->keys[k].default_value);
        }
        for (size_t e = 0; e < config->count; e++) {
            const core_config_entry *entry = &config->entries[e].shown;
            if (!strcmp(entry->section, section->name) && !core_option_find(section->keys, section->count, entry->key))
                dump_entry(entry, buffer);
        }
    }
}
