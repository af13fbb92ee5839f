/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator behind llavamore.memory/1: 64-byte aligned, large blocks on huge pages, counted.
 */
#ifndef CORE_MEMORY_H
#define CORE_MEMORY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define CORE_HUGE_BLOCK ((size_t)1 << 20) /* bytes; blocks from here on are mapped, 2 MiB aligned, MADV_HUGEPAGE */
#define CORE_HUGE_PAGE ((size_t)2 << 20)  /* bytes */

/* Zero-initialise. */
typedef struct core_memory {
    atomic_size_t current, peak; /* bytes asked for, not counting headers and rounding */
} core_memory;

/* Uninitialised memory aligned to MORE_ALIGNMENT, NULL when there is none. 0 bytes give a block too. [any-thread] */
void *core_memory_allocate(core_memory *memory, size_t bytes);
/* Gives back what allocate of the same counter gave; NULL is allowed. [any-thread] */
void core_memory_release(core_memory *memory, void *block);

/* Uninitialised rows x columns floats aligned to MORE_ALIGNMENT, as tensors of the ABI want them, outside of any
 * counter; the caller frees them with free(). NULL when there is no memory or the product is negative or too large.
 * [any-thread] */
float *core_floats(int64_t rows, int64_t columns);

#endif
