/* SPDX-License-Identifier: Apache-2.0
 *
 * What the hardware gives at best, for llavamore-bench to compare the kernels with: multiply-adds that never leave the
 * registers, and reading memory without keeping anything. Included by each variant's file.
 */
#ifndef NN_CPU_PROBE_H
#define NN_CPU_PROBE_H

#include "kernels.h"

enum { PROBE_SUMS = 12, PROBE_STREAMS = 4 };

/* Twelve independent chains: more than latency times throughput of any core, and registers to spare. They start from
 * values that the compiler does not know, or it would find the chain that stays at 1. */
static int64_t multiply_add(int64_t rounds, float *result)
{
    vec sum[PROBE_SUMS], factor = vec_set(0.999f), term = vec_set(1e-3f);
    for (int i = 0; i < PROBE_SUMS; i++)
        sum[i] = vec_set((float)(rounds + i));
    for (int64_t r = 0; r < rounds; r++) {
        NN_UNROLL
        for (int i = 0; i < PROBE_SUMS; i++)
            sum[i] = vec_fma(sum[i], factor, term);
    }
    vec all = vec_zero();
    for (int i = 0; i < PROBE_SUMS; i++)
        all = vec_add(all, sum[i]);
    *result = vec_sum(all);
    return rounds * PROBE_SUMS * VEC_LANES;
}

/* `streams` (a constant) equal parts of the memory, read side by side. */
NN_INLINE vec read_streams(const float *memory, int64_t count, int64_t streams)
{
    enum { STEP = 4 * VEC_LANES };
    int64_t part = count / streams;
    vec sum[PROBE_STREAMS][4];
    for (int i = 0; i < PROBE_STREAMS; i++)
        for (int v = 0; v < 4; v++)
            sum[i][v] = vec_zero();
    for (int64_t k = 0; k + STEP <= part; k += STEP) {
        NN_UNROLL
        for (int64_t i = 0; i < streams; i++) {
            NN_UNROLL
            for (int v = 0; v < 4; v++)
                sum[i][v] = vec_add(sum[i][v], vec_load(memory + i * part + k + v * VEC_LANES));
        }
    }
    vec all = vec_zero();
    for (int i = 0; i < PROBE_STREAMS; i++)
        for (int v = 0; v < 4; v++)
            all = vec_add(all, sum[i][v]);
    return all;
}

static void read_memory(const float *memory, int64_t count, int32_t streams, float *result)
{
    vec sum = streams >= 4   ? read_streams(memory, count, 4)
              : streams >= 2 ? read_streams(memory, count, 2)
                             : read_streams(memory, count, 1);
    *result = vec_sum(sum);
}

#endif
