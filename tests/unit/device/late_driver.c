/* SPDX-License-Identifier: Apache-2.0
 *
 * An NVIDIA driver for tests that does nothing before it must: work on a stream is done when somebody waits for it, and
 * in no order but the one that was asked for. Who forgets to wait reads what was there before, and who frees too early
 * is counted.
 */
#include "late_driver.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NOT_READY = 600, MOST_DEVICES = 8, MOST = 4096 };

typedef enum work_kind { WORK_COPY, WORK_FILL, WORK_RECORD, WORK_WAIT } work_kind;

typedef struct late_event {
    int64_t recorded, reached; /* tickets; equal = nothing is outstanding */
    struct late_stream *stream;
} late_event;

typedef struct work {
    work_kind kind;
    char *to;
    const char *from;
    size_t bytes;
    unsigned char value;
    late_event *event;
    int64_t ticket;
} work;

typedef struct late_stream {
    int device;
    work *queue;
    size_t begin, end;
} late_stream;

typedef enum thing_kind { THING_NONE, THING_MEMORY, THING_PINNED, THING_STREAM, THING_EVENT } thing_kind;

typedef struct thing {
    thing_kind kind;
    void *pointer;
    size_t bytes;
    int device;
} thing;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int devices = 2, misuses, failure;
static size_t capacity = 64 << 20;
static char failing[64];
static int64_t tickets;
static struct {
    int contexts;
    size_t used;
    late_stream common;
} device_of[MOST_DEVICES];
static thing things[MOST];
static _Thread_local int current = -1; /* device, by its context */

/* ---- Tables ----------------------------------------------------------------------------------------------------- */

static int add(thing_kind kind, void *pointer, size_t bytes)
{
    for (size_t i = 0; i < MOST; i++)
        if (things[i].kind == THING_NONE) {
            things[i] = (thing){kind, pointer, bytes, current};
            return SUCCESS;
        }
    return OUT_OF_MEMORY;
}

static thing *find(thing_kind kind, const void *pointer)
{
    for (size_t i = 0; i < MOST; i++)
        if (things[i].kind == kind && things[i].pointer == pointer)
            return &things[i];
    misuses++;
    return NULL;
}

static bool inside(const thing *all, const char *pointer)
{
    return pointer >= (char *)all->pointer && pointer < (char *)all->pointer + all->bytes;
}

/* True once a test asked for the failure of this entry. */
static bool fails(const char *entry)
{
    bool now = !strcmp(failing, entry);
    if (now)
        failing[0] = '\0';
    return now;
}

/* ---- Streams ---------------------------------------------------------------------------------------------------- */

static void run_until(late_stream *stream, const late_event *event, int64_t ticket);

static void run_one(late_stream *stream)
{
    work next = stream->queue[stream->begin++];
    if (next.kind == WORK_COPY)
        memmove(next.to, next.from, next.bytes);
    else if (next.kind == WORK_FILL)
        memset(next.to, next.value, next.bytes);
    else if (next.kind == WORK_RECORD)
        next.event->reached = next.ticket;
    else if (next.event->stream != stream)
        run_until(next.event->stream, next.event, next.ticket);
}

/* All of it without an event. An event that was reached may outlive its stream. */
static void run_until(late_stream *stream, const late_event *event, int64_t ticket)
{
    while (stream && !(event && event->reached >= ticket) && stream->begin < stream->end)
        run_one(stream);
}

static late_stream *stream_at(void *handle)
{
    if (handle)
        return find(THING_STREAM, handle) ? handle : NULL;
    if (current < 0) {
        misuses++;
        return NULL;
    }
    device_of[current].common.device = current;
    return &device_of[current].common;
}

static int queue(void *handle, const work *next)
{
    late_stream *stream = stream_at(handle);
    if (!stream)
        return INVALID;
    work *grown = realloc(stream->queue, (stream->end + 1) * sizeof *grown);
    if (!grown)
        return OUT_OF_MEMORY;
    stream->queue = grown;
    stream->queue[stream->end++] = *next;
    return SUCCESS;
}

static bool is_needed(const late_stream *stream, const thing *memory)
{
    for (size_t i = stream->begin; i < stream->end; i++)
        if (inside(memory, stream->queue[i].to) || inside(memory, stream->queue[i].from))
            return true;
    return false;
}

