/* SPDX-License-Identifier: Apache-2.0
 *
 * nn_linear with quantised weights in int8 arithmetic. All rows of activations are quantised once, into tiles that the
 * workers share. The product is cut into blocks of rows and columns, each taken by one worker, which goes through a few
 * panels at a time, K_STEPS steps at a time: that part of the panels stays in the first-level cache, 4-bit numbers
 * unpacked to bytes once, while all tiles of the block pass by. A single tile streams the weights as they are stored.
 */
#include "internal.h"

enum {
    K_STEPS = 8,       /* of NN_STEP columns: 17 KiB of two panels */
    BLOCK_ROWS = 168,  /* of a block; a multiple of 6, 4 and 3 */
    BLOCK_PANELS = 16, /* of a block */
    C_STRIDE = (BLOCK_PANELS + 1) * NN_PANEL,
    FEW_PANELS = 32 /* of a block when all rows make one tile */
};

typedef struct int8_job {
    nn_context *context;
    const nn_kernels *kernels;
    const nn_linear_args *args;
    const nn_matrix *weight;
    int64_t steps; /* of a row */
    int64_t panel_bytes;
    int64_t tiles;        /* of all rows: tile t has rows [rows * t / tiles, rows * (t + 1) / tiles) */
    int64_t row_blocks;   /* block b has tiles [tiles * b / row_blocks, tiles * (b + 1) / row_blocks) */
    int64_t unit_panels;  /* of a block */
    int64_t group_panels; /* that go side by side */
    int64_t c_stride;     /* floats from row to row of a block's sums */
    char *x;              /* quantised: K_STEPS steps of every tile, then the next steps of every tile */
} int8_job;

static int64_t first_row(const int8_job *job, int64_t tile)
{
    return job->args->rows * tile / job->tiles;
}

/* Steps [step, ...) of the tile that begins at `row`; step is a multiple of K_STEPS. */
static char *x_at(const int8_job *job, int64_t row, int64_t step)
{
    int64_t steps = nn_min(K_STEPS, job->steps - step);
    return job->x + nn_x_step_bytes(step * job->args->rows + steps * row);
}

static void quantise_tiles(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const int8_job *job = argument;
    for (int64_t tile = begin; tile < end; tile++) {
        int64_t first = first_row(job, tile), rows = first_row(job, tile + 1) - first;
        for (int64_t step = 0; step < job->steps; step += K_STEPS) {
            int64_t k = step * NN_STEP, count = nn_min(K_STEPS * NN_STEP, job->weight->columns - k);
            for (int64_t r = 0; r < rows; r++)
                job->kernels->quantise(job->args->x + (first + r) * job->args->x_stride + k, count,
                                       job->weight->storage, rows, r, x_at(job, first, step));
        }
    }
}

/* ---- Blocks ----------------------------------------------------------------------------------------------------- */

typedef struct block {
    int64_t first_tile, last_tile;
    int64_t first_panel, last_panel;
    float *c;    /* [rows of the block][c_stride of the job] */
    char *bytes; /* unpacked panels */
} block;

/* Panels that go side by side: `count` of them, every `apart`-th from `first` on, so that each of them, part by part
 * and panel by panel, makes one stream of memory with those before and behind. */
typedef struct group {
    int64_t first, count, apart;
} group;

static nn_tile_int8 tile_of(const int8_job *job, const block *b, const group *g, int64_t step)
{
    return (nn_tile_int8){.panels = g->count,
                          .w = nn_panel_at(job->weight, g->first, step * NN_STEP),
                          .panel_stride = g->apart * job->panel_bytes,
                          .c = b->c + (g->first - b->first_panel) * NN_PANEL,
                          .c_stride = job->c_stride,
                          .c_panel = g->apart * NN_PANEL};
}

/* One tile of rows is bound by reading the weights: each panel from end to end, as it is stored. */
static void multiply_few(const int8_job *job, const block *b, const group *g)
{
    nn_tile_int8 tile = tile_of(job, b, g, 0);
    tile.rows = job->args->rows;
    tile.steps = job->steps;
    tile.x = job->x;
    job->kernels->few_int8[job->weight->storage - NN_FLOATS](&tile);
}

/* All tiles of the block through a group of panels, for K_STEPS steps from `step` on. */
static void multiply_part(const int8_job *job, const block *b, const group *g, int64_t step)
{
    nn_storage storage = job->weight->storage;
    nn_tile_int8 tile = tile_of(job, b, g, step);
    float *c = tile.c;
    tile.steps = nn_min(K_STEPS, job->steps - step);
    tile.accumulate = step > 0;
    if (storage != NN_Q8) {
        tile.panel_stride = K_STEPS * (nn_step_numbers(storage) + NN_STEP_BYTES8);
        tile.w = b->bytes;
        for (int64_t p = 0; p < g->count; p++)
            job->kernels->unpack[storage - NN_FLOATS](nn_panel_at(job->weight, g->first + p * g->apart, step * NN_STEP),
                                                      tile.steps, b->bytes + p * tile.panel_stride);
    }
    for (int64_t t = b->first_tile; t < b->last_tile; t++) {
        int64_t row = first_row(job, t);
        tile.rows = first_row(job, t + 1) - row;
        tile.x = x_at(job, row, step);
        tile.c = c + (row - first_row(job, b->first_tile)) * job->c_stride;
        job->kernels->tile_int8[storage - NN_FLOATS](&tile);
    }
}

