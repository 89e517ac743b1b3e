/* Metrics of what the database and the shared page know, as BOARD_METRICS. Labels are names of the app, never ids. */
#include "figures.h"

#include "base/clock.h"

#include <inttypes.h>
#include <math.h>
#include <sys/statvfs.h>

enum {
    M_BUILD,
    M_FACTS,
    M_FACTS_NEW,
    M_REPEATS,
    M_CONTRADICTIONS,
    M_DONE,
    M_FAILED,
    M_LATE_CALLS,
    M_RETRIES,
    M_FRIENDS,
    M_EVENTS,
    M_OLDEST,
    M_THROTTLE,
    M_TODO,
    M_STATE,
    M_TODO_ALL,
    M_SETTLES,
    M_ETA,
    M_PROGRESS,
    M_IDLE,
    M_WORKERS,
    M_DEATHS,
    M_SERVICES,
    M_BUCKETS,
    M_TAKEN,
    M_GENERATION,
    M_RELOADS,
    M_REFUSED,
    M_UP,
    M_READING,
    M_COMMITS,
    M_CONFLICT_SHARE,
    M_CONNECTIONS,
    M_CONNECTIONS_MOST,
    M_OLDEST_TRANSACTION,
    M_TRANSACTIONS,
    M_DEADLOCKS,
    M_WAL,
    M_BYTES,
    M_TABLE_ROWS,
    M_TABLE_DEAD,
    M_TABLE_BYTES,
    M_DISK_FREE,
    M_DISK_SIZE,
    FAMILIES
};

#define COUNTER METRIC_COUNTER
#define GAUGE METRIC_GAUGE

