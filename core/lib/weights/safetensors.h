/* SPDX-License-Identifier: Apache-2.0
 *
 * The safetensors format (https://github.com/huggingface/safetensors): 8 bytes of header length (little-endian), a JSON
 * header {name: {dtype, shape, data_offsets}}, then the tensors' bytes. Nothing in the header is believed before it is
 * checked against the file's real size: dtypes, shapes, products (overflow), offsets, overlaps, holes, duplicate names.
 */
#ifndef CORE_WEIGHTS_SAFETENSORS_H
#define CORE_WEIGHTS_SAFETENSORS_H

#include "weights/tensor_table.h"
#include <llavamore/status.h>

#define CORE_SAFETENSORS_HEADER_LIMIT ((uint64_t)100 << 20) /* bytes; the format's own cap is 100 MB */

typedef struct core_safetensors core_safetensors;

/* Maps the file and checks it whole (not the values). MORE_ERROR_CORRUPT names file, tensor and reason. [any-thread] */
more_status core_safetensors_open(const char *path, core_safetensors **file, more_error *error);
/* The same over bytes that the caller keeps alive and unchanged until the close; `path` names them in messages.
 * [any-thread] */
more_status core_safetensors_parse(const void *bytes, size_t size, const char *path, core_safetensors **file,
                                   more_error *error);
/* NULL is allowed. */
void core_safetensors_close(core_safetensors *file);

/* Its tensors in the order of their bytes. [any-thread] */
const core_tensor_table *core_safetensors_tensors(const core_safetensors *file);
/* The value of a string in the header's `__metadata__`, NULL when absent. [any-thread] */
const char *core_safetensors_metadata(const core_safetensors *file, const char *key);

#endif
