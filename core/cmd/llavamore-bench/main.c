/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench: how fast models run, and how much of what this machine has they use.
 */
#include "arguments.h"

#include "device/choice.h"
#include "plugin/value.h"
#include <signal.h>
#include <string.h>

typedef more_status (*bench_function)(bench *b, more_error *error);

/* Sub-commands whose options are those of the whole program. */
static const struct {
    const char *name;
    bench_function run;
} benchmarks[] = {{"gemm", bench_gemm}, {"decode", bench_decode}, {"threads", bench_threads}, {"limits", bench_limits}};

/* Sub-commands with options of their own. */
static const struct {
    const char *name;
    int (*run)(int argc, char **argv, output *out);
} programs[] = {{"perplexity", bench_perplexity}, {"errors", bench_errors}};

static void take_event(void *user, const more_profile_event *event)
{
    bench *b = user;
    profile_take(&b->profile, event);
}

/* Loading tells how far it is: the moment to see that nobody waits any more. */
static void take_progress(void *user, const char *stage, int64_t done, int64_t total)
{
    bench *b = user;
    (void)stage;
    (void)done;
    (void)total;
    if (interrupt_seen(b->interrupt))
        core_host_cancel(b->host, true);
}

more_status bench_start(bench *b, int32_t threads, more_log_level level, const more_weights_service *weights,
                        more_error *error)
{
    core_host_config config = {.threads = threads,
                               .log_level = level,
                               .progress = take_progress,
                               .profile = take_event,
                               .user = b,
                               .weights = weights};
    more_status status = core_host_create(&config, &b->host, error);
    if (!status)
        status = nn_context_create(core_host_abi(b->host), &b->nn, error);
    json_t *machine = status ? NULL : bench_machine(b);
    if (!status && (!machine || json_object_set_new(b->report, "machine", machine)))
        status = more_fail(error, MORE_ERROR_MEMORY, "out of memory for the report");
    return status;
}

/* --device of the kernels; limits are measured without a context of ours. */
static more_status use_device(bench *b, const char *text, bool limits, more_error *error)
{
    core_device_choice choice;
    more_error reason = {{0}};
    char shown[64];
    more_status status = core_device_choose(core_host_abi(b->host), text, &choice, &reason);
    if (status)
        return more_fail(error, status, "--device %s: %s", core_printable(text, shown, sizeof shown), reason.message);
    if (choice.device.device_type == kDLCUDA)
        status = bench_device_open(b, choice.device.device_id, error);
    if (!status && !limits)
        status = nn_context_set_device(b->nn, PROGRAM, choice.device, error);
    return status ? status : nn_begin(b->nn, error);
}

static more_status run_kernels(bench *b, bench_function function, more_error *error)
{
    const bench_options *options = b->options;
    more_status status = bench_start(b, (int32_t)options->threads, MORE_LOG_WARNING, NULL, error);
    if (!status && options->device)
        status = use_device(b, options->device, function == bench_limits, error);
    if (!status) {
        nn_context_set_arithmetic(b->nn, options->arithmetic);
        status = function(b, error);
    }
    bench_limits_free(b);
    return status;
}

static more_status run_what(bench *b, const char *what, more_error *error)
{
    for (size_t i = 0; what && i < sizeof benchmarks / sizeof *benchmarks; i++)
        if (!strcmp(what, benchmarks[i].name))
            return run_kernels(b, benchmarks[i].run, error);
    return bench_model_run(b, error);
}

/* ---- The report ------------------------------------------------------------------------------------------------- */

static json_t *make_report(const bench_options *options)
{
    const char *what = options->what ? options->what : options->synthetic;
    for (size_t i = 0; options->what && i < sizeof benchmarks / sizeof *benchmarks; i++)
        if (!strcmp(options->what, benchmarks[i].name))
            return json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:[]}", "program", PROGRAM, "version", LLAVAMORE_VERSION,
                             "benchmark", what, "rounds", (json_int_t)options->rounds, "weights",
                             nn_storage_name(options->weights), "arithmetic",
                             options->arithmetic_name ? options->arithmetic_name : "auto", "rows");
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:[]}", "program", PROGRAM, "version", LLAVAMORE_VERSION,
                     "benchmark", "model", "rounds", (json_int_t)options->rounds, "prompt", (json_int_t)options->prompt,
                     "generate", (json_int_t)options->generate, "rows");
}

/* What stands behind the rows. */
static void report_layout(FILE *file, const json_t *report)
{
    const char *name;
    const json_t *one;
    bool queued = json_is_true(json_object_get(report, "profile_is_of_queueing"));
    json_object_foreach((json_t *)json_object_get(report, "profile"), name, one)
    {
        fprintf(file, "\n%s%s\n", name, queued ? ": times are those of queueing work for the device" : "");
        profile_layout(file, one, queued);
    }
    if (json_object_get(report, "compare"))
        bench_compare_layout(file, report);
}

static more_status tell(bench *b, const json_t *before, more_error *error)
{
    more_status status = MORE_OK;
    json_object_set_new(b->report, "device", bench_device_json(b->device));
    json_object_set_new(b->report, "limits", bench_limits_json(b));
    json_object_set_new(b->report, "interrupted", json_boolean(b->stopped));
    if (before)
        status = bench_compare(before, b->options->compare, b->report, error);
    return status ? status : print_report(b->out, b->report, b->options->as_json, report_layout, error);
}

static int run_benchmark(const bench_options *options, output *out)
{
    more_error error = {{0}};
    json_t *before = NULL;
    bench b = {.options = options, .out = out, .report = make_report(options)};
    profile_init(&b.profile);
    b.interrupt = interrupt_create();
    more_status status = b.report ? MORE_OK : more_fail(&error, MORE_ERROR_MEMORY, "out of memory for the report");
    if (!status && options->compare)
        status = bench_compare_load(options->compare, &before, &error);
    if (!status)
        status = run_what(&b, options->what, &error);
    b.stopped = b.stopped || status == MORE_ERROR_CANCELLED;
    if (!status || status == MORE_ERROR_CANCELLED)
        status = tell(&b, before, &error);
    nn_context_destroy(b.nn);
    bench_device_close(b.device);
    core_host_destroy(b.host);
    interrupt_destroy(b.interrupt);
    profile_free(&b.profile);
    json_decref(before);
    json_decref(b.report);
    if (status)
        return fail_status(PROGRAM, status, &error);
    return b.stopped ? EXIT_INTERRUPTED : EXIT_SUCCESS;
}

static int run(int argc, char **argv, output *out)
{
    static char name[] = PROGRAM;
    bench_options options;
    int code;
    for (size_t i = 0; argc > 1 && i < sizeof programs / sizeof *programs; i++)
        if (!strcmp(argv[1], programs[i].name)) {
            argv[1] = name; /* getopt's messages begin with it */
            return programs[i].run(argc - 1, argv + 1, out);
        }
    if (arguments_parse(argc, argv, out, &options, &code))
        code = run_benchmark(&options, out);
    arguments_clear(&options);
    return code;
}

int main(int argc, char **argv)
{
    output out = {0};
    signal(SIGPIPE, SIG_IGN);
    int code = run(argc, argv, &out);
    return output_finish(&out, PROGRAM, code);
}
