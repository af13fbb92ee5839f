/* SPDX-License-Identifier: Apache-2.0
 *
 * An emulated device for tests of the emulator: its first one, current, with a stream.
 */
#ifndef CUDAEMU_DEVICE_H
#define CUDAEMU_DEVICE_H

#include <stddef.h>

#include "driver.h"

/* Of cmocka groups: sets *state to the stream; fails when something was not freed. */
int device_open(void **state);
int device_close(void **state);

void *device_room(size_t bytes);
void *device_put(void *stream, const void *from, size_t bytes);
/* To the host, and frees it. */
void device_take(void *stream, void *device, void *to, size_t bytes);
void device_free(void *device);

static inline cudaemu_address device_address(const void *pointer)
{
    return (uintptr_t)pointer;
}

#endif
