/* SPDX-License-Identifier: Apache-2.0 */
#include "device/driver.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"

/* Names as the driver exports them: the headers of CUDA hide the endings. */
static const struct {
    const char *name;
    size_t at;
} entries[] = {
    {"cuGetErrorName", offsetof(core_driver, error_name)},
    {"cuGetErrorString", offsetof(core_driver, error_text)},
    {"cuInit", offsetof(core_driver, start)},
    {"cuDeviceGetCount", offsetof(core_driver, device_count)},
    {"cuDeviceGet", offsetof(core_driver, device_at)},
    {"cuDeviceGetName", offsetof(core_driver, device_name)},
    {"cuDeviceGetAttribute", offsetof(core_driver, device_attribute)},
    {"cuDeviceTotalMem_v2", offsetof(core_driver, device_memory)},
    {"cuDevicePrimaryCtxRetain", offsetof(core_driver, context_retain)},
    {"cuDevicePrimaryCtxRelease_v2", offsetof(core_driver, context_release)},
    {"cuCtxSetCurrent", offsetof(core_driver, context_use)},
    {"cuCtxSynchronize", offsetof(core_driver, context_synchronize)},
    {"cuMemGetInfo_v2", offsetof(core_driver, memory_info)},
    {"cuMemAlloc_v2", offsetof(core_driver, memory_allocate)},
    {"cuMemFree_v2", offsetof(core_driver, memory_free)},
    {"cuMemsetD8Async", offsetof(core_driver, memory_set)},
    {"cuMemHostAlloc", offsetof(core_driver, pinned_allocate)},
    {"cuMemFreeHost", offsetof(core_driver, pinned_free)},
    {"cuPointerGetAttribute", offsetof(core_driver, pointer_attribute)},
    {"cuMemcpyDtoDAsync_v2", offsetof(core_driver, copy)},
    {"cuMemcpyHtoDAsync_v2", offsetof(core_driver, upload)},
    {"cuMemcpyDtoHAsync_v2", offsetof(core_driver, download)},
    {"cuStreamCreate", offsetof(core_driver, stream_create)},
    {"cuStreamDestroy_v2", offsetof(core_driver, stream_destroy)},
    {"cuStreamSynchronize", offsetof(core_driver, stream_synchronize)},
    {"cuStreamWaitEvent", offsetof(core_driver, stream_wait)},
    {"cuEventCreate", offsetof(core_driver, event_create)},
    {"cuEventDestroy_v2", offsetof(core_driver, event_destroy)},
    {"cuEventRecord", offsetof(core_driver, event_record)},
    {"cuEventQuery", offsetof(core_driver, event_query)},
    {"cuEventSynchronize", offsetof(core_driver, event_synchronize)},
};

static more_status find_entries(core_driver *driver, const char *path, more_error *error)
{
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        void *symbol = dlsym(driver->library, entries[i].name);
        if (!symbol)
            return more_fail(error, MORE_ERROR_NOT_FOUND, "%s is no NVIDIA driver, or one too old: it lacks %s", path,
                             entries[i].name);
        memcpy((char *)driver + entries[i].at, &symbol, sizeof symbol);
    }
    return MORE_OK;
}

more_status core_driver_open(core_driver *driver, more_error *error)
{
    const char *chosen = getenv("LLAVAMORE_CUDA_DRIVER"), *path = chosen && *chosen ? chosen : LIBRARY;
    char text[256];
    *driver = (core_driver){.library = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    if (!driver->library)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "no NVIDIA driver: %s cannot be opened (%.300s)", path,
                         dlerror());
    more_status status = find_entries(driver, path, error);
    if (status != MORE_OK)
        return status;
    int result = driver->start(0);
    if (result == DRIVER_NO_DEVICE)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "the NVIDIA driver %s finds no device", path);
    if (result)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "the NVIDIA driver %s does not start: %s", path,
                         core_driver_message(driver, result, text, sizeof text));
    return MORE_OK;
}

const char *core_driver_message(const core_driver *driver, int result, char *text, size_t size)
{
    const char *said = NULL, *name = NULL;
    driver->error_text(result, &said);
    driver->error_name(result, &name);
    if (name)
        snprintf(text, size, "%s (%s)", said ? said : "error", name);
    else
        snprintf(text, size, "error %d", result);
    return text;
}
