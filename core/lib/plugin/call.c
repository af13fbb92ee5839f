/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/call.h"

#include "base/suggest.h"
#include "plugin/functions.h"
#include "plugin/value.h"
#include <ffi.h>
#include <stdlib.h>
#include <string.h>

#define MANY_CALLS 256 /* of one list */
#define LEADING 3      /* the most C parameters before a function's own, the error included */

struct core_call {
    const more_function *function;
    int32_t count, leading;
    char names[MORE_MAX_PARAMETERS][CORE_NAME_SIZE];
    more_value values[MORE_MAX_PARAMETERS]; /* strings are owned */
    int32_t bools[MORE_MAX_PARAMETERS];     /* bool values as the function takes them */
    ffi_type *types[LEADING + MORE_MAX_PARAMETERS];
    ffi_cif cif;
};

typedef struct call_parser {
    const core_functions *functions;
    const char *stage, *text, *at, *where;
    more_error *error;
} call_parser;

/* "where: column 12: reason; resize(int64 width, ...)"; function may be NULL. */
MORE_PRINTF(5, 6)
static more_status fail_at(const call_parser *parser, const char *at, more_status status, const more_function *function,
                           const char *format, ...)
{
    char reason[512], column[48];
    core_buffer signature = {0};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (function)
        core_call_describe(function, &signature);
    more_fail(parser->error, status, "%s: %s: %s%s%s", parser->where,
              core_column(parser->text, at, column, sizeof column), reason, signature.size ? "; it is " : "",
              signature.size ? signature.data : "");
    core_buffer_free(&signature);
    return status;
}

/* What stands at a place, for "expected ... before '...'": a few bytes are enough to find it. */
static const char *before(const char *at, char *out, size_t size)
{
    if (!*at)
        snprintf(out, size, "at the end");
    else {
        char shown[24];
        snprintf(out, size, "before '%s'", core_printable(at, shown, sizeof shown));
    }
    return out;
}

/* ---- Binding ---------------------------------------------------------------------------------------------------- */

static more_status bind(const core_parameter *parameter, core_call *call, int32_t index, char *text, more_error *error)
{
    more_value value;
    more_status status = core_value_parse(parameter->type, text, &value, error);
    if (status != MORE_OK || parameter->type != MORE_STRING)
        free(text);
    if (status == MORE_OK) {
        call->values[index] = value;
        call->bools[index] = parameter->type == MORE_BOOL ? (int32_t)value.as.i : 0;
    }
    return status;
}

static more_status bind_defaults(const call_parser *parser, const core_signature *signature, core_call *call)
{
    for (int32_t i = 0; i < signature->count; i++) {
        const core_parameter *parameter = &signature->parameters[i];
        if (call->values[i].type)
            continue;
        if (!parameter->default_text)
            return fail_at(parser, parser->at, MORE_ERROR_ARGUMENT, call->function, "%s lacks its argument '%s'",
                           call->function->name, parameter->name);
        more_error reason = {{0}};
        char *text = strdup(parameter->default_text);
        more_status status = MORE_ERROR_MEMORY;
        if (text)
            status = bind(parameter, call, i, text, &reason);
        if (status != MORE_OK)
            return fail_at(parser, parser->at, status, call->function, "the default of '%s' %s", parameter->name,
                           text ? reason.message : "does not fit in memory");
    }
    return MORE_OK;
}

/* By type, never by signature: libffi knows how each type travels. */
static ffi_type *type_of(more_type type)
{
    switch (type) {
    case MORE_BOOL:
        return &ffi_type_sint32;
    case MORE_INT64:
        return &ffi_type_sint64;
    case MORE_DOUBLE:
        return &ffi_type_double;
    default:
        return &ffi_type_pointer;
    }
}

static more_status prepare(core_call *call)
{
    int32_t count = 0;
    /* the error is the last of the leading pointers */
    for (; count < call->leading + 1; count++)
        call->types[count] = &ffi_type_pointer;
    for (int32_t i = 0; i < call->count; i++)
        call->types[count++] = type_of(call->values[i].type);
    ffi_status status = ffi_prep_cif(&call->cif, FFI_DEFAULT_ABI, (unsigned)count, &ffi_type_sint32, call->types);
    return status == FFI_OK ? MORE_OK : MORE_ERROR_INTERNAL;
}

/* ---- Parsing ---------------------------------------------------------------------------------------------------- */

static int32_t parameter_index(const core_signature *signature, const char *name)
{
    for (int32_t i = 0; i < signature->count; i++)
        if (!strcmp(signature->parameters[i].name, name))
            return i;
    return -1;
}

