/* The routing, and packets to and from the database. */
#include "queue.h"

#include "base/clock.h"

#include <stdlib.h>

/* PostgreSQL counts time from 2000-01-01. */
#define PG_EPOCH_US INT64_C(946684800000000)

/* Routing */

static int route_order(const void *a, const void *b)
{
    const struct route *x = a;
    const struct route *y = b;
    return x->kind != y->kind ? x->kind - y->kind : x->lifecycle - y->lifecycle;
}

bool routing_send(struct pg *pg, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT r.version, (SELECT value::int4 FROM meta WHERE key = 'buckets'), l.id, "
               "l.kind FROM routing r LEFT JOIN lifecycle l ON l.active"};

    return pg_send(pg, &stmt, NULL, err);
}

bool routing_take(struct routing *routing, struct pg *pg, struct acc_error *err)
{
    PGresult *res = pg_result(pg, err);

    if (res == NULL)
        return false;
    if (PQntuples(res) == 0 || PQgetisnull(res, 0, 1)) {
        PQclear(res);
        return acc_fail(err, ACC_EDB,
                        "the schema has no tables of accrete yet: run `accrete run` once");
    }
    routing_clear(routing);
    routing->version = pg_get_int8(res, 0, 0);
    routing->buckets = pg_get_int4(res, 0, 1);
    routing->routes = acc_zalloc((uint64_t)PQntuples(res) * sizeof(*routing->routes));
    for (int r = 0; r < PQntuples(res); r++) {
        if (!PQgetisnull(res, r, 2))
            routing->routes[routing->count++] =
                (struct route){pg_get_int2(res, r, 2), (uint16_t)pg_get_int4(res, r, 3)};
    }
    qsort(routing->routes, routing->count, sizeof(*routing->routes), route_order);
    PQclear(res);
    return true;
}

bool routing_read(struct routing *routing, struct pg *pg, struct acc_error *err)
{
    struct acc_error later;

    if (!pg_do(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, err))
        return false;
    bool ok = routing_send(pg, err) && pg_sync(pg, err) && routing_take(routing, pg, err);
    ok = pg_finish(pg, ok ? err : &later) && ok;
    return pg_do(pg, "COMMIT", NULL, ok ? err : &later) && ok;
}

void routing_clear(struct routing *routing)
{
    free(routing->routes);
    *routing = (struct routing){0};
}

bool routing_check_send(const struct routing *routing, struct pg *pg, struct acc_error *err)
{
    static struct pg_stmt lock = {.sql = "LOCK TABLE routing IN ACCESS SHARE MODE"};
    static struct pg_stmt check = {.sql = "SELECT 1 / (version = $1::int8)::int FROM routing"};
    struct pg_args args = {0};

    pg_int8(&args, routing->version);
    return pg_send(pg, &lock, NULL, err) && pg_send(pg, &check, &args, err);
}

/* Packets */

bool queue_push_send(struct packet_set *set, struct pg *pg, int64_t *next_id, struct acc_error *err)
{
    static struct pg_stmt push = {
        .sql = "INSERT INTO packet (bucket, id, lifecycle, priority, tries, born, n, payload) "
               "SELECT * FROM unnest($1::int2[], $2::int8[], $3::int2[], $4::int2[], $5::int2[], "
               "$6::timestamptz[], $7::int4[], $8::bytea[]) "
               "RETURNING ctid"};
    static struct buf column[8];
    static const Oid types[8] = {PG_INT2, PG_INT8,        PG_INT2, PG_INT2,
                                 PG_INT2, PG_TIMESTAMPTZ, PG_INT4, PG_BYTEA};
    static const Oid arrays[8] = {PG_INT2_ARRAY, PG_INT8_ARRAY, PG_INT2_ARRAY,
                                  PG_INT2_ARRAY, PG_INT2_ARRAY, PG_TIMESTAMPTZ_ARRAY,
                                  PG_INT4_ARRAY, PG_BYTEA_ARRAY};
    struct pg_args args = {0};

    for (size_t c = 0; c < 8; c++) {
        buf_reset(&column[c]);
        pg_array_begin(&column[c], types[c]);
    }
    for (size_t i = 0; i < set->count; i++) {
        struct packet *p = &set->packets[i];

        p->id = (*next_id)++;
        pg_array_int2(&column[0], p->bucket);
        pg_array_int8(&column[1], p->id);
        pg_array_int2(&column[2], p->lifecycle);
        pg_array_int2(&column[3], p->priority);
        pg_array_int2(&column[4], p->tries);
        pg_array_int8(&column[5], p->born_us - PG_EPOCH_US);
        pg_array_int4(&column[6], p->count);
        pg_array_add(&column[7], p->payload, p->size);
    }
    for (size_t c = 0; c < 8; c++) {
        pg_array_end(&column[c], 0);
        pg_array(&args, arrays[c], &column[c]);
    }
    return pg_send(pg, &push, &args, err);
}

