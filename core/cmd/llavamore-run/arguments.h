/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of llavamore-run.
 */
#ifndef RUN_ARGUMENTS_H
#define RUN_ARGUMENTS_H

#include "../program.h"

#define PROGRAM "llavamore-run"

typedef enum action { ACTION_ASK, ACTION_CHAT, ACTION_DRY_RUN, ACTION_LIST_PLUGINS, ACTION_LIST_PRESETS } action;

typedef struct arguments {
    action action;
    const char *config;       /* NULL = none */
    const char **images;      /* "-" is standard input */
    const char **assignments; /* of --set */
    int image_count, assignment_count;
    const char *question; /* NULL = none; "-" is standard input */
    const char *dump_folder;
    bool dump_layers, json, verbose;
} arguments;

/* True when there is something to do; else *code is what to leave with: help and version were printed, or the mistake
 * was. The strings are argv's; arguments_clear frees the lists. */
bool arguments_parse(int argc, char **argv, arguments *args, int *code);
void arguments_clear(arguments *args);

#endif
