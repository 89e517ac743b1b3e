#include "indexes.h"

#include "accrete/hot.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An index that the explorer wants. */
struct plan {
    char name[64];
    char table[KIND_NAME_MAX + 8];
    const char *kind;
    const char *method;
    const char *columns;
    const char *tail; /* of CREATE INDEX */
};

#define PLANS_MAX (3 * CATALOG_KINDS_MAX + 1)

static const struct {
    const char *word, *method, *columns, *tail;
} of_kind[] = {
    /* Equal keys share an entry, 7 bytes a fact. A BRIN knows nothing where several workers write in turns. */
    {"batch", "btree", "_batch", "USING btree (_batch)"},
    /* The id behind the data: pages of what came of a fact cost the same wherever they begin. */
    {"data", "btree", "_data _id", "(_data, _id) WHERE _data IS NOT NULL"},
    {"friends", "gin", "_friends", "USING gin (_friends) WITH (fastupdate = off)"},
};

static size_t make_plans(const struct catalog *catalog, struct plan *plans)
{
    size_t count = 0;

    for (size_t k = 0; k < catalog->count; k++) {
        for (size_t i = 0; i < sizeof(of_kind) / sizeof(of_kind[0]); i++) {
            struct plan *plan = &plans[count++];

            *plan = (struct plan){.kind = catalog->kinds[k]->name,
                                  .method = of_kind[i].method,
                                  .columns = of_kind[i].columns,
                                  .tail = of_kind[i].tail};
            snprintf(plan->name, sizeof(plan->name), "ex_%s_%s", plan->kind, of_kind[i].word);
            snprintf(plan->table, sizeof(plan->table), "%s", catalog->kinds[k]->table);
        }
    }
    plans[count] = (struct plan){.name = "ex__lifecycle",
                                 .table = "batch",
                                 .kind = "",
                                 .method = "btree",
                                 .columns = "lifecycle at id",
                                 .tail = "USING btree (lifecycle, at, id) WHERE new > 0"};
    return count + 1;
}

/*
 * All indexes of the schema: name, table, valid, bytes, method, columns without the hash that texts
 * are indexed by.
 */
static PGresult *read_all(struct pg *pg, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT c.relname::text, t.relname::text, i.indisvalid, "
               "pg_relation_size(c.oid)::int8, a.amname::text, "
               "(SELECT string_agg(trim('\"' FROM regexp_replace(pg_get_indexdef(c.oid, n, true), "
               "'^[a-z0-9_]+\\((.*?)(, .*)?\\)$', '\\1')), ' ' ORDER BY n) "
               "FROM generate_series(1, i.indnkeyatts) n), i.indisprimary "
               "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
               "JOIN pg_class t ON t.oid = i.indrelid JOIN pg_am a ON a.oid = c.relam "
               "WHERE c.relnamespace = current_schema()::regnamespace ORDER BY 2, 1"};

    return pg_query(pg, &stmt, NULL, err);
}

static int find(const PGresult *res, const char *name)
{
    for (int r = 0; r < PQntuples(res); r++)
        if (strcmp(PQgetvalue(res, r, 0), name) == 0)
            return r;
    return -1;
}

bool indexes_of_explorer(struct pg *pg, const struct catalog *catalog, struct explorer_indexes *has,
                         struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT c.relname::text, a.amname::text FROM pg_index i "
               "JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam "
               "WHERE c.relnamespace = current_schema()::regnamespace AND i.indisvalid "
               "AND c.relname LIKE 'ex\\_%'"};
    PGresult *res = pg_query(pg, &stmt, NULL, err);

    if (res == NULL)
        return false;
    for (size_t k = 0; k < catalog->count; k++) {
        bool found[sizeof(of_kind) / sizeof(of_kind[0])];

        for (size_t i = 0; i < sizeof(of_kind) / sizeof(of_kind[0]); i++) {
            char name[64];

            snprintf(name, sizeof(name), "ex_%s_%s", catalog->kinds[k]->name, of_kind[i].word);
            int at = find(res, name);
            found[i] = at >= 0 && strcmp(pg_get_text(res, at, 1), of_kind[i].method) == 0;
        }
        has[k] = (struct explorer_indexes){found[0], found[1], found[2]};
    }
    PQclear(res);
    return true;
}

/* Listing */

static json_t *words_of(const char *text)
{
    json_t *list = json_array();

    for (; *text != '\0'; text += strspn(text, " ")) {
        size_t size = strcspn(text, " ");

        json_array_append_new(list, json_stringn(text, size));
        text += size;
    }
    return list;
}

static json_t *one_index(const char *name, const char *kind, const char *purpose,
                         const char *columns, const char *method, const char *state, int64_t bytes)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:I}", "name", name, "kind", kind, "purpose",
                     purpose, "columns", words_of(columns), "method", method, "state", state,
                     "bytes", (json_int_t)bytes);
}

