/* SPDX-License-Identifier: Apache-2.0
 *
 * The variant for AVX-512 with VNNI and BF16; built with those flags, reached only through the table.
 */
#include "vec_avx512.h"

#include "int8_vnni.h"

#include "bf16_product.h"

#define NN_TABLE nn_kernels_avx512bf16
#define NN_TABLE_NAME "avx512bf16"
#define NN_TABLE_INSTRUCTIONS "f32 FMA, bf16 dot, int8 dot"
#define NN_TABLE_PAIRS &pair_kernels
#include "table.h"
