/* SPDX-License-Identifier: Apache-2.0 */
#include "recall/visual_memory.h"

#include <string.h>

static size_t bytes_of(const core_visual_memory *memory, const core_visual *visual)
{
    return (size_t)(visual->count * memory->width) * sizeof *visual->rows;
}

static int32_t index_of(const core_visual_memory *memory, const core_digest *content)
{
    int32_t i = 0;
    while (i < memory->count && !core_digest_equal(&memory->visuals[i].content, content))
        i++;
    return i;
}

/* Moves those before `index` one back and puts `visual` first. */
static void put_first(core_visual_memory *memory, int32_t index, core_visual visual)
{
    memmove(memory->visuals + 1, memory->visuals, (size_t)index * sizeof visual);
    memory->visuals[0] = visual;
}

bool core_visual_memory_find(core_visual_memory *memory, const core_digest *content, core_visual *visual)
{
    int32_t i = index_of(memory, content);
    if (i == memory->count)
        return false;
    put_first(memory, i, memory->visuals[i]);
    *visual = core_visual_share(&memory->visuals[0]);
    return true;
}

static void drop_last(core_visual_memory *memory)
{
    core_visual *last = &memory->visuals[--memory->count];
    memory->bytes -= bytes_of(memory, last);
    core_visual_free(last);
}

void core_visual_memory_keep(core_visual_memory *memory, const core_visual *visual)
{
    size_t bytes = bytes_of(memory, visual);
    if (bytes > memory->limit || index_of(memory, &visual->content) < memory->count)
        return;
    while (memory->count == CORE_KEPT_VISUALS || memory->bytes > memory->limit - bytes)
        drop_last(memory);
    put_first(memory, memory->count++, core_visual_share(visual));
    memory->bytes += bytes;
}

void core_visual_memory_clear(core_visual_memory *memory)
{
    while (memory->count)
        drop_last(memory);
}
