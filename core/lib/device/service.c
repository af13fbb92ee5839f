/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of llavamore.cuda/1: each function finds the device, makes it current, and calls what does the work.
 */
#include "device/devices.h"

#include "base/host.h"
#include <llavamore/plugin.h>
#include <string.h>

static more_status use(const more_host *host, int32_t number, core_device **device, more_error *error)
{
    return core_devices_use(core_host_devices(host), number, device, error);
}

/* ---- Devices ----------------------------------------------------------------------------------------------------- */

static int32_t cuda_count(const more_host *host)
{
    return core_devices_count(core_host_devices(host));
}

static const char *cuda_reason(const more_host *host)
{
    core_devices *devices = core_host_devices(host);
    return core_devices_count(devices) ? "" : devices->reason.message;
}

static more_status cuda_describe(const more_host *host, int32_t number, more_cuda_info *info, more_error *error)
{
    core_device *device;
    size_t unused = 0, total = 0;
    more_status status = use(host, number, &device, error);
    if (status == MORE_OK)
        status =
            core_device_check(device, device->driver->memory_info(&unused, &total), "does not say its memory", error);
    if (status != MORE_OK)
        return status;
    more_cuda_info known = {.struct_size = info->struct_size,
                            .capability = device->capability,
                            .processors = device->processors,
                            .total_bytes = device->total_bytes,
                            .free_bytes = (int64_t)unused};
    memcpy(known.name, device->name, sizeof known.name);
    pthread_mutex_lock(&device->memory.lock);
    known.used_bytes = device->memory.used_bytes;
    known.peak_bytes = device->memory.peak_bytes;
    known.cached_bytes = device->memory.cached_bytes;
    pthread_mutex_unlock(&device->memory.lock);
    memcpy(info, &known, info->struct_size < sizeof known ? info->struct_size : sizeof known);
    return MORE_OK;
}

static more_status cuda_use(const more_host *host, int32_t number, more_error *error)
{
    core_device *device;
    return use(host, number, &device, error);
}

/* ---- Streams and events ------------------------------------------------------------------------------------------ */

static more_status cuda_stream_create(const more_host *host, int32_t number, more_cuda_stream *stream,
                                      more_error *error)
{
    core_device *device;
    *stream = NULL;
    more_status status = use(host, number, &device, error);
    if (status == MORE_OK)
        status = core_device_check(device, device->driver->stream_create(stream, DRIVER_STREAM_NON_BLOCKING),
                                   "no stream could be made", error);
    return status;
}

static void cuda_stream_destroy(const more_host *host, int32_t number, more_cuda_stream stream)
{
    core_device *device;
    if (!stream || use(host, number, &device, NULL) != MORE_OK)
        return;
    device->driver->stream_synchronize(stream);
    core_device_forget_stream(device, stream);
    device->driver->stream_destroy(stream);
}

static more_status cuda_synchronize(const more_host *host, int32_t number, more_cuda_stream stream, more_error *error)
{
    core_device *device;
    more_status status = use(host, number, &device, error);
    return status == MORE_OK
               ? core_device_check(device, device->driver->stream_synchronize(stream), "work on it failed", error)
               : status;
}

static more_status cuda_event_create(const more_host *host, int32_t number, more_cuda_event *event, more_error *error)
{
    core_device *device;
    *event = NULL;
    more_status status = use(host, number, &device, error);
    if (status == MORE_OK)
        status = core_device_check(device, device->driver->event_create(event, DRIVER_EVENT_DISABLE_TIMING),
                                   "no event could be made", error);
    return status;
}

static void cuda_event_destroy(const more_host *host, int32_t number, more_cuda_event event)
{
    core_device *device;
    if (event && use(host, number, &device, NULL) == MORE_OK)
        device->driver->event_destroy(event);
}

static more_status cuda_event_record(const more_host *host, int32_t number, more_cuda_event event,
                                     more_cuda_stream stream, more_error *error)
{
    core_device *device;
    more_status status = use(host, number, &device, error);
    return status == MORE_OK
               ? core_device_check(device, device->driver->event_record(event, stream), "recording failed", error)
               : status;
}

