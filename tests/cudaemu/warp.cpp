/* SPDX-License-Identifier: Apache-2.0
 *
 * What the lanes of a warp do together. Each brings its part and waits; the last one works for all of them.
 */
#include "emulator.h"

#include <stdio.h>
#include <string.h>

/* An operation that some lanes of its mask have come to. Those of other masks may wait beside it. */
typedef struct group {
    unsigned mask, arrived;
    const cudaemu_site *site;
} group;

typedef struct warp {
    group groups[EMU_WARP];
    int count;
} warp;

static warp warps[EMU_MOST_THREADS / EMU_WARP];

const char *emu_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void emu_warps_reset(void)
{
    int used = (emu_thread_count() + EMU_WARP - 1) / EMU_WARP;
    for (int i = 0; i < used; i++)
        warps[i].count = 0;
}

/* ---- Coming together --------------------------------------------------------------------------------------------- */

static emu_thread *lane_at(int lane)
{
    return emu_thread_at(emu_current()->number / EMU_WARP * EMU_WARP + lane);
}

static bool same_place(const cudaemu_site *a, const cudaemu_site *b)
{
    return a->line == b->line && strcmp(a->operation, b->operation) == 0 && strcmp(a->file, b->file) == 0;
}

static group *group_of(unsigned mask, const cudaemu_site *site)
{
    warp *w = &warps[emu_current()->number / EMU_WARP];
    for (int i = 0; i < w->count; i++)
        if (w->groups[i].mask == mask)
            return &w->groups[i];
    w->groups[w->count] = {mask, 0, site};
    return &w->groups[w->count++];
}

/* Returns the caller's lane. */
static int lane_in(unsigned mask, const cudaemu_site *site)
{
    int lane = emu_current()->number % EMU_WARP;
    if (!(mask >> lane & 1u))
        emu_fail("%s (%s:%d): lane %d calls with mask 0x%08x, which lacks it", site->operation, emu_file(site->file),
                 site->line, lane, mask);
    return lane;
}

/* True for the last lane of the mask, which then works and calls release(); for the others when that is done. */
static bool arrive(unsigned mask, const cudaemu_site *site, void *payload)
{
    emu_thread *self = emu_current();
    int lane = lane_in(mask, site);
    group *g = group_of(mask, site);
    bool anywhere = strcmp(site->operation, "__syncwarp") == 0 && strcmp(g->site->operation, "__syncwarp") == 0;
    if (g->site != site && !anywhere && !same_place(g->site, site))
        emu_fail("%s (%s:%d): lane %d is there, but others of mask 0x%08x wait at %s (%s:%d)", site->operation,
                 emu_file(site->file), site->line, lane, mask, g->site->operation, emu_file(g->site->file),
                 g->site->line);
    self->payload = payload;
    self->mask = mask;
    g->arrived |= 1u << lane;
    if (g->arrived != mask) {
        emu_suspend(EMU_AT_WARP, site);
        return false;
    }
    warp *w = &warps[self->number / EMU_WARP];
    *g = w->groups[--w->count];
    return true;
}

static void release(unsigned mask)
{
    emu_thread *self = emu_current();
    for (unsigned left = mask; left; left &= left - 1) {
        emu_thread *thread = lane_at(__builtin_ctz(left));
        if (thread != self)
            emu_ready(thread);
    }
}

const char *emu_whereabouts(const emu_thread *thread, char *text, size_t size)
{
    const cudaemu_site *site = thread->site;
    if (thread->state == EMU_DONE)
        snprintf(text, size, "has returned");
    else if (thread->state == EMU_AT_WARP)
        snprintf(text, size, "waits at %s (%s:%d) with mask 0x%08x", site->operation, emu_file(site->file), site->line,
                 thread->mask);
    else
        snprintf(text, size, "waits at %s (%s:%d)", site->operation, emu_file(site->file), site->line);
    return text;
}

void emu_warps_stuck(void)
{
    char where[256];
    int count = emu_thread_count();
    for (int i = 0; i * EMU_WARP < count; i++)
        for (int k = 0; k < warps[i].count; k++) {
            const group *g = &warps[i].groups[k];
            int lane = __builtin_ctz(g->mask & ~g->arrived), number = i * EMU_WARP + lane;
            if (number < count)
                emu_whereabouts(emu_thread_at(number), where, sizeof where);
            else
                snprintf(where, sizeof where, "does not exist in a block of %d threads", count);
            emu_fail("%s (%s:%d) with mask 0x%08x in warp %d waits for lane %d, which %s", g->site->operation,
                     emu_file(g->site->file), g->site->line, g->mask, i, lane, where);
        }
}

/* Lanes that a short last warp lacks are left out here, and only here. */
void cudaemu_warp_barrier(unsigned mask, const cudaemu_site *site)
{
    int lanes = emu_thread_count() - emu_current()->number / EMU_WARP * EMU_WARP;
    if (lanes < EMU_WARP)
        mask &= (1u << lanes) - 1;
    if (arrive(mask, site, NULL))
        release(mask);
}

/* ---- Shuffles and votes ------------------------------------------------------------------------------------------ */

typedef struct shuffle {
    uint32_t value, result;
    int source;
} shuffle;

/* The lane that PTX's shfl.sync reads: its own where it would leave its part of `width` lanes. */
static int source_of(cudaemu_shuffle kind, int lane, int argument, int width)
{
    int first = lane & ~(width - 1), last = first + width - 1;
    argument &= EMU_WARP - 1;
    int source = kind == CUDAEMU_INDEX  ? first + (argument & (width - 1))
                 : kind == CUDAEMU_UP   ? lane - argument
                 : kind == CUDAEMU_DOWN ? lane + argument
                                        : lane ^ argument;
    bool inside = kind == CUDAEMU_UP ? source >= first : source <= last;
    return inside ? source : lane;
}

