/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver's entry points under their exported names: devices, contexts, memory and copies.
 */
#include "emulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct context {
    int device;
    int retained;
} context;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool started;
static int devices;
static size_t memory_bytes;
static context contexts[EMU_MOST_DEVICES];
static __thread context *current;

emu_lock::emu_lock()
{
    pthread_mutex_lock(&mutex);
}

emu_lock::~emu_lock()
{
    emu_memory_open(EMU_NOWHERE);
    pthread_mutex_unlock(&mutex);
}

int emu_current_device(void)
{
    return current ? current->device : EMU_NOWHERE;
}

int emu_device_count(void)
{
    return devices;
}

size_t emu_device_memory(void)
{
    return memory_bytes;
}

static void *pointer(cudaemu_address address)
{
    return reinterpret_cast<void *>(static_cast<uintptr_t>(address));
}

/* ---- Starting ---------------------------------------------------------------------------------------------------- */

static long long number_of(const char *name, long long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoll(text, NULL, 0) : otherwise;
}

bool emu_environment(const char *name, const char *value)
{
    const char *text = getenv(name);
    return text && strcmp(text, value) == 0;
}

int cuInit(unsigned flags)
{
    emu_lock lock;
    if (flags)
        return EMU_INVALID_VALUE;
    if (!started) {
        devices = static_cast<int>(number_of("CUDAEMU_DEVICES", 1));
        if (devices < 0 || devices > EMU_MOST_DEVICES)
            emu_fail("CUDAEMU_DEVICES=%d: there are 0 to %d", devices, EMU_MOST_DEVICES);
        memory_bytes = static_cast<size_t>(number_of("CUDAEMU_MEMORY", 4LL << 30));
        cudaemu_fail_allocation(number_of("CUDAEMU_FAIL_ALLOCATION", 0));
        for (int i = 0; i < EMU_MOST_DEVICES; i++)
            contexts[i].device = i;
        started = true;
    }
    return devices ? 0 : EMU_NO_DEVICE;
}

int cuDriverGetVersion(int *version)
{
    *version = 13000;
    return 0;
}

/* ---- Devices ----------------------------------------------------------------------------------------------------- */

static int device_error(int device)
{
    return !started ? EMU_NOT_INITIALIZED : device < 0 || device >= devices ? EMU_INVALID_DEVICE : 0;
}

int cuDeviceGetCount(int *count)
{
    *count = devices;
    return started ? 0 : EMU_NOT_INITIALIZED;
}

int cuDeviceGet(int *device, int index)
{
    *device = index;
    return device_error(index);
}

int cuDeviceGetName(char *name, int size, int device)
{
    if (!device_error(device))
        snprintf(name, static_cast<size_t>(size), "CUDA emulator");
    return device_error(device);
}

/* Numbers of CUdevice_attribute, and what an H100 says, but for the processors: few make a small test use them all. */
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    static const struct {
        int attribute, value;
    } known[] = {{1, EMU_MOST_THREADS},
                 {2, EMU_MOST_THREADS},
                 {3, EMU_MOST_THREADS},
                 {4, 64},
                 {5, INT32_MAX},
                 {6, UINT16_MAX},
                 {7, UINT16_MAX},
                 {8, 48 << 10},
                 {10, EMU_WARP},
                 {12, 65536},
                 {13, 1000000},
                 {16, 4},
                 {18, 0},
                 {19, 1},
                 {31, 1},
                 {36, 1000000},
                 {37, 5120},
                 {38, 50 << 20},
                 {39, 2048},
                 {41, 1},
                 {75, 9},
                 {76, 0},
                 {81, 228 << 10},
                 {82, 65536},
                 {83, 0},
                 {97, EMU_MOST_SHARED},
                 {106, 32},
                 {111, 1024},
                 {115, 0}};
    if (device_error(device))
        return device_error(device);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].attribute == attribute) {
            *value = known[i].value;
            return 0;
        }
    return EMU_INVALID_VALUE;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    *bytes = memory_bytes;
    return device_error(device);
}

/* ---- Contexts ---------------------------------------------------------------------------------------------------- */

int cuDevicePrimaryCtxRetain(void **handle, int device)
{
    emu_lock lock;
    if (device_error(device))
        return device_error(device);
    contexts[device].retained++;
    *handle = &contexts[device];
    return 0;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
    emu_lock lock;
    if (device_error(device))
        return device_error(device);
    if (!contexts[device].retained)
        return EMU_INVALID_CONTEXT;
    if (--contexts[device].retained == 0)
        emu_streams_run(device);
    return 0;
}

int cuCtxSetCurrent(void *handle)
{
    emu_lock lock;
    context *chosen = static_cast<context *>(handle);
    if (chosen && (chosen < contexts || chosen >= contexts + devices || !chosen->retained))
        return EMU_INVALID_CONTEXT;
    current = chosen;
    return 0;
}

