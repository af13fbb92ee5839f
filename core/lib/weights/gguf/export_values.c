/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/gguf/export_values.h"

#include "base/json.h"
#include "weights/checkpoint.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 32      /* names within names, parentheses within parentheses */
#define WORD_SIZE 128 /* bytes of a name, the NUL included */
#define ARGUMENTS 2

typedef struct parser {
    const core_export_scope *scope;
    const char *text, *at;
    int depth;
    more_status status; /* of the first failure; then everything is 0 */
    more_error *error;
} parser;

static double sum(parser *p);

static double fail(parser *p, more_status status, const char *reason)
{
    if (p->status == MORE_OK)
        p->status = more_fail(p->error, status, "%s: \"%.200s\": %.200s", p->scope->file, p->text, reason);
    return 0;
}

static double missing(parser *p, const char *name)
{
    if (p->status == MORE_OK)
        p->status = more_fail(p->error, MORE_ERROR_NOT_FOUND, "%s has no '%.120s'",
                              core_weights_service()->path(p->scope->checkpoint), name);
    return 0;
}

static void skip_blanks(parser *p)
{
    while (*p->at == ' ')
        p->at++;
}

static bool take(parser *p, char symbol)
{
    skip_blanks(p);
    if (*p->at != symbol)
        return false;
    p->at++;
    return true;
}

/* ---- Names ------------------------------------------------------------------------------------------------------ */

json_t *core_export_json(const core_export_scope *scope, const char *name)
{
    json_t *config = core_checkpoint_config(scope->checkpoint);
    json_t *value = scope->facts ? core_json_at(scope->facts, name) : NULL;
    if (!value && scope->inside)
        value = core_json_at(core_json_at(config, scope->inside), name);
    return value ? value : core_json_at(config, name);
}

/* The first of a name's expressions that has a value. */
static double named(parser *p, const char *name, json_t *expressions)
{
    size_t i;
    json_t *one;
    if (p->depth >= DEPTH)
        return fail(p, MORE_ERROR_CORRUPT, "names within names too deep");
    json_array_foreach(expressions, i, one)
    {
        const char *text = json_string_value(one) ? json_string_value(one) : "";
        parser inner = {p->scope, text, text, p->depth + 1, MORE_OK, p->error};
        double value = sum(&inner);
        if (inner.status == MORE_OK && *inner.at)
            fail(&inner, MORE_ERROR_CORRUPT, "ends too late");
        if (inner.status == MORE_OK)
            return value;
        if (inner.status != MORE_ERROR_NOT_FOUND) {
            p->status = inner.status;
            return 0;
        }
    }
    return missing(p, name);
}

static double name_value(parser *p, const char *name)
{
    if (!strcmp(name, "pi"))
        return 3.14159265358979323846;
    if (!strcmp(name, "i"))
        return p->scope->index;
    json_t *expressions = json_object_get(p->scope->names, name);
    if (expressions)
        return named(p, name, expressions);
    json_t *value = core_export_json(p->scope, name);
    if (json_is_boolean(value))
        return json_is_true(value);
    return json_is_number(value) ? json_number_value(value) : missing(p, name);
}

static bool word(parser *p, char *name)
{
    size_t size = 0;
    skip_blanks(p);
    while (isalnum((unsigned char)*p->at) || *p->at == '_' || *p->at == '.') {
        if (size + 1 < WORD_SIZE)
            name[size++] = *p->at;
        p->at++;
    }
    name[size] = '\0';
    return size > 0;
}

/* ---- Functions -------------------------------------------------------------------------------------------------- */

static bool text_is(json_t *value, const char *text, size_t size)
{
    const char *said = json_is_true(value) ? "true" : json_is_false(value) ? "false" : json_string_value(value);
    return said && strlen(said) == size && !strncmp(said, text, size);
}

/* is(KEY, 'TEXT'), behind the parenthesis. */
static double is_text(parser *p)
{
    char key[WORD_SIZE];
    if (!word(p, key) || !take(p, ',') || !take(p, '\''))
        return fail(p, MORE_ERROR_CORRUPT, "is() wants (KEY, 'TEXT')");
    size_t size = strcspn(p->at, "'");
    bool same = text_is(core_export_json(p->scope, key), p->at, size);
    p->at += size + (p->at[size] == '\'');
    return same;
}

