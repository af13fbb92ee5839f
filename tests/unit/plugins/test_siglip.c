/* SPDX-License-Identifier: Apache-2.0
 *
 * The siglip and siglip2 plugins: which folders they recognise and which of them wins, what they say of themselves, the
 * sizes that NaFlex picks, and one clear line for what may be wrong.
 */
#include "../../parity/parity.h"
#include "folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define V "vision_config."
#define EMBEDDINGS "vision_model.embeddings."
#define BLOCK "vision_model.encoder.layers.2."

/* 3 blocks of width 12, 4 heads; 28 pixels in patches of 7, or NaFlex with a table of 4 x 4. */
static test_folder make_folder(bool naflex)
{
    test_folder folder = folder_clip();

    folder_shape(&folder, EMBEDDINGS "class_embedding", NULL);
    folder_shape(&folder, "vision_model.pre_layrnorm.weight", NULL);
    folder_shape(&folder, "vision_model.pre_layrnorm.bias", NULL);
    folder_shape(&folder, EMBEDDINGS "position_embedding.weight", "[16, 12]");
    folder_shape(&folder, EMBEDDINGS "patch_embedding.bias", "[12]");
    folder_config(&folder, "model_type", naflex ? "\"siglip2\"" : "\"siglip\"");
    folder_config(&folder, V "model_type", naflex ? "\"siglip2_vision_model\"" : "\"siglip_vision_model\"");
    folder_config(&folder, V "hidden_act", NULL);
    folder_config(&folder, V "layer_norm_eps", NULL);
    if (naflex) {
        folder_shape(&folder, EMBEDDINGS "patch_embedding.weight", "[12, 147]");
        folder_config(&folder, V "image_size", NULL);
        folder_config(&folder, V "num_patches", "16");
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

static opened open_source(const char *name, const char *source, more_open_flags flags, const char *option,
                          const char *value)
{
    const more_plugin *plugin = parity_plugin(name);
    opened o = {.vision = plugin->get_interface(MORE_VISION_INTERFACE)};

    o.checkpoint = parity_checkpoint_open(source, NULL, o.vision->tensor_map());
    o.status = o.vision->open(parity_arguments(plugin, parity_host(2), o.checkpoint.view, flags, option, value),
                              &o.instance, &o.error);
    return o;
}

static void close_opened(opened *o)
{
    o->vision->close(o->instance);
    parity_checkpoint_close(&o->checkpoint);
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
}

/* Writes preprocessor_config.json beside the others, or removes it. */
static void write_processor(const test_folder *folder, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/preprocessor_config.json", folder->path);
    if (!text) {
        unlink(path);
        return;
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* ---- Bad checkpoints -------------------------------------------------------------------------------------------- */

typedef struct bad_case {
    const char *plugin;
    bool naflex;
    const char *key, *value;    /* change of the config, NULL value removes; or */
    const char *tensor, *shape; /* of a tensor */
    const char *message;        /* what the line must name; further things behind '|' */
} bad_case;

static const bad_case bad_cases[] = {
    {"siglip", false, V "hidden_size", NULL, NULL, NULL, EMBEDDINGS "patch_embedding.weight|768"},
    {"siglip", false, V "hidden_size", "\"wide\"", NULL, NULL, "hidden_size|wide"},
    {"siglip", false, V "num_attention_heads", "5", NULL, NULL, "num_attention_heads 5|12"},
    {"siglip", false, V "num_hidden_layers", "4", NULL, NULL, "vision_model.encoder.layers.3."},
    {"siglip", false, V "num_hidden_layers", NULL, NULL, NULL, "vision_model.encoder.layers.3."},
    {"siglip", false, V "intermediate_size", "21", NULL, NULL, "mlp.fc1.weight|21"},
    {"siglip", false, V "patch_size", "29", NULL, NULL, "patch_size 29|28"},
    {"siglip", false, V "image_size", "35", NULL, NULL, EMBEDDINGS "position_embedding.weight|25"},
    {"siglip", false, V "num_channels", "1", NULL, NULL, "num_channels|1"},
    {"siglip", false, V "hidden_act", "\"swish\"", NULL, NULL, "hidden_act|swish|siglip"},
    {"siglip", false, V "layer_norm_eps", "2", NULL, NULL, "layer_norm_eps 2"},
    {"siglip", false, V "model_type", "\"clip_vision_model\"", NULL, NULL, "clip_vision_model|SigLIP"},
    {"siglip", true, NULL, NULL, "vision_model.post_layernorm.bias", "[12]", "siglip2_vision_model|SigLIP"},
    {"siglip", false, NULL, NULL, EMBEDDINGS "patch_embedding.bias", NULL, EMBEDDINGS "patch_embedding.bias"},
    {"siglip", false, NULL, NULL, BLOCK "self_attn.k_proj.bias", "[11]", BLOCK "self_attn.k_proj.bias|11"},
    {"siglip", false, NULL, NULL, BLOCK "layer_norm2.weight", NULL, BLOCK "layer_norm2.weight"},
    {"siglip2", false, V "model_type", "\"dinov2\"", NULL, NULL, "dinov2|SigLIP 2"},
    {"siglip2", false, V "image_size", "35", NULL, NULL, EMBEDDINGS "position_embedding.weight|25"},
    {"siglip2", true, V "num_patches", "15", NULL, NULL, "num_patches 15|square"},
    {"siglip2", true, V "num_patches", "25", NULL, NULL, EMBEDDINGS "position_embedding.weight|25"},
    {"siglip2", true, V "num_patches", NULL, NULL, NULL, EMBEDDINGS "position_embedding.weight|256"},
    {"siglip2", true, V "num_patches", "0", NULL, NULL, "num_patches|0"},
    {"siglip2", true, V "num_patches", "9000000000", NULL, NULL, "num_patches|9000000000"},
    {"siglip2", true, V "patch_size", "8", NULL, NULL, EMBEDDINGS "patch_embedding.weight|192"},
    {"siglip2", true, NULL, NULL, EMBEDDINGS "patch_embedding.weight", "[12, 146]",
     EMBEDDINGS "patch_embedding.weight|146"},
    {"siglip2", true, NULL, NULL, BLOCK "mlp.fc2.bias", NULL, BLOCK "mlp.fc2.bias"},
};

static void bad_checkpoints(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof bad_cases / sizeof *bad_cases; i++) {
        const bad_case *one = &bad_cases[i / 2];
        test_folder folder = make_folder(one->naflex);
        char name[32];
        if (one->key)
            folder_config(&folder, one->key, one->value);
        else
            folder_shape(&folder, one->tensor, one->shape);
        folder_write(&folder);
        snprintf(name, sizeof name, "vision/%s", one->plugin);
        opened o = open_source(name, folder.source, i % 2 ? MORE_OPEN_METADATA_ONLY : MORE_OPEN_DEFAULT, NULL, NULL);
        if (o.status >= 0)
            fail_msg("\"%s\" was not refused", one->message);
        assert_names(o.error.message, one->message);
        assert_null(o.instance);
        close_opened(&o);
        folder_free(&folder);
    }
}

/* ---- Recognising ------------------------------------------------------------------------------------------------ */

static more_recognition recognition(const char *name, const char *source)
{
    const more_vision_interface *vision = parity_plugin(name)->get_interface(MORE_VISION_INTERFACE);
    parity_checkpoint checkpoint = parity_checkpoint_open(source, NULL, NULL);
    more_recognition said = {.struct_size = MORE_STRUCT_SIZE(more_recognition, settings)};

    vision->recognise(parity_host(1), checkpoint.files, &said);
    parity_checkpoint_close(&checkpoint);
    parity_host_close();
    return said;
}

/* Whether siglip2 scores above siglip (1), below (-1), or alone (2); what its reason must name. */
static void winner_is(const test_folder *folder, int winner, const char *reason)
{
    more_recognition one = recognition("vision/siglip", folder->source);
    more_recognition two = recognition("vision/siglip2", folder->source);

    assert_int_equal(winner == 2, one.score == 0);
    assert_true(two.score > 0);
    assert_int_equal(two.score > one.score, winner > 0);
    assert_true(two.score != one.score);
    assert_names(two.reason, reason);
}

static void recognises(void **state)
{
    test_folder folder = make_folder(false);

    (void)state;
    folder_write(&folder);
    winner_is(&folder, -1, "siglip_vision_model|does not speak");
    write_processor(&folder, "{\"resample\": 2}");
    winner_is(&folder, 1, "siglip_vision_model|resample 2|SigLIP 2");
    write_processor(&folder, "{\"resample\": 3}");
    winner_is(&folder, -1, "resample 3");
    write_processor(&folder, "not JSON");
    winner_is(&folder, -1, "does not speak");
    write_processor(&folder, NULL);
    folder_free(&folder);

    folder = make_folder(false);
    folder_config(&folder, "text_config", "{\"vocab_size\": 256000}");
    folder_write(&folder);
    winner_is(&folder, 1, "vocab_size 256000|SigLIP 2");
    folder_free(&folder);

    folder = make_folder(false);
    folder_config(&folder, "text_config", "{\"vocab_size\": 32000}");
    folder_config(&folder, "_name_or_path", "\"me/siglip2-so400m\"");
    folder_write(&folder);
    winner_is(&folder, -1, "vocab_size 32000");
    folder_free(&folder);

    folder = make_folder(false);
    folder_config(&folder, "_name_or_path", "\"/old/siglip2/siglip-base/\"");
    folder_write(&folder);
    winner_is(&folder, -1, "does not speak");
    folder_free(&folder);

    folder = make_folder(false);
    folder_config(&folder, "_name_or_path", "\"google/siglip2-so400m-patch14-384\"");
    folder_write(&folder);
    winner_is(&folder, 1, "_name_or_path google/siglip2");
    folder_free(&folder);

    folder = make_folder(true);
    folder_write(&folder);
    winner_is(&folder, 2, "siglip2_vision_model");
    assert_int_equal(recognition("vision/clip", folder.source).score, 0);
    folder_free(&folder);
}

/* ---- What instances say ----------------------------------------------------------------------------------------- */

static void fixed_says(void **state)
{
    static const char *const plugins[][2] = {{"vision/siglip", "resize(28, 28, bicubic)"},
                                             {"vision/siglip2", "resize(28, 28, bilinear)"}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        test_folder folder = make_folder(false);
        more_vision_info info = {.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats)};
        more_vision_plan plan = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
        more_memory memory;
        folder_write(&folder);
        opened o = open_source(plugins[i][0], folder.source, MORE_OPEN_METADATA_ONLY, NULL, NULL);
        assert_int_equal(o.status, MORE_OK);
        o.vision->describe(o.instance, &info);
        assert_int_equal(info.feature_width, 12);
        assert_int_equal(info.layers, 3);
        assert_int_equal(info.prefix_tokens, 0);
        assert_int_equal(info.image_size, 28);
        assert_int_equal(info.resolutions, MORE_RESOLUTION_FIXED);
        assert_names(info.preprocess, "convert_rgb()|rescale(1/255)|normalize(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)");
        assert_names(info.preprocess, plugins[i][1]);
        assert_int_equal(o.vision->plan(o.instance, 640, 480, &plan, NULL), MORE_OK);
        assert_int_equal(plan.pixel_height, 28);
        assert_int_equal(plan.grid_width, 4);
        assert_int_equal(plan.tokens, 16);
        assert_int_equal(o.vision->estimate(o.instance, 2, &memory, NULL), MORE_OK);
        assert_true(memory.weight_bytes > 3 * 12 * 12 * 2 && memory.activation_bytes > 32 * 12 * 4);
        close_opened(&o);
        folder_free(&folder);
    }
}

/* The budget: the option, else the processor's, else 256. */
static int64_t tokens_of(const test_folder *folder, const char *option, int64_t width, int64_t height)
{
    more_vision_plan plan = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
    opened o = open_source("vision/siglip2", folder->source, MORE_OPEN_METADATA_ONLY, option ? "max_num_patches" : NULL,
                           option);

    assert_int_equal(o.status, MORE_OK);
    assert_int_equal(o.vision->plan(o.instance, width, height, &plan, NULL), MORE_OK);
    assert_int_equal(plan.pixel_width, 7 * plan.grid_width);
    assert_int_equal(plan.pixel_height, 7 * plan.grid_height);
    close_opened(&o);
    return plan.tokens;
}

static void naflex_says(void **state)
{
    test_folder folder = make_folder(true);
    more_vision_info info = {.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats)};

    (void)state;
    folder_write(&folder);
    opened o = open_source("vision/siglip2", folder.source, MORE_OPEN_METADATA_ONLY, NULL, NULL);
    o.vision->describe(o.instance, &info);
    assert_int_equal(info.resolutions, MORE_RESOLUTION_BUDGET);
    assert_int_equal(info.image_size, 28);
    assert_names(info.preprocess, "convert_rgb(), resize_to_plan(bilinear), rescale(1/255)|normalize(0.5");
    close_opened(&o);
    assert_int_equal(tokens_of(&folder, NULL, 500, 500), 256);
    assert_int_equal(tokens_of(&folder, "100", 500, 500), 100);
    write_processor(&folder, "{\"max_num_patches\": 64}");
    assert_int_equal(tokens_of(&folder, NULL, 500, 500), 64);
    assert_int_equal(tokens_of(&folder, "100", 500, 500), 100);
    assert_int_equal(tokens_of(&folder, NULL, 1, 900), 64);
    write_processor(&folder, "{\"max_num_patches\": 0}");
    o = open_source("vision/siglip2", folder.source, MORE_OPEN_METADATA_ONLY, NULL, NULL);
    assert_int_equal(o.status, MORE_ERROR_CORRUPT);
    assert_names(o.error.message, "preprocessor_config.max_num_patches|0");
    close_opened(&o);
    write_processor(&folder, NULL);
    folder_free(&folder);
}

/* Sizes as transformers' get_image_size_for_max_num_patches gives them, for pictures of many shapes. */
static void naflex_plans(void **state)
{
    json_t *plans = parity_json("models/siglip2-naflex/plans.json");
    char folder[256], budget[32] = "";
    opened o = {.instance = NULL};

    (void)state;
    snprintf(folder, sizeof folder, "%s", parity_path("models/siglip2-naflex"));
    assert_true(json_array_size(plans) > 500);
    for (size_t i = 0; i < json_array_size(plans); i++) {
        int64_t numbers[5];
        char now[32];
        more_vision_plan plan = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
        for (size_t k = 0; k < 5; k++)
            numbers[k] = json_integer_value(json_array_get(json_array_get(plans, i), k));
        snprintf(now, sizeof now, "%lld", (long long)numbers[2]);
        if (strcmp(now, budget)) { /* the budget is fixed at open() */
            if (o.instance)
                close_opened(&o);
            snprintf(budget, sizeof budget, "%s", now);
            o = open_source("vision/siglip2", folder, MORE_OPEN_METADATA_ONLY, "max_num_patches", budget);
            assert_int_equal(o.status, MORE_OK);
        }
        assert_int_equal(o.vision->plan(o.instance, numbers[0], numbers[1], &plan, NULL), MORE_OK);
        if (plan.grid_width != numbers[3] || plan.grid_height != numbers[4])
            fail_msg("%lld x %lld in %s patches: %lld x %lld, not %lld x %lld", (long long)numbers[0],
                     (long long)numbers[1], budget, (long long)plan.grid_width, (long long)plan.grid_height,
                     (long long)numbers[3], (long long)numbers[4]);
    }
    close_opened(&o);
    json_decref(plans);
}

/* ---- What callers may ask --------------------------------------------------------------------------------------- */

static more_status encode_one(const opened *o, more_vision_plan *plan, parity_tensor *pixels, parity_tensor *features,
                              more_error *error)
{
    int32_t layer = -1;
    int64_t count = 0;
    more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts),
                               .images = 1,
                               .pixels = &pixels->view,
                               .plans = plan,
                               .layers = &layer,
                               .layer_count = 1,
                               .select = MORE_SELECT_PATCH,
                               .features = &features->view,
                               .counts = &count};
    return o->vision->encode(o->instance, &batch, error);
}

