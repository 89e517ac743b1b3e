/* What became of the requests of a transaction: their records, and their answers. */
#include "intake_internal.h"

#include <stdlib.h>

static const char *const format_names[] = {"json", "ndjson", "csv", "text"};

/* Counts of rows; those that are still pending are new when the transaction is committed. */
struct outcomes {
    int64_t fresh, repeats, refused;
};

static const struct acc_row *row_of(const struct intake *intake, const struct intake_group *group,
                                    uint32_t i)
{
    return rows_at(ingest_started(intake->ingest, group->job->kind), group->first + i);
}

/* Adds what became of the group's rows; line is its own number for a row of plain facts. */
static void collect(const struct intake *intake, const struct intake_group *group,
                    struct outcomes *outcomes, struct record_errors *errors, int64_t line)
{
    char text[INGEST_MESSAGE_BYTES];

    for (uint32_t i = 0; i < group->count; i++) {
        const struct acc_row *row = row_of(intake, group, i);

        outcomes->fresh += row->flags == INGEST_PENDING || row->flags == INGEST_NEW;
        outcomes->repeats += row->flags == INGEST_REPEAT;
        if (row->flags < INGEST_CONTRADICTS)
            continue;
        outcomes->refused++;
        record_errors_add(errors, line > 0 ? line : row->friend_count,
                          ingest_message(intake->ingest, group->job->kind, row, text));
    }
}

/* Records */

void intake_set_batches(struct intake *intake, struct intake_side *side)
{
    size_t most = side->count + 1;

    if (side->batch_capacity < most) {
        side->batch_capacity = 2 * most;
        side->batch_of =
            acc_realloc(side->batch_of, side->batch_capacity * sizeof(*side->batch_of));
        side->records = acc_realloc(side->records, side->batch_capacity * sizeof(*side->records));
    }
    side->batch_count = 0;
    if (side->plain > 0)
        side->records[side->batch_count++] = ingest_number(intake->ingest);
    for (size_t g = 0; g < side->count; g++) {
        const struct intake_job *job = side->groups[g].job;

        side->batch_of[g] = 0;
        if (job->more == NULL)
            continue;
        struct intake_share *share = intake_share(intake, side, job);
        if (!share->has_batch) {
            if (job->more->id == 0)
                job->more->id = ingest_number(intake->ingest);
            share->has_batch = true;
            share->batch = (uint32_t)side->batch_count;
            side->records[side->batch_count++] = job->more->id;
        }
        side->batch_of[g] = share->batch;
    }
}

/* Records to be sent, by batch, and their errors. */
struct sheet {
    struct ingest_record *records;
    struct record_errors *errors;
    size_t *errors_at; /* as text in intake->json; SIZE_MAX: none */
};

/* What a request's record says whatever becomes of this transaction, but for its numbers so far. */
static void begin_request(const struct intake *intake, const struct intake_job *job,
                          struct ingest_record *record, struct record_errors *errors)
{
    const struct intake_more *more = job->more;
    const struct record_errors *bad = &intake_share(intake, intake->flying, job)->bad;

    record->who = more->who;
    record->name = more->name;
    record->format = format_names[job->format];
    record->kind = job->kind->name;
    record->trace = more->trace;
    record->bytes = (int64_t)job->size;
    record->fresh = more->fresh;
    record->repeats = more->repeats;
    record->refused = more->refused + bad->total;
    record->part = more->part;
    record->parts = more->parts;
    record->is_open = true;
    record_errors_join(errors, &more->errors);
    record_errors_join(errors, bad);
}

static void begin_plain(const struct intake_side *side, struct ingest_record *record)
{
    record->who = side->plain_who.size == 0 ? "" : side->plain_who.data;
    record->name = record->trace = "";
    record->format = "json";
    record->kind = side->plain_kind == NULL ? "" : side->plain_kind->name;
    record->bytes = side->plain_bytes;
}

static void fill(const struct intake *intake, struct sheet *sheet, bool is_last)
{
    const struct intake_side *side = intake->flying;
    int64_t plain = 0;

    for (size_t g = 0; g < side->count; g++) {
        const struct intake_group *group = &side->groups[g];
        uint32_t at = side->batch_of[g];
        struct ingest_record *record = &sheet->records[at];
        struct outcomes outcomes = {0};

        if (record->id == 0) {
            record->id = side->records[at];
            if (group->job->more == NULL)
                begin_plain(side, record);
            else
                begin_request(intake, group->job, record, &sheet->errors[at]);
        }
        plain += group->job->more == NULL;
        collect(intake, group, &outcomes, &sheet->errors[at], group->job->more == NULL ? plain : 0);
        record->fresh += outcomes.fresh;
        record->repeats += outcomes.repeats;
        record->refused += outcomes.refused;
        record->is_open = !is_last || !group->is_last;
    }
}

bool intake_send_records(void *context, struct pg *pg, int64_t batch_id, bool is_last,
                         struct acc_error *err)
{
    struct intake *intake = context;
    size_t count = intake->flying->batch_count;
    struct sheet sheet = {
        .records = acc_zalloc(count * sizeof(*sheet.records)),
        .errors = acc_zalloc(count * sizeof(*sheet.errors)),
        .errors_at = acc_alloc(count * sizeof(*sheet.errors_at)),
    };

