/* Queue in the database: the fence that completes packets, claims, and the routing that every writer obeys. */
#include "database_for_tests.h"

static void push(struct database *database, int count, int64_t first_id)
{
    struct packet_set set = {.packet_events = 1, .packet_bytes = 1 << 20};
    struct pg *pg = &database->pg[0];
    struct acc_error *err = &database->fixture->err;
    uint8_t id[16] = {0};

    for (int i = 0; i < count; i++) {
        id[15] = (uint8_t)i;
        packet_set_add_id(&set, 1, (int16_t)(i % 16), 0, 0, 7, 'I', id, 1, 1000000 + i);
    }
    check_ok(queue_push_send(&set, pg, &first_id, err) && pg_sync(pg, err) &&
                 queue_push_read(&set, pg, err) && pg_finish(pg, err),
             err);
    packet_set_clear(&set);
}

static size_t claim_all(struct database *database, struct pg *pg, const int64_t *held,
                        size_t held_count, struct packet ***packets)
{
    static int16_t buckets[16];
    static const int16_t lifecycles[] = {1};
    static const int32_t priorities[] = {0};
    struct claim claim = {.buckets = buckets,
                          .bucket_count = 16,
                          .lifecycles = lifecycles,
                          .priorities = priorities,
                          .lifecycle_count = 1,
                          .held = held,
                          .held_count = held_count,
                          .most = 100};
    size_t count = 0;

    for (int16_t b = 0; b < 16; b++)
        buckets[b] = b;
    check_ok(queue_claim(&claim, pg, packets, &count, &database->fixture->err),
             &database->fixture->err);
    return count;
}

static void drop(struct packet **packets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        packet_free(packets[i]);
    free(packets);
}

/* Sends BEGIN and the fence; the answer of the fence. */
static bool begin_done(struct pg *pg, struct packet **packets, size_t count, struct acc_error *err)
{
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL SERIALIZABLE"};

    return pg_send(pg, &begin, NULL, err) && queue_done_send(packets, count, pg, err) &&
           pg_sync(pg, err) && pg_finish(pg, err);
}

static void a_packet_is_completed_once(void **state)
{
    struct database *database = *state;
    struct acc_error err;
    struct packet **packets;

    push(database, 5, 100);
    size_t count = claim_all(database, &database->pg[0], NULL, 0, &packets);
    assert_int_equal(count, 5);
    check_ok(begin_done(&database->pg[0], packets, 2, &err) &&
                 pg_do(&database->pg[0], "COMMIT", NULL, &err),
             &err);
    assert_false(begin_done(&database->pg[0], packets, 2, &err));
    assert_int_equal(err.code, ACC_ESTALE);
    /* One that is gone takes the others along. */
    assert_false(begin_done(&database->pg[0], packets + 1, 3, &err));
    assert_int_equal(err.code, ACC_ESTALE);
    assert_int_equal(number_of(database, "SELECT count(*) FROM packet"), 3);
    drop(packets, count);
}

static void of_two_workers_with_the_same_packet_one_commits(void **state)
{
    struct database *database = *state;
    struct acc_error err;
    struct packet **mine;
    struct packet **theirs;

    push(database, 3, 100);
    assert_int_equal(claim_all(database, &database->pg[0], NULL, 0, &mine), 3);
    assert_int_equal(claim_all(database, &database->pg[1], NULL, 0, &theirs), 3);
    /* Both have looked before either writes. */
    run_sql(&database->pg[1], "BEGIN ISOLATION LEVEL SERIALIZABLE");
    run_sql(&database->pg[1], "SELECT count(*) FROM fact_edge");
    check_ok(begin_done(&database->pg[0], mine, 3, &err) &&
                 pg_do(&database->pg[0], "COMMIT", NULL, &err),
             &err);
    assert_false(queue_done_send(theirs, 3, &database->pg[1], &err) &&
                 pg_sync(&database->pg[1], &err) && pg_finish(&database->pg[1], &err) &&
                 pg_do(&database->pg[1], "COMMIT", NULL, &err));
    assert_true(err.code == ACC_ESTALE || err.code == ACC_ECONFLICT);
    assert_int_equal(number_of(database, "SELECT count(*) FROM packet"), 0);
    drop(mine, 3);
    drop(theirs, 3);
}

