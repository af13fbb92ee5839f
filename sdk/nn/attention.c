/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention without a matrix of scores: a worker takes a block of queries of one key-value head (all query heads that
 * share it) and goes through the keys NN_ATTENTION_BLOCK at a time, keeping for each query the largest score, the sum
 * of exponentials and the weighted sum of values so far (Milakov and Gimelshein, 2018; Dao et al., FlashAttention,
 * 2022). Blocks of keys begin at multiples of their size and keys outside a query's reach weigh exactly 0, so that the
 * result of a query depends neither on the others nor on how a sequence was cut into calls.
 *
 * The keys of a cache are cut into segments at multiples of SEGMENT, whose results are merged in their order, whether
 * one worker goes through all of them or, where there are few queries, each takes some.
 */
#include <float.h>
#include <stdatomic.h>
#include <string.h>

#include "cache.h"
#include "profile.h"

enum {
    SEGMENT = 4 * NN_ATTENTION_BLOCK, /* keys between two merges */
    MOST_QUERIES = 168,               /* of a worker's block; a multiple of 14, 6 and 3 */
    AHEAD = 8,                        /* rows that are asked for before they are needed */
    MOST_PARTS = 1 << 22              /* floats of all segments' results when workers share them */
};

/* Keys and values of one block, as nn_attend has them. */
typedef struct key_block {
    nn_storage storage;
    const void *keys[NN_BLOCK_PAGES], *values[NN_BLOCK_PAGES], *ahead[NN_BLOCK_PAGES];
    int64_t position; /* of the first key */
} key_block;

/* A worker's block of queries, in scratch memory. */
typedef struct query_block {
    const nn_kernels *kernels;
    int64_t dimension;
    int64_t count, capacity;
    int64_t stride; /* floats of a row of sums or totals */
    float *q;       /* [tiles][dimension][NN_PANEL] */
    float *sums;    /* [capacity][stride]: values weighted so far, of this segment */
    float *totals;  /* [capacity][stride]: of the segments before */
    float *scores;  /* [tile_rows][NN_SCORE_STRIDE] */
    float *wide;    /* the pages of a block as f32 */
    float scale, softcap;
    nn_running running[MOST_QUERIES], total[MOST_QUERIES];
    int64_t first[MOST_QUERIES], last[MOST_QUERIES]; /* positions that the query sees: [first, last), both ascending */
} query_block;

static int64_t sum_stride(int64_t dimension)
{
    return nn_padded_dimension(dimension) + NN_PANEL;
}

static int64_t page_floats(int64_t dimension)
{
    return nn_page_keys(dimension) + nn_page_values(dimension);
}

static int64_t tile_floats(const nn_kernels *kernels, int64_t dimension)
{
    return dimension * NN_PANEL + 2 * kernels->tile_rows * sum_stride(dimension);
}

/* Floats of a block of `queries`, a multiple of tile_rows, without its wide pages. */
static int64_t block_floats(const nn_kernels *kernels, int64_t dimension, int64_t queries)
{
    return kernels->tile_rows * NN_SCORE_STRIDE + queries / kernels->tile_rows * tile_floats(kernels, dimension);
}

/* How many queries fit beside `reserved` floats. */
static int64_t query_capacity(const nn_kernels *kernels, int64_t dimension, int64_t reserved)
{
    int64_t floats = NN_SCRATCH - reserved - kernels->tile_rows * NN_SCORE_STRIDE;
    return nn_min(floats / tile_floats(kernels, dimension), MOST_QUERIES / kernels->tile_rows) * kernels->tile_rows;
}

