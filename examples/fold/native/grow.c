/*
 * An array of words is an ortho when every line along every axis is a run of words in some sentence
 * and, in every unit block (2 words along each axis), words of the same distance from the block's
 * first corner are distinct. So every part of an ortho with two or more axes is an ortho too, and
 * an ortho that is larger by one layer is found from that part and from the sentences alone:
 *
 *      block   new layer        a place's word must follow the line that comes out of the block,
 *      a - b    e               follow the lines of the layer that reach the place, and differ
 *      |   |    |               from the words of the same distance in every unit block around it:
 *      c - d    f               here "a b e", "c d f", "e f" are runs and e is not d
 *
 * The places are filled depth first, the one next to the word with the fewest followers first and
 * then its neighbours, and taken back when no word is left.
 *
 * Who finds what. An ortho with k axes is larger by one layer than 2k blocks: for each axis, itself
 * without its last and without its first layer. One search from each would do, and every sentence
 * would be heeded whichever came last; but two axes are enough. Any run of the ortho lies along one
 * axis only, so it is in one of the two parts along the other; the part was found after the run was
 * there, so its search sees every run that came before. Therefore only growth along the *first two*
 * axes of the result, by block_axis_before, counts. A line has no second axis: lines are kinds of
 * their own (pair, phrase) that are searched when they are new.
 */
#include "grow.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

/*
 * What a filled neighbour counts in the order of the places: as if it left an eighth of the words.
 * Million words tried for Genesis, 100 verses, by 1, 2, 4, 8, 16: 167, 7.7, 2.8, 2.6, 2.4;
 * 200 verses, by 4, 8, 16: 105, 87, 92.
 */
enum { NEIGHBOUR_LEAVES = 8 };

void grow_clear(struct grow *grow)
{
    block_clear(&grow->block);
    block_clear(&grow->result);
    free(grow->places);
    free(grow->at);
    free(grow->line);
    free(grow->order);
    free(grow->marks);
    free(grow->sentences);
}

/* Steps along the axis of growth in the result. */
static int32_t new_steps(const struct grow *grow)
{
    return grow->block.sizes[grow->axis];
}

static int32_t side_steps(const struct grow *grow, int32_t side)
{
    return grow->block.sizes[grow->side_axis[side]] - 1;
}

static bool is_ahead(const struct grow *grow, int32_t side, int32_t name)
{
    return block_axis_before(grow->text.words, side_steps(grow, side), name, new_steps(grow),
                             grow->name);
}

/* Axes of the result that come before the axis of growth, as far as the block alone can tell. */
static int32_t count_ahead(const struct grow *grow)
{
    int32_t ahead = 0;

    bool has_names = !grow->before && grow->name != WORD_NONE;

    for (int32_t side = 0; side < grow->sides; side++)
        if (side_steps(grow, side) > new_steps(grow) ||
            (has_names && is_ahead(grow, side, block_name(&grow->block, grow->side_axis[side]))))
            ahead++;
    return ahead;
}

static int32_t reserve(struct grow *grow)
{
    size_t count = (size_t)grow->count;
    size_t lines = count * (size_t)grow->sides;

    if (!memory_reserve((void **)&grow->places, &grow->places_room, count, sizeof *grow->places) ||
        !memory_reserve((void **)&grow->at, &grow->at_room, lines, sizeof *grow->at) ||
        !memory_reserve((void **)&grow->line, &grow->line_room, lines, sizeof *grow->line) ||
        !memory_reserve((void **)&grow->order, &grow->order_room, count, sizeof *grow->order) ||
        !memory_reserve((void **)&grow->result.words, &grow->result.words_room,
                        (size_t)grow->block.cells + count, sizeof *grow->result.words))
        return FOLD_EMEMORY;
    return 1;
}

/* The automaton that reads lines out of the block. */
static const struct runs *runs_across(const struct grow *grow)
{
    return grow->before ? grow->text.before : grow->text.after;
}

/* The state of the line that leaves the block over the cell at border. */
static int32_t line_across(const struct grow *grow, int32_t border)
{
    const struct runs *runs = runs_across(grow);
    int32_t length = grow->block.sizes[grow->axis];
    int32_t step =
        grow->before ? -grow->block.strides[grow->axis] : grow->block.strides[grow->axis];
    int32_t cell = border - (length - 1) * step;
    int32_t state = RUN_ROOT;

    for (int32_t i = 0; i < length && state != RUN_NONE; i++, cell += step)
        state = runs_step(runs, state, grow->block.words[cell]);
    return state != RUN_NONE && runs->states[state].degree > 0 ? state : RUN_NONE;
}

