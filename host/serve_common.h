/* What the processes behind HTTP share: they load the generation's modules, serve until told to retire, and beat. */
#pragma once

#include "api/api.h"
#include "serve.h"

struct serve {
    const struct serve_options *options;
    struct script *script;
    struct program program;
    struct http_server *server;
};

/*
 * Loads the modules (declarations are all that is used of them, but by routes) and binds them to the database. The exit
 * code when it cannot, else -1.
 */
int serve_open(struct serve *serve, const char *name, struct acc_error *err);
void serve_close(struct serve *serve);
/* The server's options by the app's settings. */
void serve_http_options(const struct serve *serve, const char *name, bool is_behind_front,
                        struct http_options *options);
/*
 * Turns the loop until the process is to retire and nothing is left to answer, or the loop breaks. each (may be NULL) is
 * called about four times a second.
 */
int serve_until_retired(struct serve *serve, void (*each)(void *context), void *context);
/* Logs why the process ends, and gives its exit code. */
int serve_failed(const char *name, const struct acc_error *err);
