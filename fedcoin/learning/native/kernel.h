/* What the kernel is told about a game. Mirrored field by field in library.py; change ABI with it. */
#ifndef FEDCOIN_KERNEL_H
#define FEDCOIN_KERNEL_H

#include <stdint.h>

#define FEDCOIN_KERNEL_ABI 3
/* Of these sources, for which setup.py gives it: tells a library that was built from others. */
#ifndef FEDCOIN_KERNEL_HASH
#define FEDCOIN_KERNEL_HASH 0
#endif

enum { OP_RELU = 1, OP_TANH = 2, OP_LINEAR = 3 };
enum { VARIANT_BASELINE = 0, VARIANT_AVX2 = 1, VARIANT_AVX512 = 2 };
enum { DONE = 0, NO_MEMORY = 1, NO_VARIANT = 2 };

/* One operation after the first layer. Weights lie [in][out], at an offset in a row of `later` that is a multiple of
   16 floats; biases [out] likewise. */
typedef struct {
    int64_t kind, in, out, weights, biases;
} Op;

typedef struct {
    int64_t clients, inputs, hidden, outputs; /* hidden: outputs of the first layer; outputs: of the last */
    int64_t block;                            /* samples of a block, a multiple of 32 */
    int64_t stack_row; /* floats between two clients in `stack` */
    int64_t later_row; /* floats between two clients in `later` */
    int64_t relative;  /* 0: outputs are logits. Else they are the other classes' logits less that of the block's label,
                          and this is the number of floats between two labels in `later` */
    int64_t widest;    /* most outputs of any layer */
    int64_t loss;      /* 0: right answers; 1: losses, times 2^30 */
    int64_t ops_count;
    const Op *ops;
    const float *stack; /* [clients]: first layer's weights [hidden][inputs], its biases [hidden], others unread */
    const float *later; /* [labels if relative][clients]: parameters of later layers, times the client's count */
    const float *counts;
    const float *x;        /* [samples][inputs] */
    const int64_t *order;  /* of all blocks: samples in x, sorted by label, or -1 for none */
    const int32_t *labels; /* in that order, or -1; a block of relative outputs begins with its only label */
} Game;

typedef struct {
    const int32_t *members;
    const int64_t *starts;
    const uint8_t *marks;
} Walks;

#endif
