/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the files of the emulator. One mutex guards everything; emu_lock holds it, and what is queued runs under it.
 */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "cudaemu.h"
#include "driver.h"

enum { EMU_MOST_DEVICES = 8, EMU_PAGE = 4096, EMU_ALIGNMENT = 16, EMU_POISON = 0xff };

/* Of CUresult; the runtime's are the same numbers but for 9. */
enum {
    EMU_INVALID_VALUE = 1,
    EMU_OUT_OF_MEMORY = 2,
    EMU_NOT_INITIALIZED = 3,
    EMU_INVALID_CONFIGURATION = 9,
    EMU_NO_DEVICE = 100,
    EMU_INVALID_DEVICE = 101,
    EMU_INVALID_CONTEXT = 201,
    EMU_INVALID_HANDLE = 400,
    EMU_NOT_READY = 600
};

/* ---- report.cpp: what is wrong, on one line, and the end of the process ----------------------------------------- */

/* Prints "cudaemu: ACTOR: text" where the actor is what runs, and aborts. */
[[noreturn]] void emu_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What runs, or "the host". */
const char *emu_actor(char *text, size_t size);
/* The name of a function, from the symbols of the file it is in. */
void emu_symbol(const void *address, char *name, size_t size);
/* "few_rows<float, 1> (llama.so+0x1234)": addr2line knows the line of that. */
void emu_place(const void *address, char *place, size_t size);

/* ---- memory.cpp: memory of devices, and pinned memory ------------------------------------------------------------ */

enum { EMU_NOWHERE = -1, EMU_PINNED = EMU_MOST_DEVICES }; /* beside the devices' numbers */

typedef struct emu_allocation {
    char *pages, *base; /* base + size is less than EMU_ALIGNMENT before the guard page */
    size_t page_bytes, size;
    int64_t number; /* how many were allocated before it, and it: of devices, or pinned */
    int place;
    bool live, touched; /* touched: accessible now, of a device */
    size_t live_index;
} emu_allocation;

/* NULL = no memory; filled with EMU_POISON. */
emu_allocation *emu_memory_allocate(int place, size_t size);
void emu_memory_free(emu_allocation *allocation);
/* Makes one device the one whose memory may be accessed; EMU_NOWHERE: none. */
void emu_memory_open(int device);
/* What a fault means in the work of that device: its allocation there was not accessible yet, and is now. */
bool emu_memory_touch(const void *address);
/* Fails when something was written around what the device's work has touched. */
void emu_memory_check(int device);
/* The allocation, live or freed, that has `address` in its pages or the guard pages around; NULL = none. */
emu_allocation *emu_memory_near(const void *address);
/* The live one that has it in its bytes, or one behind the last; NULL = none. */
emu_allocation *emu_memory_at(const void *address);
/* Fails unless all bytes are in one live allocation, of a device: `what` is theirs in a message. */
emu_allocation *emu_memory_range(const void *address, size_t bytes, const char *what);
size_t emu_memory_used(int place);
int emu_memory_leaks(bool print);
/* "offset 100 of allocation 2 (100 bytes of device 0), past its end"; false = no allocation is near. */
bool emu_memory_describe(const void *address, char *text, size_t size);

/* ---- fault.cpp: the handler of signals
 * -------------------------------------------------------------------------------
 */

void emu_fault_install(void);

/* ---- fibre.cpp: stacks and switching -------------------------------------------------------------------------------
 */

#if defined(__x86_64__)
typedef struct emu_context {
    void *stack_pointer;
} emu_context;
#else
#include <ucontext.h>
typedef ucontext_t emu_context;
#endif

enum { EMU_STACK_BYTES = 256 << 10, EMU_STACKS = 1025 };

/* Stack `index`, lowest address; the page below is a guard. */
char *emu_stack(int index);
bool emu_is_stack_guard(const void *address);
/* Makes `context` one that calls entry() on the stack; it never returns. */
void emu_context_start(emu_context *context, int stack, void (*entry)(void));
void emu_context_switch(emu_context *from, emu_context *to);

/* ---- block.cpp: the threads of a block -----------------------------------------------------------------------------
 */

enum { EMU_WARP = 32, EMU_MOST_THREADS = 1024, EMU_MOST_SHARED = 227 << 10, EMU_WAIT_ALL = -1 };

typedef enum emu_state { EMU_FRESH, EMU_RUNS, EMU_AT_BARRIER, EMU_AT_WARP, EMU_DONE } emu_state;

