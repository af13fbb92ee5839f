/* SPDX-License-Identifier: Apache-2.0
 *
 * Token ids, decoded texts and prompts against the tokenizers package: tests/parity/data/tokens, whose README says what
 * is in it. The real tokenizers stand outside the tree, in $LLAVAMORE_SHARED or ../shared; where they are absent their
 * cases are skipped.
 */
#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "text/engine/utf8.h"
#include "text/stream.h"
#include "text/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA "tests/parity/data/tokens/"

typedef struct tokenizer_case {
    const char *name;
    bool real;
} tokenizer_case;

static tokenizer_case tokenizers[] = {{"llama3_1", true},
                                      {"cl100k", true},
                                      {"o200k", true},
                                      {"gemma", true},
                                      {"llama2", true},
                                      {"small/llama3", false},
                                      {"small/cl100k", false},
                                      {"small/o200k", false},
                                      {"small/phi4mini", false},
                                      {"small/deepseek", false},
                                      {"small/added_bytes", false},
                                      {"small/added_pieces", false},
                                      {"small/gemma", false},
                                      {"small/llama2", false},
                                      {"small/metaspace", false},
                                      {"small/metaspace_split", false}};

static const char *source_path(const char *relative)
{
    static char path[8192];
    const char *top = getenv("srcdir");
    snprintf(path, sizeof path, "%s/%s", top && *top ? top : ".", relative);
    return path;
}

static void unpack(const char *path, core_buffer *bytes)
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

