/* SPDX-License-Identifier: Apache-2.0
 *
 * What a CUDA device gives: the rate of copying its memory, and that of a large f16 product, by cuBLAS and by our own
 * kernels.
 */
#include "bench.h"

#include "cuda/cuda.h"
#include "device/choice.h"
#include <stdlib.h>
#include <string.h>

static const double limit_seconds = 0.02;
static const char emulator[] = "CUDA emulator", emulated_kernels[] = "emulator";

enum {
    MOST_EDGE = 8192,
    LEAST_EDGE = 512,
    EMULATED_EDGE = 64, /* a size that means as much as any */
    MATERIAL = 1 << 20  /* random f16 numbers of which operands are made */
};

struct bench_device {
    bench *b;
    const more_host *host;
    const more_cuda_service *service;
    int32_t number;
    more_cuda_info info;
    bool emulated;
    more_cuda_stream stream;
    nn_context *nn;    /* of the products; NULL where this program has no kernels that run on the device */
    more_error reason; /* why it is NULL */
    int64_t edge;      /* of the product's three square matrices */
    char *memory; /* two of f16, behind them their product of f32. Copying goes from the first half to the second */
    bool has[BENCH_SOURCES];
    bench_limit limits[BENCH_SOURCES];
};

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

more_status bench_device_open(bench *b, int32_t number, more_error *error)
{
    const more_host *host = core_host_abi(b->host);
    bench_device *device = calloc(1, sizeof *device);
    if (!device)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for a device");
    *device = (bench_device){.b = b,
                             .host = host,
                             .service = host->get_service(host, MORE_CUDA_SERVICE),
                             .number = number,
                             .info = {.struct_size = sizeof device->info}};
    b->device = device;
    more_status status = device->service->describe(host, number, &device->info, error);
    if (!status)
        status = device->service->stream_create(host, number, &device->stream, error);
    device->emulated = !strcmp(device->info.name, emulator);
    return status;
}

void bench_device_close(bench_device *device)
{
    if (!device)
        return;
    nn_context_destroy(device->nn);
    device->service->release(device->host, device->number, device->memory);
    device->service->stream_destroy(device->host, device->number, device->stream);
    free(device);
}

const char *bench_device_unmeasured(const bench_device *device)
{
    return device && device->emulated ? "an emulator" : NULL;
}

const char *bench_device_shown(const bench_device *device, char text[192])
{
    return core_device_shown(device->host, (DLDevice){kDLCUDA, device->number}, text);
}

/* ---- Operands --------------------------------------------------------------------------------------------------- */

static int64_t half_bytes(const bench_device *device)
{
    return 4 * device->edge * device->edge;
}

/* The largest whose memory is a quarter of what is free at most. */
static int64_t choose_edge(const bench_device *device)
{
    int64_t edge = device->emulated ? EMULATED_EDGE : MOST_EDGE;
    while (edge > LEAST_EDGE && 8 * edge * edge > device->info.free_bytes / 4)
        edge /= 2;
    return edge;
}

/* Numbers of one size and random signs and digits: zeros would let a device clock higher than work does. */
static more_status fill_operands(bench_device *device, more_error *error)
{
    uint16_t *numbers = malloc(MATERIAL * sizeof *numbers);
    uint32_t state = 12345;
    more_status status =
        numbers ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory for the numbers of a product");
    for (int64_t i = 0; numbers && i < MATERIAL; i++) {
        state = state * 1664525u + 1013904223u;
        numbers[i] = (uint16_t)(0x3000 | (state >> 16 & 0x83ff)); /* +-(1/8 to 1/4) */
    }
    const int64_t piece = MATERIAL * (int64_t)sizeof *numbers, bytes = half_bytes(device);
    for (int64_t done = 0; done < bytes && !status; done += piece)
        status = device->service->copy(device->host, device->number, device->stream, device->memory + done, numbers,
                                       (size_t)(bytes - done < piece ? bytes - done : piece), error);
    if (!status)
        status = device->service->synchronize(device->host, device->number, device->stream, error);
    free(numbers);
    return status;
}

/* Kernels for the emulator are no kernels for a device, nor the other way round. */
static more_status open_products(bench_device *device)
{
    const nn_cuda_kernels *kernels = nn_cuda_table();
    if (kernels && !strcmp(kernels->compiled, emulated_kernels) != device->emulated)
        return more_fail(&device->reason, MORE_ERROR_UNSUPPORTED, "the kernels of " PROGRAM " are for '%s'",
                         kernels->compiled);
    more_status status = nn_context_create(device->host, &device->nn, &device->reason);
    if (!status)
        status = nn_context_set_device(device->nn, PROGRAM, (DLDevice){kDLCUDA, device->number}, &device->reason);
    if (status) {
        nn_context_destroy(device->nn);
        device->nn = NULL;
    }
    return status;
}

more_status bench_device_prepare(bench_device *device, more_error *error)
{
    void *memory = NULL;
    double rate;
    more_status status = device->service->describe(device->host, device->number, &device->info, error);
    device->edge = choose_edge(device);
    if (!status)
        status =
            device->service->allocate(device->host, device->number, device->stream, (size_t)(2 * half_bytes(device)),
                                      "the limits of the device", &memory, error);
    device->memory = memory;
    if (!status)
        status = fill_operands(device, error);
    if (!status && open_products(device))
        bench_note(device->b, "products of the device are not measured: %s", device->reason.message);
    device->has[BENCH_COPY] = true;
    device->has[BENCH_OWN] = device->nn;
    device->has[BENCH_CUBLAS] = device->nn; /* until it is tried */
    for (bench_source source = BENCH_COPY; source < BENCH_SOURCES && !status; source++)
        status = bench_device_measure(device, source, &rate, error);
    for (bench_source source = BENCH_COPY; source < BENCH_SOURCES; source++)
        device->limits[source].count = 0;
    return status;
}

