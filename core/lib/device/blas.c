/* SPDX-License-Identifier: Apache-2.0 */
#include "device/devices.h"

#include "base/host.h"
#include <dlfcn.h>
#include <stdlib.h>

/* Why there is none; NULL when it was found. */
static const char *find(core_devices *devices)
{
    static const char *const libraries[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"};
    const char *chosen = getenv("LLAVAMORE_CUBLAS");
    bool given = chosen && *chosen;
    if (given)
        devices->blas = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; !given && !devices->blas && i < sizeof libraries / sizeof *libraries; i++)
        devices->blas = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
    const char *reason = devices->blas ? NULL : dlerror();
    return devices->blas || reason ? reason : "no reason";
}

void *core_devices_blas(core_devices *devices, const char *name)
{
    pthread_mutex_lock(&devices->blas_lock);
    const char *missing = devices->blas_sought ? NULL : find(devices);
    devices->blas_sought = true;
    void *library = devices->blas;
    pthread_mutex_unlock(&devices->blas_lock);
    if (missing)
        core_log(devices->host, MORE_LOG_WARNING, "cuda",
                 "cuBLAS was not found (%s): products run on our own kernels, slower", missing);
    return library && name ? dlsym(library, name) : NULL;
}
