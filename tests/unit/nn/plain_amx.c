/* SPDX-License-Identifier: Apache-2.0
 *
 * Plain C in the place of AMX's tile instructions, in the tiles of the variant that has them.
 */
#define NN_PLAIN_INSTRUCTIONS
#include "cpu/vec_baseline.h"

#include "cpu/int8_plain.h"

#include "cpu/amx_product.h"

#include "pair_suite.h"

#define NN_TABLE nn_kernels_plain_amx
#define NN_TABLE_NAME "plain amx"
#define NN_TABLE_INSTRUCTIONS "plain C"
#define NN_TABLE_PAIRS &pair_kernels
#include "cpu/table.h"
