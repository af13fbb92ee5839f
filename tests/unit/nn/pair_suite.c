/* SPDX-License-Identifier: Apache-2.0 */
#include "pair_suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "internal.h"
#include "problem.h"

typedef struct tables {
    const nn_kernels *plain;
    const char *variant;
} tables;

/* Calls `test` with a context of either table, with 1 and with 3 threads; names the real one where it is skipped. */
static void for_each_table(const tables *t, void (*test)(bench *b))
{
    const nn_kernels *real = NULL;
    for (int32_t i = 0; nn_kernels_at(i); i++)
        if (strcmp(nn_kernels_at(i)->name, t->variant) == 0)
            real = nn_kernels_at(i);
    bool runs = real && nn_kernels_runnable(real);
    if (!runs)
        print_message("skipped: %s, which this CPU lacks (its tiling and packing run in plain C)\n", t->variant);
    for (int32_t i = 0; i < (runs ? 4 : 2); i++) {
        bench b = bench_open(i < 2 ? "baseline" : t->variant, i % 2 ? 3 : 1);
        if (i < 2)
            b.nn->kernels = t->plain;
        test(&b);
        bench_close(&b);
    }
}

/* The table that the same variant would be without 16-bit products. */
static nn_kernels without_pairs(const bench *b)
{
    nn_kernels kernels = *b->nn->kernels;
    kernels.pairs = NULL;
    return kernels;
}

static float bf16(float value)
{
    return nn_bf16_to_f32(nn_f32_to_bf16(value));
}

/* ---- What a call is compared with -------------------------------------------------------------------------------- */

