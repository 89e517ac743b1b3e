/* Base tables: the statements of schema.sql that are still to run. */
#include "schema_planner.h"

#include "accrete/hot.h"
#include "base/files.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Changes of the base tables' format count up; a newer format in the database is refused. */
#define FORMAT "3"

static const char permanent[] =
    "CREATE OR REPLACE FUNCTION fact_is_permanent() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN RAISE EXCEPTION 'facts are permanent: % on % is refused', TG_OP, TG_TABLE_NAME; "
    "END$$";

/* The name behind prefix, when statement begins with it. */
static bool name_behind(const char *statement, const char *prefix, char *name, size_t size)
{
    size_t length = strlen(prefix);

    if (strncmp(statement, prefix, length) != 0)
        return false;
    snprintf(name, size, "%.*s",
             (int)strspn(statement + length, "abcdefghijklmnopqrstuvwxyz_0123456789"),
             statement + length);
    return true;
}

/*
 * One statement of schema.sql. What makes a table or index is left out when that is there; the rest
 * when all has been run before.
 */
static bool plan_statement(struct planner *p, const char *statement, bool is_known,
                           struct acc_error *err)
{
    static const char there[] = "SELECT to_regclass($1)::text";
    char name[64] = "";
    bool is_there = false;

    if (name_behind(statement, "CREATE TABLE IF NOT EXISTS ", name, sizeof(name)) ||
        name_behind(statement, "CREATE INDEX IF NOT EXISTS ", name, sizeof(name))) {
        if (!plan_ask(p->pg, there, name, &is_there, err))
            return false;
        if (is_there)
            return true;
        p->makes_table = true;
        plan_step(p, statement, "base: %s", name);
    } else if (!is_known) {
        plan_step(p, statement, "base: as this version wants it");
    }
    return true;
}

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

static bool plan_statements(struct planner *p, const char *text, bool is_known,
                            struct acc_error *err)
{
    struct buf sql = {0};
    bool ok = true;

    for (const char *at = skip_comments(text); ok && *at != '\0';) {
        const char *end = strstr(at, ";\n");
        if (end == NULL)
            break;
        buf_reset(&sql);
        buf_add(&sql, at, (size_t)(end - at));
        ok = plan_statement(p, sql.data, is_known, err);
        at = skip_comments(end + 2);
    }
    buf_clear(&sql);
    return ok;
}

/*
 * Packets of format 1 had no layout behind the kind's tag: nothing for ids, for rows what the
 * kind's declaration says (queue.h). One block, so that no packet is changed twice.
 */
static const char from_1[] =
    "BEGIN ISOLATION LEVEL READ COMMITTED; LOCK TABLE packet IN ACCESS EXCLUSIVE MODE; "
    "UPDATE packet p SET payload = substring(p.payload FROM 1 FOR 3) || CASE WHEN "
    "get_byte(p.payload, 0) = ascii('R') THEN set_byte('\\x00'::bytea, 0, length(k.layout)) || "
    "convert_to(k.layout, 'UTF8') ELSE '\\x00'::bytea END || substring(p.payload FROM 4) FROM "
    "(SELECT tag, CASE WHEN bool_or(line ~ ' nullable$') THEN 'n' ELSE '-' END || string_agg(CASE "
    "WHEN line ~ '^[a-z0-9_]+ (bool|int8|float8) ' THEN 'f' ELSE 's' END, '' ORDER BY number) AS "
    "layout FROM kind, regexp_split_to_table(declaration, '\\n') WITH ORDINALITY AS l(line, "
    "number) "
    "WHERE line ~ '^[a-z0-9_]+ (bool|int8|float8|text|bytes|json|uuid)(\\[\\])? "
    "(unique|other|nullable)$' GROUP BY tag) k "
    "WHERE k.tag = get_byte(p.payload, 1) + 256 * get_byte(p.payload, 2); "
    "UPDATE meta SET value = '2' WHERE key = 'format'; COMMIT";

/* Stands for the base tables as this version wants them. */
static void base_version(char *out, size_t size)
{
    size_t bytes;
    const char *text = files_get("host/schema.sql", &bytes);

    snprintf(out, size, FORMAT ":%016llx%016llx", (unsigned long long)acc_hash64(text, bytes),
             (unsigned long long)acc_hash64(permanent, sizeof(permanent)));
}

bool schema_base_is_current(struct pg *pg, bool *is_current, struct acc_error *err)
{
    bool has_meta;
    char now[48];

    *is_current = false;
    base_version(now, sizeof(now));
    return plan_ask(pg, "SELECT to_regclass('meta')::text", NULL, &has_meta, err) &&
           (!has_meta || plan_ask(pg, "SELECT 'yes' FROM meta WHERE key = 'base' AND value = $1",
                                  now, is_current, err));
}

bool plan_base(struct planner *p, struct acc_error *err)
{
    size_t size;
    const char *text = files_get("host/schema.sql", &size);
    struct buf sql = {0};
    char *format = NULL;
    char *base = NULL;
    bool has_schema;
    bool has_meta;
    bool has_function;
    char now[48];
    bool ok = false;

    base_version(now, sizeof(now));
    if (!plan_ask(p->pg, "SELECT to_regnamespace(quote_ident($1))::text", p->schema, &has_schema,
                  err) ||
        !plan_ask(p->pg, "SELECT to_regclass('meta')::text", NULL, &has_meta, err) ||
        !plan_ask(p->pg, "SELECT to_regproc('fact_is_permanent')::text", NULL, &has_function, err))
        goto out;
    if (has_meta) {
        format = plan_value(p->pg, "SELECT value FROM meta WHERE key = 'format'", NULL, err);
        if (format == NULL && err->code != ACC_OK)
            goto out;
        base = plan_value(p->pg, "SELECT value FROM meta WHERE key = 'base'", NULL, err);
        if (base == NULL && err->code != ACC_OK)
            goto out;
    }
    if (format != NULL && strcmp(format, FORMAT) != 0 && strcmp(format, "2") != 0 &&
        strcmp(format, "1") != 0) {
        plan_refuse(
            p, "schema \"%s\" has format %s, this accrete knows %s: use the version that made it",
            p->schema, format, FORMAT);
        ok = true;
        goto out;
    }
    if (!has_schema) {
        buf_text(&sql, "CREATE SCHEMA IF NOT EXISTS ");
        pg_identifier(&sql, p->schema);
        plan_step(p, sql.data, "the app's schema");
    }
    bool is_known = base != NULL && strcmp(base, now) == 0;
    if (!plan_statements(p, text, is_known, err))
        goto out;
    if (format != NULL && strcmp(format, "1") == 0)
        plan_step(p, from_1, "packets of format 1 get their layout");
    if (!is_known || !has_function)
        plan_step(p, permanent, "permanence of facts");
    if (format == NULL || strcmp(format, FORMAT) != 0)
        plan_meta(p, "format", FORMAT, "format of the base tables");
    if (!is_known)
        plan_meta(p, "base", now, "version of the base tables");
    ok = true;
out:
    free(format);
    free(base);
    buf_clear(&sql);
    return ok;
}
