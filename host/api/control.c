/* What people do to a running host: pause, resume, reload; the wait for the fixpoint; who did what. */
#include "api/handlers.h"
#include "api/rows.h"

#include "audit.h"
#include "base/clock.h"
#include "base/log.h"
#include "control.h"
#include "queue.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Pause and resume */

static void pause_or_resume(struct api_call *call, bool is_paused)
{
    static const char *const names[] = {"reason", NULL};
    json_t *body = api_body(call, names);
    const char *reason = body == NULL ? NULL : api_reason(call, body);
    struct pg *pg = reason == NULL ? NULL : api_writer(call);
    struct control_act act = {.who = http_who(call->request), .reason = reason};
    struct acc_error err;
    int64_t audit_id;

    if (pg != NULL) {
        if (control_pause(pg, is_paused, &act, &audit_id, &err))
            http_answer_json(
                call->request, 202,
                json_pack("{s:o}", "audit", audit_id == 0 ? json_null() : json_integer(audit_id)));
        else
            http_answer_failure(call->request, &err);
        api_writer_end(call, pg);
    }
    json_decref(body);
}

void api_queue_pause(struct api_call *call)
{
    pause_or_resume(call, true);
}

void api_queue_resume(struct api_call *call)
{
    pause_or_resume(call, false);
}

/* Reload */

#define RELOAD_MS 60000
#define RELOAD_POLL_MS 20
#define RELOAD_SERVED_MS 5000 /* longest wait for the processes that answer with the new modules */

/* A reload that has been asked for and not been answered. */
struct reload {
    struct api *api;
    struct http_request *request;
    struct pg *pg; /* for the audit, open before anything happens */
    struct http_timer *timer;
    int64_t until_us, taken_us; /* taken_us 0: the host has not said so yet */
    uint64_t reloads, refused;  /* before */
    int32_t generation;
    char *who, *reason;
};

static void reload_free(struct reload *reload)
{
    struct api_call call = {.api = reload->api, .request = reload->request};

    api_writer_end(&call, reload->pg);
    http_timer_free(reload->timer);
    free(reload->who);
    free(reload->reason);
    free(reload);
}

/*
 * "lifecycles/a.lua:3: why" into file, line and message; a text that does not begin so is the message alone.
 */
static json_t *refused_error(const char *text)
{
    const char *colon = strchr(text, ':');
    char *end;

    if (colon != NULL && colon > text && strcspn(text, " ") > (size_t)(colon - text)) {
        long line = strtol(colon + 1, &end, 10);

        if (end > colon + 1 && end[0] == ':' && end[1] == ' ')
            return json_pack("{s:s%, s:i, s:s}", "file", text, (size_t)(colon - text), "line",
                             (int)line, "message", end + 2);
    }
    return json_pack("{s:n, s:n, s:s}", "file", "line", "message", text);
}

static bool reload_audit(struct reload *reload, const char *what, const char *result,
                         int64_t *audit_id, struct acc_error *err)
{
    struct audit audit = {.who = reload->who,
                          .act = "reload",
                          .what = what,
                          .reason = reload->reason,
                          .result = result};

    for (int tries = 0; tries < 20; tries++) {
        if (audit_add(reload->pg, &audit, audit_id, err))
            return true;
        if (err->code != ACC_ECONFLICT)
            break;
    }
    return false;
}

/* Answers, and ends the reload. refused NULL: taken. */
static void reload_end(struct reload *reload, int status, const char *refused)
{
    const struct page *page = reload->api->page;
    char what[64];
    struct acc_error err;
    int64_t audit_id;

    if (refused != NULL || page->generation == reload->generation)
        snprintf(what, sizeof(what), "generation %d", (int)reload->generation);
    else
        snprintf(what, sizeof(what), "generation %d to %d", (int)reload->generation,
                 (int)page->generation);
    if (!reload_audit(reload, what,
                      refused != NULL                          ? refused
                      : page->generation == reload->generation ? "the same modules"
                                                               : "taken up",
                      &audit_id, &err))
        http_answer_failure(reload->request, &err);
    else if (refused == NULL)
        http_answer_json(reload->request, status,
                         json_pack("{s:I, s:i}", "audit", (json_int_t)audit_id, "generation",
                                   (int)page->generation));
    else if (status == 422)
        http_answer_json(reload->request, status,
                         json_pack("{s:[o]}", "errors", refused_error(refused)));
    else
        http_answer_error(reload->request, status, "no_answer", NULL, "%s", refused);
    reload_free(reload);
}

