/* SPDX-License-Identifier: Apache-2.0
 *
 * int8 products of every variant against whole numbers and doubles, rows that must not depend on the call, and panels
 * widened to f32.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "internal.h"
#include "plain_tables.h"
#include "problem.h"

static const nn_storage kinds[] = {NN_Q8, NN_Q4, NN_Q4_OFFSET};
enum { KINDS = 3 };

/* Runs `test` with a context of every variant that this CPU has, and with the plain bodies in the shapes of the others:
 * the products of 8-bit numbers alone, without the 16-bit ones that many rows of a variant with tiles go through. */
static void for_each_table(void (*test)(bench *b))
{
    for (int32_t i = 0; i < 2 * PLAIN_TABLES || nn_kernels_at(i / 2 - PLAIN_TABLES); i++) {
        const nn_kernels *real = i < 2 * PLAIN_TABLES ? NULL : nn_kernels_at(i / 2 - PLAIN_TABLES);
        if (real && !nn_kernels_runnable(real)) {
            print_message("skipped: %s, which this CPU lacks\n", real->name);
            continue;
        }
        bench b = bench_open(real ? real->name : "baseline", i % 2 ? 3 : 1);
        nn_kernels kernels = real ? *real : *plain_tables[i / 2];
        kernels.pairs = NULL;
        b.nn->kernels = &kernels;
        test(&b);
        bench_close(&b);
    }
}

/* ---- Whole numbers ---------------------------------------------------------------------------------------------- */

enum { STEPS = 5, PANELS = 5 };

/* Panels of random bytes whose scales are 1 (minima 0), and quantised rows whose scales are 1: c is the exact sum. */
typedef struct numbers {
    nn_storage storage;
    int64_t rows;
    uint8_t *w, *x; /* as the kernels take them */
    uint8_t *bytes; /* w with a byte a number */
    int64_t panel_bytes, bytes_stride;
} numbers;

static int8_t random_number(bool extreme)
{
    return (int8_t)(extreme ? (random_int(0, 1) ? 127 : -127) : random_int(-127, 127));
}

static numbers make_numbers(const nn_kernels *k, nn_storage storage, int64_t rows, bool extreme)
{
    numbers n = {.storage = storage, .rows = rows, .panel_bytes = STEPS * nn_step_bytes(storage)};
    n.bytes_stride = STEPS * (nn_step_numbers(storage) + NN_STEP_BYTES8);
    n.w = malloc((size_t)(PANELS * n.panel_bytes));
    n.bytes = malloc((size_t)(PANELS * n.bytes_stride));
    n.x = malloc((size_t)(STEPS * nn_x_step_bytes(rows)));
    uint16_t one = nn_f32_to_f16(1.0f), zero = 0;
    for (int64_t i = 0; i < PANELS * n.panel_bytes; i++) {
        int64_t in_step = i % nn_step_bytes(storage);
        const uint8_t *scale = (const uint8_t *)(in_step < NN_STEP_SCALES ? &one : &zero);
        n.w[i] = in_step < nn_step_numbers(storage) ? scale[i % 2]
                 : extreme                          ? (uint8_t)(random_int(0, 1) ? 255 : 0)
                                                    : (uint8_t)random_bits();
    }
    for (int64_t step = 0; step < STEPS; step++) {
        uint8_t *at = n.x + step * nn_x_step_bytes(rows);
        for (int64_t r = 0; r < rows; r++) {
            float scale = 1.0f;
            memcpy(at + r * 4, &scale, 4);
            for (int64_t b = 0; b < 2; b++) {
                int32_t sum = 0;
                for (int64_t i = 0; i < NN_BLOCK; i++) {
                    int8_t number = random_number(extreme);
                    at[rows * NN_X_HEAD + r * NN_STEP + b * NN_BLOCK + i] = (uint8_t)number;
                    sum += number;
                }
                float real = (float)sum;
                sum *= storage == NN_Q8 ? -NN_ZERO_Q8 : -NN_ZERO_Q4;
                memcpy(at + ((1 + b) * rows + r) * 4, storage == NN_Q4_OFFSET ? (void *)&real : (void *)&sum, 4);
            }
        }
    }
    for (int64_t p = 0; p < PANELS; p++) {
        if (storage == NN_Q8)
            memcpy(n.bytes + p * n.bytes_stride, n.w + p * n.panel_bytes, (size_t)n.panel_bytes);
        else
            k->unpack[storage - NN_FLOATS](n.w + p * n.panel_bytes, STEPS, n.bytes + p * n.bytes_stride);
    }
    return n;
}

