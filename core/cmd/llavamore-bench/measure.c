/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of the report, and the operands of products.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* ---- Samples ---------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(const double *values, int64_t count, double *least, double *most)
{
    double sorted[MOST_LIMIT_SAMPLES];
    memcpy(sorted, values, (size_t)count * sizeof *values);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    *least = sorted[0];
    *most = sorted[count - 1];
    return sorted[count / 2];
}

json_t *bench_samples(const char *name, const char *unit, const double *values, int64_t count, double scale)
{
    double least, most, middle = bench_median(values, count, &least, &most);
    json_t *samples = json_array();
    for (int64_t i = 0; samples && i < count; i++)
        json_array_append_new(samples, json_real(scale * values[i]));
    return json_pack("{s:s, s:s, s:f, s:f, s:f, s:o}", "name", name, "unit", unit, "median", scale * middle, "least",
                     scale * least, "most", scale * most, "samples", samples);
}

/* ---- Rows ------------------------------------------------------------------------------------------------------- */

void bench_row_limit(bench_row *row, bench_source source, nn_peak peak)
{
    int32_t i = row->limit_count++;
    row->limits[i].source = source;
    row->limits[i].peak = peak;
    row->limits[i].unit = source == BENCH_READ || source == BENCH_COPY ? "GB/s" : "GFLOP/s";
    bench_source_name(source, peak, row->limits[i].name);
}

more_status bench_row_look(bench *b, const bench_row *row, double *limits, more_error *error)
{
    more_status status = MORE_OK;
    for (int32_t i = 0; i < row->limit_count && !status; i++) {
        bench_source source = row->limits[i].source;
        double rate = 0.0;
        if (source >= BENCH_COPY)
            status = bench_device_measure(b->device, source, &rate, error);
        else
            rate = source == BENCH_READ ? bench_read(b) : bench_peak(b, row->limits[i].peak, source == BENCH_FED);
        limits[i] += rate / 2.0;
    }
    return status;
}

void bench_row_add(bench_row *row, double value, const double *limits, const double *used)
{
    row->value[row->count] = value;
    for (int32_t i = 0; i < row->limit_count; i++) {
        row->limits[i].limit[row->count] = limits[i];
        row->limits[i].share[row->count] = limits[i] > 0.0 ? used[i] / limits[i] : 0.0;
    }
    row->count++;
}

static json_t *limit_json(const bench_row *row, int32_t i)
{
    double least, most;
    double limit = 1e-9 * bench_median(row->limits[i].limit, row->count, &least, &most);
    double share = bench_median(row->limits[i].share, row->count, &least, &most);
    if (row->unmeasured)
        return json_pack("{s:s, s:s, s:f, s:n}", "name", row->limits[i].name, "unit", row->limits[i].unit, "limit",
                         limit, "share");
    return json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "name", row->limits[i].name, "unit", row->limits[i].unit,
                     "limit", limit, "share", share, "share_least", least, "share_most", most);
}

static json_t *row_json(const bench_row *row)
{
    json_t *limits = json_array();
    json_t *json = bench_samples(row->name, row->unit, row->value, row->count, 1.0);
    for (int32_t i = 0; json && limits && i < row->limit_count; i++)
        json_array_append_new(limits, limit_json(row, i));
    if (!json || json_object_set_new(json, "better", json_string(row->less_is_better ? "less" : "more")) ||
        json_object_set_new(json, "operations", json_real(row->operations)) ||
        json_object_set_new(json, "bytes", json_real(row->bytes)) || json_object_set_new(json, "limits", limits)) {
        json_decref(json);
        return NULL;
    }
    if (row->unmeasured)
        json_object_set_new(json, "unmeasured", json_string(row->unmeasured));
    return json;
}

enum { LIMITS_COLUMN = 84 /* of a row's text, where its limits begin */ };

/* "61.3 % of read 20.1 GB/s (60.8 to 61.9 %)" */
static void share_text(const json_t *limit, char *text, size_t size)
{
    snprintf(text, size, "%5.1f %% of %s %.1f %s (%.1f to %.1f %%)",
             100.0 * json_number_value(json_object_get(limit, "share")),
             json_string_value(json_object_get(limit, "name")), json_number_value(json_object_get(limit, "limit")),
             json_string_value(json_object_get(limit, "unit")),
             100.0 * json_number_value(json_object_get(limit, "share_least")),
             100.0 * json_number_value(json_object_get(limit, "share_most")));
}

