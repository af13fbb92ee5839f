/* SPDX-License-Identifier: Apache-2.0
 *
 * nn_linear and the packed matrices against a plain double-precision product, in every kernel variant.
 */
#include "problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void problem_check(const problem *p)
{
    for (int64_t t = 0; t < p->rows; t++) {
        for (int64_t o = 0; o < p->outputs; o++) {
            double sum = 0.0, size = 0.0;
            for (int64_t i = 0; i < p->columns; i++) {
                double term = (double)p->x[t * p->x_stride + i] * (double)p->w[o * p->columns + i];
                sum += term;
                size += fabs(term);
            }
            if (p->bias)
                sum += (double)p->b[o];
            double expected = activation_of(p->activation, sum);
            if (p->residual)
                expected += (double)p->r[t * p->y_stride + o];
            double bound = 3e-7 * (size + 4.0);
            check_close("linear", t, o, (double)p->y[t * p->y_stride + o], expected, bound);
        }
    }
    problem_check_gaps(p);
}

static void random_problems(bench *b)
{
    static const int64_t rows[] = {0, 1, 1, 1, 2, 3, 5, 7, 13, 14, 15, 28, 31, 43, 127, 131, 260};
    static const int64_t columns[] = {1, 2, 3, 7, 16, 31, 64, 97, 255, 256, 257, 300, 511, 513, 769};
    static const int64_t outputs[] = {1, 2, 15, 16, 17, 31, 32, 33, 47, 64, 65, 97, 130, 257, 513, 1031};
    for (int i = 0; i < 40; i++) {
        problem p = {.rows = pick(rows, 17), .columns = pick(columns, 15), .outputs = pick(outputs, 16)};
        if (p.rows * p.columns * p.outputs > 8000000)
            p.outputs = random_int(1, 33);
        p.storage = (nn_storage)random_int(0, 2);
        problem_vary(&p);
        problem_make(b, &p);
        problem_run(b, &p);
        problem_check(&p);
        problem_free(b, &p);
    }
}

static void test_against_double(void **state)
{
    (void)state;
    for_each_variant(random_problems);
}

/* A row alone, among few, among many, and with another number of threads: the same bits. */
static void row_alone(bench *b)
{
    static const int64_t counts[] = {1, 2, 3, 14, 41, 127};
    for (int64_t kind = 0; kind < 3; kind++) {
        problem p = {.rows = 150, .columns = 777, .outputs = 103 + 430 * (kind == 0), .storage = (nn_storage)kind};
        p.activation = NN_GELU_ERF;
        p.bias = p.residual = true;
        problem_make(b, &p);
        problem_run(b, &p);
        bench one = bench_open(nn_context_kernels(b->nn), 2);
        for (int i = 0; i < 6; i++)
            problem_check_alone(i % 2 ? one.nn : b->nn, &p, counts[i]);
        bench_close(&one);
        problem_free(b, &p);
    }
}

static void test_row_does_not_depend_on_the_call(void **state)
{
    (void)state;
    for_each_variant(row_alone);
}

static void rows_back(bench *b)
{
    more_error error;
    for (int64_t kind = 0; kind < 3; kind++) {
        int64_t rows = random_int(1, 70), columns = random_int(1, 90);
        float *w = guarded_random(rows * columns, 3.0f), *back = guarded(2 * rows * columns);
        int32_t ids[140];
        nn_matrix *matrix;
        assert_int_equal(nn_matrix_pack(b->nn, w, rows, columns, (nn_storage)kind, &matrix, &error), MORE_OK);
        for (int64_t i = 0; i < 2 * rows; i++)
            ids[i] = (int32_t)random_int(0, rows - 1);
        nn_matrix_rows(b->nn, matrix, ids, 2 * rows, back);
        for (int64_t i = 0; i < 2 * rows; i++)
            for (int64_t k = 0; k < columns; k++)
                assert_true(back[i * columns + k] == as_stored(dtype_at(kind), w[ids[i] * columns + k]));
        nn_matrix_free(b->nn, matrix);
        check_guards(w, rows * columns);
        check_guards(back, 2 * rows * columns);
    }
}

static void test_matrix_rows(void **state)
{
    (void)state;
    for_each_variant(rows_back);
}

/* Bodies that themselves call operators: nested parallel work and more callers than scratch buffers. */
typedef struct nested {
    bench *b;
    problem *p;
} nested;

static void run_nested(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    nested *n = argument;
    for (int64_t i = begin; i < end; i++)
        problem_run(n->b, &n->p[i]);
}

static void nested_calls(bench *b)
{
    problem p[6];
    nested n = {b, p};
    for (int i = 0; i < 6; i++) {
        p[i] = (problem){.rows = 17 + i, .columns = 300, .outputs = 200, .x_stride = 300, .y_stride = 200};
        p[i].storage = (nn_storage)(i % 3);
        problem_make(b, &p[i]);
    }
    nn_parallel(b->nn, 6, 1, run_nested, &n);
    for (int i = 0; i < 6; i++) {
        problem_check(&p[i]);
        problem_free(b, &p[i]);
    }
}

static void test_nested_parallel_calls(void **state)
{
    (void)state;
    for_each_variant(nested_calls);
}

static void test_pack_refuses(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 1);
    more_error error;
    float value = 1.0f;
    nn_matrix *matrix;
    assert_int_equal(nn_matrix_pack(b.nn, &value, 0, 1, NN_F32, &matrix, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(nn_matrix_pack(b.nn, &value, INT64_MAX / 2, 8, NN_F32, &matrix, &error), MORE_ERROR_MEMORY);
    test_host_memory_left(b.host, 0);
    assert_int_equal(nn_matrix_pack(b.nn, &value, 1, 1, NN_F32, &matrix, &error), MORE_ERROR_MEMORY);
    assert_null(matrix);
    assert_int_equal(nn_matrix_bytes(17, 10, NN_F16), 32 * 10 * 2);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_double), cmocka_unit_test(test_row_does_not_depend_on_the_call),
        cmocka_unit_test(test_matrix_rows),    cmocka_unit_test(test_nested_parallel_calls),
        cmocka_unit_test(test_pack_refuses),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
