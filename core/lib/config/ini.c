/* SPDX-License-Identifier: Apache-2.0 */
#include "config/ini.h"

#include "base/buffer.h"
#include <ini.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* inih reads into a fixed line of 200 bytes and cuts what is longer; it also strips blanks and its own comments. So we
 * hand it long lines in pieces, each an indented continuation of the one before, and write the bytes that it would take
 * for comments or strip at the ends of a piece as control bytes, which no file may contain. */
static const char meaningful[] = ";# \t", stand_ins[] = "\x01\x02\x03\x04";

typedef enum line_kind { LINE_HEADER, LINE_KEY, LINE_CONTINUED, LINE_PIECE } line_kind;

typedef struct line_feed {
    const char *at, *end; /* what was not read yet */
    const char *name;
    int line;   /* number of the line last read */
    char *rest; /* of that line, still to be given to inih: inside `encoded` */
    size_t rest_size;
    line_kind kind;  /* of what inih was given last */
    bool unanswered; /* inih was given a key and has not called us yet */
    core_buffer encoded, value;
    char section[CORE_INI_NAME + 1], key[CORE_INI_NAME + 1];
    int key_line;
    bool has_key;
    core_ini_function function;
    void *user;
    more_status status;
    more_error *error;
} line_feed;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static more_status fail_line(line_feed *feed, const char *what)
{
    feed->status = more_fail(feed->error, MORE_ERROR_CORRUPT, "%s:%d: %s", feed->name, feed->line, what);
    return feed->status;
}

static void encode(char *byte)
{
    const char *found = strchr(meaningful, *byte);
    if (*byte && found)
        *byte = stand_ins[found - meaningful];
}

static void append_decoded(core_buffer *buffer, const char *text)
{
    for (; *text; text++) {
        const char *found = strchr(stand_ins, *text);
        core_buffer_append(buffer, found ? &meaningful[found - stand_ins] : text, 1);
    }
}

/* Gives the finished key away. */
static void finish_key(line_feed *feed)
{
    if (!feed->has_key || feed->status != MORE_OK)
        return;
    feed->has_key = false;
    core_buffer_append(&feed->value, "", 0);
    if (feed->value.failed) {
        feed->status = more_fail(feed->error, MORE_ERROR_MEMORY, "%s:%d: out of memory", feed->name, feed->key_line);
        return;
    }
    const char *text = feed->value.data;
    feed->status =
        feed->function(feed->user, feed->section, feed->key, text + strspn(text, " \t"), feed->key_line, feed->error);
}

/* ---- Lines ------------------------------------------------------------------------------------------------------ */

/* Bytes of the line before a comment and the blanks in front of it. */
static size_t without_comment(const char *line, size_t size)
{
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        if (quoted && line[i] == '\\')
            i++;
        else if (line[i] == '"')
            quoted = !quoted;
        else if (!quoted && (line[i] == ';' || line[i] == '#') && (i == 0 || is_blank(line[i - 1])))
            size = i;
    }
    while (size && is_blank(line[size - 1]))
        size--;
    return size;
}

static more_status check_bytes(line_feed *feed, const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)line[i];
        if (byte == 0)
            return fail_line(feed, "a NUL byte: this is no text file");
        if ((byte < ' ' && byte != '\t') || byte == 0x7f)
            return fail_line(feed, "a control byte; write \\n or \\t inside double quotes");
    }
    return MORE_OK;
}

/* The next line that says something, without comment, in *line; false at the end or on failure. */
static bool next_line(line_feed *feed, const char **line, size_t *size)
{
    while (feed->at < feed->end) {
        const char *newline = memchr(feed->at, '\n', (size_t)(feed->end - feed->at));
        const char *stop = newline ? newline : feed->end;
        *line = feed->at;
        *size = (size_t)(stop - *line);
        feed->at = newline ? newline + 1 : feed->end;
        feed->line++;
        if (*size && (*line)[*size - 1] == '\r')
            --*size;
        if (check_bytes(feed, *line, *size) != MORE_OK)
            return false;
        *size = without_comment(*line, *size);
        if (*size)
            return true;
    }
    return false;
}

static void read_header(line_feed *feed, const char *line, size_t size)
{
    finish_key(feed);
    if (feed->status != MORE_OK)
        return;
    size_t length = size - 1;
    if (line[length] != ']' || memchr(line, ']', length)) {
        fail_line(feed, "expected '[section]' and nothing behind it");
    } else if (length < 2 || length - 1 > CORE_INI_NAME) {
        fail_line(feed, "a section's name has 1 to 40 bytes");
    } else {
        memcpy(feed->section, line + 1, length - 1);
        feed->section[length - 1] = '\0';
        feed->status = feed->function(feed->user, feed->section, NULL, NULL, feed->line, feed->error);
    }
}

