/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures to visual tokens: decode, preprocess, encode, project.
 */
#ifndef CORE_VISUAL_H
#define CORE_VISUAL_H

#include "assembly/assembly.h"
#include "base/digest.h"
#include <llavamore.h>
#include <stdatomic.h>

/* The visual tokens of one image: f32 [count, width of the language model]. Zero-initialise. Copies share the rows. */
typedef struct core_visual {
    float *rows;
    int64_t count;
    core_digest content; /* of the image's bytes: under one assembly equal contents have equal rows */
    atomic_int *holders; /* how many share the rows */
} core_visual;

typedef struct core_visual_times {
    double preprocess_ms, encode_ms, project_ms;
    int32_t encoded; /* images that went through the encoder */
} core_visual_times;

/* Fills `visuals` (image_count of them; the caller frees each with core_visual_free, also after a failure), all but
 * their contents. All images go through the encoder as one batch. With a dump folder (NULL = none) pixels, features and
 * visual_tokens are written there, with dump_layers also features_layer_NN. [any-thread] */
more_status core_visual_encode(core_assembly *assembly, const llavamore_image *images, int32_t image_count,
                               const char *dump_folder, bool dump_layers, core_visual *visuals,
                               core_visual_times *times, more_error *error);
/* Rows of its own, their values not set, and zeroes for the content; false when out of memory: free it all the same. */
bool core_visual_create(core_visual *visual, int64_t count, int64_t width);
/* Another holder of the same rows. [any-thread] */
core_visual core_visual_share(const core_visual *visual);
/* One holder less. [any-thread] */
void core_visual_free(core_visual *visual);

#endif
