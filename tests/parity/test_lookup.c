/* SPDX-License-Identifier: Apache-2.0
 *
 * Prompt lookup gives what there is without it: the same tokens from the same logits, the same conversation afterwards,
 * over windows and LongRoPE's edge, under samplers and stop strings; and it guesses as it says.
 */
#include "assembled.h"

#include "base/file.h"
#include "generate/lookup.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const presets[] = {"tiny", "tiny-clip-gemma2", "tiny-clip-phi4"};
static const int lengths[] = {1, 3, 8, 32};
#define PRESETS (sizeof presets / sizeof *presets)
#define LENGTHS (sizeof lengths / sizeof *lengths)

static const char *const prompts[] = {
    "What colour is the ball?",
    "Describe the image.",
    "Describe the image. Describe the image. Describe the image.",
    "red ball, blue star, red ball, blue star, red ball,",
    "A blue star and a red ball. A blue star and",
    "How many shapes are there? There are two shapes. How many shapes are there?",
    "one two three one two three one two",
    "Which shape is left of the star?",
    "yes no yes yes no no yes no yes yes no no",
    "",
    "Say: the star is blue. The star is blue. The star is",
    "What does the sign say?",
};
#define PROMPTS (sizeof prompts / sizeof *prompts)

/* ---- The guess itself ------------------------------------------------------------------------------------------- */

static void guess_is(const int32_t *ids, size_t count, int32_t most, const int32_t *wanted, int32_t wanted_count)
{
    int32_t guess[CORE_MOST_GUESSED] = {0};
    assert_int_equal(core_lookup(ids, count, most, guess), wanted_count);
    assert_memory_equal(guess, wanted, (size_t)wanted_count * sizeof *guess);
}

static void guesses(void **state)
{
    static const int32_t repeated[] = {7, 1, 2, 3, 9, 1, 2, 4, 8, 1, 2};
    static const int32_t longest[] = {1, 2, 3, 4, 5, 9, 3, 4, 6, 1, 2, 3, 4};
    static const int32_t period[] = {5, 6, 5, 6};
    static const int32_t same[] = {4, 4, 4};
    (void)state;
    guess_is(repeated, 11, 3, (const int32_t[]){4, 8, 1}, 3); /* behind the latest */
    guess_is(repeated, 11, 0, NULL, 0);
    guess_is(repeated, 5, 3, NULL, 0); /* new */
    guess_is(repeated, 2, 3, NULL, 0);
    guess_is(repeated, 0, 3, NULL, 0);
    guess_is(longest, 13, 2, (const int32_t[]){5, 9}, 2); /* four ids rather than two */
    guess_is(period, 4, 5, (const int32_t[]){5, 6, 5, 6, 5}, 5);
    guess_is(same, 3, 4, (const int32_t[]){4, 4, 4, 4}, 4);
}

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

typedef struct told {
    llavamore_answer first, second; /* of a conversation's two questions */
    core_buffer logits;             /* that the first was drawn from, as dumped */
    core_buffer next;               /* the first logits of the second */
    int64_t rows, refused;          /* of the first */
} told;

static void set(assembled *self, const char *key, int value)
{
    char assignment[64];
    more_error error = {{0}};
    snprintf(assignment, sizeof assignment, "%s=%d", key, value);
    if (core_config_set(self->config, assignment, &error) != MORE_OK)
        fail_msg("%s", error.message);
}

/* Logits of an answer, which only a dump gives where some were computed for wrong guesses. */
static void ask_dumped(core_chat *chat, const char *question, const char *picture, llavamore_answer *answer,
                       core_buffer *logits)
{
    char folder[] = "/tmp/llavamore-lookup-XXXXXX", path[128];
    more_error error = {{0}};
    llavamore_image image = {.path = picture};
    llavamore_question asked = {.text = question, .images = &image, .image_count = 1};
    asked.dump_folder = mkdtemp(folder);
    assert_non_null(asked.dump_folder);
    if (core_chat_ask(chat, &asked, answer, &error) != MORE_OK)
        fail_msg("%s: %s", question, error.message);
    snprintf(path, sizeof path, "%s/logits.npy", folder);
    if (core_file_read(path, (size_t)1 << 30, logits, &error) != MORE_OK)
        fail_msg("%s", error.message);
    assembled_remove(folder);
}

