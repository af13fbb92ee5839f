/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors files that are right, and every way in which one can lie.
 */
#include "made.h"
#include "weights/safetensors.h"

#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const unsigned char zeros[256];

/* Parses a header over `size` zero bytes and wants a refusal whose message has `word` in it. The bytes lie at the end
 * of their own allocation, so that a sanitizer sees any step beyond. */
static void refused(const char *header, size_t size, more_status status, const char *word)
{
    more_error error = {{0}};
    core_safetensors *file = NULL;
    core_buffer bytes = made_safetensors(header, zeros, size);
    unsigned char *exact = malloc(bytes.size);
    memcpy(exact, bytes.data, bytes.size);
    assert_int_equal(core_safetensors_parse(exact, bytes.size, "lie.safetensors", &file, &error), status);
    assert_null(file);
    if (!strstr(error.message, word) || !strstr(error.message, "lie.safetensors"))
        fail_msg("'%s' lacks '%s' or the file's name", error.message, word);
    free(exact);
    core_buffer_free(&bytes);
}

static void corrupt(const char *header, size_t size, const char *word)
{
    refused(header, size, MORE_ERROR_CORRUPT, word);
}

#define TENSOR(name, dtype, shape, offsets)                                                                            \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void test_good(void **state)
{
    (void)state;
    more_error error = {{0}};
    core_safetensors *file = NULL;
    core_buffer bytes =
        made_safetensors("{\"__metadata__\":{\"format\":\"pt\"}," TENSOR("b", "F16", "[2,3]", "[8,20]") "," TENSOR(
                             "a", "I64", "[]", "[0,8]") "," TENSOR("empty", "F32", "[0,4]", "[8,8]") "}   ",
                         zeros, 20);
    assert_int_equal(core_safetensors_parse(bytes.data, bytes.size, "good", &file, &error), MORE_OK);
    assert_int_equal(core_safetensors_tensors(file)->count, 3);
    const core_tensor_entry *b = core_tensor_table_find(core_safetensors_tensors(file), "b");
    assert_non_null(b);
    assert_string_equal(b->format, "f16");
    assert_int_equal(b->rank, 2);
    assert_int_equal(b->shape[1], 3);
    assert_int_equal(b->elements, 6);
    assert_int_equal(b->bytes, 12);
    assert_ptr_equal(b->data, (unsigned char *)bytes.data + bytes.size - 12);
    assert_string_equal(core_safetensors_tensors(file)->entries[0].name, "a");
    assert_int_equal(core_safetensors_tensors(file)->entries[0].elements, 1);
    assert_null(core_tensor_table_find(core_safetensors_tensors(file), "c"));
    assert_null(core_tensor_table_find(core_safetensors_tensors(file), "__metadata__"));
    assert_string_equal(core_safetensors_metadata(file, "format"), "pt");
    core_safetensors_close(file);
    core_buffer_free(&bytes);
}

static void test_header_lies(void **state)
{
    (void)state;
    corrupt("", 0, "'{'");
    corrupt("[1]", 0, "'{'");
    corrupt(" {}", 0, "'{'");
    corrupt("{\"a\":", 0, "header byte");
    corrupt("{} x", 0, "header byte");
    corrupt("{\"a\xff\":1}", 0, "header byte");
    corrupt("{\"a\":1}", 0, "not an object");
    corrupt("{\"__metadata__\":3}", 0, "__metadata__");
    corrupt("{\"__metadata__\":{\"k\":3}}", 0, "'k' is not a string");
    corrupt("{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("a", "U8", "[1]", "[1,2]") "}", 2, "duplicate");
    corrupt("{" TENSOR("a\\u0000b", "U8", "[1]", "[0,1]") "}", 1, "header byte");
}

static void test_length_lies(void **state)
{
    (void)state;
    more_error error = {{0}};
    core_safetensors *file = NULL;
    const unsigned char short_of[8] = {3, 0, 0, 0, 0, 0, 0, 0}, huge[9] = {0, 0, 0, 0, 0, 0, 0, 0x80, '{'};
    const unsigned char wide[10] = {0xff, 0xff, 0xff, 0x04, 0, 0, 0, 0, '{', '}'};
    for (size_t size = 0; size < 8; size++)
        assert_int_equal(core_safetensors_parse(short_of, size, "x", &file, &error), MORE_ERROR_CORRUPT);
    assert_non_null(strstr(error.message, "too few"));
    assert_int_equal(core_safetensors_parse(short_of, 8, "x", &file, &error), MORE_ERROR_CORRUPT);
    assert_non_null(strstr(error.message, "truncated"));
    assert_int_equal(core_safetensors_parse(huge, 9, "x", &file, &error), MORE_ERROR_CORRUPT);
    assert_non_null(strstr(error.message, "limit"));
    assert_int_equal(core_safetensors_parse(wide, 10, "x", &file, &error), MORE_ERROR_CORRUPT);
    assert_non_null(strstr(error.message, "truncated"));
}

