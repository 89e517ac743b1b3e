/*
 * Bytes on a connection of the HTTP server, in pieces: it answers each sound request once, refuses the first that is not, and
 * keeps nothing. The first byte says how long the pieces are. The guard judges alike however its input is cut, and what a
 * handler sees is decoded.
 */
#include "base/utf8.h"
#include "fuzz.h"
#include "http/head.h"
#include "http/http.h"
#include "http/router.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BODY_BYTES 4096

static struct http_server *server;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static const char *pattern_at(const void *context, size_t index, const char **method)
{
    static const char *const table[][2] = {{"GET", "/"},
                                           {"POST", "/facts/{kind}"},
                                           {"GET", "/facts/{kind}.csv"},
                                           {"GET", "/facts/{kind}/{id}"}};

    (void)context;
    if (index >= sizeof(table) / sizeof(table[0]))
        return NULL;
    *method = table[index][0];
    return table[index][1];
}

static bool is_clean(struct http_text text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f)
            return false;
    return utf8_valid_prefix(text.at, text.size) == text.size;
}

static void handle(void *context, struct http_request *request)
{
    struct http_text path = http_path(request), body = http_body(request);
    struct router_match match;
    const char *name, *value;

    (void)context;
    REQUIRE(path.size > 0 && path.at[0] == '/' && is_clean(path) && path.at[path.size] == '\0');
    REQUIRE(memmem(path.at, path.size, "/../", 4) == NULL);
    REQUIRE(body.size <= BODY_BYTES);
    REQUIRE(strlen(http_trace(request)) == 0 || strlen(http_trace(request)) == 55);
    REQUIRE(strlen(http_request_id(request)) == 16);
    for (size_t i = 0; http_query_at(request, i, &name, &value); i++)
        REQUIRE(utf8_valid_prefix(value, strlen(value)) == strlen(value));
    router_find(pattern_at, NULL, http_method(request), path, &match);
    for (size_t i = 0; i < match.part_count; i++)
        REQUIRE(match.parts[i].at >= path.at && match.parts[i].size > 0 &&
                match.parts[i].at + match.parts[i].size <= path.at + path.size);
    if (match.route >= 0)
        http_answer(request, 200, "application/octet-stream", body.at, body.size);
    else
        http_answer_error(request, 404, "not_found", NULL, "there is nothing at \"%s\"", path.at);
}

static void remove_socket(void)
{
    unlink(address.sun_path);
}

static void begin(void)
{
    struct http_options options = {.name = "fuzz",
                                   .body_bytes = BODY_BYTES,
                                   .bodies_bytes = 1 << 20,
                                   .connections = 16,
                                   .request_ms = 60000,
                                   .write_ms = 60000};
    struct acc_error err;
    char text[128];
    int fd;

    snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/accrete-fuzz-%d.sock",
             (int)getpid());
    snprintf(text, sizeof(text), "unix:%s", address.sun_path);
    fd = http_listen(text, &err);
    server = http_server_new(&options, &err);
    REQUIRE(fd >= 0 && server != NULL && http_server_listen(server, fd, NULL, &err));
    http_server_handle(server, handle, NULL);
    atexit(remove_socket);
}

/* The guard alone: in one piece and in others. */
static void judge(const char *data, size_t size, size_t step)
{
    struct http_head whole = {0}, cut = {0};
    enum http_reading once = http_head_read(&whole, data, size), again = HTTP_MORE;

    for (size_t end = 0; end < size && again == HTTP_MORE;) {
        end = end + step < size ? end + step : size;
        again = http_head_read(&cut, data, end);
    }
    REQUIRE(once == again && whole.size == cut.size && whole.refusal.status == cut.refusal.status);
    REQUIRE(once != HTTP_DONE ||
            (whole.size <= size && memcmp(data + whole.size - 4, "\r\n\r\n", 4) == 0));
    REQUIRE(once != HTTP_BAD || whole.refusal.message != NULL);
}

static struct http_counts counts_now(void)
{
    struct http_counts counts;

    http_server_counts(server, &counts);
    return counts;
}

/* What has come back is thrown away, but has to begin like an answer. false: the server has closed. */
static bool read_answers(int fd, bool *is_first)
{
    char bytes[16384];
    ssize_t size;

    while ((size = read(fd, bytes, sizeof(bytes))) > 0) {
        REQUIRE(!*is_first || (size >= 12 && memcmp(bytes, "HTTP/1.1 ", 9) == 0));
        *is_first = false;
    }
    return size < 0;
}

static void turns(int count)
{
    for (int i = 0; i < count; i++)
        REQUIRE(http_server_turn(server, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t step = size > 0 && data[0] != 0 ? data[0] : 1, at = 1;
    bool is_first = true, is_open = true;
    int fd;

    if (server == NULL)
        begin();
    if (size < 2)
        return 0;
    judge((const char *)data + 1, size - 1, step);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    REQUIRE(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    for (; at < size && is_open; at += step) {
        size_t piece = step < size - at ? step : size - at;

        is_open = send(fd, data + at, piece, MSG_NOSIGNAL) == (ssize_t)piece;
        turns(2);
        is_open = is_open && read_answers(fd, &is_first);
    }
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 1000 && counts_now().connections > 0; i++) {
        turns(1);
        read_answers(fd, &is_first);
    }
    close(fd);
    for (int i = 0; i < 1000 && counts_now().connections > 0; i++)
        turns(1);
    REQUIRE(counts_now().connections == 0 && counts_now().body_bytes_now == 0);
    turns(2); /* what was refused is read to its end */
    return 0;
}
