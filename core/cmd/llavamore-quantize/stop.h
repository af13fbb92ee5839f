/* SPDX-License-Identifier: Apache-2.0
 *
 * Ctrl-C and its like: the signals wait until somebody asks, so that nothing ends between two steps.
 */
#ifndef QUANTIZE_STOP_H
#define QUANTIZE_STOP_H

#include <stdbool.h>

/* Holds back SIGINT, SIGTERM and SIGHUP in this thread and those that it makes from now on; a write past a limit and
 * one to a closed pipe fail instead of ending the program. */
void stop_prepare(void);
/* True once such a signal came. [any-thread] */
bool stop_asked(void);
/* The exit code that goes with it: 128 + its number. */
int stop_code(void);

#endif
