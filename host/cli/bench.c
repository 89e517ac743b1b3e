/* accrete bench: what a call of each callback and of parts of the host takes, against an earlier generation. */
#include "cli/commands.h"
#include "cli/show.h"

#include "bench.h"
#include "native.h"
#include "schema.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int number)
{
    (void)number;
    is_interrupted = 1;
}

static bool should_stop(void *context)
{
    (void)context;
    return is_interrupted != 0;
}

static void show_turn(void *context, const char *of)
{
    const struct cli *cli = context;

    if (isatty(STDERR_FILENO) && !cli_has(cli, "json"))
        fprintf(stderr, "\r\033[K%s", of);
}

static void end_turns(const struct cli *cli)
{
    if (isatty(STDERR_FILENO) && !cli_has(cli, "json"))
        fprintf(stderr, "\r\033[K");
}

/* Names that are no lifecycle's are misuse. */
static bool check_names(struct cli *cli, const struct program *program)
{
    const char **names = acc_alloc((program->lifecycle_count + 2) * sizeof(*names));
    size_t count = 0;
    bool ok = true;

    for (; count < program->lifecycle_count; count++)
        names[count] = program->lifecycles[count]->name;
    names[count++] = BENCH_HOST;
    for (int i = 0; ok && i < cli->argc; i++) {
        const char *near = NULL;

        ok = program_find(program, cli->argv[i]) != NULL || strcmp(cli->argv[i], BENCH_HOST) == 0;
        if (!ok)
            near = name_suggest(cli->argv[i], names, count);
        if (!ok)
            cli_misuse(cli, "LIFECYCLE: unknown lifecycle \"%s\"%s%s%s", cli->argv[i],
                       near == NULL ? "" : ", did you mean \"", near == NULL ? "" : near,
                       near == NULL ? "" : "\"?");
    }
    free(names);
    return ok;
}

/* Text */

static void cell(struct show_table *table, const char *text)
{
    show_table_cell(table, text, strlen(text));
}

/* "1.31 µs": three digits. */
static void cell_ns(struct show_table *table, const json_t *value)
{
    static const struct {
        double ns;
        const char *name;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}, {1, "ns"}};
    double ns = json_number_value(value);
    char text[40] = "";
    size_t u = 0;

    while (u < 3 && ns < units[u].ns)
        u++;
    if (json_is_number(value)) {
        double shown = ns / units[u].ns;
        int digits = shown < 10 ? 2 : shown < 100 ? 1 : 0;
        snprintf(text, sizeof(text), "%.*f %s", digits, shown, units[u].name);
    }
    cell(table, text);
}

static void cell_percent(struct show_table *table, bool is_there, double share, bool is_signed)
{
    char text[40] = "";

    if (is_there)
        snprintf(text, sizeof(text), is_signed ? "%+.1f %%" : "%.1f %%", share * 100);
    cell(table, text);
}

/* The values as blocks between their smallest and largest; a gap is a blank. */
static void cell_history(struct show_table *table, json_t *history)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double low = INFINITY;
    double high = 0;
    struct buf text = {0};
    size_t i;
    json_t *value;

    json_array_foreach(history, i, value)
    {
        if (!json_is_number(value))
            continue;
        low = fmin(low, json_number_value(value));
        high = fmax(high, json_number_value(value));
    }
    json_array_foreach(history, i, value)
    {
        double share = high > low ? (json_number_value(value) - low) / (high - low) : 0;
        buf_text(&text, json_is_number(value) ? blocks[(int)(share * 7.99)] : " ");
    }
    show_table_cell(table, text.data == NULL ? "" : text.data, text.size);
    buf_clear(&text);
}

static void add_row(struct show_table *table, const json_t *row)
{
    const json_t *value = json_object_get(row, "value");
    const json_t *change = json_object_get(row, "change");
    bool is_beyond = json_is_true(json_object_get(row, "beyond"));
    double ns = json_number_value(value);
    const char *words = !is_beyond ? "" : json_number_value(change) > 0 ? "slower" : "faster";

    cell(table, json_string_value(json_object_get(row, "of")));
    cell(table, json_string_value(json_object_get(row, "part")));
    cell_ns(table, value);
    cell_percent(table, json_is_number(value) && ns > 0,
                 json_number_value(json_object_get(row, "ci")) / (ns > 0 ? ns : 1), false);
    cell_ns(table, json_object_get(row, "baseline"));
    cell_percent(table, json_is_number(change), json_number_value(change), true);
    cell(table, words);
    cell_history(table, json_object_get(row, "history"));
    cell(table, json_string_value(json_object_get(row, "note")));
}

