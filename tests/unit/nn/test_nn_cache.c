/* SPDX-License-Identifier: Apache-2.0
 *
 * The key-value cache: forks, truncation, running out of memory, sizes, and the pages of sliding windows.
 */
#include "sequence.h"

#include <pthread.h>

/* The result of row `row` of s when `cache` holds the rows before it: a fingerprint of the cache's content. */
static void fingerprint(bench *b, const sequence *s, nn_cache *cache, int64_t row, float *y)
{
    append(s, cache, row, 1);
    attend(b, s, cache, s->config.layers - 1, row, 1, y);
}

/* A fork and its origin go different ways; each stays what it would be alone. */
static void test_fork_and_truncate(void **state)
{
    (void)state;
    more_error error;
    bench b = bench_open("baseline", 1);
    sequence s = {.config = sequence_config(2, 2, 20, NN_F16), .heads = 4, .total = 200, .scale = 0.2f};
    sequence_make(&s);
    float expected[80], got[80];
    static const int64_t lengths[] = {1, 31, 32, 33, 64, 77};
    for (int i = 0; i < 6; i++) {
        nn_cache *cache, *fork, *alone;
        int64_t n = lengths[i];
        assert_int_equal(nn_cache_create(b.nn, &s.config, &cache, &error), MORE_OK);
        append(&s, cache, 0, n);
        nn_cache_commit(cache, n);
        assert_int_equal(nn_cache_fork(cache, &fork, &error), MORE_OK);
        assert_int_equal(nn_cache_length(fork), n);
        append(&s, fork, 100, 40); /* other rows than the origin gets */
        nn_cache_commit(fork, 40);
        append(&s, cache, n, 40);
        nn_cache_commit(cache, 40);

        assert_int_equal(nn_cache_create(b.nn, &s.config, &alone, &error), MORE_OK);
        append(&s, alone, 0, n + 40);
        nn_cache_commit(alone, n + 40);
        fingerprint(&b, &s, alone, n + 40, expected);
        fingerprint(&b, &s, cache, n + 40, got);
        assert_memory_equal(expected, got, sizeof got);
        nn_cache_truncate(fork, n); /* back to what they shared */
        nn_cache_truncate(alone, n);
        assert_int_equal(nn_cache_length(fork), n);
        fingerprint(&b, &s, alone, n, expected);
        fingerprint(&b, &s, fork, n, got);
        assert_memory_equal(expected, got, sizeof got);
        nn_cache_truncate(fork, n + 5); /* beyond its length: nothing happens */
        assert_int_equal(nn_cache_length(fork), n);
        nn_cache_destroy(cache);
        fingerprint(&b, &s, fork, n, got); /* lives on without its origin */
        assert_memory_equal(expected, got, sizeof got);
        nn_cache_destroy(fork);
        nn_cache_destroy(alone);
    }
    sequence_free(&s);
    bench_close(&b);
}

typedef struct forker {
    const bench *b;
    const sequence *s;
    nn_cache *cache;
    int64_t length, row;
    float y[80];
} forker;

static void *use_fork(void *argument)
{
    forker *f = argument;
    more_error error;
    for (int i = 0; i < 50; i++) {
        nn_cache *fork;
        if (nn_cache_fork(f->cache, &fork, &error))
            return NULL;
        if (!nn_cache_reserve(fork, 1, &error)) {
            bench b = *f->b;
            fingerprint(&b, f->s, fork, f->row, f->y);
            nn_cache_commit(fork, 1);
        }
        nn_cache_destroy(fork);
    }
    return NULL;
}

