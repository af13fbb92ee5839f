/* SPDX-License-Identifier: Apache-2.0
 *
 * Hosts over one driver or another, and what they say.
 */
#ifndef DRIVERS_H
#define DRIVERS_H

#include "base/host.h"
#include "late_driver.h"
#include <llavamore/cuda.h>

#define NO_DRIVER "/nonexistent/libcuda.so.1"

/* late_driver.so as the build has it, and what it exports for tests. */
typedef struct late_driver {
    char path[512];
    late_reset_function reset;
    late_live_function live;
    late_misuses_function misuses;
    late_fail_function fail_next;
    late_used_function used;
} late_driver;

typedef struct device_host {
    core_host *host;
    const more_host *abi;
    const more_cuda_service *cuda;
    char log[8192]; /* all lines, "LEVEL component: message\n" */
} device_host;

const late_driver *late_driver_get(void);
/* Makes a host whose driver is at `path`. */
void device_host_open(device_host *self, const char *path);
/* The same over the late driver, with so many devices of so many bytes. */
void device_host_open_late(device_host *self, int devices, unsigned long long bytes);
/* Fails the test when the late driver misses something or was misused. */
void device_host_close(device_host *self);

/* ---- Calls that must succeed, on device `number`; else the test fails -------------------------------------------- */

void device_must(more_status status, const more_error *error);
more_cuda_stream device_stream(const device_host *self, int32_t number);
void *device_take(const device_host *self, int32_t number, more_cuda_stream stream, size_t bytes);
void device_give(const device_host *self, int32_t number, void *memory);
void device_copy(const device_host *self, int32_t number, more_cuda_stream stream, void *to, const void *from,
                 size_t bytes);
void device_synchronize(const device_host *self, int32_t number, more_cuda_stream stream);
more_cuda_info device_info(const device_host *self, int32_t number);

#endif
