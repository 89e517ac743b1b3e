#include "reads.h"

#include "base/clock.h"
#include "base/log.h"
#include "pg/pg.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MS 250 /* also the pause after a connection that could not be made */
#define GRACE_MS                                                                                   \
    5000 /* the server cancels a statement; one that says nothing so much later is lost */

struct call {
    struct call *next;
    char *sql;
    unsigned statement;
    bool is_description;
    int count;
    char *bytes; /* of all values */
    const char **values;
    int *lengths, *formats;
    int tries;
    struct acc_error *why; /* of one that has failed; owned */
    reads_done_fn *done;
    void *context;
};

enum link_state { LINK_CLOSED, LINK_CONNECTING, LINK_SETTING_UP, LINK_IDLE, LINK_BUSY };

struct link {
    struct reads *reads;
    enum link_state state;
    PGconn *conn;
    struct http_watch *watch;
    int64_t give_up_us; /* of what it does now */
    struct call *call;
    PGresult *res; /* what the statement in hand has said: its first failure, or the last result */
    bool is_preparing; /* the next result is PREPARE's */
    bool prepared[READS_STATEMENTS + 1];
};

struct reads {
    struct http_server *server;
    struct reads_options options;
    struct http_timer *timer;
    struct call *first, **last; /* in line */
    size_t waiting;
    struct acc_error why; /* of the last connection that could not be made */
    bool has_failed;      /* ... and whoever is in line is to be told */
    struct log_trouble away;
    int64_t retry_us;    /* no new connection before */
    struct call *failed; /* to be told from the loop: nobody is called while he submits */
    struct link *links;
};

static void on_event(void *context);
static void run_next(struct reads *reads);

/* Calls */

static void call_free(struct call *call)
{
    if (call == NULL)
        return;
    free(call->sql);
    free(call->bytes);
    free(call->values);
    free(call->lengths);
    free(call->formats);
    free(call->why);
    free(call);
}

static struct call *call_copy(const struct reads_call *from)
{
    struct call *call = acc_zalloc(sizeof(*call));
    size_t count = (size_t)from->count;
    size_t bytes = 1;

    call->sql = acc_strdup(from->sql);
    call->statement = from->statement;
    call->is_description = from->is_description;
    call->count = from->count;
    call->done = from->done;
    call->context = from->context;
    if (count == 0)
        return call;
    for (size_t i = 0; i < count; i++)
        bytes += (size_t)from->lengths[i] + 1;
    call->bytes = acc_alloc(bytes);
    call->values = acc_alloc(count * sizeof(char *));
    call->lengths = acc_alloc(count * sizeof(int));
    call->formats = acc_alloc(count * sizeof(int));
    memcpy(call->lengths, from->lengths, count * sizeof(int));
    memcpy(call->formats, from->formats, count * sizeof(int));
    char *to = call->bytes;
    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)from->lengths[i];
        call->values[i] = from->values[i] == NULL ? NULL : to;
        if (from->values[i] == NULL)
            continue;
        memcpy(to, from->values[i], size);
        to[size] = '\0';
        to += size + 1;
    }
    return call;
}

static void call_fail(struct call *call, const struct acc_error *err)
{
    call->done(call->context, NULL, err);
    call_free(call);
}

static void put_first(struct reads *reads, struct call *call)
{
    call->next = reads->first;
    reads->first = call;
    if (call->next == NULL)
        reads->last = &call->next;
    reads->waiting++;
}

static struct call *take_first(struct reads *reads)
{
    struct call *call = reads->first;

    if (call == NULL)
        return NULL;
    reads->first = call->next;
    if (reads->first == NULL)
        reads->last = &reads->first;
    reads->waiting--;
    return call;
}

/* Links */

static void close_link(struct link *link)
{
    http_watch_free(link->watch);
    PQclear(link->res);
    PQfinish(link->conn);
    *link = (struct link){.reads = link->reads, .call = link->call};
}

