/* SPDX-License-Identifier: Apache-2.0
 *
 * nn_resize_table against torch.nn.functional.interpolate.
 */
#include "support.h"

#include <math.h>
#include <string.h>

typedef struct resize_case {
    int64_t rows_in, columns_in, width, rows_out, columns_out;
    nn_resize_filter filter;
    int64_t step, first; /* every step-th value of the result, from resized_values[first] on */
} resize_case;

#include "resized.h"

/* As the oracle's table(). */
static float *make_table(int64_t count)
{
    float *values = guarded(count);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)((i * i * 7 + i * 29) % 257 - 128) / 64;
    return values;
}

static void resize(bench *b)
{
    double worst = 0;

    for (size_t k = 0; k < sizeof resize_cases / sizeof *resize_cases; k++) {
        const resize_case *c = &resize_cases[k];
        int64_t count_in = c->rows_in * c->columns_in * c->width, count = c->rows_out * c->columns_out * c->width;
        float *table = make_table(count_in), *resized = guarded(count);
        nn_resize_table(b->nn, table, c->rows_in, c->columns_in, c->width, c->rows_out, c->columns_out, c->filter,
                        resized);
        for (int64_t i = 0; i < count; i += c->step) {
            double expected = (double)resized_values[c->first + i / c->step];
            check_close("case", (int64_t)k, i, (double)resized[i], expected, 1e-6);
            worst = fmax(worst, fabs((double)resized[i] - expected));
        }
        check_guards(table, count_in);
        check_guards(resized, count);
    }
    print_message("%s: at most %.1e from torch\n", nn_context_kernels(b->nn), worst);
}

static void test_resize(void **state)
{
    (void)state;
    for_each_variant(resize);
}

/* A table of its own size comes back bit for bit, by every filter. */
static void same_size(bench *b)
{
    for (int filter = NN_RESIZE_BICUBIC; filter <= NN_RESIZE_BILINEAR_ANTIALIAS; filter++) {
        int64_t rows = random_int(1, 40), columns = random_int(1, 40), width = random_int(1, 300);
        int64_t count = rows * columns * width;
        float *table = guarded_random(count, 2), *resized = guarded(count);
        nn_resize_table(b->nn, table, rows, columns, width, rows, columns, (nn_resize_filter)filter, resized);
        for (int64_t i = 0; i < count; i++)
            assert_true(resized[i] == table[i]);
        check_guards(table, count);
        check_guards(resized, count);
    }
}

static void test_same_size(void **state)
{
    (void)state;
    for_each_variant(same_size);
}

/* Coefficients sum to 1: a constant table stays constant at any size; one column wide too, where torch's antialiased
 * kernels mix up the axes. */
static void constant(bench *b)
{
    for (int i = 0; i < 60; i++) {
        int64_t rows = random_int(1, 50), columns = random_int(1, 50), to_rows = random_int(1, 50);
        int64_t to_columns = i % 4 ? random_int(1, 50) : 1;
        float *table = guarded(rows * columns), *resized = guarded(to_rows * to_columns);
        for (int64_t k = 0; k < rows * columns; k++)
            table[k] = 1 + (float)(k / columns);
        nn_resize_table(b->nn, table, rows, columns, 1, to_rows, to_columns, (nn_resize_filter)(i % 3), resized);
        for (int64_t k = 0; k < to_rows * to_columns; k++) {
            float first = resized[k / to_columns * to_columns];
            check_close("a row of equal values", i, k, (double)resized[k], (double)first, 4e-6 * (double)rows);
        }
        if (rows == to_rows)
            for (int64_t k = 0; k < to_rows * to_columns; k++)
                check_close("rows kept", i, k, (double)resized[k], (double)(1 + k / to_columns), 4e-6 * (double)rows);
        check_guards(table, rows * columns);
        check_guards(resized, to_rows * to_columns);
    }
}

static void test_constant(void **state)
{
    (void)state;
    for_each_variant(constant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resize), cmocka_unit_test(test_same_size),
                                       cmocka_unit_test(test_constant)};
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
