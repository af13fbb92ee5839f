/* SPDX-License-Identifier: Apache-2.0 */
#include "base/suggest.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int lower(char c)
{
    return tolower((unsigned char)c);
}

size_t core_edit_distance(const char *a, const char *b)
{
    size_t rows = strnlen(a, CORE_SUGGEST_LENGTH + 1), columns = strnlen(b, CORE_SUGGEST_LENGTH + 1);
    if (rows > CORE_SUGGEST_LENGTH || columns > CORE_SUGGEST_LENGTH)
        return SIZE_MAX;
    /* three rows of the table are enough: a swap looks two rows back */
    size_t table[3][CORE_SUGGEST_LENGTH + 1];
    for (size_t j = 0; j <= columns; j++)
        table[0][j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t *here = table[i % 3], *above = table[(i + 2) % 3], *twice_above = table[(i + 1) % 3];
        here[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            int x = lower(a[i - 1]), y = lower(b[j - 1]);
            here[j] = smaller(smaller(above[j], here[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == lower(b[j - 2]) && lower(a[i - 2]) == y)
                here[j] = smaller(here[j], twice_above[j - 2] + 1);
        }
    }
    return table[rows % 3][columns];
}

core_suggest core_suggest_for(const char *word)
{
    core_suggest suggest = {.word = word, .distance = SIZE_MAX};
    return suggest;
}

void core_suggest_offer(core_suggest *suggest, const char *name)
{
    size_t distance = core_edit_distance(suggest->word, name);
    size_t allowed = strlen(suggest->word) / 3;
    if (distance > (allowed ? allowed : 1) || distance >= suggest->distance || distance >= strlen(name))
        return;
    suggest->best = name;
    suggest->distance = distance;
}

const char *core_suggest_text(core_suggest *suggest)
{
    suggest->text[0] = '\0';
    if (suggest->best)
        snprintf(suggest->text, sizeof suggest->text, " (did you mean '%s'?)", suggest->best);
    return suggest->text;
}
