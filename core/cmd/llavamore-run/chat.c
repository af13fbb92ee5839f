/* SPDX-License-Identifier: Apache-2.0
 *
 * The conversation at the terminal. At a terminal libedit edits the line and keeps a history; elsewhere lines are read
 * as they come, so that a script can hold a conversation too.
 */
#include "session.h"

#include <errno.h>
#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_IMAGES 64
#define HISTORY_LINES 1000

static const char chat_help[] = "/image FILE  show a picture with the next question; may be repeated\n"
                                "/reset       forget the conversation\n"
                                "/help        this list\n"
                                "/quit        leave (so does Ctrl-D); Ctrl-C stops an answer\n";

/* Where lines come from. */
typedef struct reader {
    EditLine *edit; /* NULL when standard input is no terminal */
    History *history;
    char *history_path; /* NULL = not kept */
    char *line;
    size_t capacity;
} reader;

typedef struct pending_images {
    llavamore_image images[MAX_IMAGES];
    int32_t count;
} pending_images;

static const char *prompt(EditLine *edit)
{
    (void)edit;
    return "> ";
}

/* Makes every folder of `path` but its last part; what is wrong shows when the file is written. */
static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
}

/* $XDG_STATE_HOME/llavamore/history, by default in ~/.local/state; NULL where there is no home. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *path = NULL;
    int written = -1;
    if (state && state[0] == '/')
        written = asprintf(&path, "%s/llavamore/history", state);
    else if (home && home[0] == '/')
        written = asprintf(&path, "%s/.local/state/llavamore/history", home);
    if (written < 0)
        return NULL;
    make_folders(path);
    return path;
}

/* Ctrl-C at the prompt throws the line away. */
static unsigned char clear_line(EditLine *edit, int key)
{
    (void)key;
    const LineInfo *info = el_line(edit);
    el_cursor(edit, (int)(info->lastchar - info->cursor));
    el_deletestr(edit, (int)(info->lastchar - info->buffer));
    return CC_REDISPLAY;
}

static void reader_open(reader *self)
{
    HistEvent event;
    *self = (reader){0};
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return;
    self->edit = el_init(PROGRAM, stdin, stdout, stderr);
    if (!self->edit)
        return;
    el_set(self->edit, EL_PROMPT, prompt);
    el_set(self->edit, EL_EDITOR, "emacs");
    el_set(self->edit, EL_ADDFN, "clear-line", "Throw the line away", clear_line);
    el_set(self->edit, EL_SETTY, "-d", "-isig", NULL);
    el_set(self->edit, EL_BIND, "^C", "clear-line", NULL);
    el_source(self->edit, NULL);
    self->history = history_init();
    if (!self->history)
        return;
    history(self->history, &event, H_SETSIZE, HISTORY_LINES);
    history(self->history, &event, H_SETUNIQUE, 1);
    el_set(self->edit, EL_HIST, history, self->history);
    self->history_path = history_path();
    if (self->history_path)
        history(self->history, &event, H_LOAD, self->history_path);
}

static void reader_close(reader *self)
{
    HistEvent event;
    if (self->history && self->history_path && history(self->history, &event, H_SAVE, self->history_path) >= 0)
        chmod(self->history_path, 0600);
    if (self->history)
        history_end(self->history);
    if (self->edit)
        el_end(self->edit);
    free(self->history_path);
    free(self->line);
}

/* The next line without its end, valid until the next call; NULL at the end of the input. */
static char *reader_next(reader *self)
{
    int count = 0;
    const char *edited = self->edit ? el_gets(self->edit, &count) : NULL;
    if (!self->edit) {
        ssize_t size = getline(&self->line, &self->capacity, stdin);
        if (size < 0)
            return NULL;
    } else if (!edited || count <= 0) {
        return NULL;
    } else {
        HistEvent event;
        free(self->line);
        self->line = strdup(edited);
        if (!self->line)
            return NULL;
        if (self->history && edited[strspn(edited, " \t\r\n")])
            history(self->history, &event, H_ENTER, edited);
    }
    self->line[strcspn(self->line, "\r\n")] = '\0';
    return self->line;
}

static void drop_images(pending_images *pending)
{
    for (int32_t i = 0; i < pending->count; i++)
        free((char *)pending->images[i].path);
    pending->count = 0;
}

static void add_image(pending_images *pending, const char *path)
{
    if (!*path) {
        fail(PROGRAM, EXIT_USAGE, "/image needs a file: /image picture.png");
    } else if (access(path, R_OK)) {
        fail(PROGRAM, EXIT_IO, "%s: %s", path, strerror(errno));
    } else if (pending->count == MAX_IMAGES) {
        fail(PROGRAM, EXIT_VALUE, "no more than %d pictures a question", MAX_IMAGES);
    } else {
        char *copy = strdup(path);
        if (copy)
            pending->images[pending->count++] = (llavamore_image){.path = copy};
    }
}

/* A line that begins with '/'. False when the conversation is over. */
static bool obey(session *self, pending_images *pending, char *line)
{
    more_error error = {{0}};
    size_t length = strcspn(line, " \t");
    char *rest = line + length + strspn(line + length, " \t");
    for (size_t end = strlen(rest); end && (rest[end - 1] == ' ' || rest[end - 1] == '\t'); end--)
        rest[end - 1] = '\0';
    line[length] = '\0';
    if (!strcmp(line, "/quit"))
        return false;
    if (!strcmp(line, "/image")) {
        add_image(pending, rest);
    } else if (!strcmp(line, "/reset")) {
        more_status status = llavamore_chat_reset(self->chat, &error);
        if (status != MORE_OK)
            fail_status(PROGRAM, status, &error);
        drop_images(pending);
    } else if (!strcmp(line, "/help")) {
        output_text(&self->out, chat_help);
    } else {
        fail(PROGRAM, EXIT_USAGE, "no command '%s' (/help lists them)", line);
    }
    return true;
}

int session_chat(session *self)
{
    reader lines;
    pending_images pending = {.count = 0};
    reader_open(&lines);
    if (lines.edit)
        output_text(&self->out, "/help lists the commands.\n");
    for (char *line; !self->out.error && (line = reader_next(&lines));) {
        line += strspn(line, " \t");
        if (*line == '/') {
            if (!obey(self, &pending, line))
                break;
        } else if (*line) {
            /* A failed question was told; the conversation goes on without it. */
            session_ask(self, line, pending.images, pending.count);
            drop_images(&pending);
            interrupt_rearm(self->interrupt);
        }
    }
    drop_images(&pending);
    reader_close(&lines);
    return output_finish(&self->out, PROGRAM, EXIT_SUCCESS);
}
