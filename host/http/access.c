#include "base/log.h"
#include "http/internal.h"

#include <fcntl.h>
#include <stdio.h>

bool access_open(struct access_log *access, const char *where, struct acc_error *err)
{
    *access = (struct access_log){.fd = -1};
    if (where == NULL || where[0] == '\0' || strcmp(where, "off") == 0)
        return true;
    if (strcmp(where, "-") == 0 || strcmp(where, "log") == 0) {
        access->is_log = true;
        return true;
    }
    access->fd = open(where, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (access->fd < 0)
        return acc_fail_errno(err, "http.access_log: cannot write \"%s\"", where);
    return true;
}

static void add_time(struct buf *out)
{
    int64_t now_us = clock_wall_us();
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm utc;
    char text[32];

    gmtime_r(&seconds, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    buf_printf(out, "%s.%03dZ", text, (int)(now_us / 1000 % 1000));
}

static void write_line(struct http_server *server, const char *line)
{
    struct access_log *access = &server->access;

    if (access->is_log)
        log_info(server->name, "%s", line);
    if (access->fd < 0)
        return;
    add_time(&access->lines);
    buf_printf(&access->lines, " at=%s %s\n", server->name, line);
    if (access->lines.size > 1 << 16)
        access_flush(access);
}

void access_request(struct http_request *request)
{
    const h2o_req_t *req = request->req;
    struct http_server *server = request->server;
    double ms = (double)(clock_us() - request->started_us) / 1000;
    char path[1024], line[4096];
    int status = req->res.status;

    if (status >= 100 && status < 600)
        server->counts.by_class[status / 100]++;
    if (server->observer != NULL)
        server->observer(server->observer_context, request, status, ms / 1000);
    if (!server->access.is_log && server->access.fd < 0)
        return;
    snprintf(path, sizeof(path), "%.*s", (int)request->path.size, request->path.at);
    snprintf(line, sizeof(line),
             "method=%.*s path=%s status=%d bytes=%zu ms=%.3f peer=%s who=%s request=%s trace=%s",
             (int)req->method.len, req->method.base, log_quote(path), status, req->bytes_sent, ms,
             request->peer, log_quote(request->who), request->id,
             request->trace[0] != '\0' ? request->trace : "-");
    write_line(server, line);
}

void access_refused(struct http_server *server, const struct http_refusal *refusal, size_t bytes,
                    const char *peer, const char *id)
{
    char line[512];

    if (!server->access.is_log && server->access.fd < 0)
        return;
    snprintf(line, sizeof(line), "refused=%s status=%d bytes=%zu peer=%s request=%s", refusal->code,
             refusal->status, bytes, peer, id);
    write_line(server, line);
}

void access_flush(struct access_log *access)
{
    if (access->lines.size == 0)
        return;
    if (write(access->fd, access->lines.data, access->lines.size) < 0)
        log_warn("http", "access_log=%s", log_quote(strerror(errno)));
    buf_reset(&access->lines);
}

void access_close(struct access_log *access)
{
    if (access->fd >= 0)
        close(access->fd);
    access->fd = -1;
    buf_clear(&access->lines);
}
