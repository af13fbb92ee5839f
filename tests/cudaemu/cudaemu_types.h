/* SPDX-License-Identifier: Apache-2.0
 *
 * CUDA's vector types, 16-bit numbers and functions of numbers, as plain C++.
 */
#ifndef CUDAEMU_TYPES_H
#define CUDAEMU_TYPES_H

#include <math.h>
#include <stdint.h>

#include <half.h>

/* ---- Vectors ----------------------------------------------------------------------------------------------------- */

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1) : x(width), y(height), z(depth) {}
};

#define CUDAEMU_VECTORS(T, NAME)                                                                                       \
    struct alignas(2 * sizeof(T)) NAME##2                                                                              \
    {                                                                                                                  \
        T x, y;                                                                                                        \
    };                                                                                                                 \
    struct alignas(4 * sizeof(T)) NAME##4                                                                              \
    {                                                                                                                  \
        T x, y, z, w;                                                                                                  \
    };                                                                                                                 \
    static inline NAME##2 make_##NAME##2(T x, T y)                                                                     \
    {                                                                                                                  \
        return {x, y};                                                                                                 \
    }                                                                                                                  \
    static inline NAME##4 make_##NAME##4(T x, T y, T z, T w)                                                           \
    {                                                                                                                  \
        return {x, y, z, w};                                                                                           \
    }
CUDAEMU_VECTORS(float, float)
CUDAEMU_VECTORS(int, int)
CUDAEMU_VECTORS(unsigned, uint)

/* ---- 16-bit numbers ---------------------------------------------------------------------------------------------- */

struct __half {
    uint16_t bits;
};
struct alignas(4) __half2 {
    __half x, y;
};
struct __nv_bfloat16 {
    uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

/* Every NaN becomes the one that the hardware gives. */
static inline __half __float2half_rn(float value)
{
    return {value != value ? static_cast<uint16_t>(0x7fff) : nn_f32_to_f16(value)};
}
static inline float __half2float(__half value)
{
    return nn_f16_to_f32(value.bits);
}
static inline __half2 __halves2half2(__half x, __half y)
{
    return {x, y};
}
static inline __half2 __floats2half2_rn(float x, float y)
{
    return {__float2half_rn(x), __float2half_rn(y)};
}
static inline float2 __half22float2(__half2 value)
{
    return {__half2float(value.x), __half2float(value.y)};
}

static inline __nv_bfloat16 __float2bfloat16_rn(float value)
{
    return {value != value ? static_cast<uint16_t>(0x7fff) : nn_f32_to_bf16(value)};
}
static inline float __bfloat162float(__nv_bfloat16 value)
{
    return nn_bf16_to_f32(value.bits);
}
static inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y)
{
    return {x, y};
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
static inline float2 __bfloat1622float2(__nv_bfloat162 value)
{
    return {__bfloat162float(value.x), __bfloat162float(value.y)};
}

/* ---- Functions --------------------------------------------------------------------------------------------------- */

#define __expf expf /* which the C library declares for itself */
static inline float __fdividef(float x, float y)
{
    return x / y;
}
static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}

#define CUDAEMU_MIN_MAX(T)                                                                                             \
    static inline T min(T a, T b)                                                                                      \
    {                                                                                                                  \
        return a < b ? a : b;                                                                                          \
    }                                                                                                                  \
    static inline T max(T a, T b)                                                                                      \
    {                                                                                                                  \
        return a > b ? a : b;                                                                                          \
    }
CUDAEMU_MIN_MAX(int)
CUDAEMU_MIN_MAX(unsigned)
CUDAEMU_MIN_MAX(long)
CUDAEMU_MIN_MAX(unsigned long)
CUDAEMU_MIN_MAX(long long)
CUDAEMU_MIN_MAX(unsigned long long)

template <typename T> static inline T __ldg(const T *from)
{
    return *from;
}

/* ---- Atomics: one thread runs at a time
 * ------------------------------------------------------------------------------ */

#define CUDAEMU_ATOMIC(NAME, T, RESULT)                                                                                \
    static inline T NAME(T *to, T value)                                                                               \
    {                                                                                                                  \
        const T old = *to;                                                                                             \
        *to = RESULT;                                                                                                  \
        return old;                                                                                                    \
    }
CUDAEMU_ATOMIC(atomicAdd, float, old + value)
CUDAEMU_ATOMIC(atomicAdd, int, static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value)))
CUDAEMU_ATOMIC(atomicAdd, unsigned, old + value)
CUDAEMU_ATOMIC(atomicMax, int, max(old, value))
CUDAEMU_ATOMIC(atomicMax, unsigned, max(old, value))
CUDAEMU_ATOMIC(atomicMin, int, min(old, value))
CUDAEMU_ATOMIC(atomicMin, unsigned, min(old, value))

static inline unsigned atomicCAS(unsigned *to, unsigned compared, unsigned value)
{
    const unsigned old = *to;
    if (old == compared)
        *to = value;
    return old;
}

#endif
