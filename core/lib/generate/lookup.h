/* SPDX-License-Identifier: Apache-2.0
 *
 * Prompt lookup: what an answer will say next is guessed from what stood behind its last words before, in the prompt or
 * in the answer itself. Quotations, lists and code repeat themselves; a wrong guess costs time, never a token.
 */
#ifndef CORE_LOOKUP_H
#define CORE_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#define CORE_MOST_GUESSED 32 /* tokens of one guess */

/* Guesses at most `most` ids that follow ids[count]: those behind the latest earlier place where the last ids stand,
 * four of them if there is one, else three, else two. A guess that reaches the end goes on in itself. Gives their
 * number, 0 where the last two ids are new. */
int32_t core_lookup(const int32_t *ids, size_t count, int32_t most, int32_t *guess);

#endif
