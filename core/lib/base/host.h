/* SPDX-License-Identifier: Apache-2.0
 *
 * The host behind `const more_host *`: log, threads, progress, memory, devices and weights services.
 */
#ifndef CORE_HOST_H
#define CORE_HOST_H

#include <llavamore/profile.h>

typedef struct core_host core_host;

/* Zero-initialise, then set what differs. The callbacks are called from any thread, also from several at a time. */
typedef struct core_host_config {
    int32_t threads;          /* workers; 0 = number of cores of the affinity mask */
    more_log_level log_level; /* lines above this level are dropped */
    /* NULL = to standard error, "llavamore: warning: component: message" */
    void (*log)(void *user, more_log_level level, const char *component, const char *message);
    /* NULL = no progress is shown */
    void (*progress)(void *user, const char *stage, int64_t done, int64_t total);
    /* NULL = no llavamore.profile/1 */
    void (*profile)(void *user, const more_profile_event *event);
    void *user;                          /* given to the callbacks */
    const more_weights_service *weights; /* core_weights_service(); NULL = no such service */
} core_host_config;

/* The config is copied; *host is NULL on failure. */
more_status core_host_create(const core_host_config *config, core_host **host, more_error *error);
/* Every instance opened with it must be closed. Joins the threads; NULL is allowed. */
void core_host_destroy(core_host *host);
/* What plugins get; lives as long as the host. [any-thread] */
const more_host *core_host_abi(const core_host *host);
/* Sets or clears the flag that `cancelled` of llavamore.progress/1 reads. Async-signal-safe. [any-thread] */
void core_host_cancel(core_host *host, bool cancelled);
/* Bytes now given out by llavamore.memory/1, and the most that were at one time. [any-thread] */
size_t core_host_current_bytes(const core_host *host);
size_t core_host_peak_bytes(const core_host *host);

/* ---- For the core's own code: the services without a look-up ---------------------------------------------------- */

/* What is behind llavamore.cuda/1, see device/devices.h. [any-thread] */
struct core_devices *core_host_devices(const more_host *host);

/* One line to the log, printf-style, cut at MORE_ERROR_SIZE. host may be NULL: then nothing happens. [any-thread] */
MORE_PRINTF(4, 5)
void core_log(const more_host *host, more_log_level level, const char *component, const char *format, ...);

#endif
