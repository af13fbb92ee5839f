/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of cache and attention against the operators of the host: what is f32 throughout within 2e-6 of a row's
 * largest magnitude, 16-bit products within what rounding allows (see bound_of).
 */
#include "../unit/nn/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/kernels.h"
#include "half.h"
#include "harness.h"

static bench host;

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static float rounded(nn_storage storage, float value)
{
    return as_stored(dtype_at(storage), value);
}

static void round_all(nn_storage storage, float *values, int64_t count, float factor)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = rounded(storage, values[i] * factor);
}

/* `rows` rows of `width` numbers, the rest of each row NaN: not to be read. */
static float *random_rows(int64_t rows, int64_t width, int64_t stride, float magnitude)
{
    float *values = guarded_random(rows * stride, magnitude);
    for (int64_t i = 0; i < rows * stride; i++)
        if (i % stride >= width)
            values[i] = NAN;
    return values;
}

/* f32 throughout: 2e-6 of the result's largest, or of what an average of so many values is like. Else: rounding a
 * weight is off by at most half a unit in the last place of it, or where it is small by 2^-25 in f16, so that a result
 * of `keys` values of at most `largest` is off by the first relative to the sum of weights, and the second of each
 * beside a largest weight of 1; f32 as in the exact path. */
static double bound_of(nn_storage storage, bool exact, double result, double largest, int64_t keys)
{
    if (exact || storage == NN_F32)
        return 2e-6 * fmax(result, largest / sqrt((double)most(keys, 1)));
    return 3e-6 * largest + (storage == NN_F16 ? 0x1p-11 + 0x1p-25 * (double)keys : 0x1p-8) * largest;
}

/* Heads of a row each by themselves. */
static void check_heads(const char *what, const float *got, const float *expected, int64_t heads, int64_t dimension,
                        nn_storage storage, bool exact, double largest, int64_t keys)
{
    for (int64_t i = 0; i < heads; i++) {
        const float *row = expected + i * dimension;
        double result = 0.0;
        for (int64_t c = 0; c < dimension; c++)
            result = fmax(result, fabs((double)row[c]));
        for (int64_t c = 0; c < dimension; c++)
            check_close(what, i, c, (double)got[i * dimension + c], (double)row[c],
                        bound_of(storage, exact, result, largest, keys));
    }
}

/* ---- A cache on the device -------------------------------------------------------------------------------------- */

enum { LAYERS = 3, LAYER = 1, MOST_PAGES = 160 }; /* pages hold more than the layer that is looked at */

typedef struct device_cache {
    nn_cuda_cache cache;
    void *pages[MOST_PAGES], *table;
    size_t layer_bytes;
    int64_t count;
} device_cache;

static size_t element_bytes(nn_storage storage)
{
    return storage == NN_F32 ? 4 : 2;
}

/* Pages for positions first_page * NN_PAGE to `end`, all NaN. */
static device_cache device_cache_create(nn_storage storage, int64_t key_value_heads, int64_t dimension,
                                        int64_t first_page, int64_t end)
{
    device_cache d = {.cache = {.storage = storage, .key_value_heads = key_value_heads, .head_dimension = dimension}};
    d.layer_bytes = (size_t)(key_value_heads * 2 * NN_PAGE * dimension) * element_bytes(storage);
    d.count = (end + NN_PAGE - 1) / NN_PAGE - first_page;
    assert_in_range(d.count, 0, MOST_PAGES);
    for (int64_t i = 0; i < d.count; i++)
        d.pages[i] = harness_alloc(LAYERS * d.layer_bytes);
    d.table = harness_upload(d.pages, (size_t)d.count * sizeof *d.pages);
    d.cache.pages = d.table;
    d.cache.first_page = first_page;
    d.cache.page_offset = (int64_t)(LAYER * d.layer_bytes);
    return d;
}

static void device_cache_free(device_cache *d)
{
    for (int64_t i = 0; i < d->count; i++)
        harness_free(d->pages[i]);
    harness_free(d->table);
}

