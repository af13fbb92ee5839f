/* SPDX-License-Identifier: Apache-2.0
 *
 * What every plugin owes: the descriptor, what it recognises, instances for metadata only, memory estimates, the cost
 * of a fork, and one clear line for each thing that may be wrong with a checkpoint.
 */
#include "opened.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* ---- Descriptors ------------------------------------------------------------------------------------------------ */

/* Every plugin of the tree; a new one adds its line. */
static const struct shipped {
    const char *path, *kind, *interface; /* path for parity_plugin */
} shipped[] = {
    {"vision/clip", MORE_KIND_VISION, MORE_VISION_INTERFACE},
    {"vision/dinov2", MORE_KIND_VISION, MORE_VISION_INTERFACE},
    {"vision/siglip", MORE_KIND_VISION, MORE_VISION_INTERFACE},
    {"vision/siglip2", MORE_KIND_VISION, MORE_VISION_INTERFACE},
    {"projector/identity", MORE_KIND_PROJECTOR, MORE_PROJECTOR_INTERFACE},
    {"projector/mlp", MORE_KIND_PROJECTOR, MORE_PROJECTOR_INTERFACE},
    {"projector/pixel_shuffle", MORE_KIND_PROJECTOR, MORE_PROJECTOR_INTERFACE},
    {"llm/llama", MORE_KIND_LANGUAGE, MORE_LANGUAGE_INTERFACE},
};

static void check_descriptor(const more_plugin *plugin, const struct shipped *one)
{
    char id[128];

    assert_true(MORE_HAS(plugin, more_plugin, get_interface));
    assert_int_equal(plugin->abi_version, MORE_ABI_VERSION);
    assert_string_equal(plugin->kind, one->kind);
    assert_string_equal(plugin->id, strrchr(one->path, '/') + 1);
    assert_string_equal(plugin->license, "Apache-2.0");
    assert_true(strlen(plugin->version) > 0 && strlen(plugin->description) > 0);
    assert_int_equal(plugin->score(), 100);
    for (int32_t i = 0; i < plugin->option_count; i++)
        assert_true(plugin->options[i].default_value && strlen(plugin->options[i].doc) > 0);
    assert_non_null(plugin->get_interface(one->interface));
    snprintf(id, sizeof id, "%s ", one->interface);
    assert_null(plugin->get_interface(id));
    snprintf(id, sizeof id, "x%s", one->interface);
    assert_null(plugin->get_interface(id));
    snprintf(id, sizeof id, "%.*s", (int)strlen(one->interface) - 1, one->interface);
    assert_null(plugin->get_interface(id));
    assert_null(plugin->get_interface(""));
}

static void descriptors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shipped / sizeof *shipped; i++) {
        const more_plugin *plugin = parity_plugin(shipped[i].path);
        more_error error = {""};
        check_descriptor(plugin, &shipped[i]);
        assert_null(more_plugin_offer(plugin, MORE_ABI_VERSION + 1, MORE_ABI_VERSION + 1, &error));
        assert_non_null(strstr(error.message, plugin->id));
    }
}

/* `nm` of the .so shows the entry and nothing else. */
static void one_symbol(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shipped / sizeof *shipped; i++) {
        char command[4200], line[256];
        int lines = 0;
        FILE *nm;
        snprintf(command, sizeof command, "nm -D --defined-only '%s'", parity_plugin_path(shipped[i].path));
        nm = popen(command, "r");
        assert_non_null(nm);
        while (fgets(line, sizeof line, nm)) {
            assert_non_null(strstr(line, " T " MORE_PLUGIN_ENTRY "\n"));
            lines++;
        }
        assert_int_equal(pclose(nm), 0);
        assert_int_equal(lines, 1);
    }
}

/* ---- Recognising ------------------------------------------------------------------------------------------------ */

typedef struct recognition_case {
    plugin_kind kind;
    const char *key, *value; /* change of the config, NULL = none */
    const char *key2, *value2;
    int32_t score;
    const char *settings;
} recognition_case;

