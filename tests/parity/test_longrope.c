/* SPDX-License-Identifier: Apache-2.0
 *
 * Sequences on both sides of the length at which LongRoPE's factors change, and across it: whole, in chunks, generated,
 * truncated, forked and mixed, against one call of transformers over each; then the same through the core, which
 * replays. The models of kind "longrope" have the edge at 32 rows and at 4,096.
 */
#include "language.h"
#include "parity.h"

#include "generate/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* One reference, its arrays read. */
typedef struct edge_case {
    parity_language language;
    int64_t edge; /* most rows that turn by the short factors */
    int32_t *ids; /* prompts are their first rows */
    int64_t most;
    int32_t *lengths; /* of the prompts, ascending */
    int64_t count;
    float *logits;  /* [count, vocabulary], after each */
    int32_t *drawn; /* what follows the first `prompt` ids */
    int64_t prompt, steps;
    float *drawn_logits; /* [compared, vocabulary], that drew the first of them */
    int64_t compared;
} edge_case;

static edge_case *open_case(const more_host *host, const char *name, json_t *facts)
{
    edge_case *own = calloc(1, sizeof *own);
    int64_t one, shape[MORE_MAX_RANK];
    int32_t *prompt;

    assert_non_null(own);
    parity_language_open(host, json_string_value(json_object_get(facts, "plugin")), name, "f32", &own->language);
    own->edge = strstr(name, "4096") ? 4096 : 32;
    own->ids = parity_ids(own->language.reference, "input_ids", &own->most);
    own->lengths = parity_ids(own->language.reference, "lengths", &own->count);
    own->logits = parity_floats(own->language.reference, "logits", NULL);
    own->drawn = parity_ids(own->language.reference, "greedy_ids", &own->steps);
    own->drawn_logits = parity_floats(own->language.reference, "greedy_logits", shape);
    own->compared = shape[0];
    prompt = parity_ids(own->language.reference, "greedy_prompt", &one);
    own->prompt = prompt[0];
    free(prompt);
    assert_int_equal(own->lengths[own->count - 1], own->most);
    assert_true(own->prompt < own->edge && own->edge < own->most && own->prompt + own->compared > own->edge + 2);
    return own;
}

static void close_case(edge_case *own)
{
    void *arrays[] = {own->ids, own->lengths, own->logits, own->drawn, own->drawn_logits};

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    parity_language_close(&own->language);
    free(own);
}

static void each_case(void (*body)(const edge_case *own))
{
    const more_host *host = parity_host(2);
    parity_cases cases = parity_cases_of("longrope");

    assert_true(cases.count >= 2);
    for (size_t i = 0; i < cases.count; i++) {
        edge_case *own = open_case(host, cases.names[i], cases.facts[i]);
        body(own);
        close_case(own);
    }
    assert_int_equal(parity_host_bytes(), 0);
    parity_cases_free(&cases);
    parity_host_close();
}

/* ---- Sessions ---------------------------------------------------------------------------------------------------- */

static more_session *plan(const edge_case *own, int64_t rows)
{
    more_session *session;
    more_error error = {""};

    if (own->language.interface->session_create(own->language.model, rows, &session, &error))
        fail_msg("%s", error.message);
    return session;
}

/* Advances by ids; the logits of the last row unless NULL. Nothing but success and MORE_NEEDS_REPLAY is expected. */
static more_status try_advance(const edge_case *own, more_session *session, const int32_t *ids, int64_t count,
                               float *logits)
{
    int64_t before = parity_length(&own->language, session);
    more_status status;
    parity_item item;

    parity_item_set(&own->language, session, ids, count, logits ? 1 : 0, &item);
    status = own->language.interface->advance(own->language.model, &item.item, 1);
    assert_int_equal(status, item.item.status);
    if (status < 0)
        fail_msg("%s: %s", own->language.name, item.item.error.message);
    assert_true(status == MORE_OK || status == MORE_NEEDS_REPLAY);
    assert_int_equal(parity_length(&own->language, session), status ? before : before + count);
    if (logits && !status)
        memcpy(logits, item.logits->data, (size_t)own->language.info.vocabulary * sizeof *logits);
    parity_item_clear(&item);
    return status;
}

static float *new_logits(const edge_case *own)
{
    float *logits = malloc((size_t)own->language.info.vocabulary * sizeof *logits);
    assert_non_null(logits);
    return logits;
}

