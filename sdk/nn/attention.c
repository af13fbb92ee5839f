/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention without a matrix of scores: a worker takes a block of queries of one key-value head (all query heads that
 * share it) and goes through the keys NN_ATTENTION_BLOCK at a time, keeping for each query the largest score, the sum
 * of exponentials and the weighted sum of values so far (Milakov and Gimelshein, 2018; Dao et al., FlashAttention,
 * 2022). Blocks of keys begin at multiples of their size and keys outside a query's reach weigh exactly 0, so that the
 * result of a query depends neither on the others nor on how a sequence was cut into calls.
 */
#include <float.h>
#include <string.h>

#include "cache.h"

enum {
    UNITS = NN_ATTENTION_BLOCK / NN_PAGE, /* pages of a block of keys */
    MOST_QUERIES = 294                    /* of a worker's block; a multiple of 14, 6 and 3 */
};

/* Keys and values of one block: `units` pages of one head in the layout of cache.h. */
typedef struct key_block {
    nn_storage storage;
    const void *keys[UNITS], *values[UNITS];
    int64_t position; /* of the first key */
    int64_t count;    /* keys that exist */
} key_block;

/* A worker's block of queries, in scratch memory. */
typedef struct query_block {
    const nn_kernels *kernels;
    int64_t head_dimension;
    int64_t count, capacity;
    float *q;    /* [pieces of NN_K_BLOCK channels][capacity][NN_X_STRIDE] */
    float *sums; /* [capacity][sum_stride]: values weighted so far */
    int64_t sum_stride;
    float *scores; /* [tile_rows][NN_X_STRIDE] */
    float scale, softcap;
    nn_running running[MOST_QUERIES];
    int64_t first[MOST_QUERIES], last[MOST_QUERIES]; /* positions that the query sees: [first, last) */
} query_block;

/* How many queries fit into `floats` floats beside the scores of a tile. */
static int64_t query_capacity(const nn_kernels *kernels, int64_t head_dimension, int64_t floats)
{
    int64_t row =
        nn_ceil_divide(head_dimension, NN_K_BLOCK) * NN_X_STRIDE + nn_padded_dimension(head_dimension) + NN_PANEL;
    int64_t fit = (floats - kernels->tile_rows * NN_X_STRIDE) / row;
    return nn_min(fit, MOST_QUERIES) / kernels->tile_rows * kernels->tile_rows;
}

/* An empty block, laid out in `memory` of `floats` floats. */
static void query_block_init(query_block *block, const nn_kernels *kernels, int64_t head_dimension, float *memory,
                             int64_t floats)
{
    block->kernels = kernels;
    block->head_dimension = head_dimension;
    block->count = 0;
    block->capacity = query_capacity(kernels, head_dimension, floats);
    block->sum_stride = nn_padded_dimension(head_dimension) + NN_PANEL;
    block->scores = memory;
    block->sums = block->scores + kernels->tile_rows * NN_X_STRIDE;
    block->q = block->sums + block->capacity * block->sum_stride;
}

static void query_block_add(query_block *block, const float *query, int64_t first, int64_t last)
{
    int64_t i = block->count++;
    for (int64_t k = 0; k < block->head_dimension; k += NN_K_BLOCK)
        memcpy(block->q + (k / NN_K_BLOCK * block->capacity + i) * NN_X_STRIDE, query + k,
               (size_t)nn_min(NN_K_BLOCK, block->head_dimension - k) * sizeof(float));
    memset(block->sums + i * block->sum_stride, 0, (size_t)block->sum_stride * sizeof(float));
    block->running[i].maximum = -FLT_MAX; /* finite, so that a fully masked block leaves it alone */
    block->running[i].sum = 0.0f;
    block->first[i] = first;
    block->last[i] = last;
}

