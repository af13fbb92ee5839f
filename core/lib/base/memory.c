/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <llavamore/tensor.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Stands right before each block. */
typedef struct block_header {
    _Alignas(MORE_ALIGNMENT) size_t bytes; /* asked for */
    void *mapping;                         /* of a mapped block; NULL for one from the heap */
    size_t mapped;                         /* bytes of the mapping */
} block_header;

static uintptr_t round_up(uintptr_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static void count(core_memory *memory, size_t bytes)
{
    size_t now = atomic_fetch_add(&memory->current, bytes) + bytes;
    size_t peak = atomic_load(&memory->peak);
    while (now > peak && !atomic_compare_exchange_weak(&memory->peak, &peak, now))
        continue;
}

static block_header *from_heap(size_t bytes)
{
    size_t size = round_up(sizeof(block_header) + bytes, MORE_ALIGNMENT);
    block_header *header = aligned_alloc(MORE_ALIGNMENT, size);
    if (header)
        header->mapping = NULL;
    return header;
}

/* Bytes of a mapped block: whole huge pages, since the system backs no part of one, unless that wastes a quarter. */
static size_t mapped_size(size_t bytes, size_t page)
{
    size_t huge = round_up(bytes, CORE_HUGE_PAGE);
    return huge - bytes <= bytes / 4 ? huge : round_up(bytes, page);
}

/* The block begins on a huge page and its header ends the page before, so that the kernel can back the whole block. */
static block_header *from_mapping(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = mapped_size(bytes, page), reserve = page + CORE_HUGE_PAGE + size;
    char *base = mmap(NULL, reserve, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    char *data = base + (round_up((uintptr_t)base + page, CORE_HUGE_PAGE) - (uintptr_t)base);
    char *first = data - page, *end = data + size;
    if (first > base)
        munmap(base, (size_t)(first - base));
    if (end < base + reserve)
        munmap(end, (size_t)(base + reserve - end));
    /* advice only: without huge pages the block works as well */
    (void)madvise(data, size, MADV_HUGEPAGE);
    block_header *header = (block_header *)(void *)(data - sizeof(block_header));
    header->mapping = first;
    header->mapped = page + size;
    return header;
}

void *core_memory_allocate(core_memory *memory, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    block_header *header = bytes >= CORE_HUGE_BLOCK ? from_mapping(bytes) : from_heap(bytes);
    if (!header)
        return NULL;
    header->bytes = bytes;
    count(memory, bytes);
    return header + 1;
}

void core_memory_release(core_memory *memory, void *block)
{
    if (!block)
        return;
    block_header *header = (block_header *)block - 1;
    atomic_fetch_sub(&memory->current, header->bytes);
    if (header->mapping)
        munmap(header->mapping, header->mapped);
    else
        free(header);
}

float *core_floats(int64_t rows, int64_t columns)
{
    size_t count;
    if (rows < 0 || columns < 0 || __builtin_mul_overflow((size_t)rows, (size_t)columns, &count) ||
        count > (SIZE_MAX - MORE_ALIGNMENT) / sizeof(float))
        return NULL;
    return aligned_alloc(MORE_ALIGNMENT, (count * sizeof(float) + MORE_ALIGNMENT) / MORE_ALIGNMENT * MORE_ALIGNMENT);
}