static const float *wanted_of(const edge_case *own, int64_t index)
{
    return own->logits + index * own->language.info.vocabulary;
}

static void compare(const edge_case *own, const char *what, const float *got, const float *wanted, parity_error *worst)
{
    parity_compare(what, got, wanted, 1, own->language.info.vocabulary, worst);
}

static void report(const edge_case *own, const char *what, const parity_error *worst)
{
    print_message("%-20s %-22s %.1e of the largest magnitude, %.1e relative RMS a row\n", own->language.name, what,
                  worst->absolute, worst->row);
}

/* ---- Prompts ----------------------------------------------------------------------------------------------------- */

static void compare_whole(const edge_case *own)
{
    float *logits = new_logits(own);
    parity_error worst = {0, 0};

    for (int64_t i = 0; i < own->count; i++) {
        more_session *session = plan(own, 0);
        assert_int_equal(try_advance(own, session, own->ids, own->lengths[i], logits), MORE_OK);
        compare(own, "whole", logits, wanted_of(own, i), &worst);
        parity_drop(&own->language, session);
    }
    report(own, "whole prompts", &worst);
    free(logits);
}

static void whole_prompts(void **state)
{
    (void)state;
    each_case(compare_whole);
}

/* In chunks that the edge is no multiple of, each session planned for its prompt. */
static void compare_planned(const edge_case *own)
{
    int64_t chunk = own->edge / 8 + 1;
    float *logits = new_logits(own);
    parity_error worst = {0, 0};

    for (int64_t i = 0; i < own->count; i++) {
        int64_t length = own->lengths[i];
        more_session *session = plan(own, length);
        for (int64_t first = 0; first < length; first += chunk) {
            int64_t rows = length - first < chunk ? length - first : chunk;
            assert_int_equal(try_advance(own, session, own->ids + first, rows, logits), MORE_OK);
        }
        compare(own, "chunks", logits, wanted_of(own, i), &worst);
        parity_drop(&own->language, session);
    }
    report(own, "planned chunks", &worst);
    free(logits);
}

static void planned_chunks(void **state)
{
    (void)state;
    each_case(compare_planned);
}

/* Not planned: right up to the edge; the chunk that passes it is refused and leaves the session in use. */
static void compare_unplanned(const edge_case *own)
{
    int64_t chunk = own->edge / 8 + 1, first = 0;
    float *logits = new_logits(own);
    parity_error worst = {0, 0};
    more_session *session = plan(own, 0);

    for (; first + chunk <= own->edge; first += chunk)
        assert_int_equal(try_advance(own, session, own->ids + first, chunk, NULL), MORE_OK);
    assert_int_equal(try_advance(own, session, own->ids + first, own->most - first, logits), MORE_NEEDS_REPLAY);
    assert_int_equal(try_advance(own, session, own->ids + first, own->edge + 1 - first, logits), MORE_NEEDS_REPLAY);
    assert_int_equal(try_advance(own, session, own->ids + first, own->edge - first, logits), MORE_OK);
    for (int64_t i = 0; i < own->count; i++)
        if (own->lengths[i] == own->edge)
            compare(own, "at the edge", logits, wanted_of(own, i), &worst);
    assert_true(worst.absolute > 0);
    assert_int_equal(try_advance(own, session, own->ids + own->edge, 1, logits), MORE_NEEDS_REPLAY);
    parity_drop(&own->language, session);
    report(own, "chunks to the edge", &worst);
    free(logits);
}

static void unplanned_chunks(void **state)
{
    (void)state;
    each_case(compare_unplanned);
}

/* ---- Generation -------------------------------------------------------------------------------------------------- */

/* Token by token across the edge, with one replay there. */
static void compare_greedy(const edge_case *own)
{
    int64_t rows = own->prompt, replays = 0;
    int32_t *history = malloc((size_t)(own->prompt + own->steps) * sizeof *history);
    float *logits = new_logits(own);
    more_session *session = plan(own, 0);
    parity_error worst = {0, 0};

    assert_non_null(history);
    memcpy(history, own->ids, (size_t)rows * sizeof *history);
    assert_int_equal(try_advance(own, session, history, rows, logits), MORE_OK);
    for (int64_t i = 0; i < own->steps; i++) {
        if (i < own->compared)
            compare(own, "generated", logits, own->drawn_logits + i * own->language.info.vocabulary, &worst);
        history[rows] = parity_argmax(logits, own->language.info.vocabulary);
        if (history[rows] != own->drawn[i])
            fail_msg("%s: token %d is %d, the reference's %d", own->language.name, (int)i, (int)history[rows],
                     (int)own->drawn[i]);
        if (try_advance(own, session, history + rows++, 1, logits) == MORE_OK)
            continue;
        assert_int_equal(rows, own->edge + 1);
        replays++;
        parity_drop(&own->language, session);
        session = plan(own, rows);
        assert_int_equal(try_advance(own, session, history, rows, logits), MORE_OK);
    }
    assert_int_equal(replays, 1);
    report(own, "generated", &worst);
    parity_drop(&own->language, session);
    free(history);
    free(logits);
}

