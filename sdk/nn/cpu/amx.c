/* SPDX-License-Identifier: Apache-2.0
 *
 * The variant for AMX (tiles, bf16), beside AVX-512 with VNNI and BF16; built with those flags, reached only through
 * the table.
 */
#include "vec_avx512.h"

#include "int8_vnni.h"

#include "amx_product.h"

#define NN_TABLE nn_kernels_amx
#define NN_TABLE_NAME "amx"
#define NN_TABLE_INSTRUCTIONS "f32 FMA, bf16 tiles, int8 dot"
#define NN_TABLE_PAIRS &pair_kernels
#include "table.h"
