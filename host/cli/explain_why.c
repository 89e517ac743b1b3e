/* accrete explain --why-not: a lifecycle is run again on a fact, and nothing is written. */
#include "cli/explain.h"

#include "cli/show.h"
#include "dry_run_guard.h"
#include "native.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 20
#define LINE_WIDTH 120

struct why {
    struct cli *cli;
    struct work *work;
    struct lifecycle *lifecycle;
    const uint8_t *id;
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

static const char *meaning_of(const json_t *answer)
{
    static const char *const meanings[][2] = {{"early", "abort_early ended it"},
                                              {"late", "abort_late ended it"},
                                              {"empty", "it ran and found nothing"},
                                              {"found", "it ran and found facts"}};
    const char *outcome = text_of(answer, "outcome");

    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (strcmp(meanings[i][0], outcome) == 0)
            return meanings[i][1];
    /* A process that was stopped or crashed has no times. */
    return json_is_null(json_object_get(answer, "us")) ? "it was cut short" : "it raised an error";
}

static int print_text(const struct why *why, json_t *answer)
{
    const char *meaning = meaning_of(answer);
    json_t *parked = json_object_get(answer, "parked");
    json_t *us = json_object_get(answer, "us");

    printf("%s on %s %.*s\n", why->lifecycle->name, why->lifecycle->on->name, SHOW_ID_DIGITS,
           text_of(answer, "id"));
    printf("outcome: %s, %s\n", text_of(answer, "outcome"), meaning);
    if (text_of(answer, "reason") != NULL)
        printf("reason: %s\n", text_of(answer, "reason"));
    if (text_of(answer, "error") != NULL)
        printf("error: %s\n", text_of(answer, "error"));
    if (text_of(answer, "trace") != NULL && text_of(answer, "trace")[0] != '\0')
        printf("%s\n", text_of(answer, "trace"));
    print_friends(answer);
    print_finds(answer);
    if (json_is_object(us))
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
    struct work *work = why->work;
    char *native = native_dir(&work->app);
    struct dry_run_order order = {.settings = &work->app.settings,
                                  .conninfo = work->session.conninfo,
                                  .schema = work->app.schema,
                                  .modules_dir = work->app.dir,
                                  .native_dir = native,
                                  .lifecycle = why->lifecycle->name,
                                  .listed = (size_t)cli_number(why->cli, "limit", LIMIT_DEFAULT),
                                  .limit_ms = DRY_RUN_LIMIT_MS,
                                  .memory_bytes = DRY_RUN_MEMORY_BYTES};
    struct acc_error err;

    memcpy(order.id, why->id, sizeof(order.id));
    json_t *answer = dry_run_guarded(&order, &err);
    free(native);
    if (answer == NULL || !add_parked(why, answer, &err)) {
        json_decref(answer);
        return cli_fail(why->cli, &err);
    }
    if (json_is_true(json_object_get(answer, "is_stale")))
        cli_note(why->cli, "the modules have changed: what runs here is not what the workers run");
    json_object_del(answer, "is_stale");
    json_object_set_new(answer, "kind", json_string(why->lifecycle->on->name));
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

    why.lifecycle = find_lifecycle(cli, &work->program, lifecycle, kind);
    return why.lifecycle == NULL ? CLI_MISUSE : run_it(&why);
}
