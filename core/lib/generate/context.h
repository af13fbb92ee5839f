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
    int64_t rows; /* in the session */
} core_context;

/* Zero rows. [one-thread-per-session, as all below] */
more_status core_context_create(const core_assembly *assembly, core_context *context, more_error *error);
void core_context_destroy(core_context *context);
/* Copies the history, shares the images and forks the session, so that a turn can be tried and thrown away. */
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
/* Forgets the last `count` ids, none of which is an image. A session that cannot be cut is replayed. On failure the
 * context must be destroyed. */
more_status core_context_drop(core_context *context, size_t count, more_error *error);

#endif
