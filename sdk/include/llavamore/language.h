/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore.language/1: a causal language model with sessions.
 *
 * A session is a sequence of rows that the model has seen and their key-value cache. advance() appends rows to any
 * number of sessions in one call; a row is a token id or an embedding (a visual token). Single chat, prefill in chunks,
 * batched evaluation and a server all go through it. The result for a session does not depend on what else is in the
 * call (on a GPU: within rounding), nor within rounding on how its rows were cut into calls.
 *
 * Order of calls: open, describe, session_create, advance ..., session_destroy, close.
 */
#ifndef LLAVAMORE_LANGUAGE_H
#define LLAVAMORE_LANGUAGE_H

#include <llavamore/backbone.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MORE_LANGUAGE_INTERFACE "llavamore.language/1"

typedef struct more_language more_language; /* one opened model: weights, shared by its sessions */
typedef struct more_session more_session;   /* one sequence with its key-value cache */

/* Filled by describe(); the caller sets struct_size. Pointers live as long as the instance. */
typedef struct more_language_info {
    size_t struct_size;
    int64_t vocabulary; /* rows of the logits */
    int64_t width;      /* channels of an embedding row */
    int64_t context;    /* most rows that a session may hold */
    int64_t layers;
    const int32_t *stop_ids; /* ids that end an answer, from the checkpoint */
    int32_t stop_count;
    const char *template_name; /* conversation template: a file of share/templates without its ending; NULL = unknown */
    const char *template_text; /* the same inline, as INI text; NULL = look template_name up */
    const char *weight_formats; /* stored formats it takes: "f32 f16 bf16" */
} more_language_info;

typedef struct more_session_info {
    size_t struct_size;
    int64_t length; /* rows in the session */
    int64_t floor;  /* truncating below this length needs a replay; 0 where everything is kept */
} more_session_info;

/* A run of rows: ids, or embeddings, never both. Frozen: it stands in arrays, so it never grows. */
typedef struct more_segment {
    const int32_t *ids;      /* `count` ids in [0, vocabulary); NULL for embedding rows */
    const more_tensor *rows; /* f32 [count, width], unscaled like embed()'s; NULL for ids */
    int64_t count;
    const int64_t *positions; /* `count` rotary positions; NULL = they go on from the session's length */
} more_segment;

/* What one session does in a call of advance(). Everything is owned by the caller; the outputs are written only when
 * the item's status is MORE_OK. Frozen: it stands in arrays, so it never grows. "Row r" is the r-th row that this item
 * appends; negative counts from the end. */
typedef struct more_advance {
    size_t struct_size;
    more_session *session;
    const more_segment *segments;
    int32_t segment_count;
    const int64_t *logit_rows; /* rows whose next-token logits are wanted; usually one, -1 */
    int64_t logit_count;
    more_tensor *logits;          /* out: f32 [logit_count, vocabulary]; NULL when logit_count is 0 */
    const int32_t *hidden_layers; /* hidden states wanted: 0 = the embeddings as the first block gets them, i = output
                                     of block i before the final norm; negative counts from the end */
    int32_t hidden_count;
    more_tensor *hidden; /* out: hidden_count tensors, f32 [rows, width]; NULL when hidden_count is 0 */
    more_status status;  /* out: of this session */
    more_error error;    /* out: its message when status is negative */
} more_advance;

/* Sampling inside the plugin, for decode(). Frozen, as is more_decode. */
typedef struct more_sampling {
    double temperature;        /* 0 = greedy */
    int64_t top_k;             /* 0 = off */
    double top_p, min_p;       /* 1 and 0 = off */
    double repetition_penalty; /* 1 = off */
    uint64_t seed, counter;    /* Philox 4x32-10 key and first counter: the token drawn at step i uses counter + i */
} more_sampling;

/* What one session does in a call of decode(). Everything is owned by the caller. */
typedef struct more_decode {
    more_session *session;
    int32_t first_id; /* fed first: the last token drawn, which the session does not hold yet */
    const more_sampling *sampling;
    const int32_t *history; /* ids before the first draw that the repetition penalty counts, first_id included; those
                               drawn count too from then on; NULL without a penalty */
    int64_t history_count;
    int32_t *ids;       /* out: max_steps ids, the first `drawn` of which were drawn */
    int32_t drawn;      /* out */
    more_status status; /* out: of this session; what was drawn before a failure stays */
    more_error error;   /* out: its message when status is negative */
} more_decode;

