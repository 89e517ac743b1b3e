/* The doctor's checks of the database: the server, then the app's tables. */
#include "base/clock.h"
#include "cli/doctor.h"
#include "control.h"
#include "queue.h"
#include "schema_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKEW_WARN_MS 1000
#define SKEW_FAIL_MS 60000
#define PG_EPOCH_US INT64_C(946684800000000)
#define CONNECTIONS_SPARE 5

#define INSUFFICIENT_PRIVILEGE "42501"

/* A query of texts; NULL: said as a warning, since a role may lack the right to ask. */
static PGresult *ask(struct doctor *doctor, const char *check, const char *sql)
{
    static const struct pg_args none;
    struct acc_error err;
    PGresult *res = pg_exec(&doctor->session.pg, sql, &none, &err);

    if (res == NULL)
        doctor_say(doctor, check, GRADE_WARN,
                   strcmp(err.sqlstate, INSUFFICIENT_PRIVILEGE) == 0
                       ? "give the role the right to ask (pg_monitor)"
                       : "accrete schema drift",
                   "cannot be checked: %s", err.text);
    return res;
}

static void check_clock(struct doctor *doctor)
{
    int64_t before_us = clock_wall_us();
    PGresult *res =
        ask(doctor, "clock", "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8");
    int64_t after_us = clock_wall_us();

    if (res == NULL)
        return;
    int64_t skew_ms = (pg_get_int8(res, 0, 0) - (before_us + after_us) / 2) / 1000;
    int64_t size_ms = skew_ms < 0 ? -skew_ms : skew_ms;
    enum grade grade = size_ms > SKEW_FAIL_MS   ? GRADE_FAIL
                       : size_ms > SKEW_WARN_MS ? GRADE_WARN
                                                : GRADE_OK;
    doctor_say(doctor, "clock", grade,
               grade == GRADE_OK ? NULL : "let both machines follow a time server (NTP)",
               "the database's differs from ours by %" PRId64 " ms", skew_ms);
    PQclear(res);
}

struct wanted_setting {
    const char *name, *wanted; /* words that are right */
    const char *why;
    const char *mend; /* NULL: it is set, and taken up by a reload */
};

static void check_settings(struct doctor *doctor)
{
    static const struct wanted_setting wanted[] = {
        {"fsync", "on", "a power cut would ruin the database", NULL},
        {"full_page_writes", "on", "a power cut may tear pages", NULL},
        {"default_transaction_isolation", "serializable",
         "lifecycles that are not monotone rest on it", NULL},
        {"server_encoding", "UTF8", "text is UTF-8", "make the database anew: createdb -E UTF8"},
        {"autovacuum", "on", "the queue's table grows without end", NULL},
        {"track_counts", "on", "autovacuum needs it", NULL},
        {"transaction_read_only", "off", "nothing can be written",
         "a standby: connect to the primary; else ALTER SYSTEM RESET "
         "default_transaction_read_only, then SELECT pg_reload_conf()"},
    };
    int wrong = 0;

    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        struct pg_args args = {0};
        struct acc_error err;

        pg_text(&args, wanted[i].name);
        PGresult *res = pg_exec(&doctor->session.pg,
                                "SELECT coalesce(current_setting($1, true), '?')", &args, &err);
        const char *value = res == NULL ? "?" : pg_get_text(res, 0, 0);
        if (strstr(wanted[i].wanted, value) == NULL) {
            char *set = acc_format("ALTER SYSTEM SET %s = %s, then SELECT pg_reload_conf()",
                                   wanted[i].name, wanted[i].wanted);

            wrong++;
            doctor_say(doctor, "settings", GRADE_FAIL,
                       wanted[i].mend == NULL ? set : wanted[i].mend, "%s is %s, wanted %s: %s",
                       wanted[i].name, value, wanted[i].wanted, wanted[i].why);
            free(set);
        }
        PQclear(res);
    }
    if (wrong == 0)
        doctor_say(doctor, "settings", GRADE_OK, NULL,
                   "fsync, isolation, encoding, autovacuum are as they should be");
}

