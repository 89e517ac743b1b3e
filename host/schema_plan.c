#include "schema_planner.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *words_of(const char *fmt, va_list args)
{
    char *words;

    if (vasprintf(&words, fmt, args) < 0)
        abort();
    return words;
}

/* Takes a copy of sql; why is printed. */
struct schema_step *plan_step(struct planner *p, const char *sql, const char *fmt, ...)
{
    struct schema_plan *plan = p->plan;
    va_list args;

    if (plan->count == plan->capacity) {
        plan->capacity = plan->capacity * 2 + 32;
        plan->steps = acc_realloc(plan->steps, plan->capacity * sizeof(*plan->steps));
    }
    va_start(args, fmt);
    plan->steps[plan->count] = (struct schema_step){acc_strdup(sql), words_of(fmt, args), false};
    va_end(args);
    return &plan->steps[plan->count++];
}

static void add_line(char ***list, size_t *count, const char *fmt, va_list args)
{
    *list = acc_realloc(*list, (*count + 1) * sizeof(**list));
    (*list)[(*count)++] = words_of(fmt, args);
}

void plan_refuse(struct planner *p, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_line(&p->plan->refusals, &p->plan->refusal_count, fmt, args);
    va_end(args);
}

void plan_note(struct planner *p, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_line(&p->plan->notes, &p->plan->note_count, fmt, args);
    va_end(args);
}

void schema_plan_clear(struct schema_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->steps[i].sql);
        free(plan->steps[i].why);
    }
    for (size_t i = 0; i < plan->refusal_count; i++)
        free(plan->refusals[i]);
    for (size_t i = 0; i < plan->note_count; i++)
        free(plan->notes[i]);
    free(plan->steps);
    free(plan->refusals);
    free(plan->notes);
    *plan = (struct schema_plan){0};
}

/* One value of a query, or NULL (err code ACC_OK when there was no row). Caller frees. */
char *plan_value(struct pg *pg, const char *sql, const char *arg, struct acc_error *err)
{
    struct pg_args args = {0};
    char *value = NULL;

    err->code = ACC_OK;
    if (arg != NULL)
        pg_text(&args, arg);
    PGresult *res = pg_exec(pg, sql, &args, err);
    if (res != NULL && PQntuples(res) > 0 && !PQgetisnull(res, 0, 0))
        value = acc_strdup(PQgetvalue(res, 0, 0));
    PQclear(res);
    return value;
}

/* *answer: whether the query has a row that is not NULL. */
bool plan_ask(struct pg *pg, const char *sql, const char *arg, bool *answer, struct acc_error *err)
{
    char *value = plan_value(pg, sql, arg, err);

    *answer = value != NULL;
    free(value);
    return *answer || err->code == ACC_OK;
}

void plan_literal(struct planner *p, struct buf *sql, const char *text)
{
    char *literal = PQescapeLiteral(p->pg->conn, text, strlen(text));

    if (literal == NULL)
        abort(); /* out of memory, or a name that is not UTF-8, which is checked before */
    buf_text(sql, literal);
    PQfreemem(literal);
}

void plan_meta_statement(struct planner *p, struct buf *sql, const char *key, const char *value)
{
    buf_text(sql, "INSERT INTO meta VALUES (");
    plan_literal(p, sql, key);
    buf_text(sql, ", ");
    plan_literal(p, sql, value);
    buf_text(sql, ") ON CONFLICT (key) DO UPDATE SET value = excluded.value");
}

void plan_meta(struct planner *p, const char *key, const char *value, const char *why)
{
    struct buf sql = {0};

    plan_meta_statement(p, &sql, key, value);
    plan_step(p, sql.data, "%s", why);
    buf_clear(&sql);
}

/*
 * Settings that shape the fixpoint, frozen with the first fact; buckets, changed only when drained.
 */

