/*
 * A socket that is closed while bytes are unread resets the connection, and the client may never see why it was refused. So a
 * refused connection's descriptor is kept for a moment and read to its end.
 */
#include "http/internal.h"

#include <fcntl.h>
#include <stdlib.h>

struct linger_read {
    struct http_server *server;
    h2o_socket_t *socket;
    h2o_timeout_entry_t patience;
    h2o_linklist_t all;
};

static void linger_end(struct linger_read *linger)
{
    h2o_timeout_unlink(&linger->patience);
    h2o_linklist_unlink(&linger->all);
    linger->server->linger_count--;
    h2o_socket_close(linger->socket);
    free(linger);
}

static void on_patience(h2o_timeout_entry_t *entry)
{
    linger_end(H2O_STRUCT_FROM_MEMBER(struct linger_read, patience, entry));
}

static void on_readable(h2o_socket_t *socket, const char *error)
{
    char waste[16384];
    ssize_t size = error != NULL ? 0 : read(h2o_socket_get_fd(socket), waste, sizeof(waste));

    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
        linger_end(socket->data);
}

void linger_begin(struct http_server *server, int fd)
{
    struct linger_read *linger;

    if (server->linger_count == HTTP_LINGERS || (fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return;
    shutdown(fd, SHUT_WR);
    linger = acc_zalloc(sizeof(*linger));
    linger->server = server;
    linger->socket = h2o_evloop_socket_create(server->loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    linger->socket->data = linger;
    linger->patience.cb = on_patience;
    server->linger_count++;
    h2o_linklist_insert(&server->lingers, &linger->all);
    h2o_timeout_link(server->loop, &server->linger_patience, &linger->patience);
    h2o_socket_read_start(linger->socket, on_readable);
}

void lingers_close(struct http_server *server)
{
    while (!h2o_linklist_is_empty(&server->lingers))
        linger_end(H2O_STRUCT_FROM_MEMBER(struct linger_read, all, server->lingers.next));
}
