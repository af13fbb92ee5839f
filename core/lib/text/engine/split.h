/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting pieces at the matches of a pattern.
 */
#ifndef CORE_SPLIT_H
#define CORE_SPLIT_H

#include "text/engine/pattern.h"
#include "text/engine/pieces.h"

/* What becomes of a match; the names are those of the tokenizers package. */
typedef enum core_split_behaviour {
    CORE_SPLIT_REMOVED,              /* it goes */
    CORE_SPLIT_ISOLATED,             /* it is a piece */
    CORE_SPLIT_MERGED_WITH_PREVIOUS, /* it ends the piece before it */
    CORE_SPLIT_MERGED_WITH_NEXT,     /* it begins the piece behind it */
    CORE_SPLIT_CONTIGUOUS            /* matches side by side are one piece */
} core_split_behaviour;

/* Appends to out->items the pieces of `in`, cut; the text of both is out->text. With `invert` what lies between the
 * matches counts as match, and the matches as what lies between. [any-thread] */
more_status core_split(const core_pattern *pattern, core_split_behaviour behaviour, bool invert, const core_pieces *in,
                       core_pieces *out, more_error *error);

#endif
