/* Means that forget, percentiles, and what batch rows tell. */
#include "check.h"

#include "figures_rates.h"

#include <math.h>
#include <stdlib.h>

static void close_to(double got, double wanted, double within)
{
    if (!(fabs(got - wanted) <= within * fabs(wanted)))
        print_error("wanted %g, got %g\n", wanted, got);
    assert_true(fabs(got - wanted) <= within * fabs(wanted));
}

/* Steps of one second in which events are done. */
static void run(struct rates *rates, int seconds, double events)
{
    struct decay decay = decay_of(1, INFINITY);

    for (int s = 0; s < seconds; s++) {
        rates_step(rates, &decay);
        rates->lifecycles[1].counts[COUNT_FOUND] += events * decay.add;
    }
}

static double found_per_s(const struct rates *rates)
{
    return rates_per_s(rates, rates->lifecycles[1].counts[COUNT_FOUND]);
}

static void a_young_run_shows_its_own_rate(void **state)
{
    struct rates *rates = calloc(1, sizeof(*rates));

    (void)state;
    assert_true(isnan(found_per_s(rates)));
    run(rates, 1, 500);
    close_to(found_per_s(rates), 500, 1e-9);
    run(rates, 9, 500);
    close_to(found_per_s(rates), 500, 1e-9);
    run(rates, 10000, 500);
    close_to(found_per_s(rates), 500, 1e-9);
    free(rates);
}

static void a_rate_forgets_in_five_minutes(void **state)
{
    struct rates *rates = calloc(1, sizeof(*rates));

    (void)state;
    run(rates, 5000, 100);
    run(rates, 300, 0);
    close_to(found_per_s(rates), 100 * exp(-1), 1e-3);
    run(rates, 300, 200);
    close_to(found_per_s(rates), 100 * exp(-2) + 200 * (1 - exp(-1)), 1e-3);
    free(rates);
}

static void the_length_of_steps_does_not_matter(void **state)
{
    struct rates *often = calloc(1, sizeof(*often));
    struct rates *rarely = calloc(1, sizeof(*rarely));
    struct decay decay = decay_of(60, INFINITY);

    (void)state;
    run(often, 60, 10);
    run(often, 60, 40);
    for (int s = 0; s < 2; s++) {
        rates_step(rarely, &decay);
        rarely->lifecycles[1].counts[COUNT_FOUND] += (s == 0 ? 600 : 2400) * decay.add;
    }
    close_to(found_per_s(rarely), found_per_s(often), 1e-6);
    free(often);
    free(rarely);
}

static void quantiles_are_near_the_truth(void **state)
{
    struct histogram histogram = {0};

    (void)state;
    assert_true(isnan(histogram_quantile(&histogram, 0.5, 20)));
    for (int n = 1; n <= 10; n++)
        histogram_add(&histogram, n, 1);
    assert_true(isnan(histogram_quantile(&histogram, 0.5, 20))); /* fewer than 20 */
    for (int n = 11; n <= 100000; n++)
        histogram_add(&histogram, n, 1);
    close_to(histogram_quantile(&histogram, 0.5, 20), 50000, 0.02);
    close_to(histogram_quantile(&histogram, 0.95, 20), 95000, 0.09);
    close_to(histogram_quantile(&histogram, 0.99, 20), 99000, 0.09);
    close_to(histogram_quantile(&histogram, 0.01, 20), 1000, 0.09);
}

static void weights_count_and_extremes_stay_in(void **state)
{
    struct histogram histogram = {0};

    (void)state;
    histogram_add(&histogram, 100, 1);
    histogram_add(&histogram, 10000, 99);
    close_to(histogram_quantile(&histogram, 0.5, 20), 10000, 0.13);
    histogram_add(&histogram, 0, 1);
    histogram_add(&histogram, -5, 1);
    histogram_add(&histogram, NAN, 1);
    histogram_add(&histogram, 1e18, 1);
    assert_true(histogram_quantile(&histogram, 0, 1) >= 0);
    assert_true(histogram_quantile(&histogram, 1, 1) > 1e9);
    close_to(histogram.total, 104, 1e-9);
}

static void a_histogram_forgets_too(void **state)
{
    struct histogram histogram = {0};

    (void)state;
    for (int n = 0; n < 1000; n++)
        histogram_add(&histogram, 100, 1);
    histogram_decay(&histogram, decay_of(900, INFINITY).keep);
    for (int n = 0; n < 1000; n++)
        histogram_add(&histogram, 5000, 1);
    close_to(histogram_quantile(&histogram, 0.5, 20), 5000, 0.09);
    for (int n = 0; n < 100; n++)
        histogram_decay(&histogram, decay_of(300, INFINITY).keep);
    assert_true(histogram.total == 0);
}

static void percentiles_lie_between_samples(void **state)
{
    double values[] = {5, 1, 4, 2, 3};

    (void)state;
    assert_true(isnan(rates_percentile(values, 0, 0.5)));
    close_to(rates_percentile(values, 1, 0.9), 5, 1e-9);
    close_to(rates_percentile(values, 5, 0.5), 3, 1e-9);
    close_to(rates_percentile(values, 5, 0.1), 1.4, 1e-9);
    close_to(rates_percentile(values, 5, 0.9), 4.6, 1e-9);
}

