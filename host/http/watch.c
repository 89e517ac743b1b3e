#include "http/internal.h"

#include <fcntl.h>
#include <stdlib.h>

struct http_watch {
    struct http_server *server;
    h2o_socket_t *socket;
    void (*readable)(void *context);
    void (*writable)(void *context);
    void *context;
};

static void on_readable(h2o_socket_t *socket, const char *error)
{
    struct http_watch *watch = socket->data;

    (void)error; /* whoever reads finds out */
    watch->server->has_happened = true;
    watch->readable(watch->context);
}

static void on_writable(h2o_socket_t *socket, const char *error)
{
    struct http_watch *watch = socket->data;

    (void)error;
    watch->server->has_happened = true;
    watch->writable(watch->context);
}

struct http_watch *http_watch_new(struct http_server *server, int fd,
                                  void (*readable)(void *context), void *context)
{
    struct http_watch *watch = acc_zalloc(sizeof(*watch));
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* h2o closes its own */

    if (own < 0)
        abort(); /* a descriptor is always spare: the limit is above the connections */
    watch->server = server;
    watch->readable = readable;
    watch->context = context;
    watch->socket = h2o_evloop_socket_create(server->loop, own, H2O_SOCKET_FLAG_DONT_READ);
    watch->socket->data = watch;
    h2o_socket_read_start(watch->socket, on_readable);
    return watch;
}

void http_watch_writable(struct http_watch *watch, void (*writable)(void *context))
{
    watch->writable = writable;
    if (!h2o_socket_is_writing(watch->socket))
        h2o_socket_notify_write(watch->socket, on_writable);
}

void http_watch_free(struct http_watch *watch)
{
    if (watch == NULL)
        return;
    h2o_socket_close(watch->socket);
    free(watch);
}

/* Timers: a heap whose first is due first. */

static void put(struct http_server *server, struct http_timer *timer, size_t place)
{
    server->timers[place] = timer;
    timer->place = place;
}

static void move_up(struct http_server *server, struct http_timer *timer, size_t place)
{
    for (size_t above; place > 0; place = above) {
        above = (place - 1) / 2;
        if (server->timers[above]->due_us <= timer->due_us)
            break;
        put(server, server->timers[above], place);
    }
    put(server, timer, place);
}

static void move_down(struct http_server *server, struct http_timer *timer, size_t place)
{
    for (size_t below = 2 * place + 1; below < server->timer_count; below = 2 * place + 1) {
        if (below + 1 < server->timer_count &&
            server->timers[below + 1]->due_us < server->timers[below]->due_us)
            below++;
        if (timer->due_us <= server->timers[below]->due_us)
            break;
        put(server, server->timers[below], place);
        place = below;
    }
    put(server, timer, place);
}

static void unset(struct http_timer *timer)
{
    struct http_server *server = timer->server;
    size_t place = timer->place;
    struct http_timer *last;

    if (place == SIZE_MAX)
        return;
    timer->place = SIZE_MAX;
    last = server->timers[--server->timer_count];
    if (last == timer)
        return;
    move_down(server, last, place);
    move_up(server, last, last->place);
}

struct http_timer *http_timer_new(struct http_server *server, void (*due)(void *context),
                                  void *context)
{
    struct http_timer *timer = acc_zalloc(sizeof(*timer));

    timer->server = server;
    timer->due = due;
    timer->context = context;
    timer->place = SIZE_MAX;
    return timer;
}

void http_timer_set(struct http_timer *timer, int64_t in_ms)
{
    struct http_server *server = timer->server;

    unset(timer);
    if (in_ms < 0)
        return;
    timer->due_us = clock_us() + in_ms * 1000;
    if (server->timer_count == server->timer_capacity) {
        server->timer_capacity = server->timer_capacity == 0 ? 16 : 2 * server->timer_capacity;
        server->timers =
            acc_realloc(server->timers, server->timer_capacity * sizeof(server->timers[0]));
    }
    move_up(server, timer, server->timer_count++);
}

void http_timer_free(struct http_timer *timer)
{
    if (timer == NULL)
        return;
    unset(timer);
    free(timer);
}

int timers_wait_ms(const struct http_server *server, int wait_ms)
{
    int64_t left_us;

    if (server->timer_count == 0)
        return wait_ms;
    left_us = server->timers[0]->due_us - clock_us();
    if (left_us <= 0)
        return 0;
    return left_us / 1000 < wait_ms ? (int)(left_us / 1000) + 1 : wait_ms;
}

void timers_run(struct http_server *server)
{
    int64_t now_us = clock_us();

    while (server->timer_count > 0 && server->timers[0]->due_us <= now_us) {
        struct http_timer *timer = server->timers[0];

        unset(timer);
        server->has_happened = server->has_happened || timer != server->sweep;
        timer->due(timer->context);
    }
}
