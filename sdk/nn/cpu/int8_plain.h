/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer products in plain C, on the vector of vec_baseline.h. int8_avx2.h, int8_avx512.h and int8_vnni.h offer the
 * same functions; int8.h makes the kernels of them.
 */
#ifndef NN_CPU_INT8_OPS_H
#define NN_CPU_INT8_OPS_H

#include <stdint.h>
#include <string.h>

#define INT8_ANY_BYTE 1 /* the products ask not how many bits the numbers have */
#ifndef INT8_ROWS       /* a test builds this with the shapes of another variant */
#define INT8_ROWS 3     /* rows of a tile */
#define INT8_PANELS 1   /* panels of a tile */
#define INT8_STREAM 1   /* panels that one row goes through side by side */
#endif

/* VEC_LANES whole numbers; as bytes, 4 columns of VEC_LANES rows of a panel. */
typedef int32_t int8_vec __attribute__((vector_size(16)));
typedef int16_t int8_shorts __attribute__((vector_size(16)));

/* Numbers of weights, ready to be multiplied by several rows. */
typedef int8_vec int8_numbers;
/* Running sums of products, which int8_end turns into whole numbers. */
typedef int8_vec int8_sums;

static inline int8_vec int8_load(const void *p)
{
    int8_vec a;
    memcpy(&a, p, sizeof a);
    return a;
}
static inline void int8_keep(void *p, int8_vec a)
{
    memcpy(p, &a, sizeof a);
}
static inline int8_vec int8_set(int32_t a)
{
    return (int8_vec){a, a, a, a};
}
/* The lower and the upper halves of all bytes. */
static inline int8_vec int8_low(int8_vec a)
{
    return a & 0x0f0f0f0f;
}
static inline int8_vec int8_high(int8_vec a)
{
    return (a >> 4) & 0x0f0f0f0f;
}
/* Byte i (0 to 3) of every lane, unsigned. */
static inline int8_vec int8_byte(int8_vec a, int i)
{
    return (a >> (8 * i)) & 255;
}
static inline vec int8_to_float(int8_vec a)
{
    return __builtin_convertvector(a, vec);
}

/* `nibbles`: the numbers are 0 to 15, else 8-bit ones plus 128. */
static inline int8_numbers int8_prepare(int nibbles, int8_vec bytes)
{
    (void)nibbles;
    return bytes;
}
/* `sum` is what the block's sum contributes, see kernels.h. */
static inline int8_sums int8_begin(int nibbles, int32_t sum)
{
    (void)nibbles;
    return int8_set(sum);
}
static inline int8_vec int8_add_pairs(int8_shorts products)
{
    int8_vec a = (int8_vec)products;
    return ((int8_vec)((uint32_t __attribute__((vector_size(16))))a << 16) >> 16) + (a >> 16);
}
/* Adds the products of each lane's 4 numbers with 4 of a row's, which `x` has in every lane. Products fit 16 bits. */
static inline int8_sums int8_dot(int nibbles, int8_sums sums, int8_numbers numbers, int8_vec x)
{
    (void)nibbles;
    typedef uint16_t unsigned_shorts __attribute__((vector_size(16)));
    int8_shorts even = (int8_shorts)((unsigned_shorts)x << 8) >> 8, odd = (int8_shorts)x >> 8;
    int8_shorts first = (int8_shorts)numbers & 255;
    int8_shorts second = (int8_shorts)((unsigned_shorts)numbers >> 8);
    return sums + int8_add_pairs(first * even) + int8_add_pairs(second * odd);
}
static inline int8_vec int8_end(int nibbles, int8_sums sums, int32_t sum)
{
    (void)nibbles;
    (void)sum;
    return sums;
}

/* ---- Quantising ------------------------------------------------------------------------------------------------- */

/* The larger bits, lane by lane, of values without sign: NaN is above infinity. */
static inline vec int8_max_bits(vec a, vec b)
{
    int8_vec x = (int8_vec)a, y = (int8_vec)b, larger = x > y;
    return (vec)((x & larger) | (y & ~larger));
}
static inline float int8_largest(vec a)
{
    vec b = int8_max_bits(a, (vec){a[2], a[3], a[0], a[1]});
    return int8_max_bits(b, (vec){b[1], b[0], b[3], b[2]})[0];
}
/* The nearest whole number for |a| < 2^22, halves to even; anything at all for what is not finite. */
static inline int8_vec int8_round(vec a)
{
    typedef uint32_t words __attribute__((vector_size(16)));
    return (int8_vec)((words)(a + 12582912.0f) - 0x4b400000u);
}
/* Sum over the lanes, small numbers. */
static inline int8_vec int8_plus(int8_vec a, int8_vec b)
{
    typedef uint32_t words __attribute__((vector_size(16)));
    return (int8_vec)((words)a + (words)b);
}
static inline int32_t int8_total(int8_vec a)
{
    return (int32_t)((uint32_t)a[0] + (uint32_t)a[1] + (uint32_t)a[2] + (uint32_t)a[3]);
}
/* The lowest byte of each lane. */
static inline void int8_store(void *p, int8_vec a)
{
    uint8_t bytes[4] = {(uint8_t)a[0], (uint8_t)a[1], (uint8_t)a[2], (uint8_t)a[3]};
    memcpy(p, bytes, sizeof bytes);
}

#endif
