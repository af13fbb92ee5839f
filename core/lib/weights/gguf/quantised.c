/* SPDX-License-Identifier: Apache-2.0
 *
 * Every product is stored before anything is added to it: no compiler may then fuse the two, which would change bits.
 */
#include "weights/gguf/quantised.h"

#include "weights/convert.h"
#include <math.h>
#include <string.h>

#define SMALL 32 /* elements of a block of the simple formats */
#define LARGEST_F16 65504.0f

static float half_at(const unsigned char *at)
{
    return core_f16_to_f32((uint16_t)(at[0] | at[1] << 8));
}

static int signed_byte(unsigned char byte)
{
    return byte < 128 ? byte : byte - 256;
}

/* {f16 scale, 32 signed bytes} */
static void read_q8_0(const unsigned char *block, float *values)
{
    float scale = half_at(block);
    for (int i = 0; i < SMALL; i++)
        values[i] = (float)signed_byte(block[2 + i]) * scale;
}

/* {f16 scale, 32 nibbles}: the low ones first, 8 being zero */
static void read_q4_0(const unsigned char *block, float *values)
{
    float scale = half_at(block);
    for (int i = 0; i < SMALL / 2; i++) {
        values[i] = (float)((block[2 + i] & 15) - 8) * scale;
        values[i + SMALL / 2] = (float)((block[2 + i] >> 4) - 8) * scale;
    }
}

/* {f16 scale, f16 offset, 32 nibbles} */
static void read_q4_1(const unsigned char *block, float *values)
{
    float scale = half_at(block), offset = half_at(block + 2);
    for (int i = 0; i < SMALL / 2; i++) {
        float low = (float)(block[4 + i] & 15) * scale, high = (float)(block[4 + i] >> 4) * scale;
        values[i] = low + offset;
        values[i + SMALL / 2] = high + offset;
    }
}

