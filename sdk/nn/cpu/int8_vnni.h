/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer products of AVX-512 VNNI, whose vpdpbusd adds four products of unsigned and signed bytes to each lane. What
 * the weights' zero makes of the products is in the sums from the beginning. See int8_plain.h for what each function
 * means.
 */
#ifndef NN_CPU_INT8_OPS_H
#define NN_CPU_INT8_OPS_H

#include "int8_zmm.h"

#define INT8_ANY_BYTE 1
#define INT8_ROWS 6
#define INT8_PANELS 2
#define INT8_STREAM 4

typedef __m512i int8_numbers;
typedef __m512i int8_sums;

static inline int8_numbers int8_prepare(int nibbles, int8_vec bytes)
{
    (void)nibbles;
    return bytes;
}
static inline int8_sums int8_begin(int nibbles, int32_t sum)
{
    (void)nibbles;
    return _mm512_set1_epi32(sum);
}
static inline int8_sums int8_dot(int nibbles, int8_sums sums, int8_numbers numbers, int8_vec x)
{
    (void)nibbles;
    return _mm512_dpbusd_epi32(sums, numbers, x);
}
static inline int8_vec int8_end(int nibbles, int8_sums sums, int32_t sum)
{
    (void)nibbles;
    (void)sum;
    return sums;
}

#endif