/* scores[row, key] = q[row] . key, for a tile of rows and all keys of the block. */
static void score_tile(query_block *block, const key_block *keys, int64_t start, int64_t rows)
{
    const nn_kernels *kernels = block->kernels;
    int64_t bytes = nn_storage_bytes(keys->storage);
    nn_tile tile = {.rows = rows, .panel_stride = block->head_dimension * NN_PANEL, .c_stride = NN_X_STRIDE};
    for (int64_t key = 0; key < keys->count; key += kernels->tile_panels * NN_PANEL) {
        int64_t unit = key / NN_PAGE, panel = key % NN_PAGE / NN_PANEL;
        tile.panels = nn_min(kernels->tile_panels, nn_ceil_divide(keys->count - key, NN_PANEL));
        tile.c = block->scores + key;
        for (int64_t k = 0; k < block->head_dimension; k += NN_K_BLOCK) {
            tile.depth = nn_min(NN_K_BLOCK, block->head_dimension - k);
            tile.x = block->q + (k / NN_K_BLOCK * block->capacity + start) * NN_X_STRIDE;
            tile.w = (const char *)keys->keys[unit] + (panel * block->head_dimension + k) * NN_PANEL * bytes;
            tile.accumulate = k > 0;
            kernels->tile[keys->storage](&tile);
        }
    }
}

/* sums[row] += weights[row] V, where the weights stand in the place of the scores. */
static void sum_tile(query_block *block, const key_block *keys, int64_t start, int64_t rows)
{
    const nn_kernels *kernels = block->kernels;
    int64_t panels = nn_padded_dimension(block->head_dimension) / NN_PANEL, bytes = nn_storage_bytes(keys->storage);
    nn_tile tile = {
        .rows = rows, .panel_stride = NN_PAGE * NN_PANEL, .c_stride = block->sum_stride, .accumulate = true};
    for (int64_t unit = 0; unit * NN_PAGE < keys->count; unit++) {
        tile.depth = nn_min(NN_PAGE, keys->count - unit * NN_PAGE);
        tile.x = block->scores + unit * NN_PAGE;
        for (int64_t p = 0; p < panels; p += kernels->tile_panels) {
            tile.panels = nn_min(kernels->tile_panels, panels - p);
            tile.w = (const char *)keys->values[unit] + p * tile.panel_stride * bytes;
            tile.c = block->sums + start * block->sum_stride + p * NN_PANEL;
            kernels->tile[keys->storage](&tile);
        }
    }
}

static bool tile_sees(const query_block *block, const key_block *keys, int64_t start, int64_t rows)
{
    for (int64_t i = start; i < start + rows; i++)
        if (block->first[i] < keys->position + keys->count && block->last[i] > keys->position)
            return true;
    return false;
}

static void attend_keys(query_block *block, const key_block *keys)
{
    const nn_kernels *kernels = block->kernels;
    for (int64_t start = 0; start < block->count; start += kernels->tile_rows) {
        int64_t rows = nn_min(kernels->tile_rows, block->count - start);
        if (!tile_sees(block, keys, start, rows))
            continue;
        score_tile(block, keys, start, rows);
        for (int64_t r = 0; r < rows; r++) {
            int64_t i = start + r;
            int64_t first = nn_max(block->first[i] - keys->position, 0);
            int64_t last = nn_min(block->last[i] - keys->position, keys->count);
            float factor = kernels->attend(block->scores + r * NN_X_STRIDE, keys->count, first, last, block->scale,
                                           block->softcap, &block->running[i]);
            if (factor < 1.0f)
                kernels->scale(factor, nn_padded_dimension(block->head_dimension), block->sums + i * block->sum_stride);
        }
        sum_tile(block, keys, start, rows);
    }
}

/* The result of query `i`; zeros when it saw no key. */
static void query_block_result(const query_block *block, int64_t i, float *y)
{
    float sum = block->running[i].sum;
    memcpy(y, block->sums + i * block->sum_stride, (size_t)block->head_dimension * sizeof(float));
    block->kernels->scale(sum > 0.0f ? 1.0f / sum : 0.0f, block->head_dimension, y);
}

/* ---- Bidirectional ---------------------------------------------------------------------------------------------- */

typedef struct full_job {
    nn_context *context;
    const float *query, *key, *value;
    int64_t stride, rows;
    const int64_t *counts;
    int64_t heads, head_dimension;
    float scale;
    float *y;
    int64_t queries; /* of a block */
    int64_t blocks;  /* of an image's rows */
} full_job;

