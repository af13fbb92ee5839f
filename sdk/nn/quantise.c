/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantising to GGUF's blocks. The 4-bit kinds try some ways of laying the numbers' range over the block's values; each
 * gives numbers, for which the best scale is a least-squares fit, and the one with the least error is kept.
 */
#include "quantise.h"

#include <math.h>
#include <string.h>

#include "cpu/vec_baseline.h"
#include "half.h"

enum { BLOCK = 32, HALF = BLOCK / 2, VECS = BLOCK / VEC_LANES };

static const float largest_f16 = 65504.0f;
static const float least_magnitude = 1e-7f; /* below it a 4-bit scale would round to 0 in f16 */

static int64_t block_bytes(nn_blocks blocks)
{
    return blocks == NN_BLOCKS_Q8_0 ? 2 + BLOCK : blocks == NN_BLOCKS_Q4_0 ? 2 + HALF : 4 + HALF;
}

int64_t nn_blocks_bytes(nn_blocks blocks, int64_t count)
{
    return (count + BLOCK - 1) / BLOCK * block_bytes(blocks);
}

static void store_f16(uint8_t *at, float value)
{
    uint16_t half = nn_f32_to_f16(value);
    memcpy(at, &half, sizeof half);
}

static float rounded_to_f16(float value)
{
    return nn_f16_to_f32(nn_f32_to_f16(value));
}

/* The largest magnitude; NaN where there is one. */
static float largest(const float *x)
{
    float most = 0.0f;
    for (int i = 0; i < BLOCK; i++) {
        float magnitude = fabsf(x[i]);
        if (isnan(magnitude))
            return magnitude;
        most = magnitude > most ? magnitude : most;
    }
    return most;
}

static float clamp(float x, float least, float most)
{
    return x < least ? least : x > most ? most : x;
}

/* ---- 8 bits ----------------------------------------------------------------------------------------------------- */

