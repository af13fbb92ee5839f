/* SPDX-License-Identifier: Apache-2.0
 *
 * The key-value cache: two tables of reference-counted pages. A fork copies the tables; whoever wants to write a page
 * that others hold as well copies it first, in nn_cache_reserve, the one place where a forward pass can run out of
 * memory. Committing lets go of the pages that lie before every window.
 */
#include "cache.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "pack.h"
#include "profile.h"

/* ---- Sizes ------------------------------------------------------------------------------------------------------ */

/* Bytes of a page of `layers` layers; 0 for none. False when it would not fit in memory. */
static bool page_bytes(const nn_cache_config *config, int64_t layers, bool on_host, int64_t *bytes)
{
    *bytes = 0;
    if (layers == 0)
        return true;
    *bytes = nn_cache_head_bytes(config, on_host);
    return !__builtin_mul_overflow(*bytes, layers, bytes) &&
           !__builtin_mul_overflow(*bytes, config->key_value_heads, bytes);
}

/* Page bytes of all groups. False when the numbers are out of range or a page would not fit in memory. */
static bool group_bytes(const nn_cache_config *config, int64_t bytes[NN_CACHE_GROUPS])
{
    int64_t layers[NN_CACHE_GROUPS] = {0};
    if (config->storage < NN_F32 || config->storage >= NN_CACHE_STORAGES || config->layers < 1 ||
        config->layers > INT32_MAX || config->key_value_heads < 1 || config->head_dimension < 1 ||
        config->head_dimension > NN_HEAD_DIMENSION || config->window < 0 || config->window > INT64_MAX / 4)
        return false;
    for (int64_t i = 0; i < config->layers; i++) {
        if (config->layer_places && (config->layer_places[i] < 0 || config->layer_places[i] >= NN_PLACES))
            return false;
        layers[nn_cache_group(config, i)]++;
    }
    bool fits = true;
    for (int g = 0; g < NN_CACHE_GROUPS && fits; g++) {
        bool on_host = !layers[g] || !config->places || nn_on_host(config->places[g / NN_CACHE_KINDS]);
        fits = page_bytes(config, layers[g], on_host, &bytes[g]);
    }
    return fits;
}

/* First position that windowed layers keep when a cache has `length` rows: what its next row sees, and what the next
 * would see if NN_PAGE rows were taken back. */
static int64_t kept_from(const nn_cache_config *config, int64_t length)
{
    return nn_max(length + 1 - config->window - NN_PAGE, 0) / NN_PAGE * NN_PAGE;
}

int64_t nn_cache_bytes_at_work(const nn_cache_config *config, int32_t place, int64_t rows, int64_t chunk)
{
    int64_t bytes[NN_CACHE_GROUPS], whole, windowed, pages = rows > 0 ? nn_ceil_divide(rows, NN_PAGE) : 0;
    int64_t more = nn_min(nn_max(chunk, 0), pages < INT64_MAX / (2 * NN_PAGE) ? pages * NN_PAGE : 0);
    if (!group_bytes(config, bytes))
        return INT64_MAX;
    /* Pages from kept_from(length) to length + more, however these lie to the borders of pages. */
    int64_t most = nn_ceil_divide(config->window + more + NN_PAGE - 2, NN_PAGE) + 1;
    const int64_t *own = bytes + place * NN_CACHE_KINDS;
    if (__builtin_mul_overflow(own[NN_WHOLE], pages, &whole) ||
        __builtin_mul_overflow(own[NN_WINDOWED], nn_min(pages, most), &windowed) ||
        __builtin_add_overflow(whole, windowed, &whole))
        return INT64_MAX;
    return whole;
}

int64_t nn_cache_bytes(const nn_cache_config *config, int64_t rows)
{
    int64_t total = 0;
    for (int32_t place = 0; place < NN_PLACES; place++)
        if (__builtin_add_overflow(total, nn_cache_bytes_at_work(config, place, rows, 0), &total))
            return INT64_MAX;
    return total;
}

/* ---- Making and sharing ----------------------------------------------------------------------------------------- */

