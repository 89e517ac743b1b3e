/* The station's turn: connecting, losing the connection, one transaction under way while the next is gathered. */
#include "intake.h"

#include "base/clock.h"
#include "base/log.h"
#include "intake_internal.h"
#include "schema.h"

#include <stdlib.h>

#define SLICE_LINES 2000 /* of bodies read in one drive: the loop has others to serve */
#define BACKOFF_MS 100   /* after the first loss; doubles */
#define BACKOFF_MAX_MS 5000
#define CONNECTING_MS 10 /* the connect is looked at so often */
#define SILENCE_MS 10000 /* beyond statement_timeout: the server is gone without a word */

/* Connection */

static struct acc_rows *rows_of(void *context, const struct kind *kind)
{
    const struct intake *intake = context;

    return ingest_rows(intake->ingest, kind);
}

struct intake *intake_new(const char *conninfo, const char *schema, const struct program *program,
                          const struct settings *settings, const struct intake_limits *limits)
{
    struct intake *intake = acc_zalloc(sizeof(*intake));
    char role[SCHEMA_ROLE_BYTES];

    schema_role_name(schema, "worker", role);
    intake->conninfo = acc_strdup(conninfo);
    intake->schema = acc_strdup(schema);
    intake->role = acc_strdup(role);
    intake->program = program;
    intake->settings = settings;
    intake->limits = *limits;
    intake->filling = &intake->sides[0];
    intake->backoff_ms = BACKOFF_MS;
    intake->target = (struct values_target){
        .catalog = &program->catalog,
        .rows = rows_of,
        .context = intake,
        .value_bytes = settings->ingest.value_bytes,
    };
    intake_list_init(&intake->facts);
    intake_list_init(&intake->bulks);
    return intake;
}

/* Answers everything: whether what was in hand is written nobody knows. */
static void refuse_all(struct intake *intake, const char *message)
{
    for (int i = 0; i < 2; i++) {
        struct intake_side *side = &intake->sides[i];

        for (size_t g = 0; g < side->count; g++) {
            if (side->groups[g].is_last)
                intake_refuse(intake, side->groups[g].job, 503, "database_away", NULL, "%s",
                              message);
        }
        side->count = 0;
    }
    while (intake->facts.first != NULL)
        intake_refuse(intake, intake_list_take(&intake->facts), 503, "database_away", NULL, "%s",
                      message);
    while (intake->bulks.first != NULL)
        intake_refuse(intake, intake_list_take(&intake->bulks), 503, "database_away", NULL, "%s",
                      message);
}

static void side_restart(struct intake_side *side)
{
    side->count = 0;
    side->rows = 0;
    side->check = NULL;
    side->plain = side->plain_bytes = 0;
    side->batch_count = 0;
}

static void disconnect(struct intake *intake)
{
    ingest_free(intake->ingest);
    intake->ingest = NULL;
    pg_close(&intake->pg);
}

/* The connection is lost, or was never there: tries again later. */
static void lose(struct intake *intake, const struct acc_error *why)
{
    log_trouble(&intake->away, clock_us(), "intake", "no connection to the database", why->text);
    intake->counts.lost += intake->state == INTAKE_READY;
    intake->state = INTAKE_AWAY;
    intake->is_lost = true;
    intake->retry_us = clock_us() + 1000 * intake->backoff_ms;
    intake->backoff_ms =
        2 * intake->backoff_ms < BACKOFF_MAX_MS ? 2 * intake->backoff_ms : BACKOFF_MAX_MS;
    refuse_all(intake, "the database is away; whether this was written is not known, sending it "
                       "again does no harm");
    disconnect(intake);
    intake->flying = NULL;
    for (int i = 0; i < 2; i++)
        side_restart(&intake->sides[i]);
}