static void generation(void **state)
{
    (void)state;
    each_case(compare_greedy);
}

/* ---- Batches, truncation, forks, positions ----------------------------------------------------------------------- */

#define TOGETHER 4

/* Both regimes in one call, one session of it refused: bit for bit what each is alone, the refused one as it was. */
static void compare_mixed(const edge_case *own)
{
    const parity_language *language = &own->language;
    int64_t held[TOGETHER] = {own->prompt, own->most - 1, own->edge, 0}, more[TOGETHER] = {1, 1, 1, own->prompt};
    more_session *sessions[TOGETHER], *alone[TOGETHER];
    parity_item items[TOGETHER];
    more_advance list[TOGETHER];
    float *logits = new_logits(own);

    for (int i = 0; i < TOGETHER; i++) {
        sessions[i] = plan(own, 0);
        alone[i] = plan(own, 0);
        assert_int_equal(try_advance(own, sessions[i], own->ids, held[i], NULL), MORE_OK);
        assert_int_equal(try_advance(own, alone[i], own->ids, held[i], NULL), MORE_OK);
        parity_item_set(language, sessions[i], own->ids + held[i], more[i], 1, &items[i]);
        list[i] = items[i].item;
    }
    assert_int_equal(language->interface->advance(language->model, list, TOGETHER), MORE_NEEDS_REPLAY);
    for (int i = 0; i < TOGETHER; i++) {
        assert_int_equal(list[i].status, i == 2 ? MORE_NEEDS_REPLAY : MORE_OK);
        assert_int_equal(parity_length(language, sessions[i]), i == 2 ? held[i] : held[i] + more[i]);
        assert_int_equal(try_advance(own, alone[i], own->ids + held[i], more[i], logits), list[i].status);
        if (i != 2)
            parity_same(items[i].logits->data, logits, 1, language->info.vocabulary);
        parity_item_clear(&items[i]);
        parity_drop(language, sessions[i]);
        parity_drop(language, alone[i]);
    }
    assert_int_equal(held[1] + more[1], own->most);
    free(logits);
}

static void mixed_batches(void **state)
{
    (void)state;
    each_case(compare_mixed);
}

/* Cut back below the edge: goes on past it at once, but not below it, where the keys are those of a long sequence. */
static void compare_truncate(const edge_case *own)
{
    const more_language_interface *interface = own->language.interface;
    int64_t kept = own->edge - 3, planned[] = {0, own->most};
    float *logits = new_logits(own);
    parity_error worst = {0, 0};

    for (size_t i = 0; i < sizeof planned / sizeof *planned; i++) {
        more_session *session = plan(own, planned[i]);
        assert_int_equal(try_advance(own, session, own->ids, own->most, NULL), MORE_OK);
        assert_int_equal(interface->session_truncate(session, kept, NULL), MORE_OK);
        assert_int_equal(try_advance(own, session, own->ids + kept, 1, logits), MORE_NEEDS_REPLAY);
        assert_int_equal(try_advance(own, session, own->ids + kept, own->edge - kept, logits), MORE_NEEDS_REPLAY);
        assert_int_equal(try_advance(own, session, own->ids + kept, own->most - kept, logits), MORE_OK);
        compare(own, "past the edge again", logits, wanted_of(own, own->count - 1), &worst);
        assert_int_equal(interface->session_truncate(session, 0, NULL), MORE_OK);
        assert_int_equal(try_advance(own, session, own->ids, own->lengths[0], logits), MORE_OK);
        compare(own, "emptied", logits, wanted_of(own, 0), &worst);
        parity_drop(&own->language, session);
    }
    report(own, "truncated", &worst);
    free(logits);
}

static void truncation(void **state)
{
    (void)state;
    each_case(compare_truncate);
}

