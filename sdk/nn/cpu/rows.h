/* SPDX-License-Identifier: Apache-2.0
 *
 * Element-wise and row-wise kernels of a variant, on its vector. Included by each variant's file. Whole vectors first,
 * then one partial one, which computes the same for its lanes.
 */
#ifndef NN_CPU_ROWS_H
#define NN_CPU_ROWS_H

#include <math.h>

#include "kernels.h"
#include "vec_math.h"

NN_INLINE vec load_lanes(const float *p, int64_t lanes)
{
    return lanes >= VEC_LANES ? vec_load(p) : vec_load_part(p, lanes);
}

NN_INLINE void store_lanes(float *p, int64_t lanes, vec a)
{
    if (lanes >= VEC_LANES)
        vec_store(p, a);
    else
        vec_store_part(p, lanes, a);
}

/* GELU's tanh form by (1 + tanh u) / 2 = sigmoid(2u), which loses nothing where tanh is near -1. */
NN_INLINE vec activated(nn_activation activation, vec x)
{
    switch (activation) {
    case NN_GELU_ERF:
        return vec_mul(x, vec_normal_cdf(x));
    case NN_GELU_TANH: {
        vec cube = vec_mul(vec_mul(x, x), x);
        return vec_mul(x, vec_sigmoid(vec_mul(vec_set(1.59576912f), vec_fma(vec_set(0.044715f), cube, x))));
    }
    case NN_QUICK_GELU:
        return vec_mul(x, vec_sigmoid(vec_mul(vec_set(1.702f), x)));
    case NN_SILU:
        return vec_mul(x, vec_sigmoid(x));
    case NN_IDENTITY:
        break;
    }
    return x;
}

NN_INLINE void finish_as(nn_activation activation, const float *c, int64_t count, const float *bias,
                         const float *residual, float *y)
{
    for (int64_t i = 0; i < count; i += VEC_LANES) {
        int64_t lanes = count - i;
        vec a = load_lanes(c + i, lanes);
        if (bias)
            a = vec_add(a, load_lanes(bias + i, lanes));
        a = activated(activation, a);
        if (residual)
            a = vec_add(a, load_lanes(residual + i, lanes));
        store_lanes(y + i, lanes, a);
    }
}

static void finish(const float *c, int64_t count, const float *bias, nn_activation activation, const float *residual,
                   float *y)
{
    switch (activation) {
    case NN_GELU_ERF:
        finish_as(NN_GELU_ERF, c, count, bias, residual, y);
        break;
    case NN_GELU_TANH:
        finish_as(NN_GELU_TANH, c, count, bias, residual, y);
        break;
    case NN_QUICK_GELU:
        finish_as(NN_QUICK_GELU, c, count, bias, residual, y);
        break;
    case NN_SILU:
        finish_as(NN_SILU, c, count, bias, residual, y);
        break;
    case NN_IDENTITY:
        finish_as(NN_IDENTITY, c, count, bias, residual, y);
        break;
    }
}

static void activate(nn_activation activation, const float *x, int64_t count, float *y)
{
    finish(x, count, NULL, activation, NULL, y);
}

static void glu(nn_activation activation, const float *gate, const float *x, int64_t count, float *y)
{
    for (int64_t i = 0; i < count; i += VEC_LANES) {
        int64_t lanes = count - i;
        vec a = activated(activation, load_lanes(gate + i, lanes));
        store_lanes(y + i, lanes, vec_mul(a, load_lanes(x + i, lanes)));
    }
}

static void add(const float *x, int64_t count, float *y)
{
    for (int64_t i = 0; i < count; i += VEC_LANES)
        store_lanes(y + i, count - i, vec_add(load_lanes(y + i, count - i), load_lanes(x + i, count - i)));
}

static void scale(float factor, int64_t count, float *y)
{
    for (int64_t i = 0; i < count; i += VEC_LANES)
        store_lanes(y + i, count - i, vec_mul(load_lanes(y + i, count - i), vec_set(factor)));
}

NN_INLINE vec softcapped(float cap, vec x)
{
    return vec_mul(vec_tanh(vec_div(x, vec_set(cap))), vec_set(cap));
}

