/* SPDX-License-Identifier: Apache-2.0
 *
 * The context: host services, the kernel table, scratch memory.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda.h"
#include "internal.h"

/* The service's table when the host has it and it reaches `size` bytes. */
static const void *find_service(const more_host *host, const char *id, size_t size, more_error *error)
{
    const void *service = host->get_service(host, id);
    size_t has = 0;
    if (service)
        memcpy(&has, service, sizeof has); /* every table begins with its struct_size */
    if (has >= size)
        return service;
    more_fail(error, MORE_ERROR_UNSUPPORTED, "the host lacks the service '%s', without which no plugin runs", id);
    return NULL;
}

static more_status find_services(nn_context *context, more_error *error)
{
    const more_host *host = context->host;
    context->log = find_service(host, MORE_LOG_SERVICE, MORE_STRUCT_SIZE(more_log_service, write), error);
    if (!context->log)
        return MORE_ERROR_UNSUPPORTED;
    context->threads =
        find_service(host, MORE_THREADS_SERVICE, MORE_STRUCT_SIZE(more_threads_service, parallel_for), error);
    if (!context->threads)
        return MORE_ERROR_UNSUPPORTED;
    context->progress =
        find_service(host, MORE_PROGRESS_SERVICE, MORE_STRUCT_SIZE(more_progress_service, cancelled), error);
    if (!context->progress)
        return MORE_ERROR_UNSUPPORTED;
    context->memory = find_service(host, MORE_MEMORY_SERVICE, MORE_STRUCT_SIZE(more_memory_service, release), error);
    context->profile = find_service(host, MORE_PROFILE_SERVICE, MORE_STRUCT_SIZE(more_profile_service, add), NULL);
    return context->memory ? MORE_OK : MORE_ERROR_UNSUPPORTED;
}

static more_status choose_kernels(nn_context *context, more_error *error)
{
    const char *limit = getenv("LLAVAMORE_CPU");
    const char *reason = "";
    if (limit && !*limit)
        limit = NULL;
    context->kernels = nn_kernels_select(limit, &reason);
    if (!context->kernels)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "LLAVAMORE_CPU is '%s': %s; leave it unset or use one of baseline, avx2, avx512, avx512vnni, "
                         "avx512bf16, amx",
                         limit, reason);
    nn_log(context, MORE_LOG_INFO, "cpu", "kernels: %s (%s)", context->kernels->name, context->kernels->instructions);
    return MORE_OK;
}

static more_status make_scratch(nn_context *context, more_error *error)
{
    context->workers = context->threads->count(context->host);
    if (context->workers < 1)
        context->workers = 1;
    context->free_scratch = calloc((size_t)context->workers, sizeof *context->free_scratch);
    /* An even number, so that they fill huge pages, without which attention and products are a tenth slower. */
    int64_t buffers = context->workers + context->workers % 2;
    context->scratch = nn_allocate(context, buffers, NN_SCRATCH * (int64_t)sizeof(float));
    if (!context->free_scratch || !context->scratch)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %d scratch buffers of %d bytes", context->workers,
                         NN_SCRATCH * (int)sizeof(float));
    for (int32_t i = 0; i < context->workers; i++)
        context->free_scratch[i] = context->scratch + (int64_t)i * NN_SCRATCH;
    context->free_count = context->workers;
    return MORE_OK;
}

more_status nn_context_create(const more_host *host, nn_context **result, more_error *error)
{
    *result = NULL;
    nn_context *context = calloc(1, sizeof *context);
    if (!context)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a kernel context");
    context->host = host;
    context->operators = &nn_host_operators;
    pthread_mutex_init(&context->lock, NULL);
    pthread_cond_init(&context->returned, NULL);
    more_status status = find_services(context, error);
    if (!status)
        status = choose_kernels(context, error);
    if (!status)
        status = make_scratch(context, error);
    if (status) {
        nn_context_destroy(context);
        return status;
    }
    *result = context;
    return MORE_OK;
}

void nn_context_destroy(nn_context *context)
{
    if (!context)
        return;
    nn_arenas_free(context);
    nn_cuda_detach(context);
    if (context->memory)
        nn_release(context, context->scratch);
    free(context->free_scratch);
    pthread_cond_destroy(&context->returned);
    pthread_mutex_destroy(&context->lock);
    free(context);
}

const char *nn_context_kernels(const nn_context *context)
{
    return context->kernels->name;
}

static const char *const arithmetics[] = {
    [NN_ARITHMETIC_AUTO] = "auto", [NN_ARITHMETIC_EXACT] = "exact", [NN_ARITHMETIC_FAST] = "fast"};

const char *nn_arithmetic_name(nn_arithmetic arithmetic)
{
    return arithmetics[arithmetic];
}

bool nn_arithmetic_named(const char *name, nn_arithmetic *arithmetic)
{
    for (size_t i = 0; i < sizeof arithmetics / sizeof *arithmetics; i++)
        if (!strcmp(name, arithmetics[i])) {
            *arithmetic = (nn_arithmetic)i;
            return true;
        }
    return false;
}

void nn_context_set_arithmetic(nn_context *context, nn_arithmetic arithmetic)
{
    const nn_pair_kernels *pairs = context->kernels->pairs;
    context->arithmetic = arithmetic;
    if (!nn_on_host(context)) {
        nn_log(context, MORE_LOG_INFO, "cuda", "arithmetic %s: %s", nn_arithmetic_name(arithmetic),
               arithmetic == NN_ARITHMETIC_EXACT ? "f32" : "many rows by 16-bit weights in their type, else f32");
        return;
    }
    const char *floats = arithmetic == NN_ARITHMETIC_FAST && pairs ? pairs->instruction : "f32";
    bool exact = arithmetic == NN_ARITHMETIC_EXACT, many = !exact && pairs && pairs->quantised_rows < INT64_MAX;
    nn_log(context, MORE_LOG_INFO, "cpu", "arithmetic %s: %s for float weights, %s for quantised ones%s%s",
           nn_arithmetic_name(arithmetic), floats, exact ? "f32" : "int8", many ? ", of many rows " : "",
           many ? pairs->instruction : "");
}

