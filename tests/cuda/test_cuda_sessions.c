/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions of a language model on CUDA devices when things go wrong there, or layers lie in several places: a failure
 * is told to the call that it happened in and leaves the others, in this thread and in others, done and right.
 */
#include "../parity/language.h"

#include <llavamore/cuda.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL "llama-mha"
#define ROWS 40

/* ---- A host whose device memory runs out at will ---------------------------------------------------------------- */

static const void *(*get_real)(const more_host *host, const char *id);
static const more_cuda_service *real_cuda;
static const more_progress_service *real_progress;
static more_cuda_service cuda;
static more_progress_service progress;
static const char *missing; /* what the next allocation is refused for; NULL = nothing */
static void (*at_layer)(void);

static more_status allocate(const more_host *host, int32_t device, more_cuda_stream stream, size_t bytes,
                            const char *what, void **memory, more_error *error)
{
    if (missing && !strcmp(missing, what)) {
        missing = NULL;
        *memory = NULL;
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %s, says the test", what);
    }
    return real_cuda->allocate(host, device, stream, bytes, what, memory, error);
}

/* Asked between layers. */
static bool cancelled(const more_host *host)
{
    if (at_layer)
        at_layer();
    return real_progress->cancelled(host);
}

static const void *get_service(const more_host *host, const char *id)
{
    return !strcmp(id, MORE_CUDA_SERVICE) ? &cuda : !strcmp(id, MORE_PROGRESS_SERVICE) ? &progress : get_real(host, id);
}

static const more_host *open_host(void)
{
    more_host *host = (more_host *)(uintptr_t)parity_host(2);
    get_real = host->get_service;
    real_cuda = get_real(host, MORE_CUDA_SERVICE);
    real_progress = get_real(host, MORE_PROGRESS_SERVICE);
    cuda = *real_cuda;
    cuda.allocate = allocate;
    progress = *real_progress;
    progress.cancelled = cancelled;
    host->get_service = get_service;
    return host;
}

/* ---- The model --------------------------------------------------------------------------------------------------- */

static parity_language language;
static int32_t ids[ROWS];

static int open_model(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++)
        ids[i] = i % 7;
    parity_language_open(open_host(), "llm/llama", MODEL, "f32", &language);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    parity_language_close(&language);
    parity_host_close();
    return 0;
}

static float *wanted_logits(void)
{
    float *logits = malloc((size_t)language.info.vocabulary * sizeof *logits);
    more_session *session = parity_session(&language);
    parity_advance(&language, session, ids, ROWS, 1, logits);
    parity_drop(&language, session);
    return logits;
}

static void expect_right(const parity_item *item, const float *wanted)
{
    parity_same(item->logits->data, wanted, 1, language.info.vocabulary);
}

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

/* One item's cache finds no memory: it says so in the device's words and is as before; the other is done, and the next
 * call knows nothing of it. */
static void failed_reservation(void **state)
{
    (void)state;
    float *wanted = wanted_logits();
    more_session *sessions[2] = {parity_session(&language), parity_session(&language)};
    parity_item items[2];
    more_advance list[2];
    for (int i = 0; i < 2; i++) {
        parity_item_set(&language, sessions[i], ids, ROWS, 1, &items[i]);
        list[i] = items[i].item;
    }
    missing = "the key-value cache";
    assert_int_equal(language.interface->advance(language.model, list, 2), MORE_ERROR_MEMORY);
    assert_int_equal(list[0].status, MORE_ERROR_MEMORY);
    assert_non_null(strstr(list[0].error.message, "says the test"));
    assert_int_equal(parity_length(&language, sessions[0]), 0);
    assert_int_equal(list[1].status, MORE_OK);
    expect_right(&items[1], wanted);
    missing = "the key-value cache"; /* alone: nothing else runs in that call */
    assert_int_equal(language.interface->advance(language.model, list, 1), MORE_ERROR_MEMORY);
    assert_int_equal(language.interface->advance(language.model, list, 1), MORE_OK);
    expect_right(&items[0], wanted);
    for (int i = 0; i < 2; i++) {
        parity_item_clear(&items[i]);
        parity_drop(&language, sessions[i]);
    }
    free(wanted);
}

static more_session *other_session;
static more_status other_status;

static void *advance_other(void *argument)
{
    parity_item item;
    parity_item_set(&language, other_session, ids, ROWS, 1, &item);
    other_status = language.interface->advance(language.model, &item.item, 1);
    if (!other_status)
        expect_right(&item, argument);
    parity_item_clear(&item);
    return NULL;
}

static float *other_wanted;

/* Once the first thread's attention was left out, a whole call of another thread. */
static void call_in_another_thread(void)
{
    pthread_t thread;
    if (missing)
        return;
    at_layer = NULL;
    assert_int_equal(pthread_create(&thread, NULL, advance_other, other_wanted), 0);
    pthread_join(thread, NULL);
}

static void failure_of_its_own_thread(void **state)
{
    (void)state;
    float *wanted = other_wanted = wanted_logits();
    more_session *session = parity_session(&language);
    parity_item item;
    other_session = parity_session(&language);
    other_status = MORE_ERROR_INTERNAL;
    parity_item_set(&language, session, ids, ROWS, 1, &item);
    missing = "attention";
    at_layer = call_in_another_thread;
    assert_int_equal(language.interface->advance(language.model, &item.item, 1), MORE_ERROR_MEMORY);
    assert_int_equal(parity_length(&language, session), 0);
    assert_int_equal(other_status, MORE_OK);
    parity_item_clear(&item);
    parity_drop(&language, session);
    parity_drop(&language, other_session);
    free(wanted);
}

