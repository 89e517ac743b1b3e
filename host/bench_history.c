/* Results of benchmarks in the database: kept by generation, compared to another one. */
#include "bench.h"

#include "bench_child.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALLEST_CHANGE 0.05
#define GENERATIONS_KEPT "60"

/* Keeping */

/* What the figures are of: a lifecycle's module, or this version of the host. */
static const char *module_of(const struct program *program, const char *of)
{
    const struct lifecycle *lifecycle = program_find(program, of);

    return lifecycle != NULL ? lifecycle->module_sha : ACC_VERSION;
}

static void set_modules(const struct program *program, json_t *rows)
{
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        const char *of = json_string_value(json_object_get(row, "of"));
        json_object_set_new(row, "module", json_string(module_of(program, of)));
    }
}

bool bench_save(struct pg *pg, const struct program *program, int32_t generation, json_t *rows,
                struct acc_error *err)
{
    static const char insert[] =
        "INSERT INTO bench (generation, of, part, at, ns, ci_ns, runs, samples, host, module, "
        "note, is_failed) SELECT $1::int4, r.of, r.part, now(), r.ns, r.ci_ns, r.runs, r.samples, "
        "$2, r.module, r.note, r.is_failed FROM jsonb_to_recordset($3::text::jsonb) AS r(of text, "
        "part text, ns float8, ci_ns float8, runs int4, samples int4, module text, note text, "
        "is_failed bool) ON CONFLICT (generation, of, part) DO UPDATE SET at = excluded.at, "
        "ns = excluded.ns, ci_ns = excluded.ci_ns, runs = excluded.runs, samples = "
        "excluded.samples, host = excluded.host, module = excluded.module, note = excluded.note, "
        "is_failed = excluded.is_failed";
    static const char forget[] =
        "DELETE FROM bench WHERE generation < (SELECT min(generation) FROM (SELECT DISTINCT "
        "generation FROM bench ORDER BY generation DESC LIMIT " GENERATIONS_KEPT ") newest)";
    struct pg_args args = {0};
    char host[65] = "";

    gethostname(host, sizeof(host) - 1);
    set_modules(program, rows);
    char *text = json_dumps(rows, JSON_COMPACT);
    pg_int4(&args, generation);
    pg_text(&args, host);
    pg_text(&args, text);
    bool ok = pg_do(pg, insert, &args, err) && pg_do(pg, forget, NULL, err);
    free(text);
    return ok;
}

/* Reading */

/* All that is kept: a few thousand rows at most. */
struct history {
    const struct program *program;
    json_t *parts;      /* {"OF PART": {"GENERATION": row}} */
    json_t *newest;     /* {OF: newest generation it was measured in} */
    json_t *changed;    /* {LIFECYCLE: generation that its module came with} */
    json_t *fresh;      /* {"OF PART": row}: shown instead; or NULL */
    int32_t generation; /* the current one */
};

static void history_clear(struct history *history)
{
    json_decref(history->parts);
    json_decref(history->newest);
    json_decref(history->changed);
    json_decref(history->fresh);
}

static json_t *at_key(json_t *object, const char *of, const char *part)
{
    char key[160];

    snprintf(key, sizeof(key), "%s %s", of, part);
    return json_object_get(object, key);
}

static void set_key(json_t *object, const json_t *row, json_t *value)
{
    char key[160];

    snprintf(key, sizeof(key), "%s %s", json_string_value(json_object_get(row, "of")),
             json_string_value(json_object_get(row, "part")));
    json_object_set_new(object, key, value);
}

static json_t *at_generation(json_t *of_part, int32_t generation)
{
    char key[16];

    snprintf(key, sizeof(key), "%d", (int)generation);
    return json_object_get(of_part, key);
}

/* One row of the table; newer generations come first. */
static void take(struct history *history, json_t *row)
{
    const char *of = json_string_value(json_object_get(row, "of"));
    json_t *generation = json_object_get(row, "generation");
    json_t *of_part = at_key(history->parts, of, json_string_value(json_object_get(row, "part")));
    char key[16];

    if (of_part == NULL) {
        of_part = json_object();
        set_key(history->parts, row, of_part);
    }
    snprintf(key, sizeof(key), "%d", (int)json_integer_value(generation));
    json_object_set(of_part, key, row);
    if (json_object_get(history->newest, of) == NULL)
        json_object_set(history->newest, of, generation);
}

