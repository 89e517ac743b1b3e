/*
 * Runs: which words may follow a run of words? A suffix automaton of all sentences. Each state is
 * a set of runs that occur at the same places, an edge reads one more word, the root is the empty
 * run. So a run is in some sentence exactly when it can be read from the root, and one step costs
 * one look-up however long the run. At most two states and three edges for each word of text.
 *
 * A second automaton over the reversed sentences answers the same for the words before a run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RUN_ROOT = 0, RUN_NONE = -1 };

struct run_state {
    int32_t length;   /* words in the longest run of this state */
    int32_t link;     /* state of the longest run's longest ending that is in another state */
    int32_t sentence; /* a sentence that holds every run of this state */
    int32_t edge;     /* first edge, or RUN_NONE */
    int32_t degree;   /* edges */
};

struct run_edge {
    int32_t from, word, to;
    int32_t next; /* next edge of the same state, or RUN_NONE */
};

struct runs {
    struct run_state *states;
    size_t state_count, states_room;
    struct run_edge *edges;
    size_t edge_count, edges_room;
    int32_t *slots; /* hash table of edge + 1 by (from, word), 0 is free */
    size_t slot_count;
};

/* No sentences, only the root. False if out of memory. */
bool runs_init(struct runs *runs);
void runs_clear(struct runs *runs);

/*
 * Adds every run of a sentence that is called number. False if out of memory; then some runs are
 * missing and the sentence must not be relied on.
 */
bool runs_add(struct runs *runs, const int32_t *words, size_t count, bool reversed, int32_t number);

/* The state after one more word, or RUN_NONE. State may be RUN_NONE. */
int32_t runs_step(const struct runs *runs, int32_t state, int32_t word);
