#include "app.h"

#include "base/hash.h"
#include "base/log.h"
#include "conf/option.h"
#include "embedded_cluster.h"
#include "page.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_NAME_BYTES 16  /* of the app's name in the path of its sockets, which must be short */
#define SCHEMA_NAME_MAX 63 /* bytes of an identifier in PostgreSQL */

static bool is_there(const char *dir, const char *name)
{
    char *path = acc_format("%s/%s", dir, name);
    bool is = access(path, F_OK) == 0;

    free(path);
    return is;
}

/* The folder that was named, or NULL with err. */
static char *named_dir(const char *dir, const char *source, struct acc_error *err)
{
    char *path = realpath(dir, NULL);
    struct stat st;

    if (path == NULL) {
        acc_fail_errno(err, "%s \"%s\"", source, dir);
    } else if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        acc_fail(err, ACC_EINPUT, "%s \"%s\": wanted the folder of an app", source, dir);
    } else if (!is_there(path, "accrete.yaml") && !is_there(path, "kinds")) {
        acc_fail(err, ACC_EINPUT,
                 "%s \"%s\": wanted an app, found neither accrete.yaml nor kinds/ in it", source,
                 dir);
    } else {
        return path;
    }
    free(path);
    return NULL;
}

/* The nearest folder with accrete.yaml, from here upward, or NULL with err. */
static char *dir_at_or_above(const char *start)
{
    char *path = acc_strdup(start);

    for (;;) {
        if (is_there(path, "accrete.yaml"))
            return path;
        char *slash = strrchr(path, '/');
        if (slash == NULL || path[1] == '\0')
            break;
        slash[slash == path] = '\0';
    }
    free(path);
    return NULL;
}

static char *nearest_dir(struct acc_error *err)
{
    char here[PATH_MAX];

    if (getcwd(here, sizeof(here)) == NULL) {
        acc_fail_errno(err, "working directory");
        return NULL;
    }
    char *path = dir_at_or_above(here);
    if (path == NULL)
        acc_fail(err, ACC_EINPUT,
                 "no app: wanted --app DIR, ACCRETE_APP, or accrete.yaml in \"%s\" or above it",
                 here);
    return path;
}

char *app_of_file(const char *path)
{
    char real[PATH_MAX];

    return realpath(path, real) == NULL ? NULL : dir_at_or_above(real);
}

static char *find_dir(const char *dir, struct acc_error *err)
{
    const char *env = getenv("ACCRETE_APP");

    if (dir != NULL)
        return named_dir(dir, "--app", err);
    if (env != NULL && env[0] != '\0')
        return named_dir(env, "ACCRETE_APP", err);
    return nearest_dir(err);
}

/* The last part of the path as a name: [a-z][a-z0-9_]*. */
static char *name_of(const char *dir)
{
    const char *base = strrchr(dir, '/') + 1;
    char *name = acc_format("%s%s", isalpha((uint8_t)base[0]) ? "" : "app_", base);

    for (char *c = name; *c != '\0'; c++)
        *c = isalnum((uint8_t)*c) ? (char)tolower((uint8_t)*c) : '_';
    if (strlen(name) > KIND_NAME_MAX)
        name[KIND_NAME_MAX] = '\0';
    return name;
}

/* Passes on all messages of a reader of settings, one a line, in err. */
static bool settings_failed(char *messages, struct acc_error *err)
{
    if (messages != NULL && messages[0] != '\0') {
        size_t size = strlen(messages);

        while (size > 0 && messages[size - 1] == '\n')
            messages[--size] = '\0';
        acc_fail(err, err->code, "%s", messages);
    }
    free(messages);
    return false;
}

static bool read_overrides(struct settings *settings, const char *const *overrides,
                           struct acc_error *err)
{
    for (; overrides != NULL && *overrides != NULL; overrides++) {
        const char *equals = strchr(*overrides, '=');

        if (equals == NULL)
            return acc_fail(err, ACC_EINPUT, "--set: wanted NAME=VALUE, got \"%s\"", *overrides);
        char *name = acc_strdup(*overrides);
        name[equals - *overrides] = '\0';
        bool ok = settings_set(settings, "--set", name, equals + 1, err);
        free(name);
        if (!ok)
            return false;
    }
    return true;
}

static bool read_settings(struct app *app, const char *const *overrides, struct acc_error *err)
{
    char *path = acc_format("%s/accrete.yaml", app->dir);
    char *messages = NULL;
    enum log_level level;
    bool ok = true;

    settings_init(&app->settings);
    if (access(path, F_OK) == 0)
        ok = settings_read_file(&app->settings, path, &messages, err);
    free(path);
    if (!ok || !settings_read_env(&app->settings, environ, &messages, err))
        return settings_failed(messages, err);
    free(messages);
    if (!read_overrides(&app->settings, overrides, err))
        return false;
    if (log_level_of(app->settings.log.level, &level))
        log_setup(level, strcmp(app->settings.log.format, "json") == 0);
    return true;
}

