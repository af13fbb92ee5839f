/* SPDX-License-Identifier: Apache-2.0
 *
 * What was written, read back.
 */
#include "job.h"

#include "base/json.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAME 1e-6 /* of numbers that the file holds as f32 */

static const char *temporary(const job *work, int file)
{
    return core_gguf_writer_temporary(core_export_writer(work->exports[file]));
}

/* A number or a fraction at *at, which moves behind it. */
static double read_number(const char **at)
{
    char *end;
    double value = strtod(*at, &end);
    if (*end == '/')
        value /= strtod(end + 1, &end);
    *at = end;
    return value;
}

/* True where two lists of steps differ in nothing but the rounding of numbers. */
static bool same_steps(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            double one = read_number(&a), other = read_number(&b);
            if (fabs(one - other) > SAME * fabs(one))
                return false;
        } else if (*a++ != *b++) {
            return false;
        }
    }
    return *a == *b;
}

static bool same_language(const core_assembly *source, const core_assembly *written)
{
    const more_language_info *a = &source->language_info, *b = &written->language_info;
    bool same = a->vocabulary == b->vocabulary && a->width == b->width && a->layers == b->layers &&
                a->context == b->context && !source->tokenizer == !written->tokenizer;
    return same && (!source->tokenizer ||
                    (core_tokenizer_bos(source->tokenizer) == core_tokenizer_bos(written->tokenizer) &&
                     core_tokenizer_adds_bos(source->tokenizer) == core_tokenizer_adds_bos(written->tokenizer)));
}

static more_status compare(const job *work, const core_assembly *written, more_error *error)
{
    const core_assembly *source = work->source;
    bool eyes = work->exports[JOB_MMPROJ] != NULL, same = same_language(source, written);
    if (same && eyes)
        same = written->vision && written->nominal.tokens == source->nominal.tokens &&
               core_assembly_feature_width(written) == core_assembly_feature_width(source);
    if (!same)
        return more_fail(error, MORE_ERROR_INTERNAL, "%s: reads back as another model: please report it",
                         work->args->output);
    if (eyes && !same_steps(source->steps, written->steps)) {
        char line[MORE_ERROR_SIZE];
        snprintf(line, sizeof line, "pictures are prepared otherwise: by %.400s, by the source %.400s", written->steps,
                 source->steps);
        json_array_append_new(core_export_notes(work->exports[JOB_MMPROJ]), core_json_text(line));
    }
    return MORE_OK;
}

more_status job_read_back(const job *work, more_error *error)
{
    core_config *config = NULL;
    core_assembly *written = NULL;
    bool eyes = work->exports[JOB_MMPROJ] != NULL;
    more_error reason = {{0}};
    more_status status = core_config_create(&config, &reason);
    if (status == MORE_OK)
        status = source_set_path(config, "llm.weights", temporary(work, JOB_LANGUAGE), &reason);
    if (status == MORE_OK && eyes)
        status = source_set_path(config, "vision.weights", temporary(work, JOB_MMPROJ), &reason);
    if (status == MORE_OK)
        status = source_open(work->shop, config, eyes, &written, &reason);
    if (status != MORE_OK)
        status = more_fail(error, status, "what was written cannot be read back: %.800s", reason.message);
    else
        status = compare(work, written, error);
    core_assembly_close(written);
    core_config_destroy(config);
    return status;
}