static void softcap(float cap, int64_t count, float *y)
{
    for (int64_t i = 0; i < count; i += VEC_LANES)
        store_lanes(y + i, count - i, softcapped(cap, load_lanes(y + i, count - i)));
}

NN_INLINE float row_sum(const float *x, int64_t width)
{
    vec sum = vec_zero();
    for (int64_t i = 0; i < width; i += VEC_LANES)
        sum = vec_add(sum, load_lanes(x + i, width - i));
    return vec_sum(sum);
}

/* Sum of (x - center)^2; lanes past the end count nothing. */
NN_INLINE float row_squares(const float *x, int64_t width, float center)
{
    vec sum = vec_zero();
    for (int64_t i = 0; i < width; i += VEC_LANES) {
        vec d = vec_sub(load_lanes(x + i, width - i), vec_set(center));
        if (width - i < VEC_LANES)
            d = vec_select_less(vec_lane_numbers(), vec_set((float)(width - i)), d, vec_zero());
        sum = vec_fma(d, d, sum);
    }
    return vec_sum(sum);
}

static void layer_norm(const float *x, int64_t width, const float *weight, const float *bias, float epsilon, float *y)
{
    float mean = row_sum(x, width) / (float)width;
    float factor = 1.0f / sqrtf(row_squares(x, width, mean) / (float)width + epsilon);
    for (int64_t i = 0; i < width; i += VEC_LANES) {
        int64_t lanes = width - i;
        vec a = vec_mul(vec_sub(load_lanes(x + i, lanes), vec_set(mean)), vec_set(factor));
        if (weight)
            a = vec_mul(a, load_lanes(weight + i, lanes));
        if (bias)
            a = vec_add(a, load_lanes(bias + i, lanes));
        store_lanes(y + i, lanes, a);
    }
}

static void rms_norm(const float *x, int64_t width, const float *weight, float offset, float epsilon, float *y)
{
    float factor = 1.0f / sqrtf(row_squares(x, width, 0.0f) / (float)width + epsilon);
    for (int64_t i = 0; i < width; i += VEC_LANES) {
        int64_t lanes = width - i;
        vec a = vec_mul(load_lanes(x + i, lanes), vec_set(factor));
        store_lanes(y + i, lanes, vec_mul(a, vec_add(vec_set(offset), load_lanes(weight + i, lanes))));
    }
}

static void rotate(float *a, float *b, const float *cosine, const float *sine, int64_t count)
{
    for (int64_t i = 0; i < count; i += VEC_LANES) {
        int64_t lanes = count - i;
        vec c = load_lanes(cosine + i, lanes), s = load_lanes(sine + i, lanes);
        vec first = load_lanes(a + i, lanes), second = load_lanes(b + i, lanes);
        store_lanes(a + i, lanes, vec_fms(first, c, vec_mul(second, s)));
        store_lanes(b + i, lanes, vec_fma(second, c, vec_mul(first, s)));
    }
}

/* s = value where first <= column < last, else minus infinity; the columns of this vector begin at `column`. */
NN_INLINE vec masked(vec s, int64_t column, int64_t first, int64_t last)
{
    vec lane = vec_lane_numbers(), outside = vec_set(-INFINITY);
    if (last - column < VEC_LANES)
        s = vec_select_less(lane, vec_set((float)(last - column)), s, outside);
    if (first > column)
        s = vec_select_less(lane, vec_set((float)(first - column)), outside, s);
    return s;
}

static void softmax(float *x, int64_t width)
{
    vec largest = vec_set(-INFINITY), sum = vec_zero();
    for (int64_t i = 0; i < width; i += VEC_LANES)
        largest = vec_max(masked(load_lanes(x + i, width - i), i, 0, width), largest);
    vec maximum = vec_set(vec_maximum(largest));
    for (int64_t i = 0; i < width; i += VEC_LANES) {
        vec e = vec_exp(vec_sub(masked(load_lanes(x + i, width - i), i, 0, width), maximum));
        sum = vec_add(sum, e);
        store_lanes(x + i, width - i, e);
    }
    vec total = vec_set(vec_sum(sum));
    for (int64_t i = 0; i < width; i += VEC_LANES)
        store_lanes(x + i, width - i, vec_div(load_lanes(x + i, width - i), total));
}

#endif
