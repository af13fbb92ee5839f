/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/convert.h"

#include <string.h>

size_t core_format_width(const char *format)
{
    static const struct {
        const char *name;
        size_t width;
    } widths[] = {{"f64", 8}, {"f32", 4}, {"f16", 2},  {"bf16", 2},    {"i64", 8},
                  {"i32", 4}, {"i16", 2}, {"i8", 1},   {"u64", 8},     {"u32", 4},
                  {"u16", 2}, {"u8", 1},  {"bool", 1}, {"f8_e4m3", 1}, {"f8_e5m2", 1}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        if (!strcmp(format, widths[i].name))
            return widths[i].width;
    return 0;
}

bool core_format_is_float(const char *format)
{
    return !strcmp(format, "f64") || !strcmp(format, "f32") || !strcmp(format, "f16") || !strcmp(format, "bf16");
}

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float bits_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float core_bf16_to_f32(uint16_t bits)
{
    return bits_float((uint32_t)bits << 16);
}

uint16_t core_f32_to_bf16(float value)
{
    uint32_t bits = float_bits(value);
    if ((bits & 0x7fffffff) > 0x7f800000) /* a NaN stays one: rounding could carry it to infinity */
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float core_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
    if (exponent == 31)
        return bits_float(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) { /* subnormal: fraction * 2^-24, exact in f32 */
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t core_f32_to_f16(float value)
{
    uint32_t bits = float_bits(value), size = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (size > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (size >> 13 & 0x3ff));
    if (size >= 0x47800000) /* 65536 and more, infinity too; 65520 and more round up to it below */
        return (uint16_t)(sign | 0x7c00);
    if (size < 0x38800000) /* below 2^-14: adding 0.5 leaves the multiple of 2^-24, rounded to even, in the fraction */
        return (uint16_t)(sign | (float_bits(bits_float(size) + 0.5f) - 0x3f000000));
    size += 0xfff + (size >> 13 & 1);
    return (uint16_t)(sign | (size - 0x38000000) >> 13);
}

/* f64 to f32 rounded to odd: what is rounded to an f16 or bf16 afterwards comes out as if rounded once. */
static float narrow_to_odd(double value)
{
    float near = (float)value;
    double error = (double)near - value;
    if (!(error > 0 || error < 0)) /* exact, or NaN */
        return near;
    uint32_t bits = float_bits(near);
    if (bits & 1)
        return near;
    bool outward = (error > 0) == (value > 0);
    return bits_float(outward ? bits - 1 : bits + 1);
}

static float load_f32(const char *format, const unsigned char *from)
{
    uint16_t half;
    double wide;
    float value;
    switch (format[0] == 'b' ? 'b' : format[1]) {
    case 'b':
        memcpy(&half, from, sizeof half);
        return core_bf16_to_f32(half);
    case '1':
        memcpy(&half, from, sizeof half);
        return core_f16_to_f32(half);
    case '6':
        memcpy(&wide, from, sizeof wide);
        return narrow_to_odd(wide);
    default:
        memcpy(&value, from, sizeof value);
        return value;
    }
}

/* The loops below are separate by stored format so that the compiler can unroll them. */
static void widen(const char *format, const unsigned char *from, size_t step, int64_t count, float *to)
{
    uint16_t half;
    double wide;
    if (!strcmp(format, "f64"))
        for (int64_t i = 0; i < count; i++, from += step) {
            memcpy(&wide, from, sizeof wide);
            to[i] = (float)wide;
        }
    else if (!strcmp(format, "f16"))
        for (int64_t i = 0; i < count; i++, from += step) {
            memcpy(&half, from, sizeof half);
            to[i] = core_f16_to_f32(half);
        }
    else if (!strcmp(format, "bf16"))
        for (int64_t i = 0; i < count; i++, from += step) {
            memcpy(&half, from, sizeof half);
            to[i] = core_bf16_to_f32(half);
        }
    else
        for (int64_t i = 0; i < count; i++, from += step)
            memcpy(&to[i], from, sizeof to[i]);
}

bool core_convert(const char *format, const unsigned char *from, int64_t stride, int64_t count, DLDataType dtype,
                  void *to)
{
    bool f32 = more_dtype_equal(dtype, more_f32()), f16 = more_dtype_equal(dtype, more_f16());
    bool bf16 = more_dtype_equal(dtype, more_bf16());
    if (!core_format_is_float(format) || !(f32 || f16 || bf16))
        return false;
    size_t width = core_format_width(format), step = width * (size_t)stride;
    bool same = (f32 && !strcmp(format, "f32")) || (f16 && !strcmp(format, "f16")) || (bf16 && !strcmp(format, "bf16"));
    if (same && stride == 1) {
        if (count)
            memcpy(to, from, width * (size_t)count);
    } else if (f32) {
        widen(format, from, step, count, to);
    } else if (same) {
        for (int64_t i = 0; i < count; i++, from += step)
            memcpy((uint16_t *)to + i, from, sizeof(uint16_t));
    } else {
        for (int64_t i = 0; i < count; i++, from += step) {
            float value = load_f32(format, from);
            ((uint16_t *)to)[i] = f16 ? core_f32_to_f16(value) : core_f32_to_bf16(value);
        }
    }
    return true;
}
