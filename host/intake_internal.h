/* Shared by intake.c, intake_request.c, intake_job.c and intake_record.c only. */
#pragma once

#include "base/log.h"
#include "ingest_body.h"
#include "ingest_record.h"
#include "intake.h"

#include <zlib.h>

/* What a request needs that is more than one plain fact. */
struct intake_more {
    char *who, *name, *trace; /* owned; name "" when not given */
    int64_t part, parts;
    int64_t id;           /* of its record; 0: not given yet */
    struct intake_share { /* of the transaction of each side */
        bool has_batch;
        uint32_t batch;           /* of its facts there, from 0 */
        struct record_errors bad; /* lines refused as they were read */
    } shares[2];
    bool is_gzip, is_open; /* still to be unpacked; being unpacked */
    bool is_reading;       /* text and reader are set up */
    z_stream gzip;
    struct buf unpacked;
    const char *text; /* unpacked, or the body */
    size_t size;
    struct body body;
    struct lines lines;
    struct body_memory memory;
    struct seen *seen; /* of a check: its facts so far */

    /* Of what is written. */
    int64_t fresh, repeats, refused;
    struct record_errors errors;
};

/* A request that is not answered yet. */
struct intake_job {
    struct intake_job *next;
    intake_done_fn *done;
    void *context;
    const struct kind *kind;
    const char *body; /* borrowed */
    size_t size;
    enum intake_format format;
    bool is_check;
    bool is_fact;             /* one JSON object */
    struct intake_more *more; /* NULL: a plain fact */
    char *who;                /* of a plain fact that waits; owned, else NULL */
};

struct intake_list {
    struct intake_job *first, **end;
};

/* Rows of one request in one transaction. */
struct intake_group {
    struct intake_job *job;
    uint32_t first, count; /* rows of its kind */
    bool is_last;          /* nothing of it comes later */
};

/* The requests of one transaction. */
struct intake_side {
    struct intake_group *groups;
    size_t count, capacity;
    size_t rows;
    struct intake_job *check; /* the one request that is counted without writing; else NULL */

    /* The plain facts among them, which have one record. */
    int64_t plain, plain_bytes;
    const struct kind *plain_kind; /* NULL: several */
    struct buf plain_who;          /* of the first; empty: several */

    /* Batches of the transaction: the first is the plain facts', the others are a request's each. Set when it starts. */
    uint32_t *batch_of; /* by group */
    int64_t *records;   /* by batch */
    size_t batch_count, batch_capacity;
};

enum intake_state {
    INTAKE_AWAY,       /* not connected until retry_us */
    INTAKE_CONNECTING, /* until deadline_us */
    INTAKE_OPENING,    /* the session is made ready, until deadline_us */
    INTAKE_READY,
};

struct intake {
    char *conninfo, *schema, *role;
    const struct program *program;
    const struct settings *settings;
    struct intake_limits limits;
    struct pg pg;
    struct ingest *ingest; /* NULL until connected */
    enum intake_state state;
    bool is_lost; /* and nothing was reached since */
    int64_t retry_us, deadline_us, backoff_ms;
    struct log_trouble away;                        /* the database */
    struct intake_list facts, bulks;                /* that wait to be read */
    struct intake_side sides[2], *filling, *flying; /* flying NULL: nothing is being written */
    int64_t ingest_wait_ms;
    struct values_target target;
    struct intake_job *spare; /* jobs to be used again */
    struct intake_counts counts;
    struct buf who, json; /* scratch */
};

/* What of a request is in the transaction of a side. */
static inline struct intake_share *intake_share(const struct intake *intake,
                                                const struct intake_side *side,
                                                const struct intake_job *job)
{
    return &job->more->shares[side - intake->sides];
}

/* intake_job.c */

/* Whether one more row may be gathered. */
bool intake_has_room(const struct intake *intake);
/* Reads the one object of a fact, and gathers or answers it. */
void intake_read_fact(struct intake *intake, struct intake_job *job);
/*
 * Reads on in a body until it is ended, *lines_left is used up, or there is no room. true: it is
 * ended, and gathered or answered.
 */
bool intake_read_bulk(struct intake *intake, struct intake_job *job, int64_t *lines_left);
void intake_more_free(struct intake_more *more);

/* intake_record.c */

/* Gives the side's groups their batches, and these their records. */
void intake_set_batches(struct intake *intake, struct intake_side *side);
/* An ingest_with_fn: the records of the requests of this transaction. */
bool intake_send_records(void *context, struct pg *pg, int64_t batch_id, bool is_last,
                         struct acc_error *err);
/* The transaction is on disk: answers the requests that end with it. */
void intake_settle(struct intake *intake, struct intake_side *side);

/* intake_request.c */

void intake_list_init(struct intake_list *list);
void intake_list_add(struct intake_list *list, struct intake_job *job);
/* Its first, which is there. */
struct intake_job *intake_list_take(struct intake_list *list);
/* Whose plain fact is read next. */
void intake_remember_who(struct intake *intake, const char *who);

/* The answer of a job, which ends it. */
void intake_answer(struct intake *intake, struct intake_job *job,
                   const struct intake_answer *answer);
void intake_refuse(struct intake *intake, struct intake_job *job, int status, const char *code,
                   const char *field, const char *format, ...) ACC_PRINTF(6, 7);
