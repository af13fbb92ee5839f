/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of tensors of whatever format: safetensors, what torch.save writes, or GGUF. The content decides, not the
 * name.
 */
#ifndef CORE_WEIGHTS_TENSOR_FILE_H
#define CORE_WEIGHTS_TENSOR_FILE_H

#include "weights/gguf/gguf.h"
#include "weights/safetensors.h"

typedef struct core_tensor_file core_tensor_file;

/* Maps the file and checks it whole (not the values). MORE_ERROR_CORRUPT names file, tensor and reason;
 * MORE_ERROR_UNSUPPORTED names formats that are known and not read. [any-thread] */
more_status core_tensor_file_open(const char *path, core_tensor_file **file, more_error *error);
/* NULL is allowed. */
void core_tensor_file_close(core_tensor_file *file);

/* "safetensors", "PyTorch" or "GGUF". [any-thread] */
const char *core_tensor_file_format(const core_tensor_file *file);
/* The file itself, for its metadata; NULL where it is no GGUF file. [any-thread] */
const core_gguf *core_tensor_file_gguf(const core_tensor_file *file);
/* Its tensors in the file's order. [any-thread] */
const core_tensor_table *core_tensor_file_tensors(const core_tensor_file *file);

#endif
