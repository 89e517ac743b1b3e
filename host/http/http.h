/*
 * HTTP/1.1 server: h2o and its loop, wrapped. Knows nothing of facts. One server a process; everything here is called
 * from its loop's thread.
 *
 * HTTP/2 is off, heads and chunks are guarded (head.h), bodies arrive whole. Every answer, our own refusals among them, has
 * the headers that answer.c lists and X-Request-Id; every error is JSON.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/types.h>

struct http_server;
struct http_request;
struct http_stream;
struct http_watch;
struct http_timer;

/* Bytes that belong to somebody else; at is never NULL. */
struct http_text {
    const char *at;
    size_t size;
};

/*
 * bodies_bytes bounds the buffers of all requests that have begun and are not answered, their bodies among them: who needs
 * more room than is left gets 503. Exact up to what one read brings (a few MiB at most); TLS records that are not decoded
 * yet are not counted. What counts is what is held: a body whose length is known has a buffer of that size once a third of it
 * is there, a chunked one's doubles as it comes, up to twice its bytes.
 */
struct http_options {
    const char *name;       /* of the process, for log lines: "http", "query", "routes" */
    int64_t body_bytes;     /* longest body; more is 413 */
    int64_t bodies_bytes;   /* see above */
    int64_t connections;    /* at once; more wait in the backlog */
    int64_t request_ms;     /* head and body, and an idle connection */
    int64_t write_ms;       /* a reader that takes nothing for so long is dropped */
    const char *access_log; /* "off", "log" or "-" (among log lines), or a file; borrowed */
    bool is_behind_front;   /* our own front sends the requests, and names id, peer, who and role */
};

/* A server without listeners. NULL with err: among others when the descriptor limit is below connections + 64. */
struct http_server *http_server_new(const struct http_options *options,
                                    struct acc_error *err) ACC_MUST_CHECK;
void http_server_free(struct http_server *server);

struct http_tls; /* certificate and key, TLS 1.2 or newer, HTTP/1.1 only by ALPN */
struct http_tls *http_tls_new(const char *certificate_file, const char *key_file,
                              struct acc_error *err) ACC_MUST_CHECK;
/* Reads the files again; on failure the old ones stay. */
bool http_tls_reload(struct http_tls *tls, struct acc_error *err) ACC_MUST_CHECK;
void http_tls_free(struct http_tls *tls);

/*
 * Listening sockets, made before the processes are forked. text is "127.0.0.1:8080", "[::1]:8080", "host:0" or
 * "unix:PATH". Returns a descriptor (CLOEXEC), or -1 with err. http_listen_name: its address as it is bound, caller
 * frees.
 */
int http_listen(const char *text, struct acc_error *err) ACC_MUST_CHECK;
char *http_listen_name(int fd);
/* Whether only this machine can reach the address in text. */
bool http_is_loopback(const char *text);

/* Takes connections from fd (dup it to keep it), with TLS when tls is not NULL (borrowed). */
bool http_server_listen(struct http_server *server, int fd, struct http_tls *tls,
                        struct acc_error *err) ACC_MUST_CHECK;
/* one_at_a_time: no new connection is accepted while a request is being answered (except streams). */
void http_server_one_at_a_time(struct http_server *server);

/* Called for every request whose head and body are sound. It answers now or later, exactly once. */
typedef void http_handler_fn(void *context, struct http_request *request);
void http_server_handle(struct http_server *server, http_handler_fn *handler, void *context);
/*
 * Called for each request that was handed to the handler, at its end: status as it went out, seconds since its head was
 * whole. The request says what its handler has marked it with.
 */
typedef void http_observer_fn(void *context, const struct http_request *request, int status,
                              double seconds);
void http_server_observe(struct http_server *server, http_observer_fn *observer, void *context);
void http_set_mark(struct http_request *request, int mark);
int http_mark(const struct http_request *request); /* -1: none was set */
/* Called at the end of each turn of the loop in which anything happened. */
void http_server_each_turn(struct http_server *server, void (*turn)(void *context), void *context);

/* One turn: waits at most wait_ms. false: the loop is broken. */
bool http_server_turn(struct http_server *server, int wait_ms);
/*
 * Stops accepting. Connections close with their next answer; those without a request at once, when they have said nothing for a
 * moment (else one may be on its way, and they are given the rest of it). Streams are ended by whoever feeds them.
 * http_server_is_empty: none are left. http_server_free closes what is left then; requests without an answer are no more.
 */
void http_server_drain(struct http_server *server);
bool http_server_is_empty(const struct http_server *server);

/* Writes the access log elsewhere from now on, or opens its file anew; on failure all stays. */
bool http_server_access_log(struct http_server *server, const char *where,
                            struct acc_error *err) ACC_MUST_CHECK;

/* Figures, for metrics and tests. */
struct http_counts {
    uint64_t accepted, requests, by_class[6]; /* answers by hundreds: [2] is 2xx */
    uint64_t refused_heads, refused_bodies, dropped_writers;
    int64_t connections, body_bytes_now, streams;
};
void http_server_counts(const struct http_server *server, struct http_counts *counts);

