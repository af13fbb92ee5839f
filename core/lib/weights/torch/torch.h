/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of torch.save since PyTorch 1.6 (pytorch_model.bin, mm_projector.bin, adapter_model.bin): a zip archive of
 * PREFIX/data.pkl, PREFIX/byteorder and PREFIX/data/0, 1, ... whose pickle is a flat state dict. Nothing is executed;
 * tensors lie in the mapped file, contiguous ones only. Older files, TorchScript and big-endian ones are refused.
 */
#ifndef CORE_WEIGHTS_TORCH_H
#define CORE_WEIGHTS_TORCH_H

#include "weights/tensor_table.h"
#include <llavamore/status.h>

typedef struct core_torch core_torch;

/* Maps the file and checks it whole (not the values). MORE_ERROR_CORRUPT and _UNSUPPORTED name file, tensor and reason.
 * [any-thread] */
more_status core_torch_open(const char *path, core_torch **file, more_error *error);
/* The same over bytes that the caller keeps alive and unchanged until the close; `path` names them in messages.
 * [any-thread] */
more_status core_torch_parse(const void *bytes, size_t size, const char *path, core_torch **file, more_error *error);
/* NULL is allowed. */
void core_torch_close(core_torch *file);

/* Its tensors in the order of the state dict. [any-thread] */
const core_tensor_table *core_torch_tensors(const core_torch *file);

#endif
