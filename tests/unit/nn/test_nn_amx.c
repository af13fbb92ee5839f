/* SPDX-License-Identifier: Apache-2.0
 *
 * 16-bit products by AMX's tiles.
 */
#include "pair_suite.h"

int main(void)
{
    return run_pair_suite(&nn_kernels_plain_amx, "amx");
}
