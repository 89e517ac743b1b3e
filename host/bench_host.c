/* The parts of the host that a benchmark measures, with facts of one kind of the app. */
#include "bench_child.h"

#include "columns.h"
#include "formats/ndjson.h"
#include "identity.h"
#include "queue.h"
#include "schema.h"

#include <stdlib.h>
#include <string.h>

#define MANY 64         /* facts, keys or packets of one call */
#define TEXT_BYTES 1024 /* of NDJSON that a figure is for */

struct host {
    struct bench_place *place;
    const struct kind *kind;
    struct acc_row *rows[MANY]; /* facts of the kind; they repeat where there are fewer */
    size_t count;               /* different ones */
    struct routing routing;
    struct packet_set set;
    struct packet packet; /* of all rows */
    struct buf text;      /* NDJSON of some of them */
    uint64_t heap_used;
    struct acc_rows *scratch; /* rows that are made and forgotten */
    struct lookup *lookup;    /* whose keys are looked up; NULL: none is declared */
    struct acc_row *keys[MANY];
    struct pg temporary; /* a session whose tables are empty copies */
    struct acc_row *fresh[MANY];
    uint64_t draw; /* for ids that nothing has */
    struct packet **packets;
    size_t packet_count;
};

/* Computing */

static bool run_identity(void *context, int64_t n, struct acc_error *err)
{
    struct host *host = context;

    (void)err;
    for (int64_t i = 0; i < n; i++)
        identity_set(host->kind, host->rows[i % MANY]);
    return true;
}

static bool run_encode(void *context, int64_t n, struct acc_error *err)
{
    struct host *host = context;

    (void)err;
    for (int64_t i = 0; i < n; i++) {
        packet_set_reset(&host->set);
        packet_set_route(&host->set, &host->routing, NULL, host->kind, host->rows, MANY, 0);
    }
    return true;
}

static void forget_scratch(struct host *host)
{
    host->scratch->count = 0;
    host->place->batch->heap.used = host->heap_used;
}

static bool run_decode(void *context, int64_t n, struct acc_error *err)
{
    struct host *host = context;
    bool ids_only;
    bool ok = true;

    for (int64_t i = 0; ok && i < n; i++) {
        ok = packet_decode(&host->packet, host->kind, host->scratch, &host->place->batch->heap,
                           &ids_only, err);
        forget_scratch(host);
    }
    return ok;
}

static struct acc_rows *scratch_of(void *context, const struct kind *kind)
{
    struct host *host = context;

    (void)kind;
    return host->scratch;
}

static bool run_ndjson(void *context, int64_t n, struct acc_error *err)
{
    struct host *host = context;
    const struct values_target target = {.catalog = &host->place->program->catalog,
                                         .heap = &host->place->batch->heap,
                                         .rows = scratch_of,
                                         .context = host,
                                         .value_bytes =
                                             host->place->job->order->settings->ingest.value_bytes};
    bool ok = true;

    for (int64_t i = 0; ok && i < n; i++) {
        const char *end = host->text.data + host->text.size;

        for (const char *at = host->text.data; ok && at < end;) {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            const struct kind *of;

            ok = ndjson_line(&target, host->kind, at, (size_t)(newline - at), &of, err);
            at = newline + 1;
        }
        forget_scratch(host);
    }
    return ok;
}

/* Asking */

static bool run_friends(void *context, int64_t n, struct acc_error *err)
{
    struct host *host = context;
    struct batch *batch = host->place->batch;
    struct acc_rows *keys = &host->lookup->keys;
    bool ok = true;

    for (int64_t i = 0; ok && i < n; i++) {
        batch_restart(batch);
        batch->heap.used = host->heap_used;
        for (uint32_t k = 0; ok && k < MANY; k++) {
            struct acc_row *key = rows_add(keys, err);

            ok = key != NULL;
            if (!ok)
                break;
            memcpy(key, host->keys[k], keys->stride);
            key->event = k;
            batch->handles[k] = (struct acc_handle){.key_at = k, .key_count = 1};
        }
        batch->hot.handle_count = MANY;
        ok = ok && friends_fetch(batch, err);
    }
    return ok;
}

/* begin, what run sends, rollback: one round trip. */
static bool roll_back(struct host *host, bool (*send)(struct host *host, struct acc_error *err),
                      struct acc_error *err)
{
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL READ COMMITTED"};
    static struct pg_stmt rollback = {.sql = "ROLLBACK"};
    struct pg *pg = &host->temporary;
    struct acc_error later;
    bool ok = pg_send(pg, &begin, NULL, err) && send(host, err) &&
              pg_send(pg, &rollback, NULL, err) && pg_sync(pg, err);

    for (int i = 0; ok && i < 3; i++) {
        PGresult *res = pg_result(pg, err);
        ok = res != NULL;
        PQclear(res);
    }
    return pg_finish(pg, ok ? err : &later) && ok;
}