/* Forks of forks in several threads that fork, write and let go at the same time. */
static void test_forks_in_threads(void **state)
{
    (void)state;
    enum { FORKERS = 6 };
    more_error error;
    bench b = bench_open("baseline", 2);
    sequence s = {.config = sequence_config(2, 2, 20, NN_F32), .heads = 4, .total = 120, .scale = 0.2f};
    sequence_make(&s);
    nn_cache *cache;
    forker forkers[FORKERS];
    pthread_t threads[FORKERS];
    assert_int_equal(nn_cache_create(b.nn, &s.config, &cache, &error), MORE_OK);
    append(&s, cache, 0, 75);
    nn_cache_commit(cache, 75);
    for (int i = 0; i < FORKERS; i++) {
        forkers[i] = (forker){.b = &b, .s = &s, .length = 75, .row = 75 + i};
        assert_int_equal(nn_cache_fork(cache, &forkers[i].cache, &error), MORE_OK);
    }
    for (int i = 0; i < FORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_fork, &forkers[i]), 0);
    for (int i = 0; i < FORKERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < FORKERS; i++) {
        float expected[80];
        fingerprint(&b, &s, cache, 75 + i, expected);
        assert_memory_equal(forkers[i].y, expected, sizeof expected);
        nn_cache_destroy(forkers[i].cache);
    }
    nn_cache_destroy(cache);
    sequence_free(&s);
    bench_close(&b);
}

/* A reservation that fails leaves the cache as it was, at whichever allocation. */
static void test_reserve_without_memory(void **state)
{
    (void)state;
    more_error error;
    bench b = bench_open("baseline", 1);
    sequence s = {.config = sequence_config(2, 1, 16, NN_F32), .heads = 2, .total = 200, .scale = 0.2f};
    sequence_make(&s);
    float expected[32], got[32];
    nn_cache *cache, *fork;
    assert_int_equal(nn_cache_create(b.nn, &s.config, &cache, &error), MORE_OK);
    append(&s, cache, 0, 40);
    nn_cache_commit(cache, 40);
    assert_int_equal(nn_cache_fork(cache, &fork, &error), MORE_OK);
    for (int64_t left = 0; left < 4; left++) { /* a copy and three new pages are needed */
        int64_t live = test_host_live(b.host);
        test_host_memory_left(b.host, left);
        assert_int_equal(nn_cache_reserve(fork, 100, &error), MORE_ERROR_MEMORY);
        test_host_memory_left(b.host, -1);
        assert_int_equal(test_host_live(b.host), live);
        assert_int_equal(nn_cache_length(fork), 40);
    }
    assert_int_equal(nn_cache_reserve(fork, INT64_MAX, &error), MORE_ERROR_MEMORY);
    fingerprint(&b, &s, cache, 40, expected);
    fingerprint(&b, &s, fork, 40, got);
    assert_memory_equal(expected, got, sizeof got);
    nn_cache_destroy(cache);
    nn_cache_destroy(fork);
    sequence_free(&s);
    bench_close(&b);
}