/* Sets all that does not change during the search; 0 if a line leaves the block to nowhere. */
static int32_t lay_places(struct grow *grow)
{
    int32_t place[FOLD_AXES_MAX] = {0};
    int32_t last = (grow->block.sizes[grow->axis] - 1) * grow->block.strides[grow->axis];
    int32_t border = grow->before ? 0 : last;

    for (int32_t p = 0; p < grow->count; p++) {
        int32_t distance = 0, names = -1;
        for (int32_t side = 0; side < grow->sides; side++) {
            grow->at[p * grow->sides + side] = place[side];
            distance += place[side];
            if (place[side] == 1)
                names = side;
        }
        grow->places[p] = (struct grow_place){.border = grow->block.words[border],
                                              .across = line_across(grow, border),
                                              .names = distance == 1 ? names : -1,
                                              .word = WORD_NONE};
        if (grow->places[p].across == RUN_NONE)
            return 0;
        grow->places[p].choice = runs_across(grow)->states[grow->places[p].across].degree;
        grow->order[p] = p;

        for (int32_t side = grow->sides - 1; side >= 0; side--) {
            int32_t axis = grow->side_axis[side];
            border += grow->block.strides[axis];
            if (++place[side] < grow->block.sizes[axis])
                break;
            border -= grow->block.sizes[axis] * grow->block.strides[axis];
            place[side] = 0;
        }
    }
    return 1;
}

/* Decides which place is filled next: a neighbour of what is filled before others, fewest words first. */
static void choose_place(struct grow *grow)
{
    int32_t best = grow->chosen;

    for (int32_t i = best + 1; i < grow->count; i++)
        if (grow->places[grow->order[i]].choice < grow->places[grow->order[best]].choice)
            best = i;
    int32_t p = grow->order[best];
    grow->order[best] = grow->order[grow->chosen];
    grow->order[grow->chosen++] = p;
    for (int32_t side = 0; side < grow->sides; side++) {
        int32_t at = grow->at[p * grow->sides + side];
        if (at > 0)
            grow->places[p - grow->side_stride[side]].choice /= NEIGHBOUR_LEAVES;
        if (at < side_steps(grow, side))
            grow->places[p + grow->side_stride[side]].choice /= NEIGHBOUR_LEAVES;
    }
}

/* The words of the layer along side that lead to place p without a gap, read from the first one. */
static int32_t line_to(const struct grow *grow, int32_t p, int32_t side)
{
    int32_t stride = grow->side_stride[side];
    int32_t length = 0, state = RUN_ROOT;

    while (length < grow->at[p * grow->sides + side] &&
           grow->places[p - (length + 1) * stride].word != WORD_NONE)
        length++;
    for (; length > 0 && state != RUN_NONE; length--)
        state = runs_step(grow->text.after, state, grow->places[p - length * stride].word);
    return state;
}

/* The same from the other end: the words that come after place p, read from the last one. */
static int32_t line_from(const struct grow *grow, int32_t p, int32_t side)
{
    int32_t stride = grow->side_stride[side];
    int32_t length = 0, state = RUN_ROOT;

    while (length < side_steps(grow, side) - grow->at[p * grow->sides + side] &&
           grow->places[p + (length + 1) * stride].word != WORD_NONE)
        length++;
    for (; length > 0 && state != RUN_NONE; length--)
        state = runs_step(grow->text.before, state, grow->places[p + length * stride].word);
    return state;
}

/*
 * Starts on place p with the line that leaves the fewest words, and notes which lines are then left
 * to be checked: not that one, nor those without a word yet.
 */
static void open_place(struct grow *grow, int32_t p)
{
    struct grow_place *place = &grow->places[p];
    const struct run_state *fewest = &runs_across(grow)->states[place->across];
    int32_t fewest_side = -1;

    place->word = WORD_NONE;
    place->edge_before = grow->before;
    for (int32_t side = 0; side < grow->sides; side++) {
        int32_t to = line_to(grow, p, side);
        int32_t from = line_from(grow, p, side);
        const struct run_state *after = &grow->text.after->states[to];
        const struct run_state *before = &grow->text.before->states[from];
        bool is_ours = false;

        if (to != RUN_ROOT && after->degree < fewest->degree) {
            fewest = after;
            place->edge_before = false;
            is_ours = true;
        }
        if (from != RUN_ROOT && before->degree < fewest->degree) {
            fewest = before;
            place->edge_before = true;
            is_ours = true;
        }
        if (is_ours)
            fewest_side = to == RUN_ROOT || from == RUN_ROOT ? side : grow->sides;
        grow->line[p * grow->sides + side] = to == RUN_ROOT && from == RUN_ROOT ? RUN_NONE : to;
    }
    if (fewest_side >= 0 && fewest_side < grow->sides)
        grow->line[p * grow->sides + fewest_side] = RUN_NONE;
    place->is_across = fewest_side < 0;
    place->edge = fewest->edge;
}

