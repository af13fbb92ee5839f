/* SPDX-License-Identifier: Apache-2.0
 *
 * In place of the kernels in a build without CUDA.
 */
#include "kernels.h"

const nn_cuda_kernels *nn_cuda_table(void)
{
    return NULL;
}
