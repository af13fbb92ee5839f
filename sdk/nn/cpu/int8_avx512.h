/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer products of AVX-512 without VNNI, as in int8_avx2.h; a masked subtraction takes the weight's sign over. See
 * int8_plain.h for what each function means.
 */
#ifndef NN_CPU_INT8_OPS_H
#define NN_CPU_INT8_OPS_H

#include "int8_zmm.h"

#define INT8_ANY_BYTE 0
#define INT8_ROWS 6
#define INT8_PANELS 2
#define INT8_STREAM 4

typedef struct int8_numbers {
    __m512i magnitude;
    __mmask64 negative;
} int8_numbers;
typedef __m512i int8_sums;

static inline int8_numbers int8_prepare(int nibbles, int8_vec bytes)
{
    __m512i number = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
    return (int8_numbers){nibbles ? bytes : _mm512_abs_epi8(number), nibbles ? 0 : _mm512_movepi8_mask(number)};
}
static inline int8_sums int8_begin(int nibbles, int32_t sum)
{
    (void)nibbles;
    (void)sum;
    return _mm512_setzero_si512();
}
static inline int8_sums int8_dot(int nibbles, int8_sums sums, int8_numbers numbers, int8_vec x)
{
    if (nibbles)
        return _mm512_add_epi16(sums, _mm512_maddubs_epi16(numbers.magnitude, x));
    __m512i turned = _mm512_mask_sub_epi8(x, numbers.negative, _mm512_setzero_si512(), x);
    __m512i pairs = _mm512_maddubs_epi16(numbers.magnitude, turned);
    return _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
static inline int8_vec int8_end(int nibbles, int8_sums sums, int32_t sum)
{
    if (!nibbles)
        return sums;
    return _mm512_add_epi32(_mm512_madd_epi16(sums, _mm512_set1_epi16(1)), _mm512_set1_epi32(sum));
}

#endif
