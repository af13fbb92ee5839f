/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams, as lazy as CUDA allows: what is queued runs when somebody waits for it, so a host that does not wait sees
 * what was there before, and work that should have waited for another stream comes too early.
 */
#include "emulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static emu_stream *streams;
static emu_event *events;
static emu_stream defaults[EMU_MOST_DEVICES]; /* what NULL means: ordered with no other stream */
static const emu_work *running;
static pthread_t runner;

const emu_work *emu_running(void)
{
    return running && pthread_equal(runner, pthread_self()) ? running : NULL;
}

/* ---- Work -------------------------------------------------------------------------------------------------------- */

int emu_stream_add(emu_stream *stream, const emu_work *work)
{
    emu_work *added = static_cast<emu_work *>(malloc(sizeof *added));
    if (!added) {
        free(work->owned);
        return EMU_OUT_OF_MEMORY;
    }
    *added = *work;
    added->next = NULL;
    added->device = stream->device;
    if (stream->last)
        stream->last->next = added;
    else
        stream->first = added;
    stream->last = added;
    return 0;
}

void emu_stream_step(emu_stream *stream)
{
    emu_work *work = stream->first;
    if (!work)
        return;
    stream->first = work->next;
    if (!stream->first)
        stream->last = NULL;
    const emu_work *outer = running;
    running = work;
    runner = pthread_self();
    emu_fault_install();
    emu_memory_open(stream->device);
    work->run(work);
    running = outer;
    free(work->owned);
    free(work);
}

void emu_stream_run(emu_stream *stream, const emu_mark *until)
{
    while (stream->first && !(until && until->done))
        emu_stream_step(stream);
}

void emu_streams_run(int device)
{
    emu_stream_run(&defaults[device], NULL);
    for (emu_stream *stream = streams; stream; stream = stream->next)
        if (stream->device == device)
            emu_stream_run(stream, NULL);
}

/* ---- Kernels ----------------------------------------------------------------------------------------------------- */

static void run_kernel(const emu_work *work)
{
    emu_kernel_run(&work->kernel);
    emu_memory_check(work->device);
}

/* By the limits of every device since compute capability 3. */
static int launch_error(const cudaemu_kernel *kernel)
{
    const dim3 grid = kernel->grid, block = kernel->block;
    if (!grid.x || !grid.y || !grid.z || grid.x > INT32_MAX || grid.y > UINT16_MAX || grid.z > UINT16_MAX)
        return EMU_INVALID_CONFIGURATION;
    if (!block.x || !block.y || !block.z || block.x > EMU_MOST_THREADS || block.y > EMU_MOST_THREADS || block.z > 64 ||
        block.x * block.y > EMU_MOST_THREADS || block.x * block.y * block.z > EMU_MOST_THREADS)
        return EMU_INVALID_CONFIGURATION;
    return kernel->shared > EMU_MOST_SHARED ? EMU_INVALID_VALUE : 0;
}

void cudaemu_check_argument(const void *function, int number, const void *pointer)
{
    emu_lock lock;
    char name[256], text[128];
    const emu_allocation *found = emu_memory_at(pointer);
    if (!pointer || (found && found->place != EMU_PINNED))
        return;
    emu_symbol(function, name, sizeof name);
    if (!emu_memory_describe(pointer, text, sizeof text))
        snprintf(text, sizeof text, "%p, no device memory", pointer);
    emu_fail("argument %d of kernel %s is %s", number, name, text);
}

int cudaemu_queue(const cudaemu_kernel *kernel, void *handle)
{
    emu_lock lock;
    int error = launch_error(kernel);
    emu_stream *stream = emu_stream_of(handle);
    if (!error && emu_current_device() == EMU_NOWHERE)
        error = EMU_INVALID_CONTEXT;
    else if (!error && !stream)
        error = EMU_INVALID_HANDLE;
    emu_work work = {};
    work.run = run_kernel;
    work.owned = kernel->call;
    work.kernel = *kernel;
    if (!error)
        return emu_stream_add(stream, &work);
    free(kernel->call);
    return error;
}

/* ---- Streams ----------------------------------------------------------------------------------------------------- */

emu_stream *emu_stream_of(void *handle)
{
    int device = emu_current_device();
    if (device == EMU_NOWHERE)
        return NULL;
    if (reinterpret_cast<uintptr_t>(handle) <= 2) { /* and the two names of the default stream */
        defaults[device].device = device;
        return &defaults[device];
    }
    for (emu_stream *stream = streams; stream; stream = stream->next)
        if (stream == handle)
            return stream->device == device ? stream : NULL;
    return NULL;
}

int cuStreamCreate(void **handle, unsigned flags)
{
    emu_lock lock;
    if (emu_current_device() == EMU_NOWHERE)
        return EMU_INVALID_CONTEXT;
    if (!handle || flags > 1)
        return EMU_INVALID_VALUE;
    emu_stream *stream = static_cast<emu_stream *>(calloc(1, sizeof *stream));
    if (!stream)
        return EMU_OUT_OF_MEMORY;
    stream->device = emu_current_device();
    stream->next = streams;
    streams = stream;
    *handle = stream;
    return 0;
}