/* A relative path in the settings is meant from the app's folder. */
static char *from_app(const struct app *app, const char *path)
{
    return path[0] == '/' ? acc_strdup(path) : acc_format("%s/%s", app->dir, path);
}

static char *default_data_dir(const struct app *app, struct acc_error *err)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (geteuid() == 0)
        return acc_format("/var/lib/accrete/%s", app->name);
    if (state != NULL && state[0] == '/')
        return acc_format("%s/accrete/%s", state, app->name);
    if (home != NULL && home[0] == '/')
        return acc_format("%s/.local/state/accrete/%s", home, app->name);
    acc_fail(err, ACC_EINPUT,
             "no data directory: wanted HOME, XDG_STATE_HOME or the setting data.dir");
    return NULL;
}

/*
 * Two apps whose folders have the same name would share the default data directory. The one that
 * came first has left its path there; a path that is no app any more (moved, deleted) counts for
 * nothing.
 */
static bool claim_data_dir(const struct app *app, struct acc_error *err)
{
    char *path = acc_format("%s/app", app->data_dir);
    char owner[PATH_MAX] = "";
    FILE *file = fopen(path, "re");
    bool ok = true;

    if (file != NULL) {
        size_t got = fread(owner, 1, sizeof(owner) - 1, file);

        owner[got] = '\0';
        owner[strcspn(owner, "\n")] = '\0';
        fclose(file);
    }
    if (strcmp(owner, app->dir) != 0) {
        if (owner[0] != '\0' && (is_there(owner, "accrete.yaml") || is_there(owner, "kinds"))) {
            ok = acc_fail(err, ACC_EINPUT,
                          "data directory \"%s\" belongs to the app in \"%s\": choose another one "
                          "for \"%s\" (data.dir)",
                          app->data_dir, owner, app->dir);
        } else if ((file = fopen(path, "we")) != NULL) {
            fprintf(file, "%s\n", app->dir);
            fclose(file);
        }
    }
    free(path);
    return ok;
}

static bool make_data_dir(struct app *app, struct acc_error *err)
{
    const char *set = app->settings.data.dir;
    char *path = set != NULL ? from_app(app, set) : default_data_dir(app, err);

    if (path == NULL)
        return false;
    if (make_directory(path, err)) {
        app->data_dir = realpath(path, NULL);
        if (app->data_dir == NULL)
            acc_fail_errno(err, "data directory \"%s\"", path);
    }
    free(path);
    if (app->data_dir == NULL)
        return false;
    return set != NULL || claim_data_dir(app, err);
}

/* Whether path is a directory of ours that nobody else can write. */
static bool is_private(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 022) == 0;
}

/* The folder that holds the run directories of all apps of this user. */
static char *run_root(const struct app *app, struct acc_error *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char *path;

    if (app->settings.data.run_dir != NULL)
        return from_app(app, app->settings.data.run_dir);
    if (geteuid() == 0)
        return acc_strdup("/run/accrete");
    if (runtime != NULL && runtime[0] == '/' && is_private(runtime))
        return acc_format("%s/accrete", runtime);
    path = acc_format("/tmp/accrete-%d", (int)geteuid());
    if ((mkdir(path, 0700) == 0 || errno == EEXIST) && is_private(path))
        return path;
    acc_fail(err, ACC_ESYS,
             "\"%s\" is not a private folder of yours: choose another one (data.run_dir)", path);
    free(path);
    return NULL;
}

/*
 * ROOT/NAME-HASH, the hash of the data directory, so that apps of the same name and copies of one
 * app do not meet.
 */
static bool make_run_dir(struct app *app, struct acc_error *err)
{
    uint8_t hash[SHA256_BYTES];
    char digits[9];
    char *root = run_root(app, err);

    if (root == NULL)
        return false;
    sha256(app->data_dir, strlen(app->data_dir), hash);
    hex_encode(hash, 4, digits);
    app->run_dir = acc_format("%s/%.*s-%s", root, RUN_NAME_BYTES, app->name, digits);
    free(root);
    return make_directory(app->run_dir, err);
}

/* What PostgreSQL would cut or refuse is refused here, where it can be said what to change. */
static bool check_schema(const char *schema, struct acc_error *err)
{
    size_t size = strlen(schema);

    if (size == 0 || size > SCHEMA_NAME_MAX)
        return acc_fail(err, ACC_EINPUT, "database.schema: wanted 1..%d bytes, got %zu",
                        SCHEMA_NAME_MAX, size);
    if (strncmp(schema, "pg_", 3) == 0 || strcmp(schema, "information_schema") == 0)
        return acc_fail(err, ACC_EINPUT,
                        "schema \"%s\": PostgreSQL keeps this name for itself, choose another one "
                        "(database.schema)",
                        schema);
    return true;
}

