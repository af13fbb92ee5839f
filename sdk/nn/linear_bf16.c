/* SPDX-License-Identifier: Apache-2.0
 *
 * nn_linear in 16-bit products. All rows are rounded to bf16 pairs once, block of k by block of k. A worker then
 * handles a block of rows and outputs alone: every group of panels is turned to pairs for a block of k and goes through
 * all tiles of the block. One tile of rows is bound by memory instead: it goes straight through the stored panels, or,
 * where the kernels need pairs, through each group from end to end.
 */
#include <string.h>

#include "internal.h"

enum { CHUNK_ROWS = 640 /* rows at most that are rounded at a time, so that they fit the last cache */ };

typedef struct pair_job {
    nn_context *context;
    const nn_pair_kernels *kernels;
    const nn_linear_args *args;
    int64_t first_row, rows; /* of args, of this chunk */
    int64_t steps;           /* of row_step rows */
    int64_t tiles;           /* tile t has steps [steps * t / tiles, steps * (t + 1) / tiles) */
    int64_t row_blocks;      /* block b has tiles [tiles * b / row_blocks, tiles * (b + 1) / row_blocks) */
    int64_t block_columns;   /* outputs of a block */
    int64_t height;          /* rows of a register tile */
    uint32_t *x;             /* rounded: [blocks of k][steps * height][NN_X_STRIDE] */
    int64_t x_block;         /* words of a block of k */
} pair_job;

typedef struct pair_block {
    int64_t first_tile, last_tile;
    int64_t first_row, last_row; /* of the chunk */
    int64_t first_panel, last_panel;
    float *c;         /* sums, [rows, filled up to row_step][c_stride] */
    uint32_t *panels; /* a group's, as pairs */
} pair_block;

enum { C_STRIDE = NN_PAIR_COLUMNS + NN_PANEL /* whole cache lines, but no power of two */ };

static int64_t tile_row(const pair_job *job, int64_t tile)
{
    return nn_min(job->steps * tile / job->tiles * job->kernels->row_step, job->rows);
}

/* ---- Activations ------------------------------------------------------------------------------------------------ */

static void round_row(const pair_job *job, int64_t row)
{
    const int64_t columns = job->args->weight->columns;
    uint32_t *out = job->x + row * NN_X_STRIDE;
    for (int64_t k = 0; k < columns; k += NN_PAIR_BLOCK, out += job->x_block) {
        int64_t count = nn_min(columns - k, NN_PAIR_BLOCK);
        if (row < job->rows)
            job->kernels->round(job->args->x + (job->first_row + row) * job->args->x_stride + k, count, out);
        else
            memset(out, 0, NN_X_STRIDE * sizeof *out);
    }
}

static void round_rows(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    for (int64_t row = begin; row < end; row++)
        round_row(argument, row);
}

/* ---- A worker's block ------------------------------------------------------------------------------------------- */

static pair_block block_at(const pair_job *job, int64_t unit, float *scratch)
{
    int64_t column_block = unit / job->row_blocks, row_block = unit % job->row_blocks;
    int64_t panels = job->block_columns / NN_PANEL;
    pair_block b;
    b.first_tile = job->tiles * row_block / job->row_blocks;
    b.last_tile = job->tiles * (row_block + 1) / job->row_blocks;
    b.first_row = tile_row(job, b.first_tile);
    b.last_row = tile_row(job, b.last_tile);
    b.first_panel = column_block * panels;
    b.last_panel = nn_min(b.first_panel + panels, job->args->weight->panels);
    b.panels = (uint32_t *)(void *)scratch;
    b.c = scratch + job->kernels->tile_panels * NN_K_BLOCK * NN_PANEL;
    return b;
}

static void finish_rows(const pair_job *job, const pair_block *b, int64_t first, int64_t last)
{
    nn_linear_finish(job->context->kernels, job->args, b->c + (first - b->first_row) * C_STRIDE, C_STRIDE,
                     job->first_row + first, job->first_row + last, b->first_panel * NN_PANEL,
                     nn_panel_rows(job->args->weight, b->first_panel, b->last_panel));
}

/* nn_fetch_part of the panels [panel, panel + panels) of columns [k, k + count). */
static void fetch_part(const nn_matrix *w, int64_t panel, int64_t panels, int64_t k, int64_t count, int64_t part,
                       int64_t parts)
{
    for (int64_t p = 0; p < panels; p++)
        nn_fetch_part(nn_panel_at(w, panel + p, k), nn_panel_bytes(w->storage, count), part, parts);
}

