/* Router: which of a table of patterns a path fits, and what stands in its variable parts. Pure. */
#pragma once

#include "http/http.h"

#define ROUTER_PARTS_MAX 8

/* "/facts/{kind}/{id}/causes"; a variable part is one path segment. "{kind}.csv" may end in fixed text. */
struct router_match {
    int route;                                /* its number in the table; -1: none */
    struct http_text parts[ROUTER_PARTS_MAX]; /* by their order in the pattern */
    size_t part_count;
    char allow
        [64]; /* methods of the path when route is -1 and the path is known: "GET, HEAD, POST"; else "" */
};

/*
 * pattern(context, i, &method) gives the i-th route's pattern and method, NULL at the end. A fixed segment is preferred to
 * a variable one. HEAD is answered by GET's route.
 */
typedef const char *router_pattern_fn(const void *context, size_t index, const char **method);
void router_find(router_pattern_fn *pattern, const void *context, struct http_text method,
                 struct http_text path, struct router_match *match);
