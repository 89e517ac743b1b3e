#include "app.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 10000  /* for a host that is just starting or stopping, or its orphans */
#define GRACE_MS 10000 /* for the cluster to stop */
#define POLL_MS 20
#define URL_BYTES 4096

static void pause_ms(int64_t ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

/* The URL that a file holds, without blanks around it. Caller frees. */
static char *read_url(const struct app *app, struct acc_error *err)
{
    const char *set = app->settings.database.url_file;
    char *path = set[0] == '/' ? acc_strdup(set) : acc_format("%s/%s", app->dir, set);
    char text[URL_BYTES];
    FILE *file = fopen(path, "re");
    char *url = NULL;

    if (file == NULL) {
        acc_fail_errno(err, "database.url_file \"%s\"", path);
    } else {
        size_t size = fread(text, 1, sizeof(text) - 1, file);

        while (size > 0 && strchr(" \t\r\n", text[size - 1]) != NULL)
            size--;
        text[size] = '\0';
        fclose(file);
        if (size == 0 || size == sizeof(text) - 1 || strlen(text) != size)
            acc_fail(err, ACC_EINPUT, "database.url_file \"%s\": wanted one URL or conninfo", path);
        else
            url = acc_strdup(text + strspn(text, " \t\r\n"));
    }
    free(path);
    return url;
}

static bool connect(struct session *session, const struct app *app, struct acc_error *err)
{
    return pg_open(&session->pg, session->conninfo, app->schema,
                   app->settings.database.connect_timeout_ms,
                   app->settings.database.statement_timeout_ms, err);
}

/* Starts the private cluster under the lock that this process holds. */
static bool start(struct session *session, const struct app *app, struct acc_error *err)
{
    session->embedded = embedded_start(&app->settings, app->data_dir, app->run_dir, err);
    if (session->embedded == NULL)
        return false;
    session->conninfo = acc_strdup(embedded_conninfo(session->embedded));
    return connect(session, app, err);
}

/*
 * Uses the cluster of whoever holds the lock, or takes the lock and starts it. Between the two a host may be starting or
 * stopping, so both are tried in turn.
 */
static bool open_private(struct session *session, const struct app *app, struct acc_error *err)
{
    int64_t until_us = clock_us() + WAIT_MS * INT64_C(1000);

    for (;;) {
        if (app_lock_holder(app) == 0) {
            struct acc_error lock_err;

            session->lock = embedded_lock(app->data_dir, WAIT_MS, &lock_err);
            if (session->lock >= 0)
                return start(session, app, err);
            *err = lock_err;
            if (app_lock_holder(app) == 0)
                return false;
        }
        session->conninfo = embedded_conninfo_of(app->data_dir, app->run_dir);
        if (connect(session, app, err))
            return true;
        free(session->conninfo);
        session->conninfo = NULL;
        if (err->code != ACC_ELOST || clock_us() >= until_us)
            return false;
        pause_ms(POLL_MS);
    }
}

bool session_open(struct session *session, struct app *app, struct acc_error *err)
{
    const struct settings *settings = &app->settings;
    bool ok;

    *session = (struct session){.lock = -1};
    if (settings->database.url == NULL && settings->database.url_file == NULL) {
        ok = open_private(session, app, err);
    } else {
        session->conninfo = settings->database.url != NULL ? acc_strdup(settings->database.url)
                                                           : read_url(app, err);
        ok = session->conninfo != NULL && connect(session, app, err);
    }
    if (!ok)
        session_close(session);
    return ok;
}

/* Other commands that use the cluster that this one started. */
static int64_t others(struct pg *pg)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT count(*) FROM pg_stat_activity "
               "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"};
    struct acc_error err;
    PGresult *res = pg->conn == NULL ? NULL : pg_query(pg, &stmt, NULL, &err);
    int64_t count = res == NULL ? 0 : pg_get_int8(res, 0, 0);

    PQclear(res);
    return count;
}

/* Who came later must not lose the database because who started it is done first. */
static void wait_for_others(struct session *session)
{
    bool is_said = false;

    for (int64_t waited_ms = 0; others(&session->pg) > 0; waited_ms += POLL_MS) {
        if (waited_ms > 1000 && !is_said) {
            log_info("session", "event=waiting text=%s",
                     log_quote("another command still uses the database"));
            is_said = true;
        }
        pause_ms(POLL_MS);
    }
}

void session_close(struct session *session)
{
    if (session->embedded != NULL)
        wait_for_others(session);
    pg_close(&session->pg);
    embedded_stop(session->embedded, GRACE_MS);
    if (session->lock >= 0)
        close(session->lock);
    free(session->conninfo);
    *session = (struct session){.lock = -1};
}