static const recognition_case recognitions[] = {
    {CLIP, NULL, NULL, NULL, NULL, 100, ""},
    {CLIP, "vision_config.model_type", NULL, NULL, NULL, 50, ""},
    {CLIP, "vision_config.model_type", "\"siglip_vision_model\"", NULL, NULL, 50, ""},
    {MLP, NULL, NULL, NULL, NULL, 100, ""},
    {MLP, "mm_projector_type", NULL, NULL, NULL, 50, ""},
    {MLP, "mm_projector_type", "\"merge2x2\"", NULL, NULL, 0, ""},
    {LLAMA, NULL, NULL, NULL, NULL, 100, ""},
    {LLAMA, "model_type", "\"gemma2\"", NULL, NULL, 0, ""},
    {LLAMA, "model_type", NULL, NULL, NULL, 50, ""},
    {LLAMA, "model_type", "\"llava_llama\"", "model_architecture", "\"llama_3_1\"", 100, "template = llama_3_1\n"},
    {LLAMA, "bos_token_id", "128000", "eos_token_id", "[128001, 128008, 128009]", 100, "template = llama_3_1\n"},
    {LLAMA, "bos_token_id", "128000", "eos_token_id", "128001", 100, "template = llama_3_1_reasoning\n"},
    {LLAMA, "vocab_size", "32000", "rope_scaling", "null", 100, "template = vicuna_v1\n"},
};

static void recognise_one(const more_host *host, const recognition_case *one)
{
    const void *interface = parity_plugin(kinds[one->kind].path)->get_interface(kinds[one->kind].interface);
    more_recognition recognition = {.struct_size = MORE_STRUCT_SIZE(more_recognition, settings)};
    test_folder folder = new_folder(one->kind);
    parity_checkpoint checkpoint;

    if (one->key)
        folder_config(&folder, one->key, one->value);
    if (one->key2)
        folder_config(&folder, one->key2, one->value2);
    folder_write(&folder);
    checkpoint = parity_checkpoint_open(folder.source, kinds[one->kind].prefix, NULL);
    if (one->kind == CLIP)
        ((const more_vision_interface *)interface)->recognise(host, checkpoint.view, &recognition);
    else if (one->kind == MLP)
        ((const more_projector_interface *)interface)->recognise(host, checkpoint.view, &recognition);
    else
        ((const more_language_interface *)interface)->recognise(host, checkpoint.view, &recognition);
    if (recognition.score != one->score || strcmp(recognition.settings, one->settings))
        fail_msg("%s with %s = %s: score %d, settings \"%s\", reason %s", kinds[one->kind].path,
                 one->key ? one->key : "nothing", one->value ? one->value : "removed", (int)recognition.score,
                 recognition.settings, recognition.reason);
    assert_true(strlen(recognition.reason) > 0);
    parity_checkpoint_close(&checkpoint);
    folder_free(&folder);
}

static void recognise(void **state)
{
    const more_host *host = parity_host(1);
    (void)state;
    for (size_t i = 0; i < sizeof recognitions / sizeof *recognitions; i++)
        recognise_one(host, &recognitions[i]);
    parity_host_close();
}

static void other_devices(void **state)
{
    const more_plugin *plugin = parity_plugin(kinds[LLAMA].path);
    const more_language_interface *language = plugin->get_interface(MORE_LANGUAGE_INTERFACE);
    const DLDevice gpu = {kDLCUDA, 0};
    test_folder folder = folder_llama(2);
    parity_checkpoint checkpoint;
    more_open arguments;
    more_language *instance;
    more_error error = {""};

    (void)state;
    folder_write(&folder);
    checkpoint = parity_checkpoint_open(folder.source, NULL, language->tensor_map());
    arguments = *parity_arguments(plugin, parity_host(1), checkpoint.view, MORE_OPEN_DEFAULT, NULL, NULL);
    arguments.devices = &gpu;
    /* UNSUPPORTED without kernels, NOT_FOUND with them: this host has no device. */
    assert_true(language->open(&arguments, &instance, &error) < 0);
    assert_null(instance);
    assert_names(error.message, "cuda:0");
    parity_checkpoint_close(&checkpoint);
    folder_free(&folder);
    parity_host_close();
}