/* A fork is in its parent's regime, and each goes its own way. */
static void compare_fork(const edge_case *own)
{
    float *logits = new_logits(own), *again = new_logits(own);
    more_session *parent = plan(own, 0), *fork;
    parity_error worst = {0, 0};

    assert_int_equal(try_advance(own, parent, own->ids, own->edge - 1, NULL), MORE_OK);
    fork = parity_fork(&own->language, parent);
    assert_int_equal(try_advance(own, fork, own->ids + own->edge - 1, 2, logits), MORE_NEEDS_REPLAY);
    assert_int_equal(try_advance(own, fork, own->ids + own->edge - 1, 1, logits), MORE_OK);
    assert_int_equal(try_advance(own, parent, own->ids + own->edge - 1, 1, again), MORE_OK);
    parity_same(logits, again, 1, own->language.info.vocabulary);
    parity_drop(&own->language, parent);
    parity_drop(&own->language, fork);

    parent = plan(own, 0);
    assert_int_equal(try_advance(own, parent, own->ids, own->edge + 1, NULL), MORE_OK);
    fork = parity_fork(&own->language, parent);
    parity_drop(&own->language, parent);
    assert_int_equal(try_advance(own, fork, own->ids + own->edge + 1, own->most - own->edge - 1, logits), MORE_OK);
    compare(own, "fork", logits, wanted_of(own, own->count - 1), &worst);
    parity_drop(&own->language, fork);
    free(logits);
    free(again);
}

static void forks(void **state)
{
    (void)state;
    each_case(compare_fork);
}

/* Few rows whose positions pass the edge: the largest position decides, not their number. */
static void compare_far(const edge_case *own)
{
    int64_t count, positions[64];
    int32_t *given = parity_ids(own->language.reference, "far_positions", &count);
    float *wanted = parity_floats(own->language.reference, "far_logits", NULL);
    more_session *session = plan(own, 0);
    parity_error worst = {0, 0};
    parity_item item;

    assert_in_range(count, 1, 64);
    for (int64_t i = 0; i < count; i++)
        positions[i] = given[i];
    parity_item_set(&own->language, session, own->ids, count, count, &item);
    item.segment.positions = positions;
    assert_int_equal(own->language.interface->advance(own->language.model, &item.item, 1), MORE_OK);
    parity_compare("far positions", item.logits->data, wanted, count, own->language.info.vocabulary, &worst);
    report(own, "far positions", &worst);
    parity_item_clear(&item);
    parity_drop(&own->language, session);
    free(given);
    free(wanted);
}

static void far_positions(void **state)
{
    (void)state;
    each_case(compare_far);
}

/* ---- Through the core -------------------------------------------------------------------------------------------- */

/* The plugin's interface with advance() counted: cmocka's functions take no user pointer. */
static const more_language_interface *counted;
static int64_t advanced_rows;

static more_status count_advance(more_language *language, more_advance *items, int32_t count)
{
    more_status status = counted->advance(language, items, count);
    for (int32_t i = 0; i < count; i++)
        for (int32_t k = 0; k < items[i].segment_count && !items[i].status; k++)
            advanced_rows += items[i].segments[k].count;
    return status;
}

typedef struct core_case {
    more_language_interface interface;
    core_assembly assembly;
    core_plugin_file file;
} core_case;

/* As much of an assembly as a context needs. */
static core_case *open_core(const edge_case *own)
{
    core_case *core = calloc(1, sizeof *core);
    core_host_config config = {.threads = 2, .log_level = MORE_LOG_WARNING};
    more_error error = {""};
    char batch[64];

    assert_non_null(core);
    counted = own->language.interface;
    core->interface = *counted;
    core->interface.advance = count_advance;
    core->file.id = "phi4";
    core->assembly.language_part.file = &core->file;
    core->assembly.language_api = &core->interface;
    core->assembly.language = own->language.model;
    core->assembly.language_info = own->language.info;
    core->assembly.context = own->language.info.context;
    snprintf(batch, sizeof batch, "runtime.batch=%d", (int)(own->edge / 8 + 1));
    if (core_host_create(&config, &core->assembly.host, &error) || core_config_create(&core->assembly.config, &error) ||
        core_config_set(core->assembly.config, batch, &error))
        fail_msg("%s", error.message);
    return core;
}

static void close_core(core_case *core)
{
    core_config_destroy(core->assembly.config);
    core_host_destroy(core->assembly.host);
    free(core);
}