/* An empty block, laid out in `memory`. Returns the memory behind it, of which wide pages are the first. */
static float *query_block_init(query_block *block, const nn_kernels *kernels, int64_t dimension, int64_t capacity,
                               float *memory)
{
    block->kernels = kernels;
    block->dimension = dimension;
    block->count = 0;
    block->capacity = capacity;
    block->stride = sum_stride(dimension);
    block->scores = memory;
    block->sums = block->scores + kernels->tile_rows * NN_SCORE_STRIDE;
    block->totals = block->sums + capacity * block->stride;
    block->q = block->totals + capacity * block->stride;
    block->wide = block->q + capacity / kernels->tile_rows * dimension * NN_PANEL;
    return block->wide;
}

static float *tile_queries(const query_block *block, int64_t tile)
{
    return block->q + tile * block->dimension * NN_PANEL;
}

static void query_block_add(query_block *block, const float *query, int64_t first, int64_t last)
{
    int64_t i = block->count++;
    float *lane = tile_queries(block, i / block->kernels->tile_rows) + i % block->kernels->tile_rows;
    for (int64_t k = 0; k < block->dimension; k++)
        lane[k * NN_PANEL] = query[k];
    block->first[i] = first;
    block->last[i] = last;
}

static void start_running(query_block *block, nn_running *running, float *sums)
{
    memset(sums, 0, (size_t)(block->count * block->stride) * sizeof(float));
    for (int64_t i = 0; i < block->count; i++)
        running[i] = (nn_running){.maximum = -FLT_MAX}; /* finite, so that a fully masked block leaves it alone */
}

/* The tile of queries from `start` on; nothing when it sees none of the keys. */
static void attend_tile(query_block *block, const key_block *keys, int64_t start, nn_attend *tile)
{
    tile->rows = nn_min(block->kernels->tile_rows, block->count - start);
    int64_t first = block->first[start] - keys->position, last = block->last[start + tile->rows - 1] - keys->position;
    tile->first_key = nn_max(first, 0) / NN_PANEL * NN_PANEL;
    tile->last_key = nn_min(last, NN_ATTENTION_BLOCK);
    if (tile->first_key >= tile->last_key)
        return;
    tile->q = tile_queries(block, start / block->kernels->tile_rows);
    tile->first = block->first + start;
    tile->last = block->last + start;
    tile->running = block->running + start;
    tile->sums = block->sums + start * block->stride;
    block->kernels->attend[keys->storage](tile);
}

static void attend_keys(query_block *block, const key_block *keys)
{
    nn_attend tile = {.dimension = block->dimension,
                      .position = keys->position,
                      .scale = block->scale,
                      .softcap = block->softcap,
                      .sum_stride = block->stride,
                      .scores = block->scores};
    memcpy(tile.keys, keys->keys, sizeof tile.keys);
    memcpy(tile.values, keys->values, sizeof tile.values);
    memcpy(tile.ahead, keys->ahead, sizeof tile.ahead);
    for (int64_t start = 0; start < block->count; start += block->kernels->tile_rows)
        attend_tile(block, keys, start, &tile);
}

/* The result of query `i` from its sums or totals; zeros when it saw no key. */
static void query_block_result(const query_block *block, const nn_running *running, const float *sums, int64_t i,
                               float *y)
{
    float sum = running[i].sum;
    memcpy(y, sums + i * block->stride, (size_t)block->dimension * sizeof(float));
    block->kernels->scale(sum > 0.0f ? 1.0f / sum : 0.0f, block->dimension, y);
}

/* ---- Bidirectional ---------------------------------------------------------------------------------------------- */

typedef struct full_job {
    nn_context *context;
    const float *query, *key, *value;
    int64_t stride, rows;
    const int64_t *counts;
    int64_t heads, dimension;
    float scale;
    float *y;
    int64_t parts;   /* of an image's rows of a head, a unit of work each */
    int64_t queries; /* of a worker's block */
    int64_t held;    /* blocks of packed keys beside it */
} full_job;

/* Asks for the `d` floats of a row some rows before they are needed: too short for the hardware to foresee. */
static void ask_for(const float *row, int64_t d)
{
    for (int64_t i = 0; i < d; i += NN_PANEL)
        __builtin_prefetch(row + i);
}

