/* SPDX-License-Identifier: Apache-2.0
 *
 * What sessions promise once a history is longer than a sliding window's cache: chunks, forks, the floor below which a
 * session cannot be cut, memory, and the host's replay. Run on every language model; those without a window keep
 * everything.
 */
#include "language.h"
#include "parity.h"

#include "base/host.h"
#include "generate/context.h"
#include "weights/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TAIL 3 /* rows whose logits are compared */

/* A prompt and its greedy continuation: longer than any window of the models, its pages included. */
typedef struct history {
    int32_t *ids;
    int64_t count;
} history;

static history history_read(const parity_language *language)
{
    int64_t prompt, more;
    int32_t *ids = parity_ids(language->reference, "input_ids", &prompt);
    int32_t *next = parity_ids(language->reference, "greedy_ids", &more);
    history h = {malloc((size_t)(prompt + more) * sizeof *h.ids), prompt + more};

    assert_non_null(h.ids);
    memcpy(h.ids, ids, (size_t)prompt * sizeof *ids);
    memcpy(h.ids + prompt, next, (size_t)more * sizeof *ids);
    free(ids);
    free(next);
    return h;
}

static int64_t floor_of(const parity_language *language, const more_session *session)
{
    more_session_info info = {.struct_size = MORE_STRUCT_SIZE(more_session_info, floor)};
    language->interface->session_info(session, &info);
    return info.floor;
}

static float *new_logits(const parity_language *language)
{
    float *logits = malloc((size_t)(TAIL * language->info.vocabulary) * sizeof *logits);
    assert_non_null(logits);
    return logits;
}

static void assert_same(const parity_language *language, const float *a, const float *b)
{
    parity_same(a, b, TAIL, language->info.vocabulary);
}

/* Logits of the last rows of `count` ids in a session of their own, read whole. */
static void fresh(const parity_language *language, const int32_t *ids, int64_t count, float *logits)
{
    more_session *session = parity_session(language);
    parity_advance(language, session, ids, count, TAIL, logits);
    parity_drop(language, session);
}

/* The first `count` ids in a session, `chunk` at a time. */
static more_session *read_in_chunks(const parity_language *language, const int32_t *ids, int64_t count, int64_t chunk)
{
    more_session *session = parity_session(language);
    for (int64_t done = 0; done < count; done += chunk)
        parity_advance(language, session, ids + done, chunk < count - done ? chunk : count - done, 0, NULL);
    return session;
}

/* ---- Chunks and forks ------------------------------------------------------------------------------------------- */

/* Whole, and in chunks that end before, at and behind the window's edge: the same bits. */
static void compare_chunks(const parity_language *language)
{
    static const int64_t chunks[] = {1, 5, 16, 33, 100};
    history h = history_read(language);
    float *wanted = new_logits(language), *got = new_logits(language);

    fresh(language, h.ids, h.count, wanted);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        more_session *session = read_in_chunks(language, h.ids, h.count - TAIL, chunks[i]);
        parity_advance(language, session, h.ids + h.count - TAIL, TAIL, TAIL, got);
        assert_same(language, got, wanted);
        parity_drop(language, session);
    }
    free(wanted);
    free(got);
    free(h.ids);
}

static void chunks_across_windows(void **state)
{
    (void)state;
    parity_each_language(compare_chunks);
}

/* A fork goes on from its origin's window, though the origin has let go of it. */
static void compare_fork(const parity_language *language)
{
    history h = history_read(language);
    float *wanted = new_logits(language), *got = new_logits(language);
    more_session *origin = read_in_chunks(language, h.ids, 90, 30), *fork = parity_fork(language, origin);

    assert_int_equal(floor_of(language, fork), floor_of(language, origin));
    parity_advance(language, origin, h.ids, 70, 0, NULL);
    parity_drop(language, origin);
    parity_advance(language, fork, h.ids + 90, h.count - 90, TAIL, got);
    fresh(language, h.ids, h.count, wanted);
    assert_same(language, got, wanted);
    parity_drop(language, fork);
    free(wanted);
    free(got);
    free(h.ids);
}

static void forks_keep_windows(void **state)
{
    (void)state;
    parity_each_language(compare_fork);
}

/* ---- The floor -------------------------------------------------------------------------------------------------- */

static int windowed_models; /* that compare_floor met */

