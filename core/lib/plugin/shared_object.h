/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks at a file before it is given to dlopen.
 */
#ifndef CORE_SHARED_OBJECT_H
#define CORE_SHARED_OBJECT_H

#include <llavamore/status.h>

/* MORE_OK for a whole ELF shared object of this machine. The dynamic linker crashes on one that was cut short, and its
 * messages on the rest help nobody; this one names what is wrong, without the path. [any-thread] */
more_status core_shared_object_check(const char *path, more_error *error);

#endif
