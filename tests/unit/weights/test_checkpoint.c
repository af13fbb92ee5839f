/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: folders, shards, views, tensor maps, rows, metadata, synthetic weights.
 */
#include "base/file.h"
#include "made.h"
#include "weights/checkpoint.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char header[] = "{\"model.layers.0.w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                             "\"model.layers.12.w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[24,48]},"
                             "\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[48,64]},"
                             "\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[64,72]}}";

static const more_tensor_name names[] = {
    {"blocks.*.weight", "layers.*.w", NULL, MORE_TRANSFORM_NONE, false},
    {"blocks.*.turned", "layers.*.w", NULL, MORE_TRANSFORM_TRANSPOSED, false},
    {"norm", "ln.weight", NULL, MORE_TRANSFORM_NONE, false},
    {"norm", "norm.weight", NULL, MORE_TRANSFORM_NONE, false},
    {"norm.turned", "norm.weight", NULL, MORE_TRANSFORM_TRANSPOSED, false},
    {"head", "head.weight", NULL, MORE_TRANSFORM_NONE, true},
};
static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names, 6};

typedef struct fixture {
    char *folder;
    more_checkpoint *checkpoint;
    const more_weights_service *weights;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    float data[18] = {0};
    for (int i = 0; i < 16; i++)
        data[i] = (float)i;
    f->folder = made_folder();
    f->weights = core_weights_service();
    made_weights(f->folder, "model.safetensors", header, data, sizeof data);
    made_text(f->folder, "config.json",
              "{\"model_type\":\"demo\",\"hidden_size\":8,\"eps\":1e-5,\"whole\":2,\"tied\":false,\"nothing\":null,"
              "\"eos_token_id\":[7,9],\"vision_config\":{\"hidden_size\":3},\"rope.x\":4,\"s\":\"a\\u0000b\"}");
    more_error error = {{0}};
    if (core_checkpoint_open(f->folder, &f->checkpoint, &error) != MORE_OK) {
        print_error("%s\n", error.message);
        return 1;
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    core_checkpoint_release(f->checkpoint);
    made_remove(f->folder);
    free(f);
    return 0;
}

static void test_names(void **state)
{
    fixture *f = *state;
    more_error error = {{0}};
    more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};
    assert_int_equal(f->weights->count(f->checkpoint), 4);
    assert_string_equal(f->weights->name_at(f->checkpoint, 2), "model.norm.weight");
    assert_null(f->weights->name_at(f->checkpoint, 4));
    assert_null(f->weights->name_at(f->checkpoint, -1));
    assert_int_equal(f->weights->info(f->checkpoint, "model.layers.12.w", &info, &error), MORE_OK);
    assert_string_equal(info.format, "f32");
    assert_int_equal(info.rank, 2);
    assert_int_equal(info.shape[0], 2);
    assert_int_equal(info.bytes, 24);
    assert_non_null(info.data);
    assert_int_equal(f->weights->info(f->checkpoint, "norm", &info, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, f->folder));
    info.struct_size = 8;
    assert_int_equal(f->weights->info(f->checkpoint, "ids", &info, &error), MORE_ERROR_VERSION);
    assert_int_equal(core_checkpoint_bytes(f->checkpoint), 72);
}

static more_checkpoint *mapped_view(fixture *f)
{
    static const char *const prefixes[] = {"decoder.", "model."};
    core_view view = {.prefixes = prefixes, .prefix_count = 2, .map = &map};
    more_checkpoint *checkpoint = NULL;
    more_error error = {{0}};
    assert_int_equal(core_checkpoint_view(f->checkpoint, &view, &checkpoint, &error), MORE_OK);
    return checkpoint;
}

