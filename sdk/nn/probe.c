/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <stdatomic.h>
#include <time.h>

#include "internal.h"

static const double worth_all_workers = 1e12; /* operations: a number large enough to wake them */

double nn_probe_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct flops_job {
    const nn_kernels *kernels;
    int64_t rounds;
    _Atomic int64_t done;
} flops_job;

static void spin_unit(void *argument, int64_t unit, float *scratch)
{
    (void)unit;
    flops_job *job = argument;
    atomic_fetch_add(&job->done, job->kernels->multiply_add(job->rounds, scratch));
}

double nn_probe_flops(nn_context *context, double seconds)
{
    enum { PIECE = 20000 /* rounds: some tens of microseconds */ };
    flops_job job = {.kernels = context->kernels, .rounds = PIECE};
    double start = nn_probe_clock(), elapsed = 0.0;
    for (int64_t units = 16 * (int64_t)context->workers; elapsed < seconds; units *= 2) {
        nn_parallel_units(context, worth_all_workers, units, spin_unit, &job);
        elapsed = nn_probe_clock() - start;
    }
    return 2.0 * (double)atomic_load(&job.done) / elapsed;
}

typedef struct read_job {
    const nn_kernels *kernels;
    const float *memory;
    int64_t count, piece;
    int32_t streams;
} read_job;

static void read_unit(void *argument, int64_t unit, float *scratch)
{
    const read_job *job = argument;
    int64_t first = unit * job->piece;
    job->kernels->read_memory(job->memory + first, nn_min(job->piece, job->count - first), job->streams, scratch);
}

double nn_probe_read(nn_context *context, const float *memory, int64_t count)
{
    double best = 0.0;
    for (int64_t piece = 1 << 18; piece <= 1 << 22; piece *= 16) /* 1 and 16 MiB */
        for (int32_t streams = 1; streams <= 4; streams *= 2) {
            read_job job = {context->kernels, memory, count, piece, streams};
            double start = nn_probe_clock();
            nn_parallel_units(context, worth_all_workers, nn_ceil_divide(count, piece), read_unit, &job);
            double rate = 4.0 * (double)count / (nn_probe_clock() - start);
            best = rate > best ? rate : best;
        }
    return best;
}
