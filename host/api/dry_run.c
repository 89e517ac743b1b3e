/* Dry runs: what a lifecycle does with a fact, in a process of its own. Other requests are answered meanwhile. */
#include "api/fact_call.h"
#include "api/handlers.h"
#include "api/rows.h"
#include "dry_run_guard.h"

#include <stdlib.h>
#include <string.h>

#define LISTED 20

/* The runs of one request, one after the other. */
struct runs {
    struct api_call call; /* the handler's has ended */
    const struct kind *kind;
    const char *only; /* name of the lifecycle; NULL: all */
    size_t next;      /* number of the one to look at next, in the program */
    struct dry_run_order order;
    struct dry_run_child child;
    struct http_watch *watch;
    struct http_timer *timer;
    json_t *answers;
};

static void start_next(struct runs *runs);

static void free_runs(struct runs *runs)
{
    http_timer_free(runs->timer);
    json_decref(runs->answers);
    free(runs);
}

static void fail(struct runs *runs, const struct acc_error *err)
{
    fact_failure(&runs->call, err);
    free_runs(runs);
}

static void finish_one(struct runs *runs)
{
    struct acc_error err;

    http_watch_free(runs->watch);
    runs->watch = NULL;
    http_timer_set(runs->timer, -1);
    json_t *answer = dry_run_end(&runs->child, &err);
    if (answer == NULL) {
        fail(runs, &err);
        return;
    }
    json_object_del(answer, "is_stale"); /* these are the generation's own modules */
    json_object_set_new(answer, "kind", json_string(runs->kind->name));
    json_array_append_new(runs->answers, answer);
    start_next(runs);
}

static void on_readable(void *context)
{
    struct runs *runs = context;

    if (!dry_run_read(&runs->child))
        finish_one(runs);
}

static void on_due(void *context)
{
    finish_one(context);
}

/* The next lifecycle that wakes on the kind; answers when there is none left. */
static void start_next(struct runs *runs)
{
    const struct program *program = runs->call.api->program;
    struct acc_error err;

    for (; runs->next < program->lifecycle_count; runs->next++) {
        const struct lifecycle *lifecycle = program->lifecycles[runs->next];

        if (lifecycle->on == runs->kind &&
            (runs->only == NULL || strcmp(runs->only, lifecycle->name) == 0))
            break;
    }
    if (runs->next == program->lifecycle_count) {
        http_answer_json(
            runs->call.request, 200,
            json_pack("{s:O, s:f}", "rows", runs->answers, "took_ms", rows_took_ms(&runs->call)));
        free_runs(runs);
        return;
    }
    runs->order.lifecycle = program->lifecycles[runs->next++]->name;
    if (!dry_run_start(&runs->child, &runs->order, &err)) {
        fail(runs, &err);
        return;
    }
    runs->watch = http_watch_new(runs->call.api->server, runs->child.guard.fd, on_readable, runs);
    http_timer_set(runs->timer, DRY_RUN_LIMIT_MS + GUARD_GRACE_MS);
}

/* The lifecycle asked for must wake on the kind. false: answered. */
static bool check_lifecycle(struct api_call *call, const struct kind *kind, const char *name)
{
    const struct program *program = call->api->program;
    const struct lifecycle *lifecycle = name == NULL ? NULL : program_find(program, name);
    const char **names = acc_alloc((program->lifecycle_count + 1) * sizeof(*names));
    size_t count = 0;

    for (size_t i = 0; i < program->lifecycle_count; i++)
        if (program->lifecycles[i]->on == kind)
            names[count++] = program->lifecycles[i]->name;
    const char *nearest = name == NULL ? NULL : name_suggest(name, names, count);
    free(names);
    if (name == NULL || (lifecycle != NULL && lifecycle->on == kind))
        return true;
    http_answer_error(call->request, 422, "unknown_lifecycle", "lifecycle",
                      "no lifecycle \"%.60s\" wakes on kind \"%s\"%s%s%s", name, kind->name,
                      nearest == NULL ? "" : "; did you mean \"", nearest == NULL ? "" : nearest,
                      nearest == NULL ? "" : "\"?");
    return false;
}

void api_fact_dry_run(struct api_call *call)
{
    const struct app *app = call->api->app;
    const char *name = rows_param(call, "lifecycle");
    struct fact_call fact;

    if (!fact_of_path(call, &fact) || !check_lifecycle(call, fact.kind, name))
        return;
    struct runs *runs = acc_zalloc(sizeof(*runs));
    runs->call = *call;
    runs->kind = fact.kind;
    runs->only = name;
    runs->answers = json_array();
    runs->order = (struct dry_run_order){.settings = &app->settings,
                                         .conninfo = call->api->conninfo,
                                         .schema = app->schema,
                                         .modules_dir = call->api->modules_dir,
                                         .native_dir = call->api->native_dir,
                                         .listed = LISTED,
                                         .limit_ms = DRY_RUN_LIMIT_MS,
                                         .memory_bytes = DRY_RUN_MEMORY_BYTES};
    memcpy(runs->order.id, fact.id, sizeof(fact.id));
    runs->timer = http_timer_new(call->api->server, on_due, runs);
    start_next(runs);
}
