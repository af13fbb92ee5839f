/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double mebibytes(const json_t *object)
{
    return (double)json_integer_value(json_object_get(object, "bytes")) / (1 << 20);
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_file(FILE *file, const json_t *report, bool written)
{
    const char *title;
    json_t *row, *note;
    size_t i;
    fprintf(file, "%s: %s, %zu tensors, %.1f MiB%s\n", text_at(report, "path"), text_at(report, "architecture"),
            json_array_size(json_object_get(report, "tensors")), mebibytes(report), written ? "" : " (not written)");
    json_object_foreach(json_object_get(report, "formats"), title, row)
    {
        fprintf(file, "  %-5s %4lld tensors %10.1f MiB\n", title,
                (long long)json_integer_value(json_object_get(row, "tensors")), mebibytes(row));
    }
    json_array_foreach(json_object_get(report, "notes"), i, note)
    {
        fprintf(file, "  note: %s\n", json_string_value(note));
    }
}

void report_layout(FILE *file, const json_t *report)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(report, "files"), i, one)
    {
        print_file(file, one, json_is_true(json_object_get(report, "written")));
    }
}

static bool is_terminal(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

void report_progress(const char *path, int64_t done, int64_t total)
{
    if (is_terminal())
        fprintf(stderr, "\r\033[K%s: %3d%% of %.1f MiB", path, (int)(100.0 * (double)done / (double)total),
                (double)total / (1 << 20));
}

void report_progress_end(void)
{
    if (is_terminal())
        fputs("\r\033[K", stderr);
}
