/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/source.h"

#include "base/file.h"
#include "base/json.h"
#include "weights/synthetic.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SYNTHETIC "synthetic:"
#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"

static more_status no_memory(const char *path, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
}

/* Opens one more file and gives it to the source. */
static more_status add_file(core_source *source, const char *name, core_safetensors **file, more_error *error)
{
    core_safetensors **files = realloc(source->files, (source->file_count + 1) * sizeof(core_safetensors *));
    if (!files)
        return no_memory(source->path, error);
    source->files = files;
    char *path = core_path_join(source->folder, name);
    if (!path)
        return no_memory(source->path, error);
    more_status status = core_safetensors_open(path, file, error);
    if (status == MORE_OK)
        source->files[source->file_count++] = *file;
    free(path);
    return status;
}

/* Appends the file's tensors; of a shard those that the weight map puts there. */
static more_status add_entries(core_source *source, const core_safetensors *file, json_t *weight_map, const char *shard,
                               more_error *error)
{
    int64_t count = core_safetensors_count(file);
    const core_tensor_entry **entries =
        realloc(source->entries, (size_t)(source->count + count + 1) * sizeof(core_tensor_entry *));
    if (!entries)
        return no_memory(source->path, error);
    source->entries = entries;
    for (int64_t i = 0; i < count; i++) {
        const core_tensor_entry *entry = core_safetensors_at(file, i);
        if (weight_map) {
            const char *place = json_string_value(json_object_get(weight_map, entry->name));
            if (!place || strcmp(place, shard))
                continue;
        }
        entries[source->count++] = entry;
    }
    return MORE_OK;
}

