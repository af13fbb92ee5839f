/* SPDX-License-Identifier: Apache-2.0 */
#include "base/threads.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define ITEMS 1000

typedef struct tally {
    core_threads *threads;
    atomic_int items[ITEMS], busy[64];
    atomic_int bodies, clashes, out_of_range, grain_broken;
    int64_t total, grain;
    int32_t workers;
} tally;

static void count_items(void *context, int64_t begin, int64_t end, int32_t worker)
{
    tally *counted = context;
    atomic_fetch_add(&counted->bodies, 1);
    if (worker < 0 || worker >= counted->workers || begin < 0 || end > counted->total || begin >= end)
        atomic_fetch_add(&counted->out_of_range, 1);
    else if (atomic_fetch_add(&counted->busy[worker], 1))
        atomic_fetch_add(&counted->clashes, 1);
    if (end - begin < counted->grain && end != counted->total)
        atomic_fetch_add(&counted->grain_broken, 1);
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(&counted->items[i], 1);
    atomic_fetch_sub(&counted->busy[worker], 1);
}

static void check_counted(tally *counted)
{
    for (int64_t i = 0; i < ITEMS; i++)
        assert_int_equal(atomic_load(&counted->items[i]), i < counted->total);
    assert_int_equal(atomic_load(&counted->clashes), 0);
    assert_int_equal(atomic_load(&counted->out_of_range), 0);
    assert_int_equal(atomic_load(&counted->grain_broken), 0);
}

static void every_item_is_done_once(void **state)
{
    (void)state;
    const int64_t sizes[] = {0, 1, 2, 3, 7, 64, 999, 1000}, grains[] = {-5, 0, 1, 2, 10, 500, 5000};
    for (int32_t workers = 1; workers <= 9; workers += 2) {
        core_threads *threads = NULL;
        assert_int_equal(core_threads_create(workers, &threads, NULL), MORE_OK);
        assert_int_equal(core_threads_count(threads), workers);
        for (size_t s = 0; s < 8; s++)
            for (size_t g = 0; g < 7; g++) {
                tally *counted = calloc(1, sizeof *counted);
                counted->total = sizes[s];
                counted->grain = grains[g];
                counted->workers = workers;
                core_threads_run(threads, sizes[s], grains[g], count_items, counted);
                check_counted(counted);
                free(counted);
            }
        core_threads_destroy(threads);
    }
}

static void sum_range(void *context, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    int64_t sum = 0;
    for (int64_t i = begin; i < end; i++)
        sum += i;
    atomic_fetch_add((_Atomic int64_t *)context, sum);
}

/* Jobs back to back, with pauses now and then that let the workers fall asleep. */
static void jobs_back_to_back(void **state)
{
    (void)state;
    core_threads *threads = NULL;
    assert_int_equal(core_threads_create(4, &threads, NULL), MORE_OK);
    for (int job = 0; job < 20000; job++) {
        _Atomic int64_t sum = 0;
        core_threads_run(threads, 97, 1, sum_range, &sum);
        if (atomic_load(&sum) != 97 * 96 / 2)
            fail_msg("job %d gave %lld", job, (long long)atomic_load(&sum));
        if (job % 2000 == 0)
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    core_threads_destroy(threads);
}

typedef struct nest {
    core_threads *threads;
    _Atomic int64_t sum;
    atomic_int wrong_worker;
} nest;

static void inner(void *context, int64_t begin, int64_t end, int32_t worker)
{
    nest *nested = context;
    if (worker != 0 || begin != 0 || end != 10)
        atomic_fetch_add(&nested->wrong_worker, 1);
    sum_range(&nested->sum, begin, end, worker);
}

static void outer(void *context, int64_t begin, int64_t end, int32_t worker)
{
    nest *nested = context;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        core_threads_run(nested->threads, 10, 1, inner, nested);
}

static void nested_jobs_run_inline(void **state)
{
    (void)state;
    nest nested = {0};
    assert_int_equal(core_threads_create(4, &nested.threads, NULL), MORE_OK);
    for (int i = 0; i < 100; i++)
        core_threads_run(nested.threads, 50, 1, outer, &nested);
    assert_int_equal(atomic_load(&nested.sum), 100 * 50 * 45);
    assert_int_equal(atomic_load(&nested.wrong_worker), 0);
    core_threads_destroy(nested.threads);
}

static void *many_jobs(void *argument)
{
    core_threads *threads = argument;
    long wrong = 0;
    for (int job = 0; job < 2000; job++) {
        tally *counted = calloc(1, sizeof *counted);
        counted->total = 100;
        counted->grain = 3;
        counted->workers = core_threads_count(threads);
        core_threads_run(threads, 100, 3, count_items, counted);
        for (int i = 0; i < 100; i++)
            wrong += atomic_load(&counted->items[i]) != 1;
        wrong += atomic_load(&counted->clashes) + atomic_load(&counted->out_of_range);
        free(counted);
    }
    return (void *)wrong;
}

static void callers_take_turns(void **state)
{
    (void)state;
    core_threads *threads = NULL;
    pthread_t callers[4];
    assert_int_equal(core_threads_create(3, &threads, NULL), MORE_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, many_jobs, threads), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(callers[i], &wrong);
        assert_null(wrong);
    }
    core_threads_destroy(threads);
}

static void pools_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        core_threads *threads = NULL;
        _Atomic int64_t sum = 0;
        assert_int_equal(core_threads_create(1 + i % 5, &threads, NULL), MORE_OK);
        if (i % 3)
            core_threads_run(threads, 10, 1, sum_range, &sum);
        core_threads_destroy(threads);
        assert_int_equal(atomic_load(&sum), i % 3 ? 45 : 0);
    }
    core_threads_destroy(NULL);
}

static void add_edges(void *context, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    atomic_fetch_add((_Atomic int64_t *)context, end - begin);
}

static void huge_counts_do_not_overflow(void **state)
{
    (void)state;
    core_threads *threads = NULL;
    _Atomic int64_t sum = 0;
    assert_int_equal(core_threads_create(4, &threads, NULL), MORE_OK);
    core_threads_run(threads, INT64_MAX, 1, add_edges, &sum);
    assert_true(atomic_load(&sum) == INT64_MAX);
    core_threads_destroy(threads);
}

static void as_many_as_cores_by_default(void **state)
{
    (void)state;
    core_threads *threads = NULL;
    assert_int_equal(core_threads_create(0, &threads, NULL), MORE_OK);
    assert_int_equal(core_threads_count(threads), core_threads_available());
    core_threads_destroy(threads);
    assert_int_equal(core_threads_create(CORE_MAX_THREADS + 1, &threads, NULL), MORE_ERROR_ARGUMENT);
    assert_null(threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_done_once),     cmocka_unit_test(jobs_back_to_back),
        cmocka_unit_test(nested_jobs_run_inline),      cmocka_unit_test(callers_take_turns),
        cmocka_unit_test(pools_come_and_go),           cmocka_unit_test(huge_counts_do_not_overflow),
        cmocka_unit_test(as_many_as_cores_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
