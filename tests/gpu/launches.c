/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints what the kernels are launched with for the shapes of real models, one launch a line: what for, kernel, blocks,
 * threads, bytes of dynamic shared memory. The kernels' own objects are linked with this file in place of the CUDA
 * runtime, so that neither a device nor a driver is needed. For tests/gpu/report.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "cuda/kernels.h"

/* ---- As much of the runtime as nvcc's objects ask for ----------------------------------------------------------- */

typedef struct dim3 {
    unsigned x, y, z;
} dim3;

void **__cudaRegisterFatBinary(void *image);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaUnregisterFatBinary(void **handle);
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int threads, void *tid,
                            void *bid, dim3 *block, dim3 *grid, int *warp);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream);
int __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream);
int cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared, void *stream);
int cudaFuncSetAttribute(const void *function, int attribute, int value);
int cudaGetLastError(void);
const char *cudaGetErrorString(int error);

static struct {
    const void *host;
    const char *name;
} functions[1000];
static int function_count;
static dim3 pushed_grid, pushed_block;
static size_t pushed_shared;
static const char *purpose;

void **__cudaRegisterFatBinary(void *image)
{
    (void)image;
    static void *handle;
    return &handle;
}
void __cudaRegisterFatBinaryEnd(void **handle)
{
    (void)handle;
}
void __cudaUnregisterFatBinary(void **handle)
{
    (void)handle;
}

void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int threads, void *tid,
                            void *bid, dim3 *block, dim3 *grid, int *warp)
{
    (void)handle, (void)device, (void)threads, (void)tid, (void)bid, (void)block, (void)grid, (void)warp;
    if (function_count == (int)(sizeof functions / sizeof *functions))
        abort();
    functions[function_count].host = host;
    functions[function_count++].name = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream)
{
    (void)stream;
    pushed_grid = grid;
    pushed_block = block;
    pushed_shared = shared;
    return 0;
}

int __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
    *grid = pushed_grid;
    *block = pushed_block;
    *shared = pushed_shared;
    *(void **)stream = NULL;
    return 0;
}

int cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared, void *stream)
{
    (void)arguments, (void)stream;
    const char *name = "?";
    for (int i = 0; i < function_count; i++)
        name = functions[i].host == function ? functions[i].name : name;
    printf("%s\t%s\t%llu\t%u\t%zu\n", purpose, name, (unsigned long long)grid.x * grid.y * grid.z,
           block.x * block.y * block.z, shared);
    return 0;
}

int cudaFuncSetAttribute(const void *function, int attribute, int value)
{
    (void)function, (void)attribute, (void)value;
    return 0;
}
int cudaGetLastError(void)
{
    return 0;
}
const char *cudaGetErrorString(int error)
{
    (void)error;
    return "";
}

/* ---- Shapes of models ------------------------------------------------------------------------------------------- */

#define SOME ((void *)0x10000) /* an aligned address, which nothing reads */

static const nn_cuda_kernels *kernels;

static void check(int error)
{
    if (error) {
        fprintf(stderr, "%s: a launcher returned %d\n", purpose, error);
        exit(1);
    }
}

static void linear(const char *what, int (*product)(void *, const nn_cuda_linear *), nn_storage storage, int64_t rows,
                   int64_t outputs, int64_t inputs)
{
    nn_cuda_linear args = {.x = SOME, .rows = rows, .x_stride = inputs, .y = SOME, .y_stride = outputs};
    args.weight = (nn_cuda_matrix){SOME, storage, outputs, inputs, inputs};
    purpose = what;
    check(product(NULL, &args));
}

static void causal(const char *what, nn_storage storage, int64_t rows, int64_t length, int64_t heads,
                   int64_t key_value_heads, int64_t head_dimension, bool exact)
{
    nn_cuda_causal args = {.query = SOME, .rows = rows, .stride = heads * head_dimension, .heads = heads, .scale = 1.0f,
                           .y = SOME, .exact = exact, .workspace = SOME};
    args.cache = (nn_cuda_cache){.pages = SOME, .storage = storage, .key_value_heads = key_value_heads,
                                 .head_dimension = head_dimension, .length = length};
    purpose = what;
    check(kernels->attention_causal(NULL, &args));
}

static void full(const char *what, nn_storage storage, int64_t rows, int64_t heads, int64_t head_dimension, bool exact)
{
    nn_cuda_full args = {SOME, SOME, SOME, heads * head_dimension, 1,     rows, heads, head_dimension,
                         NULL, 1.0f, SOME, exact,                  storage};
    purpose = what;
    check(kernels->attention_full(NULL, &args));
}