static void check_locale(struct doctor *doctor)
{
    static const char *const newer =
        "SELECT datcollate::text, datctype::text, coalesce(datcollversion IS DISTINCT FROM "
        "pg_database_collation_actual_version(oid), false) FROM pg_database WHERE datname = "
        "current_database()";
    static const char *const older = "SELECT datcollate::text, datctype::text, false FROM "
                                     "pg_database WHERE datname = current_database()";
    PGresult *res =
        ask(doctor, "locale", PQserverVersion(doctor->session.pg.conn) >= 150000 ? newer : older);

    if (res == NULL)
        return;
    bool is_stale = pg_get_bool(res, 0, 2);
    doctor_say(
        doctor, "locale", is_stale ? GRADE_WARN : GRADE_OK,
        is_stale ? "REINDEX DATABASE, then ALTER DATABASE ... REFRESH COLLATION VERSION" : NULL,
        "collation %s, type %s%s", pg_get_text(res, 0, 0), pg_get_text(res, 0, 1),
        is_stale ? ", of another version of the C library than indexes were built with" : "");
    PQclear(res);
}

static void check_connections(struct doctor *doctor)
{
    static const char sql[] =
        "SELECT current_setting('max_connections')::int8 - "
        "current_setting('superuser_reserved_connections')::int8, (SELECT count(*) FROM "
        "pg_stat_activity WHERE backend_type = 'client backend'), (SELECT rolconnlimit::int8 FROM "
        "pg_roles WHERE rolname = current_user), pg_backend_pid()::int8";
    const struct settings *s = &doctor->app.settings;
    int64_t workers = s->worker.count > 0 ? s->worker.count : sysconf(_SC_NPROCESSORS_ONLN);
    PGresult *res = ask(doctor, "connections", sql);

    if (res == NULL)
        return;
    int64_t most = pg_get_int8(res, 0, 0);
    int64_t used = pg_get_int8(res, 0, 1);
    int64_t limit = pg_get_int8(res, 0, 2);
    if (limit >= 0 && limit < most)
        most = limit;
    bool is_few = app_host(&doctor->app) == 0 ? most - used < workers + CONNECTIONS_SPARE
                                              : most - used < CONNECTIONS_SPARE;
    doctor_say(doctor, "connections", is_few ? GRADE_WARN : GRADE_OK,
               is_few ? "raise max_connections (or the role's limit), or lower worker.count" : NULL,
               "%" PRId64 " of %" PRId64 " are in use, %" PRId64 " workers want one each", used,
               most, workers);
    if (pg_get_int8(res, 0, 3) != PQbackendPID(doctor->session.pg.conn))
        doctor_say(doctor, "pooler", GRADE_FAIL,
                   "connect to the server itself, or use the pooler's session mode",
                   "a pooler in transaction mode is between us and the database: locks and "
                   "prepared statements are lost in it");
    PQclear(res);
}

