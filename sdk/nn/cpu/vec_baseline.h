/* SPDX-License-Identifier: Apache-2.0
 *
 * The vector of the baseline: 4 floats in the compiler's generic vector type, which becomes SSE2, NEON or whatever the
 * target has. vec_avx2.h and vec_avx512.h offer the same functions, and the kernel bodies are compiled once with each.
 */
#ifndef NN_CPU_VEC_H
#define NN_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VEC_LANES 4     /* floats in a vec; divides NN_PANEL */
#define TILE_ROWS 3     /* rows of a matrix tile that the registers hold */
#define TILE_PANELS 1   /* panels of a matrix tile */
#define STREAM_PANELS 1 /* panels that one row of activations goes through side by side */

typedef float vec __attribute__((vector_size(16)));
typedef int32_t vec_bits __attribute__((vector_size(16)));

static inline vec vec_load(const float *p)
{
    vec a;
    memcpy(&a, p, sizeof a);
    return a;
}
static inline void vec_store(float *p, vec a)
{
    memcpy(p, &a, sizeof a);
}
/* The first `count` lanes (0..VEC_LANES), the others 0. */
static inline vec vec_load_part(const float *p, int64_t count)
{
    vec a = {0, 0, 0, 0};
    for (int64_t i = 0; i < count; i++)
        a[i] = p[i];
    return a;
}
static inline void vec_store_part(float *p, int64_t count, vec a)
{
    for (int64_t i = 0; i < count; i++)
        p[i] = a[i];
}
static inline vec vec_set(float a)
{
    return (vec){a, a, a, a};
}
static inline vec vec_zero(void)
{
    return vec_set(0.0f);
}
static inline vec vec_lane_numbers(void)
{
    return (vec){0, 1, 2, 3};
}
static inline vec vec_add(vec a, vec b)
{
    return a + b;
}
static inline vec vec_sub(vec a, vec b)
{
    return a - b;
}
static inline vec vec_mul(vec a, vec b)
{
    return a * b;
}
static inline vec vec_div(vec a, vec b)
{
    return a / b;
}
/* a * b + c and a * b - c; fused where the target does so. */
static inline vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}
static inline vec vec_fms(vec a, vec b, vec c)
{
    return a * b - c;
}
static inline vec vec_choose(vec_bits mask, vec yes, vec no)
{
    return (vec)(((vec_bits)yes & mask) | ((vec_bits)no & ~mask));
}
/* a < b ? yes : no, a lane */
static inline vec vec_select_less(vec a, vec b, vec yes, vec no)
{
    return vec_choose(a < b, yes, no);
}
/* b where either is NaN, as the x86 instructions do */
static inline vec vec_max(vec a, vec b)
{
    return vec_choose(a > b, a, b);
}
static inline vec vec_min(vec a, vec b)
{
    return vec_choose(a < b, a, b);
}
static inline vec vec_abs(vec a)
{
    return (vec)((vec_bits)a & 0x7fffffff);
}
static inline vec vec_copy_sign(vec magnitude, vec sign)
{
    return (vec)(((vec_bits)magnitude & 0x7fffffff) | ((vec_bits)sign & ~0x7fffffff));
}
/* To the nearest whole number, for |a| < 2^22: adding 1.5 x 2^23 leaves no bits for the fraction. */
static inline vec vec_round(vec a)
{
    vec magic = vec_set(12582912.0f);
    return (a + magic) - magic;
}
static inline vec vec_power_of_two(vec_bits n)
{
    return (vec)((n + 127) << 23);
}
/* a * 2^n for whole n in [-252, 254], in two factors, so that subnormal results and infinity come out right. */
static inline vec vec_scale_exponent(vec a, vec n)
{
    vec_bits whole = {0, 0, 0, 0};
    for (int i = 0; i < VEC_LANES; i++)
        whole[i] = n[i] > -300.0f && n[i] < 300.0f ? (int32_t)n[i] : 0; /* a NaN lane: the factor does not matter */
    vec_bits half = whole >> 1;
    return a * vec_power_of_two(half) * vec_power_of_two(whole - half);
}
static inline float vec_sum(vec a)
{
    return (a[0] + a[2]) + (a[1] + a[3]);
}
static inline float vec_maximum(vec a)
{
    return fmaxf(fmaxf(a[0], a[2]), fmaxf(a[1], a[3]));
}
static inline vec_bits vec_load_halves(const uint16_t *p)
{
    uint16_t four __attribute__((vector_size(8)));
    memcpy(&four, p, sizeof four);
    return __builtin_convertvector(four, vec_bits);
}
/* The exponent is corrected by a multiplication, which turns subnormals into what they are as well. */
static inline vec vec_load_f16(const uint16_t *p)
{
    vec_bits half = vec_load_halves(p), magnitude = half & 0x7fff;
    vec finite = (vec)(magnitude << 13) * 0x1p112f;
    vec_bits infinite = (magnitude > 0x7bff) & 0x7f800000;
    return (vec)((vec_bits)finite | infinite | ((half & 0x8000) << 16));
}
static inline vec vec_load_bf16(const uint16_t *p)
{
    return (vec)(vec_load_halves(p) << 16);
}
/* Signed bytes. */
static inline vec vec_load_s8(const int8_t *p)
{
    int8_t four __attribute__((vector_size(4)));
    memcpy(&four, p, sizeof four);
    return __builtin_convertvector(four, vec);
}
/* Into the second-level cache; any address, also one that is not mapped. Always inlined: gcc drops calls of a function
 * that does nothing else, as if it did nothing. */
__attribute__((always_inline)) static inline void vec_prefetch(const void *p)
{
    __builtin_prefetch(p, 0, 2);
}

#endif
