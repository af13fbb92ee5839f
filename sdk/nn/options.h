/* SPDX-License-Identifier: Apache-2.0
 *
 * How every instance with weights begins: the two options that all of their plugins have, and the statements with which
 * their open() starts.
 */
#ifndef LLAVAMORE_NN_OPTIONS_H
#define LLAVAMORE_NN_OPTIONS_H

#include "nn.h"

/* Places of the rows in a plugin's option table; its own begin at NN_OPTION_COUNT. */
enum { NN_OPTION_QUANTIZE, NN_OPTION_ARITHMETIC, NN_OPTION_COUNT };

/* The first rows of the table. */
#define NN_OPTION_ROWS NN_QUANTIZE_ROW, NN_ARITHMETIC_ROW
#define NN_QUANTIZE_ROW                                                                                                \
    {                                                                                                                  \
        "quantize", MORE_STRING, "none", 0, 0, "none|q8|q4|q4_1",                                                      \
            "Format that matrices of linear layers are packed in while they load: 8 or 4 bits in blocks of 32, q4_1 "  \
            "with a minimum of each; none = as stored. What takes no more bits already stays as it is."                \
    }
#define NN_ARITHMETIC_ROW                                                                                              \
    {                                                                                                                  \
        "arithmetic", MORE_STRING, "auto", 0, 0, "auto|exact|fast",                                                    \
            "Of linear layers: auto = f32 for plain weights, 8-bit integers for quantised ones; exact = f32 always; "  \
            "fast = 16-bit products for plain weights too where the CPU has them."                                     \
    }

/* A context on the device of open(), its arithmetic set, and the source, with what `quantize` says; options that the
 * caller left out have their defaults. On failure *context is NULL or the caller's to destroy, as it is on success.
 * `plugin` is for messages. [any-thread] */
more_status nn_open(const more_open *arguments, const char *plugin, nn_context **context, nn_source *source,
                    more_error *error);
/* The same with a context for each device of open(), all the caller's to destroy; the source has the first.
 * [any-thread] */
more_status nn_open_places(const more_open *arguments, const char *plugin, nn_context *places[NN_PLACES],
                           int32_t *count, nn_source *source, more_error *error);

#endif
