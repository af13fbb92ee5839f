/* SPDX-License-Identifier: Apache-2.0
 *
 * LoRA adapters: merged as PEFT merged them (tests/oracle/adapters.py), stacked, found from the adapter, and refused.
 */
#include "base/file.h"
#include "made.h"
#include "weights/checkpoint.h"
#include "weights/convert.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 1024 /* elements of the largest tensor of the cases */

static char *data_path(const char *name, const char *below)
{
    const char *top = getenv("srcdir");
    core_buffer path = {0};
    core_buffer_format(&path, "%s/tests/unit/weights/data/lora/%s/%s", top ? top : ".", name, below);
    return core_buffer_take(&path);
}

static more_checkpoint *open_at(const char *name, const char *below)
{
    more_error error = {{0}};
    more_checkpoint *checkpoint = NULL;
    char *path = data_path(name, below);
    if (core_checkpoint_open(path, &checkpoint, &error) != MORE_OK)
        fail_msg("%s", error.message);
    free(path);
    return checkpoint;
}

static more_checkpoint *add(more_checkpoint *base, const char *name)
{
    more_error error = {{0}};
    more_checkpoint *merged = NULL;
    char *path = data_path(name, "adapter");
    if (core_checkpoint_add_adapter(base, path, &merged, &error) != MORE_OK)
        fail_msg("%s", error.message);
    free(path);
    return merged;
}

static DLDataType stored_type(const char *format)
{
    return !strcmp(format, "f16") ? more_f16() : !strcmp(format, "bf16") ? more_bf16() : more_f32();
}

/* All of a tensor, a few rows at a time; gives the number of elements. */
static int64_t read_all(more_checkpoint *checkpoint, const char *name, DLDataType dtype, void *values,
                        more_weight_info *info)
{
    more_error error = {{0}};
    const more_weights_service *weights = core_weights_service();
    *info = (more_weight_info){.struct_size = sizeof *info};
    if (weights->info(checkpoint, name, info, &error) != MORE_OK)
        fail_msg("%s", error.message);
    int64_t rows = info->rank < 2 ? 1 : info->shape[0], width = info->rank < 2 ? info->shape[0] : info->shape[1];
    assert_true(rows * width <= MOST);
    for (int64_t row = 0; row < rows; row += 3) {
        int64_t count = rows - row < 3 ? rows - row : 3;
        void *to = (char *)values + row * width * (dtype.bits / 8);
        if (weights->read_rows(checkpoint, name, row, count, dtype, to, &error) != MORE_OK)
            fail_msg("%s", error.message);
    }
    return rows * width;
}

/* Largest difference over largest magnitude. */
static double compare(more_checkpoint *ours, more_checkpoint *theirs, const char *name)
{
    static float own[MOST], again[MOST], reference[MOST];
    static unsigned char packed[4 * MOST], whole[4 * MOST];
    more_error error = {{0}};
    more_weight_info info, other;
    double worst = 0, largest = 0;
    int64_t count = read_all(ours, name, more_f32(), own, &info);
    assert_int_equal(read_all(theirs, name, more_f32(), reference, &other), count);
    assert_string_equal(info.format, other.format);
    for (int64_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)own[i] - (double)reference[i]));
        largest = fmax(largest, fabs((double)reference[i]));
    }
    /* The stored type holds what f32 gave, and one read of all rows gives what several gave. */
    DLDataType type = stored_type(info.format);
    read_all(ours, name, type, packed, &info);
    int64_t rows = info.rank < 2 ? 1 : info.shape[0];
    assert_int_equal(core_weights_service()->read_rows(ours, name, 0, rows, type, whole, &error), MORE_OK);
    assert_memory_equal(packed, whole, (size_t)count * type.bits / 8);
    assert_true(core_convert(info.format, packed, 1, count, more_f32(), again));
    assert_memory_equal(again, own, (size_t)count * sizeof *own);
    assert_int_equal(core_weights_service()->read_rows(ours, name, 0, rows, more_f32(), own, &error), MORE_OK);
    return largest > 0 ? worst / largest : worst;
}

static const struct {
    const char *name;
    int64_t tensors, changed;
    double tolerance; /* PEFT rounds the product to the stored type before it adds: one unit in the last place */
} cases[] = {
    {"plain-f32", 8, 4, 1e-6},    {"rank-stabilised-f16", 8, 4, 1.0 / 1024}, {"embedding-bf16", 8, 4, 1.0 / 128},
    {"patterns-f32", 8, 4, 1e-6}, {"transposed-f32", 10, 2, 1e-6},           {"official-f16", 9, 4, 1.0 / 1024},
};

