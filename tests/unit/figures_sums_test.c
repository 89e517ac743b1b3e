/* Sums over what was read, and the state of the whole. */
#include "check.h"

#include "figures.h"

#include <math.h>
#include <stdlib.h>

#define NOW INT64_C(1000000000)

/* Two lifecycles on kind 7, one of them removed, one on kind 8; 7 makes 8. */
static int make(void **state)
{
    struct figures *figures = calloc(1, sizeof(*figures));
    struct life *lives = calloc(3, sizeof(*lives));
    struct find *finds = calloc(3, sizeof(*finds));

    figures->rates = calloc(1, sizeof(*figures->rates));
    lives[0] = (struct life){.id = 1, .kind = 7, .is_active = true};
    lives[1] = (struct life){.id = 2, .kind = 8, .is_active = true};
    lives[2] = (struct life){.id = 3, .kind = 7};
    lives[0].counts[COUNT_EARLY] = 10;
    lives[0].counts[COUNT_FOUND] = 30;
    lives[0].in_packets = 60;
    lives[0].claimed = 20;
    lives[0].oldest_born_us = 500;
    lives[1].counts[COUNT_LATE] = 5;
    lives[1].in_packets = 75;
    lives[1].oldest_born_us = 400;
    lives[2].in_packets = 9;
    lives[2].oldest_born_us = 1;
    finds[0] = (struct find){.lifecycle = 0, .tag = 7, .fresh = 100};
    finds[1] = (struct find){.lifecycle = 1, .tag = 8, .fresh = 80, .repeats = 20};
    finds[2] = (struct find){.lifecycle = 2, .tag = 7, .repeats = 3, .contradictions = 1};
    figures->reading = (struct reading){
        .lives = lives, .life_count = 3, .finds = finds, .find_count = 3, .at_us = 1000};
    figures->todo.settles = true;
    figures->rates->moved_us = NOW;
    *state = figures;
    return 0;
}

static int drop(void **state)
{
    struct figures *figures = *state;

    free(figures->reading.lives);
    free(figures->reading.finds);
    free(figures->rates);
    free(figures);
    return 0;
}

static void totals_leave_removed_lifecycles_out_of_the_queue(void **state)
{
    struct totals totals;

    figures_totals(*state, &totals);
    assert_int_equal(totals.facts, 180);
    assert_int_equal(totals.done, 45);
    assert_int_equal(totals.ready, 40 + 75);
    assert_int_equal(totals.claimed, 20);
    assert_int_equal(totals.orphaned, 9);
    assert_int_equal(totals.oldest_born_us, 400);
    assert_int_equal(totals.contradictions, 1);
}

static void finds_are_summed_by_lifecycle_and_kind(void **state)
{
    assert_int_equal(figures_new(*state, -1, -1), 180);
    assert_int_equal(figures_new(*state, 0, -1), 100);
    assert_int_equal(figures_new(*state, -1, 8), 80);
    assert_int_equal(figures_repeats(*state, -1, -1), 23);
    assert_int_equal(figures_repeats(*state, 2, 7), 3);
    assert_int_equal(figures_wakes(*state, 7), 1); /* the removed one wakes no more */
}

static void what_events_raise_is_of_late_or_else_of_ever(void **state)
{
    struct figures *figures = *state;
    double *raises = figures_raises(figures);

    assert_true(fabs(raises[1 * 3 + 0] - 80.0 / 40) < 1e-9); /* nothing recent */
    assert_true(raises[0 * 3 + 1] == 0);
    free(raises);
    int k = rates_kind(figures->rates, 8);
    figures->rates->lifecycles[1].counts[COUNT_FOUND] = 50;
    figures->rates->lifecycles[1].fresh[k] = 25;
    raises = figures_raises(figures);
    assert_true(fabs(raises[1 * 3 + 0] - 0.5) < 1e-9);
    free(raises);
}

/*
 * A second in which events of lifecycle 1 are done, each of which finds so many facts of its own kind (7); returns whether
 * what waits is expected to settle.
 */
static bool second_settles(struct figures *figures, int64_t *now_s, double done, double finds)
{
    struct rates *rates = figures->rates;
    struct decay decay = decay_of(1, (double)(*now_s + 1) - (double)rates->run_began_us / 1e6);
    const double throttles[3] = {0};
    double queued[3] = {1000};
    double work[3];
    struct todo todo;

    rates->at_us = ++*now_s * 1000000;
    rates_step(rates, &decay);
    rates_add_count(rates, 1, COUNT_FOUND, done, &decay);
    rates_add_finds(rates, 1, rates_kind(rates, 7), done * finds, 0, &decay);
    double *raises = figures_raises(figures);
    struct todo_input input = {3, queued, raises, run_done_per_s(figures), throttles};
    todo_estimate(&input, work, &todo);
    free(raises);
    return todo.settles;
}

static void a_short_run_settles_soon_after_it_has_turned(void **state)
{
    struct figures *figures = *state;
    int64_t now_s = 0;
    int later_s = 0;

    /* Twelve seconds it grows, then less and less is found. */
    for (int s = 0; s < 12; s++)
        assert_false(second_settles(figures, &now_s, 10000, 2.5));
    while (!second_settles(figures, &now_s, 10000, 0.5))
        assert_in_range(++later_s, 1, 8);
    assert_true(run_branching(figures) < 1);
    assert_true(recent_raised(figures) / recent_done(figures, -1) >
                1); /* five minutes hold the growth */
}