/* Rows [first, first + rows) of key and value, which lie `stride` apart. */
static void device_cache_write(device_cache *d, int64_t first, int64_t rows, const float *key, const float *value,
                               int64_t stride)
{
    size_t bytes = (size_t)(rows * stride) * sizeof(float);
    float *k = harness_upload(key + first * stride, bytes), *v = harness_upload(value + first * stride, bytes);
    d->cache.length = first;
    harness_check(nn_cuda_table()->cache_write(harness_stream(), &d->cache, rows, k, v, stride));
    harness_free(k);
    harness_free(v);
}

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

static bool is_stored(nn_storage storage, const char *at, int64_t index, float value)
{
    if (storage == NN_F32)
        return memcmp(at + index * 4, &value, 4) == 0;
    uint16_t expected = storage == NN_F16 ? nn_f32_to_f16(value) : nn_f32_to_bf16(value);
    return memcmp(at + index * 2, &expected, 2) == 0;
}

static void write_problem(nn_storage storage, int64_t length, int64_t rows, int64_t heads, int64_t d, int64_t extra)
{
    int64_t width = heads * d, stride = width + extra, end = length + rows;
    float *key = random_rows(most(end, 1), width, stride, 3.0f),
          *value = random_rows(most(end, 1), width, stride, 3.0f);
    device_cache cache = device_cache_create(storage, heads, d, length / NN_PAGE, end);
    device_cache_write(&cache, length, rows, key, value, stride);
    char *page = malloc(LAYERS * cache.layer_bytes), *untouched = malloc(cache.layer_bytes);
    memset(untouched, 0xff, cache.layer_bytes);
    for (int64_t p = 0; p < cache.count; p++) {
        harness_download(page, cache.pages[p], LAYERS * cache.layer_bytes);
        for (int64_t i = 0; i < width * NN_PAGE * 2; i++) {
            int64_t head = i / d / NN_PAGE / 2, row = (length / NN_PAGE + p) * NN_PAGE + i / d % NN_PAGE, c = i % d;
            const char *at = page + LAYER * cache.layer_bytes;
            const float *from = i / d / NN_PAGE % 2 ? value : key;
            if (row < length || row >= end)
                assert_memory_equal(at + (size_t)i * element_bytes(storage), untouched, element_bytes(storage));
            else
                assert_true(is_stored(storage, at, i, from[row * stride + head * d + c]));
        }
        for (size_t layer = 0; layer < LAYERS; layer++)
            if (layer != LAYER)
                assert_memory_equal(page + layer * cache.layer_bytes, untouched, cache.layer_bytes);
    }
    free(page);
    free(untouched);
    device_cache_free(&cache);
    check_guards(key, most(end, 1) * stride);
    check_guards(value, most(end, 1) * stride);
}

static void test_cache_write(void **state)
{
    (void)state;
    for (nn_storage storage = NN_F32; storage < NN_FLOATS; storage++) {
        write_problem(storage, 0, 0, 2, 64, 0);
        write_problem(storage, 0, 1, 1, 1, 0);
        write_problem(storage, 31, 35, 3, 7, 5);
        write_problem(storage, 40, 70, 2, 72, 4);
        write_problem(storage, 5, 3, 2, 257, 0);
        write_problem(storage, 64, 33, 1, 512, 1);
    }
}

/* ---- Causal ----------------------------------------------------------------------------------------------------- */

typedef struct causal_problem {
    int64_t rows, length, heads, key_value_heads, dimension;
    nn_storage storage;
    int64_t window;
    float softcap;
    bool exact;
    int64_t extra; /* floats between rows of queries, keys and values */
} causal_problem;

typedef struct causal_data {
    int64_t query_width, query_stride, width, stride, total, query_count, key_count;
    float *query, *key, *value, *expected, scale;
} causal_data;

/* Where products are of 16-bit numbers: more queries than blocks share a sequence for. */
static bool rounds_products(const causal_problem *p)
{
    return !p->exact && p->storage != NN_F32 && p->dimension % 8 == 0 && p->dimension <= 256 && p->rows > 1 &&
           p->rows * (p->heads / p->key_value_heads) > 32;
}

