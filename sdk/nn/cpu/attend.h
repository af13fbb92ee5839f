/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of a tile of queries over a block of keys, on the vector of a variant: scores, their weights under the
 * running softmax, and the weighted sums of values, each a small matrix product whose sums stay in registers. Included
 * by each variant's file.
 */
#ifndef NN_CPU_ATTEND_H
#define NN_CPU_ATTEND_H

#include "kernels.h"
#include "product.h"
#include "rows.h"

enum {
    ATTEND_COLUMNS = 4 * PANEL_VECS, /* vectors of the widest tile */
    ATTEND_BLOCKS = 2                /* blocks of channels in it */
};

/* 2^x for x <= 1 or so: 0 below -150, NaN stays. Polynomial of degree 5 (minimax, relative 1e-7), 1 exactly at 0. */
NN_INLINE vec vec_exp2(vec x)
{
    vec bounded = vec_max(vec_set(-152.0f), x);
    vec n = vec_round(bounded);
    vec r = vec_sub(bounded, n);
    vec p = vec_set(1.326472731e-3f);
    p = vec_fma(p, r, vec_set(9.671512991e-3f));
    p = vec_fma(p, r, vec_set(5.550733581e-2f));
    p = vec_fma(p, r, vec_set(2.402224243e-1f));
    p = vec_fma(p, r, vec_set(6.931470037e-1f));
    p = vec_fma(p, r, vec_set(1.0f));
    return vec_scale_exponent(p, n);
}

/* `storage` is a constant wherever this is called. */
NN_INLINE vec load_cached(nn_storage storage, const void *values, int64_t index)
{
    return storage == NN_Q8 ? vec_load_s8((const int8_t *)values + index) : load_stored(storage, values, index);
}

/* Where the values stand that are asked for from channel `k` of a tile of keys on: as far into its pages, one after the
 * other, since memory serves one stream of lines best. */
NN_INLINE uintptr_t values_ahead(nn_storage storage, const nn_attend *a, int64_t panel, int64_t panels, int64_t k)
{
    int64_t step = panel % 2 * a->dimension + k * panels, page = panel / 2 + step / (2 * a->dimension);
    return (uintptr_t)a->values[page] + (uintptr_t)nn_cached_bytes(storage, step % (2 * a->dimension) * NN_PANEL);
}

/* scores[r][key] = q[r] . key for `panels` panels of 16 keys, of the block's from `panel` on; rows and panels are
 * constants. */
NN_INLINE void score_tile(nn_storage storage, int64_t rows, int64_t panels, const nn_attend *a, int64_t panel)
{
    const int64_t columns = panels * PANEL_VECS, d = a->dimension;
    const int64_t bytes = nn_key_panel_bytes(storage, d), scales = nn_scales_bytes(storage, d, NN_PANEL);
    const char *w[4];
    vec sum[TILE_ROWS][ATTEND_COLUMNS];
    NN_UNROLL
    for (int64_t p = 0; p < panels; p++) {
        int64_t page = (panel + p) / (NN_PAGE / NN_PANEL), at = (panel + p) % (NN_PAGE / NN_PANEL) * bytes;
        w[p] = (const char *)a->keys[page] + at;
    }
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            sum[r][v] = vec_zero();
    }
    const float *q = a->q;
    for (int64_t first = 0; first < d; first += NN_BLOCK) {
        const int64_t last = first + NN_BLOCK < d ? first + NN_BLOCK : d;
        const uintptr_t ahead = values_ahead(storage, a, panel, panels, first);
        vec scale[ATTEND_COLUMNS], column[ATTEND_COLUMNS];
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            if (storage == NN_Q8)
                scale[v] = vec_load_f16((const uint16_t *)(const void *)w[v / PANEL_VECS] +
                                        first / NN_BLOCK * NN_PANEL + v % PANEL_VECS * VEC_LANES);
        for (int64_t k = first; k < last; k++) {
            NN_UNROLL
            for (int64_t v = 0; v < columns; v++) {
                column[v] = load_cached(storage, w[v / PANEL_VECS] + scales, k * NN_PANEL + v % PANEL_VECS * VEC_LANES);
                if (storage == NN_Q8)
                    column[v] = vec_mul(column[v], scale[v]);
            }
            NN_UNROLL
            for (int64_t r = 0; r < rows; r++) {
                vec factor = vec_set(q[k * NN_PANEL + r]);
                NN_UNROLL
                for (int64_t v = 0; v < columns; v++)
                    sum[r][v] = vec_fma(factor, column[v], sum[r][v]);
            }
            if (rows <= NN_ATTEND_FEW) {
                NN_UNROLL
                for (int64_t p = 0; p < panels; p++)
                    vec_prefetch((const void *)(ahead + (uintptr_t)nn_cached_bytes(storage, ((k - first) * panels + p) *
                                                                                                NN_PANEL)));
            }
        }
    }
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            vec_store(a->scores + r * NN_SCORE_STRIDE + panel * NN_PANEL + v * VEC_LANES, sum[r][v]);
    }
}