int cuCtxGetCurrent(void **handle)
{
    *handle = current;
    return started ? 0 : EMU_NOT_INITIALIZED;
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

int cuMemGetInfo_v2(size_t *available, size_t *total)
{
    emu_lock lock;
    if (!current)
        return EMU_INVALID_CONTEXT;
    *total = memory_bytes;
    *available = memory_bytes - emu_memory_used(current->device);
    return 0;
}

int cuMemAlloc_v2(cudaemu_address *address, size_t bytes)
{
    emu_lock lock;
    if (!current)
        return EMU_INVALID_CONTEXT;
    if (!address || !bytes)
        return EMU_INVALID_VALUE;
    const emu_allocation *made = emu_memory_allocate(current->device, bytes);
    *address = made ? reinterpret_cast<uintptr_t>(made->base) : 0;
    return made ? 0 : EMU_OUT_OF_MEMORY;
}

static int free_memory(void *memory, bool pinned, const char *name)
{
    char text[128];
    if (!current)
        return EMU_INVALID_CONTEXT;
    if (!memory)
        return 0;
    emu_allocation *found = emu_memory_near(memory);
    if (!found || (found->place == EMU_PINNED) != pinned)
        emu_fail("%s: %p is no %s memory", name, memory, pinned ? "pinned" : "device");
    if (!found->live || found->base != memory) {
        emu_memory_describe(memory, text, sizeof text);
        emu_fail("%s: what is to be freed is %s", name, text);
    }
    for (int i = 0; i < devices; i++)
        if (pinned || i == found->place)
            emu_streams_run(i);
    emu_memory_free(found);
    return 0;
}

/* Waits for all of the device's work, as the driver does. */
int cuMemFree_v2(cudaemu_address address)
{
    emu_lock lock;
    return free_memory(pointer(address), false, "cuMemFree");
}

int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    emu_lock lock;
    if (!current)
        return EMU_INVALID_CONTEXT;
    if (!memory || !bytes || flags > 7)
        return EMU_INVALID_VALUE;
    const emu_allocation *made = emu_memory_allocate(EMU_PINNED, bytes);
    *memory = made ? made->base : NULL;
    return made ? 0 : EMU_OUT_OF_MEMORY;
}

int cuMemFreeHost(void *memory)
{
    emu_lock lock;
    return free_memory(memory, true, "cuMemFreeHost");
}

/* CU_POINTER_ATTRIBUTE_MEMORY_TYPE (1 = host, 2 = device) and _DEVICE_ORDINAL. */
int cuPointerGetAttribute(void *value, int attribute, cudaemu_address address)
{
    emu_lock lock;
    const emu_allocation *found = emu_memory_at(pointer(address));
    if (!found || (attribute != 2 && attribute != 9))
        return EMU_INVALID_VALUE;
    int device = found->place == EMU_PINNED ? emu_current_device() : found->place;
    *static_cast<int *>(value) = attribute == 9 ? device : found->place == EMU_PINNED ? 1 : 2;
    return 0;
}

/* ---- Copies ------------------------------------------------------------------------------------------------------ */

static bool is_device(const void *address)
{
    const emu_allocation *near = emu_memory_near(address);
    return near && near->place != EMU_PINNED;
}

static void check_host(const void *address, size_t bytes, const char *what)
{
    char text[128];
    const emu_allocation *near = emu_memory_near(address);
    if (!near)
        return;
    const char *at = static_cast<const char *>(address);
    emu_memory_describe(address, text, sizeof text);
    if (near->place != EMU_PINNED)
        emu_fail("%s is to be the host's, but is %s", what, text);
    if (!near->live || at < near->base || bytes > static_cast<size_t>(near->base + near->size - at))
        emu_fail("%s, %zu bytes from %s, is not inside it", what, bytes, text);
}

static void run_set(const emu_work *work)
{
    emu_memory_range(work->copy.to, work->copy.bytes, "what is set");
    memset(work->copy.to, work->copy.value, work->copy.bytes);
}

/* From one device to another by way of the host: only one's memory is accessible at a time. */
static void copy_across(const emu_work *work, int from, int to)
{
    void *bounce = malloc(work->copy.bytes);
    if (!bounce)
        emu_fail("no memory for a copy of %zu bytes", work->copy.bytes);
    emu_memory_open(from);
    memcpy(bounce, work->copy.from, work->copy.bytes);
    emu_memory_open(to);
    memcpy(work->copy.to, bounce, work->copy.bytes);
    free(bounce);
}

static void run_copy(const emu_work *work)
{
    const void *to = work->copy.to, *from = work->copy.from;
    size_t bytes = work->copy.bytes;
    int from_device = EMU_NOWHERE, to_device = EMU_NOWHERE;
    if (is_device(from))
        from_device = emu_memory_range(from, bytes, "the source")->place;
    if (is_device(to))
        to_device = emu_memory_range(to, bytes, "the destination")->place;
    if (from_device != EMU_NOWHERE && to_device != EMU_NOWHERE && from_device != to_device) {
        copy_across(work, from_device, to_device);
        return;
    }
    emu_memory_open(from_device != EMU_NOWHERE ? from_device : to_device);
    memmove(work->copy.to, from, bytes);
}

/* Bytes of pageable memory are taken now, and the other way are there on return; pinned memory is as lazy as the rest.
 */
