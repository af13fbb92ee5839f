/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF's blocks of 32: bytes as ggml makes them, values back, the 4-bit search against ggml's plain rule, and panels
 * packed from rows of every format.
 */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "pack.h"
#include "quantise.h"

enum { BLOCK = 32, KINDS = 3, MOST = 34 };

static const nn_blocks kinds[KINDS] = {NN_BLOCKS_Q8_0, NN_BLOCKS_Q4_0, NN_BLOCKS_Q4_1};
static const int64_t block_bytes[KINDS] = {34, 18, 20};

static void fill(float *values, float magnitude)
{
    for (int i = 0; i < BLOCK; i++) /* the sum of four: about a normal distribution, as weights have */
        values[i] =
            random_float(magnitude) + random_float(magnitude) + random_float(magnitude) + random_float(magnitude);
}

static float half_at(const uint8_t *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return nn_f16_to_f32(half);
}

/* Values that GGUF's description gives a block. */
static void described(nn_blocks kind, const uint8_t *block, double *values)
{
    double scale = (double)half_at(block), minimum = kind == NN_BLOCKS_Q4_1 ? (double)half_at(block + 2) : 0.0;
    const uint8_t *numbers = block + (kind == NN_BLOCKS_Q4_1 ? 4 : 2);
    for (int i = 0; i < BLOCK; i++) {
        if (kind == NN_BLOCKS_Q8_0)
            values[i] = scale * (int8_t)numbers[i];
        else
            values[i] = scale * ((numbers[i % 16] >> (i / 16 * 4) & 15) - (kind == NN_BLOCKS_Q4_0 ? 8 : 0)) + minimum;
    }
}

static double squared_error(nn_blocks kind, const float *values, const uint8_t *block)
{
    double back[BLOCK], error = 0.0;
    described(kind, block, back);
    for (int i = 0; i < BLOCK; i++)
        error += ((double)values[i] - back[i]) * ((double)values[i] - back[i]);
    return error;
}

/* quantize_row_q8_0_ref of ggml. */
static void ggml_q8_0(const float *x, uint8_t *block)
{
    float most = 0.0f;
    for (int i = 0; i < BLOCK; i++)
        most = fmaxf(most, fabsf(x[i]));
    float d = most / 127.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
    uint16_t half = nn_f32_to_f16(d);
    memcpy(block, &half, 2);
    for (int i = 0; i < BLOCK; i++)
        block[2 + i] = (uint8_t)(int8_t)roundf(x[i] * id);
}

/* The rule of quantize_row_q4_0_ref and quantize_row_q4_1_ref: the largest value at -8; the ends at 0 and 15. */
static void ggml_q4(nn_blocks kind, const float *x, uint8_t *block)
{
    float most = 0.0f, low = x[0], high = x[0];
    for (int i = 0; i < BLOCK; i++) {
        most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    bool offset = kind == NN_BLOCKS_Q4_1;
    float d = offset ? (high - low) / 15.0f : most / -8.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
    uint16_t halves[2] = {nn_f32_to_f16(d), nn_f32_to_f16(low)};
    uint8_t *numbers = block + (offset ? 4 : 2);
    memset(numbers, 0, 16);
    memcpy(block, halves, offset ? 4 : 2);
    for (int i = 0; i < BLOCK; i++) {
        int n = (int)((offset ? x[i] - low : x[i]) * id + (offset ? 0.5f : 8.5f));
        numbers[i % 16] |= (uint8_t)((n > 15 ? 15 : n) << (i / 16 * 4));
    }
}

static void test_q8_0_is_ggmls(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++) {
        float x[BLOCK];
        uint8_t block[MOST], expected[MOST];
        fill(x, i % 3 ? 0.02f : 1000.0f);
        for (int j = 0; j < BLOCK && i % 4 == 0; j++) /* halves, which are rounded away from zero */
            x[j] = (float)random_int(-254, 254) / 2.0f;
        if (i % 4 == 0)
            x[random_int(0, 31)] = 127.0f;
        nn_quantise(NN_BLOCKS_Q8_0, x, BLOCK, block);
        ggml_q8_0(x, expected);
        assert_memory_equal(block, expected, sizeof block);
    }
}

