/* accrete explain --why-not: a lifecycle is run again on a fact, and nothing is written. */
#include "cli/explain.h"

#include "cli/show.h"
#include "dry_run.h"
#include "schema.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 20
#define LINE_WIDTH 120

static const char *const outcomes[] = {
    [OUTCOME_NONE] = "none",    [OUTCOME_READY] = "ready", [OUTCOME_EARLY] = "early",
    [OUTCOME_LATE] = "late",    [OUTCOME_EMPTY] = "empty", [OUTCOME_FOUND] = "found",
    [OUTCOME_FAILED] = "failed"};

struct why {
    struct cli *cli;
    struct work *work;
    struct lifecycle *lifecycle;
    const uint8_t *id;
    struct dry_run run;
    size_t limit; /* facts listed of each kind */
};

/* What the queue knows of the event: nothing when it is done, or waits in a packet. */
static bool add_parked(const struct why *why, json_t *answer, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT p.state, p.attempts, p.error, to_char(p.last_at AT TIME ZONE 'UTC', "
               "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM parked p JOIN lifecycle l ON l.id = "
               "p.lifecycle WHERE l.name = $1 AND p.fact = $2"};
    struct pg_args args = {0};

    pg_text(&args, why->lifecycle->name);
    pg_uuid(&args, why->id);
    PGresult *res = pg_query(&why->work->session.pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) > 0)
        json_object_set_new(answer, "parked",
                            json_pack("{s:s, s:i, s:s, s:s}", "state", pg_get_text(res, 0, 0),
                                      "attempts", (int)pg_get_int4(res, 0, 1), "error",
                                      pg_get_text(res, 0, 2), "last", pg_get_text(res, 0, 3)));
    PQclear(res);
    return true;
}

static json_t *json_fact(const struct kind *kind, const struct acc_row *row)
{
    struct buf fields = {0};

    fact_json(kind, row, &fields);
    json_t *one = json_pack("{s:s, s:o}", "id", fact_id_text(row->id), "fields",
                            json_loadb(fields.data, fields.size, JSON_ALLOW_NUL, NULL));
    buf_clear(&fields);
    return one;
}

/* {kind: {"count": n, "facts": [...]}} */
static json_t *json_friends(const struct why *why)
{
    const struct batch *batch = why->run.batch;
    json_t *friends = json_object();

    for (size_t k = 0; k < batch->program->catalog.count; k++) {
        const struct kind *kind = batch->program->catalog.kinds[k];
        bool is_mirror = batch->mirrors[k].kind != NULL;
        const struct acc_rows *rows = is_mirror ? &batch->mirrors[k].rows : &batch->friends[k];
        json_t *facts = json_array();

        for (uint32_t i = 0; i < rows->count && i < why->limit; i++)
            json_array_append_new(facts, json_fact(kind, rows_at(rows, i)));
        if (rows->count > 0)
            json_object_set_new(
                friends, kind->name,
                json_pack("{s:I, s:O}", "count", (json_int_t)rows->count, "facts", facts));
        json_decref(facts);
    }
    return friends;
}

/* {kind: {"new": n, "known": n, "facts": [...]}} */
static json_t *json_finds(const struct why *why)
{
    const struct batch *batch = why->run.batch;
    json_t *finds = json_object();

    for (size_t k = 0; k < batch->program->catalog.count; k++) {
        const struct kind *kind = batch->program->catalog.kinds[k];
        size_t room = batch->finds[k].count;
        const struct acc_row **rows = acc_alloc(room * sizeof(struct acc_row *) + 1);
        bool *is_new = acc_alloc(room + 1);
        size_t count = dry_run_finds(&why->run, kind, rows, is_new);
        json_t *facts = json_array();
        size_t fresh = 0;

        for (size_t i = 0; i < count; i++) {
            fresh += is_new[i];
            if (i >= why->limit)
                continue;
            json_t *one = json_fact(kind, rows[i]);
            json_object_set_new(one, "is_new", json_boolean(is_new[i]));
            json_array_append_new(facts, one);
        }
        if (count > 0)
            json_object_set_new(finds, kind->name,
                                json_pack("{s:I, s:I, s:O}", "new", (json_int_t)fresh, "known",
                                          (json_int_t)(count - fresh), "facts", facts));
        json_decref(facts);
        free(rows);
        free(is_new);
    }
    return finds;
}

