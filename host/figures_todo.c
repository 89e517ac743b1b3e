#include "figures_todo.h"

#include "base/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SETTLED 0.5      /* events */
#define STEPS_MAX 200000 /* of a search for cycles */

/* Cycles */

struct search {
    size_t count, most, found, steps;
    const double *raises;
    const uint16_t *kinds;
    void (*visit)(void *context, const size_t *cycle, size_t length, double gain);
    void *context;
    size_t path[TODO_CYCLE_MAX];
    bool *is_on_path;
};

/* Whether the path has passed next, or its kind. */
static bool is_passed(const struct search *search, size_t next, size_t length)
{
    if (search->is_on_path[next])
        return true;
    for (size_t i = 0; search->kinds != NULL && i < length; i++) {
        if (search->kinds[search->path[i]] == search->kinds[next])
            return true;
    }
    return false;
}

static void walk(struct search *search, size_t length, double gain)
{
    size_t start = search->path[0];
    size_t here = search->path[length - 1];

    for (size_t next = start; next < search->count; next++) {
        double raised = search->raises[next * search->count + here];

        if (!(raised > 0) || search->found == search->most || ++search->steps > STEPS_MAX)
            continue;
        if (next == start) {
            search->found++;
            search->visit(search->context, search->path, length, gain * raised);
        } else if (length < TODO_CYCLE_MAX && !is_passed(search, next, length)) {
            search->is_on_path[next] = true;
            search->path[length] = next;
            walk(search, length + 1, gain * raised);
            search->is_on_path[next] = false;
        }
    }
}

void todo_cycles(size_t count, const double *raises, const uint16_t *kinds, size_t most,
                 void (*visit)(void *context, const size_t *cycle, size_t length, double gain),
                 void *context)
{
    struct search search = {.count = count,
                            .most = most,
                            .raises = raises,
                            .kinds = kinds,
                            .visit = visit,
                            .context = context};

    search.is_on_path = acc_zalloc(count + 1);
    for (size_t start = 0; start < count; start++) {
        search.path[0] = start;
        walk(&search, 1, 1);
    }
    free(search.is_on_path);
}

static void keep_strongest(void *context, const size_t *cycle, size_t length, double gain)
{
    struct todo *todo = context;

    if (todo->cycle_count > 0 && gain <= todo->gain)
        return;
    memcpy(todo->cycle, cycle, length * sizeof(*cycle));
    todo->cycle_count = length;
    todo->gain = gain;
}

/*
 * The largest eigenvalue of a matrix without negative numbers, by power iteration on it plus one: the shift keeps cycles
 * from turning for ever.
 */
static double growth(size_t count, const double *raises)
{
    double *vector = acc_alloc(2 * count * sizeof(double) + 1);
    double *next = vector + count;
    double value = 0;

    for (size_t i = 0; i < count; i++)
        vector[i] = 1;
    for (int n = 0; n < TODO_ITERATIONS; n++) {
        double largest = 0;
        for (size_t j = 0; j < count; j++) {
            next[j] = vector[j];
            for (size_t i = 0; i < count; i++)
                next[j] += raises[j * count + i] * vector[i];
            if (next[j] > largest)
                largest = next[j];
        }
        double change = fabs(largest - 1 - value);
        value = largest - 1;
        for (size_t j = 0; j < count && largest > 0; j++)
            vector[j] = next[j] / largest;
        if (change < 1e-9)
            break;
    }
    free(vector);
    return count == 0 ? 0 : value;
}

/* w = q + M w, from q on, until no lifecycle changes by half an event. */
static bool settle(const struct todo_input *input, double *work)
{
    size_t count = input->count;
    double *next = acc_alloc(count * sizeof(double) + 1);
    bool settles = false;

    for (size_t j = 0; j < count; j++)
        work[j] = input->queued[j];
    for (int n = 0; n < TODO_ITERATIONS && !settles; n++) {
        double change = 0;
        for (size_t j = 0; j < count; j++) {
            next[j] = input->queued[j];
            for (size_t i = 0; i < count; i++)
                next[j] += input->raises[j * count + i] * work[i];
            change = fmax(change, fabs(next[j] - work[j]));
        }
        for (size_t j = 0; j < count; j++)
            work[j] = next[j];
        settles = change < SETTLED;
    }
    free(next);
    return settles;
}

void todo_estimate(const struct todo_input *input, double *work, struct todo *todo)
{
    double queued = 0;

    *todo = (struct todo){.work = work, .events = NAN, .eta_s = NAN};
    for (size_t i = 0; i < input->count; i++)
        queued += input->queued[i];
    todo->growth = growth(input->count, input->raises);
    bool settles = settle(input, work);
    todo->settles = queued == 0 || (settles && todo->growth < 1);
    if (!todo->settles) {
        todo_cycles(input->count, input->raises, NULL, 1000, keep_strongest, todo);
        return;
    }
    todo->events = 0;
    for (size_t i = 0; i < input->count; i++) {
        todo->events += work[i];
        if (input->throttle_s[i] > 0)
            todo->throttled_s = fmax(todo->throttled_s, work[i] / input->throttle_s[i]);
    }
    if (todo->events == 0)
        todo->eta_s = 0;
    else if (input->done_per_s > 0)
        todo->eta_s = fmax(todo->events / input->done_per_s, todo->throttled_s);
}