/* NN_PAGE keys and values of one head as a page holds them; rows past `count` are zeros. */
static void pack_page(const full_job *job, const float *key, const float *value, int64_t count, float *keys,
                      float *values)
{
    int64_t d = job->dimension, padded = nn_padded_dimension(d);
    memset(keys, 0, (size_t)page_floats(d) * sizeof(float));
    for (int64_t r = 0; r < count; r++) {
        int64_t ahead = nn_min(r + AHEAD, count - 1) * job->stride;
        ask_for(key + ahead, d);
        ask_for(value + ahead, d);
        float *column = keys + r / NN_PANEL * d * NN_PANEL + r % NN_PANEL;
        for (int64_t i = 0; i < d; i++)
            column[i * NN_PANEL] = key[r * job->stride + i];
        for (int64_t i = 0; i < padded; i += NN_PANEL)
            memcpy(values + (i * NN_PAGE) + r * NN_PANEL, value + r * job->stride + i,
                   (size_t)nn_min(NN_PANEL, d - i) * sizeof(float));
    }
}

/* Where block `number` of packed keys stands in `packed`, and its pages filled when `fill`. */
static void pack_block(const full_job *job, int64_t image, int64_t head, int64_t number, int64_t keys_exist, bool fill,
                       float *packed, key_block *keys)
{
    int64_t d = job->dimension;
    *keys = (key_block){.storage = NN_F32, .position = number * NN_ATTENTION_BLOCK};
    for (int64_t page = 0; page < NN_BLOCK_PAGES; page++) {
        float *to = packed + (number % job->held * NN_BLOCK_PAGES + page) * page_floats(d);
        int64_t row = keys->position + page * NN_PAGE, at = (image * job->rows + row) * job->stride + head * d;
        if (fill && row < keys_exist)
            pack_page(job, job->key + at, job->value + at, nn_min(NN_PAGE, keys_exist - row), to, to + nn_page_keys(d));
        keys->keys[page] = to;
        keys->values[page] = to + nn_page_keys(d);
    }
}

/* One part of an image's rows of a head; its keys are packed once when all of them fit. */
static void attend_image(void *argument, int64_t unit, float *scratch)
{
    const full_job *job = argument;
    int64_t d = job->dimension, part = unit % job->parts;
    int64_t head = unit / job->parts % job->heads, image = unit / job->parts / job->heads;
    int64_t keys_exist = job->counts ? nn_max(nn_min(job->counts[image], job->rows), 0) : job->rows;
    int64_t blocks = nn_ceil_divide(keys_exist, NN_ATTENTION_BLOCK);
    int64_t begin = job->rows * part / job->parts, end = job->rows * (part + 1) / job->parts;
    query_block block;
    float *packed = query_block_init(&block, job->context->kernels, d, job->queries, scratch);
    block.scale = job->scale;
    block.softcap = 0.0f;
    for (int64_t first = begin, last; first < end; first = last) {
        last = nn_min(first + job->queries, end);
        block.count = 0;
        const float *queries = job->query + image * job->rows * job->stride + head * d;
        for (int64_t r = first; r < last; r++) {
            ask_for(queries + nn_min(r + AHEAD, last - 1) * job->stride, d);
            query_block_add(&block, queries + r * job->stride, 0, keys_exist);
        }
        start_running(&block, block.running, block.sums);
        for (int64_t b = 0; b < blocks; b++) {
            key_block keys;
            pack_block(job, image, head, b, keys_exist, first == begin || blocks > job->held, packed, &keys);
            attend_keys(&block, &keys);
        }
        for (int64_t r = first; r < last; r++)
            query_block_result(&block, block.running, block.sums, r - first,
                               job->y + ((image * job->rows + r) * job->heads + head) * d);
    }
}