static void set_text(json_t *answer, const char *name, const char *text)
{
    json_object_set_new(answer, name, text == NULL ? json_null() : json_string(text));
}

static json_t *answer_of(const struct why *why)
{
    const struct dry_run *run = &why->run;
    json_t *answer = json_pack("{s:s, s:s, s:s, s:s}", "lifecycle", why->lifecycle->name, "kind",
                               why->lifecycle->on->name, "id", fact_id_text(why->id), "outcome",
                               outcomes[run->outcome]);

    set_text(answer, "reason", run->reason);
    set_text(answer, "error", run->error);
    set_text(answer, "trace", run->trace);
    json_object_set_new(answer, "friends", json_friends(why));
    json_object_set_new(answer, "find_count", json_integer(run->find_count));
    json_object_set_new(answer, "finds", json_finds(why));
    json_object_set_new(answer, "us",
                        json_pack("{s:I, s:I, s:I}", "friends", (json_int_t)run->friends_us,
                                  "process", (json_int_t)run->process_us, "known",
                                  (json_int_t)run->settle_us));
    return answer;
}

/* Text, from the same answer */

static const char *text_of(const json_t *answer, const char *name)
{
    return json_string_value(json_object_get(answer, name));
}

static int64_t number_of(const json_t *answer, const char *name)
{
    return json_integer_value(json_object_get(answer, name));
}

static void print_facts(json_t *list, int64_t count)
{
    json_t *fact;
    size_t i;

    json_array_foreach(list, i, fact)
    {
        json_t *is_new = json_object_get(fact, "is_new");
        char *fields = json_dumps(json_object_get(fact, "fields"), JSON_COMPACT);
        struct buf line = {0};

        fact_legible(fields, strlen(fields), LINE_WIDTH, &line);
        printf("  %.*s %s%s\n", SHOW_ID_DIGITS, text_of(fact, "id"), line.data,
               is_new == NULL         ? ""
               : json_is_true(is_new) ? "  new"
                                      : "  known");
        buf_clear(&line);
        free(fields);
    }
    if (count > (int64_t)json_array_size(list))
        printf("  and %s more\n", cli_grouped(count - (int64_t)json_array_size(list)));
}

static void print_friends(const json_t *answer)
{
    json_t *friends = json_object_get(answer, "friends");
    const char *kind;
    json_t *one;

    if (json_object_size(friends) == 0)
        printf("friends: none\n");
    json_object_foreach(friends, kind, one)
    {
        printf("friends of kind %s: %s\n", kind, cli_grouped(number_of(one, "count")));
        print_facts(json_object_get(one, "facts"), number_of(one, "count"));
    }
}

static void print_finds(const json_t *answer)
{
    json_t *finds = json_object_get(answer, "finds");
    const char *kind;
    json_t *one;

    if (json_object_size(finds) == 0)
        printf("finds: none\n");
    json_object_foreach(finds, kind, one)
    {
        int64_t fresh = number_of(one, "new");
        int64_t known = number_of(one, "known");

        printf("finds of kind %s: %s new, %s known\n", kind, cli_grouped(fresh),
               cli_grouped(known));
        print_facts(json_object_get(one, "facts"), fresh + known);
    }
}

