/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads of a block, one at a time: each runs until it waits, and goes on when all have come to where it does. A
 * thread that returns leaves its stack to the next, so a kernel without barriers is a loop on one stack.
 */
#include "emulator.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { WARPS = EMU_MOST_THREADS / EMU_WARP };

cudaemu_thread *cudaemu_current;
cudaemu_block cudaemu_grid;

static const cudaemu_kernel *kernel;
static emu_thread threads[EMU_MOST_THREADS];
static int count, done; /* threads of the block, those that have returned */
static unsigned ready[WARPS], ready_warps;
static bool backward; /* the last of threads and blocks goes first */
static int free_stacks[EMU_STACKS], free_count;
static emu_context outside;

static int waiting; /* at the barrier */
static const cudaemu_site *barrier;

const cudaemu_kernel *emu_kernel(void)
{
    return kernel;
}

emu_thread *emu_thread_at(int number)
{
    return &threads[number];
}

int emu_thread_count(void)
{
    return count;
}

/* ---- Whose turn it is -------------------------------------------------------------------------------------------- */

void emu_ready(emu_thread *thread)
{
    int warp = thread->number / EMU_WARP;
    ready[warp] |= 1u << thread->number % EMU_WARP;
    ready_warps |= 1u << warp;
}

static void ready_all(void)
{
    int warps = (count + EMU_WARP - 1) / EMU_WARP, rest = count % EMU_WARP;
    for (int i = 0; i < warps; i++)
        ready[i] = ~0u;
    if (rest)
        ready[warps - 1] = (1u << rest) - 1;
    ready_warps = warps == WARPS ? ~0u : (1u << warps) - 1;
}

static void unready(emu_thread *thread)
{
    int warp = thread->number / EMU_WARP;
    ready[warp] &= ~(1u << thread->number % EMU_WARP);
    if (!ready[warp])
        ready_warps &= ~(1u << warp);
}

static int chosen(unsigned mask)
{
    return backward ? 31 - __builtin_clz(mask) : __builtin_ctz(mask);
}

/* The next, of the same warp if there is one; NULL = none can run. */
static emu_thread *take(int warp)
{
    if (!ready_warps)
        return NULL;
    if (!ready[warp])
        warp = chosen(ready_warps);
    emu_thread *next = &threads[warp * EMU_WARP + chosen(ready[warp])];
    unready(next);
    return next;
}

/* Nobody can go on, and not all have returned. */
[[noreturn]] static void stuck(void)
{
    char where[256];
    cudaemu_current = NULL;
    emu_warps_stuck();
    for (int i = 0; i < count; i++)
        if (threads[i].state != EMU_AT_BARRIER)
            emu_fail("divergent barrier: %d of %d threads wait at %s (%s:%d), thread %d %s", waiting, count,
                     barrier->operation, emu_file(barrier->file), barrier->line, i,
                     emu_whereabouts(&threads[i], where, sizeof where));
    emu_fail("no thread can go on");
}

static void run_threads(void);

/* Leaves `from` where it is. */
static void go_to(emu_context *from, emu_thread *to)
{
    cudaemu_current = &to->shown;
    if (to->state == EMU_FRESH) {
        to->stack = free_stacks[--free_count];
        emu_context_start(&to->context, to->stack, run_threads);
    }
    to->state = EMU_RUNS;
    emu_context_switch(from, &to->context);
}

void emu_suspend(emu_state state, const cudaemu_site *site)
{
    emu_thread *self = emu_current();
    self->state = state;
    self->site = site;
    emu_thread *next = take(self->number / EMU_WARP);
    if (!next)
        stuck();
    go_to(&self->context, next);
}

/* What a stack does: one thread after another, until one that has begun elsewhere is next. */
static void run_threads(void)
{
    for (;;) {
        kernel->run(kernel->call);
        emu_thread *self = emu_current();
        self->state = EMU_DONE;
        done++;
        emu_thread *next = take(self->number / EMU_WARP);
        if (next && next->state == EMU_FRESH) {
            next->stack = self->stack;
            next->state = EMU_RUNS;
            cudaemu_current = &next->shown;
            continue;
        }
        free_stacks[free_count++] = self->stack;
        if (next)
            go_to(&self->context, next);
        if (done < count)
            stuck();
        emu_context_switch(&self->context, &outside);
    }
}

void cudaemu_barrier(const cudaemu_site *site)
{
    if (!waiting)
        barrier = site;
    else if (barrier->line != site->line || strcmp(barrier->file, site->file) != 0)
        emu_fail("divergent barrier: waits at %s (%s:%d), %d other threads at the one of %s:%d", site->operation,
                 emu_file(site->file), site->line, waiting, emu_file(barrier->file), barrier->line);
    if (++waiting < count) {
        emu_suspend(EMU_AT_BARRIER, site);
        return;
    }
    waiting = 0;
    ready_all();
    unready(emu_current());
}

