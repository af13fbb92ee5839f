/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/identity.h"

#include "weights/adapter/delta.h"
#include "weights/view.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void core_file_identity(const char *path, core_buffer *text)
{
    struct stat about;
    char *whole = realpath(path, NULL);
    core_buffer_format(text, "file %s", whole ? whole : path);
    if (stat(path, &about) == 0)
        core_buffer_format(text, " %lld %lld.%09ld", (long long)about.st_size, (long long)about.st_mtim.tv_sec,
                           about.st_mtim.tv_nsec);
    core_buffer_text(text, "\n");
    free(whole);
}

/* One stored tensor: its file where that is another than the last one's. */
static void add_entry(const core_tensor_entry *entry, const char **last, core_buffer *text)
{
    if (!*last || strcmp(*last, entry->path) != 0)
        core_file_identity(entry->path, text);
    *last = entry->path;
    core_buffer_format(text, "%s %s %zu", entry->name, entry->format, entry->bytes);
    for (int32_t i = 0; i < entry->rank; i++)
        core_buffer_format(text, " %lld", (long long)entry->shape[i]);
    core_buffer_text(text, "\n");
}

static void add_deltas(const core_delta *delta, const char **last, core_buffer *text)
{
    for (; delta; delta = delta->next) {
        core_buffer_format(text, "adapter %.9g %d\n", (double)delta->scale, (int)delta->transposed);
        add_entry(delta->a, last, text);
        add_entry(delta->b, last, text);
    }
}

static void add_json(const char *what, json_t *json, core_buffer *text)
{
    char *dumped = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    text->failed |= json && !dumped;
    core_buffer_format(text, "%s ", what);
    core_buffer_text(text, dumped ? dumped : "none");
    core_buffer_text(text, "\n");
    free(dumped);
}

void core_checkpoint_identity(const more_checkpoint *checkpoint, core_buffer *text)
{
    const char *last = NULL;
    core_buffer_format(text, "seed %" PRIu64 "\n", checkpoint->source->seed);
    for (int64_t i = 0; i < checkpoint->count; i++) {
        core_buffer_format(text, "tensor %s ", checkpoint->tensors[i].name);
        add_entry(checkpoint->tensors[i].entry, &last, text);
        add_deltas(checkpoint->tensors[i].entry->delta, &last, text);
    }
    add_json("config", checkpoint->config, text);
    add_json("processor", checkpoint->own_processor ? checkpoint->own_processor : checkpoint->facts->processor, text);
}