/* Sum of products of one row and output, and of their magnitudes, of the numbers or of what bf16 makes of them. */
static double sum_of(const problem *p, int64_t t, int64_t o, bool rounded, double *size)
{
    double sum = 0.0;
    *size = 0.0;
    for (int64_t i = 0; i < p->columns; i++) {
        float x = p->x[t * p->x_stride + i], w = p->w[o * p->columns + i];
        double term = rounded ? (double)bf16(x) * (double)bf16(w) : (double)x * (double)w;
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

/* Within what f32 sums may be off from the products of the rounded numbers; and from those of the numbers themselves by
 * what rounding both to bf16, 8 significant bits, costs: 2^-8 each at most. Activations are at most 1.13 times as steep
 * as the identity. */
static void problem_check(const problem *p)
{
    const double per_sum = ldexp((double)p->columns + 4.0, -24), per_product = 2.0 / 256.0 + 1.0 / 65536.0;
    const double steepest = 1.13, offset = p->storage == NN_Q4_OFFSET ? ldexp(1.0, -8) / sqrt((double)p->columns) : 0.0;
    for (int64_t t = 0; t < p->rows; t++) {
        for (int64_t o = 0; o < p->outputs; o++) {
            double size, bias = p->bias ? (double)p->b[o] : 0.0;
            double residual = p->residual ? (double)p->r[t * p->y_stride + o] : 0.0;
            double got = (double)p->y[t * p->y_stride + o], sum = sum_of(p, t, o, true, &size) + bias;
            double bound = steepest * (per_sum + offset) * size + 2e-6;
            check_close("rounded product", t, o, got, activation_of(p->activation, sum) + residual, bound);
            sum = sum_of(p, t, o, false, &size) + bias;
            check_close("product", t, o, got, activation_of(p->activation, sum) + residual,
                        bound + steepest * per_product * size);
        }
    }
    problem_check_gaps(p);
}

/* The storages that the table multiplies in 16 bits. */
static int32_t storages(const bench *b)
{
    return b->nn->kernels->pairs->pair[NN_Q8] ? NN_STORAGES : NN_FLOATS;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------ */

static void random_problem(bench *b, nn_storage storage)
{
    static const int64_t rows[] = {1, 1, 2, 3, 5, 11, 12, 13, 15, 16, 17, 24, 31, 32, 33, 37, 64, 127, 301};
    static const int64_t columns[] = {1, 2, 3, 7, 31, 32, 33, 64, 97, 256, 257, 511, 512, 513, 769, 1031, 1500};
    static const int64_t outputs[] = {1, 2, 15, 16, 17, 31, 32, 33, 65, 97, 130, 257, 283, 513};
    problem p = {.rows = pick(rows, 19), .columns = pick(columns, 17), .outputs = pick(outputs, 14)};
    if (nn_is_quantised(storage))
        p.rows = nn_max(p.rows, b->nn->kernels->pairs->quantised_rows);
    if (p.rows * p.columns * p.outputs > 3000000)
        p.outputs = random_int(1, 33);
    p.storage = storage;
    problem_vary(&p);
    problem_make(b, &p);
    problem_run(b, &p);
    problem_check(&p);
    problem_free(b, &p);
}

static void random_problems(bench *b)
{
    nn_context_set_arithmetic(b->nn, NN_ARITHMETIC_FAST);
    for (int i = 0; i < 60; i++)
        random_problem(b, (nn_storage)(i % storages(b)));
}

static void test_against_double(void **state)
{
    for_each_table(*state, random_problems);
}

/* A row alone, among few, among many, in another chunk, and with another number of threads: the same bits. */
static void row_alone(bench *b)
{
    static const int64_t counts[] = {1, 2, 4, 12, 13, 16, 17, 32, 41, 127};
    nn_context_set_arithmetic(b->nn, NN_ARITHMETIC_FAST);
    for (int32_t storage = 0; storage < storages(b); storage++) {
        problem p = {.rows = 150, .columns = 1111, .outputs = 40, .storage = (nn_storage)storage};
        if (storage == NN_F16) /* several chunks, several blocks of outputs */
            p = (problem){.rows = 700, .columns = 37, .outputs = 300, .storage = NN_F16};
        p.activation = NN_GELU_ERF;
        p.bias = p.residual = true;
        problem_make(b, &p);
        problem_run(b, &p);
        bench one = bench_open("baseline", 2);
        one.nn->kernels = b->nn->kernels;
        nn_context_set_arithmetic(one.nn, NN_ARITHMETIC_FAST);
        for (int i = 0; i < 10; i++)
            if (!nn_is_quantised(p.storage) || counts[i] >= b->nn->kernels->pairs->quantised_rows)
                problem_check_alone(i % 2 ? one.nn : b->nn, &p, counts[i]);
        bench_close(&one);
        problem_free(b, &p);
    }
}

static void test_row_does_not_depend_on_the_call(void **state)
{
    for_each_table(*state, row_alone);
}

/* Runs the call twice, the second time without 16-bit products; whether both gave the same bits. */
static bool same_without_pairs(bench *b, problem *p)
{
    const nn_kernels *kernels = b->nn->kernels, less = without_pairs(b);
    int64_t count = p->rows * p->outputs;
    float *first = malloc((size_t)count * sizeof(float));
    problem_run(b, p);
    memcpy(first, p->y, (size_t)count * sizeof(float));
    b->nn->kernels = &less;
    problem_run(b, p);
    b->nn->kernels = kernels;
    bool same = memcmp(first, p->y, (size_t)count * sizeof(float)) == 0;
    free(first);
    return same;
}

/* Only where the arithmetic says so are products of 16 bits. */
static void only_when_asked(bench *b)
{
    const int64_t quantised_rows = b->nn->kernels->pairs->quantised_rows;
    for (int32_t arithmetic = NN_ARITHMETIC_AUTO; arithmetic <= NN_ARITHMETIC_FAST; arithmetic++) {
        nn_context_set_arithmetic(b->nn, (nn_arithmetic)arithmetic);
        for (int32_t storage = 0; storage < NN_STORAGES; storage++) {
            static const int64_t rows[] = {1, 3, 31, 32, 40};
            for (int i = 0; i < 5; i++) {
                problem p = {.rows = rows[i], .columns = 200, .outputs = 50, .storage = (nn_storage)storage};
                problem_make(b, &p);
                bool pairs = nn_is_quantised(p.storage) ? p.rows >= quantised_rows && arithmetic != NN_ARITHMETIC_EXACT
                                                        : arithmetic == NN_ARITHMETIC_FAST;
                assert_int_equal(same_without_pairs(b, &p), !pairs);
                problem_free(b, &p);
            }
        }
    }
}

static void test_only_when_asked(void **state)
{
    for_each_table(*state, only_when_asked);
}

/* The pairs that a panel becomes, word by word. A minimum is rounded once more before bf16 is, so that a number
 * half-way between two may go to either. */
static void panels_to_pairs(bench *b)
{
    static const int64_t counts[] = {1, 2, 3, 31, 32, 33, 64, 65, 127, 500, 511, 512};
    for (int32_t storage = 0; storage < storages(b); storage++) {
        for (int i = 0; i < 12; i++) {
            problem p = {.rows = 1, .columns = counts[i], .outputs = NN_PANEL, .storage = (nn_storage)storage};
            uint32_t pairs[NN_K_BLOCK * NN_PANEL];
            problem_make(b, &p);
            b->nn->kernels->pairs->pair[storage](p.matrix->data, p.columns, pairs);
            for (int64_t k = 0; k < p.columns; k++) {
                for (int64_t o = 0; o < NN_PANEL; o++) {
                    uint16_t got = (uint16_t)(pairs[k / 2 * NN_PANEL + o] >> (k % 2 * 16));
                    uint16_t expected = nn_f32_to_bf16(p.w[o * p.columns + k]);
                    assert_in_range(got - expected + 1, storage == NN_Q4_OFFSET ? 0 : 1,
                                    storage == NN_Q4_OFFSET ? 2 : 1);
                }
            }
            for (int64_t k = p.columns; k % NN_PAIR_GRAIN && !nn_is_quantised(p.storage); k++)
                for (int64_t o = 0; o < NN_PANEL; o++)
                    assert_int_equal(pairs[k / 2 * NN_PANEL + o] >> (k % 2 * 16) & 0xffffu, 0);
            problem_free(b, &p);
        }
    }
}

static void test_panels_become_pairs(void **state)
{
    for_each_table(*state, panels_to_pairs);
}

/* Activations: to nearest even, zeros behind the last. */
static void rows_to_pairs(bench *b)
{
    static const float special[] = {0.0f, -0.0f, 1.00390625f, 1.01171875f, -1.00390625f, 3.3895314e38f, INFINITY};
    for (int64_t count = 1; count <= NN_PAIR_BLOCK; count += random_int(1, 40)) {
        float *x = guarded_random(count, 100.0f);
        uint32_t pairs[NN_K_BLOCK];
        for (int64_t i = 0; i < nn_min(count, 7); i++)
            x[i] = special[i];
        b->nn->kernels->pairs->round(x, count, pairs);
        for (int64_t k = 0; k < nn_ceil_divide(count, NN_PAIR_GRAIN) * NN_PAIR_GRAIN; k++)
            assert_int_equal(pairs[k / 2] >> (k % 2 * 16) & 0xffffu, k < count ? nn_f32_to_bf16(x[k]) : 0);
        check_guards(x, count);
    }
}

static void test_rows_become_pairs(void **state)
{
    for_each_table(*state, rows_to_pairs);
}

/* Without memory for the rounded activations the call is answered in f32. */
static void no_memory(bench *b)
{
    nn_context_set_arithmetic(b->nn, NN_ARITHMETIC_FAST);
    problem p = {.rows = 20, .columns = 70, .outputs = 33, .x_stride = 70, .y_stride = 33, .storage = NN_F16};
    problem_make(b, &p);
    test_host_memory_left(b->host, 0);
    assert_true(same_without_pairs(b, &p));
    test_host_memory_left(b->host, -1);
    assert_false(same_without_pairs(b, &p));
    problem_free(b, &p);
}

static void test_no_memory(void **state)
{
    for_each_table(*state, no_memory);
}

static void log_lines(bench *b)
{
    char line[200];
    const char *instruction = b->nn->kernels->pairs->instruction;
    nn_context_set_arithmetic(b->nn, NN_ARITHMETIC_FAST);
    bool many = storages(b) == NN_STORAGES;
    snprintf(line, sizeof line, "cpu: arithmetic fast: %s for float weights, int8 for quantised ones%s%s", instruction,
             many ? ", of many rows " : "", many ? instruction : "");
    assert_string_equal(test_host_last_log(b->host), line);
    nn_context_set_arithmetic(b->nn, NN_ARITHMETIC_EXACT);
    assert_string_equal(test_host_last_log(b->host),
                        "cpu: arithmetic exact: f32 for float weights, f32 for quantised ones");
}

static void test_log(void **state)
{
    const tables *t = *state;
    bench b = bench_open("baseline", 1);
    assert_string_equal(test_host_last_log(b.host), "cpu: kernels: baseline (plain C)");
    bench_close(&b);
    for_each_table(t, log_lines);
}

int run_pair_suite(const nn_kernels *plain, const char *variant)
{
    tables t = {plain, variant};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_against_double, &t),
        cmocka_unit_test_prestate(test_row_does_not_depend_on_the_call, &t),
        cmocka_unit_test_prestate(test_only_when_asked, &t),
        cmocka_unit_test_prestate(test_panels_become_pairs, &t),
        cmocka_unit_test_prestate(test_rows_become_pairs, &t),
        cmocka_unit_test_prestate(test_no_memory, &t),
        cmocka_unit_test_prestate(test_log, &t),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
