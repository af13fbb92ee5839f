/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of what a caller hands over the ABI, with the error that says which argument is wrong.
 */
#ifndef LLAVAMORE_NN_REQUIRE_H
#define LLAVAMORE_NN_REQUIRE_H

#include <llavamore/backbone.h>

/* MORE_ERROR_UNSUPPORTED unless open() was given `most` devices at most, each the host CPU or of CUDA. [any-thread] */
more_status nn_require_devices(const more_open *arguments, const char *plugin, int32_t most, more_error *error);

/* MORE_ERROR_ARGUMENT unless the tensor is f32 of this shape, contiguous, on the host. The message calls it `what`,
 * with `index` behind it where that is not negative: "pixels 3". [any-thread] */
more_status nn_require_tensor(const more_tensor *tensor, const char *what, int64_t index, int rank,
                              const int64_t *shape, more_error *error);

#endif
