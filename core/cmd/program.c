/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int exit_code(more_status status)
{
    switch (status) {
    case MORE_OK:
        return EXIT_SUCCESS;
    case MORE_ERROR_ARGUMENT:
        return EXIT_VALUE;
    case MORE_ERROR_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case MORE_ERROR_CORRUPT:
        return EXIT_CORRUPT;
    case MORE_ERROR_UNSUPPORTED:
        return EXIT_UNSUPPORTED;
    case MORE_ERROR_MEMORY:
        return EXIT_MEMORY;
    case MORE_ERROR_IO:
        return EXIT_IO;
    case MORE_ERROR_CANCELLED:
        return EXIT_INTERRUPTED;
    case MORE_ERROR_VERSION:
        return EXIT_VERSION;
    case MORE_ERROR_LIMIT:
        return EXIT_LIMIT;
    default:
        return EXIT_INTERNAL;
    }
}

static void print_line(const char *program, const char *message)
{
    char line[MORE_ERROR_SIZE + 64];
    snprintf(line, sizeof line, "%s: %s", program, message);
    for (char *c = line; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?'; /* a file's name may hold anything; a terminal must not obey it */
    }
    fprintf(stderr, "%s\n", line);
}

int fail_status(const char *program, more_status status, const more_error *error)
{
    if (status == MORE_ERROR_CANCELLED)
        return EXIT_INTERRUPTED;
    print_line(program, error->message[0] ? error->message : "failed without a reason: please report it");
    return exit_code(status);
}

int fail(const char *program, int code, const char *format, ...)
{
    char message[MORE_ERROR_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    print_line(program, message);
    return code;
}

more_status read_standard_input(size_t limit, char **bytes, size_t *size, more_error *error)
{
    size_t capacity = 1 << 16, used = 0;
    char *data = malloc(capacity + 1);
    while (data) {
        ssize_t got = read(STDIN_FILENO, data + used, capacity - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            free(data);
            return more_fail(error, MORE_ERROR_IO, "standard input: %s", strerror(errno));
        }
        if (got == 0)
            break;
        used += (size_t)got;
        if (used > limit) {
            free(data);
            return more_fail(error, MORE_ERROR_MEMORY, "standard input: more than the %zu bytes that are allowed",
                             limit);
        }
        if (used == capacity) {
            char *larger = realloc(data, 2 * capacity + 1);
            if (!larger)
                free(data);
            data = larger;
            capacity *= 2;
        }
    }
    if (!data)
        return more_fail(error, MORE_ERROR_MEMORY, "standard input: out of memory after %zu bytes", used);
    data[used] = '\0';
    *bytes = data;
    *size = used;
    return MORE_OK;
}

bool output_write(output *out, const char *bytes, size_t size)
{
    while (size && !out->error) {
        ssize_t written = write(STDOUT_FILENO, bytes, size);
        if (written < 0) {
            if (errno != EINTR)
                out->error = errno;
            continue;
        }
        bytes += written;
        size -= (size_t)written;
    }
    return !out->error;
}

bool output_text(output *out, const char *text)
{
    return output_write(out, text, strlen(text));
}

int output_finish(const output *out, const char *program, int code)
{
    if (!out->error)
        return code;
    if (out->error == EPIPE)
        return EXIT_CLOSED_PIPE;
    return fail(program, EXIT_IO, "standard output: %s", strerror(out->error));
}

bool take_once(const char *program, const char **field, const char *value, const char *option, int *code)
{
    if (*field)
        *code = fail(program, EXIT_USAGE, "%s is given twice: '%s' and '%s'", option, *field, value);
    else
        *field = value;
    return *code == EXIT_SUCCESS;
}

bool take_number(const char *program, const char *option, const char *text, int64_t least, int64_t most, int64_t *value,
                 int *code)
{
    char *end;
    long long number = strtoll(text, &end, 10);
    *value = number;
    if (*text && !*end && number >= least && number <= most)
        return true;
    *code = fail(program, EXIT_USAGE, "%s is '%s'; give a number from %lld to %lld", option, text, (long long)least,
                 (long long)most);
    return false;
}

bool print_and_leave(const char *program, const char *text, int *code)
{
    output out = {0};
    output_text(&out, text);
    *code = output_finish(&out, program, EXIT_SUCCESS);
    return false;
}

char *quoted(const char *text)
{
    char *copy = malloc(2 * strlen(text) + sizeof "\"\""), *to = copy;
    if (!copy)
        return NULL;
    *to++ = '"';
    for (const char *from = text; *from; from++) {
        if (strchr("\"\\\n\t", *from))
            *to++ = '\\';
        *to++ = *from == '\n' ? 'n' : *from == '\t' ? 't' : *from;
    }
    memcpy(to, "\"", 2);
    return copy;
}
