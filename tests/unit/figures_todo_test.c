/* To do until the fixpoint: what waits and what it raises. */
#include "check.h"

#include "figures_todo.h"

#include <math.h>

static void close_to(double got, double wanted)
{
    if (!(fabs(got - wanted) <= 1e-3 * fabs(wanted) + 1e-9))
        print_error("wanted %g, got %g\n", wanted, got);
    assert_true(fabs(got - wanted) <= 1e-3 * fabs(wanted) + 1e-9);
}

static void an_empty_queue_is_done(void **state)
{
    const double queued[] = {0, 0};
    const double raises[] = {3, 0, 0, 3}; /* however much events would raise */
    const double throttles[] = {0, 0};
    double work[2];
    struct todo todo;

    (void)state;
    todo_estimate(&(struct todo_input){2, queued, raises, 0, throttles}, work, &todo);
    assert_true(todo.settles);
    assert_true(todo.events == 0 && todo.eta_s == 0);
}

static void a_chain_brings_its_work_along(void **state)
{
    const double queued[] = {100, 10, 0};
    const double raises[] = {0, 0, 0, 2, 0,
                             0, 0, 3, 0}; /* 0 raises two of 1, 1 raises three of 2 */
    const double throttles[] = {0, 0, 0};
    double work[3];
    struct todo todo;

    (void)state;
    todo_estimate(&(struct todo_input){3, queued, raises, 10, throttles}, work, &todo);
    assert_true(todo.settles);
    close_to(work[0], 100);
    close_to(work[1], 210);
    close_to(work[2], 630);
    close_to(todo.events, 940);
    close_to(todo.eta_s, 94);
    assert_true(todo.growth < 0.05); /* 0, which power iteration nears slowly */
}

static void a_shrinking_cycle_converges(void **state)
{
    const double queued[] = {100};
    const double raises[] = {0.75};
    const double throttles[] = {0};
    double work[1];
    struct todo todo;

    (void)state;
    todo_estimate(&(struct todo_input){1, queued, raises, 40, throttles}, work, &todo);
    assert_true(todo.settles);
    close_to(todo.growth, 0.75);
    assert_true(fabs(todo.events - 400) < 3);
    assert_true(fabs(todo.eta_s - 10) < 0.1);
}

static void a_growing_cycle_does_not_and_is_named(void **state)
{
    /* 0 -> 1 -> 2 -> 1: the cycle 1 2 gains 1.5; 0 -> 0 gains 0.5. */
    const double queued[] = {5, 5, 5};
    const double raises[] = {0.5, 0, 0, 1, 0, 0.5, 0, 3, 0};
    const double throttles[] = {0, 0, 0};
    double work[3];
    struct todo todo;

    (void)state;
    todo_estimate(&(struct todo_input){3, queued, raises, 10, throttles}, work, &todo);
    assert_false(todo.settles);
    assert_true(isnan(todo.events) && isnan(todo.eta_s));
    close_to(todo.growth, sqrt(1.5));
    assert_int_equal(todo.cycle_count, 2);
    assert_int_equal(todo.cycle[0], 1);
    assert_int_equal(todo.cycle[1], 2);
    close_to(todo.gain, 1.5);
}

static void a_cycle_that_neither_grows_nor_shrinks_does_not_settle(void **state)
{
    const double queued[] = {1, 0};
    const double raises[] = {0, 1, 1, 0}; /* turns for ever: plain power iteration would too */
    const double throttles[] = {0, 0};
    double work[2];
    struct todo todo;

    (void)state;
    todo_estimate(&(struct todo_input){2, queued, raises, 10, throttles}, work, &todo);
    assert_false(todo.settles);
    close_to(todo.growth, 1);
}

static void slow_convergence_beyond_the_iterations_is_none(void **state)
{
    const double queued[] = {1000000};
    const double raises[] = {0.999};
    const double throttles[] = {0};
    double work[1];
    struct todo todo;

    (void)state;
    todo_estimate(&(struct todo_input){1, queued, raises, 10, throttles}, work, &todo);
    assert_false(todo.settles);
    assert_int_equal(todo.cycle_count, 1);
}

