#include "cli/screen.h"

#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"

static volatile sig_atomic_t ended_by;
static volatile sig_atomic_t is_stopped;

static void on_end(int signal_number)
{
    ended_by = signal_number;
}

static void on_stop(int signal_number)
{
    (void)signal_number;
    is_stopped = 1;
}

static void on_nothing(int signal_number)
{
    (void)signal_number; /* only ends a wait */
}

static const int endings[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

/*
 * The signals are blocked but while we wait, so that none is missed between a look at the flags and
 * the wait.
 */
static void set_signals(bool is_on)
{
    struct sigaction act = {.sa_handler = is_on ? on_end : SIG_DFL};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
        sigaction(endings[i], &act, NULL);
        sigaddset(&set, endings[i]);
    }
    act.sa_handler = is_on ? on_stop : SIG_DFL;
    sigaction(SIGTSTP, &act, NULL);
    sigaddset(&set, SIGTSTP);
    act.sa_handler = is_on ? on_nothing : SIG_DFL;
    sigaction(SIGWINCH, &act, NULL);
    sigaddset(&set, SIGWINCH);
    sigprocmask(is_on ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void put(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes, size);
        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            bytes += n;
            size -= (size_t)n;
        }
    }
}

bool screen_is_terminal(void)
{
    const char *term = getenv("TERM");

    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term != NULL && term[0] != '\0' &&
           strcmp(term, "dumb") != 0;
}

static void take_terminal(const struct screen *screen)
{
    struct termios raw = screen->before;

    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* Ctrl-C and Ctrl-Z stay signals */
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    put(ENTER, strlen(ENTER));
}

static void give_terminal(const struct screen *screen)
{
    put(LEAVE, strlen(LEAVE));
    tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
}

bool screen_open(struct screen *screen, struct acc_error *err)
{
    *screen = (struct screen){.is_live = true, .is_coloured = cli_is_coloured(stdout)};
    if (tcgetattr(STDIN_FILENO, &screen->before) != 0)
        return acc_fail_errno(err, "cannot ask the terminal");
    ended_by = 0;
    set_signals(true);
    take_terminal(screen);
    return true;
}

void screen_plain(struct screen *screen)
{
    *screen = (struct screen){0};
}

void screen_close(struct screen *screen)
{
    buf_clear(&screen->text);
    if (!screen->is_live)
        return;
    give_terminal(screen);
    set_signals(false);
    if (ended_by != 0)
        raise(ended_by);
}

static struct winsize size_of(void)
{
    struct winsize size = {0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    return size;
}

size_t screen_rows(const struct screen *screen)
{
    return screen->is_live ? size_of().ws_row : 0;
}

void screen_begin(struct screen *screen)
{
    buf_reset(&screen->text);
    screen->lines = 0;
    buf_text(&screen->text, "\033[H");
}

void screen_bold(struct screen *screen)
{
    screen->is_next_bold = true;
}

void screen_alarm(struct screen *screen)
{
    screen->is_next_alarm = true;
}

/*
 * Bytes of text that take no more than so many columns; what would disturb a terminal is replaced.
 */
static size_t clean(char *text, size_t columns)
{
    size_t n = 0;

    for (; text[n] != '\0'; n++) {
        bool is_start = ((uint8_t)text[n] & 0xc0) != 0x80;
        if (is_start && columns-- == 0)
            break;
        if ((uint8_t)text[n] < 0x20 || text[n] == 0x7f)
            text[n] = '?';
    }
    return n;
}

static void add(struct screen *screen, const char *fmt, va_list args)
{
    char *line;

    if (vasprintf(&line, fmt, args) < 0)
        abort();
    size_t size = clean(line, screen->is_live ? size_of().ws_col : SIZE_MAX);
    const char *colour = !screen->is_coloured    ? NULL
                         : screen->is_next_alarm ? "\033[31m"
                         : screen->is_next_bold  ? "\033[1m"
                                                 : NULL;
    if (colour != NULL)
        buf_text(&screen->text, colour);
    buf_add(&screen->text, line, size);
    if (colour != NULL)
        buf_text(&screen->text, "\033[0m");
    if (screen->is_live)
        buf_text(&screen->text, "\033[K");
    screen->is_next_bold = false;
    screen->is_next_alarm = false;
    free(line);
}

void screen_line(struct screen *screen, const char *fmt, ...)
{
    va_list args;

    if (screen->is_live && screen->lines + 1 >= size_of().ws_row) {
        screen->is_next_bold = false;
        screen->is_next_alarm = false;
        return; /* the last line is the foot's */
    }
    va_start(args, fmt);
    add(screen, fmt, args);
    va_end(args);
    screen->lines++;
    buf_text(&screen->text, screen->is_live ? "\r\n" : "\n");
}

void screen_foot(struct screen *screen, const char *fmt, ...)
{
    va_list args;

    buf_printf(&screen->text, "\033[J\033[%d;1H", (int)size_of().ws_row);
    va_start(args, fmt);
    add(screen, fmt, args);
    va_end(args);
}

void screen_show(struct screen *screen)
{
    if (screen->is_live)
        put(screen->text.data, screen->text.size);
    else
        fwrite(screen->text.data, 1, screen->text.size, stdout);
    if (!screen->is_live)
        buf_reset(&screen->text);
}

/* Ctrl-Z: the shell gets its terminal, and we ours when it says so. */
static void stop(struct screen *screen)
{
    is_stopped = 0;
    give_terminal(screen);
    raise(SIGSTOP);
    tcgetattr(STDIN_FILENO, &screen->before);
    take_terminal(screen);
}

int screen_wait(struct screen *screen, int64_t wait_ms)
{
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    struct timespec most = {wait_ms < 0 ? 0 : wait_ms / 1000,
                            wait_ms < 0 ? 0 : wait_ms % 1000 * 1000000};
    sigset_t none;
    char key;

    sigemptyset(&none);
    int ready = ppoll(&fd, 1, &most, &none);
    if (ended_by != 0)
        return SCREEN_END;
    if (is_stopped)
        stop(screen);
    if (ready <= 0)
        return SCREEN_TIME;
    if (read(STDIN_FILENO, &key, 1) == 1)
        return (uint8_t)key;
    return (fd.revents & (POLLHUP | POLLERR)) != 0 || (fd.revents & POLLIN) != 0 ? SCREEN_END
                                                                                 : SCREEN_TIME;
}
