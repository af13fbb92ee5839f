/* SPDX-License-Identifier: Apache-2.0
 *
 * The vector of this variant: 16 floats in one AVX-512 register. See vec_baseline.h for what each function means.
 */
#ifndef NN_CPU_VEC_H
#define NN_CPU_VEC_H

#include <immintrin.h>
#include <stdint.h>

#define VEC_LANES 16
#define TILE_ROWS 14
#define TILE_PANELS 2
#define STREAM_PANELS 4

typedef __m512 vec;

static inline vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void vec_store(float *p, vec a)
{
    _mm512_storeu_ps(p, a);
}
static inline __mmask16 vec_mask(int64_t count)
{
    return (__mmask16)((1u << count) - 1u);
}
static inline vec vec_load_part(const float *p, int64_t count)
{
    return _mm512_maskz_loadu_ps(vec_mask(count), p);
}
static inline void vec_store_part(float *p, int64_t count, vec a)
{
    _mm512_mask_storeu_ps(p, vec_mask(count), a);
}
static inline vec vec_set(float a)
{
    return _mm512_set1_ps(a);
}
static inline vec vec_zero(void)
{
    return _mm512_setzero_ps();
}
static inline vec vec_lane_numbers(void)
{
    return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
static inline vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}
static inline vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}
static inline vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}
static inline vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}
static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vec vec_fms(vec a, vec b, vec c)
{
    return _mm512_fmsub_ps(a, b, c);
}
static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}
static inline vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}
static inline vec vec_abs(vec a)
{
    return _mm512_abs_ps(a);
}
static inline vec vec_copy_sign(vec magnitude, vec sign)
{
    return _mm512_or_ps(_mm512_abs_ps(magnitude), _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}
static inline vec vec_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vec vec_scale_exponent(vec a, vec n)
{
    return _mm512_scalef_ps(a, n);
}
static inline vec vec_select_less(vec a, vec b, vec yes, vec no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
static inline float vec_sum(vec a)
{
    return _mm512_reduce_add_ps(a);
}
static inline float vec_maximum(vec a)
{
    return _mm512_reduce_max_ps(a);
}
static inline vec vec_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}
static inline vec vec_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static inline vec vec_load_s8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
}
__attribute__((always_inline)) static inline void vec_prefetch(const void *p)
{
    _mm_prefetch(p, _MM_HINT_T1);
}

#endif