static void test_cache_sizes(void **state)
{
    (void)state;
    more_error error;
    bench b = bench_open("baseline", 1);
    nn_cache *cache;
    nn_cache_config config = sequence_config(32, 8, 128, NN_F16);
    assert_int_equal(nn_cache_bytes(&config, 0), 0);
    int64_t page = nn_cache_bytes(&config, 1);
    assert_true(page >= 32 * 32 * 8 * 128 * 2 * 2 && page <= 32 * 32 * 8 * 128 * 2 * 2 + 64);
    assert_int_equal(nn_cache_bytes(&config, 32), page);
    assert_int_equal(nn_cache_bytes(&config, 33), 2 * page);
    config.head_dimension = 0;
    assert_int_equal(nn_cache_create(b.nn, &config, &cache, &error), MORE_ERROR_ARGUMENT);
    config.head_dimension = 513;
    assert_int_equal(nn_cache_create(b.nn, &config, &cache, &error), MORE_ERROR_ARGUMENT);
    assert_null(cache);
    config = sequence_config(INT64_MAX / 4, 8, 128, NN_F16);
    assert_int_equal(nn_cache_create(b.nn, &config, &cache, &error), MORE_ERROR_ARGUMENT);
    config = sequence_config(2, 8, 128, NN_Q4);
    assert_int_equal(nn_cache_create(b.nn, &config, &cache, &error), MORE_ERROR_ARGUMENT);
    config = sequence_config(2, 8, 128, NN_F16);
    config.window = -1;
    assert_int_equal(nn_cache_create(b.nn, &config, &cache, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(nn_cache_bytes(&config, 1), INT64_MAX);
    nn_cache_destroy(NULL);
    bench_close(&b);
}

/* ---- Windows ---------------------------------------------------------------------------------------------------- */

/* Three layers of which the first and last have a window. */
static void window_make(sequence *s, int64_t window, int64_t total)
{
    *s = (sequence){.config = sequence_config(3, 1, 16, NN_F32), .heads = 2, .total = total, .scale = 0.2f};
    s->windowed[0] = s->windowed[2] = true;
    s->config.windowed = s->windowed;
    s->config.window = window;
    sequence_make(s);
}

/* A cache of the first `length` rows, appended `chunk` at a time. */
static nn_cache *cache_of(const bench *b, const sequence *s, int64_t length, int64_t chunk)
{
    more_error error;
    nn_cache *cache;
    assert_int_equal(nn_cache_create(b->nn, &s->config, &cache, &error), MORE_OK);
    for (int64_t done = 0, rows; done < length; done += rows) {
        rows = chunk < length - done ? chunk : length - done;
        append(s, cache, done, rows);
        nn_cache_commit(cache, rows);
    }
    return cache;
}

/* Pages of rows that let go of what no window reaches: never more than nn_cache_bytes says, and about the window. */
static void test_window_pages(void **state)
{
    (void)state;
    static const int64_t windows[] = {1, 2, 31, 32, 33, 34, 63, 64, 65, 100};
    bench b = bench_open("baseline", 1);
    for (int i = 0; i < 10; i++) {
        sequence s;
        window_make(&s, windows[i], 400);
        nn_cache_config whole = s.config, windowed = s.config;
        whole.layers = 1;
        whole.window = 0;
        windowed.layers = 2;
        windowed.windowed = NULL;
        int64_t live = test_host_live(b.host), most = 0, page = nn_cache_bytes(&windowed, 1);
        nn_cache *cache = cache_of(&b, &s, 0, 1);
        for (int64_t n = 1; n <= 400; n++) {
            append(&s, cache, n - 1, 1);
            int64_t at_work = test_host_live(b.host) - live;
            nn_cache_commit(cache, 1);
            int64_t pages = test_host_live(b.host) - live - (n + 31) / 32; /* less those of the whole layer */
            assert_true(pages * page <= nn_cache_bytes(&windowed, n));
            assert_true((at_work - (n + 31) / 32) * page <= nn_cache_bytes_at_work(&windowed, 0, n, 1));
            assert_true(32 * pages >= (n < windows[i] ? n : windows[i]));
            assert_int_equal(nn_cache_bytes(&s.config, n), nn_cache_bytes(&whole, n) + nn_cache_bytes(&windowed, n));
            most = pages > most ? pages : most;
        }
        assert_int_equal(most * page, nn_cache_bytes(&windowed, 400));
        assert_true(32 * most < windows[i] + 4 * 32);
        nn_cache_destroy(cache);
        assert_int_equal(test_host_live(b.host), live);
        sequence_free(&s);
    }
    bench_close(&b);
}

/* Chunks far beyond the window and single rows give the same bits in every layer, and the reference's values. */
static void window_edges(bench *b)
{
    static const struct {
        int64_t window, chunk;
    } cases[] = {{1, 7}, {5, 300}, {33, 1}, {40, 150}, {64, 32}, {100, 33}, {140, 131}};
    for (int i = 0; i < 7; i++) {
        sequence s;
        window_make(&s, cases[i].window, 300);
        for (int64_t layer = 0; layer < 3; layer++) {
            int64_t width = s.heads * s.config.head_dimension;
            nn_cache *whole = cache_of(b, &s, 0, 1), *cut = cache_of(b, &s, 0, 1);
            float *y = guarded(s.total * width);
            append(&s, whole, 0, s.total);
            attend(b, &s, whole, layer, 0, s.total, s.y);
            check_sequence(&s, layer);
            for (int64_t done = 0, rows; done < s.total; done += rows) {
                rows = cases[i].chunk < s.total - done ? cases[i].chunk : s.total - done;
                append(&s, cut, done, rows);
                attend(b, &s, cut, layer, done, rows, y + done * width);
                nn_cache_commit(cut, rows);
            }
            assert_memory_equal(y, s.y, (size_t)(s.total * width) * sizeof(float));
            check_guards(y, s.total * width);
            nn_cache_destroy(whole);
            nn_cache_destroy(cut);
        }
        sequence_free(&s);
    }
}

static void test_window_edges(void **state)
{
    (void)state;
    for_each_variant(window_edges);
}

/* Down to the floor a cache can be cut and goes on as one that never was longer; below it nothing happens. */
static void test_window_floor(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 1);
    sequence s;
    float expected[32], got[32];
    window_make(&s, 40, 300);
    for (int64_t n = 1; n < 299; n += 13) {
        for (int64_t chunk = 1; chunk <= 101; chunk += 50) {
            nn_cache *cache = cache_of(&b, &s, n, chunk), *alone;
            int64_t floor = nn_cache_floor(cache);
            assert_true(floor == 0 || floor <= n - NN_PAGE);
            assert_true(n < 40 + NN_PAGE ? floor == 0 : floor > n - 3 * NN_PAGE);
            nn_cache_truncate(cache, floor - 1);
            assert_int_equal(nn_cache_length(cache), n);
            nn_cache_truncate(cache, floor);
            assert_int_equal(nn_cache_length(cache), floor);
            assert_int_equal(nn_cache_floor(cache), floor);
            alone = cache_of(&b, &s, floor, 7);
            for (int64_t layer = 0; layer < 3; layer++) {
                append(&s, cache, floor, 1);
                attend(&b, &s, cache, layer, floor, 1, got);
                append(&s, alone, floor, 1);
                attend(&b, &s, alone, layer, floor, 1, expected);
                assert_memory_equal(expected, got, sizeof got);
            }
            nn_cache_destroy(cache);
            nn_cache_destroy(alone);
        }
    }
    sequence_free(&s);
    bench_close(&b);
}

/* A fork keeps the window of its origin, whatever the origin lets go of afterwards; memory running out changes nothing.
 */
static void test_window_forks(void **state)
{
    (void)state;
    more_error error;
    bench b = bench_open("baseline", 1);
    sequence s;
    float expected[32], got[32];
    window_make(&s, 50, 400);
    for (int64_t n = 40; n < 200; n += 39) {
        nn_cache *cache = cache_of(&b, &s, n, 20), *alone = cache_of(&b, &s, n, n), *fork;
        int64_t live = test_host_live(b.host);
        assert_int_equal(nn_cache_fork(cache, &fork, &error), MORE_OK);
        assert_int_equal(test_host_live(b.host), live); /* pages are shared */
        for (int64_t left = 0; left < 2; left++) {
            test_host_memory_left(b.host, left);
            assert_int_equal(nn_cache_reserve(fork, 70, &error), MORE_ERROR_MEMORY);
            test_host_memory_left(b.host, -1);
            assert_int_equal(test_host_live(b.host), live);
        }
        append(&s, cache, 200, 150);
        nn_cache_commit(cache, 150);
        assert_int_equal(nn_cache_length(fork), n);
        for (int64_t layer = 0; layer < 3; layer++) {
            append(&s, fork, n, 1);
            attend(&b, &s, fork, layer, n, 1, got);
            append(&s, alone, n, 1);
            attend(&b, &s, alone, layer, n, 1, expected);
            assert_memory_equal(expected, got, sizeof got);
        }
        nn_cache_destroy(cache);
        nn_cache_commit(fork, 1);
        append(&s, fork, n + 1, 1);
        nn_cache_destroy(fork);
        nn_cache_destroy(alone);
    }
    sequence_free(&s);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_and_truncate),      cmocka_unit_test(test_forks_in_threads),
        cmocka_unit_test(test_reserve_without_memory), cmocka_unit_test(test_cache_sizes),
        cmocka_unit_test(test_window_pages),           cmocka_unit_test(test_window_edges),
        cmocka_unit_test(test_window_floor),           cmocka_unit_test(test_window_forks),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
