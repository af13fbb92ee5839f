/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversions between stored and wanted number formats, rounding to nearest even, exact in every case (subnormals,
 * infinities and NaN included).
 */
#ifndef CORE_WEIGHTS_CONVERT_H
#define CORE_WEIGHTS_CONVERT_H

#include <llavamore/tensor.h>

/* Bytes of one element of a stored format ("f32", "i64", "u8", ...); 0 for an unknown one. */
size_t core_format_width(const char *format);
/* True for the formats that core_convert reads: f64, f32, f16, bf16. */
bool core_format_is_float(const char *format);

float core_f16_to_f32(uint16_t bits);
uint16_t core_f32_to_f16(float value);
float core_bf16_to_f32(uint16_t bits);
uint16_t core_f32_to_bf16(float value);

/* Converts `count` elements, `stride` elements apart in `from` (little-endian, any alignment; 1 = adjacent), to `dtype`
 * (f32, f16, bf16) packed in `to`. False when either format is not one of those named. [any-thread] */
bool core_convert(const char *format, const unsigned char *from, int64_t stride, int64_t count, DLDataType dtype,
                  void *to);

#endif
