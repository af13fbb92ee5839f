/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/layout.h"

#include "base/file.h"
#include "base/json.h"
#include "weights/checkpoint.h"
#include "weights/layout_values.h"
#include "weights/view.h"
#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ALTERNATIVES 16 /* words of one value, like prefixes */
#define FILE_LIMIT ((size_t)1 << 20)

typedef struct entry {
    char *section, *key, *value;
} entry;

struct core_layout {
    char *path, *name;
    long score;
    entry *entries; /* in the file's order */
    size_t count;
    bool failed; /* out of memory while reading */
};

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

static int take_entry(void *user, const char *section, const char *key, const char *value)
{
    core_layout *layout = user;
    entry *grown = realloc(layout->entries, (layout->count + 1) * sizeof *grown);
    if (!grown) {
        layout->failed = true;
        return 0;
    }
    layout->entries = grown;
    entry *here = &grown[layout->count++];
    *here = (entry){strdup(section), strdup(key), strdup(value)};
    if (!here->section || !here->key || !here->value)
        layout->failed = true;
    return !layout->failed;
}

/* The first value of a key; NULL when absent. */
static const char *value_of(const core_layout *layout, const char *section, const char *key)
{
    for (size_t i = 0; i < layout->count; i++)
        if (!strcmp(layout->entries[i].section, section) && !strcmp(layout->entries[i].key, key))
            return layout->entries[i].value;
    return NULL;
}

static bool is_match_section(const char *section)
{
    return !strncmp(section, "match", 5) && (!section[5] || section[5] == '.');
}

static bool is_part(const char *section)
{
    return !strcmp(section, "vision") || !strcmp(section, "projector") || !strcmp(section, "language");
}

/* "PART.defaults" and "PART.defaults.MODEL_TYPE"; the same of "processor". */
static bool is_defaults(const char *section)
{
    const char *dot = strchr(section, '.');
    char part[16];
    snprintf(part, sizeof part, "%.*s", dot ? (int)(dot - section) : 0, section);
    size_t length = !dot ? 0 : !strncmp(dot, ".defaults", 9) ? 9 : !strncmp(dot, ".processor", 10) ? 10 : 0;
    return length && is_part(part) && (!dot[length] || (dot[length] == '.' && dot[length + 1]));
}

static bool is_known(const entry *here)
{
    if (!strcmp(here->section, "layout"))
        return !strcmp(here->key, "name") || !strcmp(here->key, "description") || !strcmp(here->key, "score") ||
               !strcmp(here->key, "extends");
    if (is_part(here->section))
        return !strcmp(here->key, "prefix") || !strcmp(here->key, "exclude") || !strcmp(here->key, "rename") ||
               !strcmp(here->key, "config");
    return is_match_section(here->section) || !strcmp(here->section, "settings") || is_defaults(here->section);
}

static more_status check(core_layout *layout, more_error *error)
{
    const char *score = value_of(layout, "layout", "score"), *name = value_of(layout, "layout", "name");
    char *end = NULL;
    for (size_t i = 0; i < layout->count; i++)
        if (!is_known(&layout->entries[i]))
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: [%s] %s is not a key of a layout", layout->path,
                             layout->entries[i].section, layout->entries[i].key);
    if (!name || !*name)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: [layout] name is missing", layout->path);
    layout->score = score ? strtol(score, &end, 10) : 0;
    if (!end || end == score || *end || layout->score < 1 || layout->score > 100)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: [layout] score must be a number from 1 to 100, not '%s'",
                         layout->path, score ? score : "");
    layout->name = strdup(name);
    return layout->name ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", layout->path);
}

/* Adds the entries of one file. */
static more_status read_file(const char *path, core_layout *layout, more_error *error)
{
    core_buffer text = {0};
    more_status status = core_file_read(path, FILE_LIMIT, &text, error);
    int line = status == MORE_OK ? ini_parse_string(text.data ? text.data : "", take_entry, layout) : 0;
    core_buffer_free(&text);
    if (layout->failed || line < 0)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
    if (line > 0)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s:%d: is neither [section] nor key = value", path, line);
    return status;
}

