/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole assemblies on a CUDA device, through the public API: the tiny models answer the shipped pictures' questions
 * with the references' tokens, as the CPU does; layers spread over two places and models on two devices answer alike;
 * and an allocation that fails, whichever it is, is an error and no more. Runs on the emulator of tests/cudaemu, and,
 * where the environment names another driver, on what that has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <jansson.h>
#include <llavamore.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SETTINGS = 12 };

/* Emulator only: the n-th device allocation from now on fails; 0 = none. How many there were. */
static void (*fail_allocation)(int64_t n);
static int64_t (*allocations)(void);

static json_t *runs;

static void *symbol(void *library, const char *name)
{
    return library ? dlsym(library, name) : NULL;
}

static int prepare(void **state)
{
    (void)state;
    const char *driver = getenv("LLAVAMORE_CUDA_DRIVER"), *source = getenv("srcdir");
    void *library = driver ? dlopen(driver, RTLD_NOW | RTLD_LOCAL) : NULL;
    char path[4096];
    *(void **)&fail_allocation = symbol(library, "cudaemu_fail_allocation");
    *(void **)&allocations = symbol(library, "cudaemu_allocations");
    snprintf(path, sizeof path, "%s/share/tiny/reference.json", source ? source : ".");
    runs = json_load_file(path, 0, NULL);
    if (!runs)
        print_error("%s: cannot be read\n", path);
    return runs ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    json_decref(runs);
    return 0;
}

/* ---- Asking ----------------------------------------------------------------------------------------------------- */

static const char *text_of(json_t *run, const char *key)
{
    return json_string_value(json_object_get(run, key));
}

/* `assignments` end with NULL. */
static more_status open_model(const char *preset, const char *const *assignments, llavamore_model **model,
                              more_error *error)
{
    llavamore_settings *settings = llavamore_settings_create(NULL);
    more_status status = llavamore_settings_load(settings, preset, error);
    *model = NULL;
    for (int i = 0; assignments[i] && status == MORE_OK; i++)
        status = llavamore_settings_set(settings, assignments[i], error);
    if (status == MORE_OK)
        status = llavamore_model_open(settings, LLAVAMORE_OPEN_DEFAULT, model, error);
    llavamore_settings_destroy(settings);
    return status;
}

static more_status ask(llavamore_model *model, json_t *run, llavamore_answer *answer, more_error *error)
{
    char path[4096];
    const char *source = getenv("srcdir"), *image = text_of(run, "image");
    llavamore_chat *chat;
    more_status status = llavamore_chat_create(model, &chat, error);
    snprintf(path, sizeof path, "%s/share/tiny/%s", source ? source : ".", image ? image : "");
    llavamore_image picture = {.path = path};
    llavamore_question question = {.text = text_of(run, "question"), .images = &picture, .image_count = image != NULL};
    if (status == MORE_OK)
        status = llavamore_chat_ask(chat, &question, answer, error);
    llavamore_chat_destroy(chat);
    return status;
}

static void expect_tokens(json_t *run, const llavamore_answer *answer)
{
    json_t *wanted = json_object_get(run, "generated_ids");
    assert_int_equal(answer->token_count, json_array_size(wanted));
    for (int32_t i = 0; i < answer->token_count; i++)
        assert_int_equal(answer->token_ids[i], json_integer_value(json_array_get(wanted, (size_t)i)));
}

static void expect_run(llavamore_model *model, json_t *run)
{
    more_error error = {""};
    llavamore_answer answer = {0};
    if (ask(model, run, &answer, &error) != MORE_OK)
        fail_msg("%s: %s", text_of(run, "question"), error.message);
    expect_tokens(run, &answer);
    llavamore_answer_clear(&answer);
}

static llavamore_model *opened(const char *preset, const char *const *assignments)
{
    more_error error = {""};
    llavamore_model *model;
    if (open_model(preset, assignments, &model, &error) != MORE_OK)
        fail_msg("%s: %s", preset, error.message);
    return model;
}

/* The first run of the preset at or after `index`; SIZE_MAX when there is none. */
static size_t run_of(const char *preset, size_t index)
{
    while (index < json_array_size(runs) && strcmp(text_of(json_array_get(runs, index), "preset"), preset) != 0)
        index++;
    return index < json_array_size(runs) ? index : SIZE_MAX;
}