bool app_open(struct app *app, const char *dir, const char *const *overrides, struct acc_error *err)
{
    *app = (struct app){.dir = find_dir(dir, err), .overrides = overrides};
    if (app->dir == NULL)
        return false;
    app->name = name_of(app->dir);
    bool ok = read_settings(app, overrides, err);
    if (ok)
        app->schema = acc_strdup(
            app->settings.database.schema != NULL ? app->settings.database.schema : app->name);
    ok = ok && check_schema(app->schema, err) && make_data_dir(app, err) && make_run_dir(app, err);
    if (!ok)
        app_close(app);
    return ok;
}

/* Options that a running host cannot change keep their value; a warning names them. */
static void keep_fixed(struct settings *fresh, const struct settings *old, bool *changed)
{
    for (size_t i = 0; i < option_count; i++) {
        char *before = settings_get(old, options[i].name);
        char *now = settings_get(fresh, options[i].name);
        bool same = before == NULL ? now == NULL : now != NULL && strcmp(before, now) == 0;

        if (!same && options[i].is_reloadable) {
            *changed = true;
        } else if (!same) {
            log_warn("app", "event=\"needs a restart, unchanged for now\" option=%s",
                     options[i].name);
            if (!option_parse(&options[i], before == NULL ? "" : before, fresh))
                log_error("app", "event=\"cannot keep an option\" option=%s", options[i].name);
        }
        free(before);
        free(now);
    }
    *changed |= fresh->app_count != old->app_count;
    for (size_t i = 0; i < fresh->app_count && i < old->app_count; i++)
        *changed |= strcmp(fresh->app[i].name, old->app[i].name) != 0 ||
                    strcmp(fresh->app[i].value, old->app[i].value) != 0;
}

bool app_reload(struct app *app, struct settings *before, bool *changed, struct acc_error *err)
{
    struct app fresh = *app;

    *changed = false;
    if (!read_settings(&fresh, app->overrides, err)) {
        settings_clear(&fresh.settings);
        return false;
    }
    keep_fixed(&fresh.settings, &app->settings, changed);
    *before = app->settings;
    app->settings = fresh.settings;
    return true;
}

void app_close(struct app *app)
{
    free(app->dir);
    free(app->name);
    free(app->data_dir);
    free(app->run_dir);
    free(app->schema);
    settings_clear(&app->settings);
    *app = (struct app){0};
}

bool app_is_here(void)
{
    struct acc_error err;
    char *dir = nearest_dir(&err);

    free(dir);
    return dir != NULL;
}

pid_t app_lock_holder(const struct app *app)
{
    char *path = acc_format("%s/host.lock", app->data_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[32] = "";
    pid_t pid = 0;

    free(path);
    if (fd < 0)
        return 0;
    /*
     * A shared lock for a moment; who wants the exclusive one meanwhile tries again, because the
     * pid in the file is a dead one's.
     */
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
        read(fd, text, sizeof(text) - 1) > 0)
        pid = (pid_t)strtol(text, NULL, 10);
    close(fd);
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM) ? pid : 0;
}

/* Reads the short name of a process, with its newline; 0 bytes when there is none. */
static size_t read_comm(const char *pid, char *comm, size_t capacity)
{
    char path[64];
    ssize_t got = -1;

    snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        got = read(fd, comm, capacity);
        close(fd);
    }
    return got < 0 ? 0 : (size_t)got;
}

/*
 * Whether the process lives and runs the same program as this one; a pid alone may have gone to
 * somebody else.
 */
static bool is_accrete(pid_t pid)
{
    char digits[16];
    char its[64];
    char ours[64];

    if (kill(pid, 0) != 0 && errno != EPERM)
        return false;
    snprintf(digits, sizeof(digits), "%d", (int)pid);
    size_t size = read_comm(digits, its, sizeof(its));
    return size > 0 && size == read_comm("self", ours, sizeof(ours)) &&
           memcmp(its, ours, size) == 0;
}

pid_t app_host(const struct app *app)
{
    struct acc_error err;
    const struct page *page = page_open(app->run_dir, &err);
    bool has_cluster =
        app->settings.database.url == NULL && app->settings.database.url_file == NULL;

    if (page == NULL)
        return 0;
    pid_t pid = page->master_pid;
    page_close(page);
    if (pid <= 0 || !is_accrete(pid))
        return 0;
    return !has_cluster || app_lock_holder(app) == pid ? pid : 0;
}
