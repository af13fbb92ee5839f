/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as text: what options of INI sections and arguments of calls have in common.
 *     bool    true yes on 1 / false no off 0
 *     int64   decimal or 0x, with a sign or without
 *     double  any finite number, also as a fraction of two: 1/255; always with a point, whatever the locale
 *     string  as it stands, or in double quotes with \" \\ \n \t
 */
#ifndef CORE_VALUE_H
#define CORE_VALUE_H

#include "base/buffer.h"
#include <llavamore/plugin.h>
#include <stdbool.h>

/* "int64" for MORE_INT64, and so on; "?" for a number that is no type. */
const char *core_type_name(more_type type);
/* The type of a name of `size` bytes; 0 when there is none. */
more_type core_type_from_name(const char *name, size_t size);

/* Parses all of `text`. A MORE_STRING value points at `text` itself: unquote it before. On failure the message is only
 * the reason, "must be an int64, not '3x6'", for the caller to put the place before it. */
more_status core_value_parse(more_type type, const char *text, more_value *value, more_error *error);
/* Writes the value so that core_value_parse (and a call's argument) reads the same value back. */
void core_value_write(core_buffer *buffer, const more_value *value);

/* Takes the double quotes off `text` (its first byte must be one) and resolves escapes: *plain is the caller's to free,
 * *used the bytes up to and with the closing quote. The message is only the reason. */
more_status core_unquote(const char *text, char **plain, size_t *used, more_error *error);
/* Writes `text` in double quotes. */
void core_quote(core_buffer *buffer, const char *text);

/* The text for a message: control bytes as escapes, cut to `size` bytes (at least 8, the NUL included) with "..."
 * behind it. Returns `out`. */
const char *core_printable(const char *text, char *out, size_t size);

/* "-2" or "-2, -5 7": whole numbers apart by commas or blanks, at most `limit`, at least one. The message is only the
 * reason. */
more_status core_int32_list(const char *text, int32_t *numbers, int32_t limit, int32_t *count, more_error *error);

/* True for [a-z][a-z0-9_]* of at most 40 bytes: keys, functions, parameters. */
bool core_is_name(const char *text);

#endif
