/* The loops over blocks, walks and steps for one instruction set.

   A block of samples of all clients stays in the cache while every walk passes over it. A step adds the newcomer's
   pre-activations to the running sums, and its later layers to the running weights; a mark runs the rest of the
   network. Samples are the innermost axis of every array, so that a sample's arithmetic is the same in every lane,
   block and thread: scores do not depend on how the work is cut up. */

#define add NAME(add)
#define tile NAME(tile)
#define any_tile NAME(any_tile)
#define columns NAME(columns)
#define prepare_block NAME(prepare_block)
#define prepare NAME(prepare)
#define forward NAME(forward)
#define walk NAME(walk)
#define run NAME(run)
#define Task NAME(Task)
#define Work NAME(Work)

#define WIDE (2 * LANES) /* samples that a tile takes */
#define GROUP 32         /* rows between two looks ahead */

enum { NAME(PLAIN), NAME(RECTIFY), NAME(ADVANCE) };
#define PLAIN NAME(PLAIN)     /* inputs as they are */
#define RECTIFY NAME(RECTIFY) /* ReLU of the inputs */
#define ADVANCE NAME(ADVANCE) /* inputs += newcomer, kept; then ReLU of them */

/* sums += newcomer, `count` floats, a multiple of 16. */
INLINE TARGET void add(float *restrict sums, const float *restrict newcomer, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES) store(sums + i, load(sums + i) + load(newcomer + i));
}

/* What a product of a layer takes. Inputs and outputs are rows of `block` samples. */
typedef struct {
    int64_t in, out, block;
    float *inputs;
    float *outputs;
    const float *weights; /* of input i to output c at i * row + c * column */
    int64_t row, column;
    const float *biases;
    float factor, bias_factor; /* outputs = products * factor + biases * bias_factor */
    const float *newcomer;     /* with ADVANCE: added to the inputs */
    const float *ahead;        /* with ADVANCE: what will be the next newcomer, to be fetched */
    const float *next_weights; /* with ADVANCE: added to the weights once they are used, or NULL */
} Task;

/* `width` outputs from `c` on, for WIDE samples from `at` on. */
INLINE TARGET void tile(const int width, const int mode, const int across, const Task *t, int64_t c, int64_t at,
                        const float *ahead, float *advance) {
    const int64_t block = t->block, in = t->in, row = across ? t->row : 1, column = across ? 1 : t->column;
    float *inputs = t->inputs + at;
    const float *newcomer = mode == ADVANCE ? t->newcomer + at : NULL, *weights = t->weights + c * column;
    VF sums[TILE][2];
    for (int o = 0; o < width; o++) sums[o][0] = sums[o][1] = (VF){0};
    for (int64_t group = 0; group < in; group += GROUP) {
        const int64_t end = group + GROUP < in ? group + GROUP : in;
        const float *fetch = group + 2 * GROUP <= in ? newcomer + (group + GROUP) * block : ahead;
        for (int64_t i = group; i < end; i++) {
            float *input = inputs + i * block;
            VF a = load(input), b = load(input + LANES);
            if (mode == ADVANCE) {
                __builtin_prefetch(fetch);
                if (BYTES == 64) __builtin_prefetch(fetch + LANES);
                fetch += block;
                a += load(newcomer + i * block);
                b += load(newcomer + i * block + LANES);
                store(input, a);
                store(input + LANES, b);
            }
            if (mode != PLAIN) {
                a = relu(a);
                b = relu(b);
            }
            for (int o = 0; o < width; o++) {
                const float weight = weights[i * row + o * column];
                sums[o][0] += a * weight;
                sums[o][1] += b * weight;
            }
        }
        if (mode == ADVANCE && advance && end == group + GROUP)
            add(advance + group * row, t->next_weights + group * row, GROUP * row);
    }
    if (mode == ADVANCE && advance) {
        const int64_t whole = in / GROUP * GROUP * row;
        add(advance + whole, t->next_weights + whole, (in * row + 15) / 16 * 16 - whole);
    }
    for (int o = 0; o < width; o++) {
        const float bias = t->biases[c + o] * t->bias_factor;
        float *output = t->outputs + (c + o) * block + at;
        store(output, sums[o][0] * t->factor + bias);
        store(output + LANES, sums[o][1] * t->factor + bias);
    }
}

#define WIDTH(n)                                                                                                       \
    case n:                                                                                                            \
        tile(n < TILE ? n : TILE, mode, across, t, c, at, ahead, advance);                                             \
        break;