    fill(intake, &sheet, is_last);
    buf_reset(&intake->json);
    for (size_t i = 0; i < count; i++) {
        struct ingest_record *record = &sheet.records[i];

        record->batch = batch_id + (int64_t)i;
        record->lines = record->fresh + record->repeats + record->refused;
        sheet.errors_at[i] = sheet.errors[i].count == 0 ? SIZE_MAX : intake->json.size;
        if (sheet.errors[i].count > 0) {
            record_errors_json(&sheet.errors[i], &intake->json);
            buf_byte(&intake->json, '\0');
        }
        record_errors_clear(&sheet.errors[i]);
    }
    for (size_t i = 0; i < count; i++)
        sheet.records[i].errors =
            sheet.errors_at[i] == SIZE_MAX ? NULL : intake->json.data + sheet.errors_at[i];
    bool ok = ingest_records_send(pg, sheet.records, count, err);
    free(sheet.records);
    free(sheet.errors);
    free(sheet.errors_at);
    return ok;
}

/* Answers */

static void count_written(struct intake *intake, const struct intake_job *job,
                          const struct outcomes *outcomes)
{
    if (job->is_check)
        return;
    intake->counts.facts += (uint64_t)outcomes->fresh;
    intake->counts.repeats += (uint64_t)outcomes->repeats;
    intake->counts.refused += (uint64_t)outcomes->refused;
}

/* One fact was sent. */
static void answer_fact(struct intake *intake, const struct intake_group *group, int64_t record)
{
    struct intake_job *job = group->job;
    struct intake_answer answer;
    char text[INGEST_MESSAGE_BYTES];

    answer.ingest = record;
    answer.status = 200;
    answer.code = answer.message = answer.field = NULL;
    answer.retry_after_s = 0;
    answer.lines = 1;
    answer.error_count = 0;
    if (group->count == 0) { /* refused when it was read */
        const struct record_error *error = &job->more->errors.list[0];

        answer.status = 422;
        answer.code = "bad_fact";
        answer.message = error->message;
        answer.field = error->field;
        answer.fresh = answer.repeats = 0;
        answer.refused = 1;
        answer.id = NULL;
        intake_answer(intake, job, &answer);
        return;
    }
    const struct acc_row *row = row_of(intake, group, 0);
    answer.id = row->id;
    answer.fresh = row->flags <= INGEST_NEW;
    answer.repeats = row->flags == INGEST_REPEAT;
    answer.refused = row->flags >= INGEST_CONTRADICTS;
    if (row->flags >= INGEST_CONTRADICTS) {
        bool is_refused = row->flags == INGEST_REFUSED;

        answer.status = is_refused ? 422 : 409;
        answer.code = is_refused ? "refused" : "contradiction";
        answer.message = ingest_message(intake->ingest, job->kind, row, text);
    }
    intake_answer(intake, job, &answer);
}

/* A body of many, or a text, is written to its end. */
static void answer_bulk(struct intake *intake, struct intake_job *job)
{
    const struct intake_more *more = job->more;
    struct intake_answer answer = {
        .status = 200,
        .ingest = more->id,
        .lines = more->fresh + more->repeats + more->refused,
        .fresh = more->fresh,
        .repeats = more->repeats,
        .refused = more->refused,
    };

    while (answer.error_count < INTAKE_ERRORS && answer.error_count < more->errors.count) {
        const struct record_error *error = &more->errors.list[answer.error_count];

        answer.errors[answer.error_count++] =
            (struct intake_error){error->line, error->field, error->message};
    }
    intake_answer(intake, job, &answer);
}

/* What became of a group is added to what its request has come to. */
static void add_group(struct intake *intake, struct intake_side *side,
                      const struct intake_group *group)
{
    struct intake_more *more = group->job->more;
    struct outcomes outcomes = {0};
    struct record_errors none = {0};

    if (more != NULL) { /* of several groups the first brings what was refused as they were read */
        struct intake_share *share = intake_share(intake, side, group->job);

        outcomes.refused = share->bad.total;
        record_errors_join(&more->errors, &share->bad);
        record_errors_clear(&share->bad);
        share->has_batch = false;
    }
    collect(intake, group, &outcomes, more == NULL ? &none : &more->errors, 0);
    record_errors_clear(&none);
    count_written(intake, group->job, &outcomes);
    if (more == NULL)
        return;
    more->fresh += outcomes.fresh;
    more->repeats += outcomes.repeats;
    more->refused += outcomes.refused;
}

void intake_settle(struct intake *intake, struct intake_side *side)
{
    for (size_t g = 0; g < side->count; g++) {
        const struct intake_group *group = &side->groups[g];

        add_group(intake, side, group);
        if (!group->is_last)
            continue;
        if (group->job->is_fact)
            answer_fact(intake, group,
                        side->batch_count == 0 ? 0 : side->records[side->batch_of[g]]);
        else
            answer_bulk(intake, group->job);
    }
}
