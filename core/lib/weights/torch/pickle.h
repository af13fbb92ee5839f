/* SPDX-License-Identifier: Apache-2.0
 *
 * The pickle inside a file of torch.save, read by a machine that knows only what a state dict is made of (pickle
 * protocol 2: pickletools.py; torch/_utils.py for the two functions that it stands in for) and runs nothing: every
 * name outside the short list in pickle.c, and every other opcode, is refused. Internal to weights/torch.
 */
#ifndef CORE_WEIGHTS_TORCH_PICKLE_H
#define CORE_WEIGHTS_TORCH_PICKLE_H

#include <llavamore/status.h>
#include <llavamore/tensor.h>
#include <stddef.h>

#define CORE_PICKLE_LIMIT ((size_t)64 << 20) /* bytes of a pickle that we agree to read */

/* One entry of the state dict, as the pickle tells it; nothing of it is checked against the storage yet. Texts lie in
 * the pickle and are not NUL-terminated. */
typedef struct core_pickle_tensor {
    const char *name;
    size_t name_length;
    const char *format; /* constant text: "f32", "bf16", ... */
    const char *key;    /* of the storage: the archive's entry PREFIX/data/KEY */
    size_t key_length;
    int64_t storage_elements;
    int64_t offset; /* of the first element in the storage, >= 0 */
    int32_t rank;
    int64_t shape[MORE_MAX_RANK], strides[MORE_MAX_RANK]; /* in elements, outermost first; dimensions >= 0 */
} core_pickle_tensor;

/* Reads a state dict {name: tensor}. The caller frees *tensors, NULL on failure and when empty. MORE_ERROR_UNSUPPORTED
 * names what the pickle wants to call, or what it holds instead of tensors; MORE_ERROR_CORRUPT names the byte.
 * [any-thread]
 */
more_status core_pickle_read(const unsigned char *bytes, size_t size, const char *path, core_pickle_tensor **tensors,
                             size_t *count, more_error *error);

#endif