/* A cache without pages; NULL when out of memory. */
static nn_cache *new_cache(int64_t layers)
{
    return calloc(1, sizeof(nn_cache) + (size_t)layers * sizeof(int32_t));
}

more_status nn_cache_create(nn_context *context, const nn_cache_config *config, nn_cache **result, more_error *error)
{
    int64_t bytes[NN_CACHE_GROUPS];
    int32_t layers[NN_CACHE_GROUPS] = {0};
    nn_cache_config own = *config;
    *result = NULL;
    own.places = config->places ? config->places : &context;
    if (!group_bytes(&own, bytes))
        return more_fail(
            error, MORE_ERROR_ARGUMENT,
            "a key-value cache of %lld layers, %lld heads of %lld channels, window %lld and storage %d cannot be made; "
            "heads have 1 to %d channels of f32, f16, bf16 or q8",
            (long long)config->layers, (long long)config->key_value_heads, (long long)config->head_dimension,
            (long long)config->window, (int)config->storage, NN_HEAD_DIMENSION);
    nn_cache *cache = new_cache(config->layers);
    if (!cache)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a key-value cache");
    cache->config = *config;
    for (int64_t i = 0; i < config->layers; i++)
        cache->slots[i] = layers[nn_cache_group(config, i)]++;
    for (int g = 0; g < NN_CACHE_GROUPS; g++) {
        cache->tables[g].page_bytes = bytes[g];
        if (bytes[g])
            cache->tables[g].context = config->places ? config->places[g / NN_CACHE_KINDS] : context;
    }
    *result = cache;
    return MORE_OK;
}

static void free_page(nn_context *context, nn_page *page)
{
    nn_free(context, page->values);
    free(page);
}

static void drop_page(nn_context *context, nn_page *page)
{
    /* The last holder sees all that the others wrote before they let go. */
    if (atomic_fetch_sub_explicit(&page->references, 1, memory_order_acq_rel) == 1)
        free_page(context, page);
}

/* Drops pages from the end until `keep` are left. */
static void drop_last_pages(nn_page_table *table, int64_t keep)
{
    while (table->count > keep) {
        drop_page(table->context, table->pages[--table->count]);
        table->stale = true;
    }
}

/* Drops the pages before page `first`. */
static void drop_first_pages(nn_page_table *table, int64_t first)
{
    int64_t gone = nn_min(first - table->first, table->count);
    if (gone <= 0)
        return;
    for (int64_t i = 0; i < gone; i++)
        drop_page(table->context, table->pages[i]);
    table->first += gone;
    table->count -= gone;
    table->stale = true;
    memmove(table->pages, table->pages + gone, (size_t)table->count * sizeof *table->pages);
}

void nn_cache_destroy(nn_cache *cache)
{
    if (!cache)
        return;
    for (int g = 0; g < NN_CACHE_GROUPS; g++) {
        nn_page_table *table = &cache->tables[g];
        drop_last_pages(table, 0);
        free(table->pages);
        if (table->placed)
            nn_free(table->context, table->placed);
    }
    free(cache);
}

/* Pages of the table that hold committed rows; those that are only reserved lie behind them. */
static int64_t committed_pages(const nn_page_table *table, int64_t length)
{
    return table->page_bytes ? nn_ceil_divide(length, NN_PAGE) - table->first : 0;
}

/* False when out of memory; `to` is then empty. */
static bool share_pages(const nn_page_table *from, int64_t length, nn_page_table *to)
{
    int64_t count = committed_pages(from, length);
    *to =
        (nn_page_table){.context = from->context, .page_bytes = from->page_bytes, .first = from->first, .stale = true};
    if (count == 0)
        return true;
    to->pages = calloc((size_t)count, sizeof *to->pages);
    if (!to->pages)
        return false;
    to->count = to->capacity = count;
    for (int64_t i = 0; i < count; i++) {
        to->pages[i] = from->pages[i];
        atomic_fetch_add_explicit(&to->pages[i]->references, 1, memory_order_relaxed);
    }
    return true;
}

