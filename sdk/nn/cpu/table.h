/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of the variant that includes this, made of the bodies above its vector.
 */
#include "attend.h"
#include "probe.h"
#include "product.h"
#include "int8.h"
#include "rows.h"

const nn_kernels NN_TABLE = {
    .name = NN_TABLE_NAME,
    .instructions = NN_TABLE_INSTRUCTIONS,
    .tile_rows = TILE_ROWS,
    .tile_panels = TILE_PANELS,
    .tile = {tile_f32, tile_f16, tile_bf16},
    .stream = {stream_f32, stream_f16, stream_bf16},
    .widen = {widen_f32, widen_f16, widen_bf16, widen_q8, widen_q4, widen_q4_offset},
    .int8_rows = INT8_ROWS,
    .int8_panels = INT8_PANELS,
    .tile_int8 = {int8_tile_q8, int8_tile_q4, int8_tile_q4_offset},
    .int8_stream = INT8_STREAM,
    .few_int8 = {int8_tile_q8, int8_few_q4, int8_few_q4_offset},
    .unpack = {NULL, int8_unpack_q4, int8_unpack_q4_offset},
    .quantise = quantise,
#ifdef NN_TABLE_PAIRS
    .pairs = NN_TABLE_PAIRS,
#endif
    .finish = finish,
    .activate = activate,
    .glu = glu,
    .add = add,
    .scale = scale,
    .softcap = softcap,
    .layer_norm = layer_norm,
    .rms_norm = rms_norm,
    .softmax = softmax,
    .rotate = rotate,
    .attend = {attend_f32, attend_f16, attend_bf16, attend_q8},
    .widen_page = {NULL, widen_page_f16, widen_page_bf16, widen_page_q8},
    .merge = merge,
    .peak = {peak_f32, peak_bf16, peak_int8, peak_tile_bf16, peak_tile_int8},
    .read_memory = read_memory,
};
