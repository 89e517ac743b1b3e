#include "filters.h"

#include "base/log.h"
#include "formats/values.h"
#include "identity.h"

#include <stdlib.h>
#include <string.h>

#define BIT(op) (1u << (op))
#define EQUALITY (BIT(FILTER_EQ) | BIT(FILTER_NE))
#define ORDERED (EQUALITY | BIT(FILTER_LT) | BIT(FILTER_LE) | BIT(FILTER_GT) | BIT(FILTER_GE))

static const char *const names[] = {"eq",     "ne",       "lt",  "le",   "gt",     "ge",
                                    "prefix", "contains", "has", "null", "notnull"};
#define OPS (sizeof(names) / sizeof(names[0]))

static unsigned operators(const struct field *field)
{
    static const unsigned of[] = {
        [FIELD_BOOL] = EQUALITY,
        [FIELD_INT8] = ORDERED,
        [FIELD_FLOAT8] = ORDERED,
        [FIELD_TEXT] = ORDERED | BIT(FILTER_PREFIX) | BIT(FILTER_CONTAINS),
        [FIELD_BYTES] = ORDERED | BIT(FILTER_PREFIX) | BIT(FILTER_CONTAINS),
        [FIELD_JSON] = EQUALITY | BIT(FILTER_CONTAINS),
        [FIELD_UUID] = ORDERED,
    };
    unsigned ops = field->is_array ? EQUALITY | BIT(FILTER_HAS) : of[field->type];

    return field->is_nullable ? ops | BIT(FILTER_NULL) | BIT(FILTER_NOTNULL) : ops;
}

void filters_operators(const struct field *field, struct buf *out)
{
    const char *blank = "";

    for (size_t op = 0; op < OPS; op++) {
        if ((operators(field) & BIT(op)) == 0)
            continue;
        buf_printf(out, "%s%s", blank, names[op]);
        blank = " ";
    }
}

void filters_init(struct filters *filters, const struct kind *kind)
{
    *filters = (struct filters){.kind = kind, .row = acc_zalloc(kind->row_bytes)};
}

void filters_clear(struct filters *filters)
{
    buf_clear(&filters->wire);
    free(filters->row);
    *filters = (struct filters){0};
}

/* Parsing */

static bool refuse_operator(const struct filters *filters, const struct field *field,
                            const char *name, struct acc_error *err)
{
    const char *nearest = name_suggest(name, names, OPS);
    struct buf wanted = {0};

    filters_operators(field, &wanted);
    acc_fail(err, ACC_EINPUT,
             "field \"%s\" of kind \"%s\" is %s%s%s: wanted one of %s, got %s%s%s%s", field->name,
             filters->kind->name, field_type_name(field->type), field->is_array ? "[]" : "",
             field->is_nullable ? "" : ", never null", wanted.data, log_quote(name),
             nearest != NULL && strcmp(nearest, name) != 0 ? ", did you mean " : "",
             nearest != NULL && strcmp(nearest, name) != 0 ? nearest : "",
             nearest != NULL && strcmp(nearest, name) != 0 ? "?" : "");
    buf_clear(&wanted);
    return false;
}

static bool find_operator(const struct filters *filters, const struct field *field,
                          const char *name, enum filter_op *op, struct acc_error *err)
{
    for (size_t i = 0; i < OPS; i++) {
        if (strcmp(names[i], name) == 0 && (operators(field) & BIT(i)) != 0) {
            *op = (enum filter_op)i;
            return true;
        }
    }
    return refuse_operator(filters, field, name, err);
}

static Oid type_of(const struct field *field)
{
    static const Oid one[] = {PG_BOOL, PG_INT8, PG_FLOAT8, PG_TEXT, PG_BYTEA, PG_TEXT, PG_UUID};
    static const Oid many[] = {PG_BOOL_ARRAY,  PG_INT8_ARRAY, PG_FLOAT8_ARRAY, PG_TEXT_ARRAY,
                               PG_BYTEA_ARRAY, PG_TEXT_ARRAY, PG_UUID_ARRAY};

    return field->is_array ? many[field->type] : one[field->type];
}

