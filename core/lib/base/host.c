/* SPDX-License-Identifier: Apache-2.0 */
#include "base/host.h"

#include "base/memory.h"
#include "base/threads.h"
#include "device/devices.h"
#include <llavamore/plugin.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct core_host {
    more_host abi; /* first: plugins hand this pointer back */
    core_host_config config;
    core_threads *threads;
    core_memory memory;
    core_devices *devices;
    atomic_bool cancelled;
};

static core_host *host_of(const more_host *abi)
{
    return (core_host *)(uintptr_t)abi;
}

/* ---- Services --------------------------------------------------------------------------------------------------- */

static const char *level_name(more_log_level level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    return level >= MORE_LOG_ERROR && level <= MORE_LOG_DEBUG ? names[level] : "message";
}

/* One line a call, whatever a file name in it contains; stdio locks the stream for the whole call. */
static void log_to_stderr(more_log_level level, const char *component, const char *message)
{
    char line[MORE_ERROR_SIZE + 128];
    int length = snprintf(line, sizeof line, "llavamore: %s: %s: %s", level_name(level), component, message);
    for (int i = 0; i < length && line[i]; i++)
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
    fprintf(stderr, "%s\n", line);
}

static void log_write(const more_host *abi, more_log_level level, const char *component, const char *message)
{
    const core_host_config *config = &host_of(abi)->config;
    if (level > config->log_level)
        return;
    component = component ? component : "?";
    message = message ? message : "";
    if (config->log)
        config->log(config->user, level, component, message);
    else
        log_to_stderr(level, component, message);
}

static int32_t threads_count(const more_host *abi)
{
    return core_threads_count(host_of(abi)->threads);
}

static void threads_parallel_for(const more_host *abi, int64_t items, int64_t grain, more_range_function body,
                                 void *context)
{
    core_threads_run(host_of(abi)->threads, items, grain, body, context);
}

static void progress_update(const more_host *abi, const char *stage, int64_t done, int64_t total)
{
    const core_host_config *config = &host_of(abi)->config;
    if (config->progress)
        config->progress(config->user, stage, done, total);
}

static bool progress_cancelled(const more_host *abi)
{
    return atomic_load(&host_of(abi)->cancelled);
}

static void *memory_allocate(const more_host *abi, size_t bytes)
{
    return core_memory_allocate(&host_of(abi)->memory, bytes);
}

static void memory_release(const more_host *abi, void *block)
{
    core_memory_release(&host_of(abi)->memory, block);
}

static void profile_add(const more_host *abi, const more_profile_event *event)
{
    const core_host_config *config = &host_of(abi)->config;
    config->profile(config->user, event);
}

static const more_log_service log_service = {MORE_STRUCT_SIZE(more_log_service, write), log_write};
static const more_threads_service threads_service = {MORE_STRUCT_SIZE(more_threads_service, parallel_for),
                                                     threads_count, threads_parallel_for};
static const more_progress_service progress_service = {MORE_STRUCT_SIZE(more_progress_service, cancelled),
                                                       progress_update, progress_cancelled};
static const more_memory_service memory_service = {MORE_STRUCT_SIZE(more_memory_service, release), memory_allocate,
                                                   memory_release};
static const more_profile_service profile_service = {MORE_STRUCT_SIZE(more_profile_service, add), profile_add};

static const void *get_service(const more_host *abi, const char *id)
{
    const struct {
        const char *id;
        const void *table;
    } services[] = {{MORE_LOG_SERVICE, &log_service},
                    {MORE_THREADS_SERVICE, &threads_service},
                    {MORE_PROGRESS_SERVICE, &progress_service},
                    {MORE_MEMORY_SERVICE, &memory_service},
                    {MORE_CUDA_SERVICE, core_cuda_service()},
                    {MORE_PROFILE_SERVICE, host_of(abi)->config.profile ? &profile_service : NULL},
                    {MORE_WEIGHTS_SERVICE, host_of(abi)->config.weights}};
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        if (id && !strcmp(services[i].id, id))
            return services[i].table;
    return NULL;
}

/* ---- The host --------------------------------------------------------------------------------------------------- */

more_status core_host_create(const core_host_config *config, core_host **host, more_error *error)
{
    *host = NULL;
    core_host *made = calloc(1, sizeof *made);
    if (!made)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the host");
    made->abi.struct_size = MORE_STRUCT_SIZE(more_host, get_service);
    made->abi.abi_version = MORE_ABI_VERSION;
    made->abi.get_service = get_service;
    made->config = *config;
    made->devices = core_devices_create(&made->abi);
    more_status status = made->devices ? core_threads_create(config->threads, &made->threads, error)
                                       : more_fail(error, MORE_ERROR_MEMORY, "out of memory for the host");
    if (status != MORE_OK) {
        core_devices_destroy(made->devices);
        free(made);
        return status;
    }
    *host = made;
    return MORE_OK;
}

void core_host_destroy(core_host *host)
{
    if (!host)
        return;
    core_threads_destroy(host->threads);
    core_devices_destroy(host->devices);
    free(host);
}

const more_host *core_host_abi(const core_host *host)
{
    return &host->abi;
}

void core_host_cancel(core_host *host, bool cancelled)
{
    atomic_store(&host->cancelled, cancelled);
}

core_devices *core_host_devices(const more_host *abi)
{
    return host_of(abi)->devices;
}

size_t core_host_current_bytes(const core_host *host)
{
    return atomic_load(&host->memory.current);
}

size_t core_host_peak_bytes(const core_host *host)
{
    return atomic_load(&host->memory.peak);
}

void core_log(const more_host *host, more_log_level level, const char *component, const char *format, ...)
{
    if (!host)
        return;
    char message[MORE_ERROR_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    log_write(host, level, component, message);
}
