/* SPDX-License-Identifier: Apache-2.0
 *
 * Which kernel table this CPU runs.
 */
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kernels.h"

/* Weakest first. The compiler's cpu_supports asks cpuid and, for AVX and up, whether the system saves the registers. */
static const nn_kernels *const tables[] = {
    &nn_kernels_baseline,
#if defined(__x86_64__)
    &nn_kernels_avx2,
    &nn_kernels_avx512,
#endif
};

enum { TABLES = sizeof tables / sizeof tables[0] };

const nn_kernels *nn_kernels_at(int32_t index)
{
    return index >= 0 && index < TABLES ? tables[index] : NULL;
}

#if defined(__x86_64__)
/* Not every compiler's cpu_supports knows the name; the instruction uses registers that AVX already answers for. */
static bool has_f16c(void)
{
    unsigned int a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

bool nn_kernels_runnable(const nn_kernels *kernels)
{
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    if (kernels == &nn_kernels_avx512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    return kernels == &nn_kernels_baseline || avx2;
}
#else
bool nn_kernels_runnable(const nn_kernels *kernels)
{
    return kernels == &nn_kernels_baseline;
}
#endif

const nn_kernels *nn_kernels_select(const char *limit, const char **reason)
{
    int32_t last = TABLES - 1;
    if (limit) {
        for (last = TABLES - 1; last >= 0 && strcmp(tables[last]->name, limit); last--)
            continue;
        if (last < 0) {
            *reason = "this build knows no such instruction set";
            return NULL;
        }
        if (!nn_kernels_runnable(tables[last])) {
            *reason = "this CPU lacks it";
            return NULL;
        }
    }
    while (!nn_kernels_runnable(tables[last]))
        last--;
    return tables[last];
}
