/* SPDX-License-Identifier: Apache-2.0
 *
 * What a bad address was meant to be, and what the compiler's checks of kernels stopped at (they trap). The handler
 * runs on a stack of its own, since the address may be one of a full stack's guard page.
 */
#include "emulator.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

enum { SIGNALS = 4 };

static const int signals[SIGNALS] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
static struct sigaction before[SIGNALS]; /* what was set for them */

static const char *access_of(const void *context)
{
#if defined(__x86_64__) && defined(REG_ERR)
    greg_t error = static_cast<const ucontext_t *>(context)->uc_mcontext.gregs[REG_ERR];
    return error & 2 ? "wrote" : "read";
#else
    static_cast<void>(context);
    return "touched";
#endif
}

static const void *instruction_of(const void *context)
{
#if defined(__x86_64__) && defined(REG_RIP)
    return reinterpret_cast<const void *>(static_cast<const ucontext_t *>(context)->uc_mcontext.gregs[REG_RIP]);
#else
    static_cast<void>(context);
    return NULL;
#endif
}

/* A device's memory, while another works. */
static bool of_other_device(const void *address)
{
    const emu_allocation *near = emu_memory_near(address);
    return near && near->live && emu_running() && near->place != emu_running()->device;
}

static void explain(const siginfo_t *info, const void *context)
{
    char text[160], place[512];
    const void *address = info->si_addr;
    const char *access = access_of(context);
    bool in_kernel = emu_running() && cudaemu_current;
    emu_place(instruction_of(context), place, sizeof place);
    bool trap = info->si_signo == SIGILL || info->si_signo == SIGTRAP;
    if (trap && in_kernel)
        emu_fail("a misaligned address, a bad index, shift or overflow, in %s", place);
    if (trap)
        return;
    if (emu_memory_describe(address, text, sizeof text))
        emu_fail("%s %s%s, in %s", access, text, of_other_device(address) ? ", another device's" : "", place);
    if (emu_shared_describe(address, text, sizeof text))
        emu_fail("%s %s, in %s", access, text, place);
    if (emu_is_stack_guard(address))
        emu_fail("ran out of its stack of %d KiB, in %s", EMU_STACK_BYTES >> 10, place);
    /* The processor names no address for one that is not aligned or not canonical. */
    if (in_kernel && info->si_code == SI_KERNEL)
        emu_fail("touched a misaligned or impossible address, in %s", place);
    if (in_kernel)
        emu_fail("%s %p, which is no device memory, in %s", access, address, place);
}

/* What is not ours to explain happens again, for whoever was here first. */
static void handle(int number, siginfo_t *info, void *context)
{
    if (number == SIGSEGV && emu_running() && emu_memory_touch(info->si_addr))
        return;
    explain(info, context);
    for (int i = 0; i < SIGNALS; i++)
        if (signals[i] == number)
            sigaction(number, &before[i], NULL);
}

/* Test frameworks set handlers of their own before each test, so this is asked for often. */
void emu_fault_install(void)
{
    static __thread char *stack;
    struct sigaction ours = {}, old;
    ours.sa_sigaction = handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int i = 0; i < SIGNALS; i++)
        if (!sigaction(signals[i], &ours, &old) && old.sa_sigaction != handle)
            before[i] = old;
    if (!stack && (stack = static_cast<char *>(malloc(EMU_STACK_BYTES)))) {
        stack_t used = {};
        used.ss_sp = stack;
        used.ss_size = EMU_STACK_BYTES;
        sigaltstack(&used, NULL);
    }
}
