/* SPDX-License-Identifier: Apache-2.0
 *
 * nn_linear with quantised weights in int8 arithmetic. All rows of activations are quantised once, into tiles that the
 * workers share. The product is cut into blocks of rows and columns, each taken by one worker, which goes through
 * a few steps of a few panels at a time: that part of the panels stays in the first-level cache, 4-bit numbers
 * unpacked to bytes once, while all tiles of the block pass by. A single tile streams the weights as they are stored.
 */
#include "internal.h"

enum {
    MOST_STEPS = 8,    /* of a part, a multiple of NN_X_STEPS: 17 KiB of two panels */
    BLOCK_ROWS = 180,  /* of a block; a multiple of 6, 4 and 3; 512 rows make three */
    BLOCK_PANELS = 16, /* of a block */
    C_STRIDE = (BLOCK_PANELS + 1) * NN_PANEL,
    FEW_PANELS = 32 /* of a block when all rows make one tile */
};

typedef struct int8_job {
    nn_context *context;
    const nn_kernels *kernels;
    const nn_linear_args *args;
    const nn_matrix *weight;
    int64_t steps;      /* of a row */
    int64_t part_steps; /* of a part of them: k goes in parts of about the same size */
    int64_t panel_bytes;
    int64_t tiles;        /* of all rows: tile t has rows [rows * t / tiles, rows * (t + 1) / tiles) */
    int64_t row_blocks;   /* block b has tiles [tiles * b / row_blocks, tiles * (b + 1) / row_blocks) */
    int64_t unit_panels;  /* of a block */
    int64_t group_panels; /* that go side by side */
    int64_t c_stride;     /* floats from row to row of a block's sums */
    char *x;              /* quantised: a part of every tile, then the next part of every tile */
} int8_job;

static int64_t first_row(const int8_job *job, int64_t tile)
{
    return job->args->rows * tile / job->tiles;
}

/* The part that begins at `step`, of the tile that begins at `row`. */
static char *x_at(const int8_job *job, int64_t row, int64_t step)
{
    int64_t steps = nn_min(job->part_steps, job->steps - step);
    return job->x + nn_x_step_bytes(step * job->args->rows + steps * row);
}

