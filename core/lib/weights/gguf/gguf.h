/* SPDX-License-Identifier: Apache-2.0
 *
 * The GGUF format, versions 2 and 3, little-endian (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic,
 * counts, typed key-values, tensor infos, then the aligned tensors. Nothing in the header is believed before it is
 * checked against the file's real size: counts, lengths, types, shapes, products (overflow), offsets, overlaps,
 * duplicate keys and names.
 */
#ifndef CORE_WEIGHTS_GGUF_H
#define CORE_WEIGHTS_GGUF_H

#include "weights/tensor_table.h"
#include <jansson.h>
#include <llavamore/status.h>

#define CORE_GGUF_ALIGNMENT 32     /* bytes, where general.alignment is absent, as in what we write */
#define CORE_GGUF_SHORT_ARRAY 4096 /* elements; longer arrays are not in the metadata's JSON */

typedef struct core_gguf core_gguf;

/* Types of values; the numbers are the file's. */
typedef enum core_gguf_type {
    CORE_GGUF_U8 = 0,
    CORE_GGUF_I8 = 1,
    CORE_GGUF_U16 = 2,
    CORE_GGUF_I16 = 3,
    CORE_GGUF_U32 = 4,
    CORE_GGUF_I32 = 5,
    CORE_GGUF_F32 = 6,
    CORE_GGUF_BOOL = 7,
    CORE_GGUF_STRING = 8,
    CORE_GGUF_ARRAY = 9,
    CORE_GGUF_U64 = 10,
    CORE_GGUF_I64 = 11,
    CORE_GGUF_F64 = 12
} core_gguf_type;

/* An array of the metadata where it lies in the file. */
typedef struct core_gguf_array {
    core_gguf_type type; /* of the elements, never CORE_GGUF_ARRAY */
    uint64_t count;
    const unsigned char *data; /* the elements: checked, packed, not aligned */
} core_gguf_array;

/* True when the bytes begin as GGUF does. */
bool core_gguf_is(const void *bytes, size_t size);

/* Maps the file and checks it whole (not the values of tensors). MORE_ERROR_CORRUPT and _UNSUPPORTED (version 1,
 * big-endian, a split file, a number format that is not read) name file, key or tensor, and value. [any-thread] */
more_status core_gguf_open(const char *path, core_gguf **file, more_error *error);
/* The same over bytes that the caller keeps alive and unchanged until the close; `path` names them in messages.
 * [any-thread] */
more_status core_gguf_parse(const void *bytes, size_t size, const char *path, core_gguf **file, more_error *error);
/* NULL is allowed. */
void core_gguf_close(core_gguf *file);

/* Its tensors in the order of their bytes, outermost dimension first (the file has it last). Formats are "f32", "f16",
 * "bf16", "i8", ... and those of quantised.h. [any-thread] */
const core_tensor_table *core_gguf_tensors(const core_gguf *file);

/* The key-values as one flat object {"general.architecture": "...", ...}, borrowed. Arrays of more than
 * CORE_GGUF_SHORT_ARRAY elements and arrays of arrays are left out. [any-thread] */
json_t *core_gguf_metadata(const core_gguf *file);
/* An array of any length by its key; false when it is absent or holds arrays. [any-thread] */
bool core_gguf_find_array(const core_gguf *file, const char *key, core_gguf_array *array);
/* The text at *at in an array of texts, and *at moved behind it. */
const char *core_gguf_next_text(const unsigned char **at, size_t *size);

#endif
