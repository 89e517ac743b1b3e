#include "facts.h"

#include <stdio.h>
#include <stdlib.h>

/* What an INSERT says of a fact's origin. */
enum provenance {
    FROM_INGEST,  /* nothing */
    FROM_BATCHES, /* which of several batches */
    FROM_DATA,    /* the data; no row has friends */
    FROM_FRIEND,  /* the data and at most one friend a row */
    FROM_FRIENDS, /* the data and any number of friends */
    FROMS,
};

/* Statements of one kind; their SQL is owned. */
struct kind_statements {
    struct pg_stmt known, known_all, get;
    struct pg_stmt insert[FROMS]; /* by enum provenance */
};

struct facts {
    struct kind_statements *statements; /* by kind->index */
    size_t count;
    struct facts_scratch columns[KIND_FIELDS_MAX];
    struct buf ids, data, at, n, friends;
};

/* SQL */

static char *known_sql(const struct kind *kind, bool all_fields)
{
    struct buf sql = {0};

    buf_text(&sql, "SELECT k.i - 1");
    for (size_t f = 0; f < kind->field_count; f++) {
        if (!all_fields && (kind->other_mask >> f & 1) == 0)
            continue;
        buf_text(&sql, ", f.");
        pg_identifier(&sql, kind->fields[f].name);
    }
    buf_printf(&sql,
               " FROM unnest($1::uuid[]) WITH ORDINALITY AS k(id, i) JOIN %s f ON f._id = k.id",
               kind->table);
    return sql.data;
}

static char *get_sql(const struct kind *kind)
{
    struct buf sql = {0};

    buf_text(&sql, "SELECT ");
    facts_select_list(kind, &sql);
    buf_printf(&sql, " FROM unnest($1::uuid[]) AS k(id) JOIN %s f ON f._id = k.id", kind->table);
    return sql.data;
}

/*
 * The parameters of `from` and the names of `names`, both behind commas, as a list of unnest($n) AS
 * name.
 */
static void unnest_each(const char *from, const char *names, struct buf *sql)
{
    while (*from != '\0') {
        size_t f = strcspn(from + 2, ",");
        size_t n = strcspn(names + 2, ",");

        buf_text(sql, ", unnest(");
        buf_add(sql, from + 2, f);
        buf_text(sql, ") AS ");
        buf_add(sql, names + 2, n);
        from += 2 + f;
        names += 2 + n;
    }
}

/*
 * The arrays are unnested side by side in a select list, which hands rows on one by one; in FROM
 * each array would be written to a store of its own first.
 */
static char *insert_sql(const struct kind *kind, enum provenance with)
{
    struct buf sql = {0};
    struct buf from = {0};
    struct buf names = {0};
    struct buf values = {0};
    const char *plus = "";
    int param = 1;

    buf_printf(&sql, "INSERT INTO %s (_id", kind->table);
    for (size_t f = 0; f < kind->field_count; f++) {
        buf_text(&sql, ", ");
        pg_identifier(&sql, kind->fields[f].name);
        buf_text(&values, ", ");
        facts_column_sql(kind, f, &param, &from, &names, &values);
    }
    if (with == FROM_BATCHES) {
        buf_printf(&from, ", $%d::int4[]", ++param);
        buf_text(&names, ", batch");
        plus = " + u.batch";
    }
    if (with >= FROM_DATA) {
        buf_printf(&from, ", $%d::uuid[]", ++param);
        buf_text(&names, ", data");
        buf_text(&values, ", u.data");
    }
    if (with == FROM_FRIEND) {
        buf_printf(&from, ", $%d::uuid[]", ++param);
        buf_text(&names, ", friend");
        buf_text(&values, ", CASE WHEN u.friend IS NOT NULL THEN ARRAY[u.friend] END");
    } else if (with == FROM_FRIENDS) {
        buf_printf(&from, ", $%d::int4[], $%d::int4[]", param + 1, param + 2);
        buf_text(&names, ", fa, fn");
        buf_printf(&values, ", CASE WHEN u.fn > 0 THEN ($%d::uuid[])[u.fa:u.fa + u.fn - 1] END",
                   param + 3);
        param += 3;
    }
    buf_printf(&sql,
               "%s%s, _batch) SELECT u.id%s, $%d::int8%s FROM (SELECT unnest($1::uuid[]) AS id",
               with >= FROM_DATA ? ", _data" : "", with >= FROM_FRIEND ? ", _friends" : "",
               values.data == NULL ? "" : values.data, param + 1, plus);
    if (from.data != NULL)
        unnest_each(from.data, names.data, &sql);
    buf_text(&sql, ") AS u");
    buf_clear(&from);
    buf_clear(&names);
    buf_clear(&values);
    return sql.data;
}

