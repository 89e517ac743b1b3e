#include "services.h"

#include "base/clock.h"
#include "base/log.h"
#include "generation.h"
#include "http/http.h"
#include "serve.h"
#include "worker.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT_FIRST 7171
#define PORT_LAST 7199
#define LISTEN_WAIT_MS 3000
#define LISTEN_POLL_MS 20
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
#define RETIRE_MS 600000 /* an old process that still answers somebody is killed after it */
#define STUCK_MS 15000
#define STUCK_FIGURES_MS 120000

/* What there is of each role. */
static const struct {
    enum page_role role;
    int (*run)(const struct serve_options *options);
} roles[] = {
    {SERVICE_FIGURES, figures_main},
    {SERVICE_QUERY, serve_query},
    {SERVICE_ROUTES, serve_routes},
    {SERVICE_FRONT, serve_front},
};
#define ROLES (sizeof(roles) / sizeof(*roles))
#define NUMBERS 8 /* of one role */

/* One process that is wanted; it outlives those that take it. */
struct seat {
    int place;    /* number in page.services of the newest that took it; -1: nobody */
    bool is_void; /* not wanted now */
    int64_t start_at_us;
    int64_t backoff_ms;
};

/* What the master knows of a place beside the page. */
struct service {
    uint64_t beat;
    int64_t beat_us;
    int64_t retired_us;
};

struct services {
    struct app *app;
    struct page *page;
    struct board *board;
    void (*start_child)(void *context, pid_t parent);
    void *context;
    const char *conninfo;
    int listener, query_listener, routes_listener; /* -1: not served */
    char *query_socket, *routes_socket;
    struct seat seats[ROLES][NUMBERS];
    struct service places[PAGE_SERVICES];
    bool is_serving; /* else nothing is started */
    bool is_draining;
};

/* Listening */

static int listen_anywhere(struct acc_error *err)
{
    char text[64];

    for (int port = PORT_FIRST; port <= PORT_LAST; port++) {
        snprintf(text, sizeof(text), "127.0.0.1:%d", port);
        int fd = http_listen(text, err);
        if (fd >= 0) {
            err->code = ACC_OK; /* that others are taken is no failure */
            return fd;
        }
    }
    return http_listen("127.0.0.1:0", err);
}

/*
 * Waits for whom has the address to go: the processes of a host that was killed a moment ago end by themselves. Nobody else has this data
 * directory, so nobody lasting listens at its sockets.
 */
static int listen_patiently(const char *text, struct acc_error *err)
{
    const struct timespec pause = {.tv_nsec = LISTEN_POLL_MS * 1000000};
    int64_t until_us = clock_us() + LISTEN_WAIT_MS * 1000;
    int fd = http_listen(text, err);

    while (fd < 0 && clock_us() < until_us) {
        nanosleep(&pause, NULL);
        fd = http_listen(text, err);
    }
    return fd;
}

static bool open_listeners(struct services *services, struct acc_error *err)
{
    const struct app *app = services->app;
    const char *wanted = app->settings.http.listen;
    char *query = acc_format("unix:%s", services->query_socket);
    char *routes = acc_format("unix:%s", services->routes_socket);

    services->listener = wanted != NULL ? listen_patiently(wanted, err) : listen_anywhere(err);
    if (services->listener >= 0)
        services->query_listener = listen_patiently(query, err);
    if (services->query_listener >= 0)
        services->routes_listener = listen_patiently(routes, err);
    free(query);
    free(routes);
    if (services->routes_listener < 0)
        return false;
    char *name = http_listen_name(services->listener);
    snprintf(services->page->http_address, sizeof(services->page->http_address), "%s", name);
    free(name);
    return true;
}

struct services *services_new(struct app *app, struct page *page, struct board *board,
                              bool is_serving, void (*start_child)(void *context, pid_t parent),
                              void *context, struct acc_error *err)
{
    struct services *services = acc_zalloc(sizeof(*services));

    services->is_serving = is_serving;
    services->app = app;
    services->page = page;
    services->board = board;
    services->start_child = start_child;
    services->context = context;
    services->listener = services->query_listener = services->routes_listener = -1;
    services->query_socket = acc_format("%s/query.sock", app->run_dir);
    services->routes_socket = acc_format("%s/routes.sock", app->run_dir);
    for (size_t r = 0; r < ROLES; r++) {
        for (int n = 0; n < NUMBERS; n++)
            services->seats[r][n].place = -1;
    }
    if (!is_serving || !app->settings.http.enabled || open_listeners(services, err))
        return services;
    services_free(services);
    return NULL;
}

