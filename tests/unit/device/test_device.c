/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore.cuda/1 over a driver that does nothing before it must. What holds of any driver is also tested on the one
 * that LLAVAMORE_CUDA_DRIVER names, a real one say, else on the emulator where the build has it.
 */
#include "drivers.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static char other_driver[512]; /* "" = none */

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

static void expect_none(const char *driver, const char *reason)
{
    device_host self;
    device_host_open(&self, driver);
    assert_int_equal(self.cuda->count(self.abi), 0);
    if (!strstr(self.cuda->reason(self.abi), reason))
        fail_msg("'%s' is not in: %s", reason, self.cuda->reason(self.abi));
    device_host_close(&self);
}

static void what_is_missing_is_said(void **state)
{
    (void)state;
    const late_driver *late = late_driver_get();
    expect_none(NO_DRIVER, "no NVIDIA driver: " NO_DRIVER " cannot be opened (");
    expect_none("libm.so.6", "libm.so.6 is no NVIDIA driver, or one too old: it lacks cuGetErrorName");
    late->reset(0, MIB);
    expect_none(late->path, "finds no device");
    late->reset(1, MIB);
    late->fail_next("cuInit", 999);
    expect_none(late->path, "does not start: unknown (CUDA_ERROR_UNKNOWN)");
    late->fail_next("cuDeviceGetName", 999);
    expect_none(late->path, "does not describe its devices: unknown");
}

