/* SPDX-License-Identifier: Apache-2.0 */
#include "text/template.h"

#include "base/file.h"
#include "text/template_data.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATE_LIMIT ((size_t)1 << 20) /* bytes of a template file */

const char *core_text_list_at(const core_text_list *list, size_t index)
{
    const char *at = list->texts.data, *end = at ? at + list->texts.size : NULL;
    while (index-- && at < end)
        at += strlen(at) + 1;
    return at < end ? at : NULL;
}

const char *core_template_get(const core_template *loaded, core_template_text which)
{
    return loaded->texts[which] ? loaded->texts[which] : "";
}

void core_template_destroy(core_template *loaded)
{
    if (!loaded)
        return;
    core_template_clear(loaded);
    free(loaded);
}

void core_template_clear(core_template *loaded)
{
    for (int i = 0; i < CORE_TEXT_COUNT; i++)
        free(loaded->texts[i]);
    core_buffer_free(&loaded->stops.texts);
    core_buffer_free(&loaded->aliases.texts);
    free(loaded->name);
    *loaded = (core_template){0};
}

static more_status out_of_memory(const char *source, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "template '%.100s': out of memory", source);
}

/* A template of this text; `where` is the file for messages, `name` becomes the template's. */
static more_status from_text(const char *text, size_t size, const char *where, const char *name, size_t name_size,
                             const char *compat, core_template **result, more_error *error)
{
    core_template *t = calloc(1, sizeof *t);
    if (!t || !(t->name = strndup(name, name_size))) {
        free(t);
        return out_of_memory(where, error);
    }
    more_status status = core_template_parse(text, size, where, compat, t, error);
    if (status == MORE_OK)
        *result = t;
    else
        core_template_destroy(t);
    return status;
}

static size_t without_ending(const char *name)
{
    size_t size = strlen(name);
    return size > 4 && !strcmp(name + size - 4, ".ini") ? size - 4 : size;
}

static more_status from_file(const char *path, const char *compat, core_template **result, more_error *error)
{
    core_buffer text = {0};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    more_status status = core_file_read(path, TEMPLATE_LIMIT, &text, error);
    if (status == MORE_OK)
        status = from_text(text.data, text.size, path, name, without_ending(name), compat, result, error);
    core_buffer_free(&text);
    return status;
}

static bool has_alias(const core_template *t, const char *name)
{
    const char *alias;
    for (size_t i = 0; (alias = core_text_list_at(&t->aliases, i)); i++)
        if (!strcmp(alias, name))
            return true;
    return false;
}

static int is_template(const struct dirent *entry)
{
    return without_ending(entry->d_name) < strlen(entry->d_name);
}

/* One file of the folder: is it called so? Adds its names to `names`. */
static more_status try_file(const char *folder, const char *file, const char *wanted, const char *compat,
                            core_buffer *names, core_template **result, more_error *error)
{
    core_template *t = NULL;
    const char *alias;
    char *path = core_path_join(folder, file);
    more_status status = path ? from_file(path, compat, &t, error) : out_of_memory(file, error);
    free(path);
    if (status != MORE_OK)
        return status;
    core_buffer_format(names, "%s%s", names->size ? ", " : "", t->name);
    for (size_t i = 0; (alias = core_text_list_at(&t->aliases, i)); i++)
        core_buffer_format(names, ", %s", alias);
    if (!strcmp(t->name, wanted) || has_alias(t, wanted))
        *result = t;
    else
        core_template_destroy(t);
    return MORE_OK;
}

static more_status from_folder(const char *folder, const char *name, const char *compat, core_template **result,
                               more_error *error)
{
    struct dirent **entries = NULL;
    core_buffer names = {0};
    more_status status = MORE_OK;
    int count = scandir(folder, &entries, is_template, alphasort);
    for (int i = 0; i < count; i++) {
        if (status == MORE_OK && !*result)
            status = try_file(folder, entries[i]->d_name, name, compat, &names, result, error);
        free(entries[i]);
    }
    free(entries);
    if (status == MORE_OK && !*result)
        status = more_fail(error, MORE_ERROR_NOT_FOUND, "no template '%.100s' in %s; there %s %s", name, folder,
                           names.size ? "are" : "is", names.size ? names.data : "none");
    core_buffer_free(&names);
    return status;
}

static more_status load(const char *source, const char *folder, const char *compat, core_template **result,
                        more_error *error)
{
    if (strchr(source, '\n'))
        return from_text(source, strlen(source), "inline template", "inline", 6, compat, result, error);
    if (strchr(source, '/') || without_ending(source) < strlen(source))
        return from_file(source, compat, result, error);
    core_buffer file = {0};
    core_buffer_format(&file, "%s.ini", source);
    char *path = file.failed ? NULL : core_path_join(folder, file.data);
    core_buffer_free(&file);
    if (!path)
        return out_of_memory(source, error);
    more_status status = core_file_exists(path) ? from_file(path, compat, result, error)
                                                : from_folder(folder, source, compat, result, error);
    free(path);
    return status;
}

more_status core_template_load(const char *source, const char *folder, const char *compat, core_template **result,
                               more_error *error)
{
    *result = NULL;
    more_status status = load(source, folder, compat, result, error);
    if (status != MORE_OK || !compat || (*result)->has_compat)
        return status;
    status =
        more_fail(error, MORE_ERROR_UNSUPPORTED,
                  "template '%s' has no section [%s], which says how its prompts differ there; add one, or set [llm] "
                  "prompt_compat = none",
                  (*result)->name, compat);
    core_template_destroy(*result);
    *result = NULL;
    return status;
}

const char *core_template_name(const core_template *loaded)
{
    return loaded->name;
}

const char *core_template_description(const core_template *loaded)
{
    return core_template_get(loaded, CORE_TEXT_DESCRIPTION);
}

const char *core_template_system(const core_template *loaded)
{
    return loaded->texts[CORE_TEXT_SYSTEM];
}

const char *core_template_stop(const core_template *loaded, size_t index)
{
    return core_text_list_at(&loaded->stops, index);
}

more_status core_template_stop_ids(const core_template *loaded, const core_tokenizer *tokenizer, core_ids *ids,
                                   more_error *error)
{
    const char *stop;
    for (size_t i = 0; (stop = core_template_stop(loaded, i)); i++) {
        int32_t id = core_tokenizer_id(tokenizer, stop);
        if (id >= 0)
            core_ids_push(ids, id);
    }
    return ids->failed ? out_of_memory(loaded->name, error) : MORE_OK;
}
