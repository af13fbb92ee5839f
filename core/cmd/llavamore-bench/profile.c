/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include <stdlib.h>
#include <string.h>

void profile_init(profile *self)
{
    *self = (profile){0};
    pthread_mutex_init(&self->lock, NULL);
}

void profile_free(profile *self)
{
    free(self->entries);
    pthread_mutex_destroy(&self->lock);
}

void profile_begin(profile *self)
{
    pthread_mutex_lock(&self->lock);
    self->count = 0;
    self->recording = true;
    pthread_mutex_unlock(&self->lock);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* The entry that the event belongs to, made where there is none; NULL when out of memory. */
static profile_entry *find_entry(profile *self, const more_profile_event *event)
{
    for (int64_t i = 0; i < self->count; i++) {
        profile_entry *entry = &self->entries[i];
        if (entry->outputs == event->outputs && entry->inputs == event->inputs &&
            same_text(entry->operation, event->operation) && same_text(entry->format, event->format))
            return entry;
    }
    if (self->count == self->capacity) {
        int64_t capacity = 2 * self->capacity + 16;
        profile_entry *entries = realloc(self->entries, (size_t)capacity * sizeof *entries);
        if (!entries)
            return NULL;
        self->entries = entries;
        self->capacity = capacity;
    }
    profile_entry *entry = &self->entries[self->count++];
    *entry = (profile_entry){event->operation, event->format, event->outputs, event->inputs, 0, 0.0, 0.0, 0.0};
    return entry;
}

void profile_take(profile *self, const more_profile_event *event)
{
    pthread_mutex_lock(&self->lock);
    profile_entry *entry = self->recording && event->operation ? find_entry(self, event) : NULL;
    if (entry) {
        entry->calls++;
        entry->seconds += event->seconds;
        entry->operations += event->operations;
        entry->bytes += event->bytes;
    }
    pthread_mutex_unlock(&self->lock);
}

static int longest_first(const void *a, const void *b)
{
    double x = ((const profile_entry *)a)->seconds, y = ((const profile_entry *)b)->seconds;
    return (x < y) - (x > y);
}

profile_sums profile_end(profile *self)
{
    profile_sums sums = {0};
    double most = 0.0;
    pthread_mutex_lock(&self->lock);
    self->recording = false;
    for (int64_t i = 0; i < self->count; i++) {
        const profile_entry *entry = &self->entries[i];
        sums.operations += entry->operations;
        sums.bytes += entry->bytes;
        if (entry->format && entry->operations > most) {
            most = entry->operations;
            sums.format = entry->format;
        }
    }
    if (self->count)
        qsort(self->entries, (size_t)self->count, sizeof *self->entries, longest_first);
    pthread_mutex_unlock(&self->lock);
    return sums;
}

static json_t *entry_json(const profile_entry *entry, double seconds)
{
    json_t *json =
        json_pack("{s:s, s:I, s:f, s:f, s:f, s:f}", "operator", entry->operation, "calls", (json_int_t)entry->calls,
                  "seconds", entry->seconds, "share", seconds > 0.0 ? entry->seconds / seconds : 0.0, "operations",
                  entry->operations, "bytes", entry->bytes);
    if (json && entry->format)
        json_object_set_new(json, "format", json_string(entry->format));
    if (json && entry->outputs)
        json_object_set_new(json, "shape", json_pack("[I, I]", (json_int_t)entry->outputs, (json_int_t)entry->inputs));
    return json;
}

json_t *profile_json(profile *self, double seconds)
{
    json_t *list = json_array();
    double known = 0.0;
    for (int64_t i = 0; list && i < self->count; i++) {
        json_array_append_new(list, entry_json(&self->entries[i], seconds));
        known += self->entries[i].seconds;
    }
    if (list && seconds > known) {
        profile_entry other = {.operation = "other", .calls = 1, .seconds = seconds - known};
        json_array_append_new(list, entry_json(&other, seconds));
    }
    return list;
}

void profile_layout(FILE *file, const json_t *json, bool queued)
{
    size_t i;
    const json_t *row;
    int digits = queued ? 4 : 1;
    fprintf(file, "  %-34s %8s %10s %7s %10s %8s\n", "operator", "calls", "ms", "share", queued ? "GFLOP" : "GFLOP/s",
            queued ? "GB" : "GB/s");
    json_array_foreach(json, i, row)
    {
        char name[96];
        const char *format = json_string_value(json_object_get(row, "format"));
        const json_t *shape = json_object_get(row, "shape");
        double seconds = json_number_value(json_object_get(row, "seconds"));
        double each = queued ? 1e-9 : seconds > 0.0 ? 1e-9 / seconds : 0.0;
        int length = snprintf(name, sizeof name, "%s", json_string_value(json_object_get(row, "operator")));
        if (shape && length > 0 && length < (int)sizeof name)
            length += snprintf(name + length, sizeof name - (size_t)length, " %lld x %lld",
                               (long long)json_integer_value(json_array_get(shape, 0)),
                               (long long)json_integer_value(json_array_get(shape, 1)));
        if (format && length > 0 && length < (int)sizeof name)
            snprintf(name + length, sizeof name - (size_t)length, " %s", format);
        fprintf(file, "  %-34s %8lld %10.2f %6.1f%% %10.*f %8.*f\n", name,
                (long long)json_integer_value(json_object_get(row, "calls")), 1e3 * seconds,
                100.0 * json_number_value(json_object_get(row, "share")), digits,
                each * json_number_value(json_object_get(row, "operations")), digits,
                each * json_number_value(json_object_get(row, "bytes")));
    }
}
