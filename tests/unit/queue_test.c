/* Queue in memory: buckets, packets under construction, the order of the pool. */
#include "kinds_for_tests.h"

#include "identity.h"
#include "pool.h"
#include "queue.h"

static void buckets_are_ranges_of_slots(void **state)
{
    (void)state;
    for (int buckets = 1; buckets <= 4096; buckets *= 2) {
        int before = 0;
        for (uint32_t slot = 0; slot < 65536; slot++) {
            uint8_t id[16] = {(uint8_t)(slot >> 8), (uint8_t)slot};
            int bucket = bucket_of(id, buckets);
            assert_true(bucket == before || bucket == before + 1);
            before = bucket;
        }
        assert_int_equal(before, buckets - 1);
    }
}

static struct packet_set new_set(int64_t events, int64_t bytes)
{
    return (struct packet_set){.packet_events = events, .packet_bytes = bytes};
}

static int32_t events_of(const struct packet_set *set, int16_t lifecycle)
{
    int32_t events = 0;

    for (size_t i = 0; i < set->count; i++)
        events += set->packets[i].lifecycle == lifecycle ? set->packets[i].count : 0;
    return events;
}

static void route_edges(struct fixture *fixture, struct packet_set *set, uint32_t count)
{
    static struct route routes[] = {{1, 0}, {2, 0}, {9, 0}};
    struct routing routing = {.version = 1, .buckets = 4, .routes = routes, .count = 3};
    struct acc_rows *rows = &fixture->rows[fixture->edge->index];
    struct acc_row *list[ROWS_MAX];

    routes[0].kind = routes[1].kind = fixture->edge->tag;
    routes[2].kind = (uint16_t)(fixture->edge->tag + 1);
    rows->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        list[i] = rows_add(rows, &fixture->err);
        *row_int(list[i], 0) = i;
        *row_int(list[i], 1) = i;
        identity_set(fixture->edge, list[i]);
    }
    packet_set_route(set, &routing, NULL, fixture->edge, list, count, 1000);
}

static void each_route_of_the_kind_gets_each_fact_in_its_bucket(void **state)
{
    struct fixture *fixture = *state;
    struct packet_set set = new_set(1000, 1 << 20);
    struct acc_rows out;

    route_edges(fixture, &set, 60);
    assert_int_equal(events_of(&set, 1), 60);
    assert_int_equal(events_of(&set, 2), 60);
    assert_int_equal(events_of(&set, 9), 0);
    assert_int_equal(set.count, 8);
    rows_init(&out, fixture->edge, 1000);
    for (size_t p = 0; p < set.count; p++) {
        bool ids_only = true;
        uint32_t before = out.count;
        assert_true(packet_decode(&set.packets[p], fixture->edge, &out, &fixture->heap, &ids_only,
                                  &fixture->err));
        assert_false(ids_only);
        assert_int_equal(out.count - before, set.packets[p].count);
        for (uint32_t i = before; i < out.count; i++)
            assert_int_equal(bucket_of(rows_at(&out, i)->id, 4), set.packets[p].bucket);
    }
    rows_clear(&out);
    packet_set_clear(&set);
}

static void packets_end_at_their_bounds(void **state)
{
    struct fixture *fixture = *state;
    struct packet_set few = new_set(7, 1 << 20);
    struct packet_set small = new_set(1000, 200);

    route_edges(fixture, &few, 60);
    for (size_t i = 0; i < few.count; i++)
        assert_true(few.packets[i].count <= 7);
    assert_int_equal(events_of(&few, 1), 60);
    route_edges(fixture, &small, 60);
    assert_true(small.count > 8);
    assert_int_equal(events_of(&small, 2), 60);
    packet_set_clear(&few);
    packet_set_clear(&small);
}

static void a_cut_packet_is_refused_at_every_byte(void **state)
{
    struct fixture *fixture = *state;
    struct packet_set set = new_set(1000, 1 << 20);
    struct acc_rows out;

    route_edges(fixture, &set, 20);
    rows_init(&out, fixture->edge, 1000);
    for (size_t size = 0; size < set.packets[0].size; size++) {
        struct packet cut = set.packets[0];
        bool ids_only;

        cut.size = size;
        cut.payload = malloc(size == 0 ? 1 : size);
        memcpy(cut.payload, set.packets[0].payload, size);
        out.count = 0;
        assert_false(
            packet_decode(&cut, fixture->edge, &out, &fixture->heap, &ids_only, &fixture->err));
        assert_int_equal(fixture->err.code, ACC_EINPUT);
        free(cut.payload);
    }
    rows_clear(&out);
    packet_set_clear(&set);
}

