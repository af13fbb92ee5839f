/* SPDX-License-Identifier: Apache-2.0
 *
 * Layouts as shipped and as broken, and where weights are looked for.
 */
#include "base/file.h"
#include "made.h"
#include "weights/checkpoint.h"
#include "weights/layout.h"
#include "weights/locate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *shipped(void)
{
    const char *top = getenv("srcdir");
    return core_path_join(top ? top : ".", "share/layouts");
}

/* A checkpoint of this config and one-byte tensors of these names (separated by blanks). */
static more_checkpoint *make(const char *config, const char *tensors)
{
    core_buffer header = {0};
    char *folder = made_folder(), *copy = strdup(tensors), *save = NULL;
    size_t count = 0;
    for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save), count++)
        core_buffer_format(&header, "%s\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                           count ? "," : "{", name, count, count + 1);
    core_buffer_text(&header, "}");
    unsigned char data[32] = {0};
    assert_true(count <= sizeof data);
    made_weights(folder, "model.safetensors", header.data, data, count);
    made_text(folder, "config.json", config);
    more_checkpoint *checkpoint = NULL;
    more_error error = {{0}};
    assert_int_equal(core_checkpoint_open(folder, &checkpoint, &error), MORE_OK);
    made_remove(folder);
    core_buffer_free(&header);
    free(copy);
    return checkpoint;
}

static core_layout *find(more_checkpoint *checkpoint)
{
    more_error error = {{0}};
    core_layout *layout = NULL;
    char *folder = shipped();
    if (core_layout_find(folder, checkpoint, &layout, &error) != MORE_OK)
        fail_msg("%s", error.message);
    free(folder);
    return layout;
}

static void part_has(const core_layout *layout, more_checkpoint *checkpoint, const char *part, int64_t count,
                     const char *name)
{
    more_error error = {{0}};
    more_checkpoint *view = NULL;
    more_weight_info info = {.struct_size = sizeof info};
    assert_int_equal(core_layout_part(layout, checkpoint, part, &view, &error), MORE_OK);
    assert_int_equal(core_weights_service()->count(view), count);
    assert_int_equal(core_weights_service()->info(view, name, &info, &error), MORE_OK);
    core_checkpoint_release(view);
}

static void setting_is(const core_layout *layout, more_checkpoint *checkpoint, const char *key, const char *want)
{
    char *value = core_layout_setting(layout, checkpoint, key);
    if (want) {
        assert_non_null(value);
        assert_string_equal(value, want);
    } else {
        assert_null(value);
    }
    free(value);
}

static const char official[] =
    "{\"model_type\":\"llava_llama\",\"hidden_size\":4096,\"vocab_size\":128256,\"num_hidden_layers\":32,"
    "\"image_aspect_ratio\":\"pad\",\"mm_vision_tower\":\"openai/x\",\"mm_projector_type\":\"mlp2x_gelu\","
    "\"mm_hidden_size\":1024,\"mm_vision_select_layer\":-2,\"mm_vision_select_feature\":\"patch\","
    "\"mm_projector_lr\":null,\"tokenizer_model_max_length\":4096}";

static void test_official(void **state)
{
    (void)state;
    more_checkpoint *checkpoint =
        make(official, "model.embed_tokens.weight model.layers.0.w lm_head.weight model.mm_projector.0.weight "
                       "model.mm_projector.2.weight model.vision_tower.vision_tower.vision_model.embeddings.w");
    core_layout *layout = find(checkpoint);
    assert_string_equal(core_layout_name(layout), "llava-more");
    assert_true(core_layout_has_part(layout, "vision"));
    assert_false(core_layout_has_part(layout, "settings"));
    part_has(layout, checkpoint, "language", 3, "model.embed_tokens.weight");
    part_has(layout, checkpoint, "projector", 2, "2.weight");
    part_has(layout, checkpoint, "vision", 1, "vision_model.embeddings.w");
    setting_is(layout, checkpoint, "vision.weights", "openai/x");
    setting_is(layout, checkpoint, "vision.layer", "-2");
    setting_is(layout, checkpoint, "vision.select", "patch");
    setting_is(layout, checkpoint, "preprocess.pad", "square");
    setting_is(layout, checkpoint, "llm.max_length", "4096");
    setting_is(layout, checkpoint, "llm.nothing", NULL);
    core_layout_free(layout);
    core_checkpoint_release(checkpoint);
}

static void test_official_without_tower(void **state)
{
    (void)state;
    more_error error = {{0}};
    more_checkpoint
        *view = NULL,
        *checkpoint =
            make("{\"model_type\":\"llava_gemma\",\"mm_projector_type\":\"linear\",\"image_aspect_ratio\":\"anyres\"}",
                 "model.embed_tokens.weight model.mm_projector.weight");
    core_layout *layout = find(checkpoint);
    assert_int_equal(core_layout_part(layout, checkpoint, "vision", &view, &error), MORE_ERROR_NOT_FOUND);
    part_has(layout, checkpoint, "projector", 1, "weight");
    setting_is(layout, checkpoint, "preprocess.pad", "none");
    setting_is(layout, checkpoint, "vision.layer", NULL);
    core_layout_free(layout);
    core_checkpoint_release(checkpoint);
}

static void kind_is(const char *config, const char *tensors, const char *name, const char *part, int64_t count)
{
    more_error error = {{0}};
    more_checkpoint *view = NULL, *checkpoint = make(config, tensors);
    core_layout *layout = find(checkpoint);
    assert_string_equal(core_layout_name(layout), name);
    assert_int_equal(core_layout_part(layout, checkpoint, part, &view, &error), MORE_OK);
    assert_int_equal(core_weights_service()->count(view), count);
    core_checkpoint_release(view);
    assert_int_equal(core_layout_part(layout, checkpoint, "projector", &view, &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "projector"));
    core_layout_free(layout);
    core_checkpoint_release(checkpoint);
}

static void test_plain(void **state)
{
    (void)state;
    kind_is("{\"vocab_size\":5,\"num_hidden_layers\":2}", "model.a lm_head.weight", "language", "language", 2);
    kind_is("{\"patch_size\":14,\"hidden_size\":3}", "embeddings.cls_token encoder.w", "vision", "vision", 2);
    kind_is("{\"vision_config\":{\"hidden_size\":3},\"text_config\":{}}", "vision_model.a text_model.b logit_scale",
            "vision", "vision", 2);
}

static const char hf_config[] =
    "{\"model_type\":\"llava\",\"image_token_index\":32000,\"vision_feature_layer\":-2,\"vision_feature_select_"
    "strategy\":"
    "\"default\",\"projector_hidden_act\":\"gelu\",\"text_config\":{\"vocab_size\":32064,\"rms_norm_eps\":1e-05,"
    "\"max_position_embeddings\":4096,\"hidden_size\":null},\"vision_config\":{\"hidden_size\":1024,\"num_hidden_"
    "layers\":24,"
    "\"patch_size\":14,\"model_type\":\"clip_vision_model\"}}";

static void number_is(more_checkpoint *view, const char *key, double want)
{
    more_error error = {{0}};
    double value = 0;
    if (core_weights_service()->get_double(view, key, &value, &error) != MORE_OK)
        fail_msg("%s", error.message);
    assert_true(value == want);
}

/* What nested configs leave out are the defaults of their classes; what they say stays. */
static void check_hf_configs(const core_layout *layout, more_checkpoint *checkpoint)
{
    more_error error = {{0}};
    more_checkpoint *view = NULL;
    const char *text = NULL;
    assert_int_equal(core_layout_part(layout, checkpoint, "language", &view, &error), MORE_OK);
    assert_int_equal(core_weights_service()->get_string(view, "model_type", &text, &error), MORE_OK);
    assert_string_equal(text, "llama");
    number_is(view, "vocab_size", 32064);
    number_is(view, "rms_norm_eps", 1e-05);
    number_is(view, "hidden_size", 4096);
    number_is(view, "intermediate_size", 11008);
    number_is(view, "rope_theta", 10000);
    core_checkpoint_release(view);
    assert_int_equal(core_layout_part(layout, checkpoint, "vision", &view, &error), MORE_OK);
    number_is(view, "hidden_size", 1024);
    number_is(view, "num_attention_heads", 12);
    number_is(view, "layer_norm_eps", 1e-05);
    assert_int_equal(core_weights_service()->get_string(view, "hidden_act", &text, &error), MORE_OK);
    assert_string_equal(text, "quick_gelu");
    core_checkpoint_release(view);
}

static void test_llava_hf(void **state)
{
    (void)state;
    static const char *const names[] = {
        "language_model.model.embed_tokens.weight language_model.lm_head.weight vision_tower.vision_model.a "
        "multi_modal_projector.linear_1.weight multi_modal_projector.linear_2.bias",
        "model.language_model.embed_tokens.weight lm_head.weight model.vision_tower.vision_model.a "
        "model.multi_modal_projector.linear_1.weight model.multi_modal_projector.linear_2.bias"};
    for (size_t i = 0; i < 2; i++) {
        more_checkpoint *checkpoint = make(hf_config, names[i]);
        core_layout *layout = find(checkpoint);
        assert_string_equal(core_layout_name(layout), "llava-hf");
        part_has(layout, checkpoint, "language", 2, "model.embed_tokens.weight");
        part_has(layout, checkpoint, "language", 2, "lm_head.weight");
        part_has(layout, checkpoint, "projector", 2, "0.weight");
        part_has(layout, checkpoint, "projector", 2, "2.bias");
        part_has(layout, checkpoint, "vision", 1, "vision_model.a");
        setting_is(layout, checkpoint, "vision.weights", ".");
        setting_is(layout, checkpoint, "vision.layer", "-2");
        setting_is(layout, checkpoint, "vision.select", "patch");
        setting_is(layout, checkpoint, "preprocess.pad", "none");
        setting_is(layout, checkpoint, "llm.max_length", "4096");
        check_hf_configs(layout, checkpoint);
        core_layout_free(layout);
        core_checkpoint_release(checkpoint);
    }
}

/* Stage 1 leaves the projector alone, with a config beside it or without, under whatever stands before mm_projector. */
static void test_projector_alone(void **state)
{
    (void)state;
    static const char *const configs[] = {official, "{}"};
    static const char *const layouts[] = {"llava-more", "projector"};
    for (size_t i = 0; i < 2; i++) {
        more_error error = {{0}};
        more_checkpoint *view = NULL,
                        *checkpoint = make(configs[i], "a.b.mm_projector.0.weight a.b.mm_projector.0.bias");
        core_layout *layout = find(checkpoint);
        assert_string_equal(core_layout_name(layout), layouts[i]);
        part_has(layout, checkpoint, "projector", 2, "0.weight");
        assert_int_equal(core_layout_part(layout, checkpoint, "language", &view, &error), MORE_ERROR_NOT_FOUND);
        core_layout_free(layout);
        core_checkpoint_release(checkpoint);
    }
}

static void test_none_fits(void **state)
{
    (void)state;
    more_error error = {{0}};
    core_layout *layout = NULL;
    more_checkpoint *checkpoint = make("{\"model_type\":\"bert\"}", "a");
    char *folder = shipped();
    assert_int_equal(core_layout_find(folder, checkpoint, &layout, &error), MORE_ERROR_NOT_FOUND);
    assert_null(layout);
    assert_non_null(strstr(error.message, "bert"));
    assert_non_null(strstr(error.message, "llava-more"));
    assert_int_equal(core_layout_find("/nowhere", checkpoint, &layout, &error), MORE_ERROR_NOT_FOUND);
    free(folder);
    core_checkpoint_release(checkpoint);
}

static void test_broken_layouts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"[layout]\nscore = 5\n", "name"},
        {"[layout]\nname = a\n", "score"},
        {"[layout]\nname = a\nscore = 101\n", "101"},
        {"[layout]\nname = a\nscore = 5x\n", "5x"},
        {"[layout]\nname = a\nscore = 5\n[vision]\nprefx = b\n", "[vision] prefx"},
        {"[layout]\nname = a\nscore = 5\n[other]\nprefix = b\n", "[other] prefix"},
        {"[layout]\nname = a\nscore\n", ":3:"},
    };
    char *folder = made_folder(), *path = core_path_join(folder, "a.ini");
    more_checkpoint *checkpoint = make("{}", "a");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        more_error error = {{0}};
        core_layout *layout = NULL;
        made_text(folder, "a.ini", cases[i].text);
        assert_int_equal(core_layout_read(path, &layout, &error), MORE_ERROR_CORRUPT);
        if (!strstr(error.message, cases[i].word) || !strstr(error.message, "a.ini"))
            fail_msg("'%s' lacks '%s'", error.message, cases[i].word);
        assert_int_equal(core_layout_find(folder, checkpoint, &layout, &error), MORE_ERROR_CORRUPT);
        assert_null(layout);
    }
    core_checkpoint_release(checkpoint);
    made_remove(folder);
    free(path);
}

