#include "cli/progress.h"

#include "base/clock.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define TERMINAL_US 100000
#define PLAIN_US 10000000

void progress_begin(struct progress *progress, const char *what, bool is_wanted)
{
    *progress = (struct progress){
        .what = is_wanted ? what : NULL,
        .started_us = clock_us(),
        .shown_us = clock_us(),
        .is_terminal = isatty(STDERR_FILENO) == 1,
    };
}

static void print_time(int64_t seconds)
{
    if (seconds >= 3600)
        fprintf(stderr, "%d:%02d:%02d", (int)(seconds / 3600), (int)(seconds / 60 % 60),
                (int)(seconds % 60));
    else
        fprintf(stderr, "%d:%02d", (int)(seconds / 60), (int)(seconds % 60));
}

static void print_bar(double share)
{
    int full = (int)(share * BAR_WIDTH);
    char bar[BAR_WIDTH + 1];

    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '#', (size_t)full);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "[%s] %3d%%  ", bar, (int)(share * 100));
}

void progress_show(struct progress *progress, int64_t count, int64_t done)
{
    int64_t now_us = clock_us();
    double seconds = (double)(now_us - progress->started_us) / 1e6;
    double share = progress->total > 0 ? (double)done / (double)progress->total : 0;

    if (progress->what == NULL ||
        now_us - progress->shown_us < (progress->is_terminal ? TERMINAL_US : PLAIN_US))
        return;
    progress->shown_us = now_us;
    if (share > 1)
        share = 1;
    if (progress->is_terminal) {
        fputs("\r\033[K", stderr);
        if (progress->total > 0)
            print_bar(share);
    }
    fprintf(stderr, "%s %s, %s/s, ", cli_grouped(count), progress->what,
            cli_grouped((int64_t)((double)count / seconds)));
    print_time((int64_t)seconds);
    if (share > 0.001 && share < 1) {
        fputs(", left ", stderr);
        print_time((int64_t)(seconds / share - seconds));
    }
    if (!progress->is_terminal)
        fputc('\n', stderr);
    progress->is_shown = progress->is_terminal;
    fflush(stderr);
}

void progress_end(struct progress *progress, int64_t count, const char *words)
{
    double seconds = (double)(clock_us() - progress->started_us) / 1e6;

    progress_hide(progress);
    if (progress->what == NULL)
        return;
    fprintf(stderr, "%s %s in ", cli_grouped(count), progress->what);
    print_time((int64_t)seconds);
    fprintf(stderr, ", %s/s; %s\n", cli_grouped((int64_t)((double)count / seconds)), words);
    fflush(stderr);
}

void progress_hide(struct progress *progress)
{
    if (progress->is_shown)
        fputs("\r\033[K", stderr);
    progress->is_shown = false;
}
