/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

static int grow(core_buffer *buffer, size_t more)
{
    if (buffer->failed || more >= SIZE_MAX / 2 - buffer->size) {
        buffer->failed = 1;
        return 0;
    }
    size_t needed = buffer->size + more + 1;
    if (needed <= buffer->capacity)
        return 1;
    size_t capacity = buffer->capacity ? buffer->capacity : 64;
    while (capacity < needed)
        capacity *= 2;
    char *data = realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = 1;
        return 0;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return 1;
}

void core_buffer_append(core_buffer *buffer, const void *bytes, size_t size)
{
    if (!grow(buffer, size))
        return;
    if (size)
        memcpy(buffer->data + buffer->size, bytes, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void core_buffer_text(core_buffer *buffer, const char *text)
{
    core_buffer_append(buffer, text, strlen(text));
}

void core_buffer_format(core_buffer *buffer, const char *text, ...)
{
    va_list arguments, again;
    va_start(arguments, text);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, text, arguments);
    va_end(arguments);
    if (length < 0)
        buffer->failed = 1;
    else if (grow(buffer, (size_t)length)) {
        vsnprintf(buffer->data + buffer->size, (size_t)length + 1, text, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
}

void core_buffer_clear(core_buffer *buffer)
{
    buffer->size = 0;
    if (buffer->data)
        buffer->data[0] = '\0';
}

void core_buffer_free(core_buffer *buffer)
{
    free(buffer->data);
    *buffer = (core_buffer){0};
}

char *core_buffer_take(core_buffer *buffer)
{
    core_buffer_append(buffer, "", 0);
    char *data = buffer->data;
    if (buffer->failed) {
        free(data);
        data = NULL;
    }
    *buffer = (core_buffer){0};
    return data;
}
