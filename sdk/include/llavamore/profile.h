/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore.profile/1: an optional service of the host, for tools that show where the time goes. Hosts that measure
 * nothing (llavamore-run, libllavamore) do not have it: get_service gives NULL, and a plugin asks its clock only where
 * it found the service. Plugins that use sdk/nn report every operator of it without a line of their own.
 */
#ifndef LLAVAMORE_PROFILE_H
#define LLAVAMORE_PROFILE_H

#include <llavamore/host.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MORE_PROFILE_SERVICE "llavamore.profile/1"

/* One operator that has run; owned by the plugin, valid during the call. */
typedef struct more_profile_event {
    size_t struct_size;
    const char *operation; /* "linear", "attention", "rms_norm", ...: a constant text */
    const char *format;    /* of the weights: "f16", "q8", ...; NULL for operators without */
    int64_t outputs;       /* of linear: rows and columns of the matrix; 0 for other operators */
    int64_t inputs;
    int64_t rows;      /* rows of activations that it worked on */
    double seconds;    /* that its caller waited */
    double operations; /* of products: two a multiply-add; 0 where they are too few to count (norms, activations) */
    double bytes;      /* of weights and key-value cache that it read; 0 where there are none */
} more_profile_event;

typedef struct more_profile_service {
    size_t struct_size;
    /* Events do not overlap in one thread: an operator made of others reports itself or them, not both. [any-thread] */
    void (*add)(const more_host *host, const more_profile_event *event);
} more_profile_service;

#ifdef __cplusplus
}
#endif
#endif