static int print_text(const struct why *why, json_t *answer)
{
    static const char *const meanings[] = {[OUTCOME_EARLY] = "abort_early ended it",
                                           [OUTCOME_LATE] = "abort_late ended it",
                                           [OUTCOME_EMPTY] = "it ran and found nothing",
                                           [OUTCOME_FOUND] = "it ran and found facts",
                                           [OUTCOME_FAILED] = "it raised an error"};
    const char *meaning = meanings[why->run.outcome];
    json_t *parked = json_object_get(answer, "parked");
    json_t *us = json_object_get(answer, "us");

    printf("%s on %s %.*s\n", why->lifecycle->name, why->lifecycle->on->name, SHOW_ID_DIGITS,
           text_of(answer, "id"));
    printf("outcome: %s%s%s\n", text_of(answer, "outcome"), meaning == NULL ? "" : ", ",
           meaning == NULL ? "" : meaning);
    if (why->run.reason != NULL)
        printf("reason: %s\n", why->run.reason);
    if (why->run.error != NULL)
        printf("error: %s\n", why->run.error);
    if (why->run.trace != NULL && why->run.trace[0] != '\0')
        printf("%s\n", why->run.trace);
    print_friends(answer);
    print_finds(answer);
    printf("time: friends %.3f ms, process %.3f ms, what is known %.3f ms\n",
           (double)number_of(us, "friends") / 1000, (double)number_of(us, "process") / 1000,
           (double)number_of(us, "known") / 1000);
    if (parked != NULL)
        printf("in the queue it is %s since %s after %d attempts: %s\n", text_of(parked, "state"),
               text_of(parked, "last"), (int)number_of(parked, "attempts"),
               text_of(parked, "error"));
    json_decref(answer);
    return cli_flush(why->cli, CLI_DONE);
}

static int run_it(struct why *why)
{
    struct acc_error err;

    if (!dry_run_event(&why->run, why->lifecycle, why->id, &err))
        return cli_fail(why->cli, &err);
    json_t *answer = answer_of(why);
    if (!add_parked(why, answer, &err)) {
        json_decref(answer);
        return cli_fail(why->cli, &err);
    }
    return cli_has(why->cli, "json") ? cli_print_json(why->cli, answer) : print_text(why, answer);
}

/* The lifecycle of that name, which must wake on facts of kind. */
static struct lifecycle *find_lifecycle(struct cli *cli, const struct program *program,
                                        const char *name, const struct kind *kind)
{
    const char **names = acc_alloc((program->lifecycle_count + 1) * sizeof(*names));
    struct lifecycle *lifecycle = program_find(program, name);

    for (size_t i = 0; i < program->lifecycle_count; i++)
        names[i] = program->lifecycles[i]->name;
    const char *nearest = name_suggest(name, names, program->lifecycle_count);
    free(names);
    if (lifecycle == NULL && nearest != NULL)
        cli_misuse(cli, "--why-not: unknown lifecycle \"%s\", did you mean \"%s\"?", name, nearest);
    else if (lifecycle == NULL)
        cli_misuse(cli, "--why-not: unknown lifecycle \"%s\"", name);
    else if (lifecycle->on != kind)
        cli_misuse(cli, "--why-not: %s is on \"%s\", the fact is of kind \"%s\"", name,
                   lifecycle->on->name, kind->name);
    return lifecycle != NULL && lifecycle->on == kind ? lifecycle : NULL;
}

int explain_why_not(struct cli *cli, struct work *work, const char *lifecycle,
                    const struct kind *kind, const uint8_t *id)
{
    struct why why = {.cli = cli, .work = work, .id = id};
    struct acc_error err;

    why.limit = (size_t)cli_number(cli, "limit", LIMIT_DEFAULT);
    why.lifecycle = find_lifecycle(cli, &work->program, lifecycle, kind);
    if (why.lifecycle == NULL)
        return CLI_MISUSE;
    if (!schema_bind(&work->session.pg, &work->program, &err)) {
        if (err.code != ACC_ESTALE)
            return cli_fail(cli, &err);
        cli_note(cli, "the modules have changed: what runs here is not what the workers run");
    }
    dry_run_init(&why.run, &work->app.settings, &work->program, &work->session.pg);
    int code = run_it(&why);
    dry_run_clear(&why.run);
    return code;
}