static int copy(const char *name, void *to, const void *from, size_t bytes, void *handle)
{
    emu_stream *stream = emu_stream_of(handle);
    if (!stream)
        return current ? EMU_INVALID_HANDLE : EMU_INVALID_CONTEXT;
    if (!bytes)
        return 0;
    if (!to || !from)
        return EMU_INVALID_VALUE;
    emu_work work = {};
    work.name = name;
    work.run = run_copy;
    work.copy.to = static_cast<char *>(to);
    work.copy.from = static_cast<const char *>(from);
    work.copy.bytes = bytes;
    if (!emu_memory_near(from)) {
        work.owned = malloc(bytes);
        if (!work.owned)
            return EMU_OUT_OF_MEMORY;
        memcpy(work.owned, from, bytes);
        work.copy.from = static_cast<const char *>(work.owned);
    }
    int error = emu_stream_add(stream, &work);
    if (!error && !emu_memory_near(to))
        emu_stream_run(stream, NULL);
    return error;
}

int cuMemcpyAsync(cudaemu_address to, cudaemu_address from, size_t bytes, void *stream)
{
    emu_lock lock;
    return copy("cuMemcpyAsync", pointer(to), pointer(from), bytes, stream);
}

int cuMemcpyHtoDAsync_v2(cudaemu_address to, const void *from, size_t bytes, void *stream)
{
    emu_lock lock;
    if (bytes) {
        check_host(from, bytes, "cuMemcpyHtoDAsync: the source");
        emu_memory_range(pointer(to), bytes, "cuMemcpyHtoDAsync: the destination");
    }
    return copy("cuMemcpyHtoDAsync", pointer(to), from, bytes, stream);
}

int cuMemcpyDtoHAsync_v2(void *to, cudaemu_address from, size_t bytes, void *stream)
{
    emu_lock lock;
    if (bytes) {
        check_host(to, bytes, "cuMemcpyDtoHAsync: the destination");
        emu_memory_range(pointer(from), bytes, "cuMemcpyDtoHAsync: the source");
    }
    return copy("cuMemcpyDtoHAsync", to, pointer(from), bytes, stream);
}

int cuMemcpyDtoDAsync_v2(cudaemu_address to, cudaemu_address from, size_t bytes, void *stream)
{
    emu_lock lock;
    if (bytes) {
        emu_memory_range(pointer(from), bytes, "cuMemcpyDtoDAsync: the source");
        emu_memory_range(pointer(to), bytes, "cuMemcpyDtoDAsync: the destination");
    }
    return copy("cuMemcpyDtoDAsync", pointer(to), pointer(from), bytes, stream);
}

int cuMemsetD8Async(cudaemu_address to, unsigned char value, size_t bytes, void *handle)
{
    emu_lock lock;
    emu_stream *stream = emu_stream_of(handle);
    if (!stream)
        return current ? EMU_INVALID_HANDLE : EMU_INVALID_CONTEXT;
    if (!bytes)
        return 0;
    emu_memory_range(pointer(to), bytes, "cuMemsetD8Async: what is set");
    emu_work work = {};
    work.name = "cuMemsetD8Async";
    work.run = run_set;
    work.copy.to = static_cast<char *>(pointer(to));
    work.copy.bytes = bytes;
    work.copy.value = value;
    return emu_stream_add(stream, &work);
}

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

static const struct {
    int number;
    const char *name, *text;
} errors[] = {{0, "CUDA_SUCCESS", "no error"},
              {EMU_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
              {EMU_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
              {EMU_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
              {EMU_INVALID_CONFIGURATION, NULL, "invalid configuration argument"},
              {EMU_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
              {EMU_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
              {EMU_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
              {EMU_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
              {EMU_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"}};
enum { ERRORS = sizeof errors / sizeof *errors };

int cuGetErrorName(int error, const char **name)
{
    *name = NULL;
    for (int i = 0; i < ERRORS && !*name; i++)
        if (errors[i].number == error)
            *name = errors[i].name;
    return *name ? 0 : EMU_INVALID_VALUE;
}

int cuGetErrorString(int error, const char **text)
{
    *text = NULL;
    for (int i = 0; i < ERRORS && !*text; i++)
        if (errors[i].number == error && errors[i].name)
            *text = errors[i].text;
    return *text ? 0 : EMU_INVALID_VALUE;
}

/* As the runtime knows them. */
const char *cudaemu_error_text(int error)
{
    for (int i = 0; i < ERRORS; i++)
        if (errors[i].number == error)
            return errors[i].text;
    return "unrecognized error code";
}

/* ---- Leaks ------------------------------------------------------------------------------------------------------- */

int cudaemu_leaks(void)
{
    emu_lock lock;
    return emu_memory_leaks(false) + emu_streams_leaks(false) + emu_blas_leaks(false);
}

static void __attribute__((destructor)) report_leaks(void)
{
    if (number_of("CUDAEMU_LEAKS", 0) && emu_memory_leaks(true) + emu_streams_leaks(true) + emu_blas_leaks(true))
        abort();
}
