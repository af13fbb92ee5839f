/* SPDX-License-Identifier: Apache-2.0
 *
 * The answer as it grows: ids to text, held back where a stop string may begin, handed on piece by piece.
 */
#ifndef CORE_ANSWER_H
#define CORE_ANSWER_H

#include "text/stream.h"
#include <llavamore.h>

typedef struct core_answer {
    core_stream *stream;
    core_buffer text; /* all that is final, a stop string and what follows cut off */
    size_t handed;    /* bytes of it that went to on_text */
    const char *stop; /* stop string; NULL or "" = none */
    bool stopped;     /* the stop string came */
    bool refused;     /* on_text asked to stop */
    llavamore_text_function on_text;
    void *user;
} core_answer;

/* Zero `answer` first; stop and user are borrowed. */
more_status core_answer_begin(core_answer *answer, const core_tokenizer *tokenizer, const char *stop,
                              const llavamore_question *question, more_error *error);
/* One more id. Afterwards see `stopped` and `refused`. */
more_status core_answer_push(core_answer *answer, int32_t id, more_error *error);
/* Hands on what was held back. */
more_status core_answer_finish(core_answer *answer, more_error *error);
void core_answer_free(core_answer *answer);

#endif