static bool send_insert(struct host *host, struct acc_error *err)
{
    return facts_insert_send(host->place->facts, &host->temporary, host->kind, host->fresh, MANY, 1,
                             NULL, NULL, err);
}

/* Ids that ascend and that nothing has. */
static void draw_ids(struct host *host)
{
    for (size_t i = 0; i < MANY; i++) {
        uint8_t *id = host->fresh[i]->id;

        id[0] = (uint8_t)(i * (256 / MANY));
        for (size_t b = 4; b < 16; b++) {
            host->draw ^= host->draw << 13;
            host->draw ^= host->draw >> 7;
            host->draw ^= host->draw << 17;
            id[b] = (uint8_t)host->draw;
        }
    }
}

static bool run_insert(void *context, int64_t n, struct acc_error *err)
{
    struct host *host = context;
    bool ok = true;

    for (int64_t i = 0; ok && i < n; i++) {
        draw_ids(host);
        ok = roll_back(host, send_insert, err);
    }
    return ok;
}

static void free_packets(struct host *host)
{
    for (size_t i = 0; i < host->packet_count; i++)
        packet_free(host->packets[i]);
    free(host->packets);
    host->packets = NULL;
    host->packet_count = 0;
}

static bool send_done(struct host *host, struct acc_error *err)
{
    return queue_done_send(host->packets, host->packet_count, &host->temporary, err);
}

static bool run_claim(void *context, int64_t n, struct acc_error *err)
{
    static const int16_t bucket = 0;
    static const int16_t lifecycle = 1;
    static const int32_t priority = 0;
    const struct claim claim = {.buckets = &bucket,
                                .bucket_count = 1,
                                .lifecycles = &lifecycle,
                                .priorities = &priority,
                                .lifecycle_count = 1,
                                .most = MANY};
    struct host *host = context;
    bool ok = true;

    for (int64_t i = 0; ok && i < n; i++) {
        ok = queue_claim(&claim, &host->temporary, &host->packets, &host->packet_count, err) &&
             roll_back(host, send_done, err);
        free_packets(host);
    }
    return ok;
}

/* Making ready */

/* The kind of data of the first lifecycle that has facts, else the first that has some; NULL: there are none. */
static bool choose_kind(struct host *host, struct acc_error *err)
{
    const struct program *program = host->place->program;
    const struct catalog *catalog = &program->catalog;
    size_t tries = program->lifecycle_count + catalog->count;

    for (size_t i = 0; i < tries && host->kind == NULL; i++) {
        const struct kind *kind = i < program->lifecycle_count
                                      ? program->lifecycles[i]->on
                                      : catalog->kinds[i - program->lifecycle_count];
        const struct acc_rows *data = &host->place->batch->data[kind->index];

        if (!bench_sample(host->place, kind, MANY, err))
            return false;
        if (data->count == 0)
            continue;
        host->kind = kind;
        host->count = data->count;
        for (size_t r = 0; r < MANY; r++)
            host->rows[r] = rows_at(data, (uint32_t)(r % data->count));
    }
    return true;
}

static void make_packet(struct host *host)
{
    static struct route route;
    struct acc_error err;

    route = (struct route){.lifecycle = 1, .kind = host->kind->tag};
    host->routing = (struct routing){.buckets = 1, .routes = &route, .count = 1};
    host->set = (struct packet_set){.packet_events = MANY, .packet_bytes = INT64_MAX};
    (void)!run_encode(host, 1, &err);
    host->packet = host->set.packets[0];
    host->packet.payload = acc_alloc(host->packet.size);
    memcpy(host->packet.payload, host->set.packets[0].payload, host->packet.size);
}

static void make_text(struct host *host)
{
    for (size_t i = 0; host->text.size < TEXT_BYTES; i++) {
        fact_json(host->kind, host->rows[i % MANY], &host->text);
        buf_byte(&host->text, '\n');
    }
}

/* The keys of a declared look-up, of facts that it would find. *has: there is one. */
static bool make_keys(struct host *host, bool *has, struct acc_error *err)
{
    struct batch *batch = host->place->batch;

    *has = false;
    for (size_t i = 0; i < batch->lookup_count && !*has; i++) {
        struct lookup *lookup = &batch->lookups[i];
        const struct acc_rows *data = &batch->data[lookup->kind->index];
        bool is_plain = lookup->shape->count > 0;

        for (size_t f = 0; f < lookup->shape->count; f++)
            is_plain = is_plain && !lookup->shape->has[f] &&
                       !lookup->kind->fields[lookup->shape->fields[f]].is_nullable;
        if (!is_plain)
            continue;
        if (data->count == 0 && !bench_sample(host->place, lookup->kind, MANY, err))
            return false;
        if (data->count == 0)
            continue;
        for (size_t k = 0; k < MANY; k++) {
            const struct acc_row *fact = rows_at(data, (uint32_t)(k % data->count));

            host->keys[k] = acc_zalloc(lookup->key_kind.row_bytes);
            for (size_t f = 0; f < lookup->shape->count; f++)
                *row_int(host->keys[k], f) = *row_int(fact, lookup->shape->fields[f]);
        }
        host->lookup = lookup;
        *has = true;
    }
    batch->hot.run_count = MANY;
    host->heap_used = batch->heap.used;
    return true;
}

