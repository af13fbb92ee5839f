/* SPDX-License-Identifier: Apache-2.0
 *
 * The three products of a device against the host's nn_linear in f32, and each row against itself in other company.
 */
#include "floats.h"
#include "harness.h"
#include "problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/kernels.h"
#include "half.h"

typedef enum product { FEW_ROWS, MANY_ROWS, PLAIN, PRODUCTS } product;

static bench host;
static const nn_cuda_kernels *table;

static int64_t round_up(int64_t value, int64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static size_t element_bytes(nn_storage storage)
{
    return storage == NN_F32 ? 4 : 2;
}

/* Rows of `values` as `storage` in device memory that ends with them, rows `stride` elements apart, zeros between. */
static void *upload_rows(const float *values, int64_t rows, int64_t columns, int64_t from, nn_storage storage,
                         int64_t stride)
{
    size_t bytes = (size_t)(rows * stride) * element_bytes(storage);
    float *wide = calloc(1, bytes + 1);
    uint16_t *narrow = (uint16_t *)wide;
    assert_non_null(wide);
    for (int64_t t = 0; t < rows; t++)
        for (int64_t i = 0; i < columns; i++)
            if (storage == NN_F32)
                wide[t * stride + i] = values[t * from + i];
            else
                narrow[t * stride + i] =
                    storage == NN_F16 ? nn_f32_to_f16(values[t * from + i]) : nn_f32_to_bf16(values[t * from + i]);
    void *device = harness_upload(wide, bytes);
    free(wide);
    return device;
}

/* From the first row's first number to the last row's last. */
static int64_t extent(int64_t rows, int64_t width, int64_t stride)
{
    return rows ? (rows - 1) * stride + width : 0;
}

static int launch(product which, const nn_cuda_linear *args)
{
    return which == FEW_ROWS    ? table->linear_few_rows(harness_stream(), args)
           : which == MANY_ROWS ? table->linear_many_rows(harness_stream(), args)
                                : table->linear_plain(harness_stream(), args);
}

/* Rows [first, first + count) of the problem on the device: y, to be freed. */
static float *run_device(product which, const problem *p, int64_t first, int64_t count)
{
    int64_t skew = which == MANY_ROWS ? 0 : random_int(0, 2), stride = round_up(p->columns, 8), x_stride = p->x_stride;
    int64_t size = extent(count, p->outputs, p->y_stride);
    const float *x = p->x + first * p->x_stride, *r = p->r + first * p->y_stride;
    void *weight = upload_rows(p->w, p->outputs, p->columns, p->columns, p->storage, stride), *dx;
    if (which == MANY_ROWS) {
        x_stride = stride + 8 * (p->x_stride % 2);
        dx = upload_rows(x, count, p->columns, p->x_stride, p->storage, x_stride);
    } else {
        dx = put(x, extent(count, p->columns, p->x_stride), skew);
    }
    float *bias = put(p->b, p->outputs, 0), *residual = put(r, size, 0),
          *y = p->in_place ? put(r, size, 0) : room(size, 0);
    nn_cuda_linear args = {.x = dx,
                           .rows = count,
                           .x_stride = x_stride,
                           .weight = {weight, p->storage, p->outputs, p->columns, stride},
                           .bias = p->bias ? bias : NULL,
                           .activation = p->activation,
                           .residual = p->in_place   ? y
                                       : p->residual ? residual
                                                     : NULL,
                           .y = y,
                           .y_stride = p->y_stride};
    harness_check(launch(which, &args));
    harness_free((float *)dx - skew);
    harness_free(weight);
    harness_free(bias);
    harness_free(residual);
    return taken(y, size, 0);
}

/* As many_rows gets it. */
static void round_x(problem *p)
{
    for (int64_t i = 0; i < p->rows * p->x_stride; i++)
        p->x[i] = as_stored(dtype_at(p->storage), p->x[i]);
}

/* Against the host's y; tensor cores cut off, f32 elsewhere rounds. What lies between rows is as it was. */
static void check(product which, const problem *p, const float *y)
{
    double unit = which == MANY_ROWS ? 4e-6 : 1e-6;
    for (int64_t t = 0; t < p->rows; t++) {
        for (int64_t o = 0; o < p->outputs; o++) {
            double size = 4.0;
            for (int64_t i = 0; i < p->columns; i++)
                size += fabs((double)p->x[t * p->x_stride + i] * (double)p->w[o * p->columns + i]);
            check_close("linear", t, o, (double)y[t * p->y_stride + o], (double)p->y[t * p->y_stride + o], unit * size);
        }
        for (int64_t i = t * p->y_stride + p->outputs; i < (t + 1) * p->y_stride && t + 1 < p->rows; i++)
            assert_true(p->in_place ? y[i] == p->r[i] : isnan(y[i]));
    }
}

static void try_problem(product which, problem *p)
{
    problem_make(&host, p);
    if (which == MANY_ROWS)
        round_x(p);
    problem_run(&host, p);
    float *y = run_device(which, p, 0, p->rows);
    check(which, p, y);
    free(y);
    problem_free(&host, p);
}

static void test_few_rows(void **state)
{
    (void)state;
    static const int64_t columns[] = {1,   2,   3,   7,   8,   9,    31,   64,   255, 256,
                                      257, 300, 511, 513, 769, 1025, 1544, 2053, 4097};
    static const int64_t outputs[] = {1, 2, 15, 16, 17, 31, 32, 33, 65, 130};
    for (int i = 0; i < 3 * 19; i++) {
        problem p = {.rows = i % (NN_CUDA_FEW_ROWS + 1), .columns = columns[i / 3], .outputs = pick(outputs, 10)};
        p.storage = (nn_storage)(i % 3);
        problem_vary(&p);
        try_problem(FEW_ROWS, &p);
    }
    /* Chunks of x one behind the other, with few rows and many. */
    for (int kind = 0; kind < 3; kind++)
        for (int64_t rows = 1; rows <= NN_CUDA_FEW_ROWS; rows *= 2) {
            problem p = {.rows = rows, .columns = 14336 / rows + 8, .outputs = 19, .storage = (nn_storage)kind};
            try_problem(FEW_ROWS, &p);
        }
}

static void test_many_rows(void **state)
{
    (void)state;
    static const int64_t rows[] = {0, 1, 2, 15, 16, 63, 64, 65, 127, 130, 197};
    static const int64_t columns[] = {1, 2, 7, 8, 9, 15, 17, 31, 32, 33, 64, 97, 100, 128, 129, 300, 521};
    static const int64_t outputs[] = {1, 2, 7, 15, 16, 33, 63, 64, 65, 97, 130};
    for (int i = 0; i < 2 * 17; i++) {
        problem p = {.rows = pick(rows, 11), .columns = columns[i / 2], .outputs = pick(outputs, 11)};
        p.storage = i % 2 ? NN_F16 : NN_BF16;
        problem_vary(&p);
        try_problem(MANY_ROWS, &p);
    }
}

static void test_plain(void **state)
{
    (void)state;
    static const int64_t rows[] = {0, 1, 3, 15, 63, 64, 65, 131};
    static const int64_t columns[] = {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 64, 97, 300, 521};
    static const int64_t outputs[] = {1, 2, 5, 16, 63, 64, 65, 130};
    for (int i = 0; i < 3 * 14; i++) {
        problem p = {.rows = pick(rows, 8), .columns = columns[i / 3], .outputs = pick(outputs, 8)};
        p.storage = (nn_storage)(i % 3);
        problem_vary(&p);
        try_problem(PLAIN, &p);
    }
}

/* Rows by themselves have the bits that they have among all. */
static void check_alone(product which, const problem *p, const float *all, int64_t count)
{
    int64_t first = random_int(0, p->rows - count);
    float *some = run_device(which, p, first, count);
    for (int64_t t = 0; t < count; t++)
        assert_memory_equal(some + t * p->y_stride, all + (first + t) * p->y_stride,
                            (size_t)p->outputs * sizeof(float));
    free(some);
}

static void test_row_does_not_depend_on_the_call(void **state)
{
    (void)state;
    static const int64_t few[] = {1, 2, 3, 4, 5, 7, 8}, many[] = {1, 8, 66};
    for (int kind = 0; kind < 3; kind++)
        for (int which = 0; which < PRODUCTS; which++) {
            problem p = {.rows = which == FEW_ROWS ? NN_CUDA_FEW_ROWS : 131, .columns = 777, .outputs = 71};
            p.storage = (nn_storage)kind;
            if (which == MANY_ROWS && kind == NN_F32)
                continue;
            p.activation = NN_GELU_ERF;
            p.bias = p.residual = true;
            problem_make(&host, &p);
            float *all = run_device((product)which, &p, 0, p.rows);
            for (int i = 0; i < (which == FEW_ROWS ? 7 : 3); i++)
                check_alone((product)which, &p, all, which == FEW_ROWS ? few[i] : many[i]);
            free(all);
            problem_free(&host, &p);
        }
}

/* Enough tiles for the large ones; fewer rows go by the small ones, to the same bits. */
static void test_large_tiles(void **state)
{
    (void)state;
    problem p = {.rows = 257, .columns = 169, .outputs = 66 * 128 + 3, .residual = true, .in_place = true};
    p.storage = random_int(0, 1) ? NN_F16 : NN_BF16;
    p.activation = NN_SILU;
    problem_make(&host, &p);
    round_x(&p);
    problem_run(&host, &p);
    float *all = run_device(MANY_ROWS, &p, 0, p.rows);
    check(MANY_ROWS, &p, all);
    check_alone(MANY_ROWS, &p, all, 3);
    free(all);
    problem_free(&host, &p);
}

static void test_nothing_and_the_unknown(void **state)
{
    (void)state;
    for (int which = 0; which < PRODUCTS; which++) {
        nn_cuda_linear none = {.rows = 3, .weight = {NULL, NN_BF16, 0, 64, 64}};
        harness_check(launch((product)which, &none));
        nn_cuda_linear quantised = {.rows = 3, .weight = {NULL, NN_Q8, 64, 64, 64}};
        assert_int_not_equal(launch((product)which, &quantised), 0);
    }
}

static int open_all(void **state)
{
    (void)state;
    seed_random();
    harness_open();
    table = nn_cuda_table();
    assert_non_null(table);
    host = bench_open("baseline", 1);
    nn_context_set_arithmetic(host.nn, NN_ARITHMETIC_EXACT);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    bench_close(&host);
    harness_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_rows),    cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_plain),       cmocka_unit_test(test_row_does_not_depend_on_the_call),
        cmocka_unit_test(test_large_tiles), cmocka_unit_test(test_nothing_and_the_unknown),
    };
    return cmocka_run_group_tests_name("cuda_linear", tests, open_all, close_all);
}
