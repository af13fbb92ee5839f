/* SPDX-License-Identifier: Apache-2.0
 *
 * exp, tanh, erf and what is made of them, on the vector of the variant that includes this. Each is accurate to about
 * 2 units in the last place; the polynomials are minimax fits (Remez) made for these intervals.
 */
#ifndef NN_CPU_VEC_MATH_H
#define NN_CPU_VEC_MATH_H

/* exp(x + small), |small| < 0.1: range reduction by multiples of ln 2 (in two parts), polynomial of degree 6. */
static inline vec vec_exp_sum(vec x, vec small)
{
    vec bounded = vec_max(vec_set(-104.0f), vec_min(vec_set(89.0f), x)); /* 0 below, infinity above; keeps NaN */
    vec n = vec_round(vec_mul(bounded, vec_set(1.44269504f)));
    vec r = vec_fma(n, vec_set(-0.693359375f), bounded);
    r = vec_add(vec_fma(n, vec_set(2.12194440e-4f), r), small);
    vec p = vec_set(0.0013814467f);
    p = vec_fma(p, r, vec_set(0.0083687808f));
    p = vec_fma(p, r, vec_set(0.0416683927f));
    p = vec_fma(p, r, vec_set(0.1666651964f));
    p = vec_fma(p, r, vec_set(0.4999999404f));
    p = vec_fma(vec_mul(p, r), r, r);
    return vec_scale_exponent(vec_add(p, vec_set(1.0f)), n);
}

static inline vec vec_exp(vec x)
{
    return vec_exp_sum(x, vec_zero());
}

/* 1 / (1 + exp(-x)) */
static inline vec vec_sigmoid(vec x)
{
    vec one = vec_set(1.0f);
    return vec_div(one, vec_add(one, vec_exp(vec_sub(vec_zero(), x))));
}

static inline vec vec_tanh(vec x)
{
    vec s = vec_mul(x, x);
    vec p = vec_set(-0.0056015663f);
    p = vec_fma(p, s, vec_set(0.0205496196f));
    p = vec_fma(p, s, vec_set(-0.0537134670f));
    p = vec_fma(p, s, vec_set(0.1333114505f));
    p = vec_fma(p, s, vec_set(-0.3333327174f));
    vec near = vec_fma(vec_mul(p, s), x, x);
    vec magnitude = vec_abs(x);
    vec e = vec_exp(vec_add(magnitude, magnitude));
    vec far = vec_sub(vec_set(1.0f), vec_div(vec_set(2.0f), vec_add(e, vec_set(1.0f))));
    return vec_select_less(magnitude, vec_set(0.625f), near, vec_copy_sign(far, x));
}

/* The normal distribution function (1 + erf(x / sqrt 2)) / 2: a polynomial of erf near 0, and outside
 * erfc(t) = exp(-t^2) G(1 / (1 + t/2)), where the rounding of t^2 is put back into the exponent. */
static inline vec vec_normal_cdf(vec x)
{
    vec half = vec_set(0.5f), one = vec_set(1.0f);
    vec z = vec_mul(x, vec_set(0.707106781f));
    vec s = vec_mul(z, z);
    vec p = vec_set(7.8891229e-5f);
    p = vec_fma(p, s, vec_set(-8.0208422e-4f));
    p = vec_fma(p, s, vec_set(0.0051895357f));
    p = vec_fma(p, s, vec_set(-0.0268544443f));
    p = vec_fma(p, s, vec_set(0.1128360033f));
    p = vec_fma(p, s, vec_set(-0.3761262596f));
    p = vec_fma(p, s, vec_set(1.1283791065f));
    vec near = vec_fma(vec_mul(p, z), half, half);

    vec t = vec_abs(z);
    vec u = vec_div(one, vec_fma(t, half, one));
    vec g = vec_set(0.0808906853f);
    g = vec_fma(g, u, vec_set(-0.1850389987f));
    g = vec_fma(g, u, vec_set(0.0250579230f));
    g = vec_fma(g, u, vec_set(0.1053445116f));
    g = vec_fma(g, u, vec_set(0.1580404788f));
    g = vec_fma(g, u, vec_set(0.2529676259f));
    g = vec_fma(g, u, vec_set(0.2809907198f));
    g = vec_fma(g, u, vec_set(0.2821994126f));
    g = vec_fma(g, u, vec_set(-4.1035651e-6f));
    vec zero = vec_zero();
    vec rest = vec_min(vec_sub(zero, vec_fms(t, t, s)), vec_set(0.0625f)); /* 0.0625 for infinity minus itself */
    vec tail = vec_mul(vec_mul(half, g), vec_exp_sum(vec_sub(zero, s), vec_max(rest, vec_set(-0.0625f))));
    vec far = vec_select_less(x, zero, tail, vec_sub(one, tail));
    return vec_select_less(t, one, near, far);
}

#endif
