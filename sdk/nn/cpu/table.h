/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of the variant that includes this, made of the bodies above its vector.
 */
#include "probe.h"
#include "product.h"
#include "rows.h"

const nn_kernels NN_TABLE = {
    .name = NN_TABLE_NAME,
    .tile_rows = TILE_ROWS,
    .tile_panels = TILE_PANELS,
    .tile = {tile_f32, tile_f16, tile_bf16},
    .stream = {stream_f32, stream_f16, stream_bf16},
    .widen = {widen_f32, widen_f16, widen_bf16},
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
    .attend = attend,
    .multiply_add = multiply_add,
    .read_memory = read_memory,
};
