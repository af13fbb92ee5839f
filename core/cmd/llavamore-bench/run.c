/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench MODEL: prefill, decode, image, first token, loading and memory of one model.
 */
#include "model.h"

#include "base/json.h"
#include <llavamore/cuda.h>
#include <string.h>

/* What a warm-up told of one kind of work. */
typedef struct work_facts {
    profile_sums sums;
    json_t *profile; /* with --profile */
} work_facts;

typedef struct model_run {
    bench_model model;
    work_facts prefill, decode, decode_behind, image; /* decode: of all tokens together */
    int64_t prompt, generate;                         /* as the context allows */
} model_run;

/* ---- Warm-up: everything once, recorded ---------------------------------------------------------------------------
 */

typedef more_status (*work_function)(model_run *run, double *seconds, more_error *error);

static more_status work_prefill(model_run *run, double *seconds, more_error *error)
{
    more_session *session;
    more_status status = bench_prefill(&run->model, run->prompt, &session, seconds, error);
    run->model.assembly->language_api->session_destroy(session);
    return status;
}

static more_status work_decode(model_run *run, double *seconds, more_error *error)
{
    const core_assembly *assembly = run->model.assembly;
    more_session *session = NULL;
    more_status status = assembly->language_api->session_create(assembly->language, 0, &session, error);
    if (!status)
        status = bench_generate(&run->model, session, run->generate, seconds, error);
    assembly->language_api->session_destroy(session);
    return status;
}

/* Behind a prompt; the tokens alone are recorded and timed. */
static more_status work_decode_behind(model_run *run, double *seconds, more_error *error)
{
    more_session *session;
    more_status status = bench_prefill(&run->model, run->prompt, &session, seconds, error);
    profile_begin(&run->model.b->profile);
    if (!status)
        status = bench_generate(&run->model, session, run->generate, seconds, error);
    run->model.assembly->language_api->session_destroy(session);
    return status;
}

static more_status work_image(model_run *run, double *seconds, more_error *error)
{
    return bench_image(&run->model, seconds, error);
}

/* With --profile the second of two runs is the one that is shown. */
static more_status record(model_run *run, work_function work, work_facts *facts, more_error *error)
{
    bench *b = run->model.b;
    double seconds = 0.0;
    more_status status = MORE_OK;
    for (int i = 0; i < 1 + b->options->profile && !status; i++) {
        profile_begin(&b->profile);
        status = work(run, &seconds, error);
        facts->sums = profile_end(&b->profile);
    }
    if (!status && b->options->profile)
        facts->profile = profile_json(&b->profile, seconds);
    return status;
}

/* ---- Rounds ----------------------------------------------------------------------------------------------------- */

/* The instruction that the work's products go through. */
static nn_peak used_peak(const model_run *run, const char *section, const work_facts *facts, int64_t rows)
{
    bench *b = run->model.b;
    nn_storage storage = NN_F32;
    if (facts->sums.format)
        nn_storage_named(facts->sums.format, &storage);
    nn_context_set_arithmetic(b->nn, bench_model_arithmetic(&run->model, section));
    return nn_probe_used(b->nn, storage, rows);
}

static bool on_device(const core_backbone *part)
{
    return part->device.device_type == kDLCUDA;
}

static const char *unmeasured(const bench *b, const core_backbone *part)
{
    return on_device(part) ? bench_device_unmeasured(b->device) : NULL;
}

/* What products are held against: the device's, or the instructions' rates. */
static void name_products(bench *b, const core_backbone *part, nn_peak used, bench_row *row)
{
    nn_peak kinds[3];
    if (on_device(part)) {
        if (bench_device_product(b->device) != BENCH_SOURCES)
            bench_row_limit(row, bench_device_product(b->device), used);
        return;
    }
    int32_t count = bench_peaks_of(b, used, kinds);
    for (int32_t i = 0; i < count; i++)
        bench_row_limit(row, BENCH_PEAK, kinds[i]);
}

/* Rounds of work that multiplies. `amount` is what one run makes of the unit; 0 = the unit is seconds. */
static more_status measure_products(model_run *run, const core_backbone *part, const char *name, const char *unit,
                                    double amount, nn_peak used, work_function work, const work_facts *facts,
                                    more_error *error)
{
    bench *b = run->model.b;
    bench_row row = {.name = name,
                     .unit = unit,
                     .less_is_better = amount == 0.0,
                     .operations = facts->sums.operations,
                     .unmeasured = unmeasured(b, part)};
    more_status status = MORE_OK;
    if (row.operations > 0.0 && bench_wanted(b, name))
        name_products(b, part, used, &row);
    for (int64_t round = 0; round < b->options->rounds && !status && bench_wanted(b, name); round++) {
        double limits[MOST_LIMITS] = {0}, did[MOST_LIMITS], seconds;
        status = bench_row_look(b, &row, limits, error);
        if (!status)
            status = work(run, &seconds, error);
        if (!status)
            status = bench_row_look(b, &row, limits, error);
        if (status)
            break;
        for (int32_t i = 0; i < row.limit_count; i++)
            did[i] = row.operations / seconds;
        bench_row_add(&row, amount > 0.0 ? amount / seconds : seconds, limits, did);
    }
    if (status == MORE_ERROR_CANCELLED)
        b->stopped = true;
    return status && !b->stopped ? status : bench_row_done(b, &row, error);
}

