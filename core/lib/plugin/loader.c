/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/loader.h"

#include "base/file.h"
#include "base/suggest.h"
#include "plugin/descriptor.h"
#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifndef LLAVAMORE_PLUGIN_DIR
#error "the build must define LLAVAMORE_PLUGIN_DIR, the folder that plugins are installed to"
#endif

#define FOLDER_DEPTH 2  /* levels of subfolders that are looked into */
#define MANY_FILES 1024 /* shared objects that are looked at */

typedef struct file_id {
    dev_t device;
    ino_t inode;
} file_id;

struct core_registry {
    char *paths;
    pthread_mutex_t lock; /* for the scan: afterwards nothing changes */
    bool scanned, failed;
    core_plugin_file *files; /* count of them */
    file_id *ids;            /* beside them; 0, 0 for a path that does not exist */
    size_t count;
    core_buffer searched; /* "a, b, c" for messages */
};

more_status core_registry_create(const char *paths, core_registry **registry, more_error *error)
{
    core_registry *made = calloc(1, sizeof *made);
    char *copy = strdup(paths ? paths : "");
    *registry = NULL;
    if (!made || !copy) {
        free(made);
        free(copy);
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the plugin registry");
    }
    made->paths = copy;
    pthread_mutex_init(&made->lock, NULL);
    *registry = made;
    return MORE_OK;
}

static void free_file(core_plugin_file *file)
{
    free((void *)(uintptr_t)file->path);
    free((void *)(uintptr_t)file->reason);
}

void core_registry_destroy(core_registry *registry)
{
    if (!registry)
        return;
    for (size_t i = 0; i < registry->count; i++)
        free_file(&registry->files[i]);
    pthread_mutex_destroy(&registry->lock);
    core_buffer_free(&registry->searched);
    free(registry->files);
    free(registry->ids);
    free(registry->paths);
    free(registry);
}

/* ---- Scanning --------------------------------------------------------------------------------------------------- */

/* Takes `file` over. */
static void add_file(core_registry *registry, core_plugin_file *file, file_id id)
{
    size_t count = registry->count + 1;
    core_plugin_file *files = realloc(registry->files, count * sizeof *files);
    if (files)
        registry->files = files;
    file_id *ids = realloc(registry->ids, count * sizeof *ids);
    if (ids)
        registry->ids = ids;
    if (!files || !ids || !file->path || (file->status != MORE_OK && !file->reason)) {
        registry->failed = true;
        free_file(file);
        return;
    }
    registry->files[registry->count] = *file;
    registry->ids[registry->count++] = id;
}

static bool is_known(const core_registry *registry, file_id id)
{
    for (size_t i = 0; i < registry->count; i++)
        if (registry->ids[i].device == id.device && registry->ids[i].inode == id.inode)
            return true;
    return false;
}

static void look_at(core_registry *registry, const char *path, const struct stat *status)
{
    file_id id = {status->st_dev, status->st_ino};
    core_plugin_file file = {0};
    const more_plugin *plugin = NULL;
    more_error reason = {{0}};
    /* links lead to one file by several paths */
    if (is_known(registry, id) || registry->count >= MANY_FILES)
        return;
    file.path = strdup(path);
    file.status = core_plugin_open(path, &plugin, &reason);
    if (file.status == MORE_OK) {
        file.score = plugin->score();
        if (file.score <= 0)
            file.status =
                more_fail(&reason, MORE_ERROR_UNSUPPORTED, "it cannot run on this machine (score %d)", file.score);
    }
    if (plugin && core_plugin_is_named(plugin)) {
        file.kind = plugin->kind;
        file.id = plugin->id;
    }
    if (file.status == MORE_OK)
        file.plugin = plugin;
    else
        file.reason = strdup(reason.message);
    add_file(registry, &file, id);
}

static bool is_shared_object(const char *name)
{
    size_t length = strlen(name);
    return length > 3 && !strcmp(name + length - 3, ".so");
}

static void scan_folder(core_registry *registry, const char *folder, int depth);

static void scan_entry(core_registry *registry, const char *folder, const char *name, int depth)
{
    struct stat status;
    char *path = core_path_join(folder, name);
    if (!path)
        registry->failed = true;
    else if (stat(path, &status) == 0) {
        /* libtool's folder is no level of its own, and nothing below it counts */
        if (S_ISDIR(status.st_mode) && !strcmp(name, ".libs"))
            scan_folder(registry, path, FOLDER_DEPTH);
        else if (S_ISDIR(status.st_mode) && name[0] != '.' && depth < FOLDER_DEPTH)
            scan_folder(registry, path, depth + 1);
        else if (!S_ISDIR(status.st_mode) && is_shared_object(name))
            look_at(registry, path, &status);
    }
    free(path);
}

static void scan_folder(core_registry *registry, const char *folder, int depth)
{
    struct dirent **names = NULL;
    int count = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i]->d_name, ".") && strcmp(names[i]->d_name, ".."))
            scan_entry(registry, folder, names[i]->d_name, depth);
        free(names[i]);
    }
    free(names);
}

