/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/signature.h"

#include "plugin/value.h"
#include <stdlib.h>
#include <string.h>

/* ---- Tokens ----------------------------------------------------------------------------------------------------- */

const char *core_skip_blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

const char *core_scan_name(const char *at, char *name)
{
    size_t length = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    if (!length || length >= CORE_NAME_SIZE)
        return at;
    memcpy(name, at, length);
    name[length] = '\0';
    return at + length;
}

more_status core_scan_value(const char *at, char **text, const char **behind, more_error *error)
{
    *text = NULL;
    if (*at == '"') {
        size_t used = 0;
        more_status status = core_unquote(at, text, &used, error);
        *behind = at + used;
        return status;
    }
    size_t length = strcspn(at, " \t\r\n\",()=");
    if (!length)
        return more_fail(error, MORE_ERROR_ARGUMENT, "lacks its value");
    *behind = at + length;
    *text = strndup(at, length);
    return *text ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "is too long for the memory there is");
}

const char *core_column(const char *text, const char *at, char *out, size_t size)
{
    int line = 1, column = 1;
    for (; text < at; text++) {
        if (*text == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*text & 0xc0) != 0x80) {
            column++;
        }
    }
    if (line == 1)
        snprintf(out, size, "column %d", column);
    else
        snprintf(out, size, "line %d, column %d", line, column);
    return out;
}

/* ---- Declarations ----------------------------------------------------------------------------------------------- */

int core_stage_leading(const char *stage)
{
    static const struct {
        const char *stage;
        int leading;
    } stages[] = {{MORE_STAGE_PREPROCESS, 2}, {MORE_STAGE_SAMPLER, 1}, {MORE_STAGE_PLAIN, 0}};
    for (size_t i = 0; stage && i < sizeof stages / sizeof *stages; i++)
        if (!strcmp(stages[i].stage, stage))
            return stages[i].leading;
    return -1;
}

static more_status parse_type_and_name(const char **at, core_signature *signature, more_error *error)
{
    core_parameter *parameter = &signature->parameters[signature->count];
    char word[CORE_NAME_SIZE] = "";
    const char *behind = core_scan_name(*at, word);
    parameter->type = core_type_from_name(word, strlen(word));
    if (behind == *at || !parameter->type)
        return more_fail(error, MORE_ERROR_CORRUPT, "expected a type: int64, double, bool or string");
    *at = core_skip_blanks(behind);
    behind = core_scan_name(*at, parameter->name);
    if (behind == *at || !core_is_name(parameter->name))
        return more_fail(error, MORE_ERROR_CORRUPT, "expected a parameter's name of a-z, 0-9 and '_'");
    for (int32_t i = 0; i < signature->count; i++)
        if (!strcmp(signature->parameters[i].name, parameter->name))
            return more_fail(error, MORE_ERROR_CORRUPT, "a second parameter '%s'", parameter->name);
    *at = core_skip_blanks(behind);
    return MORE_OK;
}

static more_status parse_default(const char **at, core_parameter *parameter, more_error *error)
{
    more_error reason = {{0}};
    more_value value;
    const char *behind = *at;
    more_status status = core_scan_value(*at, &parameter->default_text, &behind, &reason);
    if (status == MORE_OK)
        status = core_value_parse(parameter->type, parameter->default_text, &value, &reason);
    if (status != MORE_OK)
        return more_fail(error, MORE_ERROR_CORRUPT, "the default of '%s' %s", parameter->name, reason.message);
    *at = core_skip_blanks(behind);
    return MORE_OK;
}

static more_status parse_declaration(const char **at, core_signature *signature, more_error *error)
{
    more_status status = MORE_OK;
    *at = core_skip_blanks(*at);
    while (**at && status == MORE_OK) {
        if (signature->count == MORE_MAX_PARAMETERS)
            return more_fail(error, MORE_ERROR_CORRUPT, "more than %d parameters", MORE_MAX_PARAMETERS);
        status = parse_type_and_name(at, signature, error);
        if (status != MORE_OK)
            break;
        /* counted before its default, so that the default is freed with the signature */
        core_parameter *parameter = &signature->parameters[signature->count++];
        if (**at == '=') {
            *at = core_skip_blanks(*at + 1);
            status = parse_default(at, parameter, error);
        }
        if (status != MORE_OK || !**at)
            break;
        if (**at != ',')
            return more_fail(error, MORE_ERROR_CORRUPT, "expected ',' behind '%s'", parameter->name);
        *at = core_skip_blanks(*at + 1);
        if (!**at)
            return more_fail(error, MORE_ERROR_CORRUPT, "expected a parameter behind the last ','");
    }
    return status;
}

more_status core_signature_parse(const more_function *function, core_signature **signature, more_error *error)
{
    more_error reason = {{0}};
    char column[48];
    *signature = NULL;
    core_signature *made = calloc(1, sizeof *made);
    if (!made)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the parameters of '%s'", function->name);
    const char *at = function->parameters;
    more_status status = parse_declaration(&at, made, &reason);
    if (status != MORE_OK) {
        core_signature_free(made);
        return more_fail(error, status, "function '%s': parameters \"%s\", %s: %s", function->name,
                         function->parameters, core_column(function->parameters, at, column, sizeof column),
                         reason.message);
    }
    *signature = made;
    return MORE_OK;
}

void core_signature_free(core_signature *signature)
{
    if (!signature)
        return;
    for (int32_t i = 0; i < signature->count; i++)
        free(signature->parameters[i].default_text);
    free(signature);
}