static void reload_look(void *context)
{
    struct reload *reload = context;
    const struct page *page = reload->api->page;
    char why[sizeof(page->refused_text)];

    if (page->refused != reload->refused) {
        memcpy(why, page->refused_text, sizeof(why));
        why[sizeof(why) - 1] = '\0';
        reload_end(reload, 422, why);
    } else if (page->reloads != reload->reloads || page->generation != reload->generation) {
        if (reload->taken_us == 0)
            reload->taken_us = clock_us();
        if (page_is_served(page) || clock_us() - reload->taken_us > RELOAD_SERVED_MS * 1000)
            reload_end(reload, 202, NULL);
        else
            http_timer_set(reload->timer, RELOAD_POLL_MS);
    } else if (clock_us() > reload->until_us) {
        reload_end(reload, 504, "the host did not answer");
    } else {
        http_timer_set(reload->timer, RELOAD_POLL_MS);
    }
}

static void reload_begin(struct api_call *call, struct pg *pg, const char *reason)
{
    const struct page *page = call->api->page;
    struct reload *reload = acc_alloc(sizeof(*reload));

    *reload = (struct reload){.api = call->api,
                              .request = call->request,
                              .pg = pg,
                              .until_us = clock_us() + RELOAD_MS * INT64_C(1000),
                              .reloads = page->reloads,
                              .refused = page->refused,
                              .generation = page->generation,
                              .who = acc_strdup(http_who(call->request)),
                              .reason = acc_strdup(reason)};
    if (page->master_pid > 1 && kill(page->master_pid, SIGHUP) == 0) {
        reload->timer = http_timer_new(call->api->server, reload_look, reload);
        http_timer_set(reload->timer, RELOAD_POLL_MS);
        return;
    }
    http_answer_error(call->request, 503, "no_host", NULL, "cannot signal the host (pid %d): %s",
                      (int)page->master_pid, strerror(errno));
    reload_free(reload);
}

void api_reload(struct api_call *call)
{
    static const char *const names[] = {"reason", NULL};
    json_t *body = api_body(call, names);
    const char *reason = body == NULL ? NULL : api_reason(call, body);
    struct pg *pg = reason == NULL ? NULL : api_writer(call);

    if (pg != NULL)
        reload_begin(call, pg, reason);
    json_decref(body);
}

/* Waiting for the fixpoint */

#define WAIT_POLL_MS 50
#define WAIT_SHARE 5 /* a look that takes long is followed by a pause that many times as long */
#define WAIT_LOST_MS 1000 /* between tries to reach the database */

/* A request that waits. A stream, so that others are answered meanwhile, and a client that leaves is noticed. */
struct waiter {
    struct waiter *next;
    struct http_stream *stream; /* begun with 200; its one piece is the answer */
    int64_t until_us;
};

/* All of this process share one look at the queue. */
static struct {
    struct http_timer *timer;
    struct waiter *first;
    struct queue_state state; /* as it was seen last */
    struct control control;
} waiting;

static json_t *pause_json(const struct control *control)
{
    return control->is_paused
               ? json_pack("{s:s, s:s}", "by", control->who, "reason", control->reason)
               : json_null();
}

static json_t *wait_json(bool is_fixpoint)
{
    const struct queue_state *state = &waiting.state;

    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "fixpoint", is_fixpoint, "ready",
                     (json_int_t)state->ready, "delayed", (json_int_t)state->delayed, "replays",
                     (json_int_t)state->replays, "dead", (json_int_t)state->dead, "discarded",
                     (json_int_t)state->discarded, "paused", pause_json(&waiting.control));
}

/* Looks at the queue. *is_fixpoint: and the answer is on disk. */
static bool look(struct api *api, bool *is_fixpoint, struct acc_error *err)
{
    struct pg *pg = api_connect(api, err);
    struct pg writer = {0};

    if (pg == NULL || !queue_state(&waiting.state, pg, err) ||
        !control_read(&waiting.control, pg, err))
        return false;
    *is_fixpoint = queue_is_fixpoint(&waiting.state);
    if (!*is_fixpoint)
        return true;
    const struct settings *settings = &api->app->settings;
    bool ok =
        pg_open(&writer, api->conninfo, api->app->schema, settings->database.connect_timeout_ms,
                settings->database.statement_timeout_ms, err) &&
        queue_make_durable(&writer, err);
    pg_close(&writer);
    return ok;
}

/* The stream is at its end: told, or the client has left. */
static void waiter_closed(void *context)
{
    struct waiter *waiter = context;

    for (struct waiter **at = &waiting.first; *at != NULL; at = &(*at)->next) {
        if (*at == waiter) {
            *at = waiter->next;
            break;
        }
    }
    free(waiter);
}

static void waiter_tell(struct waiter *waiter, bool is_fixpoint)
{
    json_t *json = wait_json(is_fixpoint);
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    http_stream_send(waiter->stream, text, strlen(text), true);
    free(text);
}