static void free_numbers(numbers *n)
{
    free(n->w);
    free(n->bytes);
    free(n->x);
}

/* Number of column k of lane l of panel p, as stored. */
static int stored(const numbers *n, int64_t p, int64_t k, int64_t l)
{
    const uint8_t *step = n->w + p * n->panel_bytes + k / NN_STEP * nn_step_bytes(n->storage);
    const uint8_t *at = step + nn_step_numbers(n->storage);
    int64_t group = k % NN_STEP / 4;
    if (n->storage == NN_Q8)
        return at[group * 64 + l * 4 + k % 4];
    int pair = at[group / 2 * 64 + l * 4 + k % 4];
    return group % 2 ? pair >> 4 : pair & 15;
}

static int64_t exact_dot(const numbers *n, int64_t row, int64_t p, int64_t l)
{
    int zero = n->storage == NN_Q8 ? NN_ZERO_Q8 : n->storage == NN_Q4 ? NN_ZERO_Q4 : 0;
    int64_t sum = 0;
    for (int64_t k = 0; k < STEPS * NN_STEP; k++) {
        const uint8_t *step = n->x + k / NN_STEP * nn_x_step_bytes(n->rows);
        int8_t x = (int8_t)step[n->rows * NN_X_HEAD + row * NN_STEP + k % NN_STEP];
        sum += x * (stored(n, p, k, l) - zero);
    }
    return sum;
}

enum { APART = 32, C_STRIDE = APART * PANELS + 5 }; /* floats from panel to panel and row to row of c */

static void check_dots(const numbers *n, const float *c, int64_t panels)
{
    for (int64_t r = 0; r < n->rows; r++)
        for (int64_t p = 0; p < panels; p++)
            for (int64_t l = 0; l < NN_PANEL; l++)
                assert_true((double)c[r * C_STRIDE + p * APART + l] == (double)exact_dot(n, r, p, l));
}

/* In two parts, the second of which goes on from what the first left. */
static void check_tile(const nn_kernels *k, nn_storage storage, int64_t rows, int64_t panels, bool few)
{
    numbers n = make_numbers(k, storage, rows, random_int(0, 1));
    float *c = guarded(rows * C_STRIDE);
    void (*run)(const nn_tile_int8 *) = few ? k->few_int8[storage - NN_FLOATS] : k->tile_int8[storage - NN_FLOATS];
    nn_tile_int8 tile = {.rows = rows, .panels = panels, .steps = 2, .x = n.x, .w = few ? n.w : n.bytes, .c = c};
    tile.panel_stride = few ? n.panel_bytes : n.bytes_stride;
    tile.c_stride = C_STRIDE;
    tile.c_panel = APART;
    run(&tile);
    tile.x = n.x + 2 * nn_x_step_bytes(rows);
    tile.w = (const char *)tile.w + 2 * tile.panel_stride / STEPS;
    tile.steps = STEPS - 2;
    tile.accumulate = true;
    run(&tile);
    check_dots(&n, c, panels);
    check_guards(c, rows * C_STRIDE);
    free_numbers(&n);
}

static void whole_numbers(bench *b)
{
    const nn_kernels *k = b->nn->kernels;
    for (int i = 0; i < KINDS; i++) {
        for (int64_t rows = 1; rows <= k->int8_rows; rows++) {
            for (int64_t panels = 1; panels <= k->int8_panels; panels++) {
                check_tile(k, kinds[i], rows, panels, false);
                check_tile(k, kinds[i], rows, panels, true);
            }
        }
        for (int64_t panels = 1; panels <= k->int8_stream; panels++)
            check_tile(k, kinds[i], 1, panels, true);
    }
}