/* What a request says. Borrowed, valid until it is answered. */
struct http_text http_method(const struct http_request *request);
struct http_text
http_path(const struct http_request *request); /* decoded, from "/" on, without the query */
struct http_text http_raw_query(const struct http_request *request); /* behind "?", as sent */
struct http_text http_body(const struct http_request *request);      /* as sent, not decompressed */
struct http_text http_header(const struct http_request *request,
                             const char *lower_case_name);       /* size 0: none */
const char *http_request_id(const struct http_request *request); /* 16 hex digits */
const char *http_trace(const struct http_request *request); /* a valid W3C traceparent, or "" */
const char *http_peer(const struct http_request *request);  /* "127.0.0.1", "unix" */
bool http_is_tls(const struct http_request *request);
int64_t http_started_us(const struct http_request *request); /* clock_us() when the head was read */
/* The value of a parameter of the query, decoded; NULL: not given. *place (start with 0) finds the next of the same name. */
const char *http_query(struct http_request *request, const char *name, size_t *place);
/* All parameters of the query, decoded, in order: index from 0; false: no more. */
bool http_query_at(struct http_request *request, size_t index, const char **name,
                   const char **value);
/* Memory that lives as long as the request. */
void *http_alloc(struct http_request *request, size_t size);

/* Whom the front has found behind a request; kept with it and passed on when it is forwarded. */
enum http_role { HTTP_ROLE_NONE, HTTP_ROLE_READ, HTTP_ROLE_INGEST, HTTP_ROLE_ADMIN };
void http_set_who(struct http_request *request, const char *who, enum http_role role);
const char *http_who(const struct http_request *request); /* a token's name or an address */
enum http_role http_role(const struct http_request *request);

/* Answers. Bodies are copied. HEAD sends the head alone. */
void http_add_header(struct http_request *request, const char *name,
                     const char *value); /* before the answer */
void http_answer(struct http_request *request, int status, const char *content_type,
                 const void *body, size_t size);
void http_answer_text(struct http_request *request, int status, const char *text);
void http_answer_json(struct http_request *request, int status, json_t *body); /* takes body */
/* {"error": {"code", "message", "field" (unless NULL), "request"}}. code: "bad_filter", "not_found" ... */
void http_answer_error(struct http_request *request, int status, const char *code,
                       const char *field, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* By err's code: ACC_EINPUT 400, ACC_ELIMIT 503, ACC_ELOST and transient ones 503 with Retry-After, others 500. */
void http_answer_failure(struct http_request *request, const struct acc_error *err);
/* A connection was made: ends what failures of lost ones say in the log, the first and then one a minute. */
void http_answers_again(const struct http_server *server);
/*
 * When the tag of the answer (a short ASCII word, chosen by the caller from what the answer is made of) is the one the
 * client has, answers 304 and returns true; else adds the ETag header.
 */
bool http_is_known(struct http_request *request, const char *tag);

/*
 * Answers that come in pieces. more is called when the last piece is gone and the next may be sent; closed once at the
 * end, whoever ended it: the stream is no more afterwards. The first piece may be sent at once.
 */
struct http_stream_calls {
    void (*more)(void *context, struct http_stream *stream);
    void (*closed)(void *context);
};
struct http_stream *http_stream_begin(struct http_request *request, int status,
                                      const char *content_type,
                                      const struct http_stream_calls *calls, void *context);
bool http_stream_is_busy(const struct http_stream *stream); /* a piece is still on its way */
void http_stream_send(struct http_stream *stream, const void *data, size_t size,
                      bool is_last); /* copies */
/* The same bytes for many readers: data is borrowed until released(owner) is called. */
void http_stream_send_shared(struct http_stream *stream, const void *data, size_t size,
                             void (*released)(void *owner), void *owner);
void http_stream_abort(struct http_stream *stream); /* the client sees a broken body */

/*
 * Hands the request to another process of this machine that listens at a unix socket; its answer goes back as it comes.
 * An upstream that is not there gives 503 with Retry-After, one that breaks off 502, one that is silent for limit_ms 504; all
 * as JSON errors. Its authorization stays here; who, role and peer are told.
 */
void http_forward(struct http_request *request, const char *socket_path, int64_t limit_ms);

/* Descriptors and timers of the same loop. Callbacks may end their own watch or timer. */
struct http_watch *http_watch_new(struct http_server *server, int fd,
                                  void (*readable)(void *context), void *context);   /* dups fd */
void http_watch_writable(struct http_watch *watch, void (*writable)(void *context)); /* once */
void http_watch_free(struct http_watch *watch);
struct http_timer *http_timer_new(struct http_server *server, void (*due)(void *context),
                                  void *context);
void http_timer_set(struct http_timer *timer, int64_t in_ms); /* once; -1: not at all */
void http_timer_free(struct http_timer *timer);
