/*
 * Serve: the processes behind HTTP. The front (h2o, ingest, what the board has, the stream), query processes (answers from the
 * database), route processes (the app's Lua routes). Each is a child of the master, ends when it is told to retire and has
 * answered what it holds, and beats while it lives.
 */
#pragma once

#include "app.h"
#include "board.h"
#include "page.h"

struct serve_options {
    struct app *app;
    const char *conninfo;
    struct page *page;
    struct board *board;
    struct page_service *service; /* its place on the page */
    int listener;                 /* inherited */
    const char *modules_dir, *native_dir;
    const char *query_socket, *routes_socket; /* front; routes_socket NULL: the app has no routes */
};

/* Exit codes are those of workers. */
int serve_front(const struct serve_options *options);
int serve_query(const struct serve_options *options);
int serve_routes(const struct serve_options *options);
/* The process that keeps the board (figures.c). */
int figures_main(const struct serve_options *options);