/* Never worse than ggml's rule by more than what rounding the scales to f16 makes, and clearly better on the whole. */
static void test_search_beats_the_plain_rule(void **state)
{
    (void)state;
    for (int kind = 1; kind < KINDS; kind++) {
        double ours = 0.0, plain = 0.0;
        for (int i = 0; i < 3000; i++) {
            float x[BLOCK];
            uint8_t block[MOST], expected[MOST];
            fill(x, 0.05f);
            nn_quantise(kinds[kind], x, BLOCK, block);
            ggml_q4(kinds[kind], x, expected);
            double error = squared_error(kinds[kind], x, block), rule = squared_error(kinds[kind], x, expected);
            assert_true(error <= 1.05 * rule);
            ours += error;
            plain += rule;
        }
        print_message("squared error of %s: %.3f of ggml's rule\n", kind == 1 ? "Q4_0" : "Q4_1", ours / plain);
        assert_true(ours < 0.92 * plain);
    }
}

/* What a block can hold exactly comes back exactly. */
static void test_exact_values(void **state)
{
    (void)state;
    for (int i = 0; i < 1500; i++) {
        nn_blocks kind = kinds[i % KINDS];
        int64_t least = kind == NN_BLOCKS_Q8_0 ? -127 : kind == NN_BLOCKS_Q4_0 ? -8 : 0;
        int64_t most = kind == NN_BLOCKS_Q8_0 ? 127 : least + 15;
        float scale = ldexpf((float)random_int(512, 1023), (int)random_int(-16, -9)), x[BLOCK], back[BLOCK];
        float minimum = kind == NN_BLOCKS_Q4_1 ? scale * (float)random_int(-8, 8) : 0.0f;
        minimum = nn_f16_to_f32(nn_f32_to_f16(minimum));
        uint8_t block[MOST];
        for (int j = 0; j < BLOCK; j++) {
            int64_t n = j == 3 ? least : j == 20 ? most : random_int(least, most);
            x[j] = scale * (float)n + minimum;
        }
        nn_quantise(kind, x, BLOCK, block);
        nn_dequantise(kind, block, BLOCK, back);
        for (int j = 0; j < BLOCK; j++) /* where the minimum is 0, the fit finds it but for rounding */
            check_close("value", i, j, (double)back[j], (double)x[j],
                        kind == NN_BLOCKS_Q4_1 && minimum == 0.0f ? 4e-6 * (double)scale : 0.0);
    }
}

static void test_values_back(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        uint8_t blocks[2 * MOST];
        double expected[2 * BLOCK];
        float back[2 * BLOCK + 1];
        int kind = i % KINDS;
        int64_t count = random_int(1, 64);
        for (int j = 0; j < 2 * MOST; j++)
            blocks[j] = (uint8_t)random_bits();
        for (int j = 0; j < 4; j++) { /* scales and minima */
            uint16_t half = nn_f32_to_f16(random_float(1.0f));
            memcpy(blocks + (j < 2 ? 2 * j : block_bytes[kind] + 2 * (j - 2)), &half, 2);
        }
        described(kinds[kind], blocks, expected);
        described(kinds[kind], blocks + block_bytes[kind], expected + BLOCK);
        back[count] = -5.0f;
        nn_dequantise(kinds[kind], blocks, count, back);
        for (int j = 0; j < count; j++)
            check_close("value", i, j, (double)back[j], expected[j], 1e-6 * (fabs(expected[j]) + 1.0));
        assert_true(back[count] == -5.0f);
    }
}

