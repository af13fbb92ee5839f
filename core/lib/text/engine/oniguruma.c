/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/oniguruma.h"

#include "text/engine/oniguruma_newer.h"
#include "text/engine/utf8.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <stdbool.h>
#include <string.h>

#define MAX_GROUPS 64

typedef struct rewriter {
    const char *text;
    size_t size, at;
    const char *where;
    core_buffer *out;
    size_t atom;               /* where the last atom begins in out */
    size_t groups[MAX_GROUPS]; /* where the open groups begin in out */
    size_t depth;
    more_error *error;
} rewriter;

static more_status refuse(const rewriter *r, const char *what)
{
    return more_fail(r->error, MORE_ERROR_UNSUPPORTED, "%s: %s at byte %zu of the expression %.300s is not supported",
                     r->where, what, r->at, r->text);
}

/* Oniguruma's meaning of an escape as the inside of a PCRE2 class, NULL when both agree. */
static const char *class_of_escape(char letter)
{
    switch (letter) {
    case 's':
        return "\\p{White_Space}";
    case 'w':
        return "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"; /* and the newer ones of L, M, Nd */
    case 'h':
        return "0-9A-Fa-f";
    default:
        return NULL;
    }
}

/* PCRE2 reads \p{Han} as a script extension, Oniguruma as the script. */
static bool is_script(const char *name, size_t size)
{
    char expression[64];
    int code;
    PCRE2_SIZE offset;
    if (size < 3 || size > 40)
        return false;
    int length = snprintf(expression, sizeof expression, "\\p{sc:%.*s}", (int)size, name);
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)expression, (size_t)length, PCRE2_UTF, &code, &offset, NULL);
    pcre2_code_free(compiled);
    return compiled != NULL;
}

/* Appends, for the inside of a class, the characters of a category (or of those that its one letter begins) that PCRE2
 * may not know yet; false when there are none. */
static bool newer_characters(core_buffer *out, const char *category, size_t size)
{
    bool any = false;
    for (size_t i = 0; i < sizeof core_newer / sizeof *core_newer && size <= 2; i++) {
        if (memcmp(core_newer[i].category, category, size))
            continue;
        core_buffer_format(out, "\\x{%X}-\\x{%X}", core_newer[i].first, core_newer[i].last);
        any = true;
    }
    return any;
}

/* A general category; as what a class lacks (\P in it) it stays as PCRE2 knows it. */
static void category(rewriter *r, const char *name, size_t size, bool negated, bool inside)
{
    core_buffer newer = {0};
    bool any = !(negated && inside) && newer_characters(&newer, name, size);
    if (any && !inside)
        core_buffer_text(r->out, negated ? "[^" : "[");
    core_buffer_format(r->out, "\\%c{%.*s}", negated && !any ? 'P' : 'p', (int)size, name);
    core_buffer_append(r->out, newer.data, newer.size);
    if (any && !inside)
        core_buffer_text(r->out, "]");
    r->out->failed |= newer.failed;
    core_buffer_free(&newer);
}

static more_status property(rewriter *r, bool inside)
{
    const char *open = r->text + r->at + 2;
    if (r->at + 2 >= r->size || *open != '{')
        return refuse(r, "a property without braces");
    const char *close = memchr(open, '}', r->size - r->at - 2);
    if (!close)
        return refuse(r, "a property without its end");
    const char *name = open + 1;
    bool negated = r->text[r->at + 1] == 'P';
    if (*name == '^') {
        negated = !negated;
        name++;
    }
    size_t length = (size_t)(close - name);
    if (length == 1 || length == 2)
        category(r, name, length, negated, inside);
    else {
        core_buffer_format(r->out, "\\%c{%s", negated ? 'P' : 'p', is_script(name, length) ? "sc:" : "");
        core_buffer_append(r->out, name, length + 1);
    }
    r->at = (size_t)(close + 1 - r->text);
    return MORE_OK;
}

static void append_members(core_buffer *out, char letter, const char *members)
{
    core_buffer_text(out, members);
    if (tolower((unsigned char)letter) != 'w')
        return;
    newer_characters(out, "L", 1);
    newer_characters(out, "M", 1);
    newer_characters(out, "Nd", 2);
}

/* \b, or \B when not `between`: a word's character on one side only, or on both sides or none. */
static void word_border(core_buffer *out, bool between)
{
    static const char *const sides[2][4] = {{"(?:(?<=[", "])(?=[", "])|(?<![", "])(?!["},
                                            {"(?:(?<=[", "])(?![", "])|(?<![", "])(?=["}};
    for (int i = 0; i < 4; i++) {
        core_buffer_text(out, sides[between][i]);
        append_members(out, 'w', class_of_escape('w'));
    }
    core_buffer_text(out, "]))");
}

/* An escape, outside a class or inside one; r->at is at the backslash. */
static more_status escape(rewriter *r, bool inside)
{
    if (r->at + 1 >= r->size)
        return refuse(r, "a backslash at the end");
    char letter = r->text[r->at + 1];
    if (letter == 'p' || letter == 'P')
        return property(r, inside);
    const char *members = class_of_escape((char)tolower((unsigned char)letter));
    if (members && (islower((unsigned char)letter) || !inside)) {
        core_buffer_text(r->out, inside ? "" : islower((unsigned char)letter) ? "[" : "[^");
        append_members(r->out, letter, members);
        core_buffer_text(r->out, inside ? "" : "]");
    } else if ((letter == 'b' || letter == 'B') && !inside)
        word_border(r->out, letter == 'b');
    else if (letter == 'S')
        core_buffer_text(r->out, "\\P{White_Space}");
    else if (members || (isalnum((unsigned char)letter) && !strchr("dDbBAnrtfaex01234567uzZGv", letter)))
        return refuse(r, "an escape");
    else if (letter == 'v')
        core_buffer_text(r->out, "\\x0B");
    else if (letter == 'u') {
        if (r->at + 6 > r->size || strspn(r->text + r->at + 2, "0123456789abcdefABCDEF") < 4)
            return refuse(r, "a \\u without four digits");
        core_buffer_format(r->out, "\\x{%.4s}", r->text + r->at + 2);
        r->at += 4;
    } else
        core_buffer_append(r->out, r->text + r->at, 2);
    r->at += 2;
    return MORE_OK;
}

