/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/trie.h"

#include <stdlib.h>

static uint32_t new_node(core_trie *trie, unsigned char byte)
{
    if (trie->count == trie->capacity) {
        uint32_t capacity = trie->capacity ? trie->capacity * 2 : 64;
        core_trie_node *nodes = capacity > trie->capacity ? realloc(trie->nodes, capacity * sizeof *nodes) : NULL;
        if (!nodes)
            return 0;
        trie->nodes = nodes;
        trie->capacity = capacity;
    }
    trie->nodes[trie->count] = (core_trie_node){.byte = byte};
    return trie->count++;
}

/* The child of `node` for the byte, made when it is missing; 0 = out of memory. */
static uint32_t child_of(core_trie *trie, uint32_t node, unsigned char byte)
{
    uint32_t at = core_trie_step(trie, node, byte);
    if (at || !(at = new_node(trie, byte)))
        return at;
    trie->nodes[at].sibling = trie->nodes[node].child;
    trie->nodes[node].child = at;
    if (!node)
        trie->roots[byte] = at;
    return at;
}

bool core_trie_add(core_trie *trie, const char *text, size_t size, uint32_t token)
{
    uint32_t node = 0;
    if (!trie->count) {
        new_node(trie, 0);
        if (!trie->count)
            return false;
    }
    if (!size)
        return true;
    for (size_t i = 0; i < size; i++)
        if (!(node = child_of(trie, node, (unsigned char)text[i])))
            return false;
    if (!trie->nodes[node].token)
        trie->nodes[node].token = token + 1;
    return true;
}

size_t core_trie_match(const core_trie *trie, const char *text, size_t size, uint32_t *token)
{
    size_t longest = 0;
    uint32_t node = 0;
    for (size_t length = 1; length <= size; length++) {
        node = core_trie_step(trie, node, (unsigned char)text[length - 1]);
        if (!node)
            break;
        if (trie->nodes[node].token) {
            longest = length;
            *token = trie->nodes[node].token - 1;
        }
    }
    return longest;
}

void core_trie_free(core_trie *trie)
{
    free(trie->nodes);
    *trie = (core_trie){0};
}
