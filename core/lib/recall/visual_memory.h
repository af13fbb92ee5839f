/* SPDX-License-Identifier: Apache-2.0
 *
 * The visual tokens of the pictures that an assembly saw last, by the pictures' content. One thread at a time.
 */
#ifndef CORE_RECALL_VISUAL_MEMORY_H
#define CORE_RECALL_VISUAL_MEMORY_H

#include "generate/visual.h"

#define CORE_KEPT_VISUALS 64

/* Zero-initialise it with its limit. */
typedef struct core_visual_memory {
    size_t limit; /* bytes of rows that it may hold; pictures of more are not kept */
    size_t bytes;
    int64_t width; /* floats of a row */
    int32_t count;
    core_visual visuals[CORE_KEPT_VISUALS]; /* the one last used first */
} core_visual_memory;

/* Another holder of the picture's rows in *visual; false when it is not there. */
bool core_visual_memory_find(core_visual_memory *memory, const core_digest *content, core_visual *visual);
/* Keeps the rows too, and lets go of those longest unused. */
void core_visual_memory_keep(core_visual_memory *memory, const core_visual *visual);
void core_visual_memory_clear(core_visual_memory *memory);

#endif