static void a_packet_at_a_used_place_is_not_completed_for_another(void **state)
{
    struct database *database = *state;
    struct acc_error err;
    struct packet **old;
    struct packet **now;

    push(database, 1, 100);
    assert_int_equal(claim_all(database, &database->pg[0], NULL, 0, &old), 1);
    run_sql(&database->pg[1], "DELETE FROM packet");
    for (int i = 0; i < 500; i++) { /* others of the cluster may see the row for a while */
        run_sql(&database->pg[1], "VACUUM packet");
        if (number_of(database, "SELECT pg_relation_size('packet')") == 0)
            break;
        usleep(20000);
    }
    push(database, 1, 200);
    assert_int_equal(claim_all(database, &database->pg[0], NULL, 0, &now), 1);
    assert_memory_equal(now[0]->ctid, old[0]->ctid, 6); /* else this tests nothing */
    assert_false(begin_done(&database->pg[0], old, 1, &err));
    assert_int_equal(err.code, ACC_ESTALE);
    assert_int_equal(number_of(database, "SELECT count(*) FROM packet"), 1);
    drop(old, 1);
    drop(now, 1);
}

static void held_packets_are_not_claimed_again(void **state)
{
    struct database *database = *state;
    int64_t held[] = {101, 103};
    struct packet **packets;

    push(database, 5, 100);
    size_t count = claim_all(database, &database->pg[0], held, 2, &packets);
    assert_int_equal(count, 3);
    assert_int_equal(packets[0]->id, 100);
    assert_int_equal(packets[1]->id, 102);
    drop(packets, count);
}

static void a_writer_with_an_old_routing_is_refused(void **state)
{
    struct database *database = *state;
    struct routing routing = {0};
    struct acc_error err;

    check_ok(routing_read(&routing, &database->pg[0], &err), &err);
    run_sql(&database->pg[0], "BEGIN");
    check_ok(routing_check_send(&routing, &database->pg[0], &err) &&
                 pg_sync(&database->pg[0], &err) && pg_finish(&database->pg[0], &err),
             &err);
    /* The change waits for the writer. */
    run_sql(&database->pg[1], "SET lock_timeout = '50ms'");
    assert_false(
        pg_do(&database->pg[1], "BEGIN; LOCK TABLE routing IN ACCESS EXCLUSIVE MODE", NULL, &err));
    run_sql(&database->pg[1], "ROLLBACK");
    run_sql(&database->pg[0], "COMMIT");
    run_sql(&database->pg[1], "UPDATE routing SET version = version + 1");
    run_sql(&database->pg[0], "BEGIN");
    assert_false(routing_check_send(&routing, &database->pg[0], &err) &&
                 pg_sync(&database->pg[0], &err) && pg_finish(&database->pg[0], &err));
    assert_int_equal(err.code, ACC_ESTALE);
    routing_clear(&routing);
}

static void buckets_are_with_the_newest_generation_that_lives(void **state)
{
    struct database *database = *state;
    struct ownership own[2];
    struct epoch epoch;
    struct acc_error err;
    bool changed;

    for (int i = 0; i < 2; i++) {
        check_ok(ownership_init(&own[i], &database->pg[i], 16, 1 + i, &err), &err);
        check_ok(epoch_open(&epoch, &database->pg[i], "worker", 1 + i, &err), &err);
    }
    check_ok(ownership_balance(&own[1], &database->pg[1], &changed, &err), &err);
    assert_int_equal(own[1].count, 16);
    check_ok(ownership_balance(&own[0], &database->pg[0], &changed, &err), &err);
    assert_int_equal(own[0].count, 0);
    assert_int_equal(own[0].newest, 2);
    pg_close(&database->pg[1]);
    for (int i = 0; i < 500 && own[0].count < 16; i++) { /* better old modules than none */
        usleep(10000);
        check_ok(ownership_balance(&own[0], &database->pg[0], &changed, &err), &err);
    }
    assert_int_equal(own[0].count, 16);
    connect_to(database, &database->pg[1]);
    check_ok(epoch_open(&epoch, &database->pg[1], "worker", 2, &err), &err);
    check_ok(ownership_balance(&own[0], &database->pg[0], &changed, &err), &err);
    assert_true(changed);
    assert_int_equal(own[0].count, 0);
    ownership_clear(&own[0]);
    ownership_clear(&own[1]);
}