more_status nn_cache_fork(const nn_cache *cache, nn_cache **result, more_error *error)
{
    nn_cache *fork = new_cache(cache->config.layers);
    bool done = fork != NULL;
    *result = NULL;
    if (done) {
        fork->config = cache->config;
        fork->length = cache->length;
        memcpy(fork->slots, cache->slots, (size_t)cache->config.layers * sizeof *fork->slots);
    }
    for (int g = 0; g < NN_CACHE_GROUPS && done; g++)
        done = share_pages(&cache->tables[g], cache->length, &fork->tables[g]);
    if (!done) {
        nn_cache_destroy(fork);
        return more_fail(error, MORE_ERROR_MEMORY, "no memory to fork a cache of %lld rows", (long long)cache->length);
    }
    *result = fork;
    return MORE_OK;
}

/* ---- Length ----------------------------------------------------------------------------------------------------- */

nn_context *nn_cache_place(const nn_cache *cache, int64_t layer)
{
    return nn_cache_table(cache, layer)->context;
}

int64_t nn_cache_length(const nn_cache *cache)
{
    return cache->length;
}

int64_t nn_cache_floor(const nn_cache *cache)
{
    int64_t first = 0;
    for (int g = NN_WINDOWED; g < NN_CACHE_GROUPS; g += NN_CACHE_KINDS)
        first = nn_max(first, cache->tables[g].first * NN_PAGE);
    return first > 0 ? first + cache->config.window - 1 : 0;
}

void nn_cache_truncate(nn_cache *cache, int64_t length)
{
    if (length < nn_cache_floor(cache) || length >= cache->length)
        return;
    cache->length = length;
    for (int g = 0; g < NN_CACHE_GROUPS; g++)
        drop_last_pages(&cache->tables[g], committed_pages(&cache->tables[g], length));
}

void nn_cache_commit(nn_cache *cache, int64_t rows)
{
    cache->length += nn_max(rows, 0);
    for (int g = NN_WINDOWED; g < NN_CACHE_GROUPS; g += NN_CACHE_KINDS)
        if (cache->tables[g].page_bytes)
            drop_first_pages(&cache->tables[g], kept_from(&cache->config, cache->length) / NN_PAGE);
}

/* ---- Reserving -------------------------------------------------------------------------------------------------- */

static nn_page *new_page(nn_context *context, int64_t bytes, const nn_page *copy_of)
{
    nn_page *page = calloc(1, sizeof *page);
    if (!page)
        return NULL;
    page->values = nn_place(context, bytes, 1, "the key-value cache");
    if (!page->values) {
        free(page);
        return NULL;
    }
    if (copy_of)
        nn_copy(context, page->values, copy_of->values, (size_t)bytes);
    else
        nn_zero(context, page->values, (size_t)bytes);
    atomic_init(&page->references, 1);
    return page;
}

static bool grow_table(nn_page_table *table, int64_t count)
{
    if (count <= table->capacity)
        return true;
    int64_t capacity = nn_max(count, 2 * table->capacity);
    if (capacity > PTRDIFF_MAX / (int64_t)sizeof *table->pages)
        return false;
    nn_page **pages = realloc(table->pages, (size_t)capacity * sizeof *pages);
    if (!pages)
        return false;
    table->pages = pages;
    table->capacity = capacity;
    return true;
}

/* The place of the page that the next row goes into when it is begun and others hold it too, else NULL. */
static nn_page **shared_last_page(const nn_page_table *table, int64_t length)
{
    if (length % NN_PAGE == 0 || !table->page_bytes)
        return NULL;
    nn_page **page = &table->pages[length / NN_PAGE - table->first];
    return atomic_load_explicit(&(*page)->references, memory_order_acquire) > 1 ? page : NULL;
}

/* Pages up to `total` rows behind those that are there. False when out of memory; those that came stay. */
static bool add_pages(nn_page_table *table, int64_t total)
{
    int64_t pages = committed_pages(table, total);
    bool done = grow_table(table, pages);
    while (done && table->count < pages) {
        nn_page *page = new_page(table->context, table->page_bytes, NULL);
        if (page)
            table->pages[table->count++] = page;
        table->stale = true;
        done = page != NULL;
    }
    return done;
}

/* Gives the cache pages of its own to write `total` rows into. Shared pages are replaced last, when nothing can fail
 * any more. */