static told tell(assembled *self, int lookup, const char *prompt)
{
    told all = {0};
    core_chat *chat = assembled_chat(self);
    char *picture = assembled_source("share/images/shapes.png");
    size_t row = (size_t)self->assembly->language_info.vocabulary * sizeof(float);
    set(self, "generate.prompt_lookup", lookup);
    assembled_forget();
    ask_dumped(chat, prompt, picture, &all.first, &all.logits);
    all.rows = counts.rows;
    all.refused = counts.refused;
    assembled_forget();
    assembled_ask(chat, "And the star?", NULL, 0, &all.second);
    assert_true(counts.logits.size >= row);
    core_buffer_append(&all.next, counts.logits.data, row);
    core_chat_destroy(chat);
    free(picture);
    return all;
}

static void forget(told *all)
{
    llavamore_answer_clear(&all->first);
    llavamore_answer_clear(&all->second);
    core_buffer_free(&all->logits);
    core_buffer_free(&all->next);
}

static void assert_answer(const llavamore_answer *got, const llavamore_answer *wanted)
{
    assert_int_equal(got->token_count, wanted->token_count);
    assert_memory_equal(got->token_ids, wanted->token_ids, (size_t)wanted->token_count * sizeof *wanted->token_ids);
    assert_string_equal(got->text, wanted->text);
    assert_string_equal(got->finish_reason, wanted->finish_reason);
    assert_int_equal(got->prompt_tokens, wanted->prompt_tokens);
}

static void assert_told(const told *got, const told *wanted)
{
    assert_answer(&got->first, &wanted->first);
    assert_int_equal(got->logits.size, wanted->logits.size);
    assert_memory_equal(got->logits.data, wanted->logits.data, wanted->logits.size);
    assert_memory_equal(got->next.data, wanted->next.data, wanted->next.size);
    assert_answer(&got->second, &wanted->second);
    assert_int_equal(got->second.reused_rows, wanted->second.reused_rows);
}

typedef struct tally {
    int64_t tokens, calls; /* fed back */
} tally;

/* Every length of guess against none, for one prompt. `replays`: some are expected. */
static void compare(assembled *self, const char *prompt, bool replays, tally tallies[LENGTHS])
{
    told wanted = tell(self, 0, prompt);
    assert_int_equal(wanted.first.guessed_tokens, 0);
    assert_int_equal(wanted.first.decode_calls, wanted.first.token_count - 1);
    for (size_t i = 0; i < LENGTHS; i++) {
        told got = tell(self, lengths[i], prompt);
        assert_told(&got, &wanted);
        assert_true(got.first.right_tokens <= got.first.guessed_tokens);
        assert_int_equal(got.first.decode_calls + got.first.right_tokens, got.first.token_count - 1);
        if (!replays) {
            assert_int_equal(got.refused, 0);
            assert_int_equal(got.rows, got.first.prefill_rows + got.first.decode_calls + got.first.guessed_tokens);
        }
        tallies[i].tokens += got.first.token_count - 1;
        tallies[i].calls += got.first.decode_calls;
        forget(&got);
    }
    forget(&wanted);
}

static void compare_prompts(const char *preset, const char *const *assignments, bool replays, tally tallies[LENGTHS])
{
    assembled *self = assembled_open(preset, assignments);
    for (size_t i = 0; i < PROMPTS; i++)
        compare(self, prompts[i], replays, tallies);
    for (size_t i = 0; i < LENGTHS; i++)
        print_message("%-18s guesses of %2d: %.2f tokens a call\n", preset, lengths[i],
                      (double)tallies[i].tokens / (double)tallies[i].calls);
    assembled_close(self);
}

static void long_answers(void **state)
{
    static const char *const assignments[] = {"generate.max_new_tokens=70", "generate.ignore_stop=true", NULL};
    (void)state;
    for (size_t i = 0; i < PRESETS; i++) {
        tally tallies[LENGTHS] = {{0}};
        compare_prompts(presets[i], assignments, false, tallies);
        assert_true(2 * tallies[2].tokens > 3 * tallies[2].calls); /* they repeat themselves */
    }
}

/* As people ask: the answers end by themselves. */
static void natural_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < PRESETS; i++) {
        tally tallies[LENGTHS] = {{0}};
        compare_prompts(presets[i], NULL, false, tallies);
    }
}

