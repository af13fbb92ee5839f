/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures to visual tokens: decode, preprocess, encode, project.
 */
#ifndef CORE_VISUAL_H
#define CORE_VISUAL_H

#include "assembly/assembly.h"
#include <llavamore.h>

/* The visual tokens of one image: f32 [count, width of the language model]. Zero-initialise. Copies share the rows. */
typedef struct core_visual {
    float *rows;
    int64_t count;
    int *holders; /* how many share the rows; all in one chat, so in one thread */
} core_visual;

typedef struct core_visual_times {
    double preprocess_ms, encode_ms, project_ms;
} core_visual_times;

/* Fills `visuals` (image_count of them; the caller frees each with core_visual_free, also after a failure). All images
 * go through the encoder as one batch. With a dump folder (NULL = none) pixels, features and visual_tokens are written
 * there, with dump_layers also features_layer_NN. [any-thread] */
more_status core_visual_encode(core_assembly *assembly, const llavamore_image *images, int32_t image_count,
                               const char *dump_folder, bool dump_layers, core_visual *visuals,
                               core_visual_times *times, more_error *error);
/* Another holder of the same rows. */
core_visual core_visual_share(const core_visual *visual);
void core_visual_free(core_visual *visual);

#endif