static causal_data causal_make(const causal_problem *p)
{
    causal_data c = {.query_width = p->heads * p->dimension, .width = p->key_value_heads * p->dimension};
    c.query_stride = c.query_width + p->extra;
    c.stride = c.width + p->extra;
    c.total = p->length + p->rows;
    c.query_count = most(p->rows, 1);
    c.key_count = most(c.total, 1);
    c.query = random_rows(c.query_count, c.query_width, c.query_stride, 2.0f);
    c.key = random_rows(c.key_count, c.width, c.stride, 2.0f);
    c.value = random_rows(c.key_count, c.width, c.stride, 2.0f);
    c.expected = guarded(c.query_count * c.query_width);
    c.scale = 1.0f / sqrtf((float)p->dimension);
    return c;
}

static void causal_free(causal_data *c)
{
    check_guards(c->query, c->query_count * c->query_stride);
    check_guards(c->key, c->key_count * c->stride);
    check_guards(c->value, c->key_count * c->stride);
    check_guards(c->expected, c->query_count * c->query_width);
}

static void host_append(nn_cache *cache, const causal_data *c, int64_t first, int64_t rows)
{
    more_error error;
    assert_int_equal(nn_cache_reserve(cache, rows, &error), MORE_OK);
    nn_cache_write(cache, 0, rows, c->key + first * c->stride, c->value + first * c->stride, c->stride);
}

/* By the host; of queries rounded as the kernel rounds them, which has them scaled. */
static void host_attend(const causal_problem *p, causal_data *c)
{
    more_error error;
    nn_cache *cache;
    nn_cache_config config = {.layers = 1, .key_value_heads = p->key_value_heads, .head_dimension = p->dimension};
    config.storage = p->storage;
    config.window = p->window;
    float *query = malloc((size_t)(c->query_count * c->query_stride) * sizeof(float));
    memcpy(query, c->query, (size_t)(c->query_count * c->query_stride) * sizeof(float));
    if (rounds_products(p))
        round_all(p->storage, query, c->query_count * c->query_stride, c->scale);
    assert_int_equal(nn_cache_create(host.nn, &config, &cache, &error), MORE_OK);
    host_append(cache, c, 0, p->length);
    nn_cache_commit(cache, p->length);
    host_append(cache, c, p->length, p->rows);
    nn_attention_args args = {.cache = cache, .query = query, .rows = p->rows, .heads = p->heads, .y = c->expected};
    args.stride = c->query_stride;
    args.scale = rounds_products(p) ? 1.0f : c->scale;
    args.softcap = p->softcap;
    nn_attention_causal(host.nn, &args);
    nn_cache_destroy(cache);
    free(query);
}

/* Queries [first, first + rows) of the problem, whose keys are in the cache. */
static void device_attend(const causal_problem *p, const causal_data *c, const device_cache *cache, int64_t first,
                          int64_t rows, float *y)
{
    size_t bytes = (size_t)(rows * c->query_width) * sizeof(float);
    nn_cuda_causal args = {.cache = cache->cache, .rows = rows, .stride = c->query_stride, .heads = p->heads};
    args.cache.length = p->length + first;
    args.scale = c->scale;
    args.softcap = p->softcap;
    args.window = p->window;
    args.exact = p->exact;
    float *query = harness_upload(c->query + first * c->query_stride,
                                  (size_t)(rows > 0 ? rows * c->query_stride - p->extra : 0) * sizeof(float));
    args.query = query;
    args.y = harness_alloc(bytes);
    args.workspace = harness_alloc(nn_cuda_table()->causal_workspace(&args));
    harness_check(nn_cuda_table()->attention_causal(harness_stream(), &args));
    harness_download(y, args.y, bytes);
    harness_free(query);
    harness_free(args.y);
    harness_free(args.workspace);
}

/* Pages that no query sees are not there. */
static device_cache fill_cache(const causal_problem *p, const causal_data *c)
{
    int64_t first_page = p->window > 0 ? most(p->length + 1 - p->window, 0) / NN_PAGE : 0, first = first_page * NN_PAGE;
    device_cache cache = device_cache_create(p->storage, p->key_value_heads, p->dimension, first_page, c->total);
    device_cache_write(&cache, first, c->total - first, c->key, c->value, c->stride);
    return cache;
}