static void a_packet_of_another_kind_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct packet_set set = new_set(1000, 1 << 20);
    bool ids_only;

    route_edges(fixture, &set, 5);
    assert_false(packet_decode(&set.packets[0], fixture->book, &fixture->rows[fixture->book->index],
                               &fixture->heap, &ids_only, &fixture->err));
    assert_int_equal(fixture->err.code, ACC_EINPUT);
    packet_set_clear(&set);
}

/* A pool */

static void put(struct pool *pool, int16_t lifecycle, int16_t priority, int64_t born_us, int64_t id)
{
    struct packet *packet = calloc(1, sizeof(*packet));

    *packet = (struct packet){.lifecycle = lifecycle,
                              .priority = priority,
                              .born_us = born_us,
                              .id = id,
                              .count = 10,
                              .size = 1,
                              .bucket = (int16_t)(id % 4),
                              .payload = calloc(1, 1)};
    pool_add(pool, packet);
}

static struct lifecycle low = {.name = "low", .id = 1, .priority = -1};
static struct lifecycle high = {.name = "high", .id = 2, .priority = 1};
static struct lifecycle *lifecycles[] = {&high, &low};
static struct program program = {.lifecycles = lifecycles, .lifecycle_count = 2};
static bool blocked[32768];

static void the_pool_orders_by_lifecycle_then_packet_then_age(void **state)
{
    struct pool pool = {0};
    struct packet *taken[8];

    (void)state;
    put(&pool, 1, 9, 1, 1);
    put(&pool, 2, 0, 5, 2);
    put(&pool, 2, 3, 9, 3);
    put(&pool, 2, 0, 4, 4);
    put(&pool, 7, 9, 0, 5); /* not loaded: never the best */
    assert_int_equal(pool_best(&pool, &program, blocked, 0)->id, 3);
    assert_int_equal(pool_take(&pool, 2, 25, 0, taken, 8), 3);
    assert_int_equal(taken[0]->id, 3);
    assert_int_equal(taken[1]->id, 4);
    assert_int_equal(taken[2]->id, 2);
    assert_int_equal(pool_best(&pool, &program, blocked, 0)->id, 1);
    blocked[1] = true;
    assert_null(pool_best(&pool, &program, blocked, 0));
    blocked[1] = false;
    for (int i = 0; i < 3; i++)
        packet_free(taken[i]);
    pool_clear(&pool);
}

static void the_pool_gives_no_more_than_wanted(void **state)
{
    struct pool pool = {0};
    struct packet *taken[8];

    (void)state;
    for (int64_t id = 1; id <= 6; id++)
        put(&pool, 1, 0, id, id);
    assert_int_equal(pool_take(&pool, 1, 15, 0, taken, 8), 2);
    assert_int_equal(pool.count, 4);
    assert_int_equal(pool.bytes, 4);
    assert_false(pool_has(&pool, taken[0]->id));
    for (int i = 0; i < 2; i++)
        packet_free(taken[i]);
    pool_drop(&pool, 3);
    assert_false(pool_has(&pool, 3));
    assert_int_equal(pool.count, 3);
    pool_clear(&pool);
}

static void a_seed_draws_another_order_that_stays(void **state)
{
    struct pool pool = {0};
    int64_t first[20];
    int moved = 0;

    (void)state;
    for (int64_t id = 0; id < 20; id++)
        put(&pool, (int16_t)(1 + id % 2), 0, id, id + 1);
    for (int64_t seed = 1; seed <= 20; seed++)
        first[seed - 1] = pool_best(&pool, &program, blocked, seed)->id;
    for (int64_t seed = 1; seed <= 20; seed++) {
        assert_int_equal(pool_best(&pool, &program, blocked, seed)->id, first[seed - 1]);
        moved += first[seed - 1] != first[0];
    }
    assert_true(moved > 5);
    pool_clear(&pool);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_ranges_of_slots),
        cmocka_unit_test_setup_teardown(each_route_of_the_kind_gets_each_fact_in_its_bucket,
                                        fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(packets_end_at_their_bounds, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_cut_packet_is_refused_at_every_byte, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_packet_of_another_kind_is_refused, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test(the_pool_orders_by_lifecycle_then_packet_then_age),
        cmocka_unit_test(the_pool_gives_no_more_than_wanted),
        cmocka_unit_test(a_seed_draws_another_order_that_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
