/* SPDX-License-Identifier: Apache-2.0
 *
 * y = activation(x W^T + bias) + residual: the one matrix entry, and its f32 arithmetic (linear_int8.c has that of
 * quantised weights, linear_bf16.c that of 16-bit products). One row streams the packed weights once, straight from
 * memory. Several rows are cut into blocks that a worker handles alone: rows are packed a block of k at a time, and
 * every group of panels, widened to f32 where many rows share it, goes through all tiles of the block.
 */
#include <math.h>
#include <string.h>

#include "internal.h"
#include "profile.h"

enum {
    STREAM_LEAST = 4, /* panels of one unit of a single row's work: at least what a kernel takes side by side */
    STREAM_MOST = 16, /* and at most, for an even end */
    WIDEN_TILES = 3   /* tiles from which on 16-bit weights are widened once rather than in each tile */
};

typedef struct linear_job {
    nn_context *context;
    const nn_kernels *kernels;
    const nn_linear_args *args;
    const nn_matrix *weight;
    int64_t tiles;         /* of all rows: tile t has rows [rows * t / tiles, rows * (t + 1) / tiles) */
    int64_t row_blocks;    /* block b has tiles [tiles * b / row_blocks, tiles * (b + 1) / row_blocks) */
    int64_t block_columns; /* outputs of a block, a multiple of a tile's */
    int64_t c_stride;      /* floats from row to row of a block's sums */
    int64_t unit_panels;   /* of a single row's work */
} linear_job;

static void stream_row(void *argument, int64_t unit, float *scratch)
{
    const linear_job *job = argument;
    const nn_matrix *w = job->weight;
    int64_t first = unit * job->unit_panels, panels = nn_min(job->unit_panels, w->panels - first);
    job->kernels->stream[w->storage](job->args->x, w->columns, nn_panel_at(w, first, 0), w->columns * NN_PANEL, panels,
                                     scratch);
    nn_linear_finish(job->kernels, job->args, scratch, 0, 0, 1, first * NN_PANEL,
                     nn_panel_rows(w, first, first + panels));
}

/* One worker's memory for a block. */
typedef struct block_memory {
    float *x;      /* [NN_BLOCK_ROWS][NN_X_STRIDE] */
    float *c;      /* [NN_BLOCK_ROWS][c_stride of the job] */
    float *panels; /* a tile's panels, widened */
} block_memory;

typedef struct block {
    int64_t first_tile, last_tile;
    int64_t first_row, last_row;
    int64_t first_panel, last_panel;
} block;

static block block_at(const linear_job *job, int64_t unit)
{
    int64_t column_block = unit / job->row_blocks, row_block = unit % job->row_blocks;
    int64_t panels = job->block_columns / NN_PANEL;
    block b;
    b.first_tile = job->tiles * row_block / job->row_blocks;
    b.last_tile = job->tiles * (row_block + 1) / job->row_blocks;
    b.first_row = job->args->rows * b.first_tile / job->tiles;
    b.last_row = job->args->rows * b.last_tile / job->tiles;
    b.first_panel = column_block * panels;
    b.last_panel = nn_min(b.first_panel + panels, job->weight->panels);
    return b;
}

static void pack_rows(const linear_job *job, const block *b, int64_t k, int64_t depth, float *packed)
{
    for (int64_t r = b->first_row; r < b->last_row; r++)
        memcpy(packed + (r - b->first_row) * NN_X_STRIDE, job->args->x + r * job->args->x_stride + k,
               (size_t)depth * sizeof(float));
}

/* c is the block's. */
static void finish_rows(const linear_job *job, const block *b, const float *c, int64_t first, int64_t last)
{
    nn_linear_finish(job->kernels, job->args, c + (first - b->first_row) * job->c_stride, job->c_stride, first, last,
                     b->first_panel * NN_PANEL, nn_panel_rows(job->weight, b->first_panel, b->last_panel));
}

/* Panel and k of the group that comes after (panel, k), in the order of multiply_block; the same at the end. */
static const void *group_after(const linear_job *job, const block *b, int64_t panel, int64_t k)
{
    if (panel + job->kernels->tile_panels < b->last_panel)
        return nn_panel_at(job->weight, panel + job->kernels->tile_panels, k);
    if (k + NN_K_BLOCK < job->weight->columns)
        return nn_panel_at(job->weight, b->first_panel, k + NN_K_BLOCK);
    return nn_panel_at(job->weight, panel, k);
}