void services_free(struct services *services)
{
    if (services == NULL)
        return;
    const int fds[] = {services->listener, services->query_listener, services->routes_listener};
    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (services->query_listener >= 0)
        unlink(services->query_socket);
    if (services->routes_listener >= 0)
        unlink(services->routes_socket);
    free(services->query_socket);
    free(services->routes_socket);
    free(services);
}

/* Else the front would end as often as it is started, and clients wait for nobody. */
static bool check_certificate(const char *certificate, const char *key, struct acc_error *err)
{
    if (certificate == NULL && key == NULL)
        return true;
    if (certificate == NULL || key == NULL)
        return acc_fail(err, ACC_EINPUT, "http.certificate and http.key: wanted both or neither");
    struct http_tls *tls = http_tls_new(certificate, key, err);
    bool ok = tls != NULL;
    http_tls_free(tls);
    return ok;
}

bool services_check(const struct app *app, bool has_tokens, struct acc_error *err)
{
    const char *listen = app->settings.http.listen;

    if (!app->settings.http.enabled)
        return true;
    if (!check_certificate(app->settings.http.certificate, app->settings.http.key, err))
        return false;
    if (listen == NULL || http_is_loopback(listen))
        return true;
    if (has_tokens || app->settings.http.open)
        return true;
    return acc_fail(err, ACC_EINPUT,
                    "http.listen: %s can be reached from other machines: make a token first "
                    "(accrete token new NAME --role admin), or set http.open: yes",
                    listen);
}

/* Starting */

/* Whether the generation's snapshot has Lua routes. */
static bool has_routes(const char *modules_dir)
{
    char *path = acc_format("%s/routes", modules_dir);
    DIR *dir = opendir(path);
    bool has = false;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        size_t size = strlen(entry->d_name);
        has |= size > 4 && strcmp(entry->d_name + size - 4, ".lua") == 0;
    }
    if (dir != NULL)
        closedir(dir);
    free(path);
    return has;
}

static int wanted_count(const struct services *services, enum page_role role, bool with_routes)
{
    const struct settings *s = &services->app->settings;

    if (!services->is_serving || !s->http.enabled)
        return 0;
    return role == SERVICE_FIGURES ? 1
           : role == SERVICE_FRONT ? (int)s->http.processes
           : role == SERVICE_QUERY ? (int)s->http.queries
           : with_routes           ? (int)s->http.routes
                                   : 0;
}

static int listener_of(const struct services *services, enum page_role role)
{
    return role == SERVICE_FRONT    ? services->listener
           : role == SERVICE_QUERY  ? services->query_listener
           : role == SERVICE_ROUTES ? services->routes_listener
                                    : -1;
}

static struct page_service *serving;

static void on_term(int signal_number)
{
    (void)signal_number;
    __atomic_store_n(&serving->retire, 1, __ATOMIC_RELEASE);
}

/* Listeners of others would keep their addresses open beyond the host's life. */
static void close_other_listeners(const struct services *services, int mine)
{
    const int fds[] = {services->listener, services->query_listener, services->routes_listener};

    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
        if (fds[i] >= 0 && fds[i] != mine)
            close(fds[i]);
    }
}

static int run_child(struct services *services, size_t r, struct page_service *service,
                     bool with_routes)
{
    char *modules = generation_dir(services->app, service->generation);
    char *native = generation_native_dir(services->app, service->generation);
    int listener = listener_of(services, roles[r].role);
    struct serve_options options = {.app = services->app,
                                    .conninfo = services->conninfo,
                                    .page = services->page,
                                    .board = services->board,
                                    .service = service,
                                    .listener = listener,
                                    .modules_dir = modules,
                                    .native_dir = native,
                                    .query_socket = services->query_socket,
                                    .routes_socket = with_routes ? services->routes_socket : NULL};

    close_other_listeners(services, listener);
    int code = roles[r].run(&options);
    free(modules);
    free(native);
    return code;
}

