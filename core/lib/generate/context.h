/* SPDX-License-Identifier: Apache-2.0
 *
 * What a chat has told the language model, and the session that holds it: ids and images go in, the next token's logits
 * come out. The history is kept, so that a session which the plugin cannot go on with is replayed.
 */
#ifndef CORE_CONTEXT_H
#define CORE_CONTEXT_H

#include "generate/visual.h"

typedef struct core_context {
    const core_assembly *assembly;
    more_session *session; /* holds every row of the history */
    core_ids history;      /* ids, CORE_IMAGE_TOKEN for each image */
    core_visual *images;   /* [image_count], in the order of the history; owned */
    size_t image_count;
    int64_t rows;     /* in the session */
    int64_t planned;  /* rows that the history is about to have, for a plugin whose positions depend on them; what is
                         appended counts as well; 0 = no more than that */
    int64_t computed; /* rows that went through the model for it, replayed ones each time */
} core_context;

/* The beginning of a history: ids, images among them, and the rows that these are. */
typedef struct core_prefix {
    size_t ids, images;
    int64_t rows;
} core_prefix;

/* Zero rows. [one-thread-per-session, as all below] */
more_status core_context_create(const core_assembly *assembly, core_context *context, more_error *error);
void core_context_destroy(core_context *context);
/* Copies the history, shares the images and forks the session, so that a turn can be tried and thrown away. Nothing is
 * computed for it yet. */
more_status core_context_fork(const core_context *context, core_context *fork, more_error *error);
/* Rows that `ids` with `images` (one a CORE_IMAGE_TOKEN) would add. */
int64_t core_context_rows(const core_ids *ids, const core_visual *images);
/* Appends ids and the images in them, in chunks of [runtime] batch rows, and gives the logits [vocabulary] after the
 * last row. The images' rows are taken over (moved out of `images`). dump_folder NULL = none; else the hidden states of
 * these rows are written there. MORE_ERROR_LIMIT when the context has no room: the message says how many rows there
 * are. On failure history and images are as before; the session is too when one row was added, else it must be
 * destroyed with the context. */
more_status core_context_append(core_context *context, const core_ids *ids, core_visual *images, size_t image_count,
                                const char *dump_folder, float *logits, more_error *error);
/* Appends a few ids in one call and gives the logits after each, [count, vocabulary]. MORE_NEEDS_REPLAY where the
 * session cannot go on with all of them; on this and every failure the context is as before. */
more_status core_context_try(core_context *context, const core_ids *ids, float *logits, more_error *error);
/* The longest beginning of `ids` with `images` (one a CORE_IMAGE_TOKEN) that the context's history begins with too; an
 * image is the same by its content, and is taken whole. Never all of the ids: what comes next follows from the last. */
core_prefix core_context_common(const core_context *context, const core_ids *ids, const core_visual *images);
/* Forgets what is behind `prefix`, which must be one of its history. MORE_NEEDS_REPLAY where the session has let go of
 * what it would need to go on from there: the context is then as it was. */
more_status core_context_cut(core_context *context, const core_prefix *prefix, more_error *error);
/* True where a session of `rows` rows, or soon after, lets go of some that it had (a sliding window), so that it cannot
 * be cut to any length. */
bool core_context_lets_go(const core_assembly *assembly, int64_t rows);
/* Forgets the last `count` ids, none of which is an image. A session that cannot be cut is replayed. On failure the
 * context must be destroyed. */
more_status core_context_drop(core_context *context, size_t count, more_error *error);

#endif
