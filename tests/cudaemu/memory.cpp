/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of the devices, each in a reserved range of its own: an allocation has pages of its own between guard pages
 * and ends at the second, addresses are not used again, and nothing is accessible but what the device's work touches
 * while it runs: the first access to an allocation is a fault that lets it through.
 */
#include "emulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct arena {
    char *begin, *next, *end;
    emu_allocation **all, **live, **touched; /* all: by address */
    size_t count, capacity, live_count, touched_count;
    size_t used;
} arena;

static arena arenas[EMU_MOST_DEVICES + 1];
static int opened = EMU_NOWHERE;
static int64_t device_count, pinned_count; /* allocations so far, failed ones too */
static int64_t failing;                    /* number of the one that fails; 0 = none */

/* ---- Allocating -------------------------------------------------------------------------------------------------- */

/* As much as the machine lets us reserve. */
static bool make_arena(arena *a)
{
    for (size_t bytes = static_cast<size_t>(1) << 40; !a->begin && bytes >= static_cast<size_t>(1) << 28; bytes /= 2) {
        void *memory = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            continue;
        a->begin = a->next = static_cast<char *>(memory);
        a->end = a->begin + bytes;
    }
    return a->begin != NULL;
}

static bool grow(emu_allocation ***list, size_t capacity)
{
    void *grown = realloc(*list, capacity * sizeof **list);
    if (grown)
        *list = static_cast<emu_allocation **>(grown);
    return grown != NULL;
}

static bool make_room(arena *a)
{
    if (a->count < a->capacity)
        return true;
    size_t capacity = a->capacity ? a->capacity * 2 : 64;
    if (!grow(&a->all, capacity) || !grow(&a->live, capacity) || !grow(&a->touched, capacity))
        return false;
    a->capacity = capacity;
    return true;
}

static bool protect(const emu_allocation *allocation, bool accessible)
{
    return mprotect(allocation->pages, allocation->page_bytes, accessible ? PROT_READ | PROT_WRITE : PROT_NONE) == 0;
}