/* Scale and offset of part `i` of 8: 6 bits each in 12 bytes. */
static void parts_k4(const unsigned char *packed, int i, float scale, float least, float *part_scale, float *part_least)
{
    int own = i < 4 ? packed[i] & 63 : (packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4;
    int low = i < 4 ? packed[i + 4] & 63 : packed[i + 4] >> 4 | (packed[i] >> 6) << 4;
    *part_scale = scale * (float)own;
    *part_least = least * (float)low;
}

/* {f16 scale, f16 offset, 12 bytes of parts, [5th bits: 32 bytes,] 128 bytes of nibbles}: y = q part_scale -
 * part_least; of 64 elements the low nibbles are the first half. */
static void read_k4(const unsigned char *block, const unsigned char *fifth, const unsigned char *nibbles, float *values)
{
    float scale = half_at(block), least = half_at(block + 2), part_scale, part_least;
    for (int part = 0; part < 8; part++) {
        parts_k4(block + 4, part, scale, least, &part_scale, &part_least);
        for (int i = 0; i < SMALL; i++) {
            int byte = nibbles[part / 2 * SMALL + i], number = part % 2 ? byte >> 4 : byte & 15;
            if (fifth)
                number += (fifth[i] >> part & 1) << 4;
            float product = part_scale * (float)number;
            values[part * SMALL + i] = product - part_least;
        }
    }
}

static void read_q4_k(const unsigned char *block, float *values)
{
    read_k4(block, NULL, block + 16, values);
}

static void read_q5_k(const unsigned char *block, float *values)
{
    read_k4(block, block + 16, block + 48, values);
}

/* {low nibbles: 128 bytes, high pairs of bits: 64 bytes, 16 signed scales, f16 scale}; 32 is zero. Each half of 128
 * elements is four rows of 32, which share the bytes of the pairs. */
static void read_q6_k(const unsigned char *block, float *values)
{
    const unsigned char *low = block, *high = block + 128, *scales = block + 192;
    float scale = half_at(block + 208);
    for (int half = 0; half < 2; half++)
        for (int row = 0; row < 4; row++)
            for (int i = 0; i < SMALL; i++) {
                int byte = low[half * 64 + row % 2 * SMALL + i], nibble = row / 2 ? byte >> 4 : byte & 15;
                int number = nibble | (high[half * SMALL + i] >> 2 * row & 3) << 4;
                float part = scale * (float)signed_byte(scales[half * 8 + row * 2 + i / 16]);
                values[half * 128 + row * SMALL + i] = part * (float)(number - 32);
            }
}

static const core_gguf_format formats[] = {
    {"f32", "F32", 0, 1, 4, NULL},
    {"f16", "F16", 1, 1, 2, NULL},
    {"gguf.q4_0", "Q4_0", 2, SMALL, 18, read_q4_0},
    {"gguf.q4_1", "Q4_1", 3, SMALL, 20, read_q4_1},
    {NULL, "Q5_0", 6, SMALL, 22, NULL},
    {NULL, "Q5_1", 7, SMALL, 24, NULL},
    {"gguf.q8_0", "Q8_0", 8, SMALL, 34, read_q8_0},
    {NULL, "Q8_1", 9, SMALL, 36, NULL},
    {NULL, "Q2_K", 10, 256, 84, NULL},
    {NULL, "Q3_K", 11, 256, 110, NULL},
    {"gguf.q4_K", "Q4_K", 12, 256, 144, read_q4_k},
    {"gguf.q5_K", "Q5_K", 13, 256, 176, read_q5_k},
    {"gguf.q6_K", "Q6_K", 14, 256, 210, read_q6_k},
    {NULL, "Q8_K", 15, 256, 292, NULL},
    {NULL, "IQ2_XXS", 16, 256, 66, NULL},
    {NULL, "IQ2_XS", 17, 256, 74, NULL},
    {NULL, "IQ3_XXS", 18, 256, 98, NULL},
    {NULL, "IQ1_S", 19, 256, 50, NULL},
    {NULL, "IQ4_NL", 20, SMALL, 18, NULL},
    {NULL, "IQ3_S", 21, 256, 110, NULL},
    {NULL, "IQ2_S", 22, 256, 82, NULL},
    {NULL, "IQ4_XS", 23, 256, 136, NULL},
    {"i8", "I8", 24, 1, 1, NULL},
    {"i16", "I16", 25, 1, 2, NULL},
    {"i32", "I32", 26, 1, 4, NULL},
    {"i64", "I64", 27, 1, 8, NULL},
    {"f64", "F64", 28, 1, 8, NULL},
    {NULL, "IQ1_M", 29, 256, 56, NULL},
    {"bf16", "BF16", 30, 1, 2, NULL},
    {NULL, "TQ1_0", 34, 256, 54, NULL},
    {NULL, "TQ2_0", 35, 256, 66, NULL},
    {NULL, "MXFP4", 39, SMALL, 17, NULL},
};

const core_gguf_format *core_gguf_format_numbered(uint32_t number)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].number == number)
            return &formats[i];
    return NULL;
}

const core_gguf_format *core_quantised(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].dequantise && !strcmp(formats[i].name, name))
            return &formats[i];
    return NULL;
}

bool core_quantised_read(const core_gguf_format *format, const unsigned char *data, int64_t first, int64_t count,
                         DLDataType dtype, void *to)
{
    float values[CORE_QUANTISED_BLOCK];
    size_t width = (size_t)(dtype.bits / 8);
    bool good = true, half = more_dtype_equal(dtype, more_f16());
    for (int64_t at = 0; at < count && good; at += format->block) {
        format->dequantise(data + (size_t)((first + at) / format->block) * format->bytes, values);
        for (int32_t i = 0; i < format->block && half && good; i++)
            good = !isfinite(values[i]) || fabsf(values[i]) <= LARGEST_F16;
        good = good && core_convert("f32", (const unsigned char *)values, 1, format->block, dtype,
                                    (char *)to + (size_t)at * width);
    }
    return good;
}