int32_t grow_start(struct grow *grow, struct grow_text text, int32_t axis, bool before)
{
    const struct block *block = &grow->block;

    grow->running = false;
    grow->text = text;
    grow->axis = axis;
    grow->before = before;
    grow->sides = 0;
    for (int32_t a = 0; a < block->axes; a++)
        if (a != axis)
            grow->side_axis[grow->sides++] = a;
    grow->count = 1;
    for (int32_t side = grow->sides - 1; side >= 0; side--) {
        grow->side_stride[side] = grow->count;
        grow->count *= block->sizes[grow->side_axis[side]];
    }
    if (before)
        grow->name = block->words[0];
    else
        grow->name = block->sizes[axis] > 1 ? block_name(block, axis) : WORD_NONE;

    if (text.max_phrase > 0 && block->sizes[axis] >= text.max_phrase)
        return 0;
    if (count_ahead(grow) > 1)
        return 0;
    if (block->cells + grow->count > FOLD_CELLS_MAX)
        return FOLD_ELARGE;
    int32_t result = reserve(grow);
    if (result == 1)
        result = lay_places(grow);
    if (result != 1)
        return result;
    grow->depth = 0;
    grow->running = true;
    grow->chosen = 0;
    choose_place(grow);
    open_place(grow, grow->order[0]);
    return 1;
}

/*
 * Whether a place and another one, in the layer or in the block's border, are of the same distance
 * from the first corner of a unit block that holds both: they lie at most one step apart along each
 * axis, and the steps up and down are as many.
 */
static bool must_differ(const struct grow *grow, int32_t p, int32_t q, bool in_border)
{
    const int32_t *at = &grow->at[p * grow->sides];
    const int32_t *other = &grow->at[q * grow->sides];
    int32_t sum = !in_border ? 0 : grow->before ? -1 : 1;

    for (int32_t side = 0; side < grow->sides; side++) {
        int32_t apart = at[side] - other[side];
        if (apart < -1 || apart > 1)
            return false;
        sum += apart;
    }
    return sum == 0;
}

static bool is_distinct(const struct grow *grow, int32_t p, int32_t word)
{
    for (int32_t q = 0; q < grow->count; q++) {
        if (grow->places[q].border == word && must_differ(grow, p, q, true))
            return false;
        if (grow->places[q].word == word && must_differ(grow, p, q, false))
            return false;
    }
    return true;
}

/* Whether word at place p makes a run of each line of the layer, as far as it is filled around p. */
static bool fits_lines(const struct grow *grow, int32_t p, int32_t word)
{
    for (int32_t side = 0; side < grow->sides; side++) {
        int32_t state = grow->line[p * grow->sides + side];
        if (state == RUN_NONE)
            continue;
        state = runs_step(grow->text.after, state, word);
        int32_t left = side_steps(grow, side) - grow->at[p * grow->sides + side];
        for (int32_t q = p; left > 0 && state != RUN_NONE; left--) {
            q += grow->side_stride[side];
            if (grow->places[q].word == WORD_NONE)
                break;
            state = runs_step(grow->text.after, state, grow->places[q].word);
        }
        if (state == RUN_NONE)
            return false;
    }
    return true;
}

/* Axes that come before the axis of growth, once word is at place p. */
static int32_t ahead_with(struct grow *grow, int32_t p, int32_t word)
{
    int32_t ahead =
        grow->depth == 0 ? count_ahead(grow) : grow->places[grow->order[grow->depth - 1]].ahead;

    if (p == 0 && grow->name == WORD_NONE) {
        grow->name = word;
        ahead = count_ahead(grow);
        grow->name = WORD_NONE;
    } else if (grow->before && grow->places[p].names >= 0 &&
               side_steps(grow, grow->places[p].names) == new_steps(grow) &&
               is_ahead(grow, grow->places[p].names, word)) {
        ahead++;
    }
    return ahead;
}

