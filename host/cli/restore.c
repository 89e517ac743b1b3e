/* accrete restore: an app's facts, queue and counts from a file of accrete backup. */
#include "audit.h"
#include "base/remove.h"
#include "cli/archive.h"
#include "cli/commands.h"
#include "cli/work.h"
#include "schema.h"
#include "tally.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDS 10

struct restore {
    struct cli *cli;
    struct work *work;
    char *program;
    char *from;     /* schema in the file */
    char *replaced; /* what the old schema is called meanwhile; NULL: there was none */
};

/* Whether it begins as what pg_dump writes. */
static bool is_archive(const char *path)
{
    char bytes[5] = "";
    FILE *file = fopen(path, "re");
    bool is = file != NULL && fread(bytes, 1, 5, file) == 5 && memcmp(bytes, "PGDMP", 5) == 0;

    if (file != NULL)
        fclose(file);
    return is;
}

/* "; 6; 2615 16385 SCHEMA - closure accrete" in the file's table of contents. */
static bool read_file(struct restore *r, const char *file, struct acc_error *err)
{
    const char *argv[] = {r->program, "--list", file, NULL};
    struct buf list = {0};

    if (!archive_run(argv, NULL, &list, err)) {
        buf_clear(&list);
        return is_archive(file)
                   ? acc_fail_prefix(err,
                                     "\"%s\" is damaged, or of a newer PostgreSQL than "
                                     "%s reads",
                                     file, r->program)
                   : acc_fail_prefix(err, "\"%s\" is no backup that can be read", file);
    }
    const char *at = list.data == NULL ? NULL : strstr(list.data, " SCHEMA - ");
    if (at != NULL) {
        at += strlen(" SCHEMA - ");
        r->from = acc_format("%.*s", (int)strcspn(at, " \n"), at);
    }
    bool is_ours = at != NULL && strstr(list.data, " meta ") != NULL &&
                   strstr(list.data, " tally_kind ") != NULL;
    buf_clear(&list);
    return is_ours || acc_fail(err, ACC_EINPUT, "\"%s\" was not made by accrete backup", file);
}