/* Down to the floor a session is cut and goes on; below, it asks for a replay and is left as it was. */
static void compare_floor(const parity_language *language)
{
    history h = history_read(language);
    float *wanted = new_logits(language), *got = new_logits(language);
    more_session *session = read_in_chunks(language, h.ids, h.count - TAIL, 50);
    int64_t floor = floor_of(language, session);
    more_error error = {""};

    print_message("%-20s %lld rows, floor %lld\n", language->name, (long long)(h.count - TAIL), (long long)floor);
    if (floor > 0) {
        windowed_models++;
        assert_int_equal(language->interface->session_truncate(session, floor - 1, &error), MORE_NEEDS_REPLAY);
        assert_true(strlen(error.message) > 0);
        assert_int_equal(language->interface->session_truncate(session, 0, &error), MORE_NEEDS_REPLAY);
    }
    assert_int_equal(parity_length(language, session), h.count - TAIL);
    parity_advance(language, session, h.ids + h.count - TAIL, TAIL, TAIL, got);
    fresh(language, h.ids, h.count, wanted);
    assert_same(language, got, wanted);

    floor = floor_of(language, session);
    assert_true(floor < h.count - 20); /* some rows can always be taken back */
    assert_int_equal(language->interface->session_truncate(session, floor, &error), MORE_OK);
    assert_int_equal(parity_length(language, session), floor);
    parity_advance(language, session, h.ids + floor, TAIL, TAIL, got);
    fresh(language, h.ids, floor + TAIL, wanted);
    assert_same(language, got, wanted);
    parity_drop(language, session);
    free(wanted);
    free(got);
    free(h.ids);
}

static void truncating_to_the_floor(void **state)
{
    (void)state;
    windowed_models = 0;
    parity_each_language(compare_floor);
    assert_true(windowed_models >= 4);
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

/* A session holds at most what kv_bytes says, and with a window what it holds stops growing in those layers. */
static void compare_memory(const parity_language *language)
{
    history h = history_read(language);
    more_session *session = parity_session(language);
    size_t before = parity_host_bytes();
    int64_t bytes = 0;

    for (int64_t rows = 1; rows <= h.count; rows++) {
        parity_advance(language, session, h.ids + rows - 1, 1, 0, NULL);
        if (rows == 1) /* scratch that the model keeps for later calls is there from now on */
            before = parity_host_bytes() - (size_t)language->interface->kv_bytes(language->model, 1);
        bytes = (int64_t)(parity_host_bytes() - before);
        assert_true(bytes <= language->interface->kv_bytes(language->model, rows));
    }
    if (floor_of(language, session) > 0)
        assert_true(bytes < h.count / 32 * language->interface->kv_bytes(language->model, 1));
    parity_drop(language, session);
    free(h.ids);
}

static void memory_of_windows(void **state)
{
    (void)state;
    parity_each_language(compare_memory);
}

/* ---- The host's replay ------------------------------------------------------------------------------------------ */

/* The parts of an assembly that a chat without pictures uses. */
static void assembly_set(const parity_language *language, core_host *host, core_config *config, core_assembly *assembly)
{
    *assembly = (core_assembly){.config = config,
                                .host = host,
                                .language_api = language->interface,
                                .language = language->model,
                                .language_info = language->info,
                                .context = language->info.context};
}

/* A chat forgets 100 ids, which passes below the floor, and takes others instead: as if they had stood there always. */
static void compare_replay(const parity_language *language)
{
    history h = history_read(language);
    float *wanted = new_logits(language), *got = new_logits(language);
    int64_t kept = h.count - 100, vocabulary = language->info.vocabulary;
    core_host_config host_config = {.threads = 1, .log_level = MORE_LOG_WARNING, .weights = core_weights_service()};
    core_ids ids = {.data = h.ids, .count = (size_t)h.count}, other = {.data = h.ids + 3, .count = 20};
    core_assembly assembly;
    core_context context;
    core_config *config;
    core_host *host;
    more_error error = {""};

    assert_int_equal(core_host_create(&host_config, &host, &error), MORE_OK);
    assert_int_equal(core_config_create(&config, &error), MORE_OK);
    assembly_set(language, host, config, &assembly);
    assert_int_equal(core_context_create(&assembly, &context, &error), MORE_OK);
    assert_int_equal(core_context_append(&context, &ids, NULL, 0, NULL, got, &error), MORE_OK);
    assert_int_equal(core_context_drop(&context, 100, &error), MORE_OK);
    assert_int_equal(context.rows, kept);
    assert_int_equal(core_context_append(&context, &other, NULL, 0, NULL, got, &error), MORE_OK);
    assert_int_equal(parity_length(language, context.session), kept + 20);
    memmove(h.ids + kept, h.ids + 3, 20 * sizeof *h.ids);
    fresh(language, h.ids, kept + 20, wanted);
    parity_same(got, wanted + (TAIL - 1) * vocabulary, 1, vocabulary);
    core_context_destroy(&context);
    core_config_destroy(config);
    core_host_destroy(host);
    free(wanted);
    free(got);
    free(h.ids);
}

static void chats_replay(void **state)
{
    (void)state;
    parity_each_language(compare_replay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_across_windows),
        cmocka_unit_test(forks_keep_windows),
        cmocka_unit_test(truncating_to_the_floor),
        cmocka_unit_test(memory_of_windows),
        cmocka_unit_test(chats_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
