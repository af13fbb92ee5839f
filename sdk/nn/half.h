/* SPDX-License-Identifier: Apache-2.0
 *
 * Scalar conversions between f32 and the two 16-bit formats, round to nearest even, by bits alone, so that they give
 * the same result on every machine.
 */
#ifndef NN_HALF_H
#define NN_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t nn_f32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float nn_f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float nn_bf16_to_f32(uint16_t half)
{
    return nn_f32_from_bits((uint32_t)half << 16);
}

static inline uint16_t nn_f32_to_bf16(float value)
{
    uint32_t bits = nn_f32_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u); /* a NaN stays one */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float nn_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = half >> 10 & 0x1fu;
    uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0x1fu)
        return nn_f32_from_bits(sign | 0x7f800000u | (mantissa ? 0x400000u : 0u) | mantissa << 13);
    if (exponent == 0) {
        float magnitude = (float)mantissa * 0x1p-24f; /* exact: a subnormal of f16 is normal in f32 */
        return sign ? -magnitude : magnitude;
    }
    return nn_f32_from_bits(sign | (exponent + 112u) << 23 | mantissa << 13);
}

/* An f16 in the machine's byte order, at any alignment. */
static inline float nn_f16_at(const void *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return nn_f16_to_f32(half);
}

static inline uint16_t nn_f32_to_f16(float value)
{
    uint32_t bits = nn_f32_bits(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {
        /* Adding 2^-1 x 2^k aligns the subnormal's last bit with that of the f32, whose unit then rounds it. */
        float rounded = nn_f32_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (uint16_t)(nn_f32_bits(rounded) - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | (uint16_t)((rounded - 0x38000000u) >> 13));
}

#endif