/* ---- Shared memory ----------------------------------------------------------------------------------------------- */

enum { SHARED_PAGES = (EMU_MOST_SHARED + EMU_PAGE - 1) / EMU_PAGE };

static const size_t slack = 256; /* bytes before it that are looked at */

static char *shared_end; /* behind it is a guard page */

static size_t rounded(size_t bytes)
{
    return (bytes + EMU_ALIGNMENT - 1) / EMU_ALIGNMENT * EMU_ALIGNMENT;
}

static void make_shared(void)
{
    size_t bytes = static_cast<size_t>(SHARED_PAGES) * EMU_PAGE;
    void *memory = mmap(NULL, bytes + 2 * EMU_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *begin = static_cast<char *>(memory) + EMU_PAGE;
    if (memory == MAP_FAILED || mprotect(begin, bytes, PROT_READ | PROT_WRITE))
        emu_fail("no shared memory");
    shared_end = begin + bytes;
}

static char *shared_base(void)
{
    return shared_end - rounded(kernel->shared);
}

void *cudaemu_shared(void)
{
    return shared_base();
}

bool emu_is_shared(const void *address, size_t bytes)
{
    const char *at = static_cast<const char *>(address);
    return (at >= shared_base() && at + bytes <= shared_base() + kernel->shared) ||
           (at >= kernel->shared_begin && at + bytes <= kernel->shared_end);
}

bool emu_shared_describe(const void *address, char *text, size_t size)
{
    const char *at = static_cast<const char *>(address), *base = kernel ? shared_base() : NULL;
    const char *begin = shared_end - static_cast<size_t>(SHARED_PAGES) * EMU_PAGE;
    if (!kernel || at < begin - EMU_PAGE || at >= shared_end + EMU_PAGE)
        return false;
    snprintf(text, size, "offset %td of its dynamic shared memory (%zu bytes)%s", at - base, kernel->shared,
             at < base                     ? ", before its beginning"
             : at >= base + kernel->shared ? ", past its end"
                                           : "");
    return true;
}

/* The bytes around dynamic shared memory that no guard page begins. */
static size_t slack_before(void)
{
    size_t room = static_cast<size_t>(SHARED_PAGES) * EMU_PAGE - rounded(kernel->shared);
    return room < slack ? room : slack;
}

static void poison_shared(void)
{
    if (kernel->shared)
        memset(shared_base() - slack_before(), EMU_POISON, slack_before() + rounded(kernel->shared));
    if (kernel->shared_end > kernel->shared_begin)
        memset(kernel->shared_begin, EMU_POISON, static_cast<size_t>(kernel->shared_end - kernel->shared_begin));
}

static void check_shared(void)
{
    char text[128];
    const char *base = shared_base(), *end = base + kernel->shared;
    for (const char *at = base - (kernel->shared ? slack_before() : 0); at < shared_end; at++)
        if (at < base || at >= end) {
            if (static_cast<unsigned char>(*at) == EMU_POISON)
                continue;
            emu_shared_describe(at, text, sizeof text);
            emu_fail("somebody wrote %s", text);
        } else {
            at = end - 1;
        }
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

static void start_block(uint64_t number)
{
    const dim3 grid = kernel->grid;
    cudaemu_grid.index = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                          static_cast<unsigned>(number / grid.x / grid.y)};
    poison_shared();
    emu_warps_reset();
    done = waiting = 0;
    uint3 at = {0, 0, 0};
    for (int i = 0; i < count; i++) {
        emu_thread *thread = &threads[i];
        thread->shown.index = at;
        thread->state = EMU_FRESH;
        thread->number = i;
        thread->copy_count = 0;
        thread->group = 0;
        if (++at.x == cudaemu_grid.size.x) {
            at.x = 0;
            if (++at.y == cudaemu_grid.size.y) {
                at.y = 0;
                at.z++;
            }
        }
    }
    ready_all();
}

static void run_block(uint64_t number)
{
    start_block(number);
    go_to(&outside, take(chosen(ready_warps)));
    cudaemu_current = NULL;
    check_shared();
}

void emu_kernel_run(const cudaemu_kernel *launched)
{
    if (!shared_end) {
        make_shared();
        for (; free_count < EMU_STACKS; free_count++)
            free_stacks[free_count] = EMU_STACKS - 1 - free_count;
    }
    kernel = launched;
    backward = emu_environment("CUDAEMU_ORDER", "backward");
    emu_async_early = emu_environment("CUDAEMU_COPIES", "early");
    count = static_cast<int>(kernel->block.x * kernel->block.y * kernel->block.z);
    cudaemu_grid.size = kernel->block;
    cudaemu_grid.grid = kernel->grid;
    uint64_t blocks = static_cast<uint64_t>(kernel->grid.x) * kernel->grid.y * kernel->grid.z;
    for (uint64_t i = 0; i < blocks; i++)
        run_block(backward ? blocks - 1 - i : i);
    kernel = NULL;
}
