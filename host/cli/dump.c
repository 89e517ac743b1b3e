/* accrete dump: every fact, one JSON object a line, sorted by bytes. */
#include "base/linesort.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/work.h"
#include "facts.h"
#include "formats/dump_json.h"
#include "formats/values.h"
#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_FACTS 10000
#define RUN_BYTES (64 << 20)
#define HEAP_MAX (64 << 20) /* texts of one page; it is read in smaller pages above */

struct dump {
    struct cli *cli;
    struct work *work;
    struct linesort *sort;
    struct acc_heap heap;
    struct buf line;
    int64_t count;
    struct progress progress;
};

/* Facts of one kind with ids above *after, in id order; each query is a transaction of its own. */
static char *page_sql(const struct kind *kind)
{
    struct buf sql = {0};

    buf_text(&sql, "SELECT ");
    facts_select_list(kind, &sql);
    buf_printf(&sql, " FROM %s f WHERE f._id > $1 ORDER BY f._id LIMIT $2", kind->table);
    return sql.data;
}

static bool add_facts(struct dump *dump, const struct kind *kind, const PGresult *res,
                      struct acc_row *row, struct acc_error *err)
{
    for (int r = 0; r < PQntuples(res); r++) {
        memset(row, 0, kind->row_bytes);
        heap_reset(&dump->heap);
        buf_reset(&dump->line);
        if (!facts_decode(kind, res, r, 0, &dump->heap, row, err))
            return false;
        dump_json_fact(&dump->line, kind, row);
        if (!linesort_add(dump->sort, dump->line.data, dump->line.size, err))
            return false;
        dump->count++;
    }
    return true;
}

/* A page with long texts is followed by a shorter one, so that memory stays bounded. */
static int64_t next_limit(const PGresult *res)
{
    size_t bytes = PQresultMemorySize(res);
    int64_t rows = PQntuples(res);
    int64_t fits =
        rows == 0 ? PAGE_FACTS : (int64_t)((double)HEAP_MAX / ((double)bytes / (double)rows));

    return fits < 1 ? 1 : fits > PAGE_FACTS ? PAGE_FACTS : fits;
}

static bool dump_kind(struct dump *dump, const struct kind *kind, struct acc_error *err)
{
    struct pg_stmt stmt = {.sql = page_sql(kind)};
    struct acc_row *row = acc_zalloc(kind->row_bytes);
    uint8_t after[16] = {0};
    int64_t limit = 100; /* nobody knows yet how long they are */
    bool ok = true;
    bool is_more = true;

    while (ok && is_more) {
        struct pg_args args = {0};

        pg_uuid(&args, after);
        pg_int8(&args, limit);
        PGresult *res = pg_query(&dump->work->session.pg, &stmt, &args, err);
        ok = res != NULL && add_facts(dump, kind, res, row, err);
        is_more = ok && PQntuples(res) == limit;
        if (is_more) {
            memcpy(after, row->id, sizeof(after));
            limit = next_limit(res);
        }
        PQclear(res);
        progress_show(&dump->progress, dump->count, dump->count);
    }
    free(row);
    free((char *)stmt.sql);
    return ok;
}

/* Which of the app's kinds have a table; a kind that has just been declared has none yet. */
static bool has_table(struct dump *dump, const struct kind *kind, bool *has, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = "SELECT to_regclass($1) IS NOT NULL"};
    struct pg_args args = {0};

    pg_text(&args, kind->table);
    PGresult *res = pg_query(&dump->work->session.pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *has = pg_get_bool(res, 0, 0);
    PQclear(res);
    return true;
}

static bool dump_all(struct dump *dump, const struct kind *only, struct acc_error *err)
{
    const struct catalog *catalog = &dump->work->program.catalog;

    for (size_t k = 0; dump->work->has_tables && k < catalog->count; k++) {
        bool has;

        if (only != NULL && catalog->kinds[k] != only)
            continue;
        if (!has_table(dump, catalog->kinds[k], &has, err) ||
            (has && !dump_kind(dump, catalog->kinds[k], err)))
            return false;
    }
    return true;
}

