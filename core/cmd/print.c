/* SPDX-License-Identifier: Apache-2.0 */
#include "print.h"

#include <stdlib.h>
#include <string.h>

#define REAL_DIGITS 9

more_status print_json(output *out, const json_t *json, more_error *error)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(REAL_DIGITS)) : NULL;
    if (!text)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the report");
    if (output_text(out, text))
        output_text(out, "\n");
    free(text);
    return MORE_OK;
}

more_status print_report(output *out, const json_t *json, bool as_json, layout_function layout, more_error *error)
{
    char *page = NULL;
    size_t size = 0;
    if (as_json)
        return print_json(out, json, error);
    FILE *file = open_memstream(&page, &size);
    bool whole = file != NULL;
    if (file) {
        layout(file, json);
        whole = !ferror(file);
        whole = fclose(file) == 0 && whole;
    }
    if (whole)
        output_write(out, page, size);
    free(page);
    return whole ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory for the report");
}

/* `bytes`: a number of them. */
static void print_scalar(FILE *file, const json_t *value, bool bytes)
{
    if (json_is_string(value)) {
        fprintf(file, "%s", json_string_value(value));
    } else if (json_is_integer(value) && bytes && json_integer_value(value) >= 1 << 20) {
        fprintf(file, "%lld (%.1f MiB)", (long long)json_integer_value(value),
                (double)json_integer_value(value) / (1 << 20));
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(REAL_DIGITS));
        fprintf(file, "%s", text ? text : "?");
        free(text);
    }
}

static bool is_scalar(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

static bool is_bytes(const char *key)
{
    size_t length = strlen(key);
    return length >= 5 && !strcmp(key + length - 5, "bytes");
}

static void print_members(FILE *file, const json_t *json, int depth, bool bytes);

/* Texts and lists that hold nothing are left out for people. */
static bool is_empty(const json_t *value)
{
    return json_is_array(value) ? !json_array_size(value) : json_is_string(value) && !json_string_length(value);
}

static void print_member(FILE *file, const char *key, const json_t *value, int depth, bool bytes)
{
    bool flat = is_scalar(value);
    if (is_empty(value))
        return;
    if (json_is_array(value)) {
        size_t i;
        const json_t *item;
        flat = true;
        json_array_foreach(value, i, item)
        {
            flat = flat && is_scalar(item);
        }
    }
    if (!flat) {
        fprintf(file, "%*s%s\n", 2 * depth, "", key);
        print_members(file, value, depth + 1, !strncmp(key, "memory", 6));
        return;
    }
    fprintf(file, "%*s%-*s ", 2 * depth, "", 26 - 2 * depth, key);
    if (json_is_array(value)) {
        size_t i;
        const json_t *item;
        json_array_foreach(value, i, item)
        {
            fputs(i ? ", " : "", file);
            print_scalar(file, item, bytes);
        }
    } else {
        print_scalar(file, value, bytes || is_bytes(key));
    }
    fputc('\n', file);
}

static void print_members(FILE *file, const json_t *json, int depth, bool bytes)
{
    if (json_is_array(json)) {
        size_t i;
        const json_t *item;
        json_array_foreach(json, i, item)
        {
            char name[24];
            snprintf(name, sizeof name, "%zu", i + 1);
            print_member(file, name, item, depth, bytes);
        }
        return;
    }
    for (void *at = json_object_iter((json_t *)json); at; at = json_object_iter_next((json_t *)json, at))
        print_member(file, json_object_iter_key(at), json_object_iter_value(at), depth, bytes);
}

void print_tree(FILE *file, const json_t *json, int depth)
{
    print_members(file, json, depth, false);
}
