/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench: what its measurements share.
 *
 * A figure is measured in rounds. Each round first measures the machine's limit that the figure is held against, so
 * that both see the same clock and the same neighbours; a share is the median over the rounds' shares.
 */
#ifndef BENCH_H
#define BENCH_H

#include "../llavamore-run/interrupt.h"
#include "../print.h"
#include "base/host.h"
#include "nn.h"
#include "probe.h"
#include "profile.h"

#define PROGRAM "llavamore-bench"
#define MOST_ROUNDS 101
#define MOST_LIMITS 4
#define MOST_LIMIT_SAMPLES 1024

/* The command line, checked. */
typedef struct bench_options {
    const char *what;      /* the first argument: a sub-command, an INI file or a preset; NULL with --synthetic */
    const char *synthetic; /* NAME or NAME:FORMAT */
    int64_t threads;       /* 0 = as the INI file says, else all cores */
    int64_t rounds;        /* odd: medians are taken over them */
    int64_t prompt;        /* tokens of a prefill */
    int64_t generate;      /* tokens of a decode */
    int64_t read_mib;      /* memory that the read limit goes through */
    const char *image;     /* a picture's file; NULL = a made one */
    const char *device;    /* auto, cpu, cuda or cuda:N; NULL = not given */
    nn_storage weights;    /* of gemm and decode */
    bool weights_given;
    nn_arithmetic arithmetic;
    const char *arithmetic_name; /* NULL = not given */
    const char *only;            /* part of the names of the rows wanted, NULL = all */
    const char *compare;         /* file of an earlier --json */
    const char **assignments;    /* of --set */
    int assignment_count;
    bool as_json, profile;
} bench_options;

/* Samples of the machine's limits, all of one run. */
typedef struct bench_limit {
    double samples[MOST_LIMIT_SAMPLES]; /* the latest, in operations or bytes a second */
    int64_t count;
} bench_limit;

typedef struct bench_device bench_device;

/* One run of the program. */
typedef struct bench {
    const bench_options *options;
    output *out;
    interrupt *interrupt;
    core_host *host;
    nn_context *nn;
    float *fed;           /* operands for peaks from the level-2 cache */
    float *memory;        /* to read; made when first needed */
    bench_device *device; /* where some of the work runs, or NULL; see device.c */
    bench_limit peaks[NN_PEAKS], fed_peaks[NN_PEAKS], read;
    profile profile;
    json_t *report; /* "rows" and what else there is to say */
    bool stopped;   /* by Ctrl-C: what was measured so far is told */
} bench;

/* What work is held against: multiply-adds of the CPU, on registers or fed from the level-2 cache, and reading its
 * memory; or a device's copying, and its f16 products by cuBLAS and by our own kernels. */
typedef enum bench_source {
    BENCH_PEAK,
    BENCH_FED,
    BENCH_READ,
    BENCH_COPY,
    BENCH_CUBLAS,
    BENCH_OWN,
    BENCH_SOURCES
} bench_source;

/* A row of the report: samples, and what they are held against. */
typedef struct bench_row {
    const char *name, *unit;
    bool less_is_better;      /* a time */
    double operations, bytes; /* of one run; 0 = unknown */
    int64_t count;
    double value[MOST_ROUNDS];
    const char *unmeasured; /* why the figures say nothing, or NULL */
    int32_t limit_count;
    struct {
        bench_source source;
        nn_peak peak; /* of BENCH_PEAK and BENCH_FED */
        char name[32];
        const char *unit; /* of limit, in 1e9 of it: "GFLOP/s", "GB/s" */
        double limit[MOST_ROUNDS];
        double share[MOST_ROUNDS];
    } limits[MOST_LIMITS];
} bench_row;

/* ---- measure.c: rows --------------------------------------------------------------------------------------------- */

/* One more limit of the row. */
void bench_row_limit(bench_row *row, bench_source source, nn_peak peak);
/* Adds half of what each of the row's limits is now: called before and after the work of a round, for the clock may
 * move meanwhile. Limits begin as zeros. */
more_status bench_row_look(bench *b, const bench_row *row, double *limits, more_error *error);
/* One round: the value, and for each limit in its order what the machine gave and what of that was used, both a
 * second. */
void bench_row_add(bench_row *row, double value, const double *limits, const double *used);
/* Prints the row, or keeps it for the report. Rows without rounds are left out. */
more_status bench_row_done(bench *b, const bench_row *row, more_error *error);
/* Whether --only lets the row be measured, and nobody has asked to stop. */
bool bench_wanted(bench *b, const char *name);
/* A line of explanation, left out of JSON. */
MORE_PRINTF(2, 3) void bench_note(bench *b, const char *format, ...);
/* Which kernels, or device, and weights. */
void bench_note_kernels(bench *b, const char *weights);
/* {"name", "unit", "median", "least", "most", "samples"}. */
json_t *bench_samples(const char *name, const char *unit, const double *values, int64_t count, double scale);
double bench_median(const double *values, int64_t count, double *least, double *most);

