/* SPDX-License-Identifier: Apache-2.0 */
#include "text/sentencepiece/protobuf.h"

#include <stdbool.h>

static more_status broken(const core_protobuf *message, const unsigned char *at, const char *what, more_error *error)
{
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: byte %zu: %s; is it a SentencePiece model?", message->name,
                     (size_t)(at - message->start), what);
}

/* At most ten bytes, seven bits each. */
static bool read_varint(core_protobuf *message, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && message->at < message->end; shift += 7) {
        unsigned char byte = *message->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool read_fixed(core_protobuf *message, size_t width, uint64_t *value)
{
    *value = 0;
    if ((size_t)(message->end - message->at) < width)
        return false;
    for (size_t i = 0; i < width; i++)
        *value |= (uint64_t)message->at[i] << (8 * i);
    message->at += width;
    return true;
}

static bool read_bytes(core_protobuf *message, core_field *field)
{
    uint64_t size;
    if (!read_varint(message, &size) || size > (uint64_t)(message->end - message->at))
        return false;
    field->data = message->at;
    field->size = (size_t)size;
    message->at += size;
    return true;
}

more_status core_protobuf_next(core_protobuf *message, core_field *field, more_error *error)
{
    const unsigned char *begin = message->at;
    uint64_t tag;
    if (!read_varint(message, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF)
        return broken(message, begin, "no field begins here", error);
    *field = (core_field){.number = (uint32_t)(tag >> 3), .wire = (core_wire)(tag & 7)};
    bool good = false;
    if (field->wire == CORE_WIRE_VARINT)
        good = read_varint(message, &field->value);
    else if (field->wire == CORE_WIRE_64)
        good = read_fixed(message, 8, &field->value);
    else if (field->wire == CORE_WIRE_BYTES)
        good = read_bytes(message, field);
    else if (field->wire == CORE_WIRE_32)
        good = read_fixed(message, 4, &field->value);
    return good ? MORE_OK : broken(message, begin, "a field of no known kind, or one that ends behind the data", error);
}

core_protobuf core_protobuf_inside(const core_protobuf *message, const core_field *field)
{
    return (core_protobuf){field->data, field->data + field->size, message->start, message->name};
}

more_status core_protobuf_expect(const core_protobuf *message, const core_field *field, core_wire wire,
                                 more_error *error)
{
    return field->wire == wire ? MORE_OK : broken(message, message->at, "the field before has the wrong kind", error);
}
