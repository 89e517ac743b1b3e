#include "queue.h"

#include "base/clock.h"

#include <stdlib.h>

/* PostgreSQL counts time from 2000-01-01. */
#define PG_EPOCH_US INT64_C(946684800000000)
#define PAYLOAD_HEAD 4 /* form, tag, length of the layout */

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

/* Packets under construction */

void packet_free(struct packet *packet)
{
    if (packet != NULL) {
        free(packet->payload);
        free(packet);
    }
}

void packet_set_reset(struct packet_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        free(set->packets[i].payload);
    set->count = 0;
}

void packet_set_clear(struct packet_set *set)
{
    packet_set_reset(set);
    free(set->packets);
    buf_clear(&set->scratch);
    *set = (struct packet_set){0};
}

/*
 * The layout of a kind's rows as a packet keeps it; ids need none. Returns its bytes, at most 33.
 */
static size_t layout(const struct kind *kind, char form, char *out)
{
    size_t n = 0;

    if (form != 'R')
        return 0;
    out[n++] = kind->has_nullable ? 'n' : '-';
    for (size_t f = 0; f < kind->field_count; f++)
        out[n++] = field_is_span(&kind->fields[f]) ? 's' : 'f';
    return n;
}

/* The open packet of this group that still takes a fact of so many bytes, or a new one. */
static struct packet *group(struct packet_set *set, const struct packet *like,
                            const struct kind *kind, uint16_t tag, char form, size_t bytes)
{
    for (size_t i = set->count; i-- > 0;) {
        struct packet *p = &set->packets[i];
        uint16_t its;

        if (p->bucket != like->bucket || p->lifecycle != like->lifecycle ||
            p->priority != like->priority || p->tries != like->tries)
            continue;
        memcpy(&its, p->payload + 1, 2);
        if (p->payload[0] != form || its != tag)
            continue;
        if (p->count >= set->packet_events || (int64_t)(p->weight + bytes) > set->packet_bytes)
            break; /* full: later ones of this group stand further back only if they are full too */
        p->weight += bytes;
        return p;
    }
    if (set->count == set->capacity) {
        set->capacity = set->capacity * 2 + 64;
        set->packets = acc_realloc(set->packets, set->capacity * sizeof(*set->packets));
    }
    struct packet *p = &set->packets[set->count++];
    *p = *like;
    p->payload = acc_alloc(256);
    p->payload[0] = form;
    memcpy(p->payload + 1, &tag, 2);
    p->size = PAYLOAD_HEAD + layout(kind, form, p->payload + PAYLOAD_HEAD);
    p->payload[3] = (char)(p->size - PAYLOAD_HEAD);
    p->weight = bytes;
    return p;
}

/*
 * Payload memory grows by doubling: its capacity is the power of two at or above size, at least
 * 256.
 */
static void append(struct packet *packet, const void *data, size_t bytes)
{
    size_t capacity = 256;

    while (capacity < packet->size)
        capacity *= 2;
    if (packet->size + bytes > capacity) {
        while (capacity < packet->size + bytes)
            capacity *= 2;
        packet->payload = acc_realloc(packet->payload, capacity);
    }
    memcpy(packet->payload + packet->size, data, bytes);
    packet->size += bytes;
}

void packet_set_add_id(struct packet_set *set, int16_t lifecycle, int16_t bucket, int16_t priority,
                       int16_t tries, uint16_t tag, char form, const uint8_t *id, size_t weight,
                       int64_t now_us)
{
    struct packet like = {.bucket = bucket,
                          .lifecycle = lifecycle,
                          .priority = priority,
                          .tries = tries,
                          .born_us = now_us};
    struct packet *packet = group(set, &like, NULL, tag, form, weight);

    append(packet, id, 16);
    packet->count++;
}

void packet_set_route(struct packet_set *set, const struct routing *routing,
                      const struct program *program, const struct kind *kind, struct acc_row **rows,
                      size_t count, int64_t now_us)
{
    const struct route *first = routing->routes;
    const struct route *end = routing->routes + routing->count;

    while (first < end && first->kind != kind->tag)
        first++;
    for (size_t i = 0; first < end && first->kind == kind->tag && i < count; i++) {
        int16_t bucket = (int16_t)bucket_of(rows[i]->id, routing->buckets);

        buf_reset(&set->scratch);
        row_encode(kind, rows[i], &set->scratch);
        bool by_id = set->scratch.size > 2048; /* a large fact travels by its id */
        for (const struct route *route = first; route < end && route->kind == kind->tag; route++) {
            struct lifecycle *lifecycle =
                program == NULL ? NULL : program_by_id(program, route->lifecycle);
            struct packet like = {
                .bucket = bucket, .lifecycle = route->lifecycle, .born_us = now_us};

            if (lifecycle != NULL && lifecycle->has_priority_function)
                like.priority = (int16_t)lifecycle->priority_of(lifecycle, rows[i]);
            struct packet *packet =
                group(set, &like, kind, kind->tag, by_id ? 'I' : 'R', set->scratch.size);
            if (by_id)
                append(packet, rows[i]->id, 16);
            else
                append(packet, set->scratch.data, set->scratch.size);
            packet->count++;
        }
    }
}

