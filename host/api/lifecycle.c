/* One lifecycle: its figures and errors, its module, its throttle. */
#include "api/handlers.h"
#include "api/rows.h"

#include "control.h"
#include "generation.h"
#include "parked.h"
#include "tally.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE_MOST (4 << 20)
#define ERRORS_MOST "20"

/* Figures */

/* The lifecycle's row of the board, or what is known without it. */
static json_t *board_row(const struct api *api, const struct lifecycle *lifecycle)
{
    struct buf text = {0};
    uint64_t version;
    int64_t at_us;
    json_t *row = NULL;
    size_t i;
    json_t *one;

    if (board_get(api->board, BOARD_LIFECYCLES, &text, &version, &at_us)) {
        json_t *all = json_loadb(text.data, text.size, 0, NULL);

        json_array_foreach(all, i, one)
        {
            const char *name = json_string_value(json_object_get(one, "name"));
            if (name != NULL && strcmp(name, lifecycle->name) == 0)
                row = json_incref(one);
        }
        json_decref(all);
    }
    buf_clear(&text);
    return row != NULL
               ? row
               : json_pack("{s:s, s:s}", "name", lifecycle->name, "on", lifecycle->on->name);
}

/* Why its dead events died, by signature. */
static json_t *errors_of(struct pg *pg, const struct lifecycle *lifecycle, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "WITH p AS (SELECT * FROM parked WHERE state = 'dead' AND lifecycle = $1::int2 "
               "ORDER BY ready_at DESC LIMIT 10000) SELECT " PARKED_GROUP
               ", count(*), " PARKED_MESSAGE ", min(substring(p.trace FROM "
               "E'\\nin ([a-z_]+) of ')), " ROWS_TIME(
                   "max(p.last_at)") " FROM p JOIN lifecycle l ON l.id = p.lifecycle GROUP BY "
                                     "l.name, " PARKED_SIGNATURE " "
                                     "ORDER BY 2 DESC, 1 LIMIT " ERRORS_MOST};
    static const char *const names[] = {"sig", "#n", "message", "in", "last_at", NULL};
    struct pg_args args = {0};

    pg_int2(&args, lifecycle->id);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return NULL;
    json_t *errors = rows_objects(res, names);
    PQclear(res);
    return errors;
}

/* Events by how many friends they got; of those, how many abort_late ended. */
static json_t *friends_histogram(struct pg *pg, const struct lifecycle *lifecycle,
                                 struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT f.place::int4, coalesce(sum(f.n), 0)::int8, coalesce(sum(f.late), 0)::int8 "
               "FROM tally_lifecycle t, unnest(t.by_friends, t.late_by_friends) WITH ORDINALITY AS "
               "f(n, late, place) WHERE t.lifecycle = $1::int2 GROUP BY 1 ORDER BY 1"};
    struct pg_args args = {0};
    json_t *list = json_array();

    pg_int2(&args, lifecycle->id);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        int64_t most = tally_friends_most(pg_get_int4(res, r, 0) - 1);

        json_array_append_new(list, json_pack("{s:o, s:I, s:I}", "le",
                                              most < 0 ? json_null() : json_integer(most), "n",
                                              (json_int_t)pg_get_int8(res, r, 1), "late",
                                              (json_int_t)pg_get_int8(res, r, 2)));
    }
    if (res == NULL) {
        json_decref(list);
        return NULL;
    }
    PQclear(res);
    return list;
}

/* The override that people have set, or null. */
static json_t *throttle_json(struct pg *pg, const struct lifecycle *lifecycle,
                             struct acc_error *err)
{
    struct control control = {0};
    json_t *set = json_null();

    if (!control_read(&control, pg, err))
        return NULL;
    for (size_t i = 0; i < control.throttle_count; i++) {
        const struct control_throttle *throttle = &control.throttles[i];
        if (throttle->lifecycle == lifecycle->id)
            set = json_pack("{s:f, s:s, s:s}", "per_s", throttle->per_s, "by", throttle->who,
                            "reason", throttle->reason);
    }
    control_clear(&control);
    return set;
}