static void scan_path(core_registry *registry, const char *path, bool asked_for)
{
    struct stat status;
    core_buffer_format(&registry->searched, "%s%s", registry->searched.size ? ", " : "", path);
    if (stat(path, &status) < 0) {
        core_plugin_file missing = {.status = MORE_ERROR_NOT_FOUND};
        if (!asked_for)
            return;
        missing.path = strdup(path);
        missing.reason = strdup("there is no such file or folder");
        add_file(registry, &missing, (file_id){0, 0});
    } else if (S_ISDIR(status.st_mode)) {
        scan_folder(registry, path, 0);
    } else {
        look_at(registry, path, &status);
    }
}

static void scan_list(core_registry *registry, const char *list)
{
    while (list && *list) {
        size_t length = strcspn(list, ":");
        char *path = strndup(list, length);
        if (!path)
            registry->failed = true;
        else if (length)
            scan_path(registry, path, true);
        free(path);
        list += length + (list[length] == ':');
    }
}

static more_status scan_once(core_registry *registry, more_error *error)
{
    pthread_mutex_lock(&registry->lock);
    if (!registry->scanned) {
        registry->scanned = true;
        scan_list(registry, registry->paths);
        scan_list(registry, getenv(CORE_PLUGIN_PATH_VARIABLE));
        scan_path(registry, LLAVAMORE_PLUGIN_DIR, false);
        registry->failed = registry->failed || registry->searched.failed;
    }
    bool failed = registry->failed;
    pthread_mutex_unlock(&registry->lock);
    return failed ? more_fail(error, MORE_ERROR_MEMORY, "out of memory while looking for plugins") : MORE_OK;
}

/* ---- Finding ---------------------------------------------------------------------------------------------------- */

static const core_plugin_file *best_of(const core_registry *registry, const char *kind, const char *id)
{
    const core_plugin_file *best = NULL;
    for (size_t i = 0; i < registry->count; i++) {
        const core_plugin_file *file = &registry->files[i];
        if (file->plugin && !strcmp(file->kind, kind) && !strcmp(file->id, id) && (!best || file->score > best->score))
            best = file;
    }
    return best;
}

/* Refused under this name, or, where it did not come so far, in a file of this name. */
static bool is_refused_as(const core_plugin_file *file, const char *kind, const char *id)
{
    if (file->plugin)
        return false;
    if (file->kind && file->id)
        return !strcmp(file->kind, kind) && !strcmp(file->id, id);
    const char *slash = strrchr(file->path, '/');
    const char *name = slash ? slash + 1 : file->path;
    size_t length = strlen(id);
    return !strncmp(name, id, length) && (!strcmp(name + length, ".so") || !name[length]);
}

/* The other kind that has a plugin of this id; NULL when none has. */
static const char *kind_of(const core_registry *registry, const char *id)
{
    for (size_t i = 0; i < registry->count; i++)
        if (registry->files[i].plugin && !strcmp(registry->files[i].id, id))
            return registry->files[i].kind;
    return NULL;
}

static more_status not_found(const core_registry *registry, const char *kind, const char *id, more_error *error)
{
    const char *other = kind_of(registry, id);
    core_suggest nearest = core_suggest_for(id);
    core_buffer there = {0}, refused = {0};
    more_status status = MORE_ERROR_NOT_FOUND;
    size_t others = 0;
    for (size_t i = 0; i < registry->count; i++) {
        const core_plugin_file *file = &registry->files[i];
        if (is_refused_as(file, kind, id)) {
            status = refused.size ? status : file->status;
            core_buffer_format(&refused, "; %s was refused: %s", file->path, file->reason);
        } else if (!file->plugin) {
            others++;
        }
        if (!file->plugin || strcmp(file->kind, kind) || best_of(registry, kind, file->id) != file)
            continue;
        core_suggest_offer(&nearest, file->id);
        core_buffer_format(&there, "%s%s", there.size ? ", " : "", file->id);
    }
    if (!refused.size && others)
        core_buffer_format(&refused, "; %zu file%s refused, see --list-plugins", others,
                           others == 1 ? " was" : "s were");
    more_fail(error, status, "no %s plugin '%s'%s%s%s%s%s; there are: %s; looked in %s", kind, id,
              other ? " (there is a " : "", other ? other : "", other ? " plugin of this name)" : "",
              core_suggest_text(&nearest), refused.size ? refused.data : "", there.size ? there.data : "none",
              registry->searched.data);
    core_buffer_free(&there);
    core_buffer_free(&refused);
    return status;
}

more_status core_registry_find(core_registry *registry, const char *kind, const char *id, const core_plugin_file **file,
                               more_error *error)
{
    *file = NULL;
    more_status status = scan_once(registry, error);
    if (status != MORE_OK)
        return status;
    *file = best_of(registry, kind, id);
    return *file ? MORE_OK : not_found(registry, kind, id, error);
}

more_status core_registry_list(core_registry *registry, const core_plugin_file **files, size_t *count,
                               more_error *error)
{
    more_status status = scan_once(registry, error);
    *files = status == MORE_OK ? registry->files : NULL;
    *count = status == MORE_OK ? registry->count : 0;
    return status;
}

bool core_registry_chosen(core_registry *registry, const core_plugin_file *file)
{
    return file->plugin && best_of(registry, file->kind, file->id) == file;
}
