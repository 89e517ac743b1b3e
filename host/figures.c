/*
 * The process that keeps the board: reads the database about once a second and puts up what it found. When nothing moves
 * it looks half as often; when a look is dear, so rarely that looking stays a small part of the time.
 */
#include "figures.h"

#include "base/clock.h"
#include "base/log.h"
#include "schema.h"
#include "script/script.h"
#include "tokens.h"
#include "worker.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define TICK_US 200000
#define EACH_US 1000000
#define EACH_IDLE_US 2000000
#define IDLE_READINGS 30 /* without change, before looks become rarer */
#define DEAR 20          /* a look may take this part of the time */
#define DATABASE_US 5000000
#define SIZES_US 30000000
#define RETRY_MIN_US 200000
#define RETRY_MAX_US 5000000
#define SAMPLE_DONE_US 60000000

struct keeper {
    struct figures figures;
    struct script *script;
    struct program program;
    struct token_set tokens;
    struct buf put[BOARD_DOCUMENTS]; /* as last put: what did not change is not put again */
    int64_t read_us, database_us, sizes_us, retry_us, retry_wait_us;
    int64_t sampled_at_s;
    uint64_t moved; /* what local workers had done at the last reading */
    int still;      /* readings without change */
    int64_t last_facts;
    struct log_trouble away;
    bool is_stale; /* the modules are no longer the current ones */
};

static bool is_retired(const struct keeper *keeper)
{
    return __atomic_load_n(&keeper->figures.options->service->retire, __ATOMIC_ACQUIRE) != 0;
}

/* Documents */

static void put_text(struct keeper *keeper, enum board_document document, const char *text,
                     size_t size)
{
    struct buf *last = &keeper->put[document];

    if (last->size == size && size > 0 && memcmp(last->data, text, size) == 0)
        return;
    if (!board_put(keeper->figures.options->board, document, text, size))
        return;
    buf_reset(last);
    buf_add(last, text, size);
}

static void put_json(struct keeper *keeper, enum board_document document, json_t *json)
{
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(10));

    json_decref(json);
    if (text != NULL)
        put_text(keeper, document, text, strlen(text));
    free(text);
}

static void put_documents(struct keeper *keeper)
{
    struct figures *figures = &keeper->figures;
    struct buf metrics = {0};

    if (figures->rates->has_reading) {
        put_json(keeper, BOARD_STATUS, figures_status(figures));
        put_json(keeper, BOARD_KINDS, figures_kinds(figures));
        put_json(keeper, BOARD_LIFECYCLES, figures_lifecycles(figures));
        put_json(keeper, BOARD_GRAPH_ALL, figures_graph(figures, false));
        put_json(keeper, BOARD_GRAPH_5M, figures_graph(figures, true));
        put_json(keeper, BOARD_GENERATIONS, figures_generations(figures));
        put_json(keeper, BOARD_DATABASE, figures_database(figures));
    }
    put_json(keeper, BOARD_WORKERS, figures_workers_json(figures));
    figures_metrics_write(figures, &metrics);
    put_text(keeper, BOARD_METRICS, metrics.data, metrics.size);
    buf_clear(&metrics);
}

/* What follows from a reading */

/* The time at the slow and the fast end of the last half hour. */
static void estimate_range(struct figures *figures)
{
    struct rates *rates = figures->rates;
    double samples[RATES_SAMPLES];
    size_t count = 0;
    double now = run_done_per_s(figures);

    if (rates->at_us - rates->sampled_us >= SAMPLE_DONE_US && now > 0) {
        rates->done_samples[rates->sample_count++ % RATES_SAMPLES] = now;
        rates->sampled_us = rates->at_us;
    }
    for (uint32_t i = 0; i < rates->sample_count && i < RATES_SAMPLES; i++)
        samples[count++] = rates->done_samples[i];
    double slow = rates_percentile(samples, count, 0.1);
    double fast = rates_percentile(samples, count, 0.9);
    double todo = figures->todo.events;
    double eta_s = figures->todo.eta_s;
    figures->eta_low_s = fast > 0 ? fmin(eta_s, fmax(todo / fast, figures->todo.throttled_s)) : NAN;
    figures->eta_high_s =
        slow > 0 ? fmax(eta_s, fmax(todo / slow, figures->todo.throttled_s)) : NAN;
    if (isnan(figures->todo.eta_s) || todo == 0) {
        figures->eta_low_s = figures->todo.eta_s;
        figures->eta_high_s = figures->todo.eta_s;
    }
}