static void plan_buckets(struct planner *p, const char *buckets, const char *has)
{
    struct buf sql = {0};

    buf_text(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED; LOCK TABLE routing IN ACCESS EXCLUSIVE "
                   "MODE; UPDATE routing SET version = version + 1; ");
    plan_meta_statement(p, &sql, "buckets", buckets);
    buf_text(&sql, "; COMMIT");
    if (has == NULL)
        plan_step(p, sql.data, "%s buckets", buckets);
    else
        plan_step(p, sql.data, "%s buckets instead of %s", buckets, has);
    buf_clear(&sql);
}

/* What meta says now, and whether facts and packets are there. */
struct stored {
    char *settings, *buckets;
    bool has_facts, is_busy;
};

static bool read_stored(struct planner *p, struct stored *stored, struct acc_error *err)
{
    *stored = (struct stored){0};
    if (!p->has_base)
        return true;
    stored->settings =
        plan_value(p->pg, "SELECT value FROM meta WHERE key = 'settings'", NULL, err);
    if (err->code != ACC_OK)
        return false;
    stored->buckets = plan_value(p->pg, "SELECT value FROM meta WHERE key = 'buckets'", NULL, err);
    return err->code == ACC_OK &&
           plan_ask(p->pg, "SELECT 'yes' FROM tally_kind WHERE new > 0 LIMIT 1", NULL,
                    &stored->has_facts, err) &&
           plan_ask(p->pg,
                    "SELECT 'yes' WHERE EXISTS (SELECT FROM packet) OR EXISTS (SELECT FROM replay)",
                    NULL, &stored->is_busy, err);
}

static bool plan_settings(struct planner *p, struct acc_error *err)
{
    const struct settings *settings = p->settings;
    struct stored stored;
    struct buf now = {0};
    char buckets[24];
    bool ok = read_stored(p, &stored, err);

    for (size_t i = 0; i < settings->app_count; i++)
        buf_printf(&now, "%s=%s\n", settings->app[i].name, settings->app[i].value);
    const char *wanted = now.data == NULL ? "" : now.data;
    bool is_same = stored.settings != NULL && strcmp(stored.settings, wanted) == 0;
    snprintf(buckets, sizeof(buckets), "%lld", (long long)settings->queue.buckets);
    if (ok && stored.settings != NULL && !is_same && stored.has_facts)
        plan_refuse(
            p,
            "accrete.yaml: settings: facts were found with \"%s\", now it says \"%s\"; they "
            "shape the fixpoint and cannot change: use another data directory or schema",
            stored.settings, wanted);
    else if (ok && !is_same)
        plan_meta(p, "settings", wanted, "settings that shape the fixpoint");
    if (ok && stored.buckets != NULL && strcmp(stored.buckets, buckets) != 0 && stored.is_busy)
        plan_refuse(
            p,
            "queue.buckets: the queue holds packets for %s buckets; wanted an empty queue to "
            "change to %s",
            stored.buckets, buckets);
    else if (ok && (stored.buckets == NULL || strcmp(stored.buckets, buckets) != 0))
        plan_buckets(p, buckets, stored.buckets);
    free(stored.settings);
    free(stored.buckets);
    buf_clear(&now);
    return ok;
}

/*
 * Lifecycles: nothing is to be applied, they are registered when the modules become a generation.
 */

static bool plan_lifecycle(struct planner *p, const struct lifecycle *lifecycle,
                           struct acc_error *err)
{
    static const char sql[] =
        "SELECT l.kind, coalesce(k.name, '?'), l.active, l.module, EXISTS (SELECT FROM packet "
        "WHERE "
        "lifecycle = l.id) OR EXISTS (SELECT FROM parked WHERE lifecycle = l.id AND state <> "
        "'discarded') OR EXISTS (SELECT FROM replay WHERE lifecycle = l.id) "
        "FROM lifecycle l LEFT JOIN kind k ON k.tag = l.kind WHERE l.name = $1";
    struct pg_args args = {0};

