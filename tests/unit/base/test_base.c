/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/host.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/suggest.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void buffers_grow_and_are_taken(void **state)
{
    (void)state;
    core_buffer buffer = {0};
    for (int i = 0; i < 1000; i++)
        core_buffer_format(&buffer, "%d,", i);
    assert_int_equal(buffer.size, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(buffer.data), buffer.size);
    char *text = core_buffer_take(&buffer);
    assert_memory_equal(text, "0,1,2,", 6);
    assert_null(buffer.data);
    free(text);
    core_buffer_append(&buffer, "x", SIZE_MAX / 2);
    assert_true(buffer.failed);
    assert_null(core_buffer_take(&buffer));
}

static void files_are_written_whole(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_base.XXXXXX";
    more_error error;
    core_buffer buffer = {0};
    assert_non_null(mkdtemp(folder));
    char *path = core_path_join(folder, "a.txt");
    assert_int_equal(core_file_write(path, "old", 3, &error), MORE_OK);
    assert_int_equal(core_file_write(path, "newer", 5, &error), MORE_OK);
    assert_int_equal(core_file_read(path, 5, &buffer, &error), MORE_OK);
    assert_string_equal(buffer.data, "newer");
    core_buffer_clear(&buffer);
    assert_int_equal(core_file_read(path, 4, &buffer, &error), MORE_ERROR_MEMORY);
    assert_non_null(strstr(error.message, path));
    core_map map = {0};
    assert_int_equal(core_map_open(path, &map, &error), MORE_OK);
    assert_int_equal(map.size, 5);
    core_map_close(&map);
    assert_int_equal(core_map_open(folder, &map, &error), MORE_ERROR_IO);
    assert_non_null(strstr(error.message, "is a folder"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(core_map_open(path, &map, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(rmdir(folder), 0);
    core_buffer_free(&buffer);
    free(path);
}

static void paths_are_joined(void **state)
{
    (void)state;
    const char *const cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "/b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = core_path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
    const char *const folders[][2] = {{"a/b", "a"}, {"b", "."}, {"/b", "/"}, {"/a/b", "/a"}};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = core_path_folder(folders[i][0]);
        assert_string_equal(path, folders[i][1]);
        free(path);
    }
}

static void json_is_reached_by_dotted_keys(void **state)
{
    (void)state;
    const char text[] = "{\"a\": {\"b\": [1, {\"c.d\": 7}, null]}, \"a.b\": 3}";
    more_error error;
    json_t *json = NULL;
    assert_int_equal(core_json_parse(text, strlen(text), "x.json", &json, &error), MORE_OK);
    assert_int_equal(json_integer_value(core_json_at(json, "a.b")), 3);
    assert_int_equal(json_integer_value(core_json_at(json, "a.b.0")), 1);
    assert_int_equal(json_integer_value(core_json_at(json, "a.b.1.c.d")), 7);
    assert_null(core_json_at(json, "a.b.2"));
    assert_null(core_json_at(json, "a.x.y"));
    json_decref(json);
    assert_int_equal(core_json_parse("{\"a\": }", 7, "x.json", &json, &error), MORE_ERROR_CORRUPT);
    assert_non_null(strstr(error.message, "x.json:1:"));
}

static void edit_distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(core_edit_distance("layer", "layer"), 0);
    assert_int_equal(core_edit_distance("lyaer", "layer"), 1);
    assert_int_equal(core_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(core_edit_distance("", "abc"), 3);
    assert_int_equal(core_edit_distance("abc", ""), 3);
    assert_int_equal(core_edit_distance("CA", "abc"), 3);
    assert_int_equal(core_edit_distance("Top_K", "top_k"), 0);
    char word[CORE_SUGGEST_LENGTH + 2];
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    assert_true(core_edit_distance(word, "x") == SIZE_MAX);
}

static void the_nearest_name_is_suggested(void **state)
{
    (void)state;
    const char *const names[] = {"weights", "layer", "select", "plugin"};
    const char *const cases[][2] = {{"lyaer", "layer"},  {"weight", "weights"}, {"selekt", "select"},
                                    {"banana", NULL},    {"x", NULL},           {"", NULL},
                                    {"Plugin", "plugin"}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        core_suggest nearest = core_suggest_for(cases[c][0]);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            core_suggest_offer(&nearest, names[i]);
        if (cases[c][1])
            assert_string_equal(nearest.best, cases[c][1]);
        else
            assert_null(nearest.best);
    }
    core_suggest nearest = core_suggest_for("lyaer");
    assert_string_equal(core_suggest_text(&nearest), "");
    core_suggest_offer(&nearest, "layer");
    assert_string_equal(core_suggest_text(&nearest), " (did you mean 'layer'?)");
}

static void memory_is_aligned_and_counted(void **state)
{
    (void)state;
    core_memory memory = {0};
    const size_t sizes[] = {0, 1, 63, 64, 65, 4096, CORE_HUGE_BLOCK - 1, CORE_HUGE_BLOCK, CORE_HUGE_BLOCK * 2 + 12345};
    void *blocks[9];
    size_t sum = 0;
    for (size_t i = 0; i < 9; i++) {
        blocks[i] = core_memory_allocate(&memory, sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % (sizes[i] >= CORE_HUGE_BLOCK ? CORE_HUGE_PAGE : MORE_ALIGNMENT), 0);
        memset(blocks[i], 0xa5, sizes[i]);
        sum += sizes[i];
        assert_int_equal(atomic_load(&memory.current), sum);
    }
    for (size_t i = 0; i < 9; i++)
        core_memory_release(&memory, blocks[i]);
    core_memory_release(&memory, NULL);
    assert_int_equal(atomic_load(&memory.current), 0);
    assert_int_equal(atomic_load(&memory.peak), sum);
    assert_null(core_memory_allocate(&memory, SIZE_MAX));
    assert_null(core_memory_allocate(&memory, (size_t)1 << 60));
}

typedef struct ear {
    int lines, steps;
    more_log_level level;
    char component[32], message[MORE_ERROR_SIZE];
    int64_t done, total;
} ear;

static void hear_log(void *user, more_log_level level, const char *component, const char *message)
{
    ear *heard = user;
    heard->lines++;
    heard->level = level;
    snprintf(heard->component, sizeof heard->component, "%s", component);
    snprintf(heard->message, sizeof heard->message, "%s", message);
}

static void hear_progress(void *user, const char *stage, int64_t done, int64_t total)
{
    ear *heard = user;
    assert_string_equal(stage, "loading");
    heard->steps++;
    heard->done = done;
    heard->total = total;
}

static void the_host_serves(void **state)
{
    (void)state;
    ear heard = {0};
    static const more_weights_service weights = {.struct_size = sizeof weights};
    core_host_config config = {.threads = 1,
                               .log_level = MORE_LOG_INFO,
                               .log = hear_log,
                               .progress = hear_progress,
                               .user = &heard,
                               .weights = &weights};
    core_host *host = NULL;
    more_error error;
    assert_int_equal(core_host_create(&config, &host, &error), MORE_OK);
    const more_host *abi = core_host_abi(host);
    const more_log_service *log = abi->get_service(abi, MORE_LOG_SERVICE);
    log->write(abi, MORE_LOG_INFO, "clock", "ticks");
    log->write(abi, MORE_LOG_DEBUG, "clock", "dropped");
    core_log(abi, MORE_LOG_WARNING, "core", "%d of %s", 3, "them");
    core_log(NULL, MORE_LOG_ERROR, "core", "nobody hears");
    assert_int_equal(heard.lines, 2);
    assert_int_equal(heard.level, MORE_LOG_WARNING);
    assert_string_equal(heard.component, "core");
    assert_string_equal(heard.message, "3 of them");

    const more_progress_service *progress = abi->get_service(abi, MORE_PROGRESS_SERVICE);
    progress->update(abi, "loading", 3, 9);
    assert_int_equal(heard.steps, 1);
    assert_int_equal(heard.total, 9);
    assert_false(progress->cancelled(abi));
    core_host_cancel(host, true);
    assert_true(progress->cancelled(abi));
    core_host_cancel(host, false);
    assert_false(progress->cancelled(abi));

    const more_memory_service *memory = abi->get_service(abi, MORE_MEMORY_SERVICE);
    void *block = memory->allocate(abi, 1000);
    assert_int_equal(core_host_current_bytes(host), 1000);
    memory->release(abi, block);
    assert_int_equal(core_host_current_bytes(host), 0);
    assert_int_equal(core_host_peak_bytes(host), 1000);

    const more_threads_service *threads = abi->get_service(abi, MORE_THREADS_SERVICE);
    assert_int_equal(threads->count(abi), 1);
    assert_ptr_equal(abi->get_service(abi, MORE_WEIGHTS_SERVICE), &weights);
    assert_null(abi->get_service(abi, "llavamore.log/2"));
    assert_null(abi->get_service(abi, NULL));
    core_host_destroy(host);
    core_host_destroy(NULL);
}

static void a_wrong_number_of_threads_is_refused(void **state)
{
    (void)state;
    core_host_config config = {.threads = -1};
    core_host *host = (core_host *)(uintptr_t)1;
    more_error error;
    assert_int_equal(core_host_create(&config, &host, &error), MORE_ERROR_ARGUMENT);
    assert_null(host);
    assert_non_null(strstr(error.message, "-1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_grow_and_are_taken),
        cmocka_unit_test(files_are_written_whole),
        cmocka_unit_test(paths_are_joined),
        cmocka_unit_test(json_is_reached_by_dotted_keys),
        cmocka_unit_test(edit_distance_counts_edits),
        cmocka_unit_test(the_nearest_name_is_suggested),
        cmocka_unit_test(memory_is_aligned_and_counted),
        cmocka_unit_test(the_host_serves),
        cmocka_unit_test(a_wrong_number_of_threads_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
