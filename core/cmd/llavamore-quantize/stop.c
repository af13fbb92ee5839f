/* SPDX-License-Identifier: Apache-2.0 */
#include "stop.h"
#include "../program.h"

#include <signal.h>

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

void stop_prepare(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < NUMBERS; i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

/* The first of them that waits, 0 for none. */
static int waiting(void)
{
    sigset_t set;
    if (sigpending(&set) < 0)
        return 0;
    for (int i = 0; i < NUMBERS; i++)
        if (sigismember(&set, numbers[i]) == 1)
            return numbers[i];
    return 0;
}

bool stop_asked(void)
{
    return waiting() != 0;
}

int stop_code(void)
{
    int number = waiting();
    return number ? 128 + number : EXIT_INTERRUPTED;
}