static void add_slot(struct buf *out, enum field_type type, uint64_t bits)
{
    if (type == FIELD_BOOL)
        buf_byte(out, bits != 0);
    else
        buf_be64(out, bits);
}

/* An array as it lies in the heap (hot.h) becomes one of the wire. */
static void add_array(struct buf *out, const struct field *field, const char *data)
{
    struct field element = {.type = field->type};
    size_t start = out->size;
    uint32_t count;

    memcpy(&count, data, sizeof(count));
    data += 8;
    pg_array_begin(out, type_of(&element));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = 8;
        uint64_t bits;

        if (field->type >= FIELD_TEXT) {
            memcpy(&size, data, sizeof(size));
            data += 4;
            pg_array_add(out, data, size);
        } else {
            memcpy(&bits, data, sizeof(bits));
            buf_be32(out, field->type == FIELD_BOOL ? 1 : 8);
            add_slot(out, field->type, bits);
        }
        data += size;
    }
    pg_array_end(out, start);
}

static void add_wire(struct buf *out, const struct field *field, const struct acc_row *row)
{
    buf_add(out, "", 0);
    if (field->is_array)
        add_array(out, field, heap_at(row_span(row, 0)));
    else if (field_is_span(field))
        buf_add(out, heap_at(row_span(row, 0)), row_span(row, 0)->size);
    else
        add_slot(out, field->type, (uint64_t)*row_int(row, 0));
}

/*
 * Parses the value by a kind of its own that has this one field, so that what is said of it is what
 * ingest says.
 */
static bool read_value(struct filters *filters, struct filter *filter, const char *text,
                       struct acc_heap *heap, int64_t value_bytes, struct acc_error *err)
{
    struct values_target target = {.heap = heap, .value_bytes = value_bytes};
    struct kind *one = acc_zalloc(sizeof(*one));
    char storage[sizeof(struct acc_row) + 8] __attribute__((aligned(8))) = {0};
    struct acc_row *row = (struct acc_row *)storage;
    struct field *field = &one->fields[0];

    one->field_count = 1;
    *field = filters->kind->fields[filter->field];
    field->is_unique = field->is_nullable = false;
    field->is_array &= filter->op != FILTER_HAS;
    if (filter->op == FILTER_CONTAINS && field->type == FIELD_JSON)
        field->type = FIELD_TEXT;
    bool ok = values_set_text(&target, one, 0, text, strlen(text), row, err);
    if (ok) {
        filter->type = type_of(field);
        filter->at = filters->wire.size;
        add_wire(&filters->wire, field, row);
        filter->size = filters->wire.size - filter->at;
    }
    if (ok && filter->op == FILTER_EQ) {
        *row_int(filters->row, filter->field) = *row_int(row, 0);
        filters->given |= UINT64_C(1) << filter->field;
    }
    free(one);
    return ok;
}

static bool takes_value(enum filter_op op)
{
    return op != FILTER_NULL && op != FILTER_NOTNULL;
}

/* FIELD and OP are at the front of text, each with its length. */
static bool read_filter(struct filters *filters, const char *name, const char *op,
                        const char *value, struct acc_heap *heap, int64_t value_bytes,
                        struct acc_error *err)
{
    struct filter *filter = &filters->list[filters->count];
    int field = values_field(filters->kind, name, err);

    if (field < 0)
        return false;
    *filter = (struct filter){.field = (size_t)field};
    if (!find_operator(filters, &filters->kind->fields[field], op, &filter->op, err))
        return false;
    if (takes_value(filter->op) != (value != NULL))
        return acc_fail(err, ACC_EINPUT, "%s wanted %s~%s%s",
                        value == NULL ? "the value is missing," : "there is no value with it,",
                        name, op, value == NULL ? "~VALUE" : "");
    if (value != NULL && !read_value(filters, filter, value, heap, value_bytes, err))
        return false;
    filters->count++;
    return true;
}

