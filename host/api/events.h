/* Events over HTTP: what the files of it share. */
#pragma once

#include "api/api.h"
#include "queue.h"

/* An event of an answer: its row, and the fact, which names and dates are still wanted of. */
struct event {
    json_t *row; /* a new reference */
    uint8_t fact[16];
};

struct events {
    struct event *list; /* owned */
    size_t count, capacity;
};
void events_add(struct events *events, json_t *row, const uint8_t *fact);
void events_clear(struct events *events);
/* Sets label of each row, and raised_at where it is null: when the fact was found. */
bool events_label(struct api_call *call, struct pg *pg, struct events *events,
                  struct acc_error *err) ACC_MUST_CHECK;
/* Whether a state is among those that are wanted; false: answered with 422. */
bool events_state(struct api_call *call, const char *state, const char *const *states,
                  size_t count);
/* The rows as an array; events is empty afterwards. */
json_t *events_take(struct events *events);

/*
 * events_queued.c: events in packets. ready: those nobody has in hand; claimed: those that workers of this host run now. A
 * page is at most limit events of a few packets, from the key in before on (NULL: the first), in the order of age; *next is
 * the key of the page behind it, caller frees, NULL: none. false: answered.
 */
bool events_queued(struct api_call *call, struct pg *pg, bool is_claimed, int16_t lifecycle,
                   const char *before, int64_t limit, struct events *events, char **next);
#define EVENT_SEARCH_MOST                                                                          \
    256 /* packets of one bucket and lifecycle that are searched for an event */
/* The row of one event that is in a packet; *found tells whether it is. */
bool event_queued(struct api_call *call, struct pg *pg, const struct lifecycle *lifecycle,
                  const uint8_t *fact, struct events *events, bool *found,
                  struct acc_error *err) ACC_MUST_CHECK;
