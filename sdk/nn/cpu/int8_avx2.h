/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer products of AVX2, which adds pairs of unsigned times signed bytes into 16 bits, saturating. Where both
 * factors have 8 bits, the magnitude of the weight goes with the activation under the weight's sign: 2 * 128 * 127
 * fits. 4-bit numbers need no sign, and 8 such sums fit, so that they are widened once a block. See int8_plain.h for
 * what each function means.
 */
#ifndef NN_CPU_INT8_OPS_H
#define NN_CPU_INT8_OPS_H

#include <immintrin.h>
#include <stdint.h>

#define INT8_ANY_BYTE 0
#define INT8_ROWS 4
#define INT8_PANELS 1
#define INT8_STREAM 2

typedef __m256i int8_vec;
typedef struct int8_numbers {
    __m256i magnitude, number;
} int8_numbers;
typedef __m256i int8_sums;

static inline int8_vec int8_load(const void *p)
{
    return _mm256_loadu_si256(p);
}
static inline void int8_keep(void *p, int8_vec a)
{
    _mm256_storeu_si256(p, a);
}
static inline int8_vec int8_set(int32_t a)
{
    return _mm256_set1_epi32(a);
}
static inline int8_vec int8_low(int8_vec a)
{
    return _mm256_and_si256(a, _mm256_set1_epi8(15));
}
static inline int8_vec int8_high(int8_vec a)
{
    return int8_low(_mm256_srli_epi16(a, 4));
}
static inline int8_vec int8_byte(int8_vec a, int i)
{
    return _mm256_and_si256(_mm256_srl_epi32(a, _mm_cvtsi32_si128(8 * i)), _mm256_set1_epi32(255));
}
static inline vec int8_to_float(int8_vec a)
{
    return _mm256_cvtepi32_ps(a);
}

static inline int8_numbers int8_prepare(int nibbles, int8_vec bytes)
{
    __m256i number = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
    return (int8_numbers){nibbles ? bytes : _mm256_abs_epi8(number), number};
}
static inline int8_sums int8_begin(int nibbles, int32_t sum)
{
    (void)nibbles;
    (void)sum;
    return _mm256_setzero_si256();
}
static inline int8_sums int8_dot(int nibbles, int8_sums sums, int8_numbers numbers, int8_vec x)
{
    if (nibbles)
        return _mm256_add_epi16(sums, _mm256_maddubs_epi16(numbers.magnitude, x));
    __m256i pairs = _mm256_maddubs_epi16(numbers.magnitude, _mm256_sign_epi8(x, numbers.number));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static inline int8_vec int8_end(int nibbles, int8_sums sums, int32_t sum)
{
    if (!nibbles)
        return sums;
    return _mm256_add_epi32(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)), _mm256_set1_epi32(sum));
}

static inline vec int8_max_bits(vec a, vec b)
{
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
static inline float int8_largest(vec a)
{
    __m256i all = _mm256_castps_si256(a);
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1))));
}
static inline int8_vec int8_round(vec a)
{
    return _mm256_sub_epi32(_mm256_castps_si256(_mm256_add_ps(a, _mm256_set1_ps(12582912.0f))),
                            _mm256_set1_epi32(0x4b400000));
}
static inline int8_vec int8_plus(int8_vec a, int8_vec b)
{
    return _mm256_add_epi32(a, b);
}
static inline int32_t int8_total(int8_vec a)
{
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
static inline void int8_store(void *p, int8_vec a)
{
    const __m256i lowest = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12,
                                            -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i b = _mm256_shuffle_epi8(a, lowest);
    _mm_storel_epi64(p, _mm_unpacklo_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1)));
}

#endif
