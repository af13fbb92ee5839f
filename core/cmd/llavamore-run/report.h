/* SPDX-License-Identifier: Apache-2.0
 *
 * What is printed about an assembly and an answer, besides the answer's text.
 */
#ifndef RUN_REPORT_H
#define RUN_REPORT_H

#include "../program.h"

/* The answer, its tokens, timings and the assembly as one JSON object and a newline. */
more_status report_answer(output *out, const llavamore_model *model, const llavamore_answer *answer, more_error *error);
/* Timings a stage and token counts, for people, on standard error. */
void report_timings(const llavamore_model *model, const llavamore_answer *answer);
/* JSON text of the library: as it is, or laid out for people. */
more_status report_plugins(output *out, const char *json, bool as_json, more_error *error);
more_status report_presets(output *out, const char *json, bool as_json, more_error *error);
more_status report_assembly(output *out, const char *json, bool as_json, more_error *error);

#endif
