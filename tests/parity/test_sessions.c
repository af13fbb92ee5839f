/* SPDX-License-Identifier: Apache-2.0
 *
 * What llavamore.language/1 promises of sessions, on the reference models: chunks, ragged batches, forks, truncation,
 * positions, cache formats, threads, and failures that touch only their own session.
 */
#include "language.h"
#include "parity.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROMPTS 3

/* Three prompts of different lengths from the reference, and the logits of the last two's last rows. */
typedef struct prompts {
    int32_t *ids[PROMPTS];
    int64_t count[PROMPTS];
    float *wanted[PROMPTS]; /* NULL for the first */
} prompts;

static prompts prompts_read(const parity_language *language)
{
    prompts p;
    p.ids[0] = parity_ids(language->reference, "input_ids", &p.count[0]);
    p.ids[1] = parity_ids(language->reference, "batch_1_ids", &p.count[1]);
    p.ids[2] = parity_ids(language->reference, "batch_2_ids", &p.count[2]);
    p.wanted[0] = NULL;
    p.wanted[1] = parity_floats(language->reference, "batch_1_logits", NULL);
    p.wanted[2] = parity_floats(language->reference, "batch_2_logits", NULL);
    return p;
}

static void prompts_free(prompts *p)
{
    for (int i = 0; i < PROMPTS; i++) {
        free(p->ids[i]);
        free(p->wanted[i]);
    }
}

static float *new_logits(const parity_language *language, int64_t rows)
{
    float *logits = malloc((size_t)(rows * language->info.vocabulary) * sizeof *logits);
    assert_non_null(logits);
    return logits;
}

static void assert_same(const parity_language *language, const float *a, const float *b, int64_t rows)
{
    parity_same(a, b, rows, language->info.vocabulary);
}

/* ---- Chunks ----------------------------------------------------------------------------------------------------- */

static void compare_chunks(const parity_language *language)
{
    static const int64_t sizes[] = {1, 3, 7};
    int64_t count, vocabulary = language->info.vocabulary;
    int32_t *ids = parity_ids(language->reference, "input_ids", &count);
    float *wanted = parity_floats(language->reference, "logits", NULL), *logits = new_logits(language, count);
    parity_error worst = {0, 0};

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        more_session *session = parity_session(language);
        for (int64_t first = 0; first < count; first += sizes[s]) {
            int64_t rows = count - first < sizes[s] ? count - first : sizes[s];
            parity_advance(language, session, ids + first, rows, rows, logits + first * vocabulary);
        }
        assert_int_equal(parity_length(language, session), count);
        parity_compare("chunked logits", logits, wanted, count, vocabulary, &worst);
        parity_drop(language, session);
    }
    print_message("%-20s chunks 1, 3, 7  %.1e of the largest magnitude, %.1e relative RMS a row\n", language->name,
                  worst.absolute, worst.row);
    free(ids);
    free(wanted);
    free(logits);
}

static void chunked_prefill(void **state)
{
    (void)state;
    parity_each_language(compare_chunks);
}

/* ---- Ragged batches --------------------------------------------------------------------------------------------- */

/* Prefills of three lengths in one call, then a call that mixes decode steps with the prefill of a fourth: bit for bit
 * what each gives alone. */
