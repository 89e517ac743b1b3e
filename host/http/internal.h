/* What the files of the server share. Nobody else includes this, or h2o. */
#pragma once

#define H2O_USE_LIBUV 0

#include "base/clock.h"
#include "http/decode.h"
#include "http/head.h"

#include <errno.h>
#include <h2o.h>
#include <h2o/http1.h>
#include <netdb.h>

#define HTTP_PIECE_BYTES (256 << 10) /* answers are handed to the socket in pieces of this size */
#define HTTP_LINGERS 64              /* refused connections that are read to their end, at most */
#define HTTP_LINGER_MS 1000
#define HTTP_PEER_BYTES 64

/* Where a connection stands. */
enum connection_state {
    CONNECTION_HANDSHAKE, /* of TLS */
    CONNECTION_HEAD,      /* a head, or nothing yet */
    CONNECTION_BODY,      /* the head was sound, h2o reads the body */
    CONNECTION_ANSWER,    /* the handler has the request */
    CONNECTION_ENDED,     /* answered; h2o takes up the next request, or has closed */
    CONNECTION_REFUSED,   /* our own refusal is on its way */
    CONNECTION_CLOSING,   /* h2o has let it go, TLS says goodbye */
};

/* A connection as the guard in front of h2o sees it: found by its socket's on_close.data. */
struct connection {
    struct http_server *server;
    h2o_socket_t *socket;
    h2o_linklist_t all, returned; /* of the server */
    h2o_timeout_entry_t patience; /* ends whatever is being waited for */
    enum connection_state state;
    bool is_unix, is_at_work;
    SSL_CTX *tls; /* a reference; NULL: none */
    struct http_head head;
    struct http_chunks chunks;
    int64_t head_us;   /* when the head was whole */
    int64_t silent_us; /* when it was accepted, through its handshake, or answered last */
    char *kept;        /* bytes behind the request that h2o has now; owned */
    size_t kept_at, kept_size;
    int64_t counted_bytes; /* of the server's body_bytes_now */
    size_t written_bytes;  /* handed to the socket at the last look */
    int64_t written_us;    /* when that last changed */
    struct http_request *request;
    char *refusal; /* owned */
};

struct http_listener {
    struct http_listener *next;
    struct http_server *server;
    h2o_socket_t *socket;
    struct http_tls *tls;
    bool is_unix;
};

struct http_timer {
    struct http_server *server;
    void (*due)(void *context);
    void *context;
    int64_t due_us;
    size_t place; /* in the heap; SIZE_MAX: not set */
};

struct access_log {
    bool is_log; /* among the process's log lines */
    int fd;      /* -1: none */
    struct buf lines;
};

struct http_server {
    struct http_options options;
    char *name;
    h2o_evloop_t *loop;
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    h2o_socket_cb read; /* h2o's reader of requests, as it stood at the first connection */
    struct http_listener *listeners;
    bool is_listening, is_draining, is_one_at_a_time;
    bool is_out_of_descriptors; /* until the next sweep */
    int64_t at_work;            /* connections that one_at_a_time waits for */
    h2o_linklist_t connections, returned;
    h2o_timeout_t patience; /* request_ms */
    http_handler_fn *handler;
    void *handler_context;
    http_observer_fn *observer;
    void *observer_context;
    void (*turn)(void *context);
    void *turn_context;
    bool has_happened;          /* in this turn */
    struct http_timer **timers; /* a heap by due_us */
    size_t timer_count, timer_capacity;
    struct http_timer *sweep;
    h2o_http1client_ctx_t client; /* of forwards */
    h2o_timeout_t client_patience;
    h2o_timeout_t linger_patience;
    size_t linger_count;
    h2o_linklist_t lingers;
    uint64_t next_id[2];
    struct access_log access;
    struct http_counts counts;
};

struct http_param {
    const char *name, *value;
};

struct http_request {
    h2o_req_t *req;
    struct connection *connection;
    struct http_server *server;
    char id[17];
    char trace[56];
    char peer[HTTP_PEER_BYTES];
    const char *who;
    enum http_role role;
    int mark;
    bool is_tls;
    struct http_text path, raw_query;
    struct http_param *params;
    size_t param_count;
    int64_t started_us;
    void (*ended)(void *context); /* once, when the request is no more */
    void *ended_context;
};

/* listen.c */
void listeners_update(struct http_server *server); /* listens or not, as the counts say */
void listeners_close(struct http_server *server);
void connection_at_work(struct connection *connection, bool is_at_work);

/* connection.c */
void connection_new(struct http_listener *listener, h2o_socket_t *socket);
struct connection *connection_of(h2o_socket_t *socket);
/* h2o hands a request over; h2o lets it go. */
void connection_request(struct connection *connection, struct http_request *request);
void connection_answered(struct connection *connection);
void connections_return(struct http_server *server); /* takes up those of this turn again */
void connections_sweep(void *context);               /* the server: drops who takes nothing */
void connections_close_all(struct http_server *server);
/* Ends a connection from outside: h2o notices when it reads or writes next. */
void connection_cut(struct connection *connection);
/* A piece of an answer is gone, and the next may come later. */
void connection_written(struct connection *connection);
/* When h2o closes it, at once after this, the client sees that the body is not whole. */
void connection_break(struct connection *connection);

/* linger.c: reads what a refused client still sends, so that it gets to read the refusal. */
void linger_begin(struct http_server *server, int fd);
void lingers_close(struct http_server *server);

/* request.c */
struct http_request *request_of(h2o_req_t *req);
bool request_new(struct connection *connection, h2o_req_t *req); /* false: answered with an error */
void request_end(struct http_request *request);
void request_make_id(struct http_server *server, char id[17]);
void connection_peer(struct connection *connection, char peer[HTTP_PEER_BYTES]);

/* answer.c */
struct http_pair {
    const char *name, *value;
};
extern const struct http_pair answer_headers[]; /* that every answer has; ends with a NULL name */
void answer_add_headers(struct http_request *request); /* those, and the request's id */
const char *answer_reason(int status);
/* The JSON of an error; caller frees. */
char *answer_error_text(const char *code, const char *message, const char *field, const char *id);

/* access.c */
bool access_open(struct access_log *access, const char *where,
                 struct acc_error *err) ACC_MUST_CHECK;
void access_request(struct http_request *request);
void access_refused(struct http_server *server, const struct http_refusal *refusal, size_t bytes,
                    const char *peer, const char *id);
void access_flush(struct access_log *access);
void access_close(struct access_log *access);

/* watch.c */
int timers_wait_ms(const struct http_server *server, int wait_ms);
void timers_run(struct http_server *server);

/* tls.c */
SSL_CTX *tls_context(const struct http_tls *tls);