static void print_table(json_t *answer)
{
    static const char *const head[] = {"belongs to", "part", "per call", "± 95 %", "baseline",
                                       "change",     "",     "history",  "note"};
    static const bool is_right[] = {false, false, true, true, true, true, false, false, false};
    struct show_table table = {.column_count = sizeof(head) / sizeof(head[0])};
    size_t i;
    json_t *row;

    for (size_t c = 0; c < table.column_count; c++)
        cell(&table, head[c]);
    json_array_foreach(answer, i, row)
    {
        add_row(&table, row);
    }
    show_table_print(&table, is_right);
    show_table_clear(&table);
}

/* Running */

struct bench {
    struct cli *cli;
    struct work work;
    json_t *rows;
    int32_t generation; /* 0: the modules are not those of the current one */
};

/* Whether the results belong to the current generation, and which that is. */
static bool bind(struct bench *bench, struct acc_error *err)
{
    struct program *program = &bench->work.program;

    if (!bench->work.has_tables)
        return true;
    if (schema_bind(&bench->work.session.pg, program, err)) {
        bench->generation = program->generation;
        return true;
    }
    return err->code == ACC_ESTALE;
}

static bool measure(struct bench *bench, struct acc_error *err)
{
    struct cli *cli = bench->cli;
    struct work *work = &bench->work;
    struct sigaction action = {.sa_handler = on_interrupt};
    char *native = native_dir(&work->app);
    struct bench_order order = {.settings = &work->app.settings,
                                .conninfo = work->session.conninfo,
                                .schema = work->app.schema,
                                .modules_dir = work->app.dir,
                                .native_dir = native,
                                .program = &work->program,
                                .only = cli->argc > 0 ? (const char *const *)cli->argv : NULL,
                                .runs = (int)cli_number(cli, "runs", BENCH_RUNS),
                                .samples = cli_number(cli, "samples", BENCH_SAMPLES),
                                .should_stop = should_stop,
                                .turn = show_turn,
                                .context = cli};

    sigaction(SIGINT, &action, NULL); /* what is measured by then is shown */
    bench->rows = bench_run(&order, err);
    end_turns(cli);
    free(native);
    return bench->rows != NULL;
}

struct saving {
    const struct program *program;
    int32_t generation;
    json_t *rows;
};

static bool save_rows(struct pg *pg, void *context, struct acc_error *err)
{
    const struct saving *saving = context;

    return bench_save(pg, saving->program, saving->generation, saving->rows, err);
}

/* *is_kept: the rows are in the database now. */
static bool save(struct bench *bench, bool *is_kept, struct acc_error *err)
{
    struct saving saving = {&bench->work.program, bench->generation, bench->rows};

    *is_kept = false;
    if (cli_has(bench->cli, "no-save") || is_interrupted != 0)
        return true;
    if (bench->generation == 0) {
        cli_note(bench->cli, bench->work.has_tables
                                 ? "not kept: the modules have changed since the current "
                                   "generation; accrete reload, or the next run, makes them one"
                                 : "not kept: nothing has been run yet");
        return true;
    }
    *is_kept = pg_write(&bench->work.session.pg, save_rows, &saving, err);
    if (!*is_kept && pg_lacks_table(err)) {
        cli_note(bench->cli, "not kept: the tables are those of an older version; accrete schema "
                             "apply brings them up to date");
        return true;
    }
    return *is_kept;
}

