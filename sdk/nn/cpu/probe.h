/* SPDX-License-Identifier: Apache-2.0
 *
 * What the hardware gives at best, for llavamore-bench to compare the kernels with: each multiply-add instruction on
 * registers alone and with its operands in the level-2 cache, and reading memory without keeping anything. Included by
 * each variant's file.
 */
#ifndef NN_CPU_PROBE_H
#define NN_CPU_PROBE_H

#include <string.h>

#include "kernels.h"

enum {
    PROBE_SUMS = 12, /* independent chains: more than latency times throughput of any core, and registers to spare */
    PROBE_STREAMS = 4,
    PROBE_ROWS = VEC_LANES >= 16 ? 12 : 4, /* sums of a fed step are PROBE_ROWS x PROBE_PANELS registers */
    PROBE_PANELS = 2,
    PROBE_DEPTH = 256, /* steps over one block of operands, both together PROBE_BLOCK numbers of 4 bytes */
    PROBE_X = PROBE_ROWS * PROBE_DEPTH,
    PROBE_BLOCK = PROBE_X + PROBE_DEPTH * PROBE_PANELS * VEC_LANES,
    PROBE_BLOCKS = NN_PROBE_FED / PROBE_BLOCK
};

/* ---- Multiply-adds to f32 --------------------------------------------------------------------------------------- */

/* sum + a b, the registers' bits taken as what `peak` multiplies. */
NN_INLINE vec probe_step(nn_peak peak, vec sum, vec a, vec b)
{
#if defined(__AVX512BF16__)
    if (peak == NN_PEAK_BF16)
        return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
#endif
    (void)peak;
    return vec_fma(a, b, sum);
}

/* The sums start from values that the compiler does not know, or it would find the chain that stays at 1. */
NN_INLINE int64_t probe_registers(nn_peak peak, int64_t rounds, float *result)
{
    vec sum[PROBE_SUMS], factor = vec_set(0.999f), other = vec_set(1e-3f);
    NN_UNROLL
    for (int i = 0; i < PROBE_SUMS; i++)
        sum[i] = vec_set((float)(rounds + i));
    for (int64_t r = 0; r < rounds; r++) {
        NN_UNROLL
        for (int i = 0; i < PROBE_SUMS; i++)
            sum[i] = peak == NN_PEAK_F32 ? vec_fma(sum[i], factor, other) : probe_step(peak, sum[i], factor, other);
    }
    vec all = vec_zero();
    NN_UNROLL
    for (int i = 0; i < PROBE_SUMS; i++)
        all = vec_add(all, sum[i]);
    *result = vec_sum(all);
    return rounds * PROBE_SUMS;
}

/* As a matrix product is: PROBE_ROWS rows of one operand, whose values are spread over a register, times PROBE_PANELS
 * registers of the other, all of it read in its turn from the NN_PROBE_FED floats. */
NN_INLINE int64_t probe_fed(nn_peak peak, int64_t blocks, const float *fed, float *result)
{
    vec sum[PROBE_ROWS][PROBE_PANELS];
    NN_UNROLL
    for (int i = 0; i < PROBE_ROWS; i++) {
        NN_UNROLL
        for (int p = 0; p < PROBE_PANELS; p++)
            sum[i][p] = vec_zero();
    }
    for (int64_t block = 0; block < blocks; block++) {
        const float *x = fed + block % PROBE_BLOCKS * PROBE_BLOCK, *w = x + PROBE_X;
        for (int64_t k = 0; k < PROBE_DEPTH; k++, w += PROBE_PANELS * VEC_LANES) {
            vec w0 = vec_load(w), w1 = vec_load(w + VEC_LANES);
            NN_UNROLL
            for (int i = 0; i < PROBE_ROWS; i++) {
                vec spread = vec_set(x[i * PROBE_DEPTH + k]);
                sum[i][0] = probe_step(peak, sum[i][0], w0, spread);
                sum[i][1] = probe_step(peak, sum[i][1], w1, spread);
            }
        }
    }
    vec all = vec_zero();
    NN_UNROLL
    for (int i = 0; i < PROBE_ROWS; i++) {
        NN_UNROLL
        for (int p = 0; p < PROBE_PANELS; p++)
            all = vec_add(all, sum[i][p]);
    }
    *result = vec_sum(all);
    return blocks * PROBE_DEPTH * PROBE_ROWS * PROBE_PANELS;
}

NN_INLINE int64_t probe_floats(nn_peak peak, int64_t rounds, const float *fed, float *result)
{
    return fed ? probe_fed(peak, rounds / PROBE_DEPTH + 1, fed, result) : probe_registers(peak, rounds, result);
}

static int64_t peak_f32(int64_t rounds, const float *fed, float *result)
{
    return VEC_LANES * probe_floats(NN_PEAK_F32, rounds, fed, result);
}

#if defined(__AVX512BF16__)
static int64_t peak_bf16(int64_t rounds, const float *fed, float *result)
{
    return 2 * VEC_LANES * probe_floats(NN_PEAK_BF16, rounds, fed, result);
}
#else
#define peak_bf16 NULL
#endif

/* ---- Multiply-adds of 8-bit numbers to i32 ---------------------------------------------------------------------- */

#if defined(__AVX512BW__) || defined(__AVX2__)

/* Lanes of i32. Sums of the intrinsics' own integer type, which are lanes of i64 to gcc 12, it would store in every
 * turn. */
