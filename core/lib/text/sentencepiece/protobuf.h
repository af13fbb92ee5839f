/* SPDX-License-Identifier: Apache-2.0
 *
 * The wire format of protocol buffers, field by field, every length checked against what is there.
 */
#ifndef CORE_PROTOBUF_H
#define CORE_PROTOBUF_H

#include <llavamore/status.h>
#include <stddef.h>
#include <stdint.h>

/* What is still to be read of a message. */
typedef struct core_protobuf {
    const unsigned char *at, *end;
    const unsigned char *start; /* of the file, for offsets in messages */
    const char *name;           /* the file */
} core_protobuf;

typedef enum core_wire { CORE_WIRE_VARINT = 0, CORE_WIRE_64 = 1, CORE_WIRE_BYTES = 2, CORE_WIRE_32 = 5 } core_wire;

typedef struct core_field {
    uint32_t number;
    core_wire wire;
    uint64_t value; /* of all wires but BYTES */
    const unsigned char *data;
    size_t size; /* BYTES */
} core_field;

/* Reads the next field; there must be one. MORE_ERROR_CORRUPT with the offset of what is no field. [any-thread] */
more_status core_protobuf_next(core_protobuf *message, core_field *field, more_error *error);
/* The field, of the wire BYTES, as a message of its own. [any-thread] */
core_protobuf core_protobuf_inside(const core_protobuf *message, const core_field *field);
/* Refuses a field whose wire is not the one its number should have. [any-thread] */
more_status core_protobuf_expect(const core_protobuf *message, const core_field *field, core_wire wire,
                                 more_error *error);

#endif