/* What is queued still runs, as on a device. */
int cuStreamDestroy_v2(void *handle)
{
    emu_lock lock;
    emu_stream *stream = emu_stream_of(handle);
    if (!stream || stream == &defaults[stream->device])
        return EMU_INVALID_HANDLE;
    emu_stream_run(stream, NULL);
    emu_stream **at = &streams;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    free(stream);
    return 0;
}

int cuStreamSynchronize(void *handle)
{
    emu_lock lock;
    emu_stream *stream = emu_stream_of(handle);
    if (!stream)
        return EMU_INVALID_HANDLE;
    emu_stream_run(stream, NULL);
    return 0;
}

/* Whoever asks again and again comes to an end. */
int cuStreamQuery(void *handle)
{
    emu_lock lock;
    emu_stream *stream = emu_stream_of(handle);
    if (!stream)
        return EMU_INVALID_HANDLE;
    emu_stream_step(stream);
    return stream->first ? EMU_NOT_READY : 0;
}

int cuCtxSynchronize(void)
{
    emu_lock lock;
    if (emu_current_device() == EMU_NOWHERE)
        return EMU_INVALID_CONTEXT;
    emu_streams_run(emu_current_device());
    return 0;
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static void drop(emu_mark *mark)
{
    if (mark && --mark->references == 0)
        free(mark);
}

static void wait_for(const emu_mark *mark)
{
    if (mark && !mark->done)
        emu_stream_run(mark->stream, mark);
}

static void run_record(const emu_work *work)
{
    work->mark->done = true;
    drop(work->mark);
}

static void run_wait(const emu_work *work)
{
    wait_for(work->mark);
    drop(work->mark);
}

static emu_event *event_of(void *handle)
{
    emu_event *event = events;
    while (event && event != handle)
        event = event->next;
    return event;
}

static int add_mark(emu_stream *stream, emu_mark *mark, const char *name, void (*run)(const emu_work *work))
{
    emu_work work = {};
    work.name = name;
    work.run = run;
    work.mark = mark;
    mark->references++;
    int error = emu_stream_add(stream, &work);
    if (error)
        drop(mark);
    return error;
}

int cuEventCreate(void **handle, unsigned flags)
{
    emu_lock lock;
    if (emu_current_device() == EMU_NOWHERE)
        return EMU_INVALID_CONTEXT;
    if (!handle || flags > 7)
        return EMU_INVALID_VALUE;
    emu_event *event = static_cast<emu_event *>(calloc(1, sizeof *event));
    if (!event)
        return EMU_OUT_OF_MEMORY;
    event->device = emu_current_device();
    event->next = events;
    events = event;
    *handle = event;
    return 0;
}

int cuEventDestroy_v2(void *handle)
{
    emu_lock lock;
    emu_event *event = event_of(handle);
    if (!event)
        return EMU_INVALID_HANDLE;
    emu_event **at = &events;
    while (*at != event)
        at = &(*at)->next;
    *at = event->next;
    drop(event->mark);
    free(event);
    return 0;
}

int cuEventRecord(void *handle, void *stream_handle)
{
    emu_lock lock;
    emu_event *event = event_of(handle);
    emu_stream *stream = emu_stream_of(stream_handle);
    if (!event || !stream || event->device != stream->device)
        return EMU_INVALID_HANDLE;
    emu_mark *mark = static_cast<emu_mark *>(calloc(1, sizeof *mark));
    if (!mark)
        return EMU_OUT_OF_MEMORY;
    mark->stream = stream;
    mark->references = 1;
    drop(event->mark);
    event->mark = mark;
    return add_mark(stream, mark, "cuEventRecord", run_record);
}

/* Of the record that is the last one now; an event never recorded is waited for by nobody. */
int cuStreamWaitEvent(void *stream_handle, void *handle, unsigned flags)
{
    emu_lock lock;
    emu_event *event = event_of(handle);
    emu_stream *stream = emu_stream_of(stream_handle);
    if (!event || !stream)
        return EMU_INVALID_HANDLE;
    if (flags)
        return EMU_INVALID_VALUE;
    return event->mark ? add_mark(stream, event->mark, "cuStreamWaitEvent", run_wait) : 0;
}

int cuEventQuery(void *handle)
{
    emu_lock lock;
    emu_event *event = event_of(handle);
    if (!event)
        return EMU_INVALID_HANDLE;
    if (event->mark && !event->mark->done)
        emu_stream_step(event->mark->stream);
    return !event->mark || event->mark->done ? 0 : EMU_NOT_READY;
}

int cuEventSynchronize(void *handle)
{
    emu_lock lock;
    emu_event *event = event_of(handle);
    if (!event)
        return EMU_INVALID_HANDLE;
    wait_for(event->mark);
    return 0;
}

/* ---- Leaks ------------------------------------------------------------------------------------------------------- */

int emu_streams_leaks(bool print)
{
    int leaks = 0;
    for (const emu_stream *stream = streams; stream; stream = stream->next, leaks++)
        if (print)
            fprintf(stderr, "cudaemu: leak: a stream of device %d\n", stream->device);
    for (const emu_event *event = events; event; event = event->next, leaks++)
        if (print)
            fprintf(stderr, "cudaemu: leak: an event of device %d\n", event->device);
    return leaks;
}
