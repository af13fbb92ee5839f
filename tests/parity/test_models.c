/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIP features at every layer, projector outputs, and LLaMA's logits, hidden states, mixed inputs and 128 greedy
 * tokens against transformers in float32, through the plugins' own .so files. Prints the largest errors.
 */
#include "language.h"
#include "parity.h"

#include "weights/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_STATES 16

static void report(const char *name, const char *what, const parity_error *worst)
{
    print_message("%-20s %-14s %.1e of the largest magnitude, %.1e relative RMS a row\n", name, what, worst->absolute,
                  worst->row);
}

/* Calls `body` for each case of a kind; its folder is under models/. */
static void each_case(const char *kind, void (*body)(const more_host *host, const char *name))
{
    const more_host *host = parity_host(2);
    json_t *cases = parity_json("models/cases.json"), *one;
    size_t i, found = 0;

    json_array_foreach(cases, i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "kind")), kind))
            continue;
        body(host, json_string_value(json_object_get(one, "name")));
        found++;
    }
    json_decref(cases);
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
    assert_true(found >= 3);
}

static more_checkpoint *open_reference(const char *name)
{
    more_checkpoint *reference;
    more_error error = {""};
    char relative[256];

    snprintf(relative, sizeof relative, "models/%s/ref.safetensors", name);
    if (core_checkpoint_open(parity_path(relative), &reference, &error))
        fail_msg("%s", error.message);
    return reference;
}

static const char *folder_of(const char *name)
{
    char relative[256];
    snprintf(relative, sizeof relative, "models/%s", name);
    return parity_path(relative);
}

/* ---- CLIP ------------------------------------------------------------------------------------------------------- */

typedef struct clip_case {
    const more_vision_interface *interface;
    more_vision *vision;
    more_vision_info info;
    int64_t images;
    more_tensor pixels[8];
    int64_t pixel_shape[3], pixel_strides[3];
    more_vision_plan plans[8];
} clip_case;

static void encode(const clip_case *clip, int64_t first, int64_t images, const int32_t *layers, int32_t layer_count,
                   more_select select, more_tensor *features)
{
    int64_t counts[8];
    more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts),
                               .images = images,
                               .pixels = clip->pixels + first,
                               .plans = clip->plans + first,
                               .layers = layers,
                               .layer_count = layer_count,
                               .select = select,
                               .features = features,
                               .counts = counts};
    more_error error = {""};

    if (clip->interface->encode(clip->vision, &batch, &error))
        fail_msg("%s", error.message);
    for (int64_t i = 0; i < images; i++)
        assert_int_equal(counts[i], clip->plans[i].tokens - (select == MORE_SELECT_PATCH ? 1 : 0));
}

/* Every state at once, class token included, against the reference. */
static void compare_states(const clip_case *clip, const char *name, more_checkpoint *reference)
{
    int32_t layers[MAX_STATES], states = (int32_t)clip->info.layers + 1;
    int64_t tokens = clip->plans[0].tokens, width = clip->info.feature_width;
    parity_tensor *outputs[MAX_STATES];
    more_tensor features[MAX_STATES];
    parity_error worst = {0, 0};

    assert_true(states <= MAX_STATES);
    for (int32_t i = 0; i < states; i++) {
        layers[i] = i % 2 ? i : i - states; /* half of them counted from the end */
        outputs[i] = parity_tensor_create(3, clip->images, tokens, width);
        features[i] = outputs[i]->view;
    }
    encode(clip, 0, clip->images, layers, states, MORE_SELECT_CLS_PATCH, features);
    for (int32_t i = 0; i < states; i++) {
        char tensor[32];
        int64_t shape[MORE_MAX_RANK];
        snprintf(tensor, sizeof tensor, "hidden_%d", (int)i);
        float *wanted = parity_floats(reference, tensor, shape);
        assert_int_equal(shape[0], clip->images);
        assert_int_equal(shape[1], tokens);
        assert_int_equal(shape[2], width);
        parity_compare(tensor, outputs[i]->data, wanted, clip->images * tokens, width, &worst);
        free(wanted);
        parity_tensor_free(outputs[i]);
    }
    report(name, "features", &worst);
}

/* One image alone, one layer, patches only, into rows to spare: the same bits as in the batch, zeros behind them. */
static void compare_alone(const clip_case *clip)
{
    int64_t tokens = clip->plans[0].tokens, width = clip->info.feature_width, last = clip->images - 1;
    const int32_t layer = -2;
    parity_tensor *all = parity_tensor_create(3, clip->images, tokens, width);
    parity_tensor *alone = parity_tensor_create(3, 1, tokens + 2, width);

    encode(clip, 0, clip->images, &layer, 1, MORE_SELECT_CLS_PATCH, &all->view);
    encode(clip, last, 1, &layer, 1, MORE_SELECT_PATCH, &alone->view);
    assert_memory_equal(alone->data, all->data + (last * tokens + 1) * width,
                        (size_t)((tokens - 1) * width) * sizeof(float));
    for (int64_t i = (tokens - 1) * width; i < (tokens + 2) * width; i++)
        assert_true(alone->data[i] == 0);
    parity_tensor_free(all);
    parity_tensor_free(alone);
}