/* Decides what the line is and readies it for inih. */
static void read_line(line_feed *feed, const char *line, size_t size)
{
    size_t indent = strspn(line, " \t");
    if (indent && feed->has_key) {
        feed->kind = LINE_CONTINUED;
    } else if (line[indent] == '[') {
        feed->kind = LINE_HEADER;
        read_header(feed, line + indent, size - indent);
    } else {
        finish_key(feed);
        feed->kind = LINE_KEY;
        feed->unanswered = true;
    }
    core_buffer_clear(&feed->encoded);
    core_buffer_append(&feed->encoded, line + indent, size - indent);
    if (feed->encoded.failed)
        feed->status = more_fail(feed->error, MORE_ERROR_MEMORY, "%s:%d: out of memory", feed->name, feed->line);
    if (feed->status != MORE_OK)
        return;
    for (size_t i = 0; i < feed->encoded.size; i++)
        if (!is_blank(feed->encoded.data[i]))
            encode(&feed->encoded.data[i]);
    feed->rest = feed->encoded.data;
    feed->rest_size = feed->encoded.size;
}

/* inih's fgets: one line, or one piece of a long one. */
static char *give_line(char *out, int room, void *stream)
{
    line_feed *feed = stream;
    const char *line;
    size_t size, used = 0;
    if (feed->status == MORE_OK && feed->unanswered)
        fail_line(feed, "expected 'key = value', '[section]' or a comment");
    if (feed->status != MORE_OK)
        return NULL;
    if (feed->rest_size) {
        feed->kind = LINE_PIECE;
    } else if (next_line(feed, &line, &size)) {
        read_line(feed, line, size);
    } else {
        finish_key(feed);
        return NULL;
    }
    if (feed->status != MORE_OK)
        return NULL;
    if (feed->kind == LINE_CONTINUED || feed->kind == LINE_PIECE)
        out[used++] = ' ';
    size_t take = (size_t)room - used - 2;
    if (take > feed->rest_size)
        take = feed->rest_size;
    if (feed->kind == LINE_PIECE)
        encode(&feed->rest[0]);
    if (take < feed->rest_size)
        encode(&feed->rest[take - 1]);
    memcpy(out + used, feed->rest, take);
    memcpy(out + used + take, "\n", 2);
    feed->rest += take;
    feed->rest_size -= take;
    return out;
}

/* inih's call for a key, or for a line or piece that continues it. */
static int take_value(void *user, const char *section, const char *name, const char *value)
{
    line_feed *feed = user;
    (void)section;
    feed->unanswered = false;
    if (feed->kind == LINE_KEY) {
        core_buffer_clear(&feed->value);
        feed->key_line = feed->line;
        size_t length = strlen(name);
        if (!length || length > CORE_INI_NAME) {
            fail_line(feed, "a key's name has 1 to 40 bytes");
            return 0;
        }
        memcpy(feed->key, name, length + 1);
        feed->has_key = true;
    } else if (strcmp(feed->key, name)) {
        feed->status =
            more_fail(feed->error, MORE_ERROR_INTERNAL, "%s:%d: this build of inih cannot read values of several lines",
                      feed->name, feed->line);
        return 0;
    } else if (feed->kind == LINE_CONTINUED && feed->value.size) {
        core_buffer_text(&feed->value, "\n");
    }
    append_decoded(&feed->value, value);
    return 1;
}

more_status core_ini_parse(const char *text, size_t size, const char *name, core_ini_function function, void *user,
                           more_error *error)
{
    line_feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", name);
    size_t mark = size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
    feed->at = size ? text + mark : text;
    feed->end = size ? text + size : text;
    feed->name = name;
    feed->function = function;
    feed->user = user;
    feed->error = error;
    int result = ini_parse_stream(give_line, feed, take_value, feed);
    if (feed->status == MORE_OK && result < 0)
        feed->status = more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", name);
    else if (feed->status == MORE_OK && result > 0)
        fail_line(feed, "expected 'key = value', '[section]' or a comment");
    more_status status = feed->status;
    core_buffer_free(&feed->encoded);
    core_buffer_free(&feed->value);
    free(feed);
    return status;
}
