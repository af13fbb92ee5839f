/* SPDX-License-Identifier: Apache-2.0
 *
 * Which kernel table this CPU runs.
 */
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels.h"

/* Weakest first. */
static const nn_kernels *const tables[] = {
    &nn_kernels_baseline,
#if defined(__x86_64__)
    &nn_kernels_avx2,     &nn_kernels_avx512, &nn_kernels_avx512vnni, &nn_kernels_avx512bf16, &nn_kernels_amx,
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

/* cpu_supports asks cpuid and, for AVX and up, whether the system saves the registers. */
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

static bool has_vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

static bool has_bf16(void)
{
    return has_vnni() && __builtin_cpu_supports("avx512bf16");
}

/* The system's word that it saves the tile registers, and its leave to use them, which a process must ask for: it holds
 * for all threads from then on, and asking again changes nothing. */
static bool may_use_tiles(void)
{
#if defined(__linux__)
    enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18, TILES_SAVED = 3 << 17, SAVES_REGISTERS = 1 << 27 };
    unsigned int a, b, c, d, saved;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & SAVES_REGISTERS))
        return false;
    __asm__("xgetbv" : "=a"(saved), "=d"(d) : "c"(0));
    return (saved & TILES_SAVED) == TILES_SAVED && syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
#else
    return false;
#endif
}

static bool has_amx(void)
{
    const unsigned int needed = 1u << 22 | 1u << 24 | 1u << 25; /* AMX-BF16, AMX-TILE, AMX-INT8 */
    unsigned int a, b, c, d;
    return has_bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & needed) == needed && may_use_tiles();
}

bool nn_kernels_runnable(const nn_kernels *kernels)
{
    __builtin_cpu_init();
    if (kernels == &nn_kernels_avx2)
        return has_avx2();
    if (kernels == &nn_kernels_avx512)
        return has_avx512();
    if (kernels == &nn_kernels_avx512vnni)
        return has_vnni();
    if (kernels == &nn_kernels_avx512bf16)
        return has_bf16();
    return kernels == &nn_kernels_amx ? has_amx() : kernels == &nn_kernels_baseline;
}

/* Not every CPU gains by what it has: Intel's bf16 dot product is half as fast as its f32 multiply-add. So that table
 * is taken unasked from AMD's alone. */
static bool is_worth(const nn_kernels *kernels)
{
    return kernels != &nn_kernels_avx512bf16 || __builtin_cpu_is("amd");
}
#else
bool nn_kernels_runnable(const nn_kernels *kernels)
{
    return kernels == &nn_kernels_baseline;
}

static bool is_worth(const nn_kernels *kernels)
{
    (void)kernels;
    return true;
}
#endif

const nn_kernels *nn_kernels_select(const char *name, const char **reason)
{
    int32_t last = TABLES - 1;
    if (name) {
        for (last = TABLES - 1; last >= 0 && strcmp(tables[last]->name, name); last--)
            continue;
        if (last < 0) {
            *reason = "this build knows no such instruction set";
            return NULL;
        }
        if (!nn_kernels_runnable(tables[last])) {
            *reason = "this CPU lacks it";
            return NULL;
        }
        return tables[last];
    }
    while (!nn_kernels_runnable(tables[last]) || !is_worth(tables[last]))
        last--;
    return tables[last];
}