static bool has_schema(struct pg *pg, const char *name, bool *answer, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_text(&args, name);
    PGresult *res =
        pg_exec(pg, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", &args, err);
    if (res != NULL)
        *answer = pg_get_bool(res, 0, 0);
    PQclear(res);
    return res != NULL;
}

/* SQL with the names of schemas in it: %s of the format are identifiers. */
static bool do_with(struct pg *pg, const char *before, const char *first, const char *between,
                    const char *second, struct acc_error *err)
{
    struct buf sql = {0};

    buf_text(&sql, before);
    pg_identifier(&sql, first);
    buf_text(&sql, between);
    if (second != NULL)
        pg_identifier(&sql, second);
    bool ok = pg_do(pg, sql.data, NULL, err);
    buf_clear(&sql);
    return ok;
}

static bool rename_schema(struct pg *pg, const char *from, const char *to, struct acc_error *err)
{
    return do_with(pg, "ALTER SCHEMA ", from, " RENAME TO ", to, err);
}

static bool drop_schema(struct pg *pg, const char *name, struct acc_error *err)
{
    return do_with(pg, "DROP SCHEMA IF EXISTS ", name, " CASCADE", NULL, err);
}

/* Nobody works in the target, and what is there may be replaced. */
static bool check_target(struct restore *r, struct acc_error *err)
{
    static const char busy[] =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = "
        "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())";
    static const char facts[] = "SELECT (SELECT coalesce(sum(new), 0) FROM tally_kind)::int8 + "
                                "(SELECT count(*) FROM packet) + (SELECT count(*) FROM parked)";
    struct pg *pg = &r->work->session.pg;
    struct pg_args none = {0};
    int64_t workers = 0;
    int64_t stored = 0;
    bool is_taken = false;

    if (strcmp(r->from, r->work->app.schema) != 0 && !has_schema(pg, r->from, &is_taken, err))
        return false;
    if (is_taken)
        return acc_fail(err, ACC_EINPUT,
                        "the file holds schema \"%s\", and the database has another one of that "
                        "name: restore into another database, or give database.schema=%s",
                        r->from, r->from);
    PGresult *res = pg_exec(pg, busy, &none, err);
    if (res == NULL)
        return false;
    workers = pg_get_int8(res, 0, 0);
    PQclear(res);
    if (workers > 0)
        return acc_fail(err, ACC_EINPUT,
                        "workers or writers use schema \"%s\": stop them on every machine first",
                        r->work->app.schema);
    if (!r->work->has_tables)
        return true;
    res = pg_exec(pg, facts, &none, err);
    if (res == NULL)
        return false;
    stored = pg_get_int8(res, 0, 0);
    PQclear(res);
    return stored == 0 || cli_has(r->cli, "force") ||
           acc_fail(err, ACC_EINPUT,
                    "schema \"%s\" is not empty: --force replaces what is in it, another "
                    "database.schema keeps it",
                    r->work->app.schema);
}

static bool load(struct restore *r, const char *file, struct acc_error *err)
{
    char *database = acc_format("--dbname=%s", PQdb(r->work->session.pg.conn));
    const char *argv[] = {r->program,
                          "--no-owner",
                          "--no-privileges",
                          "--no-password",
                          "--exit-on-error",
                          "--single-transaction",
                          database,
                          file,
                          NULL};
    bool ok = archive_run(argv, r->work->session.conninfo, NULL, err);

    free(database);
    return ok;
}

/*
 * Whoever wrote is not there any more: its tallies are added to those of epoch 0. Its number stays,
 * since numbers of batches and packets are made of it, and the next writer gets the next one.
 */
static bool end_epochs(struct pg *pg, struct acc_error *err)
{
    struct pg_args none = {0};

    for (int i = 0; i < FOLDS; i++) {
        if (!epoch_fold_dead(pg, err))
            return false;
        PGresult *res = pg_exec(pg, "SELECT count(*) FROM epoch WHERE NOT folded", &none, err);
        if (res == NULL)
            return false;
        int64_t left = pg_get_int8(res, 0, 0);
        PQclear(res);
        if (left == 0)
            return true;
    }
    return acc_fail(err, ACC_EDB, "the counts of former writers could not be added up");
}

/* The kind has as many facts as were counted when they came. */
static bool verify_kind(struct pg *pg, const char *kind, int64_t counted, struct acc_error *err)
{
    struct pg_args none = {0};
    struct buf sql = {0};
    char *table = acc_format("fact_%s", kind);

    buf_text(&sql, "SELECT count(*) FROM ");
    pg_identifier(&sql, table);
    PGresult *res = pg_exec(pg, sql.data, &none, err);
    int64_t facts = res == NULL ? -1 : pg_get_int8(res, 0, 0);
    PQclear(res);
    buf_clear(&sql);
    free(table);
    return facts == counted ||
           (facts >= 0 &&
            acc_fail(err, ACC_EDB, "kind \"%s\": %lld facts came back, %lld were counted", kind,
                     (long long)facts, (long long)counted));
}

static bool verify(struct pg *pg, json_t *counts, struct acc_error *err)
{
    const char *kind;
    json_t *count;
    bool ok = archive_count(pg, counts, err);

    json_object_foreach(counts, kind, count)
    {
        ok = ok && verify_kind(pg, kind, json_integer_value(count), err);
    }
    return ok;
}

static bool write_audit(struct restore *r, json_t *counts, struct acc_error *err)
{
    char *kinds = json_dumps(counts, JSON_COMPACT);
    struct audit audit = {.act = "restore",
                          .what = r->cli->argv[0],
                          .reason = r->replaced == NULL ? "" : "--force",
                          .result = kinds == NULL ? "" : kinds};
    bool ok = audit_add(&r->work->session.pg, &audit, NULL, err);

    free(kinds);
    return ok;
}

/* From an empty name to a checked schema. */
static bool fill(struct restore *r, json_t *counts, struct acc_error *err)
{
    const char *schema = r->work->app.schema;
    struct pg *pg = &r->work->session.pg;

    if (!load(r, r->cli->argv[0], err))
        return false;
    if (strcmp(r->from, schema) != 0 && !rename_schema(pg, r->from, schema, err)) {
        struct acc_error later;
        (void)!drop_schema(pg, r->from, &later);
        return false;
    }
    return schema_base(pg, schema, err) && schema_roles(pg, schema, err) && end_epochs(pg, err) &&
           verify(pg, counts, err) && write_audit(r, counts, err);
}

/* Fresh tables have no statistics, and every plan would be a guess. */
static bool analyze(struct pg *pg, struct acc_error *err)
{
    return pg_do(pg,
                 "DO $$DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE "
                 "relnamespace = current_schema()::regnamespace AND relkind = 'r' LOOP EXECUTE "
                 "'ANALYZE ' || t; END LOOP; END$$",
                 NULL, err);
}

/* Snapshots of modules are kept by number, and the numbers are those of the file now. */
static void forget_generations(struct restore *r)
{
    int fd = open(r->work->app.data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct acc_error err;

    if (fd >= 0 && !remove_at(fd, "generations", &err))
        cli_note(r->cli, "%s in \"%s\": remove it before the next run", err.text,
                 r->work->app.data_dir);
    if (fd >= 0)
        close(fd);
}

static bool replace(struct restore *r, json_t *counts, struct acc_error *err)
{
    const char *schema = r->work->app.schema;
    struct pg *pg = &r->work->session.pg;
    struct acc_error later;
    bool is_there;

    if (!has_schema(pg, schema, &is_there, err))
        return false;
    if (is_there) {
        r->replaced = acc_format("%.40s_replaced_%d", schema, (int)getpid());
        if (!rename_schema(pg, schema, r->replaced, err))
            return false;
    }
    if (fill(r, counts, err)) {
        forget_generations(r);
        if (!analyze(pg, &later))
            cli_note(r->cli, "ANALYZE failed: %s", later.text);
        return r->replaced == NULL || drop_schema(pg, r->replaced, err);
    }
    /* What was there comes back. */
    if (!drop_schema(pg, schema, &later) ||
        (r->replaced != NULL && !rename_schema(pg, r->replaced, schema, &later)))
        cli_note(r->cli, "the former schema is kept as \"%s\": %s",
                 r->replaced == NULL ? schema : r->replaced, later.text);
    return false;
}

static int tell(struct cli *cli, struct work *work, json_t *counts)
{
    json_t *summary = archive_summary(cli->argv[0], work->app.schema, counts);

    if (cli_has(cli, "json"))
        return cli_print_json(cli, summary);
    printf("%s from %s, all counted\n",
           cli_counted(json_integer_value(json_object_get(summary, "facts")), "fact"),
           cli->argv[0]);
    json_decref(summary);
    return cli_flush(cli, CLI_DONE);
}

static int restore(struct cli *cli, struct work *work)
{
    struct restore r = {.cli = cli, .work = work};
    json_t *counts = json_object();
    struct acc_error err;
    int exit_code = CLI_FAILED;

    r.program = archive_program(&work->app.settings, "pg_restore",
                                PQserverVersion(work->session.pg.conn), &err);
    if (r.program != NULL && read_file(&r, cli->argv[0], &err) && check_target(&r, &err) &&
        replace(&r, counts, &err))
        exit_code = tell(cli, work, counts);
    else
        cli_fail(cli, &err);
    free(r.program);
    free(r.from);
    free(r.replaced);
    json_decref(counts);
    return exit_code;
}

static int run(struct cli *cli)
{
    struct work work;
    struct acc_error err;
    int exit_code;

    if (access(cli->argv[0], R_OK) != 0) {
        acc_fail_errno(&err, "cannot read \"%s\"", cli->argv[0]);
        return cli_fail(cli, &err);
    }
    if (!work_open(cli, &work, 0, &exit_code))
        return exit_code;
    pid_t host = app_host(&work.app);
    if (host != 0) {
        acc_fail(&err, ACC_EINPUT, "the host (pid %d) runs: accrete stop ends it", (int)host);
        exit_code = cli_fail(cli, &err);
    } else if (work_connect(cli, &work, 0, &exit_code)) {
        exit_code = restore(cli, &work);
    }
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_restore = {
    .name = "restore",
    .summary = "reads a file of accrete backup into the app's database",
    .usage = "FILE",
    .help =
        "Into the private cluster or a server, of the version of PostgreSQL that FILE is from or "
        "a\n"
        "newer one, under the app's schema whatever it was called. Everything is counted against\n"
        "the tallies before it takes the place of what was there; a restore that fails changes\n"
        "nothing. Queued events go on with the next accrete run.",
    .argc_min = 1,
    .argc_max = 1,
    .arguments =
        (const struct cli_argument[]){
            {"FILE", CLI_FILE, "made by accrete backup"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"force", 0, CLI_SWITCH, .help = "replaces facts that are there"},
            {"json", 0, CLI_SWITCH, .help = "what was read, as one object"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete restore monday.accrete", "into an app without facts"},
            {"accrete restore --force monday.accrete", "back to Monday"},
            {"accrete restore --set database.url=postgres://db/facts all.accrete",
             "from a private cluster to a server"},
            {0},
        },
    .run = run,
};