static bool read_rows(struct history *history, struct pg *pg, struct acc_error *err)
{
    static const char sql[] =
        "SELECT json_build_object('generation', generation, 'of', of, 'part', part, 'at', "
        "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), 'ns', ns, 'ci_ns', "
        "ci_ns, 'runs', runs, 'samples', samples, 'host', host, 'module', module, 'note', note, "
        "'is_failed', is_failed)::text FROM bench ORDER BY generation DESC";
    static const struct pg_args none;
    PGresult *res = pg_exec(pg, sql, &none, err);

    if (res == NULL)
        return pg_lacks_table(err); /* of tables that an older version made */
    for (int r = 0; r < PQntuples(res); r++) {
        json_t *row = json_loads(pg_get_text(res, r, 0), JSON_ALLOW_NUL, NULL);

        if (row != NULL)
            take(history, row);
        json_decref(row);
    }
    PQclear(res);
    return true;
}

static bool read_generations(struct history *history, struct pg *pg, struct acc_error *err)
{
    static const char sql[] = "SELECT name, generation, (SELECT max(id) FROM generation)::int4 "
                              "FROM lifecycle WHERE active UNION ALL SELECT NULL, 0, "
                              "coalesce(max(id), 0)::int4 FROM generation";
    static const struct pg_args none;
    PGresult *res = pg_exec(pg, sql, &none, err);

    if (res == NULL)
        return pg_lacks_table(err);
    for (int r = 0; r < PQntuples(res); r++) {
        history->generation = pg_get_int4(res, r, 2);
        if (!PQgetisnull(res, r, 0))
            json_object_set_new(history->changed, pg_get_text(res, r, 0),
                                json_integer(pg_get_int4(res, r, 1)));
    }
    PQclear(res);
    return true;
}

static void take_fresh(struct history *history, json_t *rows)
{
    size_t i;
    json_t *row;

    if (rows == NULL)
        return;
    set_modules(history->program, rows);
    history->fresh = json_object();
    json_array_foreach(rows, i, row)
    {
        set_key(history->fresh, row, json_incref(row));
    }
}

/* Comparing */

static bool is_measured(const json_t *row)
{
    return json_is_number(json_object_get(row, "ns"));
}

static double number(const json_t *row, const char *name)
{
    return json_number_value(json_object_get(row, name));
}

/* The row of generation wanted, or for 0 of the newest below before that has a figure; NULL: none. */
static json_t *baseline_of(json_t *of_part, int32_t wanted, int32_t before)
{
    const char *key;
    json_t *row;
    json_t *best = NULL;
    int32_t best_generation = 0;

    if (wanted != 0) {
        row = at_generation(of_part, wanted);
        return is_measured(row) ? row : NULL;
    }
    json_object_foreach(of_part, key, row)
    {
        int32_t generation = (int32_t)json_integer_value(json_object_get(row, "generation"));

        if (is_measured(row) && generation < before && generation > best_generation) {
            best = row;
            best_generation = generation;
        }
    }
    return best;
}

static json_t *history_of(const struct history *history, json_t *of_part)
{
    int32_t from = history->generation - BENCH_HISTORY + 1;
    json_t *values = json_array();

    for (int32_t g = from < 1 ? 1 : from; g <= history->generation; g++) {
        json_t *row = at_generation(of_part, g);
        json_array_append(values, is_measured(row) ? json_object_get(row, "ns") : json_null());
    }
    return values;
}

static void add_words(struct buf *note, const char *words)
{
    if (*words == '\0')
        return;
    if (note->size > 0)
        buf_text(note, "; ");
    buf_text(note, words);
}

/* What may explain the change. */
static void explain(const struct history *history, const char *of, const json_t *row,
                    const json_t *baseline, struct buf *note)
{
    const char *mine = json_string_value(json_object_get(row, "module"));
    const char *its = json_string_value(json_object_get(baseline, "module"));
    const json_t *own = json_object_get(row, "generation");
    int32_t generation = (int32_t)json_integer_value(own);
    int32_t changed = (int32_t)json_integer_value(json_object_get(history->changed, of));
    int32_t before = (int32_t)json_integer_value(json_object_get(baseline, "generation"));
    const char *host = json_string_value(json_object_get(row, "host"));
    const char *its_host = json_string_value(json_object_get(baseline, "host"));
    char words[160];

    if (strcmp(mine, its) != 0) {
        if (program_find(history->program, of) == NULL)
            snprintf(words, sizeof(words), "accrete %.40s, was %.40s", mine, its);
        else if (own == NULL)
            snprintf(words, sizeof(words), "changed since generation %d", (int)before);
        else
            snprintf(words, sizeof(words), "changed in generation %d",
                     (int)(changed > before && changed <= generation ? changed : generation));
        add_words(note, words);
    }
    if (host != NULL && its_host != NULL && strcmp(host, its_host) != 0) {
        snprintf(words, sizeof(words), "baseline measured on %.80s", its_host);
        add_words(note, words);
    }
    if (own != NULL && changed > generation) {
        snprintf(words, sizeof(words), "changed since, in generation %d", (int)changed);
        add_words(note, words);
    }
}

