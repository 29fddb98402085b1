/* Coalition values of multilayer perceptrons by running sums (see engine.py for the idea and kernel_walks.h for the
   loops). Plain C without Python's headers: it is loaded with ctypes, and called from several threads at once. */

#include "kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define X86 1
#else
#define X86 0
#endif

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#define INLINE static inline __attribute__((always_inline))

/* Memory of a call, on cache lines. `raw` is what to free. */
static float *aligned_floats(int64_t count, void **raw) {
    *raw = malloc((size_t)count * sizeof(float) + 64);
    if (!*raw) return NULL;
    return (float *)(((uintptr_t)*raw + 63) & ~(uintptr_t)63);
}

static int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/* One body, compiled for each instruction set: BYTES of a vector, TILE output columns at a time (their accumulators for
   two vectors of samples must fit the registers). */

#define NAME(x) x##_baseline
#define TARGET
#define BYTES 16
#if X86
#define TILE 5
#else
#define TILE 10
#endif
#include "kernel_math.h"
#include "kernel_scores.h"
#include "kernel_walks.h"
#include "kernel_end.h"

#if X86
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define BYTES 32
#define TILE 6
#include "kernel_math.h"
#include "kernel_scores.h"
#include "kernel_walks.h"
#include "kernel_end.h"

#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,popcnt")))
#define BYTES 64
#define TILE 12
#include "kernel_math.h"
#include "kernel_scores.h"
#include "kernel_walks.h"
#include "kernel_end.h"
#endif

/* Let a thread take floats below the smallest normal one as zero, for which it would be up to a hundred times slower.
   Returns what `restore_floats` needs to undo that. */
static uint64_t flush_tiny_floats(void) {
#if X86
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1u << 24)));
    return before;
#else
    return 0;
#endif
}

static void restore_floats(uint64_t before) {
#if X86
    _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

EXPORT int64_t fedcoin_kernel_abi(void) { return FEDCOIN_KERNEL_ABI; }

/* Of the sources that this was built from, or 0. */
EXPORT uint64_t fedcoin_kernel_hash(void) { return FEDCOIN_KERNEL_HASH; }

/* The best variant that this processor and its system run. */
EXPORT int64_t fedcoin_kernel_variant(void) {
#if X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("popcnt"))
        return VARIANT_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return VARIANT_AVX2;
#endif
    return VARIANT_BASELINE;
}

static int64_t prepare_variant(const Game *game, int64_t variant, int64_t begin, int64_t end, float *sums) {
    switch (variant) {
    case VARIANT_BASELINE:
        return prepare_baseline(game, begin, end, sums);
#if X86
    case VARIANT_AVX2:
        return prepare_avx2(game, begin, end, sums);
    case VARIANT_AVX512:
        return prepare_avx512(game, begin, end, sums);
#endif
    default:
        return NO_VARIANT;
    }
}

static int64_t run_variant(const Game *game, int64_t variant, int64_t begin, int64_t end, const float *sums,
                           int64_t ready, const Walks *walks, int64_t first, int64_t last, int64_t *scores) {
    switch (variant) {
    case VARIANT_BASELINE:
        return run_baseline(game, begin, end, sums, ready, walks, first, last, scores);
#if X86
    case VARIANT_AVX2:
        return run_avx2(game, begin, end, sums, ready, walks, first, last, scores);
    case VARIANT_AVX512:
        return run_avx512(game, begin, end, sums, ready, walks, first, last, scores);
#endif
    default:
        return NO_VARIANT;
    }
}

/* Pre-activations of blocks `begin` to `end`, times the clients' counts, into `sums`: [blocks][clients][hidden][block].
   Returns DONE, NO_MEMORY or NO_VARIANT. */
EXPORT int64_t fedcoin_kernel_prepare(const Game *game, int64_t variant, int64_t begin, int64_t end, float *sums) {
    const uint64_t before = flush_tiny_floats();
    const int64_t status = prepare_variant(game, variant, begin, end, sums);
    restore_floats(before);
    return status;
}

/* Add the scores of the marked coalitions of walks `first` to `last` on blocks `begin` to `end` to `scores`, one for
   each mark of those walks. The first `ready` blocks are in `sums`, the others are computed again. */
EXPORT int64_t fedcoin_kernel_run(const Game *game, int64_t variant, int64_t begin, int64_t end, const float *sums,
                                  int64_t ready, const Walks *walks, int64_t first, int64_t last, int64_t *scores) {
    const uint64_t before = flush_tiny_floats();
    const int64_t status = run_variant(game, variant, begin, end, sums, ready, walks, first, last, scores);
    restore_floats(before);
    return status;
}
