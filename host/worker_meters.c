/* What workers tell the metrics of their host: per batch and packet, never per event. */
#include "worker_internal.h"

#include <stdlib.h>

static const struct metric_family wait_family = {
    "accrete_wait_seconds",
    METRIC_HISTOGRAM,
    "Time from the birth of an event to its being taken, mean of a batch",
    {"lifecycle"}};
static const struct metric_family batch_family = {"accrete_batch_seconds",
                                                  METRIC_HISTOGRAM,
                                                  "Time of a batch by what it did",
                                                  {"lifecycle", "phase"}};
static const struct metric_family conflict_family = {
    "accrete_conflicts",
    METRIC_COUNTER,
    "Transactions of workers that ran again after a conflict",
    {"lifecycle"}};
static const struct metric_family failed_family = {"accrete_attempts_failed",
                                                   METRIC_COUNTER,
                                                   "Attempts at events that ended in an error",
                                                   {"lifecycle"}};

static struct metric *one_of(struct metrics *metrics, const struct metric_family *family,
                             const char *lifecycle, const char *phase)
{
    return metrics_get(metrics, family, (const char *const[]){lifecycle, phase}, NULL);
}

void worker_meters_open(struct worker *worker)
{
    struct metrics *metrics = worker->options->metrics;

    if (metrics == NULL)
        return;
    worker->meters = acc_zalloc(worker->program.lifecycle_count * sizeof(struct meters) + 1);
    for (size_t i = 0; i < worker->program.lifecycle_count; i++) {
        const char *name = worker->program.lifecycles[i]->name;
        worker->meters[i] = (struct meters){
            .wait = one_of(metrics, &wait_family, name, NULL),
            .load = one_of(metrics, &batch_family, name, "load"),
            .friends = one_of(metrics, &batch_family, name, "load_friends"),
            .process = one_of(metrics, &batch_family, name, "process_data"),
            .settle = one_of(metrics, &batch_family, name, "insert"),
            .write = one_of(metrics, &batch_family, name, "commit"),
            .conflicts = one_of(metrics, &conflict_family, name, NULL),
            .failed = one_of(metrics, &failed_family, name, NULL),
        };
    }
}

void worker_meters_close(struct worker *worker)
{
    free(worker->meters);
    worker->meters = NULL;
}

static struct meters *meters_of(struct worker *worker, const struct lifecycle *lifecycle)
{
    for (size_t i = 0; worker->meters != NULL && i < worker->program.lifecycle_count; i++) {
        if (worker->program.lifecycles[i] == lifecycle)
            return &worker->meters[i];
    }
    return NULL;
}

void worker_meters_batch(struct worker *worker, const struct lifecycle *lifecycle,
                         const struct tally *tally, int64_t write_us)
{
    struct meters *meters = meters_of(worker, lifecycle);

    if (meters == NULL)
        return;
    metric_observe(meters->wait, tally->waited_ms / 1e3);
    metric_observe(meters->load, tally->phases_us[0] / 1e6);
    metric_observe(meters->friends, tally->phases_us[1] / 1e6);
    metric_observe(meters->process, tally->phases_us[2] / 1e6);
    metric_observe(meters->settle, tally->phases_us[3] / 1e6);
    metric_observe(meters->write, (double)write_us / 1e6);
    if (tally->failed > 0)
        metric_add(meters->failed, (double)tally->failed);
}

void worker_meters_conflict(struct worker *worker, const struct lifecycle *lifecycle)
{
    struct meters *meters = meters_of(worker, lifecycle);

    if (meters != NULL)
        metric_add(meters->conflicts, 1);
}
