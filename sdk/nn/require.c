/* SPDX-License-Identifier: Apache-2.0 */
#include "require.h"

#include <string.h>

more_status nn_require_devices(const more_open *arguments, const char *plugin, int32_t most, more_error *error)
{
    if (arguments->device_count < 1 || !arguments->devices)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s was given no device to run on", plugin);
    for (int32_t i = 0; i < arguments->device_count; i++) {
        const DLDevice *device = &arguments->devices[i];
        if (device->device_type != kDLCPU && device->device_type != kDLCUDA)
            return more_fail(error, MORE_ERROR_UNSUPPORTED,
                             "%s has no kernels for device %d:%d (DLPack type:number), only for the CPU and CUDA",
                             plugin, (int)device->device_type, (int)device->device_id);
    }
    if (arguments->device_count > most)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s was given %d devices and can use %d", plugin,
                         (int)arguments->device_count, (int)most);
    return MORE_OK;
}

/* "[2, 577, 1024]" */
static const char *print_shape(int rank, const int64_t *shape, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}

static const char *find_fault(const more_tensor *tensor, int rank, const int64_t *shape)
{
    if (!tensor || (!tensor->dl.data && rank > 0))
        return "is missing";
    if (tensor->dl.device.device_type != kDLCPU)
        return "is not in host memory";
    if (!more_dtype_equal(tensor->dl.dtype, more_f32()))
        return "is not f32";
    if (tensor->dl.ndim != rank || memcmp(tensor->dl.shape, shape, (size_t)rank * sizeof *shape))
        return "has another shape";
    if (!more_tensor_is_contiguous(tensor))
        return "is not contiguous";
    return NULL;
}

more_status nn_require_tensor(const more_tensor *tensor, const char *what, int64_t index, int rank,
                              const int64_t *shape, more_error *error)
{
    char wanted[192], given[192] = "", number[24] = "";
    const char *fault = find_fault(tensor, rank, shape);

    if (!fault)
        return MORE_OK;
    if (index >= 0)
        snprintf(number, sizeof number, " %lld", (long long)index);
    if (tensor && tensor->dl.ndim >= 0 && tensor->dl.ndim <= MORE_MAX_RANK && tensor->dl.shape)
        print_shape(tensor->dl.ndim, tensor->dl.shape, given, sizeof given);
    return more_fail(error, MORE_ERROR_ARGUMENT, "%s%s %s: expected f32 %s, got %s", what, number, fault,
                     print_shape(rank, shape, wanted, sizeof wanted), *given ? given : "nothing");
}