INLINE TARGET void any_tile(int64_t width, const int mode, const int across, const Task *t, int64_t c, int64_t at,
                            const float *ahead, float *advance) {
    switch (width) {
        WIDTH(1)
        WIDTH(2)
        WIDTH(3)
        WIDTH(4)
        WIDTH(5)
#if TILE > 5
        WIDTH(6)
#endif
#if TILE > 6
        WIDTH(7)
        WIDTH(8)
        WIDTH(9)
        WIDTH(10)
#endif
#if TILE > 10
        WIDTH(11)
        WIDTH(12)
#endif
    }
}

/* All outputs for all samples of a block. `across`: weights of one input lie next to one another (else of one output).
   `weights` are those of the task, where they advance. */
INLINE TARGET void columns(const int mode, const int across, const Task *t, float *weights) {
    const int64_t tiles = (t->out + TILE - 1) / TILE;
    for (int64_t at = 0; at < t->block; at += WIDE) {
        const int last = at + WIDE == t->block;
        int64_t c = 0;
        for (int64_t left = tiles; left > 0; left--) {
            const int64_t width = (t->out - c + left - 1) / left; /* nearly equal widths */
            if (mode == ADVANCE && c == 0) {
                const float *ahead = last ? t->ahead : t->newcomer + at + WIDE;
                /* A single tile can renew the weights as it goes, while they are at hand. */
                any_tile(width, ADVANCE, across, t, c, at, ahead, last && tiles == 1 && t->next_weights ? weights : NULL);
            } else {
                any_tile(width, mode == PLAIN ? PLAIN : RECTIFY, across, t, c, at, NULL, NULL);
            }
            c += width;
        }
    }
    if (mode == ADVANCE && tiles > 1 && t->next_weights) add(weights, t->next_weights, round_up(t->in * t->row, 16));
}

/* Pre-activations of one block, times the counts: [clients][hidden][block]. `x` is room for [inputs][block]. */
static TARGET void prepare_block(const Game *game, int64_t number, float *x, float *sums) {
    const int64_t block = game->block, inputs = game->inputs;
    const int64_t *order = game->order + number * block;
    for (int64_t j = 0; j < block; j++) {
        const float *sample = order[j] < 0 ? NULL : game->x + order[j] * inputs;
        for (int64_t i = 0; i < inputs; i++) x[i * block + j] = sample ? sample[i] : 0.0f;
    }
    Task task = {.in = inputs, .out = game->hidden, .block = block, .inputs = x, .column = inputs};
    for (int64_t k = 0; k < game->clients; k++) {
        task.weights = game->stack + k * game->stack_row;
        task.biases = task.weights + game->hidden * inputs;
        task.factor = task.bias_factor = game->counts[k];
        task.outputs = sums + k * game->hidden * block;
        columns(PLAIN, 0, &task, NULL);
    }
}

static TARGET int64_t prepare(const Game *game, int64_t begin, int64_t end, float *sums) {
    void *raw;
    float *x = aligned_floats(game->inputs * game->block, &raw);
    if (!x) return NO_MEMORY;
    for (int64_t b = begin; b < end; b++)
        prepare_block(game, b, x, sums + b * game->clients * game->hidden * game->block);
    free(raw);
    return DONE;
}

/* Room of one thread. */
typedef struct {
    float *hidden;  /* running sums of pre-activations, [hidden][block] */
    float *weights; /* running sums of the later layers, as a row of game->later */
    float *values[2]; /* of a layer before and after it, [widest][block] */
} Work;

/* Logits of the coalition whose sums are in `work`, by all operations one after the other. `total`: its counts. */
static TARGET const float *forward(const Game *game, Work *work, float total) {
    const int64_t block = game->block;
    const float share = 1.0f / total;
    int64_t width = game->hidden;
    float *values = work->values[0], *others = work->values[1];
    for (int64_t i = 0; i < width * block; i += LANES) store(values + i, load(work->hidden + i) * share);
    for (int64_t n = 0; n < game->ops_count; n++) {
        const Op *op = game->ops + n;
        if (op->kind == OP_LINEAR) {
            const Task task = {.in = op->in, .out = op->out, .block = block, .inputs = values, .outputs = others,
                               .weights = work->weights + op->weights, .row = op->out, .factor = share,
                               .biases = work->weights + op->biases, .bias_factor = share};
            columns(PLAIN, 1, &task, NULL);
            float *swap = values;
            values = others;
            others = swap;
            width = op->out;
        } else if (op->kind == OP_RELU) {
            for (int64_t i = 0; i < width * block; i += LANES) store(values + i, relu(load(values + i)));
        } else {
            for (int64_t i = 0; i < width * block; i += LANES) store(values + i, tanh_of(load(values + i)));
        }
    }
    return values;
}

