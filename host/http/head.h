/*
 * Head guard: what is let through to the parser of HTTP, which is lenient where two readers of the same bytes could differ
 * (two framings, folded lines, bare line feeds). Reads heads and chunks as they come in. Pure.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>

#define HTTP_HEAD_BYTES 32768
#define HTTP_TARGET_BYTES 8192
#define HTTP_HEADERS 100

enum http_reading { HTTP_MORE, HTTP_DONE, HTTP_BAD };

/* Why something is HTTP_BAD, as the answer to it. */
struct http_refusal {
    int status;
    const char *code, *message;
};

/* A head that is being read; starts as zeros. */
struct http_head {
    size_t seen;  /* bytes that were looked at: the next call goes on there */
    size_t start; /* of the request line, behind at most one blank line */
    size_t line;  /* start of the line that is being read */
    size_t lines; /* complete ones */
    bool is_http10, has_host, has_length, is_chunked, has_expect;
    int64_t body_bytes; /* by Content-Length; 0 when there is none */
    size_t size;        /* HTTP_DONE: bytes up to and with the blank line */
    struct http_refusal refusal;
};

/* data: everything received so far, from the head's first byte on; it may move between calls, not change. */
enum http_reading http_head_read(struct http_head *head, const char *data, size_t size);

/* A chunked body that is being read; starts as zeros. */
struct http_chunks {
    int state;
    int64_t left;  /* of the chunk */
    int64_t total; /* of all chunks until now */
    int digits;    /* of the chunk's size */
    size_t extra;  /* bytes of extensions and trailers */
    struct http_refusal refusal;
};

/*
 * Reads the bytes that follow those of the last call. HTTP_DONE: the body ends behind *used of them. More than
 * limit_bytes of body is 413.
 */
enum http_reading http_chunks_read(struct http_chunks *chunks, const char *data, size_t size,
                                   int64_t limit_bytes, size_t *used);