static void a_share_of_nothing_is_none(void **state)
{
    (void)state;
    assert_true(isnan(rates_share(0, 0, 0)));
    assert_true(isnan(rates_share(1, 5, 20)));
    close_to(rates_share(1, 4, 0), 0.25, 1e-9);
}

static void kinds_keep_their_places(void **state)
{
    struct rates *rates = calloc(1, sizeof(*rates));

    (void)state;
    for (int n = 0; n < RATES_KINDS; n++)
        assert_int_equal(rates_kind(rates, (uint16_t)(1000 + n)), n);
    assert_int_equal(rates_kind(rates, 1005), 5);
    assert_int_equal(rates_kind(rates, 7), -1);
    free(rates);
}

/* Rows of batch: 10 events in 900 us before the write; the next row tells that its write took 100 us. */
static void the_next_row_tells_how_long_the_write_took(void **state)
{
    struct rates *rates = calloc(1, sizeof(*rates));
    struct rates_epoch *epoch = &rates->epochs[0];
    struct decay decay = decay_of(1, INFINITY);
    struct rates_row row = {.id = 1,
                            .lifecycle = 1,
                            .events = 10,
                            .waited_us = 5000,
                            .last_write_us = 77777,
                            .phases_us = {100, 300, 400, 100}};

    (void)state;
    epoch->id = 1;
    rates_step(rates, &decay);
    rates_batch(rates, epoch, &row, &decay);
    assert_true(rates->lifecycles[1].latency.total == 0); /* not known yet */
    row.id = 2;
    row.last_write_us = 100;
    for (int n = 0; n < 3; n++)
        rates_batch(rates, epoch, &row, &decay);
    assert_int_equal(epoch->cursor, 2);
    close_to(rates->lifecycles[1].latency.total / decay.add, 30, 1e-9);
    close_to(histogram_quantile(&rates->lifecycles[1].latency, 0.5, 20), 100, 0.13);
    close_to(rates->lifecycles[1].phases_us[4] / decay.add, 300, 1e-9);
    close_to(rates->lifecycles[1].phases_us[1] / rates->lifecycles[1].events, 30, 1e-9);
    close_to(histogram_quantile(&rates->lifecycles[1].wait, 0.5, 20), 5000, 0.13);
    /* The last one waits for two calls, and then takes the mean of others. */
    for (int n = 0; n < 3; n++)
        rates_settle(rates, &decay);
    assert_false(epoch->is_pending);
    close_to(rates->lifecycles[1].latency.total / decay.add, 40, 1e-9);
    free(rates);
}

/* An event that finds more than one transaction takes writes rows without events. */
static void parts_of_an_event_add_up(void **state)
{
    struct rates *rates = calloc(1, sizeof(*rates));
    struct rates_epoch *epoch = &rates->epochs[0];
    struct decay decay = decay_of(1, INFINITY);
    struct rates_row part = {.id = 1, .lifecycle = 2, .last_write_us = 0};
    struct rates_row whole = {
        .id = 3, .lifecycle = 2, .events = 1, .last_write_us = 4000, .phases_us = {0, 0, 2000, 0}};
    struct rates_row next = {.id = 4, .lifecycle = 2, .events = 1, .last_write_us = 1000};

    (void)state;
    epoch->id = 1;
    rates_batch(rates, epoch, &part, &decay);
    part.id = 2;
    part.last_write_us = 3000;
    rates_batch(rates, epoch, &part, &decay);
    rates_batch(rates, epoch, &whole, &decay);
    rates_batch(rates, epoch, &next, &decay);
    close_to(histogram_quantile(&rates->lifecycles[2].latency, 0.5, 0.5), 10000, 0.13);
    free(rates);
}

static void friends_have_their_places(void **state)
{
    const struct {
        uint64_t friends;
        int place;
    } cases[] = {{0, 0}, {1, 1}, {2, 2},    {3, 3},    {4, 3},       {5, 4},
                 {8, 4}, {9, 5}, {512, 10}, {513, 11}, {1000000, 11}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(tally_friends_place(cases[i].friends), cases[i].place);
    assert_int_equal(tally_friends_most(0), 0);
    assert_int_equal(tally_friends_most(2), 2);
    assert_int_equal(tally_friends_most(10), 512);
    assert_int_equal(tally_friends_most(11), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_young_run_shows_its_own_rate),
        cmocka_unit_test(a_rate_forgets_in_five_minutes),
        cmocka_unit_test(the_length_of_steps_does_not_matter),
        cmocka_unit_test(quantiles_are_near_the_truth),
        cmocka_unit_test(weights_count_and_extremes_stay_in),
        cmocka_unit_test(a_histogram_forgets_too),
        cmocka_unit_test(percentiles_lie_between_samples),
        cmocka_unit_test(a_share_of_nothing_is_none),
        cmocka_unit_test(kinds_keep_their_places),
        cmocka_unit_test(the_next_row_tells_how_long_the_write_took),
        cmocka_unit_test(parts_of_an_event_add_up),
        cmocka_unit_test(friends_have_their_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
