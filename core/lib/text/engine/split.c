/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/split.h"

/* The piece that is being cut, and its last part, which a behaviour may still make longer. */
typedef struct cutter {
    core_split_behaviour behaviour;
    core_pieces *out;
    const core_piece *piece;
    size_t start, end; /* of the open part, in the piece */
    bool open;         /* there is an open part */
    bool match;        /* the last part seen was a match */
} cutter;

static void close_part(cutter *c)
{
    core_piece part = {c->piece->offset + c->start, c->end - c->start, -1, c->piece->first && c->start == 0};
    if (c->open)
        core_pieces_add(c->out, part);
    c->open = false;
}

/* The next part in order, [start, end), a match or what lies between. */
static void add_part(cutter *c, size_t start, size_t end, bool match)
{
    bool joined = false;
    switch (c->behaviour) {
    case CORE_SPLIT_REMOVED:
        if (match) {
            close_part(c);
            return;
        }
        break;
    case CORE_SPLIT_ISOLATED:
        break;
    case CORE_SPLIT_MERGED_WITH_PREVIOUS:
        joined = match && !c->match;
        break;
    case CORE_SPLIT_MERGED_WITH_NEXT:
        joined = c->match && !match;
        break;
    case CORE_SPLIT_CONTIGUOUS:
        joined = match == c->match;
        break;
    }
    c->match = match;
    if (joined && c->open) {
        c->end = end;
        return;
    }
    close_part(c);
    c->start = start;
    c->end = end;
    c->open = true;
}

static more_status cut_piece(cutter *c, core_scan *scan, bool invert, more_error *error)
{
    size_t done = 0, start, end;
    bool found;
    core_scan_subject(scan, c->out->text.data + c->piece->offset, c->piece->size);
    c->match = false;
    c->open = false;
    for (;;) {
        more_status status = core_scan_next(scan, &found, &start, &end, error);
        if (status != MORE_OK)
            return status;
        if (!found)
            break;
        if (done != start)
            add_part(c, done, start, invert);
        add_part(c, start, end, !invert);
        done = end;
    }
    if (done != c->piece->size)
        add_part(c, done, c->piece->size, invert);
    close_part(c);
    return MORE_OK;
}

more_status core_split(const core_pattern *pattern, core_split_behaviour behaviour, bool invert, const core_pieces *in,
                       core_pieces *out, more_error *error)
{
    core_scan scan;
    cutter c = {.behaviour = behaviour, .out = out};
    more_status status = core_scan_begin(&scan, pattern, error);
    for (size_t i = 0; i < in->count && status == MORE_OK; i++) {
        c.piece = &in->items[i];
        if (c.piece->id >= 0)
            core_pieces_add(out, *c.piece);
        else
            status = cut_piece(&c, &scan, invert, error);
    }
    core_scan_end(&scan);
    return status;
}