/* The connection is gone. What ran on it is tried once more on another one: it has only read. */
static void lose(struct link *link, const struct acc_error *err)
{
    struct reads *reads = link->reads;
    struct call *call = link->call;
    bool was_connecting = link->state == LINK_CONNECTING || link->state == LINK_SETTING_UP;

    link->call = NULL;
    close_link(link);
    if (was_connecting) {
        reads->why = *err;
        reads->has_failed = true;
        reads->retry_us = clock_us() + TICK_MS * 1000;
        log_trouble(&reads->away, clock_us(), "reads", "no connection", err->text);
    }
    if (call != NULL && ++call->tries < 2) {
        put_first(reads, call);
    } else if (call != NULL) {
        call->why = acc_alloc(sizeof(*err));
        *call->why = *err;
        call->next = reads->failed;
        reads->failed = call;
    }
    http_timer_set(reads->timer, 0);
}

static void lose_text(struct link *link, const char *text)
{
    struct acc_error err;

    acc_fail(&err, ACC_ELOST, "%s", text);
    lose(link, &err);
}

static void lose_libpq(struct link *link)
{
    struct acc_error err;

    pg_fail(&err, NULL, link->conn);
    err.code = ACC_ELOST;
    lose(link, &err);
}

/* A socket may change while libpq connects, so it is watched anew at each step. */
static void watch(struct link *link)
{
    http_watch_free(link->watch);
    link->watch = http_watch_new(link->reads->server, PQsocket(link->conn), on_event, link);
}

static bool flush(struct link *link)
{
    int left = PQflush(link->conn);

    if (left == 1)
        http_watch_writable(link->watch, on_event);
    return left >= 0;
}

static bool sync_link(struct link *link, enum link_state state, int64_t limit_ms)
{
    link->state = state;
    link->give_up_us = clock_us() + limit_ms * 1000;
    return PQpipelineSync(link->conn) == 1 && flush(link);
}

/* The session: our schema, only reads, the role's rights. One result each; the last one counts. */
static void set_up(struct link *link)
{
    static const char settings[] =
        "SELECT set_config('search_path', quote_ident($1), false), set_config('TimeZone', 'UTC', "
        "false), "
        "set_config('DateStyle', 'ISO', false), set_config('bytea_output', 'hex', false), "
        "set_config('extra_float_digits', '1', false), set_config('client_min_messages', 'error', "
        "false), "
        "set_config('default_transaction_isolation', 'repeatable read', false), "
        "set_config('default_transaction_read_only', 'on', false), "
        "set_config('statement_timeout', $2, false)";
    static const char role[] = "SELECT set_config('role', rolname, false) FROM pg_roles "
                               "WHERE rolname = $1 AND pg_has_role(rolname, 'MEMBER')";
    const struct reads_options *options = &link->reads->options;
    char timeout[24];

    snprintf(timeout, sizeof(timeout), "%lld", (long long)options->statement_ms);
    if (PQsetnonblocking(link->conn, 1) != 0 || PQenterPipelineMode(link->conn) != 1 ||
        PQsendQueryParams(link->conn, settings, 2, NULL,
                          (const char *const[]){options->schema, timeout}, NULL, NULL, 0) != 1 ||
        PQsendQueryParams(link->conn, role, 1, NULL, (const char *const[]){options->role}, NULL,
                          NULL, 0) != 1 ||
        !sync_link(link, LINK_SETTING_UP, options->connect_ms))
        lose_libpq(link);
}

static void poll_connect(struct link *link)
{
    PostgresPollingStatusType status = PQconnectPoll(link->conn);

    if (status == PGRES_POLLING_FAILED) {
        struct acc_error err;
        pg_fail(&err, NULL, link->conn);
        err.code = ACC_ELOST;
        acc_fail_prefix(&err, "cannot reach the database");
        lose(link, &err);
        return;
    }
    watch(link);
    if (status == PGRES_POLLING_WRITING)
        http_watch_writable(link->watch, on_event);
    else if (status == PGRES_POLLING_OK)
        set_up(link);
}

static void quiet(void *context, const char *message)
{
    (void)context;
    (void)message;
}