static void test_values(void **state)
{
    (void)state;
    more_error error = {{0}};
    core_layout *layout = NULL;
    char *folder = made_folder(), *path = core_path_join(folder, "a.ini");
    made_text(folder, "a.ini",
              "[layout]\nname = a\nscore = 5\n[match]\nk = x|y\n[match.b]\n@tensors = q.|t\nk = -\n[settings]\n"
              "s.first = config:absent\ns.first = config:list\ns.plain = two words\ns.real = config:real\n"
              "s.flag = config:flag true=on false=off\ns.miss = config:flag x=y\ns.object = config:object\n"
              "s.deep = config:object.inner\n");
    assert_int_equal(core_layout_read(path, &layout, &error), MORE_OK);
    more_checkpoint *checkpoint =
        make("{\"k\":\"y\",\"list\":[-2,-5],\"real\":0.5,\"flag\":true,\"object\":{\"inner\":3}}", "tensor");
    assert_true(core_layout_matches(layout, checkpoint));
    setting_is(layout, checkpoint, "s.first", "-2, -5");
    setting_is(layout, checkpoint, "s.plain", "two words");
    setting_is(layout, checkpoint, "s.real", "0.5");
    setting_is(layout, checkpoint, "s.flag", "on");
    setting_is(layout, checkpoint, "s.miss", NULL);
    setting_is(layout, checkpoint, "s.object", NULL);
    setting_is(layout, checkpoint, "s.deep", "3");
    core_checkpoint_release(checkpoint);
    checkpoint = make("{\"k\":\"z\"}", "tensor");
    assert_false(core_layout_matches(layout, checkpoint));
    core_checkpoint_release(checkpoint);
    checkpoint = make("{}", "tensor");
    assert_true(core_layout_matches(layout, checkpoint));
    core_checkpoint_release(checkpoint);
    core_layout_free(layout);
    made_remove(folder);
    free(path);
}

