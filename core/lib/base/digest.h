/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 (libcrypto), by which content is told apart.
 */
#ifndef CORE_DIGEST_H
#define CORE_DIGEST_H

#include <llavamore/status.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct core_digest {
    unsigned char bytes[32];
} core_digest;

/* Of `size` bytes; NULL is allowed where size is 0. MORE_ERROR_MEMORY when libcrypto refuses. [any-thread] */
more_status core_digest_of(const void *bytes, size_t size, core_digest *digest, more_error *error);
/* Of two pieces as if they stood one behind the other. [any-thread] */
more_status core_digest_of_both(const void *first, size_t first_size, const void *second, size_t second_size,
                                core_digest *digest, more_error *error);
bool core_digest_equal(const core_digest *a, const core_digest *b);
/* 64 hexadecimal digits, lower case, and a NUL. */
void core_digest_text(const core_digest *digest, char text[65]);

#endif
