/* SPDX-License-Identifier: Apache-2.0
 *
 * Asynchronous copies to shared memory, as late as CUDA allows: when their group is waited for, so that whoever does
 * not wait sees what was there before. Or at once, so that a copy into what others still read is seen.
 */
#include "emulator.h"

#include <stdlib.h>
#include <string.h>

bool emu_async_early;

static void run(const emu_copy *copy)
{
    memcpy(copy->to, copy->from, static_cast<size_t>(copy->bytes));
    memset(static_cast<char *>(copy->to) + copy->bytes, 0, static_cast<size_t>(16 - copy->bytes));
}

/* A fault here is one of the copy's source, at the place that began it. */
static void touch(const char *from, int bytes)
{
    if (bytes > 0) {
        static_cast<void>(*static_cast<const volatile char *>(from));
        static_cast<void>(*static_cast<const volatile char *>(from + bytes - 1));
    }
}

void cudaemu_async_copy_16(void *shared, const void *global, int bytes)
{
    emu_thread *self = emu_current();
    if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % 16 != 0)
        emu_fail("asynchronous copy from %p to %p: an address is no multiple of 16", global, shared);
    if (bytes < 0 || bytes > 16)
        emu_fail("asynchronous copy of %d bytes, which are not 0 to 16", bytes);
    if (!emu_is_shared(shared, 16))
        emu_fail("asynchronous copy to %p, which is not shared memory", shared);
    touch(static_cast<const char *>(global), bytes);
    const emu_copy copy = {shared, global, bytes, self->group};
    if (emu_async_early) {
        run(&copy);
        return;
    }
    if (self->copy_count == self->copy_capacity) {
        self->copy_capacity = self->copy_capacity ? self->copy_capacity * 2 : 16;
        void *memory = realloc(self->copies, static_cast<size_t>(self->copy_capacity) * sizeof *self->copies);
        if (!memory)
            emu_fail("no memory for asynchronous copies");
        self->copies = static_cast<emu_copy *>(memory);
    }
    self->copies[self->copy_count++] = copy;
}

void cudaemu_async_commit(void)
{
    emu_current()->group++;
}

void cudaemu_async_wait(int groups)
{
    emu_thread *self = emu_current();
    int finished = 0;
    for (; finished < self->copy_count && self->copies[finished].group < self->group - groups; finished++)
        run(&self->copies[finished]);
    if (!finished)
        return;
    self->copy_count -= finished;
    memmove(self->copies, self->copies + finished, static_cast<size_t>(self->copy_count) * sizeof *self->copies);
}