struct facts *facts_new(const struct catalog *catalog)
{
    struct facts *facts = acc_zalloc(sizeof(*facts));

    facts->count = catalog->count;
    facts->statements = acc_zalloc(catalog->count * sizeof(*facts->statements) + 1);
    for (size_t i = 0; i < catalog->count; i++) {
        const struct kind *kind = catalog->kinds[i];
        struct kind_statements *s = &facts->statements[i];

        s->known.sql = known_sql(kind, false);
        s->known_all.sql = known_sql(kind, true);
        s->get.sql = get_sql(kind);
        for (int with = FROM_INGEST; with < FROMS; with++)
            s->insert[with].sql = insert_sql(kind, (enum provenance)with);
    }
    return facts;
}

void facts_free(struct facts *facts)
{
    if (facts == NULL)
        return;
    for (size_t i = 0; i < facts->count; i++) {
        struct kind_statements *s = &facts->statements[i];

        free((char *)s->known.sql);
        free((char *)s->known_all.sql);
        free((char *)s->get.sql);
        for (int with = 0; with < FROMS; with++)
            free((char *)s->insert[with].sql);
    }
    for (size_t f = 0; f < KIND_FIELDS_MAX; f++) {
        for (size_t p = 0; p < 3; p++)
            buf_clear(&facts->columns[f].part[p]);
    }
    buf_clear(&facts->ids);
    buf_clear(&facts->data);
    buf_clear(&facts->at);
    buf_clear(&facts->n);
    buf_clear(&facts->friends);
    free(facts->statements);
    free(facts);
}

/* The statements */

static void ids_array(struct buf *out, struct acc_row **rows, size_t count)
{
    char *to = facts_array(out, PG_UUID, count, 16);

    for (size_t i = 0; i < count; i++, to += 20)
        memcpy(to, rows[i]->id, 16);
}

bool facts_known_send(struct facts *facts, struct pg *pg, const struct kind *kind,
                      struct acc_row **rows, size_t count, bool all_fields, struct acc_error *err)
{
    struct kind_statements *s = &facts->statements[kind->index];
    struct pg_args args = {0};

    ids_array(&facts->ids, rows, count);
    pg_array(&args, PG_UUID_ARRAY, &facts->ids);
    return pg_send(pg, all_fields ? &s->known_all : &s->known, &args, err);
}

bool facts_known_read(struct facts *facts, struct pg *pg, const struct kind *kind,
                      struct acc_row **rows, size_t count, struct acc_heap *heap, bool *known,
                      bool *differs, struct acc_error *err)
{
    PGresult *res = pg_result(pg, err);
    struct acc_row *there = NULL;
    bool ok = false;

    (void)facts;
    if (res == NULL)
        return false;
    memset(known, 0, count);
    memset(differs, 0, count);
    there = acc_zalloc(kind->row_bytes);
    uint64_t mask = PQnfields(res) - 1 == (int)kind->field_count
                        ? kind->unique_mask | kind->other_mask
                        : kind->other_mask;
    for (int r = 0; r < PQntuples(res); r++) {
        size_t i = (size_t)pg_get_int8(res, r, 0);
        int column = 1;

        if (i >= count) {
            acc_fail(err, ACC_EDB, "kind \"%s\": the database answered for row %zu of %zu",
                     kind->name, i, count);
            goto out;
        }
        memset(there, 0, kind->row_bytes);
        for (size_t f = 0; f < kind->field_count; f++) {
            if ((mask >> f & 1) != 0 &&
                !facts_decode_field(kind, f, res, r, column++, heap, there, err))
                goto out;
        }
        known[i] = true;
        differs[i] = !rows_equal(kind, rows[i], there, mask);
    }
    ok = true;
out:
    free(there);
    PQclear(res);
    return ok;
}

/* The parameters that say what the rows come from, and so which statement takes them. */
static enum provenance provenance_args(struct facts *facts, struct acc_row **rows, size_t count,
                                       const struct acc_rows *data, const uint8_t *friend_ids,
                                       struct pg_args *args)
{
    uint32_t most = 0;
    size_t total = 0;
    int32_t next = 1;