static void test_whole_numbers(void **state)
{
    (void)state;
    for_each_table(whole_numbers);
}

/* ---- Quantised rows --------------------------------------------------------------------------------------------- */

enum { SHARE = NN_X_STEPS * NN_STEP };

/* The columns of one scale, `count` of which exist, as kernels.h says. */
static void plain_share(const float *x, int64_t count, float *scale, int8_t q[SHARE])
{
    float most = 0.0f;
    bool nan = false;
    for (int64_t i = 0; i < count; i++) {
        nan = nan || isnan(x[i]);
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    }
    *scale = nan ? NAN : most < 1e-30f ? 0.0f : most / 127.0f;
    for (int64_t i = 0; i < SHARE; i++)
        q[i] = i < count && !nan && *scale > 0.0f && !isinf(*scale) ? (int8_t)rintf(x[i] * (127.0f / most)) : 0;
}

/* What follows the scale of row `row` of a step at `at`. */
static void check_step(const uint8_t *at, int64_t rows, int64_t row, nn_storage storage, const int8_t q[NN_STEP])
{
    assert_memory_equal(at + rows * NN_X_HEAD + row * NN_STEP, q, NN_STEP);
    for (int64_t b = 0; b < 2; b++) {
        int32_t got, sum = 0;
        float got_real;
        memcpy(&got, at + ((1 + b) * rows + row) * 4, 4);
        memcpy(&got_real, &got, 4);
        for (int64_t i = 0; i < NN_BLOCK; i++)
            sum += q[b * NN_BLOCK + i];
        if (storage == NN_Q4_OFFSET)
            assert_true(got_real == (float)sum);
        else
            assert_int_equal(got, -(storage == NN_Q8 ? NN_ZERO_Q8 : NN_ZERO_Q4) * sum);
    }
}

static void check_quantised(const nn_kernels *k, const float *x, int64_t count, nn_storage storage)
{
    int64_t rows = random_int(1, k->int8_rows), row = random_int(0, rows - 1);
    int64_t steps = nn_ceil_divide(count, NN_STEP);
    uint8_t *tile = malloc((size_t)(steps * nn_x_step_bytes(rows)));
    k->quantise(x, count, storage, rows, row, tile);
    for (int64_t step = 0; step < steps; step++) {
        const uint8_t *at = tile + step * nn_x_step_bytes(rows);
        int64_t first = step / NN_X_STEPS * SHARE;
        float scale, got_scale;
        int8_t q[SHARE];
        plain_share(x + first, nn_min(SHARE, count - first), &scale, q);
        memcpy(&got_scale, at + row * 4, 4);
        assert_true(isnan(scale) ? isnan(got_scale) : got_scale == scale);
        if (isfinite(scale))
            check_step(at, rows, row, storage, q + (step * NN_STEP - first));
    }
    free(tile);
}

static void quantised_rows(bench *b)
{
    static const int64_t counts[] = {1, 31, 32, 33, 63, 64, 65, 96, 588, 1000};
    static const float special[] = {0.0f, -0.0f, 1e-38f, 1e-44f, 3e38f, -3e38f, 1e-29f, INFINITY, -INFINITY, NAN, 0.5f};
    for (int i = 0; i < 10; i++) {
        for (int kind = 0; kind < KINDS; kind++) {
            float *x = guarded_random(counts[i], kind == 1 ? 1e4f : 2.0f);
            for (int64_t j = 0; j < counts[i]; j += 37) /* halves: 127 is the largest, the others lie between two */
                x[j] = 127.0f;
            check_quantised(b->nn->kernels, x, counts[i], kinds[kind]);
            for (int64_t j = 0; j < counts[i]; j++)
                x[j] = (float)random_int(-254, 254) / 2.0f;
            check_quantised(b->nn->kernels, x, counts[i], kinds[kind]);
            for (int64_t j = 0; j < counts[i]; j += random_int(1, 40))
                x[j] = special[random_int(0, 10)];
            check_quantised(b->nn->kernels, x, counts[i], kinds[kind]);
            check_guards(x, counts[i]);
        }
    }
}