void api_lifecycle_one(struct api_call *call)
{
    const struct lifecycle *lifecycle = api_lifecycle(call, 0);
    struct pg *pg = lifecycle == NULL ? NULL : api_reader(call);
    struct acc_error err;

    if (pg == NULL)
        return;
    json_t *errors = errors_of(pg, lifecycle, &err);
    json_t *histogram = errors == NULL ? NULL : friends_histogram(pg, lifecycle, &err);
    json_t *throttle = histogram == NULL ? NULL : throttle_json(pg, lifecycle, &err);
    if (throttle == NULL) {
        http_answer_failure(call->request, &err);
        json_decref(errors);
        json_decref(histogram);
        return;
    }
    json_t *row = board_row(call->api, lifecycle);
    json_object_update_new(row, json_pack("{s:o, s:o, s:o, s:{s:s, s:s}}", "errors", errors,
                                          "friends_histogram", histogram, "throttle_set", throttle,
                                          "module", "path", lifecycle->path, "sha256",
                                          lifecycle->module_sha));
    http_answer_json(call->request, 200, row);
}

/* Module */

/* The whole file, or NULL with err (ACC_EINPUT: there is none). Caller frees. */
static char *read_file(const char *path, size_t *size, struct acc_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    char *text = NULL;

    if (fd < 0 && errno == ENOENT) {
        acc_fail(err, ACC_EINPUT, "there is none");
    } else if (fd < 0 || fstat(fd, &st) != 0) {
        acc_fail_errno(err, "cannot read the module");
    } else if (st.st_size > SOURCE_MOST) {
        acc_fail(err, ACC_ELIMIT, "the module has more than 4 MiB");
    } else {
        text = acc_alloc((uint64_t)st.st_size + 1);
        ssize_t n = read(fd, text, (size_t)st.st_size);
        *size = n < 0 ? 0 : (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    return text;
}

void api_lifecycle_source(struct api_call *call)
{
    const struct lifecycle *lifecycle = api_lifecycle(call, 0);
    int32_t newest = call->api->program->generation;
    struct acc_error err;
    int64_t generation;
    size_t size;

    if (lifecycle == NULL || !api_int(call, "generation", 1, INT32_MAX, newest, &generation))
        return;
    char *dir = generation_dir(call->api->app, (int32_t)generation);
    char *path = acc_format("%s/lifecycles/%s.lua", dir, lifecycle->name);
    char *text = read_file(path, &size, &err);
    if (text != NULL)
        http_answer(call->request, 200, "text/plain; charset=utf-8", text, size);
    else if (err.code == ACC_EINPUT)
        http_answer_error(call->request, 404, "not_found", "generation",
                          "this host has no module of \"%s\" of generation %lld; the newest is %d",
                          lifecycle->name, (long long)generation, (int)newest);
    else
        http_answer_failure(call->request, &err);
    free(text);
    free(path);
    free(dir);
}

/* Throttle */

/* per_s: a number, or null (0). false: answered. */
static bool read_per_s(struct api_call *call, const json_t *body, double *per_s)
{
    const json_t *value = json_object_get(body, "per_s");

    *per_s = json_number_value(value);
    if (json_is_null(value) || (json_is_number(value) && *per_s >= 0.001 && *per_s <= 1e9))
        return true;
    http_answer_error(call->request, 400, "bad_body", "per_s",
                      "per_s: wanted 0.001..1e9 events a second over all workers, or null");
    return false;
}

void api_lifecycle_throttle(struct api_call *call)
{
    static const char *const names[] = {"per_s", "reason", NULL};
    const struct lifecycle *lifecycle = api_lifecycle(call, 0);
    json_t *body = lifecycle == NULL ? NULL : api_body(call, names);
    const char *reason = body == NULL ? NULL : api_reason(call, body);
    double per_s;
    struct pg *pg = reason == NULL || !read_per_s(call, body, &per_s) ? NULL : api_writer(call);
    struct control_act act = {.who = http_who(call->request), .reason = reason};
    struct acc_error err;
    int64_t audit_id;

    if (pg != NULL) {
        if (control_throttle(pg, lifecycle->name, per_s, &act, &audit_id, &err))
            http_answer_json(call->request, 200, json_pack("{s:I}", "audit", (json_int_t)audit_id));
        else
            http_answer_failure(call->request, &err);
        api_writer_end(call, pg);
    }
    json_decref(body);
}
