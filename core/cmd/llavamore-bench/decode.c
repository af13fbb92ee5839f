/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench decode: one token at a time through layers of an 8B model's shapes (width 4096, 32/8 heads), whose
 * weights are read once a token, against the rate at which memory can be read at all, or a device copies its own.
 */
#include "bench.h"

enum {
    LAYERS = 3, /* of 16-bit weights: 1.2 GiB, far more than any cache; of 4 bits 0.35 GiB */
    KINDS = 4,
    WIDTH = 4096,
    HEADS = 32,
    KEY_VALUE_HEADS = 8,
    HEAD_DIMENSION = 128,
    INNER = 14336,
    CONTEXT = 512 /* rows in the cache, as after a picture and a question */
};

static const int64_t shapes[KINDS][2] = {
    {(HEADS + 2 * KEY_VALUE_HEADS) * HEAD_DIMENSION, WIDTH}, /* query, key, value */
    {WIDTH, HEADS *HEAD_DIMENSION},
    {2 * INNER, WIDTH}, /* gate, up */
    {WIDTH, INNER},
};

typedef struct decoder {
    bench *b;
    nn_matrix *weights[LAYERS][KINDS];
    int64_t bytes; /* of all weights */
    nn_cache *cache;
    float *x, *inner, *norm, *frequencies;
    int64_t *position; /* as frequencies, where operators work */
} decoder;

static void decoder_free(decoder *d)
{
    for (int layer = 0; layer < LAYERS; layer++)
        for (int kind = 0; kind < KINDS; kind++)
            nn_matrix_free(d->b->nn, d->weights[layer][kind]);
    nn_cache_destroy(d->cache);
    nn_free(d->b->nn, d->x);
    nn_free(d->b->nn, d->inner);
    nn_free(d->b->nn, d->norm);
    nn_free(d->b->nn, d->frequencies);
    nn_free(d->b->nn, d->position);
}

/* A cache of CONTEXT rows, in two steps so that no buffer is longer than it must be. */
static more_status fill_cache(decoder *d, more_error *error)
{
    nn_cache_config config = {
        .layers = LAYERS, .key_value_heads = KEY_VALUE_HEADS, .head_dimension = HEAD_DIMENSION, .storage = NN_F32};
    more_status status = nn_cache_create(d->b->nn, &config, &d->cache, error);
    if (!status)
        status = nn_cache_reserve(d->cache, CONTEXT + 1, error);
    if (status)
        return status;
    int64_t width = KEY_VALUE_HEADS * HEAD_DIMENSION;
    float *rows = bench_values(d->b, 2 * CONTEXT * width);
    if (!rows)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %d rows of the cache", CONTEXT);
    for (int64_t layer = 0; layer < LAYERS; layer++)
        nn_cache_write(d->cache, layer, CONTEXT, rows, rows + CONTEXT * width, 0);
    nn_cache_commit(d->cache, CONTEXT);
    nn_free(d->b->nn, rows);
    return MORE_OK;
}

static more_status place_rotary(decoder *d, more_error *error)
{
    nn_context *nn = d->b->nn;
    float frequencies[HEAD_DIMENSION / 2];
    const int64_t position = CONTEXT;
    nn_rotary_frequencies(500000.0, HEAD_DIMENSION, frequencies);
    d->frequencies = nn_alloc_f32(nn, HEAD_DIMENSION / 2);
    d->position = (int64_t *)(void *)nn_alloc_f32(nn, sizeof position / sizeof(float));
    if (!d->frequencies || !d->position)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a rotary embedding");
    nn_copy(nn, d->frequencies, frequencies, sizeof frequencies);
    nn_copy(nn, d->position, &position, sizeof position);
    return MORE_OK;
}

static more_status decoder_make(decoder *d, more_error *error)
{
    bench *b = d->b;
    more_status status = MORE_OK;
    for (int layer = 0; layer < LAYERS; layer++)
        for (int kind = 0; kind < KINDS && !status; kind++) {
            int64_t rows = shapes[kind][0], columns = shapes[kind][1];
            status = bench_matrix(b, rows, columns, b->options->weights, &d->weights[layer][kind], error);
            d->bytes += nn_matrix_bytes(rows, columns, b->options->weights);
        }
    if (!status)
        status = fill_cache(d, error);
    d->x = bench_values(b, INNER);
    d->inner = bench_values(b, 3 * INNER);
    d->norm = bench_values(b, WIDTH);
    if (!status)
        status = place_rotary(d, error);
    if (!status && (!d->x || !d->inner || !d->norm))
        status = more_fail(error, MORE_ERROR_MEMORY, "no memory for the activations of a token");
    return status;
}

