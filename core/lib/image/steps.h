/* SPDX-License-Identifier: Apache-2.0
 *
 * The preprocessing steps that come with the host, as typed functions of stage "preprocess"; each table row documents
 * its arguments. Their numbers are bit-equal to transformers' slow image processors.
 */
#ifndef CORE_IMAGE_STEPS_H
#define CORE_IMAGE_STEPS_H

#include <llavamore/functions.h>

const more_functions_interface *core_image_steps(void);

#endif
