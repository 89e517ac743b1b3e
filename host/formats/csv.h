/*
 * Facts from CSV: a line of field names, then one fact a record. An empty value without quotes is
 * NULL in a nullable field. Lines are given; where they come from is the caller's.
 */
#pragma once

#include "formats/cells.h"
#include "formats/values.h"

/* What a column of the header is called in the kind. */
struct csv_name {
    const char *column; /* as the header has it */
    const char *field;  /* ""; the column is left out */
    bool is_met;        /* set when a header has it */
};

/*
 * A reader in the middle of its records. Zeroed but for kind and names it is ready for the header.
 */
struct csv {
    const struct kind *kind;
    struct csv_name *names; /* columns that are not called like their field; borrowed */
    size_t name_count;
    int16_t *columns;    /* [c]: the field of column c, -1: left out */
    size_t column_count; /* 0: the header is yet to come */
    struct cells cells;  /* the record being read */
};

enum csv_result {
    CSV_FACT,   /* a fact was added */
    CSV_NONE,   /* the header, or a blank line */
    CSV_MORE,   /* the record goes on in the next line */
    CSV_BAD,    /* this record was refused, the next line starts a new one */
    CSV_FAILED, /* header unusable (ACC_EINPUT), or rows or heap full (ACC_ELIMIT) */
};

/*
 * Takes one line without its newline; "\r" before the newline is ignored. err is set for CSV_BAD
 * and CSV_FAILED.
 */
enum csv_result csv_line(struct csv *csv, const struct values_target *target, const char *line,
                         size_t size, struct acc_error *err) ACC_MUST_CHECK;

/*
 * After the last line: CSV_BAD when a quote is still open, CSV_FAILED when there was no header,
 * else CSV_NONE.
 */
enum csv_result csv_end(const struct csv *csv, struct acc_error *err) ACC_MUST_CHECK;

void csv_clear(struct csv *csv);
