/* SPDX-License-Identifier: Apache-2.0
 *
 * The variant that every machine runs.
 */
#include "vec_baseline.h"

#include "int8_plain.h"

#define NN_TABLE nn_kernels_baseline
#define NN_TABLE_NAME "baseline"
#define NN_TABLE_INSTRUCTIONS "plain C"
#include "table.h"
