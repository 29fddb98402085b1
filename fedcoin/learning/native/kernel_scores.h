/* Scores of a block of samples from its logits, [classes][block], for one instruction set: as fedcoin.learning.scoring
   defines them. */

#if X86 && BYTES == 64
#define MASK __mmask16
#define ABOVE(a, b) _mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_GT_OQ)
#define STILL_ABOVE(mask, a, b) _mm512_mask_cmp_ps_mask(mask, (__m512)(a), (__m512)(b), _CMP_GT_OQ)
#define SAME(a, b) _mm512_cmpeq_epi32_mask((__m512i)(a), (__m512i)(b))
#define CHOOSE(mask, a, b) (VF) _mm512_mask_blend_ps(mask, (__m512)(b), (__m512)(a))
#define COUNT(mask) __builtin_popcount(mask)
#else
#define MASK VI
#define ABOVE(a, b) (VI)((a) > (b))
#define STILL_ABOVE(mask, a, b) ((mask) & (VI)((a) > (b)))
#define SAME(a, b) (VI)((a) == (b))
#define CHOOSE(mask, a, b) pick(mask, a, b)
#define COUNT(mask) NAME(count)(mask)
INLINE TARGET int NAME(count)(VI mask) {
    int total = 0;
    for (int lane = 0; lane < (int)LANES; lane++) total -= mask[lane];
    return total;
}
#endif

#define own_logits NAME(own_logits)
#define right_answers NAME(right_answers)
#define negative_columns NAME(negative_columns)
#define losses NAME(losses)

/* The label's logit of LANES samples; minus infinity where the label is -1. */
INLINE TARGET VF own_logits(const float *logits, int64_t classes, int64_t block, VI label) {
    VF own = splat(-__builtin_inff());
    for (int32_t c = 0; c < classes; c++) own = CHOOSE(SAME(label, (VI){0} + c), load(logits + c * block), own);
    return own;
}

/* How many labels have a logit strictly above every other: a tie is wrong, and so is a sample with NaN. */
INLINE TARGET int64_t right_answers(const float *logits, int64_t classes, int64_t block, const int32_t *labels) {
    int64_t right = 0;
    const int one_label = labels[0] == labels[block - 1] && labels[0] >= 0; /* they are sorted, but for -1 at the end */
    for (int64_t j = 0; j < block; j += LANES) {
        const float *column = logits + j;
        const VI label = *(const VI *)(labels + j);
        MASK above = SAME(label, label);
        if (one_label) {
            const VF own = load(column + labels[0] * block);
            for (int64_t c = 0; c < labels[0]; c++) above = STILL_ABOVE(above, own, load(column + c * block));
            for (int64_t c = labels[0] + 1; c < classes; c++)
                above = STILL_ABOVE(above, own, load(column + c * block));
        } else {
            const VF own = own_logits(column, classes, block, label);
            for (int32_t c = 0; c < classes; c++)
                above &= ABOVE(own, load(column + c * block)) | SAME(label, (VI){0} + c);
        }
        right += COUNT(above);
    }
    return right;
}

/* Right answers of a block with one label, from the other classes' logits less the label's. */
INLINE TARGET int64_t negative_columns(const float *outputs, int64_t count, int64_t block, const int32_t *labels) {
    int64_t right = 0;
    for (int64_t j = 0; j < block; j += LANES) {
        MASK below = SAME(*(const VI *)(labels + j), (VI){0} + labels[0]);
        for (int64_t c = 0; c < count; c++) below = STILL_ABOVE(below, (VF){0}, load(outputs + c * block + j));
        right += COUNT(below);
    }
    return right;
}

/* Sum over the samples of their cross-entropy, clipped to [0, 100], NaN to 100, in units of 2^-30. Integers, so that
   the sum is the same in every order. */
INLINE TARGET int64_t losses(const float *logits, int64_t classes, int64_t block, const int32_t *labels) {
    int64_t total = 0;
    for (int64_t j = 0; j < block; j += LANES) {
        const float *column = logits + j;
        VF most = load(column), sum = {0}, loss;
        for (int64_t c = 1; c < classes; c++) {
            const VF logit = load(column + c * block);
            most = CHOOSE(ABOVE(logit, most), logit, most);
        }
        for (int64_t c = 0; c < classes; c++) sum += exp_below(load(column + c * block) - most);
        loss = log_above_one(sum) + (most - own_logits(column, classes, block, *(const VI *)(labels + j)));
        loss = CHOOSE(ABOVE((VF){0}, loss), (VF){0}, loss);
        /* Comparisons with NaN are false. */
        loss = CHOOSE(ABOVE(splat(100.0f), loss), loss, splat(100.0f));
        loss = CHOOSE(ABOVE(splat(INFINITY), sum), loss, splat(100.0f));
        for (int lane = 0; lane < (int)LANES; lane++)
            if (labels[j + lane] >= 0) total += (int64_t)((double)loss[lane] * 1073741824.0);
    }
    return total;
}
