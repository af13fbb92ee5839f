/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/pieces.h"

#include <stdlib.h>

void core_pieces_add(core_pieces *pieces, core_piece piece)
{
    if (!piece.size && piece.id < 0)
        return;
    if (pieces->count == pieces->capacity) {
        size_t capacity = pieces->capacity ? pieces->capacity * 2 : 64;
        core_piece *items = realloc(pieces->items, capacity * sizeof *items);
        if (!items) {
            pieces->failed = true;
            return;
        }
        pieces->items = items;
        pieces->capacity = capacity;
    }
    pieces->items[pieces->count++] = piece;
}

void core_pieces_clear(core_pieces *pieces)
{
    core_buffer_clear(&pieces->text);
    pieces->count = 0;
}

void core_pieces_free(core_pieces *pieces)
{
    core_buffer_free(&pieces->text);
    free(pieces->items);
    *pieces = (core_pieces){0};
}
