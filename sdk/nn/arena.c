/* SPDX-License-Identifier: Apache-2.0
 *
 * Arenas: the activations of one forward call. Chunks of memory are handed out from the front and kept; an arena
 * that needed several is given one large chunk the next time.
 */
#include <stdlib.h>

#include "internal.h"

enum { LEAST_CHUNK = 1 << 16 /* floats */, MOST_CHUNKS = 64, ALIGNMENT = MORE_ALIGNMENT / sizeof(float) };

typedef struct chunk {
    float *values;
    int64_t size, used; /* floats */
} chunk;

struct nn_arena {
    nn_context *context;
    nn_arena *next; /* in the context's list */
    int64_t wanted; /* floats of the next chunk at least */
    int32_t count;
    chunk chunks[MOST_CHUNKS];
};

static void release_chunks(nn_arena *arena)
{
    for (int32_t i = 0; i < arena->count; i++)
        nn_free(arena->context, arena->chunks[i].values);
    arena->count = 0;
}

nn_arena *nn_arena_begin(nn_context *context)
{
    pthread_mutex_lock(&context->lock);
    nn_arena *arena = context->arenas;
    if (arena)
        context->arenas = arena->next;
    pthread_mutex_unlock(&context->lock);
    if (arena)
        return arena;
    arena = calloc(1, sizeof *arena);
    if (arena) {
        arena->context = context;
        arena->wanted = LEAST_CHUNK;
    }
    return arena;
}

float *nn_arena_f32(nn_arena *arena, int64_t count)
{
    if (count < 0 || count > INT64_MAX / 8)
        return NULL;
    count = nn_max(nn_ceil_divide(count, ALIGNMENT) * ALIGNMENT, ALIGNMENT);
    for (int32_t i = 0; i < arena->count; i++) {
        chunk *c = &arena->chunks[i];
        if (c->size - c->used >= count) {
            c->used += count;
            return c->values + c->used - count;
        }
    }
    if (arena->count == MOST_CHUNKS)
        return NULL;
    chunk *c = &arena->chunks[arena->count];
    c->size = nn_max(count, arena->wanted);
    c->used = count;
    c->values = nn_place(arena->context, c->size, sizeof(float), "activations");
    if (!c->values)
        return NULL;
    arena->count++;
    arena->wanted = nn_max(arena->wanted, c->size); /* doubling: few chunks, whatever is asked */
    if (arena->wanted < INT64_MAX / 16)
        arena->wanted *= 2;
    return c->values;
}

const float *nn_bring(nn_arena *arena, const float *values, int64_t count)
{
    if (nn_on_host(arena->context))
        return values;
    float *there = nn_arena_f32(arena, count);
    if (there)
        nn_copy(arena->context, there, values, (size_t)count * sizeof *values);
    return there;
}

float *nn_stand_in(nn_arena *arena, float *values, int64_t count)
{
    return nn_on_host(arena->context) ? values : nn_arena_f32(arena, count);
}

void nn_arena_end(nn_context *context, nn_arena *arena)
{
    if (!arena)
        return;
    int64_t total = 0;
    for (int32_t i = 0; i < arena->count; i++) {
        total += arena->chunks[i].used;
        arena->chunks[i].used = 0;
    }
    if (arena->count > 1)
        release_chunks(arena);
    arena->wanted = nn_max(total, LEAST_CHUNK);
    pthread_mutex_lock(&context->lock);
    arena->next = context->arenas;
    context->arenas = arena;
    pthread_mutex_unlock(&context->lock);
}

void nn_arenas_free(nn_context *context)
{
    while (context->arenas) {
        nn_arena *arena = context->arenas;
        context->arenas = arena->next;
        release_chunks(arena);
        free(arena);
    }
}