static void quantise_tiles(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const int8_job *job = argument;
    for (int64_t tile = begin; tile < end; tile++) {
        int64_t first = first_row(job, tile), rows = first_row(job, tile + 1) - first;
        for (int64_t r = 0; r < rows; r++) {
            const float *x = job->args->x + (first + r) * job->args->x_stride;
            for (int64_t step = 0; step < job->steps; step += job->part_steps) {
                int64_t k = step * NN_STEP, count = nn_min(job->part_steps * NN_STEP, job->weight->columns - k);
                job->kernels->quantise(x + k, count, job->weight->storage, rows, r, x_at(job, first, step));
            }
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

static int64_t block_row(const int8_job *job, const block *b)
{
    return first_row(job, b->first_tile);
}

static void finish_rows(const int8_job *job, const block *b, int64_t first, int64_t last)
{
    nn_linear_finish(job->kernels, job->args, b->c + (first - block_row(job, b)) * job->c_stride, job->c_stride, first,
                     last, b->first_panel * NN_PANEL, nn_panel_rows(job->weight, b->first_panel, b->last_panel));
}

/* One tile of rows is bound by reading the weights, as they are stored: panels [first, first + apart * count), `count`
 * of them side by side, so that each of them and those that come after it make one long stream of memory. */
static void stream_panels(const int8_job *job, const block *b, int64_t first, int64_t apart, int64_t count)
{
    nn_tile_int8 tile = {.rows = job->args->rows, .panels = count, .steps = job->steps, .x = job->x};
    tile.panel_stride = apart * job->panel_bytes;
    tile.c_stride = job->c_stride;
    tile.c_panel = apart * NN_PANEL;
    for (int64_t panel = first; panel < first + apart; panel++) {
        tile.w = nn_panel_at(job->weight, panel, 0);
        tile.c = b->c + (panel - b->first_panel) * NN_PANEL;
        job->kernels->few_int8[job->weight->storage - NN_FLOATS](&tile);
    }
}

static void multiply_few(const int8_job *job, const block *b)
{
    int64_t apart = (b->last_panel - b->first_panel) / job->group_panels;
    int64_t rest = b->first_panel + apart * job->group_panels;
    stream_panels(job, b, b->first_panel, apart, job->group_panels);
    stream_panels(job, b, rest, b->last_panel - rest, 1);
    finish_rows(job, b, 0, job->args->rows);
}

/* A group of adjacent panels, and the steps [step, step + steps) of it. */
typedef struct part {
    int64_t panel, panels;
    int64_t step, steps;
} part;

static part part_at(const int8_job *job, const block *b, int64_t panel, int64_t step)
{
    return (part){panel, nn_min(job->group_panels, b->last_panel - panel), step,
                  nn_min(job->part_steps, job->steps - step)};
}

/* The part that the block comes to after p; none (no steps) behind the last. */
static part part_after(const int8_job *job, const block *b, const part *p)
{
    int64_t panel = p->panel + p->panels;
    return panel < b->last_panel ? part_at(job, b, panel, p->step)
                                 : part_at(job, b, b->first_panel, p->step + p->steps);
}

/* Where the part lies with a byte for each number, and *stride bytes from panel to panel: 4-bit numbers are unpacked.
 */
static const void *part_bytes(const int8_job *job, const block *b, const part *p, int64_t *stride)
{
    const nn_matrix *w = job->weight;
    *stride = job->panel_bytes;
    if (w->storage == NN_Q8)
        return nn_panel_at(w, p->panel, p->step * NN_STEP);
    *stride = job->part_steps * (nn_step_numbers(w->storage) + NN_STEP_BYTES8);
    for (int64_t i = 0; i < p->panels; i++)
        job->kernels->unpack[w->storage - NN_FLOATS](nn_panel_at(w, p->panel + i, p->step * NN_STEP), p->steps,
                                                     b->bytes + i * *stride);
    return b->bytes;
}

/* Asks for what is needed soon: a share of the next part, and in the last one the rows that the next tile's results go
 * to. */
static void fetch_ahead(const int8_job *job, const block *b, const part *next, int64_t tile)
{
    const nn_matrix *w = job->weight;
    for (int64_t i = 0; i < next->panels; i++)
        nn_fetch_part(nn_panel_at(w, next->panel + i, next->step * NN_STEP), next->steps * nn_step_bytes(w->storage),
                      tile - b->first_tile, b->last_tile - b->first_tile);
    if (next->steps == 0 && tile + 1 < b->last_tile)
        nn_linear_fetch(job->args, first_row(job, tile + 1), first_row(job, tile + 2), b->first_panel * NN_PANEL,
                        nn_panel_rows(job->weight, b->first_panel, b->last_panel));
}

/* All tiles of the block through a part. In the last one each is finished at once, and its results go to memory while
 * the next is computed. */
static void multiply_part(const int8_job *job, const block *b, const part *p)
{
    const part next = part_after(job, b, p);
    nn_tile_int8 tile = {.panels = p->panels, .steps = p->steps, .accumulate = p->step > 0};
    tile.w = part_bytes(job, b, p, &tile.panel_stride);
    tile.c_stride = job->c_stride;
    tile.c_panel = NN_PANEL;
    for (int64_t t = b->first_tile; t < b->last_tile; t++) {
        int64_t row = first_row(job, t), behind = first_row(job, t + 1);
        tile.rows = behind - row;
        tile.x = x_at(job, row, p->step);
        tile.c = b->c + (row - block_row(job, b)) * job->c_stride + (p->panel - b->first_panel) * NN_PANEL;
        fetch_ahead(job, b, &next, t);
        job->kernels->tile_int8[job->weight->storage - NN_FLOATS](&tile);
        if (next.steps == 0)
            finish_rows(job, b, row, behind);
    }
}

static void multiply_many(const int8_job *job, const block *b)
{
    for (part p = part_at(job, b, b->first_panel, 0); p.steps > 0; p = part_after(job, b, &p))
        multiply_part(job, b, &p);
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
    if (job->tiles == 1)
        multiply_few(job, &b);
    else
        multiply_many(job, &b);
}

/* ---- Entry ------------------------------------------------------------------------------------------------------ */

/* Panels of a unit, a multiple of a group's and at most `most`, such that the worker with the most units is done
 * soonest; beginning a unit costs about what a panel does. At least four units a worker, where there are as many
 * groups. */
static int64_t choose_panels(const int8_job *job, int64_t most)
{
    int64_t workers = job->context->workers, panels = job->weight->panels, best = 0, best_load = INT64_MAX;
    for (int64_t unit = job->group_panels; unit <= most; unit += job->group_panels) {
        int64_t units = job->row_blocks * nn_ceil_divide(panels, unit);
        int64_t load = nn_ceil_divide(units, workers) * (unit + 1);
        if (best && (load > best_load || units < 4 * workers))
            continue;
        best = unit;
        best_load = load;
    }
    return best;
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
    int64_t parts = nn_ceil_divide(job.steps, MOST_STEPS);
    job.part_steps = nn_ceil_divide(job.steps, parts * NN_X_STEPS) * NN_X_STEPS;
    job.panel_bytes = nn_panel_bytes(w->storage, w->columns);
    job.tiles = nn_ceil_divide(args->rows, context->kernels->int8_rows);
    job.x = (char *)nn_arena_f32(arena, nn_x_step_bytes(job.steps * args->rows) / (int64_t)sizeof(float));
    if (job.x)
        multiply(&job);
    nn_arena_end(context, arena);
    return job.x != NULL;
}