static size_t rounded(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* Pages between two guard pages. */
static emu_allocation *place(arena *a, size_t size)
{
    size_t bytes = rounded(size, EMU_PAGE);
    emu_allocation *made = static_cast<emu_allocation *>(calloc(1, sizeof *made));
    if (!made || !make_room(a) || bytes + 2 * EMU_PAGE > static_cast<size_t>(a->end - a->next)) {
        free(made);
        return NULL;
    }
    made->pages = a->next + EMU_PAGE;
    made->page_bytes = bytes;
    made->base = made->pages + bytes - rounded(size, EMU_ALIGNMENT);
    made->size = size;
    made->live = true;
    if (!protect(made, true)) {
        free(made);
        return NULL;
    }
    a->next += bytes + 2 * EMU_PAGE;
    return made;
}

emu_allocation *emu_memory_allocate(int where, size_t size)
{
    arena *a = &arenas[where];
    int64_t number = where == EMU_PINNED ? ++pinned_count : ++device_count;
    if (where != EMU_PINNED && number == failing)
        return NULL;
    if (size > PTRDIFF_MAX || (where != EMU_PINNED && size > emu_device_memory() - a->used))
        return NULL;
    emu_fault_install();
    emu_allocation *made = a->begin || make_arena(a) ? place(a, size) : NULL;
    if (!made)
        return NULL;
    made->number = number;
    made->place = where;
    memset(made->pages, EMU_POISON, made->page_bytes);
    if (where != EMU_PINNED)
        protect(made, false);
    made->live_index = a->live_count;
    a->live[a->live_count++] = made;
    a->all[a->count++] = made;
    a->used += size;
    return made;
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

/* The first byte that is not poison; NULL = none. */
static const char *written(const char *from, const char *to)
{
    while (from < to && static_cast<unsigned char>(*from) == EMU_POISON)
        from++;
    return from < to ? from : NULL;
}

/* At most `before` bytes before the allocation, and all behind it up to the guard page. */
static void check_around(const emu_allocation *allocation, size_t before)
{
    const char *base = allocation->base, *end = base + allocation->size;
    size_t room = static_cast<size_t>(base - allocation->pages);
    char text[128];
    const char *wrong = written(end, allocation->pages + allocation->page_bytes);
    if (!wrong)
        wrong = written(base - (room < before ? room : before), base);
    if (!wrong)
        return;
    emu_memory_describe(wrong, text, sizeof text);
    emu_fail("somebody wrote %s", text);
}

void emu_memory_check(int device)
{
    const arena *a = &arenas[device];
    for (size_t i = 0; i < a->touched_count; i++)
        check_around(a->touched[i], 128);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

void emu_memory_open(int device)
{
    if (device == opened)
        return;
    arena *a = opened == EMU_NOWHERE ? NULL : &arenas[opened];
    for (size_t i = 0; a && i < a->touched_count; i++) {
        a->touched[i]->touched = false;
        if (a->touched[i]->live && !protect(a->touched[i], false))
            emu_fail("memory cannot be protected");
    }
    if (a)
        a->touched_count = 0;
    opened = device;
}

/* Called by the handler of signals too. */
static void let_through(emu_allocation *allocation)
{
    arena *a = &arenas[allocation->place];
    if (allocation->touched)
        return;
    if (!protect(allocation, true))
        emu_fail("memory cannot be made accessible");
    allocation->touched = true;
    a->touched[a->touched_count++] = allocation;
}

bool emu_memory_touch(const void *address)
{
    const char *at = static_cast<const char *>(address);
    emu_allocation *found = emu_memory_near(address);
    if (opened == EMU_NOWHERE || !found || !found->live || found->place != opened || found->touched ||
        at < found->pages || at >= found->pages + found->page_bytes)
        return false;
    let_through(found);
    return true;
}

/* ---- Freeing ----------------------------------------------------------------------------------------------------- */

void emu_memory_free(emu_allocation *freed)
{
    arena *a = &arenas[freed->place];
    if (freed->place != EMU_PINNED) {
        emu_memory_open(freed->place);
        let_through(freed);
    }
    check_around(freed, EMU_PAGE);
    freed->live = false;
    a->used -= freed->size;
    emu_allocation *last = a->live[--a->live_count];
    a->live[freed->live_index] = last;
    last->live_index = freed->live_index;
    /* Mapped anew, it is one with the reserved range again. */
    mmap(freed->pages, freed->page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

static emu_allocation *near_in(const arena *a, const char *address)
{
    size_t low = 0, high = a->count;
    if (address < a->begin || address >= a->end)
        return NULL;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (a->all[middle]->pages - EMU_PAGE <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? a->all[low - 1] : NULL;
}

emu_allocation *emu_memory_near(const void *address)
{
    emu_allocation *found = NULL;
    for (int i = 0; i <= EMU_MOST_DEVICES && !found; i++)
        found = near_in(&arenas[i], static_cast<const char *>(address));
    return found;
}

emu_allocation *emu_memory_at(const void *address)
{
    const char *at = static_cast<const char *>(address);
    emu_allocation *found = emu_memory_near(address);
    return found && found->live && at >= found->base && at <= found->base + found->size ? found : NULL;
}

bool emu_memory_describe(const void *address, char *text, size_t size)
{
    const char *at = static_cast<const char *>(address);
    const emu_allocation *found = emu_memory_near(address);
    if (!found)
        return false;
    char whose[32];
    snprintf(whose, sizeof whose, "device %d", found->place);
    const char *where = at < found->base                  ? ", before its beginning"
                        : at >= found->base + found->size ? ", past its end"
                                                          : "";
    snprintf(text, size, "offset %td of %sallocation %lld (%zu bytes of %s)%s", at - found->base,
             found->live ? "" : "freed ", static_cast<long long>(found->number), found->size,
             found->place == EMU_PINNED ? "pinned memory" : whose, where);
    return true;
}

emu_allocation *emu_memory_range(const void *address, size_t bytes, const char *what)
{
    char text[128];
    const char *at = static_cast<const char *>(address);
    emu_allocation *found = emu_memory_near(address);
    if (!found || found->place == EMU_PINNED)
        emu_fail("%s, %p, is no device memory", what, address);
    if (!found->live || at < found->base || at > found->base + found->size) {
        emu_memory_describe(address, text, sizeof text);
        emu_fail("%s begins at %s", what, text);
    }
    if (bytes > static_cast<size_t>(found->base + found->size - at)) {
        emu_memory_describe(address, text, sizeof text);
        emu_fail("%s, %zu bytes from %s, goes past its end", what, bytes, text);
    }
    return found;
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

size_t emu_memory_used(int where)
{
    return arenas[where].used;
}

int emu_memory_leaks(bool print)
{
    char text[128];
    int leaks = 0;
    for (int i = 0; i <= EMU_MOST_DEVICES; i++)
        for (size_t k = 0; k < arenas[i].live_count; k++, leaks++)
            if (print && emu_memory_describe(arenas[i].live[k]->base, text, sizeof text))
                fprintf(stderr, "cudaemu: leak: %s\n", strstr(text, "allocation"));
    return leaks;
}

void cudaemu_fail_allocation(int64_t number)
{
    failing = number;
}

int64_t cudaemu_allocations(void)
{
    return device_count;
}
