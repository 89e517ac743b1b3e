#include "serve_common.h"

#include "base/clock.h"
#include "base/log.h"
#include "schema.h"
#include "worker.h"

#define TURN_MS 100
#define EACH_US 250000

int serve_failed(const char *name, const struct acc_error *err)
{
    int code = err->code == ACC_ESTALE                          ? WORKER_STALE
               : err->code == ACC_ELOST || pg_is_transient(err) ? WORKER_AGAIN
                                                                : WORKER_FAILED;

    log_line(code == WORKER_FAILED ? LOG_ERROR : LOG_WARN, name, "event=\"process ends\" error=%s",
             log_quote(err->text));
    return code;
}

int serve_open(struct serve *serve, const char *name, struct acc_error *err)
{
    const struct serve_options *options = serve->options;
    const struct settings *settings = &options->app->settings;
    struct pg pg = {0};

    serve->script = script_new(settings, options->modules_dir, options->native_dir, err);
    if (serve->script != NULL)
        script_set_metrics(serve->script, board_metrics(options->board));
    bool ok =
        serve->script != NULL && script_load(serve->script, &serve->program, false, err) &&
        pg_open(&pg, options->conninfo, options->app->schema, settings->database.connect_timeout_ms,
                settings->database.statement_timeout_ms, err) &&
        schema_bind(&pg, &serve->program, err);
    pg_close(&pg);
    return ok ? -1 : serve_failed(name, err);
}

void serve_close(struct serve *serve)
{
    http_server_free(serve->server);
    script_free(serve->script);
}

void serve_http_options(const struct serve *serve, const char *name, bool is_behind_front,
                        struct http_options *options)
{
    const struct settings *settings = &serve->options->app->settings;
    const char *log = settings->http.access_log;

    *options = (struct http_options){.name = name,
                                     .body_bytes = settings->http.body_bytes,
                                     .bodies_bytes = settings->http.bodies_bytes,
                                     .connections = settings->http.connections,
                                     .request_ms = settings->http.request_ms,
                                     .write_ms = settings->http.write_ms,
                                     .access_log = is_behind_front || log == NULL ? "off"
                                                   : strcmp(log, "log") == 0      ? "-"
                                                                                  : log,
                                     .is_behind_front = is_behind_front};
}

int serve_until_retired(struct serve *serve, void (*each)(void *context), void *context)
{
    struct page_service *service = serve->options->service;
    bool is_draining = false;
    int64_t each_us = 0;

    __atomic_store_n(&service->is_ready, 1, __ATOMIC_RELEASE);
    while (!is_draining || !http_server_is_empty(serve->server)) {
        if (!http_server_turn(serve->server, TURN_MS))
            return WORKER_AGAIN;
        __atomic_add_fetch(&service->beat, 1, __ATOMIC_RELAXED);
        if (each != NULL && clock_us() - each_us > EACH_US) {
            each_us = clock_us();
            each(context);
        }
        if (!is_draining && __atomic_load_n(&service->retire, __ATOMIC_ACQUIRE) != 0) {
            is_draining = true;
            http_server_drain(serve->server);
            __atomic_store_n(&service->is_ready, 0, __ATOMIC_RELEASE);
        }
    }
    return WORKER_DONE;
}