void nn_host_attention_full(nn_context *context, const float *query, const float *key, const float *value,
                            int64_t stride, int64_t batch, int64_t rows, const int64_t *counts, int64_t heads,
                            int64_t head_dimension, float scale, float *y)
{
    const nn_kernels *kernels = context->kernels;
    int64_t d = head_dimension, block = NN_BLOCK_PAGES * page_floats(d);
    full_job job = {.context = context, .query = query, .key = key, .value = value, .stride = stride, .rows = rows};
    if (batch <= 0 || rows <= 0 || heads <= 0)
        return;
    double begin = nn_profile_begin(context);
    job.stride = stride ? stride : heads * d;
    job.counts = counts;
    job.heads = heads;
    job.dimension = d;
    job.scale = scale;
    job.y = y;
    job.parts =
        nn_min(nn_ceil_divide(4 * (int64_t)context->workers, batch * heads), nn_ceil_divide(rows, kernels->tile_rows));
    job.queries =
        nn_min(query_capacity(kernels, d, block), nn_ceil_divide(rows, kernels->tile_rows) * kernels->tile_rows);
    job.held = (NN_SCRATCH - block_floats(kernels, d, job.queries)) / block;
    double operations = 2.0 * (double)(batch * heads * d) * (double)rows * (double)rows;
    nn_parallel_units(context, operations, batch * heads * job.parts, attend_image, &job);
    nn_profile_end_full(context, begin, batch, rows, heads * d);
}

/* ---- Causal ----------------------------------------------------------------------------------------------------- */

typedef struct causal_job {
    nn_context *context;
    const nn_attention_args *args;
    const nn_cache *cache;
    int64_t stride;
    int64_t window;
    int64_t group;   /* query heads that share a key-value head; query i of it is head i % group of row i / group */
    int64_t all;     /* rows * group */
    int64_t queries; /* of a block */
    int64_t blocks;  /* of them all */
    /* Where workers share the segments: */
    int64_t segments, first_segment; /* those that a query sees */
    float *parts;             /* [heads * blocks][segments][queries][stride of sums]: a running softmax, then sums */
    _Atomic int64_t *missing; /* [heads * blocks]: segments not yet done */
} causal_job;

static float *part_at(const causal_job *job, int64_t unit, int64_t segment, int64_t query)
{
    int64_t row = (unit * job->segments + segment) * job->queries + query;
    return job->parts + row * sum_stride(job->cache->config.head_dimension);
}

/* The head's keys and values in a page, NULL where there is none before `end`. */
static const void *find_page(const causal_job *job, int64_t head, int64_t page, int64_t end)
{
    const nn_cache *cache = job->cache;
    int64_t first = nn_cache_table(cache, job->args->layer)->first;
    return page >= first && page * NN_PAGE < end ? nn_page_at(cache, page, job->args->layer, head) : NULL;
}

/* The block of keys at `position`, of which those before `end` are seen, and where the keys after it are. */
static key_block find_block(const causal_job *job, int64_t head, int64_t position, int64_t end)
{
    nn_storage storage = job->cache->config.storage;
    key_block keys = {.storage = storage, .position = position};
    for (int64_t i = 0; i < NN_BLOCK_PAGES; i++) {
        int64_t page = position / NN_PAGE + i;
        const char *at = find_page(job, head, page, end);
        keys.keys[i] = at;
        keys.values[i] = at ? at + nn_values_at(storage, job->cache->config.head_dimension) : NULL;
        keys.ahead[i] = find_page(job, head, page + NN_BLOCK_PAGES, end);
    }
    return keys;
}

/* The block's pages that are there become f32, once for all tiles. */
static void widen_keys(const query_block *block, int64_t from, int64_t end, key_block *keys)
{
    for (int64_t i = 0; i < NN_BLOCK_PAGES; i++) {
        int64_t position = keys->position + i * NN_PAGE;
        if (position + NN_PAGE <= from || position >= end)
            continue;
        float *to = block->wide + i * page_floats(block->dimension);
        block->kernels->widen_page[keys->storage](keys->keys[i], block->dimension, to);
        keys->keys[i] = to;
        keys->values[i] = to + nn_page_keys(block->dimension);
    }
    keys->storage = NN_F32;
}

