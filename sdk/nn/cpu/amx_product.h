/* SPDX-License-Identifier: Apache-2.0
 *
 * The 16-bit products of a variant with AMX: 2 x 2 tiles of sums stay in the tile registers over a block of k, and
 * panels of any storage become pairs once for all rows of a block. There is no product of 8-bit tiles: a tile holds 64
 * terms and a scale covers 32, so half of it would stay empty and the sums leave the tiles after every product, for
 * less speed than bf16 tiles have, and at the price of rounding the activations to 8 bits.
 */
#ifndef NN_CPU_AMX_PRODUCT_H
#define NN_CPU_AMX_PRODUCT_H

#include "amx_tile.h"
#include "bf16_pack.h"
#include "bf16_unpack.h"

/* rows (of tiles) and panels are constants: 1 or 2. */
NN_INLINE void amx_block(int rows, int panels, const nn_pair_tile *tile, int64_t panel)
{
    amx_tiles tiles = amx_begin(tile->height);
    const int64_t c_bytes = tile->c_stride * 4, x_bytes = NN_X_STRIDE * 4;
    const char *w = (const char *)tile->w + panel * tile->panel_stride;
    const uint32_t *x = tile->x;
    float *c = tile->c + panel * NN_PANEL;
    amx_barrier();
    NN_UNROLL
    for (int i = 0; i < 4; i++) {
        const int r = i / 2, p = i % 2;
        if (r >= rows || p >= panels)
            continue;
        if (tile->accumulate)
            amx_load(&tiles, AMX_C + i, c + r * AMX_HEIGHT * tile->c_stride + p * NN_PANEL, c_bytes);
        else
            amx_zero(&tiles, AMX_C + i);
    }
    for (int64_t k = 0; k < tile->depth / 2; k += AMX_PAIRS) {
        NN_UNROLL
        for (int p = 0; p < panels; p++)
            amx_load(&tiles, AMX_B + p, w + p * tile->panel_stride, AMX_LINE);
        NN_UNROLL
        for (int r = 0; r < rows; r++) {
            amx_load(&tiles, AMX_A + r, x + r * AMX_HEIGHT * NN_X_STRIDE + k, x_bytes);
            NN_UNROLL
            for (int p = 0; p < panels; p++)
                amx_dot_bf16(&tiles, r, p);
        }
        w += AMX_PAIRS * AMX_LINE;
    }
    NN_UNROLL
    for (int i = 0; i < 4; i++) {
        const int r = i / 2, p = i % 2;
        if (r < rows && p < panels)
            amx_store(&tiles, AMX_C + i, c + r * AMX_HEIGHT * tile->c_stride + p * NN_PANEL, c_bytes);
    }
    amx_barrier();
}

NN_INLINE void amx_rows_of(int rows, const nn_pair_tile *tile)
{
    int64_t p = 0;
    for (; p + 2 <= tile->panels; p += 2)
        amx_block(rows, 2, tile, p);
    if (p < tile->panels)
        amx_block(rows, 1, tile, p);
}

static void amx_tile_product(const nn_pair_tile *tile)
{
    if (tile->rows > AMX_HEIGHT)
        amx_rows_of(2, tile);
    else
        amx_rows_of(1, tile);
}

static const nn_pair_kernels pair_kernels = {
    .instruction = "bf16 tiles",
    .tile_rows = 2 * AMX_HEIGHT,
    .tile_panels = 2,
    .row_step = AMX_HEIGHT,
    .block_rows = 20 * 2 * AMX_HEIGHT,
    .quantised_rows = 2 * AMX_HEIGHT,
    .begin = amx_configure,
    .end = amx_release,
    .round = round_pairs,
    .pair = {pair_f32, pair_f16, pair_bf16, pair_q8, pair_q4, pair_q4_offset},
    .tile = amx_tile_product,
};

#endif
