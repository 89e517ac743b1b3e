/* Sums over a reading and the rates, as several documents show them. */
#include "figures.h"

#include <math.h>
#include <stdlib.h>

#define STALLED_US 60000000

int64_t figures_new(const struct figures *figures, int lifecycle, int tag)
{
    int64_t sum = 0;

    for (size_t f = 0; f < figures->reading.find_count; f++) {
        const struct find *find = &figures->reading.finds[f];
        if ((lifecycle < 0 || find->lifecycle == lifecycle) && (tag < 0 || find->tag == tag))
            sum += find->fresh;
    }
    return sum;
}

int64_t figures_repeats(const struct figures *figures, int lifecycle, int tag)
{
    int64_t sum = 0;

    for (size_t f = 0; f < figures->reading.find_count; f++) {
        const struct find *find = &figures->reading.finds[f];
        if ((lifecycle < 0 || find->lifecycle == lifecycle) && (tag < 0 || find->tag == tag))
            sum += find->repeats;
    }
    return sum;
}

static double recent_sum(const struct figures *figures, int lifecycle, int tag, bool is_repeats)
{
    const struct rates *rates = figures->rates;
    double sum = 0;

    for (int l = lifecycle < 0 ? 0 : lifecycle; l < RATES_LIFECYCLES; l++) {
        const double *kinds =
            is_repeats ? rates->lifecycles[l].repeats : rates->lifecycles[l].fresh;
        for (uint32_t k = 0; k < rates->tag_count; k++)
            sum += tag < 0 || rates->tags[k] == tag ? kinds[k] : 0;
        if (lifecycle >= 0)
            break;
    }
    return sum;
}

double recent_new(const struct figures *figures, int lifecycle, int tag)
{
    return recent_sum(figures, lifecycle, tag, false);
}

double recent_repeats(const struct figures *figures, int lifecycle, int tag)
{
    return recent_sum(figures, lifecycle, tag, true);
}

double recent_count(const struct figures *figures, int lifecycle, enum count count)
{
    const struct rates *rates = figures->rates;
    double sum = 0;

    if (lifecycle >= 0)
        return lifecycle < RATES_LIFECYCLES ? rates->lifecycles[lifecycle].counts[count] : 0;
    for (int l = 0; l < RATES_LIFECYCLES; l++)
        sum += rates->lifecycles[l].counts[count];
    return sum;
}

double recent_done(const struct figures *figures, int lifecycle)
{
    return recent_count(figures, lifecycle, COUNT_EARLY) +
           recent_count(figures, lifecycle, COUNT_LATE) +
           recent_count(figures, lifecycle, COUNT_EMPTY) +
           recent_count(figures, lifecycle, COUNT_FOUND);
}

int figures_wakes(const struct figures *figures, uint16_t tag)
{
    int wakes = 0;

    for (size_t i = 0; i < figures->reading.life_count; i++)
        wakes += figures->reading.lives[i].is_active && figures->reading.lives[i].kind == tag;
    return wakes;
}

double recent_raised(const struct figures *figures)
{
    const struct rates *rates = figures->rates;
    double sum = 0;

    for (uint32_t k = 0; k < rates->tag_count; k++)
        sum += recent_new(figures, -1, rates->tags[k]) * figures_wakes(figures, rates->tags[k]);
    return sum;
}

/* Whether the sums of the run say anything yet. */
static bool run_done(const struct rates *rates, double *done)
{
    *done = 0;
    for (int l = 0; l < RATES_LIFECYCLES; l++)
        *done += rates->lifecycles[l].run_done;
    return *done >= 1 && rates->run_weight > 0;
}

double run_done_per_s(const struct figures *figures)
{
    double done;

    if (run_done(figures->rates, &done))
        return done / figures->rates->run_weight;
    return rates_per_s(figures->rates, recent_done(figures, -1));
}

