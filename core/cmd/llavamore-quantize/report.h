/* SPDX-License-Identifier: Apache-2.0
 *
 * What llavamore-quantize tells: the report, and how far it is.
 */
#ifndef QUANTIZE_REPORT_H
#define QUANTIZE_REPORT_H

#include "../print.h"
#include <stdint.h>

/* The report laid out for people: a line a file, how much is stored in which format, and notes. */
void report_layout(FILE *file, const json_t *report);
/* A line on standard error that is written over by the next; nothing where that is no terminal. */
void report_progress(const char *path, int64_t done, int64_t total);
/* Takes the line away. */
void report_progress_end(void);

#endif
