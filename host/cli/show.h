/* Facts on a terminal, in tables, JSON and CSV: what the exploring commands share. */
#pragma once

#include "cli/cli.h"
#include "explorer.h"
#include "work.h"

#define SHOW_ID_DIGITS 12

/* A column of a result: a field, or what the host knows of the fact. */
struct show_column {
    enum { SHOW_FIELD, SHOW_ID, SHOW_AT, SHOW_BY } what;
    size_t field;
};

struct show_columns {
    const struct kind *kind;
    struct show_column list[KIND_FIELDS_MAX + 3];
    size_t count;
};

/* From "a,b,_id" (NULL: _id and all fields). ACC_EINPUT says what was probably meant. */
bool show_columns_read(struct show_columns *columns, const struct kind *kind, const char *text,
                       struct acc_error *err) ACC_MUST_CHECK;
const char *show_column_name(const struct show_columns *columns, size_t c);

/*
 * Appends one value: as JSON; as a CSV cell, guarded against spreadsheets; as legible text of one
 * line.
 */
void show_json(const struct show_columns *columns, size_t c, const struct explorer_fact *fact,
               struct buf *out);
void show_csv(const struct show_columns *columns, size_t c, const struct explorer_fact *fact,
              struct buf *out);
void show_text(const struct show_columns *columns, size_t c, const struct explorer_fact *fact,
               struct buf *out);

/*
 * `{"from":1,"to":2}`, and the same for people: cut at width characters (0: not at all), nothing
 * that disturbs a terminal.
 */
void show_fields_json(const struct kind *kind, const struct acc_row *row, struct buf *out);
void show_legible(const char *text, size_t size, size_t width, struct buf *out);

/* A table of texts whose columns line up. Zeroed it is empty. */
struct show_table {
    struct buf text;
    struct {
        size_t at, width;
    } * cells;
    size_t cell_count, cell_capacity;
    size_t column_count;
};

void show_table_cell(struct show_table *table, const char *text, size_t size);
/* The first row is the head, bold on a terminal. is_right[c]: numbers, to the right. */
void show_table_print(const struct show_table *table, const bool *is_right);
void show_table_clear(struct show_table *table);

/* 32 hex digits; valid until the fourth call from now. */
const char *show_id(const uint8_t *id);

/*
 * The one fact whose id begins with digits, of kind or (NULL) of any kind. false: printed, with the
 * candidates if there are several, and *exit_code set. name is the argument or option, for
 * messages.
 */
bool show_resolve(struct cli *cli, struct work *work, const struct kind *kind, const char *name,
                  const char *digits, uint8_t id[16], int *exit_code) ACC_MUST_CHECK;

/* Fails with what to do when nothing is stored yet, or nothing of kind; NULL: of anything. */
bool show_has_facts(struct cli *cli, struct work *work, const struct kind *kind,
                    int *exit_code) ACC_MUST_CHECK;

/* Adds all --filter of the command. false: misuse, printed. */
bool show_filters(struct cli *cli, const struct work *work, struct filters *filters,
                  const struct kind *kind) ACC_MUST_CHECK;
