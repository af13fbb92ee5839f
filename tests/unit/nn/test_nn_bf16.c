/* SPDX-License-Identifier: Apache-2.0
 *
 * 16-bit products by the bf16 dot product.
 */
#include "pair_suite.h"

int main(void)
{
    return run_pair_suite(&nn_kernels_plain_bf16, "avx512bf16");
}
