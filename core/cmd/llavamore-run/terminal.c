/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal.h"
#include "arguments.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define BAR_DELAY_MS 300 /* what is done sooner shows no bar */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void terminal_open(terminal *self)
{
    const char *kind = getenv("TERM");
    *self = (terminal){0};
    self->is_terminal = isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

void terminal_clear_bar(terminal *self)
{
    if (self->bar_shown)
        fputs("\r\033[K", stderr);
    self->bar_shown = false;
}

static void on_log(void *user, more_log_level level, const char *component, const char *message)
{
    static const char *const names[] = {"error: ", "warning: ", "", ""};
    terminal *self = user;
    terminal_clear_bar(self);
    fprintf(stderr, "%s: %s%s: %s\n", PROGRAM, names[level < 0 || level > MORE_LOG_DEBUG ? MORE_LOG_DEBUG : level],
            component, message);
}

static void on_progress(void *user, const char *stage, int64_t done, int64_t total)
{
    terminal *self = user;
    if (!self->is_terminal || total <= 0)
        return;
    int percent = (int)(100.0 * (double)done / (double)total);
    if (done >= total) {
        terminal_clear_bar(self);
        self->stage[0] = '\0';
        return;
    }
    if (strncmp(self->stage, stage, sizeof self->stage - 1) != 0) {
        snprintf(self->stage, sizeof self->stage, "%s", stage);
        self->began = now_ms();
    }
    if ((self->bar_shown && percent == self->percent) || now_ms() - self->began < BAR_DELAY_MS)
        return;
    char bar[BAR_WIDTH + 1];
    int filled = percent * BAR_WIDTH / 100;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r\033[K%s [%s] %d%%", stage, bar, percent);
    fflush(stderr);
    self->percent = percent;
    self->bar_shown = true;
}

llavamore_callbacks terminal_callbacks(terminal *self)
{
    return (llavamore_callbacks){.log = on_log, .progress = on_progress, .user = self};
}
