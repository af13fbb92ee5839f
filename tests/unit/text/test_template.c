/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversation templates: the file format and its refusals, rendering, and the ids of prompts. Every shipped template
 * is held against prompts written from the rules alone by tests/parity/test_tokens.c.
 */
#include "text/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char simple[] = "[template]\n"
                             "alias = one two\n"
                             "description = \"For tests\"\n"
                             "bos = \"<s>\"\n"
                             "system = \"Be \"\n"
                             "    \"brief\\x3b\\n\"\n"
                             "system_prefix = \"S[\"\n"
                             "system_suffix = \"]\"\n"
                             "user_prefix = \"U[\"\n"
                             "user_suffix = \"]\"\n"
                             "assistant_prefix = \"A[ \"\n"
                             "assistant_suffix = \"]\\n\"\n"
                             "generation = \"A[\"\n"
                             "stop = \"</s>\" \"two words\"\n"
                             "  \"third\"\n";

static const char *source_path(const char *relative)
{
    static char path[4096];
    const char *top = getenv("srcdir");
    snprintf(path, sizeof path, "%s/%s", top && *top ? top : ".", relative);
    return path;
}

static core_template *load(const char *source)
{
    core_template *t;
    more_error error;
    if (core_template_load(source, source_path("share/templates"), NULL, &t, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return t;
}

/* The rendered text; the caller frees the prompt. */
static core_prompt render(const core_template *t, const core_message *messages, size_t count, const char *system)
{
    core_prompt prompt = {0};
    more_error error;
    if (core_template_render(t, messages, count, system, count % 2, &prompt, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return prompt;
}

static void expect(const core_template *t, const core_message *messages, size_t count, const char *system,
                   const char *text, size_t images)
{
    core_prompt prompt = render(t, messages, count, system);
    assert_string_equal(prompt.text.data, text);
    assert_int_equal(prompt.image_count, images);
    for (size_t i = 0; i < images; i++)
        assert_memory_equal(prompt.text.data + prompt.images[i], CORE_IMAGE_MARK, strlen(CORE_IMAGE_MARK));
    core_prompt_free(&prompt);
}

static void test_fields(void **state)
{
    core_template *t = load(simple);
    (void)state;
    assert_string_equal(core_template_name(t), "inline");
    assert_string_equal(core_template_description(t), "For tests");
    assert_string_equal(core_template_system(t), "Be brief;\n");
    assert_string_equal(core_template_stop(t, 0), "</s>");
    assert_string_equal(core_template_stop(t, 1), "two words");
    assert_string_equal(core_template_stop(t, 2), "third");
    assert_null(core_template_stop(t, 3));
    core_template_destroy(t);
}

static void test_render(void **state)
{
    core_template *t = load(simple);
    const core_message messages[] = {
        {CORE_ROLE_USER, " hi ", 0}, {CORE_ROLE_ASSISTANT, "yes", 0}, {CORE_ROLE_USER, "bye", 2}};
    (void)state;
    expect(t, messages, 1, NULL, "<s>S[Be brief;\n]U[ hi ]A[", 0);
    expect(t, messages, 1, "", "<s>U[ hi ]A[", 0);
    expect(t, messages, 1, "Other", "<s>S[Other]U[ hi ]A[", 0);
    expect(t, messages, 2, "", "<s>U[ hi ]A[ yes]\n", 0);
    expect(t, messages, 3, "", "<s>U[ hi ]A[ yes]\nU[<image>\n<image>\nbye]A[", 2);
    core_template_destroy(t);
}

static void test_image_places(void **state)
{
    core_template *t = load(simple);
    const core_message typed = {CORE_ROLE_USER, "what is <image>?", 0},
                       placed = {CORE_ROLE_USER, "is <image> like <image>?", 2},
                       wrong = {CORE_ROLE_USER, "<image><image>", 1};
    core_prompt prompt = {0};
    more_error error;
    (void)state;
    expect(t, &typed, 1, "", "<s>U[what is <image>?]A[", 0);
    expect(t, &placed, 1, "", "<s>U[is <image> like <image>?]A[", 2);
    assert_int_equal(core_template_render(t, &wrong, 1, "", true, &prompt, &error), MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "2 <image> marks for 1 image"));
    core_prompt_free(&prompt);
    core_buffer_text(&prompt.text, "a<image>b<image>");
    assert_int_equal(core_prompt_mark_all(&prompt, &error), MORE_OK);
    assert_int_equal(prompt.image_count, 2);
    assert_int_equal(prompt.images[1], 9);
    core_prompt_free(&prompt);
    core_template_destroy(t);
}

static void test_trim_and_discard(void **state)
{
    core_template *trimming = load("[template]\nuser_prefix = \"(\"\nuser_suffix = \")\"\ntrim = true\n");
    core_template *plain = load("plain");
    const core_message message = {CORE_ROLE_USER, "\xE3\x80\x80 \n a b \t\x1F", 1},
                       spaces = {CORE_ROLE_USER, " \n ", 0};
    (void)state;
    expect(trimming, &message, 1, NULL, "(<image>\n\xE3\x80\x80 \n a b)", 1);
    expect(trimming, &spaces, 1, NULL, "()", 0);
    expect(plain, &message, 1, NULL, "<image>", 1);
    core_template_destroy(trimming);
    core_template_destroy(plain);
}

static void test_continue(void **state)
{
    core_template *t = load(simple);
    const core_message messages[] = {
        {CORE_ROLE_USER, "hi", 0}, {CORE_ROLE_ASSISTANT, "yes", 0}, {CORE_ROLE_USER, "and", 1}};
    core_prompt rest = {0};
    more_error error;
    (void)state;
    assert_int_equal(core_template_continue(t, messages, 3, 2, true, &rest, &error), MORE_OK);
    assert_string_equal(rest.text.data, "]\nU[<image>\nand]A[");
    assert_int_equal(rest.image_count, 1);
    assert_int_equal(rest.images[0], 4);
    assert_int_equal(core_template_continue(t, messages, 3, 1, true, &rest, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_template_continue(t, messages, 2, 2, true, &rest, &error), MORE_ERROR_ARGUMENT);
    core_prompt_free(&rest);
    core_template_destroy(t);
}

static void test_wrong_messages(void **state)
{
    core_template *t = load(simple), *gemma = load("gemma_2");
    const core_message twice[] = {{CORE_ROLE_USER, "a", 0}, {CORE_ROLE_USER, "b", 0}},
                       answer = {CORE_ROLE_ASSISTANT, "a", 0},
                       image[] = {{CORE_ROLE_USER, "a", 0}, {CORE_ROLE_ASSISTANT, "b", 1}};
    core_prompt prompt = {0};
    more_error error;
    (void)state;
    assert_int_equal(core_template_render(t, twice, 2, NULL, false, &prompt, &error), MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "message 1"));
    assert_int_equal(core_template_render(t, &answer, 1, NULL, false, &prompt, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_template_render(t, image, 2, NULL, false, &prompt, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_template_render(gemma, twice, 1, "Be brief", true, &prompt, &error), MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "gemma_2"));
    core_prompt_free(&prompt);
    core_template_destroy(t);
    core_template_destroy(gemma);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[template]\nuser_prefix = \"a\"\nuser_prefx = \"b\"\n", "inline template:3: unknown key"},
        {"[template]\nuser_prefix = \"a\"\nuser_prefix = \"b\"\n", ":3: the key is given twice: 'user_prefix'"},
        {"[other]\nuser_prefix = \"a\"\n",
         ":2: expected the section [template], then perhaps [lmms_eval], got 'other'"},
        {"user_prefix = \"a\"\n", ":1: expected the section"},
        {"[template]\nuser_prefix = a\n", ":2: expected a text in double quotes, got 'a'"},
        {"[template]\nuser_prefix = \"a ; b\"\n", ":2: a text has no closing quote"},
        {"[template]\nuser_prefix = \"a\" b\n", ":2: expected nothing behind the closing quote"},
        {"[template]\nuser_prefix = \"\\q\"\n", ":2: expected one of the escapes"},
        {"[template]\nuser_prefix = \"\\x00\"\n", ":2: expected one of the escapes"},
        {"[template]\nuser_prefix = \"\\xff\"\n", ":2: the value is not UTF-8: 'user_prefix'"},
        {"[template]\nuser_prefix = \"\"\ntrim = yes\n", ":3: this key takes true or false"},
        {"[template]\nuser_prefix = \"\"\nnonsense\n", ":3: expected 'key = value'"},
        {"[lmms_eval]\ngeneration = \"a\"\n", ":2: expected the section [template], then"},
        {"[template]\nuser_prefix = \"a\"\n[lmms_eval]\nstop = \"a\"\n", ":4: unknown key"},
        {"[template]\nuser_prefix = \"a\"\n[lmms_eval]\nbos = \"\"\n[template]\nbos = \"\"\n",
         ":6: the section is given"},
        {"[template]\nuser_prefix = \"a\"\n[lmms_eval]\nbos = \"a\"\nbos = \"b\"\n", ":5: the key is given twice"},
        {"[template]\nbos = \"a\"\n", "gives neither user_prefix nor assistant_prefix"}};
    core_template *t;
    more_error error;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(core_template_load(cases[i].text, ".", NULL, &t, &error), MORE_ERROR_CORRUPT);
        if (!strstr(error.message, cases[i].message))
            fail_msg("case %zu: '%s'", i, error.message);
        assert_null(t);
    }
}

/* The section that was asked for replaces values, and only then; a template without it is refused. */
static void test_compat(void **state)
{
    static const char text[] =
        "[template]\nbos = \"B\"\nuser_prefix = \"U:\"\ngeneration = \"G\"\ntrim = true\n"
        "[lmms_eval]\nuser_prefix = \"V\"\n    \":\"\ngeneration_no_image = \"\"\ntrim = false\n";
    static const core_message blind = {CORE_ROLE_USER, " q", 0}, seeing = {CORE_ROLE_USER, " q", 1};
    static const struct {
        const char *compat;
        const core_message *message;
        const char *wanted;
    } cases[] = {{NULL, &blind, "BU:qG"},
                 {NULL, &seeing, "BU:<image>\n qG"},
                 {"lmms_eval", &blind, "BV: q"},
                 {"lmms_eval", &seeing, "BV:<image>\n qG"}};
    core_template *t;
    more_error error;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        core_prompt prompt = {0};
        assert_int_equal(core_template_load(text, ".", cases[i].compat, &t, &error), MORE_OK);
        assert_int_equal(core_template_render(t, cases[i].message, 1, NULL, true, &prompt, &error), MORE_OK);
        assert_string_equal(prompt.text.data, cases[i].wanted);
        core_prompt_free(&prompt);
        core_template_destroy(t);
    }
    assert_int_equal(core_template_load("[template]\nuser_prefix = \"\"\n", ".", "lmms_eval", &t, &error),
                     MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "prompt_compat"));
    assert_null(t);
}

