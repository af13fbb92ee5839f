/* SPDX-License-Identifier: Apache-2.0
 *
 * That the emulator catches what its README claims: each mistake is made in a child process, which is to end with the
 * right message, and then done right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"
#include "wrong.h"

enum { NANS = 3, STALE = 4 /* exit statuses of a child whose results are bad */ };

/* ---- Children ---------------------------------------------------------------------------------------------------- */

/* Runs body(what, right) in a child and returns its status as waitpid's; `said` gets what it wrote to stderr. */
static int in_child(void (*body)(const void *what, bool right), const void *what, bool right, char *said, size_t size)
{
    int ends[2], status = 0;
    size_t used = 0;
    ssize_t got;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        body(what, right);
        exit(0);
    }
    close(ends[1]);
    while (used + 1 < size && (got = read(ends[0], said + used, size - 1 - used)) > 0)
        used += (size_t)got;
    said[used] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* In a child: cmocka is the parent's. */
static void must(int result)
{
    if (result) {
        fprintf(stderr, "unexpected error %d\n", result);
        _exit(1);
    }
}

static void check_caught(const char *name, void (*body)(const void *what, bool right), const void *what,
                         const char *message, int exits)
{
    char said[2048];
    int status = in_child(body, what, false, said, sizeof said);
    if (message) {
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || strncmp(said, "cudaemu: ", 9) != 0 ||
            !strstr(said, message) || strchr(said, '\n') != said + strlen(said) - 1)
            fail_msg("%s: status 0x%x, said \"%s\", expected \"%s\"", name, (unsigned)status, said, message);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != exits) {
        fail_msg("%s: status 0x%x, said \"%s\", expected exit %d", name, (unsigned)status, said, exits);
    }
    status = in_child(body, what, true, said, sizeof said);
    if (status || *said)
        fail_msg("%s, done right: status 0x%x, said \"%s\"", name, (unsigned)status, said);
}

/* ---- A device in a child ----------------------------------------------------------------------------------------- */

typedef struct bench {
    void *context, *stream;
    float *x, *y; /* on the device: allocations 1 and 2 */
    int count;
} bench;

enum { MOST = 128 };

static float *device_floats(int count)
{
    cudaemu_address memory;
    must(cuMemAlloc_v2(&memory, (size_t)count * sizeof(float)));
    return (float *)(uintptr_t)memory;
}

static void upload(const bench *b, float *to, float first)
{
    float values[MOST];
    for (int i = 0; i < b->count; i++)
        values[i] = first + (float)i;
    must(cuMemcpyHtoDAsync_v2((uintptr_t)to, values, (size_t)b->count * sizeof *values, b->stream));
}

static bench bench_open(int count)
{
    bench b = {.count = count};
    must(cuInit(0));
    must(cuDevicePrimaryCtxRetain(&b.context, 0));
    must(cuCtxSetCurrent(b.context));
    must(cuStreamCreate(&b.stream, 1));
    b.x = device_floats(count);
    b.y = device_floats(count);
    upload(&b, b.x, 1.0f);
    return b;
}

/* Leaves the child with NANS or STALE unless y = 2 x. */
static void check_doubled(const bench *b)
{
    float values[MOST];
    must(cuMemcpyDtoHAsync_v2(values, (uintptr_t)b->y, (size_t)b->count * sizeof *values, b->stream));
    int status = 0;
    for (int i = 0; i < b->count; i++)
        if (isnan(values[i]))
            status = NANS;
        else if (values[i] != 2.0f * (1.0f + (float)i) && !status)
            status = STALE;
    if (status)
        _exit(status);
}

static void bench_close(bench *b)
{
    must(cuMemFree_v2((uintptr_t)b->x));
    must(cuMemFree_v2((uintptr_t)b->y));
    must(cuStreamDestroy_v2(b->stream));
    must(cudaemu_leaks());
}

/* ---- Kernels ----------------------------------------------------------------------------------------------------- */

static void run_kernel(const void *what, bool right)
{
    const wrong_kernel *kernel = what;
    bench b = bench_open(kernel->count);
    must(kernel->launch(b.stream, right, b.x, b.count, b.y));
    must(cuStreamSynchronize(b.stream));
    check_doubled(&b);
    bench_close(&b);
}

