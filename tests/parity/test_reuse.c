/* SPDX-License-Identifier: Apache-2.0
 *
 * Nothing is computed twice: several questions about one picture, conversations and their forks, over a sliding window
 * (the tiny Gemma-2's has 128 rows) and over LongRoPE's edge (put at 100 rows), against fresh runs of the same: the
 * logits of every step bit for bit, and the rows and pictures that went into the plugins.
 */
#include "assembled.h"

#include "recall/recall.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BATCH "runtime.batch=37" /* chunks that cut everything */
#define EDGE 100                 /* of the changed Phi-4 */

typedef struct asked {
    llavamore_answer answer;
    assembled_counts counts; /* of this question alone; its logits owned */
} asked;

static char *pictures[3];

static int find_pictures(void **state)
{
    static const char *const names[] = {"share/images/red-ball.png", "share/images/shapes.png",
                                        "share/images/stop.png"};
    (void)state;
    for (int i = 0; i < 3; i++)
        pictures[i] = assembled_source(names[i]);
    return 0;
}

static int free_pictures(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        free(pictures[i]);
    return 0;
}

static asked ask(core_chat *chat, const char *question, const char *picture)
{
    asked one;
    assembled_forget();
    assembled_ask(chat, question, &picture, picture ? 1 : 0, &one.answer);
    one.counts = counts;
    counts = (assembled_counts){0};
    return one;
}

static void forget(asked *one)
{
    llavamore_answer_clear(&one->answer);
    core_buffer_free(&one->counts.logits);
}

static void reset(core_chat *chat)
{
    more_error error = {{0}};
    assert_int_equal(core_chat_reset(chat, &error), MORE_OK);
}

static core_chat *fork_of(const core_chat *chat)
{
    more_error error = {{0}};
    core_chat *fork = NULL;
    assert_int_equal(core_chat_fork(chat, &fork, &error), MORE_OK);
    return fork;
}

/* The same tokens from the same logits. */
static void assert_equal(const asked *got, const asked *wanted)
{
    assert_string_equal(got->answer.text, wanted->answer.text);
    assert_int_equal(got->answer.token_count, wanted->answer.token_count);
    assert_memory_equal(got->answer.token_ids, wanted->answer.token_ids,
                        (size_t)wanted->answer.token_count * sizeof *wanted->answer.token_ids);
    assert_int_equal(got->answer.prompt_tokens, wanted->answer.prompt_tokens);
    assert_string_equal(got->answer.finish_reason, wanted->answer.finish_reason);
    assert_true(wanted->counts.logits.size > 0);
    assert_int_equal(got->counts.logits.size, wanted->counts.logits.size);
    assert_memory_equal(got->counts.logits.data, wanted->counts.logits.data, wanted->counts.logits.size);
}

/* What the answer says of itself is what went into the plugins; each drawn token but the last is fed. */
static void assert_counts(const asked *one)
{
    assert_int_equal(one->counts.rows, one->answer.prefill_rows + one->answer.token_count - 1);
    assert_int_equal(one->counts.images, one->answer.encoded_images);
}

/* In a chat of its own of another assembly, so that nothing is known. */
static asked ask_fresh(const char *preset, const char *const *assignments, const char *question, const char *picture)
{
    assembled *self = assembled_open(preset, assignments);
    core_chat *chat = assembled_chat(self);
    asked one = ask(chat, question, picture);
    assert_int_equal(one.answer.reused_rows, 0);
    assert_int_equal(one.answer.prefill_rows, one.answer.prompt_tokens);
    core_chat_destroy(chat);
    counts = (assembled_counts){0};
    assembled_close(self);
    return one;
}

/* ---- Several questions about one picture ------------------------------------------------------------------------ */

static const char *const presets[] = {"tiny", "tiny-clip-gemma2", "tiny-clip-phi4", "tiny-siglip2-gemma2",
                                      "tiny-dinov2-phi4"};
#define PRESETS (sizeof presets / sizeof *presets)

