/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of llavamore.cuda/1: what is given out, kept, counted, and what happens when there is none.
 */
#include "drivers.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static void blocks_stay_on_their_stream(void **state)
{
    (void)state;
    device_host self;
    device_host_open_late(&self, 2, 64 * MIB);
    more_cuda_stream one = device_stream(&self, 0), two = device_stream(&self, 0), far = device_stream(&self, 1);
    void *first = device_take(&self, 0, one, 100000);
    device_give(&self, 0, first);
    void *elsewhere = device_take(&self, 0, two, 100000), *far_away = device_take(&self, 1, far, 100000);
    void *default_one = device_take(&self, 0, NULL, 100000);
    assert_ptr_not_equal(elsewhere, first);
    assert_ptr_not_equal(far_away, first);
    assert_ptr_not_equal(default_one, first);
    assert_ptr_equal(device_take(&self, 0, one, 99999), first);
    device_give(&self, 0, first);
    device_give(&self, 0, default_one); /* work may still be queued on the default stream: that is not everyone's */
    void *again = device_take(&self, 0, one, 100000);
    assert_ptr_equal(again, first);
    assert_ptr_not_equal(device_take(&self, 0, one, 100000), default_one);
    self.cuda->stream_destroy(self.abi, 0, one);
    self.cuda->stream_destroy(self.abi, 0, two);
    self.cuda->stream_destroy(self.abi, 1, far);
    device_host_close(&self);
}

static void memory_of_a_destroyed_stream(void **state)
{
    (void)state;
    device_host self;
    device_host_open_late(&self, 1, 64 * MIB);
    more_cuda_stream one = device_stream(&self, 0), two = device_stream(&self, 0);
    void *kept = device_take(&self, 0, one, 5000), *used = device_take(&self, 0, one, 70000);
    assert_int_equal(self.cuda->fill(self.abi, 0, one, kept, 1, 5000, NULL), MORE_OK); /* and not waited for */
    device_give(&self, 0, kept);
    self.cuda->stream_destroy(self.abi, 0, one);
    assert_int_equal(device_info(&self, 0).cached_bytes, 0); /* what was kept is the driver's again */
    device_give(&self, 0, used);
    assert_ptr_equal(device_take(&self, 0, two, 70000), used); /* what came back later is everyone's */
    device_give(&self, 0, used);
    assert_ptr_not_equal(device_take(&self, 0, NULL, 70000), used); /* it is two's now */
    self.cuda->stream_destroy(self.abi, 0, two);
    device_host_close(&self);
}

static void bytes_are_counted(void **state)
{
    (void)state;
    device_host self;
    device_host_open_late(&self, 2, 64 * MIB);
    void *one = device_take(&self, 0, NULL, 1000), *two = device_take(&self, 0, NULL, 1 << 20),
         *none = device_take(&self, 0, NULL, 0);
    more_cuda_info info = device_info(&self, 0);
    assert_int_equal(info.used_bytes, 1024 + (1 << 20) + 512);
    assert_int_equal(info.peak_bytes, info.used_bytes);
    assert_int_equal(info.cached_bytes, 0);
    device_give(&self, 0, two);
    device_give(&self, 0, none);
    device_give(&self, 0, NULL);
    info = device_info(&self, 0);
    assert_int_equal(info.used_bytes, 1024);
    assert_int_equal(info.peak_bytes, 1024 + (1 << 20) + 512);
    assert_int_equal(info.cached_bytes, (1 << 20) + 512);
    assert_ptr_equal(device_take(&self, 0, NULL, 1 << 20), two);
    info = device_info(&self, 0);
    assert_int_equal(info.used_bytes, 1024 + (1 << 20));
    assert_int_equal(info.peak_bytes, 1024 + (1 << 20) + 512);
    assert_int_equal(info.cached_bytes, 512);
    assert_int_equal(device_info(&self, 1).peak_bytes, 0);
    device_give(&self, 0, one);
    assert_string_equal(self.log, "");
    device_give(&self, 0, one);
    assert_string_equal(self.log, "0 cuda: cuda:0: memory was given back that nobody had\n");
    assert_int_equal(device_info(&self, 0).used_bytes, 1 << 20);
    device_host_close(&self);
}