static bool reserve_total(nn_cache *cache, int64_t total)
{
    nn_page *copies[NN_CACHE_GROUPS] = {NULL};
    bool done = true;
    for (int g = 0; g < NN_CACHE_GROUPS && done; g++) {
        nn_page_table *table = &cache->tables[g];
        nn_page **shared = shared_last_page(table, cache->length);
        if (shared)
            done = (copies[g] = new_page(table->context, table->page_bytes, *shared)) != NULL;
        done = done && add_pages(table, total);
    }
    for (int g = 0; g < NN_CACHE_GROUPS; g++) {
        if (!copies[g])
            continue;
        nn_page_table *table = &cache->tables[g];
        nn_page **page = &table->pages[cache->length / NN_PAGE - table->first];
        drop_page(table->context, done ? *page : copies[g]);
        if (done)
            *page = copies[g];
        table->stale = true;
    }
    return done;
}

/* Tells the device where the pages are. */
static bool place_table(nn_page_table *table, more_error *error)
{
    nn_context *context = table->context;
    if (table->count == 0 || !table->stale || nn_on_host(context))
        return true;
    if (table->count > table->placed_capacity) {
        nn_free(context, table->placed);
        table->placed = nn_place(context, table->capacity, sizeof *table->placed, "the key-value cache");
        table->placed_capacity = table->placed ? table->capacity : 0;
    }
    void **values = table->placed ? calloc((size_t)table->count, sizeof *values) : NULL;
    if (!values)
        return false;
    for (int64_t i = 0; i < table->count; i++)
        values[i] = table->pages[i]->values;
    nn_copy(context, table->placed, values, (size_t)table->count * sizeof *values);
    free(values);
    table->stale = nn_settled(context, MORE_OK, error) != MORE_OK;
    return !table->stale;
}

more_status nn_cache_reserve(nn_cache *cache, int64_t rows, more_error *error)
{
    int64_t before[NN_CACHE_GROUPS], total;
    if (rows <= 0)
        return MORE_OK;
    for (int g = 0; g < NN_CACHE_GROUPS; g++)
        before[g] = cache->tables[g].count;
    bool done = !__builtin_add_overflow(cache->length, rows, &total) && total < INT64_MAX - NN_PAGE;
    done = done && reserve_total(cache, total);
    more_status status = more_fail(error, MORE_ERROR_MEMORY,
                                   "no memory for %lld more rows of the key-value cache, which holds %lld; shorten the "
                                   "conversation or use a 16-bit cache",
                                   (long long)rows, (long long)cache->length);
    for (int g = 0; g < NN_CACHE_GROUPS && done; g++)
        done = place_table(&cache->tables[g], error);
    if (done)
        return MORE_OK;
    for (int g = 0; g < NN_CACHE_GROUPS; g++) {
        drop_last_pages(&cache->tables[g], before[g]);
        if (cache->tables[g].context)
            status = nn_settled(cache->tables[g].context, status, error); /* a device's own words */
    }
    return status;
}

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

typedef struct write_job {
    nn_cache *cache;
    int64_t layer, rows, stride;
    const float *key, *value;
} write_job;

/* The scale of the channels [first, first + NN_BLOCK) of a row, as it is stored, and what a value is multiplied with. A
 * NaN among them makes the scale one, so that all of the block says so. */
static uint16_t block_scale(const float *row, int64_t first, int64_t dimension, float *inverse)
{
    const float most = 65504.0f; /* the largest of f16 */
    float largest = 0.0f;
    for (int64_t i = first; i < nn_min(first + NN_BLOCK, dimension) && !isnan(largest); i++)
        largest = fabsf(row[i]) <= largest ? largest : fabsf(row[i]);
    if (isnan(largest)) {
        *inverse = 0.0f;
        return nn_f32_to_f16(largest);
    }
    uint16_t scale = nn_f32_to_f16(largest / 127.0f < most ? largest / 127.0f : most);
    float stored = nn_f16_to_f32(scale);
    *inverse = stored > 0.0f ? 1.0f / stored : 0.0f;
    return scale;
}