static more_status character_class(rewriter *r)
{
    size_t first = r->at + 1;
    core_buffer_text(r->out, "[");
    if (first < r->size && r->text[first] == '^') {
        core_buffer_text(r->out, "^");
        first++;
    }
    for (r->at = first; r->at < r->size;) {
        char c = r->text[r->at];
        const char *rest = r->text + r->at;
        if (c == ']' && r->at > first) {
            core_buffer_text(r->out, "]");
            r->at++;
            return MORE_OK;
        }
        if (c == '\\') {
            more_status status = escape(r, true);
            if (status != MORE_OK)
                return status;
            continue;
        }
        if (c == '[' && r->at + 1 < r->size && rest[1] == ':') {
            const char *close = memmem(rest, r->size - r->at, ":]", 2);
            if (!close)
                return refuse(r, "a [: without :]");
            core_buffer_append(r->out, rest, (size_t)(close + 2 - rest));
            r->at += (size_t)(close + 2 - rest);
            continue;
        }
        if (c == '[')
            return refuse(r, "a class inside a class");
        if (c == '&' && r->at + 1 < r->size && rest[1] == '&')
            return refuse(r, "an intersection (&&) of classes");
        core_buffer_append(r->out, &c, 1);
        r->at++;
    }
    return refuse(r, "a class without its end");
}

/* Opens a group; inline flags: Ruby's m (dot matches newline) is PCRE2's s. */
static more_status open_group(rewriter *r)
{
    if (r->depth == MAX_GROUPS)
        return refuse(r, "a group this deep");
    r->groups[r->depth++] = r->out->size;
    core_buffer_text(r->out, "(");
    r->at++;
    if (r->at + 1 >= r->size || r->text[r->at] != '?' || !strchr("imx-", r->text[r->at + 1]))
        return MORE_OK;
    core_buffer_text(r->out, "?");
    for (r->at++; r->at < r->size && strchr("imx-", r->text[r->at]) && r->text[r->at]; r->at++)
        core_buffer_append(r->out, r->text[r->at] == 'm' ? "s" : &r->text[r->at], 1);
    return MORE_OK;
}

/* `{n,m}`: copied; `{,m}` begins at 0; a `+` behind it repeats the whole in Ruby, where PCRE2 makes it possessive. */
static void interval(rewriter *r, size_t length)
{
    const char *open = r->text + r->at;
    bool repeated = r->at + length < r->size && open[length] == '+';
    if (repeated) {
        core_buffer tail = {0};
        core_buffer_append(&tail, r->out->data + r->atom, r->out->size - r->atom);
        r->out->size = r->atom;
        core_buffer_text(r->out, "(?:");
        core_buffer_append(r->out, tail.data, tail.size);
        r->out->failed |= tail.failed;
        core_buffer_free(&tail);
    }
    core_buffer_text(r->out, open[1] == ',' ? "{0" : "{");
    core_buffer_append(r->out, open + 1, length - 1);
    r->at += length;
    if (repeated) {
        core_buffer_text(r->out, ")+");
        r->at++;
    }
}

/* Length of `{n}`, `{n,}`, `{n,m}` or `{,m}` at the front, 0 when it is none. */
static size_t interval_length(const char *text, size_t size)
{
    size_t i = 1, digits = 0, commas = 0;
    for (; i < size && (isdigit((unsigned char)text[i]) || text[i] == ','); i++)
        *(text[i] == ',' ? &commas : &digits) += 1;
    return i < size && text[i] == '}' && digits && commas <= 1 ? i + 1 : 0;
}

static more_status one_item(rewriter *r)
{
    char c = r->text[r->at];
    if (c == '*' || c == '+' || c == '?' || c == '|') {
        core_buffer_append(r->out, &c, 1);
        r->at++;
        return MORE_OK;
    }
    size_t length = c == '{' ? interval_length(r->text + r->at, r->size - r->at) : 0;
    if (length) {
        interval(r, length);
        return MORE_OK;
    }
    if (c == ')') {
        if (!r->depth)
            return refuse(r, "a ) without its (");
        r->atom = r->groups[--r->depth];
        core_buffer_text(r->out, ")");
        r->at++;
        return MORE_OK;
    }
    r->atom = r->out->size;
    if (c == '(')
        return open_group(r);
    if (c == '[')
        return character_class(r);
    if (c == '\\')
        return escape(r, false);
    uint32_t code;
    if (core_utf8_next(r->text + r->at, r->size - r->at, &length, &code) != CORE_UTF8_WHOLE)
        return refuse(r, "a byte that is not UTF-8");
    core_buffer_append(r->out, r->text + r->at, length);
    r->at += length;
    return MORE_OK;
}

more_status core_oniguruma_rewrite(const char *text, size_t size, const char *where, core_buffer *result,
                                   more_error *error)
{
    rewriter r = {.text = text, .size = size, .where = where, .out = result, .error = error};
    core_buffer_append(result, "", 0);
    while (r.at < r.size) {
        more_status status = one_item(&r);
        if (status != MORE_OK)
            return status;
    }
    return result->failed ? more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", where) : MORE_OK;
}
