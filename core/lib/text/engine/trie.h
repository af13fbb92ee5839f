/* SPDX-License-Identifier: Apache-2.0
 *
 * A byte trie over texts, each with a number.
 */
#ifndef CORE_TRIE_H
#define CORE_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Children of a node are a list of siblings; `token` is a number + 1, 0 = no text ends here. */
typedef struct core_trie_node {
    uint32_t child, sibling, token;
    unsigned char byte;
} core_trie_node;

/* Node 0 is the root. Zero-initialise; free with core_trie_free. */
typedef struct core_trie {
    core_trie_node *nodes;
    uint32_t count, capacity;
    uint32_t roots[256]; /* child of the root by byte, 0 = none */
} core_trie;

/* Of two equal texts the first counts; an empty text is left out. False = out of memory. */
bool core_trie_add(core_trie *trie, const char *text, size_t size, uint32_t token);
/* Length of the longest text at the front of `size` > 0 bytes, its number in *token; 0 without one. [any-thread] */
size_t core_trie_match(const core_trie *trie, const char *text, size_t size, uint32_t *token);
void core_trie_free(core_trie *trie);

/* The child of a node for a byte, 0 = none; beginning at node 0 it follows a text. [any-thread] */
static inline uint32_t core_trie_step(const core_trie *trie, uint32_t node, unsigned char byte)
{
    if (!node)
        return trie->roots[byte];
    node = trie->nodes[node].child;
    while (node && trie->nodes[node].byte != byte)
        node = trie->nodes[node].sibling;
    return node;
}

#endif
