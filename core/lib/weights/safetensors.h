/* SPDX-License-Identifier: Apache-2.0
 *
 * The safetensors format (https://github.com/huggingface/safetensors): 8 bytes of header length (little-endian), a JSON
 * header {name: {dtype, shape, data_offsets}}, then the tensors' bytes. Nothing in the header is believed before it is
 * checked against the file's real size: dtypes, shapes, products (overflow), offsets, overlaps, holes, duplicate names.
 */
#ifndef CORE_WEIGHTS_SAFETENSORS_H
#define CORE_WEIGHTS_SAFETENSORS_H

#include <llavamore/status.h>
#include <llavamore/tensor.h>
#include <stddef.h>

#define CORE_SAFETENSORS_HEADER_LIMIT ((uint64_t)100 << 20) /* bytes; the format's own cap is 100 MB */

/* One stored tensor, of any source. Owned by what gave it out. */
typedef struct core_tensor_entry {
    char *name;                   /* name in the file */
    const char *path;             /* file that holds it, for messages */
    const char *format;           /* constant text: "f32", "f16", "bf16", "f64", "i64", ... */
    int32_t rank;                 /* 0 to MORE_MAX_RANK */
    int64_t shape[MORE_MAX_RANK]; /* outermost first; every dimension >= 0, the product fits int64 */
    int64_t elements;             /* product of the shape */
    const unsigned char *data;    /* stored little-endian bytes, not necessarily aligned; NULL = synthetic */
    size_t bytes;                 /* size of the stored form */
    bool mapped;                  /* data lies in a read-only file mapping, whose pages may be dropped and come back */
    const struct core_delta *delta; /* what an adapter adds when it is read, see adapter/delta.h; NULL = nothing */
} core_tensor_entry;

typedef struct core_safetensors core_safetensors;

/* Maps the file and checks it whole (not the values). MORE_ERROR_CORRUPT names file, tensor and reason. [any-thread] */
more_status core_safetensors_open(const char *path, core_safetensors **file, more_error *error);
/* The same over bytes that the caller keeps alive and unchanged until the close; `path` names them in messages.
 * [any-thread] */
more_status core_safetensors_parse(const void *bytes, size_t size, const char *path, core_safetensors **file,
                                   more_error *error);
/* NULL is allowed. */
void core_safetensors_close(core_safetensors *file);

/* Tensors in the order of their bytes; NULL when out of range or absent. find is O(log n). [any-thread] */
int64_t core_safetensors_count(const core_safetensors *file);
const core_tensor_entry *core_safetensors_at(const core_safetensors *file, int64_t index);
const core_tensor_entry *core_safetensors_find(const core_safetensors *file, const char *name);
/* The value of a string in the header's `__metadata__`, NULL when absent. [any-thread] */
const char *core_safetensors_metadata(const core_safetensors *file, const char *key);

#endif
