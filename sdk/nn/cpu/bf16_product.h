/* SPDX-License-Identifier: Apache-2.0
 *
 * The 16-bit products of a variant with the bf16 dot product: rows and panels whose sums the registers hold, the panels
 * as pairs made before or straight from the stored ones. Included by the variant's file.
 */
#ifndef NN_CPU_BF16_PRODUCT_H
#define NN_CPU_BF16_PRODUCT_H

#include "bf16_pack.h"

/* 12 x 2 sums, 2 panels and a broadcast row fill the registers and keep both pipes busy: 99% of the register peak on
 * Zen 4, against 94% of 14 x 2, whose row addresses no longer fit. */
enum { PAIR_ROWS = 12, PAIR_PANELS = 2, PAIR_ROW_PANELS = 4 /* of one row alone */ };

/* What w holds: NN_F32, NN_F16, NN_BF16, or this. A constant wherever it is an argument. */
enum { PAIR_FORM = NN_STORAGES };

NN_INLINE int64_t form_bytes(int form)
{
    return form == PAIR_FORM ? 4 * NN_PANEL : pair_bytes((nn_storage)form);
}

NN_INLINE pairs16 load_form(int form, const char *w)
{
    return form == PAIR_FORM ? pairs_load(w) : load_pairs((nn_storage)form, w);
}

/* A pair of every panel times the pair of every row. */
NN_INLINE void add_products(int64_t rows, int64_t panels, const uint32_t *x, const pairs16 column[PAIR_ROW_PANELS],
                            floats16 sum[PAIR_ROWS][PAIR_ROW_PANELS])
{
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        pairs16 factor = pairs_set(x[r * NN_X_STRIDE]);
        NN_UNROLL
        for (int64_t p = 0; p < panels; p++)
            sum[r][p] = pairs_dot(sum[r][p], factor, column[p]);
    }
}

/* `count` terms, all of one block of x. */
NN_INLINE void add_block(int form, int64_t rows, int64_t panels, const nn_pair_tile *tile, const uint32_t *x,
                         const char *w, int64_t count, floats16 sum[PAIR_ROWS][PAIR_ROW_PANELS])
{
    pairs16 column[PAIR_ROW_PANELS];
    for (int64_t k = 0; k < count / 2; k++) {
        NN_UNROLL
        for (int64_t p = 0; p < panels; p++)
            column[p] = load_form(form, w + p * tile->panel_stride);
        add_products(rows, panels, x + k, column, sum);
        w += form_bytes(form);
    }
    if (form != PAIR_FORM && count % 2) {
        NN_UNROLL
        for (int64_t p = 0; p < panels; p++)
            column[p] = load_last((nn_storage)form, w + p * tile->panel_stride);
        add_products(rows, panels, x + count / 2, column, sum);
    }
}

/* rows and panels are constants: the sums live in registers. */
NN_INLINE void pair_sized(int form, int64_t rows, int64_t panels, const nn_pair_tile *tile, int64_t panel)
{
    floats16 sum[PAIR_ROWS][PAIR_ROW_PANELS];
    const uint32_t *x = tile->x;
    const char *w = (const char *)tile->w + panel * tile->panel_stride;
    float *c = tile->c + panel * NN_PANEL;
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        NN_UNROLL
        for (int64_t p = 0; p < panels; p++)
            sum[r][p] = tile->accumulate ? floats_load(c + r * tile->c_stride + p * NN_PANEL) : floats_zero();
    }
    for (int64_t k = 0; k < tile->depth; k += NN_PAIR_BLOCK) {
        const int64_t rest = tile->depth - k;
        add_block(form, rows, panels, tile, x, w, rest < NN_PAIR_BLOCK ? rest : NN_PAIR_BLOCK, sum);
        x += tile->x_block;
        w += NN_PAIR_BLOCK / 2 * form_bytes(form);
    }
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        NN_UNROLL
        for (int64_t p = 0; p < panels; p++)
            floats_store(c + r * tile->c_stride + p * NN_PANEL, sum[r][p]);
    }
}

/* `side` panels at a time. */
NN_INLINE void pair_side(int form, int64_t rows, int64_t side, const nn_pair_tile *tile)
{
    int64_t p = 0;
    for (; p + side <= tile->panels; p += side)
        pair_sized(form, rows, side, tile, p);
    for (; p < tile->panels; p++)
        pair_sized(form, rows, 1, tile, p);
}

NN_INLINE void pair_rows(int form, const nn_pair_tile *tile)
{
    switch (tile->rows) {
    case 1:
        pair_side(form, 1, PAIR_ROW_PANELS, tile);
        break;
    case 2:
        pair_side(form, 2, PAIR_PANELS, tile);
        break;
    case 3:
        pair_side(form, 3, PAIR_PANELS, tile);
        break;
    case 4:
        pair_side(form, 4, PAIR_PANELS, tile);
        break;
    case 5:
        pair_side(form, 5, PAIR_PANELS, tile);
        break;
    case 6:
        pair_side(form, 6, PAIR_PANELS, tile);
        break;
    case 7:
        pair_side(form, 7, PAIR_PANELS, tile);
        break;
    case 8:
        pair_side(form, 8, PAIR_PANELS, tile);
        break;
    case 9:
        pair_side(form, 9, PAIR_PANELS, tile);
        break;
    case 10:
        pair_side(form, 10, PAIR_PANELS, tile);
        break;
    case 11:
        pair_side(form, 11, PAIR_PANELS, tile);
        break;
    case PAIR_ROWS:
        pair_side(form, PAIR_ROWS, PAIR_PANELS, tile);
        break;
    default:
        break;
    }
}

static void pair_tile(const nn_pair_tile *tile)
{
    pair_rows(PAIR_FORM, tile);
}

static void pair_few_f32(const nn_pair_tile *tile)
{
    pair_rows(NN_F32, tile);
}

static void pair_few_f16(const nn_pair_tile *tile)
{
    pair_rows(NN_F16, tile);
}

static void pair_few_bf16(const nn_pair_tile *tile)
{
    pair_rows(NN_BF16, tile);
}

static const nn_pair_kernels pair_kernels = {
    .instruction = "bf16 dot",
    .tile_rows = PAIR_ROWS,
    .tile_panels = PAIR_PANELS,
    .row_step = 1,
    .block_rows = 25 * PAIR_ROWS,
    .quantised_rows = INT64_MAX,
    .round = round_pairs,
    .pair = {pair_f32, pair_f16, pair_bf16},
    .tile = pair_tile,
    .few = {pair_few_f32, pair_few_f16, pair_few_bf16},
};

#endif
