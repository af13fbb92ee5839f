/* SPDX-License-Identifier: Apache-2.0
 *
 * The feature cache on disk under whole assemblies: the same logits bit for bit with and without it, a picture encoded
 * once for all processes, and nothing taken for the same that any setting, checkpoint or picture makes another.
 */
#include "assembled.h"

#include "base/file.h"
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct fixture {
    char folder[64], setting[128];
    char *picture, *other; /* paths */
} fixture;

static int set_up(void **state)
{
    fixture *self = calloc(1, sizeof *self);
    snprintf(self->folder, sizeof self->folder, "/tmp/llavamore-cache-XXXXXX");
    if (!mkdtemp(self->folder))
        return -1;
    snprintf(self->setting, sizeof self->setting, "runtime.feature_cache=%s/features", self->folder);
    self->picture = assembled_source("share/images/red-ball.png");
    self->other = assembled_source("share/images/stop.png");
    *state = self;
    return 0;
}

static int tear_down(void **state)
{
    fixture *self = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", self->folder);
    int code = system(command);
    free(self->picture);
    free(self->other);
    free(self);
    return code;
}

/* Images that were encoded for one question in an assembly of its own; its logits, the caller's, unless NULL. */
static int64_t ask(const char *preset, const char *const *assignments, const char *picture, core_buffer *logits)
{
    assembled *self = assembled_open(preset, assignments);
    core_chat *chat = assembled_chat(self);
    llavamore_answer answer;
    assembled_ask(chat, "What colour is the ball?", &picture, 1, &answer);
    int64_t encoded = counts.images;
    assert_int_equal(answer.encoded_images, encoded);
    if (logits) {
        *logits = counts.logits;
        counts.logits = (core_buffer){0};
    }
    llavamore_answer_clear(&answer);
    core_chat_destroy(chat);
    assembled_close(self);
    return encoded;
}

/* The same under the cache and one or two settings more. */
static int64_t cached(const fixture *self, const char *preset, const char *picture, const char *setting,
                      const char *second)
{
    const char *assignments[] = {self->setting, setting, second, NULL};
    return ask(preset, assignments, picture, NULL);
}

static void assert_same(const core_buffer *a, const core_buffer *b)
{
    assert_true(a->size > 0);
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->data, b->data, a->size);
}

/* ---- With and without ------------------------------------------------------------------------------------------- */

static void same_answers(void **state)
{
    static const char *const presets[] = {"tiny", "tiny-siglip2-gemma2", "tiny-dinov2-phi4", "tiny-siglip-llama"};
    fixture *self = *state;
    const char *with[] = {self->setting, NULL};
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        core_buffer without = {0}, first = {0}, second = {0};
        assert_int_equal(ask(presets[i], NULL, self->picture, &without), 1);
        assert_int_equal(ask(presets[i], with, self->picture, &first), 1);
        assert_int_equal(ask(presets[i], with, self->picture, &second), 0);
        assert_same(&first, &without);
        assert_same(&second, &without);
        core_buffer_free(&without);
        core_buffer_free(&first);
        core_buffer_free(&second);
    }
}

/* ---- What makes another entry ----------------------------------------------------------------------------------- */

/* Encoded once under the setting, and not again; what was there before is still there. */
static void assert_other(const fixture *self, const char *preset, const char *setting)
{
    if (cached(self, preset, self->picture, setting, NULL) != 1 ||
        cached(self, preset, self->picture, setting, NULL) != 0 || cached(self, preset, self->picture, NULL, NULL) != 0)
        fail_msg("%s: %s is not told apart, or not found again", preset, setting);
}

static void assert_hit(const fixture *self, const char *preset, const char *setting)
{
    if (cached(self, preset, self->picture, setting, NULL) != 0)
        fail_msg("%s: %s is told apart", preset, setting);
}

static void settings(void **state)
{
    static const char *const matter[] = {
        "vision.layer=-1",
        "vision.select=cls_patch",
        "preprocess.pad=none",
        "preprocess.exif=true",
        "preprocess.max_pixels=200000",
        ("preprocess.steps=\"pad_square(0, 0, 0), resize(112, 112, bilinear), rescale(0.0039), "
         "normalize(0, 0, 0, 1, 1, 1)\""),
    };
    static const char *const do_not[] = {"generate.max_new_tokens=3",
                                         "generate.temperature=0.5",
                                         "runtime.batch=7",
                                         "runtime.threads=1",
                                         "llm.context=1000",
                                         "llm.system=Hello.",
                                         "runtime.feature_cache_limit=3"};
    fixture *self = *state;
    assert_int_equal(cached(self, "tiny", self->picture, NULL, NULL), 1);
    for (size_t i = 0; i < sizeof matter / sizeof *matter; i++)
        assert_other(self, "tiny", matter[i]);
    for (size_t i = 0; i < sizeof do_not / sizeof *do_not; i++)
        assert_hit(self, "tiny", do_not[i]);
}

/* Every option of the backbones that has choices. */
static void options_of(const fixture *self, const char *section, const more_plugin *plugin)
{
    for (int32_t i = 0; i < plugin->option_count; i++) {
        const more_option *option = &plugin->options[i];
        for (const char *at = option->choices; at && *at; at += strspn(at, "|")) {
            char setting[200];
            size_t length = strcspn(at, "|");
            bool usual = length == strlen(option->default_value) && !strncmp(at, option->default_value, length);
            snprintf(setting, sizeof setting, "%s.%s=%.*s", section, option->name, (int)length, at);
            at += length;
            if (!usual)
                assert_other(self, "tiny", setting);
        }
    }
}

