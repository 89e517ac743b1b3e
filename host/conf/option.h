/* An option as a row of the table in settings.c, and how its value is written as text. */
#pragma once

#include "base/buf.h"
#include "conf/settings.h"

enum option_type {
    OPTION_TEXT,  /* char *, NULL when unset; "" unsets it */
    OPTION_WORD,  /* char *, one of `words` */
    OPTION_BOOL,  /* bool: yes no true false on off */
    OPTION_COUNT, /* int64_t, a plain number */
    OPTION_POWER, /* int64_t, a power of two */
    OPTION_TIME,  /* int64_t, milliseconds: ms s m h d */
    OPTION_BYTES, /* int64_t, bytes: B KiB MiB GiB TiB */
};

struct option {
    const char *name; /* dotted, "worker.count" */
    enum option_type type;
    size_t offset; /* of the value in struct settings */
    int64_t min;   /* range of a number, both ends allowed */
    int64_t max;
    bool has_zero;       /* 0 is allowed besides the range, and means what `help` says */
    const char *words;   /* the words of OPTION_WORD, "error warn info debug" */
    const char *initial; /* the default, as text; "" for unset */
    bool is_reloadable;  /* a reload applies a change; else it needs a restart */
    const char *help;    /* one sentence, no full stop */
};

struct option_section {
    const char *name;
    const char *help;
};

/* The table, ordered by section, and its sections in that order. */
extern const struct option options[];
extern const size_t option_count;
extern const struct option_section option_sections[];
extern const size_t option_section_count;

/* The option of that dotted name, or NULL. */
const struct option *option_find(const char *name);

/*
 * The option, or where name has no dot the section, that was probably meant, or NULL. Borrowed from
 * the table.
 */
const char *option_nearest(const char *name);

/* The part of an option's name after the dot. */
const char *option_leaf(const struct option *option);

/*
 * Reads text into the option's place in settings. false: it does not fit, and nothing was changed.
 */
bool option_parse(const struct option *option, const char *text, struct settings *settings);

/* Adds the value as option_parse reads it; nothing when it is unset. */
void option_format(const struct option *option, const struct settings *settings, struct buf *out);

/* Adds what values are possible: `0..1024`, `yes or no`, `1ms..1h`. */
void option_range(const struct option *option, struct buf *out);

/* Adds `wanted RANGE, got "text"`, with a word about units where one is missing. */
void option_complain(const struct option *option, const char *text, struct buf *out);

/* Places of the value in settings. */
char **option_text(const struct option *option, struct settings *settings);
int64_t *option_number(const struct option *option, struct settings *settings);
bool *option_bool(const struct option *option, struct settings *settings);