/* ---- Metadata only, estimates ----------------------------------------------------------------------------------- */

static more_memory estimate(const opened *o)
{
    more_memory memory;
    more_error error = {""};
    more_status status;

    if (o->kind == CLIP)
        status = ((const more_vision_interface *)o->interface)->estimate(o->instance, 2, &memory, &error);
    else if (o->kind == MLP)
        status = ((const more_projector_interface *)o->interface)->estimate(o->instance, 16, &memory, &error);
    else
        status = ((const more_language_interface *)o->interface)->estimate(o->instance, 1, 100, 100, &memory, &error);
    if (status)
        fail_msg("%s", error.message);
    return memory;
}

/* The weight bytes of a dry run are those that a loaded instance then holds, and it reads none of them. */
static void weight_estimates(void **state)
{
    const more_host *host = parity_host(2);

    (void)state;
    for (plugin_kind kind = CLIP; kind < KINDS; kind++) {
        test_folder folder = new_folder(kind);
        more_memory dry, real;
        size_t empty; /* what an instance holds without weights */
        opened o;

        folder_write(&folder);
        o = open_folder(kind, &folder, MORE_OPEN_METADATA_ONLY, host, NULL, NULL);
        assert_int_equal(o.status, MORE_OK);
        dry = estimate(&o);
        empty = parity_host_bytes();
        close_opened(&o);
        o = open_folder(kind, &folder, MORE_OPEN_DEFAULT, host, NULL, NULL);
        assert_int_equal(o.status, MORE_OK);
        real = estimate(&o);
        assert_memory_equal(&dry, &real, sizeof dry);
        assert_int_equal((size_t)real.weight_bytes, parity_host_bytes() - empty);
        close_opened(&o);
        folder_free(&folder);
    }
    parity_host_close();
}

static void metadata_only_refuses_to_run(void **state)
{
    const more_host *host = parity_host(1);

    (void)state;
    for (plugin_kind kind = CLIP; kind < KINDS; kind++) {
        test_folder folder = new_folder(kind);
        more_error error = {""};
        more_status status;
        opened o;

        folder_write(&folder);
        o = open_folder(kind, &folder, MORE_OPEN_METADATA_ONLY, host, NULL, NULL);
        assert_int_equal(o.status, MORE_OK);
        if (kind == CLIP) {
            more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts)};
            status = ((const more_vision_interface *)o.interface)->encode(o.instance, &batch, &error);
        } else if (kind == MLP) {
            more_projection projection = {.struct_size = MORE_STRUCT_SIZE(more_projection, tokens)};
            status = ((const more_projector_interface *)o.interface)->project(o.instance, &projection, &error);
        } else {
            more_session *session;
            status = ((const more_language_interface *)o.interface)->session_create(o.instance, 0, &session, &error);
        }
        assert_int_equal(status, MORE_ERROR_ARGUMENT);
        assert_names(error.message, "metadata only");
        close_opened(&o);
        folder_free(&folder);
    }
    parity_host_close();
}

/* ---- What instances say ----------------------------------------------------------------------------------------- */