/* What can still bring facts, and all facts so far. */
static bool unfinished(struct dump *dump, int64_t *events, int64_t *facts, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = "SELECT coalesce(sum(new), 0)::int8 FROM tally_kind"};
    struct queue_state state;

    *events = *facts = 0;
    if (!dump->work->has_tables)
        return true;
    if (!queue_state(&state, &dump->work->session.pg, err))
        return false;
    PGresult *res = pg_query(&dump->work->session.pg, &stmt, NULL, err);
    if (res == NULL)
        return false;
    *facts = pg_get_int8(res, 0, 0);
    *events = state.ready + state.delayed + state.dead + state.replays;
    PQclear(res);
    return true;
}

static bool write_out(struct dump *dump, struct acc_error *err)
{
    const char *path = cli_value(dump->cli, "out");
    FILE *out = path == NULL ? stdout : fopen(path, "we");

    if (out == NULL) {
        acc_fail_errno(err, "cannot write \"%s\"", path);
        return false;
    }
    bool ok = linesort_write(dump->sort, out, err);
    if (ok && fflush(out) != 0)
        ok = acc_fail_errno(err, "cannot write %s", path == NULL ? "the result" : path);
    if (path != NULL && fclose(out) != 0 && ok)
        ok = acc_fail_errno(err, "cannot write \"%s\"", path);
    return ok;
}

static int dump_and_check(struct dump *dump, const struct kind *only)
{
    struct acc_error err;
    int64_t events[2];
    int64_t facts[2];

    if (!unfinished(dump, &events[0], &facts[0], &err))
        return cli_fail(dump->cli, &err);
    dump->progress.total = only == NULL ? facts[0] : 0;
    bool ok = dump_all(dump, only, &err) && unfinished(dump, &events[1], &facts[1], &err);
    progress_hide(&dump->progress);
    if (!ok || !write_out(dump, &err))
        return cli_fail(dump->cli, &err);
    if (events[0] + events[1] == 0 && facts[0] == facts[1])
        return CLI_DONE;
    int64_t left = events[1] > events[0] ? events[1] : events[0];
    cli_note(dump->cli, "work is unfinished (%s %s queued, delayed or dead): more facts may follow",
             cli_counted(left, "event"), left == 1 ? "is" : "are");
    return CLI_FAILED;
}

static int run(struct cli *cli)
{
    struct work work;
    struct dump dump = {.cli = cli, .work = &work};
    const struct kind *only = NULL;
    struct acc_error err;
    int exit_code;

    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;

    struct values_target names = {.catalog = &work.program.catalog};
    if (cli_has(cli, "kind") &&
        (only = values_kind(&names, cli_value(cli, "kind"), &err)) == NULL) {
        exit_code = cli_misuse(cli, "--kind: %s", err.text);
    } else if (work_connect(cli, &work, WORK_READ, &exit_code)) {
        dump.sort = linesort_new(work.app.data_dir, RUN_BYTES);
        heap_init(&dump.heap, 0);
        progress_begin(&dump.progress, "facts", !cli_has(cli, "quiet"));
        exit_code = dump_and_check(&dump, only);
        linesort_free(dump.sort);
        buf_clear(&dump.line);
    }
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_dump = {
    .name = "dump",
    .summary = "writes every fact, one JSON object a line, sorted by bytes",
    .usage = "",
    .help =
        "The same facts give the same bytes, in whatever order and by however many workers they\n"
        "were found: accrete dump | sha256sum compares fixpoints. Fields stand in their declared\n"
        "order after \"kind\"; int8 is decimal, bytes are hex, NULL is left out. While work is\n"
        "unfinished the facts found so far are written, with a warning and exit code 1.",
    .options =
        (const struct cli_option[]){
            {"kind", 'k', CLI_KIND, "KIND", .help = "facts of this kind only"},
            {"out", 'o', CLI_FILE, "FILE", .help = "writes there instead of stdout"},
            {"quiet", 'q', CLI_SWITCH, .help = "no progress"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete dump | sha256sum", "a digest of the whole fixpoint"},
            {"accrete dump --kind path --out paths.ndjson", "one kind into a file"},
            {0},
        },
    .run = run,
};