static void options(void **state)
{
    fixture *self = *state;
    assembled *opened = assembled_open("tiny", NULL);
    const more_plugin *vision = opened->assembly->vision_part.file->plugin;
    const more_plugin *projector = opened->assembly->projector_part.file->plugin;
    assert_int_equal(cached(self, "tiny", self->picture, NULL, NULL), 1);
    options_of(self, "vision", vision);
    options_of(self, "projector", projector);
    assembled_close(opened);
}

static void kernels(void **state)
{
    fixture *self = *state;
    const char *before = getenv("LLAVAMORE_CPU");
    char *kept = before ? strdup(before) : NULL;
    unsetenv("LLAVAMORE_CPU");
    assert_int_equal(cached(self, "tiny", self->picture, NULL, NULL), 1);
    setenv("LLAVAMORE_CPU", "baseline", 1);
    assert_int_equal(cached(self, "tiny", self->picture, NULL, NULL), 1);
    assert_int_equal(cached(self, "tiny", self->picture, NULL, NULL), 0);
    unsetenv("LLAVAMORE_CPU");
    assert_int_equal(cached(self, "tiny", self->picture, NULL, NULL), 0);
    if (kept)
        setenv("LLAVAMORE_CPU", kept, 1);
    free(kept);
}

/* ---- Checkpoints ------------------------------------------------------------------------------------------------ */

static void copy(const char *from, const char *to)
{
    more_error error = {{0}};
    core_buffer bytes = {0};
    if (core_file_read(from, (size_t)64 << 20, &bytes, &error) != MORE_OK ||
        core_file_write(to, bytes.data, bytes.size, &error) != MORE_OK)
        fail_msg("%s", error.message);
    core_buffer_free(&bytes);
}

static void copy_folder(const char *relative, const char *to)
{
    char path[4400], target[4400];
    char *from = assembled_source(relative);
    DIR *folder = opendir(from);
    assert_non_null(folder);
    assert_int_equal(mkdir(to, 0700), 0);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", from, entry->d_name);
        snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        copy(path, target);
    }
    closedir(folder);
    free(from);
}

static void set_time(const char *path, time_t seconds)
{
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* A checkpoint's file that was written again, though with the same bytes, is another; one that only moved its time back
 * is the old one. */
static void compare_checkpoint(const fixture *self, const char *preset, const char *relative, const char *key,
                               const char *name)
{
    char to[128], setting[200], file[200];
    snprintf(to, sizeof to, "%s/%s", self->folder, name);
    snprintf(setting, sizeof setting, "%s=%s", key, to);
    snprintf(file, sizeof file, "%s/model.safetensors", to);
    copy_folder(relative, to);
    set_time(file, 1000000);
    assert_int_equal(cached(self, preset, self->picture, NULL, NULL), 1);
    assert_other(self, preset, setting);
    set_time(file, 1000001);
    assert_other(self, preset, setting);
    set_time(file, 1000000);
    assert_hit(self, preset, setting);
}

static void checkpoints(void **state)
{
    fixture *self = *state;
    compare_checkpoint(self, "tiny", "share/tiny/clip", "vision.weights", "clip");
    compare_checkpoint(self, "tiny-siglip-phi4", "share/tiny/projectors/siglip-phi4", "projector.weights", "mapped");
}

/* ---- Pictures --------------------------------------------------------------------------------------------------- */

static void pictures(void **state)
{
    fixture *self = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/copy.png", self->folder);
    assert_int_equal(cached(self, "tiny", self->picture, NULL, NULL), 1);
    assert_int_equal(cached(self, "tiny", self->other, NULL, NULL), 1);
    copy(self->picture, path);
    assert_int_equal(cached(self, "tiny", path, NULL, NULL), 0); /* the bytes count, not the name */
    copy(self->other, path);
    assert_int_equal(cached(self, "tiny", path, NULL, NULL), 0);
    FILE *file = fopen(path, "ae");
    assert_non_null(file);
    fputc(0, file);
    fclose(file);
    assert_int_equal(cached(self, "tiny", path, NULL, NULL), 1);
}

/* ---- Spoilt entries --------------------------------------------------------------------------------------------- */

/* Turns the last bit of every entry's rows. */
static int spoil(const fixture *self)
{
    char path[500];
    int count = 0;
    snprintf(path, sizeof path, "%s/features", self->folder);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/features/%s", self->folder, entry->d_name);
        FILE *file = fopen(path, "r+be");
        assert_non_null(file);
        fseek(file, 64, SEEK_SET);
        int byte = fgetc(file);
        fseek(file, 64, SEEK_SET);
        fputc(byte ^ 1, file);
        fclose(file);
        count++;
    }
    closedir(folder);
    return count;
}

static void spoilt_entries(void **state)
{
    fixture *self = *state;
    const char *assignments[] = {self->setting, NULL};
    core_buffer wanted = {0}, got = {0};
    assert_int_equal(ask("tiny", assignments, self->picture, &wanted), 1);
    assert_int_equal(spoil(self), 1);
    assert_int_equal(ask("tiny", assignments, self->picture, &got), 1);
    assert_same(&got, &wanted);
    core_buffer_free(&got);
    assert_int_equal(ask("tiny", assignments, self->picture, &got), 0);
    assert_same(&got, &wanted);
    core_buffer_free(&got);
    core_buffer_free(&wanted);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(same_answers), CASE(settings), CASE(options),       CASE(kernels),
                                       CASE(checkpoints),  CASE(pictures), CASE(spoilt_entries)};
    return cmocka_run_group_tests_name("the feature cache", tests, NULL, NULL);
}
