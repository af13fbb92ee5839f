/* SPDX-License-Identifier: Apache-2.0
 *
 * Every folder of data/models against what transformers computes in float32, through the plugin's own .so: encoders'
 * features at every layer, projectors' outputs, and language models' logits, hidden states, mixed inputs and 128 greedy
 * tokens. Prints the largest errors.
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

/* Calls `body` for each case of a kind with a host of two threads. */
static void each_case(const char *kind, void (*body)(const more_host *host, const char *name, json_t *facts))
{
    const more_host *host = parity_host(2);
    parity_cases cases = parity_cases_of(kind);

    assert_true(cases.count >= 3);
    for (size_t i = 0; i < cases.count; i++)
        body(host, cases.names[i], cases.facts[i]);
    parity_cases_free(&cases);
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
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

/* ---- Vision ----------------------------------------------------------------------------------------------------- */

#define MAX_IMAGES 8

typedef struct vision_case {
    const char *name;
    const more_vision_interface *interface;
    more_vision *vision;
    more_vision_info info;
    more_checkpoint *reference;
    int64_t images, rows; /* rows of the longest image, prefix included */
    float *values[MAX_IMAGES];
    more_tensor pixels[MAX_IMAGES];
    int64_t shapes[MAX_IMAGES][MORE_MAX_RANK], strides[MAX_IMAGES][3];
    more_vision_plan plans[MAX_IMAGES];
} vision_case;

static void encode(const vision_case *own, int64_t first, int64_t images, const int32_t *layers, int32_t layer_count,
                   more_select select, more_tensor *features)
{
    int64_t counts[MAX_IMAGES];
    more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts),
                               .images = images,
                               .pixels = own->pixels + first,
                               .plans = own->plans + first,
                               .layers = layers,
                               .layer_count = layer_count,
                               .select = select,
                               .features = features,
                               .counts = counts};
    more_error error = {""};

    if (own->interface->encode(own->vision, &batch, &error))
        fail_msg("%s: %s", own->name, error.message);
    for (int64_t i = 0; i < images; i++) {
        const more_vision_plan *plan = &own->plans[first + i];
        assert_int_equal(counts[i], plan->tokens - (select == MORE_SELECT_PATCH ? plan->prefix_tokens : 0));
    }
}

/* One state of one image: its rows against the reference, zeros behind them. */
static void compare_image(const vision_case *own, int64_t image, int32_t state, const float *got, parity_error *worst)
{
    int64_t shape[MORE_MAX_RANK], tokens = own->plans[image].tokens, width = own->info.feature_width;
    char tensor[64];

    snprintf(tensor, sizeof tensor, "image_%d_hidden_%d", (int)image, (int)state);
    float *wanted = parity_floats(own->reference, tensor, shape);
    assert_int_equal(shape[0], tokens);
    assert_int_equal(shape[1], width);
    parity_compare(tensor, got, wanted, tokens, width, worst);
    for (int64_t i = tokens * width; i < own->rows * width; i++)
        assert_true(got[i] == 0);
    free(wanted);
}

/* Every state at once, prefix tokens included, of all images in one batch, against the reference. */
static void compare_states(const vision_case *own)
{
    int32_t layers[MAX_STATES], states = (int32_t)own->info.layers + 1;
    int64_t width = own->info.feature_width;
    parity_tensor *outputs[MAX_STATES];
    more_tensor features[MAX_STATES];
    parity_error worst = {0, 0};

    assert_true(states <= MAX_STATES);
    for (int32_t i = 0; i < states; i++) {
        layers[i] = i % 2 ? i : i - states; /* half of them counted from the end */
        outputs[i] = parity_tensor_create(3, own->images, own->rows, width);
        features[i] = outputs[i]->view;
    }
    encode(own, 0, own->images, layers, states, MORE_SELECT_CLS_PATCH, features);
    for (int32_t i = 0; i < states; i++) {
        for (int64_t k = 0; k < own->images; k++)
            compare_image(own, k, i, outputs[i]->data + k * own->rows * width, &worst);
        parity_tensor_free(outputs[i]);
    }
    report(own->name, "features", &worst);
}

/* One image alone, one layer, patches only, into rows to spare: the same bits as in the batch, zeros behind them. */
static void compare_alone(const vision_case *own)
{
    int64_t width = own->info.feature_width, last = own->images - 1, rows = own->rows;
    int64_t prefix = own->plans[last].prefix_tokens, patches = own->plans[last].tokens - prefix;
    const int32_t layer = -2;
    parity_tensor *all = parity_tensor_create(3, own->images, rows, width);
    parity_tensor *alone = parity_tensor_create(3, 1, rows + 2, width);

    encode(own, 0, own->images, &layer, 1, MORE_SELECT_CLS_PATCH, &all->view);
    encode(own, last, 1, &layer, 1, MORE_SELECT_PATCH, &alone->view);
    assert_memory_equal(alone->data, all->data + (last * rows + prefix) * width,
                        (size_t)(patches * width) * sizeof(float));
    for (int64_t i = patches * width; i < (rows + 2) * width; i++)
        assert_true(alone->data[i] == 0);
    parity_tensor_free(all);
    parity_tensor_free(alone);
}

/* The pictures of the case and their plans. A plan is asked for the picture's own size, or, where the encoder picks the
 * size, for that of "sizes" ([width, height] an image), which the reference was made from. */
