/* SPDX-License-Identifier: Apache-2.0
 *
 * What llavamore's programs share: exit codes and how a failure is told.
 */
#ifndef CMD_PROGRAM_H
#define CMD_PROGRAM_H

#include <llavamore.h>
#include <stddef.h>
#include <stdlib.h>

/* Exit codes, as the manual pages list them. Those from 3 on say what kind of failure it was; the message says where.
 */
enum {
    EXIT_INTERNAL = 1,      /* a bug, or a failure of no other kind */
    EXIT_USAGE = 2,         /* the command line */
    EXIT_VALUE = 3,         /* a value out of its range: an INI key, an argument, a question */
    EXIT_NOT_FOUND = 4,     /* no such file, preset, plugin, tensor or key */
    EXIT_CORRUPT = 5,       /* a file contradicts itself: cut short, or not what it says */
    EXIT_UNSUPPORTED = 6,   /* well-formed, but nothing here can handle it */
    EXIT_MEMORY = 7,        /* out of memory, or a stated cap would be exceeded */
    EXIT_IO = 8,            /* the system refused a read or a write */
    EXIT_VERSION = 9,       /* a plugin of another ABI */
    EXIT_LIMIT = 10,        /* the model's context is full */
    EXIT_INTERRUPTED = 130, /* Ctrl-C; what was printed stays */
    EXIT_CLOSED_PIPE = 141  /* whoever read standard output went away */
};

int exit_code(more_status status);

/* Prints "program: message" as one line on standard error (control characters replaced) and returns the exit code. */
int fail_status(const char *program, more_status status, const more_error *error);
MORE_PRINTF(3, 4) int fail(const char *program, int code, const char *format, ...);

/* Reads standard input to its end, at most `limit` bytes; NUL-terminated, the caller frees it. */
more_status read_standard_input(size_t limit, char **bytes, size_t *size, more_error *error);

/* Standard output, written at once, so that a reader of a pipe sees each piece. The programs ignore SIGPIPE: a reader
 * who went away shows as EPIPE here. Once a write failed, later ones do nothing. Zero-initialise it. */
typedef struct output {
    int error; /* errno of the first write that failed */
} output;

/* False when this or an earlier write failed. */
bool output_write(output *out, const char *bytes, size_t size);
bool output_text(output *out, const char *text);
/* What the program leaves with: `code` when all of the output arrived, else EXIT_CLOSED_PIPE (told by the code alone)
 * or EXIT_IO (told on standard error). */
int output_finish(const output *out, const char *program, int code);

/* ---- Options ------------------------------------------------------------------------------------------------------
 */

/* *field = value; false, and *code EXIT_USAGE after a message, when the option was given before. */
bool take_once(const char *program, const char **field, const char *value, const char *option, int *code);
/* *value = the whole number from `least` to `most` that `text` is; false, and *code EXIT_USAGE after a message, when it
 * is none. */
bool take_number(const char *program, const char *option, const char *text, int64_t least, int64_t most, int64_t *value,
                 int *code);
/* Prints `text`, as --help and --version do. False, since nothing is left to do; *code is what to leave with. */
bool print_and_leave(const char *program, const char *text, int *code);
/* The text in double quotes, as an INI file takes one of any characters (paths are such). The caller frees it; NULL
 * when out of memory. */
char *quoted(const char *text);

#endif
