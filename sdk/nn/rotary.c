/* SPDX-License-Identifier: Apache-2.0
 *
 * Rotary position embedding. Angles are formed in f32 from f32 frequencies, as the reference does: a more exact angle
 * would be a different one.
 */
#include <math.h>

#include "profile.h"

void nn_rotary_frequencies(double theta, int64_t dimensions, float *frequencies)
{
    for (int64_t i = 0; i < dimensions / 2; i++)
        frequencies[i] = 1.0f / powf((float)theta, (float)(2 * i) / (float)dimensions);
}

void nn_rotary_scale_llama3(float *frequencies, int64_t count, double factor, double low_factor, double high_factor,
                            double original_context)
{
    const float pi2 = 6.28318531f;
    const float longest = (float)(original_context / low_factor), shortest = (float)(original_context / high_factor);
    for (int64_t i = 0; i < count; i++) {
        float frequency = frequencies[i], wavelength = pi2 / frequency;
        if (wavelength > longest) {
            frequencies[i] = frequency / (float)factor;
        } else if (wavelength >= shortest) {
            float keep = ((float)original_context / wavelength - (float)low_factor) / (float)(high_factor - low_factor);
            frequencies[i] = (1.0f - keep) * frequency / (float)factor + keep * frequency;
        }
    }
}

void nn_rotary_frequencies_long(double theta, int64_t dimensions, const float *factors, float *frequencies)
{
    for (int64_t i = 0; i < dimensions / 2; i++)
        frequencies[i] = 1.0f / (factors[i] * powf((float)theta, (float)(2 * i) / (float)dimensions));
}

double nn_rotary_attention_factor(double context, double original)
{
    return context > original ? sqrt(1 + log(context / original) / log(original)) : 1;
}

typedef struct rotary_job {
    nn_context *context;
    float *x;
    int64_t stride, heads, head_dimension, pairs;
    const float *frequencies;
    const int64_t *positions;
    float attention_factor;
} rotary_job;

enum { PAIRS_AT_ONCE = 256 /* on the stack */ };

/* Pairs [first, first + count) of every head of one row. */
static void rotate_row(const rotary_job *job, int64_t row, int64_t first, int64_t count)
{
    float cosine[PAIRS_AT_ONCE], sine[PAIRS_AT_ONCE];
    float position = (float)job->positions[row];
    for (int64_t i = 0; i < count; i++) {
        float angle = position * job->frequencies[first + i];
        cosine[i] = cosf(angle) * job->attention_factor;
        sine[i] = sinf(angle) * job->attention_factor;
    }
    float *head = job->x + row * job->stride + first;
    for (int64_t h = 0; h < job->heads; h++, head += job->head_dimension)
        job->context->kernels->rotate(head, head + job->pairs, cosine, sine, count);
}

static void rotate_rows(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const rotary_job *job = argument;
    for (int64_t row = begin; row < end; row++)
        for (int64_t first = 0; first < job->pairs; first += PAIRS_AT_ONCE)
            rotate_row(job, row, first, nn_min(PAIRS_AT_ONCE, job->pairs - first));
}

void nn_host_rotary(nn_context *context, float *x, int64_t rows, int64_t x_stride, int64_t heads,
                    int64_t head_dimension, int64_t dimensions, const float *frequencies, const int64_t *positions,
                    float attention_factor)
{
    double begin = nn_profile_begin(context);
    rotary_job job = {context,        x,           x_stride,  heads,           head_dimension,
                      dimensions / 2, frequencies, positions, attention_factor};
    if (!job.stride)
        job.stride = heads * head_dimension;
    double operations = (double)rows * (double)job.pairs * (double)(heads + 16);
    nn_parallel_sized(context, operations, rows, 4, rotate_rows, &job);
    nn_profile_end(context, begin, "rotary", rows);
}