static void test_quantised_rows(void **state)
{
    (void)state;
    for_each_table(quantised_rows);
}

/* ---- nn_linear -------------------------------------------------------------------------------------------------- */

/* Row t of x as its numbers stand for it; `rounded` has room for whole shares. */
static void round_row(const problem *p, int64_t t, float *rounded)
{
    for (int64_t k = 0; k < p->columns; k += SHARE) {
        float scale;
        int8_t q[SHARE];
        plain_share(p->x + t * p->x_stride + k, nn_min(SHARE, p->columns - k), &scale, q);
        for (int64_t i = 0; i < SHARE; i++)
            rounded[k + i] = scale * (float)q[i];
    }
}

/* The product of quantised activations and weights in doubles, within what adding the blocks in f32 rounds. Activations
 * are at most 1.13 times as steep as the identity. */
static void check_product(bench *b, problem *p)
{
    problem_make(b, p);
    problem_run(b, p);
    float *x = guarded(p->columns + SHARE);
    for (int64_t t = 0; t < p->rows; t++) {
        round_row(p, t, x);
        for (int64_t o = 0; o < p->outputs; o++) {
            double sum = 0.0, size = 0.0, bias = p->bias ? (double)p->b[o] : 0.0;
            double residual = p->residual ? (double)p->r[t * p->y_stride + o] : 0.0;
            for (int64_t k = 0; k < p->columns; k++) {
                sum += (double)x[k] * (double)p->w[o * p->columns + k];
                size += fabs((double)x[k] * (double)p->w[o * p->columns + k]);
            }
            check_close("int8", t, o, (double)p->y[t * p->y_stride + o],
                        activation_of(p->activation, sum + bias) + residual,
                        1.13e-6 * (4.0 * size + fabs(bias)) + 1e-6);
        }
    }
    check_guards(x, p->columns + SHARE);
    problem_check_gaps(p);
    problem_free(b, p);
}

static void products(bench *b)
{
    static const int64_t columns[] = {1, 31, 32, 64, 96, 588, 640, 1100};
    static const int64_t rows[] = {1, 2, 3, 5, 7, 12, 13, 31, 170};
    static const int64_t outputs[] = {1, 15, 16, 17, 33, 80, 150};
    for (int i = 0; i < 24; i++) {
        problem p = {.rows = pick(rows, 9), .columns = columns[i % 8], .outputs = pick(outputs, 7)};
        p.storage = kinds[i % KINDS];
        problem_vary(&p);
        check_product(b, &p);
    }
    problem wide = {.rows = 2, .columns = 4304, .outputs = 37, .bias = true, .storage = kinds[random_int(0, 2)]};
    check_product(b, &wide);
    for (int i = 0; i < KINDS; i++) { /* whole parts, and several of them */
        problem whole = {.rows = random_int(13, 31), .columns = 1024, .outputs = 90, .storage = kinds[i]};
        whole.residual = whole.in_place = true;
        check_product(b, &whole);
    }
}

static void test_products(void **state)
{
    (void)state;
    for_each_table(products);
}

/* A row alone, among few, among many, and with another number of threads: the same bits. */
static void row_alone(bench *b)
{
    static const int64_t counts[] = {1, 2, 5, 8, 13, 100};
    for (int kind = 0; kind < KINDS; kind++) {
        problem p = {.rows = 181, .columns = 1100, .outputs = 101 + 300 * (kind == 0), .storage = kinds[kind]};
        bench other = bench_open("baseline", 2);
        other.nn->kernels = b->nn->kernels;
        p.bias = p.residual = p.in_place = true;
        problem_make(b, &p);
        problem_run(b, &p);
        for (int i = 0; i < 6; i++)
            problem_check_alone(i % 2 ? other.nn : b->nn, &p, counts[i]);
        bench_close(&other);
        problem_free(b, &p);
    }
}

