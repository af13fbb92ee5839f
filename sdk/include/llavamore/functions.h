/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore.functions/1: typed C functions that an INI file can call: preprocessing steps, sampler stages, evaluation
 * metrics. A plugin (or the host itself) lists them with their parameters; `resize(336, 336, bicubic)` in an INI value
 * is parsed, checked argument by argument, marshalled and called through libffi. Adding one changes nothing in the
 * host.
 *
 * Types of parameters, and the C types that the function gets:
 *     int64  -> int64_t        decimal or 0x, no fraction
 *     double -> double         any number, also as a fraction of two: 1/255
 *     bool   -> int32_t        true or false (0 or 1)
 *     string -> const char *   a word, or text in double quotes with \" \\ \n \t; valid during the call
 * Any number of parameters up to MORE_MAX_PARAMETERS, in any order of types. Arguments are given by position, or by
 * name
 * (`resize(width=336, height=336)`), positional ones first; a parameter with a default may be left out.
 */
#ifndef LLAVAMORE_FUNCTIONS_H
#define LLAVAMORE_FUNCTIONS_H

#include <llavamore/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MORE_FUNCTIONS_INTERFACE "llavamore.functions/1"
#define MORE_MAX_PARAMETERS 32

/* What a function is for; it fixes the leading C parameters, before those of its own. All return more_status.
 *   "preprocess": (const more_image *in, more_image *out, more_error *error, ...)
 *   "sampler":    (more_candidates *candidates, more_error *error, ...)
 *   "plain":      (more_error *error, ...)       nothing but its own arguments; for tests and tools
 */
#define MORE_STAGE_PREPROCESS "preprocess"
#define MORE_STAGE_SAMPLER "sampler"
#define MORE_STAGE_PLAIN "plain"

typedef struct more_function {
    const char *stage;      /* MORE_STAGE_... */
    const char *name;       /* [a-z][a-z0-9_]* */
    const char *parameters; /* "int64 width, int64 height, string filter = bicubic"; "" for none */
    const char *doc;        /* one sentence or more; what each argument means and its unit */
    void (*function)(void); /* cast from the real type */
} more_function;

typedef struct more_functions_interface {
    size_t struct_size;             /* MORE_STRUCT_SIZE(more_functions_interface, count) */
    const more_function *functions; /* constant, lives as long as the process; every function is [any-thread] */
    int32_t count;
} more_functions_interface;

/* ---- Preprocessing ---------------------------------------------------------------------------------------------- */

typedef int32_t more_image_format;
enum {
    MORE_IMAGE_U8 = 1, /* uint8 [height, width, channels], 0..255 */
    MORE_IMAGE_F32 = 2 /* float [channels, height, width]: what an encoder takes */
};

/* An image on its way through the steps. The host owns it and its memory. */
typedef struct more_image more_image;
struct more_image {
    size_t struct_size;
    more_image_format format;
    int64_t width, height, channels; /* channels: 1 to 4 */
    void *data;                      /* contiguous; a step reads `in` and writes `out`, which start out apart */
    /* Gives `out` the memory for this format and size (its old content is lost) and sets the fields above. Fails with
     * MORE_ERROR_MEMORY past the host's cap on pixels. */
    more_status (*allocate)(more_image *out, more_image_format format, int64_t width, int64_t height, int64_t channels,
                            more_error *error);
    /* Size that the encoder's plan wants of this image, for encoders that pick it from the image's own
     * (MORE_RESOLUTION_BUDGET); 0 x 0 for all others. The host sets them in `in` and `out` of every step. */
    int64_t plan_width, plan_height;
};

/* ---- Sampling --------------------------------------------------------------------------------------------------- */

/* The candidates for the next token. A stage changes logits, drops candidates (moves those that stay to the front and
 * lowers count, never to 0), or both. They come in order of ids; a stage may reorder them. */
typedef struct more_candidates {
    size_t struct_size;
    int32_t *ids;  /* `count` ids */
    float *logits; /* `count` logits, beside the ids */
    int64_t count;
    const int32_t *history; /* ids of the prompt and of the answer so far, oldest first; image rows are left out */
    int64_t history_count;
} more_candidates;

#ifdef __cplusplus
}
#endif
#endif