bool queue_push_read(struct packet_set *set, struct pg *pg, struct acc_error *err)
{
    PGresult *res = pg_result(pg, err);

    if (res == NULL)
        return false;
    bool ok = (size_t)PQntuples(res) == set->count;
    for (size_t i = 0; ok && i < set->count; i++)
        memcpy(set->packets[i].ctid, PQgetvalue(res, (int)i, 0), 6);
    PQclear(res);
    return ok || acc_fail(err, ACC_EDB,
                          "%zu packets were pushed, the database answered for another number",
                          set->count);
}

bool queue_done_send(struct packet **packets, size_t count, struct pg *pg, struct acc_error *err)
{
    static struct pg_stmt done = {.sql = "WITH d AS (DELETE FROM packet WHERE ctid = "
                                         "ANY($1::tid[]) AND id = ANY($2::int8[]) RETURNING 1) "
                                         "SELECT 1 / (count(*) = $3::int4)::int FROM d"};
    static struct buf ctids;
    static struct buf ids;
    struct pg_args args = {0};

    buf_reset(&ctids);
    buf_reset(&ids);
    pg_array_begin(&ctids, PG_TID);
    pg_array_begin(&ids, PG_INT8);
    for (size_t i = 0; i < count; i++) {
        pg_array_add(&ctids, packets[i]->ctid, 6);
        pg_array_int8(&ids, packets[i]->id);
    }
    pg_array_end(&ctids, 0);
    pg_array_end(&ids, 0);
    pg_array(&args, PG_TID_ARRAY, &ctids);
    pg_array(&args, PG_INT8_ARRAY, &ids);
    pg_int4(&args, (int32_t)count);
    return pg_send(pg, &done, &args, err);
}

static struct packet *packet_read(const PGresult *res, int r)
{
    struct packet *packet = acc_zalloc(sizeof(*packet));

    packet->bucket = pg_get_int2(res, r, 0);
    packet->id = pg_get_int8(res, r, 1);
    memcpy(packet->ctid, PQgetvalue(res, r, 2), 6);
    packet->lifecycle = pg_get_int2(res, r, 3);
    packet->priority = pg_get_int2(res, r, 4);
    packet->tries = pg_get_int2(res, r, 5);
    packet->count = pg_get_int4(res, r, 6);
    packet->born_us = pg_get_int8(res, r, 7) + PG_EPOCH_US;
    packet->size = (size_t)PQgetlength(res, r, 8);
    packet->payload = acc_alloc(packet->size + 1);
    memcpy(packet->payload, PQgetvalue(res, r, 8), packet->size);
    return packet;
}

static void int2_array(struct buf *out, const int16_t *values, size_t count)
{
    buf_reset(out);
    pg_array_begin(out, PG_INT2);
    for (size_t i = 0; i < count; i++)
        pg_array_int2(out, values[i]);
    pg_array_end(out, 0);
}

#define PACKET_COLUMNS                                                                             \
    "p.bucket, p.id, p.ctid, p.lifecycle, p.priority, p.tries, p.n, p.born, p.payload"
/*
 * No join: of what a worker's session allows only a nested loop would do, over all packets for each
 * lifecycle.
 */
#define CLAIM                                                                                      \
    "SELECT " PACKET_COLUMNS                                                                       \
    " FROM packet p WHERE p.lifecycle = ANY($2::int2[]) AND p.id <> ALL($4::int8[]) "              \
    "AND (p.not_before IS NULL OR p.not_before <= now()) AND "
#define OWNED "p.bucket = ANY($1::int2[]) AND p.tries = 0 "