static void list_table(const PGresult *res, const char *table, const char *kind, json_t *list)
{
    for (int r = 0; r < PQntuples(res); r++) {
        const char *name = pg_get_text(res, r, 0);
        const char *purpose = pg_get_bool(res, r, 6)         ? "id"
                              : strncmp(name, "ex_", 3) == 0 ? "explorer"
                              : strncmp(name, "ix_", 3) == 0 ? "look-up"
                                                             : "other";

        if (strcmp(pg_get_text(res, r, 1), table) == 0)
            json_array_append_new(list, one_index(name, kind, purpose, pg_get_text(res, r, 5),
                                                  pg_get_text(res, r, 4),
                                                  pg_get_bool(res, r, 2) ? "valid" : "invalid",
                                                  pg_get_int8(res, r, 3)));
    }
}

json_t *indexes_list(struct pg *pg, const struct catalog *catalog, struct acc_error *err)
{
    struct plan *plans = acc_alloc(PLANS_MAX * sizeof(*plans));
    size_t count = make_plans(catalog, plans);
    PGresult *res = read_all(pg, err);
    json_t *list = NULL;

    if (res != NULL) {
        list = json_array();
        for (size_t k = 0; k <= catalog->count; k++) {
            const char *kind = k == catalog->count ? "" : catalog->kinds[k]->name;

            list_table(res, k == catalog->count ? "batch" : catalog->kinds[k]->table, kind, list);
            for (size_t i = 0; i < count; i++)
                if (strcmp(plans[i].kind, kind) == 0 && find(res, plans[i].name) < 0)
                    json_array_append_new(list, one_index(plans[i].name, kind, "explorer",
                                                          plans[i].columns, plans[i].method,
                                                          "missing", 0));
        }
    }
    PQclear(res);
    free(plans);
    return list;
}

/* Building */

static bool has_table(struct pg *pg, const char *table, bool *has, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = "SELECT to_regclass($1) IS NOT NULL"};
    struct pg_args args = {0};

    pg_text(&args, table);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *has = pg_get_bool(res, 0, 0);
    PQclear(res);
    return true;
}

static bool build(struct pg *pg, const struct plan *plan, bool is_invalid, struct acc_error *err)
{
    char *drop = acc_format("DROP INDEX CONCURRENTLY IF EXISTS %s", plan->name);
    char *create = acc_format("CREATE INDEX CONCURRENTLY IF NOT EXISTS %s ON %s %s", plan->name,
                              plan->table, plan->tail);
    bool ok = (!is_invalid || pg_do(pg, drop, NULL, err)) && pg_do(pg, create, NULL, err);

    if (!ok)
        acc_fail_prefix(err, "index \"%s\"", plan->name);
    free(drop);
    free(create);
    return ok;
}

static bool build_all(struct pg *pg, const struct plan *plans, size_t count,
                      const struct index_progress *progress, struct acc_error *err)
{
    PGresult *res = read_all(pg, err);
    bool ok = res != NULL;

    for (size_t i = 0; ok && i < count; i++) {
        int at = find(res, plans[i].name);
        bool is_valid = at >= 0 && pg_get_bool(res, at, 2) && /* and not of an older version */
                        strcmp(pg_get_text(res, at, 4), plans[i].method) == 0;
        int64_t started_us = clock_us();
        bool has = false;

        ok = has_table(pg, plans[i].table, &has, err);
        if (!ok || !has)
            continue;
        if (!is_valid) {
            progress->tell(progress->context, plans[i].name, plans[i].table, i + 1, count, false,
                           true, 0);
            ok = build(pg, &plans[i], at >= 0, err);
        }
        if (ok)
            progress->tell(progress->context, plans[i].name, plans[i].table, i + 1, count, true,
                           !is_valid, clock_us() - started_us);
    }
    PQclear(res);
    return ok;
}

bool indexes_build_explorer(struct pg *pg, const char *schema, const struct catalog *catalog,
                            const struct index_progress *progress, struct acc_error *err)
{
    struct plan *plans = acc_alloc(PLANS_MAX * sizeof(*plans));
    size_t count = make_plans(catalog, plans);
    /* The lock of schema_apply: two that build on one table at once would wait for each other. */
    char *lock = acc_format(
        "SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0; "
        "SELECT pg_advisory_lock(%lld)",
        (long long)(acc_hash64(schema, strlen(schema)) >> 1));
    struct acc_error later;
    bool ok = pg_do(pg, lock, NULL, err);

    if (ok) {
        ok = build_all(pg, plans, count, progress, err);
        ok = pg_do(pg, "SELECT pg_advisory_unlock_all()", NULL, ok ? err : &later) && ok;
    }
    free(lock);
    free(plans);
    return ok;
}
