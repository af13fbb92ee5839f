/* SPDX-License-Identifier: Apache-2.0 */
#include "problem.h"

#include <stdlib.h>
#include <string.h>

int64_t pick(const int64_t *values, int64_t count)
{
    return values[random_int(0, count - 1)];
}

void problem_vary(problem *p)
{
    p->x_stride = p->columns + (random_int(0, 1) ? random_int(1, 19) : 0);
    p->y_stride = p->outputs + (random_int(0, 1) ? random_int(1, 19) : 0);
    p->activation = (nn_activation)random_int(NN_IDENTITY, NN_SILU);
    p->bias = random_int(0, 1);
    p->residual = random_int(0, 1);
    p->in_place = p->residual && random_int(0, 1);
}

/* What the blocks of a quantised matrix stand for. */
static void rows_back(bench *b, problem *p)
{
    int32_t *ids = malloc((size_t)p->outputs * sizeof *ids);
    for (int64_t i = 0; i < p->outputs; i++)
        ids[i] = (int32_t)i;
    nn_matrix_rows(b->nn, p->matrix, ids, p->outputs, p->w);
    free(ids);
}

void problem_make(bench *b, problem *p)
{
    more_error error;
    p->x_stride = p->x_stride ? p->x_stride : p->columns;
    p->y_stride = p->y_stride ? p->y_stride : p->outputs;
    p->x = guarded_random(p->rows * p->x_stride, 1.0f);
    p->w = guarded_random(p->outputs * p->columns, 0.5f);
    for (int64_t i = 0; i < p->outputs * p->columns && p->storage < NN_FLOATS; i++)
        p->w[i] = as_stored(dtype_at(p->storage), p->w[i]);
    p->b = guarded_random(p->outputs, 1.0f);
    p->r = guarded_random(p->rows * p->y_stride, 1.0f);
    p->y = guarded(p->rows * p->y_stride);
    if (p->in_place)
        memcpy(p->y, p->r, (size_t)(p->rows * p->y_stride) * sizeof(float));
    assert_int_equal(nn_matrix_pack(b->nn, p->w, p->outputs, p->columns, p->storage, &p->matrix, &error), MORE_OK);
    if (p->storage >= NN_FLOATS)
        rows_back(b, p);
}

/* Rows [first, first + count) into y. */
static void run_rows(nn_context *nn, const problem *p, int64_t first, int64_t count, const float *residual, float *y)
{
    nn_linear_args args = {.x = p->x + first * p->x_stride,
                           .rows = count,
                           .x_stride = p->x_stride == p->columns ? 0 : p->x_stride,
                           .weight = p->matrix,
                           .bias = p->bias ? p->b : NULL,
                           .activation = p->activation,
                           .residual = residual,
                           .y = y,
                           .y_stride = p->y_stride == p->outputs ? 0 : p->y_stride};
    nn_linear(nn, &args);
}

void problem_run(bench *b, problem *p)
{
    run_rows(b->nn, p, 0, p->rows, p->in_place ? p->y : p->residual ? p->r : NULL, p->y);
}

void problem_check_gaps(const problem *p)
{
    for (int64_t t = 0; t < p->rows; t++)
        for (int64_t o = p->outputs; o < p->y_stride; o++)
            assert_true(p->y[t * p->y_stride + o] == (p->in_place ? p->r[t * p->y_stride + o] : p->y[-1]));
}

void problem_check_alone(nn_context *nn, const problem *p, int64_t count)
{
    int64_t first = random_int(0, p->rows - count);
    float *y = guarded(count * p->y_stride);
    run_rows(nn, p, first, count, p->residual ? p->r + first * p->y_stride : NULL, y);
    for (int64_t t = 0; t < count; t++)
        assert_memory_equal(y + t * p->y_stride, p->y + (first + t) * p->y_stride, (size_t)p->outputs * sizeof(float));
    check_guards(y, count * p->y_stride);
}

void problem_free(bench *b, problem *p)
{
    check_guards(p->x, p->rows * p->x_stride);
    check_guards(p->w, p->outputs * p->columns);
    check_guards(p->b, p->outputs);
    check_guards(p->r, p->rows * p->y_stride);
    check_guards(p->y, p->rows * p->y_stride);
    nn_matrix_free(b->nn, p->matrix);
}
