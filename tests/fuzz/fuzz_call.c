/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls and parameter declarations: whatever the text, it is bound or refused with one line; what was bound is invoked
 * and written as a text that binds to the same values. The first byte chooses: a declaration, or the stage of calls.
 */
#include "plugin/call.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static more_status mixed(more_error *error, int64_t a, double b, const char *c, int32_t d, int64_t e, double f,
                         const char *g)
{
    require(isfinite(b) && isfinite(f) && (d == 0 || d == 1));
    return more_fail(error, MORE_OK, "%lld %zu %zu", (long long)(a ^ e), strlen(c), strlen(g));
}

static more_status resize(const more_image *in, more_image *out, more_error *error, int64_t width, int64_t height,
                          const char *filter)
{
    (void)error;
    require(in != out && strlen(filter) < SIZE_MAX / 2);
    out->width = width;
    out->height = height;
    return MORE_OK;
}

static const more_function rows[] = {
    {MORE_STAGE_PLAIN, "mixed",
     "int64 a, double b = 1/255, string c = \"x, (y)\", bool d = no, int64 e = -1, double f = 0, string g = word",
     "Takes everything.", (void (*)(void))mixed},
    {MORE_STAGE_PREPROCESS, "resize", "int64 width, int64 height, string filter = bicubic", "Resizes.",
     (void (*)(void))resize},
};

static const more_functions_interface table = {
    .struct_size = MORE_STRUCT_SIZE(more_functions_interface, count), .functions = rows, .count = 2};

static void check_refusal(more_status status, const more_error *error)
{
    require(status == MORE_OK || (error->message[0] && !strchr(error->message, '\n')));
}

static void declare(const char *text)
{
    more_error error = {{0}};
    const more_function row = {MORE_STAGE_PLAIN, "declared", text, "", (void (*)(void))mixed};
    const more_functions_interface declared = {
        .struct_size = MORE_STRUCT_SIZE(more_functions_interface, count), .functions = &row, .count = 1};
    more_status status = core_functions_check(&declared, &error);
    require(status == MORE_OK || error.message[0]);
}

static void call(const core_functions *functions, const char *stage, const char *text)
{
    more_error error = {{0}};
    core_calls calls = {0};
    check_refusal(core_calls_parse(functions, stage, text, "fuzz", &calls, &error), &error);
    more_image in = {0}, out = {0};
    void *const images[] = {&in, &out};
    for (size_t i = 0; i < calls.count; i++) {
        core_buffer first = {0}, second = {0};
        core_call *again = NULL;
        require(core_call_invoke(calls.items[i], images, &error) == MORE_OK);
        core_call_write(calls.items[i], &first);
        require(!first.failed && core_call_parse(functions, stage, first.data, "again", &again, &error) == MORE_OK);
        core_call_write(again, &second);
        require(!second.failed && !strcmp(first.data, second.data));
        core_call_destroy(again);
        core_buffer_free(&first);
        core_buffer_free(&second);
    }
    core_calls_free(&calls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    core_functions *functions = NULL;
    if (!size)
        return 0;
    char *text = malloc(size);
    require(text && core_functions_create(&functions, NULL) == MORE_OK);
    require(core_functions_add(functions, &table, "fuzz", NULL) == MORE_OK);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] == 'd')
        declare(text);
    else
        call(functions, data[0] == 'p' ? MORE_STAGE_PREPROCESS : MORE_STAGE_PLAIN, text);
    core_functions_destroy(functions);
    free(text);
    return 0;
}
