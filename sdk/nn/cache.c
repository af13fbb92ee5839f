/* SPDX-License-Identifier: Apache-2.0
 *
 * The key-value cache: a table of reference-counted pages. A fork copies the table; whoever wants to write a page that
 * others hold as well copies it first, in nn_cache_reserve, the one place where a forward pass can run out of memory.
 */
#include "cache.h"

#include <stdlib.h>
#include <string.h>

#include "pack.h"

struct nn_page {
    atomic_int references;
};

/* False when the numbers are out of range or the page would not fit in memory. */
static bool page_bytes(const nn_cache_config *config, int64_t *bytes)
{
    nn_storage storage;
    if (!nn_storage_of(config->dtype, &storage) || config->layers < 1 || config->key_value_heads < 1 ||
        config->head_dimension < 1 || config->head_dimension > NN_HEAD_DIMENSION)
        return false;
    int64_t d = config->head_dimension;
    *bytes = (nn_page_keys(d) + nn_page_values(d)) * nn_storage_bytes(storage);
    return !__builtin_mul_overflow(*bytes, config->layers, bytes) &&
           !__builtin_mul_overflow(*bytes, config->key_value_heads, bytes) &&
           !__builtin_add_overflow(*bytes, MORE_ALIGNMENT, bytes);
}

int64_t nn_cache_bytes(const nn_cache_config *config, int64_t rows)
{
    int64_t bytes, pages = rows > 0 ? nn_ceil_divide(rows, NN_PAGE) : 0;
    if (!page_bytes(config, &bytes) || __builtin_mul_overflow(bytes, pages, &bytes))
        return INT64_MAX;
    return bytes;
}

more_status nn_cache_create(nn_context *context, const nn_cache_config *config, nn_cache **result, more_error *error)
{
    int64_t bytes;
    *result = NULL;
    if (!page_bytes(config, &bytes))
        return more_fail(
            error, MORE_ERROR_ARGUMENT,
            "a key-value cache of %lld layers, %lld heads of %lld channels and dtype %d.%d cannot be made; "
            "heads have 1 to %d channels of f32, f16 or bf16",
            (long long)config->layers, (long long)config->key_value_heads, (long long)config->head_dimension,
            config->dtype.code, config->dtype.bits, NN_HEAD_DIMENSION);
    nn_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a key-value cache");
    cache->context = context;
    cache->config = *config;
    nn_storage_of(config->dtype, &cache->storage);
    *result = cache;
    return MORE_OK;
}

static void drop_page(nn_context *context, nn_page *page)
{
    /* The last holder sees all that the others wrote before they let go. */
    if (atomic_fetch_sub_explicit(&page->references, 1, memory_order_acq_rel) == 1)
        nn_release(context, page);
}

static void drop_pages(nn_cache *cache, int64_t keep)
{
    while (cache->count > keep)
        drop_page(cache->context, cache->pages[--cache->count]);
}

void nn_cache_destroy(nn_cache *cache)
{
    if (!cache)
        return;
    drop_pages(cache, 0);
    free(cache->pages);
    free(cache);
}

more_status nn_cache_fork(const nn_cache *cache, nn_cache **result, more_error *error)
{
    int64_t count = nn_ceil_divide(cache->length, NN_PAGE); /* pages that are only reserved stay behind */
    *result = NULL;
    nn_cache *fork = calloc(1, sizeof *fork);
    nn_page **pages = calloc((size_t)nn_max(count, 1), sizeof *pages);
    if (!fork || !pages) {
        free(fork);
        free(pages);
        return more_fail(error, MORE_ERROR_MEMORY, "no memory to fork a cache of %lld pages", (long long)count);
    }
    *fork = *cache;
    fork->pages = pages;
    fork->count = count;
    fork->capacity = nn_max(count, 1);
    for (int64_t i = 0; i < count; i++) {
        pages[i] = cache->pages[i];
        atomic_fetch_add_explicit(&pages[i]->references, 1, memory_order_relaxed);
    }
    *result = fork;
    return MORE_OK;
}

int64_t nn_cache_length(const nn_cache *cache)
{
    return cache->length;
}

void nn_cache_truncate(nn_cache *cache, int64_t length)
{
    if (length < 0 || length >= cache->length)
        return;
    cache->length = length;
    drop_pages(cache, nn_ceil_divide(length, NN_PAGE));
}