static void nothing_works_without_a_device(void **state)
{
    (void)state;
    device_host self;
    more_error error = {{0}};
    more_cuda_info info = {.struct_size = sizeof info};
    more_cuda_stream stream = &self;
    more_cuda_event event = &self;
    void *memory = &self, *piece;
    size_t bytes;
    device_host_open(&self, NO_DRIVER);
    const more_cuda_service *cuda = self.cuda;
    assert_int_equal(cuda->describe(self.abi, 0, &info, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "there is no cuda:0: no NVIDIA driver"));
    assert_int_equal(cuda->use(self.abi, 0, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(cuda->stream_create(self.abi, 0, &stream, &error), MORE_ERROR_NOT_FOUND);
    assert_null(stream);
    assert_int_equal(cuda->event_create(self.abi, 0, &event, NULL), MORE_ERROR_NOT_FOUND);
    assert_null(event);
    assert_int_equal(cuda->allocate(self.abi, 0, NULL, 1, "x", &memory, &error), MORE_ERROR_NOT_FOUND);
    assert_null(memory);
    assert_int_equal(cuda->copy(self.abi, 0, NULL, &self, &self, 1, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(cuda->fill(self.abi, 0, NULL, &self, 0, 1, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(cuda->stage_begin(self.abi, 0, &piece, &bytes, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(cuda->synchronize(self.abi, 0, NULL, &error), MORE_ERROR_NOT_FOUND);
    cuda->release(self.abi, 0, NULL);
    cuda->stream_destroy(self.abi, 0, NULL);
    cuda->event_destroy(self.abi, 0, NULL);
    device_host_close(&self);
}

static void devices_are_described(void **state)
{
    (void)state;
    device_host self;
    more_error error = {{0}};
    device_host_open_late(&self, 2, 64 * MIB);
    assert_int_equal(self.cuda->count(self.abi), 2);
    assert_string_equal(self.cuda->reason(self.abi), "");
    more_cuda_info info = device_info(&self, 1);
    assert_string_equal(info.name, "Late Two");
    assert_int_equal(info.capability, 90);
    assert_int_equal(info.processors, 11);
    assert_int_equal(info.total_bytes, 64 * MIB);
    assert_int_equal(info.free_bytes, 64 * MIB);
    more_cuda_info shorter = {.struct_size = offsetof(more_cuda_info, processors), .processors = -1};
    assert_int_equal(self.cuda->describe(self.abi, 0, &shorter, &error), MORE_OK);
    assert_string_equal(shorter.name, "Late One");
    assert_int_equal(shorter.processors, -1);
    assert_int_equal(shorter.struct_size, offsetof(more_cuda_info, processors));
    assert_int_equal(self.cuda->use(self.abi, 2, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "there is no cuda:2: this machine has 2 CUDA devices"));
    assert_int_equal(self.cuda->use(self.abi, -1, &error), MORE_ERROR_NOT_FOUND);
    device_host_close(&self);
}

/* A device that another process has is no bug; one that is full is told as such. */
static void a_context_may_be_refused(void **state)
{
    (void)state;
    device_host self;
    more_error error = {{0}};
    device_host_open_late(&self, 1, 64 * MIB);
    late_driver_get()->fail_next("cuDevicePrimaryCtxRetain", 46);
    assert_int_equal(self.cuda->use(self.abi, 0, &error), MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "cuda:0 (Late One): cannot be used: unknown"));
    late_driver_get()->fail_next("cuDevicePrimaryCtxRetain", 2);
    assert_int_equal(self.cuda->use(self.abi, 0, &error), MORE_ERROR_MEMORY);
    assert_int_equal(self.cuda->use(self.abi, 0, &error), MORE_OK);
    device_host_close(&self);
}

static void cublas_is_asked_for_by_name(void **state)
{
    (void)state;
    device_host self;
    setenv("LLAVAMORE_CUBLAS", "/nonexistent/libcublas.so", 1);
    device_host_open(&self, NO_DRIVER);
    assert_null(self.cuda->cublas(self.abi, "cublasCreate_v2"));
    const char *line = strstr(self.log, "1 cuda: cuBLAS was not found (/nonexistent/libcublas.so: ");
    assert_non_null(line);
    assert_null(self.cuda->cublas(self.abi, "cublasCreate_v2"));
    assert_null(strstr(strchr(line, '\n'), "cuBLAS")); /* said once */
    device_host_close(&self);
    setenv("LLAVAMORE_CUBLAS", "libm.so.6", 1); /* any library will do */
    device_host_open(&self, NO_DRIVER);
    assert_non_null(self.cuda->cublas(self.abi, "cos"));
    assert_null(self.cuda->cublas(self.abi, "cublasCreate_v2"));
    assert_null(self.cuda->cublas(self.abi, NULL));
    assert_string_equal(self.log, "");
    device_host_close(&self);
    unsetenv("LLAVAMORE_CUBLAS");
}

static uint8_t *pattern(size_t bytes, uint32_t seed)
{
    uint8_t *made = malloc(bytes);
    assert_non_null(made);
    for (size_t i = 0; i < bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        made[i] = (uint8_t)(seed >> 24);
    }
    return made;
}

/* ---- Copying ----------------------------------------------------------------------------------------------------- */

/* Through the device and back, of sizes around that of a piece; what is uploaded is overwritten at once. */
static void copies_arrive(const device_host *self, int32_t number)
{
    static const size_t sizes[] = {0, 1, 255, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 21 * MIB + 3};
    more_cuda_stream stream = device_stream(self, number);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t bytes = sizes[i];
        uint8_t *sent = pattern(bytes + 1, (uint32_t)i), *wanted = pattern(bytes + 1, (uint32_t)i);
        uint8_t *back = calloc(bytes + 1, 1);
        void *one = device_take(self, number, stream, bytes), *two = device_take(self, number, stream, bytes);
        device_copy(self, number, stream, one, sent, bytes);
        memset(sent, 0, bytes);
        device_copy(self, number, stream, two, one, bytes);
        device_copy(self, number, stream, back, two, bytes);
        assert_memory_equal(back, wanted, bytes);
        assert_int_equal(back[bytes], 0);
        device_give(self, number, one);
        device_give(self, number, two);
        free(sent);
        free(wanted);
        free(back);
    }
    self->cuda->stream_destroy(self->abi, number, stream);
}

static void copies_arrive_on_two_devices(void **state)
{
    (void)state;
    device_host self;
    device_host_open_late(&self, 2, 128 * MIB);
    copies_arrive(&self, 1);
    copies_arrive(&self, 0);
    device_host_close(&self);
}

static void copies_within_the_host_wait_for_the_stream(void **state)
{
    (void)state;
    device_host self;
    char text[4] = "abc", other[4] = "";
    device_host_open_late(&self, 1, 64 * MIB);
    device_copy(&self, 0, NULL, other, text, 4);
    assert_string_equal(other, "abc");
    device_host_close(&self);
}

static void filling_is_queued_in_order(void **state)
{
    (void)state;
    device_host self;
    uint8_t back[3000], sent[1000];
    memset(sent, 9, sizeof sent);
    device_host_open_late(&self, 1, 64 * MIB);
    uint8_t *memory = device_take(&self, 0, NULL, 3000);
    assert_int_equal(self.cuda->fill(self.abi, 0, NULL, memory, 0xff, 3000, NULL), MORE_OK);
    device_copy(&self, 0, NULL, memory + 1000, sent, 1000);
    assert_int_equal(self.cuda->fill(self.abi, 0, NULL, memory, 1, 0, NULL), MORE_OK);
    device_copy(&self, 0, NULL, back, memory, 3000);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(back[i], i / 1000 == 1 ? 9 : 0xff);
    device_give(&self, 0, memory);
    device_host_close(&self);
}

/* Pieces are used again, each when its upload is over. */
static void pieces_wait_for_their_uploads(void **state)
{
    (void)state;
    enum { PIECES = 13, BYTES = 1000 };
    device_host self;
    more_error error = {{0}};
    uint8_t back[PIECES * BYTES];
    device_host_open_late(&self, 1, 64 * MIB);
    more_cuda_stream stream = device_stream(&self, 0);
    uint8_t *memory = device_take(&self, 0, stream, sizeof back);
    for (int i = 0; i < PIECES; i++) {
        void *piece;
        size_t bytes;
        device_must(self.cuda->stage_begin(self.abi, 0, &piece, &bytes, &error), &error);
        assert_true(bytes >= MIB);
        memset(piece, i + 1, BYTES);
        device_must(self.cuda->stage_end(self.abi, 0, stream, piece, memory + i * BYTES, BYTES, &error), &error);
    }
    device_copy(&self, 0, stream, back, memory, sizeof back);
    for (int i = 0; i < PIECES * BYTES; i++)
        assert_int_equal(back[i], i / BYTES + 1);
    assert_true(late_driver_get()->live() < PIECES);
    device_give(&self, 0, memory);
    self.cuda->stream_destroy(self.abi, 0, stream);
    device_host_close(&self);
}

static void pieces_are_given_back_in_any_case(void **state)
{
    (void)state;
    device_host self;
    more_error error = {{0}};
    void *pieces[8], *again;
    size_t bytes;
    device_host_open_late(&self, 1, 64 * MIB);
    void *memory = device_take(&self, 0, NULL, 8 * MIB);
    for (int i = 0; i < 8; i++) { /* as many as are wanted at one time */
        device_must(self.cuda->stage_begin(self.abi, 0, &pieces[i], &bytes, &error), &error);
        for (int k = 0; k < i; k++)
            assert_ptr_not_equal(pieces[i], pieces[k]);
    }
    for (int i = 1; i < 8; i++)
        device_must(self.cuda->stage_end(self.abi, 0, NULL, pieces[i], NULL, 0, &error), &error);
    assert_int_equal(self.cuda->stage_end(self.abi, 0, NULL, pieces[0], memory, bytes + 1, &error),
                     MORE_ERROR_ARGUMENT);
    assert_int_equal(self.cuda->stage_end(self.abi, 0, NULL, pieces[0], memory, 1, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(self.cuda->stage_end(self.abi, 0, NULL, &self, memory, 1, &error), MORE_ERROR_ARGUMENT);
    int live = late_driver_get()->live();
    device_must(self.cuda->stage_begin(self.abi, 0, &again, &bytes, &error), &error);
    late_driver_get()->fail_next("cuMemcpyHtoDAsync_v2", 719);
    assert_int_equal(self.cuda->stage_end(self.abi, 0, NULL, again, memory, 1, &error), MORE_ERROR_INTERNAL);
    assert_non_null(strstr(error.message, "cuda:0 (Late One): uploading failed: unknown"));
    device_must(self.cuda->stage_begin(self.abi, 0, &again, &bytes, &error), &error);
    device_must(self.cuda->stage_end(self.abi, 0, NULL, again, memory, 1, &error), &error);
    assert_int_equal(late_driver_get()->live(), live);
    device_give(&self, 0, memory);
    device_host_close(&self);
}

/* ---- Streams and events ------------------------------------------------------------------------------------------ */

static void a_stream_waits_for_an_event(void **state)
{
    (void)state;
    device_host self;
    more_error error = {{0}};
    more_cuda_event event;
    uint8_t back[512];
    device_host_open_late(&self, 1, 64 * MIB);
    more_cuda_stream one = device_stream(&self, 0), two = device_stream(&self, 0);
    void *memory = device_take(&self, 0, one, 512), *other = device_take(&self, 0, two, 512);
    device_must(self.cuda->event_create(self.abi, 0, &event, &error), &error);
    device_must(self.cuda->fill(self.abi, 0, one, memory, 5, 512, &error), &error);
    device_must(self.cuda->event_record(self.abi, 0, event, one, &error), &error);
    device_must(self.cuda->fill(self.abi, 0, two, memory, 6, 512, &error), &error); /* without waiting */
    device_must(self.cuda->stream_wait(self.abi, 0, two, event, &error), &error);
    device_copy(&self, 0, two, other, memory, 512);
    device_copy(&self, 0, two, back, other, 512);
    assert_int_equal(back[0], 5);
    late_driver_get()->fail_next("cuStreamSynchronize", 700);
    assert_int_equal(self.cuda->synchronize(self.abi, 0, one, &error), MORE_ERROR_INTERNAL);
    assert_non_null(strstr(error.message, "cuda:0 (Late One): work on it failed: unknown (CUDA_ERROR_UNKNOWN)"));
    device_synchronize(&self, 0, one);
    self.cuda->event_destroy(self.abi, 0, event);
    self.cuda->stream_destroy(self.abi, 0, one);
    self.cuda->stream_destroy(self.abi, 0, two);
    device_host_close(&self);
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

typedef struct worker {
    const device_host *host;
    int32_t number;
    uint32_t seed, rounds;
    int wrong;
} worker;

/* Every thread on a stream of its own: what it uploads comes back, whatever the others do. */
static void *work(void *argument)
{
    worker *self = argument;
    const more_host *abi = self->host->abi;
    const more_cuda_service *cuda = self->host->cuda;
    more_cuda_stream stream;
    uint8_t back[5000];
    if (cuda->stream_create(abi, self->number, &stream, NULL) != MORE_OK) {
        self->wrong++;
        return NULL;
    }
    for (uint32_t i = 0; i < self->rounds; i++) {
        size_t bytes = 1 + (self->seed * 7919 + i * 104729) % sizeof back;
        void *memory = NULL;
        uint8_t *sent = pattern(bytes, self->seed + i);
        self->wrong += cuda->allocate(abi, self->number, stream, bytes, "a thread", &memory, NULL) != MORE_OK ||
                       cuda->copy(abi, self->number, stream, memory, sent, bytes, NULL) != MORE_OK ||
                       cuda->copy(abi, self->number, stream, back, memory, bytes, NULL) != MORE_OK ||
                       memcmp(sent, back, bytes) != 0;
        cuda->release(abi, self->number, memory);
        free(sent);
    }
    cuda->stream_destroy(abi, self->number, stream);
    return NULL;
}

static void threads_do_not_meet(const device_host *self, int32_t count, uint32_t rounds)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.host = self, .number = i % count, .seed = (uint32_t)i * 1000, .rounds = rounds};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    for (int32_t i = 0; i < count; i++)
        assert_int_equal(device_info(self, i).used_bytes, 0);
}

static void threads_share_the_devices(void **state)
{
    (void)state;
    device_host self;
    device_host_open_late(&self, 2, 64 * MIB);
    threads_do_not_meet(&self, 2, 100);
    device_host_close(&self);
}

/* ---- Another driver ---------------------------------------------------------------------------------------------- */

static void find_other_driver(void)
{
    const char *named = getenv("LLAVAMORE_CUDA_DRIVER"), *build = getenv("builddir");
    if (named && *named && strcmp(named, "/dev/null") != 0) /* as make check has it: no device */
        snprintf(other_driver, sizeof other_driver, "%s", named);
    else
        snprintf(other_driver, sizeof other_driver, "%s/tests/cudaemu/.libs/libcudaemu.so", build ? build : ".");
    if (strchr(other_driver, '/') && access(other_driver, R_OK) != 0)
        other_driver[0] = '\0';
    /* where it is the emulator */
    setenv("CUDAEMU_DEVICES", "2", 0);
    setenv("CUDAEMU_MEMORY", "134217728", 0);
}

/* More than there is, and what is kept does not count as used up. */
static void memory_runs_out(const device_host *self, int32_t number)
{
    more_error error = {{0}};
    void *memory;
    assert_int_equal(self->cuda->allocate(self->abi, number, NULL, (size_t)1 << 50, "too much", &memory, &error),
                     MORE_ERROR_MEMORY);
    assert_non_null(strstr(error.message, "no memory for too much: 1,073,741,824 MiB needed"));
    size_t most = (size_t)device_info(self, number).free_bytes / 8 * 5;
    device_give(self, number, device_take(self, number, NULL, most));
    device_give(self, number, device_take(self, number, NULL, most + 32 * MIB));
}

/* The emulator counts what is not given back. */
static void expect_no_leaks(void)
{
    void *library = dlopen(other_driver, RTLD_NOW | RTLD_LOCAL);
    int (*leaks)(void) = NULL;
    assert_non_null(library);
    *(void **)&leaks = dlsym(library, "cudaemu_leaks");
    if (leaks)
        assert_int_equal(leaks(), 0);
}

static void the_other_driver_serves_too(void **state)
{
    (void)state;
    device_host self;
    if (!*other_driver)
        skip();
    device_host_open(&self, other_driver);
    int32_t count = self.cuda->count(self.abi);
    if (!count)
        print_message("%s\n", self.cuda->reason(self.abi));
    for (int32_t i = 0; i < count; i++) {
        copies_arrive(&self, i);
        memory_runs_out(&self, i);
    }
    if (count)
        threads_do_not_meet(&self, count, 10);
    device_host_close(&self);
    expect_no_leaks();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_missing_is_said),
        cmocka_unit_test(nothing_works_without_a_device),
        cmocka_unit_test(devices_are_described),
        cmocka_unit_test(a_context_may_be_refused),
        cmocka_unit_test(cublas_is_asked_for_by_name),
        cmocka_unit_test(copies_arrive_on_two_devices),
        cmocka_unit_test(copies_within_the_host_wait_for_the_stream),
        cmocka_unit_test(filling_is_queued_in_order),
        cmocka_unit_test(pieces_wait_for_their_uploads),
        cmocka_unit_test(pieces_are_given_back_in_any_case),
        cmocka_unit_test(a_stream_waits_for_an_event),
        cmocka_unit_test(threads_share_the_devices),
        cmocka_unit_test(the_other_driver_serves_too),
    };
    find_other_driver();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
