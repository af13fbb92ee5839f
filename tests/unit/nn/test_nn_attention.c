/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention: against double precision in every kernel variant, and the independence of a row from how its sequence was
 * cut into calls.
 */
#include "sequence.h"

#include <math.h>
#include <string.h>

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

/* Whole, in random chunks and row by row: all equal to the reference and, bit by bit, to each other. */
static void causal(bench *b)
{
    more_error error;
    for (int i = 0; i < 8; i++) {
        sequence s;
        sequence_random(&s, i < 6 ? 150 : 330);
        int64_t width = s.heads * s.config.head_dimension, layer = random_int(0, s.config.layers - 1);
        float *y = guarded(s.total * width);
        nn_cache *whole, *cut;
        assert_int_equal(nn_cache_create(b->nn, &s.config, &whole, &error), MORE_OK);
        assert_int_equal(nn_cache_create(b->nn, &s.config, &cut, &error), MORE_OK);
        append(&s, whole, 0, s.total);
        attend(b, &s, whole, layer, 0, s.total, s.y);
        check_sequence(&s, layer);
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
    sequence s = {.config = sequence_config(1, 1, 20, NN_F32), .heads = 500, .total = 3, .scale = 0.3f};
    nn_cache *cache;
    sequence_make(&s);
    assert_int_equal(nn_cache_create(b->nn, &s.config, &cache, &error), MORE_OK);
    append(&s, cache, 0, s.total);
    attend(b, &s, cache, 0, 0, s.total, s.y);
    check_sequence(&s, 0);
    nn_cache_destroy(cache);
    sequence_free(&s);
}

static void test_attention_many_heads(void **state)
{
    (void)state;
    for_each_variant(many_heads);
}

/* ---- Rounded caches --------------------------------------------------------------------------------------------- */

/* RMS of what a cache of another storage changes in the result, relative to the result of a f32 cache. */
static double rounding(bench *b, sequence *s, nn_storage storage, const float *exact)
{
    more_error error;
    nn_cache *cache;
    int64_t count = s->total * s->heads * s->config.head_dimension;
    double difference = 0.0, size = 0.0;
    s->config.storage = storage;
    assert_int_equal(nn_cache_create(b->nn, &s->config, &cache, &error), MORE_OK);
    append(s, cache, 0, s->total);
    attend(b, s, cache, 0, 0, s->total, s->y);
    nn_cache_destroy(cache);
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)s->y[i] - (double)exact[i]) * ((double)s->y[i] - (double)exact[i]);
        size += (double)exact[i] * (double)exact[i];
    }
    return sqrt(difference / size);
}

/* Rounding to nearest in steps of `step` of a number's size (f16 2^-10, bf16 2^-7, at most; q8 2/127 of the largest of
 * a block, here about twice the numbers' RMS) is off by step / sqrt(12) or less, once in the values and, where scores
 * are about 1, as much again in the weights. */
static void rounded_caches(bench *b)
{
    static const double bounds[] = {0.0, 4e-4, 3.2e-3, 8e-3};
    const int64_t d = 96;
    sequence s = {.config = sequence_config(1, 2, d, NN_F32), .heads = 6, .total = 300, .scale = 1.0f / sqrtf(96.0f)};
    float *exact = guarded(s.total * s.heads * d);
    sequence_make(&s);
    assert_true(rounding(b, &s, NN_F32, s.y) == 0.0);
    memcpy(exact, s.y, (size_t)(s.total * s.heads * d) * sizeof(float));
    for (nn_storage storage = NN_F16; storage <= NN_Q8; storage++) {
        double error = rounding(b, &s, storage, exact);
        if (!(error > bounds[storage] / 8 && error < bounds[storage]))
            fail_msg("a cache of %s changes the result by %.3g, not less than %.3g", nn_storage_name(storage), error,
                     bounds[storage]);
    }
    check_guards(exact, s.total * s.heads * d);
    sequence_free(&s);
}

static void test_attention_rounded_caches(void **state)
{
    (void)state;
    for_each_variant(rounded_caches);
}

/* A NaN among the values shows in the result of every row that sees it, however it is stored. */
static void nan_in_cache(bench *b)
{
    enum { HIT = 5 };
    for (nn_storage storage = NN_F32; storage <= NN_Q8; storage++) {
        more_error error;
        nn_cache *cache;
        sequence s = {.config = sequence_config(1, 1, 64, storage), .heads = 1, .total = 20, .scale = 0.125f};
        sequence_make(&s);
        s.value[HIT * 64 + 40] = NAN;
        assert_int_equal(nn_cache_create(b->nn, &s.config, &cache, &error), MORE_OK);
        append(&s, cache, 0, s.total);
        attend(b, &s, cache, 0, 0, s.total, s.y);
        nn_cache_destroy(cache);
        for (int64_t row = HIT; row < s.total; row++)
            assert_true(isnan(s.y[row * 64 + 40]));
        sequence_free(&s);
    }
}

static void test_attention_nan_in_cache(void **state)
{
    (void)state;
    for_each_variant(nan_in_cache);
}

/* A cache longer than several segments, in one piece, and for its last rows alone: by workers that share segments. */
static void segments(bench *b)
{
    more_error error;
    for (nn_storage storage = NN_F32; storage <= NN_Q8; storage++) {
        sequence s = {.config = sequence_config(1, 1, 40, storage), .heads = 3, .total = 690, .scale = 0.2f};
        int64_t width = s.heads * s.config.head_dimension, row = random_int(600, 689);
        nn_cache *cache;
        float *y = guarded(width);
        s.config.window = random_int(0, 1) ? random_int(100, 689) : 0;
        s.config.windowed = s.windowed;
        s.windowed[0] = true;
        sequence_make(&s);
        assert_int_equal(nn_cache_create(b->nn, &s.config, &cache, &error), MORE_OK);
        append(&s, cache, 0, s.total);
        attend(b, &s, cache, 0, 0, s.total, s.y);
        check_sequence(&s, 0);
        nn_cache_destroy(cache);
        assert_int_equal(nn_cache_create(b->nn, &s.config, &cache, &error), MORE_OK);
        append(&s, cache, 0, row);
        nn_cache_commit(cache, row);
        append(&s, cache, row, 1);
        attend(b, &s, cache, 0, row, 1, y);
        assert_memory_equal(y, s.y + row * width, (size_t)width * sizeof(float));
        check_guards(y, width);
        nn_cache_destroy(cache);
        sequence_free(&s);
    }
}

static void test_attention_segments(void **state)
{
    (void)state;
    for_each_variant(segments);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_full),         cmocka_unit_test(test_attention_causal),
        cmocka_unit_test(test_attention_many_heads),   cmocka_unit_test(test_attention_rounded_caches),
        cmocka_unit_test(test_attention_nan_in_cache), cmocka_unit_test(test_attention_segments),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
