/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and views. What plugins do with a checkpoint (tensors.c, metadata.c) only reads it.
 */
#include "weights/checkpoint.h"

#include "base/buffer.h"
#include "base/json.h"
#include "weights/adapter/adapter.h"
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

/* All tensors of the source, whose reference is the caller's still. */
static more_status of_source(core_source *source, more_checkpoint **checkpoint, more_error *error)
{
    *checkpoint = create(source, source, source->config, source->count);
    if (!*checkpoint)
        return no_memory(source->path, error);
    for (int64_t i = 0; i < source->count; i++)
        (*checkpoint)->tensors[i] = (core_named){source->entries[i]->name, source->entries[i]};
    (*checkpoint)->count = source->count;
    sort(*checkpoint);
    return MORE_OK;
}

static more_status open_source(const char *path, bool metadata_only, more_checkpoint **checkpoint, more_error *error)
{
    core_source *source = NULL;
    *checkpoint = NULL;
    more_status status = core_source_open(path, metadata_only, &source, error);
    if (status == MORE_OK)
        status = of_source(source, checkpoint, error);
    core_source_release(source);
    return status;
}

more_status core_checkpoint_open(const char *path, more_checkpoint **checkpoint, more_error *error)
{
    return open_source(path, false, checkpoint, error);
}

more_status core_checkpoint_open_metadata(const char *path, more_checkpoint **checkpoint, more_error *error)
{
    return open_source(path, true, checkpoint, error);
}

more_status core_checkpoint_add_adapter(const more_checkpoint *base, const char *folder, more_checkpoint **checkpoint,
                                        more_error *error)
{
    core_source *merged = NULL;
    *checkpoint = NULL;
    more_status status = core_source_add_adapter(base->source, folder, &merged, error);
    if (status == MORE_OK)
        status = of_source(merged, checkpoint, error);
    core_source_release(merged);
    return status;
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
    for (size_t i = 0; i < checkpoint->renamed_count; i++)
        free(checkpoint->renamed[i]);
    free(checkpoint->renamed);
    json_decref(checkpoint->own_config);
    json_decref(checkpoint->own_processor);
    core_checkpoint_release(checkpoint->parent);
    core_source_release(checkpoint->source);
    core_source_release(checkpoint->facts);
    free(checkpoint);
}

const char *core_name_without(const char *name, const char *prefix)
{
    if (prefix[0] == '*') {
        const char *at = strstr(name, prefix + 1);
        return at ? at + strlen(prefix + 1) : NULL;
    }
    return strncmp(name, prefix, strlen(prefix)) ? NULL : name + strlen(prefix);
}