/* To nearest, in -127 to 127 also where the scale was rounded down: adding 1.5 x 2^23 leaves no bits for a fraction. */
static int8_t quantised(float value, float inverse)
{
    const float magic = 12582912.0f;
    float q = value * inverse;
    q = q > -127.0f ? q : -127.0f;
    q = q < 127.0f ? q : 127.0f;
    return (int8_t)((q + magic) - magic);
}

/* One row of one head in 8 bits: key number `slot` of the page whose keys these are. */
static void write_key_q8(char *keys, int64_t slot, int64_t d, const float *key)
{
    char *panel = keys + slot / NN_PANEL * nn_key_panel_bytes(NN_Q8, d);
    uint16_t *scales = (uint16_t *)(void *)panel + slot % NN_PANEL;
    int8_t *numbers = (int8_t *)panel + nn_scales_bytes(NN_Q8, d, NN_PANEL) + slot % NN_PANEL;
    for (int64_t first = 0; first < d; first += NN_BLOCK) {
        float inverse;
        scales[first / NN_BLOCK * NN_PANEL] = block_scale(key, first, d, &inverse);
        for (int64_t i = first; i < nn_min(first + NN_BLOCK, d); i++)
            numbers[i * NN_PANEL] = quantised(key[i], inverse);
    }
}

static void write_value_q8(char *values, int64_t slot, int64_t d, const float *value)
{
    uint16_t *scales = (uint16_t *)(void *)values + slot;
    int8_t *numbers = (int8_t *)values + nn_scales_bytes(NN_Q8, d, NN_PAGE) + slot * NN_PANEL;
    for (int64_t first = 0; first < d; first += NN_BLOCK) {
        float inverse;
        scales[first / NN_BLOCK * NN_PAGE] = block_scale(value, first, d, &inverse);
        for (int64_t i = first; i < nn_min(first + NN_BLOCK, d); i++)
            numbers[i / NN_PANEL * NN_PAGE * NN_PANEL + i % NN_PANEL] = quantised(value[i], inverse);
    }
}

/* One row of one head: a column of the page's keys, a row of its values, whose padding stays the zeros of a new page.
 */
static void write_head(const write_job *job, int64_t row, int64_t head)
{
    nn_cache *cache = job->cache;
    nn_storage storage = cache->config.storage;
    int64_t d = cache->config.head_dimension, position = cache->length + row, slot = position % NN_PAGE;
    char *keys = nn_page_at(cache, position / NN_PAGE, job->layer, head), *values = keys + nn_values_at(storage, d);
    const float *key = job->key + row * job->stride + head * d, *value = job->value + row * job->stride + head * d;
    if (storage == NN_Q8) {
        write_key_q8(keys, slot, d, key);
        write_value_q8(values, slot, d, value);
        return;
    }
    int64_t key_at = slot / NN_PANEL * d * NN_PANEL + slot % NN_PANEL;
    for (int64_t i = 0; i < d; i++)
        nn_store_value(storage, keys, key_at + i * NN_PANEL, key[i]);
    for (int64_t i = 0; i < d; i++)
        nn_store_value(storage, values, (i / NN_PANEL * NN_PAGE + slot) * NN_PANEL + i % NN_PANEL, value[i]);
}

/* One row of one head an item; heads outermost, so that a worker stays within a page. */
static void write_heads(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const write_job *job = argument;
    for (int64_t i = begin; i < end; i++)
        write_head(job, i % job->rows, i / job->rows);
}

void nn_host_cache_write(nn_cache *cache, int64_t layer, int64_t rows, const float *key, const float *value,
                         int64_t stride)
{
    nn_context *context = nn_cache_table(cache, layer)->context;
    write_job job = {cache, layer, rows, stride, key, value};
    int64_t width = cache->config.key_value_heads * cache->config.head_dimension;
    if (!job.stride)
        job.stride = width;
    double begin = nn_profile_begin(context);
    nn_parallel_sized(context, 4.0 * (double)rows * (double)width, rows * cache->config.key_value_heads, NN_PAGE,
                      write_heads, &job);
    nn_profile_end(context, begin, "cache_write", rows);
}
