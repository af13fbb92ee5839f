/* SPDX-License-Identifier: Apache-2.0 */
#include "text/template_data.h"

#include "text/engine/utf8.h"
#include <ctype.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

static const char *const text_keys[CORE_TEXT_COUNT] = {
    "description",         "bos",          "system",           "system_prefix",    "system_suffix",
    "user_prefix",         "user_suffix",  "assistant_prefix", "assistant_suffix", "generation",
    "generation_no_image", "image_suffix", "image_joint"};

/* The reading of one INI text. inih calls the handler right after it has read a line, so `line` is the handler's. */
typedef struct parser {
    const char *text;
    size_t size, at;
    int line;
    bool indented; /* the line begins with white space: inih takes it for more of the value before */
    char key[64];  /* of the value at hand */
    core_buffer value;
    unsigned seen; /* bits: texts that were given */
    bool seen_stop, seen_alias, seen_trim, seen_user_text;
    core_template *loaded;
    core_template other; /* takes the values of sections that were not asked for */
    const char *compat;  /* the section that was, NULL for none */
    bool in_template, in_compat, failed;
    char section[64]; /* at hand */
    const char *where;
    more_error *error;
    more_status status; /* the first failure */
} parser;

static int refuse(parser *p, const char *what, const char *offender)
{
    if (p->status == MORE_OK)
        p->status = more_fail(p->error, MORE_ERROR_CORRUPT, "%s:%d: %s%s%.100s%s", p->where, p->line, what,
                              offender ? " '" : "", offender ? offender : "", offender ? "'" : "");
    return 0;
}

static char *read_line(char *line, int size, void *stream)
{
    parser *p = stream;
    if (p->at == p->size || p->status != MORE_OK)
        return NULL;
    const char *begin = p->text + p->at, *newline = memchr(begin, '\n', p->size - p->at);
    size_t length = newline ? (size_t)(newline - begin) + 1 : p->size - p->at;
    p->line++;
    if (length >= (size_t)size) {
        refuse(p, "the line is too long (about 200 bytes is the most); go on in a second line, indented, in quotes",
               NULL);
        return NULL;
    }
    if (memchr(begin, '\0', length)) {
        refuse(p, "the line holds a NUL byte", NULL);
        return NULL;
    }
    memcpy(line, begin, length);
    line[length] = '\0';
    p->indented = *begin == ' ' || *begin == '\t';
    p->at += length;
    return line;
}