/* Puts word at place p if the lines, the distances and the order of the axes allow it. */
static bool fill_place(struct grow *grow, int32_t p, int32_t word)
{
    struct grow_place *place = &grow->places[p];

    grow->tries++;
    place->word = WORD_NONE;
    if ((!place->is_across && runs_step(runs_across(grow), place->across, word) == RUN_NONE) ||
        !fits_lines(grow, p, word) || !is_distinct(grow, p, word))
        return false;
    place->ahead = ahead_with(grow, p, word);
    if (place->ahead > 1)
        return false;
    place->word = word;
    return true;
}

/* The block and the layer together. */
static void join(struct grow *grow)
{
    const struct block *block = &grow->block;
    struct block *result = &grow->result;
    int32_t inner = block->strides[grow->axis];     /* cells of one word along axis */
    int32_t run = inner * block->sizes[grow->axis]; /* cells of one line along axis */
    int32_t outer = block->cells / run;
    int32_t *out = result->words;
    const struct grow_place *place = grow->places;
    const int32_t *in = block->words;

    result->axes = block->axes;
    memcpy(result->sizes, block->sizes, sizeof result->sizes);
    result->sizes[grow->axis]++;
    result->cells = block->cells + grow->count;
    int32_t stride = 1;
    for (int32_t axis = result->axes - 1; axis >= 0; axis--) {
        result->strides[axis] = stride;
        stride *= result->sizes[axis];
    }

    for (int32_t i = 0; i < outer; i++) {
        if (grow->before)
            for (int32_t j = 0; j < inner; j++)
                *out++ = (place++)->word;
        memcpy(out, in, (size_t)run * sizeof *out);
        out += run;
        in += run;
        if (!grow->before)
            for (int32_t j = 0; j < inner; j++)
                *out++ = (place++)->word;
    }
}

static int32_t mark_sentence(struct grow *grow, int32_t sentence, int32_t *count)
{
    if ((size_t)sentence >= grow->marks_count) {
        size_t wanted = (size_t)sentence + 1;
        if (!memory_reserve((void **)&grow->marks, &grow->marks_room, wanted, sizeof *grow->marks))
            return FOLD_EMEMORY;
        memset(grow->marks + grow->marks_count, 0,
               (grow->marks_room - grow->marks_count) * sizeof *grow->marks);
        grow->marks_count = grow->marks_room;
    }
    if (grow->marks[sentence] == grow->mark)
        return 1;
    grow->marks[sentence] = grow->mark;
    if (!memory_reserve((void **)&grow->sentences, &grow->sentences_room, (size_t)*count + 1,
                        sizeof *grow->sentences))
        return FOLD_EMEMORY;
    grow->sentences[(*count)++] = sentence;
    return 1;
}

/* One sentence for each line that is not in the block alone. */
static int32_t cite(struct grow *grow, int32_t *count)
{
    const struct runs *across = runs_across(grow), *after = grow->text.after;
    int32_t result = 1;

    if (grow->mark == INT32_MAX) {
        memset(grow->marks, 0, grow->marks_count * sizeof *grow->marks);
        grow->mark = 0;
    }
    grow->mark++;
    *count = 0;
    for (int32_t p = 0; p < grow->count && result == 1; p++) {
        const struct grow_place *place = &grow->places[p];
        int32_t state = runs_step(across, place->across, place->word);
        result = mark_sentence(grow, across->states[state].sentence, count);
        for (int32_t side = 0; side < grow->sides && result == 1; side++) {
            if (grow->at[p * grow->sides + side] < side_steps(grow, side))
                continue; /* a line is cited where it ends */
            state = runs_step(after, line_to(grow, p, side), place->word);
            result = mark_sentence(grow, after->states[state].sentence, count);
        }
    }
    return result;
}

int32_t grow_next(struct grow *grow, int32_t *count)
{
    while (grow->running) {
        int32_t p = grow->order[grow->depth];
        struct grow_place *place = &grow->places[p];
        if (place->edge == RUN_NONE) {
            place->word = WORD_NONE;
            grow->running = grow->depth-- > 0;
            continue;
        }
        const struct runs *runs = place->edge_before ? grow->text.before : grow->text.after;
        const struct run_edge *edge = &runs->edges[place->edge];
        place->edge = edge->next;
        if (!fill_place(grow, p, edge->word))
            continue;
        if (grow->depth + 1 < grow->count) {
            if (++grow->depth == grow->chosen)
                choose_place(grow);
            open_place(grow, grow->order[grow->depth]);
            continue;
        }
        join(grow);
        int32_t result = cite(grow, count);
        grow->running = result == 1;
        return result;
    }
    return 0;
}