/* `width=` in front of a value moves the parser behind it; *index stays alone where there is none. */
static more_status parse_argument_name(call_parser *parser, const core_signature *signature, const core_call *call,
                                       int32_t *index)
{
    char name[CORE_NAME_SIZE];
    const char *behind = core_scan_name(parser->at, name);
    if (behind == parser->at || *core_skip_blanks(behind) != '=')
        return MORE_OK;
    *index = parameter_index(signature, name);
    if (*index < 0) {
        core_suggest nearest = core_suggest_for(name);
        for (int32_t i = 0; i < signature->count; i++)
            core_suggest_offer(&nearest, signature->parameters[i].name);
        return fail_at(parser, parser->at, MORE_ERROR_NOT_FOUND, call->function, "%s has no parameter '%s'%s",
                       call->function->name, name, core_suggest_text(&nearest));
    }
    if (call->values[*index].type)
        return fail_at(parser, parser->at, MORE_ERROR_ARGUMENT, call->function, "argument '%s' is given twice", name);
    parser->at = core_skip_blanks(core_skip_blanks(behind) + 1);
    return MORE_OK;
}

static more_status parse_argument(call_parser *parser, const core_signature *signature, core_call *call,
                                  int32_t *positional)
{
    int32_t index = -1;
    const char *start = parser->at, *behind = parser->at;
    more_status status = parse_argument_name(parser, signature, call, &index);
    if (status != MORE_OK)
        return status;
    if (index >= 0)
        *positional = -1; /* from here on only by name */
    else if (*positional < 0)
        return fail_at(parser, start, MORE_ERROR_ARGUMENT, call->function,
                       "an argument without a name stands behind one with a name");
    else if (*positional >= signature->count)
        return fail_at(parser, start, MORE_ERROR_ARGUMENT, call->function, "%s takes %d argument%s, not more",
                       call->function->name, signature->count, signature->count == 1 ? "" : "s");
    else
        index = (*positional)++;
    const core_parameter *parameter = &signature->parameters[index];
    more_error reason = {{0}};
    char *text = NULL;
    start = parser->at;
    status = core_scan_value(parser->at, &text, &behind, &reason);
    if (status == MORE_OK && *start == '"' && parameter->type != MORE_STRING) {
        free(text);
        status = more_fail(&reason, MORE_ERROR_ARGUMENT, "must be a %s, not a text in quotes",
                           core_type_name(parameter->type));
    } else if (status == MORE_OK) {
        status = bind(parameter, call, index, text, &reason);
    }
    if (status != MORE_OK)
        return fail_at(parser, start, status, call->function, "argument '%s' of %s %s", parameter->name,
                       call->function->name, reason.message);
    parser->at = core_skip_blanks(behind);
    return MORE_OK;
}

static more_status parse_arguments(call_parser *parser, const core_signature *signature, core_call *call)
{
    int32_t positional = 0;
    char place[48];
    parser->at = core_skip_blanks(parser->at);
    while (*parser->at != ')') {
        if (!*parser->at)
            return fail_at(parser, parser->at, MORE_ERROR_ARGUMENT, call->function, "expected ')' at the end");
        more_status status = parse_argument(parser, signature, call, &positional);
        if (status != MORE_OK)
            return status;
        if (*parser->at == ',')
            parser->at = core_skip_blanks(parser->at + 1);
        else if (*parser->at != ')')
            return fail_at(parser, parser->at, MORE_ERROR_ARGUMENT, call->function, "expected ',' or ')' %s",
                           before(parser->at, place, sizeof place));
    }
    more_status status = bind_defaults(parser, signature, call);
    parser->at = core_skip_blanks(parser->at + 1);
    return status;
}

static more_status unknown_function(const call_parser *parser, const char *at, const char *name)
{
    core_suggest nearest = core_suggest_for(name);
    core_buffer names = {0};
    for (size_t i = 0; i < parser->functions->count; i++) {
        const more_function *function = parser->functions->entries[i].function;
        if (strcmp(function->stage, parser->stage))
            continue;
        core_suggest_offer(&nearest, function->name);
        core_buffer_format(&names, "%s%s", names.size ? ", " : "", function->name);
    }
    more_status status = fail_at(parser, at, MORE_ERROR_NOT_FOUND, NULL, "no %s function '%s'%s; there are: %s",
                                 parser->stage, name, core_suggest_text(&nearest), names.size ? names.data : "(none)");
    core_buffer_free(&names);
    return status;
}

static more_status parse_call(call_parser *parser, core_call **call)
{
    char name[CORE_NAME_SIZE], place[48];
    const char *start = parser->at, *behind = core_scan_name(parser->at, name);
    *call = NULL;
    if (behind == start)
        return fail_at(parser, start, MORE_ERROR_ARGUMENT, NULL, "expected a function's name %s",
                       before(start, place, sizeof place));
    const core_function_entry *entry = core_functions_entry(parser->functions, parser->stage, name);
    if (!entry)
        return unknown_function(parser, start, name);
    parser->at = core_skip_blanks(behind);
    if (*parser->at != '(')
        return fail_at(parser, parser->at, MORE_ERROR_ARGUMENT, entry->function, "expected '(' behind %s", name);
    parser->at++;
    core_call *made = calloc(1, sizeof *made);
    if (!made)
        return fail_at(parser, start, MORE_ERROR_MEMORY, NULL, "out of memory for a call of %s", name);
    made->function = entry->function;
    made->leading = core_stage_leading(parser->stage);
    made->count = entry->signature->count;
    for (int32_t i = 0; i < made->count; i++)
        memcpy(made->names[i], entry->signature->parameters[i].name, CORE_NAME_SIZE);
    more_status status = parse_arguments(parser, entry->signature, made);
    if (status == MORE_OK && (status = prepare(made)) != MORE_OK)
        fail_at(parser, start, status, entry->function, "libffi cannot call %s on this machine", name);
    if (status != MORE_OK) {
        core_call_destroy(made);
        return status;
    }
    *call = made;
    return MORE_OK;
}

