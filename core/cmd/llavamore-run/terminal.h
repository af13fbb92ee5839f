/* SPDX-License-Identifier: Apache-2.0
 *
 * Standard error: messages of the library, and a progress bar where it is a terminal.
 */
#ifndef RUN_TERMINAL_H
#define RUN_TERMINAL_H

#include <llavamore.h>

typedef struct terminal {
    bool is_terminal; /* standard error is one */
    bool bar_shown;
    char stage[64]; /* that is going on */
    int64_t began;  /* milliseconds of the monotonic clock */
    int percent;    /* of the bar that is shown */
} terminal;

void terminal_open(terminal *self);
/* Callbacks of a library that write to `self`, which must outlive it. */
llavamore_callbacks terminal_callbacks(terminal *self);
/* Takes the bar away, so that other text may be printed. */
void terminal_clear_bar(terminal *self);

#endif
