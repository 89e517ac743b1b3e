/*
 * Between a client and PostgreSQL: cuts connections at the worst moment, when the server has committed and the client
 * does not know yet.
 *
 *   proxy LISTEN SERVER SEED EVERY     sockets; one of EVERY replies to COMMIT is not handed on, and its connection ends
 *
 * Each cut is a line on stderr.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* CommandComplete with the tag COMMIT. */
static const char reply[] = {'C', 0, 0, 0, 11, 'C', 'O', 'M', 'M', 'I', 'T', 0};

static int open_socket(const char *path, int listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (listens ? bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 64) != 0
                : connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n <= 0)
            return 0;
        data += n;
        size -= (size_t)n;
    }
    return 1;
}

/* One connection, in a process of its own, until one side ends. */
static void forward(int client, int server, int every)
{
    static char data[1 << 16];
    static size_t matched; /* bytes of the reply that the stream ends with so far */

    for (;;) {
        struct pollfd fds[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};

        if (poll(fds, 2, -1) < 0)
            return;
        for (int side = 0; side < 2; side++) {
            if (fds[side].revents == 0)
                continue;
            ssize_t n = read(fds[side].fd, data, sizeof(data));
            if (n <= 0)
                return;
            size_t start = 0;
            for (size_t i = 0; side == 1 && i < (size_t)n; i++) {
                matched = data[i] == reply[matched] ? matched + 1 : data[i] == reply[0];
                if (matched < sizeof(reply))
                    continue;
                matched = 0;
                if (random() % every == 0) {
                    fprintf(stderr, "cut\n");
                    return;
                }
            }
            if (!write_all(fds[1 - side].fd, data + start, (size_t)n - start))
                return;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    int listener = open_socket(argv[1], 1);
    unsigned seed = (unsigned)atoi(argv[3]);

    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        seed++;
        if (fork() == 0) {
            close(listener);
            srandom(seed);
            forward(client, open_socket(argv[2], 0), atoi(argv[4]));
            _exit(0);
        }
        close(client);
    }
}