/* A place for a new process. When old ones have all, the one that was told first to end makes way. */
static int free_place(const struct services *services)
{
    int first = -1;

    for (int i = 0; i < PAGE_SERVICES; i++) {
        const struct page_service *service = &services->page->services[i];

        if (service->pid == 0)
            return i;
        if (service->retire != 0 &&
            (first < 0 || services->places[i].retired_us < services->places[first].retired_us))
            first = i;
    }
    if (first >= 0)
        kill(services->page->services[first].pid, SIGKILL);
    return -1; /* the next call finds it */
}

static void start(struct services *services, size_t r, int number, bool with_routes)
{
    struct seat *seat = &services->seats[r][number];
    int place = free_place(services);
    pid_t parent = getpid();

    if (place < 0)
        return;
    struct page_service *service = &services->page->services[place];
    uint64_t deaths = service->deaths;
    *service = (struct page_service){.role = (int32_t)roles[r].role,
                                     .number = number,
                                     .generation = services->page->generation,
                                     .deaths = deaths,
                                     .started_us = clock_us()};
    services->places[place] = (struct service){.beat_us = clock_us()};
    pid_t pid = fork();
    if (pid == 0) {
        services->start_child(services->context, parent);
        serving = service;
        signal(SIGTERM, on_term);
        exit(run_child(services, r, service, with_routes));
    }
    if (pid < 0) {
        log_error("services", "event=\"cannot fork\" error=%s", log_quote(strerror(errno)));
        seat->start_at_us = clock_us() + 1000000;
        return;
    }
    service->pid = pid;
    seat->place = place;
}

static void retire(struct services *services, int place)
{
    struct page_service *service = &services->page->services[place];

    if (service->pid == 0 || service->retire != 0)
        return;
    __atomic_store_n(&service->retire, 1, __ATOMIC_RELEASE);
    services->places[place].retired_us = clock_us();
    kill(service->pid, SIGTERM); /* it need not wait for its next turn to see that */
}

/* Who has lost its seat to a newer process goes when that one serves; who has no seat, at once. */
static void retire_old(struct services *services)
{
    for (size_t r = 0; r < ROLES; r++) {
        for (int i = 0; i < PAGE_SERVICES; i++) {
            const struct page_service *service = &services->page->services[i];
            int newest = services->seats[r][service->number].place;

            if (service->pid == 0 || service->role != (int32_t)roles[r].role || newest == i)
                continue;
            if (newest >= 0 ? services->page->services[newest].is_ready
                            : services->seats[r][service->number].is_void)
                retire(services, i);
        }
    }
}

void services_start_due(struct services *services, const char *conninfo)
{
    int64_t now_us = clock_us();

    services->conninfo = conninfo;
    if (services->is_draining)
        return;
    char *modules = generation_dir(services->app, services->page->generation);
    bool with_routes = has_routes(modules);
    free(modules);
    for (size_t r = 0; r < ROLES; r++) {
        int count = wanted_count(services, roles[r].role, with_routes);

        for (int n = 0; n < NUMBERS; n++) {
            struct seat *seat = &services->seats[r][n];
            const struct page_service *has =
                seat->place < 0 ? NULL : &services->page->services[seat->place];
            bool is_current =
                has != NULL && has->generation == services->page->generation && has->retire == 0;

            seat->is_void = n >= count;
            if (seat->is_void) {
                seat->place = -1;
            } else if (!is_current && now_us >= seat->start_at_us) {
                start(services, r, n, with_routes);
            }
        }
    }
    retire_old(services);
}

void services_renew(struct services *services)
{
    for (size_t r = 0; r < ROLES; r++) {
        for (int n = 0; n < NUMBERS; n++) {
            if (services->seats[r][n].place >= 0)
                services->page->services[services->seats[r][n].place].generation = -1;
        }
    }
}

/* Ending */

