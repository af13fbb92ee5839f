/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/scales.h"

#include "plugin/value.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAPS 4 /* of a cubic */

/* ---- Sides ------------------------------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    const int32_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

more_status core_scales_parse(const char *text, core_scale scales[CORE_MAX_SCALES], int32_t *count, more_error *error)
{
    int32_t sides[CORE_MAX_SCALES];
    more_status status = core_int32_list(text, sides, CORE_MAX_SCALES, count, error);
    if (status != MORE_OK)
        return status;
    qsort(sides, (size_t)*count, sizeof *sides, ascending);
    for (int32_t i = 0; i < *count; i++) {
        if (sides[i] < 1 || sides[i] > CORE_LARGEST_SCALE)
            return more_fail(error, MORE_ERROR_ARGUMENT, "%d is not within 1 to %d pixels", sides[i],
                             CORE_LARGEST_SCALE);
        if (i && sides[i] == sides[i - 1])
            return more_fail(error, MORE_ERROR_ARGUMENT, "%d stands twice", sides[i]);
        core_scale *scale = &scales[i];
        *scale = (core_scale){.side = sides[i], .tiles = (sides[i] + sides[0] - 1) / sides[0]};
        scale->tile = scale->side / scale->tiles;
        if (scale->tile * scale->tiles != scale->side)
            return more_fail(error, MORE_ERROR_ARGUMENT, "%d pixels do not divide into %lld tiles of one size",
                             sides[i], (long long)scale->tiles);
    }
    return MORE_OK;
}

/* ---- Bicubic ---------------------------------------------------------------------------------------------------- */

/* The samples and weights that make one sample of a line. */
typedef struct taps {
    int64_t at[TAPS];
    float weight[TAPS];
} taps;

/* Keys' cubic with a = -0.75, in the reference's single precision and order of operations. */
static float near_weight(float x)
{
    return (1.25F * x - 2.25F) * x * x + 1.0F;
}

static float far_weight(float x)
{
    return ((-0.75F * x + 3.75F) * x - 6.0F) * x + 3.0F;
}

static taps taps_of(int64_t index, float scale, int64_t side)
{
    taps made;
    float position = fmaf(scale, (float)index + 0.5F, -0.5F); /* rounded once, as PyTorch's vector code does */
    int64_t first = (int64_t)floorf(position);
    float t = position - (float)first;
    made.weight[0] = far_weight(t + 1.0F);
    made.weight[1] = near_weight(t);
    made.weight[2] = near_weight(1.0F - t);
    made.weight[3] = far_weight(1.0F - t + 1.0F);
    for (int64_t k = 0; k < TAPS; k++) {
        int64_t at = first - 1 + k;
        made.at[k] = at < 0 ? 0 : at < side ? at : side - 1;
    }
    return made;
}

/* One line of the result from the four lines that it lies between. */
static void resize_line(const float *plane, int64_t side, const taps *down, const taps *across, float *out,
                        int64_t out_side)
{
    for (int64_t x = 0; x < out_side; x++) {
        float sum = 0;
        for (int k = 0; k < TAPS; k++) {
            const float *line = plane + down->at[k] * side;
            float inner = line[across[x].at[0]] * across[x].weight[0];
            for (int j = 1; j < TAPS; j++)
                inner += line[across[x].at[j]] * across[x].weight[j];
            sum += inner * down->weight[k];
        }
        out[x] = sum;
    }
}

more_status core_scale_resize(const float *in, int64_t channels, int64_t side, float *out, int64_t out_side,
                              more_error *error)
{
    if (side == out_side) {
        memcpy(out, in, (size_t)(channels * side * side) * sizeof *out);
        return MORE_OK;
    }
    taps *table = calloc((size_t)out_side, sizeof *table);
    if (!table)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory while resizing to %lld pixels", (long long)out_side);
    float scale = (float)side / (float)out_side;
    for (int64_t i = 0; i < out_side; i++)
        table[i] = taps_of(i, scale, side);
    for (int64_t c = 0; c < channels; c++)
        for (int64_t y = 0; y < out_side; y++)
            resize_line(in + c * side * side, side, &table[y], table, out + (c * out_side + y) * out_side, out_side);
    free(table);
    return MORE_OK;
}

/* ---- Tiles ------------------------------------------------------------------------------------------------------ */

void core_scale_cut(const float *picture, int64_t channels, const core_scale *scale, int64_t index, float *tile)
{
    int64_t top = index / scale->tiles * scale->tile, left = index % scale->tiles * scale->tile;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t y = 0; y < scale->tile; y++)
            memcpy(tile + (c * scale->tile + y) * scale->tile,
                   picture + (c * scale->side + top + y) * scale->side + left, (size_t)scale->tile * sizeof *tile);
}

static void average(const float *features, int64_t stride, const core_scale *scale, int64_t width,
                    const int64_t rows[2], const int64_t columns[2], float *out)
{
    float cells = (float)((rows[1] - rows[0]) * (columns[1] - columns[0]));
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t y = rows[0]; y < rows[1]; y++)
        for (int64_t x = columns[0]; x < columns[1]; x++) {
            int64_t tile = y / scale->grid * scale->tiles + x / scale->grid;
            const float *cell = features + tile * stride + (y % scale->grid * scale->grid + x % scale->grid) * width;
            for (int64_t c = 0; c < width; c++)
                out[c] += cell[c];
        }
    for (int64_t c = 0; c < width; c++)
        out[c] /= cells;
}

void core_scale_join(const float *features, int64_t stride, const core_scale *scale, int64_t width, float *out,
                     int64_t out_grid, int64_t out_stride)
{
    int64_t map = scale->tiles * scale->grid;
    for (int64_t y = 0; y < out_grid; y++)
        for (int64_t x = 0; x < out_grid; x++) {
            int64_t rows[2] = {y * map / out_grid, ((y + 1) * map + out_grid - 1) / out_grid};
            int64_t columns[2] = {x * map / out_grid, ((x + 1) * map + out_grid - 1) / out_grid};
            average(features, stride, scale, width, rows, columns, out + (y * out_grid + x) * out_stride);
        }
}