static void a_throttle_sets_the_time(void **state)
{
    const double queued[] = {100, 50};
    const double raises[] = {0, 0, 1, 0};
    const double throttles[] = {0, 5};
    double work[2];
    struct todo todo;

    (void)state;
    todo_estimate(&(struct todo_input){2, queued, raises, 1000, throttles}, work, &todo);
    close_to(todo.events, 250);
    close_to(todo.throttled_s, 30);
    close_to(todo.eta_s, 30);
    /* Unless all the rest takes longer. */
    todo_estimate(&(struct todo_input){2, queued, raises, 5, throttles}, work, &todo);
    close_to(todo.eta_s, 50);
}

static void without_work_done_there_is_no_time(void **state)
{
    const double queued[] = {100};
    const double raises[] = {0};
    const double throttles[] = {0};
    double work[1];
    struct todo todo;

    (void)state;
    todo_estimate(&(struct todo_input){1, queued, raises, 0, throttles}, work, &todo);
    assert_true(todo.settles);
    close_to(todo.events, 100);
    assert_true(isnan(todo.eta_s));
    todo_estimate(&(struct todo_input){1, queued, raises, NAN, throttles}, work, &todo);
    assert_true(isnan(todo.eta_s));
}

static void nothing_is_no_trouble(void **state)
{
    struct todo todo;

    (void)state;
    todo_estimate(&(struct todo_input){0, NULL, NULL, 0, NULL}, NULL, &todo);
    assert_true(todo.settles && todo.events == 0);
}

struct seen {
    size_t count;
    double gains;
};

static void see(void *context, const size_t *cycle, size_t length, double gain)
{
    struct seen *seen = context;

    for (size_t i = 1; i < length; i++)
        assert_true(cycle[i] > cycle[0]); /* each begins at its lowest, so each comes once */
    seen->count++;
    seen->gains += gain;
}

static void each_cycle_is_visited_once(void **state)
{
    /* All of three are joined, gain 2 an edge, and 0 with itself: 1 loop, 3 pairs, 2 triangles. */
    const double raises[] = {2, 2, 2, 2, 0, 2, 2, 2, 0};
    struct seen seen = {0};

    (void)state;
    todo_cycles(3, raises, NULL, 100, see, &seen);
    assert_int_equal(seen.count, 6);
    close_to(seen.gains, 2 + 3 * 4 + 2 * 8);
    seen = (struct seen){0};
    todo_cycles(3, raises, NULL, 4, see, &seen);
    assert_int_equal(seen.count, 4);
}

static void a_cycle_passes_each_kind_once(void **state)
{
    /* Two lifecycles of one kind and one of another: the loop of the first, and a pair with each. */
    const double raises[] = {2, 2, 2, 2, 0, 2, 2, 2, 0};
    const uint16_t kinds[] = {7, 7, 9};
    struct seen seen = {0};

    (void)state;
    todo_cycles(3, raises, kinds, 100, see, &seen);
    assert_int_equal(seen.count, 3);
    close_to(seen.gains, 2 + 2 * 4);
}

static void a_dense_graph_ends_in_time(void **state)
{
    static double raises[64 * 64];
    static double queued[64];
    static double throttles[64];
    double work[64];
    struct todo todo;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(raises); i++)
        raises[i] = 1;
    queued[0] = 1;
    todo_estimate(&(struct todo_input){64, queued, raises, 1, throttles}, work, &todo);
    assert_false(todo.settles);
    close_to(todo.growth, 64);
    assert_true(todo.cycle_count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_queue_is_done),
        cmocka_unit_test(a_chain_brings_its_work_along),
        cmocka_unit_test(a_shrinking_cycle_converges),
        cmocka_unit_test(a_growing_cycle_does_not_and_is_named),
        cmocka_unit_test(a_cycle_that_neither_grows_nor_shrinks_does_not_settle),
        cmocka_unit_test(slow_convergence_beyond_the_iterations_is_none),
        cmocka_unit_test(a_throttle_sets_the_time),
        cmocka_unit_test(without_work_done_there_is_no_time),
        cmocka_unit_test(nothing_is_no_trouble),
        cmocka_unit_test(each_cycle_is_visited_once),
        cmocka_unit_test(a_cycle_passes_each_kind_once),
        cmocka_unit_test(a_dense_graph_ends_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
