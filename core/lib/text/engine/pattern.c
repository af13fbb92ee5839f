/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/pattern.h"

#include "text/engine/oniguruma.h"
#include "text/engine/utf8.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct core_pattern {
    core_buffer literal; /* used when code is NULL */
    pcre2_code *code;
};

static more_status out_of_memory(const char *where, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", where);
}

more_status core_pattern_literal(const char *text, size_t size, const char *where, core_pattern **pattern,
                                 more_error *error)
{
    if (!size)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: an empty pattern matches everywhere; give it a text",
                         where);
    *pattern = calloc(1, sizeof **pattern);
    if (!*pattern)
        return out_of_memory(where, error);
    core_buffer_append(&(*pattern)->literal, text, size);
    if (!(*pattern)->literal.failed)
        return MORE_OK;
    core_pattern_destroy(*pattern);
    *pattern = NULL;
    return out_of_memory(where, error);
}

static more_status compile(const core_buffer *rewritten, const char *where, core_pattern *pattern, more_error *error)
{
    int code;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return out_of_memory(where, error);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pattern->code =
        pcre2_compile((PCRE2_SPTR)rewritten->data, rewritten->size,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &offset, context);
    pcre2_compile_context_free(context);
    if (!pattern->code) {
        PCRE2_UCHAR reason[128] = "";
        pcre2_get_error_message(code, reason, sizeof reason);
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: PCRE2 cannot compile the expression, %s at byte %zu of %.400s", where,
                         (const char *)reason, (size_t)offset, rewritten->data);
    }
    /* Without JIT (a system that forbids it) pcre2_match interprets: slower, the same matches. */
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
    return MORE_OK;
}

more_status core_pattern_regex(const char *text, size_t size, const char *where, core_pattern **pattern,
                               more_error *error)
{
    core_buffer rewritten = {0};
    *pattern = calloc(1, sizeof **pattern);
    if (!*pattern)
        return out_of_memory(where, error);
    more_status status = core_oniguruma_rewrite(text, size, where, &rewritten, error);
    if (status == MORE_OK)
        status = compile(&rewritten, where, *pattern, error);
    core_buffer_free(&rewritten);
    if (status != MORE_OK) {
        core_pattern_destroy(*pattern);
        *pattern = NULL;
    }
    return status;
}

void core_pattern_destroy(core_pattern *pattern)
{
    if (!pattern)
        return;
    core_buffer_free(&pattern->literal);
    pcre2_code_free(pattern->code);
    free(pattern);
}

bool core_pattern_is_character(const core_pattern *pattern)
{
    size_t length;
    uint32_t code;
    return !pattern->code &&
           core_utf8_next(pattern->literal.data, pattern->literal.size, &length, &code) == CORE_UTF8_WHOLE &&
           length == pattern->literal.size;
}

more_status core_scan_begin(core_scan *scan, const core_pattern *pattern, more_error *error)
{
    *scan = (core_scan){.pattern = pattern};
    if (!pattern->code)
        return MORE_OK;
    scan->match = pcre2_match_data_create(1, NULL);
    return scan->match ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory for a match");
}

void core_scan_subject(core_scan *scan, const char *subject, size_t size)
{
    scan->subject = subject;
    scan->size = size;
    scan->next = 0;
    scan->matched = false;
}

static bool next_literal(core_scan *scan, size_t *start, size_t *end)
{
    const core_buffer *literal = &scan->pattern->literal;
    if (scan->next >= scan->size)
        return false;
    const char *hit = memmem(scan->subject + scan->next, scan->size - scan->next, literal->data, literal->size);
    if (!hit)
        return false;
    *start = (size_t)(hit - scan->subject);
    *end = *start + literal->size;
    scan->next = *end;
    return true;
}

more_status core_scan_next(core_scan *scan, bool *found, size_t *start, size_t *end, more_error *error)
{
    *found = false;
    if (!scan->pattern->code) {
        *found = next_literal(scan, start, end);
        return MORE_OK;
    }
    while (scan->next <= scan->size) {
        int count = pcre2_match(scan->pattern->code, (PCRE2_SPTR)scan->subject, scan->size, scan->next,
                                PCRE2_NO_UTF_CHECK, scan->match, NULL);
        if (count == PCRE2_ERROR_NOMATCH)
            break;
        if (count < 0)
            return more_fail(
                error, MORE_ERROR_LIMIT,
                "tokenizer: the split expression gives up at byte %zu of a piece of %zu bytes (PCRE2 error "
                "%d); shorten the text",
                scan->next, scan->size, count);
        const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(scan->match);
        *start = bounds[0];
        *end = bounds[1];
        if (*start == *end && scan->matched && scan->last_end == *end) {
            size_t length = 1;
            uint32_t code;
            if (scan->next < scan->size)
                core_utf8_next(scan->subject + scan->next, scan->size - scan->next, &length, &code);
            scan->next += length;
            continue;
        }
        scan->next = scan->last_end = *end;
        scan->matched = *found = true;
        return MORE_OK;
    }
    scan->next = scan->size + 1;
    return MORE_OK;
}

void core_scan_end(core_scan *scan)
{
    pcre2_match_data_free(scan->match);
    scan->match = NULL;
}

more_status core_pattern_replace(const core_pattern *pattern, const char *text, size_t size, const core_buffer *content,
                                 core_buffer *result, more_error *error)
{
    core_scan scan;
    more_status status = core_scan_begin(&scan, pattern, error);
    size_t done = 0, start = 0, end = 0;
    bool found = status == MORE_OK;
    core_scan_subject(&scan, text, size);
    while (found) {
        status = core_scan_next(&scan, &found, &start, &end, error);
        if (status != MORE_OK || !found)
            break;
        core_buffer_append(result, text + done, start - done);
        core_buffer_append(result, content->data, content->size);
        done = end;
    }
    if (status == MORE_OK)
        core_buffer_append(result, text + done, size - done);
    core_scan_end(&scan);
    return status;
}
