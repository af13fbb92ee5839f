/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#define NO_TEXT UINT32_MAX

/* Multiply-and-fold over eight bytes at a time; the length goes in, so that a tail of zeros counts. */
static uint32_t hash_bytes(const char *text, size_t size)
{
    uint64_t h = size * UINT64_C(0x9E3779B97F4A7C15), block;
    for (; size >= 8; size -= 8, text += 8) {
        memcpy(&block, text, 8);
        h = (h ^ block) * UINT64_C(0xD6E8FEB86659FD93);
        h ^= h >> 32;
    }
    block = 0;
    memcpy(&block, text, size);
    h = (h ^ block) * UINT64_C(0xD6E8FEB86659FD93);
    h ^= h >> 29;
    h *= UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(h >> 32);
}

/* The slot that holds the text, or the empty one where it belongs. */
static struct core_vocabulary_slot *find_slot(const core_vocabulary *v, uint32_t hash, const char *text, size_t size)
{
    uint32_t at = hash & v->slot_mask;
    for (;; at = (at + 1) & v->slot_mask) {
        struct core_vocabulary_slot *slot = &v->slots[at];
        if (slot->text.offset == NO_TEXT)
            return slot;
        if (slot->hash == hash && slot->text.size == size && !memcmp(v->arena.data + slot->text.offset, text, size))
            return slot;
    }
}

static bool grow_slots(core_vocabulary *v)
{
    uint32_t count = v->slots ? (v->slot_mask + 1) * 2 : 64;
    struct core_vocabulary_slot *slots = malloc(count * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0xFF, count * sizeof *slots);
    for (uint32_t i = 0; v->slots && i <= v->slot_mask; i++) {
        if (v->slots[i].text.offset == NO_TEXT)
            continue;
        uint32_t at = v->slots[i].hash & (count - 1);
        while (slots[at].text.offset != NO_TEXT)
            at = (at + 1) & (count - 1);
        slots[at] = v->slots[i];
    }
    free(v->slots);
    v->slots = slots;
    v->slot_mask = count - 1;
    return true;
}

static bool grow_pieces(core_vocabulary *v, int32_t id)
{
    int32_t capacity = v->capacity ? v->capacity : 64;
    while (capacity <= id)
        capacity *= 2;
    core_piece_text *pieces = realloc(v->pieces, (size_t)capacity * sizeof *pieces);
    if (!pieces)
        return false;
    memset(pieces + v->capacity, 0xFF, (size_t)(capacity - v->capacity) * sizeof *pieces);
    v->pieces = pieces;
    v->capacity = capacity;
    return true;
}

/* Puts a new text into an empty slot. */
static bool fill_slot(core_vocabulary *v, struct core_vocabulary_slot *slot, uint32_t hash, const char *text,
                      size_t size)
{
    if (v->arena.size > UINT32_MAX / 2 || size > UINT32_MAX / 2)
        return false;
    core_piece_text piece = {(uint32_t)v->arena.size, (uint32_t)size};
    core_buffer_append(&v->arena, text, size);
    if (v->arena.failed)
        return false;
    slot->hash = hash;
    slot->text = piece;
    v->entry_count++;
    return true;
}

bool core_vocabulary_set(core_vocabulary *v, const char *text, size_t size, int32_t id)
{
    if (id < 0 || id >= CORE_VOCABULARY_LIMIT || (id >= v->capacity && !grow_pieces(v, id)))
        return false;
    if ((!v->slots || v->entry_count >= (v->slot_mask + 1) / 2) && !grow_slots(v))
        return false;
    uint32_t hash = hash_bytes(text, size);
    struct core_vocabulary_slot *slot = find_slot(v, hash, text, size);
    if (slot->text.offset == NO_TEXT && !fill_slot(v, slot, hash, text, size))
        return false;
    slot->id = id;
    v->pieces[id] = slot->text;
    if (id >= v->size)
        v->size = id + 1;
    return true;
}

int32_t core_vocabulary_find(const core_vocabulary *v, const char *text, size_t size)
{
    if (!v->slots)
        return -1;
    const struct core_vocabulary_slot *slot = find_slot(v, hash_bytes(text, size), text, size);
    return slot->text.offset == NO_TEXT ? -1 : slot->id;
}

const char *core_vocabulary_piece(const core_vocabulary *v, int32_t id, size_t *size)
{
    if (id < 0 || id >= v->size || v->pieces[id].offset == NO_TEXT)
        return NULL;
    *size = v->pieces[id].size;
    return v->arena.data + v->pieces[id].offset;
}

void core_vocabulary_free(core_vocabulary *v)
{
    core_buffer_free(&v->arena);
    free(v->pieces);
    free(v->slots);
    *v = (core_vocabulary){0};
}
