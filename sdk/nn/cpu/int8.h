/* SPDX-License-Identifier: Apache-2.0
 *
 * The int8 kernels of a variant, made of the integer products that were included before: a tile of few rows and panels
 * whose sums live in registers, and the quantising of rows.
 */
#ifndef NN_CPU_INT8_H
#define NN_CPU_INT8_H

#include <string.h>

#include "kernels.h"

#define INT8_COLUMNS (PANEL_VECS * (INT8_STREAM > INT8_PANELS ? INT8_STREAM : INT8_PANELS))

/* How the numbers of a panel are stored; constants wherever they are passed, so that one branch remains. */
typedef struct int8_form {
    int nibbles; /* numbers are 0 to 15 */
    int packed;  /* two in a byte */
    int minima;
} int8_form;

NN_INLINE int64_t int8_before(int8_form form)
{
    return form.minima ? 2 * NN_STEP_SCALES : NN_STEP_SCALES;
}

NN_INLINE int64_t int8_step_bytes(int8_form form)
{
    return int8_before(form) + (form.packed ? NN_STEP_BYTES4 : NN_STEP_BYTES8);
}

NN_INLINE int32_t int8_word(const char *at)
{
    int32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

NN_INLINE float int8_real(const char *at)
{
    float real;
    memcpy(&real, at, sizeof real);
    return real;
}

/* The products of a group of 4 columns: `numbers` of each vector of columns with 4 numbers of each row at x. */
NN_INLINE void int8_group(int8_form form, int64_t rows, int64_t columns, const int8_numbers *numbers, const char *x,
                          int8_sums sums[INT8_ROWS][INT8_COLUMNS])
{
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        int8_vec four = int8_set(int8_word(x + r * NN_STEP));
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++)
            sums[r][v] = int8_dot(form.nibbles, sums[r][v], numbers[v], four);
    }
}

/* The products of a block: 8 groups. */
NN_INLINE void int8_block(int8_form form, int64_t rows, int64_t columns, const char *w, int64_t panel_stride,
                          const char *x, int8_sums sums[INT8_ROWS][INT8_COLUMNS])
{
    NN_UNROLL
    for (int64_t g = 0; g < 8; g += form.packed ? 2 : 1) {
        int8_numbers first[INT8_COLUMNS], second[INT8_COLUMNS];
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++) {
            int64_t at = v / PANEL_VECS * panel_stride + v % PANEL_VECS * VEC_LANES * 4;
            int8_vec bytes = int8_load(w + at + (form.packed ? g / 2 : g) * NN_PANEL * 4);
            first[v] = int8_prepare(form.nibbles, form.packed ? int8_low(bytes) : bytes);
            if (form.packed)
                second[v] = int8_prepare(form.nibbles, int8_high(bytes));
        }
        int8_group(form, rows, columns, first, x + g * 4, sums);
        if (form.packed)
            int8_group(form, rows, columns, second, x + g * 4 + 4, sums);
    }
}

/* Adds a block's exact sums to `totals`, scaled as the panel asks; `x_sums` is what the sums of the rows' numbers
 * contribute. */
NN_INLINE void int8_scale(int8_form form, int64_t rows, int64_t columns, const char *scales, int64_t panel_stride,
                          const char *x_sums, int8_sums sums[INT8_ROWS][INT8_COLUMNS],
                          vec totals[INT8_ROWS][INT8_COLUMNS])
{
    NN_UNROLL
    for (int64_t v = 0; v < columns; v++) {
        const char *at = scales + v / PANEL_VECS * panel_stride + v % PANEL_VECS * VEC_LANES * 2;
        vec scale = vec_load_f16((const void *)at);
        NN_UNROLL
        for (int64_t r = 0; r < rows; r++) {
            int8_vec dot = int8_end(form.nibbles, sums[r][v], form.minima ? 0 : int8_word(x_sums + r * 4));
            totals[r][v] = vec_fma(int8_to_float(dot), scale, totals[r][v]);
        }
        if (form.minima) {
            vec minimum = vec_load_f16((const void *)(at + NN_STEP_SCALES));
            NN_UNROLL
            for (int64_t r = 0; r < rows; r++)
                totals[r][v] = vec_fma(minimum, vec_set(int8_real(x_sums + r * 4)), totals[r][v]);
        }
    }
}