/* Panel and k of the group that comes after (panel, k) in the order of multiply_unit; *next_k is all columns at the
 * end. */
static void group_after(const pair_job *job, const pair_block *b, int64_t panel, int64_t k, int64_t *next,
                        int64_t *next_k)
{
    const int64_t columns = job->args->weight->columns, step = job->kernels->tile_panels;
    const bool last_panel = panel + step >= b->last_panel, last_k = k + NN_PAIR_BLOCK >= columns;
    if (b->last_tile - b->first_tile == 1) { /* a group from end to end */
        *next = last_k ? panel + step : panel;
        *next_k = !last_k ? k + NN_PAIR_BLOCK : last_panel ? columns : 0;
    } else {
        *next = last_panel ? b->first_panel : panel + step;
        *next_k = last_panel ? k + NN_PAIR_BLOCK : k;
    }
}

/* All tiles of the block through one group of panels, for the block of k that begins at k. The last group's are
 * finished one by one: their results go to memory while the next is computed. */
static void multiply_group(const pair_job *job, const pair_block *b, int64_t panel, int64_t k)
{
    const nn_matrix *w = job->args->weight;
    const int64_t count = nn_min(w->columns - k, NN_PAIR_BLOCK), words = NN_K_BLOCK * NN_PANEL;
    nn_pair_tile tile = {.panels = nn_min(job->kernels->tile_panels, b->last_panel - panel), .height = job->height};
    for (int64_t p = 0; p < tile.panels; p++)
        job->kernels->pair[w->storage](nn_panel_at(w, panel + p, k), count, b->panels + p * words);
    tile.depth = nn_ceil_divide(count, NN_PAIR_GRAIN) * NN_PAIR_GRAIN;
    tile.w = b->panels;
    tile.panel_stride = words * (int64_t)sizeof *b->panels;
    tile.c_stride = C_STRIDE;
    tile.accumulate = k > 0;
    int64_t next, next_k;
    group_after(job, b, panel, k, &next, &next_k);
    const bool finishes = panel + tile.panels >= b->last_panel && k + count >= w->columns;
    for (int64_t t = b->first_tile; t < b->last_tile; t++) {
        int64_t first = tile_row(job, t), last = tile_row(job, t + 1);
        tile.rows = last - first;
        tile.x = job->x + k / NN_PAIR_BLOCK * job->x_block + first * NN_X_STRIDE;
        tile.c = b->c + (first - b->first_row) * C_STRIDE + (panel - b->first_panel) * NN_PANEL;
        if (next_k < w->columns)
            fetch_part(w, next, nn_min(job->kernels->tile_panels, b->last_panel - next), next_k,
                       nn_min(w->columns - next_k, NN_PAIR_BLOCK), t - b->first_tile, b->last_tile - b->first_tile);
        if (finishes && t + 1 < b->last_tile)
            nn_linear_fetch(job->args, job->first_row + last, job->first_row + tile_row(job, t + 2),
                            b->first_panel * NN_PANEL, nn_panel_rows(job->args->weight, b->first_panel, b->last_panel));
        job->kernels->tile(&tile);
        if (finishes)
            finish_rows(job, b, first, last);
    }
}

static void multiply_unit(void *argument, int64_t unit, float *scratch)
{
    const pair_job *job = argument;
    pair_block b = block_at(job, unit, scratch);
    const int64_t columns = job->args->weight->columns, step = job->kernels->tile_panels;
    if (job->kernels->begin)
        job->kernels->begin(job->height);
    if (b.last_tile - b.first_tile == 1) {
        for (int64_t p = b.first_panel; p < b.last_panel; p += step)
            for (int64_t k = 0; k < columns; k += NN_PAIR_BLOCK)
                multiply_group(job, &b, p, k);
    } else {
        for (int64_t k = 0; k < columns; k += NN_PAIR_BLOCK)
            for (int64_t p = b.first_panel; p < b.last_panel; p += step)
                multiply_group(job, &b, p, k);
    }
    if (job->kernels->end)
        job->kernels->end();
}

