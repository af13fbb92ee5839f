/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of llavamore-bench.
 */
#ifndef BENCH_ARGUMENTS_H
#define BENCH_ARGUMENTS_H

#include "bench.h"

/* False when nothing is left to do: *code is what the program leaves with. Strings are those of argv, or constant.
 * arguments_clear in either case. */
bool arguments_parse(int argc, char **argv, output *out, bench_options *options, int *code);
void arguments_clear(bench_options *options);

#endif
