/* SPDX-License-Identifier: Apache-2.0
 *
 * What rounding must cost: the relative RMS error of y = W x that follows from the formats of W and x, for elements
 * that are normal and independent. Shared by llavamore-bench errors and its test.
 *
 * Errors of w and of x are independent of each other and of the values, so that they add as squares:
 * E[(y' - y)^2] / E[y^2] = ew^2 + ex^2 + ew^2 ex^2, ew = rms(w' - w) / rms(w), ex likewise. By kind of number:
 * - a mantissa of p stored bits: an error uniform in +-2^-(p + 1) of the power of two below the value. That power's
 *   square is at most 0.5434 on average for normal values of variance 1: 2^-p sqrt(0.5434 / 12) = 0.2128 2^-p.
 * - a block of 32 in equal steps: an error uniform in +-step/2, that is rms(step) / sqrt(12), but for the values that
 *   the steps were laid on.
 *   q8: step = largest / 127, 31 of 32 values err; rms of the largest of 32 normal magnitudes: 2.3895.
 *   Activations in 8 bits: the same in blocks of 128; 127 of 128 err, 2.8545.
 *   q4: step = largest / 8, else as q8.
 *   q4_1: step = (most - least) / 15, 30 of 32 err; rms of the range of 32 normal values: 4.1964.
 *   A search for better scales gains on the last two, for which the figure is therefore a bound from above; the f16 of
 *   the scales (2^-12) is far below all of them.
 * - sums in f32 over k terms one after another: sqrt(sum over j < k of 0.2128^2 2^-46 j) of sqrt(k), a bound from above
 *   since they are cut into blocks.
 */
#ifndef BENCH_ERROR_BOUNDS_H
#define BENCH_ERROR_BOUNDS_H

#include <math.h>

#include "nn.h"

/* Relative RMS error of rounding normal values to a mantissa of `bits` stored bits. */
static inline double error_of_mantissa(int bits)
{
    return 0.2128 * ldexp(1.0, -bits);
}

static inline double error_of_weights(nn_storage storage)
{
    static const double step[] = {[NN_Q8] = 2.3895 / 127.0, [NN_Q4] = 2.3895 / 8.0, [NN_Q4_OFFSET] = 4.1964 / 15.0};
    static const double erring[] = {[NN_Q8] = 31.0, [NN_Q4] = 31.0, [NN_Q4_OFFSET] = 30.0}; /* of 32 */
    return storage == NN_F32    ? 0.0
           : storage == NN_F16  ? error_of_mantissa(10)
           : storage == NN_BF16 ? error_of_mantissa(7)
                                : step[storage] * sqrt(erring[storage] / (32.0 * 12.0));
}

/* Of activations that meet quantised weights. */
static inline double error_of_quantised_activations(void)
{
    return 2.8545 / 127.0 * sqrt(127.0 / (128.0 * 12.0));
}

static inline double error_of_both(double weights, double activations)
{
    return sqrt(weights * weights + activations * activations + weights * weights * activations * activations);
}

/* Of y against the product of the unrounded W and x. Under FAST plain weights and activations are bf16, under AUTO
 * activations that meet quantised weights are 8-bit. A table without the instructions computes more exactly, never
 * less.
 */
static inline double error_bound(nn_storage storage, nn_arithmetic arithmetic, int64_t columns)
{
    double weights = error_of_weights(storage), activations = 0.0;
    double sums = 0.2128 * 0x1p-23 * sqrt((double)columns / 2.0);
    if (storage >= NN_FLOATS && arithmetic != NN_ARITHMETIC_EXACT)
        activations = error_of_quantised_activations();
    if (storage < NN_FLOATS && arithmetic == NN_ARITHMETIC_FAST) {
        activations = error_of_mantissa(7);
        if (storage != NN_BF16)
            weights = error_of_both(weights, error_of_mantissa(7));
    }
    return error_of_both(error_of_both(weights, activations), sums);
}

#endif
