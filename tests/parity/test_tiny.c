/* SPDX-License-Identifier: Apache-2.0
 *
 * The embedded tiny models, through the public API and their presets, against the references' own runs over the shipped
 * pictures (share/tiny/reference.json): the same token ids, the same answers, and other answers without a picture. The
 * first rows are of the preset `tiny`; the others see to it that every tower and every language model has its turn.
 */
#include "parity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <llavamore.h>
#include <stdlib.h>
#include <string.h>

#define TINY "tiny"

static llavamore_model *model; /* of TINY */
static json_t *runs;

static llavamore_model *open_preset(const char *preset)
{
    more_error error = {{0}};
    llavamore_model *opened = NULL;
    llavamore_settings *settings = llavamore_settings_create(NULL);
    if (llavamore_settings_load(settings, preset, &error) != MORE_OK ||
        llavamore_model_open(settings, LLAVAMORE_OPEN_DEFAULT, &opened, &error) != MORE_OK)
        print_error("%s: %s\n", preset, error.message);
    llavamore_settings_destroy(settings);
    return opened;
}

static int open_tiny(void **state)
{
    (void)state;
    char path[4096];
    const char *source = getenv("srcdir");
    snprintf(path, sizeof path, "%s/share/tiny/reference.json", source ? source : ".");
    runs = json_load_file(path, 0, NULL);
    if (!runs)
        print_error("%s: cannot be read\n", path);
    model = open_preset(TINY);
    return runs && model ? 0 : -1;
}

static int close_tiny(void **state)
{
    (void)state;
    llavamore_model_close(model);
    json_decref(runs);
    return 0;
}

/* Asks `asked` in a chat of its own, or in `chat`. */
static void ask_model(llavamore_model *asked, llavamore_chat *chat, json_t *run, const llavamore_image *image,
                      llavamore_answer *answer)
{
    more_error error = {{0}};
    llavamore_chat *own = NULL;
    llavamore_question question = {
        .text = json_string_value(json_object_get(run, "question")), .images = image, .image_count = image != NULL};
    if (!chat && llavamore_chat_create(asked, &own, &error) != MORE_OK)
        fail_msg("%s", error.message);
    if (llavamore_chat_ask(chat ? chat : own, &question, answer, &error) != MORE_OK)
        fail_msg("%s: %s", question.text, error.message);
    llavamore_chat_destroy(own);
}

static void ask(llavamore_chat *chat, json_t *run, const llavamore_image *image, llavamore_answer *answer)
{
    ask_model(model, chat, run, image, answer);
}

static const char *preset_of(json_t *run)
{
    return json_string_value(json_object_get(run, "preset"));
}

static llavamore_image image_of(json_t *run, char *path, size_t size)
{
    const char *source = getenv("srcdir");
    snprintf(path, size, "%s/share/tiny/%s", source ? source : ".", json_string_value(json_object_get(run, "image")));
    return (llavamore_image){.path = path};
}

static void check_run(llavamore_model *asked, json_t *run)
{
    char path[4096];
    json_t *ids = json_object_get(run, "generated_ids");
    llavamore_image image = image_of(run, path, sizeof path);
    llavamore_answer answer;
    ask_model(asked, NULL, run, &image, &answer);
    assert_string_equal(answer.text, json_string_value(json_object_get(run, "answer")));
    assert_int_equal(answer.token_count, json_array_size(ids));
    for (int32_t k = 0; k < answer.token_count; k++)
        assert_int_equal(answer.token_ids[k], json_integer_value(json_array_get(ids, (size_t)k)));
    assert_int_equal(answer.prompt_tokens - answer.image_tokens,
                     json_array_size(json_object_get(run, "input_ids")) - 1);
    assert_string_equal(answer.finish_reason, "stop");
    llavamore_answer_clear(&answer);
}

/* Rows of one preset stand together. */
static void test_reference_ids(void **state)
{
    (void)state;
    llavamore_model *opened = NULL;
    size_t presets = 0;
    for (size_t i = 0; i < json_array_size(runs); i++) {
        json_t *run = json_array_get(runs, i);
        if (!i || strcmp(preset_of(run), preset_of(json_array_get(runs, i - 1))) != 0) {
            llavamore_model_close(opened);
            opened = open_preset(preset_of(run));
            assert_non_null(opened);
            presets++;
        }
        check_run(opened, run);
    }
    llavamore_model_close(opened);
    assert_true(presets >= 4);
    print_message("%zu answers of %zu assemblies of tiny models: ids equal\n", json_array_size(runs), presets);
}