static void causal(causal_problem p)
{
    causal_data c = causal_make(&p);
    device_cache cache = fill_cache(&p, &c);
    float *y = guarded(c.query_count * c.query_width);
    host_attend(&p, &c);
    device_attend(&p, &c, &cache, 0, p.rows, y);
    check_heads("attention_causal", y, c.expected, p.rows * p.heads, p.dimension, p.storage, !rounds_products(&p), 2.0,
                c.total);
    check_guards(y, c.query_count * c.query_width);
    device_cache_free(&cache);
    causal_free(&c);
}

/* Few queries: blocks share the sequence. */
static void test_decode(void **state)
{
    (void)state;
    for (nn_storage s = NN_F32; s < NN_FLOATS; s++) {
        causal((causal_problem){0, 0, 2, 1, 64, .storage = s});
        causal((causal_problem){1, 0, 1, 1, 1, .storage = s});
        causal((causal_problem){1, 31, 8, 8, 64, .storage = s});
        causal((causal_problem){1, 32, 8, 2, 128, .storage = s, .softcap = 5.0f});
        causal((causal_problem){1, 33, 6, 1, 72, .storage = s, .extra = 3});
        causal((causal_problem){1, 1000, 8, 2, 80, .storage = s});
        causal((causal_problem){1, 1000, 7, 1, 128, .storage = s, .window = 100});
        causal((causal_problem){1, 300, 2, 2, 256, .storage = s, .window = 129, .softcap = 2.0f});
        causal((causal_problem){1, 200, 2, 1, 512, .storage = s});
        causal((causal_problem){1, 130, 9, 1, 512, .storage = s, .extra = 1});
        causal((causal_problem){3, 100, 4, 2, 7, .storage = s});
        causal((causal_problem){5, 255, 12, 2, 64, .storage = s, .window = 33});
        causal((causal_problem){2, 1, 32, 4, 96, .storage = s});
        causal((causal_problem){1, 150, 40, 1, 40, .storage = s});
        causal((causal_problem){3, 400, 2, 1, 257, .storage = s, .window = 1});
        causal((causal_problem){1, 4500, 8, 2, 128, .storage = s});
    }
}

static void test_exact(void **state)
{
    (void)state;
    for (nn_storage s = NN_F32; s < NN_FLOATS; s++) {
        causal((causal_problem){37, 0, 2, 2, 64, .storage = s, .exact = true});
        causal((causal_problem){35, 31, 8, 2, 72, .storage = s, .exact = true, .softcap = 5.0f});
        causal((causal_problem){67, 190, 6, 1, 80, .storage = s, .exact = true, .window = 50, .extra = 2});
        causal((causal_problem){33, 1, 2, 1, 128, .storage = s, .exact = true});
        causal((causal_problem){40, 60, 1, 1, 256, .storage = s, .exact = true});
        causal((causal_problem){33, 33, 1, 1, 512, .storage = s, .exact = true, .window = 20});
        causal((causal_problem){50, 32, 4, 2, 7, .storage = s});
        causal((causal_problem){50, 0, 1, 1, 1, .storage = s});
        causal((causal_problem){34, 10, 1, 1, 257, .storage = s, .softcap = 3.0f});
    }
}

static void test_prefill(void **state)
{
    (void)state;
    for (nn_storage s = NN_F16; s < NN_FLOATS; s++) {
        causal((causal_problem){67, 0, 2, 2, 64, .storage = s});
        causal((causal_problem){33, 1000, 2, 1, 64, .storage = s, .extra = 1});
        causal((causal_problem){97, 31, 8, 2, 72, .storage = s, .softcap = 5.0f});
        causal((causal_problem){53, 300, 6, 1, 80, .storage = s, .window = 100, .extra = 4});
        causal((causal_problem){37, 32, 4, 2, 96, .storage = s, .window = 7});
        causal((causal_problem){131, 33, 2, 1, 128, .storage = s});
        causal((causal_problem){41, 500, 2, 2, 128, .storage = s, .window = 333, .softcap = 20.0f});
        causal((causal_problem){70, 60, 2, 2, 256, .storage = s, .window = 40});
        causal((causal_problem){64, 1, 1, 1, 136, .storage = s});
        causal((causal_problem){40, 3, 1, 1, 8, .storage = s});
        causal((causal_problem){130, 300, 4, 1, 128, .storage = s});
    }
}

