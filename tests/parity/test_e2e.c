/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole pipeline through the public API, from an INI file and a picture to logits, against the independent Python
 * pipeline of tests/oracle: everything that --dump writes is compared with the reference of the same name.
 */
#include "parity.h"

#include "base/file.h"
#include "generate/npy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <llavamore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEPS 32 /* greedy tokens of a reference */

typedef struct e2e_run {
    const char *name; /* folder under tests/parity/data/e2e */
    char folder[64];  /* where the dump goes */
    llavamore_settings *settings;
    llavamore_model *model;
} e2e_run;

static void set(e2e_run *run, const char *key, const char *value)
{
    more_error error = {{0}};
    char assignment[4600];
    snprintf(assignment, sizeof assignment, "%s=%s", key, value);
    if (llavamore_settings_set(run->settings, assignment, &error) != MORE_OK)
        fail_msg("%s: %s", assignment, error.message);
}

static void open_model(e2e_run *run)
{
    more_error error = {{0}};
    char path[4096];
    run->settings = llavamore_settings_create(NULL);
    snprintf(path, sizeof path, "%s/e2e/%s/llava", parity_path(""), run->name);
    set(run, "llm.weights", path);
    set(run, "llm.template", "llama_3_1");
    set(run, "generate.max_new_tokens", "32");
    set(run, "generate.ignore_stop", "true");
    set(run, "runtime.batch", "19"); /* chunks that cut the image's rows */
    if (llavamore_model_open(run->settings, LLAVAMORE_OPEN_DEFAULT, &run->model, &error) != MORE_OK)
        fail_msg("%s: %s", run->name, error.message);
    snprintf(run->folder, sizeof run->folder, "/tmp/llavamore-e2e-XXXXXX");
    assert_non_null(mkdtemp(run->folder));
}

static void close_model(e2e_run *run)
{
    struct dirent *entry;
    DIR *folder = opendir(run->folder);
    while (folder && (entry = readdir(folder))) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", run->folder, entry->d_name);
        unlink(path);
    }
    if (folder)
        closedir(folder);
    rmdir(run->folder);
    llavamore_model_close(run->model);
    llavamore_settings_destroy(run->settings);
}

static void ask(e2e_run *run, llavamore_answer *answer)
{
    more_error error = {{0}};
    llavamore_chat *chat = NULL;
    char relative[256], image[4096];
    snprintf(relative, sizeof relative, "e2e/%s/case.json", run->name);
    json_t *description = parity_json(relative);
    snprintf(image, sizeof image, "%s/e2e/%s/%s", parity_path(""), run->name,
             json_string_value(json_object_get(description, "image")));
    llavamore_image picture = {.path = image};
    llavamore_question question = {.text = json_string_value(json_object_get(description, "question")),
                                   .images = &picture,
                                   .image_count = 1,
                                   .dump_folder = run->folder,
                                   .dump_layers = true};
    if (llavamore_chat_create(run->model, &chat, &error) != MORE_OK ||
        llavamore_chat_ask(chat, &question, answer, &error) != MORE_OK)
        fail_msg("%s: %s", run->name, error.message);
    llavamore_chat_destroy(chat);
    json_decref(description);
}

/* The elements of a dumped array behind its header. */
static const void *dumped(const e2e_run *run, const char *name, core_buffer *file, size_t *count)
{
    more_error error = {{0}};
    char path[256];
    snprintf(path, sizeof path, "%s/%s.npy", run->folder, name);
    core_buffer_clear(file);
    if (core_file_read(path, (size_t)64 << 20, file, &error) != MORE_OK)
        fail_msg("%s", error.message);
    assert_true(file->size > 10 && !memcmp(file->data, "\x93NUMPY\x01", 7));
    size_t start = 10 + (size_t)(unsigned char)file->data[8] + ((size_t)(unsigned char)file->data[9] << 8);
    assert_true(start <= file->size && start % 64 == 0);
    *count = (file->size - start) / 4;
    return file->data + start;
}

static void compare_floats(const e2e_run *run, more_checkpoint *reference, const char *name, bool exact)
{
    int64_t shape[MORE_MAX_RANK];
    size_t count;
    core_buffer file = {0};
    parity_error worst = {0};
    float *wanted = parity_floats(reference, name, shape);
    const float *got = dumped(run, name, &file, &count);
    int64_t total = shape[0] * shape[1] * shape[2], width = shape[2] > 1 ? shape[2] : shape[1];
    assert_int_equal(count, total);
    if (exact)
        assert_memory_equal(got, wanted, count * sizeof *wanted);
    parity_compare(name, got, wanted, total / width, width, &worst);
    print_message("%s: %s: largest error %.2g, largest row error %.2g\n", run->name, name, worst.absolute, worst.row);
    core_buffer_free(&file);
    free(wanted);
}

static void compare_ids(const e2e_run *run, more_checkpoint *reference, const char *name, const int32_t *got,
                        size_t count)
{
    int64_t wanted_count;
    int32_t *wanted = parity_ids(reference, name, &wanted_count);
    assert_int_equal(count, wanted_count);
    assert_memory_equal(got, wanted, count * sizeof *got);
    print_message("%s: %s: %zu equal\n", run->name, name, count);
    free(wanted);
}

static void test_case(void **state)
{
    e2e_run run = {.name = *state};
    llavamore_answer answer = {0};
    char relative[256];
    size_t count;
    core_buffer file = {0};
    snprintf(relative, sizeof relative, "e2e/%s/ref.safetensors", run.name);
    parity_checkpoint reference = parity_checkpoint_open(parity_path(relative), NULL, NULL);
    open_model(&run);
    ask(&run, &answer);
    compare_floats(&run, reference.view, "pixels", true);
    compare_floats(&run, reference.view, "features", false);
    compare_floats(&run, reference.view, "visual_tokens", false);
    const int32_t *ids = dumped(&run, "input_ids", &file, &count);
    compare_ids(&run, reference.view, "input_ids", ids, count);
    compare_floats(&run, reference.view, "logits", false);
    assert_int_equal(answer.token_count, STEPS);
    compare_ids(&run, reference.view, "greedy_ids", answer.token_ids, STEPS);
    assert_int_equal(answer.completion_tokens, STEPS);
    assert_string_equal(answer.finish_reason, "length");
    core_buffer_free(&file);
    llavamore_answer_clear(&answer);
    close_model(&run);
    parity_checkpoint_close(&reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"padded, f16 weights", test_case, NULL, NULL, "padded-f16"},
        {"cropped, bf16 weights", test_case, NULL, NULL, "cropped-bf16"},
    };
    return cmocka_run_group_tests_name("end to end", tests, NULL, NULL);
}