bool queue_claim(const struct claim *claim, struct pg *pg, struct packet ***packets, size_t *count,
                 struct acc_error *err)
{
    static struct pg_stmt normal = {
        .sql = CLAIM OWNED "ORDER BY ($3::int4[])[array_position($2::int2[], p.lifecycle)] DESC, "
                           "p.priority DESC, p.born, p.id LIMIT $5::int4"};
    static struct pg_stmt oldest = {.sql = CLAIM OWNED "ORDER BY p.born, p.id LIMIT $5::int4"};
    static struct pg_stmt shuffled = {.sql = CLAIM OWNED
                                      "ORDER BY hashint8extended(p.id, $6::int8) LIMIT $5::int4"};
    static struct pg_stmt quarantine = {
        .sql = CLAIM "$1::int2[] IS NOT NULL AND p.tries > 0 ORDER BY p.id LIMIT $5::int4"};
    static struct buf buckets;
    static struct buf lifecycles;
    static struct buf priorities;
    static struct buf held;
    struct pg_args args = {0};
    struct pg_stmt *stmt = claim->is_quarantine       ? &quarantine
                           : claim->shuffle_seed != 0 ? &shuffled
                           : claim->oldest_first      ? &oldest
                                                      : &normal;

    int2_array(&buckets, claim->buckets, claim->bucket_count);
    int2_array(&lifecycles, claim->lifecycles, claim->lifecycle_count);
    buf_reset(&priorities);
    pg_array_begin(&priorities, PG_INT4);
    for (size_t i = 0; i < claim->lifecycle_count; i++)
        pg_array_int4(&priorities, claim->priorities[i]);
    pg_array_end(&priorities, 0);
    buf_reset(&held);
    pg_array_begin(&held, PG_INT8);
    for (size_t i = 0; i < claim->held_count; i++)
        pg_array_int8(&held, claim->held[i]);
    pg_array_end(&held, 0);
    pg_array(&args, PG_INT2_ARRAY, &buckets);
    pg_array(&args, PG_INT2_ARRAY, &lifecycles);
    pg_array(&args, PG_INT4_ARRAY, &priorities);
    pg_array(&args, PG_INT8_ARRAY, &held);
    pg_int4(&args, claim->most);
    if (stmt == &shuffled)
        pg_int8(&args, claim->shuffle_seed);
    PGresult *res = pg_look(pg, stmt, &args, err);
    if (res == NULL)
        return false;
    *count = (size_t)PQntuples(res);
    *packets = acc_alloc(*count * sizeof(**packets) + 1);
    for (size_t i = 0; i < *count; i++)
        (*packets)[i] = packet_read(res, (int)i);
    PQclear(res);
    return true;
}

bool queue_see(const struct queue_look *look, struct pg *pg, struct packet ***packets,
               size_t *count, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT " PACKET_COLUMNS
               " FROM packet p WHERE p.lifecycle = ANY($1::int2[]) AND ($2::int2 < 0 OR p.bucket = "
               "$2::int2) AND p.id <> ALL($3::int8[]) AND (p.born, p.id) >= "
               "('epoch'::timestamptz + $4::int8 * interval '1 us', $5::int8) "
               "ORDER BY p.born, p.id LIMIT $6::int4"};
    static struct buf lifecycles;
    static struct buf without;
    struct pg_args args = {0};

    int2_array(&lifecycles, look->lifecycles, look->lifecycle_count);
    buf_reset(&without);
    pg_array_begin(&without, PG_INT8);
    for (size_t i = 0; i < look->without_count; i++)
        pg_array_int8(&without, look->without[i]);
    pg_array_end(&without, 0);
    pg_array(&args, PG_INT2_ARRAY, &lifecycles);
    pg_int2(&args, look->bucket);
    pg_array(&args, PG_INT8_ARRAY, &without);
    pg_int8(&args, look->from_born_us);
    pg_int8(&args, look->from_id);
    pg_int4(&args, look->most);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *count = (size_t)PQntuples(res);
    *packets = acc_alloc(*count * sizeof(**packets) + 1);
    for (size_t i = 0; i < *count; i++)
        (*packets)[i] = packet_read(res, (int)i);
    PQclear(res);
    return true;
}

bool queue_get(struct pg *pg, int16_t bucket, int64_t id, struct packet **packet,
               struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT " PACKET_COLUMNS
               " FROM packet p WHERE p.bucket = $1::int2 AND p.id = $2::int8"};
    struct pg_args args = {0};

    pg_int2(&args, bucket);
    pg_int8(&args, id);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *packet = PQntuples(res) == 0 ? NULL : packet_read(res, 0);
    PQclear(res);
    return true;
}