/* Functions of a name: of a tensor, or of a key. */
static bool of_name(parser *p, const char *function, double *value)
{
    static const char *const names[] = {"rows", "columns", "rank", "has", "length"};
    char name[WORD_SIZE];
    more_weight_info info = {.struct_size = sizeof info};
    bool known = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        known |= !strcmp(function, names[i]);
    if (!known)
        return false;
    *value = 0;
    if (!word(p, name))
        fail(p, MORE_ERROR_CORRUPT, "a function wants a name");
    else if (!strcmp(function, "has"))
        *value = core_export_json(p->scope, name) != NULL;
    else if (!strcmp(function, "length"))
        *value = (double)json_array_size(core_export_json(p->scope, name));
    else if (core_weights_service()->info(p->scope->checkpoint, name, &info, NULL) != MORE_OK || info.rank < 1)
        missing(p, name);
    else
        *value = (double)(!strcmp(function, "rank")   ? info.rank
                          : !strcmp(function, "rows") ? info.shape[0]
                                                      : info.shape[info.rank - 1]);
    return true;
}

static double of_numbers(parser *p, const char *function)
{
    double x[ARGUMENTS] = {sum(p), 0};
    bool two = take(p, ',');
    if (two)
        x[1] = sum(p);
    if (!two && !strcmp(function, "sqrt"))
        return sqrt(x[0]);
    if (!two && !strcmp(function, "log"))
        return log(x[0]);
    if (!two && !strcmp(function, "floor"))
        return floor(x[0]);
    if (two && !strcmp(function, "pow"))
        return pow(x[0], x[1]);
    if (two && !strcmp(function, "min"))
        return fmin(x[0], x[1]);
    if (two && !strcmp(function, "max"))
        return fmax(x[0], x[1]);
    if (two && !strcmp(function, "equal"))
        return fabs(x[0] - x[1]) <= 1e-9 * fabs(x[0]);
    return fail(p, MORE_ERROR_CORRUPT, "there is no such function of so many numbers");
}

static double call(parser *p, const char *function)
{
    double value;
    if (!strcmp(function, "is"))
        value = is_text(p);
    else if (!of_name(p, function, &value))
        value = of_numbers(p, function);
    if (!take(p, ')'))
        return fail(p, MORE_ERROR_CORRUPT, "a parenthesis is not closed");
    return value;
}

/* ---- Operators -------------------------------------------------------------------------------------------------- */

static double primary(parser *p)
{
    char name[WORD_SIZE], *end;
    if (++p->depth > DEPTH)
        return fail(p, MORE_ERROR_CORRUPT, "parentheses too deep");
    double value = 0;
    if (take(p, '-')) {
        value = -primary(p);
    } else if (take(p, '(')) {
        value = sum(p);
        if (!take(p, ')'))
            fail(p, MORE_ERROR_CORRUPT, "a parenthesis is not closed");
    } else if (isdigit((unsigned char)*p->at)) {
        value = strtod(p->at, &end); /* whole numbers and fractions: the programs stay in the C locale */
        p->at = end;
    } else if (!word(p, name)) {
        fail(p, MORE_ERROR_CORRUPT, "a number or a name is missing");
    } else {
        value = take(p, '(') ? call(p, name) : name_value(p, name);
    }
    p->depth--;
    return value;
}

static double product(parser *p)
{
    double value = primary(p);
    while (p->status == MORE_OK) {
        if (take(p, '*'))
            value *= primary(p);
        else if (take(p, '/'))
            value /= primary(p);
        else
            break;
    }
    return value;
}

static double sum(parser *p)
{
    double value = product(p);
    while (p->status == MORE_OK) {
        if (take(p, '+'))
            value += product(p);
        else if (take(p, '-'))
            value -= product(p);
        else
            break;
    }
    return value;
}

more_status core_export_number(const core_export_scope *scope, const char *expression, double *value, more_error *error)
{
    parser p = {scope, expression, expression, 0, MORE_OK, error};
    double result = sum(&p);
    skip_blanks(&p);
    if (p.status == MORE_OK && *p.at)
        fail(&p, MORE_ERROR_CORRUPT, "ends too late");
    if (p.status == MORE_OK && !isfinite(result))
        fail(&p, MORE_ERROR_CORRUPT, "is no finite number");
    if (p.status == MORE_OK)
        *value = result;
    return p.status;
}
