/*
 * A terminal that is drawn anew as a whole, and given back as it was: at the end, on signals, when
 * stopped.
 */
#pragma once

#include "base/buf.h"

#include <termios.h>

struct screen {
    struct buf text;
    size_t lines;
    bool is_live, is_coloured;
    bool is_next_bold, is_next_alarm; /* of the next line */
    struct termios before;
};

/* What screen_wait answers beside keys. */
enum { SCREEN_TIME = -1, SCREEN_END = -2 };

/* Whether stdin and stdout are a terminal that can be drawn on. */
bool screen_is_terminal(void);
bool screen_open(struct screen *screen, struct acc_error *err) ACC_MUST_CHECK;
/* No terminal: lines are written as they are. */
void screen_plain(struct screen *screen);
/* Gives the terminal back; a signal that has ended the wait is raised again. */
void screen_close(struct screen *screen);

size_t screen_rows(const struct screen *screen);
void screen_begin(struct screen *screen);
void screen_bold(struct screen *screen);
void screen_alarm(struct screen *screen);
void screen_line(struct screen *screen, const char *fmt, ...) ACC_PRINTF(2, 3);
/* The last line of the terminal. */
void screen_foot(struct screen *screen, const char *fmt, ...) ACC_PRINTF(2, 3);
void screen_show(struct screen *screen);

/* A key, SCREEN_TIME when time is over or the size has changed, SCREEN_END on a signal. */
int screen_wait(struct screen *screen, int64_t wait_ms);