static call_parser parser_for(const core_functions *functions, const char *stage, const char *text, const char *where,
                              more_error *error)
{
    call_parser made = {functions, stage, text, core_skip_blanks(text), where, error};
    return made;
}

static more_status append(const call_parser *parser, core_calls *calls, core_call *call)
{
    core_call **items = NULL;
    if (calls->count < MANY_CALLS)
        items = realloc(calls->items, (calls->count + 1) * sizeof *items);
    if (!items) {
        core_call_destroy(call);
        return fail_at(parser, parser->at, MORE_ERROR_MEMORY, NULL, "more than %zu calls", calls->count);
    }
    calls->items = items;
    calls->items[calls->count++] = call;
    return MORE_OK;
}

more_status core_calls_parse(const core_functions *functions, const char *stage, const char *text, const char *where,
                             core_calls *calls, more_error *error)
{
    call_parser parser = parser_for(functions, stage, text, where, error);
    more_status status = MORE_OK;
    char place[48];
    *calls = (core_calls){0};
    while (*parser.at && status == MORE_OK) {
        core_call *call = NULL;
        status = parse_call(&parser, &call);
        if (status == MORE_OK)
            status = append(&parser, calls, call);
        if (status != MORE_OK || !*parser.at)
            break;
        if (*parser.at != ',')
            status = fail_at(&parser, parser.at, MORE_ERROR_ARGUMENT, NULL, "expected ',' between calls %s",
                             before(parser.at, place, sizeof place));
        else
            parser.at = core_skip_blanks(parser.at + 1);
    }
    if (status != MORE_OK)
        core_calls_free(calls);
    return status;
}

void core_calls_free(core_calls *calls)
{
    for (size_t i = 0; i < calls->count; i++)
        core_call_destroy(calls->items[i]);
    free(calls->items);
    *calls = (core_calls){0};
}

more_status core_call_parse(const core_functions *functions, const char *stage, const char *text, const char *where,
                            core_call **call, more_error *error)
{
    call_parser parser = parser_for(functions, stage, text, where, error);
    char place[48];
    more_status status = parse_call(&parser, call);
    if (status == MORE_OK && *parser.at) {
        core_call_destroy(*call);
        *call = NULL;
        status = fail_at(&parser, parser.at, MORE_ERROR_ARGUMENT, NULL, "expected nothing behind the call %s",
                         before(parser.at, place, sizeof place));
    }
    return status;
}

void core_call_destroy(core_call *call)
{
    if (!call)
        return;
    for (int32_t i = 0; i < call->count; i++)
        if (call->values[i].type == MORE_STRING)
            free((void *)(uintptr_t)call->values[i].as.s);
    free(call);
}

/* ---- Calling ---------------------------------------------------------------------------------------------------- */

more_status core_call_invoke(const core_call *call, void *const *leading, more_error *error)
{
    void *arguments[LEADING + MORE_MAX_PARAMETERS], *pointers[LEADING];
    int32_t count = 0;
    ffi_arg result = 0;
    for (; count < call->leading; count++)
        pointers[count] = leading[count];
    pointers[count++] = error;
    for (int32_t i = 0; i < count; i++)
        arguments[i] = &pointers[i];
    for (int32_t i = 0; i < call->count; i++) {
        const void *value = call->values[i].type == MORE_BOOL ? (const void *)&call->bools[i] : &call->values[i].as;
        arguments[count++] = (void *)(uintptr_t)value;
    }
    /* libffi only reads the prepared interface and the values, so that many threads may be in here */
    ffi_call((ffi_cif *)(uintptr_t)&call->cif, call->function->function, &result, arguments);
    return (more_status)result;
}

const more_function *core_call_function(const core_call *call)
{
    return call->function;
}

more_status core_call_argument(const core_call *call, const char *name, more_value *value, more_error *error)
{
    for (int32_t i = 0; i < call->count; i++)
        if (!strcmp(call->names[i], name)) {
            *value = call->values[i];
            return MORE_OK;
        }
    return more_fail(error, MORE_ERROR_NOT_FOUND, "%s has no parameter '%s'", call->function->name, name);
}

void core_call_write(const core_call *call, core_buffer *buffer)
{
    core_buffer_format(buffer, "%s(", call->function->name);
    for (int32_t i = 0; i < call->count; i++) {
        core_buffer_text(buffer, i ? ", " : "");
        core_value_write(buffer, &call->values[i]);
    }
    core_buffer_text(buffer, ")");
}