static void llama_decode(void)
{
    const char *what = "llama-3.1-8B, a token after 4096";
    purpose = what;
    check(kernels->embed(NULL, &(nn_cuda_matrix){SOME, NN_F16, 128256, 4096, 4096}, SOME, 1, SOME));
    check(kernels->rms_norm(NULL, SOME, 1, 4096, SOME, 0, 1e-5f, SOME));
    linear(what, kernels->linear_few_rows, NN_F16, 1, 4096, 4096);
    linear(what, kernels->linear_few_rows, NN_F16, 1, 1024, 4096);
    check(kernels->rotary(NULL, SOME, 1, 4096, 32, 128, 128, SOME, SOME, 1));
    nn_cuda_cache cache = {.pages = SOME, .storage = NN_F16, .key_value_heads = 8, .head_dimension = 128, .length = 4096};
    check(kernels->cache_write(NULL, &cache, 1, SOME, SOME, 1024));
    causal(what, NN_F16, 1, 4096, 32, 8, 128, false);
    linear(what, kernels->linear_few_rows, NN_F16, 1, 14336, 4096);
    check(kernels->glu(NULL, NN_SILU, SOME, 1, 14336, SOME));
    linear(what, kernels->linear_few_rows, NN_F16, 1, 4096, 14336);
    check(kernels->add(NULL, SOME, 4096, SOME));
    linear(what, kernels->linear_few_rows, NN_F16, 1, 128256, 4096);
}

static void llama_prefill(void)
{
    const char *what = "llama-3.1-8B, 640 rows of prompt";
    purpose = what;
    check(kernels->rms_norm(NULL, SOME, 640, 4096, SOME, 0, 1e-5f, SOME));
    check(kernels->narrow(NULL, SOME, 640, 4096, 4096, NN_F16, SOME, 4096));
    linear(what, kernels->linear_many_rows, NN_F16, 640, 4096, 4096);
    linear(what, kernels->linear_many_rows, NN_F16, 640, 1024, 4096);
    check(kernels->rotary(NULL, SOME, 640, 4096, 32, 128, 128, SOME, SOME, 1));
    causal(what, NN_F16, 640, 0, 32, 8, 128, false);
    linear(what, kernels->linear_many_rows, NN_F16, 640, 14336, 4096);
    check(kernels->glu(NULL, NN_SILU, SOME, 640, 14336, SOME));
    linear(what, kernels->linear_many_rows, NN_F16, 640, 4096, 14336);
    check(kernels->finish(NULL, SOME, 640, 4096, 4096, NULL, NN_IDENTITY, SOME, SOME, 4096));
}

static void clip_image(void)
{
    const char *what = "CLIP ViT-L/14-336, an image";
    purpose = what;
    check(kernels->patches(NULL, SOME, 336, 336, 14, SOME));
    check(kernels->layer_norm(NULL, SOME, 577, 1024, SOME, SOME, 1e-5f, SOME));
    check(kernels->narrow(NULL, SOME, 577, 1024, 1024, NN_F16, SOME, 1024));
    linear(what, kernels->linear_many_rows, NN_F16, 577, 1024, 1024);
    full(what, NN_F16, 577, 16, 64, false);
    linear(what, kernels->linear_many_rows, NN_F16, 577, 4096, 1024);
    linear(what, kernels->linear_many_rows, NN_F16, 577, 1024, 4096);
}

/* The other numbers of rows, storages and widths of heads that kernels are compiled for. */
static void everything(void)
{
    static const nn_storage storages[] = {NN_F32, NN_F16, NN_BF16};
    static const int64_t widths[] = {16, 32, 64, 72, 80, 96, 112, 128, 256, 512};
    for (size_t s = 0; s < 3; s++) {
        for (int64_t rows = 1; rows <= NN_CUDA_FEW_ROWS; rows++)
            linear("", kernels->linear_few_rows, storages[s], rows, 4096, 4096);
        for (int64_t rows = 64; s && rows <= 4096; rows *= 2)
            linear("", kernels->linear_many_rows, storages[s], rows, 4096, 4096);
        linear("", kernels->linear_plain, storages[s], 640, 4096, 4096);
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            for (int64_t rows = 1; rows <= 1024; rows *= 2)
                for (int64_t sharing = 1; sharing <= 8; sharing *= 2)
                    for (int exact = 0; exact <= 1; exact++)
                        causal("", storages[s], rows, 4096, 8 * sharing, 8, widths[w], exact);
            full("", storages[s], 640, 16, widths[w], s == 0);
            full("", storages[s], 640, 16, widths[w], true);
        }
    }
}

int main(void)
{
    kernels = nn_cuda_table();
    llama_decode();
    llama_prefill();
    clip_image();
    everything();
    return 0;
}
