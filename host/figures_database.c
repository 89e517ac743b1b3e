/* What figures ask the engine about itself, and which generations and workers there are: catalogs only. */
#include "figures.h"

#include "base/clock.h"
#include "queue.h"

#include <stdlib.h>

#define PG_EPOCH_US INT64_C(946684800000000)
#define GENERATIONS_MOST 100

static struct pg_stmt engine_stmt = {
    .sql =
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datid = d.datid), "
        "current_setting('max_connections')::int8, (SELECT coalesce(max(extract(epoch FROM "
        "clock_timestamp() - xact_start) * 1000000), 0)::int8 FROM pg_stat_activity WHERE datid = "
        "d.datid AND pid <> pg_backend_pid() AND backend_type = 'client backend'), d.xact_commit, "
        "d.xact_rollback, d.deadlocks, d.blks_hit, d.blks_read, CASE WHEN pg_is_in_recovery() THEN "
        "0 ELSE (pg_current_wal_insert_lsn() - '0/0')::int8 END, current_setting('server_version') "
        "FROM pg_stat_database d WHERE d.datname = current_database()"};
static struct pg_stmt workers_stmt = {
    .sql =
        "SELECT e.id, e.pid, e.generation, e.host, e.started FROM epoch e JOIN pg_stat_activity a "
        "ON a.pid = e.backend_pid AND a.backend_start <= e.started WHERE NOT e.folded AND e.role "
        "= 'worker' ORDER BY e.host, e.id"};
static struct pg_stmt generations_stmt = {
    .sql = "SELECT id, at, sha FROM generation ORDER BY id DESC LIMIT $1::int8"};
static struct pg_stmt tables_stmt = {
    .sql = "SELECT s.relname, s.n_live_tup, s.n_dead_tup, pg_total_relation_size(s.relid) FROM "
           "pg_stat_user_tables s WHERE s.schemaname = current_schema() ORDER BY 4 DESC, 1"};
static struct pg_stmt bytes_stmt = {.sql = "SELECT pg_database_size(current_database())"};

static bool read_engine(struct figures *figures, struct acc_error *err)
{
    struct database *database = &figures->database;
    PGresult *res = pg_query(&figures->pg, &engine_stmt, NULL, err);
    int64_t now_us = clock_us();

    if (res == NULL)
        return false;
    if (PQntuples(res) > 0) {
        double passed_s = (double)(now_us - database->at_us) / 1e6;
        int64_t commits = pg_get_int8(res, 0, 3);
        int64_t wal = pg_get_int8(res, 0, 8);

        if (database->at_us > 0 && passed_s > 0.1) {
            database->commits_per_s = (double)(commits - database->commits) / passed_s;
            database->wal_per_s = (double)(wal - database->wal_bytes) / passed_s;
        }
        database->connections = pg_get_int8(res, 0, 0);
        database->connections_most = pg_get_int8(res, 0, 1);
        database->oldest_us = pg_get_int8(res, 0, 2);
        database->commits = commits;
        database->rollbacks = pg_get_int8(res, 0, 4);
        database->deadlocks = pg_get_int8(res, 0, 5);
        database->blocks_hit = pg_get_int8(res, 0, 6);
        database->blocks_read = pg_get_int8(res, 0, 7);
        database->wal_bytes = wal;
        snprintf(database->version, sizeof(database->version), "%.31s", pg_get_text(res, 0, 9));
        database->at_us = now_us;
        database->is_read = true;
    }
    PQclear(res);
    return queue_buckets(&figures->pg, &database->buckets, &database->buckets_owned, err);
}

static bool read_workers(struct figures *figures, struct acc_error *err)
{
    struct database *database = &figures->database;
    PGresult *res = pg_query(&figures->pg, &workers_stmt, NULL, err);

    if (res == NULL)
        return false;
    free(database->workers);
    database->worker_count = (size_t)PQntuples(res);
    database->workers = acc_zalloc(database->worker_count * sizeof(*database->workers) + 1);
    for (int r = 0; r < PQntuples(res); r++) {
        struct database_worker *worker = &database->workers[r];
        worker->epoch = pg_get_int4(res, r, 0);
        worker->pid = pg_get_int4(res, r, 1);
        worker->generation = pg_get_int4(res, r, 2);
        snprintf(worker->host, sizeof(worker->host), "%.64s", pg_get_text(res, r, 3));
        worker->started_us = pg_get_int8(res, r, 4) + PG_EPOCH_US;
    }
    PQclear(res);
    return true;
}

static bool read_generations(struct figures *figures, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_int8(&args, GENERATIONS_MOST);
    PGresult *res = pg_query(&figures->pg, &generations_stmt, &args, err);
    if (res == NULL)
        return false;
    free(figures->generations);
    figures->generation_count = (size_t)PQntuples(res);
    figures->generations =
        acc_zalloc(figures->generation_count * sizeof(*figures->generations) + 1);
    for (int r = 0; r < PQntuples(res); r++) {
        struct generation_row *row = &figures->generations[r];
        row->id = pg_get_int4(res, r, 0);
        row->at_us = pg_get_int8(res, r, 1) + PG_EPOCH_US;
        snprintf(row->sha, sizeof(row->sha), "%.64s", pg_get_text(res, r, 2));
    }
    PQclear(res);
    return true;
}

static bool read_sizes(struct figures *figures, struct acc_error *err)
{
    struct database *database = &figures->database;
    PGresult *res = pg_query(&figures->pg, &tables_stmt, NULL, err);

    if (res == NULL)
        return false;
    free(database->tables);
    database->table_count = (size_t)PQntuples(res);
    database->tables = acc_zalloc(database->table_count * sizeof(*database->tables) + 1);
    for (int r = 0; r < PQntuples(res); r++) {
        struct database_table *table = &database->tables[r];
        snprintf(table->name, sizeof(table->name), "%.63s", pg_get_text(res, r, 0));
        table->live = pg_get_int8(res, r, 1);
        table->dead = pg_get_int8(res, r, 2);
        table->bytes = pg_get_int8(res, r, 3);
    }
    PQclear(res);
    res = pg_query(&figures->pg, &bytes_stmt, NULL, err);
    if (res == NULL)
        return false;
    database->bytes = pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

bool figures_read_database(struct figures *figures, bool with_sizes, struct acc_error *err)
{
    return read_engine(figures, err) && read_workers(figures, err) &&
           read_generations(figures, err) && (!with_sizes || read_sizes(figures, err));
}
