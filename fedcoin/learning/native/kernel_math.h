/* Vectors of floats and the functions on them, for one instruction set (NAME, TARGET, BYTES). Not-a-number must come
   through every function, because a sample with one among its logits is a wrong answer: no -ffast-math. */

#define LANES (BYTES / 4)
#define VF NAME(VF)
#define VU NAME(VU)
#define VI NAME(VI)

typedef float VF __attribute__((vector_size(BYTES), may_alias));
typedef float VU __attribute__((vector_size(BYTES), aligned(4), may_alias)); /* at any address */
typedef int32_t VI __attribute__((vector_size(BYTES), may_alias));

#define load NAME(load)
#define store NAME(store)
#define splat NAME(splat)
#define pick NAME(pick)
#define relu NAME(relu)
#define exp_below NAME(exp_below)
#define log_above_one NAME(log_above_one)
#define tanh_of NAME(tanh_of)

INLINE TARGET VF load(const float *from) { return *(const VF *)from; }
INLINE TARGET void store(float *to, VF value) { *(VF *)to = value; }
INLINE TARGET VF splat(float value) { return value - (VF){0}; }

/* a where the mask is set, else b. */
INLINE TARGET VF pick(VI mask, VF a, VF b) { return (VF)(((VI)a & mask) | ((VI)b & ~mask)); }

INLINE TARGET VF relu(VF value) {
    /* x86's maximum returns its second operand if one is not a number. */
#if X86 && BYTES == 64
    return (VF)_mm512_max_ps(_mm512_setzero_ps(), (__m512)value);
#elif X86 && BYTES == 32
    return (VF)_mm256_max_ps(_mm256_setzero_ps(), (__m256)value);
#elif X86
    return (VF)_mm_max_ps(_mm_setzero_ps(), (__m128)value);
#else
    return (VF)((VI)value & ~(VI)(value <= (VF){0}));
#endif
}

/* e^x for x up to 60, within 2 units in the last place (Cephes' expf); 0 becomes 1.2e-38. */
INLINE TARGET VF exp_below(VF x) {
    const VF lowest = splat(-87.3f), magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    x = pick((VI)(x < lowest), lowest, x);
    const VF shifted = x * 1.44269504088896341f + magic;
    const VF n = shifted - magic;
    const VF r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    VF p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const VI power = (((VI)shifted - (VI)magic) + 127) << 23;
    return p * (VF)power;
}

/* ln x for 1 <= x < infinity (Cephes' logf). */
INLINE TARGET VF log_above_one(VF x) {
    VI bits = (VI)x;
    /* Mantissa in [sqrt(1/2), sqrt(2)). */
    const VI exponent = (bits - 0x3f3504f3) >> 23;
    bits -= exponent << 23;
    const VF f = (VF)bits - 1.0f, e = __builtin_convertvector(exponent, VF), z = f * f;
    VF p = splat(7.0376836292e-2f);
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    p = p * f * z + e * -2.12194440e-4f - z * 0.5f;
    return f + p + e * 0.693359375f;
}

INLINE TARGET VF tanh_of(VF x) {
    const VI sign = (VI)x & (VI)splat(-0.0f);
    VF a = (VF)((VI)x ^ sign);
    const VF z = x * x;
    VF p = splat(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const VF near = p * z * x + x;
    const VI small = (VI)(a < splat(0.625f));
    a = pick((VI)(a > splat(10.0f)), splat(10.0f), a);
    const VF far = 1.0f - 2.0f / (exp_below(a + a) + 1.0f);
    return pick(small, near, (VF)((VI)far | sign));
}
