/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench: what its measurements share.
 */
#ifndef BENCH_H
#define BENCH_H

#include "../print.h"
#include "nn.h"
#include "probe.h"

#define PROGRAM "llavamore-bench"
#define MOST_ROUNDS 101

typedef struct bench_options {
    int64_t threads; /* 0 = all cores */
    int64_t rounds;  /* odd: medians are taken over them */
    DLDataType weights;
    const char *weights_name;
    bool as_json;
} bench_options;

/* One run of the program: where its rows go. */
typedef struct bench {
    const bench_options *options;
    nn_context *nn;
    output *out;
    json_t *rows; /* as_json: all of them; else each is printed when it is known */
} bench;

/* Shares measured round by round against a limit of the machine that was measured right before. */
typedef struct shares {
    double share[MOST_ROUNDS];
    double rate[MOST_ROUNDS];
    double limit[MOST_ROUNDS];
    int64_t count;
} shares;

void shares_add(shares *s, double rate, double limit);
/* Adds the row "name" with the medians of rate and limit (in units of 1e9, called `unit`), the median share, and its
 * spread. */
more_status bench_row(bench *b, const char *name, const char *unit, const shares *s, more_error *error);
/* A line of explanation, left out of JSON. */
void bench_note(bench *b, const char *text);

/* A matrix of pseudo-random values of the options' stored type. */
more_status bench_matrix(bench *b, int64_t rows, int64_t columns, DLDataType dtype, nn_matrix **matrix,
                         more_error *error);
/* Pseudo-random activations; NULL when out of memory. */
float *bench_values(bench *b, int64_t count);

more_status bench_gemm(bench *b, more_error *error);
more_status bench_decode(bench *b, more_error *error);

#endif
