/* SPDX-License-Identifier: Apache-2.0
 *
 * What the machine gives: each kind of multiply-add, and reading memory; and what machine it is.
 */
#include "bench.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const double peak_seconds = 0.02;

more_status bench_limits_prepare(bench *b, bool device, more_error *error)
{
    int64_t count = b->options->read_mib << 18;
    if (device)
        return bench_device_prepare(b->device, error);
    if (!b->fed) {
        b->fed = nn_alloc_f32(b->nn, NN_PROBE_FED);
        for (int64_t i = 0; b->fed && i < NN_PROBE_FED; i++)
            b->fed[i] = 1e-3f; /* a number in each of the kinds' ways to read it */
    }
    if (!b->memory)
        b->memory = nn_alloc_f32(b->nn, count);
    if (!b->fed || !b->memory)
        return more_fail(error, MORE_ERROR_MEMORY,
                         "no memory for %lld MiB to measure the rate of reading with; give less with --read-mib",
                         (long long)b->options->read_mib);
    return MORE_OK;
}

void bench_limits_free(bench *b)
{
    if (b->nn) {
        nn_free(b->nn, b->fed);
        nn_free(b->nn, b->memory);
    }
    b->fed = b->memory = NULL;
}

double bench_limit_keep(bench_limit *limit, double sample)
{
    limit->samples[limit->count++ % MOST_LIMIT_SAMPLES] = sample;
    return sample;
}

double bench_peak(bench *b, nn_peak peak, bool fed)
{
    if (!nn_probe_has(b->nn, peak))
        return 0.0;
    return bench_limit_keep(fed ? &b->fed_peaks[peak] : &b->peaks[peak],
                            nn_probe_peak(b->nn, peak, fed ? b->fed : NULL, peak_seconds));
}

double bench_read(bench *b)
{
    return bench_limit_keep(&b->read, nn_probe_read(b->nn, b->memory, b->options->read_mib << 18));
}

static double last(const bench_limit *limit)
{
    return limit->count ? limit->samples[(limit->count - 1) % MOST_LIMIT_SAMPLES] : 0.0;
}

int32_t bench_peaks_of(bench *b, nn_peak used, nn_peak kinds[3])
{
    nn_peak fastest_16 = NN_PEAK_F32, fastest = NN_PEAK_F32;
    for (nn_peak peak = NN_PEAK_F32; peak < NN_PEAKS; peak++) {
        bool bits_8 = peak == NN_PEAK_INT8 || peak == NN_PEAK_TILE_INT8;
        bench_peak(b, peak, false);
        if (last(&b->peaks[peak]) > last(&b->peaks[fastest]))
            fastest = peak;
        if (!bits_8 && last(&b->peaks[peak]) > last(&b->peaks[fastest_16]))
            fastest_16 = peak;
    }
    int32_t count = 0;
    kinds[count++] = used;
    if (fastest_16 != used)
        kinds[count++] = fastest_16;
    if (fastest != used && fastest != fastest_16)
        kinds[count++] = fastest;
    return count;
}

/* ---- As JSON ---------------------------------------------------------------------------------------------------- */

void bench_source_name(bench_source source, nn_peak peak, char name[32])
{
    static const char *const names[BENCH_SOURCES] = {[BENCH_READ] = "read",
                                                     [BENCH_COPY] = "copy",
                                                     [BENCH_CUBLAS] = "cuBLAS f16 product",
                                                     [BENCH_OWN] = "own f16 product"};
    if (names[source])
        snprintf(name, 32, "%s", names[source]);
    else
        snprintf(name, 32, source == BENCH_FED ? "%s from level 2" : "%s", nn_peak_name(peak));
}

void bench_limit_json(json_t *list, const char *name, const char *unit, const bench_limit *limit)
{
    int64_t count = limit->count < MOST_LIMIT_SAMPLES ? limit->count : MOST_LIMIT_SAMPLES;
    if (count)
        json_array_append_new(list, bench_samples(name, unit, limit->samples, count, 1e-9));
}

