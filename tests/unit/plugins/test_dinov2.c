/* SPDX-License-Identifier: Apache-2.0
 *
 * The dinov2 plugin: what it recognises and says of itself, sizes it takes, and one clear line for what may be wrong.
 */
#include "../../parity/parity.h"
#include "folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCK "encoder.layer.%d."

/* Width 12, 3 heads, 2 blocks, 28 pixels in patches of 7, MLP of 48 or SwiGLU of 32. */
static test_folder make_folder(int registers, bool swiglu)
{
    static const char *const rows[][2] = {{"embeddings.cls_token", "[1, 1, 12]"},
                                          {"embeddings.mask_token", "[1, 12]"},
                                          {"embeddings.position_embeddings", "[1, 17, 12]"},
                                          {"embeddings.patch_embeddings.projection.weight", "[12, 3, 7, 7]"},
                                          {"embeddings.patch_embeddings.projection.bias", "[12]"},
                                          {BLOCK "norm1.weight", "[12]"},
                                          {BLOCK "norm1.bias", "[12]"},
                                          {BLOCK "attention.attention.query.weight", "[12, 12]"},
                                          {BLOCK "attention.attention.query.bias", "[12]"},
                                          {BLOCK "attention.attention.key.weight", "[12, 12]"},
                                          {BLOCK "attention.attention.key.bias", "[12]"},
                                          {BLOCK "attention.attention.value.weight", "[12, 12]"},
                                          {BLOCK "attention.attention.value.bias", "[12]"},
                                          {BLOCK "attention.output.dense.weight", "[12, 12]"},
                                          {BLOCK "attention.output.dense.bias", "[12]"},
                                          {BLOCK "layer_scale1.lambda1", "[12]"},
                                          {BLOCK "norm2.weight", "[12]"},
                                          {BLOCK "norm2.bias", "[12]"},
                                          {BLOCK "layer_scale2.lambda1", "[12]"},
                                          {"layernorm.weight", "[12]"}};
    static const char *const plain[][2] = {{BLOCK "mlp.fc1.weight", "[48, 12]"},
                                           {BLOCK "mlp.fc1.bias", "[48]"},
                                           {BLOCK "mlp.fc2.weight", "[12, 48]"},
                                           {BLOCK "mlp.fc2.bias", "[12]"}};
    static const char *const gated[][2] = {{BLOCK "mlp.weights_in.weight", "[64, 12]"},
                                           {BLOCK "mlp.weights_in.bias", "[64]"},
                                           {BLOCK "mlp.weights_out.weight", "[12, 32]"},
                                           {BLOCK "mlp.weights_out.bias", "[12]"}};
    test_folder folder = {.config = json_object(), .shapes = json_object()};
    char name[128], shape[32];

    for (size_t i = 0; i < sizeof rows / sizeof *rows + 4; i++) {
        const char *const *row =
            i < sizeof rows / sizeof *rows ? rows[i] : (swiglu ? gated : plain)[i - sizeof rows / sizeof *rows];
        const char *mark = strstr(row[0], "%d");
        for (int layer = 0; layer < (mark ? 2 : 1); layer++) {
            if (mark)
                snprintf(name, sizeof name, "%.*s%d%s", (int)(mark - row[0]), row[0], layer, mark + 2);
            folder_shape(&folder, mark ? name : row[0], row[1]);
        }
    }
    folder_config(&folder, "model_type", registers ? "\"dinov2_with_registers\"" : "\"dinov2\"");
    folder_config(&folder, "hidden_size", "12");
    folder_config(&folder, "num_hidden_layers", "2");
    folder_config(&folder, "num_attention_heads", "3");
    folder_config(&folder, "image_size", "28");
    folder_config(&folder, "patch_size", "7");
    folder_config(&folder, "mlp_ratio", "4");
    if (swiglu)
        folder_config(&folder, "use_swiglu_ffn", "true");
    if (registers) {
        snprintf(shape, sizeof shape, "[1, %d, 12]", registers);
        folder_shape(&folder, "embeddings.register_tokens", shape);
        snprintf(shape, sizeof shape, "%d", registers);
        folder_config(&folder, "num_register_tokens", shape);
    }
    return folder;
}

typedef struct opened {
    parity_checkpoint checkpoint;
    const more_vision_interface *vision;
    more_vision *instance;
    more_status status;
    more_error error;
} opened;

static opened open_folder(test_folder *folder, more_open_flags flags)
{
    const more_plugin *plugin = parity_plugin("vision/dinov2");
    opened o = {.vision = plugin->get_interface(MORE_VISION_INTERFACE)};

    folder_write(folder);
    o.checkpoint = parity_checkpoint_open(folder->source, NULL, o.vision->tensor_map());
    o.status = o.vision->open(parity_arguments(plugin, parity_host(2), o.checkpoint.view, flags, NULL, NULL),
                              &o.instance, &o.error);
    return o;
}

static void close_opened(opened *o, test_folder *folder)
{
    o->vision->close(o->instance);
    parity_checkpoint_close(&o->checkpoint);
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
    folder_free(folder);
}