NN_INLINE float first_lane(vec a)
{
    float lanes[VEC_LANES];
    vec_store(lanes, a);
    return lanes[0];
}

/* Scores of one query, columns [from, to), into weights; factor is log2(e) times the score's scale, or 1 where the
 * scores are so already. Returns what sums made under the old maximum are to be multiplied with. */
NN_INLINE float weigh_row(bool mask, float *s, int64_t from, int64_t to, int64_t first, int64_t last, float factor,
                          nn_running *running)
{
    vec largest = vec_set(-INFINITY), sum = vec_zero(), scale = vec_set(factor);
    for (int64_t i = from; i < to; i += VEC_LANES) {
        vec x = vec_mul(vec_load(s + i), scale);
        largest = vec_max(mask ? masked(x, i, first, last) : x, largest);
    }
    float old = running->maximum, maximum = vec_maximum(largest);
    maximum = maximum > old ? maximum : old;
    vec offset = vec_set(maximum);
    for (int64_t i = from; i < to; i += VEC_LANES) {
        vec x = vec_fms(vec_load(s + i), scale, offset);
        vec e = vec_exp2(mask ? masked(x, i, first, last) : x);
        sum = vec_add(sum, e);
        vec_store(s + i, e);
    }
    float correction = maximum > old ? first_lane(vec_exp2(vec_set(old - maximum))) : 1.0f;
    running->sum = running->sum * correction + vec_sum(sum);
    running->maximum = maximum;
    return correction;
}

/* s = log2(e) cap tanh(scale s / cap) */
static void cap_scores(float *s, int64_t from, int64_t to, float scale, float cap)
{
    vec inner = vec_set(scale / cap), outer = vec_set(cap * NN_LOG2_E);
    for (int64_t i = from; i < to; i += VEC_LANES)
        vec_store(s + i, vec_mul(vec_tanh(vec_mul(vec_load(s + i), inner)), outer));
}

/* All scores of the tile into weights; factors[r] as weigh_row returns it. */
static void weigh(const nn_attend *a, int64_t from, int64_t to, float *factors)
{
    float factor = a->softcap > 0.0f ? 1.0f : a->scale * NN_LOG2_E;
    for (int64_t r = 0; r < a->rows; r++) {
        float *s = a->scores + r * NN_SCORE_STRIDE;
        int64_t first = a->first[r] - a->position, last = a->last[r] - a->position;
        if (a->softcap > 0.0f)
            cap_scores(s, from, to, a->scale, a->softcap);
        if (first <= from && last >= to)
            factors[r] = weigh_row(false, s, from, to, 0, 0, factor, &a->running[r]);
        else
            factors[r] = weigh_row(true, s, from, to, first, last, factor, &a->running[r]);
    }
}

