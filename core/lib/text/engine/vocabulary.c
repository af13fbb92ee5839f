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

static bool same_text(const core_vocabulary *v, core_piece_text piece, const char *text, size_t size)
{
    return piece.size == size && !memcmp(v->arena.data + piece.offset, text, size);
}

/* The slot that holds the text, or the empty one where it belongs. */
static uint32_t find_slot(const core_vocabulary *v, uint32_t hash, const char *text, size_t size)
{
    uint32_t at = hash & v->slot_mask;
    for (; v->slots[at]; at = (at + 1) & v->slot_mask) {
        if (v->slots[at] >> 32 != hash)
            continue;
        uint32_t entry = (uint32_t)v->slots[at] - 1;
        if (same_text(v, v->entries[entry].text, text, size))
            break;
    }
    return at;
}

static bool grow_slots(core_vocabulary *v)
{
    uint32_t count = v->slots ? (v->slot_mask + 1) * 2 : 64;
    uint64_t *slots = calloc(count, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t i = 0; v->slots && i <= v->slot_mask; i++) {
        if (!v->slots[i])
            continue;
        uint32_t at = (uint32_t)(v->slots[i] >> 32) & (count - 1);
        while (slots[at])
            at = (at + 1) & (count - 1);
        slots[at] = v->slots[i];
    }
    free(v->slots);
    v->slots = slots;
    v->slot_mask = count - 1;
    return true;
}

static bool grow_entries(core_vocabulary *v)
{
    uint32_t capacity = v->entry_capacity ? v->entry_capacity * 2 : 64;
    struct core_vocabulary_entry *entries = realloc(v->entries, capacity * sizeof *entries);
    if (!entries)
        return false;
    v->entries = entries;
    v->entry_capacity = capacity;
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

static bool add_entry(core_vocabulary *v, uint32_t at, uint32_t hash, const char *text, size_t size)
{
    if (v->entry_count == v->entry_capacity && !grow_entries(v))
        return false;
    if (v->arena.size > UINT32_MAX / 2 || size > UINT32_MAX / 2)
        return false;
    core_piece_text piece = {(uint32_t)v->arena.size, (uint32_t)size};
    core_buffer_append(&v->arena, text, size);
    if (v->arena.failed)
        return false;
    v->entries[v->entry_count] = (struct core_vocabulary_entry){piece, -1};
    v->slots[at] = (uint64_t)hash << 32 | ++v->entry_count;
    return true;
}

bool core_vocabulary_set(core_vocabulary *v, const char *text, size_t size, int32_t id)
{
    if (id < 0 || id >= CORE_VOCABULARY_LIMIT || (id >= v->capacity && !grow_pieces(v, id)))
        return false;
    if ((!v->slots || v->entry_count >= (v->slot_mask + 1) / 2) && !grow_slots(v))
        return false;
    uint32_t hash = hash_bytes(text, size), at = find_slot(v, hash, text, size);
    if (!v->slots[at] && !add_entry(v, at, hash, text, size))
        return false;
    struct core_vocabulary_entry *entry = &v->entries[(uint32_t)v->slots[at] - 1];
    entry->id = id;
    v->pieces[id] = entry->text;
    if (id >= v->size)
        v->size = id + 1;
    return true;
}

int32_t core_vocabulary_find(const core_vocabulary *v, const char *text, size_t size)
{
    if (!v->slots)
        return -1;
    uint32_t at = find_slot(v, hash_bytes(text, size), text, size);
    return v->slots[at] ? v->entries[(uint32_t)v->slots[at] - 1].id : -1;
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
    free(v->entries);
    *v = (core_vocabulary){0};
}