static void test_kernels(void **state)
{
    (void)state;
    for (int i = 0; i < wrong_kernel_count; i++)
        check_caught(wrong_kernels[i].name, run_kernel, &wrong_kernels[i], wrong_kernels[i].message, NANS);
}

/* ---- Hosts ------------------------------------------------------------------------------------------------------- */

static void use_after_free(const void *what, bool right)
{
    (void)what;
    bench b = bench_open(100);
    float *x = device_floats(100);
    upload(&b, x, 1.0f);
    if (!right)
        must(cuMemFree_v2((uintptr_t)x));
    must(wrong_double(b.stream, x, b.count, b.y));
    must(cuStreamSynchronize(b.stream));
    if (right)
        must(cuMemFree_v2((uintptr_t)x));
    bench_close(&b);
}

static void pass_freed_memory(const void *what, bool right)
{
    (void)what;
    bench b = bench_open(100);
    float *x = device_floats(100);
    if (!right)
        must(cuMemFree_v2((uintptr_t)x));
    must(wrong_kernels[0].launch(b.stream, true, x, b.count, b.y));
    if (right)
        must(cuMemFree_v2((uintptr_t)x));
    bench_close(&b);
}

static void pass_host_memory(const void *what, bool right)
{
    (void)what;
    float host[MOST] = {0.0f};
    bench b = bench_open(100);
    must(wrong_kernels[0].launch(b.stream, true, right ? b.x : host, b.count, b.y));
    bench_close(&b);
}

static void touch_device_memory(const void *what, bool right)
{
    (void)what;
    bench b = bench_open(100);
    must(cuStreamSynchronize(b.stream)); /* by now the device has touched it */
    if (!right)
        b.x[3] = 1.0f;
    bench_close(&b);
}

static void free_twice(const void *what, bool right)
{
    (void)what;
    bench b = bench_open(100);
    float *x = device_floats(100);
    must(cuMemFree_v2((uintptr_t)x));
    if (!right)
        must(cuMemFree_v2((uintptr_t)x));
    bench_close(&b);
}

static void copy_too_much(const void *what, bool right)
{
    (void)what;
    bench b = bench_open(100);
    must(cuMemcpyDtoDAsync_v2((uintptr_t)(b.y + 50), (uintptr_t)b.x, right ? 200 : 201, b.stream));
    bench_close(&b);
}

static void leak(const void *what, bool right)
{
    (void)what;
    setenv("CUDAEMU_LEAKS", "1", 1);
    bench b = bench_open(100);
    float *lost = device_floats(7);
    if (right)
        must(cuMemFree_v2((uintptr_t)lost));
    must(cuMemFree_v2((uintptr_t)b.x));
    must(cuMemFree_v2((uintptr_t)b.y));
    must(cuStreamDestroy_v2(b.stream));
}

/* The second stream reads what the first one writes. */
static void forget_event(const void *what, bool right)
{
    (void)what;
    bench b = bench_open(100);
    void *second, *event;
    float *between = device_floats(100);
    must(cuStreamCreate(&second, 1));
    must(cuEventCreate(&event, 2));
    must(cuMemcpyDtoDAsync_v2((uintptr_t)between, (uintptr_t)b.x, 400, b.stream));
    must(cuEventRecord(event, b.stream));
    if (right)
        must(cuStreamWaitEvent(second, event, 0));
    must(wrong_double(second, between, b.count, b.y));
    must(cuStreamSynchronize(second));
    check_doubled(&b);
    must(cuEventDestroy_v2(event));
    must(cuStreamDestroy_v2(second));
    must(cuMemFree_v2((uintptr_t)between));
    bench_close(&b);
}

/* Into pinned memory a copy is over when its stream was waited for. */
static void forget_to_wait(const void *what, bool right)
{
    (void)what;
    void *memory;
    bench b = bench_open(100);
    must(cuMemHostAlloc(&memory, 400, 0));
    float *pinned = memory;
    memset(pinned, 0, 400);
    must(cuMemcpyDtoHAsync_v2(pinned, (uintptr_t)b.x, 400, b.stream));
    if (right)
        must(cuStreamSynchronize(b.stream));
    if (pinned[1] != 2.0f)
        _exit(STALE);
    must(cuMemFreeHost(memory));
    bench_close(&b);
}