    pg_text(&args, lifecycle->name);
    PGresult *res = pg_exec(p->pg, sql, &args, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) == 0)
        plan_note(p, "lifecycle %s is new: it will also see the facts of kind %s that are there",
                  lifecycle->name, lifecycle->on->name);
    else if (pg_get_int4(res, 0, 0) != lifecycle->on->tag && pg_get_bool(res, 0, 4))
        plan_refuse(
            p,
            "lifecycles/%s.lua: it reacts to kind \"%s\" now, but events of kind \"%s\" still "
            "wait for it: let them finish, or give the new lifecycle another name",
            lifecycle->name, lifecycle->on->name, pg_get_text(res, 0, 1));
    else if (pg_get_int4(res, 0, 0) != lifecycle->on->tag)
        plan_note(
            p,
            "lifecycle %s reacts to kind %s instead of %s: it will also see the facts that are "
            "there",
            lifecycle->name, lifecycle->on->name, pg_get_text(res, 0, 1));
    else if (!pg_get_bool(res, 0, 2))
        plan_note(p, "lifecycle %s comes back: it will see all facts of kind %s again",
                  lifecycle->name, lifecycle->on->name);
    else if (strcmp(pg_get_text(res, 0, 3), lifecycle->module_sha) != 0)
        plan_note(p, "lifecycle %s has changed: facts it has seen are not run again",
                  lifecycle->name);
    PQclear(res);
    return true;
}

static bool plan_lifecycles(struct planner *p, struct acc_error *err)
{
    static const char sql[] =
        "SELECT l.name, coalesce((SELECT sum(n) FROM packet WHERE lifecycle = "
        "l.id), 0)::int8 FROM lifecycle l WHERE active ORDER BY name";
    struct pg_args none = {0};

    for (size_t i = 0; i < p->program->lifecycle_count; i++)
        if (!plan_lifecycle(p, p->program->lifecycles[i], err))
            return false;
    PGresult *res = pg_exec(p->pg, sql, &none, err);
    for (int r = 0; res != NULL && r < PQntuples(res); r++)
        if (program_find(p->program, pg_get_text(res, r, 0)) == NULL)
            plan_note(p, "lifecycle %s is removed: its %lld queued events stay",
                      pg_get_text(res, r, 0), (long long)pg_get_int8(res, r, 1));
    PQclear(res);
    return res != NULL;
}

static bool plan_all(struct planner *p, struct acc_error *err)
{
    if (!plan_ask(p->pg, "SELECT to_regclass('tally_reason')::text", NULL, &p->has_base, err) ||
        !plan_base(p, err))
        return false;
    if (p->program == NULL || p->plan->refusal_count > 0)
        return true;
    for (size_t i = 0; i < p->program->catalog.count; i++) {
        const struct kind *kind = p->program->catalog.kinds[i];
        bool is_new = false;

        if (!plan_kind(p, kind, &is_new, err))
            return false;
        for (size_t s = 0; s < kind->shape_count; s++) {
            if (!plan_index(p, kind, &kind->shapes[s], is_new, err))
                return false;
        }
    }
    return plan_settings(p, err) && plan_roles(p, err) && (!p->has_base || plan_lifecycles(p, err));
}

bool schema_plan_make(struct schema_plan *plan, struct pg *pg, const char *schema,
                      const struct program *program, const struct settings *settings,
                      struct acc_error *err)
{
    struct planner planner = {
        .plan = plan, .pg = pg, .schema = schema, .program = program, .settings = settings};

    *plan = (struct schema_plan){0};
    if (plan_all(&planner, err))
        return true;
    schema_plan_clear(plan);
    return false;
}

bool schema_plan_roles(struct schema_plan *plan, struct pg *pg, const char *schema,
                       struct acc_error *err)
{
    struct planner planner = {.plan = plan, .pg = pg, .schema = schema, .has_base = true};

    *plan = (struct schema_plan){0};
    if (plan_roles(&planner, err))
        return true;
    schema_plan_clear(plan);
    return false;
}
