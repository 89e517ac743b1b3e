#include "facts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Statements of one kind; their SQL is owned. */
struct kind_statements {
    struct pg_stmt known, known_all, get;
    struct pg_stmt insert[4]; /* by enum provenance */
};

/* What an INSERT says of a fact's origin. */
enum provenance {
    FROM_INGEST,  /* nothing */
    FROM_DATA,    /* the data; no row has friends */
    FROM_FRIEND,  /* the data and at most one friend a row */
    FROM_FRIENDS, /* the data and any number of friends */
};

struct facts {
    struct kind_statements *statements; /* by kind->index */
    size_t count;
    struct facts_scratch columns[KIND_FIELDS_MAX];
    struct buf ids, data, at, n, friends;
};

static Oid element_oid(enum field_type type)
{
    static const Oid oids[] = {PG_BOOL, PG_INT8, PG_FLOAT8, PG_TEXT, PG_BYTEA, PG_TEXT, PG_UUID};
    return oids[type];
}

static Oid array_oid(enum field_type type)
{
    static const Oid oids[] = {PG_BOOL_ARRAY,  PG_INT8_ARRAY, PG_FLOAT8_ARRAY, PG_TEXT_ARRAY,
                               PG_BYTEA_ARRAY, PG_TEXT_ARRAY, PG_UUID_ARRAY};
    return oids[type];
}

static bool is_flat_array(const struct field *field)
{
    return field->is_array && field->type < FIELD_TEXT;
}

/* SQL */

void facts_select_list(const struct kind *kind, struct buf *sql)
{
    buf_text(sql, "f._id");
    for (size_t f = 0; f < kind->field_count; f++) {
        buf_text(sql, ", f.");
        pg_identifier(sql, kind->fields[f].name);
    }
}

void facts_column_sql(const struct kind *kind, size_t f, int *param, struct buf *from,
                      struct buf *names, struct buf *value)
{
    const struct field *field = &kind->fields[f];
    const char *type = field_sql_type(field);