static void run_clip(const more_host *host, const char *name)
{
    const more_plugin *plugin = parity_plugin("vision/clip");
    clip_case clip = {.interface = plugin->get_interface(MORE_VISION_INTERFACE)};
    parity_checkpoint checkpoint = parity_checkpoint_open(folder_of(name), NULL, clip.interface->tensor_map());
    more_checkpoint *reference = open_reference(name);
    int64_t shape[MORE_MAX_RANK];
    float *pixels = parity_floats(reference, "pixels", shape);
    more_error error = {""};

    if (clip.interface->open(parity_arguments(plugin, host, checkpoint.view, MORE_OPEN_DEFAULT, NULL, NULL),
                             &clip.vision, &error))
        fail_msg("%s: %s", name, error.message);
    clip.info.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats);
    clip.interface->describe(clip.vision, &clip.info);
    assert_int_equal(clip.info.image_size, shape[2]);
    clip.images = shape[0];
    assert_true(clip.images <= 8);
    memcpy(clip.pixel_shape, shape + 1, sizeof clip.pixel_shape);
    for (int64_t i = 0; i < clip.images; i++) {
        clip.pixels[i] =
            more_host_tensor(pixels + i * 3 * shape[2] * shape[3], more_f32(), 3, clip.pixel_shape, clip.pixel_strides);
        clip.plans[i].struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens);
        assert_int_equal(clip.interface->plan(clip.vision, 640, 480, &clip.plans[i], NULL), MORE_OK);
    }
    compare_states(&clip, name, reference);
    compare_alone(&clip);
    free(pixels);
    clip.interface->close(clip.vision);
    core_checkpoint_release(reference);
    parity_checkpoint_close(&checkpoint);
}

static void clip_features(void **state)
{
    (void)state;
    each_case("clip", run_clip);
}

/* ---- Projector -------------------------------------------------------------------------------------------------- */

static void run_projector(const more_host *host, const char *name)
{
    const more_plugin *plugin = parity_plugin("projector/mlp");
    const more_projector_interface *interface = plugin->get_interface(MORE_PROJECTOR_INTERFACE);
    parity_checkpoint checkpoint =
        parity_checkpoint_open(folder_of(name), "model.mm_projector.", interface->tensor_map());
    more_checkpoint *reference = open_reference(name);
    int64_t in[MORE_MAX_RANK], out[MORE_MAX_RANK], tokens = 0;
    float *input = parity_floats(reference, "input", in), *wanted = parity_floats(reference, "output", out);
    int64_t strides[2];
    more_tensor features = more_host_tensor(input, more_f32(), 2, in, strides);
    parity_tensor *output = parity_tensor_create(2, out[0], out[1], 1);
    more_projection projection = {.struct_size = MORE_STRUCT_SIZE(more_projection, tokens),
                                  .grid = {in[0] - 1, 1, 1},
                                  .features = &features,
                                  .tokens = &output->view};
    more_projector *projector;
    parity_error worst = {0, 0};
    more_error error = {""};

    if (interface->open(parity_arguments(plugin, host, checkpoint.view, MORE_OPEN_DEFAULT, NULL, NULL), in[1], out[1],
                        &projector, &error) ||
        interface->plan(projector, &projection.grid, &tokens, &error))
        fail_msg("%s: %s", name, error.message);
    assert_int_equal(tokens, out[0]);
    if (interface->project(projector, &projection, &error))
        fail_msg("%s: %s", name, error.message);
    parity_compare(name, output->data, wanted, out[0], out[1], &worst);
    report(name, "output", &worst);
    interface->close(projector);
    parity_tensor_free(output);
    free(input);
    free(wanted);
    core_checkpoint_release(reference);
    parity_checkpoint_close(&checkpoint);
}

static void projector_output(void **state)
{
    (void)state;
    each_case("projector", run_projector);
}

/* ---- LLaMA ------------------------------------------------------------------------------------------------------ */

