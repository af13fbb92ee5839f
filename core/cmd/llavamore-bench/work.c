/* SPDX-License-Identifier: Apache-2.0
 *
 * The work whose time is taken: through the plugins' interfaces, with random ids and a picture.
 */
#include "model.h"

#include "base/memory.h"
#include "generate/context.h"
#include <string.h>

enum {
    PICTURE_WIDTH = 640,
    PICTURE_HEIGHT = 480,
    TEXT_BEFORE = 8, /* tokens around the picture */
    TEXT_BEHIND = 24
};

/* Ids all over the vocabulary, the same ones in every run. */
static int32_t random_id(uint32_t *state, int64_t vocabulary)
{
    *state = *state * 1664525u + 1013904223u;
    return (int32_t)((int64_t)(*state >> 1) % vocabulary);
}

/* Appends `count` ids, with the logits of the last. */
static more_status advance(const core_assembly *assembly, more_session *session, const int32_t *ids, int64_t count,
                           float *logits, more_error *error)
{
    int64_t vocabulary = assembly->language_info.vocabulary, last = -1;
    int64_t shape[2] = {1, vocabulary}, strides[2];
    more_tensor out = more_host_tensor(logits, more_f32(), 2, shape, strides);
    more_segment segment = {.ids = ids, .count = count};
    more_advance item = {.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                         .session = session,
                         .segments = &segment,
                         .segment_count = 1,
                         .logit_rows = &last,
                         .logit_count = logits ? 1 : 0,
                         .logits = logits ? &out : NULL};
    more_status status = assembly->language_api->advance(assembly->language, &item, 1);
    return status ? more_fail(error, status, "%s", item.error.message) : MORE_OK;
}

/* In calls of [runtime] batch rows at most; logits behind the last of them. */
static more_status advance_all(const bench_model *model, more_session *session, const int32_t *ids, int64_t count,
                               float *logits, more_error *error)
{
    int64_t batch = core_config_int64(model->config, "runtime", "batch");
    more_status status = MORE_OK;
    for (int64_t done = 0; done < count && !status; done += batch) {
        int64_t rows = count - done < batch ? count - done : batch;
        status = advance(model->assembly, session, ids + done, rows, done + rows == count ? logits : NULL, error);
    }
    return status;
}

more_status bench_prefill(const bench_model *model, int64_t tokens, more_session **session, double *seconds,
                          more_error *error)
{
    const core_assembly *assembly = model->assembly;
    int64_t vocabulary = assembly->language_info.vocabulary;
    uint32_t state = 7;
    int32_t *ids = malloc((size_t)tokens * sizeof *ids);
    float *logits = core_floats(1, vocabulary);
    more_status status =
        ids && logits ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld ids", (long long)tokens);
    *session = NULL;
    for (int64_t i = 0; i < tokens && !status; i++)
        ids[i] = random_id(&state, vocabulary);
    double start = nn_probe_clock();
    if (!status)
        status = assembly->language_api->session_create(assembly->language, tokens, session, error);
    if (!status)
        status = advance_all(model, *session, ids, tokens, logits, error);
    *seconds = nn_probe_clock() - start;
    free(ids);
    free(logits);
    return status;
}

more_status bench_generate(const bench_model *model, more_session *session, int64_t tokens, double *seconds,
                           more_error *error)
{
    int64_t vocabulary = model->assembly->language_info.vocabulary;
    uint32_t state = 99;
    float *logits = core_floats(1, vocabulary);
    more_status status = logits ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "no memory for the logits");
    double start = nn_probe_clock();
    for (int64_t i = 0; i < tokens && !status; i++) {
        int32_t id = random_id(&state, vocabulary);
        status = interrupt_seen(model->b->interrupt) ? MORE_ERROR_CANCELLED
                                                     : advance(model->assembly, session, &id, 1, logits, error);
    }
    *seconds = nn_probe_clock() - start;
    free(logits);
    return status;
}

/* ---- Pictures --------------------------------------------------------------------------------------------------- */

/* A portable pixmap: a gradient with stripes. The caller frees it. */
static char *make_picture(size_t *size)
{
    char head[32];
    int length = snprintf(head, sizeof head, "P6\n%d %d\n255\n", PICTURE_WIDTH, PICTURE_HEIGHT);
    *size = (size_t)length + 3 * PICTURE_WIDTH * PICTURE_HEIGHT;
    char *bytes = malloc(*size);
    if (!bytes)
        return NULL;
    memcpy(bytes, head, (size_t)length);
    unsigned char *pixel = (unsigned char *)bytes + length;
    for (int y = 0; y < PICTURE_HEIGHT; y++)
        for (int x = 0; x < PICTURE_WIDTH; x++, pixel += 3) {
            pixel[0] = (unsigned char)(x * 255 / PICTURE_WIDTH);
            pixel[1] = (unsigned char)(y * 255 / PICTURE_HEIGHT);
            pixel[2] = (unsigned char)((x / 32 + y / 32) % 2 * 255);
        }
    return bytes;
}

static more_status see(const bench_model *model, core_visual *visual, core_visual_times *times, more_error *error)
{
    size_t size = 0;
    const char *path = model->b->options->image;
    char *bytes = path ? NULL : make_picture(&size);
    if (!path && !bytes)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a picture");
    llavamore_image image = {.path = path, .bytes = bytes, .size = size, .name = "a made picture"};
    more_status status = core_visual_encode(model->assembly, &image, 1, NULL, false, visual, times, error);
    free(bytes);
    return status;
}

more_status bench_image(const bench_model *model, double *seconds, more_error *error)
{
    core_visual visual = {0};
    core_visual_times times = {0};
    more_status status = see(model, &visual, &times, error);
    *seconds = 1e-3 * (times.encode_ms + times.project_ms);
    core_visual_free(&visual);
    return status;
}

more_status bench_first_token(const bench_model *model, double *seconds, int64_t *rows, more_error *error)
{
    const core_assembly *assembly = model->assembly;
    core_visual visual = {0};
    core_visual_times times = {0};
    core_context context = {0};
    core_ids ids = {0};
    uint32_t state = 5;
    for (int i = 0; i < TEXT_BEFORE + 1 + TEXT_BEHIND; i++)
        core_ids_push(&ids,
                      i == TEXT_BEFORE ? CORE_IMAGE_TOKEN : random_id(&state, assembly->language_info.vocabulary));
    float *logits = core_floats(1, assembly->language_info.vocabulary);
    more_status status =
        logits && !ids.failed ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "no memory for the logits");
    double start = nn_probe_clock();
    if (!status)
        status = see(model, &visual, &times, error);
    *rows = TEXT_BEFORE + TEXT_BEHIND + visual.count;
    if (!status)
        status = core_context_create(assembly, &context, error);
    if (!status)
        status = core_context_append(&context, &ids, &visual, 1, NULL, logits, error);
    *seconds = nn_probe_clock() - start;
    core_context_destroy(&context);
    core_visual_free(&visual);
    core_ids_free(&ids);
    free(logits);
    return status;
}
