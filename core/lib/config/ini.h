/* SPDX-License-Identifier: Apache-2.0
 *
 * INI text through inih, without inih's limits: values of any length, line numbers, sections without keys, comments
 * that respect quotes. The syntax stands in config.h; every INI file of the tree (assemblies, layouts) may be read so.
 */
#ifndef CORE_INI_H
#define CORE_INI_H

#include <llavamore/status.h>
#include <stddef.h>

#define CORE_INI_NAME 40 /* bytes of the longest section or key */

/* Called for each section header (key and text NULL) and for each key with its whole text (continuation lines joined by
 * a newline, quotes kept). section is "" before the first header. `line` is where the key stands, from 1. Strings are
 * valid during the call. Anything but MORE_OK ends the parsing and is given back. */
typedef more_status (*core_ini_function)(void *user, const char *section, const char *key, const char *text, int line,
                                         more_error *error);

/* `name` stands for the file in messages. NUL and other control bytes, lines that are neither header, key nor
 * continuation, and names longer than CORE_INI_NAME are refused with the line. */
more_status core_ini_parse(const char *text, size_t size, const char *name, core_ini_function function, void *user,
                           more_error *error);

#endif
