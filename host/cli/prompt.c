#include "cli/prompt.h"

#include "base/buf.h"

#include <editline/readline.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HISTORY_LINES 1000

/* libedit and signals know no context. */
static struct script *prompting;
static volatile sig_atomic_t is_running, was_interrupted; /* how often, the second */

/* The third time nothing else has helped: a loop in C, a server that does not answer. */
static void on_interrupt(int number)
{
    was_interrupted++;
    if (is_running && was_interrupted > 2) {
        signal(number, SIG_DFL);
        raise(number);
    }
    if (is_running)
        script_interrupt(prompting);
}

/* Completion: readline asks for one after the other, by state. */

static char **found;
static size_t found_count;

static char *next_found(const char *word, int state)
{
    static size_t next;

    if (state == 0) {
        next = 0;
        free(found); /* its texts have gone to libedit */
        found = script_complete(prompting, word, &found_count);
    }
    return next < found_count ? found[next++] : NULL;
}

static char **complete(const char *word, int start, int end)
{
    (void)start;
    (void)end;
    rl_attempted_completion_over = 1; /* never names of files */
    rl_completion_append_character = '\0';
    return rl_completion_matches(word, next_found);
}

static void set_up_terminal(const char *name, const char *history)
{
    static char breaks[] = " \t\n\"'`@$><=;|&{(,)+-*/%^#[]~";

    rl_readline_name = (char *)name;
    rl_initialize();
    rl_basic_word_break_characters = breaks;
    rl_attempted_completion_function = complete;
    stifle_history(HISTORY_LINES);
    if (history != NULL)
        read_history(history);
}

/* Reading: the next line without its end, or NULL at the end. Freed by the caller. */

/* An interrupt throws away what has been typed so far. */
static char *read_terminal(const char *name, struct buf *typed)
{
    char *line;

    do {
        char *head = acc_format("%s%s ", name, typed->size > 0 ? "..." : ">");

        errno = 0;
        was_interrupted = 0;
        line = readline(head);
        free(head);
        if (was_interrupted) {
            buf_reset(typed);
            putchar('\n');
        }
    } while (line == NULL && was_interrupted);
    if (line != NULL && *line != '\0')
        add_history(line);
    return line;
}

static void keep_history(const char *history)
{
    mode_t mask = umask(0077);

    if (history != NULL)
        write_history(history);
    umask(mask);
}

static char *read_pipe(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length = getline(&line, &size, stdin);

    if (length < 0) {
        free(line);
        return NULL;
    }
    if (length > 0 && line[length - 1] == '\n')
        line[length - 1] = '\0';
    return line;
}

static bool take(struct script *script, struct buf *typed, struct acc_error *err)
{
    bool is_complete = true;

    was_interrupted = 0;
    is_running = 1;
    bool ok = script_take(script, typed->data, &is_complete, err);
    is_running = 0;
    script_calm(script);
    if (was_interrupted)
        clearerr(stdout); /* what was cut off was meant to be */
    if (is_complete)
        buf_reset(typed);
    else
        buf_byte(typed, '\n');
    return ok;
}

bool prompt(struct script *script, const char *name, const char *history, struct acc_error *err)
{
    bool is_terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    struct sigaction action = {.sa_handler = on_interrupt};
    struct sigaction kept;
    struct buf typed = {0};
    bool ok = true;

    prompting = script;
    sigaction(SIGINT, &action, &kept);
    if (is_terminal)
        set_up_terminal(name, history);
    while (ok) {
        char *line = is_terminal ? read_terminal(name, &typed) : read_pipe();

        if (line == NULL)
            break;
        buf_text(&typed, line);
        free(line);
        if (is_terminal)
            keep_history(history); /* now: who knows how this ends */
        ok = typed.size == 0 || take(script, &typed, err);
    }
    if (typed.size > 0)
        fprintf(stderr, "accrete lua: the last statement is not complete\n");
    if (is_terminal)
        putchar('\n');
    sigaction(SIGINT, &kept, NULL);
    buf_clear(&typed);
    free(found);
    found = NULL;
    return ok;
}
