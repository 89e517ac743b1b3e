/* Schema: facts are permanent, declarations do not drift, facts of every type come back. */
#include "database_for_tests.h"

static struct acc_row *edge(struct database *database, int64_t from, int64_t to)
{
    struct acc_row *row =
        rows_add(&database->fixture->rows[database->fixture->edge->index], &database->fixture->err);

    *row_int(row, 0) = from;
    *row_int(row, 1) = to;
    identity_set(database->fixture->edge, row);
    return row;
}

static int by_id(const void *a, const void *b)
{
    return id_compare((*(struct acc_row *const *)a)->id, (*(struct acc_row *const *)b)->id);
}

static bool insert(struct database *database, const struct kind *kind, struct acc_row **rows,
                   size_t count, struct acc_error *err)
{
    struct pg *pg = &database->pg[0];

    qsort(rows, count, sizeof(*rows), by_id);
    return facts_insert_send(database->facts, pg, kind, rows, count, 1, NULL, NULL, err) &&
           pg_sync(pg, err) && pg_finish(pg, err);
}

static void facts_cannot_be_changed_by_owner_or_worker(void **state)
{
    static const char *const changes[] = {"UPDATE fact_edge SET \"to\" = 3",
                                          "DELETE FROM fact_edge", "TRUNCATE fact_edge"};
    struct database *database = *state;
    struct acc_row *rows[1] = {edge(database, 1, 2)};
    struct acc_error err;

    check_ok(insert(database, database->fixture->edge, rows, 1, &err), &err);
    for (int as_worker = 0; as_worker < 2; as_worker++) {
        char *role = acc_format("SET ROLE \"%s_worker\"", database->schema);
        if (as_worker)
            run_sql(&database->pg[0], role);
        free(role);
        for (size_t i = 0; i < COUNT_OF(changes); i++) {
            assert_false(pg_do(&database->pg[0], changes[i], NULL, &err));
            if (as_worker)
                assert_string_equal(err.sqlstate, "42501");
            else
                assert_non_null(strstr(err.text, "facts are permanent"));
        }
    }
    run_sql(&database->pg[0], "RESET ROLE");
    assert_int_equal(number_of(database, "SELECT \"to\" FROM fact_edge"), 2);
}

static void the_same_fact_twice_is_a_conflict_and_known_says_so(void **state)
{
    struct database *database = *state;
    struct acc_row *rows[3] = {edge(database, 1, 2), edge(database, 1, 3), edge(database, 4, 2)};
    struct pg *pg = &database->pg[0];
    struct acc_error err;
    bool known[3];
    bool differs[3];

    check_ok(insert(database, database->fixture->edge, rows, 2, &err), &err);
    assert_false(insert(database, database->fixture->edge, rows, 2, &err));
    assert_int_equal(err.code, ACC_ECONFLICT);
    check_ok(facts_known_send(database->facts, pg, database->fixture->edge, rows, 3, true, &err) &&
                 pg_sync(pg, &err) &&
                 facts_known_read(database->facts, pg, database->fixture->edge, rows, 3,
                                  &database->fixture->heap, known, differs, &err) &&
                 pg_finish(pg, &err),
             &err);
    assert_true(known[0] && known[1] && !known[2]);
    assert_false(differs[0] || differs[1]);
    assert_int_equal(number_of(database, "SELECT count(*) FROM fact_edge"), 2);
}

