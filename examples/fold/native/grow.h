/* Growing a block by one layer: the search that finds every ortho. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "runs.h"
#include "words.h"

/* What a search reads. */
struct grow_text {
    const struct words *words;
    const struct runs *after;  /* which words may follow a run */
    const struct runs *before; /* which words may precede a reversed run */
    int32_t max_phrase;        /* 0: no limit */
};

/* One place in the new layer. */
struct grow_place {
    int32_t border;   /* word next to it in the block */
    int32_t across;   /* state of the line out of the block that ends in border */
    int32_t names;    /* side that the word here names, or -1 */
    int32_t word;     /* that stands here, WORD_NONE if none does */
    int32_t ahead;    /* axes known to come before the axis of growth, when this place is filled */
    int32_t choice;   /* words that may come here, by a guess; the place with the fewest is next */
    int32_t edge;     /* next edge to try */
    bool edge_before; /* which automaton it is of */
    bool is_across;   /* it goes on with the line across */
};

struct grow {
    struct grow_text text;
    struct block block; /* with an axis of one word if the result has one axis more */
    int32_t axis;       /* of growth */
    bool before;        /* the new layer comes before the block */
    int32_t name;       /* of axis in the result, WORD_NONE while the first place is open */

    int32_t sides;                      /* axes of the layer: all but axis */
    int32_t side_axis[FOLD_AXES_MAX];   /* which axis of the block each one is */
    int32_t side_stride[FOLD_AXES_MAX]; /* in places of the layer */
    int32_t count;                      /* of places */
    struct grow_place *places;          /* row-major */
    int32_t *at;                        /* count * sides: where a place lies along each side */
    int32_t *line;  /* count * sides: state of the words that lead to a place, RUN_NONE: no check */
    int32_t *order; /* in which order the places are filled; the first `chosen` are settled */
    int32_t chosen;
    size_t places_room, at_room, line_room, order_room;
    int32_t depth; /* places that hold a word */
    bool running;

    struct block result;
    int32_t *marks; /* by sentence: the turn in which it was last counted */
    size_t marks_room, marks_count;
    int32_t mark;
    int32_t *sentences; /* of the last result */
    size_t sentences_room;
    int64_t tries;
};

void grow_clear(struct grow *grow);

/*
 * Starts on every block that is grow->block and one more layer along axis. 1; 0 if there is surely
 * none or another search finds it; FOLD_ELARGE, FOLD_EMEMORY.
 */
int32_t grow_start(struct grow *grow, struct grow_text text, int32_t axis, bool before);

/* The next one, in grow->result and grow->sentences, their count in *count: 1, 0 or FOLD_EMEMORY. */
int32_t grow_next(struct grow *grow, int32_t *count);
