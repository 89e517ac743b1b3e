/* An app as a command sees it: its folder, settings, directories, and a way to its database. */
#pragma once

#include "base/error.h"
#include "conf/settings.h"
#include "embedded.h"
#include "lifecycle.h"
#include "pg/pg.h"
#include "script/script.h"

struct app {
    char *dir;  /* absolute path of the app's folder */
    char *name; /* the folder's name, made a valid identifier */
    struct settings settings;
    char *data_dir; /* made if missing */
    char *run_dir;  /* short, for sockets and the shared page; made if missing, 0700 */
    char *schema;
    const char *const *overrides; /* of the command line, borrowed */
};

/*
 * Finds the app (dir, else ACCRETE_APP, else upward from here to accrete.yaml), reads its settings
 * (built-in < accrete.yaml < environment < overrides, a NULL-terminated list of "a.b=value"), sets
 * up logging and the directories.
 */
bool app_open(struct app *app, const char *dir, const char *const *overrides,
              struct acc_error *err) ACC_MUST_CHECK;
void app_close(struct app *app);
/*
 * Reads the settings again, as a reload does: reloadable options and the app's own take their new
 * values, the others keep theirs. *before gets the old settings (the caller's, to put back or
 * settings_clear), *changed whether any differs. On failure nothing is changed.
 */
bool app_reload(struct app *app, struct settings *before, bool *changed,
                struct acc_error *err) ACC_MUST_CHECK;
/* Whether there is an accrete.yaml here or above. */
bool app_is_here(void);
/* The folder of the app that the file at path belongs to, or NULL; caller frees. */
char *app_of_file(const char *path);

/*
 * The pid of the process that holds the app's host lock (`accrete run`, or a command that started
 * the private cluster); 0: nobody.
 */
pid_t app_lock_holder(const struct app *app);
/*
 * The pid of the running host (`accrete run`), by its page and lock or the page alone when the
 * database is a server's; 0: none.
 */
pid_t app_host(const struct app *app);

/*
 * The way to the app's database for one command: the server of database.url, the private cluster of
 * a running host, or one started for it.
 */
struct session {
    struct pg pg;
    char *conninfo;            /* owned */
    struct embedded *embedded; /* started by this session, or NULL */
    int lock;                  /* host lock, or -1 */
    char *data_dir;            /* of the app */
    int guest;                 /* lock that keeps another command's cluster alive, or -1 */
};

/*
 * Whether the app's database is a server's, by database.url or database.url_file; else it is a
 * private one.
 */
bool app_has_server(const struct app *app);
/* Where that server is; caller frees. NULL: the file cannot be read. */
char *app_url(const struct app *app, struct acc_error *err) ACC_MUST_CHECK;

/* Connects with search_path = the app's schema. */
bool session_open(struct session *session, struct app *app, struct acc_error *err) ACC_MUST_CHECK;
void session_close(struct session *session);
