/* SPDX-License-Identifier: Apache-2.0
 *
 * One call of nn_linear on random numbers, for the tests that hold it against doubles and against itself.
 */
#ifndef TEST_NN_PROBLEM_H
#define TEST_NN_PROBLEM_H

#include "support.h"

/* Sizes, storage and switches are the test's; problem_make does the rest. */
typedef struct problem {
    int64_t rows, columns, outputs; /* activations [rows, columns], weight [outputs, columns] */
    int64_t x_stride, y_stride;     /* 0 = contiguous */
    nn_storage storage;
    nn_activation activation;
    bool bias, residual, in_place;
    float *x, *w, *b, *r, *y; /* guarded; w: what the packed matrix stands for */
    nn_matrix *matrix;
} problem;

/* One of `count` values. */
int64_t pick(const int64_t *values, int64_t count);
/* Strides, activation, bias and residual at random. */
void problem_vary(problem *p);
void problem_make(bench *b, problem *p);
/* All rows into p->y. */
void problem_run(bench *b, problem *p);
/* Fails where something was written between the rows of p->y. */
void problem_check_gaps(const problem *p);
/* Runs `count` rows by themselves on `nn` and fails unless they have the bits that they have in p->y. */
void problem_check_alone(nn_context *nn, const problem *p, int64_t count);
void problem_free(bench *b, problem *p); /* checks the guards too */

#endif
