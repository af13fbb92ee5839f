/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns of a tokenizer.json: literal strings, or regular expressions in Oniguruma's syntax, which the tokenizers
 * package speaks, run by PCRE2. Where the two differ the expression is rewritten (what \s \w \h mean, scripts,
 * `{n,m}+`, `{,n}`, `^` and `$` at every line); what cannot be is refused.
 */
#ifndef CORE_PATTERN_H
#define CORE_PATTERN_H

#include "base/buffer.h"
#include <stdbool.h>

typedef struct core_pattern core_pattern;

/* What the pattern matches is at least one byte of the literal text. The caller owns *pattern. `where` names the place
 * in the file for messages. [any-thread] */
more_status core_pattern_literal(const char *text, size_t size, const char *where, core_pattern **pattern,
                                 more_error *error);
more_status core_pattern_regex(const char *text, size_t size, const char *where, core_pattern **pattern,
                               more_error *error);
/* NULL is allowed. */
void core_pattern_destroy(core_pattern *pattern);
/* True for a literal of exactly one character. */
bool core_pattern_is_character(const core_pattern *pattern);

/* One pass over a subject of valid UTF-8, match by match, left to right, none overlapping. An empty match directly
 * behind the match before it is skipped. */
typedef struct core_scan {
    const core_pattern *pattern;
    const char *subject;
    size_t size, next, last_end;
    bool matched;
    void *match; /* PCRE2's match data, NULL for a literal */
} core_scan;

/* Begins with no subject; end with core_scan_end. [any-thread] */
more_status core_scan_begin(core_scan *scan, const core_pattern *pattern, more_error *error);
void core_scan_subject(core_scan *scan, const char *subject, size_t size);
/* *found says whether there is one more match, [*start, *end). Fails when PCRE2 gives up (its match limit). */
more_status core_scan_next(core_scan *scan, bool *found, size_t *start, size_t *end, more_error *error);
void core_scan_end(core_scan *scan);

/* Appends `text` with every match replaced by `content`. [any-thread] */
more_status core_pattern_replace(const core_pattern *pattern, const char *text, size_t size, const core_buffer *content,
                                 core_buffer *result, more_error *error);

#endif