static void test_map(void **state)
{
    fixture *f = *state;
    more_error error = {{0}};
    more_weight_info info = {.struct_size = sizeof info};
    more_checkpoint *view = mapped_view(f);
    assert_int_equal(f->weights->count(view), 3);
    assert_string_equal(f->weights->name_at(view, 0), "layers.0.w");
    assert_int_equal(f->weights->info(view, "blocks.12.weight", &info, &error), MORE_OK);
    assert_string_equal(info.name, "model.layers.12.w");
    assert_int_equal(f->weights->info(view, "norm", &info, &error), MORE_OK);
    assert_int_equal(f->weights->info(view, "blocks.13.weight", &info, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "'layers.13.w'"));
    assert_int_equal(f->weights->info(view, "blocks.x.weight", &info, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(f->weights->info(view, "blocks..weight", &info, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(f->weights->info(view, "layers.12.w", &info, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "tensor map"));
    assert_int_equal(f->weights->info(view, "head", &info, &error), MORE_ERROR_NOT_FOUND);
    core_view again = {0};
    more_checkpoint *inner = NULL;
    assert_int_equal(core_checkpoint_view(view, &again, &inner, &error), MORE_ERROR_INTERNAL);
    core_checkpoint_release(view);
}

static void test_transposed(void **state)
{
    fixture *f = *state;
    more_error error = {{0}};
    more_weight_info info = {.struct_size = sizeof info};
    more_checkpoint *view = mapped_view(f);
    float rows[6];
    assert_int_equal(f->weights->info(view, "blocks.0.turned", &info, &error), MORE_OK);
    assert_int_equal(info.shape[0], 3);
    assert_int_equal(info.shape[1], 2);
    assert_null(info.data);
    assert_int_equal(f->weights->read_rows(view, "blocks.0.turned", 1, 2, more_f32(), rows, &error), MORE_OK);
    assert_true(rows[0] == 1 && rows[1] == 4 && rows[2] == 2 && rows[3] == 5);
    assert_int_equal(f->weights->read_rows(view, "blocks.0.turned", 1, 3, more_f32(), rows, &error),
                     MORE_ERROR_ARGUMENT);
    assert_int_equal(f->weights->info(view, "norm.turned", &info, &error), MORE_ERROR_CORRUPT);
    core_checkpoint_release(view);
}

static void test_rows(void **state)
{
    fixture *f = *state;
    more_error error = {{0}};
    float rows[8] = {0};
    uint16_t half[6];
    const char *w = "model.layers.12.w";
    assert_int_equal(f->weights->read_rows(f->checkpoint, w, 1, 1, more_f32(), rows, &error), MORE_OK);
    assert_true(rows[0] == 9 && rows[2] == 11 && rows[3] == 0);
    assert_int_equal(f->weights->read_rows(f->checkpoint, w, 0, 2, more_f16(), half, &error), MORE_OK);
    assert_int_equal(half[5], 0x4980);
    assert_int_equal(f->weights->read_rows(f->checkpoint, "model.norm.weight", 0, 1, more_f32(), rows, &error),
                     MORE_OK);
    assert_true(rows[3] == 15);
    assert_int_equal(f->weights->read_rows(f->checkpoint, w, 2, 0, more_f32(), rows, &error), MORE_OK);
    assert_int_equal(f->weights->read_rows(f->checkpoint, w, 1, 2, more_f32(), rows, &error), MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, w));
    assert_int_equal(f->weights->read_rows(f->checkpoint, w, -1, 1, more_f32(), rows, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(f->weights->read_rows(f->checkpoint, w, 1, INT64_MAX, more_f32(), rows, &error),
                     MORE_ERROR_ARGUMENT);
    assert_int_equal(f->weights->read_rows(f->checkpoint, w, INT64_MAX, INT64_MAX, more_f32(), rows, &error),
                     MORE_ERROR_ARGUMENT);
    assert_int_equal(f->weights->read_rows(f->checkpoint, w, 0, 1, more_i64(), rows, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(f->weights->read_rows(f->checkpoint, "ids", 0, 1, more_f32(), rows, &error),
                     MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "i64"));
}

/* Whole rows with their bits; refused, with the reason, where what is stored is not what is asked for. */
static void test_stored_rows(void **state)
{
    fixture *f = *state;
    more_error error = {{0}};
    float rows[8] = {0};
    const char *w = "model.layers.12.w";
    more_checkpoint *view = mapped_view(f);
    assert_true(MORE_HAS(f->weights, more_weights_service, read_stored_rows));
    assert_int_equal(f->weights->read_stored_rows(f->checkpoint, w, 1, 1, rows, &error), MORE_OK);
    assert_true(rows[0] == 9 && rows[2] == 11 && rows[3] == 0);
    assert_int_equal(f->weights->read_stored_rows(view, "norm", 0, 1, rows, &error), MORE_OK);
    assert_true(rows[3] == 15 && rows[4] == 0);
    assert_int_equal(f->weights->read_stored_rows(f->checkpoint, w, 2, 0, NULL, &error), MORE_OK);
    assert_int_equal(f->weights->read_stored_rows(f->checkpoint, w, 1, 2, rows, &error), MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, w));
    assert_int_equal(f->weights->read_stored_rows(f->checkpoint, w, -1, 1, rows, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(f->weights->read_stored_rows(f->checkpoint, w, 2, INT64_MAX, rows, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(f->weights->read_stored_rows(f->checkpoint, "absent", 0, 0, NULL, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(f->weights->read_stored_rows(view, "blocks.0.turned", 0, 0, NULL, &error), MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "transposed"));
    core_checkpoint_release(view);
}

static void test_metadata(void **state)
{
    fixture *f = *state;
    more_error error = {{0}};
    int64_t number = -5;
    double real = -5;
    bool flag = true;
    const char *text = NULL;
    assert_int_equal(f->weights->get_int64(f->checkpoint, "hidden_size", &number, &error), MORE_OK);
    assert_int_equal(number, 8);
    assert_int_equal(f->weights->get_int64(f->checkpoint, "vision_config.hidden_size", &number, &error), MORE_OK);
    assert_int_equal(number, 3);
    assert_int_equal(f->weights->get_int64(f->checkpoint, "eos_token_id.1", &number, &error), MORE_OK);
    assert_int_equal(number, 9);
    assert_int_equal(f->weights->get_int64(f->checkpoint, "rope.x", &number, &error), MORE_OK);
    assert_int_equal(f->weights->get_int64(f->checkpoint, "eos_token_id.2", &number, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(f->weights->get_int64(f->checkpoint, "nothing", &number, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(f->weights->get_int64(f->checkpoint, "absent", &number, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "config.json: 'absent'"));
    assert_int_equal(number, 4);
    assert_int_equal(f->weights->get_int64(f->checkpoint, "eps", &number, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(f->weights->get_int64(f->checkpoint, "model_type", &number, &error), MORE_ERROR_CORRUPT);
    assert_non_null(strstr(error.message, "\"demo\""));
    assert_int_equal(f->weights->get_double(f->checkpoint, "whole", &real, &error), MORE_OK);
    assert_true(real == 2);
    assert_int_equal(f->weights->get_double(f->checkpoint, "tied", &real, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(f->weights->get_bool(f->checkpoint, "tied", &flag, &error), MORE_OK);
    assert_false(flag);
    assert_int_equal(f->weights->get_bool(f->checkpoint, "whole", &flag, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(f->weights->get_string(f->checkpoint, "model_type", &text, &error), MORE_OK);
    assert_string_equal(text, "demo");
    assert_int_equal(f->weights->get_string(f->checkpoint, "whole", &text, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(f->weights->get_string(f->checkpoint, "s", &text, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(f->weights->length(f->checkpoint, "eos_token_id"), 2);
    assert_int_equal(f->weights->length(f->checkpoint, "vision_config"), 1);
    assert_int_equal(f->weights->length(f->checkpoint, "absent"), -1);
    assert_true(f->weights->has_file(f->checkpoint, "config.json"));
    assert_false(f->weights->has_file(f->checkpoint, "tokenizer.json"));
    assert_false(f->weights->has_file(f->checkpoint, "../config.json"));
    assert_string_equal(f->weights->path(f->checkpoint), f->folder);
}

static void test_views(void **state)
{
    fixture *f = *state;
    more_error error = {{0}};
    more_checkpoint *view = NULL;
    int64_t number = 0;
    static const char *const none[] = {"vision.", "tower."}, *const excludes[] = {"model.layers.", "ids"};
    core_view missing = {.prefixes = none, .prefix_count = 2};
    assert_int_equal(core_checkpoint_view(f->checkpoint, &missing, &view, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "'vision.', 'tower.'"));
    core_view rest = {.excludes = excludes, .exclude_count = 2, .config_root = "vision_config"};
    assert_int_equal(core_checkpoint_view(f->checkpoint, &rest, &view, &error), MORE_OK);
    assert_int_equal(f->weights->count(view), 1);
    assert_int_equal(f->weights->get_int64(view, "hidden_size", &number, &error), MORE_OK);
    assert_int_equal(number, 3);
    assert_int_equal(f->weights->get_int64(view, "eps", &number, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "'vision_config.eps'"));
    core_checkpoint_release(view);
    core_view absent = {.config_root = "text_config"};
    assert_int_equal(core_checkpoint_view(f->checkpoint, &absent, &view, &error), MORE_OK);
    assert_int_equal(f->weights->get_int64(view, "hidden_size", &number, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "'text_config.hidden_size'"));
    core_checkpoint_release(view);
}

/* A view keeps the files open after its parent is gone. */
static void test_lifetime(void **state)
{
    fixture *f = *state;
    more_error error = {{0}};
    float row[4];
    more_checkpoint *view = mapped_view(f);
    core_checkpoint_retain(view);
    core_checkpoint_release(view);
    core_checkpoint_release(f->checkpoint);
    assert_int_equal(f->weights->read_rows(view, "norm", 0, 1, more_f32(), row, &error), MORE_OK);
    assert_true(row[0] == 12);
    core_checkpoint_release(view);
    assert_int_equal(core_checkpoint_open(f->folder, &f->checkpoint, &error), MORE_OK);
}

static const char first[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                            "\"extra\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}";
static const char second[] = "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";

static more_status open_index(const char *index, more_checkpoint **checkpoint, more_error *error)
{
    char *folder = made_folder();
    made_weights(folder, "one.safetensors", first, "\1\2", 2);
    made_weights(folder, "two.safetensors", second, "\3", 1);
    made_text(folder, "model.safetensors.index.json", index);
    more_status status = core_checkpoint_open(folder, checkpoint, error);
    made_remove(folder); /* what is mapped stays readable */
    return status;
}

static void test_shards(void **state)
{
    (void)state;
    more_error error = {{0}};
    more_checkpoint *checkpoint = NULL;
    const more_weights_service *weights = core_weights_service();
    assert_int_equal(
        open_index("{\"metadata\":{},\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}",
                   &checkpoint, &error),
        MORE_OK);
    more_weight_info info = {.struct_size = sizeof info};
    assert_int_equal(weights->count(checkpoint), 2);
    assert_int_equal(weights->info(checkpoint, "b", &info, &error), MORE_OK);
    assert_int_equal(*(const unsigned char *)info.data, 3);
    assert_int_equal(weights->info(checkpoint, "extra", &info, &error), MORE_ERROR_NOT_FOUND);
    core_checkpoint_release(checkpoint);
}

static void test_shard_lies(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        more_status status;
        const char *word;
    } cases[] = {
        {"[]", MORE_ERROR_CORRUPT, "weight_map"},
        {"{}", MORE_ERROR_CORRUPT, "weight_map"},
        {"{\"weight_map\":{}}", MORE_ERROR_CORRUPT, "weight_map"},
        {"{\"weight_map\":{\"a\":1}}", MORE_ERROR_CORRUPT, "'a'"},
        {"{\"weight_map\":{\"a\":\"\"}}", MORE_ERROR_CORRUPT, "'a'"},
        {"{\"weight_map\":{\"a\":\"..\"}}", MORE_ERROR_CORRUPT, "'a'"},
        {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}", MORE_ERROR_CORRUPT, "not the name of a file"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", MORE_ERROR_CORRUPT, "not the name of a file"},
        {"{\"weight_map\":{\"a\":\"three.safetensors\"}}", MORE_ERROR_NOT_FOUND, "names this shard"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"one.safetensors\"}}", MORE_ERROR_CORRUPT, "'c'"},
        {"{\"weight_map\":{\"a\":\"two.safetensors\"}}", MORE_ERROR_CORRUPT, "does not hold"},
        {"{\"weight_map\":", MORE_ERROR_CORRUPT, "JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        more_error error = {{0}};
        more_checkpoint *checkpoint = NULL;
        assert_int_equal(open_index(cases[i].index, &checkpoint, &error), cases[i].status);
        assert_null(checkpoint);
        if (!strstr(error.message, cases[i].word))
            fail_msg("%s: '%s' lacks '%s'", cases[i].index, error.message, cases[i].word);
    }
}

static void test_folders_without_weights(void **state)
{
    (void)state;
    more_error error = {{0}};
    more_checkpoint *checkpoint = NULL;
    int64_t number = 0;
    char *folder = made_folder();
    assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "model.safetensors.index.json"));
    assert_int_equal(core_checkpoint_open_metadata(folder, &checkpoint, &error), MORE_OK);
    assert_int_equal(core_weights_service()->get_int64(checkpoint, "x", &number, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "no such file"));
    core_checkpoint_release(checkpoint);
    made_text(folder, "tf_model.h5", "HDF");
    assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "tf_model.h5"));
    made_text(folder, "config.json", "[1]");
    assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_ERROR_CORRUPT);
    made_text(folder, "config.json", "{\"a\":");
    assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(core_checkpoint_open("/nowhere/at/all", &checkpoint, &error), MORE_ERROR_NOT_FOUND);
    made_remove(folder);
}

static void test_single_file(void **state)
{
    fixture *f = *state;
    more_error error = {{0}};
    more_checkpoint *checkpoint = NULL;
    int64_t number = 0;
    char *path = core_path_join(f->folder, "model.safetensors");
    assert_int_equal(core_checkpoint_open(path, &checkpoint, &error), MORE_OK);
    assert_int_equal(core_weights_service()->count(checkpoint), 4);
    assert_int_equal(core_weights_service()->get_int64(checkpoint, "hidden_size", &number, &error), MORE_OK);
    assert_string_equal(core_checkpoint_folder(checkpoint), f->folder);
    core_checkpoint_release(checkpoint);
    free(path);
}

static void test_synthetic(void **state)
{
    (void)state;
    more_error error = {{0}};
    more_checkpoint *one = NULL, *two = NULL;
    const more_weights_service *weights = core_weights_service();
    char *folder = made_folder();
    made_text(folder, "shapes.json", "{\"w\":[\"f16\",[100,100]],\"norm.weight\":[\"f32\",[1000]]}");
    core_buffer path = {0};
    core_buffer_format(&path, "synthetic:%s?seed=1", folder);
    assert_int_equal(core_checkpoint_open(path.data, &one, &error), MORE_OK);
    path.data[path.size - 1] = '2';
    assert_int_equal(core_checkpoint_open(path.data, &two, &error), MORE_OK);
    float *a = calloc(10000, sizeof *a), *b = calloc(10000, sizeof *b);
    assert_int_equal(weights->read_rows(one, "w", 0, 100, more_f32(), a, &error), MORE_OK);
    assert_int_equal(weights->read_rows(one, "w", 40, 1, more_f32(), b, &error), MORE_OK);
    assert_memory_equal(a + 4000, b, 100 * sizeof *a);
    assert_int_equal(weights->read_rows(two, "w", 40, 1, more_f32(), b, &error), MORE_OK);
    assert_memory_not_equal(a + 4000, b, 100 * sizeof *a);
    double sum = 0, squares = 0;
    for (int i = 0; i < 10000; i++) {
        sum += (double)a[i];
        squares += (double)a[i] * (double)a[i];
    }
    assert_true(fabs(sum / 10000) < 0.001);
    assert_true(fabs(sqrt(squares / 10000) - 0.02) < 0.001);
    assert_int_equal(weights->read_rows(one, "norm.weight", 0, 1, more_f32(), a, &error), MORE_OK);
    for (int i = 0; i < 1000; i++)
        assert_true(fabsf(a[i] - 1) < 0.1f);
    assert_int_equal(weights->read_stored_rows(one, "w", 0, 0, NULL, &error), MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "synthetic"));
    path.data[path.size - 1] = 'x';
    more_checkpoint *bad = NULL;
    assert_int_equal(core_checkpoint_open(path.data, &bad, &error), MORE_ERROR_ARGUMENT);
    made_text(folder, "shapes.json", "{\"w\":[\"f16\",[9223372036854775807,2]]}");
    path.data[path.size - 1] = '3';
    assert_int_equal(core_checkpoint_open(path.data, &bad, &error), MORE_ERROR_CORRUPT);
    core_checkpoint_release(one);
    core_checkpoint_release(two);
    free(a);
    free(b);
    core_buffer_free(&path);
    made_remove(folder);
}

/* Large reads drop their pages, which must come back with the same content. */
static void test_large_rows(void **state)
{
    (void)state;
    more_error error = {{0}};
    more_checkpoint *checkpoint = NULL;
    enum { COUNT = 300000 };
    float *data = calloc(COUNT, sizeof *data), *back = calloc(COUNT, sizeof *back);
    for (int i = 0; i < COUNT; i++)
        data[i] = (float)i;
    char *folder = made_folder();
    made_weights(folder, "model.safetensors",
                 "{\"w\":{\"dtype\":\"F32\",\"shape\":[300,1000],\"data_offsets\":[0,1200000]}}", data,
                 COUNT * sizeof *data);
    assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_OK);
    for (int round = 0; round < 2; round++) {
        memset(back, 0, COUNT * sizeof *back);
        assert_int_equal(core_weights_service()->read_rows(checkpoint, "w", 0, 300, more_f32(), back, &error), MORE_OK);
        assert_memory_equal(data, back, COUNT * sizeof *back);
    }
    core_checkpoint_release(checkpoint);
    made_remove(folder);
    free(data);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_transposed),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_stored_rows),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_lifetime),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_shard_lies),
        cmocka_unit_test(test_folders_without_weights),
        cmocka_unit_test(test_single_file),
        cmocka_unit_test(test_synthetic),
        cmocka_unit_test(test_large_rows),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, set_up, tear_down);
}
