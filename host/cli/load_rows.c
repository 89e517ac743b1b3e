/* What becomes of lines that are read: rows on their way, refusals, the records of files. */
#include "cli/load_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define FLUSH_BYTES (8 << 20) /* texts gathered before they are written */
#define REFUSALS_SHOWN 1000   /* the rest is only counted */

/* Refusals */

static void keep(struct load *load, const struct load_raw *raw)
{
    struct acc_error err;

    if (raw->data == NULL || raw->source->rejected == NULL ||
        rejected_keep(&load->out, raw->source->rejected, raw->data, raw->size, &err))
        return;
    progress_hide(&load->progress);
    cli_fail(load->cli, &err);
}

void load_refuse(struct load *load, const struct load_raw *raw, const char *message)
{
    keep(load, raw);
    record_errors_add(&raw->source->errors, raw->line, message);
    raw->source->refused++;
    load->refused++;
    if (load->refused > REFUSALS_SHOWN + 1)
        return;
    progress_hide(&load->progress);
    if (load->refused == REFUSALS_SHOWN + 1)
        fprintf(stderr, "further refusals are only counted\n");
    else if (raw->line > 0)
        fprintf(stderr, "%s:%" PRId64 ": %s\n", raw->source->name, raw->line, message);
    else
        fprintf(stderr, "%s: %s\n", raw->source->name, message);
}

/* A row contradicts a fact that is there. */
static void refuse_row(void *context, const struct kind *kind, const struct acc_row *row,
                       uint32_t number, const char *message)
{
    const struct load_side *side = context;
    const struct load_origins *origins = &side->origins[kind->index];

    (void)row;
    if (number >= origins->count)
        return;
    const struct load_origin *origin = &origins->rows[number];
    struct load_raw raw = {
        .source = origin->source,
        .line = origin->line,
        .data = origin->line == 0 ? NULL : side->lines.data + origin->at,
        .size = origin->size,
    };
    load_refuse(side->load, &raw, message);
}

/* Records */

/* Whether nothing more becomes of a file, and its record is to be written. */
static bool is_due(const struct load_source *source)
{
    return source->is_ended && source->pending == 0 && !source->is_recorded;
}

static size_t due_count(const struct load *load)
{
    size_t count = 0;

    for (size_t i = 0; i < load->source_count; i++)
        count += is_due(load->sources[i]);
    return count;
}

/* Sends the records of files whose facts are written, along with those of others. */
static bool send_records(void *context, struct pg *pg, int64_t batch_id, bool is_last,
                         struct acc_error *err)
{
    struct load *load = ((struct load_side *)context)->load;
    size_t due = is_last ? due_count(load) : 0;
    size_t count = 0;

    if (due == 0)
        return true;
    struct ingest_record *records = acc_zalloc(due * sizeof(*records));
    struct buf *errors = acc_zalloc(due * sizeof(*errors));
    for (size_t i = 0; i < load->source_count; i++) {
        struct load_source *source = load->sources[i];

        source->is_sent = is_due(source);
        if (!source->is_sent)
            continue;
        if (source->errors.count > 0)
            record_errors_json(&source->errors, &errors[count]);
        records[count] = (struct ingest_record){
            .id = ingest_number(load->ingest),
            .who = load->who,
            .name = source->name,
            .format = source->format,
            .kind = load->kind == NULL ? "" : load->kind->name,
            .trace = "",
            .bytes = source->bytes,
            .lines = source->lines,
            .fresh = source->fresh,
            .repeats = source->repeats,
            .refused = source->refused,
            .first_batch = source->first_batch > 0 ? source->first_batch : batch_id >> 32 << 32,
            .batch = batch_id,
            .errors = errors[count].data,
        };
        count++;
    }
    bool ok = ingest_records_send(pg, records, count, err);
    for (size_t i = 0; i < due; i++)
        buf_clear(&errors[i]);
    free(errors);
    free(records);
    return ok;
}

/* The rows of a side are written: the records sent with them are, and its files know their facts. */
static void account(void *context)
{
    struct load_side *side = context;
    struct load *load = side->load;

    for (size_t i = 0; i < load->source_count; i++) {
        struct load_source *source = load->sources[i];

        if (!source->is_sent)
            continue;
        source->is_sent = false;
        source->is_recorded = true;
        record_errors_clear(&source->errors);
    }
    for (size_t k = 0; k < load->catalog->count; k++) {
        const struct acc_rows *rows = ingest_started(load->ingest, load->catalog->kinds[k]);

        for (uint32_t i = 0; i < rows->count; i++) {
            struct load_source *source = side->origins[k].rows[i].source;

            source->pending--;
            source->fresh += rows_at(rows, i)->flags == INGEST_NEW;
            source->repeats += rows_at(rows, i)->flags == INGEST_REPEAT;
        }
    }
}

/* Rows on their way */

struct acc_rows *load_rows_of(void *context, const struct kind *kind)
{
    struct load *load = context;

    return ingest_rows(load->ingest, kind);
}

bool load_write_rows(struct load *load, struct acc_error *err)
{
    struct ingest_calls calls = {
        .refused = refuse_row,
        .with = load->seen == NULL ? send_records : NULL,
        .done = account,
        .context = load->filling,
        .seen = load->seen,
    };

    if (load->pending == 0 && (load->seen != NULL || due_count(load) == 0))
        return true;
    load->is_broken = !ingest_start(load->ingest, &load->counts, &calls, err);
    if (load->is_broken)
        return false;
    load->filling = load->filling == load->sides[0] ? load->sides[1] : load->sides[0];
    for (size_t k = 0; k < load->catalog->count; k++)
        load->filling->origins[k].count = 0;
    buf_reset(&load->filling->lines);
    load->target.heap = ingest_heap(load->ingest);
    load->pending = 0;
    return true;
}

bool load_added(struct load *load, const struct kind *kind, const struct load_raw *raw,
                struct acc_error *err)
{
    struct load_side *side = load->filling;
    struct load_origins *origins = &side->origins[kind->index];
    const struct acc_heap *heap = load->target.heap;

    if (origins->count == origins->capacity) {
        origins->capacity = 2 * origins->capacity + 256;
        origins->rows = acc_realloc(origins->rows, origins->capacity * sizeof(*origins->rows));
    }
    origins->rows[origins->count++] =
        (struct load_origin){raw->source, raw->line, side->lines.size, raw->size};
    if (raw->data != NULL)
        buf_add(&side->lines, raw->data, raw->size);
    load->pending++;
    raw->source->pending++;
    if ((int64_t)load->pending >= load->batch_lines || heap->used - heap->start >= FLUSH_BYTES ||
        side->lines.size >= FLUSH_BYTES)
        return load_write_rows(load, err);
    return true;
}