/* The products alone: one row through each matrix. */
static void run_products(void *argument)
{
    decoder *d = argument;
    for (int layer = 0; layer < LAYERS; layer++)
        for (int kind = 0; kind < KINDS; kind++) {
            nn_linear_args args = {.x = d->x, .rows = 1, .weight = d->weights[layer][kind], .y = d->inner};
            nn_linear(d->b->nn, &args);
        }
}

static void run_attention(decoder *d, int64_t layer, float *normed, float *qkv)
{
    nn_context *nn = d->b->nn;
    const int64_t queries = HEADS * HEAD_DIMENSION, keys = KEY_VALUE_HEADS * HEAD_DIMENSION;
    nn_rms_norm(nn, d->x, 1, WIDTH, d->norm, 0.0f, 1e-5f, normed);
    nn_linear(nn, &(nn_linear_args){.x = normed, .rows = 1, .weight = d->weights[layer][0], .y = qkv});
    nn_rotary(nn, qkv, 1, 0, HEADS + KEY_VALUE_HEADS, HEAD_DIMENSION, HEAD_DIMENSION, d->frequencies, d->position,
              1.0f);
    nn_cache_write(d->cache, layer, 1, qkv + queries, qkv + queries + keys, 0);
    nn_attention_causal(nn, &(nn_attention_args){.cache = d->cache,
                                                 .layer = layer,
                                                 .query = qkv,
                                                 .rows = 1,
                                                 .heads = HEADS,
                                                 .scale = 0.08838835f,
                                                 .y = normed});
    nn_linear(nn,
              &(nn_linear_args){.x = normed, .rows = 1, .weight = d->weights[layer][1], .residual = d->x, .y = d->x});
}

/* Whole layers: norms, rotary, cache, attention over CONTEXT rows, gated unit. */
static void run_layers(void *argument)
{
    decoder *d = argument;
    nn_context *nn = d->b->nn;
    float *normed = d->inner, *wide = d->inner + WIDTH;
    for (int64_t layer = 0; layer < LAYERS; layer++) {
        run_attention(d, layer, normed, wide);
        nn_rms_norm(nn, d->x, 1, WIDTH, d->norm, 0.0f, 1e-5f, normed);
        nn_linear(nn, &(nn_linear_args){.x = normed, .rows = 1, .weight = d->weights[layer][2], .y = wide});
        nn_glu(nn, NN_SILU, wide, 1, INNER, wide);
        nn_linear(nn,
                  &(nn_linear_args){.x = wide, .rows = 1, .weight = d->weights[layer][3], .residual = d->x, .y = d->x});
    }
}

/* Once a round; on a device, where once is too short to be timed, for some milliseconds. */
static more_status measure(decoder *d, const char *name, void (*body)(void *argument), more_error *error)
{
    bench *b = d->b;
    bench_row row = {
        .name = name, .unit = "GB/s", .bytes = (double)d->bytes, .unmeasured = bench_device_unmeasured(b->device)};
    double rate, seconds = b->device ? 0.02 : 0.0;
    more_status status = MORE_OK;
    bench_row_limit(&row, b->device ? BENCH_COPY : BENCH_READ, NN_PEAK_F32);
    if (bench_wanted(b, name))
        status = bench_rate(b, body, d, row.bytes, 0.0, &rate, error);
    for (int64_t round = 0; round < b->options->rounds && !status && bench_wanted(b, name); round++) {
        double limit = 0.0;
        status = bench_row_look(b, &row, &limit, error);
        if (!status)
            status = bench_rate(b, body, d, row.bytes, seconds, &rate, error);
        if (!status)
            status = bench_row_look(b, &row, &limit, error);
        if (!status)
            bench_row_add(&row, 1e-9 * rate, &limit, &rate);
    }
    return status ? status : bench_row_done(b, &row, error);
}

more_status bench_decode(bench *b, more_error *error)
{
    decoder d = {.b = b};
    bench_note_kernels(b, nn_storage_name(b->options->weights));
    more_status status = bench_limits_prepare(b, b->device, error);
    if (!status)
        status = decoder_make(&d, error);
    if (!status)
        status = measure(&d, "8B decoder products, batch 1", run_products, error);
    if (!status)
        status = measure(&d, "8B decoder layers, 512 rows cached", run_layers, error);
    decoder_free(&d);
    return status;
}
