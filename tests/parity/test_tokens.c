/* SPDX-License-Identifier: Apache-2.0
 *
 * Token ids, decoded texts and prompts against the tokenizers package: tests/parity/data/tokens, whose README says what
 * is in it. The real tokenizers stand outside the tree, in $LLAVAMORE_SHARED or ../shared; where they are absent their
 * cases are skipped.
 */
#include "base/file.h"
#include "text/template.h"
#include "tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA TOKENS_DATA

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

/* The tokenizer, or NULL when it is a real one that is not here. */
static core_tokenizer *open_tokenizer(const char *name, bool real)
{
    char path[16384], own[256];
    const char *shared = getenv("LLAVAMORE_SHARED");
    core_tokenizer *tokenizer;
    more_error error;
    if (!real) {
        snprintf(own, sizeof own, DATA "%s/tokenizer.json", name);
        if (core_tokenizer_load(tokens_path(own), &tokenizer, &error) != MORE_OK)
            fail_msg("%s", error.message);
        return tokenizer;
    }
    snprintf(path, sizeof path, "%s/tokenizers/%s/tokenizer.json.xz", shared ? shared : tokens_path("../shared"), name);
    if (!core_file_exists(path))
        return NULL;
    core_buffer text = {0};
    tokens_unpack(path, &text);
    if (core_tokenizer_parse(text.data, text.size, path, &tokenizer, &error) != MORE_OK)
        fail_msg("%s", error.message);
    core_buffer_free(&text);
    return tokenizer;
}

static void test_tokenizer(void **state)
{
    const tokenizer_case *c = *state;
    char path[256];
    tokens_arrays a;
    core_tokenizer *tokenizer = open_tokenizer(c->name, c->real);
    if (!tokenizer) {
        print_message("skipped: the real tokenizer %s is not at hand (LLAVAMORE_SHARED or ../shared)\n", c->name);
        skip();
    }
    json_t *strings = tokens_json(DATA "strings.json");
    assert_true(json_array_size(strings) > 2000);
    snprintf(path, sizeof path, c->real ? DATA "%s.decode.json" : DATA "%s/decode.json", c->name);
    json_t *texts = tokens_json(path);
    snprintf(path, sizeof path, c->real ? DATA "%s.safetensors.xz" : DATA "%s/ids.safetensors.xz", c->name);
    tokens_open_arrays(tokens_path(path), &a);
    size_t plain = tokens_compare_ids(c->name, tokenizer, strings, &a, "ids", "offsets", 0);
    assert_int_equal(plain, json_array_size(strings));
    size_t special =
        tokens_compare_ids(c->name, tokenizer, strings, &a, "ids_special", "offsets_special", CORE_ENCODE_SPECIAL);
    tokens_compare_decoding(c->name, tokenizer, &a, texts);
    print_message("%s: ids of %zu + %zu strings equal\n", c->name, plain, special);
    tokens_close_arrays(&a);
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
        int32_t images = (int32_t)json_integer_value(json_object_get(turn, "images"));
        messages[count++] = (core_message){CORE_ROLE_USER, user, images};
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

#define CASES (sizeof tokenizers / sizeof *tokenizers)

/* Tokenizers by their place in the table, each opened when it is first wanted: a real one takes a second. */
typedef struct opened_tokenizers {
    core_tokenizer *at[CASES];
    bool tried[CASES];
} opened_tokenizers;

static const core_tokenizer *opened_tokenizer(opened_tokenizers *opened, const char *name)
{
    size_t i = 0;
    while (i < CASES && strcmp(tokenizers[i].name, name))
        i++;
    if (i == CASES)
        fail_msg("prompts.json: no tokenizer '%s'", name);
    if (!opened->tried[i])
        opened->at[i] = open_tokenizer(name, tokenizers[i].real);
    opened->tried[i] = true;
    return opened->at[i];
}

/* Ids of the prompt by every tokenizer that the case names and that is at hand. */
static size_t check_prompt_ids(json_t *entry, const core_prompt *prompt, opened_tokenizers *opened)
{
    const char *name;
    json_t *value;
    size_t compared = 0;
    json_object_foreach(json_object_get(entry, "ids"), name, value)
    {
        const core_tokenizer *tokenizer = opened_tokenizer(opened, name);
        core_ids wanted = {0}, got = {0};
        more_error error;
        if (!tokenizer)
            continue;
        for (size_t i = 0; i < json_array_size(value); i++)
            core_ids_push(&wanted, (int32_t)json_integer_value(json_array_get(value, i)));
        if (core_prompt_encode(tokenizer, prompt, false, &got, &error) != MORE_OK)
            fail_msg("%s", error.message);
        tokens_same_ids(name, prompt->text.data ? prompt->text.data : "", wanted.data, wanted.count, &got);
        core_ids_free(&wanted);
        core_ids_free(&got);
        compared++;
    }
    return compared;
}

static void test_prompts(void **state)
{
    (void)state;
    json_t *entries = tokens_json(DATA "prompts.json"), *entry;
    size_t index, compared = 0;
    opened_tokenizers opened = {0};
    char folder[8192];
    snprintf(folder, sizeof folder, "%s", tokens_path("share/templates"));
    assert_true(json_array_size(entries) >= 80);
    json_array_foreach(entries, index, entry)
    {
        core_template *t;
        core_prompt prompt = {0};
        core_message messages[MAX_MESSAGES];
        more_error error;
        const char *name = json_string_value(json_object_get(entry, "template"));
        const char *system = json_string_value(json_object_get(entry, "system"));
        const char *compat = json_string_value(json_object_get(entry, "compat"));
        if (core_template_load(name, folder, compat, &t, &error) != MORE_OK)
            fail_msg("%s", error.message);
        size_t count = read_messages(entry, messages);
        if (core_template_render(t, messages, count, system, true, &prompt, &error) != MORE_OK)
            fail_msg("%s", error.message);
        assert_string_equal(prompt.text.data ? prompt.text.data : "",
                            json_string_value(json_object_get(entry, "text")));
        check_continuation(t, messages, count, system, &prompt);
        compared += check_prompt_ids(entry, &prompt, &opened);
        core_prompt_free(&prompt);
        core_template_destroy(t);
    }
    print_message("%zu prompts equal, %zu times their ids\n", json_array_size(entries), compared);
    for (size_t i = 0; i < CASES; i++)
        core_tokenizer_destroy(opened.at[i]);
    json_decref(entries);
}

int main(void)
{
    struct CMUnitTest tests[CASES + 1] = {cmocka_unit_test(test_prompts)};
    for (size_t i = 0; i < CASES; i++)
        tests[i + 1] = (struct CMUnitTest){tokenizers[i].name, test_tokenizer, NULL, NULL, &tokenizers[i]};
    return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
