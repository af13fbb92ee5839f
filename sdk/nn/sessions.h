/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions of a causal language model: what every plugin of llavamore.language/1 shares. A plugin describes its model
 * in an nn_language and gives two functions, forward and head; this file checks what callers ask, joins the rows of all
 * sessions of a call into one matrix, keeps each session's cache, and hands the results out.
 *
 * The rows of a batch lie one session behind the other, so that a linear layer runs once over prefill chunks and decode
 * steps of several sessions together; only attention looks at where a session begins and ends.
 */
#ifndef LLAVAMORE_NN_SESSIONS_H
#define LLAVAMORE_NN_SESSIONS_H

#include "nn.h"

#include <llavamore/language.h>

/* The rows that one session appends in a forward pass. */
typedef struct nn_sequence {
    more_session *session;
    nn_cache *cache;
    int64_t first, rows; /* where its rows lie in the batch */
    int32_t regime;      /* as admit set it for these rows; 0 without one */
    int64_t reach;       /* largest rotary position of the session with these rows, + 1 */
    bool given;          /* positions of some were given one by one */
    more_advance *item;
    float *hidden; /* [hidden_count, rows, width]: states taken so far, for the item's outputs */
} nn_sequence;

/* One forward pass. Lives for the length of one call of advance, in one thread. */
typedef struct nn_batch {
    const struct nn_language *language;
    nn_arena *arena;               /* scratch of the pass; the plugin takes its buffers here */
    int64_t rows;                  /* of all sequences */
    const int64_t *positions;      /* [rows], rotary positions, where the language's context works */
    const int64_t *host_positions; /* the same on the host */
    const nn_sequence *sequences;
    int32_t count;
} nn_batch;

/* A session that is about to take rows, for nn_language.admit. */
typedef struct nn_admission {
    int64_t length, rows;   /* rows that the session holds, and how many more, 1 at least, are to come */
    int64_t planned_length; /* as session_create was told; 0 = unknown, or truncated since */
    int64_t reach;          /* largest rotary position of all these rows, + 1; length + rows unless positions are given
                               one by one */
    int32_t regime;         /* in: of the rows it holds, 0 when there are none; out: of all rows from now on */
} nn_admission;

/* What the sessions need to know of a model; constant from open to close. The plugin's struct more_language begins with
 * it. */
typedef struct nn_language {
    nn_context *context;
    nn_cache_config cache;
    int64_t vocabulary, width, layers;
    int64_t context_length;     /* most rows of a session */
    const nn_matrix *embedding; /* [vocabulary, width]; NULL when opened for metadata only */
    float embedding_scale;      /* of every input row; 1 for LLaMA, sqrt(width) for Gemma */
    /* Asked for each session before its rows are taken, while nothing is changed yet: MORE_NEEDS_REPLAY, with the
     * reason, where the rows that it holds are not what they would be in a session that saw all rows at once
     * (LongRoPE's factors follow the length), and which regime the rows are in: a number of the plugin's that forward()
     * finds in the sequence. The session keeps the regime only when the call succeeds. NULL = every row is welcome.
     * [any-thread] */
    more_status (*admit)(const struct nn_language *language, nn_admission *admission, more_error *error);
    /* Runs all blocks over x [batch->rows, width], in place. Calls nn_batch_state before the first block and after each
     * and gives its status back at once when it fails. */
    more_status (*forward)(const struct nn_language *language, const nn_batch *batch, float *x, more_error *error);
    /* Final norm and head: logits [rows, vocabulary] of x [rows, width], which it may overwrite. */
    void (*head)(const struct nn_language *language, float *x, int64_t rows, float *logits);
} nn_language;

/* Hidden state number `state` is in x, where `context` works: takes it for those who asked. MORE_ERROR_CANCELLED when
 * the user asked to stop. */
more_status nn_batch_state(const nn_batch *batch, int64_t state, nn_context *context, const float *x,
                           more_error *error);

/* Causal self-attention of every sequence over its own past. key and value [rows, key-value heads, head dimension] go
 * into the caches; `arguments` gives the layer, query, stride (common to all three), heads, scale, softcap and y
 * for the whole batch; its cache and rows are set here. */
void nn_batch_attention(const nn_batch *batch, const float *key, const float *value,
                        const nn_attention_args *arguments);

/* The functions of more_language_interface of the same names. The caller casts its own more_language to nn_language. */
more_status nn_session_create(const nn_language *language, int64_t planned_length, more_session **session,
                              more_error *error);
more_status nn_session_fork(more_session *session, more_session **fork, more_error *error);
more_status nn_session_truncate(more_session *session, int64_t length, more_error *error);
void nn_session_info(const more_session *session, more_session_info *info);
void nn_session_destroy(more_session *session);
more_status nn_sessions_embed(const nn_language *language, const int32_t *ids, int64_t count, more_tensor *rows,
                              more_error *error);
more_status nn_sessions_advance(const nn_language *language, more_advance *items, int32_t count);

#endif