static void test_looks_at_the_picture(void **state)
{
    (void)state;
    static const char grey[] = "P5\n2 2\n255\n\x80\x80\x80\x80";
    llavamore_image blank = {.bytes = grey, .size = sizeof grey - 1, .name = "grey"};
    size_t changed = 0, asked = 0;
    for (size_t i = 0; i < json_array_size(runs); i++) {
        json_t *run = json_array_get(runs, i);
        llavamore_answer answer;
        if (strcmp(preset_of(run), TINY) != 0)
            continue;
        ask(NULL, run, &blank, &answer);
        changed += strcmp(answer.text, json_string_value(json_object_get(run, "answer"))) != 0;
        asked++;
        llavamore_answer_clear(&answer);
    }
    assert_true(asked >= 3 && 2 * changed > asked);
}

/* A second question in a conversation adds its own rows only, and a failed one leaves the conversation as it was. */
static void test_conversation(void **state)
{
    (void)state;
    char path[4096];
    more_error error = {{0}};
    llavamore_chat *chat = NULL;
    llavamore_answer first, second, again;
    json_t *run = json_array_get(runs, 0);
    llavamore_image image = image_of(run, path, sizeof path);
    assert_int_equal(llavamore_chat_create(model, &chat, &error), MORE_OK);
    ask(chat, run, &image, &first);
    llavamore_image missing = {.path = "/nonexistent.png"};
    llavamore_question broken = {.text = "What is this?", .images = &missing, .image_count = 1};
    assert_int_equal(llavamore_chat_ask(chat, &broken, &second, &error), MORE_ERROR_NOT_FOUND);
    ask(chat, run, NULL, &second);
    assert_int_equal(second.image_tokens, 0);
    assert_true(second.prompt_tokens < first.prompt_tokens / 2);
    assert_int_equal(llavamore_chat_reset(chat, &error), MORE_OK);
    ask(chat, run, &image, &again);
    assert_string_equal(again.text, first.text);
    assert_int_equal(again.prompt_tokens, first.prompt_tokens);
    llavamore_answer_clear(&first);
    llavamore_answer_clear(&second);
    llavamore_answer_clear(&again);
    llavamore_chat_destroy(chat);
}

static bool cancel_at_once(void *user, const char *text, size_t size)
{
    (void)user;
    (void)text;
    (void)size;
    llavamore_model_cancel(model, true);
    return true;
}

static bool refuse_more(void *user, const char *text, size_t size)
{
    (void)user;
    (void)text;
    (void)size;
    return false;
}

static void cut_answer(llavamore_text_function on_text, llavamore_answer *next)
{
    more_error error = {{0}};
    llavamore_chat *chat = NULL;
    llavamore_answer cut;
    llavamore_question first = {.text = "Describe this image.", .on_text = on_text};
    llavamore_question second = {.text = "What colour is the ball?"};
    assert_int_equal(llavamore_chat_create(model, &chat, &error), MORE_OK);
    assert_int_equal(llavamore_chat_ask(chat, &first, &cut, &error), MORE_OK);
    llavamore_model_cancel(model, false);
    assert_string_equal(cut.finish_reason, "cancelled");
    assert_int_equal(llavamore_chat_ask(chat, &second, next, &error), MORE_OK);
    llavamore_answer_clear(&cut);
    llavamore_chat_destroy(chat);
}

/* An answer that was cancelled in its middle stays in the conversation as it was printed: the next question adds the
 * same rows as after an answer cut by its reader, and gives the same tokens. */
static void test_cancelled_answer(void **state)
{
    (void)state;
    llavamore_answer cancelled, refused;
    cut_answer(cancel_at_once, &cancelled);
    cut_answer(refuse_more, &refused);
    assert_int_equal(cancelled.prompt_tokens, refused.prompt_tokens);
    assert_string_equal(cancelled.text, refused.text);
    llavamore_answer_clear(&cancelled);
    llavamore_answer_clear(&refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_ids),
        cmocka_unit_test(test_looks_at_the_picture),
        cmocka_unit_test(test_conversation),
        cmocka_unit_test(test_cancelled_answer),
    };
    return cmocka_run_group_tests_name("the tiny model", tests, open_tiny, close_tiny);
}