static int tell(struct bench *bench, json_t *answer)
{
    bool has_failed = false;
    size_t i;
    json_t *row;

    json_array_foreach(bench->rows, i, row)
    {
        has_failed |= json_is_true(json_object_get(row, "is_failed"));
    }
    int code = has_failed || is_interrupted != 0 ? CLI_FAILED : CLI_DONE;
    if (cli_has(bench->cli, "json")) {
        /* As many digits as the figures have; 17 would show what they are in binary. */
        json_dumpf(answer, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
        putchar('\n');
        json_decref(answer);
        return cli_flush(bench->cli, code);
    }
    print_table(answer);
    json_decref(answer);
    return cli_flush(bench->cli, code);
}

/* What is kept of those that were not asked for is not shown. */
static void leave_out_others(const struct cli *cli, json_t *answer)
{
    for (size_t i = json_array_size(answer); cli->argc > 0 && i-- > 0;) {
        const char *of = json_string_value(json_object_get(json_array_get(answer, i), "of"));
        bool is_asked = false;

        for (int a = 0; a < cli->argc; a++)
            is_asked |= strcmp(of, cli->argv[a]) == 0;
        if (!is_asked)
            json_array_remove(answer, i);
    }
}

static int run_locked(struct bench *bench, int lock)
{
    struct cli *cli = bench->cli;
    struct pg *pg = &bench->work.session.pg;
    int32_t baseline = (int32_t)cli_number(cli, "baseline", 0);
    struct acc_error err;
    bool is_kept;

    if (!bench_settle(pg, lock, 0, &err))
        return cli_fail(cli, &err);
    bench_lock_sign(lock, 0, 0);
    /* A baseline that is not there is told before anything is measured. */
    if (!bind(bench, &err))
        return cli_fail(cli, &err);
    json_t *known = bench_read(pg, &bench->work.program, NULL, baseline, &err);
    if (known == NULL)
        return cli_fail(cli, &err);
    json_decref(known);
    if (!measure(bench, &err) || !save(bench, &is_kept, &err))
        return cli_fail(cli, &err);
    json_t *answer =
        bench_read(pg, &bench->work.program, is_kept ? NULL : bench->rows, baseline, &err);
    if (answer == NULL)
        return cli_fail(cli, &err);
    leave_out_others(cli, answer);
    return tell(bench, answer);
}

static int run(struct cli *cli)
{
    struct bench bench = {.cli = cli};
    struct acc_error err;
    int exit_code;

    if (!work_open(cli, &bench.work, WORK_PROGRAM, &exit_code))
        return exit_code;
    if (!check_names(cli, &bench.work.program)) {
        work_close(&bench.work);
        return CLI_MISUSE;
    }
    int lock = bench_lock(bench.work.app.data_dir, &err);
    if (lock < 0) {
        exit_code = cli_fail(cli, &err);
    } else {
        if (work_connect(cli, &bench.work, 0, &exit_code))
            exit_code = run_locked(&bench, lock);
        close(lock);
    }
    json_decref(bench.rows);
    work_close(&bench.work);
    return exit_code;
}

const struct cli_command cli_bench = {
    .name = "bench",
    .summary = "measures each callback of the lifecycles, and parts of the host",
    .usage = "[LIFECYCLE...]",
    .help =
        "Replays facts of each lifecycle's kind, with their real friends, and calls its callbacks\n"
        "again and again: the median per call with its 95 % interval, by the processor's time. Of\n"
        "the host (named `host` among the lifecycles) some computations, and by the clock a\n"
        "look-up of 64 keys, an insert of 64 facts and the claim and completion of 64 packets.\n"
        "Nothing is written but the results, which are kept with the current generation (the\n"
        "newest of each part; --no-save keeps none): inserts go into temporary copies and are\n"
        "rolled back. A change against the baseline counts when it is more than 5 % and the\n"
        "intervals do not touch. `bench.limit` bounds the time; what raises, crashes or does not\n"
        "end has failed, the rest is measured, and the exit code is 1.",
    .argc_min = 0,
    .argc_max = -1,
    .arguments =
        (const struct cli_argument[]){
            {"LIFECYCLE", CLI_TEXT, "only these; `host`: the host"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"runs", 0, CLI_COUNT, "N", .min = 1, .max = 1000,
             .help = "runs of each part, of which the median is taken; 30"},
            {"samples", 0, CLI_COUNT, "N", .min = 1, .max = BENCH_SAMPLES_MAX,
             .help = "facts replayed for each lifecycle; 1000"},
            {"baseline", 0, CLI_COUNT, "GENERATION", .min = 1, .max = INT32_MAX,
             .help = "compares to this generation; for each part the newest before"},
            {"no-save", 0, CLI_SWITCH, .help = "does not keep the results"},
            {"json", 0, CLI_SWITCH, .help = "a list of objects, as GET /bench answers"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete bench", "everything, against the generation before"},
            {"accrete bench path_takes_edge --no-save",
             "one lifecycle, while its module is changed"},
            {"accrete bench --baseline 3 --json", "for a program, against generation 3"},
            {0},
        },
    .run = run,
};
