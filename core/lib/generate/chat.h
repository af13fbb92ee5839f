/* SPDX-License-Identifier: Apache-2.0
 *
 * A conversation: questions with images in, answers out, token by token.
 */
#ifndef CORE_CHAT_H
#define CORE_CHAT_H

#include "generate/context.h"

typedef struct core_chat core_chat;

/* llavamore.h documents these under the names llavamore_chat_*. */
more_status core_chat_create(core_assembly *assembly, core_chat **chat, more_error *error);
void core_chat_destroy(core_chat *chat);
more_status core_chat_reset(core_chat *chat, more_error *error);
more_status core_chat_fork(const core_chat *chat, core_chat **fork, more_error *error);
more_status core_chat_ask(core_chat *chat, const llavamore_question *question, llavamore_answer *answer,
                          more_error *error);

#endif
