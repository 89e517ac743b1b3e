#include "bench_child.h"

#include "base/log.h"
#include "base/utf8.h"
#include "explorer.h"
#include "schema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PART_SHARE 20 /* a part gets this share of its child's time */
#define STRATA 16
#define SAMPLE_TEXTS (64 << 20)
#define SAMPLE_AT_ONCE 64
#define SEEN_BYTES (1 << 20)

/* Saying */

static void say(int fd, json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT);

    json_decref(line);
    if (text == NULL)
        _exit(1);
    guard_say(fd, text, strlen(text));
    guard_say(fd, "\n", 1);
    free(text);
}

void bench_say_begin(struct bench_place *place, const char *part)
{
    say(place->fd, json_pack("{s:s}", "begin", part));
}

/* Words of an app's code as JSON: their first line, a question mark for each byte that is no UTF-8. */
static json_t *words(const char *text)
{
    char *line = acc_format("%.*s", (int)strcspn(text, "\n"), text);

    utf8_mend(line, strlen(line));
    json_t *value = json_string(line);
    free(line);
    return value;
}

/* Thousandths are plenty. */
static json_t *rounded(double value)
{
    return json_real(round(value * 1000) / 1000);
}

void bench_say(struct bench_place *place, const char *part, const struct bench_figures *figures,
               int64_t samples, const char *note, bool is_failed)
{
    bool has = figures != NULL && figures->ns >= 0;

    say(place->fd,
        json_pack("{s:s, s:o, s:o, s:i, s:I, s:o, s:b}", "part", part, "ns",
                  has ? rounded(figures->ns) : json_null(), "ci_ns",
                  has ? rounded(figures->ci_ns) : json_null(), "runs", has ? figures->runs : 0,
                  "samples", (json_int_t)samples, "note", words(note), "is_failed", is_failed));
}

static void on_begin(void *context, const char *part)
{
    bench_say_begin(context, part);
}

static void on_result(void *context, const char *part, const struct bench_figures *figures,
                      int64_t samples, const char *note, bool is_failed)
{
    bench_say(context, part, figures, samples, note, is_failed);
}

/* Samples */

static PGresult *sample_ids(struct bench_place *place, const struct kind *kind, int64_t count,
                            struct acc_error *err)
{
    struct buf sql = {0};
    struct pg_args args = {0};

    buf_printf(&sql,
               "SELECT DISTINCT f._id FROM generate_series(0, %d) s, LATERAL (SELECT _id FROM %s "
               "WHERE _id >= (lpad(to_hex(s * %d), 4, '0') || repeat('0', 28))::uuid ORDER BY _id "
               "LIMIT $1::int8) f ORDER BY 1 LIMIT $2::int8",
               STRATA - 1, kind->table, 65536 / STRATA);
    pg_int8(&args, (count + STRATA - 1) / STRATA);
    pg_int8(&args, count);
    PGresult *res = pg_exec(place->pg, sql.data, &args, err);
    buf_clear(&sql);
    return res;
}

bool bench_sample(struct bench_place *place, const struct kind *kind, int64_t count,
                  struct acc_error *err)
{
    struct batch *batch = place->batch;
    uint64_t most = batch->heap.used + SAMPLE_TEXTS;
    bool has;

    if (!explorer_has_table(place->pg, kind, &has, err))
        return false;
    PGresult *res = has ? sample_ids(place, kind, count, err) : NULL;
    if (res == NULL)
        return !has;
    bool ok = true;
    for (int r = 0; ok && r < PQntuples(res) && batch->heap.used < most;) {
        uint8_t ids[SAMPLE_AT_ONCE * 16];
        size_t n = 0;

        for (; n < SAMPLE_AT_ONCE && r < PQntuples(res); n++, r++)
            memcpy(ids + 16 * n, PQgetvalue(res, r, 0), 16);
        ok = facts_get(place->facts, place->pg, kind, ids, n, &batch->data[kind->index],
                       &batch->heap, err);
    }
    PQclear(res);
    return ok;
}

/* A lifecycle */

/* In the place of the worker's: finds that fill the batch are forgotten. */
static bool forget(struct batch *batch, struct acc_error *err)
{
    (void)err;
    for (size_t i = 0; i < batch->program->catalog.count; i++)
        rows_reset(&batch->finds[i]);
    batch->hot.find_count = 0;
    batch->hot.friend_id_count = 0;
    return true;
}

/* Loads the friends of as many events as a batch takes, once. */
static bool gather(struct bench_place *place, struct lifecycle *lifecycle, struct acc_error *err)
{
    struct batch *batch = place->batch;
    uint32_t most = batch->hot.event_count;

    for (;;) {
        batch_restart(batch);
        batch->hot.run_count = most;
        batch->in_transaction = false;
        batch->flush = forget;
        batch->hot.find_limit = (uint32_t)batch->settings->worker.batch_finds;
        if ((!lifecycle->has_mirror || friends_mirrors(batch, err)) &&
            lifecycle->gather(lifecycle, batch, err) && friends_end(batch, err))
            return true;
        if (!batch->too_many_friends || most == 1)
            return false;
        most /= 2;
    }
}

