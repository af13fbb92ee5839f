/* SPDX-License-Identifier: Apache-2.0
 *
 * The variant for AVX2 with FMA and F16C; built with those flags, reached only through the table.
 */
#include "vec_avx2.h"

#include "int8_avx2.h"

#define NN_TABLE nn_kernels_avx2
#define NN_TABLE_NAME "avx2"
#define NN_TABLE_INSTRUCTIONS "f32 FMA, int8 products"
#include "table.h"