static void test_causal_random(void **state)
{
    static const int64_t dimensions[] = {1, 7, 16, 36, 64, 72, 80, 96, 128, 160, 256, 260};
    (void)state;
    for (int i = 0; i < 25; i++) {
        causal_problem p = {.rows = random_int(1, 90), .length = random_int(0, 400)};
        p.key_value_heads = random_int(1, 3);
        p.heads = p.key_value_heads * random_int(1, 7);
        p.dimension = dimensions[random_int(0, 11)];
        p.storage = (nn_storage)random_int(NN_F32, NN_BF16);
        p.window = random_int(0, 1) ? random_int(1, 300) : 0;
        p.softcap = random_int(0, 2) ? 0.0f : 4.0f;
        p.exact = random_int(0, 3) == 0;
        p.extra = random_int(0, 1) ? random_int(1, 8) : 0;
        causal(p);
    }
}

/* A row's bits are the same alone and among others, however many parts a call has. */
static void decode_alone(causal_problem p)
{
    causal_data c = causal_make(&p);
    device_cache cache = fill_cache(&p, &c);
    float *all = guarded(p.rows * c.query_width), *one = guarded(c.query_width);
    device_attend(&p, &c, &cache, 0, p.rows, all);
    for (int64_t row = 0; row < p.rows; row++) {
        device_attend(&p, &c, &cache, row, 1, one);
        assert_memory_equal(one, all + row * c.query_width, (size_t)c.query_width * sizeof(float));
    }
    check_guards(all, p.rows * c.query_width);
    check_guards(one, c.query_width);
    device_cache_free(&cache);
    causal_free(&c);
}

static void test_decode_alone(void **state)
{
    (void)state;
    decode_alone((causal_problem){7, 125, 2, 2, 64, .storage = NN_F16});
    decode_alone((causal_problem){3, 510, 8, 2, 128, .storage = NN_BF16, .window = 256, .softcap = 4.0f});
    decode_alone((causal_problem){5, 30, 4, 4, 20, .storage = NN_F32, .window = 32});
}

/* ---- Bidirectional ---------------------------------------------------------------------------------------------- */

typedef struct full_problem {
    int64_t batch, rows, heads, dimension;
    nn_storage storage;
    bool exact, ragged, fused;
    int64_t extra;
} full_problem;

static float *uploaded(const float *values, int64_t count)
{
    return harness_upload(values, (size_t)count * sizeof(float));
}

static void device_full(const full_problem *p, const float *const q_k_v[3], int64_t stride, int64_t count,
                        const int64_t *counts, float scale, float *y)
{
    int64_t width = p->heads * p->dimension, results = p->batch * p->rows * width;
    nn_cuda_full args = {.stride = stride, .batch = p->batch, .rows = p->rows, .heads = p->heads};
    float *query = uploaded(q_k_v[0], count), *key = p->fused ? NULL : uploaded(q_k_v[1], count);
    float *value = p->fused ? NULL : uploaded(q_k_v[2], count);
    int64_t *device_counts = p->ragged ? harness_upload(counts, (size_t)p->batch * sizeof *counts) : NULL;
    args.query = query;
    args.key = p->fused ? query + width : key;
    args.value = p->fused ? query + 2 * width : value;
    args.counts = device_counts;
    args.head_dimension = p->dimension;
    args.scale = scale;
    args.exact = p->exact;
    args.storage = p->storage;
    args.y = harness_alloc((size_t)results * sizeof(float));
    harness_check(nn_cuda_table()->attention_full(harness_stream(), &args));
    harness_download(y, args.y, (size_t)results * sizeof(float));
    harness_free(query);
    harness_free(args.y);
    if (!p->fused) {
        harness_free(key);
        harness_free(value);
    }
    if (p->ragged)
        harness_free(device_counts);
}

