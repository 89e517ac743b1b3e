/*
 * Clients that send facts over HTTP and keep book: http_load PORT CLIENTS PAUSE_US FIRST FILE [PATH...]
 *
 * Each of CLIENTS posts {"n": N} to /facts/item on a connection that it keeps, with numbers from FIRST on, and adds the number to FILE
 * once it has been answered with 200. Beside them one reader a PATH. Until SIGTERM; then one line of figures goes to stdout:
 *
 *   acked=N reads=N busy=N gone=N refused=N garbled=N wrong=N slowest_ms=N
 *
 * busy: answers 429, 502, 503 and 504, all of them JSON errors, 429 and 503 with Retry-After unless they are "too_slow"; gone: connections that ended before the
 * answer was whole; refused: connections that could not be made; garbled: answers that are no HTTP, or errors that are no JSON; wrong: any
 * other status. What is garbled or wrong is shown on stderr.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX (1 << 20)
#define SILENCE_S 30
#define CLIENTS_MAX 256

static atomic_bool is_over;
static atomic_long next_number;
static atomic_long acked, reads, busy, gone, refused, garbled, wrong, slowest_ms;
static int port;
static int pause_us;
static FILE *book;
static pthread_mutex_t book_lock = PTHREAD_MUTEX_INITIALIZER;

struct client {
    const char *path; /* NULL: posts facts */
    int fd;           /* -1: not connected */
    char answer[ANSWER_MAX + 1];
    size_t size;
    size_t body; /* where it begins */
    int status;
};

static int64_t now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void on_term(int number)
{
    (void)number;
    is_over = true;
}

static void hang_up(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

static bool connected(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval silence = {.tv_sec = SILENCE_S};
    int on = 1;

    if (client->fd >= 0)
        return true;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return true;
    refused++;
    hang_up(client);
    return false;
}

static const char *header(const struct client *client, const char *name)
{
    const char *at = strstr(client->answer, "\r\n");
    size_t size = strlen(name);

    for (; at != NULL && at < client->answer + client->body; at = strstr(at + 2, "\r\n")) {
        if (strncasecmp(at + 2, name, size) == 0 && at[2 + size] == ':')
            return at + 2 + size + 2;
    }
    return NULL;
}

/* Whether the answer is whole: its status is known then. */
static bool is_whole(struct client *client)
{
    const char *end, *length;

    client->answer[client->size] = '\0';
    end = strstr(client->answer, "\r\n\r\n");
    if (end == NULL || sscanf(client->answer, "HTTP/1.1 %d ", &client->status) != 1)
        return false;
    client->body = (size_t)(end + 4 - client->answer);
    length = header(client, "content-length");
    if (length != NULL)
        return client->size >= client->body + strtoul(length, NULL, 10);
    return client->size >= client->body + 5 &&
           strcmp(client->answer + client->size - 5, "0\r\n\r\n") == 0;
}

static void show(const struct client *client, const char *what)
{
    static atomic_int shown;

    if (shown++ < 10)
        fprintf(stderr, "%s: %.600s\n", what, client->size > 0 ? client->answer : "(nothing)");
}

/* Sends the request and reads the answer; false: the connection ended before it was whole. */
static bool exchange(struct client *client, const char *request, size_t size)
{
    client->size = client->body = 0;
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(client->fd, request + sent, size - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    do {
        ssize_t n = recv(client->fd, client->answer + client->size, ANSWER_MAX - client->size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        client->size += (size_t)n;
    } while (!is_whole(client) && client->size < ANSWER_MAX);
    return client->size < ANSWER_MAX;
}

static bool is_json_error(const struct client *client)
{
    const char *type = header(client, "content-type");

    return type != NULL && strncmp(type, "application/json", 16) == 0 &&
           strncmp(client->answer + client->body, "{\"error\":{\"code\":\"", 18) == 0 &&
           client->answer[client->size - 1] == '}';
}

/* What was too slow is not asked to be sent again at once; all else that is 429 or 503 says when. */
static bool says_when(const struct client *client)
{
    return (client->status != 429 && client->status != 503) ||
           header(client, "retry-after") != NULL ||
           strstr(client->answer + client->body, "\"too_slow\"") != NULL;
}

/* Counts the answer; true: it was 200. */
static bool judge(const struct client *client)
{
    int status = client->status;

    if (status == 200)
        return true;
    if (status < 400 || !is_json_error(client) || !says_when(client)) {
        garbled++;
        show(client, "garbled");
    } else if (status == 429 || (status >= 502 && status <= 504)) {
        busy++;
    } else {
        wrong++;
        show(client, "wrong");
    }
    return false;
}

static void note(long number)
{
    pthread_mutex_lock(&book_lock);
    fprintf(book, "%ld\n", number);
    pthread_mutex_unlock(&book_lock);
    acked++;
}

static void *run(void *context)
{
    struct client *client = context;
    char request[512], body[64];

    while (!is_over) {
        long number = client->path == NULL ? next_number++ : 0;
        int64_t began_ms = now_ms(), took_ms;
        int size = client->path == NULL ? snprintf(body, sizeof(body), "{\"n\":%ld}", number) : 0;

        if (client->path == NULL)
            size = snprintf(request, sizeof(request),
                            "POST /facts/item HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                            "application/json\r\nContent-Length: %d\r\n\r\n%s",
                            size, body);
        else
            size = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                            client->path);
        if (!connected(client)) {
            usleep(20000);
            continue;
        }
        if (!exchange(client, request, (size_t)size)) {
            gone++;
            hang_up(client);
            usleep(10000);
            continue;
        }
        took_ms = now_ms() - began_ms;
        if (took_ms > slowest_ms)
            slowest_ms = took_ms;
        if (!judge(client))
            usleep(10000);
        else if (client->path == NULL)
            note(number);
        else
            reads++;
        const char *connection = header(client, "connection");
        if (connection != NULL && strncasecmp(connection, "close", 5) == 0)
            hang_up(client);
        if (pause_us > 0)
            usleep((useconds_t)pause_us);
    }
    hang_up(client);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[CLIENTS_MAX];
    int count = argc > 5 ? atoi(argv[2]) + argc - 6 : 0;

    if (count <= 0 || count > CLIENTS_MAX) {
        fprintf(stderr, "wanted PORT CLIENTS PAUSE_US FIRST FILE [PATH...]\n");
        return 2;
    }
    port = atoi(argv[1]);
    pause_us = atoi(argv[3]);
    next_number = atol(argv[4]);
    book = fopen(argv[5], "a");
    if (book == NULL) {
        perror(argv[5]);
        return 2;
    }
    signal(SIGTERM, on_term);
    for (int i = 0; i < count; i++) {
        struct client *client = calloc(1, sizeof(*client));

        if (client == NULL)
            abort();
        client->fd = -1;
        client->path = i < argc - 6 ? argv[6 + i] : NULL;
        if (pthread_create(&threads[i], NULL, run, client) != 0)
            abort();
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    fclose(book);
    printf("acked=%ld reads=%ld busy=%ld gone=%ld refused=%ld garbled=%ld wrong=%ld slowest_ms=%ld "
           "next=%ld\n",
           acked, reads, busy, gone, refused, garbled, wrong, slowest_ms, next_number);
    return 0;
}