/* Gemma-2's window is 128 rows: both its edge and the pages that are let go lie within the answers. */
static void past_the_window(void **state)
{
    static const char *const assignments[] = {"generate.max_new_tokens=250", "generate.ignore_stop=true", NULL};
    assembled *self = assembled_open("tiny-clip-gemma2", assignments);
    tally tallies[LENGTHS] = {{0}};
    (void)state;
    compare(self, prompts[1], false, tallies);
    compare(self, prompts[3], false, tallies);
    assembled_close(self);
}

/* A guess that alone would pass LongRoPE's edge is not made: its rows would turn otherwise than they should. */
static void over_the_edge(void **state)
{
    char folder[64], weights[128];
    (void)state;
    for (int edge = 100; edge < 104; edge++) {
        tally tallies[LENGTHS] = {{0}};
        assembled_phi4(folder, edge);
        snprintf(weights, sizeof weights, "llm.weights=%s", folder);
        const char *assignments[] = {weights, "generate.max_new_tokens=60", "generate.ignore_stop=true", NULL};
        assembled *self = assembled_open("tiny-clip-phi4", assignments);
        compare(self, prompts[0], true, tallies);
        compare(self, prompts[1], true, tallies);
        assert_true(tallies[2].tokens > tallies[2].calls);
        assembled_close(self);
        assembled_remove(folder);
    }
}

/* Under samplers that draw, also listed ones: the random numbers follow the token's index. */
static void drawn_answers(void **state)
{
    static const char *const temperature[] = {"generate.temperature=0.7", "generate.seed=5", "generate.top_k=40",
                                              "generate.repetition_penalty=1.1", NULL};
    static const char *const listed[] = {"generate.sampler=\"temperature(1.3), top_p(0.9)\"", "generate.seed=9", NULL};
    (void)state;
    for (size_t i = 0; i < PRESETS; i++) {
        tally tallies[LENGTHS] = {{0}};
        compare_prompts(presets[i], i % 2 ? listed : temperature, false, tallies);
    }
}

/* Ends of all kinds: by a stop string in the middle of a guess, by the number of tokens, by a full context. */
static void ends(void **state)
{
    static const char *const stop[] = {"generate.stop=\" star\"", "generate.max_new_tokens=60",
                                       "generate.ignore_stop=true", NULL};
    tally tallies[LENGTHS] = {{0}};
    (void)state;
    for (size_t i = 0; i < PRESETS; i++)
        compare_prompts(presets[i], stop, false, tallies);
    for (int most = 1; most <= 9; most++) {
        char tokens[64];
        snprintf(tokens, sizeof tokens, "generate.max_new_tokens=%d", most);
        const char *few[] = {tokens, "generate.ignore_stop=true", NULL};
        assembled *self = assembled_open("tiny", few);
        compare(self, prompts[2], false, tallies);
        assembled_close(self);
    }
}

static void full_context(void **state)
{
    (void)state;
    char *picture = assembled_source("share/images/shapes.png");
    for (int room = 0; room < 12; room++) {
        char context[64];
        snprintf(context, sizeof context, "llm.context=%d", 140 + room);
        const char *assignments[] = {context, "generate.max_new_tokens=100", "generate.ignore_stop=true", NULL};
        assembled *self = assembled_open("tiny", assignments);
        llavamore_answer wanted, got;
        for (size_t i = 0; i < LENGTHS; i++) {
            core_chat *chat = assembled_chat(self), *other = assembled_chat(self);
            set(self, "generate.prompt_lookup", 0);
            assembled_ask(chat, prompts[2], (const char *const *)&picture, 1, &wanted);
            set(self, "generate.prompt_lookup", lengths[i]);
            assembled_ask(other, prompts[2], (const char *const *)&picture, 1, &got);
            assert_string_equal(wanted.finish_reason, "length");
            assert_true(wanted.token_count < 100);
            assert_answer(&got, &wanted);
            llavamore_answer_clear(&wanted);
            llavamore_answer_clear(&got);
            core_chat_destroy(chat);
            core_chat_destroy(other);
        }
        assembled_close(self);
    }
    free(picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses),
        cmocka_unit_test(long_answers),
        cmocka_unit_test(natural_answers),
        cmocka_unit_test(past_the_window),
        cmocka_unit_test(over_the_edge),
        cmocka_unit_test(drawn_answers),
        cmocka_unit_test(ends),
        cmocka_unit_test(full_context),
    };
    return cmocka_run_group_tests_name("prompt lookup", tests, NULL, NULL);
}
