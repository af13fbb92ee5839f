/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the time of a run goes, by operator: what llavamore.profile/1 tells, summed.
 */
#ifndef BENCH_PROFILE_H
#define BENCH_PROFILE_H

#include <jansson.h>
#include <llavamore/profile.h>
#include <pthread.h>
#include <stdbool.h>

/* Events of one operation, format and shape of weights. */
typedef struct profile_entry {
    const char *operation, *format;
    int64_t outputs, inputs;
    int64_t calls;
    double seconds, operations, bytes;
} profile_entry;

typedef struct profile {
    pthread_mutex_t lock; /* guards what follows */
    bool recording;
    profile_entry *entries;
    int64_t count, capacity;
} profile;

/* What the recorded run did. */
typedef struct profile_sums {
    double operations, bytes;
    const char *format; /* of the weights that most operations went through; NULL = none */
} profile_sums;

void profile_init(profile *self);
void profile_free(profile *self);
/* Forgets all and records from now on. */
void profile_begin(profile *self);
profile_sums profile_end(profile *self);
/* core_host_config.profile is to call this. [any-thread] */
void profile_take(profile *self, const more_profile_event *event);
/* The entries, those that took longest first, and "other": what `seconds` has more than they. A new reference; NULL
 * when out of memory. */
json_t *profile_json(profile *self, double seconds);
/* Lays it out for people: rates, or, where times are those of `queued` work, amounts. */
void profile_layout(FILE *file, const json_t *json, bool queued);

#endif