static const struct metric_family families[FAMILIES] = {
    [M_BUILD] = {"accrete_build", GAUGE, "1, with the version of the program", {"version"}},
    [M_FACTS] = {"accrete_facts", GAUGE, "Facts of a kind", {"kind"}},
    [M_FACTS_NEW] = {"accrete_facts_new",
                     COUNTER,
                     "Facts that were new, by who found them; ingest is what came from outside",
                     {"kind", "lifecycle"}},
    [M_REPEATS] = {"accrete_repeats",
                   COUNTER,
                   "Finds of facts that were there already",
                   {"kind", "lifecycle"}},
    [M_CONTRADICTIONS] = {"accrete_contradictions",
                          COUNTER,
                          "Facts that came again with other values; the first stayed",
                          {"kind", "lifecycle"}},
    [M_DONE] = {"accrete_events_done",
                COUNTER,
                "Events that reached an outcome",
                {"lifecycle", "outcome"}},
    [M_FAILED] = {"accrete_events_failed",
                  COUNTER,
                  "Attempts at events that failed",
                  {"lifecycle"}},
    [M_LATE_CALLS] = {"accrete_abort_late_calls",
                      COUNTER,
                      "Calls of abort_late; those that were true have the outcome late",
                      {"lifecycle"}},
    [M_RETRIES] = {"accrete_conflict_retries",
                   COUNTER,
                   "Transactions run again after a conflict, of batches that were committed",
                   {"lifecycle"}},
    [M_FRIENDS] = {"accrete_friends", COUNTER, "Friends handed to events", {"lifecycle"}},
    [M_EVENTS] = {"accrete_events",
                  GAUGE,
                  "Events that are not done, by their state",
                  {"lifecycle", "state"}},
    [M_OLDEST] = {"accrete_oldest_ready_seconds",
                  GAUGE,
                  "Age of the oldest event in the queue, 0 when there is none",
                  {"lifecycle"}},
    [M_THROTTLE] = {"accrete_throttle_events_per_second",
                    GAUGE,
                    "Events a second that a lifecycle may do, 0 for no limit",
                    {"lifecycle"}},
    [M_TODO] = {"accrete_lifecycle_todo_events",
                GAUGE,
                "Events expected until the fixpoint, -1 while that does not settle",
                {"lifecycle"}},
    [M_STATE] = {"accrete_state",
                 GAUGE,
                 "1 for the state of the whole, 0 for the others",
                 {"state"}},
    [M_TODO_ALL] = {"accrete_todo_events",
                    GAUGE,
                    "Events expected until the fixpoint, -1 while that does not settle",
                    {NULL}},
    [M_SETTLES] = {"accrete_todo_settles", GAUGE, "1 while the work converges", {NULL}},
    [M_ETA] = {"accrete_fixpoint_seconds",
               GAUGE,
               "Expected time until the fixpoint, -1 when it is not known",
               {NULL}},
    [M_PROGRESS] = {"accrete_progress_ratio",
                    GAUGE,
                    "Events done of those expected in this run, -1 when it is not known",
                    {NULL}},
    [M_IDLE] = {"accrete_idle_seconds", GAUGE, "Time since an event was done last", {NULL}},
    [M_WORKERS] = {"accrete_workers",
                   GAUGE,
                   "Workers of this host: wanted, alive, working now, of an older generation",
                   {"state"}},
    [M_DEATHS] = {"accrete_worker_deaths", COUNTER, "Workers of this host that died", {NULL}},
    [M_SERVICES] = {"accrete_services", GAUGE, "Other processes of this host that serve", {"role"}},
    [M_BUCKETS] = {"accrete_buckets",
                   GAUGE,
                   "Buckets of the queue: all, owned by some worker",
                   {"state"}},
    [M_TAKEN] = {"accrete_buckets_taken",
                 COUNTER,
                 "Times that a worker of this host became the owner of a bucket",
                 {NULL}},
    [M_GENERATION] = {"accrete_generation", GAUGE, "Number of the current modules", {NULL}},
    [M_RELOADS] = {"accrete_reloads", COUNTER, "Reloads that were taken", {NULL}},
    [M_REFUSED] = {"accrete_reloads_refused", COUNTER, "Reloads that were refused", {NULL}},
    [M_UP] = {"accrete_database_up", GAUGE, "1 while the database answers", {NULL}},
    [M_READING] = {"accrete_reading_seconds",
                   GAUGE,
                   "What the last reading of tallies and queue took",
                   {NULL}},
    [M_COMMITS] = {"accrete_commits_per_second",
                   GAUGE,
                   "Transactions that wrote facts or ended events, mean of five minutes",
                   {NULL}},
    [M_CONFLICT_SHARE] = {"accrete_conflict_ratio",
                          GAUGE,
                          "Retries after a conflict for each commit, mean of five minutes",
                          {NULL}},
    [M_CONNECTIONS] = {"accrete_database_connections",
                       GAUGE,
                       "Connections to the app's database",
                       {NULL}},
    [M_CONNECTIONS_MOST] = {"accrete_database_connections_limit",
                            GAUGE,
                            "Connections that the server allows",
                            {NULL}},
    [M_OLDEST_TRANSACTION] = {"accrete_database_oldest_transaction_seconds",
                              GAUGE,
                              "Age of the oldest transaction of a client",
                              {NULL}},
    [M_TRANSACTIONS] = {"accrete_database_transactions",
                        COUNTER,
                        "Transactions that the server ended",
                        {"result"}},
    [M_DEADLOCKS] = {"accrete_database_deadlocks",
                     COUNTER,
                     "Deadlocks that the server broke",
                     {NULL}},
    [M_WAL] = {"accrete_database_wal_bytes", COUNTER, "Write-ahead log written", {NULL}},
    [M_BYTES] = {"accrete_database_bytes", GAUGE, "Size of the app's database", {NULL}},
    [M_TABLE_ROWS] = {"accrete_table_rows", GAUGE, "Live rows, as the server estimates", {"table"}},
    [M_TABLE_DEAD] = {"accrete_table_dead_rows",
                      GAUGE,
                      "Rows that vacuum has yet to remove, as the server estimates",
                      {"table"}},
    [M_TABLE_BYTES] = {"accrete_table_bytes", GAUGE, "Size of a table with its indexes", {"table"}},
    [M_DISK_FREE] = {"accrete_disk_free_bytes",
                     GAUGE,
                     "Free space where the data directory lies",
                     {NULL}},
    [M_DISK_SIZE] = {"accrete_disk_size_bytes",
                     GAUGE,
                     "All space where the data directory lies",
                     {NULL}},
};

static void set(struct figures *figures, int family, const char *a, const char *b, double value)
{
    metric_set(metrics_get(figures->metrics, &families[family], (const char *const[]){a, b}, NULL),
               value);
}

void figures_metrics_open(struct figures *figures)
{
    figures->metrics = metrics_new(16384);
}

void figures_metrics_close(struct figures *figures)
{
    metrics_free(figures->metrics);
}

static const char *finder(const struct figures *figures, int16_t lifecycle)
{
    const struct life *life = figures_life(figures, lifecycle);

    return lifecycle == 0 ? "ingest" : life == NULL ? NULL : life->name;
}