static void check_rights(struct doctor *doctor)
{
    /* "" for the owner: there is no such schema yet */
    static const char sql[] =
        "SELECT rolname::text, rolsuper OR rolcreaterole, "
        "has_database_privilege(current_database(), 'CREATE'), coalesce(pg_get_userbyid(nspowner), "
        "'')::text, coalesce(pg_has_role(nspowner, 'USAGE'), true) FROM pg_roles LEFT JOIN "
        "pg_namespace ON nspname = $1 WHERE rolname = current_user";
    struct pg_args args = {0};
    struct acc_error err;

    pg_text(&args, doctor->app.schema);
    PGresult *res = pg_exec(&doctor->session.pg, sql, &args, &err);
    if (res == NULL) {
        doctor_say(doctor, "role", GRADE_WARN, NULL, "cannot be checked: %s", err.text);
        return;
    }
    const char *role = pg_get_text(res, 0, 0);
    const char *owner = pg_get_text(res, 0, 3);
    bool may_roles = pg_get_bool(res, 0, 1);
    if (owner[0] == '\0' && !pg_get_bool(res, 0, 2)) {
        char *mend = acc_format("GRANT CREATE ON DATABASE \"%s\" TO \"%s\"",
                                PQdb(doctor->session.pg.conn), role);
        doctor_say(doctor, "role", GRADE_FAIL, mend, "\"%s\" may not make the app's schema", role);
        free(mend);
    } else if (!pg_get_bool(res, 0, 4)) {
        char *mend = acc_format("connect as \"%s\", or GRANT \"%s\" TO \"%s\"", owner, owner, role);
        doctor_say(doctor, "role", GRADE_FAIL, mend,
                   "the app's schema belongs to \"%s\": \"%s\" may not work in it", owner, role);
        free(mend);
    } else {
        char *mend = acc_format("ALTER ROLE \"%s\" CREATEROLE, for the time of one run", role);
        doctor_say(doctor, "role", may_roles ? GRADE_OK : GRADE_WARN, may_roles ? NULL : mend,
                   "\"%s\"%s", role,
                   may_roles ? ", may make the workers' role"
                             : " may not make the workers' role: facts are kept by triggers alone");
        free(mend);
    }
    PQclear(res);
}

static void check_wal(struct doctor *doctor)
{
    static const char sql[] =
        "SELECT coalesce(sum(size), 0)::int8, pg_size_bytes(current_setting('max_wal_size')) FROM "
        "pg_ls_waldir()";
    static const char slots[] =
        "SELECT slot_name::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 FROM "
        "pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL";
    PGresult *res = ask(doctor, "wal", sql);

    if (res == NULL)
        return;
    double mib = (double)pg_get_int8(res, 0, 0) / 1048576.0;
    double most = (double)pg_get_int8(res, 0, 1) / 1048576.0;
    bool is_large = mib > 2 * most + 256;
    doctor_say(doctor, "wal", is_large ? GRADE_WARN : GRADE_OK,
               is_large ? "look for idle replication slots, a failing archive_command, a slow disk"
                        : NULL,
               "%.0f MiB of log, max_wal_size is %.0f", mib, most);
    PQclear(res);
    res = ask(doctor, "wal", slots);
    for (int r = 0; res != NULL && r < PQntuples(res); r++)
        doctor_say(doctor, "wal", GRADE_WARN, "SELECT pg_drop_replication_slot(...)",
                   "the idle replication slot %s keeps %.0f MiB of log", pg_get_text(res, r, 0),
                   (double)pg_get_int8(res, r, 1) / 1048576.0);
    PQclear(res);
}

static void check_transactions(struct doctor *doctor)
{
    static const char sql[] =
        "SELECT pid::text, usename::text, application_name::text, state, extract(epoch FROM now() "
        "- "
        "xact_start)::int8 FROM pg_stat_activity WHERE xact_start < now() - interval '5 minutes' "
        "AND backend_type = 'client backend' AND datname = current_database() ORDER BY xact_start "
        "LIMIT 5";
    static const char prepared[] = "SELECT gid FROM pg_prepared_xacts WHERE database = "
                                   "current_database() LIMIT 5";
    PGresult *res = ask(doctor, "transactions", sql);
    bool is_fine = res != NULL && PQntuples(res) == 0;

    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        char *mend = acc_format("SELECT pg_terminate_backend(%s)", pg_get_text(res, r, 0));
        doctor_say(doctor, "transactions", GRADE_WARN, mend,
                   "\"%s\" of %s has had one open for %" PRId64
                   " s (%s): nothing deleted since can "
                   "be cleaned up",
                   pg_get_text(res, r, 2), pg_get_text(res, r, 1), pg_get_int8(res, r, 4),
                   pg_get_text(res, r, 3));
        free(mend);
    }
    PQclear(res);
    res = ask(doctor, "transactions", prepared);
    is_fine = is_fine && res != NULL && PQntuples(res) == 0;
    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        char *mend = acc_format("ROLLBACK PREPARED '%s'", pg_get_text(res, r, 0));
        doctor_say(doctor, "transactions", GRADE_WARN, mend,
                   "a prepared transaction \"%s\" was left behind", pg_get_text(res, r, 0));
        free(mend);
    }
    PQclear(res);
    if (is_fine)
        doctor_say(doctor, "transactions", GRADE_OK, NULL, "none is older than 5 minutes");
}

