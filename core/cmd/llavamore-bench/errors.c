/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench errors: how far each storage of weights and each arithmetic is from the product in double precision,
 * for the matrices of the released models, beside what the formats themselves cost.
 */
#include "bench.h"
#include "error_bounds.h"

#include "base/host.h"

#include <getopt.h>
#include <string.h>

static const char help_text[] =
    "Usage: llavamore-bench errors [OPTION]...\n"
    "\n"
    "The relative RMS error of matrix products of the models' shapes, for each storage of the weights and each\n"
    "arithmetic, against the same product of the unrounded f32 values in double precision; beside it the error\n"
    "that follows from the formats for normal values (of q4 and q4_1 without a search for the scales, which\n"
    "makes it less).\n"
    "\n"
    "  -t, --threads N   threads (default: all cores)\n"
    "  -n, --rows N      rows of activations, 1 to 512 (default: 64)\n"
    "  -o, --only TEXT   only matrices whose name has TEXT in it\n"
    "      --json        print JSON\n"
    "      --markdown    print a table of the least and largest errors over all matrices\n"
    "  -h, --help        print this text\n";

enum { OPTION_JSON = 256, OPTION_MARKDOWN };

static const struct option long_options[] = {
    {"threads", required_argument, NULL, 't'},
    {"rows", required_argument, NULL, 'n'},
    {"only", required_argument, NULL, 'o'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"markdown", no_argument, NULL, OPTION_MARKDOWN},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

typedef struct product {
    const char *name;
    int64_t columns, outputs;
} product;

static const product products[] = {
    {"ViT-L/14-336 patches", 588, 1024},
    {"ViT-L/14-336 query key value", 1024, 3072},
    {"ViT-L/14-336 attention out", 1024, 1024},
    {"ViT-L/14-336 up", 1024, 4096},
    {"ViT-L/14-336 down", 4096, 1024},
    {"so400m/14 patches", 588, 1152},
    {"so400m/14 query key value", 1152, 3456},
    {"so400m/14 attention out", 1152, 1152},
    {"so400m/14 up", 1152, 4304},
    {"so400m/14 down", 4304, 1152},
    {"2B query key value", 2304, 4096},
    {"2B attention out", 2048, 2304},
    {"2B gate up", 2304, 18432},
    {"2B down", 9216, 2304},
    {"2B head", 2304, 256000},
    {"4B query key value", 3072, 5120},
    {"4B attention out", 3072, 3072},
    {"4B gate up", 3072, 16384},
    {"4B down", 8192, 3072},
    {"4B head", 3072, 200064},
    {"8B query key value", 4096, 6144},
    {"8B attention out", 4096, 4096},
    {"8B gate up", 4096, 28672},
    {"8B down", 14336, 4096},
    {"8B head", 4096, 128256},
};

enum {
    PRODUCTS = sizeof products / sizeof products[0],
    SLICE = 4096,     /* outputs that are in memory at a time */
    MOST = 32768,     /* outputs of a matrix that are measured: of the heads a part, which errs as the rest does */
    MOST_ROWS = 512,  /* of activations */
    GROUP = 16,       /* of them that the double-precision product takes at a time */
    QUANTILES = 65536 /* equally likely values that stand for the normal distribution */
};

/* What is measured: every storage, exactly, and in the arithmetic that differs from that. */
typedef struct way {
    nn_storage storage;
    nn_arithmetic arithmetic;
    const char *name;
} way;

static const way ways[] = {
    {NN_F32, NN_ARITHMETIC_EXACT, "f32"},
    {NN_F16, NN_ARITHMETIC_EXACT, "f16"},
    {NN_BF16, NN_ARITHMETIC_EXACT, "bf16"},
    {NN_F32, NN_ARITHMETIC_FAST, "f32 fast"},
    {NN_F16, NN_ARITHMETIC_FAST, "f16 fast"},
    {NN_BF16, NN_ARITHMETIC_FAST, "bf16 fast"},
    {NN_Q8, NN_ARITHMETIC_EXACT, "q8 exact"},
    {NN_Q8, NN_ARITHMETIC_AUTO, "q8"},
    {NN_Q4, NN_ARITHMETIC_EXACT, "q4 exact"},
    {NN_Q4, NN_ARITHMETIC_AUTO, "q4"},
    {NN_Q4_OFFSET, NN_ARITHMETIC_EXACT, "q4_1 exact"},
    {NN_Q4_OFFSET, NN_ARITHMETIC_AUTO, "q4_1"},
};

enum { WAYS = sizeof ways / sizeof ways[0] };

typedef struct errors_options {
    int64_t threads, rows;
    const char *only;
    bool as_json, as_markdown;
} errors_options;

/* One matrix on its way through all of it. */
typedef struct errors_run {
    const errors_options *options;
    nn_context *nn;
    output *out;
    const float *normal; /* [QUANTILES] */
    int64_t columns, outputs;
    uint64_t seed;
    float *weights, *x, *y;         /* [outputs, columns], [rows, columns], [rows, outputs] */
    double *turned;                 /* x for the product in double precision */
    double *exact;                  /* [outputs, rows] */
    double error[WAYS], size;       /* sums of squares */
    double least[WAYS], most[WAYS]; /* relative errors over the matrices so far */
} errors_run;

/* ---- Values ------------------------------------------------------------------------------------------------------ */

/* The quantile function of the normal distribution at the middle of each of QUANTILES equal shares. */
static void fill_normal(float *normal)
{
    for (int i = 0; i < QUANTILES; i++) {
        double share = ((double)i + 0.5) / QUANTILES, low = -6.0, high = 6.0;
        for (int step = 0; step < 40; step++) {
            double middle = 0.5 * (low + high);
            if (0.5 * erfc(-middle * sqrt(0.5)) < share)
                low = middle;
            else
                high = middle;
        }
        normal[i] = (float)low;
    }
}

/* splitmix64 */
static uint64_t next_bits(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void fill(const errors_run *run, uint64_t stream, int64_t count, float scale, float *values)
{
    uint64_t state = stream * 0xd1342543de82ef95 + 1, bits = 0;
    for (int64_t i = 0; i < count; i++) {
        bits = i % 4 ? bits >> 16 : next_bits(&state);
        values[i] = scale * run->normal[bits & (QUANTILES - 1)];
    }
}

static void fill_weights(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const errors_run *run = argument;
    float scale = 1.0f / sqrtf((float)run->columns);
    for (int64_t o = begin; o < end; o++)
        fill(run, run->seed + (uint64_t)o, run->columns, scale, run->weights + o * run->columns);
}

/* ---- The product in double precision ----------------------------------------------------------------------------- */

/* x as double, GROUP rows side by side: [groups][columns][GROUP], zeros where rows are missing. */
static void turn(const errors_run *run)
{
    for (int64_t r = 0; r < run->options->rows; r++) {
        double *group = run->turned + r / GROUP * GROUP * run->columns + r % GROUP;
        for (int64_t k = 0; k < run->columns; k++)
            group[k * GROUP] = (double)run->x[r * run->columns + k];
    }
}

static void multiply_exactly(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const errors_run *run = argument;
    int64_t rows = run->options->rows;
    for (int64_t o = begin; o < end; o++)
        for (int64_t first = 0; first < rows; first += GROUP) {
            double sum[GROUP] = {0.0};
            const float *w = run->weights + o * run->columns;
            const double *x = run->turned + first * run->columns;
            for (int64_t k = 0; k < run->columns; k++)
                for (int r = 0; r < GROUP; r++)
                    sum[r] += (double)w[k] * x[k * GROUP + r];
            for (int64_t r = first; r < rows && r < first + GROUP; r++)
                run->exact[o * rows + r] = sum[r - first];
        }
}

/* ---- One matrix -------------------------------------------------------------------------------------------------- */

static more_status add_way(errors_run *run, int index, more_error *error)
{
    int64_t rows = run->options->rows;
    nn_matrix *matrix = NULL;
    more_status status =
        nn_matrix_pack(run->nn, run->weights, run->outputs, run->columns, ways[index].storage, &matrix, error);
    if (status != MORE_OK)
        return status;
    nn_context_set_arithmetic(run->nn, ways[index].arithmetic);
    nn_linear(run->nn, &(nn_linear_args){.x = run->x, .rows = rows, .weight = matrix, .y = run->y});
    nn_matrix_free(run->nn, matrix);
    for (int64_t o = 0; o < run->outputs; o++)
        for (int64_t r = 0; r < rows; r++) {
            double difference = (double)run->y[r * run->outputs + o] - run->exact[o * rows + r];
            run->error[index] += difference * difference;
        }
    return MORE_OK;
}

/* `outputs` rows of the matrix, from row `first` on. */
static more_status add_slice(errors_run *run, int64_t first, int64_t outputs, more_error *error)
{
    more_status status = MORE_OK;
    run->outputs = outputs;
    run->seed = 1000003 + (uint64_t)first;
    nn_parallel(run->nn, outputs, 16, fill_weights, run);
    nn_parallel(run->nn, outputs, 16, multiply_exactly, run);
    for (int64_t i = 0; i < outputs * run->options->rows; i++)
        run->size += run->exact[i] * run->exact[i];
    for (int i = 0; i < WAYS && status == MORE_OK; i++)
        status = add_way(run, i, error);
    return status;
}

static more_status measure(errors_run *run, const product *p, more_error *error)
{
    int64_t rows = run->options->rows, outputs = p->outputs < MOST ? p->outputs : MOST;
    int64_t slice = outputs < SLICE ? outputs : SLICE;
    run->columns = p->columns;
    run->weights = nn_alloc_f32(run->nn, slice * p->columns);
    run->x = nn_alloc_f32(run->nn, rows * p->columns);
    run->y = nn_alloc_f32(run->nn, rows * slice);
    run->exact = calloc((size_t)(slice * rows), sizeof *run->exact);
    run->turned = calloc((size_t)((rows + GROUP - 1) / GROUP * GROUP * p->columns), sizeof *run->turned);
    run->size = 0.0;
    memset(run->error, 0, sizeof run->error);
    more_status status = MORE_OK;
    if (!run->weights || !run->x || !run->y || !run->exact || !run->turned) {
        status = more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld rows of '%s'", (long long)slice, p->name);
    } else {
        fill(run, 1, rows * p->columns, 1.0f, run->x);
        turn(run);
    }
    for (int64_t first = 0; first < outputs && status == MORE_OK; first += slice)
        status = add_slice(run, first, outputs - first < slice ? outputs - first : slice, error);
    nn_free(run->nn, run->weights);
    nn_free(run->nn, run->x);
    nn_free(run->nn, run->y);
    free(run->turned);
    free(run->exact);
    return status;
}

/* ---- Reports ----------------------------------------------------------------------------------------------------- */

static double error_of(const errors_run *run, int index)
{
    return sqrt(run->error[index] / run->size);
}

static double bound_of(const errors_run *run, int index)
{
    return error_bound(ways[index].storage, ways[index].arithmetic, run->columns);
}

static json_t *row_json(const errors_run *run, const product *p)
{
    json_t *list = json_array();
    for (int i = 0; i < WAYS; i++)
        json_array_append_new(list, json_pack("{s:s, s:f, s:f}", "format", ways[i].name, "error", error_of(run, i),
                                              "bound", bound_of(run, i)));
    return json_pack("{s:s, s:I, s:I, s:o}", "name", p->name, "columns", (json_int_t)p->columns, "outputs",
                     (json_int_t)p->outputs, "errors", list);
}

static void row_text(const errors_run *run, const product *p)
{
    char line[256];
    snprintf(line, sizeof line, "%s [%lld, %lld]\n", p->name, (long long)p->outputs, (long long)p->columns);
    output_text(run->out, line);
    for (int i = 0; i < WAYS; i++) {
        snprintf(line, sizeof line, "  %-10s %8.2e  of %8.2e  %5.1f %%\n", ways[i].name, error_of(run, i),
                 bound_of(run, i), 100.0 * error_of(run, i) / bound_of(run, i));
        output_text(run->out, line);
    }
}

/* A line a way: over all matrices that were measured, and what follows from the formats for the longest sums. */
static void print_markdown(const errors_run *run)
{
    char line[160];
    int64_t longest = 0;
    for (int i = 0; i < PRODUCTS; i++)
        longest = products[i].columns > longest ? products[i].columns : longest;
    output_text(run->out, "| weights | least error | largest error | from the formats |\n|---|---|---|---|\n");
    for (int i = 0; i < WAYS; i++) {
        snprintf(line, sizeof line, "| %s | %.3g | %.3g | %.3g |\n", ways[i].name, run->least[i], run->most[i],
                 error_bound(ways[i].storage, ways[i].arithmetic, longest));
        output_text(run->out, line);
    }
}

/* Least and largest error of each way so far. */
static void keep_extremes(errors_run *run)
{
    for (int i = 0; i < WAYS; i++) {
        double error = error_of(run, i);
        run->least[i] = run->most[i] == 0.0 || error < run->least[i] ? error : run->least[i];
        run->most[i] = error > run->most[i] ? error : run->most[i];
    }
}

static more_status measure_all(errors_run *run, json_t *rows, more_error *error)
{
    const errors_options *options = run->options;
    more_status status = MORE_OK;
    int measured = 0;
    for (int i = 0; i < PRODUCTS && status == MORE_OK && !run->out->error; i++) {
        if (options->only && !strstr(products[i].name, options->only))
            continue;
        status = measure(run, &products[i], error);
        if (status != MORE_OK)
            break;
        measured++;
        keep_extremes(run);
        if (options->as_json)
            json_array_append_new(rows, row_json(run, &products[i]));
        else if (!options->as_markdown)
            row_text(run, &products[i]);
    }
    if (status == MORE_OK && !measured && !run->out->error)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "--only %s: no matrix has this in its name, as '%s' does",
                         options->only, products[0].name);
    if (status == MORE_OK && options->as_markdown)
        print_markdown(run);
    return status;
}

static int run_errors(const errors_options *options, output *out)
{
    more_error error = {{0}};
    core_host *host = NULL;
    core_host_config config = {.threads = (int32_t)options->threads, .log_level = MORE_LOG_WARNING};
    float *normal = calloc(QUANTILES, sizeof *normal);
    json_t *rows = json_array();
    errors_run one = {.options = options, .out = out, .normal = normal};
    more_status status = normal && rows ? MORE_OK : more_fail(&error, MORE_ERROR_MEMORY, "out of memory");
    if (status == MORE_OK)
        status = core_host_create(&config, &host, &error);
    if (status == MORE_OK)
        status = nn_context_create(core_host_abi(host), &one.nn, &error);
    if (status == MORE_OK) {
        fill_normal(normal);
        status = measure_all(&one, rows, &error);
    }
    if (status == MORE_OK && options->as_json) {
        json_t *report = json_pack("{s:s, s:I, s:O}", "kernels", nn_context_kernels(one.nn), "rows_of_activations",
                                   (json_int_t)options->rows, "rows", rows);
        status = print_json(out, report, &error);
        json_decref(report);
    }
    json_decref(rows);
    free(normal);
    nn_context_destroy(one.nn);
    core_host_destroy(host);
    return status == MORE_OK ? EXIT_SUCCESS : fail_status(PROGRAM, status, &error);
}

int bench_errors(int argc, char **argv, output *out)
{
    errors_options options = {.rows = 64};
    int code = EXIT_SUCCESS;
    optind = 0; /* from the beginning: a new list of arguments */
    for (int option; (option = getopt_long(argc, argv, "t:n:o:h", long_options, NULL)) != -1;) {
        switch (option) {
        case 't':
            if (!take_number(PROGRAM, "--threads", optarg, 0, 1024, &options.threads, &code))
                return code;
            break;
        case 'n':
            if (!take_number(PROGRAM, "--rows", optarg, 1, MOST_ROWS, &options.rows, &code))
                return code;
            break;
        case 'o':
            options.only = optarg;
            break;
        case OPTION_JSON:
            options.as_json = true;
            break;
        case OPTION_MARKDOWN:
            options.as_markdown = true;
            break;
        case 'h':
            output_text(out, help_text);
            return EXIT_SUCCESS;
        default:
            return EXIT_USAGE; /* getopt has printed its line */
        }
    }
    if (optind < argc)
        return fail(PROGRAM, EXIT_USAGE, "errors takes no argument: '%s'", argv[optind]);
    if (options.as_json && options.as_markdown)
        return fail(PROGRAM, EXIT_USAGE, "--json and --markdown: give one of them");
    return run_errors(&options, out);
}
