/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/options.h"

#include "base/suggest.h"
#include "plugin/value.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MANY_OPTIONS 256 /* rows of a table that we agree to read */

static bool has_range(const more_option *option)
{
    return option->minimum != 0 || option->maximum != 0;
}

static bool is_choice(const char *choices, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = choices;; at++) {
        size_t size = strcspn(at, "|");
        if (size == length && !memcmp(at, word, size))
            return true;
        at += size;
        if (!*at)
            return false;
    }
}

static more_status check_range(const more_option *option, const more_value *value, more_error *error)
{
    double number = option->type == MORE_INT64 ? (double)value->as.i : value->as.f;
    if (!has_range(option) || (number >= option->minimum && number <= option->maximum))
        return MORE_OK;
    return more_fail(error, MORE_ERROR_ARGUMENT, "must be %.15g to %.15g, not %.15g", option->minimum, option->maximum,
                     number);
}

static more_status string_value(const more_option *option, const char *text, more_value *value, char **plain,
                                more_error *error)
{
    char shown[64];
    size_t used = strlen(text);
    if (*text == '"') {
        more_status status = core_unquote(text, plain, &used, error);
        if (status != MORE_OK)
            return status;
    } else if (!(*plain = strdup(text))) {
        return more_fail(error, MORE_ERROR_MEMORY, "is too long for the memory there is");
    }
    if (text[used])
        more_fail(error, MORE_ERROR_ARGUMENT, "has text behind the closing double quote: '%s'",
                  core_printable(text + used, shown, sizeof shown));
    else if (option->choices && !is_choice(option->choices, *plain))
        more_fail(error, MORE_ERROR_ARGUMENT, "must be one of %s, not '%s'", option->choices,
                  core_printable(*plain, shown, sizeof shown));
    else {
        value->type = MORE_STRING;
        value->as.s = *plain;
        return MORE_OK;
    }
    free(*plain);
    *plain = NULL;
    return MORE_ERROR_ARGUMENT;
}

more_status core_option_value(const more_option *option, const char *text, more_value *value, char **plain,
                              more_error *error)
{
    *plain = NULL;
    if (option->type == MORE_STRING)
        return string_value(option, text, value, plain, error);
    more_status status = core_value_parse(option->type, text, value, error);
    if (status == MORE_OK && option->type != MORE_BOOL)
        status = check_range(option, value, error);
    return status;
}