/* Asks all questions in one chat, each as a conversation of its own, and holds each answer against a fresh run's. */
static void compare_questions(const char *preset, const char *const *assignments, const char *const *questions,
                              size_t count, void (*check)(size_t index, const asked *got))
{
    assembled *self = assembled_open(preset, assignments);
    core_chat *chat = assembled_chat(self);
    for (size_t i = 0; i < count; i++) {
        if (i)
            reset(chat);
        asked got = ask(chat, questions[i], pictures[0]);
        asked wanted = ask_fresh(preset, assignments, questions[i], pictures[0]);
        assert_equal(&got, &wanted);
        assert_int_equal(got.counts.images, i == 0);
        check(i, &got);
        print_message("%-20s question %zu: %lld rows computed, %lld reused\n", preset, i,
                      (long long)got.answer.prefill_rows, (long long)got.answer.reused_rows);
        forget(&got);
        forget(&wanted);
    }
    core_chat_destroy(chat);
    assembled_close(self);
}

/* Every row of the prompt is either computed, once, or reused; from the second question on the picture's are. */
static void assert_nothing_twice(size_t index, const asked *got)
{
    assert_counts(got);
    assert_int_equal(got->counts.refused, 0);
    assert_int_equal(got->answer.prefill_rows + got->answer.reused_rows, got->answer.prompt_tokens);
    if (index)
        assert_true(got->answer.reused_rows > got->answer.image_tokens);
}

static void check_short(size_t index, const asked *got)
{
    assert_nothing_twice(index, got);
    if (index == 3) /* asked before the one before: more is in common than the picture */
        assert_true(got->answer.prefill_rows < 20);
    if (index == 4) /* the same once more */
        assert_int_equal(got->answer.prefill_rows, 1);
}

static void several_questions(void **state)
{
    static const char *const questions[] = {"What colour is the ball?", "How many shapes are there?",
                                            "What shape is the red one?", "What colour is the ball?",
                                            "What colour is the ball?"};
    static const char *const assignments[] = {BATCH, NULL};
    (void)state;
    for (size_t i = 0; i < PRESETS; i++)
        compare_questions(presets[i], assignments, questions, 5, check_short);
}

/* The same question about pictures in turn: what differs is not taken for the same. */
static void other_pictures(void **state)
{
    static const char question[] = "What colour is the ball?";
    static const int shown[] = {0, 1, 0, 0, 2};
    (void)state;
    for (size_t p = 0; p < PRESETS; p++) {
        assembled *self = assembled_open(presets[p], NULL);
        core_chat *chat = assembled_chat(self);
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
            reset(chat);
            asked got = ask(chat, question, pictures[shown[i]]);
            asked wanted = ask_fresh(presets[p], NULL, question, pictures[shown[i]]);
            assert_equal(&got, &wanted);
            assert_counts(&got);
            assert_int_equal(got.counts.images, i < 2 || i == 4);
            assert_int_equal(got.answer.reused_rows > got.answer.image_tokens, i == 3);
            forget(&got);
            forget(&wanted);
        }
        core_chat_destroy(chat);
        assembled_close(self);
    }
}

/* ---- Past the window -------------------------------------------------------------------------------------------- */

/* "word word ... " of `count` words and the question behind them; free() it. */
static char *long_question(const char *word, int count, const char *question)
{
    core_buffer text = {0};
    for (int i = 0; i < count; i++)
        core_buffer_format(&text, "%s ", word);
    core_buffer_text(&text, question);
    return core_buffer_take(&text);
}

static int64_t image_end; /* rows up to and with the picture's, of every question below */

static void check_window(size_t index, const asked *got)
{
    assert_nothing_twice(index, got);
    assert_true(got->answer.prompt_tokens + got->answer.token_count > 128 + 64);
    if (index == 1)
        image_end = got->answer.reused_rows;
    if (index > 1) /* however much more is in common, the window has let go of it */
        assert_true(got->answer.reused_rows >= image_end);
}

/* Prompts that are longer than the window, in chunks and in one piece. */
static void window_in_prompt(void **state)
{
    static const char *const chunked[] = {BATCH, "generate.max_new_tokens=12", "generate.ignore_stop=true", NULL};
    static const char *const whole[] = {"generate.max_new_tokens=12", "generate.ignore_stop=true", NULL};
    (void)state;
    char *questions[] = {long_question("red", 250, "What colour is the ball?"),
                         long_question("blue", 140, "What colour is the ball?"),
                         long_question("blue", 270, "How many shapes are there?"),
                         long_question("star", 150, "What shape is the red one?")};
    compare_questions("tiny-clip-gemma2", chunked, (const char *const *)questions, 4, check_window);
    compare_questions("tiny-siglip-gemma2", whole, (const char *const *)questions, 4, check_window);
    for (int i = 0; i < 4; i++)
        free(questions[i]);
}