static void clip_says(void **state)
{
    test_folder folder = folder_clip();
    more_vision_info info = {.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats)};
    more_vision_plan plan = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
    const more_vision_interface *vision;
    opened o;

    (void)state;
    folder_write(&folder);
    o = open_folder(CLIP, &folder, MORE_OPEN_METADATA_ONLY, parity_host(1), NULL, NULL);
    vision = o.interface;
    vision->describe(o.instance, &info);
    assert_int_equal(info.feature_width, 12);
    assert_int_equal(info.layers, 3);
    assert_int_equal(info.prefix_tokens, 1);
    assert_int_equal(info.resolutions, MORE_RESOLUTION_FIXED);
    assert_names(info.preprocess, "convert_rgb()|resize_shortest(28, bicubic)|center_crop(28, 28)|rescale(1/255)|"
                                  "normalize(0.48145466");
    assert_int_equal(vision->plan(o.instance, 640, 480, &plan, NULL), MORE_OK);
    assert_int_equal(plan.pixel_width, 28);
    assert_int_equal(plan.grid_height, 4);
    assert_int_equal(plan.tokens, 17);
    assert_int_equal(vision->plan(o.instance, 0, 480, &plan, NULL), MORE_ERROR_ARGUMENT);
    close_opened(&o);
    folder_free(&folder);
    parity_host_close();
}

/* With `blocks`, the rest of the tower need not be there, and what lies behind cannot be asked. */
static void clip_loads_some_blocks(void **state)
{
    test_folder folder = folder_clip();
    parity_tensor *pixels = parity_tensor_create(3, 3, 28, 28), *features = parity_tensor_create(3, 1, 16, 12);
    const more_host *host = parity_host(2);
    more_vision_plan plan = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
    int32_t layer = -2;
    int64_t count = 0;
    more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts),
                               .images = 1,
                               .pixels = &pixels->view,
                               .plans = &plan,
                               .layers = &layer,
                               .layer_count = 1,
                               .select = MORE_SELECT_PATCH,
                               .features = &features->view,
                               .counts = &count};
    const more_vision_interface *vision;
    more_error error = {""};
    opened o;

    (void)state;
    for (int i = 0; i < 3 * 28 * 28; i++)
        pixels->data[i] = (float)(i % 17) / 17;
    folder_shape(&folder, "vision_model.encoder.layers.2.mlp.fc1.weight", NULL);
    folder_write(&folder);
    o = open_folder(CLIP, &folder, MORE_OPEN_DEFAULT, host, "blocks", "2");
    assert_int_equal(o.status, MORE_OK);
    vision = o.interface;
    assert_int_equal(vision->encode(o.instance, &batch, &error), MORE_ERROR_ARGUMENT);
    assert_names(error.message, "plan of image 0|0 x 0 pixels");
    assert_int_equal(vision->plan(o.instance, 28, 28, &plan, NULL), MORE_OK);
    assert_int_equal(vision->encode(o.instance, &batch, &error), MORE_OK);
    assert_int_equal(count, 16);
    layer = -1;
    assert_int_equal(vision->encode(o.instance, &batch, &error), MORE_ERROR_ARGUMENT);
    assert_names(error.message, "layer -1|blocks = 2");
    layer = 4;
    assert_int_equal(vision->encode(o.instance, &batch, &error), MORE_ERROR_ARGUMENT);
    assert_names(error.message, "layer 4|3 blocks");
    layer = 0;
    pixels->shape[1] = 27;
    assert_int_equal(vision->encode(o.instance, &batch, &error), MORE_ERROR_ARGUMENT);
    assert_names(error.message, "pixels of image 0|[3, 28, 28]|27");
    pixels->shape[1] = 28;
    parity_host_cancel(true);
    assert_int_equal(vision->encode(o.instance, &batch, &error), MORE_ERROR_CANCELLED);
    parity_host_cancel(false);
    close_opened(&o);
    folder_free(&folder);
    parity_tensor_free(pixels);
    parity_tensor_free(features);
    parity_host_close();
}

