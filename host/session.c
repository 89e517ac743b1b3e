#include "app.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 10000  /* for a host that is just starting or stopping, or its orphans */
#define GRACE_MS 10000 /* for the cluster to stop */
#define POLL_MS 20
#define SAID_MS 1000 /* waiting this long is worth a word */
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
 * A command that starts the cluster for itself stops it when it is done, and others may have come
 * to use it meanwhile. They hold data_dir/guests.lock shared; who stops takes it exclusively first.
 * Returns the descriptor, or -1 with errno EWOULDBLOCK: somebody holds it.
 */
static int guest_lock(const char *data_dir, int operation)
{
    char *path = acc_format("%s/guests.lock", data_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    free(path);
    if (fd >= 0 && flock(fd, operation | LOCK_NB) != 0) {
        int why = errno;

        close(fd);
        errno = why;
        fd = -1;
    }
    return fd;
}

static void leave(struct session *session)
{
    if (session->guest >= 0)
        close(session->guest);
    session->guest = -1;
    free(session->conninfo);
    session->conninfo = NULL;
}

/* Connects to the cluster of whoever holds the host lock. */
static bool visit(struct session *session, const struct app *app, struct acc_error *err)
{
    session->guest = guest_lock(app->data_dir, LOCK_SH);
    if (session->guest < 0 && errno != EWOULDBLOCK)
        return acc_fail_errno(err, "cannot lock \"%s/guests.lock\"", app->data_dir);
    if (session->guest < 0)
        return acc_fail(err, ACC_ELOST, "the private PostgreSQL in \"%s\" is stopping",
                        app->data_dir);
    session->conninfo = embedded_conninfo_of(app->data_dir, app->run_dir);
    if (connect(session, app, err))
        return true;
    leave(session);
    return false;
}

/*
 * Uses the cluster of whoever holds the host lock, or takes the lock and starts it. A host may just
 * be starting or stopping, so both are tried in turn.
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
        if (visit(session, app, err))
            return true;
        if (err->code != ACC_ELOST || clock_us() >= until_us)
            return false;
        pause_ms(POLL_MS);
    }
}

bool app_has_server(const struct app *app)
{
    return app->settings.database.url != NULL || app->settings.database.url_file != NULL;
}

/*
 * libpq takes any word that is neither for the name of a database on this machine, and would say
 * that no server runs here.
 */
static bool is_conninfo(const char *url)
{
    return strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0 ||
           (strstr(url, "://") == NULL && strchr(url, '=') != NULL);
}

char *app_url(const struct app *app, struct acc_error *err)
{
    bool is_set = app->settings.database.url != NULL;
    char *url = is_set ? acc_strdup(app->settings.database.url) : read_url(app, err);

    if (url == NULL || is_conninfo(url))
        return url;
    acc_fail(err, ACC_EINPUT,
             "%s: wanted postgresql://USER@HOST:PORT/DATABASE or words like host=… dbname=…",
             is_set ? "database.url" : "database.url_file");
    free(url);
    return NULL;
}

bool session_open(struct session *session, struct app *app, struct acc_error *err)
{
    bool ok;

    *session = (struct session){.lock = -1, .guest = -1, .data_dir = acc_strdup(app->data_dir)};
    if (!app_has_server(app)) {
        ok = open_private(session, app, err);
    } else {
        session->conninfo = app_url(app, err);
        ok = session->conninfo != NULL && connect(session, app, err);
    }
    if (!ok)
        session_close(session);
    return ok;
}

/*
 * Who came later must not lose the database because who started it is done first. Returns the lock
 * that keeps newcomers away.
 */
static int wait_for_guests(const char *data_dir)
{
    for (int64_t waited_ms = 0;; waited_ms += POLL_MS) {
        int fd = guest_lock(data_dir, LOCK_EX);

        if (fd >= 0 || errno != EWOULDBLOCK)
            return fd;
        if (waited_ms == SAID_MS)
            log_warn("session", "event=waiting text=%s",
                     log_quote("another command still uses the database"));
        pause_ms(POLL_MS);
    }
}

void session_close(struct session *session)
{
    int guests = session->embedded == NULL ? -1 : wait_for_guests(session->data_dir);

    pg_close(&session->pg);
    embedded_stop(session->embedded, GRACE_MS);
    if (session->lock >= 0)
        close(session->lock);
    if (guests >= 0)
        close(guests);
    leave(session);
    free(session->data_dir);
    *session = (struct session){.lock = -1, .guest = -1};
}
