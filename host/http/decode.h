/* What stands encoded in a head: paths, queries, traces. Pure. */
#pragma once

#include "http/http.h"

/*
 * Decodes a raw path ("/facts/a%20b") into out, which has room for as many bytes and a NUL. Refused, with the reason:
 * an escape that is none, an encoded slash, control bytes, what is not UTF-8, and the segments . and ..
 */
bool http_decode_path(const char *path, size_t size, char *out, size_t *out_size,
                      const char **reason);

/* One name or value of a query; + is a space. Refused: escapes that are none, NUL, what is not UTF-8. */
bool http_decode_query(const char *text, size_t size, char *out, const char **reason);

/* Whether text is a W3C traceparent: of version 00, or of a newer one that begins like it. */
bool http_is_trace(struct http_text text);