uint32_t cudaemu_warp_shuffle(unsigned mask, uint32_t value, cudaemu_shuffle kind, int lane, int width,
                              const cudaemu_site *site)
{
    int self = lane_in(mask, site);
    if (width < 1 || width > EMU_WARP || width & (width - 1))
        emu_fail("%s (%s:%d): width %d is no power of two up to 32", site->operation, emu_file(site->file), site->line,
                 width);
    shuffle mine = {value, 0, source_of(kind, self, lane, width)};
    if (!(mask >> mine.source & 1u))
        emu_fail("%s (%s:%d): lane %d reads lane %d, which mask 0x%08x lacks", site->operation, emu_file(site->file),
                 site->line, self, mine.source, mask);
    if (arrive(mask, site, &mine)) {
        for (unsigned left = mask; left; left &= left - 1) {
            shuffle *to = static_cast<shuffle *>(lane_at(__builtin_ctz(left))->payload);
            to->result = static_cast<const shuffle *>(lane_at(to->source)->payload)->value;
        }
        release(mask);
    }
    return mine.result;
}

unsigned cudaemu_warp_vote(unsigned mask, int predicate, cudaemu_vote kind, const cudaemu_site *site)
{
    unsigned mine = predicate != 0;
    if (arrive(mask, site, &mine)) {
        unsigned ballot = 0;
        for (unsigned left = mask; left; left &= left - 1)
            ballot |= *static_cast<const unsigned *>(lane_at(__builtin_ctz(left))->payload) << __builtin_ctz(left);
        unsigned result = kind == CUDAEMU_BALLOT ? ballot : kind == CUDAEMU_ANY ? ballot != 0 : ballot == mask;
        for (unsigned left = mask; left; left &= left - 1)
            *static_cast<unsigned *>(lane_at(__builtin_ctz(left))->payload) = result;
        release(mask);
    }
    return mine;
}

/* ---- Tensor cores ------------------------------------------------------------------------------------------------ */

typedef struct fragment {
    float *d;
    const uint32_t *a, *b;
    const float *c;
} fragment;

static float half_at(uint32_t pair, int place, bool bfloat16)
{
    uint16_t bits = static_cast<uint16_t>(pair >> 16 * place);
    return bfloat16 ? nn_bf16_to_f32(bits) : nn_f16_to_f32(bits);
}

/* PTX's m16n8k16: register i of a is at row g + 8 (i % 2) and columns 2p + 8 (i / 2), of b at rows 2p + 8 i. */
static void gather(const fragment *from, int lane, bool bfloat16, float a[16][16], float b[16][8])
{
    int g = lane / 4, p = lane % 4;
    for (int i = 0; i < 4; i++)
        for (int half = 0; half < 2; half++)
            a[g + i % 2 * 8][p * 2 + i / 2 * 8 + half] = half_at(from->a[i], half, bfloat16);
    for (int i = 0; i < 2; i++)
        for (int half = 0; half < 2; half++)
            b[p * 2 + i * 8 + half][g] = half_at(from->b[i], half, bfloat16);
}

static void multiply(const float a[16][16], const float b[16][8], float d[16][8])
{
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++)
            for (int column = 0; column < 8; column++)
                d[row][column] += a[row][k] * b[k][column];
}

void cudaemu_warp_mma(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4], int bfloat16,
                      const cudaemu_site *site)
{
    fragment mine = {d, a, b, c};
    if (!arrive(~0u, site, &mine))
        return;
    float all_a[16][16], all_b[16][8], all_d[16][8];
    for (int lane = 0; lane < EMU_WARP; lane++) {
        const fragment *from = static_cast<const fragment *>(lane_at(lane)->payload);
        gather(from, lane, bfloat16 != 0, all_a, all_b);
        for (int i = 0; i < 4; i++)
            all_d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = from->c[i];
    }
    multiply(all_a, all_b, all_d);
    for (int lane = 0; lane < EMU_WARP; lane++)
        for (int i = 0; i < 4; i++)
            static_cast<const fragment *>(lane_at(lane)->payload)->d[i] =
                all_d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
    release(~0u);
}

typedef struct matrix_row {
    uint32_t *registers;
    const void *row;
} matrix_row;

/* Lane l's row is row l % 8 of matrix l / 8. */
static void load_matrices(int transposed)
{
    uint16_t matrices[4][8][8];
    for (int lane = 0; lane < EMU_WARP; lane++)
        memcpy(matrices[lane / 8][lane % 8], static_cast<const matrix_row *>(lane_at(lane)->payload)->row, 16);
    for (int lane = 0; lane < EMU_WARP; lane++)
        for (int i = 0; i < 4; i++) {
            int g = lane / 4, p = lane % 4 * 2;
            uint32_t low = transposed ? matrices[i][p][g] : matrices[i][g][p];
            uint32_t high = transposed ? matrices[i][p + 1][g] : matrices[i][g][p + 1];
            static_cast<const matrix_row *>(lane_at(lane)->payload)->registers[i] = low | high << 16;
        }
}

void cudaemu_warp_ldmatrix(uint32_t registers[4], const void *row, int transposed, const cudaemu_site *site)
{
    matrix_row mine = {registers, row};
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
        emu_fail("%s (%s:%d): a row's address is no multiple of 16", site->operation, emu_file(site->file), site->line);
    if (!emu_is_shared(row, 16))
        emu_fail("%s (%s:%d): a row is not in shared memory", site->operation, emu_file(site->file), site->line);
    if (arrive(~0u, site, &mine)) {
        load_matrices(transposed);
        release(~0u);
    }
}