/* Where vector v of a row's columns lies in c. */
NN_INLINE int64_t int8_at(const nn_tile_int8 *tile, int64_t v)
{
    return v / PANEL_VECS * tile->c_panel + v % PANEL_VECS * VEC_LANES;
}

/* Adds a step's two blocks to the totals. x_sums and x are the first block's. */
NN_INLINE void int8_step(int8_form form, int64_t rows, int64_t columns, const char *w, int64_t panel_stride,
                         const char *x_sums, int64_t sums_stride, const char *x, vec totals[INT8_ROWS][INT8_COLUMNS])
{
    const char *numbers = w + int8_before(form);
    for (int64_t b = 0; b < 2; b++) {
        int8_sums sums[INT8_ROWS][INT8_COLUMNS];
        NN_UNROLL
        for (int64_t r = 0; r < rows; r++) {
            NN_UNROLL
            for (int64_t v = 0; v < columns; v++)
                sums[r][v] = int8_begin(form.nibbles, form.minima ? 0 : int8_word(x_sums + r * 4));
        }
        int8_block(form, rows, columns, numbers, panel_stride, x + b * NN_BLOCK, sums);
        int8_scale(form, rows, columns, w + b * NN_PANEL * 2, panel_stride, x_sums, sums, totals);
        x_sums += sums_stride;
        numbers += (form.packed ? NN_STEP_BYTES4 : NN_STEP_BYTES8) / 2;
    }
}

/* c = factor * totals (+ c). c stays in memory: its registers are the sums'. */
NN_INLINE void int8_add(const nn_tile_int8 *tile, int64_t rows, int64_t columns, const char *factors, bool add,
                        vec totals[INT8_ROWS][INT8_COLUMNS], float *c)
{
    NN_UNROLL
    for (int64_t r = 0; r < rows; r++) {
        vec factor = vec_set(int8_real(factors + r * 4));
        NN_UNROLL
        for (int64_t v = 0; v < columns; v++) {
            float *to = c + r * tile->c_stride + int8_at(tile, v);
            vec_store(to, vec_fma(totals[r][v], factor, add ? vec_load(to) : vec_zero()));
        }
    }
}

/* rows and panels are constants; the rows are `row` and those behind it of a tile of `of` rows. */
NN_INLINE void int8_product(int8_form form, int64_t rows, int64_t panels, const nn_tile_int8 *tile, int64_t row,
                            int64_t of)
{
    const int64_t columns = panels * PANEL_VECS;
    const char *x = (const char *)tile->x, *w = tile->w;
    for (int64_t step = 0; step < tile->steps; step += NN_X_STEPS) {
        const char *factors = x + row * 4;
        vec totals[INT8_ROWS][INT8_COLUMNS];
        NN_UNROLL
        for (int64_t r = 0; r < rows; r++) {
            NN_UNROLL
            for (int64_t v = 0; v < columns; v++)
                totals[r][v] = vec_zero();
        }
        for (int64_t i = 0; i < NN_X_STEPS && step + i < tile->steps; i++) {
            int8_step(form, rows, columns, w, tile->panel_stride, x + (of + row) * 4, of * 4,
                      x + of * NN_X_HEAD + row * NN_STEP, totals);
            x += nn_x_step_bytes(of);
            w += int8_step_bytes(form);
        }
        int8_add(tile, rows, columns, factors, step > 0 || tile->accumulate, totals, tile->c + row * tile->c_stride);
    }
}

/* What is no whole tile of panels, row by row and panel by panel: little of any matrix. */
NN_INLINE void int8_single(int8_form form, const nn_tile_int8 *tile)
{
    nn_tile_int8 part = *tile;
    for (int64_t p = 0; p < tile->panels; p++) {
        for (int64_t r = 0; r < tile->rows; r++)
            int8_product(form, 1, 1, &part, r, tile->rows);
        part.w = (const char *)part.w + tile->panel_stride;
        part.c += tile->c_panel;
    }
}

