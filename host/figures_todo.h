/*
 * To do: how many events are expected until the fixpoint, and how long that takes, from what waits and what an event of each
 * lifecycle raises. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TODO_CYCLE_MAX 16
#define TODO_ITERATIONS 200

/* count lifecycles. */
struct todo_input {
    size_t count;
    const double *queued;
    const double *raises;     /* [j * count + i]: events of j that one event of i raises */
    double done_per_s;        /* of all */
    const double *throttle_s; /* events a second; 0: none */
};

struct todo {
    bool settles;       /* false: it does not converge; events and eta_s are NAN */
    double events;      /* expected until the fixpoint */
    double eta_s;       /* NAN: nothing is being done */
    double throttled_s; /* at least so long because of a throttle; 0: none */
    double *work;       /* by lifecycle, events is their sum; the caller's, count of them */
    double growth;      /* largest eigenvalue of raises */
    /* When it does not settle: the cycle that grows most, as lifecycles, and what one event becomes along it. */
    size_t cycle[TODO_CYCLE_MAX];
    size_t cycle_count;
    double gain;
};

/* work has room for count numbers. */
void todo_estimate(const struct todo_input *input, double *work, struct todo *todo);

/*
 * Visits the cycles of raises, each once, from its lowest lifecycle; at most TODO_CYCLE_MAX long, and no more than most of
 * them. kinds (NULL: any) says of what kind the data of each lifecycle is: a cycle passes each kind once. gain is the
 * product along it.
 */
void todo_cycles(size_t count, const double *raises, const uint16_t *kinds, size_t most,
                 void (*visit)(void *context, const size_t *cycle, size_t length, double gain),
                 void *context);
