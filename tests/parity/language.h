/* SPDX-License-Identifier: Apache-2.0
 *
 * A language model of the reference data, opened through its plugin, and advance() in one line.
 */
#ifndef PARITY_LANGUAGE_H
#define PARITY_LANGUAGE_H

#include "parity.h"

typedef struct parity_language {
    const char *name; /* the case's */
    const more_language_interface *interface;
    more_language *model;
    more_language_info info;
    parity_checkpoint checkpoint;
    more_checkpoint *reference;
} parity_language;

/* Opens models/<name> with its plugin ("llm/llama") under `kv_cache`. */
void parity_language_open(const more_host *host, const char *plugin_name, const char *name, const char *kv_cache,
                          parity_language *language);
void parity_language_close(parity_language *language);

/* Calls `body` once for each language case, opened on a host of two threads with an f32 cache. */
void parity_each_language(void (*body)(const parity_language *language));

more_session *parity_session(const parity_language *language);
void parity_drop(const parity_language *language, more_session *session);
more_session *parity_fork(const parity_language *language, more_session *session);
int64_t parity_length(const parity_language *language, const more_session *session);

/* One item of advance: `count` ids behind what the session has, and the logits of the last `logit_rows` of them into
 * `logits` [logit_rows, vocabulary] (NULL when 0). Owns what the item points to, so it must not move. */
typedef struct parity_item {
    more_advance item;
    more_segment segment;
    int64_t rows[512];
    parity_tensor *logits;
} parity_item;
void parity_item_set(const parity_language *language, more_session *session, const int32_t *ids, int64_t count,
                     int64_t logit_rows, parity_item *item);
void parity_item_clear(parity_item *item);

/* Advances one session by ids; logits [logit_rows, vocabulary] of the last rows are copied out. */
void parity_advance(const parity_language *language, more_session *session, const int32_t *ids, int64_t count,
                    int64_t logit_rows, float *logits);

#endif
