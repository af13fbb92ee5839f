/* SPDX-License-Identifier: Apache-2.0
 *
 * The activations of nn.h for a thread's number. Called with a constant kind it is that formula alone.
 */
#ifndef NN_CUDA_ACTIVATION_CUH
#define NN_CUDA_ACTIVATION_CUH

#include "device.cuh"

/* x / (1 + exp(-u)) */
static __device__ inline float nn_gated(float x, float u)
{
    return x / (1.0f + expf(-u));
}

/* GELU by erfc, and its tanh form by (1 + tanh u) / 2 = sigmoid(2u): neither loses digits left of 0. */
static __device__ inline float nn_activated(nn_activation activation, float x)
{
    switch (activation) {
    case NN_GELU_ERF:
        return 0.5f * x * erfcf(-0.707106781f * x);
    case NN_GELU_TANH:
        return nn_gated(x, 1.59576912f * fmaf(0.044715f, x * x * x, x));
    case NN_QUICK_GELU:
        return nn_gated(x, 1.702f * x);
    case NN_SILU:
        return nn_gated(x, x);
    case NN_IDENTITY:
        break;
    }
    return x;
}

#endif
