/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore.projector/1: maps the features of an image to rows of the language model's embedding width: the visual
 * tokens. It may merge patches, so that an image gives fewer tokens than it has patches.
 *
 * Order of calls: open, then for each image plan and project; close.
 */
#ifndef LLAVAMORE_PROJECTOR_H
#define LLAVAMORE_PROJECTOR_H

#include <llavamore/backbone.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MORE_PROJECTOR_INTERFACE "llavamore.projector/1"

typedef struct more_projector more_projector; /* one opened projector */

/* How the features of one image lie: prefix_tokens rows, then grid_height x grid_width patch rows, row-major.
 * Frozen: it never grows. */
typedef struct more_grid {
    int64_t grid_width, grid_height; /* patches */
    int64_t prefix_tokens;           /* rows before the patches; 0 under `select = patch` */
} more_grid;

/* Features of one image and where its tokens go; owned by the caller, valid during the call. */
typedef struct more_projection {
    size_t struct_size;
    more_grid grid;
    const more_tensor *features; /* f32 [prefix_tokens + grid_width * grid_height, width_in] */
    more_tensor *tokens;         /* out: f32 [tokens of plan(), width_out] */
} more_projection;

typedef struct more_projector_interface {
    size_t struct_size; /* MORE_STRUCT_SIZE(more_projector_interface, project) */

    /* As in vision.h. [any-thread] */
    void (*recognise)(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition);
    /* As in vision.h. [any-thread] */
    const more_tensor_map *(*tensor_map)(void);

    /* width_in: channels of the features as they arrive (the encoder's, times the scales of S2, times the layers asked
     * for); width_out: the language model's width. A checkpoint of other widths is MORE_ERROR_ARGUMENT with both
     * numbers (the core then names both sides); of other failures the core gives the message on as it is.
     * [any-thread] */
    more_status (*open)(const more_open *arguments, int64_t width_in, int64_t width_out, more_projector **projector,
                        more_error *error);
    /* Frees the instance; NULL is allowed. [one-thread-per-instance] */
    void (*close)(more_projector *projector);
    /* Bytes a device for one call on `features` rows. [any-thread] */
    more_status (*estimate)(const more_projector *projector, int64_t features, more_memory *memory, more_error *error);
    /* How many visual tokens an image of this grid becomes (at least 1), or why the grid does not fit.
     * [any-thread] */
    more_status (*plan)(const more_projector *projector, const more_grid *grid, int64_t *tokens, more_error *error);
    /* Maps one image. [one-thread-per-instance] */
    more_status (*project)(more_projector *projector, const more_projection *projection, more_error *error);
} more_projector_interface;

#ifdef __cplusplus
}
#endif
#endif