/* All queries of the block over the keys of one segment. */
static void attend_segment(const causal_job *job, query_block *block, int64_t head, int64_t segment)
{
    int64_t from = nn_max(block->first[0], segment * SEGMENT);
    int64_t end = nn_min(block->last[block->count - 1], (segment + 1) * SEGMENT);
    start_running(block, block->running, block->sums);
    for (int64_t k = from / NN_ATTENTION_BLOCK * NN_ATTENTION_BLOCK; k < end; k += NN_ATTENTION_BLOCK) {
        key_block keys = find_block(job, head, k, end);
        if (keys.storage != NN_F32 && block->count > NN_ATTEND_FEW)
            widen_keys(block, from, end, &keys);
        attend_keys(block, &keys);
    }
}

/* The queries of block `unit / heads`, from the end, of head `unit % heads`. Returns the number of the first. */
static int64_t take_queries(const causal_job *job, int64_t unit, query_block *block, float *scratch)
{
    const nn_attention_args *args = job->args;
    int64_t d = job->cache->config.head_dimension, heads = job->cache->config.key_value_heads, head = unit % heads;
    int64_t first = (job->blocks - 1 - unit / heads) * job->queries; /* the longest reach first */
    query_block_init(block, job->context->kernels, d, job->queries, scratch);
    block->scale = args->scale;
    block->softcap = args->softcap;
    for (int64_t i = first; i < nn_min(first + job->queries, job->all); i++) {
        int64_t reach = job->cache->length + i / job->group + 1;
        query_block_add(block, args->query + i / job->group * job->stride + (head * job->group + i % job->group) * d,
                        job->window > 0 ? nn_max(reach - job->window, 0) : 0, reach);
    }
    return first;
}

static void give_results(const causal_job *job, const query_block *block, int64_t head, int64_t first)
{
    int64_t d = job->cache->config.head_dimension;
    for (int64_t i = 0; i < block->count; i++) {
        int64_t row = (first + i) / job->group, query_head = head * job->group + (first + i) % job->group;
        query_block_result(block, block->total, block->totals, i,
                           job->args->y + (row * job->args->heads + query_head) * d);
    }
}

static void attend_rows(void *argument, int64_t unit, float *scratch)
{
    const causal_job *job = argument;
    int64_t head = unit % job->cache->config.key_value_heads;
    query_block block;
    int64_t first = take_queries(job, unit, &block, scratch);
    start_running(&block, block.total, block.totals);
    for (int64_t s = block.first[0] / SEGMENT; s * SEGMENT < block.last[block.count - 1]; s++) {
        attend_segment(job, &block, head, s);
        for (int64_t i = 0; i < block.count; i++)
            block.kernels->merge(&block.total[i], block.totals + i * block.stride, &block.running[i],
                                 block.sums + i * block.stride, nn_padded_dimension(block.dimension));
    }
    give_results(job, &block, head, first);
}

/* One segment for a block of queries; whoever does the last of a block merges all in their order. */
static void attend_part(void *argument, int64_t number, float *scratch)
{
    const causal_job *job = argument;
    int64_t unit = number / job->segments, segment = number % job->segments;
    int64_t head = unit % job->cache->config.key_value_heads;
    query_block block;
    int64_t first = take_queries(job, unit, &block, scratch);
    attend_segment(job, &block, head, job->first_segment + segment);
    for (int64_t i = 0; i < block.count; i++) {
        float *part = part_at(job, unit, segment, i);
        memcpy(part, &block.running[i], sizeof block.running[i]);
        memcpy(part + NN_PANEL, block.sums + i * block.stride,
               (size_t)nn_padded_dimension(block.dimension) * sizeof(float));
    }
    if (atomic_fetch_sub_explicit(&job->missing[unit], 1, memory_order_acq_rel) > 1)
        return;
    start_running(&block, block.total, block.totals);
    for (int64_t s = 0; s < job->segments; s++)
        for (int64_t i = 0; i < block.count; i++) {
            const float *part = part_at(job, unit, s, i);
            nn_running running;
            memcpy(&running, part, sizeof running);
            block.kernels->merge(&block.total[i], block.totals + i * block.stride, &running, part + NN_PANEL,
                                 nn_padded_dimension(block.dimension));
        }
    give_results(job, &block, head, first);
}