NN_INLINE void int8_tile(int8_form form, const nn_tile_int8 *tile)
{
    switch (tile->panels == (tile->rows == 1 ? INT8_STREAM : INT8_PANELS) ? tile->rows : 0) {
    case 1:
        int8_product(form, 1, INT8_STREAM, tile, 0, 1);
        break;
    case 2:
        int8_product(form, 2, INT8_PANELS, tile, 0, 2);
        break;
    case 3:
        int8_product(form, 3, INT8_PANELS, tile, 0, 3);
        break;
#if INT8_ROWS > 3
    case 4:
        int8_product(form, 4, INT8_PANELS, tile, 0, 4);
        break;
#endif
#if INT8_ROWS > 4
    case 5:
        int8_product(form, 5, INT8_PANELS, tile, 0, 5);
        break;
    case 6:
        int8_product(form, 6, INT8_PANELS, tile, 0, 6);
        break;
#endif
    default:
        int8_single(form, tile);
        break;
    }
}

static void int8_tile_q8(const nn_tile_int8 *tile)
{
    int8_tile((int8_form){.nibbles = 0}, tile);
}

static void int8_tile_q4(const nn_tile_int8 *tile)
{
#if INT8_ANY_BYTE
    int8_tile_q8(tile);
#else
    int8_tile((int8_form){.nibbles = 1}, tile);
#endif
}

static void int8_tile_q4_offset(const nn_tile_int8 *tile)
{
    int8_tile((int8_form){.nibbles = 1, .minima = 1}, tile);
}

static void int8_few_q4(const nn_tile_int8 *tile)
{
    int8_tile((int8_form){.nibbles = 1, .packed = 1}, tile);
}

static void int8_few_q4_offset(const nn_tile_int8 *tile)
{
    int8_tile((int8_form){.nibbles = 1, .packed = 1, .minima = 1}, tile);
}

/* ---- 4-bit numbers as bytes, and all as f32 ---------------------------------------------------------------------- */

NN_INLINE void int8_unpack(int8_form form, const void *w, int64_t steps, void *bytes)
{
    const char *from = w;
    char *to = bytes;
    for (int64_t step = 0; step < steps; step++) {
        memcpy(to, from, (size_t)int8_before(form));
        from += int8_before(form);
        to += int8_before(form);
        for (int64_t i = 0; i < NN_STEP_BYTES4; i += NN_PANEL * 4, from += NN_PANEL * 4, to += 2 * NN_PANEL * 4) {
            for (int64_t v = 0; v < PANEL_VECS; v++) {
                int8_vec pair = int8_load(from + v * VEC_LANES * 4);
                int8_keep(to + v * VEC_LANES * 4, int8_low(pair));
                int8_keep(to + (PANEL_VECS + v) * VEC_LANES * 4, int8_high(pair));
            }
        }
    }
}

static void int8_unpack_q4(const void *w, int64_t steps, void *bytes)
{
    int8_unpack((int8_form){.nibbles = 1, .packed = 1}, w, steps, bytes);
}

static void int8_unpack_q4_offset(const void *w, int64_t steps, void *bytes)
{
    int8_unpack((int8_form){.nibbles = 1, .packed = 1, .minima = 1}, w, steps, bytes);
}

/* `count` columns (1 to 4) of a group of one vector of rows: scale * (number - zero) + minimum. */
NN_INLINE void int8_widen_group(int8_vec numbers, vec scale, vec zero, vec minimum, int64_t count, float *values)
{
    for (int64_t i = 0; i < count; i++) {
        vec number = vec_sub(int8_to_float(int8_byte(numbers, (int)i)), zero);
        vec_store(values + i * NN_PANEL, vec_fma(number, scale, minimum));
    }
}

NN_INLINE void int8_widen(int8_form form, float zero, const void *stored, int64_t count, float *values)
{
    const char *step = stored;
    for (int64_t k = 0; k < count / NN_PANEL; k += 4) {
        int64_t group = k / 4 % (NN_STEP / 4), columns = count / NN_PANEL - k < 4 ? count / NN_PANEL - k : 4;
        const char *numbers = step + int8_before(form) + (form.packed ? group / 2 : group) * NN_PANEL * 4;
        for (int64_t v = 0; v < PANEL_VECS; v++) {
            const char *scales = step + (group / 8 * NN_PANEL + v * VEC_LANES) * 2;
            int8_vec bytes = int8_load(numbers + v * VEC_LANES * 4);
            if (form.packed)
                bytes = group % 2 ? int8_high(bytes) : int8_low(bytes);
            vec minimum = form.minima ? vec_load_f16((const void *)(scales + NN_STEP_SCALES)) : vec_zero();
            int8_widen_group(bytes, vec_load_f16((const void *)scales), vec_set(zero), minimum, columns,
                             values + k * NN_PANEL + v * VEC_LANES);
        }
        if (group == NN_STEP / 4 - 1)
            step += int8_step_bytes(form);
    }
}