static nn_page *new_page(nn_cache *cache, const nn_page *copy_of)
{
    int64_t bytes;
    if (!page_bytes(&cache->config, &bytes))
        return NULL;
    nn_page *page = nn_allocate(cache->context, bytes, 1);
    if (!page)
        return NULL;
    char *values = (char *)page + MORE_ALIGNMENT;
    size_t size = (size_t)(bytes - MORE_ALIGNMENT);
    if (copy_of)
        memcpy(values, (const char *)copy_of + MORE_ALIGNMENT, size);
    else
        memset(values, 0, size);
    atomic_init(&page->references, 1);
    return page;
}

static bool grow_table(nn_cache *cache, int64_t count)
{
    if (count <= cache->capacity)
        return true;
    int64_t capacity = nn_max(count, 2 * cache->capacity);
    if (capacity > PTRDIFF_MAX / (int64_t)sizeof *cache->pages)
        return false;
    nn_page **pages = realloc(cache->pages, (size_t)capacity * sizeof *pages);
    if (!pages)
        return false;
    cache->pages = pages;
    cache->capacity = capacity;
    return true;
}

/* The page that the next row goes into when it is begun and others hold it too, else NULL. */
static nn_page *shared_last_page(const nn_cache *cache)
{
    if (cache->length % NN_PAGE == 0)
        return NULL;
    nn_page *page = cache->pages[cache->length / NN_PAGE];
    return atomic_load_explicit(&page->references, memory_order_acquire) > 1 ? page : NULL;
}

more_status nn_cache_reserve(nn_cache *cache, int64_t rows, more_error *error)
{
    int64_t before = cache->count, total;
    nn_page *shared = shared_last_page(cache), *copy = NULL;
    if (rows <= 0)
        return MORE_OK;
    bool done = !__builtin_add_overflow(cache->length, rows, &total) && total < INT64_MAX - NN_PAGE;
    int64_t pages = done ? nn_ceil_divide(total, NN_PAGE) : 0;
    done = done && grow_table(cache, pages);
    if (done && shared)
        done = (copy = new_page(cache, shared)) != NULL;
    while (done && cache->count < pages) {
        nn_page *page = new_page(cache, NULL);
        if (page)
            cache->pages[cache->count++] = page;
        else
            done = false;
    }
    if (!done) {
        drop_pages(cache, before);
        if (copy)
            drop_page(cache->context, copy);
        return more_fail(error, MORE_ERROR_MEMORY,
                         "no memory for %lld more rows of the key-value cache, which holds %lld; shorten the "
                         "conversation or use a 16-bit cache",
                         (long long)rows, (long long)cache->length);
    }
    if (copy) {
        cache->pages[cache->length / NN_PAGE] = copy;
        drop_page(cache->context, shared);
    }
    return MORE_OK;
}

void nn_cache_commit(nn_cache *cache, int64_t rows)
{
    cache->length += nn_max(rows, 0);
}

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

typedef struct write_job {
    nn_cache *cache;
    int64_t layer, rows, stride;
    const float *key, *value;
} write_job;

/* One row of one head: a column of the page's keys, a row of its values (padding included). */
static void write_head(const write_job *job, int64_t row, int64_t head)
{
    nn_cache *cache = job->cache;
    int64_t d = cache->config.head_dimension, position = cache->length + row, slot = position % NN_PAGE;
    char *keys = nn_page_at(cache, position / NN_PAGE, job->layer, head);
    char *values = keys + nn_page_keys(d) * nn_storage_bytes(cache->storage);
    const float *key = job->key + row * job->stride + head * d, *value = job->value + row * job->stride + head * d;
    int64_t key_at = slot / NN_PANEL * d * NN_PANEL + slot % NN_PANEL;
    for (int64_t i = 0; i < d; i++)
        nn_store_value(cache->storage, keys, key_at + i * NN_PANEL, key[i]);
    for (int64_t i = 0; i < nn_padded_dimension(d); i++)
        nn_store_value(cache->storage, values, (i / NN_PANEL * NN_PAGE + slot) * NN_PANEL + i % NN_PANEL,
                       i < d ? value[i] : 0.0f);
}

/* One row of one head an item; heads outermost, so that a worker stays within a page. */
static void write_heads(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const write_job *job = argument;
    for (int64_t i = begin; i < end; i++)
        write_head(job, i % job->rows, i / job->rows);
}

void nn_cache_write(nn_cache *cache, int64_t layer, int64_t rows, const float *key, const float *value, int64_t stride)
{
    write_job job = {cache, layer, rows, stride, key, value};
    int64_t width = cache->config.key_value_heads * cache->config.head_dimension;
    if (!job.stride)
        job.stride = width;
    nn_parallel_sized(cache->context, 4.0 * (double)rows * (double)width, rows * cache->config.key_value_heads, NN_PAGE,
                      write_heads, &job);
}
