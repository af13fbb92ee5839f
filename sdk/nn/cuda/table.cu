/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of kernels.h. NN_CUDA_COMPILED says what this build compiled them for.
 */
#include "device.cuh"
#include "launchers.h"

static const char *message(int error)
{
    return cudaGetErrorString(static_cast<cudaError_t>(error));
}

const nn_cuda_kernels *nn_cuda_table(void)
{
    static const nn_cuda_kernels table = {
        NN_CUDA_COMPILED,
        message,
        nn_cuda_layer_norm,
        nn_cuda_rms_norm,
        nn_cuda_activate,
        nn_cuda_glu,
        nn_cuda_add,
        nn_cuda_scale,
        nn_cuda_softcap,
        nn_cuda_softmax,
        nn_cuda_add_scaled,
        nn_cuda_rotary,
        nn_cuda_embed,
        nn_cuda_patches,
        nn_cuda_narrow,
        nn_cuda_finish,
        nn_cuda_linear_few_rows,
        nn_cuda_linear_many_rows,
        nn_cuda_linear_plain,
        nn_cuda_cache_write,
        nn_cuda_causal_workspace,
        nn_cuda_attention_causal,
        nn_cuda_attention_full,
    };
    return &table;
}