static int free_memory(thing_kind kind, void *pointer)
{
    thing *memory = find(kind, pointer);
    if (!memory)
        return INVALID;
    for (int i = 0; i < MOST_DEVICES; i++)
        misuses += is_needed(&device_of[i].common, memory);
    for (size_t i = 0; i < MOST; i++)
        if (things[i].kind == THING_STREAM)
            misuses += is_needed(things[i].pointer, memory);
    if (kind == THING_MEMORY)
        device_of[memory->device].used -= memory->bytes;
    free(pointer);
    memory->kind = THING_NONE;
    return SUCCESS;
}

/* ---- For tests -------------------------------------------------------------------------------------------------- */

ENTRY void late_reset(int count, unsigned long long bytes)
{
    devices = count;
    capacity = (size_t)bytes;
    misuses = 0;
    failing[0] = '\0';
}

ENTRY int late_live(void)
{
    int live = 0;
    for (int i = 0; i < MOST_DEVICES; i++)
        live += device_of[i].contexts;
    for (size_t i = 0; i < MOST; i++)
        live += things[i].kind != THING_NONE;
    return live;
}

ENTRY int late_misuses(void)
{
    return misuses;
}

ENTRY void late_fail(const char *entry, int result)
{
    strncpy(failing, entry, sizeof failing - 1);
    failure = result;
}

ENTRY unsigned long long late_used(int device)
{
    return device_of[device].used;
}

/* ---- The driver's entry points ----------------------------------------------------------------------------------
 * Each is its body under the lock; a failure that a test asked for comes before. */