static more_status open_single(core_source *source, const char *name, more_error *error)
{
    core_safetensors *file = NULL;
    more_status status = add_file(source, name, &file, error);
    return status == MORE_OK ? add_entries(source, file, NULL, NULL, error) : status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The different shard names of a weight map in order, borrowed from it; the caller frees the array. */
static more_status list_shards(const char *path, json_t *weight_map, const char ***shards, size_t *count,
                               more_error *error)
{
    const char *name;
    json_t *value;
    size_t all = 0;
    *count = 0;
    *shards = calloc(json_object_size(weight_map) + 1, sizeof(char *));
    if (!*shards)
        return no_memory(path, error);
    json_object_foreach(weight_map, name, value)
    {
        const char *shard = json_string_value(value);
        if (!shard || !*shard || strchr(shard, '/') || !strcmp(shard, ".") || !strcmp(shard, ".."))
            return more_fail(error, MORE_ERROR_CORRUPT,
                             "%s: weight_map: tensor '%s' is in '%.200s', which is not the name of a file in this "
                             "folder",
                             path, name, shard ? shard : "(no text)");
        (*shards)[all++] = shard;
    }
    qsort(*shards, all, sizeof(char *), by_text);
    for (size_t i = 0; i < all; i++)
        if (!*count || strcmp((*shards)[*count - 1], (*shards)[i]))
            (*shards)[(*count)++] = (*shards)[i];
    return MORE_OK;
}

/* Says which tensor of the map its shard lacks, after the counts have shown that there is one. */
static more_status missing_tensor(const core_source *source, const char *path, json_t *weight_map,
                                  const char *const *shards, size_t count, more_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(weight_map, name, value)
    {
        for (size_t i = 0; i < count; i++)
            if (!strcmp(json_string_value(value), shards[i]) && !core_safetensors_find(source->files[i], name))
                return more_fail(error, MORE_ERROR_CORRUPT,
                                 "%s: weight_map: tensor '%s' is said to be in '%s', which does not hold it", path,
                                 name, shards[i]);
    }
    return more_fail(error, MORE_ERROR_INTERNAL, "%s: weight_map and shards differ", path);
}

static more_status open_shards(core_source *source, const char *path, json_t *weight_map, more_error *error)
{
    const char **shards = NULL;
    size_t count = 0;
    more_status status = list_shards(path, weight_map, &shards, &count, error);
    for (size_t i = 0; i < count && status == MORE_OK; i++) {
        core_safetensors *file = NULL;
        more_error reason = {{0}};
        status = add_file(source, shards[i], &file, &reason);
        if (status == MORE_ERROR_NOT_FOUND)
            more_fail(error, status, "%.480s; %.480s names this shard", reason.message, path);
        else if (status != MORE_OK)
            more_fail(error, status, "%s", reason.message);
        else
            status = add_entries(source, file, weight_map, shards[i], error);
    }
    if (status == MORE_OK && (size_t)source->count != json_object_size(weight_map))
        status = missing_tensor(source, path, weight_map, shards, count, error);
    free(shards);
    return status;
}

static more_status open_index(core_source *source, const char *path, more_error *error)
{
    json_t *json = NULL;
    more_status status = core_json_load(path, &json, error);
    if (status != MORE_OK)
        return status;
    json_t *weight_map = json_object_get(json, "weight_map");
    if (json_object_size(weight_map) == 0)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: weight_map is missing, empty or not an object", path);
    else
        status = open_shards(source, path, weight_map, error);
    json_decref(json);
    return status;
}

static more_status open_shapes(core_source *source, const char *path, more_error *error)
{
    more_status status = core_synthetic_read(path, &source->synthetic, &source->count, error);
    if (status != MORE_OK)
        return status;
    source->entries = calloc((size_t)source->count + 1, sizeof(core_tensor_entry *));
    if (!source->entries)
        return no_memory(path, error);
    for (int64_t i = 0; i < source->count; i++) {
        source->synthetic[i].path = source->path;
        source->entries[i] = &source->synthetic[i];
    }
    return MORE_OK;
}

static more_status no_weights(const char *folder, more_error *error)
{
    static const char *const others[] = {"pytorch_model.bin", "pytorch_model.bin.index.json", "mm_projector.bin",
                                         "tf_model.h5", "flax_model.msgpack"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *path = core_path_join(folder, others[i]);
        bool there = path && core_file_exists(path);
        free(path);
        if (there)
            return more_fail(error, MORE_ERROR_UNSUPPORTED,
                             "%s: its weights are in %s; only safetensors are read: save the model with "
                             "safe_serialization",
                             folder, others[i]);
    }
    return more_fail(error, MORE_ERROR_NOT_FOUND, "%s: no weights: neither " SINGLE " nor " INDEX " is in this folder",
                     folder);
}

static more_status open_folder(core_source *source, bool synthetic, bool metadata_only, more_error *error)
{
    char *single = core_path_join(source->folder, SINGLE), *index = core_path_join(source->folder, INDEX);
    char *shapes = core_path_join(source->folder, "shapes.json");
    more_status status = MORE_OK;
    if (!single || !index || !shapes)
        status = no_memory(source->path, error);
    else if (synthetic)
        status = open_shapes(source, shapes, error);
    else if (core_file_exists(single))
        status = open_single(source, SINGLE, error);
    else if (core_file_exists(index))
        status = open_index(source, index, error);
    else if (!metadata_only)
        status = no_weights(source->folder, error);
    free(single);
    free(index);
    free(shapes);
    return status;
}

static more_status read_config(core_source *source, more_error *error)
{
    source->config_path = core_path_join(source->folder, "config.json");
    if (!source->config_path)
        return no_memory(source->path, error);
    if (!core_file_exists(source->config_path))
        return MORE_OK;
    more_status status = core_json_load(source->config_path, &source->config, error);
    if (status == MORE_OK && !json_is_object(source->config))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: is not a JSON object", source->config_path);
    return status;
}

/* Splits "synthetic:FOLDER?seed=N". */
static more_status parse_synthetic(core_source *source, more_error *error)
{
    const char *folder = source->path + strlen(SYNTHETIC), *query = strchr(folder, '?');
    source->folder = query ? strndup(folder, (size_t)(query - folder)) : strdup(folder);
    if (!source->folder)
        return no_memory(source->path, error);
    if (!query)
        return MORE_OK;
    char *end = NULL;
    errno = 0;
    if (!strncmp(query, "?seed=", 6) && query[6] >= '0' && query[6] <= '9')
        source->seed = strtoull(query + 6, &end, 10);
    if (!end || *end || errno)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: what follows the folder must be ?seed=NUMBER", source->path);
    return MORE_OK;
}

static more_status open_path(core_source *source, bool metadata_only, more_error *error)
{
    bool synthetic = !strncmp(source->path, SYNTHETIC, strlen(SYNTHETIC));
    bool folder = synthetic || core_folder_exists(source->path);
    more_status status = MORE_OK;
    if (synthetic)
        status = parse_synthetic(source, error);
    else
        source->folder = folder ? strdup(source->path) : core_path_folder(source->path);
    if (status == MORE_OK && !source->folder)
        status = no_memory(source->path, error);
    if (status == MORE_OK)
        status = read_config(source, error);
    if (status != MORE_OK)
        return status;
    const char *slash = strrchr(source->path, '/');
    return folder ? open_folder(source, synthetic, metadata_only, error)
                  : open_single(source, slash ? slash + 1 : source->path, error);
}

more_status core_source_open(const char *path, bool metadata_only, core_source **source, more_error *error)
{
    *source = calloc(1, sizeof **source);
    if (!*source)
        return no_memory(path, error);
    atomic_init(&(*source)->references, 1);
    (*source)->path = strdup(path);
    more_status status = (*source)->path ? open_path(*source, metadata_only, error) : no_memory(path, error);
    if (status != MORE_OK) {
        core_source_release(*source);
        *source = NULL;
    }
    return status;
}

void core_source_retain(core_source *source)
{
    atomic_fetch_add(&source->references, 1);
}

void core_source_release(core_source *source)
{
    if (!source || atomic_fetch_sub(&source->references, 1) > 1)
        return;
    for (size_t i = 0; i < source->file_count; i++)
        core_safetensors_close(source->files[i]);
    free(source->files);
    free(source->entries);
    if (source->synthetic)
        core_synthetic_free(source->synthetic, source->count);
    json_decref(source->config);
    free(source->config_path);
    free(source->folder);
    free(source->path);
    free(source);
}