/* sums[r] = factors[r] sums[r] + weights[r] V for `panels` panels of 16 channels from `panel` on. */
NN_INLINE void sum_tile(nn_storage storage, int64_t rows, int64_t panels, const nn_attend *a, int64_t panel,
                        const float *factors)
{
    const int64_t columns = panels * PANEL_VECS, d = a->dimension;
    const int64_t scales = nn_scales_bytes(storage, d, NN_PAGE), stride = nn_cached_bytes(storage, NN_PAGE * NN_PANEL);
    vec sum[TILE_ROWS][ATTEND_COLUMNS];
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            sum[r][v] =
                vec_mul(vec_load(a->sums + r * a->sum_stride + panel * NN_PANEL + v * VEC_LANES), vec_set(factors[r]));
    }
    for (int64_t key = a->first_key, end; key < a->last_key; key = end) {
        const int64_t page = key / NN_PAGE;
        end = (page + 1) * NN_PAGE < a->last_key ? (page + 1) * NN_PAGE : a->last_key;
        const char *w = (const char *)a->values[page] + scales + panel * stride;
        uintptr_t ahead = (uintptr_t)a->ahead[page] + (uintptr_t)(panel * stride);
        float scale[ATTEND_BLOCKS][NN_PAGE];
        if (storage == NN_Q8)
            for (int64_t b = 0; b < (panels + 1) / 2; b++)
                for (int64_t i = 0; i < NN_PAGE; i += VEC_LANES)
                    vec_store(scale[b] + i,
                              vec_load_f16((const uint16_t *)a->values[page] + (panel / 2 + b) * NN_PAGE + i));
        for (int64_t i = key % NN_PAGE; i < key % NN_PAGE + end - key; i++) {
            vec column[ATTEND_COLUMNS];
            NN_UNROLL
            for (int64_t v = 0; v < columns; v++) {
                column[v] =
                    load_cached(storage, w + v / PANEL_VECS * stride, i * NN_PANEL + v % PANEL_VECS * VEC_LANES);
                if (storage == NN_Q8)
                    column[v] = vec_mul(column[v], vec_set(scale[v / PANEL_VECS / 2][i]));
            }
            NN_UNROLL
            for (int64_t r = 0; r < rows; r++) {
                vec factor = vec_set(a->scores[r * NN_SCORE_STRIDE + page * NN_PAGE + i]);
                NN_UNROLL
                for (int64_t v = 0; v < columns; v++)
                    sum[r][v] = vec_fma(factor, column[v], sum[r][v]);
            }
            if (rows <= NN_ATTEND_FEW) {
                NN_UNROLL
                for (int64_t p = 0; p < panels; p++)
                    vec_prefetch(
                        (const void *)(ahead + (uintptr_t)nn_cached_bytes(storage, (i * panels + p) * NN_PANEL)));
            }
        }
    }
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            vec_store(a->sums + r * a->sum_stride + panel * NN_PANEL + v * VEC_LANES, sum[r][v]);
    }
}

/* `rows` is a constant. As many panels side by side as registers hold sums: few rows alone would wait for each other.
 */
NN_INLINE void attend_sized(nn_storage storage, int64_t rows, const nn_attend *a)
{
    enum { SUMS = TILE_ROWS * TILE_PANELS };
    const int64_t side = rows * 4 < SUMS ? 4 : rows * 2 <= SUMS ? 2 : 1;
    const int64_t first = a->first_key / NN_PANEL, last = (a->last_key + NN_PANEL - 1) / NN_PANEL;
    const int64_t panels = (a->dimension + NN_PANEL - 1) / NN_PANEL;
    float factors[TILE_ROWS];
    int64_t p = first;
    for (; p + side <= last; p += side)
        score_tile(storage, rows, side, a, p);
    for (; side > 1 && p < last; p++)
        score_tile(storage, rows, 1, a, p);
    weigh(a, first * NN_PANEL, last * NN_PANEL, factors);
    for (p = 0; p + side <= panels; p += side)
        sum_tile(storage, rows, side, a, p, factors);
    for (; side > 1 && p < panels; p++)
        sum_tile(storage, rows, 1, a, p, factors);
}

/* False when there are more rows. */
NN_INLINE bool attend_few(nn_storage storage, const nn_attend *a)
{
    switch (a->rows) {
    case 1:
        attend_sized(storage, 1, a);
        return true;
    case 2:
        attend_sized(storage, 2, a);
        return true;
    case 3:
        attend_sized(storage, 3, a);
        return true;
#if TILE_ROWS > 3
    case 4:
        attend_sized(storage, 4, a);
        return true;
    case 5:
        attend_sized(storage, 5, a);
        return true;
    case 6:
        attend_sized(storage, 6, a);
        return true;
#endif
    default:
        return false;
    }
}