/* ---- Bad checkpoints -------------------------------------------------------------------------------------------- */

typedef struct bad_case {
    int registers;
    bool swiglu;
    const char *key, *value;    /* change of the config, NULL value removes; or */
    const char *tensor, *shape; /* of a tensor */
    const char *message;        /* what the line must name; further things behind '|' */
} bad_case;

static const bad_case bad_cases[] = {
    {0, false, "hidden_size", NULL, NULL, NULL, "hidden_size"},
    {0, false, "num_attention_heads", "5", NULL, NULL, "num_attention_heads 5|12"},
    {0, false, "image_size", "35", NULL, NULL, "embeddings.position_embeddings|312"},
    {0, false, "mlp_ratio", "0", NULL, NULL, "mlp_ratio 0|12"},
    {0, false, "mlp_ratio", "1e9", NULL, NULL, "mlp_ratio 1e+09|12"},
    {0, false, "mlp_ratio", "3", NULL, NULL, "encoder.layer.0.mlp.fc1.weight|36"},
    {0, false, "use_swiglu_ffn", "true", NULL, NULL, "encoder.layer.0.mlp.fc1.weight|64"},
    {0, true, "use_swiglu_ffn", "false", NULL, NULL, "encoder.layer.0.mlp.weights_in.weight|48"},
    {0, true, "use_swiglu_ffn", "7", NULL, NULL, "use_swiglu_ffn"},
    {0, false, "model_type", "\"vit\"", NULL, NULL, "model_type|vit|DINOv2"},
    {0, false, "model_type", "\"dinov2_with_registers\"", NULL, NULL, "embeddings.register_tokens"},
    {0, false, "layer_norm_eps", "0", NULL, NULL, "layer_norm_eps"},
    {3, false, "num_register_tokens", "4", NULL, NULL, "embeddings.register_tokens|48"},
    {3, false, "num_register_tokens", "0", NULL, NULL, "num_register_tokens|0"},
    {3, false, "num_register_tokens", "9000000000", NULL, NULL, "num_register_tokens|9000000000"},
    {0, false, NULL, NULL, "embeddings.cls_token", NULL, "embeddings.cls_token"},
    {0, false, NULL, NULL, "embeddings.patch_embeddings.projection.bias", NULL, "projection.bias"},
    {0, false, NULL, NULL, "encoder.layer.1.layer_scale2.lambda1", NULL, "encoder.layer.1.layer_scale2.lambda1"},
    {0, false, NULL, NULL, "encoder.layer.1.layer_scale1.lambda1", "[11]", "encoder.layer.1.layer_scale1.lambda1|11"},
    {0, false, NULL, NULL, "encoder.layer.1.attention.attention.key.bias", NULL, "attention.attention.key.bias"},
    {0, true, NULL, NULL, "encoder.layer.1.mlp.weights_out.weight", "[12, 64]", "mlp.weights_out.weight|64"},
};

static void bad_checkpoints(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof bad_cases / sizeof *bad_cases; i++) {
        const bad_case *one = &bad_cases[i / 2];
        test_folder folder = make_folder(one->registers, one->swiglu);
        if (one->key)
            folder_config(&folder, one->key, one->value);
        else
            folder_shape(&folder, one->tensor, one->shape);
        opened o = open_folder(&folder, i % 2 ? MORE_OPEN_METADATA_ONLY : MORE_OPEN_DEFAULT);
        if (o.status >= 0)
            fail_msg("\"%s\" was not refused", one->message);
        assert_names(o.error.message, one->message);
        assert_null(o.instance);
        close_opened(&o, &folder);
    }
}

/* ---- What it says ----------------------------------------------------------------------------------------------- */

static int32_t score_of(test_folder *folder, char reason[MORE_RECOGNITION_TEXT])
{
    const more_vision_interface *vision = parity_plugin("vision/dinov2")->get_interface(MORE_VISION_INTERFACE);
    more_recognition recognition = {.struct_size = MORE_STRUCT_SIZE(more_recognition, settings)};

    folder_write(folder);
    parity_checkpoint checkpoint = parity_checkpoint_open(folder->source, NULL, NULL);
    vision->recognise(parity_host(1), checkpoint.view, &recognition);
    parity_checkpoint_close(&checkpoint);
    parity_host_close();
    folder_free(folder);
    memcpy(reason, recognition.reason, MORE_RECOGNITION_TEXT);
    return recognition.score;
}

static void recognises(void **state)
{
    test_folder plain = make_folder(0, false), registers = make_folder(4, true), untyped = make_folder(0, false);
    test_folder vit = make_folder(0, false), clip = folder_clip();
    char reason[MORE_RECOGNITION_TEXT];

    (void)state;
    assert_int_equal(score_of(&plain, reason), 100);
    assert_int_equal(score_of(&registers, reason), 100);
    assert_string_equal(reason, "model_type dinov2_with_registers");
    folder_config(&untyped, "model_type", NULL);
    assert_int_equal(score_of(&untyped, reason), 50);
    folder_config(&vit, "model_type", "\"vit\"");
    folder_shape(&vit, "encoder.layer.0.layer_scale1.lambda1", NULL);
    assert_int_equal(score_of(&vit, reason), 0);
    assert_names(reason, "model_type vit");
    assert_int_equal(score_of(&clip, reason), 0);
}

