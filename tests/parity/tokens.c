/* SPDX-License-Identifier: Apache-2.0 */
#include "tokens.h"

#include "text/engine/utf8.h"
#include "text/stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *tokens_path(const char *relative)
{
    static char path[8192];
    const char *top = getenv("srcdir");
    snprintf(path, sizeof path, "%s/%s", top && *top ? top : ".", relative);
    return path;
}

void tokens_unpack(const char *path, core_buffer *bytes)
{
    char command[17000], block[65536];
    assert_true(snprintf(command, sizeof command, "xz -dc '%s'", path) < (int)sizeof command);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    for (size_t got; (got = fread(block, 1, sizeof block, pipe)) > 0;)
        core_buffer_append(bytes, block, got);
    if (pclose(pipe) != 0 || bytes->failed || !bytes->size)
        fail_msg("%s failed; is xz-utils installed?", command);
}

json_t *tokens_json(const char *relative)
{
    json_t *json;
    more_error error;
    if (core_json_load(tokens_path(relative), &json, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return json;
}

void tokens_open_arrays(const char *path, tokens_arrays *a)
{
    uint64_t size;
    more_error error;
    *a = (tokens_arrays){0};
    tokens_unpack(path, &a->bytes);
    assert_true(a->bytes.size > 8);
    memcpy(&size, a->bytes.data, 8);
    assert_true(size <= a->bytes.size - 8);
    if (core_json_parse(a->bytes.data + 8, size, path, &a->header, &error) != MORE_OK)
        fail_msg("%s", error.message);
    a->data = a->bytes.data + 8 + size;
}

void tokens_close_arrays(tokens_arrays *a)
{
    json_decref(a->header);
    core_buffer_free(&a->bytes);
}

/* The array's bytes, copied so that they are aligned; free() it. */
static void *array(const tokens_arrays *a, const char *name, size_t item, size_t *count)
{
    json_t *offsets = json_object_get(json_object_get(a->header, name), "data_offsets");
    size_t begin = (size_t)json_integer_value(json_array_get(offsets, 0));
    size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));
    assert_true(offsets && begin <= end && end <= a->bytes.size - (size_t)(a->data - a->bytes.data));
    void *copy = malloc(end - begin + 1);
    assert_non_null(copy);
    memcpy(copy, a->data + begin, end - begin);
    *count = (end - begin) / item;
    return copy;
}

static void print_ids(const char *title, const int32_t *ids, size_t count)
{
    print_message("%s:", title);
    for (size_t i = 0; i < count && i < 40; i++)
        print_message(" %d", ids[i]);
    print_message("%s\n", count > 40 ? " ..." : "");
}

void tokens_same_ids(const char *what, const char *text, const int32_t *wanted, size_t wanted_count,
                     const core_ids *got)
{
    if (got->count == wanted_count && (!wanted_count || !memcmp(got->data, wanted, wanted_count * sizeof *wanted)))
        return;
    print_ids("wanted", wanted, wanted_count);
    print_ids("got   ", got->data, got->count);
    fail_msg("%s: other ids for '%s'", what, text);
}

size_t tokens_compare_ids(const char *name, const core_tokenizer *tokenizer, json_t *strings, const tokens_arrays *a,
                          const char *ids_name, const char *offsets_name, int flags)
{
    size_t id_count, count;
    int32_t *ids = array(a, ids_name, sizeof *ids, &id_count);
    int64_t *offsets = array(a, offsets_name, sizeof *offsets, &count);
    core_ids got = {0};
    more_error error;
    assert_true(count > 1 && (size_t)offsets[count - 1] == id_count && count - 1 <= json_array_size(strings));
    for (size_t i = 0; i + 1 < count; i++) {
        json_t *text = json_array_get(strings, i);
        got.count = 0;
        if (core_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text),
                                  flags | CORE_ENCODE_STRICT, &got, &error) != MORE_OK)
            fail_msg("%s: %s", name, error.message);
        tokens_same_ids(name, json_string_value(text), ids + offsets[i], (size_t)(offsets[i + 1] - offsets[i]), &got);
    }
    core_ids_free(&got);
    free(ids);
    free(offsets);
    return count - 1;
}

/* Decodes at once and as a stream, whose every part must be whole UTF-8. */
static void decode_one(const char *name, const core_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip,
                       const char *wanted)
{
    core_buffer whole = {0}, streamed = {0};
    core_stream *stream;
    more_error error;
    assert_int_equal(core_tokenizer_decode(tokenizer, ids, count, skip, &whole, &error), MORE_OK);
    assert_int_equal(core_stream_create(tokenizer, skip, &stream, &error), MORE_OK);
    for (size_t i = 0; i <= count; i++) {
        size_t before = streamed.size;
        assert_int_equal(i < count ? core_stream_push(stream, ids[i], &streamed, &error)
                                   : core_stream_finish(stream, &streamed, &error),
                         MORE_OK);
        if (streamed.size > before &&
            core_utf8_check(streamed.data + before, streamed.size - before) != streamed.size - before)
            fail_msg("%s: the stream gave half a character", name);
    }
    core_stream_destroy(stream);
    core_buffer_append(&whole, "", 0);
    core_buffer_append(&streamed, "", 0);
    if (strcmp(whole.data, wanted) || strcmp(streamed.data, wanted)) {
        print_ids("ids", ids, count);
        fail_msg("%s: decodes to '%s', streams to '%s', wanted '%s'", name, whole.data, streamed.data, wanted);
    }
    core_buffer_free(&whole);
    core_buffer_free(&streamed);
}

void tokens_compare_decoding(const char *name, const core_tokenizer *tokenizer, const tokens_arrays *a, json_t *texts)
{
    size_t id_count, count;
    int32_t *ids = array(a, "decode_ids", sizeof *ids, &id_count);
    int64_t *offsets = array(a, "decode_offsets", sizeof *offsets, &count);
    json_t *keep = json_object_get(texts, "keep"), *skip = json_object_get(texts, "skip");
    assert_true(count > 1 && json_array_size(keep) == count - 1 && (!skip || json_array_size(skip) == count - 1));
    for (size_t i = 0; i + 1 < count; i++) {
        const int32_t *first = ids + offsets[i];
        size_t length = (size_t)(offsets[i + 1] - offsets[i]);
        decode_one(name, tokenizer, first, length, false, json_string_value(json_array_get(keep, i)));
        if (skip)
            decode_one(name, tokenizer, first, length, true, json_string_value(json_array_get(skip, i)));
    }
    free(ids);
    free(offsets);
}