/* A cache that the device does not take is refused before weights are loaded, and nothing is left there. */
static void refused_before_loading(void **state)
{
    (void)state;
    more_cuda_info info = {.struct_size = sizeof info};
    more_error error = {""};
    more_language *model;
    const more_host *host = open_host();
    const more_plugin *plugin = parity_plugin("llm/llama");
    const more_language_interface *interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE);
    parity_checkpoint checkpoint = parity_checkpoint_open(parity_path("models/" MODEL), NULL, interface->tensor_map());
    assert_int_equal(
        interface->open(parity_arguments(plugin, host, checkpoint.view, MORE_OPEN_DEFAULT, "kv_cache", "q8"), &model,
                        &error),
        MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "q8"));
    assert_int_equal(real_cuda->describe(host, 0, &info, NULL), MORE_OK);
    assert_true(info.peak_bytes < 4096);
    assert_int_equal(info.used_bytes + info.cached_bytes, 0);
    parity_checkpoint_close(&checkpoint);
    parity_host_close();
}

/* ---- Layers in several places ------------------------------------------------------------------------------------ */

typedef struct spread {
    DLDevice devices[2];
    int32_t layer_devices[4]; /* of the model's two layers, and of some that it lacks */
} spread;

/* Logits and the hidden states of the first layer. */
static void run_spread(const spread *over, float *logits, parity_tensor **hidden)
{
    more_error error = {""};
    const int32_t layers[] = {1};
    const more_host *host = open_host();
    const more_plugin *plugin = parity_plugin("llm/llama");
    parity_item item;
    language = (parity_language){.name = MODEL, .interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE)};
    language.checkpoint = parity_checkpoint_open(parity_path("models/" MODEL), NULL, language.interface->tensor_map());
    more_open arguments =
        *parity_arguments(plugin, host, language.checkpoint.view, MORE_OPEN_DEFAULT, "arithmetic", "exact");
    arguments.devices = over->devices;
    arguments.device_count = 2;
    arguments.layer_devices = over->layer_devices;
    arguments.layer_count = 4;
    if (language.interface->open(&arguments, &language.model, &error))
        fail_msg("%s", error.message);
    language.info.struct_size = sizeof language.info;
    language.interface->describe(language.model, &language.info);
    more_session *session = parity_session(&language);
    parity_item_set(&language, session, ids, ROWS, 1, &item);
    *hidden = parity_tensor_create(2, ROWS, language.info.width, 1);
    item.item.hidden_layers = layers;
    item.item.hidden_count = 1;
    item.item.hidden = &(*hidden)->view;
    if (language.interface->advance(language.model, &item.item, 1))
        fail_msg("%s", item.item.error.message);
    memcpy(logits, item.logits->data, (size_t)language.info.vocabulary * sizeof *logits);
    parity_item_clear(&item);
    parity_drop(&language, session);
    language.interface->close(language.model);
    parity_checkpoint_close(&language.checkpoint);
    parity_host_close();
}

static void layers_in_several_places(void **state)
{
    (void)state;
    static const spread spreads[] = {
        {{{kDLCPU, 0}, {kDLCUDA, 0}}, {0, 0, 0, 0}},  {{{kDLCUDA, 0}, {kDLCUDA, 1}}, {1, 1, 1, 1}},
        {{{kDLCUDA, 0}, {kDLCUDA, 1}}, {1, 0, 1, 0}}, {{{kDLCUDA, 1}, {kDLCPU, 0}}, {0, 1, 1, 1}},
        {{{kDLCUDA, 0}, {kDLCPU, 0}}, {1, 1, 1, 1}},  {{{kDLCPU, 0}, {kDLCUDA, 1}}, {1, 0, 0, 0}}};
    enum { MOST_VOCABULARY = 4096 };
    static float wanted[MOST_VOCABULARY], got[MOST_VOCABULARY];
    parity_tensor *wanted_hidden, *hidden;
    for (int i = 0; i < ROWS; i++)
        ids[i] = i % 7;
    run_spread(&spreads[0], wanted, &wanted_hidden); /* all on the CPU */
    assert_true(language.info.vocabulary <= MOST_VOCABULARY);
    for (size_t i = 1; i < sizeof spreads / sizeof *spreads; i++) {
        run_spread(&spreads[i], got, &hidden);
        parity_same(got, wanted, 1, language.info.vocabulary);
        parity_same(hidden->data, wanted_hidden->data, ROWS, language.info.width);
        parity_tensor_free(hidden);
    }
    parity_tensor_free(wanted_hidden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(failed_reservation, open_model, close_model),
        cmocka_unit_test_setup_teardown(failure_of_its_own_thread, open_model, close_model),
        cmocka_unit_test(refused_before_loading), cmocka_unit_test(layers_in_several_places)};
    setenv("LLAVAMORE_TEST_CUDA", "0", 1);
    setenv("LLAVAMORE_TEST_PLUGINS", "tests/cudaemu/plugins", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