static void widen_q8(const void *stored, int64_t count, float *values)
{
    int8_widen((int8_form){.nibbles = 0}, NN_ZERO_Q8, stored, count, values);
}

static void widen_q4(const void *stored, int64_t count, float *values)
{
    int8_widen((int8_form){.packed = 1}, NN_ZERO_Q4, stored, count, values);
}

static void widen_q4_offset(const void *stored, int64_t count, float *values)
{
    int8_widen((int8_form){.packed = 1, .minima = 1}, 0.0f, stored, count, values);
}

/* ---- Rows of activations ---------------------------------------------------------------------------------------- */

#define BLOCK_VECS (NN_BLOCK / VEC_LANES)
#define SHARE_VECS (NN_X_STEPS * NN_STEP / VEC_LANES) /* that share a scale */

/* What values that share a scale are multiplied by to become numbers; *scale takes them back. */
NN_INLINE float int8_choose_scale(const vec x[SHARE_VECS], float *scale)
{
    vec most = vec_abs(x[0]);
    NN_UNROLL
    for (int64_t v = 1; v < SHARE_VECS; v++)
        most = int8_max_bits(most, vec_abs(x[v]));
    float largest = int8_largest(most);
    bool tiny = largest < 1e-30f;
    *scale = tiny ? 0.0f : largest / 127.0f;
    return tiny ? 0.0f : 127.0f / largest;
}

/* A block of values; `sum` is what the sum of its numbers contributes. */
NN_INLINE void int8_quantise_block(const vec x[BLOCK_VECS], float inverse, nn_storage weight, char *sum,
                                   int8_t *numbers)
{
    int8_vec total = int8_set(0);
    NN_UNROLL
    for (int64_t v = 0; v < BLOCK_VECS; v++) {
        int8_vec rounded = int8_round(vec_mul(x[v], vec_set(inverse)));
        total = int8_plus(total, rounded);
        int8_store(numbers + v * VEC_LANES, rounded);
    }
    uint32_t whole = (uint32_t)int8_total(total);
    if (weight == NN_Q4_OFFSET) {
        float real = (float)(int32_t)whole;
        memcpy(sum, &real, sizeof real);
    } else {
        whole = 0u - whole * (weight == NN_Q8 ? NN_ZERO_Q8 : NN_ZERO_Q4);
        memcpy(sum, &whole, sizeof whole);
    }
}

/* Row `row` of a step of a tile of `rows` rows. */
NN_INLINE void int8_quantise_step(const vec x[2 * BLOCK_VECS], float scale, float inverse, nn_storage weight,
                                  int64_t rows, int64_t row, char *step)
{
    memcpy(step + row * 4, &scale, sizeof scale);
    for (int64_t b = 0; b < 2; b++)
        int8_quantise_block(x + b * BLOCK_VECS, inverse, weight, step + ((1 + b) * rows + row) * 4,
                            (int8_t *)step + rows * NN_X_HEAD + row * NN_STEP + b * NN_BLOCK);
}

static void quantise(const float *x, int64_t count, nn_storage weight, int64_t rows, int64_t row, void *tile)
{
    char *step = tile;
    for (int64_t k = 0; k < count; k += NN_X_STEPS * NN_STEP) {
        vec values[SHARE_VECS];
        for (int64_t v = 0; v < SHARE_VECS; v++) {
            int64_t at = k + v * VEC_LANES, left = count - at;
            values[v] = left >= VEC_LANES ? vec_load(x + at) : left > 0 ? vec_load_part(x + at, left) : vec_zero();
        }
        float scale, inverse = int8_choose_scale(values, &scale);
        for (int64_t i = 0; i < NN_X_STEPS && k + i * NN_STEP < count; i++, step += nn_x_step_bytes(rows))
            int8_quantise_step(values + i * 2 * BLOCK_VECS, scale, inverse, weight, rows, row, step);
    }
}

#endif