static void a_fact_of_every_type_comes_back(void **state)
{
    struct database *database = *state;
    struct fixture *fixture = database->fixture;
    const struct kind *kind = fixture->all;
    struct acc_row *row = fixture_row(fixture, kind);
    uint32_t none[2] = {0, 0};
    uint32_t two[6] = {2, 0, 1, 0, 0, 0};
    uint32_t texts[5] = {2, 0, 0, 3, 0};
    struct acc_rows back;
    struct acc_error err;

    memcpy(&texts[4], "\"\\,", 3);
    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];
        bool ok = true;

        if (field->is_array && field->type < FIELD_TEXT)
            ok = row_set_bytes(row, f, &fixture->heap, two, sizeof(two), &err);
        else if (field->is_array && field->type == FIELD_TEXT)
            ok = row_set_bytes(row, f, &fixture->heap, texts, 19, &err);
        else if (field->is_array)
            ok = row_set_bytes(row, f, &fixture->heap, none, sizeof(none), &err);
        else if (field->type == FIELD_JSON)
            ok = row_set_bytes(row, f, &fixture->heap, "{\"a\":1}", 7, &err);
        else if (field_is_span(field))
            ok = row_set_bytes(row, f, &fixture->heap, "sixteen bytes {}", 16, &err);
        else
            *row_int(row, f) = field->type == FIELD_BOOL ? 1 : INT64_MIN;
        if (field->is_nullable && f % 5 == 0)
            row->nulls |= UINT64_C(1) << f;
        assert_true(ok);
    }
    row_normalise(kind, row);
    identity_set(kind, row);
    check_ok(insert(database, kind, &row, 1, &err), &err);
    rows_init(&back, kind, 4);
    check_ok(
        facts_get(database->facts, &database->pg[0], kind, row->id, 1, &back, &fixture->heap, &err),
        &err);
    assert_int_equal(back.count, 1);
    assert_true(rows_equal(kind, row, rows_at(&back, 0), UINT64_MAX));
    rows_clear(&back);
}

/* Applies the catalog with one kind changed; what is said. */
static const char *drift(struct database *database, void (*change)(struct kind *))
{
    static struct acc_error err;
    struct kind before = *database->fixture->all;

    change(database->fixture->all);
    err.text[0] = '\0';
    if (schema_apply(&database->pg[0], database->schema, &database->program, &database->settings,
                     &err))
        err.text[0] = '\0';
    *database->fixture->all = before;
    return err.text;
}

static void other_type(struct kind *kind)
{
    kind->fields[1].type = FIELD_TEXT;
}

static void other_unique(struct kind *kind)
{
    kind->fields[0].is_unique = false;
}

static void one_less(struct kind *kind)
{
    kind->field_count--;
}

static void one_more(struct kind *kind)
{
    kind->fields[kind->field_count++] = (struct field){.name = "later", .type = FIELD_TEXT};
}

static void one_more_nullable(struct kind *kind)
{
    one_more(kind);
    kind->fields[kind->field_count - 1].is_nullable = true;
}

static void a_changed_declaration_is_refused_and_a_nullable_field_taken(void **state)
{
    struct database *database = *state;

    assert_non_null(strstr(drift(database, other_type), "kinds/every.lua"));
    assert_non_null(strstr(drift(database, other_unique), "kinds/every.lua"));
    assert_non_null(strstr(drift(database, one_less), "kinds/every.lua"));
    assert_non_null(strstr(drift(database, one_more), "must be nullable"));
    assert_string_equal(drift(database, one_more_nullable), "");
    assert_int_equal(number_of(database, "SELECT count(*) FROM pg_attribute WHERE attrelid = "
                                         "'fact_every'::regclass AND attname = 'later'"),
                     1);
}

static void the_server_runs_with_fsync_and_serializable(void **state)
{
    struct database *database = *state;

    assert_int_equal(number_of(database, "SELECT (current_setting('fsync') = 'on')::int"), 1);
    assert_int_equal(
        number_of(
            database,
            "SELECT (current_setting('default_transaction_isolation') = 'serializable')::int"),
        1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        database_test(facts_cannot_be_changed_by_owner_or_worker),
        database_test(the_same_fact_twice_is_a_conflict_and_known_says_so),
        database_test(a_fact_of_every_type_comes_back),
        database_test(a_changed_declaration_is_refused_and_a_nullable_field_taken),
        database_test(the_server_runs_with_fsync_and_serializable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
