/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/locate.h"

#include "base/file.h"
#include <stdlib.h>
#include <string.h>

#define SYNTHETIC "synthetic:"

static more_status no_memory(const char *text, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "weights = %s: out of memory", text);
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* The cache folder by the rules of huggingface_hub; NULL when not even HOME is set, or without memory. */
static char *cache_folder(void)
{
    static const struct {
        const char *variable, *below;
    } rules[] = {{"HF_HUB_CACHE", ""},
                 {"HUGGINGFACE_HUB_CACHE", ""},
                 {"HF_HOME", "/hub"},
                 {"XDG_CACHE_HOME", "/huggingface/hub"},
                 {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const char *value = variable(rules[i].variable), *home = variable("HOME");
        if (value) {
            core_buffer path = {0};
            bool at_home = home && value[0] == '~' && (!value[1] || value[1] == '/');
            core_buffer_format(&path, "%s%s%s", at_home ? home : "", at_home ? value + 1 : value, rules[i].below);
            return core_buffer_take(&path);
        }
    }
    return NULL;
}

/* True for "org/name": two words of letters, digits, '-', '_', '.', neither beginning with a point. */
static bool is_model_name(const char *text, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t org = strspn(text, letters);
    if (!org || text[0] == '.' || text[org] != '/' || text[org + 1] == '.')
        return false;
    size_t name = strspn(text + org + 1, letters);
    return name && org + 1 + name == length;
}

/* A revision is one path component of the cache: a branch, a tag or a commit. */
static bool is_revision(const char *text)
{
    return *text && *text != '.' && !strchr(text, '/');
}

/* The snapshot of a revision under `model` (the models--org--name folder): refs/REVISION holds the commit, or the
 * revision is the commit. */
static char *snapshot(const char *model, const char *revision)
{
    core_buffer reference = {0}, path = {0};
    core_buffer commit = {0};
    core_buffer_format(&path, "%s/refs/%s", model, revision);
    if (path.data && core_file_exists(path.data) && core_file_read(path.data, 4096, &commit, NULL) == MORE_OK)
        core_buffer_append(&reference, commit.data, strcspn(commit.data, " \r\n"));
    else
        core_buffer_text(&reference, revision);
    core_buffer_clear(&path);
    core_buffer_format(&path, "%s/snapshots/%s", model, reference.data ? reference.data : "");
    bool good = reference.data && is_revision(reference.data) && path.data && core_folder_exists(path.data);
    core_buffer_free(&reference);
    core_buffer_free(&commit);
    if (good)
        return core_buffer_take(&path);
    core_buffer_free(&path);
    return NULL;
}

/* Looks for "org/name[@revision]" in the cache; says in `looked` where. */
static char *find_in_cache(const char *text, core_buffer *looked)
{
    size_t length = strcspn(text, "@");
    const char *revision = text[length] ? text + length + 1 : "main";
    if (!is_model_name(text, length) || !is_revision(revision))
        return NULL;
    char *cache = cache_folder(), *found = NULL;
    if (!cache)
        return NULL;
    size_t org = strcspn(text, "/");
    core_buffer model = {0};
    core_buffer_format(&model, "%s/models--%.*s--%.*s", cache, (int)org, text, (int)(length - org - 1), text + org + 1);
    if (model.data) {
        found = snapshot(model.data, revision);
        core_buffer_format(looked, ", nor as revision %s of %s; to fetch it: hf download %.*s", revision, model.data,
                           (int)length, text);
        if (text[length])
            core_buffer_format(looked, " --revision %s", revision);
    }
    core_buffer_free(&model);
    free(cache);
    return found;
}

/* `text` as a path: relative to the base folder, ~/ resolved. */
static char *as_path(const char *text, const char *base_folder)
{
    const char *home = variable("HOME");
    return home && !strncmp(text, "~/", 2) ? core_path_join(home, text + 2) : core_path_join(base_folder, text);
}

static more_status locate_synthetic(const char *text, const char *base_folder, char **path, more_error *error)
{
    char *folder = as_path(text + strlen(SYNTHETIC), base_folder);
    core_buffer whole = {0};
    core_buffer_format(&whole, SYNTHETIC "%s", folder ? folder : "");
    *path = folder ? core_buffer_take(&whole) : NULL;
    core_buffer_free(&whole);
    free(folder);
    return *path ? MORE_OK : no_memory(text, error);
}

more_status core_weights_locate(const char *text, const char *base_folder, char **path, more_error *error)
{
    core_buffer looked = {0};
    *path = NULL;
    if (!*text)
        return more_fail(error, MORE_ERROR_ARGUMENT, "weights: is empty; give a folder, a file or org/name");
    if (!strncmp(text, SYNTHETIC, strlen(SYNTHETIC)))
        return locate_synthetic(text, base_folder, path, error);
    char *direct = strcmp(text, ".") ? as_path(text, base_folder) : strdup(*base_folder ? base_folder : ".");
    if (!direct)
        return no_memory(text, error);
    if (core_file_exists(direct) || core_folder_exists(direct)) {
        *path = direct;
        return MORE_OK;
    }
    core_buffer_format(&looked, "not at %s", direct);
    free(direct);
    *path = find_in_cache(text, &looked);
    more_status status = *path ? MORE_OK
                               : more_fail(error, MORE_ERROR_NOT_FOUND, "weights '%.200s' not found: %.700s", text,
                                           looked.data ? looked.data : "");
    core_buffer_free(&looked);
    return status;
}