static void test_as_peft_merges(void **state)
{
    (void)state;
    const more_weights_service *weights = core_weights_service();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        more_checkpoint *base = open_at(cases[i].name, "base");
        more_checkpoint *theirs = open_at(cases[i].name, "merged.safetensors");
        more_checkpoint *ours = add(base, cases[i].name);
        int64_t changed = 0;
        assert_int_equal(weights->count(ours), cases[i].tensors);
        assert_int_equal(weights->count(theirs), cases[i].tensors);
        core_checkpoint_release(base); /* the merged one keeps what it needs */
        for (int64_t k = 0; k < weights->count(ours); k++) {
            const char *name = weights->name_at(ours, k);
            more_weight_info info = {.struct_size = sizeof info};
            double difference = compare(ours, theirs, name);
            if (!(difference <= cases[i].tolerance))
                fail_msg("%s: %s differs by %g", cases[i].name, name, difference);
            assert_int_equal(weights->info(ours, name, &info, NULL), MORE_OK);
            changed += !info.data;
            assert_int_equal(weights->read_stored_rows(ours, name, 0, 0, NULL, NULL),
                             info.data ? MORE_OK : MORE_ERROR_UNSUPPORTED);
        }
        if (strcmp(cases[i].name, "embedding-bf16") != 0)
            assert_int_equal(changed, cases[i].changed);
        core_checkpoint_release(ours);
        core_checkpoint_release(theirs);
    }
}

/* An adapter's folder as weights: its adapter_config.json says ../base. */
static void test_base_found_from_the_adapter(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        more_checkpoint *ours = open_at(cases[i].name, "adapter");
        more_checkpoint *theirs = open_at(cases[i].name, "merged.safetensors");
        const char *type = NULL;
        for (int64_t k = 0; k < core_weights_service()->count(ours); k++)
            assert_true(compare(ours, theirs, core_weights_service()->name_at(ours, k)) <= cases[i].tolerance);
        assert_int_equal(core_weights_service()->get_string(ours, "model_type", &type, NULL), MORE_OK);
        assert_string_equal(type, strcmp(cases[i].name, "official-f16") ? "made" : "llava_made");
        core_checkpoint_release(ours);
        core_checkpoint_release(theirs);
    }
}

static void test_two_adapters_add_up(void **state)
{
    (void)state;
    static float plain[MOST], once[MOST], twice[MOST];
    static const char name[] = "layers.1.up_proj.weight";
    more_weight_info info;
    more_checkpoint *base = open_at("plain-f32", "base"), *first = add(base, "plain-f32");
    more_checkpoint *second = add(first, "plain-f32");
    int64_t count = read_all(base, name, more_f32(), plain, &info);
    read_all(first, name, more_f32(), once, &info);
    read_all(second, name, more_f32(), twice, &info);
    for (int64_t i = 0; i < count; i++)
        assert_true(fabsf(twice[i] - plain[i] - 2 * (once[i] - plain[i])) < 1e-5f);
    core_checkpoint_release(second);
    core_checkpoint_release(first);
    core_checkpoint_release(base);
}

/* A view under a tensor map that transposes reads the merged matrix as well. */
static void test_transposed_by_the_map(void **state)
{
    (void)state;
    static const more_tensor_name names[] = {
        {"query", "layers.0.q_proj.weight", NULL, MORE_TRANSFORM_TRANSPOSED, false}};
    static const more_tensor_map map = {sizeof map, names, 1};
    static const char *const folders[] = {"plain-f32", "transposed-f32"};
    for (size_t k = 0; k < 2; k++) {
        static float turned[MOST], straight[MOST];
        more_error error = {{0}};
        more_weight_info info, own;
        more_checkpoint *ours = open_at(folders[k], "adapter"), *view = NULL;
        assert_int_equal(core_checkpoint_view(ours, &(core_view){.map = &map}, &view, &error), MORE_OK);
        read_all(view, "query", more_f32(), turned, &info);
        read_all(ours, "layers.0.q_proj.weight", more_f32(), straight, &own);
        for (int64_t i = 0; i < own.shape[0]; i++)
            for (int64_t j = 0; j < own.shape[1]; j++)
                assert_true(fabsf(turned[j * own.shape[0] + i] - straight[i * own.shape[1] + j]) < 1e-6f);
        core_checkpoint_release(view);
        core_checkpoint_release(ours);
    }
}

/* ---- Refused ---------------------------------------------------------------------------------------------------- */

static void copy_to(const char *folder, const char *name, const char *below, const char *to)
{
    more_error error = {{0}};
    core_buffer bytes = {0};
    char *path = data_path(name, below);
    assert_int_equal(core_file_read(path, 1 << 20, &bytes, &error), MORE_OK);
    made_file(folder, to, bytes.data, bytes.size);
    core_buffer_free(&bytes);
    free(path);
}

