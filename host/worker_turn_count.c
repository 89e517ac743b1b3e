/* What a batch was like: its tally, the slot's live counters, a sample, the pace of the next one. */
#include "base/clock.h"
#include "script/script.h"
#include "worker_turn.h"

#include <stdlib.h>
#include <string.h>

/* Friends that each event got: look-ups stand by event, several of one event apart. */
static void count_friends(struct turn *turn)
{
    static uint32_t got[BATCH_EVENTS_MAX];
    struct batch *batch = turn->worker->batch;
    struct tally *tally = &turn->tally;

    if (turn->lifecycle->friend_count == 0)
        return;
    memset(got, 0, turn->done * sizeof(got[0]));
    for (uint32_t h = 0; h < batch->hot.handle_count; h++) {
        const struct acc_handle *handle = &batch->handles[h];
        if (handle->event < turn->done && handle->loaded != 0)
            got[handle->event] += handle->e - handle->b;
    }
    for (uint32_t i = 0; i < turn->done; i++) {
        bool is_late = batch->outcomes[i] == OUTCOME_LATE;
        if (!is_late && batch->outcomes[i] != OUTCOME_EMPTY && batch->outcomes[i] != OUTCOME_FOUND)
            continue;
        tally->given += got[i];
        tally->by_friends[tally_friends_place(got[i])]++;
        tally->late_by_friends[tally_friends_place(got[i])] += is_late;
    }
}

void turn_count_outcomes(struct turn *turn)
{
    struct batch *batch = turn->worker->batch;
    struct tally *tally = &turn->tally;

    *tally = (struct tally){.lifecycle = turn->lifecycle->id,
                            .at_us = clock_wall_us(),
                            .friends = batch->friend_rows,
                            .retries = turn->conflicts,
                            .waited_ms = turn->waited_ms,
                            .last_write_us = turn->worker->last_write_us};
    if (!turn->is_first_delivery)
        count_friends(turn);
    for (uint32_t i = 0; i < turn->done && !turn->is_first_delivery; i++) {
        tally->events++;
        tally->early += batch->outcomes[i] == OUTCOME_EARLY;
        tally->late += batch->outcomes[i] == OUTCOME_LATE;
        tally->empty += batch->outcomes[i] == OUTCOME_EMPTY;
        tally->found += batch->outcomes[i] == OUTCOME_FOUND;
        tally->failed += batch->outcomes[i] == OUTCOME_FAILED;
    }
    tally->events -= tally->failed; /* a failed event is not finished */
    tally->phases_us[0] = (int32_t)turn->load_us;
    tally->phases_us[1] = (int32_t)(turn->gathered_us - turn->started_us);
    tally->phases_us[2] = (int32_t)(turn->processed_us - turn->gathered_us);
    tally->phases_us[3] = (int32_t)(clock_us() - turn->processed_us);
}

void turn_count_kinds(struct turn *turn)
{
    struct batch *batch = turn->worker->batch;

    for (size_t i = 0; i < batch->program->catalog.count; i++) {
        if (batch->found_counts[i].fresh + batch->found_counts[i].repeats +
                batch->found_counts[i].contradictions ==
            0)
            continue;
        size_t k = turn->tally.kind_count++;
        turn->tally.kinds[k].tag = batch->program->catalog.kinds[i]->tag;
        turn->tally.kinds[k].fresh = batch->found_counts[i].fresh;
        turn->tally.kinds[k].repeats = batch->found_counts[i].repeats;
        turn->tally.kinds[k].contradictions = batch->found_counts[i].contradictions;
    }
}

void turn_count_live(struct turn *turn)
{
    struct page_slot *slot = turn->worker->slot;

    slot->batches++;
    slot->conflicts += (uint64_t)turn->conflicts;
    slot->events += (uint64_t)turn->tally.events;
    slot->failed += (uint64_t)turn->tally.failed;
    slot->friend_rows += (uint64_t)turn->worker->batch->friend_rows;
    slot->round_trips = turn->worker->pg.round_trips;
    slot->seen_bytes = seen_bytes(turn->worker->seen);
    slot->lua_bytes = script_bytes(turn->worker->script);
    for (size_t k = 0; k < turn->tally.kind_count; k++) {
        slot->found += (uint64_t)(turn->tally.kinds[k].fresh + turn->tally.kinds[k].repeats);
        slot->new_facts += (uint64_t)turn->tally.kinds[k].fresh;
        slot->repeats += (uint64_t)turn->tally.kinds[k].repeats;
    }
}

void turn_leave_sample(struct turn *turn)
{
    struct page_slot *slot = turn->worker->slot;
    struct batch *batch = turn->worker->batch;
    uint32_t last = (slot->next_sample + PAGE_SAMPLES - 1) % PAGE_SAMPLES;
    size_t kinds = turn->worker->program.catalog.count;
    size_t first = kinds > 0 ? (size_t)random() % kinds : 0;

    if (turn->tally.at_us - slot->samples[last].at_us < 500000)
        return;
    for (size_t i = 0; i < kinds; i++) {
        size_t k = (first + i) % kinds;
        struct page_sample *sample = &slot->samples[slot->next_sample % PAGE_SAMPLES];

        if (batch->candidate_count[k] == 0)
            continue;
        memcpy(sample->id, batch->candidates[k][(size_t)random() % batch->candidate_count[k]]->id,
               sizeof(sample->id));
        sample->lifecycle = turn->lifecycle->id;
        __atomic_store_n(&sample->at_us, turn->tally.at_us, __ATOMIC_RELEASE);
        slot->next_sample++;
        return;
    }
}

void turn_learn_pace(struct turn *turn)
{
    struct worker *worker = turn->worker;
    struct batch *batch = worker->batch;
    double events = turn->done;
    double finds = batch->hot.find_count / events;
    double friends =
        (double)batch->friend_rows / (batch->hot.run_count == 0 ? 1 : batch->hot.run_count);

    for (size_t i = 0; i < worker->program.lifecycle_count; i++) {
        struct pace *pace = &worker->paces[i];
        if (worker->program.lifecycles[i] != turn->lifecycle)
            continue;
        /* Quick upward, slow downward: a batch too large costs more than one too small. */
        pace->finds =
            pace->finds < 0 || finds > pace->finds ? finds : 0.8 * pace->finds + 0.2 * finds;
        pace->friends = pace->friends < 0 || friends > pace->friends
                            ? friends
                            : 0.8 * pace->friends + 0.2 * friends;
        pace->tokens -= events;
    }
}
