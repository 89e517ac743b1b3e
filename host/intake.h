/*
 * Intake: bodies of requests into facts, many requests in one transaction. Whatever is submitted while one is being written
 * becomes the next. Never blocks; who owns the loop polls its descriptor. Knows nothing of HTTP but its words.
 */
#pragma once

#include "ingest.h"

struct intake;

enum intake_format { INTAKE_JSON, INTAKE_NDJSON, INTAKE_CSV, INTAKE_TEXT };
enum intake_encoding { INTAKE_PLAIN, INTAKE_GZIP };

#define INTAKE_ERRORS 20

struct intake_answer {
    int status;                         /* 200, 400, 404, 409, 413, 415, 422, 429, 503 */
    const char *code, *message, *field; /* of a refusal as a whole (status >= 400), else NULL */
    int retry_after_s;                  /* with 429 and 503 */
    int64_t ingest;                     /* number of the record; 0: none (check) */
    int64_t lines, fresh, repeats, refused;
    const uint8_t *id; /* of the fact, when one JSON object was sent; else NULL */
    struct intake_error {
        int64_t line;      /* from 1; of an array the number of its element */
        const char *field; /* or NULL */
        const char *message;
    } errors[INTAKE_ERRORS];
    size_t error_count;
};
/* Called exactly once, maybe before intake_submit returns. answer is valid during the call. */
typedef void intake_done_fn(void *context, const struct intake_answer *answer);

struct intake_request {
    const char *kind; /* name; 404 when there is none such */
    enum intake_format format;
    enum intake_encoding encoding;
    const void *body; /* borrowed until done */
    size_t size;
    bool is_check;           /* count without writing */
    const char *name;        /* of the file, or NULL; copied */
    int64_t part, parts;     /* 0: whole */
    const char *who, *trace; /* for the record; copied; trace "" or a traceparent */
    intake_done_fn *done;
    void *context;
};

struct intake_limits {
    int64_t waiting_requests; /* more are refused with 429 */
    int64_t waiting_bytes;    /* of bodies not yet written; more: 503 */
    int64_t unpacked_bytes;   /* a gzip body may become so large */
};

/*
 * One JSON object is answered by what became of its fact: 200 new or repeat, 409 contradiction, 422 bad. Everything else
 * is answered 200 when it was read to its end, with what was refused of it; facts before that may be written in several
 * transactions. A body that is not what it says it is is 400, a kind that takes no text 415; nothing of it is written.
 *
 * Connects when it is first driven; again, by itself, after a loss (requests in hand are answered 503, which leaves open
 * whether they were written: facts are unique, sending them again is harmless). conninfo, schema and limits are copied,
 * the others borrowed. Facts are written by the role of workers, when it is there.
 *
 * Memory: what waits (waiting_bytes), one body being unpacked (unpacked_bytes), and the rows of two transactions.
 */
struct intake *intake_new(const char *conninfo, const char *schema, const struct program *program,
                          const struct settings *settings, const struct intake_limits *limits);
void intake_free(struct intake *intake); /* waits for nothing; what waits is answered 503 */
void intake_submit(struct intake *intake, const struct intake_request *request);

/* The loop's side: at the end of a turn and whenever the descriptor is readable or writable or the time has come. */
void intake_drive(struct intake *intake);
int intake_descriptor(
    const struct intake *intake); /* to watch; may change after intake_drive; -1: none now */
bool intake_wants_write(const struct intake *intake);
int64_t intake_wait_ms(
    const struct intake *intake); /* until it is to be driven without an event; -1: not */
bool intake_is_idle(const struct intake *intake); /* nothing waits, nothing is being written */

struct intake_counts {
    uint64_t requests, transactions, facts, repeats, refused, refused_busy, lost;
    int64_t waiting, waiting_bytes;
    bool is_connected;
};
void intake_counts(const struct intake *intake, struct intake_counts *counts);
