/* SPDX-License-Identifier: Apache-2.0 */
#include "questions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUESTION_LIMIT ((size_t)16 << 20) /* bytes of what is read */

/* The whole file, NUL-terminated. */
static more_status read_file(const char *path, char **bytes, size_t *size, more_error *error)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return more_fail(error, errno == ENOENT ? MORE_ERROR_NOT_FOUND : MORE_ERROR_IO, "--questions %s: %s", path,
                         strerror(errno));
    *bytes = malloc(QUESTION_LIMIT + 1);
    *size = *bytes ? fread(*bytes, 1, QUESTION_LIMIT + 1, file) : 0;
    int failed = ferror(file);
    fclose(file);
    if (!*bytes)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the questions in %s", path);
    if (failed)
        return more_fail(error, MORE_ERROR_IO, "--questions %s: cannot be read", path);
    if (*size > QUESTION_LIMIT)
        return more_fail(error, MORE_ERROR_MEMORY, "--questions %s: is larger than the %zu bytes allowed here", path,
                         QUESTION_LIMIT);
    (*bytes)[*size] = '\0';
    return MORE_OK;
}

/* The same of standard input ("-"); text without NUL bytes. */
static more_status read_text(const char *path, char **bytes, size_t *size, more_error *error)
{
    bool standard = !strcmp(path, "-");
    more_status status =
        standard ? read_standard_input(QUESTION_LIMIT, bytes, size, error) : read_file(path, bytes, size, error);
    if (status == MORE_OK && strlen(*bytes) != *size)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "%s: the question has a NUL byte at %zu",
                           standard ? "standard input" : path, strlen(*bytes));
    return status;
}

/* The one of the command line that is standard input. */
static more_status read_one(question_list *list, size_t index, more_error *error)
{
    size_t size;
    more_status status = read_text("-", &list->input, &size, error);
    while (status == MORE_OK && size && (list->input[size - 1] == '\n' || list->input[size - 1] == '\r'))
        list->input[--size] = '\0';
    list->texts[index] = list->input;
    return status;
}

static more_status add_lines(const char *path, question_list *list, more_error *error)
{
    size_t size, lines = 1, before = list->count;
    more_status status = read_text(path, &list->lines, &size, error);
    if (status != MORE_OK)
        return status;
    for (const char *at = list->lines; (at = strchr(at, '\n')); at++)
        lines++;
    const char **texts = realloc(list->texts, (list->count + lines) * sizeof *texts);
    if (!texts)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for %zu questions", lines);
    list->texts = texts;
    for (char *line = list->lines, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        line[strcspn(line, "\r")] = '\0';
        if (line[strspn(line, " \t")])
            list->texts[list->count++] = line;
    }
    if (list->count == before)
        return more_fail(error, MORE_ERROR_ARGUMENT, "--questions %s: there is no question in it", path);
    return MORE_OK;
}

more_status questions_read(const arguments *args, question_list *list, more_error *error)
{
    *list = (question_list){.texts = calloc((size_t)args->question_count + 1, sizeof *list->texts)};
    if (!list->texts)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for %d questions", args->question_count);
    more_status status = MORE_OK;
    for (int i = 0; i < args->question_count && status == MORE_OK; i++) {
        list->texts[list->count++] = args->questions[i];
        if (!strcmp(args->questions[i], "-"))
            status = read_one(list, (size_t)i, error);
    }
    if (status == MORE_OK && args->question_file)
        status = add_lines(args->question_file, list, error);
    return status;
}

void questions_clear(question_list *list)
{
    free(list->texts);
    free(list->input);
    free(list->lines);
    *list = (question_list){0};
}
