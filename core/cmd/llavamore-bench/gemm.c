/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench gemm: the matrix products of the models, many rows at a time, against the multiply-adds that the
 * registers alone allow.
 */
#include "bench.h"

static const double product_seconds = 0.06;

typedef struct product {
    const char *name;
    int64_t rows, columns, outputs;
} product;

/* Rows: the positions of an image, a prefill of 512 tokens, the 576 of an image's features. Query, key and value are
 * one matrix; gate and up too. */
static const product products[] = {
    {"ViT-L/14-336 patches", 576, 588, 1024},
    {"ViT-L/14-336 query key value", 577, 1024, 3072},
    {"ViT-L/14-336 attention out", 577, 1024, 1024},
    {"ViT-L/14-336 up", 577, 1024, 4096},
    {"ViT-L/14-336 down", 577, 4096, 1024},
    {"So400M/14-384 query key value", 729, 1152, 3456},
    {"So400M/14-384 attention out", 729, 1152, 1152},
    {"So400M/14-384 up", 729, 1152, 4304},
    {"So400M/14-384 down", 729, 4304, 1152},
    {"projector 1024 to 4096", 576, 1024, 4096},
    {"projector 4096 to 4096", 576, 4096, 4096},
    {"8B decoder query key value", 512, 4096, 6144},
    {"8B decoder attention out", 512, 4096, 4096},
    {"8B decoder gate up", 512, 4096, 28672},
    {"8B decoder down", 512, 14336, 4096},
    {"9B decoder query key value", 512, 3584, 8192},
    {"9B decoder attention out", 512, 4096, 3584},
    {"9B decoder gate up", 512, 3584, 28672},
    {"9B decoder down", 512, 14336, 3584},
    {"2B decoder query key value", 512, 2304, 4096},
    {"2B decoder attention out", 512, 2048, 2304},
    {"2B decoder gate up", 512, 2304, 18432},
    {"2B decoder down", 512, 9216, 2304},
    {"4B decoder query key value", 512, 3072, 5120},
    {"4B decoder attention out", 512, 3072, 3072},
    {"4B decoder gate up", 512, 3072, 16384},
    {"4B decoder down", 512, 8192, 3072},
};

enum { PRODUCTS = sizeof products / sizeof products[0] };

static void name_limits(bench *b, bench_row *row)
{
    nn_peak used = nn_probe_used(b->nn, b->options->weights, products[0].rows);
    if (b->device) {
        bench_row_limit(row, bench_device_product(b->device), used);
        return;
    }
    bench_row_limit(row, BENCH_PEAK, used);
    bench_row_limit(row, BENCH_FED, used);
}

static more_status compare_with_peak(bench *b, const char *name, void (*body)(void *argument), void *argument,
                                     double operations, more_error *error)
{
    bench_row row = {
        .name = name, .unit = "GFLOP/s", .operations = operations, .unmeasured = bench_device_unmeasured(b->device)};
    double rate;
    name_limits(b, &row);
    more_status status = bench_rate(b, body, argument, operations, 0.0, &rate, error); /* touches all memory once */
    for (int64_t round = 0; round < b->options->rounds && !status && bench_wanted(b, name); round++) {
        double limits[MOST_LIMITS] = {0};
        status = bench_row_look(b, &row, limits, error);
        if (!status)
            status = bench_rate(b, body, argument, operations, product_seconds, &rate, error);
        if (!status)
            status = bench_row_look(b, &row, limits, error);
        if (!status)
            bench_row_add(&row, 1e-9 * rate, limits, (const double[]){rate, rate});
    }
    return status ? status : bench_row_done(b, &row, error);
}

typedef struct product_run {
    bench *b;
    nn_linear_args args;
} product_run;

static void run_product(void *argument)
{
    product_run *run = argument;
    nn_linear(run->b->nn, &run->args);
}

