/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/source.h"

#include "base/file.h"
#include "base/json.h"
#include "weights/adapter/adapter.h"
#include "weights/locate.h"
#include "weights/synthetic.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SYNTHETIC "synthetic:"
#define INDEX_ENDING ".index.json"
#define DEEPEST 4 /* adapters of adapters of ... */

static more_status no_memory(const char *path, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
}

static more_status open_source(const char *path, bool metadata_only, int depth, core_source **source,
                               more_error *error);

/* Opens one more file and gives it to the source. */
static more_status add_file(core_source *source, const char *name, core_tensor_file **file, more_error *error)
{
    core_tensor_file **files = realloc(source->files, (source->file_count + 1) * sizeof(core_tensor_file *));
    if (!files)
        return no_memory(source->path, error);
    source->files = files;
    char *path = core_path_join(source->folder, name);
    if (!path)
        return no_memory(source->path, error);
    more_status status = core_tensor_file_open(path, file, error);
    if (status == MORE_OK)
        source->files[source->file_count++] = *file;
    free(path);
    return status;
}

/* Appends the file's tensors; of a shard those that the weight map puts there. */
static more_status add_entries(core_source *source, const core_tensor_file *file, json_t *weight_map, const char *shard,
                               more_error *error)
{
    const core_tensor_table *table = core_tensor_file_tensors(file);
    const core_tensor_entry **entries =
        realloc(source->entries, ((size_t)source->count + table->count + 1) * sizeof(core_tensor_entry *));
    if (!entries)
        return no_memory(source->path, error);
    source->entries = entries;
    for (size_t i = 0; i < table->count; i++) {
        const core_tensor_entry *entry = &table->entries[i];
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
    core_tensor_file *file = NULL;
    more_status status = add_file(source, name, &file, error);
    return status == MORE_OK ? add_entries(source, file, NULL, NULL, error) : status;
}

static more_status read_config(core_source *source, more_error *error)
{
    source->config_path = core_path_join(source->folder, "config.json");
    if (!source->config_path)
        return no_memory(source->path, error);
    char *processor = core_path_join(source->folder, "preprocessor_config.json");
    if (processor) /* its mistakes are named where the steps are made of it */
        core_json_load(processor, &source->processor, NULL);
    free(processor);
    if (!core_file_exists(source->config_path))
        return MORE_OK;
    more_status status = core_json_load(source->config_path, &source->config, error);
    if (status == MORE_OK && !json_is_object(source->config))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: is not a JSON object", source->config_path);
    return status;
}

/* One file of any format, by its path. A GGUF file brings its own config: what lies beside it is another model's. */
static more_status open_file(core_source *source, more_error *error)
{
    const char *slash = strrchr(source->path, '/');
    more_status status = open_single(source, slash ? slash + 1 : source->path, error);
    const core_gguf *gguf = status == MORE_OK ? core_tensor_file_gguf(source->files[0]) : NULL;
    if (!gguf)
        return status == MORE_OK ? read_config(source, error) : status;
    source->gguf = true;
    source->config = json_incref(core_gguf_metadata(gguf));
    source->config_path = strdup(source->path);
    return source->config_path ? MORE_OK : no_memory(source->path, error);
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
            if (!strcmp(json_string_value(value), shards[i]) &&
                !core_tensor_table_find(core_tensor_file_tensors(source->files[i]), name))
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
        core_tensor_file *file = NULL;
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

static bool has_file(const core_source *source, const char *name)
{
    char *path = core_path_join(source->folder, name);
    bool there = path && core_file_exists(path);
    free(path);
    return there;
}

static more_status no_weights(const core_source *source, more_error *error)
{
    static const char *const others[] = {"tf_model.h5", "flax_model.msgpack"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (has_file(source, others[i]))
            return more_fail(error, MORE_ERROR_UNSUPPORTED,
                             "%s: its weights are in %s; only safetensors and PyTorch files are read: save the model "
                             "with safe_serialization",
                             source->folder, others[i]);
    return more_fail(error, MORE_ERROR_NOT_FOUND,
                     "%s: no weights: neither model.safetensors or model.safetensors.index.json, nor pytorch_model.bin "
                     "or its index, nor mm_projector.bin is in this folder",
                     source->folder);
}

/* Opens the adapter's base model, which takes this source's place with the adapter on it. */
static more_status open_adapter(core_source **source, bool metadata_only, int depth, more_error *error)
{
    const char *folder = (*source)->folder;
    core_source *base = NULL, *merged = NULL;
    char *name = NULL, *path = NULL;
    more_error reason = {{0}};
    more_status status = core_adapter_base(folder, &name, error);
    if (status == MORE_OK && depth == DEEPEST)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: an adapter whose base is an adapter, %d times: a circle?",
                           folder, DEEPEST);
    if (status == MORE_OK) {
        status = core_weights_locate(name, folder, &path, &reason);
        if (status != MORE_OK)
            more_fail(error, status,
                      "%s: an adapter, whose base model '%s' is not on this machine (%.500s); name the base as weights "
                      "and this folder as lora",
                      folder, name, reason.message);
    }
    if (status == MORE_OK)
        status = open_source(path, metadata_only, depth + 1, &base, error);
    if (status == MORE_OK)
        status = core_source_add_adapter(base, folder, &merged, error);
    core_source_release(base);
    free(name);
    free(path);
    if (status == MORE_OK) {
        core_source_release(*source);
        *source = merged;
    }
    return status;
}

/* The first of these that is there counts. */
static more_status open_folder(core_source *source, bool metadata_only, more_error *error)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors" INDEX_ENDING, "pytorch_model.bin",
                                        "pytorch_model.bin" INDEX_ENDING, "mm_projector.bin"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!has_file(source, names[i]))
            continue;
        if (!strstr(names[i], INDEX_ENDING))
            return open_single(source, names[i], error);
        char *path = core_path_join(source->folder, names[i]);
        more_status status = path ? open_index(source, path, error) : no_memory(source->path, error);
        free(path);
        return status;
    }
    return metadata_only ? MORE_OK : no_weights(source, error);
}

