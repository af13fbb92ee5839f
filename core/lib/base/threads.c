/* SPDX-License-Identifier: Apache-2.0 */
#include "base/threads.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The gate is one word, so that joining and closing a job are single atomic steps and a sleeper can wait on it:
 *     bits 0..11  workers inside the job
 *     bit 12      open: workers may join
 *     bits 13..31 number of the job; a worker joins each number once
 * A worker asleep or descheduled for exactly 2^19 jobs misses one, which costs speed and nothing else. */
#define GATE_INSIDE 0xfffu
#define GATE_OPEN 0x1000u
#define GATE_JOB 0x2000u

/* Sleepers on the gate: a wake reaches only those of its set. */
#define SET_WORKERS 1u
#define SET_CALLER 2u

/* Turns of the spinning loop before sleep; a pause is some 15 to 50 ns. When there are more workers than cores,
 * spinning only takes time from those that work. */
#define SPINS 2000
#define SPINS_CROWDED 20
#define CHUNKS_PER_WORKER 4

typedef struct job {
    more_range_function body;
    void *context;
    int64_t items, chunk, chunks; /* chunk: items of all chunks but a shorter last one */
} job;

typedef struct pool_worker {
    core_threads *threads;
    pthread_t thread;
    int32_t index;
} pool_worker;

struct core_threads {
    _Alignas(MORE_ALIGNMENT) _Atomic uint32_t gate;
    _Atomic int32_t sleepers;
    atomic_bool caller_sleeps, stop;
    _Alignas(MORE_ALIGNMENT) _Atomic int64_t next; /* first chunk not yet taken */
    _Alignas(MORE_ALIGNMENT) job job;              /* constant while the gate is open or somebody is inside */
    pthread_mutex_t caller;                        /* held by the thread whose job runs */
    pthread_key_t inside;                          /* not NULL in threads that run a body of this pool */
    pool_worker *workers;                          /* count - 1; number 0 is the caller */
    int32_t count, started;
    int spins;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    sched_yield();
#endif
}

static void gate_sleep(core_threads *threads, uint32_t seen, uint32_t set)
{
    syscall(SYS_futex, &threads->gate, FUTEX_WAIT_BITSET_PRIVATE, seen, NULL, NULL, set);
}

static void gate_wake(core_threads *threads, int32_t many, uint32_t set)
{
    syscall(SYS_futex, &threads->gate, FUTEX_WAKE_BITSET_PRIVATE, many, NULL, NULL, set);
}

int32_t core_threads_available(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online <= CORE_MAX_THREADS ? (int32_t)online : 1;
}

static void take_chunks(core_threads *threads, int32_t worker)
{
    const job *work = &threads->job;
    for (;;) {
        int64_t number = atomic_fetch_add(&threads->next, 1);
        if (number >= work->chunks)
            return;
        int64_t begin = number * work->chunk;
        int64_t end = work->items - begin > work->chunk ? begin + work->chunk : work->items;
        work->body(work->context, begin, end, worker);
    }
}

static bool may_join(uint32_t gate, uint32_t last)
{
    return gate & GATE_OPEN && gate / GATE_JOB != last;
}

/* Waits until a job that this worker was not in is open; false when the pool ends. */
static bool wait_for_job(core_threads *threads, uint32_t last)
{
    for (int spin = 0; spin < threads->spins; spin++) {
        if (may_join(atomic_load(&threads->gate), last))
            return true;
        if (atomic_load(&threads->stop))
            return false;
        relax();
    }
    atomic_fetch_add(&threads->sleepers, 1);
    uint32_t gate = atomic_load(&threads->gate);
    while (!may_join(gate, last) && !atomic_load(&threads->stop)) {
        gate_sleep(threads, gate, SET_WORKERS);
        gate = atomic_load(&threads->gate);
    }
    atomic_fetch_sub(&threads->sleepers, 1);
    return !atomic_load(&threads->stop);
}

static void leave(core_threads *threads)
{
    uint32_t gate = atomic_fetch_sub(&threads->gate, 1) - 1;
    if (!(gate & (GATE_OPEN | GATE_INSIDE)) && atomic_load(&threads->caller_sleeps))
        gate_wake(threads, 1, SET_CALLER);
}

static void *worker_main(void *argument)
{
    const pool_worker *self = argument;
    core_threads *threads = self->threads;
    uint32_t last = UINT32_MAX;
    pthread_setspecific(threads->inside, self);
    while (wait_for_job(threads, last)) {
        uint32_t gate = atomic_load(&threads->gate);
        if (!may_join(gate, last) || !atomic_compare_exchange_strong(&threads->gate, &gate, gate + 1))
            continue;
        last = gate / GATE_JOB;
        take_chunks(threads, self->index);
        leave(threads);
    }
    return NULL;
}