static more_status measure_product(bench *b, const product *p, more_error *error)
{
    nn_matrix *matrix = NULL;
    more_status status = bench_matrix(b, p->outputs, p->columns, b->options->weights, &matrix, error);
    float *x = bench_values(b, p->rows * p->columns), *y = nn_alloc_f32(b->nn, p->rows * p->outputs);
    if (!status && (!x || !y))
        status = more_fail(error, MORE_ERROR_MEMORY, "no memory for the activations of '%s'", p->name);
    if (!status) {
        product_run run = {b, {.x = x, .rows = p->rows, .weight = matrix, .y = y}};
        double operations = 2.0 * (double)p->rows * (double)p->columns * (double)p->outputs;
        status = compare_with_peak(b, p->name, run_product, &run, operations, error);
    }
    nn_free(b->nn, x);
    nn_free(b->nn, y);
    nn_matrix_free(b->nn, matrix);
    return status;
}

/* All products of one image through ViT-L/14-336: the patches and 24 blocks, whose weights (four blocks in turn) are
 * more than a cache holds. */
enum { TOWER_FIRST = 1, TOWER_KINDS = 4, TOWER_COPIES = 4, TOWER_BLOCKS = 24 };

typedef struct tower {
    bench *b;
    nn_matrix *patches, *blocks[TOWER_COPIES][TOWER_KINDS];
    float *x, *y;
} tower;

static void run_tower(void *argument)
{
    tower *t = argument;
    nn_linear_args args = {.x = t->x, .rows = products[0].rows, .weight = t->patches, .y = t->y};
    nn_linear(t->b->nn, &args);
    args.rows = products[TOWER_FIRST].rows;
    for (int block = 0; block < TOWER_BLOCKS; block++)
        for (int kind = 0; kind < TOWER_KINDS; kind++) {
            args.weight = t->blocks[block % TOWER_COPIES][kind];
            args.activation = kind == 2 ? NN_QUICK_GELU : NN_IDENTITY;
            nn_linear(t->b->nn, &args);
        }
}

static more_status tower_make(tower *t, double *operations, more_error *error)
{
    const product *p = &products[0];
    bench *b = t->b;
    *operations = 2.0 * (double)p->rows * (double)p->columns * (double)p->outputs;
    more_status status = bench_matrix(b, p->outputs, p->columns, b->options->weights, &t->patches, error);
    for (int kind = 0; kind < TOWER_KINDS; kind++) {
        p = &products[TOWER_FIRST + kind];
        *operations += TOWER_BLOCKS * 2.0 * (double)p->rows * (double)p->columns * (double)p->outputs;
        for (int copy = 0; copy < TOWER_COPIES && !status; copy++)
            status = bench_matrix(b, p->outputs, p->columns, b->options->weights, &t->blocks[copy][kind], error);
    }
    t->x = bench_values(b, p->rows * 4096);
    t->y = nn_alloc_f32(b->nn, p->rows * 4096);
    if (!status && (!t->x || !t->y))
        status = more_fail(error, MORE_ERROR_MEMORY, "no memory for the activations of an image");
    return status;
}

static more_status measure_tower(bench *b, const char *name, more_error *error)
{
    tower t = {.b = b};
    double operations;
    more_status status = tower_make(&t, &operations, error);
    if (!status)
        status = compare_with_peak(b, name, run_tower, &t, operations, error);
    nn_matrix_free(b->nn, t.patches);
    for (int copy = 0; copy < TOWER_COPIES; copy++)
        for (int kind = 0; kind < TOWER_KINDS; kind++)
            nn_matrix_free(b->nn, t.blocks[copy][kind]);
    nn_free(b->nn, t.x);
    nn_free(b->nn, t.y);
    return status;
}

more_status bench_gemm(bench *b, more_error *error)
{
    static const char whole[] = "ViT-L/14-336 image, all products";
    more_status status = bench_limits_prepare(b, b->device, error);
    bench_note_kernels(b, nn_storage_name(b->options->weights));
    for (int i = 0; i < PRODUCTS && !status; i++)
        if (bench_wanted(b, products[i].name))
            status = measure_product(b, &products[i], error);
    if (!status && bench_wanted(b, whole))
        status = measure_tower(b, whole, error);
    return status;
}