static void compare_ragged(const parity_language *language)
{
    prompts p = prompts_read(language);
    float *alone = new_logits(language, 1);
    more_session *together[PROMPTS + 1], *own[PROMPTS];
    parity_item items[PROMPTS + 1];
    more_advance list[PROMPTS + 1];
    int32_t next[PROMPTS];
    parity_error worst = {0, 0};

    for (int i = 0; i < PROMPTS; i++) {
        together[i] = parity_session(language);
        own[i] = parity_session(language);
        parity_item_set(language, together[i], p.ids[i], p.count[i], 1, &items[i]);
        list[i] = items[i].item;
    }
    assert_int_equal(language->interface->advance(language->model, list, PROMPTS), MORE_OK);
    for (int i = 0; i < PROMPTS; i++) {
        assert_int_equal(list[i].status, MORE_OK);
        parity_advance(language, own[i], p.ids[i], p.count[i], 1, alone);
        assert_same(language, items[i].logits->data, alone, 1);
        if (p.wanted[i])
            parity_compare("batch", alone, p.wanted[i], 1, language->info.vocabulary, &worst);
        next[i] = parity_argmax(alone, language->info.vocabulary);
        parity_item_clear(&items[i]);
        parity_item_set(language, together[i], &next[i], 1, 1, &items[i]);
        list[i] = items[i].item;
    }
    together[PROMPTS] = parity_session(language);
    parity_item_set(language, together[PROMPTS], p.ids[2], p.count[2], 1, &items[PROMPTS]);
    list[PROMPTS] = items[PROMPTS].item;
    assert_int_equal(language->interface->advance(language->model, list, PROMPTS + 1), MORE_OK);
    for (int i = 0; i < PROMPTS; i++) {
        parity_advance(language, own[i], &next[i], 1, 1, alone);
        assert_same(language, items[i].logits->data, alone, 1);
        parity_drop(language, own[i]);
    }
    parity_compare("late prefill", items[PROMPTS].logits->data, p.wanted[2], 1, language->info.vocabulary, &worst);
    for (int i = 0; i <= PROMPTS; i++) {
        parity_item_clear(&items[i]);
        parity_drop(language, together[i]);
    }
    prompts_free(&p);
    free(alone);
}

static void ragged_batch(void **state)
{
    (void)state;
    parity_each_language(compare_ragged);
}

/* ---- Forks and truncation --------------------------------------------------------------------------------------- */

/* Logits of the last `rows` of `count` ids in a session of their own. */
static void fresh(const parity_language *language, const int32_t *ids, int64_t count, int64_t rows, float *logits)
{
    more_session *session = parity_session(language);
    parity_advance(language, session, ids, count, rows, logits);
    parity_drop(language, session);
}

/* A prefix, forked in the middle of a page; both go on differently, in turns, and both equal fresh sessions. */
static void compare_fork(const parity_language *language)
{
    int64_t count, half, tail = 4;
    int32_t *ids = parity_ids(language->reference, "input_ids", &count), *other;
    float *got = new_logits(language, tail), *wanted = new_logits(language, tail);
    more_session *parent = parity_session(language), *fork;

    half = count / 2;
    other = malloc((size_t)count * sizeof *other);
    assert_non_null(other);
    for (int64_t i = 0; i < count; i++)
        other[i] = i < half ? ids[i] : (ids[i] + 1) % (int32_t)language->info.vocabulary;

    parity_advance(language, parent, ids, half, 0, NULL);
    fork = parity_fork(language, parent);
    assert_int_equal(parity_length(language, fork), half);
    parity_advance(language, fork, other + half, 1, 0, NULL);
    parity_advance(language, parent, ids + half, count - half, tail, got);
    fresh(language, ids, count, tail, wanted);
    assert_same(language, got, wanted, tail);
    parity_drop(language, parent); /* the fork outlives it */
    parity_advance(language, fork, other + half + 1, count - half - 1, tail, got);
    fresh(language, other, count, tail, wanted);
    assert_same(language, got, wanted, tail);
    parity_drop(language, fork);
    free(other);
    free(ids);
    free(got);
    free(wanted);
}

static void fork_diverges(void **state)
{
    (void)state;
    parity_each_language(compare_fork);
}