static void test_long_line(void **state)
{
    char text[512] = "[template]\nuser_prefix = \"";
    core_template *t;
    more_error error;
    (void)state;
    memset(text + strlen(text), 'x', 300);
    strcat(text, "\"\n");
    assert_int_equal(core_template_load(text, ".", NULL, &t, &error), MORE_ERROR_CORRUPT);
    assert_non_null(strstr(error.message, ":2: the line is too long"));
}

static void test_names(void **state)
{
    core_template *t = load("v1");
    char file[4096];
    more_error error;
    (void)state;
    snprintf(file, sizeof file, "%s", source_path("share/templates/phi_4.ini"));
    assert_string_equal(core_template_name(t), "vicuna_v1");
    core_template_destroy(t);
    t = load(file);
    assert_string_equal(core_template_name(t), "phi_4");
    core_template_destroy(t);
    assert_int_equal(core_template_load("llama_9", source_path("share/templates"), NULL, &t, &error),
                     MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "gemma_2, llama_3_1, llama_3_1_reasoning, phi_4, plain, vicuna_v1, v1"));
    assert_int_equal(core_template_load("x", "/nowhere", NULL, &t, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(core_template_load("/nowhere/x.ini", ".", NULL, &t, &error), MORE_ERROR_NOT_FOUND);
}

static core_tokenizer *open_small(const char *name)
{
    char relative[256];
    core_tokenizer *tokenizer;
    more_error error;
    snprintf(relative, sizeof relative, "tests/parity/data/tokens/small/%s/tokenizer.json", name);
    if (core_tokenizer_load(source_path(relative), &tokenizer, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return tokenizer;
}

static void test_stop_ids(void **state)
{
    core_tokenizer *tokenizer = open_small("llama3");
    core_template *t = load("llama_3_1");
    core_ids ids = {0};
    (void)state;
    assert_int_equal(core_template_stop_ids(t, tokenizer, &ids, NULL), MORE_OK);
    assert_int_equal(ids.count, 2); /* this tokenizer has no <|eom_id|> */
    assert_int_equal(ids.data[0], core_tokenizer_id(tokenizer, "<|eot_id|>"));
    assert_int_equal(ids.data[1], core_tokenizer_id(tokenizer, "<|end_of_text|>"));
    core_ids_free(&ids);
    core_template_destroy(t);
    core_tokenizer_destroy(tokenizer);
}

static size_t count_of(const core_ids *ids, int32_t id)
{
    size_t count = 0;
    for (size_t i = 0; i < ids->count; i++)
        count += ids->data[i] == id;
    return count;
}

/* One BOS whether or not the template prints it, a typed mark stays text, and a second turn adds no token. */
static void test_prompt_ids(void **state)
{
    core_tokenizer *tokenizer = open_small("llama3");
    core_template *t = load("llama_3_1");
    const core_message messages[] = {
        {CORE_ROLE_USER, "what is <image>?", 0}, {CORE_ROLE_ASSISTANT, "text", 0}, {CORE_ROLE_USER, "and this", 1}};
    core_prompt prompt = render(t, messages, 3, NULL), rest = {0};
    core_ids ids = {0}, more = {0};
    int32_t bos = core_tokenizer_bos(tokenizer);
    (void)state;
    assert_int_equal(core_prompt_encode(tokenizer, &prompt, false, &ids, NULL), MORE_OK);
    assert_int_equal(ids.data[0], bos);
    assert_int_equal(count_of(&ids, bos), 1);
    assert_int_equal(count_of(&ids, CORE_IMAGE_TOKEN), 1);
    assert_int_equal(core_template_continue(t, messages, 3, 2, true, &rest, NULL), MORE_OK);
    assert_int_equal(core_prompt_encode(tokenizer, &rest, true, &more, NULL), MORE_OK);
    assert_int_equal(count_of(&more, bos), 0);
    assert_true(more.count < ids.count);
    assert_memory_equal(ids.data + ids.count - more.count, more.data, more.count * sizeof *more.data);
    core_prompt_free(&rest);
    core_buffer_text(&rest.text, "<image>\xC3(");
    assert_int_equal(core_prompt_mark_all(&rest, NULL), MORE_OK);
    more_error error;
    assert_int_equal(core_prompt_encode(tokenizer, &rest, false, &more, &error), MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "offset 7"));
    core_prompt_free(&rest);
    core_prompt_free(&prompt);
    core_ids_free(&ids);
    core_ids_free(&more);
    core_template_destroy(t);
    core_tokenizer_destroy(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fields),       cmocka_unit_test(test_render),
                                       cmocka_unit_test(test_image_places), cmocka_unit_test(test_trim_and_discard),
                                       cmocka_unit_test(test_continue),     cmocka_unit_test(test_wrong_messages),
                                       cmocka_unit_test(test_refusals),     cmocka_unit_test(test_compat),
                                       cmocka_unit_test(test_long_line),    cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_stop_ids),     cmocka_unit_test(test_prompt_ids)};
    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