static core_context new_context(const core_case *core)
{
    core_context context;
    more_error error = {""};

    if (core_context_create(&core->assembly, &context, &error))
        fail_msg("%s", error.message);
    advanced_rows = 0;
    return context;
}

static void append(core_context *context, const int32_t *ids, int64_t count, const char *folder, float *logits)
{
    core_ids added = {0};
    more_error error = {""};

    core_ids_append(&added, ids, (size_t)count);
    if (core_context_append(context, &added, NULL, 0, folder, logits, &error))
        fail_msg("%s", error.message);
    core_ids_free(&added);
}

/* A prompt on either side of the edge is read once, in chunks, with nothing replayed. */
static void compare_core_prompts(const edge_case *own)
{
    core_case *core = open_core(own);
    float *logits = new_logits(own);
    parity_error worst = {0, 0};

    for (int64_t i = 0; i < own->count; i++) {
        core_context context = new_context(core);
        append(&context, own->ids, own->lengths[i], NULL, logits);
        compare(own, "core prompt", logits, wanted_of(own, i), &worst);
        assert_int_equal(advanced_rows, own->lengths[i]);
        core_context_destroy(&context);
    }
    report(own, "core, prompts", &worst);
    free(logits);
    close_core(core);
}

static void core_prompts(void **state)
{
    (void)state;
    each_case(compare_core_prompts);
}

/* Generated across the edge, cut back behind it and generated across it again: a replay each time, and the same logits
 * as in the reference. */
static void compare_core_greedy(const edge_case *own)
{
    int64_t kept = 2, vocabulary = own->language.info.vocabulary, past = own->prompt + own->compared - 1 - own->edge;
    core_case *core = open_core(own);
    core_context context = new_context(core);
    float *logits = new_logits(own);
    parity_error worst = {0, 0};
    more_error error = {""};

    append(&context, own->ids, own->prompt, NULL, logits);
    for (int64_t i = 0; i < own->compared; i++) {
        compare(own, "core, generated", logits, own->drawn_logits + i * vocabulary, &worst);
        if (i + 1 < own->compared)
            append(&context, own->drawn + i, 1, NULL, logits);
    }
    assert_int_equal(advanced_rows, own->edge + own->edge + past);
    assert_int_equal(core_context_drop(&context, (size_t)(own->compared - 1 - kept), &error), MORE_OK);
    advanced_rows = 0;
    for (int64_t i = kept; i + 1 < own->compared; i++) {
        append(&context, own->drawn + i, 1, NULL, logits);
        compare(own, "core, generated again", logits, own->drawn_logits + (i + 1) * vocabulary, &worst);
    }
    assert_int_equal(advanced_rows, own->edge + own->edge + past);
    assert_int_equal(context.rows, own->edge + past);
    report(own, "core, generated", &worst);
    core_context_destroy(&context);
    free(logits);
    close_core(core);
}

static void core_generation(void **state)
{
    (void)state;
    each_case(compare_core_greedy);
}

/* A second turn that passes the edge is replayed; hidden states of a first one past it are dumped whole. */
static void compare_core_turns(const edge_case *own)
{
    char folder[] = "/tmp/llavamore-longrope-XXXXXX", path[128];
    core_case *core = open_core(own);
    core_context context = new_context(core);
    float *logits = new_logits(own);
    parity_error worst = {0, 0};

    append(&context, own->ids, own->prompt, NULL, logits);
    append(&context, own->ids + own->prompt, own->most - own->prompt, NULL, logits);
    compare(own, "second turn", logits, wanted_of(own, own->count - 1), &worst);
    core_context_destroy(&context);

    assert_non_null(mkdtemp(folder));
    context = new_context(core);
    append(&context, own->ids, own->edge + 1, folder, logits);
    for (int64_t i = 0; i <= own->language.info.layers; i++) {
        snprintf(path, sizeof path, "%s/hidden_layer_%02d.npy", folder, (int)i);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    report(own, "core, two turns", &worst);
    core_context_destroy(&context);
    free(logits);
    close_core(core);
}

static void core_turns(void **state)
{
    (void)state;
    each_case(compare_core_turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_prompts),   cmocka_unit_test(planned_chunks), cmocka_unit_test(unplanned_chunks),
        cmocka_unit_test(generation),      cmocka_unit_test(mixed_batches),  cmocka_unit_test(truncation),
        cmocka_unit_test(forks),           cmocka_unit_test(far_positions),  cmocka_unit_test(core_prompts),
        cmocka_unit_test(core_generation), cmocka_unit_test(core_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
