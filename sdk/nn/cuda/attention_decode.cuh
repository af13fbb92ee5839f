/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of few queries over pages: blocks share the sequence.
 */
#ifndef NN_CUDA_ATTENTION_DECODE_CUH
#define NN_CUDA_ATTENTION_DECODE_CUH

#include "attention.cuh"

/* Bytes that it needs beside. */
size_t nn_cuda_decode_workspace(const nn_attention_job *job);
int nn_cuda_attention_decode(void *stream, const nn_attention_job *job, void *workspace);

#endif