/* Truncated and fed again: as if the dropped rows had never been; a fork of it keeps them. */
static void compare_truncate(const parity_language *language)
{
    prompts p = prompts_read(language);
    int64_t kept = 5, count = p.count[2];
    float *got = new_logits(language, 1), *wanted = new_logits(language, 1);
    more_session *session = parity_session(language), *fork;
    more_error error = {""};
    int32_t next = 3;

    parity_advance(language, session, p.ids[2], kept, 0, NULL);
    parity_advance(language, session, p.ids[1], p.count[1], 0, NULL);
    fork = parity_fork(language, session);
    assert_int_equal(language->interface->session_truncate(session, kept, &error), MORE_OK);
    assert_int_equal(parity_length(language, session), kept);
    parity_advance(language, session, p.ids[2] + kept, count - kept, 1, got);
    parity_compare("truncated", got, p.wanted[2], 1, language->info.vocabulary, &(parity_error){0, 0});

    assert_int_equal(parity_length(language, fork), kept + p.count[1]);
    parity_advance(language, fork, &next, 1, 1, got);
    parity_drop(language, fork);
    fork = parity_session(language);
    parity_advance(language, fork, p.ids[2], kept, 0, NULL);
    parity_advance(language, fork, p.ids[1], p.count[1], 0, NULL);
    parity_advance(language, fork, &next, 1, 1, wanted);
    assert_same(language, got, wanted, 1);

    assert_int_equal(language->interface->session_truncate(session, count + 1, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(language->interface->session_truncate(session, -1, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(parity_length(language, session), count);
    parity_drop(language, fork);
    parity_drop(language, session);
    free(got);
    free(wanted);
    prompts_free(&p);
}

static void truncate_and_go_on(void **state)
{
    (void)state;
    parity_each_language(compare_truncate);
}

/* ---- Positions -------------------------------------------------------------------------------------------------- */

static void advance_at(const parity_language *language, const int32_t *ids, const int64_t *positions, int64_t count,
                       float *logits)
{
    more_session *session = parity_session(language);
    parity_item item;

    parity_item_set(language, session, ids, count, 1, &item);
    item.segment.positions = positions;
    assert_int_equal(language->interface->advance(language->model, &item.item, 1), MORE_OK);
    memcpy(logits, item.logits->data, (size_t)language->info.vocabulary * sizeof *logits);
    parity_item_clear(&item);
    parity_drop(language, session);
}

/* Rotary attention sees differences of positions only: counting from 64 changes nothing but rounding, leaving gaps
 * does. */
static void compare_positions(const parity_language *language)
{
    int64_t count, *positions;
    int32_t *ids = parity_ids(language->reference, "input_ids", &count);
    float *plain = new_logits(language, 1), *got = new_logits(language, 1);
    parity_error moved = {0, 0}, spread = {0, 0};

    positions = malloc((size_t)count * sizeof *positions);
    assert_non_null(positions);
    fresh(language, ids, count, 1, plain);
    for (int64_t i = 0; i < count; i++)
        positions[i] = i;
    advance_at(language, ids, positions, count, got);
    assert_same(language, got, plain, 1);
    for (int64_t i = 0; i < count; i++)
        positions[i] = i + 64;
    advance_at(language, ids, positions, count, got);
    parity_measure(got, plain, 1, language->info.vocabulary, &moved);
    for (int64_t i = 0; i < count; i++)
        positions[i] = 2 * i;
    advance_at(language, ids, positions, count, got);
    parity_measure(got, plain, 1, language->info.vocabulary, &spread);
    assert_true(moved.absolute < 1e-3);
    assert_true(spread.absolute > 1e-2);
    free(positions);
    free(ids);
    free(plain);
    free(got);
}

static void explicit_positions(void **state)
{
    (void)state;
    parity_each_language(compare_positions);
}

/* ---- Cache formats ---------------------------------------------------------------------------------------------- */

static void narrow_caches(void **state)
{
    static const struct {
        const char *name;
        double most;
        int64_t part; /* of the f32 cache's bytes it takes 1 over this, but for the lists of pages and q8's scales */
    } formats[] = {{"f16", 5e-3, 2}, {"bf16", 4e-2, 2}, {"q8", 4e-2, 4}};
    const char *name = "llama-31";

    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        parity_language language;
        parity_error worst = {0, 0};
        int64_t count, full;
        const more_host *host = parity_host(2);

        parity_language_open(host, "llm/llama", name, "f32", &language);
        full = language.interface->kv_bytes(language.model, 4096);
        parity_language_close(&language);
        parity_language_open(host, "llm/llama", name, formats[i].name, &language);
        int64_t own = language.interface->kv_bytes(language.model, 4096), scales = formats[i].part > 2 ? full / 8 : 0;
        assert_in_range(own, full / formats[i].part, full / formats[i].part + full / 50 + scales);
        int32_t *ids = parity_ids(language.reference, "input_ids", &count);
        float *wanted = parity_floats(language.reference, "logits", NULL), *logits = new_logits(&language, count);
        fresh(&language, ids, count, count, logits);
        parity_measure(logits, wanted, count, language.info.vocabulary, &worst);
        print_message("%-20s kv_cache %-5s %.1e of the largest magnitude, %.1e relative RMS a row\n", name,
                      formats[i].name, worst.absolute, worst.row);
        assert_true(worst.absolute > 0 && worst.absolute < formats[i].most);
        free(ids);
        free(wanted);
        free(logits);
        parity_language_close(&language);
        parity_host_close();
    }
}

/* ---- Threads ---------------------------------------------------------------------------------------------------- */

typedef struct worker {
    const parity_language *language;
    const int32_t *ids;
    int64_t count;
    float *logits; /* [count, vocabulary] */
    more_status status;
} worker;

/* cmocka's asserts belong to the main thread, so this one only records. Each round begins anew, one id at a time. */
static void *work(void *argument)
{
    worker *own = argument;
    const more_language_interface *interface = own->language->interface;
    int64_t vocabulary = own->language->info.vocabulary, row = -1;

    for (int round = 0; round < 8 && !own->status; round++) {
        more_session *session;
        own->status = interface->session_create(own->language->model, 0, &session, NULL);
        for (int64_t i = 0; i < own->count && !own->status; i++) {
            int64_t shape[2] = {1, vocabulary}, strides[2];
            more_segment segment = {.ids = own->ids + i, .count = 1};
            more_tensor logits = more_host_tensor(own->logits + i * vocabulary, more_f32(), 2, shape, strides);
            more_advance item = {.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                                 .session = session,
                                 .segments = &segment,
                                 .segment_count = 1,
                                 .logit_rows = &row,
                                 .logit_count = 1,
                                 .logits = &logits};
            own->status = interface->advance(own->language->model, &item, 1);
        }
        interface->session_destroy(session);
    }
    return NULL;
}

static void compare_threads(const parity_language *language)
{
    prompts p = prompts_read(language);
    pthread_t threads[2];
    worker workers[2];
    float *wanted = new_logits(language, p.count[0] > p.count[2] ? p.count[0] : p.count[2]);

    for (int i = 0; i < 2; i++) {
        workers[i] = (worker){language, p.ids[2 * i], p.count[2 * i], new_logits(language, p.count[2 * i]), MORE_OK};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(workers[i].status, MORE_OK);
        more_session *session = parity_session(language);
        for (int64_t k = 0; k < workers[i].count; k++)
            parity_advance(language, session, workers[i].ids + k, 1, 1, wanted + k * language->info.vocabulary);
        assert_same(language, workers[i].logits, wanted, workers[i].count);
        parity_drop(language, session);
        free(workers[i].logits);
    }
    free(wanted);
    prompts_free(&p);
}

static void two_threads(void **state)
{
    (void)state;
    parity_each_language(compare_threads);
}

/* ---- Failures --------------------------------------------------------------------------------------------------- */

/* Items 1 to 4 fail, each for a reason of its own; item 0 is done, and the failed sessions go on as if nothing was. */
static void compare_failures(const parity_language *language)
{
    enum { ITEMS = 5 };
    prompts p = prompts_read(language);
    float *wanted = new_logits(language, 1), *got = new_logits(language, 1);
    more_session *sessions[4];
    parity_item items[ITEMS];
    more_advance list[ITEMS];
    int32_t bad[2] = {1, (int32_t)language->info.vocabulary};
    int64_t far_row = 2, far_position = language->info.context;

    for (int i = 0; i < 4; i++) {
        sessions[i] = parity_session(language);
        parity_advance(language, sessions[i], p.ids[0], 6, 0, NULL);
    }
    parity_item_set(language, sessions[0], p.ids[0] + 6, 5, 1, &items[0]);
    parity_item_set(language, sessions[1], bad, 2, 1, &items[1]);
    parity_item_set(language, sessions[2], p.ids[0], 1, 1, &items[2]);
    parity_item_set(language, sessions[3], p.ids[0], 2, 1, &items[3]);
    parity_item_set(language, NULL, p.ids[0], 2, 1, &items[4]);
    items[2].segment.positions = &far_position;
    items[3].item.logit_rows = &far_row;
    for (int i = 0; i < ITEMS; i++)
        list[i] = items[i].item;
    assert_int_equal(language->interface->advance(language->model, list, ITEMS), MORE_ERROR_ARGUMENT);
    assert_int_equal(list[0].status, MORE_OK);
    assert_int_equal(list[1].status, MORE_ERROR_ARGUMENT);
    assert_int_equal(list[2].status, MORE_ERROR_LIMIT);
    assert_int_equal(list[3].status, MORE_ERROR_ARGUMENT);
    assert_int_equal(list[4].status, MORE_ERROR_ARGUMENT);
    for (int i = 1; i < ITEMS; i++) {
        assert_true(strlen(list[i].error.message) > 0);
        if (list[i].logits)
            assert_true(isnan(items[i].logits->data[0]));
    }
    fresh(language, p.ids[0], 11, 1, wanted);
    assert_same(language, items[0].logits->data, wanted, 1);
    for (int i = 1; i < 4; i++) {
        assert_int_equal(parity_length(language, sessions[i]), 6);
        parity_advance(language, sessions[i], p.ids[0] + 6, 5, 1, got);
        assert_same(language, got, wanted, 1);
    }
    for (int i = 0; i < ITEMS; i++)
        parity_item_clear(&items[i]);
    for (int i = 0; i < 4; i++)
        parity_drop(language, sessions[i]);
    prompts_free(&p);
    free(wanted);
    free(got);
}

static void failures_stay_alone(void **state)
{
    (void)state;
    parity_each_language(compare_failures);
}

/* The same session twice in a call is refused for both; a cancelled call leaves every session as it was. */
static void compare_refusals(const parity_language *language)
{
    int64_t count;
    int32_t *ids = parity_ids(language->reference, "input_ids", &count);
    more_session *session = parity_session(language);
    parity_item items[2];
    more_advance list[2];
    more_session *none;
    more_error error = {""};

    for (int i = 0; i < 2; i++) {
        parity_item_set(language, session, ids, 3, 1, &items[i]);
        list[i] = items[i].item;
    }
    assert_int_equal(language->interface->advance(language->model, list, 2), MORE_ERROR_ARGUMENT);
    assert_int_equal(list[0].status, MORE_ERROR_ARGUMENT);
    assert_int_equal(list[1].status, MORE_ERROR_ARGUMENT);
    parity_host_cancel(true);
    assert_int_equal(language->interface->advance(language->model, list, 1), MORE_ERROR_CANCELLED);
    parity_host_cancel(false);
    assert_int_equal(parity_length(language, session), 0);
    assert_true(isnan(items[0].logits->data[0]));
    assert_int_equal(language->interface->session_create(language->model, language->info.context + 1, &none, &error),
                     MORE_ERROR_LIMIT);
    assert_null(none);
    for (int i = 0; i < 2; i++)
        parity_item_clear(&items[i]);
    parity_drop(language, session);
    free(ids);
}

static void duplicates_and_cancelling(void **state)
{
    (void)state;
    parity_each_language(compare_refusals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunked_prefill),
        cmocka_unit_test(ragged_batch),
        cmocka_unit_test(fork_diverges),
        cmocka_unit_test(truncate_and_go_on),
        cmocka_unit_test(explicit_positions),
        cmocka_unit_test(narrow_caches),
        cmocka_unit_test(two_threads),
        cmocka_unit_test(failures_stay_alone),
        cmocka_unit_test(duplicates_and_cancelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