typedef struct emu_copy {
    void *to;
    const void *from;
    int bytes;
    int64_t group;
} emu_copy;

typedef struct emu_thread {
    cudaemu_thread shown; /* first: cudaemu_current points to it */
    emu_state state;
    int number, stack; /* stack: -1 = none yet */
    emu_context context;
    const cudaemu_site *site; /* where it waits */
    unsigned mask;            /* of the warp operation where it waits */
    void *payload;            /* its part of the operation */
    emu_copy *copies;         /* asynchronous ones that wait, oldest first */
    int copy_count, copy_capacity;
    int64_t group; /* number of the group that is open */
} emu_thread;

static inline emu_thread *emu_current(void)
{
    return reinterpret_cast<emu_thread *>(cudaemu_current);
}

/* Runs all blocks, now. */
void emu_kernel_run(const cudaemu_kernel *kernel);
/* The kernel that runs, or NULL. */
const cudaemu_kernel *emu_kernel(void);
/* Threads of the block. */
emu_thread *emu_thread_at(int number);
int emu_thread_count(void);
/* Lets others run until somebody calls emu_ready for this thread. */
void emu_suspend(emu_state state, const cudaemu_site *site);
void emu_ready(emu_thread *thread);
/* Is `bytes` at address in shared memory, static or dynamic? */
bool emu_is_shared(const void *address, size_t bytes);
/* "offset 100 of its dynamic shared memory (100 bytes), past its end"; false = not near it. */
bool emu_shared_describe(const void *address, char *text, size_t size);

/* ---- async.cpp, warp.cpp
 * --------------------------------------------------------------------------------------------- */

extern bool emu_async_early; /* copies run when they begin, not when they are waited for */

void emu_warps_reset(void);
/* Fails if a warp operation waits for a lane that will not come. */
void emu_warps_stuck(void);
/* "has returned", "waits at __syncthreads (x.cu:4)". */
const char *emu_whereabouts(const emu_thread *thread, char *text, size_t size);
const char *emu_file(const char *path);

/* ---- stream.cpp: work in its order --------------------------------------------------------------------------------
 */

typedef struct emu_stream emu_stream;
typedef struct emu_event emu_event;

/* What a record left behind, for those that wait for it. */
typedef struct emu_mark {
    int references;
    bool done;
    emu_stream *stream;
} emu_mark;

typedef struct emu_product {
    bool transposed_a, transposed_b;
    int64_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const void *a, *b;
    int type;
    float *c;
} emu_product;

typedef struct emu_work {
    struct emu_work *next;
    const char *name; /* of the call that queued it; NULL: a kernel */
    void (*run)(const struct emu_work *work);
    void *owned; /* to be freed */
    int device;  /* of the stream */
    union {
        cudaemu_kernel kernel;
        emu_product product;
        emu_mark *mark;
        struct {
            char *to;
            const char *from;
            size_t bytes;
            unsigned char value;
        } copy;
    };
} emu_work;

struct emu_stream {
    emu_stream *next;
    int device;
    emu_work *first, *last;
};

struct emu_event {
    emu_event *next;
    int device;
    emu_mark *mark; /* of the last record; NULL = never recorded */
};

/* Copies *work to the end of the stream, and takes what it owns; 0 or EMU_OUT_OF_MEMORY. */
int emu_stream_add(emu_stream *stream, const emu_work *work);
/* Runs what is queued: all of it, or until the mark is done. */
void emu_stream_run(emu_stream *stream, const emu_mark *until);
/* Runs one piece of it. */
void emu_stream_step(emu_stream *stream);
/* All streams of the device. */
void emu_streams_run(int device);
/* A handle's stream on the current device, or NULL. */
emu_stream *emu_stream_of(void *handle);
/* What runs now, in this thread, or NULL. */
const emu_work *emu_running(void);
int emu_streams_leaks(bool print);

/* ---- driver.cpp
 * ------------------------------------------------------------------------------------------------------ */

/* Holds the mutex; on leaving, no device's memory is accessible. */
struct emu_lock {
    emu_lock();
    ~emu_lock();
};

/* Of the context that is current in this thread; EMU_NOWHERE. */
int emu_current_device(void);
/* What was made and not freed. */
int emu_blas_leaks(bool print);
bool emu_environment(const char *name, const char *value); /* is it that? */
int emu_device_count(void);
size_t emu_device_memory(void);

#endif