/* What the layout beside it that it extends says counts behind its own. */
static more_status read_base(core_layout *layout, more_error *error)
{
    const char *base = value_of(layout, "layout", "extends");
    char *folder = base ? core_path_folder(layout->path) : NULL;
    core_buffer path = {0};
    if (!base)
        return MORE_OK;
    core_buffer_format(&path, "%s/%s.ini", folder ? folder : ".", base);
    more_status status = path.failed || !folder ? more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", layout->path)
                                                : read_file(path.data, layout, error);
    core_buffer_free(&path);
    free(folder);
    return status;
}

more_status core_layout_read(const char *path, core_layout **layout, more_error *error)
{
    core_layout *read = calloc(1, sizeof *read);
    *layout = NULL;
    if (read)
        read->path = strdup(path);
    more_status status = read && read->path ? read_file(path, read, error)
                                            : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
    if (status == MORE_OK)
        status = read_base(read, error);
    if (status == MORE_OK)
        status = check(read, error);
    if (status == MORE_OK)
        *layout = read;
    else
        core_layout_free(read);
    return status;
}

void core_layout_free(core_layout *layout)
{
    if (!layout)
        return;
    for (size_t i = 0; i < layout->count; i++) {
        free(layout->entries[i].section);
        free(layout->entries[i].key);
        free(layout->entries[i].value);
    }
    free(layout->entries);
    free(layout->name);
    free(layout->path);
    free(layout);
}

const char *core_layout_name(const core_layout *layout)
{
    return layout->name;
}

const char *core_layout_description(const core_layout *layout)
{
    const char *text = value_of(layout, "layout", "description");
    return text ? text : "";
}

/* ---- Matching --------------------------------------------------------------------------------------------------- */

/* Splits "a|b|c" in a copy that the caller frees; blanks around words stay. */
static char *split(const char *text, const char **words, int32_t *count)
{
    char *copy = strdup(text);
    *count = 0;
    for (char *word = copy; word && *count < MAX_ALTERNATIVES;) {
        char *bar = strchr(word, '|');
        words[(*count)++] = word;
        if (bar)
            *bar++ = '\0';
        word = bar;
    }
    return copy;
}

static bool has_tensor(more_checkpoint *checkpoint, const char *const *prefixes, int32_t count)
{
    const more_weights_service *weights = core_weights_service();
    for (int64_t i = 0; i < weights->count(checkpoint); i++)
        for (int32_t k = 0; k < count; k++)
            if (core_name_without(weights->name_at(checkpoint, i), prefixes[k]))
                return true;
    return false;
}

/* True when one of the words, or what the config says at "config:KEY", is the text. */
static bool is_any(more_checkpoint *checkpoint, const char *text, const char *const *words, int32_t count)
{
    bool found = false;
    for (int32_t i = 0; i < count && text && !found; i++) {
        char *named = strncmp(words[i], "config:", 7) ? NULL : core_layout_config_text(checkpoint, words[i] + 7);
        found = !strcmp(named ? named : words[i], text);
        free(named);
    }
    return found;
}

static bool condition_holds(more_checkpoint *checkpoint, const entry *condition)
{
    const char *words[MAX_ALTERNATIVES];
    int32_t count;
    bool of_rows = !strncmp(condition->key, "@rows.", 6), holds;
    json_t *value = of_rows ? core_layout_rows(checkpoint, condition->key + 6)
                            : json_incref(core_json_at(core_checkpoint_config(checkpoint), condition->key));
    char *copy = split(condition->value, words, &count), *text = core_layout_text(value);
    if (!strcmp(condition->value, "-") || !strcmp(condition->value, "*"))
        holds = (value != NULL) == (condition->value[0] == '*');
    else if (!strcmp(condition->key, "@tensors"))
        holds = has_tensor(checkpoint, words, count);
    else
        holds = is_any(checkpoint, text, words, count);
    json_decref(value);
    free(text);
    free(copy);
    return holds;
}

