/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda/kernels.h"

typedef unsigned long long address; /* CUdeviceptr */

static struct {
    int (*start)(unsigned flags);
    int (*device_count)(int *count);
    int (*context_retain)(void **context, int device);
    int (*context_use)(void *context);
    int (*context_release)(int device);
    int (*allocate)(address *memory, size_t bytes);
    int (*release)(address memory);
    int (*upload)(address to, const void *from, size_t bytes, void *stream);
    int (*download)(void *to, address from, size_t bytes, void *stream);
    int (*set)(address to, unsigned char value, size_t bytes, void *stream);
    int (*stream_create)(void **stream, unsigned flags);
    int (*stream_destroy)(void *stream);
    int (*stream_synchronize)(void *stream);
    int (*error_name)(int error, const char **name);
    int (*leaks)(void); /* NULL = no emulator */
} driver;

static void *stream;

/* Addresses of 0 bytes lie behind an allocation of their own. */
enum { NOTHING = 256 };

static struct {
    const void *shown;
    address memory;
} * held;
static size_t held_count;

static void find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    if (!symbol)
        fail_msg("the driver lacks %s", name);
    memcpy(function, &symbol, sizeof symbol);
}

static void find_all(void *library)
{
    find(library, "cuInit", &driver.start);
    find(library, "cuDeviceGetCount", &driver.device_count);
    find(library, "cuDevicePrimaryCtxRetain", &driver.context_retain);
    find(library, "cuCtxSetCurrent", &driver.context_use);
    find(library, "cuDevicePrimaryCtxRelease_v2", &driver.context_release);
    find(library, "cuMemAlloc_v2", &driver.allocate);
    find(library, "cuMemFree_v2", &driver.release);
    find(library, "cuMemcpyHtoDAsync_v2", &driver.upload);
    find(library, "cuMemcpyDtoHAsync_v2", &driver.download);
    find(library, "cuMemsetD8Async", &driver.set);
    find(library, "cuStreamCreate", &driver.stream_create);
    find(library, "cuStreamDestroy_v2", &driver.stream_destroy);
    find(library, "cuStreamSynchronize", &driver.stream_synchronize);
    find(library, "cuGetErrorName", &driver.error_name);
    void *leaks = dlsym(library, "cudaemu_leaks");
    memcpy(&driver.leaks, &leaks, sizeof leaks);
}

static void check(int result, const char *what)
{
    const char *name = NULL;
    if (!result)
        return;
    driver.error_name(result, &name);
    fail_msg("%s: %s (%d)", what, name ? name : "unknown error", result);
}

void harness_open(void)
{
    const char *chosen = getenv("LLAVAMORE_CUDA_DRIVER");
    const char *path = chosen && *chosen ? chosen : "libcuda.so.1";
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *context = NULL;
    int count = 0;
    if (library)
        find_all(library);
    if (!library || driver.start(0) || driver.device_count(&count) || !count) {
        print_message("skipped: %s\n", library ? "no device" : dlerror());
        exit(77);
    }
    check(driver.context_retain(&context, 0), "the device cannot be used");
    check(driver.context_use(context), "the device cannot be used");
    check(driver.stream_create(&stream, 1), "no stream");
}

void harness_close(void)
{
    check(driver.stream_synchronize(stream), "work on the device failed");
    check(driver.stream_destroy(stream), "the stream cannot be destroyed");
    if (held_count)
        fail_msg("%zu allocations were not freed", held_count);
    free(held);
    held = NULL;
    if (driver.leaks && driver.leaks())
        fail_msg("%d things of the device were not freed", driver.leaks());
    check(driver.context_use(NULL), "the device cannot be left");
    check(driver.context_release(0), "the device cannot be left");
}

static void *hold(size_t bytes)
{
    void *grown = realloc(held, (held_count + 1) * sizeof *held);
    assert_non_null(grown);
    held = grown;
    address memory = 0;
    check(driver.allocate(&memory, bytes ? bytes : NOTHING), "no device memory");
    void *shown = (char *)(uintptr_t)memory + (bytes ? 0 : NOTHING);
    held[held_count].shown = shown;
    held[held_count++].memory = memory;
    return shown;
}

void *harness_upload(const void *host, size_t bytes)
{
    void *device = hold(bytes);
    if (bytes)
        check(driver.upload((uintptr_t)device, host, bytes, stream), "uploading failed");
    return device;
}

void *harness_alloc(size_t bytes)
{
    void *device = hold(bytes);
    if (bytes)
        check(driver.set((uintptr_t)device, 0xff, bytes, stream), "filling failed");
    return device;
}

void harness_download(void *host, const void *device, size_t bytes)
{
    check(driver.stream_synchronize(stream), "work on the device failed");
    if (bytes)
        check(driver.download(host, (uintptr_t)device, bytes, stream), "downloading failed");
    check(driver.stream_synchronize(stream), "downloading failed");
}

void harness_free(void *device)
{
    if (!device)
        return;
    for (size_t i = 0; i < held_count; i++)
        if (held[i].shown == device) {
            check(driver.release(held[i].memory), "freeing failed");
            held[i] = held[--held_count];
            return;
        }
    fail_msg("%p was not allocated here", device);
}

void *harness_stream(void)
{
    return stream;
}

void harness_check(int error)
{
    if (error)
        fail_msg("a kernel was not launched: %s (%d)", nn_cuda_table()->message(error), error);
}