void packet_set_add(struct packet_set *set, const struct packet *like, const struct kind *kind,
                    const struct acc_row *row)
{
    struct packet head = *like;

    head.count = 0;
    head.payload = NULL;
    head.is_redelivered = false;
    buf_reset(&set->scratch);
    row_encode(kind, row, &set->scratch);
    struct packet *packet = group(set, &head, kind, kind->tag, like->payload[0], set->scratch.size);
    if (like->payload[0] == 'R')
        append(packet, set->scratch.data, set->scratch.size);
    else
        append(packet, row->id, 16);
    packet->count++;
}

/* Moves *at over one row of a layout that may not be the kind's. */
static bool skip_row(const char *layout, size_t fields, const struct packet *packet, size_t *at)
{
    uint64_t nulls = 0;

    *at += 16;
    if (layout[0] == 'n') {
        if (packet->size < *at + sizeof(nulls))
            return false;
        memcpy(&nulls, packet->payload + *at, sizeof(nulls));
        *at += sizeof(nulls);
    }
    for (size_t f = 0; f < fields; f++) {
        uint32_t bytes = 0;

        if ((nulls >> f & 1) != 0)
            continue;
        if (layout[1 + f] == 'f') {
            *at += 8;
            continue;
        }
        if (packet->size < *at + sizeof(bytes))
            return false;
        memcpy(&bytes, packet->payload + *at, sizeof(bytes));
        *at += sizeof(bytes) + bytes;
    }
    return *at <= packet->size;
}

static bool decode_ids(const struct packet *packet, struct acc_rows *rows, struct acc_error *err)
{
    const char *its = packet->payload + PAYLOAD_HEAD;
    size_t its_size = (uint8_t)packet->payload[3];

    for (size_t at = PAYLOAD_HEAD + its_size; at < packet->size;) {
        struct acc_row *row = packet->size < at + 16 ? NULL : rows_add(rows, err);

        if (packet->size < at + 16)
            break;
        if (row == NULL)
            return false;
        memcpy(row->id, packet->payload + at, 16);
        if (packet->payload[0] != 'R')
            at += 16;
        else if (its_size == 0 || !skip_row(its, its_size - 1, packet, &at))
            return acc_fail(err, ACC_EINPUT, "packet %lld is cut", (long long)packet->id);
    }
    return true;
}

bool packet_decode(const struct packet *packet, const struct kind *kind, struct acc_rows *rows,
                   struct acc_heap *heap, bool *ids_only, struct acc_error *err)
{
    char now[1 + KIND_FIELDS_MAX];
    uint32_t before = rows->count;
    uint16_t tag = 0;

    if (packet->size < PAYLOAD_HEAD ||
        packet->size < PAYLOAD_HEAD + (size_t)(uint8_t)packet->payload[3])
        return acc_fail(err, ACC_EINPUT, "packet %lld is cut", (long long)packet->id);
    memcpy(&tag, packet->payload + 1, 2);
    if (tag != kind->tag)
        return acc_fail(err, ACC_EINPUT, "packet %lld is of kind %04x, wanted \"%s\"",
                        (long long)packet->id, tag, kind->name);
    size_t size = layout(kind, packet->payload[0], now);
    *ids_only = packet->payload[0] != 'R' || size != (uint8_t)packet->payload[3] ||
                memcmp(now, packet->payload + PAYLOAD_HEAD, size) != 0;
    if (*ids_only) {
        if (!decode_ids(packet, rows, err))
            return false;
    } else {
        for (size_t at = PAYLOAD_HEAD + size; at < packet->size;) {
            struct acc_row *row = rows_add(rows, err);
            if (row == NULL ||
                !row_decode(kind, packet->payload, packet->size, &at, heap, row, err))
                return false;
        }
    }
    return rows->count - before == (uint32_t)packet->count ||
           acc_fail(err, ACC_EINPUT, "packet %lld holds %u events, it says %d",
                    (long long)packet->id, rows->count - before, packet->count);
}

/* To and from the database */

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
    /*
     * In a READ ONLY transaction below SERIALIZABLE: a claim takes no predicate locks and so
     * conflicts with nobody.
     */
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"};
    static struct pg_stmt commit = {.sql = "COMMIT"};
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
    if (!pg_send(pg, &begin, NULL, err) || !pg_send(pg, stmt, &args, err) ||
        !pg_send(pg, &commit, NULL, err) || !pg_sync(pg, err))
        return false;
    PGresult *begun = pg_result(pg, err);
    PGresult *res = begun == NULL ? NULL : pg_result(pg, err);
    struct acc_error later;
    bool ok = pg_finish(pg, res == NULL ? &later : err) && res != NULL;
    if (ok) {
        *count = (size_t)PQntuples(res);
        *packets = acc_alloc(*count * sizeof(**packets) + 1);
        for (size_t i = 0; i < *count; i++)
            (*packets)[i] = packet_read(res, (int)i);
    }
    PQclear(begun);
    PQclear(res);
    return ok;
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