static void read_pictures(vision_case *own, json_t *facts)
{
    json_t *sizes = json_object_get(facts, "sizes");

    own->images = json_integer_value(json_object_get(facts, "images"));
    assert_in_range(own->images, 1, MAX_IMAGES);
    for (int64_t i = 0; i < own->images; i++) {
        json_t *size = json_array_get(sizes, (size_t)i);
        char tensor[32];
        snprintf(tensor, sizeof tensor, "pixels_%d", (int)i);
        own->values[i] = parity_floats(own->reference, tensor, own->shapes[i]);
        own->pixels[i] = more_host_tensor(own->values[i], more_f32(), 3, own->shapes[i], own->strides[i]);
        int64_t width = size ? json_integer_value(json_array_get(size, 0)) : own->shapes[i][2];
        int64_t height = size ? json_integer_value(json_array_get(size, 1)) : own->shapes[i][1];
        own->plans[i].struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens);
        assert_int_equal(own->interface->plan(own->vision, width, height, &own->plans[i], NULL), MORE_OK);
        assert_int_equal(own->plans[i].pixel_width, own->shapes[i][2]);
        assert_int_equal(own->plans[i].pixel_height, own->shapes[i][1]);
        own->rows = own->plans[i].tokens > own->rows ? own->plans[i].tokens : own->rows;
    }
}

static void run_vision(const more_host *host, const char *name, json_t *facts)
{
    const more_plugin *plugin = parity_plugin(json_string_value(json_object_get(facts, "plugin")));
    vision_case own = {.name = name, .interface = plugin->get_interface(MORE_VISION_INTERFACE)};
    parity_checkpoint checkpoint = parity_checkpoint_open(folder_of(name), NULL, own.interface->tensor_map());
    more_error error = {""};

    if (own.interface->open(parity_arguments(plugin, host, checkpoint.view, MORE_OPEN_DEFAULT, NULL, NULL), &own.vision,
                            &error))
        fail_msg("%s: %s", name, error.message);
    own.info.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats);
    own.interface->describe(own.vision, &own.info);
    own.reference = open_reference(name);
    read_pictures(&own, facts);
    compare_states(&own);
    compare_alone(&own);
    for (int64_t i = 0; i < own.images; i++)
        free(own.values[i]);
    own.interface->close(own.vision);
    core_checkpoint_release(own.reference);
    parity_checkpoint_close(&checkpoint);
}

static void vision_features(void **state)
{
    (void)state;
    each_case("vision", run_vision);
}

/* ---- Projector -------------------------------------------------------------------------------------------------- */

/* The reference's rows lie as "grid" ([width, height]) behind "prefix_tokens" others; "prefix", where given, is what
 * the names in the file begin with. */
static void run_projector(const more_host *host, const char *name, json_t *facts)
{
    const more_plugin *plugin = parity_plugin(json_string_value(json_object_get(facts, "plugin")));
    json_t *grid = json_object_get(facts, "grid"), *prefix = json_object_get(facts, "prefix");
    const more_projector_interface *interface = plugin->get_interface(MORE_PROJECTOR_INTERFACE);
    parity_checkpoint checkpoint = parity_checkpoint_open(
        folder_of(name), prefix ? json_string_value(prefix) : "model.mm_projector.", interface->tensor_map());
    more_checkpoint *reference = open_reference(name);
    int64_t in[MORE_MAX_RANK], out[MORE_MAX_RANK], tokens = 0;
    float *input = parity_floats(reference, "input", in), *wanted = parity_floats(reference, "output", out);
    int64_t strides[2];
    more_tensor features = more_host_tensor(input, more_f32(), 2, in, strides);
    parity_tensor *output = parity_tensor_create(2, out[0], out[1], 1);
    more_projection projection = {.struct_size = MORE_STRUCT_SIZE(more_projection, tokens),
                                  .grid = {json_integer_value(json_array_get(grid, 0)),
                                           json_integer_value(json_array_get(grid, 1)),
                                           json_integer_value(json_object_get(facts, "prefix_tokens"))},
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

/* ---- Language ---------------------------------------------------------------------------------------------------- */

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

static void language_logits(void **state)
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

static void language_greedy(void **state)
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

static void language_mixed(void **state)
{
    (void)state;
    parity_each_language(compare_mixed);
}

/* embed() gives the rows as stored, without the scaling that some models add. */
static void compare_embed(const parity_language *language)
{
    int64_t count;
    int32_t *ids = parity_ids(language->reference, "input_ids", &count);
    float *wanted = parity_floats(language->reference, "embedded", NULL);
    parity_tensor *rows = parity_tensor_create(2, count, language->info.width, 1);
    more_error error = {""};

    if (language->interface->embed(language->model, ids, count, &rows->view, &error))
        fail_msg("%s: %s", language->name, error.message);
    assert_memory_equal(rows->data, wanted, (size_t)(count * language->info.width) * sizeof *wanted);
    parity_tensor_free(rows);
    free(ids);
    free(wanted);
}

static void language_embed(void **state)
{
    (void)state;
    parity_each_language(compare_embed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vision_features), cmocka_unit_test(projector_output), cmocka_unit_test(language_embed),
        cmocka_unit_test(language_logits), cmocka_unit_test(language_mixed),   cmocka_unit_test(language_greedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
