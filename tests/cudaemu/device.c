/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

int device_open(void **state)
{
    void *context;
    assert_int_equal(cuInit(0), 0);
    assert_int_equal(cuDevicePrimaryCtxRetain(&context, 0), 0);
    assert_int_equal(cuCtxSetCurrent(context), 0);
    return cuStreamCreate(state, 1);
}

int device_close(void **state)
{
    assert_int_equal(cuStreamDestroy_v2(*state), 0);
    assert_int_equal(cudaemu_leaks(), 0);
    return cuDevicePrimaryCtxRelease_v2(0);
}

void *device_room(size_t bytes)
{
    cudaemu_address memory;
    assert_int_equal(cuMemAlloc_v2(&memory, bytes), 0);
    return (void *)(uintptr_t)memory;
}

void *device_put(void *stream, const void *from, size_t bytes)
{
    void *device = device_room(bytes);
    assert_int_equal(cuMemcpyHtoDAsync_v2(device_address(device), from, bytes, stream), 0);
    return device;
}

void device_take(void *stream, void *device, void *to, size_t bytes)
{
    assert_int_equal(cuMemcpyDtoHAsync_v2(to, device_address(device), bytes, stream), 0);
    device_free(device);
}

void device_free(void *device)
{
    assert_int_equal(cuMemFree_v2(device_address(device)), 0);
}