static void full(full_problem p)
{
    int64_t width = p.heads * p.dimension, stride = (p.fused ? 3 : 1) * width + p.extra, tensors = p.fused ? 1 : 3;
    int64_t images = p.batch * p.rows, counts[4] = {p.rows, p.rows / 2 + 1, 0, p.rows + 5};
    float *memory[3] = {NULL}, *y = guarded(most(images, 1) * width), *expected = guarded(most(images, 1) * width);
    const float *q_k_v[3];
    float scale = 1.0f / sqrtf((float)p.dimension);
    bool rounds = !p.exact && p.dimension <= 128;
    for (int64_t i = 0; i < tensors; i++)
        memory[i] = random_rows(most(images, 1), stride - p.extra, stride, 2.0f);
    for (int64_t i = 0; i < 3; i++)
        q_k_v[i] = p.fused ? memory[0] + i * width : memory[i];
    device_full(&p, q_k_v, stride, images * stride, p.ragged ? counts : NULL, scale, y);
    if (rounds) {
        for (int64_t i = 0; i < images * stride; i++)
            memory[0][i] *= i % stride < width ? scale : 1.0f;
        for (int64_t i = 0; i < tensors; i++)
            round_all(p.storage, memory[i], images * stride, 1.0f);
    }
    nn_attention_full(host.nn, q_k_v[0], q_k_v[1], q_k_v[2], stride, p.batch, p.rows, p.ragged ? counts : NULL, p.heads,
                      p.dimension, rounds ? 1.0f : scale, expected);
    check_heads("attention_full", y, expected, images * p.heads, p.dimension, p.storage, !rounds, 2.0, p.rows);
    check_guards(y, most(images, 1) * width);
    check_guards(expected, most(images, 1) * width);
    for (int64_t i = 0; i < tensors; i++)
        check_guards(memory[i], most(images, 1) * stride);
}

static void test_full_exact(void **state)
{
    (void)state;
    full((full_problem){2, 0, 1, 64, .storage = NN_F16, .exact = true});
    full((full_problem){1, 1, 1, 1, .storage = NN_F16, .exact = true});
    full((full_problem){4, 33, 2, 64, .storage = NN_BF16, .exact = true, .ragged = true});
    full((full_problem){1, 131, 2, 72, .storage = NN_F16, .exact = true, .fused = true});
    full((full_problem){2, 65, 1, 80, .storage = NN_F16, .exact = true, .fused = true, .extra = 1});
    full((full_problem){1, 47, 1, 7, .storage = NN_F16, .exact = true, .extra = 1});
    full((full_problem){1, 40, 1, 256, .storage = NN_BF16});
    full((full_problem){1, 35, 1, 512, .storage = NN_BF16, .extra = 1});
}

static void test_full_rounded(void **state)
{
    (void)state;
    for (nn_storage s = NN_F16; s < NN_FLOATS; s++) {
        full((full_problem){2, 0, 1, 64, .storage = s});
        full((full_problem){1, 1, 2, 64, .storage = s});
        full((full_problem){4, 67, 2, 64, .storage = s, .ragged = true});
        full((full_problem){1, 257, 1, 72, .storage = s, .fused = true});
        full((full_problem){1, 65, 2, 80, .storage = s, .fused = true, .extra = 1});
        full((full_problem){2, 130, 1, 128, .storage = s, .extra = 4});
        full((full_problem){3, 31, 2, 7, .storage = s, .ragged = true});
        full((full_problem){1, 129, 1, 88, .storage = s});
        full((full_problem){1, 577, 1, 64, .storage = s, .fused = true});
        full((full_problem){1, 401, 1, 72, .storage = s, .fused = true});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_write), cmocka_unit_test(test_decode),       cmocka_unit_test(test_decode_alone),
        cmocka_unit_test(test_exact),       cmocka_unit_test(test_prefill),      cmocka_unit_test(test_causal_random),
        cmocka_unit_test(test_full_exact),  cmocka_unit_test(test_full_rounded),
    };
    harness_open();
    seed_random();
    host = bench_open("baseline", 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bench_close(&host);
    harness_close();
    return failed;
}