#define MANY 37 /* images: more than go through the blocks together, twice */

/* Images of several grids in one large batch have the bits that each has alone, and zeros behind their rows. */
static void naflex_large_batch(void **state)
{
    static const int64_t sizes[][2] = {{300, 100}, {90, 91}, {90, 91}, {10, 400}, {640, 480}};
    test_folder folder = make_folder(true);
    parity_tensor *pixels[MANY], *all = parity_tensor_create(3, MANY, 10, 12);
    more_tensor views[MANY];
    more_vision_plan plans[MANY];
    int64_t counts[MANY];
    const int32_t layer = -2;
    more_error error = {""};

    (void)state;
    folder_write(&folder);
    opened o = open_source("vision/siglip2", folder.source, MORE_OPEN_DEFAULT, "max_num_patches", "10");
    assert_int_equal(o.status, MORE_OK);
    for (int64_t i = 0; i < MANY; i++) {
        plans[i].struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens);
        assert_int_equal(o.vision->plan(o.instance, sizes[i % 5][0], sizes[i % 5][1], &plans[i], NULL), MORE_OK);
        pixels[i] = parity_tensor_create(3, 3, plans[i].pixel_height, plans[i].pixel_width);
        for (int64_t k = 0; k < 3 * 49 * plans[i].tokens; k++)
            pixels[i]->data[k] = (float)((k + 5 * i) % 23) / 23;
        views[i] = pixels[i]->view;
    }
    more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts),
                               .images = MANY,
                               .pixels = views,
                               .plans = plans,
                               .layers = &layer,
                               .layer_count = 1,
                               .select = MORE_SELECT_CLS_PATCH,
                               .features = &all->view,
                               .counts = counts};
    assert_int_equal(o.vision->encode(o.instance, &batch, &error), MORE_OK);
    batch.images = 1;
    for (int64_t i = 0; i < MANY; i++) {
        parity_tensor *alone = parity_tensor_create(3, 1, plans[i].tokens, 12);
        int64_t count;
        batch.pixels = &views[i];
        batch.plans = &plans[i];
        batch.features = &alone->view;
        batch.counts = &count;
        assert_int_equal(o.vision->encode(o.instance, &batch, &error), MORE_OK);
        assert_int_equal(counts[i], count);
        assert_int_equal(count, plans[i].tokens);
        assert_memory_equal(all->data + i * 10 * 12, alone->data, (size_t)count * 12 * sizeof(float));
        for (int64_t k = count * 12; k < 10 * 12; k++)
            assert_true(all->data[i * 10 * 12 + k] == 0);
        parity_tensor_free(alone);
        parity_tensor_free(pixels[i]);
    }
    parity_tensor_free(all);
    close_opened(&o);
    folder_free(&folder);
}

