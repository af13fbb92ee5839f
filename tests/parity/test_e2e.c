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
    const char *name; /* folder under tests/parity/data: "pairs/clip-llama" */
    json_t *facts;    /* its case.json */
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

/* The settings of case.json; whatever names a file is relative to tests/parity/data. */
static void set_case(e2e_run *run)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(run->facts, "settings"), key, value)
    {
        const char *text = json_string_value(value);
        bool is_path = strchr(text, '/');
        set(run, key, is_path ? parity_path(text) : text);
    }
}

/* On the device that LLAVAMORE_TEST_CUDA numbers, in f32 as the references are; see tests/cuda/parity. */
static void set_device(e2e_run *run)
{
    const char *number = getenv("LLAVAMORE_TEST_CUDA");
    char device[32];
    if (!number)
        return;
    snprintf(device, sizeof device, "cuda:%s", number);
    set(run, "runtime.device", device);
    set(run, "vision.arithmetic", "exact");
    set(run, "projector.arithmetic", "exact");
    set(run, "llm.arithmetic", "exact");
}

static void open_model(e2e_run *run)
{
    more_error error = {{0}};
    run->settings = llavamore_settings_create(NULL);
    set_case(run);
    set_device(run);
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
    char image[4096];
    snprintf(image, sizeof image, "%s", parity_path(json_string_value(json_object_get(run->facts, "image"))));
    llavamore_image picture = {.path = image};
    llavamore_question question = {.text = json_string_value(json_object_get(run->facts, "question")),
                                   .images = &picture,
                                   .image_count = 1,
                                   .dump_folder = run->folder,
                                   .dump_layers = true};
    if (llavamore_chat_create(run->model, &chat, &error) != MORE_OK ||
        llavamore_chat_ask(chat, &question, answer, &error) != MORE_OK)
        fail_msg("%s: %s", run->name, error.message);
    llavamore_chat_destroy(chat);
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
    /* A reference may hold the first rows only. */
    assert_true(!strcmp(name, "logits") ? count >= (size_t)total : count == (size_t)total);
    if (exact)
        assert_memory_equal(got, wanted, (size_t)total * sizeof *wanted);
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

static void compare_stages(const e2e_run *run, more_checkpoint *reference, const llavamore_answer *answer)
{
    size_t count;
    core_buffer file = {0};
    compare_floats(run, reference, "pixels", true);
    compare_floats(run, reference, "features", false);
    compare_floats(run, reference, "visual_tokens", false);
    const int32_t *ids = dumped(run, "input_ids", &file, &count);
    compare_ids(run, reference, "input_ids", ids, count);
    compare_floats(run, reference, "logits", false);
    assert_int_equal(answer->token_count, STEPS);
    compare_ids(run, reference, "greedy_ids", answer->token_ids, STEPS);
    assert_int_equal(answer->completion_tokens, STEPS);
    assert_string_equal(answer->finish_reason, "length");
    core_buffer_free(&file);
}

static void run_case(const char *name)
{
    char relative[600];
    e2e_run run = {.name = name};
    llavamore_answer answer = {0};
    snprintf(relative, sizeof relative, "%s/case.json", name);
    run.facts = parity_json(relative);
    snprintf(relative, sizeof relative, "%s/ref.safetensors", name);
    parity_checkpoint reference = parity_checkpoint_open(parity_path(relative), NULL, NULL);
    open_model(&run);
    ask(&run, &answer);
    compare_stages(&run, reference.view, &answer);
    llavamore_answer_clear(&answer);
    close_model(&run);
    parity_checkpoint_close(&reference);
    json_decref(run.facts);
}

/* Every folder with a case.json under tests/parity/data/<state>. */
static void test_cases(void **state)
{
    const char *group = *state;
    struct dirent **entries;
    int count = scandir(parity_path(group), &entries, NULL, alphasort), run = 0;
    for (int i = 0; i < count; i++) {
        char name[512], relative[600];
        snprintf(name, sizeof name, "%s/%s", group, entries[i]->d_name);
        snprintf(relative, sizeof relative, "%s/case.json", name);
        free(entries[i]);
        if (access(parity_path(relative), F_OK))
            continue;
        run_case(name);
        run++;
    }
    free(entries);
    assert_true(run >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"official folders", test_cases, NULL, NULL, "e2e"},
        {"every encoder with every language model", test_cases, NULL, NULL, "pairs"},
    };
    return cmocka_run_group_tests_name("end to end", tests, NULL, NULL);
}