/* Short prompts whose answers pass the window. */
static void window_in_answer(void **state)
{
    static const char *const questions[] = {"What colour is the ball?", "How many shapes are there?",
                                            "How many shapes are there?"};
    static const char *const assignments[] = {BATCH, "generate.max_new_tokens=160", "generate.ignore_stop=true", NULL};
    (void)state;
    compare_questions("tiny-clip-gemma2", assignments, questions, 3, check_window);
}

/* ---- Over LongRoPE's edge --------------------------------------------------------------------------------------- */

/* Which questions must begin anew, since their rows turn by other factors than those before. */
static void check_edge(size_t index, const asked *got)
{
    static const bool is_long[] = {false, true, true, false, false, true};
    assert_int_equal(got->answer.prompt_tokens > EDGE, is_long[index]);
    if (index && is_long[index] == is_long[index - 1])
        assert_true(got->answer.reused_rows > got->answer.image_tokens);
    else
        assert_true(got->answer.prefill_rows >= got->answer.prompt_tokens);
}

static void compare_edge(const char *folder, const char *steps)
{
    char weights[128], tokens[64];
    snprintf(weights, sizeof weights, "llm.weights=%s", folder);
    snprintf(tokens, sizeof tokens, "generate.max_new_tokens=%s", steps);
    const char *assignments[] = {weights, tokens, "generate.ignore_stop=true", NULL};
    char *questions[] = {strdup("What colour is the ball?"),
                         long_question("red", 60, "What colour is the ball?"),
                         long_question("red", 70, "How many shapes are there?"),
                         strdup("How many shapes are there?"),
                         strdup("How many are red?"),
                         long_question("blue", 50, "What colour is the ball?")};
    compare_questions("tiny-clip-phi4", assignments, (const char *const *)questions, 6, check_edge);
    for (int i = 0; i < 6; i++)
        free(questions[i]);
}

/* With answers that stay on their prompt's side, which shows in what is reused. */
static void edge_in_prompt(void **state)
{
    char folder[64];
    (void)state;
    assembled_phi4(folder, EDGE);
    compare_edge(folder, "5");
    assembled_remove(folder);
}

static void check_answers(size_t index, const asked *got)
{
    (void)index;
    assert_true(got->answer.prompt_tokens < EDGE && got->answer.prompt_tokens + got->answer.token_count > EDGE);
}

/* With answers that pass the edge. */
static void edge_in_answer(void **state)
{
    static const char *const questions[] = {"What colour is the ball?", "How many shapes are there?",
                                            "How many shapes are there?"};
    char folder[64], weights[128];
    (void)state;
    assembled_phi4(folder, EDGE);
    snprintf(weights, sizeof weights, "llm.weights=%s", folder);
    const char *assignments[] = {BATCH, weights, "generate.max_new_tokens=60", "generate.ignore_stop=true", NULL};
    compare_questions("tiny-clip-phi4", assignments, questions, 3, check_answers);
    assembled_remove(folder);
}

/* ---- Conversations and forks ------------------------------------------------------------------------------------ */

/* The last answer of a conversation in a chat of its own assembly. */
static asked converse(const char *preset, const char *const *assignments, const char *const *questions, size_t count)
{
    assembled *self = assembled_open(preset, assignments);
    core_chat *chat = assembled_chat(self);
    asked last = ask(chat, questions[0], pictures[1]);
    for (size_t i = 1; i < count; i++) {
        forget(&last);
        last = ask(chat, questions[i], NULL);
    }
    core_chat_destroy(chat);
    assembled_close(self);
    return last;
}

/* A turn computes its own rows and nothing of what stood before it. */
static void assert_turn(const asked *got, int64_t before)
{
    assert_counts(got);
    assert_int_equal(got->counts.images, 0);
    assert_int_equal(got->answer.prefill_rows, got->answer.prompt_tokens);
    assert_int_equal(got->answer.reused_rows, before);
}

