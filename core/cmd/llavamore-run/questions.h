/* SPDX-License-Identifier: Apache-2.0
 *
 * The questions of one run: from the command line, from standard input, from a file.
 */
#ifndef RUN_QUESTIONS_H
#define RUN_QUESTIONS_H

#include "arguments.h"

typedef struct question_list {
    const char **texts; /* in the order in which they are asked; argv's or in what was read */
    size_t count;
    char *input, *lines; /* what was read: one question on standard input, and a file of them */
} question_list;

/* Those of the command line, then the file's, a line each without blank ones. Standard input as one question is taken
 * whole but for newlines at its end. Free with questions_clear, also after a failure. */
more_status questions_read(const arguments *args, question_list *list, more_error *error);
void questions_clear(question_list *list);

#endif
