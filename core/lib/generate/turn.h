/* SPDX-License-Identifier: Apache-2.0
 *
 * One question on its way to an answer: its prompt goes into the context (reading.c), then tokens are drawn
 * (drawing.c). Internal to chat.c.
 */
#ifndef CORE_TURN_H
#define CORE_TURN_H

#include "generate/answer.h"
#include "generate/chat.h"
#include "generate/lookup.h"
#include "generate/sampler.h"

struct core_chat {
    core_assembly *assembly;
    core_context context;
    core_message *messages; /* the turns so far, texts owned */
    size_t count;
    int32_t unfed; /* last token of the last answer where it was drawn and not yet fed; -1 = none */
    /* What a new conversation may begin with; no assembly = nothing. */
    core_context past;  /* the conversation before the last reset */
    core_context trunk; /* the first question's beginning up to its last image, where later rows make a session let go
                           of what it would need to be cut there */
};

typedef struct core_turn {
    core_chat *chat;
    const llavamore_question *question;
    core_context context; /* a fork of the chat's: becomes the chat's when the turn succeeds */
    core_visual *images;
    core_ids prompt;    /* what the turn adds, CORE_IMAGE_TOKEN for images */
    core_prefix reused; /* of the prompt: what the context has already */
    core_ids drawn;
    core_ids text_ends; /* [drawn]: bytes of the answer after each */
    core_answer answer;
    core_sampler *sampler;
    float *logits;          /* [1 + most guessed, vocabulary]: after the last row that was fed for sure, and after each
                               of the guess behind it */
    core_buffer logit_rows; /* for the dump: one row a drawn token */
    int32_t unfed;
    const char *finish;
    double start;
    core_visual_times times;
    double prefill_ms, decode_ms, first_token_ms;
    int64_t prefill_rows; /* that went through the model before the first token was drawn */
    int64_t reused_rows;  /* rest of the rows that were there by then; negative after a replay */
    /* Prompt lookup. */
    int32_t guess[CORE_MOST_GUESSED]; /* ids fed ahead of their draw */
    int32_t guessed, right;           /* how many these are, and how many of them have been drawn since */
    int32_t next_guess;               /* ids that the next guess may have; 0 = no lookup */
    int64_t decode_calls;             /* of the model, for all tokens but the first */
    int64_t all_guessed, all_right;
} core_turn;

/* Gives the turn its context: a fork of the conversation's, or, where it begins, of what is known of its beginning. The
 * prompt and the images are there. */
more_status core_turn_begin(core_turn *turn, more_error *error);
/* Runs what is not reused of the prompt, which has `rows` rows, through the model; the logits after it come first in
 * turn->logits. The images' rows go to the context. */
more_status core_turn_read(core_turn *turn, int64_t rows, more_error *error);
/* Draws the answer. */
more_status core_turn_generate(core_turn *turn, more_error *error);

#endif