void intake_free(struct intake *intake)
{
    if (intake == NULL)
        return;
    intake->state = INTAKE_AWAY;
    intake->is_lost = true;
    refuse_all(intake, "the server is stopping; whether this was written is not known, sending it "
                       "again does no harm");
    disconnect(intake);
    while (intake->spare != NULL) {
        struct intake_job *job = intake->spare;

        intake->spare = job->next;
        free(job);
    }
    for (int i = 0; i < 2; i++) {
        free(intake->sides[i].groups);
        free(intake->sides[i].batch_of);
        free(intake->sides[i].records);
        buf_clear(&intake->sides[i].plain_who);
    }
    buf_clear(&intake->who);
    buf_clear(&intake->json);
    free(intake->conninfo);
    free(intake->schema);
    free(intake->role);
    free(intake);
}

static bool is_late(const struct intake *intake)
{
    return intake->deadline_us > 0 && clock_us() > intake->deadline_us;
}

static void connect_start(struct intake *intake)
{
    struct acc_error err;

    intake->state = INTAKE_CONNECTING;
    intake->deadline_us = clock_us() + 1000 * intake->settings->database.connect_timeout_ms;
    if (!pg_open_start(&intake->pg, intake->conninfo, intake->schema,
                       intake->settings->database.statement_timeout_ms, &err))
        lose(intake, &err);
}

static void connect_on(struct intake *intake)
{
    struct acc_error err;
    bool is_ready;

    if (!pg_open_poll(&intake->pg, &is_ready, &err)) {
        lose(intake, &err);
    } else if (is_ready) {
        intake->ingest =
            ingest_new_polled(&intake->pg, intake->program, intake->settings, intake->role, &err);
        if (intake->ingest == NULL) {
            lose(intake, &err);
            return;
        }
        intake->target.heap = ingest_heap(intake->ingest);
        intake->state = INTAKE_OPENING;
    } else if (is_late(intake)) {
        acc_fail(&err, ACC_ELOST, "the database does not answer");
        lose(intake, &err);
    }
}

/* Goes on with what is under way. false: the connection is lost. */
static bool poll_ingest(struct intake *intake, bool *is_done)
{
    struct ingest_counts unused = {0};
    struct acc_error err;

    if (!ingest_poll(intake->ingest, &unused, is_done, &intake->ingest_wait_ms, &err)) {
        lose(intake, &err);
        return false;
    }
    if (!*is_done && is_late(intake)) {
        acc_fail(&err, ACC_ELOST, "the database is silent");
        lose(intake, &err);
        return false;
    }
    return true;
}

static void open_on(struct intake *intake)
{
    bool is_done;

    if (!poll_ingest(intake, &is_done) || !is_done)
        return;
    intake->state = INTAKE_READY;
    intake->is_lost = false;
    intake->backoff_ms = BACKOFF_MS;
    intake->deadline_us = 0;
    log_trouble_over(&intake->away, "intake", "connected to the database again");
    log_debug("intake", "event=connected");
}

/* Work */

/* Begins to write what is gathered. */
static void launch(struct intake *intake)
{
    struct intake_side *side = intake->filling;
    int64_t timeout_ms = intake->settings->database.statement_timeout_ms;
    struct ingest_counts none = {0};
    struct acc_error err;

    if (side->check == NULL)
        intake_set_batches(intake, side);
    struct ingest_calls calls = {
        .with = side->check == NULL ? intake_send_records : NULL,
        .context = intake,
        .seen = side->check == NULL ? NULL : side->check->more->seen,
        .batch_of = side->batch_count > 1 ? side->batch_of : NULL,
        .records = side->records,
        .batch_count = side->batch_count,
    };

    intake->flying = side;
    intake->filling = side == &intake->sides[0] ? &intake->sides[1] : &intake->sides[0];
    intake->counts.transactions += side->check == NULL;
    intake->deadline_us = timeout_ms > 0 ? clock_us() + 1000 * (timeout_ms + SILENCE_MS) : 0;
    if (!ingest_start(intake->ingest, &none, &calls, &err)) {
        lose(intake, &err);
        return;
    }
    intake->target.heap = ingest_heap(intake->ingest);
    intake->ingest_wait_ms = -1;
}