/* Counts that are no multiple of 32: the rest counts as zeros, and nothing behind is touched. */
static void test_partial_blocks(void **state)
{
    (void)state;
    static const int64_t counts[] = {1, 31, 32, 33, 588, 4304};
    for (int i = 0; i < 6 * KINDS; i++) {
        int kind = i / 6;
        int64_t count = counts[i % 6], padded = (count + BLOCK - 1) / BLOCK * BLOCK,
                size = padded / BLOCK * block_bytes[kind];
        float *x = guarded_random(count, 1.0f), *whole = calloc((size_t)padded, sizeof *whole);
        uint8_t *block = malloc((size_t)size), *expected = malloc((size_t)size);
        assert_int_equal(nn_blocks_bytes(kinds[kind], count), size);
        memcpy(whole, x, (size_t)count * sizeof(float));
        nn_quantise(kinds[kind], x, count, block);
        nn_quantise(kinds[kind], whole, padded, expected);
        assert_memory_equal(block, expected, (size_t)size);
        check_guards(x, count);
        free(whole);
        free(block);
        free(expected);
    }
    assert_int_equal(nn_blocks_bytes(NN_BLOCKS_Q4_0, 0), 0);
}

/* Zeros, what f16 cannot scale, and what is no number. */
static void test_extremes(void **state)
{
    (void)state;
    static const float values[] = {0.0f, 1e-44f, 1e-30f, 1e-8f, FLT_MAX, -FLT_MAX, INFINITY, -INFINITY};
    for (int i = 0; i < 8 * KINDS; i++) {
        float x[BLOCK] = {0.0f}, back[BLOCK], all[BLOCK];
        uint8_t block[MOST];
        float value = values[i % 8];
        nn_blocks kind = kinds[i / 8];
        x[7] = value;
        nn_quantise(kind, x, BLOCK, block);
        nn_dequantise(kind, block, BLOCK, back);
        for (int j = 0; j < BLOCK; j++) {
            all[j] = value;
            assert_true(isfinite(back[j]) && (j == 7 || kind == NN_BLOCKS_Q4_1 || back[j] == 0.0f));
        }
        if (fabsf(value) > 1.0f)
            assert_true(back[7] * value > 0.0f && fabsf(back[7]) > 60000.0f);
        else
            assert_true(fabsf(back[7]) <= 2.0f * fabsf(value));
        nn_quantise(kind, all, BLOCK, block);
        nn_dequantise(kind, block, BLOCK, back);
        assert_true(isfinite(back[0]));
        x[9] = NAN;
        nn_quantise(kind, x, BLOCK, block);
        nn_dequantise(kind, block, BLOCK, back);
        assert_true(isnan(back[0]) && isnan(back[9]));
    }
}

/* Blocks that reach from one end of f16 to the other: the fitted line may lie beyond, what is stored may not. */
static void test_whole_range(void **state)
{
    (void)state;
    for (int i = 0; i < 20000 * KINDS; i++) {
        float x[BLOCK], back[BLOCK];
        uint8_t block[MOST];
        for (int j = 0; j < BLOCK; j++)
            x[j] = random_int(0, 2) ? (random_int(0, 1) ? 65504.0f : -65504.0f) : random_float(65504.0f);
        nn_quantise(kinds[i % KINDS], x, BLOCK, block);
        nn_dequantise(kinds[i % KINDS], block, BLOCK, back);
        for (int j = 0; j < BLOCK; j++)
            assert_true(isfinite(back[j]));
    }
}

/* ---- Panels of them ---------------------------------------------------------------------------------------------- */

static const nn_storage storages[KINDS] = {NN_Q8, NN_Q4, NN_Q4_OFFSET};

static void random_f16(uint8_t *at, float magnitude)
{
    uint16_t half = nn_f32_to_f16(random_float(magnitude));
    memcpy(at, &half, sizeof half);
}