bool core_layout_matches(const core_layout *layout, more_checkpoint *checkpoint)
{
    for (size_t i = 0; i < layout->count; i++) {
        const char *section = layout->entries[i].section;
        bool first = is_match_section(section), all = true;
        for (size_t k = 0; k < i && first; k++)
            first = strcmp(layout->entries[k].section, section) != 0;
        for (size_t k = i; k < layout->count && first && all; k++)
            if (!strcmp(layout->entries[k].section, section))
                all = condition_holds(checkpoint, &layout->entries[k]);
        if (first && all)
            return true;
    }
    return false;
}

/* ---- Finding ---------------------------------------------------------------------------------------------------- */

static int is_layout_file(const struct dirent *item)
{
    size_t length = strlen(item->d_name);
    return item->d_name[0] != '.' && length > 4 && !strcmp(item->d_name + length - 4, ".ini");
}

/* Keeps the candidate where it matches with a higher score; frees the loser. */
static void keep_better(core_layout **best, core_layout *candidate, more_checkpoint *checkpoint)
{
    if (core_layout_matches(candidate, checkpoint) && (!*best || candidate->score > (*best)->score)) {
        core_layout *loser = *best;
        *best = candidate;
        candidate = loser;
    }
    core_layout_free(candidate);
}

more_status core_layout_find(const char *folder, more_checkpoint *checkpoint, core_layout **layout, more_error *error)
{
    struct dirent **items = NULL;
    core_buffer tried = {0};
    more_status status = MORE_OK;
    *layout = NULL;
    int count = scandir(folder, &items, is_layout_file, alphasort);
    if (count < 0)
        return more_fail(error, errno == ENOENT ? MORE_ERROR_NOT_FOUND : MORE_ERROR_IO,
                         "%s: cannot read the folder of layouts: %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        core_layout *candidate = NULL;
        char *path = core_path_join(folder, items[i]->d_name);
        if (status == MORE_OK)
            status = path ? core_layout_read(path, &candidate, error)
                          : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", folder);
        if (candidate) {
            core_buffer_format(&tried, "%s%s", tried.size ? ", " : "", candidate->name);
            keep_better(layout, candidate, checkpoint);
        }
        free(path);
        free(items[i]);
    }
    free(items);
    if (status == MORE_OK && !*layout) {
        const char *key = core_checkpoint_is_gguf(checkpoint) ? "general.architecture" : "model_type";
        char *type = core_layout_config_text(checkpoint, key);
        status = more_fail(error, MORE_ERROR_NOT_FOUND, "%s: no layout fits (%s %.60s); tried %.400s; add one to %s",
                           core_weights_service()->path(checkpoint), key, type ? type : "missing",
                           tried.data ? tried.data : "none", folder);
        free(type);
    } else if (status != MORE_OK) {
        core_layout_free(*layout);
        *layout = NULL;
    }
    core_buffer_free(&tried);
    return status;
}

/* ---- Settings and parts ----------------------------------------------------------------------------------------- */

bool core_layout_has_part(const core_layout *layout, const char *part)
{
    return is_part(part) && value_of(layout, part, "prefix") != NULL;
}

char *core_layout_setting(const core_layout *layout, more_checkpoint *checkpoint, const char *key)
{
    for (size_t i = 0; i < layout->count; i++) {
        const entry *here = &layout->entries[i];
        if (strcmp(here->section, "settings") || strcmp(here->key, key))
            continue;
        char *value = core_layout_value_text(checkpoint, here->value);
        if (value)
            return value;
    }
    return NULL;
}

/* Sets a dotted key, whose first part is then an object; takes the value over, NULL does nothing. */
static void put(json_t *object, const char *key, json_t *value)
{
    const char *dot = strchr(key, '.');
    char *group = dot ? strndup(key, (size_t)(dot - key)) : NULL;
    json_t *inner = group ? json_object_get(object, group) : NULL;
    if (group && value && !inner) {
        inner = json_object();
        json_object_set_new(object, group, inner);
    }
    if (value)
        json_object_set_new(dot ? inner : object, dot ? dot + 1 : key, value);
    free(group);
}

