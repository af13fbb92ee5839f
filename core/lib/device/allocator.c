/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of a device. The driver's own calls are slow and may wait for all that is queued, so what is given back is
 * kept: for its stream, where the next user's work stands behind the last one's.
 */
#include "device/devices.h"

#include "base/host.h"
#include <stdlib.h>
#include <string.h>

#define SMALLEST ((size_t)512)
#define LARGEST_STEP ((size_t)2 << 20)

struct device_block {
    device_block *next;
    driver_address memory;
    size_t bytes;
    more_cuda_stream stream; /* where its last user's work is queued */
    bool idle;               /* no work is queued anywhere: kept, it is everyone's */
};

/* Steps of an eighth of the size, so that what differs little shares blocks and at most an eighth is wasted. */
static size_t rounded(size_t bytes)
{
    size_t step = SMALLEST;
    while (step < LARGEST_STEP && step * 16 <= bytes)
        step *= 2;
    return bytes ? (bytes + step - 1) / step * step : SMALLEST;
}

/* Both addresses and sizes are multiples of SMALLEST. */
static size_t bucket_of(unsigned long long value)
{
    return (size_t)((value / SMALLEST * 0x9e3779b97f4a7c15ULL) >> 32) % DEVICE_BUCKETS;
}

static void put(device_block **table, unsigned long long key, device_block *block)
{
    device_block **bucket = &table[bucket_of(key)];
    block->next = *bucket;
    *bucket = block;
}

/* ---- Freeing ----------------------------------------------------------------------------------------------------- */

static void free_table(core_device *device, device_block **table)
{
    for (size_t i = 0; i < DEVICE_BUCKETS; i++)
        while (table[i]) {
            device_block *block = table[i];
            table[i] = block->next;
            device->driver->memory_free(block->memory);
            free(block);
        }
}

/* Everything kept goes back to the driver, once no work that is queued can still be reading it. */
static int flush(core_device *device)
{
    int result = device->driver->context_synchronize();
    if (result)
        return result;
    free_table(device, device->memory.kept);
    device->memory.cached_bytes = 0;
    return 0;
}

void core_device_free_memory(core_device *device)
{
    free_table(device, device->memory.kept);
    free_table(device, device->memory.used);
}

/* ---- Running out ------------------------------------------------------------------------------------------------- */

/* "81,920": the groups are what tells 8 GiB from 80 at a glance. */
static const char *mebibytes(size_t bytes, char text[32])
{
    char plain[24];
    size_t length = (size_t)snprintf(plain, sizeof plain, "%zu", bytes >> 20), used = 0;
    for (size_t i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = plain[i];
    }
    text[used] = '\0';
    return text;
}

static more_status out_of_memory(const core_device *device, size_t bytes, const char *what, more_error *error)
{
    char needed[32], unused[32], all[32], held[32];
    size_t room = 0, total = (size_t)device->total_bytes;
    device->driver->memory_info(&room, &total);
    return more_fail(
        error, MORE_ERROR_MEMORY,
        "cuda:%d (%s): no memory for %.200s: %s MiB needed, %s MiB free of %s, %s MiB held by this program; "
        "kv_cache = f16, a shorter context, quantised weights or [runtime] device = cpu need less of it",
        (int)device->number, device->name, what ? what : "what was asked for",
        mebibytes(bytes + ((1 << 20) - 1), needed), mebibytes(room, unused), mebibytes(total, all),
        mebibytes((size_t)(device->memory.used_bytes + device->memory.cached_bytes), held));
}

/* ---- Allocating -------------------------------------------------------------------------------------------------- */

/* A kept block of this size for work on `stream`: the stream's own, else one that is everyone's. */
static device_block *take_kept(device_memory *memory, more_cuda_stream stream, size_t bytes)
{
    device_block **found = NULL;
    for (device_block **at = &memory->kept[bucket_of(bytes)]; *at; at = &(*at)->next) {
        if ((*at)->bytes != bytes || (!(*at)->idle && (*at)->stream != stream))
            continue;
        found = at;
        if (!(*at)->idle)
            break;
    }
    device_block *block = found ? *found : NULL;
    if (block) {
        *found = block->next;
        memory->cached_bytes -= (int64_t)bytes;
    }
    return block;
}

static more_status make_block(core_device *device, size_t bytes, const char *what, device_block **made,
                              more_error *error)
{
    device_block *block = calloc(1, sizeof *block);
    if (!block)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    block->bytes = bytes;
    int result = device->driver->memory_allocate(&block->memory, bytes);
    if (result == DRIVER_OUT_OF_MEMORY && device->memory.cached_bytes) {
        result = flush(device);
        if (!result)
            result = device->driver->memory_allocate(&block->memory, bytes);
    }
    if (!result) {
        *made = block;
        return MORE_OK;
    }
    free(block);
    return result == DRIVER_OUT_OF_MEMORY ? out_of_memory(device, bytes, what, error)
                                          : core_device_check(device, result, "allocating failed", error);
}

more_status core_device_allocate(core_device *device, more_cuda_stream stream, size_t bytes, const char *what,
                                 void **memory, more_error *error)
{
    device_memory *self = &device->memory;
    more_status status = MORE_OK;
    *memory = NULL;
    pthread_mutex_lock(&self->lock);
    if (bytes > SIZE_MAX / 2) {
        status = out_of_memory(device, SIZE_MAX / 2, what, error);
    } else {
        device_block *block = take_kept(self, stream, rounded(bytes));
        if (!block)
            status = make_block(device, rounded(bytes), what, &block, error);
        if (block) {
            block->stream = stream;
            block->idle = false;
            put(self->used, block->memory, block);
            self->used_bytes += (int64_t)block->bytes;
            self->peak_bytes = self->used_bytes > self->peak_bytes ? self->used_bytes : self->peak_bytes;
            *memory = (void *)(uintptr_t)block->memory;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

void core_device_release(core_device *device, void *memory)
{
    device_memory *self = &device->memory;
    driver_address address = (uintptr_t)memory;
    pthread_mutex_lock(&self->lock);
    device_block **at = &self->used[bucket_of(address)];
    while (*at && (*at)->memory != address)
        at = &(*at)->next;
    device_block *block = *at;
    if (block) {
        *at = block->next;
        self->used_bytes -= (int64_t)block->bytes;
        self->cached_bytes += (int64_t)block->bytes;
        put(self->kept, block->bytes, block);
    }
    pthread_mutex_unlock(&self->lock);
    if (!block)
        core_log(device->devices->host, MORE_LOG_ERROR, "cuda", "cuda:%d: memory was given back that nobody had",
                 (int)device->number);
}

/* Frees the stream's blocks of a kept bucket. */
static void free_of_stream(core_device *device, device_block **bucket, more_cuda_stream stream)
{
    while (*bucket) {
        device_block *block = *bucket;
        if (block->stream != stream) {
            bucket = &block->next;
            continue;
        }
        *bucket = block->next;
        device->memory.cached_bytes -= (int64_t)block->bytes;
        device->driver->memory_free(block->memory);
        free(block);
    }
}

void core_device_forget_stream(core_device *device, more_cuda_stream stream)
{
    device_memory *self = &device->memory;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < DEVICE_BUCKETS; i++) {
        free_of_stream(device, &self->kept[i], stream);
        for (device_block *block = self->used[i]; block; block = block->next)
            block->idle = block->idle || block->stream == stream;
    }
    pthread_mutex_unlock(&self->lock);
}
