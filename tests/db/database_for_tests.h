/* A schema of its own in the cluster of the run, with the kinds of kinds_for_tests.h, and connections to it. */
#pragma once

#include "../unit/kinds_for_tests.h"
#include "facts.h"
#include "identity.h"
#include "ownership.h"
#include "queue.h"
#include "schema.h"
#include "tally.h"

#include <unistd.h>

struct database {
    struct fixture *fixture;
    struct program program;
    struct settings settings;
    char schema[40];
    struct pg pg[2]; /* the first made the schema */
    struct facts *facts;
};

/* Fails the test with the message of err. */
#define check_ok(ok, err)                                                                          \
    do {                                                                                           \
        bool is_ok = (ok);                                                                         \
        if (!is_ok)                                                                                \
            print_message("%s (%s)\n", (err)->text, (err)->sqlstate);                              \
        assert_true(is_ok);                                                                        \
    } while (0)

static void connect_to(struct database *database, struct pg *pg)
{
    const char *url = getenv("ACCRETE_TEST_URL");

    if (url == NULL)
        fail_msg("ACCRETE_TEST_URL is not set: tests/cluster runs this");
    check_ok(pg_open(pg, url, database->schema, 5000, 20000, &database->fixture->err),
             &database->fixture->err);
}

static int database_setup(void **state)
{
    static int number;
    struct database *database = calloc(1, sizeof(*database));

    if (fixture_setup((void **)&database->fixture) != 0)
        return 1;
    database->program.catalog = database->fixture->catalog;
    settings_init(&database->settings);
    snprintf(database->schema, sizeof(database->schema), "db%d_%d", (int)getpid(), ++number);
    connect_to(database, &database->pg[0]);
    check_ok(schema_apply(&database->pg[0], database->schema, &database->program,
                          &database->settings, &database->fixture->err),
             &database->fixture->err);
    connect_to(database, &database->pg[1]);
    database->facts = facts_new(&database->program.catalog);
    *state = database;
    return 0;
}

static int database_teardown(void **state)
{
    struct database *database = *state;
    char *sql = acc_format(
        "DROP SCHEMA \"%s\" CASCADE; DROP OWNED BY \"%s_worker\"; DROP ROLE \"%s_worker\"",
        database->schema, database->schema, database->schema);
    struct acc_error err;

    pg_close(&database->pg[1]);
    (void)!pg_do(&database->pg[0], sql, NULL, &err);
    pg_close(&database->pg[0]);
    facts_free(database->facts);
    settings_clear(&database->settings);
    fixture_teardown((void **)&database->fixture);
    free(sql);
    free(database);
    return 0;
}

/* The first column of the first row, as a number. */
static inline int64_t number_of(struct database *database, const char *sql)
{
    PGresult *res = pg_exec(&database->pg[0], sql, NULL, &database->fixture->err);

    if (res == NULL)
        print_message("%s: %s\n", sql, database->fixture->err.text);
    assert_non_null(res);
    int64_t value = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    return value;
}

static inline void run_sql(struct pg *pg, const char *sql)
{
    struct acc_error err;

    check_ok(pg_do(pg, sql, NULL, &err), &err);
}

#define database_test(test) cmocka_unit_test_setup_teardown(test, database_setup, database_teardown)