typedef int32_t probe_int __attribute__((vector_size(4 * VEC_LANES)));

static inline probe_int probe_int_set(int32_t value)
{
    return value - (probe_int){0};
}
static inline probe_int probe_int_load(const int32_t *from)
{
    probe_int value;
    memcpy(&value, from, sizeof value);
    return value;
}
/* Without VNNI three instructions add four products. */
static inline probe_int probe_int_dot(probe_int sum, probe_int a, probe_int b)
{
#if defined(__AVX512VNNI__)
    return (probe_int)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__)
    __m512i pairs = _mm512_maddubs_epi16((__m512i)a, (__m512i)b);
    return sum + (probe_int)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#else
    __m256i pairs = _mm256_maddubs_epi16((__m256i)a, (__m256i)b);
    return sum + (probe_int)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
}

/* As probe_registers. A sum is a factor too, or the compiler would multiply but once where it can. */
static int64_t probe_registers_int8(int64_t rounds, float *result)
{
    probe_int sum[PROBE_SUMS], factor = probe_int_set(0x01020301), all = probe_int_set(0);
    NN_UNROLL
    for (int i = 0; i < PROBE_SUMS; i++)
        sum[i] = probe_int_set((int32_t)rounds + i);
    for (int64_t r = 0; r < rounds; r++) {
        NN_UNROLL
        for (int i = 0; i < PROBE_SUMS; i++)
            sum[i] = probe_int_dot(sum[i], sum[i], factor);
    }
    NN_UNROLL
    for (int i = 0; i < PROBE_SUMS; i++)
        all += sum[i];
    memcpy(result, &all, sizeof *result);
    return rounds * PROBE_SUMS;
}

/* As probe_fed. */
static int64_t probe_fed_int8(int64_t blocks, const int32_t *fed, float *result)
{
    probe_int sum[PROBE_ROWS][PROBE_PANELS], all = probe_int_set(0);
    NN_UNROLL
    for (int i = 0; i < PROBE_ROWS; i++) {
        NN_UNROLL
        for (int p = 0; p < PROBE_PANELS; p++)
            sum[i][p] = all;
    }
    for (int64_t block = 0; block < blocks; block++) {
        const int32_t *x = fed + block % PROBE_BLOCKS * PROBE_BLOCK, *w = x + PROBE_X;
        for (int64_t k = 0; k < PROBE_DEPTH; k++, w += PROBE_PANELS * VEC_LANES) {
            probe_int w0 = probe_int_load(w), w1 = probe_int_load(w + VEC_LANES);
            NN_UNROLL
            for (int i = 0; i < PROBE_ROWS; i++) {
                probe_int spread = probe_int_set(x[i * PROBE_DEPTH + k]);
                sum[i][0] = probe_int_dot(sum[i][0], w0, spread);
                sum[i][1] = probe_int_dot(sum[i][1], w1, spread);
            }
        }
    }
    NN_UNROLL
    for (int i = 0; i < PROBE_ROWS; i++) {
        NN_UNROLL
        for (int p = 0; p < PROBE_PANELS; p++)
            all += sum[i][p];
    }
    memcpy(result, &all, sizeof *result);
    return blocks * PROBE_DEPTH * PROBE_ROWS * PROBE_PANELS;
}

static int64_t peak_int8(int64_t rounds, const float *fed, float *result)
{
    return 4 * VEC_LANES *
           (fed ? probe_fed_int8(rounds / PROBE_DEPTH + 1, (const int32_t *)(const void *)fed, result)
                : probe_registers_int8(rounds, result));
}
#else
#define peak_int8 NULL
#endif

/* ---- Multiply-adds of tiles ------------------------------------------------------------------------------------- */

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)

/* Eight whole tiles. In static storage: gcc 12 believes that loading it reads 8 bytes, and drops stores to the rest. */
static const struct probe_tiles {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} probe_tiles __attribute__((aligned(64))) = {
    .palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

/* 2 x 2 sums, of operands that stay or, where `fed` is given, of four tiles read in their turn. Returns the number of
 * tile products. */
NN_INLINE int64_t probe_matrices(nn_peak peak, int64_t rounds, const float *fed, float *result)
{
    enum { TILE = 256, STEP = 4 * TILE, STEPS = NN_PROBE_FED / STEP };
    _tile_loadconfig(&probe_tiles);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int64_t r = 0; r < rounds; r++) {
        if (fed) {
            const float *from = fed + r % STEPS * STEP;
            _tile_loadd(4, from, 64);
            _tile_loadd(5, from + TILE, 64);
            _tile_loadd(6, from + 2 * TILE, 64);
            _tile_loadd(7, from + 3 * TILE, 64);
        }
        if (peak == NN_PEAK_TILE_INT8) {
            _tile_dpbssd(0, 4, 6);
            _tile_dpbssd(1, 4, 7);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        } else {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_release();
    *result = 0.0f; /* tile instructions are never left out */
    return 4 * rounds;
}

static int64_t peak_tile_bf16(int64_t rounds, const float *fed, float *result)
{
    return 16 * 16 * 32 * probe_matrices(NN_PEAK_TILE_BF16, rounds, fed, result);
}

static int64_t peak_tile_int8(int64_t rounds, const float *fed, float *result)
{
    return 16 * 16 * 64 * probe_matrices(NN_PEAK_TILE_INT8, rounds, fed, result);
}
#else
#define peak_tile_bf16 NULL
#define peak_tile_int8 NULL
#endif

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

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
