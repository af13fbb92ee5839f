/* SPDX-License-Identifier: Apache-2.0 */
#include "device/choice.h"

#include "base/buffer.h"
#include "base/host.h"
#include "device/devices.h"
#include <string.h>

/* The number behind "cuda:"; false for anything but a few digits. */
static bool read_number(const char *text, int32_t *number)
{
    size_t length = strspn(text, "0123456789");
    if (!length || length > 6 || text[length])
        return false;
    *number = 0;
    for (size_t i = 0; i < length; i++)
        *number = *number * 10 + (text[i] - '0');
    return true;
}

/* "this machine has 2 CUDA devices: cuda:0 (NVIDIA H100), cuda:1 (NVIDIA L4)", or why it has none. */
static more_status not_there(const more_host *host, int32_t number, more_error *error)
{
    const more_cuda_service *cuda = core_cuda_service();
    int32_t count = cuda->count(host);
    core_buffer list = {0};
    char shown[192];
    for (int32_t i = 0; i < count; i++)
        core_buffer_format(&list, "%s%s", i ? ", " : "", core_device_shown(host, (DLDevice){kDLCUDA, i}, shown));
    if (count)
        more_fail(error, MORE_ERROR_NOT_FOUND, "there is no cuda:%d: this machine has %d CUDA device%s: %.700s",
                  (int)number, (int)count, count > 1 ? "s" : "", list.size ? list.data : "");
    else
        more_fail(error, MORE_ERROR_NOT_FOUND, "there is no cuda:%d: %.700s; auto and cpu run without", (int)number,
                  cuda->reason(host));
    core_buffer_free(&list);
    return MORE_ERROR_NOT_FOUND;
}

more_status core_device_choose(const more_host *host, const char *text, core_device_choice *choice, more_error *error)
{
    int32_t number = 0;
    *choice = (core_device_choice){.device = {kDLCPU, 0}, .automatic = !strcmp(text, "auto")};
    if (!strcmp(text, "cpu"))
        return MORE_OK;
    if (strcmp(text, "cuda") != 0 && !choice->automatic &&
        (strncmp(text, "cuda:", 5) || !read_number(text + 5, &number)))
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "want auto, cpu, cuda (the first NVIDIA device) or cuda:N (llavamore-inspect --devices lists "
                         "them)");
    const more_cuda_service *cuda = core_cuda_service();
    if (number < cuda->count(host))
        choice->device = (DLDevice){kDLCUDA, number};
    else if (!choice->automatic)
        return not_there(host, number, error);
    else
        core_log(host, MORE_LOG_DEBUG, "cuda", "device = auto is the CPU: %s", cuda->reason(host));
    return MORE_OK;
}

const char *core_device_text(DLDevice device, char text[24])
{
    if (device.device_type == kDLCUDA)
        snprintf(text, 24, "cuda:%d", (int)device.device_id);
    else
        snprintf(text, 24, "cpu");
    return text;
}

const char *core_device_shown(const more_host *host, DLDevice device, char text[192])
{
    core_devices *devices = core_host_devices(host);
    int32_t number = device.device_id;
    if (device.device_type != kDLCUDA)
        snprintf(text, 192, "the CPU");
    else if (number >= 0 && number < core_devices_count(devices))
        snprintf(text, 192, "cuda:%d (%s)", (int)number, devices->list[number].name);
    else
        snprintf(text, 192, "cuda:%d", (int)number);
    return text;
}
