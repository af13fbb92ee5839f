/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantised panels turned to bf16 pairs: what each number stands for, in f32, rounded once. Included by the kernels of
 * 16-bit products that take quantised weights.
 *
 * An unsigned number n of b bits becomes a float without a conversion when its bits are laid on top of the mantissa of
 * 2^b, which makes 2^b + n; the multiplication by the scale then subtracts what is too much, exactly: both scale and
 * 2^b (+ the number that stands for 0) have few bits.
 */
#ifndef NN_CPU_BF16_UNPACK_H
#define NN_CPU_BF16_UNPACK_H

#include "bf16_dot.h"

/* Scale and what to add, of the two blocks of a step. */
typedef struct step_scales {
    floats16 scale[2], term[2];
} step_scales;

NN_INLINE step_scales load_scales(nn_storage storage, const char *step)
{
    const uint16_t *scale = (const uint16_t *)(const void *)step;
    const float too_much = storage == NN_Q8 ? 256.0f + NN_ZERO_Q8 : storage == NN_Q4 ? 16.0f + NN_ZERO_Q4 : 16.0f;
    step_scales s;
    for (int b = 0; b < 2; b++) {
        floats16 minimum = floats_zero();
        s.scale[b] = floats_load_f16(scale + b * NN_PANEL);
        if (storage == NN_Q4_OFFSET)
            minimum = floats_load_f16(scale + (2 + b) * NN_PANEL);
        s.term[b] = floats_fma(s.scale[b], floats_set(-too_much), minimum);
    }
    return s;
}

/* Four columns of a group: bytes 0 to 3 of each lane, of which `bits` bits from `low` on count. */
NN_INLINE void unpack_group(pairs16 group, int low, int bits, floats16 scale, floats16 term, uint32_t *out)
{
    const uint32_t mask = 0x7fffffu & ~(0x7fffffu >> bits), power = (uint32_t)(127 + bits) << 23;
    floats16 column[4];
    NN_UNROLL
    for (int i = 0; i < 4; i++) /* bit `low` of the byte goes to bit 23 - bits of the lane */
        column[i] = floats_fma(pairs_bits(group, 8 * i + low - (23 - bits), mask, power), scale, term);
    pairs_store(out, pairs_join(column[0], column[1]));
    pairs_store(out + NN_PANEL, pairs_join(column[2], column[3]));
}

/* Whole steps; `out` has room for them. */
NN_INLINE void pair_quantised(nn_storage storage, const void *stored, int64_t count, uint32_t *out)
{
    const char *step = stored;
    for (int64_t k = 0; k < count; k += NN_STEP) {
        const step_scales s = load_scales(storage, step);
        const char *numbers = step + nn_step_numbers(storage);
        for (int64_t g = 0; g < NN_STEP / 4; g += storage == NN_Q8 ? 1 : 2) {
            const int64_t b = g / (NN_BLOCK / 4);
            pairs16 group = pairs_load(numbers);
            if (storage == NN_Q8) {
                unpack_group(group, 0, 8, s.scale[b], s.term[b], out);
            } else {
                unpack_group(group, 0, 4, s.scale[b], s.term[b], out);
                out += 2 * NN_PANEL;
                unpack_group(group, 4, 4, s.scale[b], s.term[b], out);
            }
            out += 2 * NN_PANEL;
            numbers += 4 * NN_PANEL;
        }
        step += nn_step_bytes(storage);
    }
}

static void pair_q8(const void *stored, int64_t count, uint32_t *out)
{
    pair_quantised(NN_Q8, stored, count, out);
}

static void pair_q4(const void *stored, int64_t count, uint32_t *out)
{
    pair_quantised(NN_Q4, stored, count, out);
}

static void pair_q4_offset(const void *stored, int64_t count, uint32_t *out)
{
    pair_quantised(NN_Q4_OFFSET, stored, count, out);
}

#endif
