/* SPDX-License-Identifier: Apache-2.0
 *
 * Plain C in the tiles of the AVX-512 variants.
 */
#include "cpu/vec_baseline.h"

#define INT8_ROWS 6
#define INT8_PANELS 2
#define INT8_STREAM 4
#include "cpu/int8_plain.h"

#include "plain_tables.h"

#define NN_TABLE nn_kernels_plain_int8
#define NN_TABLE_NAME "plain int8"
#define NN_TABLE_INSTRUCTIONS "plain C"
#include "cpu/table.h"

const nn_kernels *const plain_tables[PLAIN_TABLES] = {&nn_kernels_plain_int8};