static void little_is_wasted(void **state)
{
    (void)state;
    device_host self;
    device_host_open_late(&self, 1, 4096 * MIB);
    for (size_t bytes = 1; bytes < 100 * MIB; bytes = bytes * 5 / 4 + 7) {
        int64_t before = device_info(&self, 0).used_bytes;
        void *memory = device_take(&self, 0, NULL, bytes);
        size_t used = (size_t)(device_info(&self, 0).used_bytes - before), waste = used - bytes;
        assert_true(used >= bytes);
        assert_true(used % 512 == 0);
        if (waste >= 512 && (waste * 8 > bytes || waste >= 2 * MIB))
            fail_msg("%zu bytes took %zu", bytes, used);
        device_give(&self, 0, memory);
    }
    device_host_close(&self);
}

static void what_is_kept_is_freed_before_memory_runs_out(void **state)
{
    (void)state;
    device_host self;
    device_host_open_late(&self, 1, 64 * MIB);
    more_cuda_stream one = device_stream(&self, 0), two = device_stream(&self, 0);
    void *first = device_take(&self, 0, one, 30 * MIB), *second = device_take(&self, 0, two, 24 * MIB);
    assert_int_equal(self.cuda->fill(self.abi, 0, one, first, 7, 30 * MIB, NULL), MORE_OK);
    device_give(&self, 0, first); /* while the work on it is queued: freeing it unasked would be a misuse */
    void *third = device_take(&self, 0, two, 32 * MIB);
    assert_int_equal(device_info(&self, 0).cached_bytes, 0);
    assert_int_equal(device_info(&self, 0).used_bytes, (24 + 32) * MIB);
    device_give(&self, 0, second);
    device_give(&self, 0, third);
    self.cuda->stream_destroy(self.abi, 0, one);
    self.cuda->stream_destroy(self.abi, 0, two);
    device_host_close(&self);
}

static void running_out_says_what_to_do(void **state)
{
    (void)state;
    device_host self;
    more_error error = {{0}};
    void *memory = &self;
    device_host_open_late(&self, 1, 2048 * MIB);
    void *held = device_take(&self, 0, NULL, 1024 * MIB);
    assert_int_equal(self.cuda->allocate(self.abi, 0, NULL, 1536 * MIB, "the key-value cache", &memory, &error),
                     MORE_ERROR_MEMORY);
    assert_null(memory);
    assert_string_equal(
        error.message, "cuda:0 (Late One): no memory for the key-value cache: 1,536 MiB needed, 1,024 MiB free of "
                       "2,048, 1,024 MiB held by this program; kv_cache = f16, a shorter context, quantised weights or "
                       "[runtime] device = cpu need less of it");
    assert_int_equal(self.cuda->allocate(self.abi, 0, NULL, SIZE_MAX - 5, NULL, &memory, &error), MORE_ERROR_MEMORY);
    assert_int_equal(device_info(&self, 0).used_bytes, 1024 * MIB);
    late_driver_get()->fail_next("cuMemAlloc_v2", 719);
    assert_int_equal(self.cuda->allocate(self.abi, 0, NULL, 5, "x", &memory, &error), MORE_ERROR_INTERNAL);
    assert_non_null(strstr(error.message, "cuda:0 (Late One): allocating failed: unknown (CUDA_ERROR_UNKNOWN)"));
    device_give(&self, 0, held);
    device_host_close(&self);
}

static void what_nobody_gives_back_is_freed_with_the_host(void **state)
{
    (void)state;
    device_host self;
    void *piece;
    size_t bytes;
    device_host_open_late(&self, 2, 64 * MIB);
    device_take(&self, 0, NULL, 3 * MIB);
    device_give(&self, 1, device_take(&self, 1, NULL, 3 * MIB));
    assert_int_equal(self.cuda->stage_begin(self.abi, 0, &piece, &bytes, NULL), MORE_OK);
    assert_true(late_driver_get()->live() >= 2 + 2 + 2); /* contexts, blocks, the piece and its event */
    device_host_close(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_stay_on_their_stream),
        cmocka_unit_test(memory_of_a_destroyed_stream),
        cmocka_unit_test(bytes_are_counted),
        cmocka_unit_test(little_is_wasted),
        cmocka_unit_test(what_is_kept_is_freed_before_memory_runs_out),
        cmocka_unit_test(running_out_says_what_to_do),
        cmocka_unit_test(what_nobody_gives_back_is_freed_with_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