static void open_gate(core_threads *threads, int64_t chunks)
{
    uint32_t number = atomic_load(&threads->gate) / GATE_JOB + 1;
    atomic_store(&threads->gate, number * GATE_JOB | GATE_OPEN);
    int64_t helpers = chunks - 1 < threads->started ? chunks - 1 : threads->started;
    if (atomic_load(&threads->sleepers) > 0)
        gate_wake(threads, (int32_t)helpers, SET_WORKERS);
}

/* No worker joins from here on; waits for those inside. */
static void close_gate(core_threads *threads)
{
    uint32_t gate = atomic_fetch_and(&threads->gate, ~GATE_OPEN) & ~GATE_OPEN;
    for (int spin = 0; gate & GATE_INSIDE && spin < threads->spins; spin++) {
        relax();
        gate = atomic_load(&threads->gate);
    }
    if (!(gate & GATE_INSIDE))
        return;
    atomic_store(&threads->caller_sleeps, true);
    while ((gate = atomic_load(&threads->gate)) & GATE_INSIDE)
        gate_sleep(threads, gate, SET_CALLER);
    atomic_store(&threads->caller_sleeps, false);
}

void core_threads_run(core_threads *threads, int64_t items, int64_t grain, more_range_function body, void *context)
{
    if (items <= 0)
        return;
    int64_t least = grain > 1 ? grain : 1;
    if (threads->started == 0 || items <= least || pthread_getspecific(threads->inside)) {
        body(context, 0, items, 0);
        return;
    }
    int64_t pieces = (int64_t)threads->count * CHUNKS_PER_WORKER;
    int64_t chunk = items / pieces + (items % pieces != 0);
    if (chunk < least)
        chunk = least;
    pthread_mutex_lock(&threads->caller);
    pthread_setspecific(threads->inside, threads);
    int64_t chunks = items / chunk + (items % chunk != 0);
    threads->job = (job){body, context, items, chunk, chunks};
    atomic_store(&threads->next, 0);
    open_gate(threads, chunks);
    take_chunks(threads, 0);
    close_gate(threads);
    pthread_setspecific(threads->inside, NULL);
    pthread_mutex_unlock(&threads->caller);
}

static more_status start_workers(core_threads *threads, more_error *error)
{
    for (int32_t i = 1; i < threads->count; i++) {
        pool_worker *next = &threads->workers[i - 1];
        *next = (pool_worker){.threads = threads, .index = i};
        int code = pthread_create(&next->thread, NULL, worker_main, next);
        if (code)
            return more_fail(error, MORE_ERROR_MEMORY, "cannot start thread %d of %d: %s; ask for fewer threads", i + 1,
                             threads->count, strerror(code));
        threads->started++;
    }
    return MORE_OK;
}

more_status core_threads_create(int32_t count, core_threads **threads, more_error *error)
{
    *threads = NULL;
    if (count < 0 || count > CORE_MAX_THREADS)
        return more_fail(error, MORE_ERROR_ARGUMENT, "threads must be 0 (all cores) to %d, not %d", CORE_MAX_THREADS,
                         count);
    int32_t available = core_threads_available();
    if (count == 0)
        count = available < CORE_MAX_THREADS ? available : CORE_MAX_THREADS;
    size_t size = (sizeof(core_threads) + MORE_ALIGNMENT - 1) / MORE_ALIGNMENT * MORE_ALIGNMENT;
    core_threads *made = aligned_alloc(MORE_ALIGNMENT, size);
    pool_worker *workers = calloc((size_t)count, sizeof *workers);
    pthread_key_t key;
    if (!made || !workers || pthread_key_create(&key, NULL)) {
        free(made);
        free(workers);
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for a pool of %d threads", count);
    }
    memset(made, 0, size);
    made->workers = workers;
    made->count = count;
    made->inside = key;
    made->spins = count > available ? SPINS_CROWDED : SPINS;
    pthread_mutex_init(&made->caller, NULL);
    more_status status = start_workers(made, error);
    if (status != MORE_OK) {
        core_threads_destroy(made);
        return status;
    }
    *threads = made;
    return MORE_OK;
}

void core_threads_destroy(core_threads *threads)
{
    if (!threads)
        return;
    atomic_store(&threads->stop, true);
    /* a new gate value, so that nobody falls asleep on the old one */
    atomic_fetch_add(&threads->gate, GATE_JOB);
    gate_wake(threads, INT_MAX, SET_WORKERS);
    for (int32_t i = 0; i < threads->started; i++)
        pthread_join(threads->workers[i].thread, NULL);
    pthread_mutex_destroy(&threads->caller);
    pthread_key_delete(threads->inside);
    free(threads->workers);
    free(threads);
}

int32_t core_threads_count(const core_threads *threads)
{
    return threads->count;
}