/* Add the scores of one walk on one block to `scores`, one for each of its marks. `sums`: the block's pre-activations. */
static TARGET void walk(const Game *game, Work *work, const float *sums, const int32_t *labels, const int32_t *members,
                        int64_t steps, const uint8_t *marks, int64_t *scores) {
    const int64_t block = game->block, size = game->hidden * block, row = game->later_row;
    /* The common network (ReLU, one layer) in one pass: neither ReLU nor the order of logits minds the sums' scale. */
    const int fused = game->ops_count == 2 && game->ops[0].kind == OP_RELU && game->ops[1].kind == OP_LINEAR;
    const int raw = game->ops_count == 0 && !game->loss;
    const float *all_later = game->later + (game->relative ? labels[0] * game->relative : 0);
    double total = 0;
    while (steps > 0 && !marks[steps - 1]) steps--;
    for (int64_t s = 0; s < steps; s++) {
        const float *newcomer = sums + members[s] * size, *later = all_later + members[s] * row;
        const float *logits;
        total += game->counts[members[s]];
        if (s == 0) {
            memset(work->hidden, 0, (size_t)size * sizeof(float));
            memcpy(work->weights, later, (size_t)row * sizeof(float));
        } else if (!fused) {
            add(work->weights, later, row);
        }
        if (fused) {
            const Op *op = game->ops + 1;
            const float *next = s + 1 < steps ? all_later + members[s + 1] * row : NULL;
            if (s > 0) add(work->weights + op->biases, later + op->biases, row - op->biases);
            if (!marks[s]) {
                add(work->hidden, newcomer, size);
                if (next) add(work->weights, next, op->biases);
                continue;
            }
            const float share = 1.0f / (float)total;
            const Task task = {.in = op->in, .out = op->out, .block = block, .inputs = work->hidden,
                               .outputs = work->values[0], .weights = work->weights, .row = op->out,
                               .biases = work->weights + op->biases, .factor = share * share, .bias_factor = share,
                               .newcomer = newcomer, .next_weights = next,
                               .ahead = next ? sums + members[s + 1] * size : newcomer};
            columns(ADVANCE, 1, &task, work->weights);
            logits = work->values[0];
        } else {
            add(work->hidden, newcomer, size);
            if (!marks[s]) continue;
            logits = raw ? work->hidden : forward(game, work, (float)total);
        }
        *scores++ += game->loss       ? losses(logits, game->outputs, block, labels)
                     : game->relative ? negative_columns(logits, game->outputs, block, labels)
                                      : right_answers(logits, game->outputs, block, labels);
    }
}

static TARGET int64_t run(const Game *game, int64_t begin, int64_t end, const float *sums, int64_t ready,
                          const Walks *walks, int64_t first, int64_t last, int64_t *scores) {
    const int64_t block = game->block, size = game->clients * game->hidden * block;
    const int64_t row = round_up(game->later_row, 16), values = game->widest * block;
    const int64_t again = end > ready ? size + game->inputs * block : 0;
    void *raw;
    float *room = aligned_floats(game->hidden * block + row + 2 * values + again, &raw);
    if (!room) return NO_MEMORY;
    Work work = {.hidden = room, .weights = room + game->hidden * block};
    work.values[0] = work.weights + row;
    work.values[1] = work.values[0] + values;
    float *x = work.values[1] + values, *recomputed = x + game->inputs * block;
    for (int64_t b = begin; b < end; b++) {
        const float *of_block = b < ready ? sums + b * size : recomputed;
        if (b >= ready) prepare_block(game, b, x, recomputed);
        int64_t *score = scores;
        for (int64_t w = first; w < last; w++) {
            const int64_t from = walks->starts[w], to = walks->starts[w + 1];
            walk(game, &work, of_block, game->labels + b * block, walks->members + from, to - from,
                 walks->marks + from, score);
            for (int64_t s = from; s < to; s++) score += walks->marks[s];
        }
    }
    free(raw);
    return DONE;
}
