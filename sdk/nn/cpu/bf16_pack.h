/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations and stored panels turned to bf16 pairs. Included by the kernels of 16-bit products.
 */
#ifndef NN_CPU_BF16_PACK_H
#define NN_CPU_BF16_PACK_H

#include <string.h>

#include "bf16_dot.h"

static void round_pairs(const float *x, int64_t count, uint32_t *out)
{
    int64_t k = 0;
    for (; k + NN_PAIR_GRAIN <= count; k += NN_PAIR_GRAIN)
        pairs_store(out + k / 2, pairs_round(x + k));
    if (k < count) {
        float rest[NN_PAIR_GRAIN] = {0.0f};
        memcpy(rest, x + k, (size_t)(count - k) * sizeof(float));
        pairs_store(out + k / 2, pairs_round(rest));
    }
}

/* Columns k and k + 1 of a panel, that lie at w, and a last column k alone. `storage` is a constant. */
NN_INLINE pairs16 load_pairs(nn_storage storage, const char *w)
{
    if (storage == NN_F32)
        return pairs_join(floats_load((const void *)w), floats_load((const float *)(const void *)w + NN_PANEL));
    if (storage == NN_F16)
        return pairs_join(floats_load_f16((const void *)w),
                          floats_load_f16((const uint16_t *)(const void *)w + NN_PANEL));
    return pairs_interleave(pairs_load(w));
}

NN_INLINE pairs16 load_last(nn_storage storage, const char *w)
{
    if (storage == NN_F32)
        return pairs_join(floats_load((const void *)w), floats_zero());
    if (storage == NN_F16)
        return pairs_join(floats_load_f16((const void *)w), floats_zero());
    return pairs_interleave(pairs_load_half((const void *)w));
}

/* Bytes of two columns of a panel. */
NN_INLINE int64_t pair_bytes(nn_storage storage)
{
    return 2 * NN_PANEL * (storage == NN_F32 ? 4 : 2);
}

NN_INLINE void pair_floats(nn_storage storage, const void *stored, int64_t count, uint32_t *out)
{
    const char *w = stored;
    int64_t k = 0, whole = count / 2;
    for (; k < whole; k++)
        pairs_store(out + k * NN_PANEL, load_pairs(storage, w + k * pair_bytes(storage)));
    if (count % 2) {
        pairs_store(out + k * NN_PANEL, load_last(storage, w + k * pair_bytes(storage)));
        k++;
    }
    for (; k % (NN_PAIR_GRAIN / 2); k++)
        pairs_store(out + k * NN_PANEL, pairs_set(0));
}

static void pair_f32(const void *stored, int64_t count, uint32_t *out)
{
    pair_floats(NN_F32, stored, count, out);
}

static void pair_f16(const void *stored, int64_t count, uint32_t *out)
{
    pair_floats(NN_F16, stored, count, out);
}

static void pair_bf16(const void *stored, int64_t count, uint32_t *out)
{
    pair_floats(NN_BF16, stored, count, out);
}

#endif
