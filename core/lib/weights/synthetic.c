/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/synthetic.h"

#include "base/json.h"
#include "weights/convert.h"
#include <stdlib.h>
#include <string.h>

static more_status bad(const char *path, const char *name, more_error *error)
{
    return more_fail(error, MORE_ERROR_CORRUPT,
                     "%s: tensor '%s': is not [float format, [dimensions]] of a shape that "
                     "fits memory",
                     path, name);
}

static more_status read_one(const char *path, const char *name, json_t *json, core_tensor_entry *entry,
                            more_error *error)
{
    static const char *const known[] = {"f32", "f16", "bf16", "f64"};
    const char *format = json_string_value(json_array_get(json, 0));
    json_t *shape = json_array_get(json, 1);
    int64_t bytes;
    for (size_t i = 0; format && i < sizeof known / sizeof *known; i++)
        if (!strcmp(format, known[i]))
            entry->format = known[i];
    if (!entry->format || !json_is_array(shape) || json_array_size(shape) > MORE_MAX_RANK)
        return bad(path, name, error);
    entry->path = path;
    entry->rank = (int32_t)json_array_size(shape);
    entry->elements = 1;
    for (int32_t i = 0; i < entry->rank; i++) {
        json_t *item = json_array_get(shape, (size_t)i);
        if (!json_is_integer(item) || json_integer_value(item) < 0)
            return bad(path, name, error);
        entry->shape[i] = json_integer_value(item);
        if (__builtin_mul_overflow(entry->elements, entry->shape[i], &entry->elements))
            return bad(path, name, error);
    }
    if (__builtin_mul_overflow(entry->elements, (int64_t)core_format_width(entry->format), &bytes))
        return bad(path, name, error);
    entry->bytes = (size_t)bytes;
    entry->name = strdup(name);
    return entry->name ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
}

more_status core_synthetic_read(const char *path, core_tensor_entry **entries, int64_t *count, more_error *error)
{
    json_t *json = NULL, *item;
    const char *name;
    *entries = NULL;
    *count = 0;
    more_status status = core_json_load(path, &json, error);
    if (status != MORE_OK)
        return status;
    *entries = calloc(json_object_size(json) + 1, sizeof **entries);
    if (!json_is_object(json))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: is not an object of tensor names", path);
    else if (!*entries)
        status = more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
    json_object_foreach(json, name, item)
    {
        if (status == MORE_OK)
            status = read_one(path, name, item, &(*entries)[(*count)++], error);
    }
    json_decref(json);
    if (status != MORE_OK) {
        core_synthetic_free(*entries, *count);
        *entries = NULL;
        *count = 0;
    }
    return status;
}

void core_synthetic_free(core_tensor_entry *entries, int64_t count)
{
    for (int64_t i = 0; entries && i < count; i++)
        free(entries[i].name);
    free(entries);
}

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static uint64_t key_of(const char *name, uint64_t seed)
{
    uint64_t key = mix(seed + 0x9e3779b97f4a7c15u);
    for (; *name; name++)
        key = mix(key ^ (unsigned char)*name);
    return key;
}

/* Mean 0, variance 1, near enough to a bell: the sum of four 16-bit uniform numbers. */
static float bell(uint64_t bits)
{
    int32_t sum = (int32_t)(bits & 0xffff) + (int32_t)(bits >> 16 & 0xffff) + (int32_t)(bits >> 32 & 0xffff) +
                  (int32_t)(bits >> 48);
    return (float)(sum - 2 * 0xffff) * (1.7320508f / 65536.0f);
}

enum { CHUNK = 256 /* elements that are drawn before they are rounded, so that each of the loops is a plain one */ };

static void round_to(const char *format, float *values, int64_t count)
{
    if (!strcmp(format, "f16"))
        for (int64_t i = 0; i < count; i++)
            values[i] = core_f16_to_f32(core_f32_to_f16(values[i]));
    else if (!strcmp(format, "bf16"))
        for (int64_t i = 0; i < count; i++)
            values[i] = core_bf16_to_f32(core_f32_to_bf16(values[i]));
}

bool core_synthetic_fill(const core_tensor_entry *entry, uint64_t seed, int64_t first, int64_t stride, int64_t count,
                         DLDataType dtype, void *to)
{
    uint64_t key = key_of(entry->name, seed);
    size_t length = strlen(entry->name);
    bool weight = length >= 7 && !strcmp(entry->name + length - 7, ".weight");
    float centre = entry->rank == 1 && weight && strstr(entry->name, "norm") ? 1.0f : 0.0f;
    unsigned char *place = to;
    for (int64_t done = 0; done < count; done += CHUNK) {
        float values[CHUNK];
        int64_t chunk = count - done < CHUNK ? count - done : CHUNK;
        for (int64_t i = 0; i < chunk; i++) {
            uint64_t counter = (uint64_t)(first + (done + i) * stride);
            values[i] = centre + 0.02f * bell(mix(key + counter * 0x9e3779b97f4a7c15u));
        }
        round_to(entry->format, values, chunk);
        if (!core_convert("f32", (const unsigned char *)values, 1, chunk, dtype, place + done * (dtype.bits / 8)))
            return false;
    }
    return true;
}
