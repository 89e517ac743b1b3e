/* Tables, columns, triggers and look-up indexes of kinds. */
#include "schema_planner.h"

#include "accrete/hot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line a field, sorted as declared: "name type unique|other|nullable"; then the shard. */
static void declaration(const struct kind *kind, struct buf *out)
{
    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];
        buf_printf(out, "%s %s%s %s\n", field->name, field_type_name(field->type),
                   field->is_array ? "[]" : "",
                   field->is_unique     ? "unique"
                   : field->is_nullable ? "nullable"
                                        : "other");
    }
    buf_text(out, "shard");
    for (size_t i = 0; i < kind->shard_count; i++)
        buf_printf(out, " %s", kind->fields[kind->shard[i]].name);
    buf_text(out, "\n");
}

static bool has_line(const char *text, const char *line, size_t length)
{
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
        if (strncmp(at, line, length) == 0 && at[length] == '\n')
            return true;
    }
    return false;
}

/* Declarations are read by lines. */
static const char *next_line(const char *line)
{
    return strchr(line, '\n') + 1;
}

/* The last line says the shard. */
static bool is_field(const char *line)
{
    return *next_line(line) != '\0';
}

/* Whether text has a field of the name and type that line says, whatever else it says of it. */
static bool has_field(const char *text, const char *line)
{
    size_t length = strcspn(line, " ") + 1;

    length += strcspn(line + length, " ") + 1;
    for (const char *at = text; *at != '\0'; at = next_line(at)) {
        if (strncmp(at, line, length) == 0)
            return true;
    }
    return false;
}

/* Whether the line of a field ends with these words. */
static bool is_called(const char *line, const char *words)
{
    size_t length = strcspn(line, "\n");
    size_t size = strlen(words);

    return is_field(line) && length > size && strncmp(line + length - size, words, size) == 0;
}

/* Whether text calls the fields unique that other does. */
static bool has_unique_of(const char *text, const char *other)
{
    for (const char *at = other; *at != '\0'; at = next_line(at)) {
        if (is_called(at, " unique") && !has_line(text, at, strcspn(at, "\n")))
            return false;
    }
    return true;
}

/* The names of unique fields as a module lists them. */
static void unique_of(const char *text, struct buf *out)
{
    for (const char *at = text; *at != '\0'; at = next_line(at)) {
        if (is_called(at, " unique"))
            buf_printf(out, "%s\"%.*s\"", out->size == 0 ? "" : ", ", (int)strcspn(at, " "), at);
    }
}

/* The fields that old does not have and that are not nullable, as a module lists them. */
static void new_fields(const char *old, const char *now, struct buf *out)
{
    for (const char *at = now; *at != '\0'; at = next_line(at)) {
        size_t name = strcspn(at, " ");
        if (is_field(at) && !has_field(old, at) && !is_called(at, " nullable"))
            buf_printf(out, "%s{ \"%.*s\", \"%.*s\" }", out->size == 0 ? "" : ", ", (int)name, at,
                       (int)strcspn(at + name + 1, " "), at + name + 1);
    }
}

/*
 * Whether all stored fields are there as they were, but others are unique now: for instance because
 * one was added to a module that names none. Refuses that in the author's words.
 */
static bool refuse_unique(struct planner *p, const struct kind *kind, const char *old,
                          const char *now)
{
    struct buf before = {0};
    struct buf after = {0};
    struct buf added = {0};
    bool is_all = true;

    for (const char *at = old; *at != '\0'; at = next_line(at))
        is_all = is_all && (!is_field(at) || has_field(now, at));
    unique_of(old, &before);
    unique_of(now, &after);
    new_fields(old, now, &added);
    bool is_changed = is_all && !(has_unique_of(now, old) && has_unique_of(old, now));
    bool is_added = added.size > 0;
    if (is_changed)
        plan_refuse(p,
                    "kinds/%s.lua: unique has changed: facts are stored with unique = { %s }, now "
                    "it is { %s } (all fields are unique when none are named), which would change "
                    "identity: %s = { %s%s }, or make a new kind and copy through a lifecycle",
                    kind->name, before.data, after.data,
                    is_added ? "move what is new from fields to nullable" : "name unique",
                    is_added && kind->has_nullable ? "…, " : "",
                    is_added ? added.data : before.data);
    buf_clear(&before);
    buf_clear(&after);
    buf_clear(&added);
    return is_changed;
}

