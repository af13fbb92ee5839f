/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention and the key-value cache: against double precision in every kernel variant, the independence of a row from
 * how its sequence was cut into calls, and the cache's forks.
 */
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_KEYS = 700 };

/* Keys and values of one head, as the reference walks them. */
typedef struct head_view {
    const float *key, *value;
    int64_t stride, dimension;
} head_view;

/* Softmax of one query over keys [first, last) in double; also the largest magnitude of what was summed. */
static double attend_reference(const head_view *h, const float *query, int64_t first, int64_t last, double scale,
                               double softcap, double *result)
{
    double weights[MOST_KEYS], largest = -INFINITY, sum = 0.0, size = 0.0;
    for (int64_t k = first; k < last; k++) {
        double score = 0.0;
        for (int64_t i = 0; i < h->dimension; i++)
            score += (double)query[i] * (double)h->key[k * h->stride + i];
        score *= scale;
        if (softcap > 0.0)
            score = softcap * tanh(score / softcap);
        weights[k - first] = score;
        largest = fmax(largest, score);
    }
    for (int64_t k = first; k < last; k++)
        sum += weights[k - first] = exp(weights[k - first] - largest);
    for (int64_t i = 0; i < h->dimension; i++) {
        result[i] = 0.0;
        for (int64_t k = first; k < last; k++) {
            result[i] += weights[k - first] / sum * (double)h->value[k * h->stride + i];
            size = fmax(size, fabs((double)h->value[k * h->stride + i]));
        }
    }
    return size;
}

static int64_t random_dimension(void)
{
    static const int64_t dimensions[] = {1, 5, 12, 16, 20, 32, 64, 72, 80, 128, 256, 257, 512};
    return dimensions[random_int(0, 12)];
}

/* ---- Bidirectional ---------------------------------------------------------------------------------------------- */

static void full_problem(bench *b, int64_t rows)
{
    int64_t d = random_dimension(), heads = random_int(1, 3), batch = random_int(1, 3), width = heads * d;
    bool fused = random_int(0, 1), ragged = random_int(0, 1);
    int64_t stride = fused ? 3 * width + 7 : width, counts[3] = {rows, random_int(0, rows), random_int(0, rows)};
    float scale = 1.0f / sqrtf((float)d), *q = guarded_random(batch * rows * stride, 2.0f);
    float *k = fused ? q + width : guarded_random(batch * rows * stride, 2.0f);
    float *v = fused ? q + 2 * width : guarded_random(batch * rows * stride, 2.0f);
    float *y = guarded(batch * rows * width);
    nn_attention_full(b->nn, q, k, v, fused ? stride : 0, batch, rows, ragged ? counts : NULL, heads, d, scale, y);
    for (int64_t i = 0; i < batch * rows * heads; i++) {
        int64_t head = i % heads, row = i / heads, image = row / rows;
        head_view h = {k + image * rows * stride + head * d, v + image * rows * stride + head * d, stride, d};
        double expected[512];
        int64_t keys = ragged ? counts[image] : rows;
        double size = attend_reference(&h, q + row * stride + head * d, 0, keys, (double)scale, 0.0, expected);
        for (int64_t c = 0; c < d; c++)
            check_close("attention_full", row, head * d + c, (double)y[row * width + head * d + c], expected[c],
                        3e-6 * size + 1e-30);
    }
    check_guards(q, batch * rows * stride);
    check_guards(y, batch * rows * width);
    if (!fused) {
        check_guards(k, batch * rows * stride);
        check_guards(v, batch * rows * stride);
    }
}

static void full(bench *b)
{
    static const int64_t rows[] = {0, 1, 2, 15, 17, 33, 50, 127, 128, 129, 197, 310};
    for (int i = 0; i < 12; i++)
        full_problem(b, rows[i]);
}

static void test_attention_full(void **state)
{
    (void)state;
    for_each_variant(full);
}

/* ---- Causal ----------------------------------------------------------------------------------------------------- */

/* A sequence of `total` rows; keys and values hold what the cache's dtype keeps. */
typedef struct sequence {
    nn_cache_config config;
    int64_t heads, total;
    float *query, *key, *value, *y;
    float scale, softcap;
    int64_t window;
} sequence;

static void sequence_make(sequence *s)
{
    int64_t width = s->config.key_value_heads * s->config.head_dimension;
    s->query = guarded_random(s->total * s->heads * s->config.head_dimension, 2.0f);
    s->key = guarded_random(s->total * width, 2.0f);
    s->value = guarded_random(s->total * width, 2.0f);
    for (int64_t i = 0; i < s->total * width; i++) {
        s->key[i] = as_stored(s->config.dtype, s->key[i]);
        s->value[i] = as_stored(s->config.dtype, s->value[i]);
    }
    s->y = guarded(s->total * s->heads * s->config.head_dimension);
}

static void sequence_free(sequence *s)
{
    int64_t width = s->config.key_value_heads * s->config.head_dimension;
    check_guards(s->query, s->total * s->heads * s->config.head_dimension);
    check_guards(s->key, s->total * width);
    check_guards(s->value, s->total * width);
    check_guards(s->y, s->total * s->heads * s->config.head_dimension);
}

/* Appends rows [first, first + rows) to every layer; layer l's values are the rows' own times (l + 1). */
static void append(const sequence *s, nn_cache *cache, int64_t first, int64_t rows)
{
    more_error error;
    int64_t width = s->config.key_value_heads * s->config.head_dimension;
    assert_int_equal(nn_cache_reserve(cache, rows, &error), MORE_OK);
    for (int64_t layer = 0; layer < s->config.layers; layer++)
        nn_cache_write(cache, layer, rows, s->key + first * width, s->value + first * width, layer % 2 ? width : 0);
}

