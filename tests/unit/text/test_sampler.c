/* SPDX-License-Identifier: Apache-2.0
 *
 * The sampler's stages against transformers (data/sampler.json, made by data/make_sampler.py), Philox against its
 * authors' known answers, and the draw.
 */
#include "base/json.h"
#include "generate/philox.h"
#include "generate/sampler.h"
#include "generate/sampler_stages.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const core_sampler_options neutral = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};

/* Lines "philox4x32 10" of the file kat_vectors of Random123. */
static void test_philox(void **state)
{
    static const uint32_t cases[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1}};
    uint32_t out[4];
    (void)state;
    for (int i = 0; i < 3; i++) {
        core_philox(cases[i], cases[i] + 4, out);
        assert_memory_equal(out, cases[i] + 6, sizeof out);
    }
}

static void test_uniform(void **state)
{
    double sum = 0, least = 1, most = 0;
    (void)state;
    assert_true(core_philox_uniform(0, 0) ==
                (double)(0x6627e8d5u >> 5) / 134217728.0 + (double)(0xe169c58du >> 6) / 9007199254740992.0);
    for (uint64_t i = 0; i < 100000; i++) {
        double u = core_philox_uniform(7, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        least = u < least ? u : least;
        most = u > most ? u : most;
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.005 && least < 0.001 && most > 0.999);
    assert_true(core_philox_uniform(1, 5) != core_philox_uniform(2, 5));
    assert_true(core_philox_uniform(UINT64_C(1) << 32, 5) != core_philox_uniform(0, 5));
    assert_true(core_philox_uniform(1, UINT64_C(1) << 32) != core_philox_uniform(1, 0));
}

/* A case's arrays, in candidates that own them. */
typedef struct reference {
    more_candidates candidates;
    int32_t *history;
    float *all;
} reference;

static float number(json_t *array, size_t index)
{
    return (float)json_number_value(json_array_get(array, index));
}

static reference open_reference(json_t *entry)
{
    json_t *logits = json_object_get(entry, "logits"), *history = json_object_get(entry, "history");
    size_t count = json_array_size(logits), past = json_array_size(history);
    reference r = {.history = malloc(past * sizeof *r.history), .all = malloc(count * sizeof *r.all)};
    r.candidates = (more_candidates){.ids = malloc(count * sizeof(int32_t)),
                                     .logits = malloc(count * sizeof(float)),
                                     .count = (int64_t)count,
                                     .history = r.history,
                                     .history_count = (int64_t)past};
    for (size_t i = 0; i < count; i++) {
        r.candidates.ids[i] = (int32_t)i;
        r.all[i] = r.candidates.logits[i] = number(logits, i);
    }
    for (size_t i = 0; i < past; i++)
        r.history[i] = (int32_t)json_integer_value(json_array_get(history, i));
    return r;
}

static void close_reference(reference *r)
{
    free(r->candidates.ids);
    free(r->candidates.logits);
    free(r->history);
    free(r->all);
}

static void run_chain(json_t *chain, more_candidates *c)
{
    const char *name;
    json_t *value;
    json_object_foreach(chain, name, value)
    {
        double number_value = json_number_value(value);
        more_error error;
        more_status status = !strcmp(name, "repetition_penalty")
                                 ? core_stage_repetition_penalty(c, &error, number_value)
                             : !strcmp(name, "temperature") ? core_stage_temperature(c, &error, number_value)
                             : !strcmp(name, "top_k")       ? core_stage_top_k(c, &error, (int64_t)number_value)
                             : !strcmp(name, "top_p")       ? core_stage_top_p(c, &error, number_value)
                                                            : core_stage_min_p(c, &error, number_value);
        assert_int_equal(status, MORE_OK);
    }
}

static json_t *load_references(void)
{
    char path[4096];
    const char *top = getenv("srcdir");
    json_t *cases;
    more_error error;
    snprintf(path, sizeof path, "%s/tests/unit/text/data/sampler.json", top && *top ? top : ".");
    if (core_json_load(path, &cases, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return cases;
}

static void test_stages(void **state)
{
    json_t *cases = load_references(), *entry;
    size_t index;
    (void)state;
    assert_true(json_array_size(cases) >= 40);
    json_array_foreach(cases, index, entry)
    {
        reference r = open_reference(entry);
        more_candidates *c = &r.candidates;
        json_t *ids = json_object_get(entry, "ids"), *scores = json_object_get(entry, "scores");
        run_chain(json_object_get(entry, "chain"), c);
        if ((size_t)c->count != json_array_size(ids))
            fail_msg("case %zu keeps %lld candidates, transformers %zu", index, (long long)c->count,
                     json_array_size(ids));
        for (size_t i = 0; i < json_array_size(ids); i++) {
            assert_int_equal(c->ids[i], json_integer_value(json_array_get(ids, i)));
            float wanted = number(scores, i);
            assert_true(fabsf(c->logits[i] - wanted) <= 1e-6f * fabsf(wanted));
        }
        close_reference(&r);
    }
    json_decref(cases);
}

static core_sampler *create(int64_t vocabulary, core_sampler_options options)
{
    core_sampler *sampler;
    more_error error;
    if (core_sampler_create(vocabulary, &options, NULL, 0, &sampler, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return sampler;
}

static double option(json_t *chain, const char *name, double absent)
{
    json_t *value = json_object_get(chain, name);
    return value ? json_number_value(value) : absent;
}

/* What is drawn 4,000 times has the frequencies that transformers' probabilities say, and only ids that it keeps. */
static void test_draw_follows_reference(void **state)
{
    enum { DRAWS = 4000 };
    json_t *cases = load_references();
    (void)state;
    for (size_t index = 0; index < 16; index++) {
        json_t *entry = json_array_get(cases, index), *chain = json_object_get(entry, "chain");
        json_t *ids = json_object_get(entry, "ids"), *probabilities = json_object_get(entry, "probabilities");
        reference r = open_reference(entry);
        int64_t vocabulary = r.candidates.count;
        core_sampler *sampler = create(
            vocabulary, (core_sampler_options){option(chain, "temperature", 1), (int64_t)option(chain, "top_k", 0),
                                               option(chain, "top_p", 1), option(chain, "min_p", 0),
                                               option(chain, "repetition_penalty", 1), 99});
        int *drawn = calloc((size_t)vocabulary, sizeof *drawn), inside = 0;
        for (uint64_t k = 0; k < DRAWS; k++) {
            int32_t id;
            assert_int_equal(core_sampler_next(sampler, r.all, r.history, r.candidates.history_count, k, &id, NULL),
                             MORE_OK);
            drawn[id]++;
        }
        for (size_t i = 0; i < json_array_size(ids); i++) {
            double p = (double)number(probabilities, i), seen = drawn[json_integer_value(json_array_get(ids, i))];
            inside += (int)seen;
            assert_true(fabs(seen - DRAWS * p) <= 5 * sqrt(DRAWS * p * (1 - p)) + 3);
        }
        assert_int_equal(inside, DRAWS);
        free(drawn);
        core_sampler_destroy(sampler);
        close_reference(&r);
    }
    json_decref(cases);
}

static void test_greedy(void **state)
{
    const float logits[] = {1, 3, -2, 3, 2};
    core_sampler_options options = neutral;
    int32_t id, history[] = {1};
    (void)state;
    options.temperature = 0;
    options.top_p = 0.1;
    core_sampler *sampler = create(5, options);
    assert_int_equal(core_sampler_next(sampler, logits, NULL, 0, 0, &id, NULL), MORE_OK);
    assert_int_equal(id, 1); /* a tie: the lowest id */
    core_sampler_destroy(sampler);
    options.repetition_penalty = 1.5;
    sampler = create(5, options);
    assert_int_equal(core_sampler_next(sampler, logits, history, 1, 0, &id, NULL), MORE_OK);
    assert_int_equal(id, 3);
    core_sampler_destroy(sampler);
}

static more_status run_stage(const void *context, more_candidates *candidates, more_error *error)
{
    return context ? core_stage_temperature(candidates, error, *(const double *)context)
                   : core_stage_greedy(candidates, error);
}

/* Stages that were listed always end in a draw, whatever `temperature` says; greedy() leaves it one candidate. */
static void test_listed_stages_draw(void **state)
{
    const float logits[] = {1, 3, -2, 3, 2};
    const double flat = 100;
    core_sampler_options options = neutral;
    core_sampler_stage stage = {run_stage, &flat};
    core_sampler *sampler = NULL;
    int32_t id, seen = 0;
    (void)state;
    options.temperature = 0;
    assert_int_equal(core_sampler_create(5, &options, &stage, 1, &sampler, NULL), MORE_OK);
    for (uint64_t k = 0; k < 100; k++) {
        assert_int_equal(core_sampler_next(sampler, logits, NULL, 0, k, &id, NULL), MORE_OK);
        seen |= 1 << id;
    }
    assert_int_equal(seen, 31);
    core_sampler_destroy(sampler);
    stage.context = NULL;
    assert_int_equal(core_sampler_create(5, &options, &stage, 1, &sampler, NULL), MORE_OK);
    for (uint64_t k = 0; k < 20; k++) {
        assert_int_equal(core_sampler_next(sampler, logits, NULL, 0, k, &id, NULL), MORE_OK);
        assert_int_equal(id, 1);
    }
    core_sampler_destroy(sampler);
}

/* The arithmetic that sampler.h fixes, so that a device draws the same id. */
static void test_draw_is_the_documented_one(void **state)
{
    float logits[64];
    core_sampler_options options = neutral;
    (void)state;
    options.seed = UINT64_C(0x123456789ABCDEF0);
    for (int i = 0; i < 64; i++)
        logits[i] = (float)(i * 37 % 64) / 8 - 4;
    core_sampler *sampler = create(64, options);
    for (uint64_t k = 0; k < 200; k++) {
        double total = 0, sum = 0, u = core_philox_uniform(options.seed, k);
        int32_t id, wanted = 0;
        for (int i = 0; i < 64; i++)
            total += (double)expf(logits[i] - 3.875f);
        while ((sum += (double)expf(logits[wanted] - 3.875f)) <= u * total)
            wanted++;
        assert_int_equal(core_sampler_next(sampler, logits, NULL, 0, k, &id, NULL), MORE_OK);
        assert_int_equal(id, wanted);
    }
    core_sampler_destroy(sampler);
}

static more_status reverse(const void *context, more_candidates *c, more_error *error)
{
    (void)error;
    ++*(int *)(uintptr_t)context;
    for (int64_t i = 0, j = c->count - 1; i < j; i++, j--) {
        int32_t id = c->ids[i];
        float logit = c->logits[i];
        c->ids[i] = c->ids[j];
        c->logits[i] = c->logits[j];
        c->ids[j] = id;
        c->logits[j] = logit;
    }
    return MORE_OK;
}

static more_status drop_all(const void *context, more_candidates *c, more_error *error)
{
    (void)context, (void)error;
    c->count = 0;
    return MORE_OK;
}

/* A stage of a stranger's may reorder: the draw is the same; it may not drop all. */
static void test_bound_stages(void **state)
{
    const float logits[] = {0.5f, 1, -1, 0.25f, 2, 1.5f};
    int runs = 0;
    core_sampler_stage stages[] = {{reverse, &runs}}, bad[] = {{drop_all, NULL}};
    core_sampler *bound, *plain = create(6, neutral), *failing;
    int32_t id, wanted;
    more_error error;
    (void)state;
    assert_int_equal(core_sampler_create(6, &neutral, stages, 1, &bound, &error), MORE_OK);
    for (uint64_t k = 0; k < 100; k++) {
        assert_int_equal(core_sampler_next(plain, logits, NULL, 0, k, &wanted, NULL), MORE_OK);
        assert_int_equal(core_sampler_next(bound, logits, NULL, 0, k, &id, NULL), MORE_OK);
        assert_int_equal(id, wanted);
    }
    assert_int_equal(runs, 100);
    assert_int_equal(core_sampler_create(6, &neutral, bad, 1, &failing, &error), MORE_OK);
    assert_int_equal(core_sampler_next(failing, logits, NULL, 0, 0, &id, &error), MORE_ERROR_INTERNAL);
    assert_non_null(strstr(error.message, "stage 0"));
    core_sampler_destroy(bound);
    core_sampler_destroy(plain);
    core_sampler_destroy(failing);
}

static void test_bad_logits(void **state)
{
    float logits[] = {1, NAN, 2};
    core_sampler *sampler = create(3, neutral);
    int32_t id;
    more_error error;
    (void)state;
    assert_int_equal(core_sampler_next(sampler, logits, NULL, 0, 0, &id, &error), MORE_ERROR_INTERNAL);
    assert_non_null(strstr(error.message, "id 1"));
    logits[0] = logits[1] = logits[2] = -INFINITY;
    assert_int_equal(core_sampler_next(sampler, logits, NULL, 0, 0, &id, &error), MORE_ERROR_INTERNAL);
    logits[1] = -80;
    for (uint64_t k = 0; k < 50; k++) {
        assert_int_equal(core_sampler_next(sampler, logits, NULL, 0, k, &id, &error), MORE_OK);
        assert_int_equal(id, 1);
    }
    core_sampler_destroy(sampler);
}

static void test_bad_options(void **state)
{
    static const struct {
        core_sampler_options options;
        const char *named;
    } cases[] = {{{-1, 0, 1, 0, 1, 0}, "temperature"},
                 {{NAN, 0, 1, 0, 1, 0}, "temperature"},
                 {{1, -2, 1, 0, 1, 0}, "top_k"},
                 {{1, 0, 0, 0, 1, 0}, "top_p"},
                 {{1, 0, 1.5, 0, 1, 0}, "top_p"},
                 {{1, 0, 1, -0.1, 1, 0}, "min_p"},
                 {{1, 0, 1, 0, 0, 0}, "repetition_penalty"}};
    core_sampler *sampler;
    more_error error;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(core_sampler_create(4, &cases[i].options, NULL, 0, &sampler, &error), MORE_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, cases[i].named));
        assert_null(sampler);
    }
}

static void test_functions(void **state)
{
    static const char *const names[] = {"repetition_penalty", "temperature", "top_k", "top_p", "min_p", "greedy"};
    const more_functions_interface *functions = core_sampler_functions();
    (void)state;
    assert_int_equal(functions->count, 6);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(functions->functions[i].name, names[i]);
        assert_string_equal(functions->functions[i].stage, MORE_STAGE_SAMPLER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_philox),
                                       cmocka_unit_test(test_uniform),
                                       cmocka_unit_test(test_stages),
                                       cmocka_unit_test(test_draw_follows_reference),
                                       cmocka_unit_test(test_greedy),
                                       cmocka_unit_test(test_draw_is_the_documented_one),
                                       cmocka_unit_test(test_bound_stages),
                                       cmocka_unit_test(test_bad_logits),
                                       cmocka_unit_test(test_bad_options),
                                       cmocka_unit_test(test_functions),
                                       cmocka_unit_test(test_listed_stages_draw)};
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
