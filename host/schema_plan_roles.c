#include "schema_planner.h"

#include "schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rights: the role of workers may read and add facts, no more; that of readers may read. Neither sees tokens. */

#define WRITABLE                                                                                   \
    "packet, parked, replay, replay_bound, batch, tally_lifecycle, tally_kind, tally_reason, "     \
    "epoch, retry, ingest"

#define SEES_TOKENS                                                                                \
    "(has_table_privilege($1, c.oid, 'SELECT') OR has_any_column_privilege($1, c.oid, 'SELECT') "  \
    "OR has_table_privilege($1, c.oid, 'INSERT') OR has_table_privilege($1, c.oid, 'UPDATE'))"

static const struct role {
    const char *suffix, *who;
    /* 'yes' when the role $1 lacks a right on a table that is there, or sees tokens */
    const char *lacking;
    const char *tables, *more; /* what is granted on all tables, and on WRITABLE (NULL: no more) */
} roles[] = {
    {"worker", "workers: they may read and add facts, no more",
     "SELECT 'yes' FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND "
     "c.relkind = 'r' AND CASE WHEN c.relname = 'token' THEN " SEES_TOKENS
     " ELSE NOT (has_table_privilege($1, c.oid, 'SELECT') AND "
     "has_table_privilege($1, c.oid, 'INSERT') AND (c.relname <> ALL(string_to_array("
     "'" WRITABLE "', ', ')) OR (has_table_privilege($1, c.oid, 'UPDATE') AND "
     "has_table_privilege($1, c.oid, 'DELETE'))) AND (c.relname <> 'audit' OR "
     "has_column_privilege($1, c.oid, 'result', 'UPDATE'))) END LIMIT 1",
     "SELECT, INSERT", "UPDATE, DELETE"},
    {"reader", "readers: they may read",
     "SELECT 'yes' FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND "
     "c.relkind = 'r' AND CASE WHEN c.relname = 'token' THEN " SEES_TOKENS
     " ELSE NOT has_table_privilege($1, c.oid, 'SELECT') END LIMIT 1",
     "SELECT", NULL},
};

/* *ok_now: the role has what it needs on every table that is there. */
static bool has_rights(struct planner *p, const struct role *role, const char *name, bool *ok_now,
                       struct acc_error *err)
{
    bool lacks;

    if (!plan_ask(p->pg, role->lacking, name, &lacks, err) ||
        !plan_ask(p->pg,
                  "SELECT 'yes' WHERE pg_has_role($1, 'MEMBER') AND "
                  "has_schema_privilege($1, current_schema(), 'USAGE')",
                  name, ok_now, err))
        return false;
    *ok_now = *ok_now && !lacks;
    return true;
}

static void plan_grants(struct planner *p, const struct role *role, const char *name)
{
    struct buf sql = {0};

    buf_text(&sql, "GRANT ");
    pg_identifier(&sql, name);
    buf_text(&sql, " TO current_user; GRANT USAGE ON SCHEMA ");
    pg_identifier(&sql, p->schema);
    buf_text(&sql, " TO ");
    pg_identifier(&sql, name);
    buf_printf(&sql, "; GRANT %s ON ALL TABLES IN SCHEMA ", role->tables);
    pg_identifier(&sql, p->schema);
    buf_text(&sql, " TO ");
    pg_identifier(&sql, name);
    if (role->more != NULL) {
        buf_printf(&sql, "; GRANT %s ON " WRITABLE " TO ", role->more);
        pg_identifier(&sql, name);
        buf_text(&sql, "; GRANT UPDATE (result) ON audit TO "); /* what became of retries */
        pg_identifier(&sql, name);
    }
    buf_text(&sql, "; REVOKE ALL ON token FROM ");
    pg_identifier(&sql, name);
    plan_step(p, sql.data, "rights of %s", role->who);
    buf_clear(&sql);
}

static bool plan_role(struct planner *p, const struct role *role, struct acc_error *err)
{
    struct buf sql = {0};
    char name[80];
    bool is_there;
    bool is_right = false;

    schema_role_name(p->schema, role->suffix, name);
    if (!plan_ask(p->pg, "SELECT rolname::text FROM pg_roles WHERE rolname = $1", name, &is_there,
                  err))
        return false;
    if (!is_there) {
        buf_text(&sql, "CREATE ROLE ");
        pg_identifier(&sql, name);
        buf_text(&sql, " NOLOGIN");
        plan_step(p, sql.data, "role of %ss", role->suffix)->may_exist = true;
        buf_clear(&sql);
    } else if (p->has_base && !has_rights(p, role, name, &is_right, err)) {
        return false;
    }
    if (!is_right || p->makes_table)
        plan_grants(p, role, name);
    return true;
}

bool plan_roles(struct planner *p, struct acc_error *err)
{
    bool may;
    bool ok = true;

    if (!plan_ask(p->pg,
                  "SELECT 'yes' FROM pg_roles WHERE rolname = current_user AND (rolcreaterole OR "
                  "rolsuper)",
                  NULL, &may, err))
        return false;
    if (!may) {
        plan_note(
            p, "the database's role may not create roles: permanence of facts is kept by triggers "
               "alone");
        return true;
    }
    for (size_t i = 0; ok && i < sizeof(roles) / sizeof(*roles); i++)
        ok = plan_role(p, &roles[i], err);
    return ok;
}
