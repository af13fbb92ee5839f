/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix products of a variant, on its vector: a tile of few rows and panels held in registers, and the stream of
 * one row through panels. Included by each variant's file.
 */
#ifndef NN_CPU_PRODUCT_H
#define NN_CPU_PRODUCT_H

#include "kernels.h"

#define PANEL_VECS (NN_PANEL / VEC_LANES)

/* `storage` is a constant wherever this is called, so that one branch remains. */
NN_INLINE vec load_stored(nn_storage storage, const void *w, int64_t index)
{
    if (storage == NN_F16)
        return vec_load_f16((const uint16_t *)w + index);
    if (storage == NN_BF16)
        return vec_load_bf16((const uint16_t *)w + index);
    return vec_load((const float *)w + index);
}

NN_INLINE const void *stored_at(nn_storage storage, const void *w, int64_t index)
{
    return (const char *)w + index * (storage == NN_F32 ? 4 : 2);
}

/* rows and panels are constants: the sums live in registers. */
NN_INLINE void tile_sized(nn_storage storage, int64_t rows, int64_t panels, const nn_tile *tile)
{
    const int64_t columns = panels * PANEL_VECS;
    vec sum[TILE_ROWS][TILE_PANELS * PANEL_VECS];
    const float *x = tile->x;
    const void *w = tile->w;
    uintptr_t ahead = (uintptr_t)tile->ahead; /* only asked for, so that it may lie behind the matrix's end */
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            sum[r][v] = vec_zero();
    }
    for (int64_t k = 0; k < tile->depth; k++) {
        vec column[TILE_PANELS * PANEL_VECS];
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            column[v] = load_stored(storage, w, v / PANEL_VECS * tile->panel_stride + v % PANEL_VECS * VEC_LANES);
        NN_UNROLL
        for (int64_t r = 0; r < rows; r++) {
            vec factor = vec_set(x[r * NN_X_STRIDE + k]);
            NN_UNROLL
            for (int64_t v = 0; v < columns; v++)
                sum[r][v] = vec_fma(factor, column[v], sum[r][v]);
        }
        w = stored_at(storage, w, NN_PANEL);
        NN_UNROLL
        for (int64_t p = 0; p < panels; p++)
            vec_prefetch((const void *)(ahead + (uintptr_t)(p * tile->ahead_stride)));
        ahead += (uintptr_t)tile->ahead_step;
    }
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++) {
            float *c = tile->c + r * tile->c_stride + v * VEC_LANES;
            vec_store(c, tile->accumulate ? vec_add(vec_load(c), sum[r][v]) : sum[r][v]);
        }
    }
}

NN_INLINE void tile_rows(nn_storage storage, int64_t panels, const nn_tile *tile)
{
    switch (tile->rows) {
    case 1:
        tile_sized(storage, 1, panels, tile);
        break;
    case 2:
        tile_sized(storage, 2, panels, tile);
        break;
    case 3:
        tile_sized(storage, 3, panels, tile);
        break;
#if TILE_ROWS > 3
    case 4:
        tile_sized(storage, 4, panels, tile);
        break;
    case 5:
        tile_sized(storage, 5, panels, tile);
        break;
    case 6:
        tile_sized(storage, 6, panels, tile);
        break;
#endif
#if TILE_ROWS > 6
    case 7:
        tile_sized(storage, 7, panels, tile);
        break;
    case 8:
        tile_sized(storage, 8, panels, tile);
        break;
    case 9:
        tile_sized(storage, 9, panels, tile);
        break;
    case 10:
        tile_sized(storage, 10, panels, tile);
        break;
    case 11:
        tile_sized(storage, 11, panels, tile);
        break;
    case 12:
        tile_sized(storage, 12, panels, tile);
        break;
    case 13:
        tile_sized(storage, 13, panels, tile);
        break;
    case 14:
        tile_sized(storage, 14, panels, tile);
        break;
#endif
    default:
        break;
    }
}

NN_INLINE void tile_panels(nn_storage storage, const nn_tile *tile)
{
    if (TILE_PANELS > 1 && tile->panels > 1)
        tile_rows(storage, TILE_PANELS, tile);
    else
        tile_rows(storage, 1, tile);
}

static void tile_f32(const nn_tile *tile)
{
    tile_panels(NN_F32, tile);
}

static void tile_f16(const nn_tile *tile)
{
    tile_panels(NN_F16, tile);
}

static void tile_bf16(const nn_tile *tile)
{
    tile_panels(NN_BF16, tile);
}

/* `panels` is a constant: that many sums run side by side, which hides the latency of each. */
NN_INLINE void stream_sized(nn_storage storage, int64_t panels, const float *x, int64_t depth, const void *w,
                            int64_t panel_stride, float *c)
{
    const int64_t columns = panels * PANEL_VECS;
    vec total[STREAM_PANELS * PANEL_VECS];
    NN_UNROLL
    for (int64_t v = 0; v < columns; v++)
        total[v] = vec_zero();
    for (int64_t first = 0; first < depth; first += NN_K_BLOCK) {
        const int64_t last = first + NN_K_BLOCK < depth ? first + NN_K_BLOCK : depth;
        vec sum[STREAM_PANELS * PANEL_VECS];
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            sum[v] = vec_zero();
        for (int64_t k = first; k < last; k++) {
            vec factor = vec_set(x[k]);
            NN_UNROLL
            for (int64_t v = 0; v < columns; v++)
                sum[v] = vec_fma(
                    factor,
                    load_stored(storage, w, v / PANEL_VECS * panel_stride + k * NN_PANEL + v % PANEL_VECS * VEC_LANES),
                    sum[v]);
        }
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            total[v] = vec_add(total[v], sum[v]);
    }
    NN_UNROLL
    for (int64_t v = 0; v < columns; v++)
        vec_store(c + v * VEC_LANES, total[v]);
}

NN_INLINE void stream(nn_storage storage, const float *x, int64_t depth, const void *w, int64_t panel_stride,
                      int64_t panels, float *c)
{
    int64_t p = 0;
    for (; p + STREAM_PANELS <= panels; p += STREAM_PANELS)
        stream_sized(storage, STREAM_PANELS, x, depth, stored_at(storage, w, p * panel_stride), panel_stride,
                     c + p * NN_PANEL);
    for (; p < panels; p++)
        stream_sized(storage, 1, x, depth, stored_at(storage, w, p * panel_stride), panel_stride, c + p * NN_PANEL);
}

static void stream_f32(const float *x, int64_t depth, const void *w, int64_t panel_stride, int64_t panels, float *c)
{
    stream(NN_F32, x, depth, w, panel_stride, panels, c);
}

static void stream_f16(const float *x, int64_t depth, const void *w, int64_t panel_stride, int64_t panels, float *c)
{
    stream(NN_F16, x, depth, w, panel_stride, panels, c);
}

static void stream_bf16(const float *x, int64_t depth, const void *w, int64_t panel_stride, int64_t panels, float *c)
{
    stream(NN_BF16, x, depth, w, panel_stride, panels, c);
}

NN_INLINE void widen(nn_storage storage, const void *stored, int64_t count, float *values)
{
    for (int64_t i = 0; i < count; i += VEC_LANES)
        vec_store(values + i, load_stored(storage, stored, i));
}

static void widen_f32(const void *stored, int64_t count, float *values)
{
    widen(NN_F32, stored, count, values);
}

static void widen_f16(const void *stored, int64_t count, float *values)
{
    widen(NN_F16, stored, count, values);
}

static void widen_bf16(const void *stored, int64_t count, float *values)
{
    widen(NN_BF16, stored, count, values);
}

#endif
