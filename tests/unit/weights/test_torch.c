/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of torch.save: those that tests/oracle/torch_files.py wrote, and hostile ones that must be refused by name.
 */
#include "base/file.h"
#include "made.h"
#include "weights/checkpoint.h"
#include "weights/convert.h"
#include "weights/tensor_file.h"
#include "weights/torch/torch.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char *data_path(const char *name)
{
    const char *top = getenv("srcdir");
    core_buffer path = {0};
    core_buffer_format(&path, "%s/tests/unit/weights/data/torch/%s", top ? top : ".", name);
    return core_buffer_take(&path);
}

static core_torch *open_good(const char *name)
{
    more_error error = {{0}};
    core_torch *file = NULL;
    char *path = data_path(name);
    if (core_torch_open(path, &file, &error) != MORE_OK)
        fail_msg("%s", error.message);
    free(path);
    return file;
}

static const core_tensor_entry *get(const core_torch *file, const char *name, const char *format, int32_t rank)
{
    const core_tensor_entry *entry = core_tensor_table_find(core_torch_tensors(file), name);
    if (!entry)
        fail_msg("no tensor '%s'", name);
    assert_string_equal(entry->format, format);
    assert_int_equal(entry->rank, rank);
    assert_true(entry->mapped);
    return entry;
}

/* The elements are first, first + 1, ... */
static void is_ramp(const core_tensor_entry *entry, int64_t count, double first)
{
    float values[16];
    assert_int_equal(entry->elements, count);
    assert_int_equal(entry->bytes, (size_t)count * core_format_width(entry->format));
    assert_true(core_convert(entry->format, entry->data, 1, count, more_f32(), values));
    for (int64_t i = 0; i < count; i++)
        assert_true((double)values[i] == first + (double)i);
}

static void test_number_formats(void **state)
{
    (void)state;
    static const char *const floats[] = {"f32", "f16", "bf16", "f64"};
    core_torch *file = open_good("dtypes.bin");
    assert_int_equal(core_torch_tensors(file)->count, 13);
    assert_string_equal(core_torch_tensors(file)->entries[0].name, "f32");
    assert_null(core_tensor_table_find(core_torch_tensors(file), "f8"));
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        const core_tensor_entry *entry = get(file, floats[i], floats[i], 2);
        assert_int_equal(entry->shape[0], 2);
        assert_int_equal(entry->shape[1], 3);
        is_ramp(entry, 6, -3);
    }
    static const int64_t wide[] = {-3, -2, -1, 0, 1, 2};
    static const int32_t plain[] = {-3, -2, -1, 0, 1, 2};
    static const int16_t small[] = {-3, -2, -1, 0, 1, 2};
    static const int8_t tiny[] = {-3, -2, -1, 0, 1, 2};
    assert_memory_equal(get(file, "i64", "i64", 2)->data, wide, sizeof wide);
    assert_memory_equal(get(file, "i32", "i32", 2)->data, plain, sizeof plain);
    assert_memory_equal(get(file, "i16", "i16", 2)->data, small, sizeof small);
    assert_memory_equal(get(file, "i8", "i8", 2)->data, tiny, sizeof tiny);
    assert_memory_equal(get(file, "u8", "u8", 1)->data, "\0\1\2\3", 4);
    assert_memory_equal(get(file, "bool", "bool", 1)->data, "\1\0\1", 3);
    is_ramp(get(file, "scalar", "f32", 0), 1, -3);
    assert_int_equal(get(file, "empty", "f32", 2)->elements, 0);
    is_ramp(get(file, "flat", "f32", 3), 3, -3);
    core_torch_close(file);
}

static void test_state_dict_of_a_module(void **state)
{
    (void)state;
    core_torch *file = open_good("module.bin");
    assert_int_equal(core_torch_tensors(file)->count, 7);
    is_ramp(get(file, "0.weight", "f32", 2), 6, -3);
    assert_int_equal(get(file, "1.num_batches_tracked", "i64", 0)->elements, 1);
    core_torch_close(file);
    file = open_good("nothing.bin");
    assert_int_equal(core_torch_tensors(file)->count, 0);
    core_torch_close(file);
}

static void test_views_of_one_storage(void **state)
{
    (void)state;
    core_torch *file = open_good("views.bin");
    const core_tensor_entry *whole = get(file, "whole", "f32", 2);
    is_ramp(whole, 12, -3);
    assert_ptr_equal(get(file, "tied", "f32", 2)->data, whole->data);
    is_ramp(get(file, "rows", "f32", 2), 6, 0);
    is_ramp(get(file, "row", "f32", 1), 3, 6);
    is_ramp(get(file, "part", "f32", 1), 2, -1);
    core_torch_close(file);
}

static void test_zip64(void **state)
{
    (void)state;
    core_torch *file = open_good("zip64.bin");
    is_ramp(get(file, "w", "f32", 2), 6, -3);
    core_torch_close(file);
}

