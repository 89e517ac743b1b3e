#include "http/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

#define UNIX_PREFIX "unix:"
#define ACCEPTS 16 /* connections taken from a listener in one go */

static bool is_unix_text(const char *text)
{
    return strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
}

/* Splits "HOST:PORT" or "[HOST]:PORT". */
static bool split(const char *text, char host[256], char port[6], struct acc_error *err)
{
    const char *colon = strrchr(text, ':');
    bool has_brackets = text[0] == '[';
    size_t size = colon == NULL ? 0 : (size_t)(colon - text);

    if (has_brackets && size >= 2 && text[size - 1] == ']') {
        text++;
        size -= 2;
    } else if (has_brackets || memchr(text, ':', size) != NULL) {
        colon = NULL;
    }
    if (colon == NULL || size == 0 || size > 255 || strlen(colon + 1) > 5 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || colon[1] == '\0' ||
        strtol(colon + 1, NULL, 10) > 65535)
        return acc_fail(err, ACC_EINPUT,
                        "wanted ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH to listen at");
    memcpy(host, text, size);
    host[size] = '\0';
    strcpy(port, colon + 1);
    return true;
}

static bool resolve(const char *text, struct addrinfo **found, struct acc_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char host[256], port[6];
    int code;

    if (!split(text, host, port, err))
        return acc_fail_prefix(err, "\"%s\"", text);
    code = getaddrinfo(host, port, &hints, found);
    if (code != 0)
        return acc_fail(err, ACC_EINPUT, "\"%s\": %s", text, gai_strerror(code));
    return true;
}

/* Binds fd and listens. */
static bool bind_and_listen(int fd, const struct sockaddr *address, socklen_t size)
{
    return bind(fd, address, size) == 0 && listen(fd, SOMAXCONN) == 0;
}

static int listen_tcp(const char *text, struct acc_error *err)
{
    struct addrinfo *found;
    int fd, on = 1;

    if (!resolve(text, &found, err))
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (found->ai_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (fd < 0 || !bind_and_listen(fd, found->ai_addr, found->ai_addrlen)) {
        acc_fail_errno(err, "cannot listen at \"%s\"", text);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* Whether somebody answers at the socket; one that a dead process left behind does not. */
static bool is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_there = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

    if (fd >= 0)
        close(fd);
    return is_there;
}

static int listen_unix(const char *text, struct acc_error *err)
{
    const char *path = text + strlen(UNIX_PREFIX);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    mode_t mask;
    int fd;

    if (path[0] == '\0' || strlen(path) >= sizeof(address.sun_path)) {
        acc_fail(err, ACC_EINPUT, "\"%s\": wanted a path of 1..%zu bytes", text,
                 sizeof(address.sun_path) - 1);
        return -1;
    }
    strcpy(address.sun_path, path);
    if (is_alive(&address)) {
        acc_fail(err, ACC_EINPUT, "cannot listen at \"%s\": somebody does already", text);
        return -1;
    }
    unlink(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mask = umask(S_IRWXG | S_IRWXO);
    if (fd < 0 || !bind_and_listen(fd, (const struct sockaddr *)&address, sizeof(address))) {
        acc_fail_errno(err, "cannot listen at \"%s\"", text);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    umask(mask);
    return fd;
}

int http_listen(const char *text, struct acc_error *err)
{
    return is_unix_text(text) ? listen_unix(text, err) : listen_tcp(text, err);
}

char *http_listen_name(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return acc_strdup("");
    if (address.ss_family == AF_UNIX)
        return acc_format(UNIX_PREFIX "%s", ((struct sockaddr_un *)&address)->sun_path);
    if (getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return acc_strdup("");
    return acc_format(address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static bool is_loopback_address(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

bool http_is_loopback(const char *text)
{
    struct addrinfo *found;
    bool is_loopback = true;

    if (is_unix_text(text))
        return true;
    if (!resolve(text, &found, NULL))
        return false;
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next)
        is_loopback = is_loopback && is_loopback_address(one->ai_addr);
    freeaddrinfo(found);
    return is_loopback;
}

/*
 * TCP gives up a peer that is gone with bytes on their way, also after h2o has closed. The server's own sweep
 * is to come first where it sees the same, because it counts.
 */
static void set_limits(const struct http_server *server, h2o_socket_t *socket)
{
    unsigned limit_ms = (unsigned)server->options.write_ms * 2;

    setsockopt(h2o_socket_get_fd(socket), IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms,
               sizeof(limit_ms));
}

static void on_accept(h2o_socket_t *socket, const char *error)
{
    struct http_listener *listener = socket->data;
    struct http_server *server = listener->server;

    if (error != NULL)
        return;
    for (int i = 0; i < ACCEPTS && server->is_listening; i++) {
        h2o_socket_t *accepted = h2o_evloop_socket_accept(socket);

        if (accepted == NULL) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                server->is_out_of_descriptors = true;
                listeners_update(server);
                http_timer_set(server->sweep, 100);
            }
            return;
        }
        if (!listener->is_unix)
            set_limits(server, accepted);
        connection_new(listener, accepted);
        listeners_update(server);
    }
}

void listeners_update(struct http_server *server)
{
    bool is_listening = !server->is_draining && !server->is_out_of_descriptors &&
                        server->counts.connections < server->options.connections &&
                        (!server->is_one_at_a_time || server->at_work == 0);

    if (is_listening == server->is_listening)
        return;
    server->is_listening = is_listening;
    for (struct http_listener *listener = server->listeners; listener != NULL;
         listener = listener->next) {
        if (is_listening)
            h2o_socket_read_start(listener->socket, on_accept);
        else
            h2o_socket_read_stop(listener->socket);
    }
}

void connection_at_work(struct connection *connection, bool is_at_work)
{
    if (connection->is_at_work == is_at_work)
        return;
    connection->is_at_work = is_at_work;
    connection->server->at_work += is_at_work ? 1 : -1;
    listeners_update(connection->server);
}

bool http_server_listen(struct http_server *server, int fd, struct http_tls *tls,
                        struct acc_error *err)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    struct http_listener *listener;

    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return acc_fail_errno(err, "cannot listen at descriptor %d", fd);
    if (server->options.is_behind_front && address.ss_family != AF_UNIX)
        return acc_fail(err, ACC_EINPUT, "only a unix socket may stand behind the front");
    listener = acc_zalloc(sizeof(*listener));
    listener->server = server;
    listener->tls = tls;
    listener->is_unix = address.ss_family == AF_UNIX;
    listener->socket = h2o_evloop_socket_create(server->loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    listener->socket->data = listener;
    listener->next = server->listeners;
    server->listeners = listener;
    if (server->is_listening)
        h2o_socket_read_start(listener->socket, on_accept);
    listeners_update(server);
    return true;
}

void http_server_one_at_a_time(struct http_server *server)
{
    server->is_one_at_a_time = true;
}

void listeners_close(struct http_server *server)
{
    struct http_listener *listener;

    while ((listener = server->listeners) != NULL) {
        server->listeners = listener->next;
        h2o_socket_close(listener->socket);
        free(listener);
    }
    server->is_listening = false;
}
