/* SPDX-License-Identifier: Apache-2.0
 *
 * The tile registers of AMX as the products use them: sums C of 2 x 2 tiles, operands A (rows of activations) and B
 * (panels), two tiles each. With a body in plain C beside each instruction (NN_PLAIN_INSTRUCTIONS, or where the
 * instructions are missing), so that all that is built upon them is tested on every machine.
 *
 * The compiler takes none of these instructions for an access to memory, hence amx_barrier where memory was written
 * before or is read after.
 */
#ifndef NN_CPU_AMX_TILE_H
#define NN_CPU_AMX_TILE_H

#include <string.h>

#include "kernels.h"

enum {
    AMX_HEIGHT = 16, /* rows of a full tile */
    AMX_LINE = 64,   /* bytes of a row of a tile */
    AMX_PAIRS = 16,  /* pairs of a row */
    AMX_C = 0,       /* C tile of rows r and panel p: 2r + p */
    AMX_A = 4,       /* two tiles */
    AMX_B = 6,       /* two tiles */
};

#if defined(__AMX_BF16__) && !defined(NN_PLAIN_INSTRUCTIONS)

#include <immintrin.h>

typedef struct amx_tiles {
    int64_t height; /* rows of C and A; the registers are the CPU's */
} amx_tiles;

NN_INLINE void amx_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

/* gcc 12 takes the instruction to read 8 of these 64 bytes: without the barrier it would not write the others. */
static void amx_configure(int64_t height)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t line[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64))) = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.line[i] = AMX_LINE;
        config.rows[i] = (uint8_t)(i < AMX_B ? height : AMX_HEIGHT);
    }
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

static void amx_release(void)
{
    _tile_release();
}

NN_INLINE amx_tiles amx_begin(int64_t height)
{
    return (amx_tiles){height};
}

/* The number of a tile is part of the instruction. */
NN_INLINE void amx_zero(amx_tiles *tiles, int tile)
{
    (void)tiles;
    if (tile == 0)
        _tile_zero(0);
    else if (tile == 1)
        _tile_zero(1);
    else if (tile == 2)
        _tile_zero(2);
    else
        _tile_zero(3);
}

NN_INLINE void amx_load(amx_tiles *tiles, int tile, const void *memory, int64_t stride)
{
    (void)tiles;
    if (tile == 0)
        _tile_loadd(0, memory, stride);
    else if (tile == 1)
        _tile_loadd(1, memory, stride);
    else if (tile == 2)
        _tile_loadd(2, memory, stride);
    else if (tile == 3)
        _tile_loadd(3, memory, stride);
    else if (tile == 4)
        _tile_loadd(4, memory, stride);
    else if (tile == 5)
        _tile_loadd(5, memory, stride);
    else if (tile == 6)
        _tile_loadd(6, memory, stride);
    else
        _tile_loadd(7, memory, stride);
}

NN_INLINE void amx_store(amx_tiles *tiles, int tile, void *memory, int64_t stride)
{
    (void)tiles;
    if (tile == 0)
        _tile_stored(0, memory, stride);
    else if (tile == 1)
        _tile_stored(1, memory, stride);
    else if (tile == 2)
        _tile_stored(2, memory, stride);
    else
        _tile_stored(3, memory, stride);
}

/* C of rows r and panel p += A of rows r times B of panel p, both of bf16 pairs. */
NN_INLINE void amx_dot_bf16(amx_tiles *tiles, int r, int p)
{
    (void)tiles;
    if (r == 0 && p == 0)
        _tile_dpbf16ps(0, 4, 6);
    else if (r == 0)
        _tile_dpbf16ps(1, 4, 7);
    else if (p == 0)
        _tile_dpbf16ps(2, 5, 6);
    else
        _tile_dpbf16ps(3, 5, 7);
}

#else

#include "../half.h"

typedef struct amx_tiles {
    int64_t height;
    uint8_t memory[8][AMX_HEIGHT][AMX_LINE];
} amx_tiles;

NN_INLINE void amx_barrier(void) {}

static void amx_configure(int64_t height)
{
    (void)height;
}

static void amx_release(void) {}

NN_INLINE amx_tiles amx_begin(int64_t height)
{
    return (amx_tiles){.height = height};
}

NN_INLINE int64_t amx_rows(const amx_tiles *tiles, int tile)
{
    return tile < AMX_B ? tiles->height : AMX_HEIGHT;
}

NN_INLINE void amx_zero(amx_tiles *tiles, int tile)
{
    memset(tiles->memory[tile], 0, sizeof tiles->memory[tile]);
}

NN_INLINE void amx_load(amx_tiles *tiles, int tile, const void *memory, int64_t stride)
{
    for (int64_t r = 0; r < amx_rows(tiles, tile); r++)
        memcpy(tiles->memory[tile][r], (const char *)memory + r * stride, AMX_LINE);
}

NN_INLINE void amx_store(amx_tiles *tiles, int tile, void *memory, int64_t stride)
{
    for (int64_t r = 0; r < amx_rows(tiles, tile); r++)
        memcpy((char *)memory + r * stride, tiles->memory[tile][r], AMX_LINE);
}

/* One row of C += one row of A times B: sums of the earlier and of the later numbers apart, as the instruction has it.
 */
static void amx_dot_row(const uint8_t a[AMX_LINE], uint8_t b[AMX_HEIGHT][AMX_LINE], uint8_t c[AMX_LINE])
{
    uint32_t x[AMX_PAIRS], w[NN_PANEL];
    float sum[NN_PANEL], earlier[NN_PANEL] = {0.0f}, later[NN_PANEL] = {0.0f};
    memcpy(x, a, sizeof x);
    memcpy(sum, c, sizeof sum);
    for (int k = 0; k < AMX_PAIRS; k++) {
        memcpy(w, b[k], sizeof w);
        for (int l = 0; l < NN_PANEL; l++) {
            earlier[l] += nn_f32_from_bits(x[k] << 16) * nn_f32_from_bits(w[l] << 16);
            later[l] += nn_f32_from_bits(x[k] & 0xffff0000u) * nn_f32_from_bits(w[l] & 0xffff0000u);
        }
    }
    for (int l = 0; l < NN_PANEL; l++)
        sum[l] += earlier[l] + later[l];
    memcpy(c, sum, sizeof sum);
}

NN_INLINE void amx_dot_bf16(amx_tiles *tiles, int r, int p)
{
    for (int64_t i = 0; i < tiles->height; i++)
        amx_dot_row(tiles->memory[AMX_A + r][i], tiles->memory[AMX_B + p], tiles->memory[AMX_C + 2 * r + p][i]);
}

#endif

#endif