static void compare_forks(const char *preset, const char *const *assignments)
{
    static const char *const first[] = {"How many shapes are there?", "What colour is the star?", "And the ball?"};
    static const char *const second[] = {"How many shapes are there?", "Which shape is the largest?"};
    assembled *self = assembled_open(preset, assignments);
    core_chat *chat = assembled_chat(self);
    asked begun = ask(chat, first[0], pictures[1]);
    core_chat *fork = fork_of(chat);
    int64_t rows = begun.answer.prompt_tokens + begun.answer.token_count - 1;

    asked one = ask(chat, first[1], NULL);
    assert_turn(&one, rows);
    asked other = ask(fork, second[1], NULL);
    assert_turn(&other, rows);
    asked more = ask(chat, first[2], NULL);
    assert_turn(&more, rows + one.answer.prompt_tokens + one.answer.token_count - 1);
    core_chat_destroy(chat); /* the fork outlives it */
    reset(fork);
    asked again = ask(fork, first[0], pictures[1]);
    assert_nothing_twice(1, &again);
    assert_equal(&again, &begun);
    core_chat_destroy(fork);
    counts = (assembled_counts){0};
    assembled_close(self);

    asked wanted = converse(preset, assignments, first, 3);
    assert_equal(&more, &wanted);
    forget(&wanted);
    wanted = converse(preset, assignments, second, 2);
    assert_equal(&other, &wanted);
    asked *all[] = {&begun, &one, &other, &more, &again, &wanted};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        forget(all[i]);
}

static void forks(void **state)
{
    static const char *const shorter[] = {BATCH, NULL};
    static const char *const longer[] = {BATCH, "generate.max_new_tokens=100", "generate.ignore_stop=true", NULL};
    (void)state;
    for (size_t i = 0; i < PRESETS; i++)
        compare_forks(presets[i], shorter);
    compare_forks("tiny-clip-gemma2", longer); /* each turn passes a window */
}

/* ---- Pictures --------------------------------------------------------------------------------------------------- */

/* One picture in several places, in several questions, is encoded once, and has the rows that it has alone. */
static void pictures_once(void **state)
{
    const char *both[] = {pictures[0], pictures[1], pictures[0]};
    assembled *self = assembled_open("tiny", NULL);
    core_chat *chat = assembled_chat(self);
    llavamore_answer answer;
    (void)state;
    assembled_ask(chat, "Which of these?", both, 3, &answer);
    assert_int_equal(answer.encoded_images, 2);
    assert_int_equal(counts.images, 2);
    llavamore_answer_clear(&answer);
    assembled_ask(chat, "And this?", both + 1, 1, &answer); /* in the same conversation */
    assert_int_equal(answer.encoded_images, 0);
    llavamore_answer_clear(&answer);
    core_chat *other = assembled_chat(self); /* and in another one */
    assembled_ask(other, "And these?", both + 1, 2, &answer);
    assert_int_equal(answer.encoded_images, 0);
    assert_int_equal(counts.images, 2);
    llavamore_answer_clear(&answer);
    core_chat_destroy(other);
    core_chat_destroy(chat);
    assembled_close(self);
}

static void rows_as_alone(void **state)
{
    assembled *self = assembled_open("tiny-siglip2-llama", NULL);
    llavamore_image images[3] = {{.path = pictures[2]}, {.path = pictures[0]}, {.path = pictures[2]}};
    core_visual alone[3] = {{0}}, recalled[3] = {{0}}, again[3] = {{0}};
    core_visual_times times;
    more_error error = {{0}};
    int64_t width = self->assembly->language_info.width;
    (void)state;
    assert_int_equal(core_visual_encode(self->assembly, images, 3, NULL, false, alone, &times, &error), MORE_OK);
    assert_int_equal(core_recall_pictures(self->assembly, images, 3, NULL, false, recalled, &times, &error), MORE_OK);
    assert_int_equal(times.encoded, 2);
    assert_int_equal(core_recall_pictures(self->assembly, images, 3, NULL, false, again, &times, &error), MORE_OK);
    assert_int_equal(times.encoded, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(recalled[i].count, alone[i].count);
        assert_memory_equal(recalled[i].rows, alone[i].rows, (size_t)(alone[i].count * width) * sizeof(float));
        assert_ptr_equal(again[i].rows, recalled[i].rows);
    }
    for (int i = 0; i < 3; i++) {
        core_visual_free(&alone[i]);
        core_visual_free(&recalled[i]);
        core_visual_free(&again[i]);
    }
    assembled_close(self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_questions),
        cmocka_unit_test(other_pictures),
        cmocka_unit_test(window_in_prompt),
        cmocka_unit_test(window_in_answer),
        cmocka_unit_test(edge_in_prompt),
        cmocka_unit_test(edge_in_answer),
        cmocka_unit_test(forks),
        cmocka_unit_test(pictures_once),
        cmocka_unit_test(rows_as_alone),
    };
    return cmocka_run_group_tests_name("reuse", tests, find_pictures, free_pictures);
}