/* Only nullable fields may have come since; refuses what else differs. */
static bool check_declaration(struct planner *p, const struct kind *kind, const char *old,
                              const char *now)
{
    if (refuse_unique(p, kind, old, now))
        return false;
    for (const char *at = old; *at != '\0'; at = next_line(at)) {
        size_t length = strcspn(at, "\n");
        if (!has_line(now, at, length)) {
            plan_refuse(
                p,
                "kinds/%s.lua: facts are stored with \"%.*s\", which the module no longer says; "
                "that would change identity or lose data: make a new kind and copy through a "
                "lifecycle",
                kind->name, (int)length, at);
            return false;
        }
    }
    for (const char *at = now; *at != '\0'; at = next_line(at)) {
        size_t length = strcspn(at, "\n");
        if (!has_line(old, at, length) &&
            (length < 9 || strncmp(at + length - 8, "nullable", 8) != 0)) {
            size_t name = strcspn(at, " ");
            plan_refuse(p,
                        "kinds/%s.lua: \"%.*s\" is new; a field added later must be nullable: "
                        "move it from fields to nullable = { %s{ \"%.*s\", \"%.*s\" } }; all else "
                        "wants a new kind",
                        kind->name, (int)length, at, kind->has_nullable ? "…, " : "", (int)name, at,
                        (int)strcspn(at + name + 1, " "), at + name + 1);
            return false;
        }
    }
    return true;
}

static void plan_table(struct planner *p, const struct kind *kind)
{
    struct buf sql = {0};

    buf_printf(&sql, "CREATE TABLE IF NOT EXISTS %s (_id uuid PRIMARY KEY", kind->table);
    for (size_t f = 0; f < kind->field_count; f++) {
        buf_text(&sql, ", ");
        pg_identifier(&sql, kind->fields[f].name);
        buf_printf(&sql, " %s%s", field_sql_type(&kind->fields[f]),
                   kind->fields[f].is_nullable ? "" : " NOT NULL");
    }
    buf_text(&sql, ", _batch int8 NOT NULL, _data uuid, _friends uuid[])");
    plan_step(p, sql.data, "new kind %s", kind->name);
    p->makes_table = true;
    buf_clear(&sql);
}

/* Columns of nullable fields that the stored declaration does not have. */
static void plan_columns(struct planner *p, const struct kind *kind, const char *old)
{
    struct buf sql = {0};

    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];
        char *line = acc_format("%s %s%s nullable", field->name, field_type_name(field->type),
                                field->is_array ? "[]" : "");
        if (field->is_nullable && (old == NULL || !has_line(old, line, strlen(line)))) {
            buf_reset(&sql);
            buf_printf(&sql, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS ", kind->table);
            pg_identifier(&sql, field->name);
            buf_printf(&sql, " %s", field_sql_type(field));
            plan_step(p, sql.data, "new nullable field %s of kind %s", field->name, kind->name);
        }
        free(line);
    }
    buf_clear(&sql);
}

static void plan_trigger(struct planner *p, const struct kind *kind)
{
    struct buf sql = {0};

    buf_printf(&sql,
               "CREATE OR REPLACE TRIGGER permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR "
               "EACH STATEMENT EXECUTE FUNCTION fact_is_permanent()",
               kind->table);
    plan_step(p, sql.data, "permanence of kind %s", kind->name);
    buf_clear(&sql);
}

static void plan_declaration(struct planner *p, const struct kind *kind, const char *now)
{
    struct buf sql = {0};

    buf_printf(&sql, "INSERT INTO kind VALUES (%d, ", (int)kind->tag);
    plan_literal(p, &sql, kind->name);
    buf_text(&sql, ", ");
    plan_literal(p, &sql, now);
    buf_text(&sql, ") ON CONFLICT (tag) DO UPDATE SET declaration = excluded.declaration WHERE "
                   "kind.name = excluded.name");
    plan_step(p, sql.data, "declaration of kind %s", kind->name);
    buf_clear(&sql);
}

/* Ids carry the tag: two kinds of one app cannot share it. */
static bool check_tag(struct planner *p, const struct kind *kind, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_int4(&args, kind->tag);
    pg_text(&args, kind->name);
    PGresult *res =
        pg_exec(p->pg, "SELECT name FROM kind WHERE tag = $1 AND name <> $2", &args, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) > 0)
        plan_refuse(
            p,
            "kinds/%s.lua: its ids could not be told from those of kind \"%s\", of which there "
            "are facts (both names hash to tag %04x): give the new kind another name",
            kind->name, PQgetvalue(res, 0, 0), kind->tag);
    PQclear(res);
    return true;
}