static void located(const char *text, const char *base, const char *want)
{
    more_error error = {{0}};
    char *path = NULL;
    if (core_weights_locate(text, base, &path, &error) != MORE_OK)
        fail_msg("%s", error.message);
    assert_string_equal(path, want);
    free(path);
}

static void lost(const char *text, const char *base, const char *word)
{
    more_error error = {{0}};
    char *path = NULL;
    assert_true(core_weights_locate(text, base, &path, &error) < 0);
    assert_null(path);
    if (!strstr(error.message, word))
        fail_msg("'%s' lacks '%s'", error.message, word);
}

static void test_locate(void **state)
{
    (void)state;
    char *base = made_folder();
    char *snapshot = core_path_join(base, "hub/models--org--name/snapshots/abc123");
    char *cache = core_path_join(base, "hub"), *local = core_path_join(base, "local/model");
    made_text(base, "hub/models--org--name/refs/main", "abc123\n");
    made_text(base, "hub/models--org--name/refs/evil", "../../..");
    made_text(base, "hub/models--org--name/snapshots/abc123/config.json", "{}");
    made_text(base, "local/model/config.json", "{}");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HUGGINGFACE_HUB_CACHE");
    setenv("HF_HOME", base, 1);
    located("local/model", base, local);
    located(local, "/elsewhere", local);
    located("org/name", "/elsewhere", snapshot);
    located("org/name@main", base, snapshot);
    located("org/name@abc123", base, snapshot);
    lost("org/name@v2", base, "revision v2");
    lost("org/name@v2", base, "hf download org/name --revision v2");
    lost("org/other", base, "to fetch it: hf download org/other");
    located(".", local, local);
    lost("org/name@evil", base, "not found");
    lost("org/name@../x", base, "not found");
    lost("org/other", base, "models--org--other");
    lost("../org/name", base, "not at");
    lost("single", base, "not at");
    lost("", base, "empty");
    setenv("HF_HUB_CACHE", cache, 1);
    setenv("HF_HOME", "/nowhere", 1);
    located("org/name", base, snapshot);
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
    setenv("HOME", base, 1);
    setenv("HF_HOME", "~", 1);
    located("org/name", "/elsewhere", snapshot);
    unsetenv("HF_HOME");
    unsetenv("XDG_CACHE_HOME");
    lost("org/name", "/elsewhere", "/.cache/huggingface/hub/models--org--name");
    setenv("XDG_CACHE_HOME", "/nowhere", 1);
    lost("org/name", "/elsewhere", "/nowhere/huggingface/hub/models--org--name");
    unsetenv("XDG_CACHE_HOME");
    core_buffer synthetic = {0};
    core_buffer_format(&synthetic, "synthetic:%s?seed=3", local);
    located("synthetic:local/model?seed=3", base, synthetic.data);
    core_buffer_free(&synthetic);
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
    free(snapshot);
    free(cache);
    free(local);
    made_remove(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_official),        cmocka_unit_test(test_official_without_tower),
        cmocka_unit_test(test_plain),           cmocka_unit_test(test_llava_hf),
        cmocka_unit_test(test_projector_alone), cmocka_unit_test(test_none_fits),
        cmocka_unit_test(test_broken_layouts),  cmocka_unit_test(test_values),
        cmocka_unit_test(test_locate),
    };
    return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