/* All tiles of the block through one group of panels, for terms [k, k + depth). The last group's are finished one by
 * one: their results go to memory while the next is computed. */
static void multiply_group(const linear_job *job, const block *b, const block_memory *memory, nn_tile *tile,
                           int64_t panel, int64_t k)
{
    const nn_matrix *w = job->weight;
    nn_storage storage = w->storage;
    tile->panels = nn_min(job->kernels->tile_panels, b->last_panel - panel);
    tile->w = nn_panel_at(w, panel, k);
    tile->panel_stride = w->columns * NN_PANEL;
    tile->ahead = group_after(job, b, panel, k);
    tile->ahead_stride = nn_panel_bytes(storage, w->columns);
    tile->ahead_step = nn_panel_bytes(storage, NN_STEP) / NN_STEP;
    if (nn_is_quantised(storage) || (storage != NN_F32 && b->last_tile - b->first_tile >= WIDEN_TILES)) {
        for (int64_t p = 0; p < tile->panels; p++)
            job->kernels->widen[storage](nn_panel_at(w, panel + p, k), tile->depth * NN_PANEL,
                                         memory->panels + p * tile->depth * NN_PANEL);
        tile->w = memory->panels;
        tile->panel_stride = tile->depth * NN_PANEL;
        storage = NN_F32;
    }
    float *c = memory->c + (panel - b->first_panel) * NN_PANEL;
    const bool finishes = panel + tile->panels >= b->last_panel && k + tile->depth >= w->columns;
    for (int64_t t = b->first_tile; t < b->last_tile; t++) {
        int64_t first = job->args->rows * t / job->tiles, last = job->args->rows * (t + 1) / job->tiles;
        tile->rows = last - first;
        tile->x = memory->x + (first - b->first_row) * NN_X_STRIDE;
        tile->c = c + (first - b->first_row) * job->c_stride;
        if (finishes && t + 1 < b->last_tile)
            nn_linear_fetch(job->args, last, job->args->rows * (t + 2) / job->tiles, b->first_panel * NN_PANEL,
                            nn_panel_rows(job->weight, b->first_panel, b->last_panel));
        job->kernels->tile[storage](tile);
        tile->ahead_step = 0; /* the first tile has asked for all */
        if (finishes)
            finish_rows(job, b, memory->c, first, last);
    }
}

static void multiply_block(const linear_job *job, const block *b, const block_memory *memory)
{
    nn_tile tile = {.c_stride = job->c_stride};
    for (int64_t k = 0; k < job->weight->columns; k += NN_K_BLOCK) {
        tile.depth = nn_min(NN_K_BLOCK, job->weight->columns - k);
        tile.accumulate = k > 0;
        pack_rows(job, b, k, tile.depth, memory->x);
        for (int64_t p = b->first_panel; p < b->last_panel; p += job->kernels->tile_panels)
            multiply_group(job, b, memory, &tile, p, k);
    }
}

static void multiply_unit(void *argument, int64_t unit, float *scratch)
{
    const linear_job *job = argument;
    block b = block_at(job, unit);
    block_memory memory;
    memory.x = scratch;
    memory.panels = memory.x + NN_BLOCK_ROWS * NN_X_STRIDE;
    memory.c = memory.panels + job->kernels->tile_panels * NN_K_BLOCK * NN_PANEL;
    multiply_block(job, &b, &memory);
}

/* ---- One tile of rows ------------------------------------------------------------------------------------------- */

/* Few rows are bound by reading the weights, as one row is: all of x is packed, and each group of panels is read from
 * end to end, which memory serves faster than the pieces that larger blocks take. */