typedef struct more_language_interface {
    size_t struct_size; /* MORE_STRUCT_SIZE(more_language_interface, decode) */

    /* As in vision.h. [any-thread] */
    void (*recognise)(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition);
    /* As in vision.h. [any-thread] */
    const more_tensor_map *(*tensor_map)(void);

    /* As in vision.h. [any-thread] */
    more_status (*open)(const more_open *arguments, more_language **language, more_error *error);
    /* Frees the instance; NULL is allowed. Every session of it must be destroyed before. [one-thread-per-instance] */
    void (*close)(more_language *language);
    /* Constant facts of the instance. [any-thread] */
    void (*describe)(const more_language *language, more_language_info *info);
    /* Bytes a device for `sessions` sessions of `length` rows each, when no call of advance() takes more than `batch`
     * rows in all. [any-thread] */
    more_status (*estimate)(const more_language *language, int64_t sessions, int64_t length, int64_t batch,
                            more_memory *memory, more_error *error);
    /* Key-value cache bytes of one session of `rows` rows under the instance's cache dtype. [any-thread] */
    int64_t (*kv_bytes)(const more_language *language, int64_t rows);

    /* A new empty session. planned_length: rows that it is about to hold; 0 = unknown, and then every answer is that of
     * the rows so far. A model whose positions depend on the length of the sequence (LongRoPE) takes a plan at its
     * word: each row is answered as in a sequence of that many, until the session is longer or was truncated. So plan
     * for the prompt, not for what may be generated behind it. More than describe's context is MORE_ERROR_LIMIT.
     * [any-thread] */
    more_status (*session_create)(more_language *language, int64_t planned_length, more_session **session,
                                  more_error *error);
    /* A second session with the same content; the cache is shared until either writes. Under 1 ms and 1 MiB at 4,096
     * rows. [one-thread-per-session] */
    more_status (*session_fork)(more_session *session, more_session **fork, more_error *error);
    /* Forgets every row from `length` on. MORE_NEEDS_REPLAY below info's floor: the session is then unchanged, and the
     * host replays its history into a new one. [one-thread-per-session] */
    more_status (*session_truncate)(more_session *session, int64_t length, more_error *error);
    /* [one-thread-per-session] */
    void (*session_info)(const more_session *session, more_session_info *info);
    /* NULL is allowed. [one-thread-per-session] */
    void (*session_destroy)(more_session *session);

    /* Unscaled embedding rows of `count` ids into rows, f32 [count, width]. An id outside the vocabulary is
     * MORE_ERROR_ARGUMENT. [any-thread] */
    more_status (*embed)(more_language *language, const int32_t *ids, int64_t count, more_tensor *rows,
                         more_error *error);
    /* Appends rows to `count` different sessions of this instance and computes what each asks for. Any scaling of
     * inputs (Gemma) happens inside, to ids and rows alike. Each item has its own status (MORE_ERROR_LIMIT past the
     * context; MORE_NEEDS_REPLAY where positions of earlier rows would change); one that fails leaves its session as it
     * was and the others done. Returns MORE_OK when all items did, else the first failing item's status.
     * [one-thread-per-session] */
    more_status (*advance)(more_language *language, more_advance *items, int32_t count);

    /* Optional (NULL = the host samples from advance's logits): for each session feeds first_id and then draws up to
     * max_steps tokens, feeding each back, until a stop id, which is drawn but not fed; the last token drawn is never
     * fed. Draws the same tokens as the host's sampler does from the same logits. Returns MORE_OK when all items did,
     * else the first failing item's status. [one-thread-per-session] */
    more_status (*decode)(more_language *language, more_decode *items, int32_t count, const int32_t *stop_ids,
                          int32_t stop_count, int32_t max_steps);
} more_language_interface;

#ifdef __cplusplus
}
#endif
#endif