/* A matrix of pseudo-random values. */
more_status bench_matrix(bench *b, int64_t rows, int64_t columns, nn_storage storage, nn_matrix **matrix,
                         more_error *error);
/* Pseudo-random activations where operators work; NULL when out of memory. */
float *bench_values(bench *b, int64_t count);
/* Runs `body`, which queues operators, until it took `seconds`, or once; `amount` of it a second. */
more_status bench_rate(bench *b, void (*body)(void *argument), void *argument, double amount, double seconds,
                       double *rate, more_error *error);

/* ---- limits.c: what the machine gives --------------------------------------------------------------------------- */

/* The memory that probes need; called before the first of them. `device`: those of b->device. */
more_status bench_limits_prepare(bench *b, bool device, more_error *error);
void bench_limits_free(bench *b);
/* Measures a limit and keeps the sample: operations a second of an instruction, on registers or fed from the level-2
 * cache (0 where there is none), and bytes a second read. */
double bench_peak(bench *b, nn_peak peak, bool fed);
double bench_read(bench *b);
/* The instructions that a product is held against: the one used; the fastest of f32 and 16-bit kinds; the fastest. Each
 * once; returns how many. The machine's rates are measured now. */
int32_t bench_peaks_of(bench *b, nn_peak used, nn_peak kinds[3]);
/* Keeps a sample; returns it. */
double bench_limit_keep(bench_limit *limit, double sample);
/* "f32 fma", "f32 fma from level 2", "read", "copy", "cuBLAS f16 product" or "own f16 product". */
void bench_source_name(bench_source source, nn_peak peak, char name[32]);
/* Appends the limit's samples to a list, unless it has none. */
void bench_limit_json(json_t *list, const char *name, const char *unit, const bench_limit *limit);
/* All samples so far as JSON, a new reference. */
json_t *bench_limits_json(const bench *b);
/* CPU, kernels, threads, memory: a new reference. */
json_t *bench_machine(const bench *b);

/* ---- device.c: what a CUDA device gives ------------------------------------------------------------------------- */

/* Makes b->device. Close it also after a failure; NULL is allowed. */
more_status bench_device_open(bench *b, int32_t number, more_error *error);
void bench_device_close(bench_device *device);
/* Takes memory, and measures each limit once. */
more_status bench_device_prepare(bench_device *device, more_error *error);
/* Measures a limit and keeps the sample: bytes read and written, or operations, a second; 0 for one it lacks. */
more_status bench_device_measure(bench_device *device, bench_source source, double *rate, more_error *error);
/* The product that work is held against: cuBLAS's, else our own; BENCH_SOURCES where there is none. */
bench_source bench_device_product(const bench_device *device);
/* Rows of its limits from `first` on; our own product is held against cuBLAS's. */
more_status bench_device_rows(bench *b, bench_source first, more_error *error);
/* Why figures of it say nothing: "an emulator"; NULL where they do, and for the CPU (NULL). */
const char *bench_device_unmeasured(const bench_device *device);
/* "cuda:0 (NVIDIA H100)" */
const char *bench_device_shown(const bench_device *device, char text[192]);
void bench_device_limits(const bench_device *device, json_t *list);
/* What it is; NULL = the CPU. A new reference. */
json_t *bench_device_json(const bench_device *device);
/* Until what was queued in the context is done; tells what failed there. */
more_status bench_wait(nn_context *nn, more_error *error);

/* ---- The benchmarks -----------------------------------------------------------------------------------------------
 */

more_status bench_gemm(bench *b, more_error *error);
more_status bench_decode(bench *b, more_error *error);
more_status bench_threads(bench *b, more_error *error);
more_status bench_limits(bench *b, more_error *error);
/* A model: options->what or options->synthetic; makes the host itself, since the INI file says how many threads. */
more_status bench_model_run(bench *b, more_error *error);
/* Host and context of the kernels; threads as core_host_config has them. */
more_status bench_start(bench *b, int32_t threads, more_log_level level, const more_weights_service *weights,
                        more_error *error);

/* Programs of their own behind their names; argv[0] is the name. */
int bench_perplexity(int argc, char **argv, output *out);
int bench_errors(int argc, char **argv, output *out);

/* ---- compare.c ----------------------------------------------------------------------------------------------------
 */

/* Reads an earlier report; *before is a new reference. */
more_status bench_compare_load(const char *path, json_t **before, more_error *error);
/* Adds "compare" to the report: each row that both have. */
more_status bench_compare(const json_t *before, const char *path, json_t *report, more_error *error);
/* Lays it out for people. */
void bench_compare_layout(FILE *file, const json_t *report);

#endif
