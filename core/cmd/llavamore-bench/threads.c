/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench threads: what it costs to hand work to the pool and wait for it.
 */
#include "bench.h"

enum { TIMES = 20000 };

more_status bench_threads(bench *b, more_error *error)
{
    bench_row row = {.name = "empty parallel_for", .unit = "us", .less_is_better = true};
    nn_probe_barrier(b->nn, TIMES);
    for (int64_t round = 0; round < b->options->rounds && bench_wanted(b, row.name); round++)
        bench_row_add(&row, 1e6 * nn_probe_barrier(b->nn, TIMES), NULL, NULL);
    return bench_row_done(b, &row, error);
}