/* ---- Hostile files ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    more_status status;
    const char *word;
} hostile[] = {
    {"attributes", MORE_ERROR_CORRUPT, "no dictionary"},
    {"big-endian", MORE_ERROR_UNSUPPORTED, "'big'"},
    {"class-called", MORE_ERROR_UNSUPPORTED, "calls torch.FloatStorage"},
    {"compressed", MORE_ERROR_UNSUPPORTED, "compressed"},
    {"cut", MORE_ERROR_UNSUPPORTED, "'w': its strides"},
    {"cut-off-front", MORE_ERROR_CORRUPT, "zip64 locator"},
    {"empty", MORE_ERROR_CORRUPT, "without a stop"},
    {"eval", MORE_ERROR_UNSUPPORTED, "calls __builtin__.eval"},
    {"expanded", MORE_ERROR_UNSUPPORTED, "'w': its strides"},
    {"huge-memo", MORE_ERROR_MEMORY, "more than"},
    {"huge-offset", MORE_ERROR_CORRUPT, "4611686018427387904"},
    {"inst", MORE_ERROR_UNSUPPORTED, "INST"},
    {"invalid-name", MORE_ERROR_CORRUPT, "UTF-8"},
    {"key-is-number", MORE_ERROR_CORRUPT, "key"},
    {"late", MORE_ERROR_UNSUPPORTED, "calls builtins.exec"},
    {"legacy", MORE_ERROR_UNSUPPORTED, "before 1.6"},
    {"list", MORE_ERROR_UNSUPPORTED, "LIST"},
    {"long-name", MORE_ERROR_CORRUPT, "name that does not end"},
    {"long-text", MORE_ERROR_CORRUPT, "past the end"},
    {"marks-left", MORE_ERROR_UNSUPPORTED, "not a state dict"},
    {"memo", MORE_ERROR_CORRUPT, "remembered"},
    {"negative-offset", MORE_ERROR_CORRUPT, "offset"},
    {"negative-size", MORE_ERROR_CORRUPT, "size"},
    {"nested", MORE_ERROR_UNSUPPORTED, "'state_dict' is a dictionary"},
    {"no-mark", MORE_ERROR_CORRUPT, "no mark"},
    {"no-pickle", MORE_ERROR_UNSUPPORTED, "data.pkl"},
    {"no-stop", MORE_ERROR_CORRUPT, "without a stop"},
    {"number", MORE_ERROR_UNSUPPORTED, "'epoch' is a number"},
    {"object", MORE_ERROR_UNSUPPORTED, "NEWOBJ"},
    {"offset", MORE_ERROR_CORRUPT, "'w': 6 elements from element 1"},
    {"overflow", MORE_ERROR_CORRUPT, "'w': the product"},
    {"protocol-4", MORE_ERROR_UNSUPPORTED, "protocol 4"},
    {"rank-9", MORE_ERROR_CORRUPT, "at most 8"},
    {"ranks", MORE_ERROR_CORRUPT, "strides"},
    {"script", MORE_ERROR_UNSUPPORTED, "TorchScript"},
    {"sparse", MORE_ERROR_UNSUPPORTED, "_rebuild_sparse_tensor"},
    {"storage-lies", MORE_ERROR_CORRUPT, "8 elements"},
    {"storage-missing", MORE_ERROR_CORRUPT, "data/7"},
    {"storage-overflow", MORE_ERROR_CORRUPT, "'w': a storage"},
    {"storage-type", MORE_ERROR_UNSUPPORTED, "QInt8Storage"},
    {"system", MORE_ERROR_UNSUPPORTED, "refused: pickle calls posix.system"},
    {"tensor-alone", MORE_ERROR_UNSUPPORTED, "holds a tensor"},
    {"transposed", MORE_ERROR_UNSUPPORTED, "contiguous()"},
    {"truncated", MORE_ERROR_CORRUPT, "truncated"},
    {"twice", MORE_ERROR_CORRUPT, "'w' is in its state dict twice"},
    {"underflow", MORE_ERROR_CORRUPT, "a call without"},
};

static void test_hostile(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        more_error error = {{0}};
        core_tensor_file *file = NULL;
        core_buffer name = {0};
        core_buffer_format(&name, "hostile/%s.bin", hostile[i].name);
        char *path = data_path(name.data);
        more_status status = core_tensor_file_open(path, &file, &error);
        if (status != hostile[i].status || file)
            fail_msg("%s: status %d: %s", name.data, (int)status, error.message);
        if (!strstr(error.message, hostile[i].word) || !strstr(error.message, name.data))
            fail_msg("'%s' lacks '%s'", error.message, hostile[i].word);
        free(path);
        core_buffer_free(&name);
    }
}

static void test_every_hostile_file_is_listed(void **state)
{
    (void)state;
    char *path = data_path("hostile");
    DIR *folder = opendir(path);
    size_t count = 0;
    assert_non_null(folder);
    for (struct dirent *item; (item = readdir(folder));)
        count += item->d_name[0] != '.';
    assert_int_equal(count, sizeof hostile / sizeof *hostile);
    closedir(folder);
    free(path);
}

/* Every beginning of a good file, and the file with each byte changed, in memory of exactly that size: under ASan a
 * byte read too far is seen. */