/* NN_PAGE keys and values of one head as a page holds them; rows past `count` are zeros. */
static void pack_page(const full_job *job, const float *key, const float *value, int64_t count, float *keys,
                      float *values)
{
    int64_t d = job->head_dimension, padded = nn_padded_dimension(d);
    memset(keys, 0, (size_t)nn_page_keys(d) * sizeof(float));
    memset(values, 0, (size_t)nn_page_values(d) * sizeof(float));
    for (int64_t r = 0; r < count; r++) {
        float *column = keys + r / NN_PANEL * d * NN_PANEL + r % NN_PANEL;
        for (int64_t i = 0; i < d; i++)
            column[i * NN_PANEL] = key[r * job->stride + i];
        for (int64_t i = 0; i < padded; i += NN_PANEL)
            memcpy(values + (i * NN_PAGE) + r * NN_PANEL, value + r * job->stride + i,
                   (size_t)nn_min(NN_PANEL, d - i) * sizeof(float));
    }
}

static void attend_image_head(const full_job *job, query_block *block, int64_t image, int64_t head, int64_t keys_exist,
                              float *packed)
{
    int64_t d = job->head_dimension, page = nn_page_keys(d) + nn_page_values(d);
    key_block keys = {.storage = NN_F32};
    for (int64_t k = 0; k < keys_exist; k += NN_ATTENTION_BLOCK) {
        keys.position = k;
        keys.count = nn_min(NN_ATTENTION_BLOCK, keys_exist - k);
        for (int64_t unit = 0; unit * NN_PAGE < keys.count; unit++) {
            float *to = packed + unit * page;
            int64_t row = k + unit * NN_PAGE;
            int64_t at = (image * job->rows + row) * job->stride + head * d;
            pack_page(job, job->key + at, job->value + at, nn_min(NN_PAGE, keys_exist - row), to, to + nn_page_keys(d));
            keys.keys[unit] = to;
            keys.values[unit] = to + nn_page_keys(d);
        }
        attend_keys(block, &keys);
    }
}

static void attend_image(void *argument, int64_t unit, float *scratch)
{
    const full_job *job = argument;
    int64_t d = job->head_dimension, packed = UNITS * (nn_page_keys(d) + nn_page_values(d));
    int64_t first = unit % job->blocks * job->queries, last = nn_min(first + job->queries, job->rows);
    int64_t head = unit / job->blocks % job->heads, image = unit / job->blocks / job->heads;
    int64_t keys = job->counts ? nn_min(job->counts[image], job->rows) : job->rows;
    query_block block;
    query_block_init(&block, job->context->kernels, d, scratch + packed, NN_SCRATCH - packed);
    block.scale = job->scale;
    block.softcap = 0.0f;
    for (int64_t r = first; r < last; r++)
        query_block_add(&block, job->query + (image * job->rows + r) * job->stride + head * d, 0, keys);
    attend_image_head(job, &block, image, head, keys, scratch);
    for (int64_t r = first; r < last; r++)
        query_block_result(&block, r - first, job->y + ((image * job->rows + r) * job->heads + head) * d);
}

/* Queries of a block, of `rows` that each of `streams` heads has: what the scratch memory less `reserved` floats holds,
 * fewer where there would be too few blocks for the workers, and evenly over the blocks. */
static int64_t block_queries(const nn_context *context, int64_t head_dimension, int64_t reserved, int64_t rows,
                             int64_t streams)
{
    int64_t capacity = query_capacity(context->kernels, head_dimension, NN_SCRATCH - reserved);
    int64_t share = nn_ceil_divide(rows * streams, 2 * (int64_t)context->workers);
    int64_t most = nn_min(capacity, nn_max(share, context->kernels->tile_rows));
    return nn_ceil_divide(rows, nn_ceil_divide(rows, most));
}

