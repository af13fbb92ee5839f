/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread pool behind llavamore.threads/1. Workers spin for some tens of microseconds after a job, so that the next
 * one of a hot loop starts within a microsecond or two, and then sleep. A job never waits for a worker that has not
 * joined it yet: the calling thread works too, and closes the job when no chunk is left.
 */
#ifndef CORE_THREADS_H
#define CORE_THREADS_H

#include <llavamore/host.h>

#define CORE_MAX_THREADS 1024

typedef struct core_threads core_threads;

/* Number of cores that this process may run on (its affinity mask); at least 1. [any-thread] */
int32_t core_threads_available(void);
/* `count` workers, the caller of a job included; 0 = core_threads_available(). More than CORE_MAX_THREADS or fewer than
 * 0 is refused. */
more_status core_threads_create(int32_t count, core_threads **threads, more_error *error);
/* Ends and joins the workers; NULL is allowed. No job may be running. */
void core_threads_destroy(core_threads *threads);
/* [any-thread] */
int32_t core_threads_count(const core_threads *threads);
/* As parallel_for of llavamore.threads/1 (host.h). Do not wait inside a body for another thread's job on the same pool:
 * jobs are served one after the other. [any-thread] */
void core_threads_run(core_threads *threads, int64_t items, int64_t grain, more_range_function body, void *context);

#endif
