#include "base/log.h"
#include "http/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>

#define DAY_MS (UINT64_C(24) * 3600 * 1000)
#define SPARE_DESCRIPTORS 64

/* h2o hands a request over: its head was let through by the guard, its body is whole. */
static int on_request(h2o_handler_t *self, h2o_req_t *req)
{
    struct connection *connection = connection_of(req->conn->callbacks->get_socket(req->conn));
    struct http_server *server = connection->server;

    (void)self;
    if (request_new(connection, req))
        server->handler(server->handler_context, connection->request);
    return 0;
}

static void on_answer(h2o_filter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
    struct http_request *request = request_of(req);

    (void)self;
    if (request != NULL)
        answer_add_headers(request);
    if (req->conn->ctx->shutdown_requested)
        req->http1_is_persistent = 0;
    h2o_setup_next_ostream(req, slot);
}

static void on_end(h2o_logger_t *self, h2o_req_t *req)
{
    struct http_request *request = request_of(req);

    (void)self;
    if (request != NULL)
        request_end(request);
}

static void hooks_init(h2o_pathconf_t *path)
{
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_create_filter(path, sizeof(h2o_filter_t))->on_setup_ostream = on_answer;
    h2o_create_logger(path, sizeof(h2o_logger_t))->log_access = on_end;
}

static bool descriptors_raise(int64_t wanted, struct acc_error *err)
{
    struct rlimit limit, raised;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return acc_fail_errno(err, "cannot read the limit of descriptors");
    if (limit.rlim_cur == RLIM_INFINITY || (int64_t)limit.rlim_cur >= wanted)
        return true;
    raised = limit;
    raised.rlim_cur = (rlim_t)wanted;
    if (raised.rlim_max != RLIM_INFINITY && (int64_t)raised.rlim_max < wanted)
        raised.rlim_max = (rlim_t)wanted; /* root may */
    if (setrlimit(RLIMIT_NOFILE, &raised) != 0)
        return acc_fail(err, ACC_ELIMIT,
                        "http.connections: wanted %" PRId64 " descriptors, the limit is %" PRIu64
                        "; raise it (ulimit -Hn, LimitNOFILE) or lower http.connections",
                        wanted, (uint64_t)limit.rlim_max);
    return true;
}

static void config_init(struct http_server *server)
{
    h2o_globalconf_t *config = &server->config;
    h2o_hostconf_t *host;

    h2o_config_init(config);
    config->server_name = (h2o_iovec_t){H2O_STRLIT("accrete")};
    config->max_request_entity_size = (size_t)server->options.body_bytes + 1; /* the guard counts */
    config->http1.req_timeout = DAY_MS; /* the guard has patience of its own */
    config->http1.upgrade_to_http2 = 0; /* HTTP/2 of this h2o is open to rapid reset */
    h2o_socket_buffer_mmap_settings.threshold =
        SIZE_MAX; /* bodies stay in memory, where they are counted */
    host = h2o_config_register_host(config, (h2o_iovec_t){H2O_STRLIT("default")}, 65535);
    hooks_init(&host->fallback_path);
}

struct http_server *http_server_new(const struct http_options *options, struct acc_error *err)
{
    struct http_server *server;

    if (!descriptors_raise(options->connections + SPARE_DESCRIPTORS, err))
        return NULL;
    server = acc_zalloc(sizeof(*server));
    server->options = *options;
    server->name = acc_strdup(options->name);
    server->options.name = server->name;
    if (!access_open(&server->access, options->access_log, err)) {
        free(server->name);
        free(server);
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN);
    if (getrandom(server->next_id, sizeof(server->next_id), 0) != sizeof(server->next_id))
        abort(); /* 16 bytes never come short */
    h2o_linklist_init_anchor(&server->connections);
    h2o_linklist_init_anchor(&server->returned);
    h2o_linklist_init_anchor(&server->lingers);
    config_init(server);
    server->loop = h2o_evloop_create();
    h2o_context_init(&server->context, server->loop, &server->config);
    server->accept = (h2o_accept_ctx_t){.ctx = &server->context, .hosts = server->config.hosts};
    h2o_timeout_init(server->loop, &server->patience, (uint64_t)options->request_ms);
    h2o_timeout_init(server->loop, &server->client_patience, DAY_MS);
    h2o_timeout_init(server->loop, &server->linger_patience, HTTP_LINGER_MS);
    server->client =
        (h2o_http1client_ctx_t){.loop = server->loop,
                                .getaddr_receiver = &server->context.receivers.hostinfo_getaddr,
                                .io_timeout = &server->client_patience};
    server->sweep = http_timer_new(server, connections_sweep, server);
    return server;
}

void http_server_free(struct http_server *server)
{
    h2o_multithread_queue_t *queue;

    if (server == NULL)
        return;
    server->is_draining = true;
    listeners_close(server);
    connections_close_all(server);
    lingers_close(server);
    for (int turns = 0; turns < 16; turns++) /* goodbyes of TLS, closed sockets */
        h2o_evloop_run(server->loop, 0);
    http_timer_free(server->sweep);
    h2o_timeout_dispose(server->loop, &server->patience);
    h2o_timeout_dispose(server->loop, &server->client_patience);
    h2o_timeout_dispose(server->loop, &server->linger_patience);
    queue = server->context.queue;
    h2o_context_dispose(&server->context);
    free(queue); /* h2o closes it and forgets it */
    h2o_config_dispose(&server->config);
    h2o_evloop_destroy(server->loop);
    access_close(&server->access);
    free(server->timers);
    free(server->name);
    free(server);
}

void http_server_handle(struct http_server *server, http_handler_fn *handler, void *context)
{
    server->handler = handler;
    server->handler_context = context;
}

void http_server_observe(struct http_server *server, http_observer_fn *observer, void *context)
{
    server->observer = observer;
    server->observer_context = context;
}

void http_server_each_turn(struct http_server *server, void (*turn)(void *context), void *context)
{
    server->turn = turn;
    server->turn_context = context;
}

bool http_server_turn(struct http_server *server, int wait_ms)
{
    /* h2o does not look at what became ready outside of its turn before it waits. */
    bool is_pending = server->loop->_pending_as_client != NULL ||
                      server->loop->_pending_as_server != NULL || server->has_happened;
    server->has_happened = false;
    int result = h2o_evloop_run(server->loop, is_pending ? 0 : timers_wait_ms(server, wait_ms));

    if (result != 0 && errno != EINTR)
        return false;
    timers_run(server);
    connections_return(server);
    if (server->has_happened && server->turn != NULL) {
        server->has_happened = false;
        server->turn(server->turn_context);
    }
    access_flush(&server->access);
    return true;
}

void http_server_drain(struct http_server *server)
{
    server->is_draining = true;
    server->context.shutdown_requested = 1; /* h2o's own function also sets timers for HTTP/2 */
    listeners_close(server);
    connections_sweep(server);
}

bool http_server_is_empty(const struct http_server *server)
{
    return server->counts.connections == 0;
}

void http_server_counts(const struct http_server *server, struct http_counts *counts)
{
    *counts = server->counts;
}

bool http_server_access_log(struct http_server *server, const char *where, struct acc_error *err)
{
    struct access_log opened = {0};

    if (!access_open(&opened, where, err))
        return false;
    access_flush(&server->access);
    access_close(&server->access);
    server->access = opened;
    return true;
}