static int hex_value(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* One escape at *at, which is behind the backslash. */
static bool unescape(const char **at, core_buffer *out)
{
    static const char letters[] = "nrt\"\\", meanings[] = "\n\r\t\"\\";
    const char *found = **at ? strchr(letters, **at) : NULL;
    char byte = found ? meanings[found - letters] : '\0';
    if (**at == 'x' && hex_value((*at)[1]) >= 0 && hex_value((*at)[2]) >= 0) {
        byte = (char)(hex_value((*at)[1]) << 4 | hex_value((*at)[2]));
        *at += 2;
    }
    (*at)++;
    core_buffer_append(out, &byte, 1);
    return byte != '\0';
}

/* Appends one or more texts in quotes, each ended by `separator` bytes of NUL (none to join them). */
static int read_quoted(parser *p, const char *value, core_buffer *out, bool separate)
{
    if (*value != '"')
        return refuse(p, "expected a text in double quotes, got", value);
    while (*value == '"') {
        for (value++; *value && *value != '"';) {
            if (*value != '\\')
                core_buffer_append(out, value++, 1);
            else if (value++, !unescape(&value, out))
                return refuse(p, "expected one of the escapes \\n \\r \\t \\\" \\\\ \\xHH (not \\x00) before", value);
        }
        if (!*value)
            return refuse(p, "a text has no closing quote (is there a ; in it? write \\x3b)", NULL);
        if (separate)
            core_buffer_append(out, "", 1);
        for (value++; *value == ' ' || *value == '\t'; value++)
            continue;
    }
    return *value ? refuse(p, "expected nothing behind the closing quote, got", value) : 1;
}

static int read_text(parser *p, int which, const char *value)
{
    core_template *t = p->in_template || p->in_compat ? p->loaded : &p->other;
    char **text = &t->texts[which];
    if (!p->indented && p->seen >> which & 1)
        return refuse(p, "the key is given twice:", text_keys[which]);
    bool again = p->seen >> which & 1;
    p->seen |= 1u << which;
    core_buffer joined = {0};
    if (*text && again)
        core_buffer_text(&joined, *text);
    core_buffer_append(&joined, "", 0);
    int good = read_quoted(p, value, &joined, false);
    if (good && core_utf8_check(joined.data, joined.size) != joined.size)
        good = refuse(p, "the value is not UTF-8:", text_keys[which]);
    free(*text);
    *text = core_buffer_take(&joined);
    p->failed |= !*text;
    return good;
}

/* Words separated by spaces. */
static int read_words(const char *value, core_buffer *out)
{
    for (size_t length; *value; value += length) {
        value += strspn(value, " \t");
        length = strcspn(value, " \t");
        if (length) {
            core_buffer_append(out, value, length);
            core_buffer_append(out, "", 1);
        }
    }
    return 1;
}

static int read_choice(parser *p, const char *value, const char *yes, const char *no, bool *chosen)
{
    *chosen = !strcmp(value, yes);
    return *chosen || !strcmp(value, no) ? 1 : refuse(p, "this key takes true or false, keep or discard, not", value);
}

/* False when a key that goes on over lines, or may not, comes a second time. */
static bool first_time(parser *p, bool *seen, bool many_lines)
{
    bool again = *seen && !(many_lines && p->indented);
    *seen = true;
    return !again;
}

/* Notices that another section has begun; all keys may come once in each. */
static int enter(parser *p, const char *section)
{
    static const char *const known[] = {"template", "lmms_eval"};
    if (p->section[0] && !strcmp(section, p->section))
        return 1;
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(section, known[i]))
        i++;
    if (i == sizeof known / sizeof *known || (!p->section[0] && i))
        return refuse(p, "expected the section [template], then perhaps [lmms_eval], got", section);
    if (p->section[0] && !i)
        return refuse(p, "the section is given twice:", section);
    snprintf(p->section, sizeof p->section, "%s", section);
    p->in_template = i == 0;
    p->in_compat = p->compat && !strcmp(section, p->compat);
    p->loaded->has_compat |= p->in_compat;
    p->seen = 0;
    p->seen_trim = p->seen_user_text = false;
    return 1;
}

static int take_value(void *user, const char *section, const char *key, const char *value)
{
    parser *p = user;
    if (p->status != MORE_OK || !enter(p, section))
        return 0;
    core_template *t = p->in_template || p->in_compat ? p->loaded : &p->other;
    for (int i = p->in_template ? 0 : CORE_TEXT_DESCRIPTION + 1; i < CORE_TEXT_COUNT; i++)
        if (!strcmp(key, text_keys[i]))
            return read_text(p, i, value);
    if (p->in_template && !strcmp(key, "stop"))
        return first_time(p, &p->seen_stop, true) ? read_quoted(p, value, &t->stops.texts, true)
                                                  : refuse(p, "the key is given twice:", key);
    if (p->in_template && !strcmp(key, "alias"))
        return first_time(p, &p->seen_alias, true) ? read_words(value, &t->aliases.texts)
                                                   : refuse(p, "the key is given twice:", key);
    if (!strcmp(key, "trim"))
        return first_time(p, &p->seen_trim, false) ? read_choice(p, value, "true", "false", &t->trim)
                                                   : refuse(p, "the key is given twice:", key);
    if (!strcmp(key, "user_text"))
        return first_time(p, &p->seen_user_text, false)
                   ? read_choice(p, value, "discard", "keep", &t->discard_user_text)
                   : refuse(p, "the key is given twice:", key);
    return refuse(p, "unknown key (the keys are listed in text/template.h and in the shipped templates):", key);
}

more_status core_template_parse(const char *text, size_t size, const char *where, const char *compat,
                                core_template *loaded, more_error *error)
{
    parser p = {.text = text, .size = size, .loaded = loaded, .where = where, .compat = compat, .error = error};
    int line = ini_parse_stream(read_line, &p, take_value, &p);
    if (p.status == MORE_OK && line) {
        p.line = line;
        refuse(&p, line > 0 ? "expected 'key = value', '[template]' or a comment" : "out of memory", NULL);
    }
    core_template_clear(&p.other);
    if (p.status == MORE_OK && (p.failed || loaded->stops.texts.failed || loaded->aliases.texts.failed))
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", where);
    if (p.status == MORE_OK && !loaded->texts[CORE_TEXT_USER_PREFIX] && !loaded->texts[CORE_TEXT_ASSISTANT_PREFIX])
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: gives neither user_prefix nor assistant_prefix in [template]",
                         where);
    return p.status;
}