static void write_facts(struct figures *figures)
{
    const struct catalog *catalog = &figures->program->catalog;

    for (size_t k = 0; k < catalog->count; k++)
        set(figures, M_FACTS, catalog->kinds[k]->name, NULL,
            (double)figures_new(figures, -1, catalog->kinds[k]->tag));
    for (size_t f = 0; f < figures->reading.find_count; f++) {
        const struct find *find = &figures->reading.finds[f];
        const struct kind *kind = catalog_by_tag(catalog, find->tag);
        const char *by = finder(figures, find->lifecycle);
        if (kind == NULL || by == NULL)
            continue;
        set(figures, M_FACTS_NEW, kind->name, by, (double)find->fresh);
        set(figures, M_REPEATS, kind->name, by, (double)find->repeats);
        set(figures, M_CONTRADICTIONS, kind->name, by, (double)find->contradictions);
    }
}

static void write_life(struct figures *figures, const struct life *life)
{
    static const struct {
        const char *name;
        enum count count;
    } outcomes[] = {{"early", COUNT_EARLY},
                    {"late", COUNT_LATE},
                    {"empty", COUNT_EMPTY},
                    {"found", COUNT_FOUND}};
    double age_s = life->oldest_born_us == 0
                       ? 0
                       : (double)(figures->reading.at_us - life->oldest_born_us) / 1e6;

    for (size_t o = 0; o < sizeof(outcomes) / sizeof(outcomes[0]); o++)
        set(figures, M_DONE, life->name, outcomes[o].name, (double)life->counts[outcomes[o].count]);
    set(figures, M_FAILED, life->name, NULL, (double)life->counts[COUNT_FAILED]);
    set(figures, M_LATE_CALLS, life->name, NULL,
        (double)(life_done(life) - life->counts[COUNT_EARLY]));
    set(figures, M_RETRIES, life->name, NULL, (double)life->counts[COUNT_RETRIES]);
    set(figures, M_FRIENDS, life->name, NULL, (double)life->counts[COUNT_GIVEN]);
    set(figures, M_EVENTS, life->name, "ready", (double)life_ready(life));
    set(figures, M_EVENTS, life->name, "claimed", (double)life->claimed);
    set(figures, M_EVENTS, life->name, "delayed", (double)life->delayed);
    set(figures, M_EVENTS, life->name, "dead", (double)life->dead);
    set(figures, M_EVENTS, life->name, "discarded", (double)life->discarded);
    set(figures, M_EVENTS, life->name, "unread", (double)life->unread);
    set(figures, M_EVENTS, life->name, "quarantined", (double)life->quarantined);
    set(figures, M_OLDEST, life->name, NULL, age_s > 0 ? age_s : 0);
    set(figures, M_THROTTLE, life->name, NULL, life->throttle_per_s);
    set(figures, M_TODO, life->name, NULL, isnan(life->todo) ? -1 : life->todo);
}

static void write_processes(struct figures *figures)
{
    static const char *const roles[] = {[SERVICE_FRONT] = "front",
                                        [SERVICE_QUERY] = "query",
                                        [SERVICE_ROUTES] = "routes",
                                        [SERVICE_FIGURES] = "figures"};
    const struct page *page = figures->page;
    struct rates *rates = figures->rates;
    struct worker_counts counts;
    int working = 0;
    int serving[sizeof(roles) / sizeof(roles[0])] = {0};
    uint64_t deaths = 0;

    figures_workers(figures, &counts);
    for (size_t s = 0; s < PAGE_SLOTS; s++) {
        const struct page_slot *slot = &page->slots[s];
        deaths += slot->deaths;
        working += slot->pid != 0 && slot->packet_count > 0;
        /* A slot counts from its process's start. */
        if (slot->pid != rates->slot_pid[s] || slot->buckets_taken < rates->slot_taken[s])
            rates->slot_taken[s] = 0;
        rates->slot_pid[s] = slot->pid;
        rates->buckets_taken += slot->buckets_taken - rates->slot_taken[s];
        rates->slot_taken[s] = slot->buckets_taken;
    }
    for (size_t s = 0; s < PAGE_SERVICES; s++) {
        const struct page_service *service = &page->services[s];
        if (service->pid != 0 && service->is_ready != 0 && service->role > SERVICE_NONE &&
            service->role <= SERVICE_FIGURES)
            serving[service->role]++;
    }
    set(figures, M_WORKERS, "wanted", NULL, counts.want);
    set(figures, M_WORKERS, "alive", NULL, counts.alive);
    set(figures, M_WORKERS, "working", NULL, working);
    set(figures, M_WORKERS, "old", NULL, counts.old);
    set(figures, M_DEATHS, NULL, NULL, (double)deaths);
    for (size_t r = SERVICE_FRONT; r <= SERVICE_FIGURES; r++)
        set(figures, M_SERVICES, roles[r], NULL, serving[r]);
    set(figures, M_TAKEN, NULL, NULL, (double)rates->buckets_taken);
    set(figures, M_RELOADS, NULL, NULL, (double)page->reloads);
    set(figures, M_REFUSED, NULL, NULL, (double)page->refused);
}

