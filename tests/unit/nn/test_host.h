/* SPDX-License-Identifier: Apache-2.0
 *
 * A small host for the tests of sdk/nn: every service of host.h, a pool of threads that cuts work into many small
 * chunks (so that wrong division shows), memory that can be made to run out, and a checkpoint over arrays in memory.
 */
#ifndef TEST_HOST_H
#define TEST_HOST_H

#include <llavamore/plugin.h>

typedef struct test_host test_host;

/* What serves a tensor besides read_rows: nothing, its mapped bytes in info, or read_stored_rows. */
enum { TEST_CONVERTED, TEST_MAPPED, TEST_STORED };

/* One tensor of the checkpoint; data is owned by the test. */
typedef struct test_tensor {
    const char *name;
    const char *format; /* "f32", "f16", "bf16", "gguf.q8_0", "gguf.q4_0", "gguf.q4_1", or anything to be refused */
    int32_t rank;
    int64_t shape[MORE_MAX_RANK];
    const void *data;
    size_t bytes;
    int access; /* TEST_... */
} test_tensor;

/* One key of the config; exactly one of the values is meant by `kind`. */
typedef struct test_key {
    const char *name;
    char kind; /* 'i', 'd', 'b' or 's' */
    int64_t i;
    double d;
    const char *s;
} test_key;

/* NULL when out of memory. */
test_host *test_host_create(int32_t threads);
void test_host_destroy(test_host *host);
const more_host *test_host_abi(test_host *host);

/* The host's one checkpoint; the arrays are the test's and must outlive its use. */
more_checkpoint *test_host_checkpoint(test_host *host, const test_tensor *tensors, int64_t tensor_count,
                                      const test_key *keys, int64_t key_count);

/* The host answers NULL for this service id; NULL = it has all. */
void test_host_lack(test_host *host, const char *id);
/* Allocations that still succeed; negative = all. */
void test_host_memory_left(test_host *host, int64_t allocations);
/* Blocks that were allocated and not released. */
int64_t test_host_live(test_host *host);
void test_host_cancel(test_host *host);
/* The last line logged, "component: message", and the last progress. */
const char *test_host_last_log(const test_host *host);
int64_t test_host_last_progress(const test_host *host);
/* Tensors of the checkpoint that were dropped. */
int64_t test_host_drops(const test_host *host);

#endif
