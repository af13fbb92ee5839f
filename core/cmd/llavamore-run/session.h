/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of llavamore-run: what its parts share.
 */
#ifndef RUN_SESSION_H
#define RUN_SESSION_H

#include "arguments.h"
#include "interrupt.h"
#include "terminal.h"

typedef struct session {
    const arguments *args;
    terminal *terminal;
    interrupt *interrupt; /* NULL where the system refused one */
    llavamore_model *model;
    llavamore_chat *chat;
    output out;
} session;

/* Asks `question` with the images, prints the answer as it is made, and what --json and --verbose want. Returns an exit
 * code; a failure was printed. */
int session_ask(session *self, const char *question, const llavamore_image *images, int32_t image_count);
/* The conversation of --chat: until /quit, end of input or a closed output. */
int session_chat(session *self);

#endif