/* Gives `object` the keys of one section that it lacks; of a key that stands several times the first with a value. */
static void read_section(const core_layout *layout, const char *section, more_checkpoint *checkpoint, json_t *object)
{
    for (size_t i = 0; i < layout->count; i++) {
        const entry *here = &layout->entries[i];
        if (!strcmp(here->section, section) && !core_json_at(object, here->key))
            put(object, here->key, core_layout_value_json(checkpoint, here->value));
    }
}

/* What PART.KIND says, then PART.KIND.TYPE for the view's model_type under the first; NULL without memory. */
static json_t *read_sections(const core_layout *layout, more_checkpoint *checkpoint, const char *part, const char *kind,
                             more_checkpoint *view)
{
    json_t *object = json_object();
    core_buffer section = {0};
    core_buffer_format(&section, "%s.%s", part, kind);
    if (!section.failed)
        read_section(layout, section.data, checkpoint, object);
    char *type = core_layout_config_text(view, "model_type");
    if (!type)
        type = core_layout_text(json_object_get(object, "model_type"));
    core_buffer_format(&section, ".%s", type ? type : "");
    if (!section.failed)
        read_section(layout, section.data, checkpoint, object);
    free(type);
    core_buffer_free(&section);
    return object;
}

/* Puts PART.defaults under the view's metadata, and gives it the image processor of PART.processor. */
static more_status add_defaults(const core_layout *layout, more_checkpoint *checkpoint, const char *part,
                                more_checkpoint *view, more_error *error)
{
    more_status status = MORE_OK;
    json_t *defaults = read_sections(layout, checkpoint, part, "defaults", view), *processor = NULL;
    if (json_object_size(defaults))
        status = core_checkpoint_add_defaults(view, defaults, error);
    if (status == MORE_OK)
        processor = read_sections(layout, checkpoint, part, "processor", view);
    if (json_object_size(processor))
        core_checkpoint_set_processor(view, processor);
    if (status == MORE_OK && (!defaults || !processor))
        status = more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", layout->path);
    json_decref(defaults);
    json_decref(processor);
    return status;
}

/* A list of words of a part's section: a copy to free, NULL where the key is absent or memory is. */
static char *words_of(const core_layout *layout, const char *part, const char *key, const char **words, int32_t *count)
{
    const char *value = value_of(layout, part, key);
    *count = 0;
    return value ? split(value, words, count) : NULL;
}

more_status core_layout_part(const core_layout *layout, more_checkpoint *checkpoint, const char *part,
                             more_checkpoint **view, more_error *error)
{
    const char *prefixes[MAX_ALTERNATIVES], *excludes[MAX_ALTERNATIVES], *renames[MAX_ALTERNATIVES];
    core_view wanted = {.prefixes = prefixes, .excludes = excludes, .renames = renames};
    *view = NULL;
    if (!core_layout_has_part(layout, part))
        return more_fail(error, MORE_ERROR_NOT_FOUND, "%s: layout %s has no %s part",
                         core_weights_service()->path(checkpoint), layout->name, part);
    char *prefix_copy = words_of(layout, part, "prefix", prefixes, &wanted.prefix_count);
    char *exclude_copy = words_of(layout, part, "exclude", excludes, &wanted.exclude_count);
    char *rename_copy = words_of(layout, part, "rename", renames, &wanted.rename_count);
    wanted.config_root = value_of(layout, part, "config");
    bool whole = prefix_copy && (exclude_copy || !value_of(layout, part, "exclude")) &&
                 (rename_copy || !value_of(layout, part, "rename"));
    more_status status = whole ? core_checkpoint_view(checkpoint, &wanted, view, error)
                               : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", layout->path);
    if (status == MORE_OK)
        status = add_defaults(layout, checkpoint, part, *view, error);
    if (status != MORE_OK) {
        core_checkpoint_release(*view);
        *view = NULL;
    }
    free(prefix_copy);
    free(exclude_copy);
    free(rename_copy);
    return status;
}
