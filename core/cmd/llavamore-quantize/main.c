/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-quantize: writes models to GGUF files.
 */
#include "arguments.h"
#include "job.h"
#include "report.h"
#include "stop.h"

/* Plans, writes unless it is a dry run, and makes the report. */
static more_status work_on(job *work, json_t **report, more_error *error)
{
    more_status status = work->args->dry_run ? MORE_OK : job_check_outputs(work, error);
    if (status == MORE_OK)
        status = job_plan(work, error);
    if (status == MORE_OK && !work->args->dry_run)
        status = job_write(work, error);
    report_progress_end();
    if (status == MORE_OK)
        *report = job_report(work);
    return status;
}

static more_status run(const arguments *args, json_t **report, more_error *error)
{
    core_config *config = NULL;
    workshop shop = {0};
    core_assembly *source = NULL;
    more_status status = source_config(args, &config, error);
    if (status == MORE_OK)
        status = workshop_open(&shop, config, error);
    if (status == MORE_OK)
        status = source_open(&shop, config, args->mmproj != NULL, &source, error);
    job work = {.args = args, .shop = &shop, .source = source, .progress = report_progress};
    if (status == MORE_OK)
        status = work_on(&work, report, error);
    job_clear(&work);
    core_assembly_close(source);
    workshop_clear(&shop);
    core_config_destroy(config);
    return status;
}

int main(int argc, char **argv)
{
    arguments args;
    output out = {0};
    json_t *report = NULL;
    more_error error = {{0}};
    int code;
    stop_prepare();
    if (arguments_parse(argc, argv, &args, &code)) {
        more_status status = run(&args, &report, &error);
        if (status == MORE_OK)
            status = print_report(&out, report, args.json, report_layout, &error);
        code = status == MORE_ERROR_CANCELLED ? stop_code()
               : status != MORE_OK            ? fail_status(PROGRAM, status, &error)
                                              : output_finish(&out, PROGRAM, EXIT_SUCCESS);
        json_decref(report);
    }
    arguments_clear(&args);
    return code;
}
