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

        outcomes->fresh += row->flags <= INGEST_NEW;
        outcomes->repeats += row->flags == INGEST_REPEAT;
        if (row->flags < INGEST_CONTRADICTS)
            continue;
        outcomes->refused++;
        record_errors_add(errors, line > 0 ? line : row->friend_count,
                          ingest_message(intake->ingest, group->job->kind, row, text));
    }
}

/* Records */

/* Rows to be sent, and where their errors stand in intake->json; SIZE_MAX: none. */
struct sheet {
    struct ingest_record *records;
    size_t *errors_at;
    size_t count;
};

static void set_errors(struct intake *intake, struct sheet *sheet,
                       const struct record_errors *errors)
{
    sheet->errors_at[sheet->count] = SIZE_MAX;
    if (errors->count == 0)
        return;
    sheet->errors_at[sheet->count] = intake->json.size;
    record_errors_json(errors, &intake->json);
    buf_byte(&intake->json, '\0');
}

static void add_request(struct intake *intake, const struct intake_group *group,
                        struct sheet *sheet)
{
    const struct intake_job *job = group->job;
    struct intake_more *more = job->more;
    struct outcomes outcomes = {more->fresh, more->repeats, more->refused};
    size_t kept = more->errors.count;
    int64_t total = more->errors.total;

    collect(intake, group, &outcomes, &more->errors, 0);
    set_errors(intake, sheet, &more->errors);
    record_errors_cut(&more->errors, kept, total); /* it is only a try */
    if (more->id == 0)
        more->id = ingest_number(intake->ingest);
    sheet->records[sheet->count++] = (struct ingest_record){
        .id = more->id,
        .who = more->who,
        .name = more->name,
        .format = format_names[job->format],
        .kind = job->kind->name,
        .trace = more->trace,
        .bytes = (int64_t)job->size,
        .lines = more->lines_read,
        .fresh = outcomes.fresh,
        .repeats = outcomes.repeats,
        .refused = outcomes.refused,
        .part = more->part,
        .parts = more->parts,
    };
}

static void add_plain(struct intake *intake, struct intake_side *side, struct sheet *sheet)
{
    struct outcomes outcomes = {0};
    struct record_errors errors = {0};
    int64_t line = 0;

    for (size_t g = 0; g < side->count; g++) {
        if (side->groups[g].job->more == NULL)
            collect(intake, &side->groups[g], &outcomes, &errors, ++line);
    }
    set_errors(intake, sheet, &errors);
    record_errors_clear(&errors);
    if (side->plain_id == 0)
        side->plain_id = ingest_number(intake->ingest);
    sheet->records[sheet->count++] = (struct ingest_record){
        .id = side->plain_id,
        .who = side->plain_who.size == 0 ? "" : side->plain_who.data,
        .name = "",
        .format = "json",
        .kind = side->plain_kind == NULL ? "" : side->plain_kind->name,
        .trace = "",
        .bytes = side->plain_bytes,
        .lines = side->plain,
        .fresh = outcomes.fresh,
        .repeats = outcomes.repeats,
        .refused = outcomes.refused,
    };
}

bool intake_send_records(void *context, struct pg *pg, int64_t batch_id, struct acc_error *err)
{
    struct intake *intake = context;
    struct intake_side *side = intake->flying;
    size_t most = side->plain > 0;

    for (size_t g = 0; g < side->count; g++)
        most += side->groups[g].job->more != NULL && side->groups[g].is_last;
    if (most == 0)
        return true;
    struct sheet sheet = {
        .records = acc_alloc(most * sizeof(*sheet.records)),
        .errors_at = acc_alloc(most * sizeof(*sheet.errors_at)),
    };
    buf_reset(&intake->json);
    if (side->plain > 0)
        add_plain(intake, side, &sheet);
    for (size_t g = 0; g < side->count; g++) {
        if (side->groups[g].job->more != NULL && side->groups[g].is_last)
            add_request(intake, &side->groups[g], &sheet);
    }
    for (size_t i = 0; i < sheet.count; i++)
        sheet.records[i].errors =
            sheet.errors_at[i] == SIZE_MAX ? NULL : intake->json.data + sheet.errors_at[i];
    bool ok = ingest_records_send(pg, sheet.records, sheet.count, batch_id, err);
    free(sheet.records);
    free(sheet.errors_at);
    return ok;
}

/* Answers */

static void count(struct intake *intake, const struct intake_job *job,
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
        count(intake, job, &(struct outcomes){.refused = 1});
        intake_answer(intake, job, &answer);
        return;
    }
    const struct acc_row *row = row_of(intake, group, 0);
    answer.id = row->id;
    answer.fresh = row->flags <= INGEST_NEW;
    answer.repeats = row->flags == INGEST_REPEAT;
    answer.refused = row->flags >= INGEST_CONTRADICTS;
    count(intake, job, &(struct outcomes){answer.fresh, answer.repeats, answer.refused});
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
        .lines = more->lines_read,
        .fresh = more->fresh,
        .repeats = more->repeats,
        .refused = more->refused,
    };

    count(intake, job, &(struct outcomes){more->fresh, more->repeats, more->refused});
    while (answer.error_count < INTAKE_ERRORS && answer.error_count < more->errors.count) {
        const struct record_error *error = &more->errors.list[answer.error_count];

        answer.errors[answer.error_count++] =
            (struct intake_error){error->line, error->field, error->message};
    }
    intake_answer(intake, job, &answer);
}

void intake_settle(struct intake *intake, struct intake_side *side)
{
    for (size_t g = 0; g < side->count; g++) {
        const struct intake_group *group = &side->groups[g];
        struct intake_job *job = group->job;

        if (job->is_fact) {
            answer_fact(intake, group, job->more == NULL ? side->plain_id : job->more->id);
            continue;
        }
        struct outcomes outcomes = {0};
        collect(intake, group, &outcomes, &job->more->errors, 0);
        job->more->fresh += outcomes.fresh;
        job->more->repeats += outcomes.repeats;
        job->more->refused += outcomes.refused;
        if (group->is_last)
            answer_bulk(intake, job);
    }
}
