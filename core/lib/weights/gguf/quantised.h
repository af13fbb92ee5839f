/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF's number formats: what is stored how, and blocks of quantised numbers back to f32, in the order of f32
 * operations that ggml's dequantize_row_* and the gguf package's quants.py have, so with the same bits.
 */
#ifndef CORE_WEIGHTS_QUANTISED_H
#define CORE_WEIGHTS_QUANTISED_H

#include <llavamore/tensor.h>
#include <stddef.h>

#define CORE_QUANTISED_BLOCK 256 /* elements of the largest block */

typedef struct core_gguf_format {
    const char *name;  /* as our tensors have it: "f16", "gguf.q4_K"; NULL = known, not read */
    const char *title; /* as ggml has it: "Q4_K" */
    uint32_t number;   /* in the file */
    int32_t block;     /* elements of a block; 1 for plain formats */
    size_t bytes;      /* of a block */
    void (*dequantise)(const unsigned char *block, float *values); /* one block; NULL for plain formats */
} core_gguf_format;

/* By the file's number; NULL for one that is not known. [any-thread] */
const core_gguf_format *core_gguf_format_numbered(uint32_t number);
/* The quantised format of this name ("gguf.q8_0"); NULL for any other. [any-thread] */
const core_gguf_format *core_quantised(const char *name);
/* Converts `count` elements from element `first` on (both multiples of the block, but for the last count of a tensor,
 * which is one as well) to `dtype` (f32, f16, bf16). False for another dtype, and where a number is too large for an
 * f16. [any-thread] */
bool core_quantised_read(const core_gguf_format *format, const unsigned char *data, int64_t first, int64_t count,
                         DLDataType dtype, void *to);

#endif
