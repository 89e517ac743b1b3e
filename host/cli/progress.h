/*
 * Progress on stderr: a bar with rate and time left on a terminal, a plain line now and then
 * otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what; /* what is counted, "facts" */
    int64_t started_us;
    int64_t shown_us; /* when it was shown last */
    int64_t total;    /* of the unit that done has; 0: nobody knows */
    bool is_terminal;
    bool is_shown; /* a bar stands on the terminal's line */
};

/* what is borrowed. is_wanted false: shows nothing ever. */
void progress_begin(struct progress *progress, const char *what, bool is_wanted);
/*
 * count: things done so far; done of progress->total tells how far that is. Shows at most some
 * times a second.
 */
void progress_show(struct progress *progress, int64_t count, int64_t done);
/* The last line, for terminals and others: count things, how long they took, how many a second, then "; " and words. */
void progress_end(struct progress *progress, int64_t count, const char *words);
/* Takes the bar away, before something else is written. */
void progress_hide(struct progress *progress);
