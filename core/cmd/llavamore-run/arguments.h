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
    const char **questions;   /* of --question, and the one behind the options; "-" is standard input */
    int image_count, assignment_count, question_count;
    const char *question_file; /* of --questions: one a line; NULL = none; "-" is standard input */
    const char *feature_cache; /* folder; NULL = as the INI file says */
    const char *dump_folder;
    bool dump_layers, json, verbose;
} arguments;

/* True when there is something to do; else *code is what to leave with: help and version were printed, or the mistake
 * was. The strings are argv's; arguments_clear frees the lists. */
bool arguments_parse(int argc, char **argv, arguments *args, int *code);
void arguments_clear(arguments *args);

#endif