static void test_entry_lies(void **state)
{
    (void)state;
    corrupt("{\"a\":{}}", 0, "dtype");
    corrupt("{\"a\":{\"dtype\":7}}", 0, "dtype");
    refused("{" TENSOR("a", "F128", "[1]", "[0,16]") "}", 16, MORE_ERROR_UNSUPPORTED, "F128");
    corrupt("{\"a\":{\"dtype\":\"F32\"}}", 0, "shape is missing");
    corrupt("{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "9 dimensions");
    corrupt("{" TENSOR("a", "F32", "[-1]", "[0,4]") "}", 4, "whole number");
    corrupt("{" TENSOR("a", "F32", "[1.0]", "[0,4]") "}", 4, "whole number");
    corrupt("{" TENSOR("a", "F32", "[\"1\"]", "[0,4]") "}", 4, "whole number");
    corrupt("{" TENSOR("a", "F32", "[4294967296,4294967296]", "[0,4]") "}", 4, "overflows");
    corrupt("{" TENSOR("a", "F64", "[2305843009213693952]", "[0,0]") "}", 4, "do not fill");
    corrupt("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets is missing");
    corrupt("{" TENSOR("a", "F32", "[1]", "[0]") "}", 4, "data_offsets");
    corrupt("{" TENSOR("a", "F32", "[1]", "[0,4,8]") "}", 4, "data_offsets");
    corrupt("{" TENSOR("a", "F32", "[1]", "[0,\"4\"]") "}", 4, "data_offsets");
    corrupt("{" TENSOR("a", "F32", "[1]", "[-4,0]") "}", 4, "do not lie");
    corrupt("{" TENSOR("a", "F32", "[1]", "[4,0]") "}", 4, "do not lie");
    corrupt("{" TENSOR("a", "F32", "[1]", "[0,99999999999999999999]") "}", 4, "header byte");
    corrupt("{" TENSOR("a", "F32", "[2]", "[0,8]") "}", 4, "truncated");
    corrupt("{" TENSOR("a", "F32", "[2]", "[0,4]") "}", 4, "do not fill");
    corrupt("{" TENSOR("a", "BF16", "[1]", "[0,4]") "}", 4, "do not fill");
}

static void test_tiling_lies(void **state)
{
    (void)state;
    corrupt("{" TENSOR("a", "U8", "[4]", "[0,4]") "," TENSOR("b", "U8", "[4]", "[3,7]") "}", 7, "overlaps");
    corrupt("{" TENSOR("a", "U8", "[4]", "[0,4]") "," TENSOR("b", "U8", "[4]", "[0,4]") "}", 4, "overlaps");
    corrupt("{" TENSOR("a", "U8", "[4]", "[0,4]") "," TENSOR("b", "U8", "[4]", "[5,9]") "}", 9, "hole");
    corrupt("{" TENSOR("a", "U8", "[4]", "[1,5]") "}", 5, "hole");
    corrupt("{" TENSOR("a", "U8", "[4]", "[0,4]") "}", 5, "behind the last");
    corrupt("{}", 1, "behind the last");
}

/* Every truncation of a good file is refused, wherever it is cut. */
static void test_truncated(void **state)
{
    (void)state;
    core_buffer bytes = made_safetensors(
        "{" TENSOR("a", "F32", "[3]", "[0,12]") "," TENSOR("b", "U8", "[5]", "[12,17]") "}", zeros, 17);
    for (size_t size = 0; size < bytes.size; size++) {
        more_error error = {{0}};
        core_safetensors *file = NULL;
        unsigned char *exact = malloc(size ? size : 1);
        memcpy(exact, bytes.data, size);
        assert_int_equal(core_safetensors_parse(exact, size, "cut", &file, &error), MORE_ERROR_CORRUPT);
        assert_non_null(strstr(error.message, "cut: "));
        free(exact);
    }
    core_buffer_free(&bytes);
}

static void test_many(void **state)
{
    (void)state;
    more_error error = {{0}};
    core_safetensors *file = NULL;
    core_buffer header = {0};
    unsigned char data[5000];
    for (int i = 0; i < 5000; i++) {
        data[i] = (unsigned char)(i % 251);
        core_buffer_format(&header, "%s\"layers.%d.w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                           i ? "," : "{", i, i, i + 1);
    }
    core_buffer_text(&header, "}");
    core_buffer bytes = made_safetensors(header.data, data, sizeof data);
    assert_int_equal(core_safetensors_parse(bytes.data, bytes.size, "many", &file, &error), MORE_OK);
    for (int i = 0; i < 5000; i++) {
        char name[32];
        snprintf(name, sizeof name, "layers.%d.w", i);
        assert_int_equal(core_tensor_table_find(core_safetensors_tensors(file), name)->data[0], i % 251);
    }
    core_safetensors_close(file);
    core_buffer_free(&bytes);
    core_buffer_free(&header);
}

static void test_files(void **state)
{
    (void)state;
    more_error error = {{0}};
    core_safetensors *file = NULL;
    char *folder = made_folder();
    made_weights(folder, "w.safetensors", "{" TENSOR("a", "U8", "[3]", "[0,3]") "}", "\1\2\3", 3);
    made_text(folder, "empty.safetensors", "");
    char *good = core_path_join(folder, "w.safetensors"), *empty = core_path_join(folder, "empty.safetensors");
    char *none = core_path_join(folder, "none.safetensors");
    assert_int_equal(core_safetensors_open(good, &file, &error), MORE_OK);
    assert_int_equal(core_tensor_table_find(core_safetensors_tensors(file), "a")->data[2], 3);
    assert_true(core_tensor_table_find(core_safetensors_tensors(file), "a")->mapped);
    core_safetensors_close(file);
    assert_int_equal(core_safetensors_open(empty, &file, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(core_safetensors_open(none, &file, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(core_safetensors_open(folder, &file, &error), MORE_ERROR_IO);
    assert_non_null(strstr(error.message, "folder"));
    free(good);
    free(empty);
    free(none);
    made_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_header_lies), cmocka_unit_test(test_length_lies),
        cmocka_unit_test(test_entry_lies), cmocka_unit_test(test_tiling_lies), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_many),       cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