    if (data == NULL)
        return FROM_INGEST;
    char *to = facts_array(&facts->data, PG_UUID, count, 16);
    for (size_t i = 0; i < count; i++, to += 20) {
        memcpy(to, rows_at(data, rows[i]->event)->id, 16);
        most = rows[i]->friend_count > most ? rows[i]->friend_count : most;
        total += rows[i]->friend_count;
    }
    pg_array(args, PG_UUID_ARRAY, &facts->data);
    if (most == 0)
        return FROM_DATA;
    if (most == 1 && total == count) {
        to = facts_array(&facts->friends, PG_UUID, count, 16);
        for (size_t i = 0; i < count; i++, to += 20)
            memcpy(to, friend_ids + (size_t)16 * rows[i]->friends_at, 16);
        pg_array(args, PG_UUID_ARRAY, &facts->friends);
        return FROM_FRIEND;
    }
    if (most == 1) {
        buf_reset(&facts->friends);
        pg_array_begin(&facts->friends, PG_UUID);
        for (size_t i = 0; i < count; i++) {
            if (rows[i]->friend_count == 0)
                pg_array_null(&facts->friends);
            else
                pg_array_add(&facts->friends, friend_ids + (size_t)16 * rows[i]->friends_at, 16);
        }
        pg_array_end(&facts->friends, 0);
        pg_array(args, PG_UUID_ARRAY, &facts->friends);
        return FROM_FRIEND;
    }
    char *at = facts_array(&facts->at, PG_INT4, count, 4);
    char *n = facts_array(&facts->n, PG_INT4, count, 4);
    to = facts_array(&facts->friends, PG_UUID, total, 16);
    for (size_t i = 0; i < count; i++) {
        uint32_t at_wire = __builtin_bswap32((uint32_t)next);
        uint32_t n_wire = __builtin_bswap32(rows[i]->friend_count);

        memcpy(at + 8 * i, &at_wire, 4);
        memcpy(n + 8 * i, &n_wire, 4);
        next += (int32_t)rows[i]->friend_count;
        for (uint32_t k = 0; k < rows[i]->friend_count; k++, to += 20)
            memcpy(to, friend_ids + (size_t)16 * (rows[i]->friends_at + k), 16);
    }
    pg_array(args, PG_INT4_ARRAY, &facts->at);
    pg_array(args, PG_INT4_ARRAY, &facts->n);
    pg_array(args, PG_UUID_ARRAY, &facts->friends);
    return FROM_FRIENDS;
}

/* The parameters of ids and fields. */
static void fields_args(struct facts *facts, const struct kind *kind, struct acc_row **rows,
                        size_t count, struct pg_args *args)
{
    ids_array(&facts->ids, rows, count);
    pg_array(args, PG_UUID_ARRAY, &facts->ids);
    for (size_t f = 0; f < kind->field_count; f++)
        facts_column(kind, f, rows, count, &facts->columns[f], args);
}

bool facts_insert_send(struct facts *facts, struct pg *pg, const struct kind *kind,
                       struct acc_row **rows, size_t count, int64_t batch_id,
                       const struct acc_rows *data, const uint8_t *friend_ids,
                       struct acc_error *err)
{
    struct pg_args args = {0};

    fields_args(facts, kind, rows, count, &args);
    enum provenance with = provenance_args(facts, rows, count, data, friend_ids, &args);
    pg_int8(&args, batch_id);
    return pg_send(pg, &facts->statements[kind->index].insert[with], &args, err);
}

bool facts_insert_batches_send(struct facts *facts, struct pg *pg, const struct kind *kind,
                               struct acc_row **rows, size_t count, int64_t batch_id,
                               const uint32_t *batch_of, struct acc_error *err)
{
    struct pg_args args = {0};

    fields_args(facts, kind, rows, count, &args);
    char *at = facts_array(&facts->at, PG_INT4, count, 4);
    for (size_t i = 0; i < count; i++) {
        uint32_t wire = __builtin_bswap32(batch_of[rows[i]->event]);

        memcpy(at + 8 * i, &wire, 4);
    }
    pg_array(&args, PG_INT4_ARRAY, &facts->at);
    pg_int8(&args, batch_id);
    return pg_send(pg, &facts->statements[kind->index].insert[FROM_BATCHES], &args, err);
}

bool facts_get(struct facts *facts, struct pg *pg, const struct kind *kind, const uint8_t *ids,
               size_t count, struct acc_rows *rows, struct acc_heap *heap, struct acc_error *err)
{
    struct pg_args args = {0};
    bool ok = false;

    buf_reset(&facts->ids);
    pg_array_begin(&facts->ids, PG_UUID);
    for (size_t i = 0; i < count; i++)
        pg_array_add(&facts->ids, ids + 16 * i, 16);
    pg_array_end(&facts->ids, 0);
    pg_array(&args, PG_UUID_ARRAY, &facts->ids);
    PGresult *res = pg_query(pg, &facts->statements[kind->index].get, &args, err);
    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++) {
        struct acc_row *row = rows_add(rows, err);
        if (row == NULL || !facts_decode(kind, res, r, 0, heap, row, err))
            goto out;
    }
    ok = true;
out:
    PQclear(res);
    return ok;
}