static void test_row_does_not_depend_on_the_call(void **state)
{
    (void)state;
    for_each_table(row_alone);
}

/* EXACT arithmetic, and what is done without memory for the activations: f32 all through. */
static void exact(bench *b)
{
    for (int kind = 0; kind < KINDS; kind++) {
        problem p = {.rows = 1 + 40 * (kind == 1), .columns = 700, .outputs = 90, .storage = kinds[kind], .bias = true};
        problem_make(b, &p);
        b->nn->arithmetic = NN_ARITHMETIC_EXACT;
        problem_run(b, &p);
        b->nn->arithmetic = NN_ARITHMETIC_AUTO;
        for (int64_t t = 0; t < p.rows; t++) {
            for (int64_t o = 0; o < p.outputs; o++) {
                double sum = (double)p.b[o], size = 4.0;
                for (int64_t k = 0; k < p.columns; k++) {
                    sum += (double)p.x[t * p.columns + k] * (double)p.w[o * p.columns + k];
                    size += fabs((double)p.x[t * p.columns + k] * (double)p.w[o * p.columns + k]);
                }
                check_close("exact", t, o, (double)p.y[t * p.outputs + o], sum, 3e-7 * size);
            }
        }
        bench poor = bench_open("baseline", 1);
        poor.nn->kernels = b->nn->kernels;
        test_host_memory_left(poor.host, 0);
        problem_check_alone(poor.nn, &p, p.rows);
        test_host_memory_left(poor.host, -1);
        bench_close(&poor);
        problem_free(b, &p);
    }
}

static void test_exact(void **state)
{
    (void)state;
    for_each_table(exact);
}

/* Activations that are not finite, or as large as they get: no trap, and a row that has a NaN says so. */
static void not_finite(bench *b)
{
    static const float values[] = {NAN, INFINITY, -INFINITY, 3.4e38f, 1e-44f};
    for (int kind = 0; kind < KINDS; kind++) {
        problem p = {.rows = 5, .columns = 100, .outputs = 40, .storage = kinds[kind], .bias = true};
        problem_make(b, &p);
        for (int i = 0; i < 5; i++)
            p.x[i * p.columns + 40] = values[i];
        problem_run(b, &p);
        for (int64_t o = 0; o < p.outputs; o++)
            assert_true(isnan(p.y[o]) && isfinite(p.y[4 * p.outputs + o]));
        problem_free(b, &p);
    }
}

static void test_not_finite(void **state)
{
    (void)state;
    for_each_table(not_finite);
}

/* ---- Widened ---------------------------------------------------------------------------------------------------- */

/* The widened panels, and the rows of the matrix: the same bits. */
static void widened(bench *b)
{
    static const int64_t columns[] = {1, 31, 64, 100, 588};
    for (int i = 0; i < 15; i++) {
        problem p = {.rows = 1, .columns = columns[i % 5], .outputs = 20, .storage = kinds[i / 5]};
        problem_make(b, &p);
        float *values = guarded(p.columns * NN_PANEL);
        for (int64_t panel = 0; panel < 2; panel++) {
            int64_t bytes = nn_panel_bytes(p.storage, p.columns);
            b->nn->kernels->widen[p.storage]((const char *)p.matrix->data + panel * bytes, p.columns * NN_PANEL,
                                             values);
            for (int64_t l = 0; l < nn_min(NN_PANEL, p.outputs - panel * NN_PANEL); l++)
                for (int64_t k = 0; k < p.columns; k++)
                    assert_true(values[k * NN_PANEL + l] == p.w[(panel * NN_PANEL + l) * p.columns + k]);
        }
        check_guards(values, p.columns * NN_PANEL);
        problem_free(b, &p);
    }
}

static void test_widened(void **state)
{
    (void)state;
    for_each_table(widened);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_numbers), cmocka_unit_test(test_quantised_rows),
        cmocka_unit_test(test_products),      cmocka_unit_test(test_row_does_not_depend_on_the_call),
        cmocka_unit_test(test_exact),         cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_widened),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
