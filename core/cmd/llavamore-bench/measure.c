/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <string.h>

void shares_add(shares *s, double rate, double limit)
{
    s->rate[s->count] = rate;
    s->limit[s->count] = limit;
    s->share[s->count] = rate / limit;
    s->count++;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int64_t count, double *least, double *most)
{
    double sorted[MOST_ROUNDS];
    memcpy(sorted, values, (size_t)count * sizeof *values);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    *least = sorted[0];
    *most = sorted[count - 1];
    return sorted[count / 2];
}

more_status bench_row(bench *b, const char *name, const char *unit, const shares *s, more_error *error)
{
    double least, most;
    double limit = median(s->limit, s->count, &least, &most) * 1e-9;
    double rate = median(s->rate, s->count, &least, &most) * 1e-9;
    double share = median(s->share, s->count, &least, &most);
    if (!b->options->as_json) {
        char line[256];
        snprintf(line, sizeof line, "%-38s %8.1f %-7s of %8.1f  %5.1f %%  (%.1f to %.1f %%)\n", name, rate, unit, limit,
                 100.0 * share, 100.0 * least, 100.0 * most);
        output_text(b->out, line);
        return MORE_OK;
    }
    json_t *row = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f}", "name", name, "unit", unit, "rate", rate, "limit",
                            limit, "share", share, "share_least", least, "share_most", most);
    if (!row || json_array_append_new(b->rows, row))
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the report");
    return MORE_OK;
}

void bench_note(bench *b, const char *text)
{
    if (!b->options->as_json)
        output_text(b->out, text);
}

float *bench_values(bench *b, int64_t count)
{
    float *values = nn_alloc_f32(b->nn, count);
    uint32_t state = 12345;
    for (int64_t i = 0; values && i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)state * 0x1p-33f;
    }
    return values;
}

more_status bench_matrix(bench *b, int64_t rows, int64_t columns, DLDataType dtype, nn_matrix **matrix,
                         more_error *error)
{
    *matrix = NULL;
    float *values = bench_values(b, rows * columns);
    if (!values)
        return more_fail(error, MORE_ERROR_MEMORY,
                         "no memory for a matrix [%lld, %lld]; the benchmark needs some 3 GiB", (long long)rows,
                         (long long)columns);
    more_status status = nn_matrix_pack(b->nn, values, rows, columns, dtype, matrix, error);
    nn_free(b->nn, values);
    return status;
}