static json_t *member(const json_t *row, const char *name)
{
    json_t *value = json_object_get(row, name);

    return value == NULL ? json_null() : json_incref(value);
}

static json_t *answer_row(const struct history *history, const char *of, const char *part,
                          json_t *row, int32_t wanted)
{
    json_t *of_part = at_key(history->parts, of, part);
    json_t *own = json_object_get(row, "generation");
    json_t *baseline =
        baseline_of(of_part, wanted, own == NULL ? INT32_MAX : (int32_t)json_integer_value(own));
    bool is_compared = baseline != NULL && is_measured(row) && number(baseline, "ns") > 0;
    double apart = number(row, "ns") - number(baseline, "ns");
    double change = is_compared ? apart / number(baseline, "ns") : 0;
    struct buf note = {0};

    add_words(&note, json_string_value(json_object_get(row, "note")));
    if (baseline != NULL)
        explain(history, of, row, baseline, &note);
    json_t *answer = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:s, s:o, s:o, s:o, s:o, s:o}", "of",
        of, "part", part, "unit", "ns", "value", member(row, "ns"), "ci", member(row, "ci_ns"),
        "baseline", member(baseline, "ns"), "baseline_generation", member(baseline, "generation"),
        "change", is_compared ? json_real(change) : json_null(), "beyond",
        is_compared && fabs(change) > SMALLEST_CHANGE &&
            fabs(apart) > number(row, "ci_ns") + number(baseline, "ci_ns"),
        "history", history_of(history, of_part), "note", note.size == 0 ? "" : note.data, "at",
        member(row, "at"), "generation", member(row, "generation"), "runs", member(row, "runs"),
        "samples", member(row, "samples"), "host", member(row, "host"));
    buf_clear(&note);
    return answer;
}

/* All parts of one, in their order. */
static void answer_of(const struct history *history, const char *of, const char *const *parts,
                      size_t count, int32_t wanted, json_t *answer)
{
    const json_t *newest = json_object_get(history->newest, of);

    for (size_t i = 0; i < count; i++) {
        json_t *row = at_key(history->fresh, of, parts[i]);

        if (row == NULL && history->fresh == NULL && newest != NULL)
            row = at_generation(at_key(history->parts, of, parts[i]),
                                (int32_t)json_integer_value(newest));
        if (row != NULL)
            json_array_append_new(answer, answer_row(history, of, parts[i], row, wanted));
    }
}

static json_t *answer_all(const struct history *history, int32_t wanted)
{
    json_t *answer = json_array();
    size_t host_parts = 0;

    for (size_t i = 0; i < history->program->lifecycle_count; i++) {
        const struct lifecycle *lifecycle = history->program->lifecycles[i];
        const char *parts[BENCH_CALLBACKS];
        size_t count = script_bench_parts(lifecycle, parts);

        answer_of(history, lifecycle->name, parts, count, wanted, answer);
    }
    while (bench_host_parts[host_parts] != NULL)
        host_parts++;
    answer_of(history, BENCH_HOST, bench_host_parts, host_parts, wanted, answer);
    return answer;
}

/* Fails unless something was measured in that generation. */
static bool check_baseline(const struct history *history, int32_t wanted, struct acc_error *err)
{
    struct buf known = {0};
    const char *key;
    json_t *of_part;

    json_object_foreach(history->parts, key, of_part)
    {
        if (at_generation(of_part, wanted) != NULL)
            return true;
    }
    for (int32_t g = history->generation; g > 0; g--) {
        bool is_there = false;

        json_object_foreach(history->parts, key, of_part)
        {
            is_there |= at_generation(of_part, g) != NULL;
        }
        if (is_there)
            buf_printf(&known, "%s%d", known.size == 0 ? "" : ", ", (int)g);
    }
    acc_fail(err, ACC_EINPUT, "there are no benchmarks of generation %d; %s%s", (int)wanted,
             known.size == 0 ? "there are none at all" : "there are those of ",
             known.size == 0 ? "" : known.data);
    buf_clear(&known);
    return false;
}

json_t *bench_read(struct pg *pg, const struct program *program, json_t *fresh, int32_t baseline,
                   struct acc_error *err)
{
    struct history history = {.program = program,
                              .parts = json_object(),
                              .newest = json_object(),
                              .changed = json_object()};
    json_t *answer = NULL;

    take_fresh(&history, fresh);
    if (read_rows(&history, pg, err) && read_generations(&history, pg, err) &&
        (baseline == 0 || check_baseline(&history, baseline, err)))
        answer = answer_all(&history, baseline);
    history_clear(&history);
    return answer;
}