static void multiply_group(const int8_job *job, const block *b, int64_t first, int64_t count, int64_t apart)
{
    group g = {first, count, apart};
    if (job->tiles == 1) {
        multiply_few(job, b, &g);
        return;
    }
    for (int64_t step = 0; step < job->steps; step += K_STEPS)
        multiply_part(job, b, &g, step);
}

static void multiply_unit(void *argument, int64_t unit, float *scratch)
{
    const int8_job *job = argument;
    int64_t column_block = unit / job->row_blocks, row_block = unit % job->row_blocks;
    block b = {.c = scratch, .bytes = (char *)(scratch + BLOCK_ROWS * C_STRIDE)};
    b.first_tile = job->tiles * row_block / job->row_blocks;
    b.last_tile = job->tiles * (row_block + 1) / job->row_blocks;
    b.first_panel = column_block * job->unit_panels;
    b.last_panel = nn_min(b.first_panel + job->unit_panels, job->weight->panels);
    int64_t apart = (b.last_panel - b.first_panel) / job->group_panels;
    for (int64_t i = 0; i < apart; i++)
        multiply_group(job, &b, b.first_panel + i, job->group_panels, apart);
    for (int64_t p = b.first_panel + apart * job->group_panels; p < b.last_panel; p++)
        multiply_group(job, &b, p, 1, 0);
    int64_t column = b.first_panel * NN_PANEL, row = first_row(job, b.first_tile);
    int64_t count = nn_min(b.last_panel * NN_PANEL, job->weight->rows) - column;
    for (int64_t r = row; r < first_row(job, b.last_tile); r++)
        nn_linear_finish(job->kernels, job->args, b.c + (r - row) * job->c_stride, r, column, count);
}

/* ---- Entry ------------------------------------------------------------------------------------------------------ */

/* Panels of a unit: a multiple of a group's, at most `most`, and such that the units divide evenly among the workers.
 */
static int64_t choose_panels(const int8_job *job, int64_t most)
{
    int64_t workers = job->context->workers, panels = job->weight->panels, step = job->group_panels;
    int64_t units = nn_max(nn_ceil_divide(4 * workers, job->row_blocks), nn_ceil_divide(panels, most));
    units = nn_ceil_divide(units, workers) * workers;
    return nn_min(most, nn_ceil_divide(nn_ceil_divide(panels, units), step) * step);
}

static void multiply(int8_job *job)
{
    int64_t rows = job->args->rows;
    double elements = (double)rows * (double)job->weight->columns;
    bool few = job->tiles == 1;
    nn_parallel_sized(job->context, elements, job->tiles, 1, quantise_tiles, job);
    job->group_panels = rows == 1 ? job->kernels->int8_stream : job->kernels->int8_panels;
    job->row_blocks = nn_ceil_divide(job->tiles, BLOCK_ROWS / job->kernels->int8_rows);
    job->unit_panels = choose_panels(job, few ? FEW_PANELS : BLOCK_PANELS);
    job->c_stride = few ? FEW_PANELS * NN_PANEL : C_STRIDE;
    int64_t units = job->row_blocks * nn_ceil_divide(job->weight->panels, job->unit_panels);
    nn_parallel_units(job->context, elements * (double)job->weight->rows, units, multiply_unit, job);
}

bool nn_linear_int8(nn_context *context, const nn_linear_args *args)
{
    const nn_matrix *w = args->weight;
    int8_job job = {.context = context, .kernels = context->kernels, .args = args, .weight = w};
    if (!nn_is_quantised(w->storage) || context->arithmetic == NN_ARITHMETIC_EXACT)
        return false;
    nn_arena *arena = nn_arena_begin(context);
    if (!arena)
        return false;
    job.steps = nn_ceil_divide(w->columns, NN_STEP);
    job.panel_bytes = nn_panel_bytes(w->storage, w->columns);
    job.tiles = nn_ceil_divide(args->rows, context->kernels->int8_rows);
    job.x = (char *)nn_arena_f32(arena, nn_x_step_bytes(job.steps * args->rows) / (int64_t)sizeof(float));
    if (job.x)
        multiply(&job);
    nn_arena_end(context, arena);
    return job.x != NULL;
}
