/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore.vision/1: a vision encoder, pixels in, patch features of chosen layers out.
 *
 * Hidden states are numbered as Hugging Face transformers does: 0 is the output of the embeddings (CLIP: after
 * pre_layrnorm), i is the output of block i, without the model's final norm; there are layers + 1 of them. A negative
 * number counts from the end: -1 is the last block's output, -2 (LLaVA's choice) the one before it. Blocks behind the
 * last asked state are neither run nor, where open() is told so, loaded.
 *
 * Order of calls: open, describe, then for each batch plan (once an image) and encode; close.
 */
#ifndef LLAVAMORE_VISION_H
#define LLAVAMORE_VISION_H

#include <llavamore/backbone.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MORE_VISION_INTERFACE "llavamore.vision/1"

typedef struct more_vision more_vision; /* one opened encoder */

typedef int32_t more_resolution;
enum {
    MORE_RESOLUTION_FIXED = 1,    /* every image is image_size x image_size pixels */
    MORE_RESOLUTION_MULTIPLE = 2, /* any multiple of patch_size: positions are interpolated (DINOv2) */
    MORE_RESOLUTION_BUDGET = 4    /* the plan picks a size from the image's aspect and a patch budget (NaFlex) */
};

/* Filled by describe(); the caller sets struct_size. Strings live as long as the instance. */
typedef struct more_vision_info {
    size_t struct_size;
    int64_t feature_width;       /* channels of a feature row */
    int64_t layers;              /* blocks in the checkpoint */
    int64_t patch_size;          /* pixels */
    int64_t image_size;          /* pixels, side of the square the checkpoint was trained with */
    int64_t prefix_tokens;       /* rows before the first patch: class and register tokens */
    more_resolution resolutions; /* MORE_RESOLUTION_... joined by | */
    const char *preprocess;      /* steps as the INI's [preprocess] would give them, one `step = ...` value:
                                    "convert_rgb(), resize_shortest(336, bicubic), ..."; used where neither the INI nor
                                    a preprocessor_config.json says otherwise */
    const char *weight_formats;  /* stored formats it takes: "f32 f16 bf16" */
} more_vision_info;

/* What one image becomes; filled by plan(). Frozen: it stands in arrays, so it never grows. */
typedef struct more_vision_plan {
    size_t struct_size;
    int64_t pixel_width, pixel_height; /* size that preprocessing must deliver */
    int64_t grid_width, grid_height;   /* patches */
    int64_t prefix_tokens;             /* rows before the patches */
    int64_t tokens;                    /* prefix_tokens + grid_width * grid_height */
} more_vision_plan;

typedef int32_t more_select;
enum {
    MORE_SELECT_PATCH = 0,    /* patch rows only */
    MORE_SELECT_CLS_PATCH = 1 /* all rows, prefix included */
};

/* One batch; everything is owned by the caller and valid during the call. */
typedef struct more_vision_batch {
    size_t struct_size;
    int64_t images;
    const more_tensor *pixels;     /* `images` tensors, f32 [3, pixel_height, pixel_width], normalised */
    const more_vision_plan *plans; /* `images` plans, as plan() gave them */
    const int32_t *layers;         /* hidden states to give out, in this order; negative counts from the end */
    int32_t layer_count;
    more_select select;
    more_tensor *features; /* out: layer_count tensors, f32 [images, rows, feature_width], rows >= the largest
                              count; rows behind an image's count are zeroed */
    int64_t *counts;       /* out: `images` numbers: rows that are features of the image */
} more_vision_batch;

typedef struct more_vision_interface {
    size_t struct_size; /* MORE_STRUCT_SIZE(more_vision_interface, encode) */

    /* Looks at names and metadata only, under 10 ms. Never fails: a doubtful checkpoint scores 0 with the reason.
     * [any-thread] */
    void (*recognise)(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition);
    /* The table of tensor names; NULL = the names in the file are the canonical ones. [any-thread] */
    const more_tensor_map *(*tensor_map)(void);

    /* Reads the config, checks every tensor's shape, packs the weights. On failure *vision is NULL and nothing is left
     * behind. [any-thread] */
    more_status (*open)(const more_open *arguments, more_vision **vision, more_error *error);
    /* Frees the instance; NULL is allowed. No call on it may be running. [one-thread-per-instance] */
    void (*close)(more_vision *vision);
    /* Constant facts of the instance. [any-thread] */
    void (*describe)(const more_vision *vision, more_vision_info *info);
    /* Bytes a device (memory: one entry a device of open()) for a batch of `images` of the trained size.
     * [any-thread] */
    more_status (*estimate)(const more_vision *vision, int64_t images, more_memory *memory, more_error *error);
    /* What an image of width x height pixels becomes. With MORE_RESOLUTION_BUDGET the size is that of the image as
     * decoded (after padding to a square, where that is asked for), and the plan says what size preprocessing must
     * deliver; without it, it is the size that preprocessing delivered, and a plan of another size means that the
     * encoder cannot take it. [any-thread] */
    more_status (*plan)(const more_vision *vision, int64_t width, int64_t height, more_vision_plan *plan,
                        more_error *error);
    /* Runs the batch. Images are independent: the result of each is the same alone and in any batch, on a GPU
     * within rounding.
     * MORE_ERROR_ARGUMENT names the layer, shape or count that is wrong. [one-thread-per-instance] */
    more_status (*encode)(more_vision *vision, const more_vision_batch *batch, more_error *error);
} more_vision_interface;

#ifdef __cplusplus
}
#endif
#endif