static void buckets_are_shared_fairly_and_freed_by_a_lost_connection(void **state)
{
    struct database *database = *state;
    struct ownership own[2];
    struct epoch epoch;
    struct acc_error err;
    bool changed;

    for (int i = 0; i < 2; i++)
        check_ok(ownership_init(&own[i], &database->pg[i], 16, 1, &err), &err);
    check_ok(epoch_open(&epoch, &database->pg[0], "worker", 1, &err), &err);
    check_ok(ownership_balance(&own[0], &database->pg[0], &changed, &err), &err);
    assert_true(changed);
    assert_int_equal(own[0].count, 16);
    check_ok(epoch_open(&epoch, &database->pg[1], "worker", 1, &err), &err);
    check_ok(ownership_balance(&own[1], &database->pg[1], &changed, &err), &err);
    assert_int_equal(own[1].count, 0);
    check_ok(ownership_balance(&own[0], &database->pg[0], &changed, &err), &err);
    check_ok(ownership_balance(&own[1], &database->pg[1], &changed, &err), &err);
    assert_int_equal(own[0].count, 8);
    assert_int_equal(own[1].count, 8);
    for (int b = 0; b < 16; b++)
        assert_int_equal(own[0].owned[b] + own[1].owned[b], 1);
    check_ok(ownership_balance(&own[0], &database->pg[0], &changed, &err), &err);
    assert_false(changed);
    pg_close(&database->pg[1]);
    for (int i = 0; i < 500 && own[0].count < 16; i++) {
        usleep(10000);
        check_ok(ownership_balance(&own[0], &database->pg[0], &changed, &err), &err);
    }
    assert_int_equal(own[0].count, 16);
    ownership_clear(&own[0]);
    ownership_clear(&own[1]);
}

static void folding_dead_epochs_keeps_every_sum(void **state)
{
    struct database *database = *state;
    struct epoch epoch;
    struct acc_error err;

    for (int i = 1; i <= 3; i++) {
        struct pg pg;
        struct tally tally = {
            .lifecycle = 1, .early = i, .found = 10 * i, .failed = 100 * i, .kind_count = 1};

        tally.kinds[0].tag = 7;
        tally.kinds[0].fresh = 1000 * i;
        tally.kinds[0].repeats = 3;
        connect_to(database, &pg);
        check_ok(epoch_open(&epoch, &pg, i == 3 ? "ingest" : "worker", 1, &err), &err);
        check_ok(tally_send(&tally, &epoch, epoch.next_batch++, &pg, &err) &&
                     tally_reason_send(&epoch, 1, "early", "why", i, &pg, &err) &&
                     pg_sync(&pg, &err) && pg_finish(&pg, &err),
                 &err);
        check_ok(epoch_fold_dead(&pg, &err), &err); /* its own, alive, stays */
        pg_close(&pg);
    }
    for (int i = 0;
         i < 500 && number_of(database, "SELECT count(*) FROM tally_kind WHERE epoch > 0") > 0;
         i++) {
        usleep(10000);
        check_ok(epoch_fold_dead(&database->pg[0], &err), &err);
    }
    check_ok(epoch_fold_dead(&database->pg[0], &err), &err);
    assert_int_equal(number_of(database, "SELECT count(*) FROM tally_lifecycle"), 1);
    assert_int_equal(number_of(database, "SELECT sum(early) FROM tally_lifecycle"), 6);
    assert_int_equal(number_of(database, "SELECT sum(found) FROM tally_lifecycle"), 60);
    assert_int_equal(number_of(database, "SELECT sum(failed) FROM tally_lifecycle"), 600);
    assert_int_equal(number_of(database, "SELECT sum(new) FROM tally_kind WHERE epoch = 0"), 6000);
    assert_int_equal(number_of(database, "SELECT sum(repeats) FROM tally_kind"), 9);
    assert_int_equal(number_of(database, "SELECT sum(n) FROM tally_reason"), 6);
    assert_int_equal(number_of(database, "SELECT count(*) FROM batch"), 3);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        database_test(a_packet_is_completed_once),
        database_test(of_two_workers_with_the_same_packet_one_commits),
        database_test(a_packet_at_a_used_place_is_not_completed_for_another),
        database_test(held_packets_are_not_claimed_again),
        database_test(a_writer_with_an_old_routing_is_refused),
        database_test(buckets_are_shared_fairly_and_freed_by_a_lost_connection),
        database_test(buckets_are_with_the_newest_generation_that_lives),
        database_test(folding_dead_epochs_keeps_every_sum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