    if (!field->is_array) {
        buf_printf(from, ", $%d::%s[]", ++*param, type);
        buf_printf(names, ", c%zu", f);
        buf_printf(value, "u.c%zu", f);
    } else if (is_flat_array(field)) {
        /*
         * All arrays behind one another in one parameter; a slice of fixed-length elements costs
         * nothing to find.
         */
        int flat = ++*param;
        buf_printf(from, ", $%d::int4[], $%d::int4[]", flat + 1, flat + 2);
        *param += 2;
        buf_printf(names, ", a%zu, n%zu", f, f);
        buf_printf(value,
                   "CASE WHEN u.n%zu > 0 THEN ($%d::%s)[u.a%zu:u.a%zu + u.n%zu - 1] WHEN u.n%zu = "
                   "0 THEN '{}'::%s END",
                   f, flat, type, f, f, f, f, type);
    } else {
        buf_printf(from, ", $%d::text[]", ++*param);
        buf_printf(names, ", c%zu", f);
        buf_printf(value, "u.c%zu::%s", f, type);
    }
}

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
    int param = 1;

    buf_printf(&sql, "INSERT INTO %s (_id", kind->table);
    for (size_t f = 0; f < kind->field_count; f++) {
        buf_text(&sql, ", ");
        pg_identifier(&sql, kind->fields[f].name);
        buf_text(&values, ", ");
        facts_column_sql(kind, f, &param, &from, &names, &values);
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
    buf_printf(&sql, "%s%s, _batch) SELECT u.id%s, $%d::int8 FROM (SELECT unnest($1::uuid[]) AS id",
               with >= FROM_DATA ? ", _data" : "", with >= FROM_FRIEND ? ", _friends" : "",
               values.data == NULL ? "" : values.data, param + 1);
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
        for (int with = FROM_INGEST; with <= FROM_FRIENDS; with++)
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
        struct pg_stmt *all[] = {&s->known,     &s->known_all, &s->get,      &s->insert[0],
                                 &s->insert[1], &s->insert[2], &s->insert[3]};

        for (size_t k = 0; k < sizeof(all) / sizeof(*all); k++)
            free((char *)all[k]->sql);
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

/* Columns out */

/*
 * An array of count elements of width bytes each and no NULL: the head and the elements' lengths
 * are written, the value of element i is at the returned address + i * (4 + width).
 */
static char *fixed_array(struct buf *out, Oid element, size_t count, uint32_t width)
{
    uint32_t length = __builtin_bswap32(width);

    buf_reset(out);
    buf_reserve(out, 20 + count * (4 + width));
    pg_array_begin(out, element);
    uint32_t n = __builtin_bswap32((uint32_t)count);
    memcpy(out->data + 12, &n, 4);
    for (size_t i = 0; i < count; i++)
        memcpy(out->data + 20 + i * (4 + width), &length, 4);
    out->size = 20 + count * (4 + width);
    out->data[out->size] = '\0';
    return out->data + 24;
}

/*
 * A column of 8-byte slots without NULL, which is most columns. false: it is another one, nothing
 * is written.
 */
static bool slot_column(const struct kind *kind, size_t f, struct acc_row **rows, size_t count,
                        struct buf *out)
{
    if (kind->fields[f].type != FIELD_INT8 && kind->fields[f].type != FIELD_FLOAT8)
        return false;
    for (size_t i = 0; kind->fields[f].is_nullable && i < count; i++) {
        if (row_is_null(rows[i], f))
            return false;
    }
    char *to = fixed_array(out, element_oid(kind->fields[f].type), count, 8);
    for (size_t i = 0; i < count; i++, to += 12) {
        uint64_t wire = __builtin_bswap64((uint64_t)*row_int(rows[i], f));
        memcpy(to, &wire, 8);
    }
    return true;
}

static void add_slot(struct buf *out, enum field_type type, uint64_t bits)
{
    if (type == FIELD_BOOL) {
        uint8_t value = bits != 0;
        pg_array_add(out, &value, 1);
    } else {
        pg_array_int8(out, (int64_t)bits);
    }
}

static void flat_array_column(const struct kind *kind, size_t f, struct acc_row **rows,
                              size_t count, struct facts_scratch *scratch, struct pg_args *args)
{
    enum field_type type = kind->fields[f].type;
    int32_t next = 1;

    pg_array_begin(&scratch->part[0], element_oid(type));
    pg_array_begin(&scratch->part[1], PG_INT4);
    pg_array_begin(&scratch->part[2], PG_INT4);
    for (size_t i = 0; i < count; i++) {
        uint32_t n = 0;

        if (row_is_null(rows[i], f)) {
            pg_array_null(&scratch->part[1]);
            pg_array_null(&scratch->part[2]);
            continue;
        }
        const char *data = heap_at(row_span(rows[i], f));
        memcpy(&n, data, 4);
        for (uint32_t k = 0; k < n; k++) {
            uint64_t bits;
            memcpy(&bits, data + 8 + (size_t)8 * k, 8);
            add_slot(&scratch->part[0], type, bits);
        }
        pg_array_int4(&scratch->part[1], next);
        pg_array_int4(&scratch->part[2], (int32_t)n);
        next += (int32_t)n;
    }
    for (size_t p = 0; p < 3; p++) {
        pg_array_end(&scratch->part[p], 0);
        pg_array(args, p == 0 ? array_oid(type) : PG_INT4_ARRAY, &scratch->part[p]);
    }
}

/*
 * An array of texts, bytes or uuids as PostgreSQL's array literal: slices of such would walk from
 * the start each time.
 */
static void array_literal(enum field_type type, const char *data, struct buf *out)
{
    uint32_t count;

    memcpy(&count, data, 4);
    data += 8;
    buf_byte(out, '{');
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size;

        memcpy(&size, data, 4);
        data += 4;
        buf_text(out, i == 0 ? "\"" : ",\"");
        if (type == FIELD_BYTES)
            buf_text(out, "\\\\x");
        for (uint32_t k = 0; k < size; k++) {
            uint8_t byte = (uint8_t)data[k];
            if (type == FIELD_BYTES || type == FIELD_UUID) {
                buf_byte(out, (uint8_t) "0123456789abcdef"[byte >> 4]);
                buf_byte(out, (uint8_t) "0123456789abcdef"[byte & 15]);
                continue;
            }
            if (byte == '"' || byte == '\\')
                buf_byte(out, '\\');
            buf_byte(out, byte);
        }
        buf_byte(out, '"');
        data += size;
    }
    buf_byte(out, '}');
}

void facts_column(const struct kind *kind, size_t f, struct acc_row **rows, size_t count,
                  struct facts_scratch *scratch, struct pg_args *args)
{
    const struct field *field = &kind->fields[f];
    struct buf *out = &scratch->part[0];

    for (size_t p = 0; p < 3; p++)
        buf_reset(&scratch->part[p]);
    if (is_flat_array(field)) {
        flat_array_column(kind, f, rows, count, scratch, args);
        return;
    }
    if (!field->is_array && slot_column(kind, f, rows, count, out)) {
        pg_array(args, array_oid(field->type), out);
        return;
    }
    pg_array_begin(out, field->is_array ? PG_TEXT : element_oid(field->type));
    for (size_t i = 0; i < count; i++) {
        if (row_is_null(rows[i], f)) {
            pg_array_null(out);
        } else if (field->is_array) {
            struct buf *literal = &scratch->part[1];
            buf_reset(literal);
            array_literal(field->type, heap_at(row_span(rows[i], f)), literal);
            pg_array_add(out, literal->data, literal->size);
        } else if (field_is_span(field)) {
            pg_array_add(out, heap_at(row_span(rows[i], f)), row_span(rows[i], f)->size);
        } else {
            add_slot(out, field->type, (uint64_t)*row_int(rows[i], f));
        }
    }
    pg_array_end(out, 0);
    pg_array(args, field->is_array ? PG_TEXT_ARRAY : array_oid(field->type), out);
}

/* Columns in */

