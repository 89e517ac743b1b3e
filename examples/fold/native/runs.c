#include "runs.h"

#include <stdlib.h>

#include "memory.h"

static int32_t add_state(struct runs *runs, int32_t length, int32_t link, int32_t sentence)
{
    if (runs->state_count >= INT32_MAX ||
        !memory_reserve((void **)&runs->states, &runs->states_room, runs->state_count + 1,
                        sizeof *runs->states))
        return RUN_NONE;
    runs->states[runs->state_count] = (struct run_state){
        .length = length, .link = link, .sentence = sentence, .edge = RUN_NONE, .degree = 0};
    return (int32_t)runs->state_count++;
}

bool runs_init(struct runs *runs)
{
    *runs = (struct runs){0};
    return add_state(runs, 0, RUN_NONE, 0) == RUN_ROOT;
}

void runs_clear(struct runs *runs)
{
    free(runs->states);
    free(runs->edges);
    free(runs->slots);
}

static size_t slot_of(const struct runs *runs, int32_t from, int32_t word)
{
    size_t mask = runs->slot_count - 1;
    uint64_t key = (uint64_t)(uint32_t)from << 32 | (uint32_t)word;
    size_t slot = (key * 0x9e3779b97f4a7c15u >> 20) & mask;

    for (; runs->slots[slot] != 0; slot = (slot + 1) & mask) {
        const struct run_edge *edge = &runs->edges[runs->slots[slot] - 1];
        if (edge->from == from && edge->word == word)
            break;
    }
    return slot;
}

static int32_t find_edge(const struct runs *runs, int32_t from, int32_t word)
{
    return runs->slot_count == 0 ? RUN_NONE : runs->slots[slot_of(runs, from, word)] - 1;
}

static bool grow_slots(struct runs *runs)
{
    size_t count = runs->slot_count == 0 ? 256 : runs->slot_count * 2;
    int32_t *slots = calloc(count, sizeof *slots);

    if (slots == NULL)
        return false;
    free(runs->slots);
    runs->slots = slots;
    runs->slot_count = count;
    for (size_t e = 0; e < runs->edge_count; e++)
        runs->slots[slot_of(runs, runs->edges[e].from, runs->edges[e].word)] = (int32_t)e + 1;
    return true;
}

static bool add_edge(struct runs *runs, int32_t from, int32_t word, int32_t to)
{
    if (runs->slot_count < 2 * (runs->edge_count + 1) && !grow_slots(runs))
        return false;
    if (runs->edge_count >= INT32_MAX - 1 ||
        !memory_reserve((void **)&runs->edges, &runs->edges_room, runs->edge_count + 1,
                        sizeof *runs->edges))
        return false;

    struct run_state *state = &runs->states[from];
    int32_t edge = (int32_t)runs->edge_count;
    runs->edges[edge] =
        (struct run_edge){.from = from, .word = word, .to = to, .next = state->edge};
    runs->slots[slot_of(runs, from, word)] = edge + 1;
    state->edge = edge;
    state->degree++;
    runs->edge_count++;
    return true;
}

/* Splits off the runs of state q that are at most length words long: p and its links lead to them. */
static int32_t split(struct runs *runs, int32_t p, int32_t word, int32_t q)
{
    int32_t clone =
        add_state(runs, runs->states[p].length + 1, runs->states[q].link, runs->states[q].sentence);

    if (clone == RUN_NONE)
        return RUN_NONE;
    for (int32_t e = runs->states[q].edge; e != RUN_NONE; e = runs->edges[e].next)
        if (!add_edge(runs, clone, runs->edges[e].word, runs->edges[e].to))
            return RUN_NONE;
    for (; p != RUN_NONE; p = runs->states[p].link) {
        int32_t e = find_edge(runs, p, word);
        if (e == RUN_NONE || runs->edges[e].to != q)
            break;
        runs->edges[e].to = clone;
    }
    runs->states[q].link = clone;
    return clone;
}

/* Reads one more word of a sentence of which last holds all that was read. */
static int32_t extend(struct runs *runs, int32_t last, int32_t word, int32_t sentence)
{
    int32_t length = runs->states[last].length;
    int32_t known = find_edge(runs, last, word);

    if (known != RUN_NONE) { /* an earlier sentence has this run */
        int32_t q = runs->edges[known].to;
        return runs->states[q].length == length + 1 ? q : split(runs, last, word, q);
    }

    int32_t state = add_state(runs, length + 1, RUN_ROOT, sentence);
    if (state == RUN_NONE)
        return RUN_NONE;
    int32_t p = last;
    while (p != RUN_NONE && find_edge(runs, p, word) == RUN_NONE) {
        if (!add_edge(runs, p, word, state))
            return RUN_NONE;
        p = runs->states[p].link;
    }
    if (p != RUN_NONE) {
        int32_t q = runs->edges[find_edge(runs, p, word)].to;
        if (runs->states[q].length != runs->states[p].length + 1)
            q = split(runs, p, word, q);
        if (q == RUN_NONE)
            return RUN_NONE;
        runs->states[state].link = q;
    }
    return state;
}

bool runs_add(struct runs *runs, const int32_t *words, size_t count, bool reversed, int32_t number)
{
    int32_t last = RUN_ROOT;

    for (size_t i = 0; i < count && last != RUN_NONE; i++)
        last = extend(runs, last, words[reversed ? count - 1 - i : i], number);
    return last != RUN_NONE;
}

int32_t runs_step(const struct runs *runs, int32_t state, int32_t word)
{
    int32_t edge = state == RUN_NONE ? RUN_NONE : find_edge(runs, state, word);

    return edge == RUN_NONE ? RUN_NONE : runs->edges[edge].to;
}