static void estimate(struct figures *figures)
{
    struct reading *reading = &figures->reading;
    size_t count = reading->life_count;
    double *queued = acc_alloc(2 * count * sizeof(double) + 1);
    double *throttles = queued + count;
    double *raises = figures_raises(figures);

    free(figures->work);
    figures->work = acc_alloc(count * sizeof(double) + 1);
    for (size_t i = 0; i < count; i++) {
        const struct life *life = &reading->lives[i];
        queued[i] = life->is_active ? (double)(life->in_packets + life->delayed + life->unread) : 0;
        throttles[i] = life->is_active ? life->throttle_per_s : 0;
    }
    struct todo_input input = {.count = count,
                               .queued = queued,
                               .raises = raises,
                               .done_per_s = run_done_per_s(figures),
                               .throttle_s = throttles};
    todo_estimate(&input, figures->work, &figures->todo);
    for (size_t i = 0; i < count; i++)
        reading->lives[i].todo = figures->todo.settles ? figures->work[i] : NAN;
    free(raises);
    free(queued);
    estimate_range(figures);
}

static void conclude(struct keeper *keeper)
{
    struct figures *figures = &keeper->figures;
    struct rates *rates = figures->rates;
    struct totals totals;

    figures_totals(figures, &totals);
    bool is_first = rates->moved_us == 0;
    if (is_first)
        rates_begin_run(rates, totals.done);
    if (totals.done != rates->done || is_first ||
        totals.ready + totals.claimed == 0) /* nothing to do is no standing still */
        rates->moved_us = clock_us();
    if (totals.ready + totals.claimed + totals.delayed + totals.unread == 0)
        rates_begin_run(rates, totals.done);
    estimate(figures);
    enum figures_state state = figures_state_of(figures, &totals, clock_us());
    if ((int32_t)state != rates->state || rates->state_since_us == 0) {
        rates->state = (int32_t)state;
        rates->state_since_us = clock_wall_us();
    }
    figures->state = state;
    bool has_moved = totals.done != rates->done || totals.facts != keeper->last_facts;
    keeper->still = has_moved || totals.ready > 0 ? 0 : keeper->still + 1;
    rates->done = totals.done;
    keeper->last_facts = totals.facts;
}

/* The database */

static bool read_tokens(struct keeper *keeper, struct acc_error *err)
{
    if (!tokens_load(&keeper->tokens, &keeper->figures.pg, err))
        return false;
    put_text(keeper, BOARD_TOKENS, (const char *)&keeper->tokens, sizeof(keeper->tokens));
    return true;
}

static bool connect(struct keeper *keeper, struct acc_error *err)
{
    struct figures *figures = &keeper->figures;

    if (figures->pg.conn != NULL)
        return true;
    if (!figures_connect(figures, err))
        return false;
    if (schema_bind(&figures->pg, &keeper->program, err))
        return true;
    keeper->is_stale = err->code == ACC_ESTALE;
    return false;
}

static bool look(struct keeper *keeper, struct acc_error *err)
{
    struct figures *figures = &keeper->figures;
    int64_t now_us = clock_us();

    if (!connect(keeper, err) || !read_tokens(keeper, err))
        return false;
    if (keeper->database_us == 0 || now_us - keeper->database_us > DATABASE_US) {
        bool with_sizes = keeper->sizes_us == 0 || now_us - keeper->sizes_us > SIZES_US;
        if (!figures_read_database(figures, with_sizes, err))
            return false;
        keeper->database_us = now_us;
        if (with_sizes)
            keeper->sizes_us = now_us;
    }
    if (!figures_read(figures, err))
        return false;
    if (figures->said == NULL)
        figures_say_open(figures);
    figures->has_database = true;
    conclude(keeper);
    return figures_say(figures, err);
}