json_t *bench_limits_json(const bench *b)
{
    json_t *list = json_array();
    char name[32];
    for (nn_peak peak = NN_PEAK_F32; list && peak < NN_PEAKS; peak++) {
        const char *unit = peak == NN_PEAK_INT8 || peak == NN_PEAK_TILE_INT8 ? "GOP/s" : "GFLOP/s";
        bench_limit_json(list, nn_peak_name(peak), unit, &b->peaks[peak]);
        bench_source_name(BENCH_FED, peak, name);
        bench_limit_json(list, name, unit, &b->fed_peaks[peak]);
    }
    if (list)
        bench_limit_json(list, "read", "GB/s", &b->read);
    if (list && b->device)
        bench_device_limits(b->device, list);
    return list;
}

/* The first line "key<blanks>: value" of a file under /proc. */
static void read_line(const char *path, const char *key, char *value, size_t size)
{
    char line[512];
    FILE *file = fopen(path, "r");
    value[0] = '\0';
    while (file && !value[0] && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) || !colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(value, size, "%s", colon);
    }
    if (file)
        fclose(file);
}

json_t *bench_machine(const bench *b)
{
    char model[256], memory[64];
    struct utsname system;
    long cores = sysconf(_SC_NPROCESSORS_ONLN), level2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    int32_t threads = ((const more_threads_service *)core_host_abi(b->host)->get_service(core_host_abi(b->host),
                                                                                         MORE_THREADS_SERVICE))
                          ->count(core_host_abi(b->host));
    read_line("/proc/cpuinfo", "model name", model, sizeof model);
    read_line("/proc/meminfo", "MemTotal", memory, sizeof memory);
    if (uname(&system))
        memset(&system, 0, sizeof system);
    return json_pack("{s:s, s:I, s:I, s:s, s:I, s:I, s:s}", "cpu", model[0] ? model : "unknown", "cores",
                     (json_int_t)cores, "threads", (json_int_t)threads, "kernels", nn_context_kernels(b->nn),
                     "memory_bytes", (json_int_t)(1024 * strtoll(memory, NULL, 10)), "level2_bytes",
                     (json_int_t)(level2 > 0 ? level2 : 0), "system", system.release);
}

/* ---- Alone ------------------------------------------------------------------------------------------------------ */

static more_status measure_peak(bench *b, nn_peak peak, bool fed, more_error *error)
{
    char name[32];
    bench_source_name(fed ? BENCH_FED : BENCH_PEAK, peak, name);
    bench_row row = {.name = name, .unit = peak == NN_PEAK_INT8 || peak == NN_PEAK_TILE_INT8 ? "GOP/s" : "GFLOP/s"};
    if (!nn_probe_has(b->nn, peak) || !bench_wanted(b, name))
        return MORE_OK;
    for (int64_t round = 0; round < b->options->rounds; round++)
        bench_row_add(&row, 1e-9 * bench_peak(b, peak, fed), NULL, NULL);
    return bench_row_done(b, &row, error);
}

more_status bench_limits(bench *b, more_error *error)
{
    char shown[192];
    more_status status = bench_limits_prepare(b, b->device, error);
    if (b->device) {
        bench_note(b, "%s", bench_device_shown(b->device, shown));
        return status ? status : bench_device_rows(b, BENCH_COPY, error);
    }
    for (nn_peak peak = NN_PEAK_F32; peak < NN_PEAKS && !status; peak++) {
        status = measure_peak(b, peak, false, error);
        if (!status)
            status = measure_peak(b, peak, true, error);
    }
    bench_row row = {.name = "read", .unit = "GB/s"};
    for (int64_t round = 0; round < b->options->rounds && !status && bench_wanted(b, row.name); round++)
        bench_row_add(&row, 1e-9 * bench_read(b), NULL, NULL);
    return status ? status : bench_row_done(b, &row, error);
}