static void wait_look(void *context)
{
    struct api *api = context;
    struct acc_error err;
    bool is_fixpoint = false;
    bool is_ending = api->page->draining != 0;
    int64_t began_us = clock_us();
    bool ok = look(api, &is_fixpoint, &err);
    int64_t now_us = clock_us();
    int64_t pause_ms = WAIT_SHARE * (now_us - began_us) / 1000;

    if (!ok)
        log_debug("wait", "event=\"queue not seen\" error=%s", log_quote(err.text));
    for (struct waiter **at = &waiting.first; *at != NULL;) {
        struct waiter *waiter = *at;

        if (!(ok && is_fixpoint) && !is_ending && now_us < waiter->until_us) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter_tell(waiter, ok && is_fixpoint);
    }
    if (waiting.first != NULL)
        http_timer_set(waiting.timer, !ok                       ? WAIT_LOST_MS
                                      : pause_ms > WAIT_POLL_MS ? pause_ms
                                                                : WAIT_POLL_MS);
}

static void wait_begin(struct api_call *call, int64_t timeout_s)
{
    static const struct http_stream_calls calls = {.closed = waiter_closed};
    struct waiter *waiter = acc_zalloc(sizeof(*waiter));

    waiter->until_us = clock_us() + timeout_s * 1000000;
    waiter->next = waiting.first;
    waiting.first = waiter;
    if (waiting.timer == NULL)
        waiting.timer = http_timer_new(call->api->server, wait_look, call->api);
    http_timer_set(waiting.timer, WAIT_POLL_MS);
    waiter->stream = http_stream_begin(call->request, 200, "application/json", &calls, waiter);
}

void api_wait(struct api_call *call)
{
    struct acc_error err;
    bool is_fixpoint;
    int64_t timeout_s;

    if (!api_int(call, "timeout_s", 0, 3600, 60, &timeout_s))
        return;
    if (!look(call->api, &is_fixpoint, &err))
        http_answer_failure(call->request, &err);
    else if (is_fixpoint || timeout_s == 0)
        http_answer_json(call->request, 200, wait_json(is_fixpoint));
    else
        wait_begin(call, timeout_s);
}

/* Audit */

/* The act that the query names, NULL for any. false: there is none such, and it is answered. */
static bool read_act(struct api_call *call, const char **act)
{
    size_t place = 0;
    const char *word = http_query(call->request, "act", &place);
    struct buf known = {0};

    *act = word == NULL ? NULL : audit_act_of(word);
    if (word == NULL || *act != NULL)
        return true;
    for (const char *const *one = audit_acts; *one != NULL; one++) {
        const char *blank = strrchr(*one, ' ');
        buf_printf(&known, "%s%s", known.size == 0 ? "" : ", ", blank == NULL ? *one : blank + 1);
    }
    http_answer_error(call->request, 422, "unknown_act", "act",
                      "there is no act \"%.60s\", these there are: %s", word, known.data);
    buf_clear(&known);
    return false;
}

void api_audit(struct api_call *call)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT id, " ROWS_TIME(
            "at") ", who, act, what, reason, result FROM audit "
                  "WHERE ($1::int8 IS NULL OR id < $1) AND ($2::text IS NULL OR act = $2) "
                  "AND ($3::text IS NULL OR who = $3) ORDER BY id DESC LIMIT $4::int8"};
    static const char *const names[] = {"#id",  "at",     "who",    "act",
                                        "what", "reason", "result", NULL};
    struct pg_args args = {0};
    struct acc_error err;
    char key[24] = "";
    int64_t before;
    int64_t limit;
    const char *act;

    if (!api_int(call, "before", 1, INT64_MAX, 0, &before) ||
        !api_int(call, "limit", 1, 1000, 25, &limit) || !read_act(call, &act))
        return;
    struct pg *pg = api_reader(call);
    if (pg == NULL)
        return;
    if (before > 0)
        pg_int8(&args, before);
    else
        pg_bytes(&args, PG_INT8, NULL, 0);
    pg_text(&args, act);
    pg_text(&args, rows_param(call, "who"));
    pg_int8(&args, limit);
    PGresult *res = pg_query(pg, &stmt, &args, &err);
    if (res == NULL) {
        http_answer_failure(call->request, &err);
        return;
    }
    if (PQntuples(res) == limit) /* there may be more */
        snprintf(key, sizeof(key), "%lld", (long long)pg_get_int8(res, (int)limit - 1, 0));
    rows_answer(call, rows_objects(res, names), key[0] != '\0' ? key : NULL);
    PQclear(res);
}