void nn_attention_full(nn_context *context, const float *query, const float *key, const float *value, int64_t stride,
                       int64_t batch, int64_t rows, const int64_t *counts, int64_t heads, int64_t head_dimension,
                       float scale, float *y)
{
    full_job job = {context, query, key, value, stride, rows, counts, heads, head_dimension, scale, y, 0, 0};
    if (batch <= 0 || rows <= 0 || heads <= 0)
        return;
    if (!job.stride)
        job.stride = heads * head_dimension;
    int64_t packed = UNITS * (nn_page_keys(head_dimension) + nn_page_values(head_dimension));
    job.queries = block_queries(context, head_dimension, packed, rows, batch * heads);
    job.blocks = nn_ceil_divide(rows, job.queries);
    double operations = 2.0 * (double)(batch * heads * head_dimension) * (double)rows * (double)rows;
    nn_parallel_units(context, operations, batch * heads * job.blocks, attend_image, &job);
}

/* ---- Causal ----------------------------------------------------------------------------------------------------- */

typedef struct causal_job {
    nn_context *context;
    const nn_attention_args *args;
    const nn_cache *cache;
    int64_t stride;
    int64_t group;   /* query heads that share a key-value head; query i of it is head i % group of row i / group */
    int64_t all;     /* rows * group */
    int64_t queries; /* of a block */
    int64_t blocks;  /* of them all */
} causal_job;

static void attend_cache(const causal_job *job, query_block *block, int64_t head)
{
    const nn_cache *cache = job->cache;
    int64_t values_at = nn_page_keys(cache->config.head_dimension) * nn_storage_bytes(cache->storage);
    int64_t start = block->first[0], end = block->last[block->count - 1], next;
    /* The first block is cut off at the page where reach begins: pages before it may be gone, and would weigh 0. */
    for (int64_t k = start / NN_PAGE * NN_PAGE; k < end; k = next) {
        next = (k / NN_ATTENTION_BLOCK + 1) * NN_ATTENTION_BLOCK;
        key_block keys = {.storage = cache->storage, .position = k, .count = nn_min(next, end) - k};
        for (int64_t unit = 0; unit * NN_PAGE < keys.count; unit++) {
            const char *page = nn_page_at(cache, k / NN_PAGE + unit, job->args->layer, head);
            keys.keys[unit] = page;
            keys.values[unit] = page + values_at;
        }
        attend_keys(block, &keys);
    }
}

static void attend_rows(void *argument, int64_t unit, float *scratch)
{
    const causal_job *job = argument;
    const nn_attention_args *args = job->args;
    int64_t d = job->cache->config.head_dimension, head = unit % job->cache->config.key_value_heads;
    int64_t number = job->blocks - 1 - unit / job->cache->config.key_value_heads; /* the longest reach first */
    int64_t first = number * job->queries, last = nn_min(first + job->queries, job->all);
    query_block block;
    query_block_init(&block, job->context->kernels, d, scratch, NN_SCRATCH);
    block.scale = args->scale;
    block.softcap = args->softcap;
    int64_t window = nn_cache_group(&job->cache->config, args->layer) == NN_WINDOWED ? job->cache->config.window : 0;
    for (int64_t i = first; i < last; i++) {
        int64_t row = i / job->group, query_head = head * job->group + i % job->group;
        int64_t reach = job->cache->length + row + 1;
        query_block_add(&block, args->query + row * job->stride + query_head * d,
                        window > 0 ? nn_max(reach - window, 0) : 0, reach);
    }
    attend_cache(job, &block, head);
    for (int64_t i = first; i < last; i++) {
        int64_t row = i / job->group, query_head = head * job->group + i % job->group;
        query_block_result(&block, i - first, args->y + (row * args->heads + query_head) * d);
    }
}

void nn_attention_causal(nn_context *context, const nn_attention_args *args)
{
    const nn_cache *cache = args->cache;
    int64_t heads = cache->config.key_value_heads, d = cache->config.head_dimension;
    causal_job job = {.context = context, .args = args, .cache = cache};
    if (args->rows <= 0)
        return;
    job.stride = args->stride ? args->stride : args->heads * d;
    job.group = args->heads / heads;
    job.all = args->rows * job.group;
    job.queries = block_queries(context, d, 0, job.all, heads);
    job.blocks = nn_ceil_divide(job.all, job.queries);
    double operations = 2.0 * (double)(args->rows * args->heads * d) * (double)(cache->length + args->rows);
    nn_parallel_units(context, operations, heads * job.blocks, attend_rows, &job);
}