/* One round of decode: from an empty cache, or behind a prompt. */
static more_status decode_round(model_run *run, const bench_row *row, bool behind, double *limit, double *seconds,
                                more_error *error)
{
    const core_assembly *assembly = run->model.assembly;
    more_session *session = NULL;
    double prefill;
    more_status status = behind ? bench_prefill(&run->model, run->prompt, &session, &prefill, error)
                                : assembly->language_api->session_create(assembly->language, 0, &session, error);
    if (!status)
        status = bench_row_look(run->model.b, row, limit, error);
    if (!status)
        status = bench_generate(&run->model, session, run->generate, seconds, error);
    if (!status)
        status = bench_row_look(run->model.b, row, limit, error);
    assembly->language_api->session_destroy(session);
    return status;
}

/* Bytes that the products and the cache of one run read; the shares count every byte once a token. */
static more_status measure_decode(model_run *run, const char *name, bool behind, const work_facts *facts,
                                  more_error *error)
{
    bench *b = run->model.b;
    const core_backbone *part = &run->model.assembly->language_part;
    bench_row row = {.name = name,
                     .unit = "tokens/s",
                     .bytes = facts->sums.bytes / (double)run->generate,
                     .unmeasured = unmeasured(b, part)};
    more_status status = MORE_OK;
    if (row.bytes > 0.0)
        bench_row_limit(&row, on_device(part) ? BENCH_COPY : BENCH_READ, NN_PEAK_F32);
    for (int64_t round = 0; round < b->options->rounds && !status && bench_wanted(b, name); round++) {
        double limit = 0.0, seconds;
        status = decode_round(run, &row, behind, &limit, &seconds, error);
        if (status)
            break;
        double used = facts->sums.bytes / seconds;
        bench_row_add(&row, (double)run->generate / seconds, &limit, &used);
    }
    if (status == MORE_ERROR_CANCELLED)
        b->stopped = true;
    return status && !b->stopped ? status : bench_row_done(b, &row, error);
}

static more_status measure_first_token(model_run *run, more_error *error)
{
    bench *b = run->model.b;
    char name[64] = "first token";
    bench_row row = {.name = name,
                     .unit = "s",
                     .less_is_better = true,
                     .unmeasured = unmeasured(b, &run->model.assembly->language_part)};
    more_status status = MORE_OK;
    for (int64_t round = 0; round < b->options->rounds && !status && bench_wanted(b, "first token"); round++) {
        double seconds;
        int64_t rows = 0;
        status = bench_first_token(&run->model, &seconds, &rows, error);
        snprintf(name, sizeof name, "first token, picture in %lld tokens", (long long)rows);
        if (!status)
            bench_row_add(&row, seconds, NULL, NULL);
    }
    if (status == MORE_ERROR_CANCELLED)
        b->stopped = true;
    return status && !b->stopped ? status : bench_row_done(b, &row, error);
}

/* ---- All of it -------------------------------------------------------------------------------------------------- */

/* The prompt as the context has room for it. */
static void fit_context(model_run *run)
{
    const bench_options *options = run->model.b->options;
    int64_t context = run->model.assembly->language_info.context;
    run->generate = options->generate < context / 2 ? options->generate : context / 2;
    run->prompt = options->prompt < context - run->generate ? options->prompt : context - run->generate;
}

static more_status warm_up(model_run *run, more_error *error)
{
    const core_assembly *assembly = run->model.assembly;
    more_status status = MORE_OK;
    if (assembly->language) {
        fit_context(run);
        status = record(run, work_prefill, &run->prefill, error);
        if (!status)
            status = record(run, work_decode, &run->decode, error);
        if (!status)
            status = record(run, work_decode_behind, &run->decode_behind, error);
    }
    if (assembly->vision && !status)
        status = record(run, work_image, &run->image, error);
    return status;
}

static more_status one_value(bench *b, const char *name, const char *unit, double value, more_error *error)
{
    bench_row row = {.name = name, .unit = unit, .less_is_better = true};
    bench_row_add(&row, value, NULL, NULL);
    return bench_row_done(b, &row, error);
}