/* A plan that was changed behind plan()'s back does not pass. */
static void naflex_checks_plans(void **state)
{
    test_folder folder = make_folder(true);
    parity_tensor *pixels = parity_tensor_create(3, 3, 14, 35), *features = parity_tensor_create(3, 1, 10, 12);
    more_vision_plan right = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
    more_error error = {""};

    (void)state;
    for (int i = 0; i < 3 * 14 * 35; i++)
        pixels->data[i] = (float)(i % 13) / 13;
    folder_write(&folder);
    opened o = open_source("vision/siglip2", folder.source, MORE_OPEN_DEFAULT, "max_num_patches", "10");
    assert_int_equal(o.vision->plan(o.instance, 350, 140, &right, NULL), MORE_OK);
    assert_int_equal(right.grid_width * 10 + right.grid_height, 52);
    assert_int_equal(encode_one(&o, &right, pixels, features, &error), MORE_OK);
    for (int i = 0; i < 6; i++) {
        more_vision_plan plan = right;
        int64_t *fields[] = {&plan.pixel_width, &plan.pixel_height,  &plan.grid_width,
                             &plan.grid_height, &plan.prefix_tokens, &plan.tokens};
        for (int64_t change = -20; change <= 20; change += 40) {
            *fields[i] += change;
            assert_int_equal(encode_one(&o, &plan, pixels, features, &error), MORE_ERROR_ARGUMENT);
            assert_names(error.message, "plan of image 0");
            *fields[i] -= change;
        }
    }
    right.pixel_width++; /* still 5 patches, but not these pixels */
    assert_int_equal(encode_one(&o, &right, pixels, features, &error), MORE_ERROR_ARGUMENT);
    assert_names(error.message, "pixels of image 0|36|35");
    close_opened(&o);
    parity_tensor_free(pixels);
    parity_tensor_free(features);
    folder_free(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_checkpoints),    cmocka_unit_test(recognises),   cmocka_unit_test(fixed_says),
        cmocka_unit_test(naflex_says),        cmocka_unit_test(naflex_plans), cmocka_unit_test(naflex_checks_plans),
        cmocka_unit_test(naflex_large_batch),
    };
    return cmocka_run_group_tests_name("siglip", tests, NULL, NULL);
}
