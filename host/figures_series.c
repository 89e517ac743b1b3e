/* Values for charts: what came since the sample before, or what stands now. */
#include "figures.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>

const char *const figures_series_names[] = {"events_done",       "events_raised",
                                            "events_failed",     "facts_new",
                                            "repeats_share",     "conflicts",
                                            "conflict_share",    "queue_depth",
                                            "oldest_ready_s",    "todo",
                                            "commits",           "abort_early_share",
                                            "abort_late_called", "abort_late_share",
                                            "latency_p50_ms",    "latency_p95_ms",
                                            "latency_p99_ms",    "wait_p95_s",
                                            "worker_time",       "workers",
                                            "wal_bytes",         NULL};
const char *const figures_lifecycle_series_names[] = {"events_done",
                                                      "events_raised",
                                                      "events_failed",
                                                      "facts_new",
                                                      "repeats_share",
                                                      "conflicts",
                                                      "queue_depth",
                                                      "oldest_ready_s",
                                                      "todo",
                                                      "abort_early_share",
                                                      "abort_late_called",
                                                      "abort_late_share",
                                                      "latency_p50_ms",
                                                      "latency_p95_ms",
                                                      "latency_p99_ms",
                                                      "wait_p95_s",
                                                      "worker_time",
                                                      "friends_mean",
                                                      NULL};

/* Sums as they stood at the sample before. */
struct before {
    int64_t counts[COUNTS], fresh, repeats, raised;
};

struct sampled {
    bool has_before;
    int64_t at_us;
    struct before whole;
    struct before lives[RATES_LIFECYCLES];
};

/* What came since: facts of its kind are the events raised of a lifecycle. */
static void since(struct before *last, const struct before *now, struct before *more)
{
    for (int c = 0; c < COUNTS; c++)
        more->counts[c] = now->counts[c] - last->counts[c];
    more->fresh = now->fresh - last->fresh;
    more->repeats = now->repeats - last->repeats;
    more->raised = now->raised - last->raised;
    *last = *now;
}

static double rate(int64_t count, double seconds)
{
    return count < 0 ? NAN : (double)count / seconds;
}

static void sample_counts(struct board *board, const char *name, const struct before *more,
                          double seconds)
{
    const int64_t *c = more->counts;
    double done = (double)(c[COUNT_EARLY] + c[COUNT_LATE] + c[COUNT_EMPTY] + c[COUNT_FOUND]);
    double called = done - (double)c[COUNT_EARLY];

    board_sample(board, "events_done", name, done < 0 ? NAN : done / seconds);
    board_sample(board, "events_raised", name, rate(more->raised, seconds));
    board_sample(board, "events_failed", name, rate(c[COUNT_FAILED], seconds));
    board_sample(board, "facts_new", name, rate(more->fresh, seconds));
    board_sample(board, "repeats_share", name,
                 rates_share((double)more->repeats, (double)(more->fresh + more->repeats), 1));
    board_sample(board, "conflicts", name, rate(c[COUNT_RETRIES], seconds));
    board_sample(board, "abort_early_share", name, rates_share((double)c[COUNT_EARLY], done, 1));
    board_sample(board, "abort_late_called", name, called < 0 ? NAN : called / seconds);
    board_sample(board, "abort_late_share", name, rates_share((double)c[COUNT_LATE], called, 1));
}

static void sample_times(struct board *board, const char *name, const struct histogram *latency,
                         const struct histogram *wait)
{
    board_sample(board, "latency_p50_ms", name, histogram_quantile(latency, 0.5, 20) / 1e3);
    board_sample(board, "latency_p95_ms", name, histogram_quantile(latency, 0.95, 20) / 1e3);
    board_sample(board, "latency_p99_ms", name, histogram_quantile(latency, 0.99, 20) / 1e3);
    board_sample(board, "wait_p95_s", name, histogram_quantile(wait, 0.95, 20) / 1e6);
}

static double age_s(const struct figures *figures, int64_t born_us)
{
    double age = (double)(figures->reading.at_us - born_us) / 1e6;

    return born_us == 0 || age < 0 ? 0 : age;
}

static double busy_us(const struct rates_lifecycle *one)
{
    double sum = 0;

    for (size_t p = 0; p < RATES_PHASES; p++)
        sum += one->phases_us[p];
    return sum;
}