/* *is_new: no facts can be there, so indexes need not be built beside them. */
bool plan_kind(struct planner *p, const struct kind *kind, bool *is_new, struct acc_error *err)
{
    struct buf now = {0};
    char *old = NULL;
    bool is_there = false;
    bool ok = false;

    declaration(kind, &now);
    *is_new = true;
    if (p->has_base) {
        old = plan_value(p->pg, "SELECT declaration FROM kind WHERE name = $1", kind->name, err);
        if ((old == NULL && err->code != ACC_OK) || !check_tag(p, kind, err))
            goto out;
        *is_new = old == NULL;
    }
    ok = true;
    if ((old != NULL && strcmp(old, now.data) == 0) ||
        (old != NULL && !check_declaration(p, kind, old, now.data)))
        goto out;
    ok = plan_ask(p->pg, "SELECT to_regclass($1)::text", kind->table, &is_there, err);
    if (!ok)
        goto out;
    if (!is_there)
        plan_table(p, kind);
    else
        plan_columns(p, kind, old);
    plan_trigger(p, kind);
    plan_declaration(p, kind, now.data);
out:
    free(old);
    buf_clear(&now);
    return ok;
}

/*
 * Indexes: each declared look-up has one; texts and arrays are indexed by their hash, whatever
 * their length.
 */

static void index_expression(const struct kind *kind, const struct shape *shape, struct buf *out)
{
    if (shape->count == 0) {
        buf_text(out, "(_batch)");
        return;
    }
    for (size_t i = 0; i < shape->count; i++) {
        if (shape->has[i]) {
            buf_text(out, "USING gin (");
            pg_identifier(out, kind->fields[shape->fields[i]].name);
            buf_text(
                out,
                ") WITH (fastupdate = off)"); /* a pending list would be scanned by every look-up */
            return;
        }
    }
    buf_text(out, "(");
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &kind->fields[shape->fields[i]];
        const char *hash = field->is_array              ? "hash_array_extended"
                           : field->type == FIELD_TEXT  ? "hashtextextended"
                           : field->type == FIELD_BYTES ? "hashbytea"
                                                        : NULL;
        buf_text(out, i == 0 ? "" : ", ");
        if (hash != NULL && strcmp(hash, "hashbytea") == 0) {
            buf_text(out, "sha256(");
            pg_identifier(out, field->name);
            buf_text(out, ")");
        } else if (hash != NULL) {
            buf_printf(out, "%s(", hash);
            pg_identifier(out, field->name);
            buf_text(out, ", 0)");
        } else {
            pg_identifier(out, field->name);
        }
    }
    buf_text(out, ")");
}

bool schema_index(const struct kind *kind, const struct shape *shape, char *name,
                  struct buf *expression)
{
    if (shape->by_id)
        return false;
    index_expression(kind, shape, expression);
    snprintf(name, 64, "ix_%.40s_%016llx", kind->name,
             (unsigned long long)acc_hash64(expression->data, expression->size));
    return true;
}

bool plan_index(struct planner *p, const struct kind *kind, const struct shape *shape, bool is_new,
                struct acc_error *err)
{
    static const char valid[] =
        "SELECT i.indisvalid::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE c.relname = $1 AND c.relnamespace = current_schema()::regnamespace";
    struct buf expression = {0};
    struct buf sql = {0};
    char name[64];
    char *state = NULL;
    bool ok = true;

    if (!schema_index(kind, shape, name, &expression))
        return true;
    state = plan_value(p->pg, valid, name, err);
    if (state == NULL && err->code != ACC_OK) {
        ok = false;
        goto out;
    }
    if (state != NULL && strcmp(state, "true") == 0)
        goto out;
    if (state != NULL) {
        buf_printf(&sql, "DROP INDEX CONCURRENTLY IF EXISTS %s", name);
        plan_step(p, sql.data, "its building was cut off");
        buf_reset(&sql);
    }
    buf_printf(&sql, "CREATE INDEX%s IF NOT EXISTS %s ON %s %s", is_new ? "" : " CONCURRENTLY",
               name, kind->table, expression.data);
    plan_step(p, sql.data, "look-up of kind %s%s", kind->name,
              is_new ? "" : ", built while others read and write");
out:
    free(state);
    buf_clear(&expression);
    buf_clear(&sql);
    return ok;
}