static void refused(more_checkpoint *base, const char *folder, more_status status, const char *word)
{
    more_error error = {{0}};
    more_checkpoint *merged = NULL;
    more_status got = core_checkpoint_add_adapter(base, folder, &merged, &error);
    if (got != status || merged)
        fail_msg("status %d, not %d, for '%s': %s", (int)got, (int)status, word, error.message);
    if (!strstr(error.message, word))
        fail_msg("'%s' lacks '%s'", error.message, word);
}

static void test_configs_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        more_status status;
        const char *word;
    } configs[] = {
        {"[]", MORE_ERROR_CORRUPT, "not a JSON object"},
        {"{\"r\":4}", MORE_ERROR_CORRUPT, "lora_alpha"},
        {"{\"r\":4,\"lora_alpha\":\"x\"}", MORE_ERROR_CORRUPT, "lora_alpha"},
        {"{\"lora_alpha\":4}", MORE_ERROR_CORRUPT, "r is missing"},
        {"{\"r\":0,\"lora_alpha\":4}", MORE_ERROR_CORRUPT, "r is missing"},
        {"{\"r\":8,\"lora_alpha\":4}", MORE_ERROR_CORRUPT, "rank 8"},
        {"{\"r\":4,\"lora_alpha\":4,\"peft_type\":\"IA3\"}", MORE_ERROR_UNSUPPORTED, "IA3"},
        {"{\"r\":4,\"lora_alpha\":4,\"use_dora\":true}", MORE_ERROR_UNSUPPORTED, "use_dora"},
        {"{\"r\":4,\"lora_alpha\":4,\"lora_bias\":true}", MORE_ERROR_UNSUPPORTED, "lora_bias"},
        {"{\"r\":4,\"lora_alpha\":4,\"layer_replication\":[[0,1]]}", MORE_ERROR_UNSUPPORTED, "layer_replication"},
        {"{\"r\":4,\"lora_alpha\":4,\"kasa_config\":{\"a\":1}}", MORE_ERROR_UNSUPPORTED, "kasa_config"},
        {"{\"r\":4,\"lora_alpha\":4,\"init_lora_weights\":\"pissa_niter_16\"}", MORE_ERROR_UNSUPPORTED, "pissa"},
        {"{\"r\":4,\"lora_alpha\":4,\"alpha_pattern\":{\".*q\":1}}", MORE_ERROR_UNSUPPORTED, ".*q"},
        {"{\"r\":4,\"lora_alpha\":4,\"fan_in_fan_out\":true}", MORE_ERROR_CORRUPT, "do not fit"},
    };
    more_checkpoint *base = open_at("plain-f32", "base");
    char *folder = made_folder();
    refused(base, folder, MORE_ERROR_NOT_FOUND, "adapter_config.json");
    made_text(folder, "adapter_config.json", "{\"r\":4,\"lora_alpha\":4}");
    refused(base, folder, MORE_ERROR_NOT_FOUND, "adapter_model");
    copy_to(folder, "plain-f32", "adapter/adapter_model.safetensors", "adapter_model.safetensors");
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        made_text(folder, "adapter_config.json", configs[i].text);
        refused(base, folder, configs[i].status, configs[i].word);
    }
    core_checkpoint_release(base);
    made_remove(folder);
}

#define T(name, shape, from, to)                                                                                       \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"
#define LAYER "base_model.model.layers.0.q_proj."