/* Pinned memory that is written to before its upload was waited for. */
static void overwrite_upload(const void *what, bool right)
{
    (void)what;
    void *memory;
    bench b = bench_open(100);
    must(cuMemHostAlloc(&memory, 400, 0));
    float *pinned = memory;
    for (int i = 0; i < 100; i++)
        pinned[i] = 2.0f * (1.0f + (float)i);
    must(cuMemcpyHtoDAsync_v2((uintptr_t)b.y, pinned, 400, b.stream));
    if (right)
        must(cuStreamSynchronize(b.stream));
    memset(pinned, 0, 400);
    check_doubled(&b);
    must(cuMemFreeHost(memory));
    bench_close(&b);
}

static void use_other_device(const void *what, bool right)
{
    (void)what;
    void *other;
    setenv("CUDAEMU_DEVICES", "2", 1);
    bench b = bench_open(100);
    must(cuDevicePrimaryCtxRetain(&other, 1));
    must(cuCtxSetCurrent(other));
    float *x = device_floats(100);
    must(cuMemcpyDtoDAsync_v2((uintptr_t)x, (uintptr_t)b.x, 0, NULL));
    must(cuCtxSetCurrent(b.context));
    must(cuMemcpyDtoDAsync_v2((uintptr_t)x, (uintptr_t)b.x, 400, b.stream));
    must(wrong_double(b.stream, right ? b.x : x, b.count, b.y));
    check_doubled(&b);
    must(cuMemFree_v2((uintptr_t)x));
    bench_close(&b);
}

static void lean_on_order(const void *what, bool right)
{
    (void)what;
    setenv("CUDAEMU_ORDER", "backward", 1);
    bench b = bench_open(100);
    must(wrong_order(b.stream, right, b.x, b.count, b.y));
    check_doubled(&b);
    bench_close(&b);
}

static void copy_too_soon(const void *what, bool right)
{
    (void)what;
    setenv("CUDAEMU_COPIES", "early", 1);
    bench b = bench_open(100);
    must(wrong_copy(b.stream, right, b.x, b.count, b.y));
    check_doubled(&b);
    bench_close(&b);
}

static const struct {
    const char *name;
    void (*body)(const void *what, bool right);
    const char *message;
    int exits;
} mistakes[] = {
    {"use after free", use_after_free,
     "kernel twice, block (0, 0, 0), thread (0, 0, 0): read offset 0 of freed allocation 3 (400 bytes of device 0)", 0},
    {"pass freed memory", pass_freed_memory,
     "the host: argument 1 of kernel read_past_end<true> is offset 0 of freed allocation 3", 0},
    {"pass memory of the host", pass_host_memory, ", no device memory", 0},
    {"touch device memory", touch_device_memory, "the host: wrote offset 12 of allocation 1 (400 bytes of device 0)",
     0},
    {"free twice", free_twice, "cuMemFree: what is to be freed is offset 0 of freed allocation 3", 0},
    {"copy too much", copy_too_much, "201 bytes from offset 200 of allocation 2 (400 bytes of device 0), goes past", 0},
    {"leak", leak, "leak: allocation 3 (28 bytes of device 0)", 0},
    {"forget an event", forget_event, NULL, NANS},
    {"forget to wait", forget_to_wait, NULL, STALE},
    {"overwrite an upload", overwrite_upload, NULL, STALE},
    {"lean on the order of threads", lean_on_order, NULL, NANS},
    {"copy too soon", copy_too_soon, NULL, NANS},
    {"use another device's memory", use_other_device,
     "read offset 0 of allocation 3 (400 bytes of device 1), another device's", 0},
};

static void test_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        check_caught(mistakes[i].name, mistakes[i].body, NULL, mistakes[i].message, mistakes[i].exits);
}

int main(void)
{
    static const char *const variables[] = {"CUDAEMU_DEVICES", "CUDAEMU_MEMORY", "CUDAEMU_FAIL_ALLOCATION",
                                            "CUDAEMU_LEAKS",   "CUDAEMU_ORDER",  "CUDAEMU_COPIES"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kernels), cmocka_unit_test(test_hosts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
