/* SPDX-License-Identifier: Apache-2.0
 *
 * [runtime] device: where the models are to run.
 */
#ifndef CORE_CHOICE_H
#define CORE_CHOICE_H

#include <llavamore/host.h>

typedef struct core_device_choice {
    DLDevice device; /* the one to take; with `automatic` the one to try first */
    bool automatic;
} core_device_choice;

/* Reads "auto", "cpu", "cuda" or "cuda:N" and looks whether that device is there: MORE_ERROR_ARGUMENT for anything
 * else, MORE_ERROR_NOT_FOUND for a device that this machine lacks, with those that it has. [any-thread] */
more_status core_device_choose(const more_host *host, const char *text, core_device_choice *choice, more_error *error);

/* "cpu", "cuda:1". */
const char *core_device_text(DLDevice device, char text[24]);
/* "the CPU", "cuda:1 (NVIDIA H100)": for people. */
const char *core_device_shown(const more_host *host, DLDevice device, char text[192]);

#endif