void nn_log(nn_context *context, more_log_level level, const char *component, const char *format, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    context->log->write(context->host, level, component, message);
}

void nn_progress(nn_context *context, const char *stage, int64_t done, int64_t total)
{
    context->progress->update(context->host, stage, done, total);
}

bool nn_cancelled(nn_context *context)
{
    return context->progress->cancelled(context->host);
}

void nn_parallel(nn_context *context, int64_t items, int64_t grain, more_range_function body, void *argument)
{
    if (items > 0)
        context->threads->parallel_for(context->host, items, grain < 1 ? 1 : grain, body, argument);
}

void nn_parallel_sized(nn_context *context, double operations, int64_t items, int64_t grain, more_range_function body,
                       void *argument)
{
    const double worth_waking = 100e3; /* some microseconds of work, about what waking the pool costs */
    if (items > 1 && operations > worth_waking)
        nn_parallel(context, items, grain, body, argument);
    else if (items > 0)
        body(argument, 0, items, 0);
}

typedef struct unit_job {
    nn_context *context;
    nn_unit_function body;
    void *argument;
    int64_t units;
    _Atomic int64_t next;
} unit_job;

/* One item a worker; each goes on until no unit is left. */
static void take_units(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)begin;
    (void)end;
    (void)worker;
    unit_job *job = argument;
    float *scratch = nn_scratch_take(job->context);
    int64_t unit;
    while ((unit = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed)) < job->units)
        job->body(job->argument, unit, scratch);
    nn_scratch_give(job->context, scratch);
}

void nn_parallel_units(nn_context *context, double operations, int64_t units, nn_unit_function body, void *argument)
{
    unit_job job = {.context = context, .body = body, .argument = argument, .units = units};
    atomic_init(&job.next, 0);
    nn_parallel_sized(context, operations, nn_min(units, context->workers), 1, take_units, &job);
}

void *nn_allocate(nn_context *context, int64_t count, int64_t size)
{
    int64_t bytes;
    if (count < 0 || __builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    return context->memory->allocate(context->host, bytes > 0 ? (size_t)bytes : 1);
}

void nn_release(nn_context *context, void *memory)
{
    context->memory->release(context->host, memory);
}

void *nn_place(nn_context *context, int64_t count, int64_t size, const char *what)
{
    int64_t bytes;
    if (count < 0 || __builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    return context->operators->allocate(context, bytes > 0 ? bytes : 1, what);
}

float *nn_alloc_f32(nn_context *context, int64_t count)
{
    float *values = nn_place(context, count, sizeof(float), "vectors of weights");
    if (values)
        nn_zero(context, values, (size_t)count * sizeof(float));
    return values;
}

void nn_free(nn_context *context, void *memory)
{
    context->operators->release(context, memory);
}

void nn_copy(nn_context *context, void *to, const void *from, size_t bytes)
{
    if (bytes > 0)
        context->operators->copy(context, to, from, bytes);
}

void nn_zero(nn_context *context, void *to, size_t bytes)
{
    if (bytes > 0)
        context->operators->zero(context, to, bytes);
}

more_status nn_context_set_device(nn_context *context, const char *plugin, DLDevice device, more_error *error)
{
    if (device.device_type == kDLCPU)
        return MORE_OK;
    if (device.device_type == kDLCUDA)
        return nn_cuda_attach(context, plugin, device.device_id, error);
    return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s has no kernels for device %d:%d (DLPack type:number)", plugin,
                     (int)device.device_type, (int)device.device_id);
}

more_status nn_begin(nn_context *context, more_error *error)
{
    return context->cuda ? nn_cuda_begin(context, error) : MORE_OK;
}

bool nn_on_host(const nn_context *context)
{
    return !context->cuda;
}

void nn_move_f32(nn_context *from, const float *x, nn_context *to, float *y, int64_t count)
{
    size_t bytes = (size_t)count * sizeof *x;
    if (from == to || nn_on_host(to)) {
        nn_copy(from, y, x, bytes);
    } else if (nn_on_host(from)) {
        nn_copy(to, y, x, bytes);
    } else { /* by way of the host */
        float *between = nn_allocate(to, count, sizeof *between);
        if (between) {
            nn_copy(from, between, x, bytes);
            nn_copy(to, y, between, bytes);
        } else {
            nn_cuda_failed(to->cuda, MORE_ERROR_MEMORY, "no memory for activations on their way between devices");
        }
        nn_release(to, between);
    }
}

more_status nn_settled(nn_context *context, more_status status, more_error *error)
{
    return context && context->cuda ? nn_cuda_settled(context, status, error) : status;
}

float *nn_scratch_take(nn_context *context)
{
    pthread_mutex_lock(&context->lock);
    while (context->free_count == 0)
        pthread_cond_wait(&context->returned, &context->lock);
    float *scratch = context->free_scratch[--context->free_count];
    pthread_mutex_unlock(&context->lock);
    return scratch;
}

void nn_scratch_give(nn_context *context, float *scratch)
{
    pthread_mutex_lock(&context->lock);
    context->free_scratch[context->free_count++] = scratch;
    pthread_cond_signal(&context->returned);
    pthread_mutex_unlock(&context->lock);
}
