/* Base tables: the statements of schema.sql that are still to run. */
#include "schema_planner.h"

#include "accrete/hot.h"
#include "base/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Changes of the base tables' format count up; a newer format in the database is refused. */
#define FORMAT "3"

static const char permanent[] =
    "CREATE OR REPLACE FUNCTION fact_is_permanent() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN RAISE EXCEPTION 'facts are permanent: % on % is refused', TG_OP, TG_TABLE_NAME; "
    "END$$";

/* Tables that schemas of an older format do not have. */
static bool is_later(const char *name)
{
    static const char *const later[] = {"audit", "bench", "control", "token", "ingest", "retry"};

    for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++)
        if (strcmp(name, later[i]) == 0)
            return true;
    return false;
}

/*
 * Refuses what apply would only make worse: tables of our names that are somebody else's, and ours
 * that are lost, which it would make again without what they held.
 */
static void refuse_flaws(struct planner *p, const struct base *base, const char *format,
                         bool is_known)
{
    for (size_t i = 0; i < base->count; i++) {
        const struct base_table *table = &base->tables[i];
        bool was_made = is_known || (format != NULL && !is_later(table->name));

        if (table->is == BASE_OTHER && !was_made)
            plan_refuse(p,
                        "schema \"%s\" has a table %s that accrete did not make (it %s): rename "
                        "it, or give the app a schema of its own (database.schema)",
                        p->schema, table->name, table->flaw);
        else if (table->is == BASE_OTHER)
            plan_refuse(p, "table %s has been changed by hand (it %s): " BASE_MEND, table->name,
                        table->flaw);
        else if (table->is == BASE_GONE && was_made)
            plan_refuse(p, "table %s is gone, and with it what it held: " BASE_MEND, table->name);
    }
}

/*
 * One statement of schema.sql. What makes a table or index is left out when that is there; the rest
 * when all has been run before.
 */
static bool plan_statement(struct planner *p, const struct base *base, const char *statement,
                           bool is_known, struct acc_error *err)
{
    static const char there[] = "SELECT to_regclass($1)::text";
    char name[64] = "";
    bool is_there = false;

    if (base_name_behind(statement, "CREATE TABLE IF NOT EXISTS ", name, sizeof(name)))
        is_there = base_find(base, name)->is == BASE_RIGHT;
    else if (base_name_behind(statement, "CREATE INDEX IF NOT EXISTS ", name, sizeof(name)) &&
             !plan_ask(p->pg, there, name, &is_there, err))
        return false;
    if (name[0] == '\0' && !is_known) {
        plan_step(p, statement, "base: as this version wants it");
    } else if (name[0] != '\0' && !is_there) {
        p->makes_table = true;
        plan_step(p, statement, "base: %s", name);
    }
    return true;
}

static bool plan_statements(struct planner *p, const struct base *base, bool is_known,
                            struct acc_error *err)
{
    struct buf sql = {0};
    const char *at = NULL;
    bool ok = true;

    while (ok && base_next(&at, &sql))
        ok = plan_statement(p, base, sql.data, is_known, err);
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
    struct base tables;
    struct buf sql = {0};
    char *format = NULL;
    char *base = NULL;
    bool has_schema;
    bool has_function;
    char now[48];
    bool ok = false;

    base_version(now, sizeof(now));
    if (!plan_ask(p->pg, "SELECT to_regnamespace(quote_ident($1))::text", p->schema, &has_schema,
                  err) ||
        !base_look(&tables, p->pg, err) ||
        !plan_ask(p->pg, "SELECT to_regproc('fact_is_permanent')::text", NULL, &has_function, err))
        goto out;
    if (base_find(&tables, "meta")->is == BASE_RIGHT) {
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
    refuse_flaws(p, &tables, format, is_known);
    if (!plan_statements(p, &tables, is_known, err))
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