static void says(void **state)
{
    test_folder folder = make_folder(3, true);
    more_vision_info info = {.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats)};
    more_vision_plan plan = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
    more_memory memory;
    opened o = open_folder(&folder, MORE_OPEN_METADATA_ONLY);

    (void)state;
    if (o.status)
        fail_msg("%s", o.error.message);
    o.vision->describe(o.instance, &info);
    assert_int_equal(info.feature_width, 12);
    assert_int_equal(info.layers, 2);
    assert_int_equal(info.image_size, 28);
    assert_int_equal(info.prefix_tokens, 4);
    assert_int_equal(info.resolutions, MORE_RESOLUTION_MULTIPLE);
    assert_string_equal(info.preprocess,
                        "convert_rgb(), resize_shortest(256, bicubic), center_crop(224, 224), rescale(1/255), "
                        "normalize(0.485, 0.456, 0.406, 0.229, 0.224, 0.225)");
    assert_int_equal(o.vision->plan(o.instance, 70, 21, &plan, NULL), MORE_OK);
    assert_int_equal(plan.pixel_width, 70);
    assert_int_equal(plan.pixel_height, 21);
    assert_int_equal(plan.grid_width, 10);
    assert_int_equal(plan.grid_height, 3);
    assert_int_equal(plan.prefix_tokens, 4);
    assert_int_equal(plan.tokens, 34);
    assert_int_equal(o.vision->plan(o.instance, 70, 22, &plan, &o.error), MORE_ERROR_ARGUMENT);
    assert_names(o.error.message, "70 x 22|7 x 7");
    assert_int_equal(o.vision->plan(o.instance, INT64_MAX / 7 * 7, 7, &plan, &o.error), MORE_ERROR_ARGUMENT);
    assert_int_equal(o.vision->plan(o.instance, 0, 7, &plan, &o.error), MORE_ERROR_ARGUMENT);
    assert_int_equal(o.vision->estimate(o.instance, 1, &memory, &o.error), MORE_OK);
    close_opened(&o, &folder);
}

/* A checkpoint without model_type is known by its register tokens; num_register_tokens is 4 unless given. */
static void untyped_registers(void **state)
{
    test_folder folder = make_folder(4, false);
    more_vision_info info = {.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats)};

    (void)state;
    folder_config(&folder, "model_type", NULL);
    folder_config(&folder, "num_register_tokens", NULL);
    opened o = open_folder(&folder, MORE_OPEN_DEFAULT);
    if (o.status)
        fail_msg("%s", o.error.message);
    o.vision->describe(o.instance, &info);
    assert_int_equal(info.prefix_tokens, 5);
    close_opened(&o, &folder);
}

/* ---- Running ---------------------------------------------------------------------------------------------------- */

/* The plan of one size with the pixels of another, or one that the plugin did not make, is refused before it runs. */
static void refuses_other_pixels(void **state)
{
    test_folder folder = make_folder(0, false);
    opened o = open_folder(&folder, MORE_OPEN_DEFAULT);
    parity_tensor *pixels = parity_tensor_create(3, 3, 14, 35), *features = parity_tensor_create(3, 1, 10, 12);
    more_vision_plan plan = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
    int32_t layer = -1;
    int64_t count = 0;
    more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts),
                               .images = 1,
                               .pixels = &pixels->view,
                               .plans = &plan,
                               .layers = &layer,
                               .layer_count = 1,
                               .features = &features->view,
                               .counts = &count};

    (void)state;
    memset(pixels->data, 0, sizeof(float) * 3 * 14 * 35);
    assert_int_equal(o.vision->plan(o.instance, 35, 14, &plan, NULL), MORE_OK);
    assert_int_equal(o.vision->encode(o.instance, &batch, &o.error), MORE_OK);
    assert_int_equal(count, 10);
    assert_int_equal(o.vision->plan(o.instance, 14, 35, &plan, NULL), MORE_OK);
    assert_int_equal(o.vision->encode(o.instance, &batch, &o.error), MORE_ERROR_ARGUMENT);
    assert_names(o.error.message, "pixels of image 0|[3, 35, 14]|[3, 14, 35]");
    plan.tokens++;
    assert_int_equal(o.vision->encode(o.instance, &batch, &o.error), MORE_ERROR_ARGUMENT);
    parity_tensor_free(pixels);
    parity_tensor_free(features);
    close_opened(&o, &folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_checkpoints), cmocka_unit_test(recognises),
                                       cmocka_unit_test(says), cmocka_unit_test(untyped_registers),
                                       cmocka_unit_test(refuses_other_pixels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