static void attend_f32(const nn_attend *a)
{
    if (attend_few(NN_F32, a))
        return;
#if TILE_ROWS > 6
    switch (a->rows) {
    case 7:
        attend_sized(NN_F32, 7, a);
        break;
    case 8:
        attend_sized(NN_F32, 8, a);
        break;
    case 9:
        attend_sized(NN_F32, 9, a);
        break;
    case 10:
        attend_sized(NN_F32, 10, a);
        break;
    case 11:
        attend_sized(NN_F32, 11, a);
        break;
    case 12:
        attend_sized(NN_F32, 12, a);
        break;
    case 13:
        attend_sized(NN_F32, 13, a);
        break;
    case 14:
        attend_sized(NN_F32, 14, a);
        break;
    default:
        break;
    }
#endif
}

static void attend_f16(const nn_attend *a)
{
    attend_few(NN_F16, a);
}

static void attend_bf16(const nn_attend *a)
{
    attend_few(NN_BF16, a);
}

static void attend_q8(const nn_attend *a)
{
    attend_few(NN_Q8, a);
}

static void widen_page_f16(const void *page, int64_t dimension, float *to)
{
    widen(NN_F16, page, nn_page_keys(dimension) + nn_page_values(dimension), to);
}

static void widen_page_bf16(const void *page, int64_t dimension, float *to)
{
    widen(NN_BF16, page, nn_page_keys(dimension) + nn_page_values(dimension), to);
}

/* The products that score_tile and sum_tile make of a number and its scale. */
static void widen_page_q8(const void *page, int64_t dimension, float *to)
{
    const char *keys = page, *values = keys + nn_values_at(NN_Q8, dimension);
    for (int64_t half = 0; half < NN_PAGE / NN_PANEL; half++, keys += nn_key_panel_bytes(NN_Q8, dimension)) {
        const int8_t *numbers = (const int8_t *)keys + nn_scales_bytes(NN_Q8, dimension, NN_PANEL);
        for (int64_t k = 0; k < dimension; k++)
            for (int64_t v = 0; v < NN_PANEL; v += VEC_LANES, to += VEC_LANES)
                vec_store(to,
                          vec_mul(vec_load_s8(numbers + k * NN_PANEL + v),
                                  vec_load_f16((const uint16_t *)(const void *)keys + k / NN_BLOCK * NN_PANEL + v)));
    }
    const int8_t *numbers = (const int8_t *)values + nn_scales_bytes(NN_Q8, dimension, NN_PAGE);
    for (int64_t panel = 0; panel * NN_PANEL < dimension; panel++) {
        float scale[NN_PAGE];
        for (int64_t i = 0; i < NN_PAGE; i += VEC_LANES)
            vec_store(scale + i, vec_load_f16((const uint16_t *)(const void *)values + panel / 2 * NN_PAGE + i));
        for (int64_t i = 0; i < NN_PAGE; i++)
            for (int64_t v = 0; v < NN_PANEL; v += VEC_LANES, to += VEC_LANES, numbers += VEC_LANES)
                vec_store(to, vec_mul(vec_load_s8(numbers), vec_set(scale[i])));
    }
}

static void merge(nn_running *total, float *totals, const nn_running *part, const float *sums, int64_t count)
{
    float maximum = part->maximum > total->maximum ? part->maximum : total->maximum;
    float old = first_lane(vec_exp2(vec_set(total->maximum - maximum)));
    float new = first_lane(vec_exp2(vec_set(part->maximum - maximum)));
    for (int64_t i = 0; i < count; i += VEC_LANES)
        vec_store(totals + i, vec_fma(vec_load(sums + i), vec_set(new), vec_mul(vec_load(totals + i), vec_set(old))));
    total->sum = total->sum * old + part->sum * new;
    total->maximum = maximum;
}

#endif
