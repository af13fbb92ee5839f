/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalizers: Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip.
 */
#ifndef CORE_NORMALIZER_H
#define CORE_NORMALIZER_H

#include "text/engine/component.h"

/* Zero-initialise (no steps: text stays as it is); free with core_normalizer_free. */
typedef struct core_normalizer {
    struct core_normalizer_step *steps;
    size_t count;
} core_normalizer;

/* Reads the member "normalizer", NULL or null for none. */
more_status core_normalizer_load(json_t *json, const char *file, core_normalizer *normalizer, more_error *error);
void core_normalizer_free(core_normalizer *normalizer);
/* Puts the normalised text into `result`, replacing its content. [any-thread] */
more_status core_normalizer_apply(const core_normalizer *normalizer, const char *text, size_t size, core_buffer *result,
                                  more_error *error);

#endif
