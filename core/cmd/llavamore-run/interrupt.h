/* SPDX-License-Identifier: Apache-2.0
 *
 * Ctrl-C: a thread waits for SIGINT and cancels what is going on; the second one ends the process as usual.
 */
#ifndef RUN_INTERRUPT_H
#define RUN_INTERRUPT_H

#include <llavamore.h>

typedef struct interrupt interrupt;

/* Blocks SIGINT in this thread and those that it makes from now on, so call it before anything else starts threads.
 * NULL when the system has no thread left: Ctrl-C then ends the process. */
interrupt *interrupt_create(void);
/* What the next SIGINT cancels; either may be NULL. */
void interrupt_watch(interrupt *self, llavamore_settings *settings, llavamore_model *model);
/* True once a SIGINT came since the last interrupt_rearm. */
bool interrupt_seen(interrupt *self);
/* Forgets it, so that the conversation goes on. */
void interrupt_rearm(interrupt *self);
void interrupt_destroy(interrupt *self); /* NULL is allowed */

#endif