/* Random blocks of a GGUF format, with scales that are numbers. */
static uint8_t *random_row(nn_row_format format, int64_t columns)
{
    static const int64_t halves[NN_ROW_FORMATS] = {0, 0, 0, 1, 1, 2, 2};
    int64_t bytes = nn_row_bytes(format, columns), block = nn_row_bytes(format, 1);
    uint8_t *row = malloc((size_t)bytes);
    for (int64_t i = 0; i < bytes; i++)
        row[i] = (uint8_t)random_bits();
    for (int64_t at = 0; at < bytes; at += block)
        for (int64_t i = 0; i < halves[format]; i++)
            random_f16(row + at + 2 * i, 1e-2f);
    return row;
}

/* Element k of a row of Q4_K as gguf-py and ggml read it. */
static double q4_k_element(const uint8_t *row, int64_t k)
{
    const uint8_t *block = row + k / 256 * 144, *s = block + 4;
    int64_t sub = k % 256 / 32, i = k % 32;
    int scale = sub < 4 ? s[sub] & 63 : (s[sub + 4] & 15) + 16 * (s[sub - 4] >> 6);
    int minimum = sub < 4 ? s[sub + 4] & 63 : (s[sub + 4] >> 4) + 16 * (s[sub] >> 6);
    int number = block[16 + sub / 2 * 32 + i] >> (sub % 2 * 4) & 15;
    uint16_t d, m;
    memcpy(&d, block, 2);
    memcpy(&m, block + 2, 2);
    return (double)nn_f16_to_f32(d) * scale * number - (double)nn_f16_to_f32(m) * minimum;
}

static void check_packed(bench *b, nn_row_format format, nn_storage storage, int64_t columns)
{
    more_error error;
    nn_matrix *matrix;
    const void *rows[NN_PANEL] = {NULL};
    nn_row_format from[NN_PANEL];
    float *back = guarded(columns), *values = guarded(columns);
    assert_int_equal(nn_matrix_create(b->nn, "m", 2 * NN_PANEL, columns, storage, &matrix, &error), MORE_OK);
    for (int i = 0; i < NN_PANEL; i++) {
        rows[i] = i == 5 ? NULL : random_row(format, columns);
        from[i] = format;
    }
    nn_pack_panel(rows, from, matrix, 1);
    for (int i = 0; i < NN_PANEL; i++) {
        nn_unpack_row(matrix, NN_PANEL + i, back);
        if (format != NN_ROW_Q4_K && rows[i])
            nn_dequantise((nn_blocks)(NN_BLOCKS_Q8_0 + (format - NN_ROW_Q8_0)), rows[i], columns, values);
        for (int64_t k = 0; k < columns; k++) {
            if (!rows[i])
                assert_true(back[k] == 0.0f);
            else if (format == NN_ROW_Q4_K) /* scale * 15 and minimum, each at most 0.63 * 15, by 2^-11 */
                check_close("q4_k", i, k, (double)back[k], q4_k_element(rows[i], k), 10.0 / 2048.0);
            else
                assert_true(back[k] == values[k]);
        }
        free((void *)(uintptr_t)rows[i]);
    }
    check_guards(back, columns);
    check_guards(values, columns);
    nn_matrix_free(b->nn, matrix);
}

static void test_packing_keeps_blocks(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 1);
    for (int64_t columns = 32; columns <= 160; columns += 32) {
        check_packed(&b, NN_ROW_Q8_0, NN_Q8, columns);
        check_packed(&b, NN_ROW_Q4_0, NN_Q4, columns);
        check_packed(&b, NN_ROW_Q4_1, NN_Q4_OFFSET, columns);
        check_packed(&b, NN_ROW_Q8_0, NN_F32, columns);
        check_packed(&b, NN_ROW_Q4_1, NN_F32, columns);
    }
    check_packed(&b, NN_ROW_Q4_K, NN_Q4_OFFSET, 256);
    check_packed(&b, NN_ROW_Q4_K, NN_Q4_OFFSET, 768);
    check_packed(&b, NN_ROW_Q4_K, NN_F32, 512);
    bench_close(&b);
}

