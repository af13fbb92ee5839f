/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of sdk/nn share: every variant of the kernels that this CPU runs, random numbers with a printed seed,
 * guarded buffers.
 */
#ifndef TEST_NN_SUPPORT_H
#define TEST_NN_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nn.h"
#include "test_host.h"

/* A host of `threads` threads and a context of one kernel variant on it. */
typedef struct bench {
    test_host *host;
    nn_context *nn;
} bench;

bench bench_open(const char *variant, int32_t threads);
void bench_close(bench *b); /* fails the test when memory of the host is still held */

/* Calls `test` with a context of every variant of this build that the CPU runs, with 1 and with 3 threads; names the
 * others as skipped. */
void for_each_variant(void (*test)(bench *b));

/* xorshift64*, seeded from NN_TEST_SEED or the clock by seed_random, which prints the seed. */
void seed_random(void);
uint64_t random_bits(void);
int64_t random_int(int64_t least, int64_t most); /* both included */
float random_float(float magnitude);             /* uniform in +-magnitude */

/* `count` floats between two guard zones; check_guards fails the test when one was written, and frees. */
float *guarded(int64_t count);
float *guarded_random(int64_t count, float magnitude);
void check_guards(float *values, int64_t count);

/* The value as it comes back from being stored as dtype. */
float as_stored(DLDataType dtype, float value);
/* f32, f16, bf16 for 0, 1, 2. */
DLDataType dtype_at(int64_t index);

double activation_of(nn_activation activation, double x);
/* Fails unless |got - expected| <= bound, naming where. */
void check_close(const char *what, int64_t row, int64_t column, double got, double expected, double bound);

#endif