/* ---- Measuring -------------------------------------------------------------------------------------------------- */

static void queue_product(bench_device *device, bench_source source)
{
    nn_cuda *cuda = device->nn->cuda;
    const int64_t edge = device->edge;
    const nn_cuda_linear product = {.x = device->memory + half_bytes(device) / 2,
                                    .rows = edge,
                                    .x_stride = edge,
                                    .weight = {device->memory, NN_F16, edge, edge, edge},
                                    .y = (float *)(device->memory + half_bytes(device)),
                                    .y_stride = edge};
    if (source == BENCH_CUBLAS)
        device->has[source] = nn_cuda_blas_product(cuda, &product, false);
    else
        nn_cuda_launched(cuda, cuda->kernels->linear_many_rows(cuda->stream, &product), "a matrix product");
}

static more_status queue(bench_device *device, bench_source source, more_error *error)
{
    if (source == BENCH_COPY)
        return device->service->copy(device->host, device->number, device->stream, device->memory + half_bytes(device),
                                     device->memory, (size_t)half_bytes(device), error);
    more_status status = nn_begin(device->nn, error);
    if (!status)
        queue_product(device, source);
    return status;
}

static more_status wait(bench_device *device, bench_source source, more_error *error)
{
    if (source != BENCH_COPY)
        return bench_wait(device->nn, error);
    return device->service->synchronize(device->host, device->number, device->stream, error);
}

more_status bench_wait(nn_context *nn, more_error *error)
{
    if (nn_on_host(nn))
        return MORE_OK;
    nn_cuda *cuda = nn->cuda;
    more_status status = cuda->service->synchronize(cuda->host, cuda->device, cuda->stream, error);
    return nn_settled(nn, status, error);
}

/* Bytes read and written, or operations. */
static double amount_of(const bench_device *device, bench_source source)
{
    double edge = (double)device->edge;
    return source == BENCH_COPY ? 2.0 * (double)half_bytes(device) : 2.0 * edge * edge * edge;
}

more_status bench_device_measure(bench_device *device, bench_source source, double *rate, more_error *error)
{
    double start = nn_probe_clock(), elapsed = 0.0;
    int64_t times = 0;
    more_status status = MORE_OK;
    *rate = 0.0;
    while (device->has[source] && elapsed < limit_seconds && !status) {
        int64_t end = 2 * times + 1; /* more each time, so that waiting takes no part of the whole */
        for (; times < end && !status; times++)
            status = queue(device, source, error);
        if (!status)
            status = wait(device, source, error);
        elapsed = nn_probe_clock() - start;
    }
    if (status || !device->has[source])
        return status;
    *rate = amount_of(device, source) * (double)times / elapsed;
    bench_limit_keep(&device->limits[source], *rate);
    return MORE_OK;
}

bench_source bench_device_product(const bench_device *device)
{
    return device->has[BENCH_CUBLAS] ? BENCH_CUBLAS : device->has[BENCH_OWN] ? BENCH_OWN : BENCH_SOURCES;
}

/* ---- In the report ---------------------------------------------------------------------------------------------- */

static const char *unit_of(bench_source source)
{
    return source == BENCH_COPY ? "GB/s" : "GFLOP/s";
}

static more_status measure_row(bench *b, bench_source source, more_error *error)
{
    char what[32], name[64];
    bench_row row = {.name = name, .unit = unit_of(source), .unmeasured = bench_device_unmeasured(b->device)};
    more_status status = MORE_OK;
    bench_source_name(source, NN_PEAK_F32, what);
    snprintf(name, sizeof name, source == BENCH_COPY ? "%s" : "%s, %lld cubed", what, (long long)b->device->edge);
    if (source == BENCH_OWN && b->device->has[BENCH_CUBLAS])
        bench_row_limit(&row, BENCH_CUBLAS, NN_PEAK_F32);
    for (int64_t round = 0; round < b->options->rounds && bench_wanted(b, name); round++) {
        double rate, limits[MOST_LIMITS] = {0};
        status = bench_row_look(b, &row, limits, error);
        if (!status)
            status = bench_device_measure(b->device, source, &rate, error);
        if (!status)
            status = bench_row_look(b, &row, limits, error);
        if (status)
            return status;
        bench_row_add(&row, 1e-9 * rate, limits, &rate);
    }
    return bench_row_done(b, &row, error);
}

more_status bench_device_rows(bench *b, bench_source first, more_error *error)
{
    more_status status = MORE_OK;
    for (bench_source source = first; source < BENCH_SOURCES && !status; source++)
        if (b->device->has[source])
            status = measure_row(b, source, error);
    return status;
}

void bench_device_limits(const bench_device *device, json_t *list)
{
    char name[32];
    for (bench_source source = BENCH_COPY; source < BENCH_SOURCES; source++) {
        bench_source_name(source, NN_PEAK_F32, name);
        bench_limit_json(list, name, unit_of(source), &device->limits[source]);
    }
}

json_t *bench_device_json(const bench_device *device)
{
    char text[24];
    if (!device)
        return json_pack("{s:s}", "device", "cpu");
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:I, s:s*}", "device",
                     core_device_text((DLDevice){kDLCUDA, device->number}, text), "name", device->info.name,
                     "capability", (json_int_t)device->info.capability, "processors",
                     (json_int_t)device->info.processors, "memory_bytes", (json_int_t)device->info.total_bytes,
                     "emulated", device->emulated, "edge", (json_int_t)device->edge, "no_products",
                     device->reason.message[0] ? device->reason.message : NULL);
}