/* Plain rows of every type become what nn_quantise makes of their values; types may meet in a panel. */
static void test_packing_quantises(void **state)
{
    (void)state;
    static const int64_t widths[] = {1, 31, 32, 96, 588, 100};
    bench b = bench_open("baseline", 1);
    more_error error;
    for (int i = 0; i < 18; i++) {
        int64_t columns = widths[i % 6];
        nn_matrix *matrix;
        nn_row_format from[NN_PANEL];
        const void *rows[NN_PANEL];
        float *values = guarded_random(NN_PANEL * columns, 2.0f), *back = guarded(columns), *want = guarded(columns);
        uint8_t *stored_rows = malloc((size_t)(NN_PANEL * columns * 4 + 1)), block[2048];
        for (int r = 0; r < NN_PANEL; r++) {
            from[r] = (nn_row_format)random_int(NN_ROW_F32, NN_ROW_BF16);
            uint8_t *row = stored_rows + 1 + r * columns * 4; /* not aligned */
            for (int64_t k = 0; k < columns; k++) {
                float *value = &values[r * columns + k];
                *value = as_stored(dtype_at(from[r]), *value);
                uint16_t half = from[r] == NN_ROW_F16 ? nn_f32_to_f16(*value) : nn_f32_to_bf16(*value);
                memcpy(row + k * (from[r] ? 2 : 4), from[r] ? (void *)&half : (void *)value, from[r] ? 2 : 4);
            }
            rows[r] = row;
        }
        nn_blocks blocks = (nn_blocks)(i / 6);
        assert_int_equal(nn_matrix_create(b.nn, "m", NN_PANEL, columns, storages[i / 6], &matrix, &error), MORE_OK);
        nn_pack_panel(rows, from, matrix, 0);
        for (int r = 0; r < NN_PANEL; r++) {
            nn_unpack_row(matrix, r, back);
            nn_quantise(blocks, values + r * columns, columns, block);
            nn_dequantise(blocks, block, columns, want);
            assert_memory_equal(back, want, (size_t)columns * sizeof(float));
        }
        free(stored_rows);
        nn_matrix_free(b.nn, matrix);
        check_guards(values, NN_PANEL * columns);
        check_guards(back, columns);
        check_guards(want, columns);
    }
    bench_close(&b);
}

static void test_sizes_and_names(void **state)
{
    (void)state;
    static const char *const names[NN_STORAGES] = {"f32", "f16", "bf16", "q8", "q4", "q4_1"};
    nn_storage storage;
    for (int i = 0; i < NN_STORAGES; i++) {
        assert_string_equal(nn_storage_name((nn_storage)i), names[i]);
        assert_true(nn_storage_named(names[i], &storage) && storage == (nn_storage)i);
    }
    assert_false(nn_storage_named("q5", &storage));
    assert_int_equal(nn_matrix_bytes(17, 65, NN_Q8), 2 * 2 * 1088);
    assert_int_equal(nn_matrix_bytes(16, 4304, NN_Q4), 68 * 576);
    assert_int_equal(nn_matrix_bytes(16, 64, NN_Q4_OFFSET), 640);
    assert_int_equal(nn_row_bytes(NN_ROW_Q4_K, 512), 288);
    assert_int_equal(nn_row_bytes(NN_ROW_Q8_0, 33), 68);
    assert_int_equal(nn_row_bytes(NN_ROW_Q4_K, 257), 288);
    assert_int_equal(nn_row_bytes(NN_ROW_BF16, 3), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_q8_0_is_ggmls),     cmocka_unit_test(test_search_beats_the_plain_rule),
        cmocka_unit_test(test_exact_values),      cmocka_unit_test(test_values_back),
        cmocka_unit_test(test_partial_blocks),    cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_whole_range),       cmocka_unit_test(test_packing_keeps_blocks),
        cmocka_unit_test(test_packing_quantises), cmocka_unit_test(test_sizes_and_names),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
