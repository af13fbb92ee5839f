/* SPDX-License-Identifier: Apache-2.0
 *
 * SigLIP 2's own kernel; a null pointer in a build without CUDA.
 */
#ifndef SIGLIP2_CUDA_H
#define SIGLIP2_CUDA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* patches [grid_height * grid_width, patch * patch * 3], each in the order (row, column, channel), of pixels [3,
 * grid_height * patch, grid_width * patch], both on the device. Queued on `stream`; 0 or the runtime's error. */
__attribute__((weak, visibility("hidden"))) int siglip2_cuda_patches(void *stream, const float *pixels,
                                                                     int64_t grid_width, int64_t grid_height,
                                                                     int64_t patch, float *patches);

#ifdef __cplusplus
}
#endif
#endif
