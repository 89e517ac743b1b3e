/*
 * A routes process: runs the app's Lua routes behind the front, each request in a coroutine. What goes wrong in one of them
 * ends this process at worst; the front answers for it, and the master starts another.
 */
#include "reads.h"
#include "schema.h"
#include "script/script.h"
#include "serve_common.h"

#define READ_CONNECTIONS 4

struct routes {
    struct serve serve;
    char role[SCHEMA_ROLE_BYTES]; /* of its reads */
    struct reads *reads;
    struct intake *intake;
    struct http_watch *watch; /* of the intake's connection */
    int watched;              /* its descriptor, -1: none */
    struct http_timer *timer; /* when the intake wants to be driven without an event */
};

static void drive(void *context);

/* The descriptor and the time at which the intake wants to be driven next. */
static void follow(struct routes *routes)
{
    int fd = intake_descriptor(routes->intake);

    if (fd != routes->watched) {
        http_watch_free(routes->watch);
        routes->watch = fd < 0 ? NULL : http_watch_new(routes->serve.server, fd, drive, routes);
        routes->watched = fd;
    }
    if (routes->watch != NULL && intake_wants_write(routes->intake))
        http_watch_writable(routes->watch, drive);
    http_timer_set(routes->timer, intake_wait_ms(routes->intake));
}

static void drive(void *context)
{
    struct routes *routes = context;

    intake_drive(routes->intake);
    follow(routes);
}

/* The intake connects only when a route has facts for it. */
static void drive_when_busy(void *context)
{
    struct routes *routes = context;

    if (routes->watched >= 0 || !intake_is_idle(routes->intake))
        drive(routes);
}

static bool open_routes(struct routes *routes, struct acc_error *err)
{
    const struct serve_options *options = routes->serve.options;
    const struct settings *settings = &options->app->settings;
    struct intake_limits limits = {.waiting_requests = settings->http.waiting_requests,
                                   .waiting_bytes = settings->http.waiting_bytes,
                                   .unpacked_bytes = settings->http.unpacked_bytes};
    struct reads_options reads = {.conninfo = options->conninfo,
                                  .schema = options->app->schema,
                                  .role = routes->role,
                                  .connections = READ_CONNECTIONS,
                                  .connect_ms = settings->database.connect_timeout_ms,
                                  .statement_ms = settings->http.read_timeout_ms};
    struct http_options http;

    schema_role_name(options->app->schema, "reader", routes->role);
    serve_http_options(&routes->serve, "routes", true, &http);
    routes->serve.server = http_server_new(&http, err);
    if (routes->serve.server == NULL || !script_load_routes(routes->serve.script, err))
        return false;
    routes->reads = reads_new(routes->serve.server, &reads);
    routes->intake = intake_new(options->conninfo, options->app->schema, &routes->serve.program,
                                settings, &limits);
    routes->timer = http_timer_new(routes->serve.server, drive, routes);
    http_server_each_turn(routes->serve.server, drive_when_busy, routes);
    struct script_serve serve = {.server = routes->serve.server,
                                 .reads = routes->reads,
                                 .intake = routes->intake,
                                 .memory_bytes = settings->http.route_bytes,
                                 .limit_ms = settings->http.route_ms,
                                 .is_readonly = &settings->http.readonly,
                                 .beat = &options->service->beat};
    return script_serve(routes->serve.script, &serve, err) &&
           http_server_listen(routes->serve.server, options->listener, NULL, err);
}

int serve_routes(const struct serve_options *options)
{
    struct routes routes = {.serve = {.options = options}, .watched = -1};
    struct acc_error err = {0};
    int code = serve_open(&routes.serve, "routes", &err);

    if (code < 0 && !open_routes(&routes, &err))
        code = serve_failed("routes", &err);
    if (code < 0)
        code = serve_until_retired(&routes.serve, NULL, NULL);
    script_serve_end(routes.serve.script);
    reads_free(routes.reads);
    http_watch_free(routes.watch);
    http_timer_free(routes.timer);
    if (routes.intake != NULL)
        intake_free(routes.intake);
    serve_close(&routes.serve);
    return code;
}
