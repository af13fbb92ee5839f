/* SPDX-License-Identifier: Apache-2.0
 *
 * json [KEY]: fails where standard input is no JSON object, or has no value at the dotted KEY, and prints that value.
 */
#include "base/json.h"
#include "base/buffer.h"
#include "base/file.h"
#include <stdlib.h>

int main(int argc, char **argv)
{
    core_buffer text = {0};
    more_error error = {{0}};
    json_t *json = NULL;
    more_status status = core_file_read("-", (size_t)1 << 26, &text, &error);
    if (!status)
        status = core_json_parse(text.data ? text.data : "", text.size, "standard input", &json, &error);
    json_t *value = json && argc > 1 ? core_json_at(json, argv[1]) : json;
    char *shown = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)) : NULL;
    if (json_is_string(value))
        printf("%s\n", json_string_value(value));
    else if (shown && argc > 1)
        printf("%s\n", shown);
    if (status)
        fprintf(stderr, "%s\n", error.message);
    free(shown);
    json_decref(json);
    core_buffer_free(&text);
    return value ? EXIT_SUCCESS : EXIT_FAILURE;
}
