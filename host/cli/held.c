#include "cli/held.h"

#include "control.h"
#include "figures.h"

#include <stdlib.h>

static json_t *held_by(const char *who, const char *reason, int64_t since_us)
{
    return json_pack("{s:s, s:s, s:o}", "by", who, "reason", reason, "since",
                     figures_time(since_us));
}

/* The name of a lifecycle, or NULL; freed by the caller. */
static bool find_name(struct pg *pg, int16_t number, char **name, struct acc_error *err)
{
    struct pg_args args = {0};

    *name = NULL;
    pg_int2(&args, number);
    PGresult *res = pg_exec(pg, "SELECT name FROM lifecycle WHERE id = $1", &args, err);
    if (res != NULL && PQntuples(res) > 0)
        *name = acc_strdup(pg_get_text(res, 0, 0));
    PQclear(res);
    return res != NULL;
}

static bool add_throttle(struct pg *pg, const struct control_throttle *throttle, json_t *list,
                         struct acc_error *err)
{
    char *name;

    if (!find_name(pg, throttle->lifecycle, &name, err))
        return false;
    json_t *one = held_by(throttle->who, throttle->reason, throttle->since_us);
    json_object_set_new(one, "lifecycle", name == NULL ? json_null() : json_string(name));
    json_object_set_new(one, "per_s", json_real(throttle->per_s));
    json_array_append_new(list, one);
    free(name);
    return true;
}

bool held_read(struct cli *cli, struct work *work, json_t *object, int *exit_code)
{
    struct control control = {0};
    json_t *throttles = json_array();
    struct acc_error err;
    bool ok = !work->has_tables || control_read(&control, &work->session.pg, &err);

    for (size_t i = 0; ok && i < control.throttle_count; i++)
        ok = add_throttle(&work->session.pg, &control.throttles[i], throttles, &err);
    json_object_set_new(object, "paused",
                        control.is_paused ? held_by(control.who, control.reason, control.since_us)
                                          : json_null());
    json_object_set_new(object, "throttles", throttles);
    control_clear(&control);
    if (!ok)
        *exit_code = cli_fail(cli, &err);
    return ok;
}

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value == NULL ? "?" : value;
}

void held_print(const json_t *object)
{
    const json_t *paused = json_object_get(object, "paused");
    char reason[400];
    size_t i;
    json_t *one;

    if (json_is_object(paused)) {
        cli_first_line(text(paused, "reason"), reason, sizeof(reason));
        printf("the queue is paused by %s since %s: %s (accrete queue resume)\n",
               text(paused, "by"), text(paused, "since"), reason);
    }
    json_array_foreach(json_object_get(object, "throttles"), i, one)
    {
        cli_first_line(text(one, "reason"), reason, sizeof(reason));
        printf("%s is held to %g events a second by %s since %s: %s\n", text(one, "lifecycle"),
               json_number_value(json_object_get(one, "per_s")), text(one, "by"),
               text(one, "since"), reason);
    }
}