static void connect_link(struct link *link)
{
    const struct reads_options *options = &link->reads->options;
    const char *keys[] = {"dbname",
                          "fallback_application_name",
                          "client_encoding",
                          "keepalives_idle",
                          "keepalives_interval",
                          "keepalives_count",
                          NULL};
    const char *values[] = {options->conninfo, "accrete", "UTF8", "10", "5", "3", NULL};

    link->conn = PQconnectStartParams(keys, values, 1);
    link->state = LINK_CONNECTING;
    link->give_up_us = clock_us() + options->connect_ms * 1000;
    if (link->conn == NULL || PQstatus(link->conn) == CONNECTION_BAD) {
        lose_text(link, "cannot reach the database");
        return;
    }
    PQsetNoticeProcessor(link->conn, quiet, NULL);
    watch(link);
    http_watch_writable(link->watch, on_event);
}

static void start(struct link *link, struct call *call)
{
    char name[16] = "";
    bool is_new = call->statement == 0 || !link->prepared[call->statement];
    bool ok = true;

    link->call = call;
    link->is_preparing = is_new;
    if (call->statement != 0)
        snprintf(name, sizeof(name), "s%u", call->statement);
    if (is_new)
        ok = PQsendPrepare(link->conn, name, call->sql, 0, NULL) == 1;
    if (ok && call->is_description)
        ok = PQsendDescribePrepared(link->conn, name) == 1;
    else if (ok)
        ok = PQsendQueryPrepared(link->conn, name, call->count, call->values, call->lengths,
                                 call->formats, 0) == 1;
    if (!ok || !sync_link(link, LINK_BUSY, link->reads->options.statement_ms + GRACE_MS))
        lose_libpq(link);
}

static bool is_good(ExecStatusType status)
{
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

/* A table was changed under a statement that was prepared before: prepared anew it is right again. */
static bool is_outdated(const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    return state != NULL && (strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0);
}

static void take_result(struct link *link, PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);

    if (status == PGRES_PIPELINE_ABORTED ||
        (link->res != NULL && !is_good(PQresultStatus(link->res)))) {
        PQclear(res);
        return;
    }
    if (link->is_preparing && is_good(status) && link->call != NULL)
        link->prepared[link->call->statement] = true;
    link->is_preparing = false;
    PQclear(link->res);
    link->res = res;
}

/* Everything of the statement in hand has come. */
static void finish(struct link *link)
{
    struct call *call = link->call;
    PGresult *res = link->res;
    struct acc_error err = {0};

    link->res = NULL;
    if (res == NULL || !is_good(PQresultStatus(res)))
        pg_fail(&err, res, link->conn);
    if (link->state == LINK_SETTING_UP) {
        PQclear(res);
        if (err.code != ACC_OK) {
            lose(link, &err);
            return;
        }
        link->state = LINK_IDLE;
        link->reads->has_failed = false;
        log_trouble_over(&link->reads->away, "reads", "connected again");
        return;
    }
    if (err.code != ACC_OK && res != NULL && call->tries == 0 && is_outdated(res)) {
        PQclear(res);
        lose(link, &err);
        return;
    }
    link->call = NULL;
    link->state = LINK_IDLE;
    if (err.code == ACC_OK) {
        call->done(call->context, res, NULL);
        call_free(call);
    } else {
        PQclear(res);
        call_fail(call, &err);
    }
}

/* Reads what has come. false: the link is lost, and was given up. */
static bool read_results(struct link *link)
{
    int silent = 0;

    if (PQconsumeInput(link->conn) != 1) {
        lose_libpq(link);
        return false;
    }
    while ((link->state == LINK_BUSY || link->state == LINK_SETTING_UP) && !PQisBusy(link->conn)) {
        PGresult *res = PQgetResult(link->conn);
        if (res == NULL && ++silent < 3)
            continue; /* the end of one statement's results */
        ExecStatusType status = res == NULL ? PGRES_FATAL_ERROR : PQresultStatus(res);
        if (res == NULL || status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
            PQstatus(link->conn) == CONNECTION_BAD) {
            PQclear(res);
            lose_text(link, "the connection to the database is lost");
            return false;
        }
        silent = 0;
        if (status == PGRES_PIPELINE_SYNC) {
            PQclear(res);
            finish(link);
            return link->state != LINK_CLOSED;
        }
        take_result(link, res);
    }
    if (PQstatus(link->conn) == CONNECTION_BAD) {
        lose_text(link, "the connection to the database is lost");
        return false;
    }
    return true;
}