static void llama_says(void **state)
{
    test_folder folder = folder_llama(2);
    more_language_info info = {.struct_size = MORE_STRUCT_SIZE(more_language_info, weight_formats)};
    opened o;

    (void)state;
    folder_config(&folder, "bos_token_id", "128000");
    folder_config(&folder, "eos_token_id", "128001");
    folder_write(&folder);
    o = open_folder(LLAMA, &folder, MORE_OPEN_METADATA_ONLY, parity_host(1), NULL, NULL);
    ((const more_language_interface *)o.interface)->describe(o.instance, &info);
    assert_int_equal(info.vocabulary, 50);
    assert_int_equal(info.width, 16);
    assert_int_equal(info.context, 8192);
    assert_int_equal(info.layers, 2);
    assert_int_equal(info.stop_count, 1);
    assert_int_equal(info.stop_ids[0], 128001);
    assert_string_equal(info.template_name, "llama_3_1_reasoning");
    assert_null(info.template_text);
    close_opened(&o);
    folder_free(&folder);
    parity_host_close();
}

/* ---- The cost of a fork ----------------------------------------------------------------------------------------- */

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Bytes in use of the host's memory service and of malloc. */
static size_t bytes_in_use(void)
{
    return parity_host_bytes() + mallinfo2().uordblks;
}

static void advance(const opened *o, more_session *session, int64_t count)
{
    const more_language_interface *language = o->interface;
    int32_t *ids = calloc((size_t)count, sizeof *ids);
    more_segment segment = {.ids = ids, .count = count};
    more_advance item = {.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                         .session = session,
                         .segments = &segment,
                         .segment_count = 1};

    assert_non_null(ids);
    for (int64_t i = 0; i < count; i++)
        ids[i] = (int32_t)(i % 50);
    if (language->advance(o->instance, &item, 1))
        fail_msg("%s", item.error.message);
    free(ids);
}

/* 32 layers, as LLaMA-3.1-8B has, and 4,096 rows: the fork itself, and its first step, which copies one page a layer.
 */
static void fork_cost(void **state)
{
    test_folder folder = folder_llama(32);
    const more_host *host = parity_host(2);
    const more_language_interface *language;
    more_session *session, *forks[8];
    double best = 1e9;
    size_t before, step;
    opened o;

    (void)state;
    folder_write(&folder);
    o = open_folder(LLAMA, &folder, MORE_OPEN_DEFAULT, host, NULL, NULL);
    assert_int_equal(o.status, MORE_OK);
    language = o.interface;
    assert_int_equal(language->session_create(o.instance, 4096, &session, NULL), MORE_OK);
    for (int i = 0; i < 8; i++)
        advance(&o, session, 512);
    before = bytes_in_use();
    for (int i = 0; i < 8; i++) {
        double start = milliseconds(), spent;
        assert_int_equal(language->session_fork(session, &forks[i], NULL), MORE_OK);
        spent = milliseconds() - start;
        best = spent < best ? spent : best;
    }
    print_message("a fork at 4,096 rows and 32 layers: %.3f ms, %zu bytes\n", best, (bytes_in_use() - before) / 8);
    assert_true((bytes_in_use() - before) / 8 < 1 << 20);
    assert_true(best < 1);
    before = bytes_in_use();
    advance(&o, forks[0], 1);
    step = bytes_in_use() - before;
    print_message("its first row: %zu bytes of %zu that the cache holds\n", step,
                  (size_t)language->kv_bytes(o.instance, 4096));
    assert_true(step < (size_t)language->kv_bytes(o.instance, 4096) / 16);
    for (int i = 0; i < 8; i++)
        language->session_destroy(forks[i]);
    language->session_destroy(session);
    close_opened(&o);
    assert_int_equal(parity_host_bytes(), 0);
    folder_free(&folder);
    parity_host_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors),      cmocka_unit_test(one_symbol),
        cmocka_unit_test(recognise),        cmocka_unit_test(other_devices),
        cmocka_unit_test(weight_estimates), cmocka_unit_test(metadata_only_refuses_to_run),
        cmocka_unit_test(clip_says),        cmocka_unit_test(clip_loads_some_blocks),
        cmocka_unit_test(llama_says),       cmocka_unit_test(fork_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
