#include "dry_run_guard.h"

#include "base/clock.h"
#include "columns.h"
#include "dry_run.h"
#include "schema.h"
#include "script/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
static json_t *json_friends(const struct dry_run *run, size_t listed)
{
    const struct batch *batch = run->batch;
    json_t *friends = json_object();

    for (size_t k = 0; k < batch->program->catalog.count; k++) {
        const struct kind *kind = batch->program->catalog.kinds[k];
        bool is_mirror = batch->mirrors[k].kind != NULL;
        const struct acc_rows *rows = is_mirror ? &batch->mirrors[k].rows : &batch->friends[k];
        json_t *facts = json_array();

        for (uint32_t i = 0; i < rows->count && i < listed; i++)
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
static json_t *json_finds(const struct dry_run *run, size_t listed)
{
    const struct batch *batch = run->batch;
    json_t *finds = json_object();

    for (size_t k = 0; k < batch->program->catalog.count; k++) {
        const struct kind *kind = batch->program->catalog.kinds[k];
        size_t room = batch->finds[k].count;
        const struct acc_row **rows = acc_alloc(room * sizeof(struct acc_row *) + 1);
        bool *is_new = acc_alloc(room + 1);
        size_t count = dry_run_finds(run, kind, rows, is_new);
        json_t *facts = json_array();
        size_t fresh = 0;

        for (size_t i = 0; i < count; i++) {
            fresh += is_new[i];
            if (i >= listed)
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

static json_t *answer_of(const struct dry_run *run, const struct dry_run_order *order)
{
    static const char *const outcomes[] = {
        [OUTCOME_NONE] = "none",    [OUTCOME_READY] = "ready", [OUTCOME_EARLY] = "early",
        [OUTCOME_LATE] = "late",    [OUTCOME_EMPTY] = "empty", [OUTCOME_FOUND] = "found",
        [OUTCOME_FAILED] = "failed"};

    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:o, s:I, s:o, s:{s:I, s:I, s:I}}",
                     "lifecycle", run->lifecycle->name, "kind", run->lifecycle->on->name, "id",
                     fact_id_text(order->id), "outcome", outcomes[run->outcome], "reason",
                     run->reason, "error", run->error, "trace", run->trace, "friends",
                     json_friends(run, order->listed), "find_count", (json_int_t)run->find_count,
                     "finds", json_finds(run, order->listed), "us", "friends",
                     (json_int_t)run->friends_us, "process", (json_int_t)run->process_us, "known",
                     (json_int_t)run->settle_us);
}

static json_t *run_in(const struct dry_run_order *order, struct program *program, struct pg *pg,
                      struct acc_error *err)
{
    struct lifecycle *lifecycle = program_find(program, order->lifecycle);
    struct dry_run run;
    bool is_stale = false;

    if (lifecycle == NULL) {
        acc_fail(err, ACC_EINPUT, "unknown lifecycle \"%s\"", order->lifecycle);
        return NULL;
    }
    if (!schema_bind(pg, program, err)) {
        if (err->code != ACC_ESTALE)
            return NULL;
        is_stale = true;
    }
    dry_run_init(&run, order->settings, program, pg);
    if (!dry_run_event(&run, lifecycle, order->id, err))
        return NULL;
    json_t *answer = answer_of(&run, order);
    if (answer != NULL)
        json_object_set_new(answer, "is_stale", json_boolean(is_stale));
    else
        acc_fail(err, ACC_ELUA, "the lifecycle's texts are no UTF-8");
    return answer;
}

/* Nothing is freed: the process ends. */
static json_t *run(const struct dry_run_order *order, struct acc_error *err)
{
    struct program program;
    struct pg pg = {0};
    struct script *script = script_new(order->settings, order->modules_dir, order->native_dir, err);

    if (script == NULL || !script_load(script, &program, false, err) ||
        !pg_open(&pg, order->conninfo, order->schema, order->settings->database.connect_timeout_ms,
                 order->limit_ms, err) ||
        !schema_become(&pg, order->schema, "reader", err) ||
        !pg_do(&pg, "SET default_transaction_read_only = on; SET jit = off", NULL, err))
        return NULL;
    return run_in(order, &program, &pg, err);
}

static void child_main(void *context, int fd)
{
    const struct dry_run_order *order = context;
    struct acc_error err = {0};
    json_t *answer = run(order, &err);

    if (answer == NULL)
        answer = json_pack("{s:{s:i, s:s, s:s}}", "failure", "code", (int)err.code, "sqlstate",
                           err.sqlstate, "text", err.text);
    char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
    if (text == NULL)
        _exit(1);
    guard_say(fd, text, strlen(text));
    _exit(0);
}

/* The parent */

bool dry_run_start(struct dry_run_child *child, const struct dry_run_order *order,
                   struct acc_error *err)
{
    *child = (struct dry_run_child){.order = *order};
    const struct guard_order guarded = {.run = child_main,
                                        .context = &child->order,
                                        .limit_ms = order->limit_ms,
                                        .memory_bytes = order->memory_bytes};
    return guard_start(&child->guard, &guarded, err);
}

bool dry_run_read(struct dry_run_child *child)
{
    return guard_read(&child->guard);
}

/* What an end without an answer means. */
static json_t *answer_of_end(const struct dry_run_order *order, const char *why)
{
    return json_pack("{s:s, s:n, s:s, s:s, s:n, s:s, s:n, s:{}, s:i, s:{}, s:n, s:b}", "lifecycle",
                     order->lifecycle, "kind", "id", fact_id_text(order->id), "outcome", "failed",
                     "reason", "error", why == NULL ? "it ended without an answer" : why, "trace",
                     "friends", "find_count", 0, "finds", "us", "is_stale", 0);
}

json_t *dry_run_end(struct dry_run_child *child, struct acc_error *err)
{
    char *why = guard_end(&child->guard);
    struct buf *said = &child->guard.said;
    json_t *answer =
        json_loadb(said->data == NULL ? "" : said->data, said->size, JSON_ALLOW_NUL, NULL);

    buf_clear(said);
    if (answer == NULL)
        answer = answer_of_end(&child->order, why);
    free(why);
    json_t *failure = json_object_get(answer, "failure");
    if (failure == NULL)
        return answer;
    acc_fail(err, (enum acc_code)json_integer_value(json_object_get(failure, "code")), "%s",
             json_string_value(json_object_get(failure, "text")));
    snprintf(err->sqlstate, sizeof(err->sqlstate), "%s",
             json_string_value(json_object_get(failure, "sqlstate")));
    json_decref(answer);
    return NULL;
}

json_t *dry_run_guarded(const struct dry_run_order *order, struct acc_error *err)
{
    struct dry_run_child child;
    int64_t end_us = clock_us() + (order->limit_ms + GUARD_GRACE_MS) * 1000;

    if (!dry_run_start(&child, order, err))
        return NULL;
    while (dry_run_read(&child) && clock_us() < end_us)
        guard_wait(&child.guard, (end_us - clock_us()) / 1000 + 1);
    return dry_run_end(&child, err);
}