void doctor_server(struct doctor *doctor)
{
    check_clock(doctor);
    check_settings(doctor);
    check_locale(doctor);
    check_connections(doctor);
    check_rights(doctor);
    check_wal(doctor);
    check_transactions(doctor);
}

/* The app's tables */

static void check_drift(struct doctor *doctor)
{
    struct schema_plan plan;
    struct drift_list list;
    struct acc_error err;
    size_t found = 0;

    if (!schema_plan_make(&plan, &doctor->session.pg, doctor->app.schema, &doctor->program,
                          &doctor->app.settings, &err)) {
        doctor_say(doctor, "schema", GRADE_FAIL, "accrete schema plan", "%s", err.text);
        return;
    }
    for (size_t i = 0; i < plan.refusal_count; i++, found++)
        doctor_say(doctor, "schema", GRADE_FAIL, "the message says the way out", "%s",
                   plan.refusals[i]);
    if (plan.count > 0 && ++found > 0)
        doctor_say(doctor, "schema", GRADE_WARN, "accrete schema apply, or accrete reload",
                   "between the database and the app: %s",
                   cli_counted((int64_t)plan.count, "statement"));
    schema_plan_clear(&plan);
    if (schema_drift(&list, &doctor->session.pg, doctor->app.schema, &doctor->program,
                     &doctor->app.settings, &err)) {
        for (size_t i = 0; i < list.count; i++) {
            const struct drift *one = &list.items[i];
            if (one->grade == DRIFT_NOTE)
                continue;
            found++;
            doctor_say(doctor, "schema", one->grade == DRIFT_FAIL ? GRADE_FAIL : GRADE_WARN,
                       one->mend, "%s: %s", one->object, one->finding);
        }
        drift_clear(&list);
    }
    if (found == 0)
        doctor_say(doctor, "schema", GRADE_OK, NULL, "the database is what the app declares");
}

static void check_events(struct doctor *doctor)
{
    struct queue_state state;
    struct acc_error err;

    if (!queue_state(&state, &doctor->session.pg, &err)) {
        doctor_say(doctor, "events", GRADE_FAIL, "accrete schema drift", "%s", err.text);
        return;
    }
    if (state.dead > 0)
        doctor_say(doctor, "events", GRADE_WARN,
                   "accrete queue groups them; accrete queue retry once the cause is mended",
                   "%s dead: results are incomplete", cli_counted(state.dead, "event"));
    if (state.discarded > 0)
        doctor_say(doctor, "events", GRADE_WARN, "accrete queue retry --state discarded",
                   "%s discarded: results are incomplete", cli_counted(state.discarded, "event"));
    if (state.orphaned > 0)
        doctor_say(doctor, "events", GRADE_WARN,
                   "bring the lifecycle back, or let them be: they cost only space",
                   "%s of lifecycles that were removed", cli_counted(state.orphaned, "event"));
    if (state.ready > 0 && app_host(&doctor->app) == 0)
        doctor_say(doctor, "events", GRADE_WARN, "accrete run",
                   "%s ready, but no host runs on this machine", cli_counted(state.ready, "event"));
    if (state.dead + state.discarded + state.orphaned == 0)
        doctor_say(doctor, "events", GRADE_OK, NULL,
                   "%" PRId64 " ready, %" PRId64 " delayed, none dead", state.ready, state.delayed);
}