/* Asks the first `count` questions of the preset. */
static void expect_runs(const char *preset, const char *const *assignments, int count)
{
    llavamore_model *model = opened(preset, assignments);
    size_t at = run_of(preset, 0);
    for (int i = 0; i < count && at != SIZE_MAX; i++, at = run_of(preset, at + 1))
        expect_run(model, json_array_get(runs, at));
    llavamore_model_close(model);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------ */

#define EXACT "vision.arithmetic=exact", "projector.arithmetic=exact", "llm.arithmetic=exact"

/* Every preset of the tiny models, in f32 arithmetic: every tower and every language model. */
static void references_tokens(void **state)
{
    (void)state;
    const char *const settings[] = {"runtime.device=cuda:0", EXACT, NULL};
    const char *last = "";
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const char *preset = text_of(json_array_get(runs, i), "preset");
        if (run_of(preset, 0) == i && strcmp(preset, last) != 0)
            expect_runs(preset, settings, 1);
        last = preset;
    }
}

/* Activations rounded to 16 bits, products on tensor cores, a 16-bit cache. */
static void rounded_activations(void **state)
{
    (void)state;
    const char *const settings[] = {"runtime.device=cuda:0", "llm.kv_cache=f16", NULL};
    expect_runs("tiny", settings, 4);
}

static void layers_in_two_places(void **state)
{
    (void)state;
    const char *const settings[] = {"runtime.device=cuda:0", EXACT, "llm.gpu_layers=1", NULL};
    expect_runs("tiny", settings, 2);
}

/* Two models at one time, each with a device of its own; then both on one. */
static void two_models(void **state)
{
    (void)state;
    const char *const settings[][5] = {{"runtime.device=cuda:0", EXACT, NULL}, {"runtime.device=cuda:1", EXACT, NULL}};
    for (int second = 1; second >= 0; second--) {
        llavamore_model *models[2] = {opened("tiny", settings[0]), opened("tiny", settings[second])};
        size_t at = run_of("tiny", 0);
        for (int i = 0; i < 4; i++, at = run_of("tiny", at + (i % 2 == 0)))
            expect_run(models[i % 2], json_array_get(runs, at));
        llavamore_model_close(models[1]);
        llavamore_model_close(models[0]);
    }
}

/* Opens and asks once; false and the status where that failed. */
static more_status try_once(const char *const *settings, json_t *run, more_error *error)
{
    llavamore_model *model;
    llavamore_answer answer = {0};
    more_status status = open_model("tiny", settings, &model, error);
    if (status == MORE_OK)
        status = ask(model, run, &answer, error);
    if (status == MORE_OK)
        expect_tokens(run, &answer);
    llavamore_answer_clear(&answer);
    llavamore_model_close(model);
    return status;
}

/* A failure is an error that names the device, or no loss: the allocator gave back what it kept and tried again. */
static void failing_allocations(void **state)
{
    (void)state;
    const char *const settings[] = {"runtime.device=cuda:0", EXACT, NULL};
    json_t *run = json_array_get(runs, run_of("tiny", 0));
    more_error error = {""};
    int failures = 0;
    if (!fail_allocation || !allocations)
        skip();
    int64_t before = allocations(), count;
    assert_int_equal(try_once(settings, run, &error), MORE_OK);
    count = allocations() - before;
    for (int64_t n = 1; n <= count; n++) {
        fail_allocation(allocations() + n);
        more_status status = try_once(settings, run, &error);
        fail_allocation(0);
        if (status == MORE_OK)
            continue;
        failures++;
        if (status != MORE_ERROR_MEMORY || !strstr(error.message, "cuda:0"))
            fail_msg("allocation %lld of %lld failed: status %d, %s", (long long)n, (long long)count, (int)status,
                     error.message);
    }
    print_message("%lld allocations, %d of which fail the call alone\n", (long long)count, failures);
    assert_true(failures > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(references_tokens), cmocka_unit_test(rounded_activations),
                                       cmocka_unit_test(layers_in_two_places), cmocka_unit_test(two_models),
                                       cmocka_unit_test(failing_allocations)};
    return cmocka_run_group_tests(tests, prepare, finish);
}