static void write_database(struct figures *figures)
{
    const struct database *database = &figures->database;
    struct statvfs disk;

    set(figures, M_BUCKETS, "all", NULL, (double)database->buckets);
    set(figures, M_BUCKETS, "owned", NULL, (double)database->buckets_owned);
    set(figures, M_CONNECTIONS, NULL, NULL, (double)database->connections);
    set(figures, M_CONNECTIONS_MOST, NULL, NULL, (double)database->connections_most);
    set(figures, M_OLDEST_TRANSACTION, NULL, NULL, (double)database->oldest_us / 1e6);
    set(figures, M_TRANSACTIONS, "committed", NULL, (double)database->commits);
    set(figures, M_TRANSACTIONS, "rolled_back", NULL, (double)database->rollbacks);
    set(figures, M_DEADLOCKS, NULL, NULL, (double)database->deadlocks);
    set(figures, M_WAL, NULL, NULL, (double)database->wal_bytes);
    set(figures, M_BYTES, NULL, NULL, (double)database->bytes);
    for (size_t t = 0; t < database->table_count; t++) {
        const struct database_table *table = &database->tables[t];
        set(figures, M_TABLE_ROWS, table->name, NULL, (double)table->live);
        set(figures, M_TABLE_DEAD, table->name, NULL, (double)table->dead);
        set(figures, M_TABLE_BYTES, table->name, NULL, (double)table->bytes);
    }
    if (statvfs(figures->options->app->data_dir, &disk) == 0) {
        set(figures, M_DISK_FREE, NULL, NULL, (double)disk.f_bavail * (double)disk.f_frsize);
        set(figures, M_DISK_SIZE, NULL, NULL, (double)disk.f_blocks * (double)disk.f_frsize);
    }
}

static double known(double value)
{
    return isnan(value) ? -1 : value;
}

void figures_metrics_write(struct figures *figures, struct buf *out)
{
    const struct rates *rates = figures->rates;
    struct totals totals;

    figures_totals(figures, &totals);
    set(figures, M_BUILD, ACC_VERSION, NULL, 1);
    set(figures, M_UP, NULL, NULL, figures->has_database);
    write_processes(figures);
    if (rates->has_reading) {
        double retries = recent_count(figures, -1, COUNT_RETRIES);
        double done = (double)(totals.done - rates->run_began_done);
        double todo = figures->todo.events;

        write_facts(figures);
        for (size_t i = 0; i < figures->reading.life_count; i++)
            write_life(figures, &figures->reading.lives[i]);
        for (int s = 0; s < STATES; s++)
            set(figures, M_STATE, figures_state_names[s], NULL, (int)figures->state == s);
        set(figures, M_TODO_ALL, NULL, NULL, known(todo));
        set(figures, M_SETTLES, NULL, NULL, figures->todo.settles);
        set(figures, M_ETA, NULL, NULL, known(figures->todo.eta_s));
        set(figures, M_PROGRESS, NULL, NULL, todo == 0 ? 1 : known(done / (done + todo)));
        set(figures, M_IDLE, NULL, NULL, (double)(clock_us() - rates->moved_us) / 1e6);
        set(figures, M_GENERATION, NULL, NULL, figures->reading.generation);
        set(figures, M_READING, NULL, NULL, (double)figures->reading.took_us / 1e6);
        set(figures, M_COMMITS, NULL, NULL, known(rates_per_s(rates, rates->commits)));
        double share = rates_share(retries, rates->commits, 1e-9);
        set(figures, M_CONFLICT_SHARE, NULL, NULL, isnan(share) ? 0 : share);
    }
    if (figures->database.is_read)
        write_database(figures);
    metrics_render(figures->metrics, false, out);
}