static more_status open_synthetic(core_source *source, more_error *error)
{
    char *shapes = core_path_join(source->folder, "shapes.json");
    more_status status = shapes ? open_shapes(source, shapes, error) : no_memory(source->path, error);
    free(shapes);
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

/* True for a folder of an adapter without a model of its own. */
static bool is_adapter(const core_source *source)
{
    return has_file(source, CORE_ADAPTER_CONFIG) && !has_file(source, "model.safetensors") &&
           !has_file(source, "model.safetensors" INDEX_ENDING) && !has_file(source, "pytorch_model.bin") &&
           !has_file(source, "pytorch_model.bin" INDEX_ENDING);
}

static more_status open_path(core_source **source, bool metadata_only, int depth, more_error *error)
{
    core_source *own = *source;
    bool synthetic = !strncmp(own->path, SYNTHETIC, strlen(SYNTHETIC));
    bool folder = synthetic || core_folder_exists(own->path);
    more_status status = MORE_OK;
    if (synthetic)
        status = parse_synthetic(own, error);
    else
        own->folder = folder ? strdup(own->path) : core_path_folder(own->path);
    if (status == MORE_OK && !own->folder)
        status = no_memory(own->path, error);
    if (status == MORE_OK && folder && !synthetic && is_adapter(own))
        return open_adapter(source, metadata_only, depth, error);
    if (status == MORE_OK && !folder)
        return open_file(own, error);
    if (status == MORE_OK)
        status = read_config(own, error);
    if (status != MORE_OK)
        return status;
    return synthetic ? open_synthetic(own, error) : open_folder(own, metadata_only, error);
}

static more_status open_source(const char *path, bool metadata_only, int depth, core_source **source, more_error *error)
{
    *source = calloc(1, sizeof **source);
    if (!*source)
        return no_memory(path, error);
    atomic_init(&(*source)->references, 1);
    (*source)->path = strdup(path);
    more_status status = (*source)->path ? open_path(source, metadata_only, depth, error) : no_memory(path, error);
    if (status != MORE_OK) {
        core_source_release(*source);
        *source = NULL;
    }
    return status;
}

more_status core_source_open(const char *path, bool metadata_only, core_source **source, more_error *error)
{
    return open_source(path, metadata_only, 0, source, error);
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
        core_tensor_file_close(source->files[i]);
    free(source->files);
    free(source->entries);
    if (source->synthetic)
        core_synthetic_free(source->synthetic, source->count);
    core_merged_free(source->merged);
    core_source_release(source->base);
    json_decref(source->config);
    json_decref(source->processor);
    free(source->config_path);
    free(source->folder);
    free(source->path);
    free(source);
}
