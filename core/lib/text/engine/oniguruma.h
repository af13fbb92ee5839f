/* SPDX-License-Identifier: Apache-2.0
 *
 * Rewrites a regular expression of Oniguruma's (Ruby's) syntax for PCRE2 with UTF and UCP. Known to differ: scripts
 * (\p{Han}) of characters that Unicode assigned after PCRE2's version, and \P{L} inside a class for these characters.
 */
#ifndef CORE_ONIGURUMA_H
#define CORE_ONIGURUMA_H

#include "base/buffer.h"

/* Appends the rewritten expression. Refused with MORE_ERROR_UNSUPPORTED: nested character classes and `&&` in them, and
 * escapes that mean something else in PCRE2 and are not rewritten. `where` names the place in the file. [any-thread] */
more_status core_oniguruma_rewrite(const char *text, size_t size, const char *where, core_buffer *result,
                                   more_error *error);

#endif
