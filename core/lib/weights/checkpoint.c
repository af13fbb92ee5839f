/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and views. What plugins do with a checkpoint (tensors.c, metadata.c) only reads it.
 */
#include "weights/checkpoint.h"

#include "base/buffer.h"
#include "base/json.h"
#include "weights/view.h"
#include <stdlib.h>
#include <string.h>

static more_status no_memory(const char *path, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const core_named *const *)a)->name, (*(const core_named *const *)b)->name);
}

/* An object over the sources (whose counts it raises) with room for `capacity` tensors and none yet. */
static more_checkpoint *create(core_source *source, core_source *facts, json_t *config, int64_t capacity)
{
    more_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (!checkpoint)
        return NULL;
    atomic_init(&checkpoint->references, 1);
    core_source_retain(source);
    core_source_retain(facts);
    checkpoint->source = source;
    checkpoint->facts = facts;
    checkpoint->config = config;
    checkpoint->tensors = calloc((size_t)capacity + 1, sizeof *checkpoint->tensors);
    checkpoint->sorted = calloc((size_t)capacity + 1, sizeof(core_named *));
    if (checkpoint->tensors && checkpoint->sorted)
        return checkpoint;
    core_checkpoint_release(checkpoint);
    return NULL;
}

static void sort(more_checkpoint *checkpoint)
{
    for (int64_t i = 0; i < checkpoint->count; i++)
        checkpoint->sorted[i] = &checkpoint->tensors[i];
    qsort(checkpoint->sorted, (size_t)checkpoint->count, sizeof(core_named *), by_name);
}

static more_status open_source(const char *path, bool metadata_only, more_checkpoint **checkpoint, more_error *error)
{
    core_source *source = NULL;
    *checkpoint = NULL;
    more_status status = core_source_open(path, metadata_only, &source, error);
    if (status != MORE_OK)
        return status;
    *checkpoint = create(source, source, source->config, source->count);
    if (*checkpoint) {
        for (int64_t i = 0; i < source->count; i++)
            (*checkpoint)->tensors[i] = (core_named){source->entries[i]->name, source->entries[i]};
        (*checkpoint)->count = source->count;
        sort(*checkpoint);
    }
    core_source_release(source);
    return *checkpoint ? MORE_OK : no_memory(path, error);
}

more_status core_checkpoint_open(const char *path, more_checkpoint **checkpoint, more_error *error)
{
    return open_source(path, false, checkpoint, error);
}

more_status core_checkpoint_open_metadata(const char *path, more_checkpoint **checkpoint, more_error *error)
{
    return open_source(path, true, checkpoint, error);
}

void core_checkpoint_retain(more_checkpoint *checkpoint)
{
    atomic_fetch_add(&checkpoint->references, 1);
}

void core_checkpoint_release(more_checkpoint *checkpoint)
{
    if (!checkpoint || atomic_fetch_sub(&checkpoint->references, 1) > 1)
        return;
    free(checkpoint->tensors);
    free(checkpoint->sorted);
    free(checkpoint->root);
    core_source_release(checkpoint->source);
    core_source_release(checkpoint->facts);
    free(checkpoint);
}

static bool begins_with_any(const char *name, const char *const *prefixes, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
            return true;
    return false;
}

/* The first of the view's prefixes that a tensor which stays begins with; NULL when none does. */
static const char *choose_prefix(const more_checkpoint *parent, const core_view *view)
{
    if (!view->prefix_count)
        return "";
    for (int32_t i = 0; i < view->prefix_count; i++)
        for (int64_t k = 0; k < parent->count; k++) {
            const char *name = parent->tensors[k].name;
            if (begins_with_any(name, &view->prefixes[i], 1) &&
                !begins_with_any(name, view->excludes, view->exclude_count))
                return view->prefixes[i];
        }
    return NULL;
}

static more_status no_prefix(const more_checkpoint *parent, const core_view *view, more_error *error)
{
    core_buffer list = {0};
    for (int32_t i = 0; i < view->prefix_count; i++)
        core_buffer_format(&list, "%s'%s'", i ? ", " : "", view->prefixes[i]);
    more_fail(error, MORE_ERROR_NOT_FOUND, "%s: no tensor's name begins with %.700s", parent->source->path,
              list.data ? list.data : "");
    core_buffer_free(&list);
    return MORE_ERROR_NOT_FOUND;
}

/* Narrows the metadata to the object at `root`, none when it is absent. False when memory runs out. */
static bool set_root(more_checkpoint *child, const more_checkpoint *parent, const char *root)
{
    core_buffer whole = {0};
    if (parent->root)
        core_buffer_text(&whole, parent->root);
    if (root && *root) {
        json_t *config = core_json_at(parent->config, root);
        child->config = json_is_object(config) ? config : NULL;
        core_buffer_format(&whole, "%s.", root);
    }
    child->root = core_buffer_take(&whole);
    return child->root != NULL;
}

more_status core_checkpoint_view(more_checkpoint *parent, const core_view *view, more_checkpoint **checkpoint,
                                 more_error *error)
{
    *checkpoint = NULL;
    if (parent->map)
        return more_fail(error, MORE_ERROR_INTERNAL, "%s: a view of a view with a tensor map", parent->source->path);
    const char *prefix = choose_prefix(parent, view);
    if (!prefix)
        return no_prefix(parent, view, error);
    more_checkpoint *child = create(parent->source, parent->facts, parent->config, parent->count);
    if (!child || !set_root(child, parent, view->config_root)) {
        core_checkpoint_release(child);
        return no_memory(parent->source->path, error);
    }
    child->map = view->map;
    for (int64_t i = 0; i < parent->count; i++) {
        const core_named *tensor = &parent->tensors[i];
        if (begins_with_any(tensor->name, &prefix, 1) &&
            !begins_with_any(tensor->name, view->excludes, view->exclude_count))
            child->tensors[child->count++] = (core_named){tensor->name + strlen(prefix), tensor->entry};
    }
    sort(child);
    *checkpoint = child;
    return MORE_OK;
}

more_status core_checkpoint_join(const more_checkpoint *tensors, const more_checkpoint *facts,
                                 more_checkpoint **checkpoint, more_error *error)
{
    *checkpoint = create(tensors->source, facts->facts, facts->config, tensors->count);
    if (!*checkpoint || !set_root(*checkpoint, facts, NULL)) {
        core_checkpoint_release(*checkpoint);
        *checkpoint = NULL;
        return no_memory(tensors->source->path, error);
    }
    memcpy((*checkpoint)->tensors, tensors->tensors, (size_t)tensors->count * sizeof *tensors->tensors);
    (*checkpoint)->count = tensors->count;
    sort(*checkpoint);
    return MORE_OK;
}

json_t *core_checkpoint_config(const more_checkpoint *checkpoint)
{
    return checkpoint->config;
}

const char *core_checkpoint_folder(const more_checkpoint *checkpoint)
{
    return checkpoint->facts->folder;
}

int64_t core_checkpoint_bytes(const more_checkpoint *checkpoint)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < checkpoint->count; i++)
        bytes += (int64_t)checkpoint->tensors[i].entry->bytes;
    return bytes;
}