static void on_event(void *context)
{
    struct link *link = context;
    struct reads *reads = link->reads;

    if (link->state == LINK_CONNECTING)
        poll_connect(link);
    else if (link->state != LINK_CLOSED && !flush(link))
        lose_libpq(link);
    else if (link->state != LINK_CLOSED)
        (void)read_results(link);
    run_next(reads);
}

/* The line */

static struct link *find(struct reads *reads, enum link_state state)
{
    for (int i = 0; i < reads->options.connections; i++) {
        if (reads->links[i].state == state)
            return &reads->links[i];
    }
    return NULL;
}

static size_t coming(const struct reads *reads)
{
    size_t count = 0;

    for (int i = 0; i < reads->options.connections; i++)
        count +=
            reads->links[i].state == LINK_CONNECTING || reads->links[i].state == LINK_SETTING_UP;
    return count;
}

/* Gives what is in line to free connections, and makes more of these when all are busy. */
static void run_next(struct reads *reads)
{
    struct link *link;

    while (reads->first != NULL && (link = find(reads, LINK_IDLE)) != NULL)
        start(link, take_first(reads));
    while (clock_us() >= reads->retry_us && reads->waiting > coming(reads) &&
           (link = find(reads, LINK_CLOSED)) != NULL)
        connect_link(link);
    if (!reads_is_idle(reads))
        http_timer_set(reads->timer, reads->has_failed || reads->failed != NULL ? 0 : TICK_MS);
}

/* Nobody can be reached: who is in line is told, and whoever comes next finds a new attempt. */
static void tell_all(struct reads *reads)
{
    struct acc_error why = reads->why;

    for (size_t left = reads->waiting; left > 0; left--)
        call_fail(take_first(reads), &why);
    reads->has_failed = false;
}

static void on_timer(void *context)
{
    struct reads *reads = context;
    int64_t now_us = clock_us();
    bool has_any = find(reads, LINK_BUSY) != NULL || find(reads, LINK_IDLE) != NULL;

    for (int i = 0; i < reads->options.connections; i++) {
        struct link *link = &reads->links[i];
        if (link->state != LINK_CLOSED && link->state != LINK_IDLE && now_us > link->give_up_us)
            lose_text(link, "the database does not answer");
    }
    for (struct call *call; (call = reads->failed) != NULL;) {
        reads->failed = call->next;
        call_fail(call, call->why);
    }
    if (reads->has_failed && has_any)
        reads->has_failed = false; /* those that are there do the work */
    else if (reads->has_failed && coming(reads) == 0)
        tell_all(reads);
    run_next(reads);
}

struct reads *reads_new(struct http_server *server, const struct reads_options *options)
{
    struct reads *reads = acc_zalloc(sizeof(*reads));

    reads->server = server;
    reads->options = *options;
    reads->last = &reads->first;
    reads->links = acc_zalloc((uint64_t)options->connections * sizeof(struct link));
    for (int i = 0; i < options->connections; i++)
        reads->links[i].reads = reads;
    reads->timer = http_timer_new(server, on_timer, reads);
    return reads;
}

void reads_free(struct reads *reads)
{
    if (reads == NULL)
        return;
    for (int i = 0; i < reads->options.connections; i++) {
        close_link(&reads->links[i]);
        call_free(reads->links[i].call);
    }
    for (struct call *call; (call = take_first(reads)) != NULL;)
        call_free(call);
    for (struct call *call; (call = reads->failed) != NULL;) {
        reads->failed = call->next;
        call_free(call);
    }
    http_timer_free(reads->timer);
    free(reads->links);
    free(reads);
}

bool reads_submit(struct reads *reads, const struct reads_call *from, struct acc_error *err)
{
    if (reads->waiting >= READS_WAITING)
        return acc_fail(err, ACC_ELIMIT, "more than %d reads wait for the database", READS_WAITING);
    struct call *call = call_copy(from);
    *reads->last = call;
    reads->last = &call->next;
    reads->waiting++;
    run_next(reads);
    return true;
}

bool reads_is_idle(const struct reads *reads)
{
    if (reads->first != NULL || reads->failed != NULL)
        return false;
    for (int i = 0; i < reads->options.connections; i++) {
        if (reads->links[i].state != LINK_CLOSED && reads->links[i].state != LINK_IDLE)
            return false;
    }
    return true;
}