static void attend(bench *b, const sequence *s, const nn_cache *cache, int64_t layer, int64_t first, int64_t rows,
                   float *y)
{
    int64_t width = s->heads * s->config.head_dimension;
    nn_attention_args args = {.cache = cache, .layer = layer, .query = s->query + first * width, .rows = rows};
    args.heads = s->heads;
    args.scale = s->scale;
    args.softcap = s->softcap;
    args.window = s->window;
    args.y = y;
    nn_attention_causal(b->nn, &args);
}

static void check_sequence(const sequence *s)
{
    int64_t d = s->config.head_dimension, group = s->heads / s->config.key_value_heads;
    for (int64_t i = 0; i < s->total * s->heads; i++) {
        int64_t row = i / s->heads, head = i % s->heads;
        int64_t first = s->window > 0 && row + 1 > s->window ? row + 1 - s->window : 0;
        head_view h = {s->key + head / group * d, s->value + head / group * d, s->config.key_value_heads * d, d};
        double expected[512];
        double size =
            attend_reference(&h, s->query + i * d, first, row + 1, (double)s->scale, (double)s->softcap, expected);
        for (int64_t c = 0; c < d; c++)
            check_close("attention_causal", row, head * d + c, (double)s->y[i * d + c], expected[c],
                        3e-6 * size + 1e-30);
    }
}

static sequence random_sequence(int64_t most)
{
    sequence s = {.config = {.layers = random_int(1, 3), .key_value_heads = random_int(1, 3)}};
    s.config.head_dimension = random_dimension();
    s.config.dtype = dtype_at(random_int(0, 2));
    s.heads = s.config.key_value_heads * random_int(1, 5);
    s.total = random_int(1, most);
    s.scale = 1.0f / sqrtf((float)s.config.head_dimension);
    s.softcap = random_int(0, 1) ? 5.0f : 0.0f;
    s.window = random_int(0, 1) ? random_int(1, most) : 0;
    sequence_make(&s);
    return s;
}

/* Whole, in random chunks and row by row: all equal to the reference and, bit by bit, to each other. */
static void causal(bench *b)
{
    more_error error;
    for (int i = 0; i < 8; i++) {
        sequence s = random_sequence(i < 6 ? 150 : 330);
        int64_t width = s.heads * s.config.head_dimension, layer = random_int(0, s.config.layers - 1);
        float *y = guarded(s.total * width);
        nn_cache *whole, *cut;
        assert_int_equal(nn_cache_create(b->nn, &s.config, &whole, &error), MORE_OK);
        assert_int_equal(nn_cache_create(b->nn, &s.config, &cut, &error), MORE_OK);
        append(&s, whole, 0, s.total);
        attend(b, &s, whole, layer, 0, s.total, s.y);
        check_sequence(&s);
        for (int64_t done = 0, rows; done < s.total; done += rows) {
            rows = i % 2 ? random_int(1, 40) : random_int(1, 3);
            rows = rows < s.total - done ? rows : s.total - done;
            append(&s, cut, done, rows);
            attend(b, &s, cut, layer, done, rows, y + done * width);
            nn_cache_commit(cut, rows);
            assert_int_equal(nn_cache_length(cut), done + rows);
        }
        assert_memory_equal(y, s.y, (size_t)(s.total * width) * sizeof(float));
        check_guards(y, s.total * width);
        nn_cache_destroy(whole);
        nn_cache_destroy(cut);
        sequence_free(&s);
    }
}

static void test_attention_causal(void **state)
{
    (void)state;
    for_each_variant(causal);
}

/* More query heads on one key-value head than a worker's block holds. */
static void many_heads(bench *b)
{
    more_error error;
    sequence s = {.config = {1, 1, 20, more_f32()}, .heads = 500, .total = 3, .scale = 0.3f};
    nn_cache *cache;
    sequence_make(&s);
    assert_int_equal(nn_cache_create(b->nn, &s.config, &cache, &error), MORE_OK);
    append(&s, cache, 0, s.total);
    attend(b, &s, cache, 0, 0, s.total, s.y);
    check_sequence(&s);
    nn_cache_destroy(cache);
    sequence_free(&s);
}

static void test_attention_many_heads(void **state)
{
    (void)state;
    for_each_variant(many_heads);
}

/* ---- The cache -------------------------------------------------------------------------------------------------- */

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
    sequence s = {.config = {2, 2, 20, more_f16()}, .heads = 4, .total = 200, .scale = 0.2f};
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
    sequence s = {.config = {2, 2, 20, more_f32()}, .heads = 4, .total = 120, .scale = 0.2f};
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
    sequence s = {.config = {2, 1, 16, more_f32()}, .heads = 2, .total = 200, .scale = 0.2f};
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
    nn_cache_config config = {32, 8, 128, more_f16()};
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
    config = (nn_cache_config){INT64_MAX / 4, 8, 128, more_f16()};
    assert_int_equal(nn_cache_create(b.nn, &config, &cache, &error), MORE_ERROR_ARGUMENT);
    config = (nn_cache_config){2, 8, 128, more_i32()};
    assert_int_equal(nn_cache_create(b.nn, &config, &cache, &error), MORE_ERROR_ARGUMENT);
    nn_cache_destroy(NULL);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_full),       cmocka_unit_test(test_attention_causal),
        cmocka_unit_test(test_attention_many_heads), cmocka_unit_test(test_fork_and_truncate),
        cmocka_unit_test(test_forks_in_threads),     cmocka_unit_test(test_reserve_without_memory),
        cmocka_unit_test(test_cache_sizes),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