/* One prefill with the logits of every row and every hidden state. */
static void compare_prefill(const parity_language *language)
{
    int64_t count, width = language->info.width, vocabulary = language->info.vocabulary;
    int32_t *ids = parity_ids(language->reference, "input_ids", &count);
    int32_t states = (int32_t)language->info.layers + 1, layers[MAX_STATES];
    float *wanted = parity_floats(language->reference, "logits", NULL);
    more_session *session = parity_session(language);
    parity_tensor *outputs[MAX_STATES];
    more_tensor hidden[MAX_STATES];
    parity_error logits = {0, 0}, features = {0, 0};
    parity_item item;

    assert_true(states <= MAX_STATES);
    for (int32_t i = 0; i < states; i++) {
        layers[i] = i % 2 ? i : i - states;
        outputs[i] = parity_tensor_create(2, count, width, 1);
        hidden[i] = outputs[i]->view;
    }
    parity_item_set(language, session, ids, count, count, &item);
    item.item.hidden_layers = layers;
    item.item.hidden_count = states;
    item.item.hidden = hidden;
    if (language->interface->advance(language->model, &item.item, 1))
        fail_msg("%s: %s", language->name, item.item.error.message);
    parity_compare("logits", item.logits->data, wanted, count, vocabulary, &logits);
    free(wanted);
    for (int32_t i = 0; i < states; i++) {
        char tensor[32];
        snprintf(tensor, sizeof tensor, i + 1 < states ? "hidden_%d" : "hidden_%d_raw", (int)i);
        wanted = parity_floats(language->reference, tensor, NULL);
        parity_compare(tensor, outputs[i]->data, wanted, count, width, &features);
        free(wanted);
        parity_tensor_free(outputs[i]);
    }
    report(language->name, "logits", &logits);
    report(language->name, "hidden states", &features);
    parity_item_clear(&item);
    parity_drop(language, session);
    free(ids);
}

static void llama_logits(void **state)
{
    (void)state;
    parity_each_language(compare_prefill);
}

static void compare_greedy(const parity_language *language)
{
    int64_t count, steps;
    int32_t *ids = parity_ids(language->reference, "input_ids", &count);
    int32_t *wanted = parity_ids(language->reference, "greedy_ids", &steps);
    float *logits = malloc((size_t)language->info.vocabulary * sizeof *logits);
    more_session *session = parity_session(language);

    assert_non_null(logits);
    assert_int_equal(steps, 128);
    parity_advance(language, session, ids, count, 1, logits);
    for (int64_t i = 0; i < steps; i++) {
        int32_t id = parity_argmax(logits, language->info.vocabulary);
        if (id != wanted[i])
            fail_msg("%s: greedy token %d is %d, the reference's %d", language->name, (int)i, (int)id, (int)wanted[i]);
        parity_advance(language, session, &id, 1, 1, logits);
    }
    assert_int_equal(parity_length(language, session), count + steps);
    parity_drop(language, session);
    free(logits);
    free(ids);
    free(wanted);
}

static void llama_greedy(void **state)
{
    (void)state;
    parity_each_language(compare_greedy);
}

/* Ids, embedding rows and ids again in one call. */
static void compare_mixed(const parity_language *language)
{
    int64_t before, after, shape[MORE_MAX_RANK], strides[2], total;
    int32_t *prefix = parity_ids(language->reference, "mixed_prefix_ids", &before);
    int32_t *suffix = parity_ids(language->reference, "mixed_suffix_ids", &after);
    float *rows = parity_floats(language->reference, "mixed_rows", shape);
    float *wanted = parity_floats(language->reference, "mixed_logits", NULL);
    more_tensor view = more_host_tensor(rows, more_f32(), 2, shape, strides);
    more_segment segments[3] = {
        {.ids = prefix, .count = before}, {.rows = &view, .count = shape[0]}, {.ids = suffix, .count = after}};
    more_session *session = parity_session(language);
    parity_error worst = {0, 0};
    parity_item item;

    total = before + shape[0] + after;
    parity_item_set(language, session, NULL, total, total, &item);
    item.item.segments = segments;
    item.item.segment_count = 3;
    if (language->interface->advance(language->model, &item.item, 1))
        fail_msg("%s: %s", language->name, item.item.error.message);
    parity_compare("mixed_logits", item.logits->data, wanted, total, language->info.vocabulary, &worst);
    report(language->name, "mixed input", &worst);
    parity_item_clear(&item);
    parity_drop(language, session);
    free(prefix);
    free(suffix);
    free(rows);
    free(wanted);
}

static void llama_mixed(void **state)
{
    (void)state;
    parity_each_language(compare_mixed);
}

/* embed() gives the rows that advance() starts from. */
static void compare_embed(const parity_language *language)
{
    int64_t count;
    int32_t *ids = parity_ids(language->reference, "input_ids", &count);
    float *wanted = parity_floats(language->reference, "hidden_0", NULL);
    parity_tensor *rows = parity_tensor_create(2, count, language->info.width, 1);
    more_error error = {""};

    if (language->interface->embed(language->model, ids, count, &rows->view, &error))
        fail_msg("%s: %s", language->name, error.message);
    assert_memory_equal(rows->data, wanted, (size_t)(count * language->info.width) * sizeof *wanted);
    parity_tensor_free(rows);
    free(ids);
    free(wanted);
}

static void llama_embed(void **state)
{
    (void)state;
    parity_each_language(compare_embed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_features), cmocka_unit_test(projector_output), cmocka_unit_test(llama_embed),
        cmocka_unit_test(llama_logits),  cmocka_unit_test(llama_mixed),      cmocka_unit_test(llama_greedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
