/* SPDX-License-Identifier: Apache-2.0 */
#include <cudaemu.h>

#include "language.h"

static const unsigned full = 0xffffffffu;

/* ---- Threads and shared memory ----------------------------------------------------------------------------------- */

static __global__ void __launch_bounds__(1024) indices(uint32_t *ids)
{
    const unsigned in_block = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned id = block * (blockDim.x * blockDim.y * blockDim.z) + in_block;
    ids[id] = id + 1;
}

int language_indices(void *stream, language_shape grid, language_shape block, size_t shared, uint32_t *ids)
{
    return cudaemu_launch(indices, dim3(grid.x, grid.y, grid.z), dim3(block.x, block.y, block.z), shared, stream, ids);
}

static __device__ void rotate_by(float *shared, const float *x, float *y)
{
    float value = x[threadIdx.x];
    for (int round = 0; round < 2; round++) {
        shared[threadIdx.x] = value;
        __syncthreads();
        value = shared[(threadIdx.x + 1) % blockDim.x];
        __syncthreads();
    }
    y[threadIdx.x] = value;
}

static __global__ void rotate_static(const float *x, float *y)
{
    __shared__ float shared[1024];
    rotate_by(shared, x, y);
}

static __global__ void rotate_dynamic(const float *x, float *y)
{
    rotate_by(static_cast<float *>(cudaemu_shared()), x, y);
}

int language_rotate(void *stream, int dynamic, const float *x, unsigned threads, float *y)
{
    return cudaemu_launch(dynamic ? rotate_dynamic : rotate_static, 1, threads, dynamic ? threads * sizeof *x : 0,
                          stream, x, y);
}

/* ---- Warps ------------------------------------------------------------------------------------------------------- */

static __global__ void shuffle(int kind, int argument, int width, int *out)
{
    const int value = 100 + static_cast<int>(threadIdx.x);
    const float real = static_cast<float>(value);
    const unsigned natural = static_cast<unsigned>(value);
    int got;
    if (kind == 0)
        got = __shfl_sync(full, value, argument, width);
    else if (kind == 1)
        got = static_cast<int>(__shfl_up_sync(full, real, static_cast<unsigned>(argument), width));
    else if (kind == 2)
        got = static_cast<int>(__shfl_down_sync(full, natural, static_cast<unsigned>(argument), width));
    else
        got = __shfl_xor_sync(full, value, argument, width);
    out[threadIdx.x] = got;
}

int language_shuffle(void *stream, int kind, int argument, int width, int *out)
{
    return cudaemu_launch(shuffle, 1, 32, 0, stream, kind, argument, width, out);
}

/* One half is through with all of its operations before the other begins. */
static __global__ void halves(float *out)
{
    const unsigned lane = threadIdx.x, mask = lane < 16 ? 0xffffu : 0xffff0000u;
    float sum = static_cast<float>(lane);
    for (int offset = 8; offset > 0; offset /= 2)
        sum += __shfl_xor_sync(mask, sum, offset);
    if (__ballot_sync(mask, 1) != mask)
        sum = -1.0f;
    __syncwarp(mask);
    __syncwarp();
    out[lane] = sum;
}

int language_halves(void *stream, float *out)
{
    return cudaemu_launch(halves, 1, 32, 0, stream, out);
}

static __global__ void vote(unsigned mask, unsigned predicates, unsigned *out)
{
    const unsigned lane = threadIdx.x;
    if (!(mask >> lane & 1u))
        return;
    const int mine = static_cast<int>(predicates >> lane & 1u) * 4;
    out[lane] = __ballot_sync(mask, mine);
    out[32 + lane] = static_cast<unsigned>(__any_sync(mask, mine));
    out[64 + lane] = static_cast<unsigned>(__all_sync(mask, mine));
}

int language_vote(void *stream, unsigned mask, unsigned predicates, unsigned *out)
{
    return cudaemu_launch(vote, 1, 32, 0, stream, mask, predicates, out);
}

static __global__ void atomics(uint32_t *out, float *sum)
{
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    const int value = static_cast<int>(i) - 100;
    int *signed_out = reinterpret_cast<int *>(out);
    atomicAdd(&signed_out[0], value);
    atomicAdd(&out[1], i);
    atomicMax(&signed_out[2], value);
    atomicMin(&signed_out[3], value);
    atomicMax(&out[4], i + 7u);
    atomicMin(&out[5], i + 7u);
    for (unsigned old = out[6], seen; (seen = atomicCAS(&out[6], old, old + i)) != old; old = seen)
        ;
    atomicAdd(sum, 0.5f * static_cast<float>(i));
    __threadfence();
}

int language_atomics(void *stream, unsigned blocks, uint32_t *out, float *sum)
{
    return cudaemu_launch(atomics, blocks, 64, 0, stream, out, sum);
}

/* ---- Tensor cores ------------------------------------------------------------------------------------------------ */

static __device__ uint32_t pair(uint16_t low, uint16_t high)
{
    return low | static_cast<uint32_t>(high) << 16;
}

