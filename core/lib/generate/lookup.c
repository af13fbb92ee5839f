/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/lookup.h"

#include <string.h>

enum { LONGEST = 4, SHORTEST = 2 };

/* Place behind the latest earlier occurrence of the last `length` ids; 0 = there is none. */
static size_t behind_match(const int32_t *ids, size_t count, size_t length)
{
    const int32_t *last = ids + count - length;
    for (size_t start = count - length; start-- > 0;)
        if (!memcmp(ids + start, last, length * sizeof *ids))
            return start + length;
    return 0;
}

int32_t core_lookup(const int32_t *ids, size_t count, int32_t most, int32_t *guess)
{
    size_t from = 0;
    for (size_t length = LONGEST; length >= SHORTEST && !from; length--)
        if (count > length)
            from = behind_match(ids, count, length);
    if (!from)
        return 0;
    for (int32_t i = 0; i < most; i++, from++)
        guess[i] = from < count ? ids[from] : guess[from - count];
    return most > 0 ? most : 0;
}
