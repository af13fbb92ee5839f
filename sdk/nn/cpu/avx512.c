/* SPDX-License-Identifier: Apache-2.0
 *
 * The variant for AVX-512 F, BW, VL and DQ; built with those flags, reached only through the table.
 */
#include "vec_avx512.h"

#include "int8_avx512.h"

#define NN_TABLE nn_kernels_avx512
#define NN_TABLE_NAME "avx512"
#define NN_TABLE_INSTRUCTIONS "f32 FMA, int8 products"
#include "table.h"
