/* SPDX-License-Identifier: Apache-2.0
 *
 * "Did you mean 'layer'?": the nearest of the valid names, by edit distance.
 *
 * Offer the valid names one by one, then read `best`:
 *     core_suggest nearest = core_suggest_for("lyaer");
 *     core_suggest_offer(&nearest, "layer");
 *     more_fail(error, ..., "unknown key '%s'%s", "lyaer", core_suggest_text(&nearest));
 */
#ifndef CORE_SUGGEST_H
#define CORE_SUGGEST_H

#include <stddef.h>

#define CORE_SUGGEST_LENGTH 64 /* bytes; longer words and names are never near anything */

typedef struct core_suggest {
    const char *word; /* as given; must outlive the struct */
    const char *best; /* the nearest name offered, borrowed; NULL while none is near enough */
    size_t distance;  /* of best */
    char text[CORE_SUGGEST_LENGTH + 32];
} core_suggest;

core_suggest core_suggest_for(const char *word);
/* Of two names equally near the first offered stays. Near enough: at most one edit a three letters, at least one. */
void core_suggest_offer(core_suggest *suggest, const char *name);
/* " (did you mean 'layer'?)", or "" when nothing is near. Lives in the struct. */
const char *core_suggest_text(core_suggest *suggest);

/* Edits that make one word of the other, letter case ignored: inserted, removed or replaced bytes and swapped
 * neighbours (optimal string alignment: Damerau 1964, no substring edited twice). SIZE_MAX when one is longer than
 * CORE_SUGGEST_LENGTH. */
size_t core_edit_distance(const char *a, const char *b);

#endif
