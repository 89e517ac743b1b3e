/*
 * The front: the process that listens where clients come. Writes facts itself (intake), answers what the board has, and
 * hands everything else to query and route processes.
 */
#include "serve_common.h"

#include "base/log.h"

#include <sys/stat.h>

struct front {
    struct serve serve;
    struct api api;
    struct http_tls *tls;
    struct http_watch *watch; /* of the intake's connection */
    int watched;              /* its descriptor, -1: none */
    struct token_set tokens;
    uint64_t tokens_version;
    struct buf scratch;
    struct timespec certificate_at; /* when the file was written that is served */
    struct http_timer *timer;       /* when the intake wants to be driven without an event */
};

static void handle(void *context, struct http_request *request)
{
    struct front *front = context;

    api_handle(&front->api, API_FRONT, request);
}

static void drive(void *context);

/* The descriptor and the time at which the intake wants to be driven next. */
static void follow(struct front *front)
{
    struct intake *intake = front->api.intake;
    int fd = intake_descriptor(intake);

    if (fd != front->watched) {
        http_watch_free(front->watch);
        front->watch = fd < 0 ? NULL : http_watch_new(front->serve.server, fd, drive, front);
        front->watched = fd;
    }
    if (front->watch != NULL && intake_wants_write(intake))
        http_watch_writable(front->watch, drive);
    http_timer_set(front->timer, intake_wait_ms(intake));
}

static void drive(void *context)
{
    struct front *front = context;

    intake_drive(front->api.intake);
    follow(front);
}

/* Tokens and certificates as they are now. */
static void refresh(void *context)
{
    struct front *front = context;
    const char *path = front->api.app->settings.http.certificate;
    struct acc_error err;
    struct stat st;
    int64_t at_us;

    api_meters(&front->api);
    if (board_version(front->api.board, BOARD_TOKENS) != front->tokens_version &&
        board_get(front->api.board, BOARD_TOKENS, &front->scratch, &front->tokens_version,
                  &at_us) &&
        front->scratch.size == sizeof(front->tokens))
        memcpy(&front->tokens, front->scratch.data, sizeof(front->tokens));
    if (front->tls == NULL || stat(path, &st) != 0 ||
        (st.st_mtim.tv_sec == front->certificate_at.tv_sec &&
         st.st_mtim.tv_nsec == front->certificate_at.tv_nsec))
        return;
    if (front->certificate_at.tv_sec != 0 && !http_tls_reload(front->tls, &err))
        log_error("front", "event=\"certificate not taken, the old one stays\" error=%s",
                  log_quote(err.text));
    front->certificate_at = st.st_mtim;
}

static bool open_front(struct front *front, struct acc_error *err)
{
    const struct serve_options *options = front->serve.options;
    const struct settings *settings = &options->app->settings;
    struct intake_limits limits = {.waiting_requests = settings->http.waiting_requests,
                                   .waiting_bytes = settings->http.waiting_bytes,
                                   .unpacked_bytes = settings->http.unpacked_bytes};
    struct http_options http;

    serve_http_options(&front->serve, "front", false, &http);
    front->serve.server = http_server_new(&http, err);
    if (front->serve.server == NULL)
        return false;
    if (settings->http.certificate != NULL || settings->http.key != NULL) {
        front->tls = http_tls_new(settings->http.certificate, settings->http.key, err);
        if (front->tls == NULL)
            return false;
    }
    front->api.server = front->serve.server;
    front->api.intake = intake_new(options->conninfo, options->app->schema, &front->serve.program,
                                   settings, &limits);
    front->timer = http_timer_new(front->serve.server, drive, front);
    http_server_handle(front->serve.server, handle, front);
    http_server_each_turn(front->serve.server, drive, front);
    http_server_observe(front->serve.server, api_observe, &front->api);
    return http_server_listen(front->serve.server, options->listener, front->tls, err);
}

int serve_front(const struct serve_options *options)
{
    struct front front = {.serve = {.options = options}, .watched = -1};
    struct acc_error err = {0};

    front.api = (struct api){.app = options->app,
                             .program = &front.serve.program,
                             .board = options->board,
                             .page = options->page,
                             .conninfo = options->conninfo,
                             .native_dir = options->native_dir,
                             .modules_dir = options->modules_dir,
                             .tokens = &front.tokens,
                             .query_socket = options->query_socket,
                             .routes_socket = options->routes_socket};
    int code = serve_open(&front.serve, "front", &err);
    if (code < 0 && !open_front(&front, &err))
        code = serve_failed("front", &err);
    if (code < 0) {
        refresh(&front);
        drive(&front);
        code = serve_until_retired(&front.serve, refresh, &front);
    }
    http_watch_free(front.watch);
    http_timer_free(front.timer);
    if (front.api.intake != NULL)
        intake_free(front.api.intake);
    http_tls_free(front.tls);
    buf_clear(&front.scratch);
    serve_close(&front.serve);
    return code;
}