bool filters_add(struct filters *filters, const char *text, struct acc_heap *heap,
                 int64_t value_bytes, struct acc_error *err)
{
    const char *first = strchr(text, '~');
    const char *second = first == NULL ? NULL : strchr(first + 1, '~');

    if (first == NULL || first == text || first[1] == '\0' || second == first + 1)
        return acc_fail(err, ACC_EINPUT, "filter %s: wanted FIELD~OP~VALUE, as in %s~eq~1",
                        log_quote(text), filters->kind->fields[0].name);
    if (filters->count == FILTERS_MAX)
        return acc_fail(err, ACC_EINPUT, "wanted at most %d filters", FILTERS_MAX);

    char *name = acc_format("%.*s", (int)(first - text), text);
    char *op = second == NULL ? acc_strdup(first + 1)
                              : acc_format("%.*s", (int)(second - first - 1), first + 1);
    bool ok =
        read_filter(filters, name, op, second == NULL ? NULL : second + 1, heap, value_bytes, err);
    if (!ok)
        acc_fail_prefix(err, "filter %s", log_quote(text));
    free(name);
    free(op);
    return ok;
}

void filters_finish(struct filters *filters)
{
    if ((filters->given & filters->kind->unique_mask) != filters->kind->unique_mask)
        return;
    identity_set(filters->kind, filters->row);
    memcpy(filters->id, filters->row->id, sizeof(filters->id));
    filters->has_id = true;
}

/* SQL */

/*
 * Equal texts have equal hashes, and look-ups are indexed by these (schema.c): said both ways, the
 * index is used where there is one.
 */
static void add_equal(const struct field *field, const char *column, int param, struct buf *sql)
{
    if (!field->is_array && field->type == FIELD_TEXT)
        buf_printf(sql, "hashtextextended(%s, 0) = hashtextextended($%d, 0) AND ", column, param);
    else if (!field->is_array && field->type == FIELD_BYTES)
        buf_printf(sql, "sha256(%s) = sha256($%d) AND ", column, param);
    buf_printf(sql, "%s = $%d", column, param);
}

static void add_condition(const struct field *field, enum filter_op op, const char *column,
                          int param, struct buf *sql)
{
    static const char *const signs[] = {
        [FILTER_LT] = "<", [FILTER_LE] = "<=", [FILTER_GT] = ">", [FILTER_GE] = ">="};

    switch (op) {
    case FILTER_EQ:
        add_equal(field, column, param, sql);
        break;
    case FILTER_NE:
        buf_printf(sql, "%s IS DISTINCT FROM $%d", column, param);
        break;
    case FILTER_LT:
    case FILTER_LE:
    case FILTER_GT:
    case FILTER_GE: /* texts by their bytes, whatever the database's language */
        buf_printf(sql, "%s%s %s $%d", column, field->type == FIELD_TEXT ? " COLLATE \"C\"" : "",
                   signs[op], param);
        break;
    case FILTER_PREFIX:
        if (field->type == FIELD_TEXT)
            buf_printf(sql, "starts_with(%s, $%d)", column, param);
        else
            buf_printf(sql, "substr(%s, 1, length($%d)) = $%d", column, param, param);
        break;
    case FILTER_CONTAINS:
        buf_printf(sql, "position($%d in %s) > 0", param, column);
        break;
    case FILTER_HAS:
        buf_printf(sql, "%s @> ARRAY[$%d]", column, param);
        break;
    case FILTER_NULL:
        buf_printf(sql, "%s IS NULL", column);
        break;
    case FILTER_NOTNULL:
        buf_printf(sql, "%s IS NOT NULL", column);
        break;
    }
}

void filters_sql(const struct filters *filters, struct buf *sql, struct pg_args *args)
{
    struct buf column = {0};

    if (filters->has_id) {
        pg_uuid(args, filters->id);
        buf_printf(sql, " AND f._id = $%d", args->count);
    }
    for (size_t i = 0; i < filters->count; i++) {
        const struct filter *filter = &filters->list[i];
        const struct field *field = &filters->kind->fields[filter->field];

        buf_reset(&column);
        buf_text(&column, "f.");
        pg_identifier(&column, field->name);
        if (takes_value(filter->op))
            pg_bytes(args, filter->type, filters->wire.data + filter->at, filter->size);
        buf_text(sql, " AND ");
        add_condition(field, filter->op, column.data, args->count, sql);
    }
    buf_clear(&column);
}