static void a_long_run_is_judged_by_five_minutes(void **state)
{
    struct figures *figures = *state;
    int64_t now_s = 0;

    for (int s = 0; s < 7200; s++)
        assert_false(second_settles(figures, &now_s, 100, 2.5));
    for (int s = 0; s < 300; s++)
        assert_false(second_settles(figures, &now_s, 100, 0.5));
    double *raises = figures_raises(figures);
    assert_true(fabs(raises[0] - (2.5 * exp(-1) + 0.5 * (1 - exp(-1)))) < 1e-3);
    assert_true(fabs(run_branching(figures) - raises[0]) < 1e-3);
    free(raises);
}

static void a_run_begins_where_the_queue_is_empty(void **state)
{
    struct figures *figures = *state;
    int64_t now_s = 0;

    for (int s = 0; s < 600; s++)
        second_settles(figures, &now_s, 100, 2.5);
    rates_begin_run(figures->rates, 60000);
    assert_int_equal(figures->rates->run_began_done, 60000);
    assert_true(fabs(run_done_per_s(figures) - 100) <
                1e-6); /* of five minutes, until the run says something */
    assert_true(second_settles(figures, &now_s, 1000, 0.5));
    assert_true(fabs(run_done_per_s(figures) - 1000) < 1e-6);
}

static enum figures_state state_now(struct figures *figures, int64_t now_us)
{
    struct totals totals;

    figures_totals(figures, &totals);
    return figures_state_of(figures, &totals, now_us);
}

static void empty_the_queue(struct figures *figures)
{
    for (size_t i = 0; i < figures->reading.life_count; i++)
        figures->reading.lives[i].in_packets = figures->reading.lives[i].claimed = 0;
}

static void the_first_state_that_holds_is_told(void **state)
{
    struct figures *figures = *state;

    assert_int_equal(state_now(figures, NOW + 1000), STATE_CONVERGING);
    figures->todo.settles = false;
    assert_int_equal(state_now(figures, NOW + 1000), STATE_NOT_CONVERGING);
    assert_int_equal(state_now(figures, NOW + 59000000), STATE_NOT_CONVERGING);
    assert_int_equal(state_now(figures, NOW + 61000000), STATE_STALLED);
    figures->control.is_paused = true;
    assert_int_equal(state_now(figures, NOW + 61000000), STATE_PAUSED);
}

static void the_fixpoint_has_exceptions_or_none(void **state)
{
    struct figures *figures = *state;

    empty_the_queue(figures);
    assert_int_equal(state_now(figures, NOW + 90000000), STATE_FIXPOINT); /* which is no stall */
    figures->reading.lives[0].discarded = 1;
    assert_int_equal(state_now(figures, NOW), STATE_FIXPOINT_EXCEPT);
    figures->reading.lives[0].delayed = 1; /* it is tried again: not there yet */
    assert_int_equal(state_now(figures, NOW), STATE_CONVERGING);
    figures->reading.lives[0].delayed = figures->reading.lives[0].discarded = 0;
    figures->reading.lives[0].unread = 5;
    assert_int_equal(state_now(figures, NOW), STATE_CONVERGING);
    figures->reading.lives[0].unread = 0;
    figures->reading.find_count = 0;
    assert_int_equal(state_now(figures, NOW), STATE_EMPTY);
}

static void numbers_have_four_digits(void **state)
{
    const struct {
        double value;
        const char *text;
    } cases[] = {{1234567, "1234567"},
                 {12345.678, "12346"},
                 {1.23456, "1.235"},
                 {0.00123456, "0.001235"},
                 {0, "0"},
                 {-0.5, "-0.5"},
                 {1e-9, "0"},
                 {NAN, "null"},
                 {INFINITY, "null"},
                 {999.96, "1000"}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *number = figures_number(cases[i].value);
        char *text = json_dumps(number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
        assert_string_equal(text, cases[i].text);
        free(text);
        json_decref(number);
    }
    json_t *time = figures_time(INT64_C(1795402787635235));
    assert_string_equal(json_string_value(time), "2026-11-23T02:59:47.635Z");
    json_decref(time);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(totals_leave_removed_lifecycles_out_of_the_queue, make,
                                        drop),
        cmocka_unit_test_setup_teardown(finds_are_summed_by_lifecycle_and_kind, make, drop),
        cmocka_unit_test_setup_teardown(what_events_raise_is_of_late_or_else_of_ever, make, drop),
        cmocka_unit_test_setup_teardown(a_short_run_settles_soon_after_it_has_turned, make, drop),
        cmocka_unit_test_setup_teardown(a_long_run_is_judged_by_five_minutes, make, drop),
        cmocka_unit_test_setup_teardown(a_run_begins_where_the_queue_is_empty, make, drop),
        cmocka_unit_test_setup_teardown(the_first_state_that_holds_is_told, make, drop),
        cmocka_unit_test_setup_teardown(the_fixpoint_has_exceptions_or_none, make, drop),
        cmocka_unit_test(numbers_have_four_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