#define DRIVER(name, parameters, body)                                                                                 \
    ENTRY int name parameters                                                                                          \
    {                                                                                                                  \
        pthread_mutex_lock(&lock);                                                                                     \
        int result = SUCCESS;                                                                                          \
        if (fails(#name))                                                                                              \
            result = failure;                                                                                          \
        else                                                                                                           \
            body;                                                                                                      \
        pthread_mutex_unlock(&lock);                                                                                   \
        return result;                                                                                                 \
    }

DRIVER(cuGetErrorName, (int number, const char **name),
       *name = number == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN")
DRIVER(cuGetErrorString, (int number, const char **text), *text = number == OUT_OF_MEMORY ? "out of memory" : "unknown")
DRIVER(cuInit, (unsigned flags), result = devices ? (int)flags : NO_DEVICE)
DRIVER(cuDeviceGetCount, (int *count), *count = devices)
DRIVER(cuDeviceGet, (int *device, int index), *device = index)
DRIVER(cuDeviceGetName, (char *name, int size, int device),
       { strncpy(name, device ? "Late Two" : "Late One", (size_t)size); })
DRIVER(cuDeviceGetAttribute, (int *value, int attribute, int device),
       *value = attribute == 16   ? 10 + device
                : attribute == 75 ? 9
                                  : 0)
DRIVER(cuDeviceTotalMem_v2, (size_t * bytes, int device), *bytes = device < devices ? capacity : 0)
DRIVER(cuDevicePrimaryCtxRetain, (void **context, int device), {
    device_of[device].contexts++;
    *context = &device_of[device];
})
DRIVER(cuDevicePrimaryCtxRelease_v2, (int device), device_of[device].contexts--)
DRIVER(cuCtxSetCurrent, (void *context), {
    current = -1;
    for (int i = 0; i < MOST_DEVICES; i++)
        current = context == &device_of[i] ? i : current;
})
DRIVER(cuCtxSynchronize, (void), {
    run_until(&device_of[current].common, NULL, 0);
    for (size_t i = 0; i < MOST; i++)
        if (things[i].kind == THING_STREAM && things[i].device == current)
            run_until(things[i].pointer, NULL, 0);
})
DRIVER(cuMemGetInfo_v2, (size_t * left, size_t *total), {
    *total = capacity;
    *left = capacity - device_of[current].used;
})
DRIVER(cuMemAlloc_v2, (unsigned long long *memory, size_t bytes), {
    void *made = bytes <= capacity - device_of[current].used ? malloc(bytes) : NULL;
    result = made ? add(THING_MEMORY, made, bytes) : OUT_OF_MEMORY;
    device_of[current].used += result ? 0 : bytes;
    *memory = (uintptr_t)made;
})
DRIVER(cuMemFree_v2, (unsigned long long memory), result = free_memory(THING_MEMORY, (void *)(uintptr_t)memory))
DRIVER(cuMemHostAlloc, (void **memory, size_t bytes, unsigned flags), {
    *memory = malloc(bytes);
    result = *memory && !flags ? add(THING_PINNED, *memory, bytes) : OUT_OF_MEMORY;
})
DRIVER(cuMemFreeHost, (void *memory), result = free_memory(THING_PINNED, memory))
DRIVER(cuPointerGetAttribute, (void *value, int attribute, unsigned long long pointer), {
    int kind = 0;
    for (size_t i = 0; i < MOST; i++)
        if ((things[i].kind == THING_MEMORY || things[i].kind == THING_PINNED) &&
            inside(&things[i], (char *)(uintptr_t)pointer))
            kind = things[i].kind == THING_PINNED ? 1 : 2;
    memcpy(value, &kind, sizeof kind);
    result = kind && attribute == 2 ? SUCCESS : INVALID;
})
DRIVER(cuMemcpyDtoDAsync_v2, (unsigned long long to, unsigned long long from, size_t bytes, void *stream),
       result = queue(stream, &(work){.kind = WORK_COPY, .to = (void *)to, .from = (const void *)from, .bytes = bytes}))
DRIVER(cuMemcpyHtoDAsync_v2, (unsigned long long to, const void *from, size_t bytes, void *stream),
       result = queue(stream, &(work){.kind = WORK_COPY, .to = (void *)to, .from = from, .bytes = bytes}))
DRIVER(cuMemcpyDtoHAsync_v2, (void *to, unsigned long long from, size_t bytes, void *stream),
       result = queue(stream, &(work){.kind = WORK_COPY, .to = to, .from = (const void *)from, .bytes = bytes}))
DRIVER(cuMemsetD8Async, (unsigned long long to, unsigned char value, size_t count, void *stream),
       result = queue(stream, &(work){.kind = WORK_FILL, .to = (void *)to, .bytes = count, .value = value}))
DRIVER(cuStreamCreate, (void **stream, unsigned flags), {
    late_stream *made = calloc(1, sizeof *made);
    result = made && flags == 1 ? add(THING_STREAM, made, 0) : INVALID;
    *stream = made;
})
DRIVER(cuStreamDestroy_v2, (void *stream), {
    thing *known = find(THING_STREAM, stream);
    late_stream *own = stream;
    if (known) {
        misuses += own->begin < own->end;
        free(own->queue);
        free(own);
        known->kind = THING_NONE;
    }
})
DRIVER(cuStreamSynchronize, (void *stream), run_until(stream_at(stream), NULL, 0))
DRIVER(cuStreamWaitEvent, (void *stream, void *event, unsigned flags), {
    late_event *known = event;
    result = flags || !find(THING_EVENT, event)
                 ? INVALID
                 : queue(stream, &(work){.kind = WORK_WAIT, .event = known, .ticket = known->recorded});
})
DRIVER(cuEventCreate, (void **event, unsigned flags), {
    *event = calloc(1, sizeof(late_event));
    result = *event && flags == 2 ? add(THING_EVENT, *event, 0) : INVALID;
})
DRIVER(cuEventDestroy_v2, (void *event), {
    thing *known = find(THING_EVENT, event);
    late_event *own = event;
    if (known) {
        misuses += own->reached < own->recorded;
        free(own);
        known->kind = THING_NONE;
    }
})
DRIVER(cuEventRecord, (void *event, void *stream), {
    late_event *known = event;
    if (find(THING_EVENT, event)) {
        known->stream = stream_at(stream);
        known->recorded = ++tickets;
        result = queue(stream, &(work){.kind = WORK_RECORD, .event = known, .ticket = known->recorded});
    }
})
DRIVER(cuEventQuery, (void *event),
       result = ((late_event *)event)->reached < ((late_event *)event)->recorded ? NOT_READY : SUCCESS)
DRIVER(cuEventSynchronize, (void *event),
       run_until(((late_event *)event)->stream, event, ((late_event *)event)->recorded))