static bool fits_any(const char *name, const char *const *prefixes, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (core_name_without(name, prefixes[i]))
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
            if (core_name_without(name, view->prefixes[i]) && !fits_any(name, view->excludes, view->exclude_count))
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

/* What follows a name's beginning that fits `pattern` of `length`, in which a '*' is a number (whose digits are given
 * back); NULL when none fits. */
static const char *behind_pattern(const char *pattern, size_t length, const char *name, core_buffer *digits)
{
    for (size_t i = 0; i < length; i++) {
        size_t number = pattern[i] == '*' ? strspn(name, "0123456789") : 0;
        if (pattern[i] == '*' ? !number : pattern[i] != *name)
            return NULL;
        core_buffer_append(digits, name, number);
        name += number ? number : 1;
    }
    return name;
}

/* The name under the view's renames: itself, or a new one that the child owns. NULL without memory. */
static const char *rename_tensor(more_checkpoint *child, const core_view *view, const char *name)
{
    for (int32_t i = 0; i < view->rename_count; i++) {
        const char *from = view->renames[i];
        size_t length = strcspn(from, "=");
        core_buffer digits = {0}, whole = {0};
        const char *rest = from[length] == '=' ? behind_pattern(from, length, name, &digits) : NULL;
        for (const char *to = from + length + 1; rest && *to; to++)
            core_buffer_append(&whole, *to == '*' ? digits.data : to, *to == '*' ? digits.size : 1);
        if (rest)
            core_buffer_text(&whole, rest);
        whole.failed |= digits.failed;
        core_buffer_free(&digits);
        if (!rest)
            continue;
        char *made = core_buffer_take(&whole);
        if (made)
            child->renamed[child->renamed_count++] = made;
        return made;
    }
    return name;
}

/* Takes over the parent's tensors that the view shows. */
static bool fill_view(more_checkpoint *child, const more_checkpoint *parent, const core_view *view, const char *prefix)
{
    if (view->rename_count)
        child->renamed = calloc((size_t)parent->count + 1, sizeof *child->renamed);
    if (view->rename_count && !child->renamed)
        return false;
    for (int64_t i = 0; i < parent->count; i++) {
        const core_named *tensor = &parent->tensors[i];
        const char *rest = core_name_without(tensor->name, prefix);
        if (!rest || fits_any(tensor->name, view->excludes, view->exclude_count))
            continue;
        const char *name = rename_tensor(child, view, rest);
        if (!name)
            return false;
        child->tensors[child->count++] = (core_named){name, tensor->entry};
    }
    sort(child);
    return true;
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
    if (child) {
        core_checkpoint_retain(parent);
        child->parent = parent;
        child->map = view->map;
        child->own_processor = json_incref(parent->own_processor);
    }
    if (!child || !set_root(child, parent, view->config_root) || !fill_view(child, parent, view, prefix)) {
        core_checkpoint_release(child);
        return no_memory(parent->source->path, error);
    }
    *checkpoint = child;
    return MORE_OK;
}

more_status core_checkpoint_add_defaults(more_checkpoint *view, json_t *defaults, more_error *error)
{
    const char *key;
    bool failed = false;
    json_t *value, *config = view->config ? json_deep_copy(view->config) : json_object();
    json_object_foreach(defaults, key, value)
    {
        json_t *own = json_object_get(config, key);
        if ((!own || json_is_null(own)) && json_object_set(config, key, value))
            failed = true;
    }
    if (!config || failed) {
        json_decref(config);
        return no_memory(view->source->path, error);
    }
    json_decref(view->own_config);
    view->own_config = view->config = config;
    return MORE_OK;
}

void core_checkpoint_set_processor(more_checkpoint *view, json_t *processor)
{
    json_decref(view->own_processor);
    view->own_processor = json_incref(processor);
}

more_status core_checkpoint_join(more_checkpoint *tensors, more_checkpoint *facts, more_checkpoint **checkpoint,
                                 more_error *error)
{
    *checkpoint = create(tensors->source, facts->facts, facts->config, tensors->count);
    if (!*checkpoint || !set_root(*checkpoint, facts, NULL)) {
        core_checkpoint_release(*checkpoint);
        *checkpoint = NULL;
        return no_memory(tensors->source->path, error);
    }
    core_checkpoint_retain(tensors);
    (*checkpoint)->parent = tensors;
    (*checkpoint)->own_config = json_incref(facts->own_config);
    (*checkpoint)->own_processor = json_incref(facts->own_processor);
    memcpy((*checkpoint)->tensors, tensors->tensors, (size_t)tensors->count * sizeof *tensors->tensors);
    (*checkpoint)->count = tensors->count;
    sort(*checkpoint);
    return MORE_OK;
}

json_t *core_checkpoint_config(const more_checkpoint *checkpoint)
{
    return checkpoint->config;
}

json_t *core_checkpoint_processor(const more_checkpoint *checkpoint)
{
    return checkpoint->own_processor;
}

bool core_checkpoint_is_gguf(const more_checkpoint *checkpoint)
{
    return checkpoint->facts->gguf;
}

const char *core_checkpoint_tokenizer(const more_checkpoint *checkpoint)
{
    return checkpoint->facts->gguf ? checkpoint->facts->path : checkpoint->facts->folder;
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