static void test_damaged(void **state)
{
    (void)state;
    more_error error = {{0}};
    core_buffer whole = {0};
    char *path = data_path("views.bin");
    assert_int_equal(core_file_read(path, 1 << 20, &whole, &error), MORE_OK);
    for (size_t size = 0; size < whole.size; size++) {
        unsigned char *part = malloc(size ? size : 1);
        core_torch *file = NULL;
        memcpy(part, whole.data, size);
        assert_true(core_torch_parse(part, size, "part", &file, &error) < 0);
        assert_null(file);
        free(part);
    }
    unsigned char *changed = malloc(whole.size);
    for (size_t i = 0; i < 3 * whole.size; i++) {
        core_torch *file = NULL;
        volatile unsigned sum = 0;
        memcpy(changed, whole.data, whole.size);
        changed[i / 3] ^= (unsigned char)"\x01\x80\xff"[i % 3];
        if (core_torch_parse(changed, whole.size, "changed", &file, &error) != MORE_OK)
            continue;
        for (size_t k = 0; k < core_torch_tensors(file)->count; k++)
            for (size_t n = 0; n < core_torch_tensors(file)->entries[k].bytes; n++)
                sum += core_torch_tensors(file)->entries[k].data[n];
        (void)sum;
        core_torch_close(file);
    }
    free(changed);
    free(path);
    core_buffer_free(&whole);
}

/* ---- Folders ---------------------------------------------------------------------------------------------------- */

static void copy_to(const char *folder, const char *from, const char *name)
{
    more_error error = {{0}};
    core_buffer bytes = {0};
    char *path = data_path(from);
    assert_int_equal(core_file_read(path, 1 << 20, &bytes, &error), MORE_OK);
    made_file(folder, name, bytes.data, bytes.size);
    core_buffer_free(&bytes);
    free(path);
}

static void row_is(more_checkpoint *checkpoint, const char *name, int64_t row, float first)
{
    float values[3];
    more_error error = {{0}};
    if (core_weights_service()->read_rows(checkpoint, name, row, 1, more_f32(), values, &error) != MORE_OK)
        fail_msg("%s", error.message);
    for (int i = 0; i < 3; i++)
        assert_true(values[i] == first + (float)i);
    core_weights_service()->drop(checkpoint, name);
}

static void test_single_file_in_a_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"pytorch_model.bin", "mm_projector.bin"};
    for (size_t i = 0; i < 2; i++) {
        more_error error = {{0}};
        more_checkpoint *checkpoint = NULL;
        char *folder = made_folder();
        copy_to(folder, "views.bin", names[i]);
        made_text(folder, "config.json", "{\"model_type\":\"made\"}");
        assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_OK);
        assert_int_equal(core_weights_service()->count(checkpoint), 5);
        row_is(checkpoint, "whole", 2, 3);
        row_is(checkpoint, "rows", 0, 0);
        core_checkpoint_release(checkpoint);
        made_remove(folder);
    }
}

static void test_shards(void **state)
{
    (void)state;
    static const char index[] = "{\"weight_map\":{\"whole\":\"a.bin\",\"rows\":\"a.bin\",\"f16\":\"b.bin\"}}";
    more_error error = {{0}};
    more_checkpoint *checkpoint = NULL;
    char *folder = made_folder();
    copy_to(folder, "views.bin", "a.bin");
    copy_to(folder, "dtypes.bin", "b.bin");
    made_text(folder, "pytorch_model.bin.index.json", index);
    assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_OK);
    assert_int_equal(core_weights_service()->count(checkpoint), 3);
    row_is(checkpoint, "f16", 1, 0);
    row_is(checkpoint, "whole", 3, 6);
    core_checkpoint_release(checkpoint);
    copy_to(folder, "hostile/system.bin", "b.bin");
    assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "b.bin: refused"));
    /* safetensors come first where both are there. */
    made_weights(folder, "model.safetensors", "{\"s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", "", 1);
    assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_OK);
    assert_int_equal(core_weights_service()->count(checkpoint), 1);
    core_checkpoint_release(checkpoint);
    made_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_formats),
        cmocka_unit_test(test_state_dict_of_a_module),
        cmocka_unit_test(test_views_of_one_storage),
        cmocka_unit_test(test_zip64),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_every_hostile_file_is_listed),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_single_file_in_a_folder),
        cmocka_unit_test(test_shards),
    };
    return cmocka_run_group_tests_name("torch", tests, NULL, NULL);
}