double run_branching(const struct figures *figures)
{
    const struct rates *rates = figures->rates;
    double raised = 0;
    double done;

    if (!run_done(rates, &done))
        return recent_raised(figures) / recent_done(figures, -1);
    for (uint32_t k = 0; k < rates->tag_count; k++) {
        int wakes = figures_wakes(figures, rates->tags[k]);
        for (int l = 0; l < RATES_LIFECYCLES && wakes > 0; l++)
            raised += rates->lifecycles[l].run_fresh[k] * wakes;
    }
    return raised / done;
}

/* Events that one event of a lifecycle has made of the kind; what is young counts before what is old. */
static double raised_by(const struct figures *figures, const struct life *life, uint16_t tag)
{
    const struct rates *rates = figures->rates;
    bool is_followed = life->id > 0 && life->id < RATES_LIFECYCLES;
    double done = recent_done(figures, life->id);

    if (is_followed && rates->lifecycles[life->id].run_done >= 1) {
        const struct rates_lifecycle *one = &rates->lifecycles[life->id];
        for (uint32_t k = 0; k < rates->tag_count; k++) {
            if (rates->tags[k] == tag)
                return one->run_fresh[k] / one->run_done;
        }
        return 0;
    }
    if (done >= 1)
        return recent_new(figures, life->id, tag) / done;
    done =
        (double)life_done(life); /* nothing lately: what it has done ever since is the best guess */
    return done > 0 ? (double)figures_new(figures, life->id, tag) / done : 0;
}

double *figures_raises(const struct figures *figures)
{
    const struct reading *reading = &figures->reading;
    size_t count = reading->life_count;
    double *raises = acc_zalloc(count * count * sizeof(double) + 1);

    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            if (reading->lives[j].is_active)
                raises[j * count + i] =
                    raised_by(figures, &reading->lives[i], reading->lives[j].kind);
        }
    }
    return raises;
}

void figures_totals(const struct figures *figures, struct totals *totals)
{
    *totals = (struct totals){0};
    for (size_t f = 0; f < figures->reading.find_count; f++) {
        totals->facts += figures->reading.finds[f].fresh;
        totals->contradictions += figures->reading.finds[f].contradictions;
    }
    for (size_t i = 0; i < figures->reading.life_count; i++) {
        const struct life *life = &figures->reading.lives[i];

        totals->done += life_done(life);
        totals->failed += life->counts[COUNT_FAILED];
        if (!life->is_active) {
            totals->orphaned += life->in_packets;
            continue;
        }
        totals->ready += life_ready(life);
        totals->claimed += life->claimed;
        totals->delayed += life->delayed;
        totals->dead += life->dead;
        totals->discarded += life->discarded;
        totals->unread += life->unread;
        if (life->oldest_born_us > 0 &&
            (totals->oldest_born_us == 0 || life->oldest_born_us < totals->oldest_born_us))
            totals->oldest_born_us = life->oldest_born_us;
    }
}

enum figures_state figures_state_of(const struct figures *figures, const struct totals *totals,
                                    int64_t now_us)
{
    int64_t in_hand = totals->ready + totals->claimed;

    if (figures->control.is_paused)
        return STATE_PAUSED;
    if (in_hand > 0 && now_us - figures->rates->moved_us > STALLED_US)
        return STATE_STALLED;
    if (in_hand + totals->delayed + totals->unread > 0 || figures->reading.has_replays)
        return figures->todo.settles ? STATE_CONVERGING : STATE_NOT_CONVERGING;
    if (totals->dead + totals->discarded > 0)
        return STATE_FIXPOINT_EXCEPT;
    return totals->facts > 0 ? STATE_FIXPOINT : STATE_EMPTY;
}

bool figures_is_old(const struct figures *figures, const struct page_slot *slot)
{
    return slot->generation != figures->page->generation ||
           slot->generation < figures->reading.generation; /* another host is ahead */
}

void figures_workers(const struct figures *figures, struct worker_counts *counts)
{
    const struct page *page = figures->page;

    *counts = (struct worker_counts){.want = page->worker_count};
    for (size_t s = 0; s < PAGE_SLOTS; s++) {
        const struct page_slot *slot = &page->slots[s];
        if (slot->pid == 0 || slot->is_quarantine != 0)
            continue;
        counts->alive++;
        counts->old += figures_is_old(figures, slot);
    }
}