static more_status measure_language(model_run *run, more_error *error)
{
    char prefill[48], empty[48], behind[48];
    nn_peak used = used_peak(run, "llm", &run->prefill, run->prompt);
    snprintf(prefill, sizeof prefill, "prefill, %lld tokens", (long long)run->prompt);
    snprintf(empty, sizeof empty, "decode, %lld tokens", (long long)run->generate);
    snprintf(behind, sizeof behind, "decode, %lld tokens behind %lld", (long long)run->generate,
             (long long)run->prompt);
    more_status status = measure_products(run, &run->model.assembly->language_part, prefill, "tokens/s",
                                          (double)run->prompt, used, work_prefill, &run->prefill, error);
    if (!status)
        status = measure_decode(run, empty, false, &run->decode, error);
    return status ? status : measure_decode(run, behind, true, &run->decode_behind, error);
}

/* Of the device that a part is on. */
static more_status measure_device(bench *b, const core_backbone *part, more_error *error)
{
    const more_host *host = core_host_abi(b->host);
    const more_cuda_service *cuda = host->get_service(host, MORE_CUDA_SERVICE);
    more_cuda_info info = {.struct_size = sizeof info};
    char name[48];
    more_status status = cuda->describe(host, part->device.device_id, &info, error);
    snprintf(name, sizeof name, "peak memory of cuda:%d", (int)part->device.device_id);
    return status ? status : one_value(b, name, "GiB", (double)info.peak_bytes / (1 << 30), error);
}

/* All parts that are on a device are on the same one: [runtime] device. */
static const core_backbone *device_part(const core_assembly *assembly)
{
    return assembly->language && on_device(&assembly->language_part) ? &assembly->language_part
           : assembly->vision && on_device(&assembly->vision_part)   ? &assembly->vision_part
                                                                     : NULL;
}

/* The limits of where the parts are. */
static more_status prepare_limits(bench *b, const core_assembly *assembly, more_error *error)
{
    bool on_cpu = (assembly->language && !on_device(&assembly->language_part)) ||
                  (assembly->vision && !on_device(&assembly->vision_part));
    more_status status = b->device ? bench_limits_prepare(b, true, error) : MORE_OK;
    return status || !on_cpu ? status : bench_limits_prepare(b, false, error);
}

static more_status measure_all(model_run *run, more_error *error)
{
    bench *b = run->model.b;
    const core_assembly *assembly = run->model.assembly;
    more_status status = one_value(b, "load", "s", run->model.load_seconds, error);
    if (!status)
        status = one_value(b, "peak memory", "GiB", (double)llavamore_peak_memory() / (1 << 30), error);
    if (!status && b->device)
        status = measure_device(b, device_part(assembly), error);
    if (!status)
        status = prepare_limits(b, assembly, error);
    if (!status && assembly->language)
        status = measure_language(run, error);
    if (!status && assembly->vision)
        status = measure_products(run, &assembly->vision_part, "image", "s", 0.0,
                                  used_peak(run, "vision", &run->image, 1 << 9), work_image, &run->image, error);
    if (!status && assembly->language && assembly->vision)
        status = measure_first_token(run, error);
    return status || !b->device ? status : bench_device_rows(b, BENCH_OWN, error);
}

static more_status add_profile(const model_run *run, more_error *error)
{
    bench *b = run->model.b;
    json_t *json = json_object();
    if (!json || json_object_set_new(b->report, "profile", json) ||
        json_object_set_new(b->report, "profile_is_of_queueing", json_boolean(b->device)))
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the report");
    const struct {
        const char *name;
        json_t *profile;
    } all[] = {{"prefill", run->prefill.profile},
               {"decode", run->decode.profile},
               {"decode behind the prompt", run->decode_behind.profile},
               {"image", run->image.profile}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].profile)
            json_object_set_new(json, all[i].name, all[i].profile);
    return MORE_OK;
}

/* Says where the model is. */
static more_status open_device(model_run *run, more_error *error)
{
    bench *b = run->model.b;
    char shown[192];
    const core_backbone *part = device_part(run->model.assembly);
    if (!part) {
        bench_note(b, "%s: %s kernels", run->model.name, nn_context_kernels(b->nn));
        return MORE_OK;
    }
    more_status status = bench_device_open(b, part->device.device_id, error);
    if (!status)
        bench_note(b, "%s: %s%s", run->model.name, bench_device_shown(b->device, shown),
                   part->split ? ", its last layers on the CPU" : "");
    return status;
}

more_status bench_model_run(bench *b, more_error *error)
{
    model_run run = {.prompt = 0};
    more_status status = bench_model_open(b, &run.model, error);
    if (!status) {
        json_object_set_new(b->report, "model", core_json_text(run.model.name));
        status = open_device(&run, error);
    }
    if (!status)
        status = warm_up(&run, error);
    if (!status)
        status = measure_all(&run, error);
    if (!status && b->options->profile)
        status = add_profile(&run, error);
    bench_limits_free(b);
    bench_model_close(&run.model);
    return status;
}
