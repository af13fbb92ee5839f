/* SPDX-License-Identifier: Apache-2.0
 *
 * What int8_avx512.h and int8_vnni.h share. See int8_plain.h for what each function means.
 */
#ifndef NN_CPU_INT8_ZMM_H
#define NN_CPU_INT8_ZMM_H

#include <immintrin.h>
#include <stdint.h>

typedef __m512i int8_vec;

static inline int8_vec int8_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
static inline void int8_keep(void *p, int8_vec a)
{
    _mm512_storeu_si512(p, a);
}
static inline int8_vec int8_set(int32_t a)
{
    return _mm512_set1_epi32(a);
}
static inline int8_vec int8_low(int8_vec a)
{
    return _mm512_and_si512(a, _mm512_set1_epi8(15));
}
static inline int8_vec int8_high(int8_vec a)
{
    return int8_low(_mm512_srli_epi16(a, 4));
}
static inline int8_vec int8_byte(int8_vec a, int i)
{
    return _mm512_and_si512(_mm512_srl_epi32(a, _mm_cvtsi32_si128(8 * i)), _mm512_set1_epi32(255));
}
static inline vec int8_to_float(int8_vec a)
{
    return _mm512_cvtepi32_ps(a);
}

static inline vec int8_max_bits(vec a, vec b)
{
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
static inline float int8_largest(vec a)
{
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(_mm512_castps_si512(a)))));
}
static inline int8_vec int8_round(vec a)
{
    return _mm512_sub_epi32(_mm512_castps_si512(_mm512_add_ps(a, _mm512_set1_ps(12582912.0f))),
                            _mm512_set1_epi32(0x4b400000));
}
static inline int8_vec int8_plus(int8_vec a, int8_vec b)
{
    return _mm512_add_epi32(a, b);
}
static inline int32_t int8_total(int8_vec a)
{
    return _mm512_reduce_add_epi32(a);
}
static inline void int8_store(void *p, int8_vec a)
{
    _mm_storeu_si128(p, _mm512_cvtepi32_epi8(a));
}

#endif