/* A session in which the tables that are written are empty copies, and nothing else can be. */
static bool make_copies(struct host *host, struct acc_error *err)
{
    const struct bench_order *order = host->place->job->order;
    struct pg *pg = &host->temporary;
    int64_t next_id = 1;
    struct buf sql = {0};

    if (!pg_open(pg, order->conninfo, order->schema, order->settings->database.connect_timeout_ms,
                 host->place->job->limit_ms, err) ||
        !schema_become(pg, order->schema, "reader", err))
        return false;
    buf_printf(&sql,
               "CREATE TEMP TABLE %s (LIKE %s INCLUDING ALL); "
               "CREATE TEMP TABLE packet (LIKE packet INCLUDING ALL); "
               "SET default_transaction_read_only = on; "
               "SET default_transaction_isolation = 'read committed'; SET jit = off",
               host->kind->table, host->kind->table);
    bool ok = pg_do(pg, sql.data, NULL, err);
    buf_clear(&sql);
    if (!ok)
        return false;
    for (size_t i = 0; i < MANY; i++) {
        host->fresh[i] = acc_alloc(host->kind->row_bytes);
        memcpy(host->fresh[i], host->rows[i], host->kind->row_bytes);
    }
    host->draw = UINT64_C(0x9e3779b97f4a7c15);
    host->set.packet_events = 1;
    packet_set_reset(&host->set);
    packet_set_route(&host->set, &host->routing, NULL, host->kind, host->rows, MANY, 0);
    return queue_push_send(&host->set, pg, &next_id, err) && pg_sync(pg, err) &&
           queue_push_read(&host->set, pg, err) && pg_finish(pg, err);
}

/* Measuring */

enum { IDENTITY, ENCODE, DECODE, NDJSON, ROW, FRIENDS, INSERT, CLAIM };

const char *const bench_host_parts[] = {
    [IDENTITY] = "identity",   [ENCODE] = "packet_encode", [DECODE] = "packet_decode",
    [NDJSON] = "ndjson_parse", [ROW] = "row_to_table",     [FRIENDS] = "friends_lookup",
    [INSERT] = "facts_insert", [CLAIM] = "claim_complete", NULL,
};

/* One part; its error is its result. */
static void measure(struct host *host, int part,
                    bool (*run)(void *context, int64_t n, struct acc_error *err))
{
    struct bench_place *place = host->place;
    struct bench_figures figures = {.ns = -1};
    struct acc_error err;

    bench_say_begin(place, bench_host_parts[part]);
    bool ok = run == NULL ? script_bench_rows(place->script, host->kind, place->batch, &place->way,
                                              &figures, &err)
                          : script_measure(place->script, run, host, part >= FRIENDS, &place->way,
                                           &figures, &err);
    if (ok && part == NDJSON) {
        figures.ns *= (double)TEXT_BYTES / (double)host->text.size;
        figures.ci_ns *= (double)TEXT_BYTES / (double)host->text.size;
    }
    bench_say(place, bench_host_parts[part], &figures, (int64_t)host->count, ok ? "" : err.text,
              !ok);
}

static void measure_friends(struct host *host)
{
    struct acc_error err;
    bool has;

    if (!make_keys(host, &has, &err))
        bench_say(host->place, bench_host_parts[FRIENDS], NULL, 0, err.text, true);
    else if (!has)
        bench_say(host->place, bench_host_parts[FRIENDS], NULL, 0, "not sampled", false);
    else
        measure(host, FRIENDS, run_friends);
}

bool bench_host(struct bench_place *place, struct acc_error *err)
{
    struct host host = {.place = place};

    batch_start(place->batch, NULL);
    if (!choose_kind(&host, err))
        return false;
    if (host.kind == NULL) {
        for (size_t i = 0; bench_host_parts[i] != NULL; i++)
            bench_say(place, bench_host_parts[i], NULL, 0, "not sampled", false);
        return true;
    }
    host.scratch = &place->batch->finds[host.kind->index];
    host.heap_used = place->batch->heap.used;
    make_packet(&host);
    make_text(&host);
    measure(&host, IDENTITY, run_identity);
    measure(&host, ENCODE, run_encode);
    measure(&host, DECODE, run_decode);
    measure(&host, NDJSON, run_ndjson);
    measure(&host, ROW, NULL);
    measure_friends(&host);
    if (!make_copies(&host, err)) {
        bench_say(place, bench_host_parts[INSERT], NULL, 0, err->text, true);
        bench_say(place, bench_host_parts[CLAIM], NULL, 0, err->text, true);
        return true;
    }
    measure(&host, INSERT, run_insert);
    measure(&host, CLAIM, run_claim);
    return true;
}