/* Facts that came when there was no room for them. */
static void read_facts(struct intake *intake)
{
    while (intake->facts.first != NULL && intake->filling->check == NULL &&
           intake_has_room(intake)) {
        struct intake_job *job = intake_list_take(&intake->facts);

        if (job->who != NULL)
            intake_remember_who(intake, job->who);
        intake_read_fact(intake, job);
    }
}

/* Whether the first of the bodies may be read on: what is only counted is gathered apart. */
static bool may_read(const struct intake *intake)
{
    const struct intake_job *job = intake->bulks.first;
    const struct intake_side *side = intake->filling;

    if (job == NULL || !intake_has_room(intake))
        return false;
    return job->is_check ? side->count == 0 || side->check == job : side->check == NULL;
}

static void read_bulks(struct intake *intake)
{
    int64_t lines_left = SLICE_LINES;

    while (lines_left > 0 && may_read(intake)) {
        struct intake_job *job = intake->bulks.first;

        if (job->is_check)
            intake->filling->check = job;
        size_t before = intake->filling->count;
        /* It is taken from the list first: an answer may bring the next request. */
        intake_list_take(&intake->bulks);
        bool is_ended = intake_read_bulk(intake, job, &lines_left);
        if (!is_ended) {
            job->next = intake->bulks.first;
            if (job->next == NULL)
                intake->bulks.end = &job->next;
            intake->bulks.first = job;
        }
        if (intake->filling->count == before && before == 0)
            intake->filling->check = NULL;
    }
}

static void work(struct intake *intake)
{
    bool is_done = false;
    struct acc_error err;

    if (intake->flying != NULL) {
        if (!poll_ingest(intake, &is_done))
            return;
        if (is_done) {
            struct intake_side *side = intake->flying;

            intake_settle(intake, side);
            side_restart(side);
            intake->flying = NULL;
            intake->deadline_us = 0;
        }
    } else if (!pg_is_alive(&intake->pg)) {
        acc_fail(&err, ACC_ELOST, "%s", PQerrorMessage(intake->pg.conn));
        lose(intake, &err);
        return;
    }
    read_facts(intake);
    if (intake->flying == NULL && intake->filling->count > 0)
        launch(intake);
    if (intake->state == INTAKE_READY)
        read_bulks(intake);
    if (intake->state == INTAKE_READY && intake->flying == NULL && intake->filling->count > 0)
        launch(intake);
}

void intake_drive(struct intake *intake)
{
    if (intake->state == INTAKE_AWAY && clock_us() >= intake->retry_us)
        connect_start(intake);
    if (intake->state == INTAKE_CONNECTING)
        connect_on(intake);
    if (intake->state == INTAKE_OPENING)
        open_on(intake);
    if (intake->state == INTAKE_READY)
        work(intake);
}

/* The loop */

int intake_descriptor(const struct intake *intake)
{
    /* While it connects the socket may become another one, even of the same number. */
    return intake->ingest == NULL ? -1 : PQsocket(intake->pg.conn);
}

bool intake_wants_write(const struct intake *intake)
{
    return intake->ingest != NULL && intake->pg.wants_write;
}

static int64_t ms_until(int64_t at_us)
{
    int64_t left_us = at_us - clock_us();

    return left_us > 0 ? (left_us + 999) / 1000 : 0;
}

int64_t intake_wait_ms(const struct intake *intake)
{
    switch (intake->state) {
    case INTAKE_AWAY:
        return ms_until(intake->retry_us);
    case INTAKE_CONNECTING:
        return CONNECTING_MS;
    case INTAKE_OPENING:
    case INTAKE_READY:
        break;
    }
    if (intake->state == INTAKE_READY &&
        (may_read(intake) || (intake->flying == NULL && intake->filling->count > 0)))
        return 0;
    if (intake->ingest_wait_ms >= 0)
        return intake->ingest_wait_ms;
    return intake->deadline_us > 0 ? ms_until(intake->deadline_us) : -1;
}

bool intake_is_idle(const struct intake *intake)
{
    return intake->counts.waiting == 0;
}

void intake_counts(const struct intake *intake, struct intake_counts *counts)
{
    *counts = intake->counts;
    counts->is_connected = intake->state == INTAKE_READY;
}
