/* Facts on a terminal, in tables, and which fact is meant: what the exploring commands share. */
#pragma once

#include "cli/cli.h"
#include "columns.h"
#include "work.h"

#define SHOW_ID_DIGITS 12

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