static void sample_life(struct figures *figures, const struct life *life, double seconds)
{
    struct board *board = figures->options->board;
    struct sampled *sampled = figures->sampled;
    const struct rates_lifecycle *one = &figures->rates->lifecycles[life->id];
    struct before now = {.fresh = figures_new(figures, life->id, -1),
                         .repeats = figures_repeats(figures, life->id, -1),
                         .raised = figures_new(figures, -1, life->kind)};
    struct before more;
    double done = recent_done(figures, life->id);

    memcpy(now.counts, life->counts, sizeof(now.counts));
    if (seconds > 0 || !sampled->has_before)
        since(&sampled->lives[life->id], &now, &more);
    if (seconds > 0)
        sample_counts(board, life->name, &more, seconds);
    sample_times(board, life->name, &one->latency, &one->wait);
    board_sample(board, "queue_depth", life->name, (double)(life->in_packets + life->delayed));
    board_sample(board, "oldest_ready_s", life->name, age_s(figures, life->oldest_born_us));
    board_sample(board, "todo", life->name, life->todo);
    board_sample(board, "worker_time", life->name, rates_per_s(figures->rates, busy_us(one) / 1e6));
    board_sample(board, "friends_mean", life->name,
                 life->module != NULL && life->module->friend_count > 0
                     ? rates_share(one->counts[COUNT_GIVEN], done - one->counts[COUNT_EARLY], 1e-9)
                     : NAN);
}

static void sample_whole(struct figures *figures, double seconds)
{
    struct board *board = figures->options->board;
    const struct rates *rates = figures->rates;
    struct histogram latency = {0};
    struct histogram wait = {0};
    struct before now = {.fresh = figures_new(figures, -1, -1),
                         .repeats = figures_repeats(figures, -1, -1)};
    struct before more;
    struct totals totals;
    struct worker_counts workers;
    double busy = 0;

    figures_totals(figures, &totals);
    figures_workers(figures, &workers);
    for (size_t i = 0; i < figures->reading.life_count; i++) {
        const struct life *life = &figures->reading.lives[i];
        for (int c = 0; c < COUNTS; c++)
            now.counts[c] += life->counts[c];
        if (life->is_active)
            now.raised += figures_new(figures, -1, life->kind);
    }
    for (size_t l = 0; l < RATES_LIFECYCLES; l++) {
        const struct rates_lifecycle *one = &rates->lifecycles[l];
        busy += busy_us(one);
        if (one->latency.total == 0 && one->wait.total == 0)
            continue;
        for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++) {
            latency.buckets[b] += one->latency.buckets[b];
            wait.buckets[b] += one->wait.buckets[b];
        }
        latency.total += one->latency.total;
        wait.total += one->wait.total;
    }
    if (seconds > 0 || !figures->sampled->has_before)
        since(&figures->sampled->whole, &now, &more);
    if (seconds > 0)
        sample_counts(board, "", &more, seconds);
    sample_times(board, "", &latency, &wait);
    board_sample(board, "conflict_share", "",
                 rates_share(recent_count(figures, -1, COUNT_RETRIES), rates->commits, 1e-9));
    board_sample(board, "queue_depth", "",
                 (double)(totals.ready + totals.claimed + totals.delayed));
    board_sample(board, "oldest_ready_s", "", age_s(figures, totals.oldest_born_us));
    board_sample(board, "todo", "", figures->todo.events);
    board_sample(board, "commits", "", rates_per_s(rates, rates->commits));
    board_sample(board, "worker_time", "", rates_per_s(rates, busy / 1e6));
    board_sample(board, "workers", "", workers.alive);
    board_sample(board, "wal_bytes", "",
                 figures->database.is_read ? figures->database.wal_per_s : NAN);
}

void figures_sample(struct figures *figures, int64_t at_s)
{
    struct sampled *sampled = figures->sampled;
    int64_t now_us = figures->rates->at_us; /* of the reading, not of this moment */

    if (sampled == NULL)
        sampled = figures->sampled = acc_zalloc(sizeof(*sampled));
    double seconds = sampled->has_before ? (double)(now_us - sampled->at_us) / 1e6 : 0;
    if (seconds < 0.1)
        seconds = 0; /* nothing was read since: what stands is shown, rates wait */
    board_sample_begin(figures->options->board, at_s);
    if (figures->has_database) {
        sample_whole(figures, seconds);
        for (size_t i = 0; i < figures->reading.life_count; i++) {
            const struct life *life = &figures->reading.lives[i];
            if (life->is_active && life->id > 0 && life->id < RATES_LIFECYCLES)
                sample_life(figures, life, seconds);
        }
        if (seconds > 0 || !sampled->has_before)
            sampled->at_us = now_us;
        sampled->has_before = true;
    }
    board_sample_end(figures->options->board);
}

void figures_sample_close(struct figures *figures)
{
    free(figures->sampled);
}
