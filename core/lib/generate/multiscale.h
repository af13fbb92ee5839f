/* SPDX-License-Identifier: Apache-2.0
 *
 * S2 over any vision plugin: the encoder sees tiles of its own size and needs no line of code for it.
 *
 * A feature row holds the scales one behind the other, the smallest first, and within a scale what the encoder alone
 * would give: its layers in the order of `layer =`. So channel (s * layers + l) * feature_width + c, which is the order
 * of the reference wrapper around a tower that joins layers. The rows are the patches of the smallest scale.
 */
#ifndef CORE_MULTISCALE_H
#define CORE_MULTISCALE_H

#include "assembly/assembly.h"

/* Fills in the grids of assembly->scales and checks that the encoder takes every scale's tiles, and patch rows alone.
 * [one-thread-per-instance] */
more_status core_multiscale_check(core_assembly *assembly, more_error *error);
/* plan() of the encoder for a picture that preprocessing has made width x height pixels: as the encoder says, or,
 * under scales, the largest scale's pixels and the smallest one's grid. [any-thread] */
more_status core_multiscale_plan(const core_assembly *assembly, int64_t width, int64_t height, more_vision_plan *plan,
                                 more_error *error);
/* Images that one picture is to the encoder in one batch at most: 1, or the tiles of the largest scale. */
int64_t core_multiscale_images(const core_assembly *assembly);
/* Bytes that encode below takes for one picture, beside the encoder's own; 0 without scales. */
int64_t core_multiscale_bytes(const core_assembly *assembly);
/* Encodes pictures of the largest scale's size, f32 [3, side, side] each, all tiles of a scale in one batch, the tile's
 * number slower than the picture's. Per layer features[l] gets f32 [images, grid * grid, scales * feature_width],
 * counts[i] the rows of a picture. [one-thread-per-instance] */
more_status core_multiscale_encode(const core_assembly *assembly, const float *const *pixels, int64_t images,
                                   const int32_t *layers, int32_t layer_count, float *const *features, int64_t *counts,
                                   more_error *error);

#endif
