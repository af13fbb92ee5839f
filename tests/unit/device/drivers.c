/* SPDX-License-Identifier: Apache-2.0 */
#include "drivers.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void *named(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    assert_non_null(symbol);
    return symbol;
}

const late_driver *late_driver_get(void)
{
    static late_driver driver;
    const char *build = getenv("builddir");
    if (driver.reset)
        return &driver;
    snprintf(driver.path, sizeof driver.path, "%s/tests/unit/device/.libs/late_driver.so", build ? build : ".");
    void *library = dlopen(driver.path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail_msg("%s", dlerror());
    driver.live = (late_live_function)named(library, "late_live");
    driver.misuses = (late_misuses_function)named(library, "late_misuses");
    driver.fail_next = (late_fail_function)named(library, "late_fail");
    driver.used = (late_used_function)named(library, "late_used");
    driver.reset = (late_reset_function)named(library, "late_reset");
    return &driver;
}

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

static void hear(void *user, more_log_level level, const char *component, const char *message)
{
    device_host *self = user;
    pthread_mutex_lock(&writing);
    size_t used = strlen(self->log);
    snprintf(self->log + used, sizeof self->log - used, "%d %s: %s\n", (int)level, component, message);
    pthread_mutex_unlock(&writing);
}

void device_host_open(device_host *self, const char *path)
{
    core_host_config config = {.threads = 1, .log_level = MORE_LOG_DEBUG, .log = hear, .user = self};
    *self = (device_host){0};
    setenv("LLAVAMORE_CUDA_DRIVER", path, 1);
    assert_int_equal(core_host_create(&config, &self->host, NULL), MORE_OK);
    self->abi = core_host_abi(self->host);
    self->cuda = self->abi->get_service(self->abi, MORE_CUDA_SERVICE);
    assert_non_null(self->cuda);
}

void device_host_open_late(device_host *self, int devices, unsigned long long bytes)
{
    const late_driver *driver = late_driver_get();
    driver->reset(devices, bytes);
    device_host_open(self, driver->path);
}

void device_host_close(device_host *self)
{
    core_host_destroy(self->host);
    assert_int_equal(late_driver_get()->live(), 0);
    assert_int_equal(late_driver_get()->misuses(), 0);
}

/* ---- Calls that must succeed -------------------------------------------------------------------------------- */

void device_must(more_status status, const more_error *error)
{
    if (status != MORE_OK)
        fail_msg("status %d: %s", (int)status, error->message);
}

more_cuda_stream device_stream(const device_host *self, int32_t number)
{
    more_error error = {{0}};
    more_cuda_stream stream;
    device_must(self->cuda->stream_create(self->abi, number, &stream, &error), &error);
    return stream;
}

void *device_take(const device_host *self, int32_t number, more_cuda_stream stream, size_t bytes)
{
    more_error error = {{0}};
    void *memory;
    device_must(self->cuda->allocate(self->abi, number, stream, bytes, "a test", &memory, &error), &error);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % 16, 0);
    return memory;
}

void device_give(const device_host *self, int32_t number, void *memory)
{
    self->cuda->release(self->abi, number, memory);
}

void device_copy(const device_host *self, int32_t number, more_cuda_stream stream, void *to, const void *from,
                 size_t bytes)
{
    more_error error = {{0}};
    device_must(self->cuda->copy(self->abi, number, stream, to, from, bytes, &error), &error);
}

void device_synchronize(const device_host *self, int32_t number, more_cuda_stream stream)
{
    more_error error = {{0}};
    device_must(self->cuda->synchronize(self->abi, number, stream, &error), &error);
}

more_cuda_info device_info(const device_host *self, int32_t number)
{
    more_error error = {{0}};
    more_cuda_info info = {.struct_size = sizeof info};
    device_must(self->cuda->describe(self->abi, number, &info, &error), &error);
    return info;
}
