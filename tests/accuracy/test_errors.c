/* SPDX-License-Identifier: Apache-2.0
 *
 * The error of nn_linear for every storage and arithmetic, at the widths of the released models, held against what the
 * formats cost (error_bounds.h): no kernel may lose more, and none may claim a format that it does not use.
 */
#include "error_bounds.h"
#include "support.h"

#include <stdlib.h>

enum { ROWS = 24, OUTPUTS = 48 };

/* Widths that blocks of 64 divide, and those of ViT's patches and SigLIP's inner layer, which they do not. */
static const int64_t widths[] = {588, 1152, 4096, 4304, 14336};

/* Shares of the bound that the error may lie between. ROWS x OUTPUTS sums are a sample of them: it errs by 2%, of which
 * five times are allowed. The search for scales takes up to 12% off the 4-bit kinds; sums in f32 err less the shorter
 * their blocks are. */
static const double most = 1.1, least = 0.75;

typedef struct problem {
    int64_t columns;
    float *w, *x, *y; /* [OUTPUTS, columns], [ROWS, columns], [ROWS, OUTPUTS] */
    double exact[ROWS * OUTPUTS];
} problem;

/* Box and Muller's. */
static void fill_normal(float *values, int64_t count, float scale)
{
    for (int64_t i = 0; i < count; i++) {
        double u = ((double)(random_bits() >> 11) + 1.0) * 0x1p-53, v = (double)(random_bits() >> 11) * 0x1p-53;
        values[i] = scale * (float)(sqrt(-2.0 * log(u)) * cos(2.0 * 3.14159265358979 * v));
    }
}

static void problem_make(problem *p, int64_t columns)
{
    p->columns = columns;
    p->w = guarded(OUTPUTS * columns);
    p->x = guarded(ROWS * columns);
    p->y = guarded(ROWS * OUTPUTS);
    fill_normal(p->w, OUTPUTS * columns, 0.02f);
    fill_normal(p->x, ROWS * columns, 1.0f);
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t o = 0; o < OUTPUTS; o++) {
            double sum = 0.0;
            for (int64_t k = 0; k < columns; k++)
                sum += (double)p->x[r * columns + k] * (double)p->w[o * columns + k];
            p->exact[r * OUTPUTS + o] = sum;
        }
}

static void problem_free(problem *p)
{
    check_guards(p->w, OUTPUTS * p->columns);
    check_guards(p->x, ROWS * p->columns);
    check_guards(p->y, ROWS * OUTPUTS);
}

static double squares(const float *values, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    return sum;
}

/* Relative RMS error of y: against the size that sums of such x and w have on average. */
static double error_of(const problem *p)
{
    double error = 0.0;
    double size = squares(p->x, ROWS * p->columns) * squares(p->w, OUTPUTS * p->columns) / (double)p->columns;
    for (int64_t i = 0; i < ROWS * OUTPUTS; i++) {
        double difference = (double)p->y[i] - p->exact[i];
        error += difference * difference;
    }
    return sqrt(error / size);
}

static void check_error(const bench *b, const problem *p, nn_storage storage, nn_arithmetic arithmetic,
                        const char *rows)
{
    double error = error_of(p), bound = error_bound(storage, arithmetic, p->columns);
    /* Plain weights meet f32 sums, also under FAST where the table has no 16-bit products. */
    bool summed = storage == NN_F32 || arithmetic == NN_ARITHMETIC_FAST;
    if (error <= most * bound && (summed || error >= least * bound))
        return;
    fail_msg("%s kernels, %s, arithmetic %d, %lld columns, %s: error %.3g, the format's is %.3g",
             nn_context_kernels(b->nn), nn_storage_name(storage), (int)arithmetic, (long long)p->columns, rows, error,
             bound);
}

/* All rows at once, then one by one: kernels differ. */
static void check_way(bench *b, problem *p, nn_storage storage, nn_arithmetic arithmetic)
{
    more_error error;
    nn_matrix *matrix = NULL;
    assert_int_equal(nn_matrix_pack(b->nn, p->w, OUTPUTS, p->columns, storage, &matrix, &error), MORE_OK);
    nn_context_set_arithmetic(b->nn, arithmetic);
    nn_linear(b->nn, &(nn_linear_args){.x = p->x, .rows = ROWS, .weight = matrix, .y = p->y});
    check_error(b, p, storage, arithmetic, "many rows");
    for (int64_t r = 0; r < ROWS; r++)
        nn_linear(b->nn,
                  &(nn_linear_args){.x = p->x + r * p->columns, .rows = 1, .weight = matrix, .y = p->y + r * OUTPUTS});
    check_error(b, p, storage, arithmetic, "row by row");
    nn_matrix_free(b->nn, matrix);
}

static problem problems[sizeof widths / sizeof *widths]; /* made once, read by every variant */

static void check_storage(bench *b, nn_storage storage, nn_arithmetic arithmetic)
{
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        check_way(b, &problems[i], storage, arithmetic);
}

static void floats_exactly(bench *b)
{
    for (nn_storage storage = NN_F32; storage < NN_FLOATS; storage++)
        check_storage(b, storage, NN_ARITHMETIC_AUTO);
}

static void floats_fast(bench *b)
{
    for (nn_storage storage = NN_F32; storage < NN_FLOATS; storage++)
        check_storage(b, storage, NN_ARITHMETIC_FAST);
}

static void quantised_exactly(bench *b)
{
    for (nn_storage storage = NN_Q8; storage < NN_STORAGES; storage++)
        check_storage(b, storage, NN_ARITHMETIC_EXACT);
}

static void quantised(bench *b)
{
    for (nn_storage storage = NN_Q8; storage < NN_STORAGES; storage++)
        check_storage(b, storage, NN_ARITHMETIC_AUTO);
}

static void test_floats(void **state)
{
    (void)state;
    for_each_variant(floats_exactly);
}

static void test_floats_fast(void **state)
{
    (void)state;
    for_each_variant(floats_fast);
}

static void test_quantised_exactly(void **state)
{
    (void)state;
    for_each_variant(quantised_exactly);
}

static void test_quantised(void **state)
{
    (void)state;
    for_each_variant(quantised);
}

static int make_problems(void **state)
{
    (void)state;
    seed_random();
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        problem_make(&problems[i], widths[i]);
    return 0;
}

static int free_problems(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        problem_free(&problems[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_floats_fast),
        cmocka_unit_test(test_quantised_exactly),
        cmocka_unit_test(test_quantised),
    };
    return cmocka_run_group_tests_name("errors", tests, make_problems, free_problems);
}
