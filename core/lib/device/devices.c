/* SPDX-License-Identifier: Apache-2.0 */
#include "device/devices.h"

#include <stdlib.h>
#include <string.h>

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

static int read_facts(core_device *device, int index)
{
    const core_driver *driver = device->driver;
    int major = 0, minor = 0, processors = 0;
    size_t bytes = 0;
    int result = driver->device_at(&device->handle, index);
    if (!result)
        result = driver->device_name(device->name, sizeof device->name, device->handle);
    if (!result)
        result = driver->device_memory(&bytes, device->handle);
    if (!result)
        result = driver->device_attribute(&processors, DRIVER_PROCESSORS, device->handle);
    if (!result)
        result = driver->device_attribute(&major, DRIVER_CAPABILITY_MAJOR, device->handle);
    if (!result)
        result = driver->device_attribute(&minor, DRIVER_CAPABILITY_MINOR, device->handle);
    device->name[sizeof device->name - 1] = '\0';
    device->capability = 10 * major + minor;
    device->processors = processors;
    device->total_bytes = (int64_t)bytes;
    return result;
}

static more_status list_devices(core_devices *devices, more_error *error)
{
    char text[256];
    int count = 0, result = devices->driver.device_count(&count);
    if (!result && count <= 0)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "the NVIDIA driver finds no device");
    devices->list = result ? NULL : calloc((size_t)count, sizeof *devices->list);
    if (!result && !devices->list)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for %d devices", count);
    for (int i = 0; i < count && !result; i++) {
        core_device *device = &devices->list[i];
        *device = (core_device){.devices = devices, .driver = &devices->driver, .number = i};
        pthread_mutex_init(&device->lock, NULL);
        pthread_mutex_init(&device->memory.lock, NULL);
        pthread_mutex_init(&device->staging.lock, NULL);
        result = read_facts(device, i);
    }
    if (result)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "the NVIDIA driver does not describe its devices: %s",
                         core_driver_message(&devices->driver, result, text, sizeof text));
    devices->count = count;
    return MORE_OK;
}

int32_t core_devices_count(core_devices *devices)
{
    pthread_mutex_lock(&devices->lock);
    if (!devices->sought && core_driver_open(&devices->driver, &devices->reason) == MORE_OK)
        list_devices(devices, &devices->reason);
    devices->sought = true;
    pthread_mutex_unlock(&devices->lock);
    return devices->count;
}

/* ---- Using ------------------------------------------------------------------------------------------------------- */

more_status core_device_check(const core_device *device, int result, const char *what, more_error *error)
{
    char text[256];
    if (!result)
        return MORE_OK;
    return more_fail(error, MORE_ERROR_INTERNAL, "cuda:%d (%s): %s: %s", (int)device->number, device->name, what,
                     core_driver_message(device->driver, result, text, sizeof text));
}

/* A device that another process has to itself, say, cannot be had, which is no bug of ours. */
static more_status make_context(core_device *device, more_error *error)
{
    pthread_mutex_lock(&device->lock);
    int result = device->context ? 0 : device->driver->context_retain(&device->context, device->handle);
    if (result)
        device->context = NULL;
    pthread_mutex_unlock(&device->lock);
    if (!result)
        return MORE_OK;
    core_device_check(device, result, "cannot be used", error);
    return result == DRIVER_OUT_OF_MEMORY ? MORE_ERROR_MEMORY : MORE_ERROR_UNSUPPORTED;
}

more_status core_devices_use(core_devices *devices, int32_t number, core_device **device, more_error *error)
{
    int32_t count = core_devices_count(devices);
    if (number < 0 || number >= count)
        return count ? more_fail(error, MORE_ERROR_NOT_FOUND, "there is no cuda:%d: this machine has %d CUDA device%s",
                                 (int)number, (int)count, count > 1 ? "s" : "")
                     : more_fail(error, MORE_ERROR_NOT_FOUND, "there is no cuda:%d: %.900s", (int)number,
                                 devices->reason.message);
    *device = &devices->list[number];
    more_status status = make_context(*device, error);
    if (status == MORE_OK)
        status =
            core_device_check(*device, (*device)->driver->context_use((*device)->context), "cannot be used", error);
    return status;
}

/* ---- Made and freed ---------------------------------------------------------------------------------------------- */

core_devices *core_devices_create(const more_host *host)
{
    core_devices *devices = calloc(1, sizeof *devices);
    if (!devices)
        return NULL;
    devices->host = host;
    pthread_mutex_init(&devices->lock, NULL);
    pthread_mutex_init(&devices->blas_lock, NULL);
    return devices;
}

static void free_device(core_device *device)
{
    if (device->context) {
        device->driver->context_use(device->context);
        device->driver->context_synchronize();
        core_device_free_staging(device);
        core_device_free_memory(device);
        device->driver->context_use(NULL);
        device->driver->context_release(device->handle);
    }
    pthread_mutex_destroy(&device->staging.lock);
    pthread_mutex_destroy(&device->memory.lock);
    pthread_mutex_destroy(&device->lock);
}

void core_devices_destroy(core_devices *devices)
{
    if (!devices)
        return;
    for (int32_t i = 0; i < devices->count; i++)
        free_device(&devices->list[i]);
    free(devices->list);
    pthread_mutex_destroy(&devices->blas_lock);
    pthread_mutex_destroy(&devices->lock);
    free(devices);
}
