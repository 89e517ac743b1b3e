/* schema.sql read: its statements, and whether the tables it makes are there as it makes them. */
#include "schema_planner.h"

#include "base/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A statement of schema.sql without the comment lines above it. */
static const char *skip_comments(const char *at)
{
    for (;;) {
        at += strspn(at, " \n");
        if (strncmp(at, "--", 2) != 0)
            return at;
        at = strchr(at, '\n') == NULL ? at + strlen(at) : strchr(at, '\n');
    }
}

bool base_next(const char **at, struct buf *sql)
{
    size_t size;

    *at = skip_comments(*at == NULL ? files_get("host/schema.sql", &size) : *at);
    const char *end = strstr(*at, ";\n");
    if (end == NULL)
        return false;
    buf_reset(sql);
    buf_add(sql, *at, (size_t)(end - *at));
    *at = end + 2;
    return true;
}

bool base_name_behind(const char *statement, const char *prefix, char *name, size_t size)
{
    size_t length = strlen(prefix);

    if (strncmp(statement, prefix, length) != 0)
        return false;
    snprintf(name, size, "%.*s",
             (int)strspn(statement + length, "abcdefghijklmnopqrstuvwxyz_0123456789"),
             statement + length);
    return true;
}

/* One column or constraint of a CREATE TABLE, up to its comma; constraints begin in capitals. */
static void take_column(const char *at, struct buf *names, struct buf *types)
{
    at += strspn(at, " \n");
    size_t name = strcspn(at, " ");
    const char *type = at + name + strspn(at + name, " ");

    if (*at >= 'A' && *at <= 'Z')
        return;
    pg_array_add(names, at, name);
    pg_array_add(types, type, strcspn(type, " ,)\n"));
}

/* The columns that a CREATE TABLE of schema.sql names, and their types. */
static void columns_of(const char *statement, struct buf *names, struct buf *types)
{
    const char *at = strchr(statement, '(') + 1;
    int depth = 1;

    pg_array_begin(names, PG_TEXT);
    pg_array_begin(types, PG_TEXT);
    take_column(at, names, types);
    for (; *at != '\0' && depth > 0; at++) {
        depth += *at == '(' ? 1 : *at == ')' ? -1 : 0;
        if (*at == ',' && depth == 1)
            take_column(at + 1, names, types);
    }
    pg_array_end(names, 0);
    pg_array_end(types, 0);
}

static bool look_at(struct pg *pg, const char *statement, struct base_table *table,
                    struct acc_error *err)
{
    static const char sql[] =
        "SELECT CASE WHEN c.relkind <> 'r' THEN 'is no table' ELSE (SELECT 'lacks the column ' || "
        "u.name || ' ' || u.type FROM unnest($2::text[], $3::text[]) u(name, type) WHERE NOT "
        "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = u.name AND "
        "NOT a.attisdropped AND a.atttypid = to_regtype(u.type)) LIMIT 1) END FROM pg_class c "
        "WHERE c.oid = to_regclass($1)";
    struct buf names = {0};
    struct buf types = {0};
    struct pg_args args = {0};

    columns_of(statement, &names, &types);
    pg_text(&args, table->name);
    pg_array(&args, PG_TEXT_ARRAY, &names);
    pg_array(&args, PG_TEXT_ARRAY, &types);
    PGresult *res = pg_exec(pg, sql, &args, err);
    if (res != NULL) {
        bool is_there = PQntuples(res) > 0;
        bool is_flawed = is_there && !PQgetisnull(res, 0, 0);

        table->is = !is_there ? BASE_GONE : is_flawed ? BASE_OTHER : BASE_RIGHT;
        if (is_flawed)
            snprintf(table->flaw, sizeof(table->flaw), "%s", pg_get_text(res, 0, 0));
    }
    PQclear(res);
    buf_clear(&names);
    buf_clear(&types);
    return res != NULL;
}

bool base_look(struct base *base, struct pg *pg, struct acc_error *err)
{
    struct buf sql = {0};
    const char *at = NULL;
    bool ok = true;

    base->count = 0;
    while (ok && base->count < BASE_TABLES_MAX && base_next(&at, &sql)) {
        struct base_table *table = &base->tables[base->count];

        if (!base_name_behind(sql.data, "CREATE TABLE IF NOT EXISTS ", table->name,
                              sizeof(table->name)))
            continue;
        ok = look_at(pg, sql.data, table, err);
        base->count++;
    }
    buf_clear(&sql);
    return ok;
}

const struct base_table *base_find(const struct base *base, const char *name)
{
    for (size_t i = 0; i < base->count; i++)
        if (strcmp(base->tables[i].name, name) == 0)
            return &base->tables[i];
    return NULL;
}