/* One tile of rows straight from the stored panels. */
static void multiply_few(void *argument, int64_t unit, float *scratch)
{
    const pair_job *job = argument;
    const nn_matrix *w = job->args->weight;
    pair_block b = block_at(job, unit, scratch);
    nn_pair_tile tile = {.rows = job->rows, .panels = b.last_panel - b.first_panel, .depth = w->columns};
    tile.x = job->x;
    tile.x_block = job->x_block;
    tile.w = nn_panel_at(w, b.first_panel, 0);
    tile.panel_stride = nn_panel_bytes(w->storage, w->columns);
    tile.c = b.c;
    tile.c_stride = C_STRIDE;
    job->kernels->few[w->storage](&tile);
    finish_rows(job, &b, b.first_row, b.last_row);
}

/* ---- Entry ------------------------------------------------------------------------------------------------------ */

/* Outputs of a block such that the workers end at about the same time: the one with the most blocks decides. */
static int64_t choose_columns(const pair_job *job)
{
    int64_t outputs = job->args->weight->rows, workers = job->context->workers, step = 4 * NN_PANEL;
    int64_t least = nn_ceil_divide(outputs, NN_PAIR_COLUMNS), best = NN_PAIR_COLUMNS, best_time = INT64_MAX;
    for (int64_t blocks = least; blocks < least + 4 * workers; blocks++) {
        int64_t columns = nn_ceil_divide(nn_ceil_divide(outputs, blocks), step) * step;
        int64_t units = nn_ceil_divide(outputs, columns) * job->row_blocks;
        int64_t time = nn_ceil_divide(units, workers) * columns;
        if (time < best_time) {
            best_time = time;
            best = columns;
        }
    }
    return best;
}

/* Rows [first_row, first_row + rows) of the call. */
static void multiply_chunk(pair_job *job)
{
    const nn_pair_kernels *kernels = job->kernels;
    const nn_matrix *w = job->args->weight;
    job->steps = nn_ceil_divide(job->rows, kernels->row_step);
    job->tiles = nn_ceil_divide(job->steps, kernels->tile_rows / kernels->row_step);
    job->row_blocks = nn_ceil_divide(job->tiles, kernels->block_rows / kernels->tile_rows);
    job->height = nn_min(job->rows, kernels->row_step);
    const int64_t x_rows = job->steps * job->height;
    job->x_block = x_rows * NN_X_STRIDE;
    nn_parallel_sized(job->context, (double)x_rows * (double)w->columns / 8.0, x_rows, 1, round_rows, job);
    job->block_columns = choose_columns(job);
    const bool few = job->tiles == 1 && !nn_is_quantised(w->storage) && kernels->few[w->storage];
    nn_parallel_units(job->context, (double)job->rows * (double)w->rows * (double)w->columns,
                      job->row_blocks * nn_ceil_divide(w->rows, job->block_columns), few ? multiply_few : multiply_unit,
                      job);
}

bool nn_takes_pairs(const nn_context *context, nn_storage storage, int64_t rows)
{
    const nn_pair_kernels *kernels = context->kernels->pairs;
    if (!kernels || context->arithmetic == NN_ARITHMETIC_EXACT)
        return false;
    if (nn_is_quantised(storage))
        return rows >= kernels->quantised_rows;
    return context->arithmetic == NN_ARITHMETIC_FAST;
}

bool nn_linear_pairs(nn_context *context, const nn_linear_args *args)
{
    const nn_matrix *w = args->weight;
    if (!nn_takes_pairs(context, w->storage, args->rows))
        return false;
    pair_job job = {.context = context, .kernels = context->kernels->pairs, .args = args};
    const int64_t most = CHUNK_ROWS / job.kernels->block_rows * job.kernels->block_rows;
    const int64_t chunks = nn_ceil_divide(args->rows, most), rows = nn_ceil_divide(args->rows, chunks);
    const int64_t x_rows = nn_ceil_divide(rows, job.kernels->row_step) * job.kernels->row_step;
    nn_arena *arena = nn_arena_begin(context);
    if (arena)
        job.x = (void *)nn_arena_f32(arena, nn_ceil_divide(w->columns, NN_PAIR_BLOCK) * x_rows * NN_X_STRIDE);
    for (; job.x && job.first_row < args->rows; job.first_row += rows) {
        job.rows = nn_min(rows, args->rows - job.first_row);
        multiply_chunk(&job);
    }
    nn_arena_end(context, arena);
    return job.x != NULL;
}
