/* SPDX-License-Identifier: Apache-2.0
 *
 * Stacks in one reserved range, and the switch from one to another: for x86-64 a dozen instructions, elsewhere the C
 * library's, which asks the kernel about signals each time.
 */
#include "emulator.h"

#include <sys/mman.h>

enum { STRIDE = EMU_STACK_BYTES + EMU_PAGE };

static char *stacks;
static int usable; /* the first so many are readable and writable */

char *emu_stack(int index)
{
    if (!stacks) {
        void *memory = mmap(NULL, static_cast<size_t>(EMU_STACKS) * STRIDE, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            emu_fail("no memory for stacks");
        stacks = static_cast<char *>(memory);
    }
    for (; usable <= index; usable++)
        if (mprotect(stacks + usable * STRIDE + EMU_PAGE, EMU_STACK_BYTES, PROT_READ | PROT_WRITE))
            emu_fail("no memory for stacks");
    return stacks + static_cast<size_t>(index) * STRIDE + EMU_PAGE;
}

bool emu_is_stack_guard(const void *address)
{
    size_t offset = static_cast<size_t>(static_cast<const char *>(address) - stacks);
    return stacks && offset < static_cast<size_t>(EMU_STACKS) * STRIDE && offset % STRIDE < EMU_PAGE;
}

/* Neighbours begin at different places within a page, so that their frames do not meet in one set of the cache. */
static char *top(int index)
{
    return emu_stack(index) + EMU_STACK_BYTES - index % 32 * 128;
}

#if defined(__x86_64__)

/* emu_switch(&from, to): saves what a function must preserve on the stack it leaves. */
extern "C" void emu_switch(void **from, void *to) __attribute__((visibility("hidden")));
__asm__(".text\n"
        ".p2align 4\n"
        ".globl emu_switch\n"
        ".hidden emu_switch\n"
        ".type emu_switch, @function\n"
        "emu_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size emu_switch, . - emu_switch\n");

void emu_context_start(emu_context *context, int stack, void (*entry)(void))
{
    void **at = reinterpret_cast<void **>(top(stack));
    *--at = NULL; /* entry's return address: it has none */
    *--at = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++)
        *--at = NULL;
    context->stack_pointer = at;
}

void emu_context_switch(emu_context *from, emu_context *to)
{
    emu_switch(&from->stack_pointer, to->stack_pointer);
}

#else

void emu_context_start(emu_context *context, int stack, void (*entry)(void))
{
    getcontext(context);
    context->uc_link = NULL;
    context->uc_stack.ss_sp = emu_stack(stack);
    context->uc_stack.ss_size = static_cast<size_t>(top(stack) - emu_stack(stack));
    makecontext(context, entry, 0);
}

void emu_context_switch(emu_context *from, emu_context *to)
{
    swapcontext(from, to);
}

#endif