static void multiply_few(void *argument, int64_t unit, float *scratch)
{
    const linear_job *job = argument;
    const nn_matrix *w = job->weight;
    block b = block_at(job, unit);
    int64_t rows = job->args->rows, block_floats = rows * NN_X_STRIDE;
    float *c = scratch, *x = scratch + rows * job->c_stride;
    nn_tile tile = {.rows = rows, .panel_stride = w->columns * NN_PANEL, .c_stride = job->c_stride};
    for (int64_t k = 0; k < w->columns; k += NN_K_BLOCK)
        pack_rows(job, &b, k, nn_min(NN_K_BLOCK, w->columns - k), x + k / NN_K_BLOCK * block_floats);
    for (int64_t p = b.first_panel; p < b.last_panel; p += tile.panels) {
        tile.panels = nn_min(job->kernels->tile_panels, b.last_panel - p);
        tile.c = c + (p - b.first_panel) * NN_PANEL;
        for (int64_t k = 0; k < w->columns; k += NN_K_BLOCK) {
            tile.depth = nn_min(NN_K_BLOCK, w->columns - k);
            tile.x = x + k / NN_K_BLOCK * block_floats;
            tile.w = nn_panel_at(w, p, k);
            tile.accumulate = k > 0;
            job->kernels->tile[w->storage](&tile);
        }
    }
    finish_rows(job, &b, c, b.first_row, b.last_row);
}

/* Whether all rows make one tile, their packed form fits beside the sums, and the kernels read the weights as they are.
 */
static bool is_few(const linear_job *job)
{
    int64_t blocks = nn_ceil_divide(job->weight->columns, NN_K_BLOCK);
    return job->tiles == 1 && !nn_is_quantised(job->weight->storage) &&
           job->args->rows * (blocks * NN_X_STRIDE + job->c_stride) <= NN_SCRATCH;
}

/* ---- Entry ------------------------------------------------------------------------------------------------------ */

/* Outputs of a block: wide, since every block packs its rows anew, but such that the workers end at about the same
 * time. The time is that of the worker with the most blocks; packing costs as much as some 16 outputs. */
static int64_t choose_columns(const linear_job *job)
{
    const double packing = 16.0;
    int64_t step = job->kernels->tile_panels * NN_PANEL, workers = job->context->workers;
    int64_t least = nn_ceil_divide(job->weight->rows, NN_BLOCK_COLUMNS), best = NN_BLOCK_COLUMNS;
    double best_time = HUGE_VAL;
    for (int64_t blocks = least; blocks < least + 4 * workers; blocks++) {
        int64_t columns = nn_ceil_divide(nn_ceil_divide(job->weight->rows, blocks), step) * step;
        int64_t units = nn_ceil_divide(job->weight->rows, columns) * job->row_blocks;
        double time = (double)nn_ceil_divide(units, workers) * ((double)columns + packing);
        if (time < best_time) {
            best_time = time;
            best = columns;
        }
    }
    return best;
}

static void multiply_any(nn_context *context, const nn_linear_args *args)
{
    const nn_matrix *w = args->weight;
    linear_job job = {.context = context, .kernels = context->kernels, .args = args, .weight = w};
    if (args->rows <= 0 || w->rows <= 0 || nn_linear_pairs(context, args) || nn_linear_int8(context, args))
        return;
    double operations = (double)args->rows * (double)w->rows * (double)w->columns;
    if (args->rows == 1 && !nn_is_quantised(w->storage)) {
        int64_t share = w->panels / (8 * (int64_t)context->workers) / STREAM_LEAST * STREAM_LEAST;
        job.unit_panels = nn_max(STREAM_LEAST, nn_min(share, STREAM_MOST));
        nn_parallel_units(context, operations, nn_ceil_divide(w->panels, job.unit_panels), stream_row, &job);
        return;
    }
    job.c_stride = NN_BLOCK_COLUMNS + NN_PANEL;
    job.tiles = nn_ceil_divide(args->rows, context->kernels->tile_rows);
    job.row_blocks = nn_ceil_divide(job.tiles, NN_BLOCK_ROWS / context->kernels->tile_rows);
    job.block_columns = choose_columns(&job);
    int64_t units = job.row_blocks * nn_ceil_divide(w->rows, job.block_columns);
    nn_parallel_units(context, operations, units, is_few(&job) ? multiply_few : multiply_unit, &job);
}

void nn_host_linear(nn_context *context, const nn_linear_args *args)
{
    double begin = nn_profile_begin(context);
    nn_linear_args full = *args;
    full.x_stride = args->x_stride ? args->x_stride : args->weight->columns;
    full.y_stride = args->y_stride ? args->y_stride : args->weight->rows;
    multiply_any(context, &full);
    nn_profile_end_linear(context, begin, args->weight, args->rows);
}