static more_status cuda_stream_wait(const more_host *host, int32_t number, more_cuda_stream stream,
                                    more_cuda_event event, more_error *error)
{
    core_device *device;
    more_status status = use(host, number, &device, error);
    return status == MORE_OK
               ? core_device_check(device, device->driver->stream_wait(stream, event, 0), "waiting failed", error)
               : status;
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static more_status cuda_allocate(const more_host *host, int32_t number, more_cuda_stream stream, size_t bytes,
                                 const char *what, void **memory, more_error *error)
{
    core_device *device;
    *memory = NULL;
    more_status status = use(host, number, &device, error);
    return status == MORE_OK ? core_device_allocate(device, stream, bytes, what, memory, error) : status;
}

static void cuda_release(const more_host *host, int32_t number, void *memory)
{
    core_device *device;
    if (memory && use(host, number, &device, NULL) == MORE_OK)
        core_device_release(device, memory);
}

/* What the driver says of a pointer; 0 = pageable memory of the host, which it does not know. */
static int memory_kind(const core_device *device, const void *pointer)
{
    int kind = 0;
    return device->driver->pointer_attribute(&kind, DRIVER_POINTER_MEMORY, (uintptr_t)pointer) ? 0 : kind;
}

static more_status copy_to_host(core_device *device, more_cuda_stream stream, void *to, const void *from, size_t bytes,
                                bool from_device, more_error *error)
{
    int result = from_device ? device->driver->download(to, (uintptr_t)from, bytes, stream) : 0;
    if (!result)
        result = device->driver->stream_synchronize(stream);
    if (!result && !from_device)
        memcpy(to, from, bytes);
    return core_device_check(device, result, "copying to the host failed", error);
}

static more_status cuda_copy(const more_host *host, int32_t number, more_cuda_stream stream, void *to, const void *from,
                             size_t bytes, more_error *error)
{
    core_device *device;
    more_status status = use(host, number, &device, error);
    if (status != MORE_OK || !bytes)
        return status;
    int source = memory_kind(device, from);
    if (memory_kind(device, to) != DRIVER_MEMORY_DEVICE)
        return copy_to_host(device, stream, to, from, bytes, source == DRIVER_MEMORY_DEVICE, error);
    if (source == DRIVER_MEMORY_DEVICE)
        return core_device_check(device, device->driver->copy((uintptr_t)to, (uintptr_t)from, bytes, stream),
                                 "copying failed", error);
    return core_device_upload(device, stream, to, from, bytes, error);
}

static more_status cuda_fill(const more_host *host, int32_t number, more_cuda_stream stream, void *to, uint8_t value,
                             size_t bytes, more_error *error)
{
    core_device *device;
    more_status status = use(host, number, &device, error);
    if (status != MORE_OK || !bytes)
        return status;
    return core_device_check(device, device->driver->memory_set((uintptr_t)to, value, bytes, stream), "filling failed",
                             error);
}

static more_status cuda_stage_begin(const more_host *host, int32_t number, void **piece, size_t *bytes,
                                    more_error *error)
{
    core_device *device;
    more_status status = use(host, number, &device, error);
    return status == MORE_OK ? core_device_stage_begin(device, piece, bytes, error) : status;
}

static more_status cuda_stage_end(const more_host *host, int32_t number, more_cuda_stream stream, void *piece, void *to,
                                  size_t bytes, more_error *error)
{
    core_device *device;
    more_status status = use(host, number, &device, error);
    return status == MORE_OK ? core_device_stage_end(device, stream, piece, to, bytes, error) : status;
}

static void *cuda_cublas(const more_host *host, const char *name)
{
    return core_devices_blas(core_host_devices(host), name);
}

const more_cuda_service *core_cuda_service(void)
{
    static const more_cuda_service service = {.struct_size = MORE_STRUCT_SIZE(more_cuda_service, cublas),
                                              .count = cuda_count,
                                              .reason = cuda_reason,
                                              .describe = cuda_describe,
                                              .use = cuda_use,
                                              .stream_create = cuda_stream_create,
                                              .stream_destroy = cuda_stream_destroy,
                                              .synchronize = cuda_synchronize,
                                              .event_create = cuda_event_create,
                                              .event_destroy = cuda_event_destroy,
                                              .event_record = cuda_event_record,
                                              .stream_wait = cuda_stream_wait,
                                              .allocate = cuda_allocate,
                                              .release = cuda_release,
                                              .copy = cuda_copy,
                                              .fill = cuda_fill,
                                              .stage_begin = cuda_stage_begin,
                                              .stage_end = cuda_stage_end,
                                              .cublas = cuda_cublas};
    return &service;
}
