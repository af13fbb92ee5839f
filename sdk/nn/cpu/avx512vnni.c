/* SPDX-License-Identifier: Apache-2.0
 *
 * The variant for AVX-512 with VNNI, the dot products of bytes; built with those flags, reached only through the table.
 */
#include "vec_avx512.h"

#include "int8_vnni.h"

#define NN_TABLE nn_kernels_avx512vnni
#define NN_TABLE_NAME "avx512vnni"
#define NN_TABLE_INSTRUCTIONS "f32 FMA, int8 dot"
#include "table.h"
