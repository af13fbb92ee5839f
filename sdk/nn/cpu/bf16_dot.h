/* SPDX-License-Identifier: Apache-2.0
 *
 * The bf16 dot product and what turns numbers into its operands, each an instruction or two of AVX-512, with a body in
 * plain C beside it (NN_PLAIN_INSTRUCTIONS, or where the instructions are missing), so that all that is built upon them
 * is tested on every machine.
 */
#ifndef NN_CPU_BF16_DOT_H
#define NN_CPU_BF16_DOT_H

#include <math.h>
#include <string.h>

#include "../half.h"
#include "bf16.h"
#include "kernels.h"

#if defined(__AVX512BF16__) && !defined(NN_PLAIN_INSTRUCTIONS)

#include <immintrin.h>

typedef __m512 floats16; /* 16 f32, one a row of a panel */
typedef __m512i pairs16; /* 16 pairs of bf16 */

NN_INLINE floats16 floats_zero(void)
{
    return _mm512_setzero_ps();
}
NN_INLINE floats16 floats_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
NN_INLINE floats16 floats_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}
NN_INLINE void floats_store(float *p, floats16 a)
{
    _mm512_storeu_ps(p, a);
}
NN_INLINE floats16 floats_set(float a)
{
    return _mm512_set1_ps(a);
}
NN_INLINE floats16 floats_fma(floats16 a, floats16 b, floats16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}
NN_INLINE pairs16 pairs_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
NN_INLINE void pairs_store(uint32_t *p, pairs16 a)
{
    _mm512_storeu_si512(p, a);
}
NN_INLINE pairs16 pairs_set(uint32_t a)
{
    return _mm512_set1_epi32((int32_t)a);
}
/* sum + the products of both halves of each lane */
NN_INLINE floats16 pairs_dot(floats16 sum, pairs16 a, pairs16 b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
/* 32 floats in their order. */
NN_INLINE pairs16 pairs_round(const float *values)
{
    return (pairs16)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(values + 16), _mm512_loadu_ps(values));
}
/* 16 earlier and 16 later numbers, one behind the other, to 16 pairs. */
NN_INLINE pairs16 pairs_interleave(pairs16 halves)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, halves);
}
NN_INLINE pairs16 pairs_join(floats16 earlier, floats16 later)
{
    return pairs_interleave((pairs16)_mm512_cvtne2ps_pbh(later, earlier));
}
/* The upper half of 16 bf16 numbers without a partner: 0. */
NN_INLINE pairs16 pairs_load_half(const uint16_t *p)
{
    return _mm512_zextsi256_si512(_mm256_loadu_si256((const void *)p));
}
/* Each lane as a float of the bits (a >> shift & mask) | more, a << -shift for a negative one. */
NN_INLINE floats16 pairs_bits(pairs16 a, int shift, uint32_t mask, uint32_t more)
{
    enum { AND_OR = 0xea }; /* the truth table of a & b | c */
    __m512i moved = shift < 0 ? _mm512_slli_epi32(a, (unsigned)-shift) : _mm512_srli_epi32(a, (unsigned)shift);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(moved, pairs_set(mask), pairs_set(more), AND_OR));
}

#else

/* Calls, not copies: the tiles that are built upon these would become very large. */
#define NN_OUTLINE __attribute__((noinline, unused))

typedef struct floats16 {
    float at[NN_PANEL];
} floats16;

typedef struct pairs16 {
    uint32_t at[NN_PANEL];
} pairs16;

static NN_OUTLINE floats16 floats_set(float a)
{
    floats16 b;
    for (int i = 0; i < NN_PANEL; i++)
        b.at[i] = a;
    return b;
}
static NN_OUTLINE floats16 floats_zero(void)
{
    return floats_set(0.0f);
}
static NN_OUTLINE floats16 floats_load(const float *p)
{
    floats16 a;
    memcpy(&a, p, sizeof a);
    return a;
}
static NN_OUTLINE floats16 floats_load_f16(const uint16_t *p)
{
    floats16 a;
    for (int i = 0; i < NN_PANEL; i++)
        a.at[i] = nn_f16_to_f32(p[i]);
    return a;
}
static NN_OUTLINE void floats_store(float *p, floats16 a)
{
    memcpy(p, &a, sizeof a);
}
static NN_OUTLINE floats16 floats_fma(floats16 a, floats16 b, floats16 c)
{
    for (int i = 0; i < NN_PANEL; i++)
        c.at[i] = fmaf(a.at[i], b.at[i], c.at[i]);
    return c;
}
static NN_OUTLINE pairs16 pairs_load(const void *p)
{
    pairs16 a;
    memcpy(&a, p, sizeof a);
    return a;
}
static NN_OUTLINE void pairs_store(uint32_t *p, pairs16 a)
{
    memcpy(p, &a, sizeof a);
}
static NN_OUTLINE pairs16 pairs_set(uint32_t a)
{
    pairs16 b;
    for (int i = 0; i < NN_PANEL; i++)
        b.at[i] = a;
    return b;
}
static NN_OUTLINE float pair_product(float sum, uint32_t a, uint32_t b)
{
    sum = fmaf(nn_f32_from_bits(a & 0xffff0000u), nn_f32_from_bits(b & 0xffff0000u), sum);
    return fmaf(nn_f32_from_bits(a << 16), nn_f32_from_bits(b << 16), sum);
}
static NN_OUTLINE floats16 pairs_dot(floats16 sum, pairs16 a, pairs16 b)
{
    for (int i = 0; i < NN_PANEL; i++)
        sum.at[i] = pair_product(sum.at[i], a.at[i], b.at[i]);
    return sum;
}
static NN_OUTLINE uint32_t pair_of(float earlier, float later)
{
    return nn_f32_to_bf16(earlier) | (uint32_t)nn_f32_to_bf16(later) << 16;
}
static NN_OUTLINE pairs16 pairs_round(const float *values)
{
    pairs16 a;
    for (int i = 0; i < NN_PANEL; i++)
        a.at[i] = pair_of(values[2 * i], values[2 * i + 1]);
    return a;
}
static NN_OUTLINE pairs16 pairs_interleave(pairs16 halves)
{
    uint16_t number[2 * NN_PANEL];
    pairs16 a;
    memcpy(number, &halves, sizeof number);
    for (int i = 0; i < NN_PANEL; i++)
        a.at[i] = number[i] | (uint32_t)number[NN_PANEL + i] << 16;
    return a;
}
static NN_OUTLINE pairs16 pairs_join(floats16 earlier, floats16 later)
{
    pairs16 a;
    for (int i = 0; i < NN_PANEL; i++)
        a.at[i] = pair_of(earlier.at[i], later.at[i]);
    return a;
}
static NN_OUTLINE pairs16 pairs_load_half(const uint16_t *p)
{
    pairs16 a = pairs_set(0);
    memcpy(&a, p, sizeof a / 2);
    return a;
}
static NN_OUTLINE floats16 pairs_bits(pairs16 a, int shift, uint32_t mask, uint32_t more)
{
    floats16 b;
    for (int i = 0; i < NN_PANEL; i++)
        b.at[i] = nn_f32_from_bits(((shift < 0 ? a.at[i] << -shift : a.at[i] >> shift) & mask) | more);
    return b;
}

#endif

#endif