/* One NaN: LuaJIT reads doubles as they are, and takes others for values of its own. */
static int64_t one_nan(int64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    if (!isnan(value))
        return bits;
    value = NAN;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static bool decode_array(const struct field *field, const char *wire, int length,
                         struct acc_heap *heap, struct acc_span *span, struct acc_error *err)
{
    uint32_t head[5] = {0};
    uint32_t count = 0;
    size_t bytes = 8;

    memcpy(head, wire, length < 20 ? 12 : 20);
    if (__builtin_bswap32(head[0]) == 1)
        count = __builtin_bswap32(head[3]);
    else if (head[0] != 0)
        return acc_fail(err, ACC_EDB, "field \"%s\" holds an array of more than one dimension",
                        field->name);
    const char *from = wire + 20;
    bytes += field->type < FIELD_TEXT ? (size_t)8 * count : (size_t)length;
    uint32_t at = heap_alloc(heap, bytes, err);
    if (at == 0)
        return false;
    char *to = heap->base + at;
    memset(to, 0, 8);
    memcpy(to, &count, 4);
    to += 8;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size;

        memcpy(&size, from, 4);
        size = __builtin_bswap32(size);
        from += 4;
        if (size == UINT32_MAX)
            return acc_fail(err, ACC_EDB, "field \"%s\" holds an array with a NULL", field->name);
        if (field->type >= FIELD_TEXT) {
            memcpy(to, &size, 4);
            memcpy(to + 4, from, size);
            to += 4 + size;
        } else {
            uint64_t bits = (uint8_t)*from;
            if (field->type != FIELD_BOOL) {
                memcpy(&bits, from, 8);
                bits = __builtin_bswap64(bits);
            }
            if (field->type == FIELD_FLOAT8)
                bits = (uint64_t)one_nan((int64_t)bits);
            memcpy(to, &bits, 8);
            to += 8;
        }
        from += size;
    }
    *span = (struct acc_span){at, (uint32_t)(to - (heap->base + at))};
    return true;
}

static bool decode_field(const struct kind *kind, size_t f, const PGresult *res, int row,
                         int column, struct acc_heap *heap, struct acc_row *out,
                         struct acc_error *err)
{
    const struct field *field = &kind->fields[f];
    const char *wire = PQgetvalue(res, row, column);
    int length = PQgetlength(res, row, column);

    if (PQgetisnull(res, row, column)) {
        out->nulls |= UINT64_C(1) << f;
        return true;
    }
    if (field->is_array)
        return decode_array(field, wire, length, heap, row_span(out, f), err);
    if (field_is_span(field))
        return row_set_bytes(out, f, heap, wire, (size_t)length, err);
    int64_t bits =
        field->type == FIELD_BOOL ? (int64_t)(uint8_t)*wire : pg_get_int8(res, row, column);
    *row_int(out, f) = field->type == FIELD_FLOAT8 ? one_nan(bits) : bits;
    return true;
}

bool facts_decode(const struct kind *kind, const PGresult *res, int row, int first,
                  struct acc_heap *heap, struct acc_row *out, struct acc_error *err)
{
    memcpy(out->id, PQgetvalue(res, row, first), 16);
    for (size_t f = 0; f < kind->field_count; f++) {
        if (!decode_field(kind, f, res, row, first + 1 + (int)f, heap, out, err))
            return false;
    }
    return true;
}

/* The statements */

static void ids_array(struct buf *out, struct acc_row **rows, size_t count)
{
    char *to = fixed_array(out, PG_UUID, count, 16);

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
            if ((mask >> f & 1) != 0 && !decode_field(kind, f, res, r, column++, heap, there, err))
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
    char *to = fixed_array(&facts->data, PG_UUID, count, 16);
    for (size_t i = 0; i < count; i++, to += 20) {
        memcpy(to, rows_at(data, rows[i]->event)->id, 16);
        most = rows[i]->friend_count > most ? rows[i]->friend_count : most;
        total += rows[i]->friend_count;
    }
    pg_array(args, PG_UUID_ARRAY, &facts->data);
    if (most == 0)
        return FROM_DATA;
    if (most == 1 && total == count) {
        to = fixed_array(&facts->friends, PG_UUID, count, 16);
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
    char *at = fixed_array(&facts->at, PG_INT4, count, 4);
    char *n = fixed_array(&facts->n, PG_INT4, count, 4);
    to = fixed_array(&facts->friends, PG_UUID, total, 16);
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

bool facts_insert_send(struct facts *facts, struct pg *pg, const struct kind *kind,
                       struct acc_row **rows, size_t count, int64_t batch_id,
                       const struct acc_rows *data, const uint8_t *friend_ids,
                       struct acc_error *err)
{
    struct pg_args args = {0};

    ids_array(&facts->ids, rows, count);
    pg_array(&args, PG_UUID_ARRAY, &facts->ids);
    for (size_t f = 0; f < kind->field_count; f++)
        facts_column(kind, f, rows, count, &facts->columns[f], &args);
    enum provenance with = provenance_args(facts, rows, count, data, friend_ids, &args);
    pg_int8(&args, batch_id);
    return pg_send(pg, &facts->statements[kind->index].insert[with], &args, err);
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
