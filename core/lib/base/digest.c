/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

more_status core_digest_of_both(const void *first, size_t first_size, const void *second, size_t second_size,
                                core_digest *digest, more_error *error)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    *digest = (core_digest){{0}};
    bool done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                (!first_size || EVP_DigestUpdate(context, first, first_size) == 1) &&
                (!second_size || EVP_DigestUpdate(context, second, second_size) == 1) &&
                EVP_DigestFinal_ex(context, digest->bytes, NULL) == 1;
    EVP_MD_CTX_free(context);
    if (!done)
        return more_fail(error, MORE_ERROR_MEMORY, "libcrypto gives no SHA-256 of %zu bytes", first_size + second_size);
    return MORE_OK;
}

more_status core_digest_of(const void *bytes, size_t size, core_digest *digest, more_error *error)
{
    return core_digest_of_both(bytes, size, NULL, 0, digest, error);
}

bool core_digest_equal(const core_digest *a, const core_digest *b)
{
    return !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

void core_digest_text(const core_digest *digest, char text[65])
{
    for (size_t i = 0; i < sizeof digest->bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", digest->bytes[i]);
}