/* Halves away from zero, as ggml's; |x| is at most 127. */
static int8_t round_away(float x)
{
    int32_t whole = (int32_t)x;
    float rest = x - (float)whole;
    return (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
}

static void quantise_q8_0(const float *x, float most, uint8_t *block)
{
    float scale = most / 127.0f < largest_f16 ? most / 127.0f : largest_f16;
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    if (isinf(inverse))
        inverse = 0.0f; /* of subnormal values, whose scale becomes 0 anyway */
    store_f16(block, scale);
    for (int i = 0; i < BLOCK; i++)
        block[2 + i] = (uint8_t)round_away(clamp(x[i] * inverse, -127.0f, 127.0f));
}

/* ---- 4 bits ----------------------------------------------------------------------------------------------------- */

static void store_nibbles(const float *numbers, uint8_t *bytes)
{
    for (int i = 0; i < HALF; i++)
        bytes[i] = (uint8_t)((uint32_t)numbers[i] | (uint32_t)numbers[HALF + i] << 4);
}

/* round(x * inverse + shift) within [least, most] */
static vec numbers_of(vec x, float inverse, float shift, float least, float most)
{
    vec n = vec_round(vec_fma(x, vec_set(inverse), vec_set(shift)));
    return vec_max(vec_set(least), vec_min(vec_set(most), n));
}

/* What the scale x.q / q.q takes off the squared error, (x.q)^2 / q.q. */
static float gain_q4_0(const float *x, float inverse, float *scale)
{
    vec xq = vec_zero(), qq = vec_zero();
    for (int v = 0; v < VECS; v++) {
        vec a = vec_load(x + v * VEC_LANES), q = numbers_of(a, inverse, 0.0f, -8.0f, 7.0f);
        xq = vec_fma(a, q, xq);
        qq = vec_fma(q, q, qq);
    }
    float numerator = vec_sum(xq), denominator = vec_sum(qq);
    *scale = denominator > 0.0f ? numerator / denominator : 0.0f;
    return *scale * numerator;
}

static void quantise_q4_0(const float *x, float most, uint8_t *block)
{
    enum { TRIES = 20 };
    float best = 0.0f, scale = 0.0f, numbers[BLOCK];
    for (int i = 0; i < TRIES && most >= least_magnitude; i++) { /* the largest magnitude at 6.2 to 8.9, either way */
        float end = 6.2f + 0.3f * (float)(i / 2), fitted;
        float gain = gain_q4_0(x, (i % 2 ? end : -end) / most, &fitted);
        if (gain > best) {
            best = gain;
            scale = fitted;
        }
    }
    scale = rounded_to_f16(scale);
    if (scale != 0.0f) { /* once more with the numbers that this scale leads to */
        float fitted;
        gain_q4_0(x, 1.0f / scale, &fitted);
        scale = rounded_to_f16(fitted);
    }
    float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    for (int v = 0; v < VECS; v++)
        vec_store(numbers + v * VEC_LANES,
                  vec_add(vec_set(8.0f), numbers_of(vec_load(x + v * VEC_LANES), inverse, 0.0f, -8.0f, 7.0f)));
    store_f16(block, scale);
    store_nibbles(numbers, block + 2);
}

typedef struct line {
    float scale, minimum; /* x = scale * n + minimum */
    float gain;           /* squared error less than that of a constant */
} line;

/* The line through the block's values, whose mean was taken off, over the numbers that `inverse` and `shift` give. */
static line fit_q4_1(const float *x, float inverse, float shift)
{
    vec xn = vec_zero(), nn = vec_zero(), sum = vec_zero();
    for (int v = 0; v < VECS; v++) {
        vec a = vec_load(x + v * VEC_LANES), n = numbers_of(a, inverse, shift, 0.0f, 15.0f);
        xn = vec_fma(a, n, xn);
        nn = vec_fma(n, n, nn);
        sum = vec_add(sum, n);
    }
    float numerator = vec_sum(xn), n = vec_sum(sum), spread = vec_sum(nn) - n * n / BLOCK;
    line l = {0.0f, 0.0f, 0.0f};
    if (spread > 0.0f) {
        l.scale = numerator / spread;
        l.minimum = -l.scale * n / BLOCK;
        l.gain = l.scale * numerator;
    }
    return l;
}

static line search_q4_1(const float *x, float least, float range)
{
    enum { SCALES = 6, SHIFTS = 3 };
    line best = {0.0f, 0.0f, 0.0f};
    for (int i = 0; i < SCALES * SHIFTS; i++) { /* the ends inside, or cut off by up to a step */
        float inverse = (14.6f + 0.4f * (float)(i % SCALES)) / range;
        line l = fit_q4_1(x, inverse, -least * inverse - 0.4f * (float)(i / SCALES));
        if (l.gain > best.gain)
            best = l;
    }
    if (best.scale > 0.0f) {
        line l = fit_q4_1(x, 1.0f / best.scale, -best.minimum / best.scale);
        if (l.gain > best.gain)
            best = l;
    }
    return best;
}

static void quantise_q4_1(const float *x, uint8_t *block)
{
    float centred[BLOCK], numbers[BLOCK], least = x[0], most = x[0], mean = 0.0f;
    for (int i = 0; i < BLOCK; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
        mean += x[i] / BLOCK;
    }
    for (int i = 0; i < BLOCK; i++)
        centred[i] = x[i] - mean;
    line l = {0.0f, 0.0f, 0.0f};
    if (most - least >= least_magnitude)
        l = search_q4_1(centred, least - mean, most - least);
    float scale = rounded_to_f16(l.scale);
    float minimum = rounded_to_f16(clamp(l.minimum + mean, -largest_f16, largest_f16));
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    for (int v = 0; v < VECS; v++) {
        vec a = vec_sub(vec_load(x + v * VEC_LANES), vec_set(minimum));
        vec_store(numbers + v * VEC_LANES, numbers_of(a, inverse, 0.0f, 0.0f, 15.0f));
    }
    store_f16(block, scale);
    store_f16(block + 2, minimum);
    store_nibbles(numbers, block + 4);
}

/* ---- Entries ---------------------------------------------------------------------------------------------------- */

static void quantise_block(nn_blocks blocks, const float *values, uint8_t *block)
{
    float most = largest(values), x[BLOCK];
    memset(block, 0, (size_t)block_bytes(blocks));
    if (isnan(most)) {
        store_f16(block, most);
    } else if (blocks == NN_BLOCKS_Q8_0) {
        quantise_q8_0(values, most, block);
    } else {
        for (int i = 0; i < BLOCK; i++)
            x[i] = clamp(values[i], -largest_f16, largest_f16);
        if (blocks == NN_BLOCKS_Q4_0)
            quantise_q4_0(x, clamp(most, 0.0f, largest_f16), block);
        else
            quantise_q4_1(x, block);
    }
}

void nn_quantise(nn_blocks blocks, const float *values, int64_t count, void *quantised)
{
    uint8_t *block = quantised;
    for (; count >= BLOCK; count -= BLOCK, values += BLOCK, block += block_bytes(blocks))
        quantise_block(blocks, values, block);
    if (count > 0) {
        float last[BLOCK] = {0.0f};
        memcpy(last, values, (size_t)count * sizeof(float));
        quantise_block(blocks, last, block);
    }
}

static void dequantise_block(nn_blocks blocks, const uint8_t *block, float *values)
{
    float scale = nn_f16_at(block);
    if (blocks == NN_BLOCKS_Q8_0) {
        for (int i = 0; i < BLOCK; i++)
            values[i] = scale * (float)(int8_t)block[2 + i];
        return;
    }
    float zero = blocks == NN_BLOCKS_Q4_0 ? -8.0f : 0.0f;
    float minimum = blocks == NN_BLOCKS_Q4_1 ? nn_f16_at(block + 2) : 0.0f;
    const uint8_t *bytes = block + block_bytes(blocks) - HALF;
    for (int i = 0; i < HALF; i++) {
        values[i] = scale * ((float)(bytes[i] & 15) + zero) + minimum;
        values[HALF + i] = scale * ((float)(bytes[i] >> 4) + zero) + minimum;
    }
}

void nn_dequantise(nn_blocks blocks, const void *quantised, int64_t count, float *values)
{
    const uint8_t *block = quantised;
    float last[BLOCK];
    for (; count >= BLOCK; count -= BLOCK, values += BLOCK, block += block_bytes(blocks))
        dequantise_block(blocks, block, values);
    if (count > 0) {
        dequantise_block(blocks, block, last);
        memcpy(values, last, (size_t)count * sizeof(float));
    }
}