static void lose(struct keeper *keeper, const struct acc_error *err)
{
    struct figures *figures = &keeper->figures;
    int64_t wait_us = keeper->retry_wait_us == 0 ? RETRY_MIN_US : keeper->retry_wait_us * 2;

    log_trouble(&keeper->away, clock_us(), "figures", "the database does not answer", err->text);
    figures->has_database = false;
    pg_close(&figures->pg);
    keeper->retry_wait_us = wait_us < RETRY_MAX_US ? wait_us : RETRY_MAX_US;
    keeper->retry_us = clock_us() + keeper->retry_wait_us;
    keeper->database_us = 0;
}

/* What the workers of this machine did since the last look, without asking anybody. */
static uint64_t local_work(const struct page *page)
{
    uint64_t sum = page->reloads + page->refused;

    for (size_t s = 0; s < PAGE_SLOTS; s++)
        sum += page->slots[s].batches + (uint64_t)page->slots[s].pid;
    return sum;
}

static bool is_due(const struct keeper *keeper)
{
    const struct figures *figures = &keeper->figures;
    int64_t now_us = clock_us();
    int64_t each_us = keeper->still >= IDLE_READINGS && local_work(figures->page) == keeper->moved
                          ? EACH_IDLE_US
                          : EACH_US;

    if (now_us < keeper->retry_us)
        return false;
    if (DEAR * figures->reading.took_us > each_us)
        each_us = DEAR * figures->reading.took_us;
    return keeper->read_us == 0 || now_us - keeper->read_us >= each_us - TICK_US / 2;
}

static void turn(struct keeper *keeper)
{
    struct figures *figures = &keeper->figures;
    struct acc_error err = {0};
    int64_t at_s = clock_wall_us() / 1000000;

    if (is_due(keeper)) {
        keeper->read_us = clock_us();
        keeper->moved = local_work(figures->page);
        if (look(keeper, &err)) {
            log_trouble_over(&keeper->away, "figures", "the database answers again");
            keeper->retry_wait_us = 0;
            keeper->retry_us = 0;
        } else {
            lose(keeper, &err);
        }
        put_documents(keeper);
    }
    if (at_s / FIGURES_SAMPLE_S != keeper->sampled_at_s / FIGURES_SAMPLE_S) {
        keeper->sampled_at_s = at_s;
        figures_sample(figures, at_s);
    }
}

static void close_keeper(struct keeper *keeper)
{
    figures_say_close(&keeper->figures);
    figures_sample_close(&keeper->figures);
    figures_metrics_close(&keeper->figures);
    figures_clear(&keeper->figures);
    for (size_t d = 0; d < BOARD_DOCUMENTS; d++)
        buf_clear(&keeper->put[d]);
    script_free(keeper->script);
    free(keeper);
}

int figures_main(const struct serve_options *options)
{
    struct keeper *keeper = acc_zalloc(sizeof(*keeper));
    struct figures *figures = &keeper->figures;
    struct acc_error err = {0};
    struct timespec tick = {.tv_nsec = TICK_US * 1000};
    int code = WORKER_DONE;

    *figures = (struct figures){.options = options,
                                .page = options->page,
                                .program = &keeper->program,
                                .todo = {.settles = true, .events = NAN, .eta_s = NAN},
                                .eta_low_s = NAN,
                                .eta_high_s = NAN};
    _Static_assert(sizeof(struct rates) <= BOARD_MEMORY, "rates do not fit into the board");
    /* Its size names the layout: a program of another version has another board anyway. */
    figures->rates = board_memory(options->board, sizeof(struct rates), sizeof(struct rates));
    figures_metrics_open(figures);
    keeper->script =
        script_new(&options->app->settings, options->modules_dir, options->native_dir, &err);
    if (keeper->script == NULL || !script_load(keeper->script, &keeper->program, false, &err)) {
        log_error("figures", "event=\"process ends\" error=%s", log_quote(err.text));
        close_keeper(keeper);
        return WORKER_FAILED;
    }
    while (!is_retired(keeper) && !keeper->is_stale) {
        /* The one of an older generation goes on until it is told that this one is ready. */
        __atomic_store_n(&options->service->is_ready, 1, __ATOMIC_RELEASE);
        if (board_own(options->board))
            turn(keeper);
        __atomic_add_fetch(&options->service->beat, 1, __ATOMIC_RELAXED);
        nanosleep(&tick, NULL);
    }
    if (keeper->is_stale)
        code = WORKER_STALE;
    close_keeper(keeper);
    return code;
}