/* Queries of a block, of `all` that each head has: what fits, and fewer where there would be too few blocks for the
 * workers; whole tiles. */
static int64_t block_queries(const nn_context *context, const nn_cache *cache, int64_t all)
{
    int64_t d = cache->config.head_dimension, tile = context->kernels->tile_rows;
    int64_t wide = cache->config.storage == NN_F32 ? 0 : NN_BLOCK_PAGES * page_floats(d);
    int64_t share = nn_ceil_divide(all * cache->config.key_value_heads, 2 * (int64_t)context->workers);
    int64_t most = nn_min(query_capacity(context->kernels, d, wide), nn_max(share, tile));
    int64_t even = nn_ceil_divide(all, nn_ceil_divide(all, most));
    return nn_ceil_divide(even, tile) * tile;
}

/* Memory for workers to share segments, where there are fewer blocks of queries than keep them busy; without it, they
 * do not. */
static nn_arena *share_segments(nn_context *context, causal_job *job)
{
    int64_t units = job->cache->config.key_value_heads * job->blocks;
    job->first_segment = job->window > 0 ? nn_max(job->cache->length + 1 - job->window, 0) / SEGMENT : 0;
    int64_t count = nn_ceil_divide(job->cache->length + job->args->rows, SEGMENT) - job->first_segment;
    int64_t row = job->queries * sum_stride(job->cache->config.head_dimension);
    if (context->workers < 2 || units >= 4 * (int64_t)context->workers || count < 2 ||
        count > MOST_PARTS / (units * row))
        return NULL;
    nn_arena *arena = nn_arena_begin(context);
    float *missing = arena ? nn_arena_f32(arena, units * (int64_t)(sizeof *job->missing / sizeof(float))) : NULL;
    job->parts = missing ? nn_arena_f32(arena, units * count * row) : NULL;
    if (job->parts) {
        job->segments = count;
        job->missing = (_Atomic int64_t *)(void *)missing;
        for (int64_t i = 0; i < units; i++)
            atomic_init(&job->missing[i], count);
    }
    return arena;
}

void nn_host_attention_causal(nn_context *context, const nn_attention_args *args)
{
    const nn_cache *cache = args->cache;
    int64_t heads = cache->config.key_value_heads, d = cache->config.head_dimension;
    causal_job job = {.context = context, .args = args, .cache = cache};
    if (args->rows <= 0)
        return;
    double begin = nn_profile_begin(context);
    job.stride = args->stride ? args->stride : args->heads * d;
    job.window = nn_is_windowed(&cache->config, args->layer) ? cache->config.window : 0;
    job.group = args->heads / heads;
    job.all = args->rows * job.group;
    job.queries = block_queries(context, cache, job.all);
    job.blocks = nn_ceil_divide(job.all, job.queries);
    double operations = 2.0 * (double)(args->rows * args->heads * d) * (double)(cache->length + args->rows);
    nn_arena *arena = share_segments(context, &job);
    if (job.segments)
        nn_parallel_units(context, operations, heads * job.blocks * job.segments, attend_part, &job);
    else
        nn_parallel_units(context, operations, heads * job.blocks, attend_rows, &job);
    nn_arena_end(context, arena);
    nn_profile_end_causal(context, begin, args);
}
