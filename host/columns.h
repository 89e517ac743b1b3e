/*
 * Columns: facts as they are shown, whoever asks: the chosen fields, and what the host knows of a fact, as JSON, CSV
 * or legible text.
 */
#pragma once

#include "base/buf.h"
#include "explorer.h"

/* A column of a result: a field, or what the host knows of the fact. */
struct column {
    enum { COLUMN_FIELD, COLUMN_ID, COLUMN_AT, COLUMN_BY } what;
    size_t field;
};

struct columns {
    const struct kind *kind;
    struct column list[KIND_FIELDS_MAX + 3];
    size_t count;
};

/* From "a,b,_id" (NULL: _id and all fields). ACC_EINPUT says what was probably meant. */
bool columns_read(struct columns *columns, const struct kind *kind, const char *text,
                  struct acc_error *err) ACC_MUST_CHECK;
/* From "a,b" (NULL: all fields): fields of the kind, none twice. Errors likewise. */
bool columns_read_fields(struct columns *columns, const struct kind *kind, const char *text,
                         struct acc_error *err) ACC_MUST_CHECK;
/* "from", "_id". */
const char *columns_name(const struct columns *columns, size_t c);

/*
 * Appends one value: as JSON; as a CSV cell; as legible text of one line. In CSV a text that begins with = + - @ tab or
 * CR gets a ' in front, so that no spreadsheet runs it; numbers keep their sign, and no other type can begin so.
 */
void columns_json(const struct columns *columns, size_t c, const struct explorer_fact *fact,
                  struct buf *out);
void columns_csv(const struct columns *columns, size_t c, const struct explorer_fact *fact,
                 struct buf *out);
void columns_text(const struct columns *columns, size_t c, const struct explorer_fact *fact,
                  struct buf *out);

/* The names, and the values of one fact: a line of CSV each. */
void columns_csv_head(const struct columns *columns, struct buf *out);
void columns_csv_row(const struct columns *columns, const struct explorer_fact *fact,
                     struct buf *out);

/* `{"from":1,"to":2}`, NULL left out. */
void fact_json(const struct kind *kind, const struct acc_row *row, struct buf *out);
/* `1 the sea`: its values in their order, for people: one line, cut at FACT_LABEL_WIDTH characters. */
#define FACT_LABEL_WIDTH 80
void fact_label(const struct kind *kind, const struct acc_row *row, struct buf *out);
/* text cut at width characters (0: not at all), without what disturbs a terminal. */
void fact_legible(const char *text, size_t size, size_t width, struct buf *out);

/* 32 hex digits; valid until the fourth call from now. */
const char *fact_id_text(const uint8_t *id);