static void ended(struct services *services, int place, int status)
{
    struct page_service *service = &services->page->services[place];
    bool is_asked = service->retire != 0 || services->is_draining;
    int64_t now_us = clock_us();

    if (WIFSIGNALED(status)) {
        service->deaths++;
        log_warn("services", "event=\"process died\" role=%s pid=%d signal=%d",
                 page_role_name(service->role), service->pid, WTERMSIG(status));
    }
    for (size_t r = 0; r < ROLES; r++) {
        for (int n = 0; n < NUMBERS; n++) {
            struct seat *seat = &services->seats[r][n];

            if (seat->place != place)
                continue;
            seat->place = -1;
            if (is_asked)
                continue;
            if (now_us - service->started_us > 5000000)
                seat->backoff_ms = 0;
            seat->start_at_us = now_us + seat->backoff_ms * 1000;
            seat->backoff_ms = seat->backoff_ms == 0                   ? BACKOFF_MIN_MS
                               : seat->backoff_ms > BACKOFF_MAX_MS / 2 ? BACKOFF_MAX_MS
                                                                       : seat->backoff_ms * 2;
        }
    }
    service->pid = 0;
    service->is_ready = 0;
}

/* Fronts go first: what they have forwarded is to be answered. */
static void drain_on(struct services *services)
{
    bool has_front = false;

    for (int i = 0; i < PAGE_SERVICES; i++)
        has_front |= services->page->services[i].pid != 0 &&
                     services->page->services[i].role == SERVICE_FRONT;
    for (int i = 0; i < PAGE_SERVICES; i++) {
        int32_t role = services->page->services[i].role;

        if (!has_front || (role != SERVICE_QUERY && role != SERVICE_ROUTES))
            retire(services, i);
    }
}

void services_reap(struct services *services)
{
    int status;

    for (int i = 0; i < PAGE_SERVICES; i++) {
        pid_t pid = services->page->services[i].pid;

        if (pid != 0 && waitpid(pid, &status, WNOHANG) == pid)
            ended(services, i, status);
    }
    if (services->is_draining)
        drain_on(services);
}

static int64_t limit_of(const struct services *services, enum page_role role)
{
    const struct settings *s = &services->app->settings;

    return role == SERVICE_ROUTES    ? s->http.route_ms
           : role == SERVICE_QUERY   ? STUCK_MS + 2 * s->http.read_timeout_ms
           : role == SERVICE_FIGURES ? STUCK_FIGURES_MS
                                     : STUCK_MS;
}

void services_kill_stuck(struct services *services)
{
    int64_t now_us = clock_us();

    for (int i = 0; i < PAGE_SERVICES; i++) {
        struct page_service *on_page = &services->page->services[i];
        struct service *service = &services->places[i];
        uint64_t beat = __atomic_load_n(&on_page->beat, __ATOMIC_RELAXED);
        int64_t limit_ms = limit_of(services, (enum page_role)on_page->role);

        if (on_page->pid == 0)
            continue;
        if (beat != service->beat) {
            service->beat = beat;
            service->beat_us = now_us;
        }
        /* Before its first answer it connects and loads, which may take longer. */
        if (!on_page->is_ready && on_page->retire == 0 && limit_ms < STUCK_MS * 4)
            limit_ms = STUCK_MS * 4;
        bool is_stuck = now_us - service->beat_us > limit_ms * 1000;
        bool is_late = on_page->retire != 0 && service->retired_us > 0 &&
                       now_us - service->retired_us > RETIRE_MS * 1000;
        if (!is_stuck && !is_late)
            continue;
        log_warn("services", "event=\"%s\" pid=%d",
                 is_stuck ? "process stands still, killed" : "process does not end, killed",
                 on_page->pid);
        kill(on_page->pid, SIGKILL);
        service->beat_us = now_us;
        service->retired_us = now_us;
    }
}

static void close_listener(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void services_drain(struct services *services, bool at_once)
{
    services->is_draining = true;
    close_listener(&services->listener); /* who comes now is refused and need not wait */
    drain_on(services);
    for (int i = 0; at_once && i < PAGE_SERVICES; i++) {
        if (services->page->services[i].pid != 0)
            kill(services->page->services[i].pid, SIGKILL);
    }
}

bool services_any(const struct services *services)
{
    for (int i = 0; i < PAGE_SERVICES; i++) {
        if (services->page->services[i].pid != 0)
            return true;
    }
    return false;
}
