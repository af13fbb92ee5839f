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

/* ---- Multiply-adds ---------------------------------------------------------------------------------------------- */

const char *nn_peak_name(nn_peak peak)
{
    static const char *const names[NN_PEAKS] = {"f32 fma", "bf16 dot", "int8 dot", "bf16 tile", "int8 tile"};
    return names[peak];
}

bool nn_probe_has(const nn_context *context, nn_peak peak)
{
    return context->kernels->peak[peak];
}

/* As nn_linear chooses. */
nn_peak nn_probe_used(const nn_context *context, nn_storage storage, int64_t rows)
{
    nn_peak pair = nn_probe_has(context, NN_PEAK_TILE_BF16) ? NN_PEAK_TILE_BF16 : NN_PEAK_BF16;
    bool int8 = nn_is_quantised(storage) && context->arithmetic != NN_ARITHMETIC_EXACT;
    if (nn_takes_pairs(context, storage, rows) && nn_probe_has(context, pair))
        return pair;
    return int8 && nn_probe_has(context, NN_PEAK_INT8) ? NN_PEAK_INT8 : NN_PEAK_F32;
}

typedef struct peak_job {
    int64_t (*peak)(int64_t rounds, const float *fed, float *result);
    int64_t rounds;
    const float *fed;
    _Atomic int64_t done;
} peak_job;

static void spin_unit(void *argument, int64_t unit, float *scratch)
{
    (void)unit;
    peak_job *job = argument;
    atomic_fetch_add(&job->done, job->peak(job->rounds, job->fed, scratch));
}

double nn_probe_peak(nn_context *context, nn_peak peak, const float *fed, double seconds)
{
    enum { PIECE = 20000 /* rounds: some tens of microseconds */ };
    peak_job job = {.peak = context->kernels->peak[peak], .rounds = PIECE, .fed = fed};
    if (!job.peak)
        return 0.0;
    double start = nn_probe_clock(), elapsed = 0.0;
    for (int64_t units = 16 * (int64_t)context->workers; elapsed < seconds; units *= 2) {
        nn_parallel_units(context, worth_all_workers, units, spin_unit, &job);
        elapsed = nn_probe_clock() - start;
    }
    return 2.0 * (double)atomic_load(&job.done) / elapsed;
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

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

/* ---- Threads ---------------------------------------------------------------------------------------------------- */

static void do_nothing(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)argument;
    (void)begin;
    (void)end;
    (void)worker;
}

double nn_probe_barrier(nn_context *context, int64_t times)
{
    double start = nn_probe_clock();
    for (int64_t i = 0; i < times; i++)
        nn_parallel(context, context->workers, 1, do_nothing, NULL);
    return (nn_probe_clock() - start) / (double)times;
}
