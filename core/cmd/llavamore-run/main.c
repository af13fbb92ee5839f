/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-run: asks a multimodal language model from the command line.
 */
#include "questions.h"
#include "report.h"
#include "session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define IMAGE_LIMIT ((size_t)1 << 30) /* bytes of a picture on standard input */

typedef more_status (*report_function)(output *, const char *, bool, more_error *);

/* Prints JSON text that the library made and frees it. */
static int tell(const arguments *args, more_status status, char *json, report_function report, more_error *error)
{
    output out = {0};
    if (status == MORE_OK)
        status = report(&out, json, args->json, error);
    llavamore_free(json);
    return output_finish(&out, PROGRAM, status == MORE_OK ? EXIT_SUCCESS : fail_status(PROGRAM, status, error));
}

/* As a quoted value: a folder's name may hold anything. */
static more_status set_feature_cache(const char *folder, llavamore_settings *settings, more_error *error)
{
    char *value = quoted(folder), *assignment = NULL;
    if (!value || asprintf(&assignment, "runtime.feature_cache=%s", value) < 0) {
        free(value);
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for '%s'", folder);
    }
    more_status status = llavamore_settings_set(settings, assignment, error);
    free(assignment);
    free(value);
    return status;
}

static more_status load_settings(const arguments *args, llavamore_settings *settings, more_error *error)
{
    more_status status = MORE_OK;
    if (args->config)
        status = llavamore_settings_load(settings, args->config, error);
    if (args->verbose && status == MORE_OK)
        status = llavamore_settings_set(settings, "runtime.log=info", error);
    for (int i = 0; i < args->assignment_count && status == MORE_OK; i++)
        status = llavamore_settings_set(settings, args->assignments[i], error);
    return status == MORE_OK && args->feature_cache ? set_feature_cache(args->feature_cache, settings, error) : status;
}

static more_status read_images(const arguments *args, char **input, llavamore_image **images, more_error *error)
{
    *images = calloc((size_t)args->image_count + 1, sizeof **images);
    if (!*images)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for %d pictures", args->image_count);
    for (int i = 0; i < args->image_count; i++) {
        llavamore_image *image = &(*images)[i];
        if (strcmp(args->images[i], "-") != 0) {
            image->path = args->images[i];
            continue;
        }
        more_status status = read_standard_input(IMAGE_LIMIT, input, &image->size, error);
        if (status != MORE_OK)
            return status;
        image->bytes = *input;
        image->name = "standard input";
    }
    return MORE_OK;
}

static more_status make_folder(const char *path, more_error *error)
{
    struct stat about;
    if (!path || mkdir(path, 0777) == 0 || (errno == EEXIST && stat(path, &about) == 0 && S_ISDIR(about.st_mode)))
        return MORE_OK;
    return more_fail(error, MORE_ERROR_IO, "--dump %s: %s", path, strerror(errno));
}

static int ask(session *self)
{
    const arguments *args = self->args;
    more_error error = {{0}};
    char *input = NULL; /* of a picture */
    question_list questions;
    llavamore_image *images = NULL;
    more_status status = questions_read(args, &questions, &error);
    if (status == MORE_OK)
        status = make_folder(args->dump_folder, &error);
    if (status == MORE_OK)
        status = read_images(args, &input, &images, &error);
    int code = status == MORE_OK ? EXIT_SUCCESS : fail_status(PROGRAM, status, &error);
    /* Each question is a conversation of its own, whose beginning with the pictures is there from the second one on. */
    for (size_t i = 0; i < questions.count && code == EXIT_SUCCESS; i++) {
        status = i ? llavamore_chat_reset(self->chat, &error) : MORE_OK;
        code = status == MORE_OK ? session_ask(self, questions.texts[i], images, args->image_count)
                                 : fail_status(PROGRAM, status, &error);
    }
    questions_clear(&questions);
    free(images);
    free(input);
    return code;
}

static int run_model(const arguments *args, terminal *screen, interrupt *watcher, llavamore_settings *settings)
{
    more_error error = {{0}};
    session self = {.args = args, .terminal = screen, .interrupt = watcher};
    bool dry = args->action == ACTION_DRY_RUN;
    more_status status =
        llavamore_model_open(settings, dry ? LLAVAMORE_OPEN_DRY_RUN : LLAVAMORE_OPEN_DEFAULT, &self.model, &error);
    terminal_clear_bar(screen);
    if (status != MORE_OK)
        return fail_status(PROGRAM, status, &error);
    interrupt_watch(watcher, settings, self.model);
    int code;
    if (dry) {
        char *json = NULL;
        status = llavamore_model_describe(self.model, &json, &error);
        code = tell(args, status, json, report_assembly, &error);
    } else if ((status = llavamore_chat_create(self.model, &self.chat, &error)) != MORE_OK) {
        code = fail_status(PROGRAM, status, &error);
    } else {
        code = args->action == ACTION_CHAT ? session_chat(&self) : ask(&self);
    }
    llavamore_chat_destroy(self.chat);
    interrupt_watch(watcher, settings, NULL);
    llavamore_model_close(self.model);
    return code;
}

static int run(const arguments *args, terminal *screen, interrupt *watcher)
{
    more_error error = {{0}};
    char *json = NULL;
    if (args->action == ACTION_LIST_PRESETS) {
        more_status status = llavamore_list_presets(&json, &error);
        return tell(args, status, json, report_presets, &error);
    }
    llavamore_callbacks callbacks = terminal_callbacks(screen);
    llavamore_settings *settings = llavamore_settings_create(&callbacks);
    if (!settings)
        return fail(PROGRAM, EXIT_MEMORY, "out of memory for the settings");
    interrupt_watch(watcher, settings, NULL);
    int code;
    more_status status = load_settings(args, settings, &error);
    if (status != MORE_OK) {
        code = fail_status(PROGRAM, status, &error);
    } else if (args->action == ACTION_LIST_PLUGINS) {
        status = llavamore_list_plugins(settings, &json, &error);
        code = tell(args, status, json, report_plugins, &error);
    } else {
        code = run_model(args, screen, watcher, settings);
    }
    interrupt_watch(watcher, NULL, NULL);
    llavamore_settings_destroy(settings);
    return code;
}

int main(int argc, char **argv)
{
    arguments args;
    terminal screen;
    int code;
    signal(SIGPIPE, SIG_IGN);
    if (arguments_parse(argc, argv, &args, &code)) {
        terminal_open(&screen);
        interrupt *watcher = interrupt_create();
        code = run(&args, &screen, watcher);
        interrupt_destroy(watcher);
    }
    arguments_clear(&args);
    return code;
}