static json_t *load_json(const char *relative)
{
    json_t *json;
    more_error error;
    if (core_json_load(source_path(relative), &json, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return json;
}

/* The tokenizer, or NULL when it is a real one that is not here. */
static core_tokenizer *open_tokenizer(const char *name, bool real)
{
    char path[16384], own[256];
    const char *shared = getenv("LLAVAMORE_SHARED");
    core_tokenizer *tokenizer;
    more_error error;
    if (!real) {
        snprintf(own, sizeof own, DATA "%s/tokenizer.json", name);
        if (core_tokenizer_load(source_path(own), &tokenizer, &error) != MORE_OK)
            fail_msg("%s", error.message);
        return tokenizer;
    }
    snprintf(path, sizeof path, "%s/tokenizers/%s/tokenizer.json.xz", shared ? shared : source_path("../shared"), name);
    if (!core_file_exists(path))
        return NULL;
    core_buffer text = {0};
    unpack(path, &text);
    if (core_tokenizer_parse(text.data, text.size, path, &tokenizer, &error) != MORE_OK)
        fail_msg("%s", error.message);
    core_buffer_free(&text);
    return tokenizer;
}

/* A safetensors file in memory. */
typedef struct arrays {
    core_buffer bytes;
    json_t *header;
    const char *data;
} arrays;

static void open_arrays(const char *path, arrays *a)
{
    uint64_t size;
    more_error error;
    *a = (arrays){0};
    unpack(path, &a->bytes);
    assert_true(a->bytes.size > 8);
    memcpy(&size, a->bytes.data, 8);
    assert_true(size <= a->bytes.size - 8);
    if (core_json_parse(a->bytes.data + 8, size, path, &a->header, &error) != MORE_OK)
        fail_msg("%s", error.message);
    a->data = a->bytes.data + 8 + size;
}

static void close_arrays(arrays *a)
{
    json_decref(a->header);
    core_buffer_free(&a->bytes);
}

/* The array's bytes, copied so that they are aligned; free() it. */
static void *array(const arrays *a, const char *name, size_t item, size_t *count)
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

static void same_ids(const char *what, const char *text, const int32_t *wanted, size_t wanted_count,
                     const core_ids *got)
{
    if (got->count == wanted_count && (!wanted_count || !memcmp(got->data, wanted, wanted_count * sizeof *wanted)))
        return;
    print_ids("wanted", wanted, wanted_count);
    print_ids("got   ", got->data, got->count);
    fail_msg("%s: other ids for '%s'", what, text);
}

static size_t compare_ids(const char *name, const core_tokenizer *tokenizer, json_t *strings, const arrays *a,
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
        same_ids(name, json_string_value(text), ids + offsets[i], (size_t)(offsets[i + 1] - offsets[i]), &got);
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

static void compare_decoding(const char *name, const core_tokenizer *tokenizer, const arrays *a, json_t *texts)
{
    size_t id_count, count;
    int32_t *ids = array(a, "decode_ids", sizeof *ids, &id_count);
    int64_t *offsets = array(a, "decode_offsets", sizeof *offsets, &count);
    json_t *keep = json_object_get(texts, "keep"), *skip = json_object_get(texts, "skip");
    assert_true(count > 1 && json_array_size(keep) == count - 1 && json_array_size(skip) == count - 1);
    for (size_t i = 0; i + 1 < count; i++) {
        const int32_t *first = ids + offsets[i];
        size_t length = (size_t)(offsets[i + 1] - offsets[i]);
        decode_one(name, tokenizer, first, length, false, json_string_value(json_array_get(keep, i)));
        decode_one(name, tokenizer, first, length, true, json_string_value(json_array_get(skip, i)));
    }
    free(ids);
    free(offsets);
}

static void test_tokenizer(void **state)
{
    const tokenizer_case *c = *state;
    char path[256];
    arrays a;
    core_tokenizer *tokenizer = open_tokenizer(c->name, c->real);
    if (!tokenizer) {
        print_message("skipped: the real tokenizer %s is not at hand (LLAVAMORE_SHARED or ../shared)\n", c->name);
        skip();
    }
    json_t *strings = load_json(DATA "strings.json");
    assert_true(json_array_size(strings) > 2000);
    snprintf(path, sizeof path, c->real ? DATA "%s.decode.json" : DATA "%s/decode.json", c->name);
    json_t *texts = load_json(path);
    snprintf(path, sizeof path, c->real ? DATA "%s.safetensors.xz" : DATA "%s/ids.safetensors.xz", c->name);
    open_arrays(source_path(path), &a);
    size_t plain = compare_ids(c->name, tokenizer, strings, &a, "ids", "offsets", 0);
    assert_int_equal(plain, json_array_size(strings));
    size_t special =
        compare_ids(c->name, tokenizer, strings, &a, "ids_special", "offsets_special", CORE_ENCODE_SPECIAL);
    compare_decoding(c->name, tokenizer, &a, texts);
    print_message("%s: ids of %zu + %zu strings equal\n", c->name, plain, special);
    close_arrays(&a);
    json_decref(texts);
    json_decref(strings);
    core_tokenizer_destroy(tokenizer);
}

#define MAX_MESSAGES 16

/* The messages of a case of prompts.json. */
static size_t read_messages(json_t *entry, core_message messages[MAX_MESSAGES])
{
    json_t *turns = json_object_get(entry, "turns"), *turn;
    size_t index, count = 0;
    json_array_foreach(turns, index, turn)
    {
        const char *user = json_string_value(json_object_get(turn, "user"));
        const char *assistant = json_string_value(json_object_get(turn, "assistant"));
        assert_true(user && count + 2 <= MAX_MESSAGES);
        messages[count++] = (core_message){CORE_ROLE_USER, user, strstr(user, CORE_IMAGE_MARK) != NULL};
        if (assistant)
            messages[count++] = (core_message){CORE_ROLE_ASSISTANT, assistant, 0};
    }
    return count;
}

/* A conversation that goes on: what was said up to an answer, without what closes it, plus the rest is the whole. */
static void check_continuation(const core_template *t, const core_message *messages, size_t count, const char *system,
                               const core_prompt *whole)
{
    for (size_t first = 2; first < count; first += 2) {
        core_prompt start = {0}, rest = {0}, ending = {0};
        more_error error;
        if (core_template_render(t, messages, first, system, false, &start, &error) != MORE_OK ||
            core_template_continue(t, messages, count, first, true, &rest, &error) != MORE_OK ||
            core_template_continue(t, messages, first, first, false, &ending, &error) != MORE_OK)
            fail_msg("%s", error.message);
        start.text.size -= ending.text.size;
        assert_int_equal(start.text.size + rest.text.size, whole->text.size);
        if (start.text.size)
            assert_memory_equal(whole->text.data, start.text.data, start.text.size);
        assert_memory_equal(whole->text.data + start.text.size, rest.text.data, rest.text.size);
        core_prompt_free(&ending);
        core_prompt_free(&start);
        core_prompt_free(&rest);
    }
}

/* Ids of the prompt by every tokenizer that the case names and that is at hand. */
static size_t check_prompt_ids(json_t *entry, const core_prompt *prompt)
{
    const char *name;
    json_t *value;
    size_t compared = 0;
    json_object_foreach(json_object_get(entry, "ids"), name, value)
    {
        core_tokenizer *tokenizer = open_tokenizer(name, strncmp(name, "small/", 6) != 0);
        core_ids wanted = {0}, got = {0};
        more_error error;
        if (!tokenizer)
            continue;
        for (size_t i = 0; i < json_array_size(value); i++)
            core_ids_push(&wanted, (int32_t)json_integer_value(json_array_get(value, i)));
        if (core_prompt_encode(tokenizer, prompt, false, &got, &error) != MORE_OK)
            fail_msg("%s", error.message);
        same_ids(name, prompt->text.data ? prompt->text.data : "", wanted.data, wanted.count, &got);
        core_ids_free(&wanted);
        core_ids_free(&got);
        core_tokenizer_destroy(tokenizer);
        compared++;
    }
    return compared;
}

static void test_prompts(void **state)
{
    (void)state;
    json_t *entries = load_json(DATA "prompts.json"), *entry;
    size_t index, compared = 0;
    char folder[8192];
    snprintf(folder, sizeof folder, "%s", source_path("share/templates"));
    assert_true(json_array_size(entries) >= 20);
    json_array_foreach(entries, index, entry)
    {
        core_template *t;
        core_prompt prompt = {0};
        core_message messages[MAX_MESSAGES];
        more_error error;
        const char *name = json_string_value(json_object_get(entry, "template"));
        const char *system = json_string_value(json_object_get(entry, "system"));
        if (core_template_load(name, folder, &t, &error) != MORE_OK)
            fail_msg("%s", error.message);
        size_t count = read_messages(entry, messages);
        if (core_template_render(t, messages, count, system, true, &prompt, &error) != MORE_OK)
            fail_msg("%s", error.message);
        assert_string_equal(prompt.text.data ? prompt.text.data : "",
                            json_string_value(json_object_get(entry, "text")));
        check_continuation(t, messages, count, system, &prompt);
        compared += check_prompt_ids(entry, &prompt);
        core_prompt_free(&prompt);
        core_template_destroy(t);
    }
    print_message("%zu prompts equal, their ids by %zu tokenizers\n", json_array_size(entries), compared);
    json_decref(entries);
}

int main(void)
{
    struct CMUnitTest tests[sizeof tokenizers / sizeof *tokenizers + 1] = {cmocka_unit_test(test_prompts)};
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++)
        tests[i + 1] = (struct CMUnitTest){tokenizers[i].name, test_tokenizer, NULL, NULL, &tokenizers[i]};
    return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