static void test_tensors_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t size;
        more_status status;
        const char *word;
    } files[] = {
        {"{" T(LAYER "lora_A.weight", "[1,6]", "0", "24") "}", 24, MORE_ERROR_CORRUPT, "no second factor"},
        {"{" T(LAYER "lora_B.weight", "[10,1]", "0", "40") "}", 40, MORE_ERROR_CORRUPT, "1 second factors"},
        {"{" T(LAYER "lora_A.weight", "[1,5]", "0", "20") "," T(LAYER "lora_B.weight", "[10,1]", "20", "60") "}", 60,
         MORE_ERROR_CORRUPT, "do not fit 'layers.0.q_proj.weight' of [10, 6]"},
        {"{" T(LAYER "lora_A.weight", "[9000,0]", "0", "0") "," T(LAYER "lora_B.weight", "[0,9000]", "0", "0") "}", 0,
         MORE_ERROR_UNSUPPORTED, "rank 9000"},
        {"{" T(LAYER "lora_A.weight", "[6]", "0", "24") "," T(LAYER "lora_B.weight", "[10,1]", "24", "64") "}", 64,
         MORE_ERROR_UNSUPPORTED, "no matrix"},
        {"{" T("base_model.model.x.lora_A.weight", "[1,6]", "0", "24") "," T("base_model.model.x.lora_B.weight",
                                                                             "[10,1]", "24", "64") "}",
         64, MORE_ERROR_CORRUPT, "'x.weight', which the base model does not have"},
        {"{" T(LAYER "lora_magnitude_vector", "[10]", "0", "40") "}", 40, MORE_ERROR_UNSUPPORTED, "lora_magnitude"},
        {"{" T(LAYER "lora_B.bias", "[10]", "0", "40") "}", 40, MORE_ERROR_UNSUPPORTED, "lora_B.bias"},
        {"{" T("a.w", "[1]", "0", "4") "," T("base_model.model.a.w", "[1]", "4", "8") "}", 8, MORE_ERROR_CORRUPT,
         "twice"},
    };
    static const unsigned char zeros[64];
    more_checkpoint *base = open_at("plain-f32", "base");
    char *folder = made_folder();
    made_text(folder, "adapter_config.json", "{\"r\":1,\"lora_alpha\":4}");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        made_weights(folder, "adapter_model.safetensors", files[i].header, zeros, files[i].size);
        refused(base, folder, files[i].status, files[i].word);
    }
    core_checkpoint_release(base);
    made_remove(folder);
}

/* As PEFT writes an embedding under an adapter: the matrix that the pair stands on lies behind it in the file. */
static void test_pair_before_its_matrix(void **state)
{
    (void)state;
    static const char header[] = "{" T(LAYER "lora_A.weight", "[1,6]", "0", "24") "," T(
        LAYER "lora_B.weight", "[10,1]", "24", "64") "," T(LAYER "base_layer.weight", "[10,6]", "64", "304") "}";
    float data[6 + 10 + 60], merged[60];
    more_error error = {{0}};
    more_checkpoint *base = open_at("plain-f32", "base"), *ours = NULL;
    char *folder = made_folder();
    for (int i = 0; i < 76; i++)
        data[i] = i < 16 ? 1 : (float)(i - 16);
    made_text(folder, "adapter_config.json", "{\"r\":1,\"lora_alpha\":4}");
    made_weights(folder, "adapter_model.safetensors", header, data, sizeof data);
    if (core_checkpoint_add_adapter(base, folder, &ours, &error) != MORE_OK)
        fail_msg("%s", error.message);
    assert_int_equal(core_weights_service()->read_rows(ours, "layers.0.q_proj.weight", 0, 10, more_f32(), merged, NULL),
                     MORE_OK);
    for (int i = 0; i < 60; i++)
        assert_true(fabsf(merged[i] - (float)i - 4) < 1e-6f);
    core_checkpoint_release(ours);
    core_checkpoint_release(base);
    made_remove(folder);
}

static void cannot_open(const char *folder, more_status status, const char *word)
{
    more_error error = {{0}};
    more_checkpoint *checkpoint = NULL;
    more_status got = core_checkpoint_open(folder, &checkpoint, &error);
    if (got != status || !strstr(error.message, word))
        fail_msg("status %d: '%s' lacks '%s'", (int)got, error.message, word);
}

static void test_base_missing(void **state)
{
    (void)state;
    char *folder = made_folder();
    copy_to(folder, "plain-f32", "adapter/adapter_model.safetensors", "adapter_model.safetensors");
    made_text(folder, "adapter_config.json", "{\"r\":4,\"lora_alpha\":4}");
    cannot_open(folder, MORE_ERROR_NOT_FOUND, "base_model_name_or_path");
    setenv("HF_HUB_CACHE", folder, 1);
    made_text(folder, "adapter_config.json", "{\"r\":4,\"lora_alpha\":4,\"base_model_name_or_path\":\"some/model\"}");
    cannot_open(folder, MORE_ERROR_NOT_FOUND, "hf download some/model");
    unsetenv("HF_HUB_CACHE");
    made_text(folder, "adapter_config.json", "{\"r\":4,\"lora_alpha\":4,\"base_model_name_or_path\":\".\"}");
    cannot_open(folder, MORE_ERROR_CORRUPT, "circle");
    made_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_peft_merges),         cmocka_unit_test(test_base_found_from_the_adapter),
        cmocka_unit_test(test_two_adapters_add_up),    cmocka_unit_test(test_transposed_by_the_map),
        cmocka_unit_test(test_configs_refused),        cmocka_unit_test(test_tensors_refused),
        cmocka_unit_test(test_pair_before_its_matrix), cmocka_unit_test(test_base_missing),
    };
    return cmocka_run_group_tests_name("adapter", tests, NULL, NULL);
}
