/* SPDX-License-Identifier: Apache-2.0
 *
 * A text cut into pieces, on its way to the model.
 */
#ifndef CORE_PIECES_H
#define CORE_PIECES_H

#include "base/buffer.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct core_piece {
    size_t offset, size; /* in the text */
    int32_t id;          /* of an added token, which no step touches any more; -1: text */
    bool first;          /* it begins where the whole text begins */
} core_piece;

/* Zero-initialise; free with core_pieces_free. */
typedef struct core_pieces {
    core_buffer text;
    core_piece *items;
    size_t count, capacity;
    bool failed; /* an append ran out of memory */
} core_pieces;

/* Appends a piece; one without text is left out. */
void core_pieces_add(core_pieces *pieces, core_piece piece);
/* Forgets the content, keeps the memory. */
void core_pieces_clear(core_pieces *pieces);
void core_pieces_free(core_pieces *pieces);

#endif
