/* SPDX-License-Identifier: Apache-2.0
 *
 * A growable byte buffer, always NUL-terminated behind its bytes so that it can be read as text.
 */
#ifndef CORE_BUFFER_H
#define CORE_BUFFER_H

#include <llavamore/status.h>
#include <stddef.h>

/* Zero-initialise it; the owner frees it. An append that runs out of memory sets `failed` and keeps the content, so a
 * chain of appends is checked once at its end. */
typedef struct core_buffer {
    char *data; /* NULL while nothing was appended: then size is 0 */
    size_t size, capacity;
    int failed;
} core_buffer;

void core_buffer_append(core_buffer *buffer, const void *bytes, size_t size);
void core_buffer_text(core_buffer *buffer, const char *text);
MORE_PRINTF(2, 3) void core_buffer_format(core_buffer *buffer, const char *text, ...);
/* Keeps the memory, forgets the content. */
void core_buffer_clear(core_buffer *buffer);
void core_buffer_free(core_buffer *buffer);
/* The content as a string of its own that the caller frees; the buffer is empty afterwards. NULL when an append had
 * failed. */
char *core_buffer_take(core_buffer *buffer);

#endif