static void row_text(output *out, const json_t *row)
{
    char line[256], share[128];
    size_t i;
    const json_t *limit;
    double median = json_number_value(json_object_get(row, "median"));
    const char *unmeasured = json_string_value(json_object_get(row, "unmeasured"));
    int digits = median < 10.0 ? 3 : median < 1000.0 ? 1 : 0;
    int length = snprintf(
        line, sizeof line, "%-38s %9.*f %-8s (%.*f to %.*f)", json_string_value(json_object_get(row, "name")), digits,
        median, json_string_value(json_object_get(row, "unit")), digits,
        json_number_value(json_object_get(row, "least")), digits, json_number_value(json_object_get(row, "most")));
    int blanks = length < LIMITS_COLUMN ? LIMITS_COLUMN - length : 2;
    output_text(out, line);
    if (unmeasured) {
        snprintf(line, sizeof line, "%*sunmeasured: %s", blanks, "", unmeasured);
        output_text(out, line);
    }
    json_array_foreach(unmeasured ? NULL : json_object_get(row, "limits"), i, limit)
    {
        share_text(limit, share, sizeof share);
        snprintf(line, sizeof line, "%s%*s%s", i ? "\n" : "", i ? LIMITS_COLUMN : blanks, "", share);
        output_text(out, line);
    }
    output_text(out, "\n");
}

more_status bench_row_done(bench *b, const bench_row *row, more_error *error)
{
    if (!row->count)
        return MORE_OK;
    json_t *json = row_json(row);
    if (!json || json_array_append_new(json_object_get(b->report, "rows"), json))
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the report");
    if (!b->options->as_json)
        row_text(b->out, json);
    return MORE_OK;
}

bool bench_wanted(bench *b, const char *name)
{
    if (interrupt_seen(b->interrupt))
        b->stopped = true;
    return !b->stopped && !b->out->error && (!b->options->only || strstr(name, b->options->only));
}

void bench_note(bench *b, const char *format, ...)
{
    char text[512];
    va_list arguments;
    if (b->options->as_json)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    output_text(b->out, text);
    output_text(b->out, "\n");
}

void bench_note_kernels(bench *b, const char *weights)
{
    char shown[192];
    if (b->device)
        bench_note(b, "%s, %s weights", bench_device_shown(b->device, shown), weights);
    else
        bench_note(b, "%s kernels, %s weights", nn_context_kernels(b->nn), weights);
}

/* ---- Operands --------------------------------------------------------------------------------------------------- */

/* The caller frees them. */
static float *random_floats(int64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);
    uint32_t state = 12345;
    for (int64_t i = 0; values && i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)state * 0x1p-33f;
    }
    return values;
}

float *bench_values(bench *b, int64_t count)
{
    float *made = random_floats(count), *values = made ? nn_alloc_f32(b->nn, count) : NULL;
    if (values)
        nn_copy(b->nn, values, made, (size_t)count * sizeof *values);
    free(made);
    return values;
}

more_status bench_matrix(bench *b, int64_t rows, int64_t columns, nn_storage storage, nn_matrix **matrix,
                         more_error *error)
{
    *matrix = NULL;
    float *values = random_floats(rows * columns);
    if (!values)
        return more_fail(error, MORE_ERROR_MEMORY,
                         "no memory for a matrix [%lld, %lld]; the benchmark needs some 3 GiB", (long long)rows,
                         (long long)columns);
    more_status status = nn_matrix_pack(b->nn, values, rows, columns, storage, matrix, error);
    free(values);
    return status;
}

/* ---- Rates ------------------------------------------------------------------------------------------------------ */

more_status bench_rate(bench *b, void (*body)(void *argument), void *argument, double amount, double seconds,
                       double *rate, more_error *error)
{
    double start = nn_probe_clock(), elapsed;
    int64_t times = 0;
    more_status status;
    do {
        /* on a device more each time, so that waiting takes no part of the whole */
        for (int64_t end = nn_on_host(b->nn) ? times + 1 : 2 * times + 1; times < end; times++)
            body(argument);
        status = bench_wait(b->nn, error);
        elapsed = nn_probe_clock() - start;
    } while (elapsed < seconds && !status);
    *rate = amount * (double)times / elapsed;
    return status;
}