static void say_all(struct bench_place *place, const struct lifecycle *lifecycle, const char *note)
{
    const char *parts[BENCH_CALLBACKS];
    size_t count = script_bench_parts(lifecycle, parts);

    for (size_t i = 0; i < count; i++)
        bench_say(place, parts[i], NULL, 0, note, false);
}

/* No fact of the kind has come yet: the lifecycle's examples will do. */
static bool bench_examples(struct bench_place *place, struct lifecycle *lifecycle,
                           const struct bench_sink *sink, struct acc_error *err)
{
    struct batch *batch = place->batch;

    batch->flush = forget;
    if (!script_bench_examples(place->script, lifecycle, batch, err))
        return false;
    if (batch->hot.run_count > 0)
        return script_bench(place->script, lifecycle, batch, &place->way, 0, sink, err);
    say_all(place, lifecycle, "not sampled");
    return true;
}

/* The callbacks that run while events are gathered, as what runs now. */
static void say_gathering(struct bench_place *place, const struct lifecycle *lifecycle)
{
    const char *parts[BENCH_CALLBACKS];
    size_t count = script_bench_parts(lifecycle, parts);
    struct buf names = {0};

    for (size_t i = 0;
         i < count && strcmp(parts[i], "abort_late") != 0 && strcmp(parts[i], "process_data") != 0;
         i++)
        buf_printf(&names, "%s%s", i == 0 ? "" : ", ", parts[i]);
    bench_say_begin(place, names.size == 0 ? "the look-ups" : names.data);
    buf_clear(&names);
}

static bool bench_lifecycle(struct bench_place *place, struct lifecycle *lifecycle,
                            struct acc_error *err)
{
    struct batch *batch = place->batch;
    struct bench_sink sink = {.begin = on_begin, .result = on_result, .context = place};

    batch_start(batch, lifecycle);
    if (!bench_sample(place, lifecycle->on, place->job->order->samples, err))
        return false;
    batch->hot.event_count = batch->data[lifecycle->on->index].count;
    say_gathering(place, lifecycle);
    if (batch->hot.event_count == 0) {
        sink.note = "no facts, M.examples replayed";
        return bench_examples(place, lifecycle, &sink, err);
    }
    int64_t before = script_bench_queries(place->script);
    return gather(place, lifecycle, err) &&
           script_bench(place->script, lifecycle, batch, &place->way,
                        script_bench_queries(place->script) - before, &sink, err);
}

/* The child */

static bool connect(struct bench_place *place, struct acc_error *err)
{
    const struct bench_order *order = place->job->order;

    return pg_open(place->pg, order->conninfo, order->schema,
                   order->settings->database.connect_timeout_ms, place->job->limit_ms, err) &&
           schema_become(place->pg, order->schema, "reader", err) &&
           pg_do(place->pg, "SET default_transaction_read_only = on; SET jit = off", NULL, err);
}

static bool run(struct bench_place *place, struct acc_error *err)
{
    const struct bench_job *job = place->job;
    const struct bench_order *order = job->order;

    place->script = script_new(order->settings, order->modules_dir, order->native_dir, err);
    if (place->script == NULL || !script_load(place->script, place->program, false, err) ||
        !connect(place, err))
        return false;
    place->facts = facts_new(&place->program->catalog);
    place->seen = seen_new(SEEN_BYTES);
    place->slot.current = -1;
    place->batch = batch_new(order->settings, place->program, place->pg, place->facts, place->seen,
                             &place->slot);
    if (job->lifecycle == NULL)
        return bench_host(place, err);
    struct lifecycle *lifecycle = program_find(place->program, job->lifecycle);
    return lifecycle != NULL
               ? bench_lifecycle(place, lifecycle, err)
               : acc_fail(err, ACC_EINPUT, "there is no lifecycle \"%s\"", job->lifecycle);
}

/* Nothing is freed: the process ends. */
void bench_child(void *context, int fd)
{
    const struct bench_job *job = context;
    struct program program = {0};
    struct pg pg = {0};
    struct bench_place place = {.job = job, .fd = fd, .program = &program, .pg = &pg};
    struct acc_error err = {0};

    log_setup(LOG_ERROR, false); /* samples that raise are told in the results */
    place.way = (struct bench_way){
        .runs = job->runs, .part_ms = job->limit_ms * job->runs / job->order->runs / PART_SHARE};
    if (!run(&place, &err))
        say(fd, json_pack("{s:o}", "failure", words(err.text)));
}
