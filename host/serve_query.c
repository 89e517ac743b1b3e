/* A query process: answers what wants the database, behind the front, one short read after the other. */
#include "serve_common.h"

#include "base/clock.h"
#include "rows.h"

#define TEND_US 1000000

static void handle(void *context, struct http_request *request)
{
    api_handle(context, API_QUERY, request);
}

struct tending {
    struct api *api;
    int64_t at_us;
};

static void tend(void *context)
{
    struct tending *tending = context;

    if (clock_us() - tending->at_us < TEND_US)
        return;
    api_bench_tend(tending->api);
    tending->at_us = clock_us();
}

int serve_query(const struct serve_options *options)
{
    struct serve serve = {.options = options};
    struct http_options http;
    struct acc_heap heap;
    struct acc_error err = {0};
    struct pg pg = {0};
    struct api api = {.app = options->app,
                      .program = &serve.program,
                      .board = options->board,
                      .page = options->page,
                      .conninfo = options->conninfo,
                      .native_dir = options->native_dir,
                      .modules_dir = options->modules_dir,
                      .pg = &pg,
                      .heap = &heap};
    int code = serve_open(&serve, "query", &err);

    heap_init(&heap, 0);
    serve_http_options(&serve, "query", true, &http);
    if (code < 0 && ((serve.server = http_server_new(&http, &err)) == NULL ||
                     !http_server_listen(serve.server, options->listener, NULL, &err)))
        code = serve_failed("query", &err);
    if (code < 0) {
        api.server = serve.server;
        http_server_one_at_a_time(serve.server);
        http_server_handle(serve.server, handle, &api);
        code = serve_until_retired(&serve, tend, &(struct tending){.api = &api});
    }
    pg_close(&pg);
    serve_close(&serve);
    return code;
}