/* Element by element in the words of the PTX manual: ai, bi and ci, i counting the elements of a lane. */
template <bool BFLOAT16> static __global__ void mma(const uint16_t *a, const uint16_t *b, const float *c, float *d)
{
    const int group = static_cast<int>(threadIdx.x) >> 2, in_group = static_cast<int>(threadIdx.x) % 4;
    uint16_t ai[8], bi[4];
    float ci[4];
    for (int i = 0; i < 8; i++) {
        const int row = i < 2 || (4 <= i && i < 6) ? group : group + 8;
        const int column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
        ai[i] = a[row * 16 + column];
    }
    for (int i = 0; i < 4; i++)
        bi[i] = b[(in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0)) * 8 + group];
    for (int i = 0; i < 4; i++)
        ci[i] = c[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)];
    const uint32_t registers_a[4] = {pair(ai[0], ai[1]), pair(ai[2], ai[3]), pair(ai[4], ai[5]), pair(ai[6], ai[7])};
    const uint32_t registers_b[2] = {pair(bi[0], bi[1]), pair(bi[2], bi[3])};
    if (BFLOAT16)
        cudaemu_mma_16816_bf16(ci, registers_a, registers_b, ci);
    else
        cudaemu_mma_16816_f16(ci, registers_a, registers_b, ci);
    for (int i = 0; i < 4; i++)
        d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)] = ci[i];
}

int language_mma(void *stream, int bfloat16, const uint16_t *a, const uint16_t *b, const float *c, float *d)
{
    return cudaemu_launch(bfloat16 ? mma<true> : mma<false>, 1, 32, 0, stream, a, b, c, d);
}

static __global__ void ldmatrix(int transposed, const uint16_t *matrices, uint32_t *registers)
{
    uint16_t *shared = static_cast<uint16_t *>(cudaemu_shared());
    uint32_t mine[4];
    for (unsigned i = threadIdx.x; i < 4 * 8 * 8; i += blockDim.x)
        shared[i] = matrices[i];
    __syncthreads();
    if (transposed)
        cudaemu_ldmatrix_x4_trans(mine, shared + threadIdx.x * 8);
    else
        cudaemu_ldmatrix_x4(mine, shared + threadIdx.x * 8);
    for (int i = 0; i < 4; i++)
        registers[threadIdx.x * 4 + i] = mine[i];
}

int language_ldmatrix(void *stream, int transposed, const uint16_t *matrices, uint32_t *registers)
{
    return cudaemu_launch(ldmatrix, 1, 32, 4 * 8 * 8 * sizeof *matrices, stream, transposed, matrices, registers);
}

/* ---- Asynchronous copies ----------------------------------------------------------------------------------------- */

enum { STAGES = 3 };

/* Each thread reads what its neighbour asked for. */
static __global__ void ring(int pieces, int rest, const float *x, float *y)
{
    float4 *shared = static_cast<float4 *>(cudaemu_shared());
    const int threads = static_cast<int>(blockDim.x), i = static_cast<int>(threadIdx.x);
    const auto fetch = [&](int piece) {
        if (piece < pieces)
            cudaemu_async_copy_16(shared + piece % STAGES * threads + i, x + (piece * threads + i) * 4,
                                  4 * (piece == pieces - 1 ? rest : 4));
        cudaemu_async_commit();
    };
    for (int piece = 0; piece < STAGES - 1; piece++)
        fetch(piece);
    for (int piece = 0; piece < pieces; piece++) {
        cudaemu_async_wait(STAGES - 2);
        __syncthreads();
        fetch(piece + STAGES - 1);
        const int place = (i + 1) % threads;
        *reinterpret_cast<float4 *>(y + (piece * threads + place) * 4) = shared[piece % STAGES * threads + place];
    }
}

int language_ring(void *stream, unsigned threads, int pieces, int rest, const float *x, float *y)
{
    return cudaemu_launch(ring, 1, threads, STAGES * threads * sizeof(float4), stream, pieces, rest, x, y);
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

float language_half_to_float(uint16_t bits)
{
    return __half2float(__half{bits});
}
uint16_t language_float_to_half(float value)
{
    return __float2half_rn(value).bits;
}
float language_bfloat16_to_float(uint16_t bits)
{
    return __bfloat162float(__nv_bfloat16{bits});
}
uint16_t language_float_to_bfloat16(float value)
{
    return __float2bfloat16_rn(value).bits;
}

static __global__ void functions(float x, float y, float *out)
{
    const __half2 halves = __floats2half2_rn(x, y);
    const __nv_bfloat162 bfloats = __floats2bfloat162_rn(x, y);
    const float2 back = __half22float2(__halves2half2(halves.y, halves.x));
    const float2 bback = __bfloat1622float2(__halves2bfloat162(bfloats.y, bfloats.x));
    float sine, cosine;
    sincosf(x, &sine, &cosine);
    const float all[] = {__expf(x),        exp2f(x),    tanhf(x),    erff(x),
                         rsqrtf(x),        sqrtf(x),    sine,        cosine,
                         sinf(x),          cosf(x),     fabsf(-x),   fmaf(x, y, 1.0f),
                         __fdividef(x, y), fmaxf(x, y), fminf(x, y), back.x,
                         back.y,           bback.x,     bback.y,     static_cast<float>(min(-3, 2) + max(4u, 5u)),
                         __ldg(out)};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        out[i] = all[i];
}

int language_functions(void *stream, float x, float y, float *out)
{
    return cudaemu_launch(functions, 1, 1, 0, stream, x, y, out);
}