/* What people hold back makes an app stand still that is otherwise sound. */
static void check_control(struct doctor *doctor)
{
    struct control control = {0};
    struct acc_error err;

    if (!control_read(&control, &doctor->session.pg, &err))
        doctor_say(doctor, "queue", GRADE_FAIL, "accrete schema drift", "%s", err.text);
    else if (control.is_paused)
        doctor_say(doctor, "queue", GRADE_WARN, "accrete queue resume --reason TEXT",
                   "paused by %s: %s", control.who, control.reason);
    if (control.throttle_count > 0)
        doctor_say(doctor, "queue", GRADE_WARN,
                   "accrete queue names them; accrete queue throttle LIFECYCLE none lifts one",
                   "%zu lifecycle%s throttled by hand", control.throttle_count,
                   control.throttle_count == 1 ? " is" : "s are");
    control_clear(&control);
}

static void check_contradictions(struct doctor *doctor)
{
    PGresult *res =
        ask(doctor, "facts", "SELECT coalesce(sum(contradictions), 0)::int8 FROM tally_kind");

    if (res != NULL && pg_get_int8(res, 0, 0) > 0)
        doctor_say(doctor, "facts", GRADE_WARN,
                   "make such fields part of `unique`, or a function of the unique ones",
                   "%" PRId64
                   " came again with other values outside their unique fields; the first "
                   "stayed",
                   pg_get_int8(res, 0, 0));
    PQclear(res);
}

static void check_vacuum(struct doctor *doctor)
{
    static const char sql[] =
        "SELECT c.reltuples::int8, coalesce(s.n_dead_tup, 0), coalesce(extract(epoch FROM now() - "
        "greatest(s.last_autovacuum, s.last_vacuum))::int8, -1), pg_total_relation_size(c.oid), "
        "coalesce('autovacuum_enabled=false' = ANY(c.reloptions) OR 'autovacuum_enabled=off' = "
        "ANY(c.reloptions), false) FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = "
        "c.oid WHERE c.oid = 'packet'::regclass";
    PGresult *res = ask(doctor, "vacuum", sql);

    if (res == NULL)
        return;
    int64_t dead = pg_get_int8(res, 0, 1);
    bool is_off = pg_get_bool(res, 0, 4);
    bool is_behind = dead > 200000;
    double mib = (double)pg_get_int8(res, 0, 3) / 1048576.0;
    doctor_say(doctor, "vacuum", is_off || is_behind ? GRADE_WARN : GRADE_OK,
               is_off      ? "ALTER TABLE packet RESET (autovacuum_enabled)"
               : is_behind ? "look for long transactions; raise autovacuum_max_workers or lower "
                             "autovacuum_vacuum_cost_delay"
                           : NULL,
               "the queue's table has %.0f MiB and %" PRId64 " dead rows%s", mib, dead,
               is_off ? "; autovacuum is off for it" : "");
    PQclear(res);
}

/* Before the first ingest or run: is the schema ours alone? */
static void check_empty(struct doctor *doctor)
{
    static const char sql[] =
        "SELECT count(*) FROM pg_class WHERE relnamespace = (SELECT oid FROM "
        "pg_namespace WHERE nspname = $1) AND relkind IN ('r', 'v', 'm', 'p')";
    struct pg_args args = {0};
    struct acc_error err;

    pg_text(&args, doctor->app.schema);
    PGresult *res = pg_exec(&doctor->session.pg, sql, &args, &err);
    int64_t tables = res == NULL ? 0 : pg_get_int8(res, 0, 0);
    if (tables > 0)
        doctor_say(doctor, "schema", GRADE_FAIL,
                   "choose a schema that nothing else uses (database.schema)",
                   "schema \"%s\" holds %" PRId64 " tables or views that are not accrete's",
                   doctor->app.schema, tables);
    else
        doctor_say(doctor, "schema", GRADE_OK, NULL,
                   "no tables yet: the first ingest or run makes them");
    PQclear(res);
}

void doctor_tables(struct doctor *doctor)
{
    if (!doctor->has_tables) {
        check_empty(doctor);
        return;
    }
    if (doctor->has_program)
        check_drift(doctor);
    check_events(doctor);
    check_control(doctor);
    check_contradictions(doctor);
    check_vacuum(doctor);
}
