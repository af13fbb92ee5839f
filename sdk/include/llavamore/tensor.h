/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors that cross the ABI. The view is DLPack's DLTensor, whose layout is the same in every DLPack release: a
 * pointer, a device, a dtype, a shape and strides counted in elements. No ownership is passed: whoever made the view
 * keeps the data alive for the length of the call that it is given to.
 *
 * Rules beyond DLPack's own:
 *  - data + byte_offset is aligned to 64 bytes (MORE_ALIGNMENT) in every buffer that a caller provides for output;
 *  - strides are never NULL on outputs; on inputs NULL means row-major and contiguous;
 *  - masks are uint8, 1 = take, 0 = ignore;
 *  - quantised weights are opaque to this interface and never cross it as tensors.
 */
#ifndef LLAVAMORE_TENSOR_H
#define LLAVAMORE_TENSOR_H

#include <dlpack/dlpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MORE_ALIGNMENT 64 /* bytes */
#define MORE_MAX_RANK 8   /* dimensions of any tensor that crosses the ABI or is read from a file */

/* A view plus the event after which its data may be read. On an input the caller sets `ready`, and whoever reads the
 * data on a device makes its stream wait on it first. On an output the plugin sets it: the event belongs to the
 * instance and stays valid until the instance's next call. Inputs may be on the host or on a device that open() was
 * given; outputs are where the caller's buffer is. Nobody synchronises a whole device. Frozen: it stands in arrays, so
 * it never grows. */
typedef struct more_tensor {
    DLTensor dl;
    void *ready; /* device tensors: the driver's event (CUevent) that a consumer waits on; NULL = ready now, host */
} more_tensor;

static inline DLDataType more_dtype(DLDataTypeCode code, int bits)
{
    DLDataType type;
    type.code = (uint8_t)code;
    type.bits = (uint8_t)bits;
    type.lanes = 1;
    return type;
}

static inline DLDataType more_f32(void)
{
    return more_dtype(kDLFloat, 32);
}
static inline DLDataType more_f16(void)
{
    return more_dtype(kDLFloat, 16);
}
static inline DLDataType more_bf16(void)
{
    return more_dtype(kDLBfloat, 16);
}
static inline DLDataType more_i32(void)
{
    return more_dtype(kDLInt, 32);
}
static inline DLDataType more_i64(void)
{
    return more_dtype(kDLInt, 64);
}
static inline DLDataType more_u8(void)
{
    return more_dtype(kDLUInt, 8);
}

static inline bool more_dtype_equal(DLDataType a, DLDataType b)
{
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

static inline DLDevice more_cpu(void)
{
    DLDevice device;
    device.device_type = kDLCPU;
    device.device_id = 0;
    return device;
}

/* First element of a host tensor. */
static inline void *more_tensor_data(const more_tensor *tensor)
{
    return (char *)tensor->dl.data + tensor->dl.byte_offset;
}

/* Writes row-major strides, in elements, for `shape`. */
static inline void more_strides(int rank, const int64_t *shape, int64_t *strides)
{
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = step;
        step *= shape[i];
    }
}

/* A contiguous host tensor over caller-owned data, shape and strides (both of length rank). */
static inline more_tensor more_host_tensor(void *data, DLDataType dtype, int rank, int64_t *shape, int64_t *strides)
{
    more_tensor tensor;
    more_strides(rank, shape, strides);
    tensor.dl.data = data;
    tensor.dl.device = more_cpu();
    tensor.dl.ndim = rank;
    tensor.dl.dtype = dtype;
    tensor.dl.shape = shape;
    tensor.dl.strides = strides;
    tensor.dl.byte_offset = 0;
    tensor.ready = NULL;
    return tensor;
}

/* True when the elements lie row-major without gaps. */
static inline bool more_tensor_is_contiguous(const more_tensor *tensor)
{
    int64_t step = 1;
    if (!tensor->dl.strides)
        return true;
    for (int i = tensor->dl.ndim - 1; i >= 0; i--) {
        if (tensor->dl.shape[i] != 1 && tensor->dl.strides[i] != step)
            return false;
        step *= tensor->dl.shape[i];
    }
    return true;
}

#ifdef __cplusplus
}
#endif
#endif