const more_option *core_option_find(const more_option *table, int32_t count, const char *name)
{
    for (int32_t i = 0; i < count; i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}

/* ---- Parsing a section ------------------------------------------------------------------------------------------ */

static more_status unknown_key(const char *section, const core_option_text *text, const more_option *table,
                               int32_t count, const more_option *also, int32_t also_count, more_error *error)
{
    core_suggest nearest = core_suggest_for(text->key);
    core_buffer names = {0};
    char shown[64];
    for (int32_t i = 0; i < count; i++) {
        core_suggest_offer(&nearest, table[i].name);
        core_buffer_format(&names, "%s%s", i ? ", " : "", table[i].name);
    }
    for (int32_t i = 0; i < also_count; i++)
        core_suggest_offer(&nearest, also[i].name);
    more_status status = more_fail(error, MORE_ERROR_NOT_FOUND, "%s: [%s] has no key '%s'%s; its plugin's keys are: %s",
                                   text->where, section, core_printable(text->key, shown, sizeof shown),
                                   core_suggest_text(&nearest), names.size ? names.data : "(none)");
    core_buffer_free(&names);
    return status;
}

static more_status set_value(const char *section, const more_option *option, const char *text, const char *where,
                             more_value *value, more_error *error)
{
    more_error reason = {{0}};
    char *plain = NULL;
    more_status status = core_option_value(option, text, value, &plain, &reason);
    if (status != MORE_OK)
        return more_fail(error, status, "%s: [%s] %s %s", where, section, option->name, reason.message);
    return MORE_OK;
}

static more_status parse_texts(const char *section, const more_option *table, int32_t count,
                               const core_option_text *texts, size_t text_count, const more_option *also,
                               int32_t also_count, core_options *options, more_error *error)
{
    more_status status = MORE_OK;
    for (size_t i = 0; i < text_count && status == MORE_OK; i++) {
        const more_option *option = core_option_find(table, count, texts[i].key);
        if (!option)
            return unknown_key(section, &texts[i], table, count, also, also_count, error);
        more_value *value = &options->values[option - table];
        if (value->type)
            return more_fail(error, MORE_ERROR_ARGUMENT, "%s: [%s] %s is given twice", texts[i].where, section,
                             option->name);
        status = set_value(section, option, texts[i].text, texts[i].where, value, error);
    }
    for (int32_t i = 0; i < count && status == MORE_OK; i++)
        if (!options->values[i].type)
            status = set_value(section, &table[i], table[i].default_value, "default", &options->values[i], error);
    return status;
}

more_status core_options_parse(const char *section, const more_option *table, int32_t count,
                               const core_option_text *texts, size_t text_count, const more_option *also,
                               int32_t also_count, core_options *options, more_error *error)
{
    options->values = calloc(count > 0 ? (size_t)count : 1, sizeof *options->values);
    options->count = count;
    if (!options->values) {
        options->count = 0;
        return more_fail(error, MORE_ERROR_MEMORY, "[%s]: out of memory for %d options", section, count);
    }
    more_status status = parse_texts(section, table, count, texts, text_count, also, also_count, options, error);
    if (status != MORE_OK)
        core_options_free(options);
    return status;
}

void core_options_free(core_options *options)
{
    for (int32_t i = 0; i < options->count; i++)
        if (options->values[i].type == MORE_STRING)
            free((void *)(uintptr_t)options->values[i].as.s);
    free(options->values);
    *options = (core_options){0};
}

/* ---- Checking a table ------------------------------------------------------------------------------------------- */

static more_status check_row(const more_option *option, more_error *error)
{
    more_value value;
    char *plain = NULL;
    if (!option->default_value || !option->doc)
        return more_fail(error, MORE_ERROR_CORRUPT, "lacks its %s", option->doc ? "default" : "doc");
    if (option->type < MORE_BOOL || option->type > MORE_STRING)
        return more_fail(error, MORE_ERROR_CORRUPT, "is of type number %d, which there is not", option->type);
    if (!(option->minimum <= option->maximum))
        return more_fail(error, MORE_ERROR_CORRUPT, "has the minimum %g above the maximum %g", option->minimum,
                         option->maximum);
    if (has_range(option) && option->type != MORE_INT64 && option->type != MORE_DOUBLE)
        return more_fail(error, MORE_ERROR_CORRUPT, "is a %s with a range", core_type_name(option->type));
    if (option->choices && option->type != MORE_STRING)
        return more_fail(error, MORE_ERROR_CORRUPT, "is a %s with choices", core_type_name(option->type));
    more_error reason = {{0}};
    more_status status = core_option_value(option, option->default_value, &value, &plain, &reason);
    free(plain);
    if (status != MORE_OK)
        return more_fail(error, MORE_ERROR_CORRUPT, "has a wrong default: %s", reason.message);
    return MORE_OK;
}

more_status core_options_check(const more_option *table, int32_t count, more_error *error)
{
    if (count < 0 || count > MANY_OPTIONS || (count > 0 && !table))
        return more_fail(error, MORE_ERROR_CORRUPT, "option table of %d rows%s; 0 to %d are allowed", count,
                         table ? "" : " at NULL", MANY_OPTIONS);
    for (int32_t i = 0; i < count; i++) {
        more_error reason = {{0}};
        const char *name = table[i].name;
        char shown[64];
        if (!name || !core_is_name(name))
            return more_fail(error, MORE_ERROR_CORRUPT, "option %d has the name '%s'; a-z, 0-9 and '_' are allowed", i,
                             name ? core_printable(name, shown, sizeof shown) : "NULL");
        if (core_option_find(table, i, name))
            return more_fail(error, MORE_ERROR_CORRUPT, "option '%s' is in the table twice", name);
        if (check_row(&table[i], &reason) != MORE_OK)
            return more_fail(error, MORE_ERROR_CORRUPT, "option '%s' %s", name, reason.message);
    }
    return MORE_OK;
}

void core_option_describe(const more_option *option, core_buffer *buffer)
{
    if (option->choices)
        core_buffer_text(buffer, option->choices);
    else
        core_buffer_text(buffer, core_type_name(option->type));
    if (has_range(option))
        core_buffer_format(buffer, ", %.15g to %.15g", option->minimum, option->maximum);
    if (*option->default_value)
        core_buffer_format(buffer, ", default %s", option->default_value);
}
