/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of llavamore-quantize.
 */
#ifndef QUANTIZE_ARGUMENTS_H
#define QUANTIZE_ARGUMENTS_H

#include "../program.h"
#include "weights/gguf/quantised.h"
#include <stdbool.h>

#define PROGRAM "llavamore-quantize"

/* Everything points into argv, but for assignments itself. */
typedef struct arguments {
    const char *source, *output, *mmproj;
    const core_gguf_format *type, *mmproj_type;
    const char **assignments; /* SEC.KEY=VALUE */
    int assignment_count;
    bool force, dry_run, json;
} arguments;

/* False when the program is to leave at once with *code (after --help, or a mistake that was told).
 * arguments_clear frees in either case. */
bool arguments_parse(int argc, char **argv, arguments *args, int *code);
void arguments_clear(arguments *args);

#endif
