/* SPDX-License-Identifier: Apache-2.0
 *
 * The arithmetic of S2 multi-scale features, as the reference wrapper of LLaVA-MORE (s2wrapper) has it: one picture at
 * several sizes, each cut into tiles that the encoder takes, their features put together again and averaged down to the
 * grid of the smallest size. Plain arrays; multiscale.h puts it over an encoder. All functions are [any-thread].
 */
#ifndef CORE_SCALES_H
#define CORE_SCALES_H

#include <llavamore/status.h>
#include <stdint.h>

#define CORE_MAX_SCALES 8       /* sizes of one picture */
#define CORE_LARGEST_SCALE 8192 /* pixels a side */

/* One size of the picture. */
typedef struct core_scale {
    int64_t side;  /* pixels a side of the whole picture */
    int64_t tiles; /* tiles a side: side over the smallest scale, rounded up */
    int64_t tile;  /* pixels a side of a tile: side / tiles */
    int64_t grid;  /* patches a side of a tile */
} core_scale;

/* Sides from text: "336,672,1008" in any order becomes `count` scales in ascending order, their grids 0. Refused with
 * the reason alone: more than CORE_MAX_SCALES, sides outside 1 to CORE_LARGEST_SCALE, one side twice, a side that does
 * not divide into its tiles. */
more_status core_scales_parse(const char *text, core_scale scales[CORE_MAX_SCALES], int32_t *count, more_error *error);

/* Bicubic interpolation as PyTorch's F.interpolate(mode="bicubic"): a = -0.75, no antialiasing, align_corners = false,
 * edges repeated. in: f32 [channels, side, side], out: f32 [channels, out_side, out_side]. The same side copies.
 * MORE_ERROR_MEMORY where the table of weights has no room. */
more_status core_scale_resize(const float *in, int64_t channels, int64_t side, float *out, int64_t out_side,
                              more_error *error);
/* Tile `index`, counted row by row, of a picture f32 [channels, scale->side, scale->side] into f32 [channels,
 * scale->tile, scale->tile]. */
void core_scale_cut(const float *picture, int64_t channels, const core_scale *scale, int64_t index, float *tile);
/* Features of one picture's tiles to the grid of the smallest scale. Tile t of the picture is at features + t * stride,
 * f32 [grid * grid, width]; stitched together they are a map of tiles * grid a side, of which cell (y, x) of the result
 * is the mean of rows floor(y * map / out_grid) to ceil((y + 1) * map / out_grid) and columns alike (PyTorch's "area").
 * The result goes to out + cell * out_stride, `width` numbers a cell. Strides are counted in floats. */
void core_scale_join(const float *features, int64_t stride, const core_scale *scale, int64_t width, float *out,
                     int64_t out_grid, int64_t out_stride);

#endif
