#include "board.h"

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define KIB 1024
#define MIB (1024 * KIB)
#define TOPIC_BYTES MIB
#define METRICS_SERIES 65536
#define NAME_MAX_BYTES 48

const char *const board_topic_names[BOARD_TOPICS] = {"status",  "lifecycles", "facts", "events",
                                                     "workers", "reload",     "audit"};

static const struct {
    const char *name;
    size_t bytes;
} documents[BOARD_DOCUMENTS] = {
    [BOARD_STATUS] = {"status", MIB},
    [BOARD_KINDS] = {"kinds", 2 * MIB},
    [BOARD_LIFECYCLES] = {"lifecycles", 8 * MIB},
    [BOARD_GRAPH_ALL] = {"graph of all time", 8 * MIB},
    [BOARD_GRAPH_5M] = {"graph of 5 minutes", 8 * MIB},
    [BOARD_WORKERS] = {"workers", MIB},
    [BOARD_GENERATIONS] = {"generations", MIB},
    [BOARD_DATABASE] = {"database", MIB},
    [BOARD_METRICS] = {"metrics", 32 * MIB},
    [BOARD_TOKENS] = {"tokens", MIB},
};

static const int steps_s[BOARD_WINDOWS] = {3, 12, 72, 288};

/*
 * A text that one process writes and many read. There are two places; put writes the one that is not current and makes it
 * so. A reader's copy is whole unless a second put began meanwhile. A writer that died in the middle leaves begun ahead of
 * done; the next put begins the same version again.
 */
struct text {
    uint64_t begun, done; /* versions; 0: none yet */
    int64_t at_us[2];
    uint64_t size[2];
    uint64_t at, limit; /* place of the first one in the mapping, bytes of each */
};

struct series {
    char name[NAME_MAX_BYTES], lifecycle[NAME_MAX_BYTES];
    struct {
        uint32_t count; /* values in the current step */
        float mean;     /* of them */
        float points[BOARD_POINTS];
    } windows[BOARD_WINDOWS];
};

struct mark {
    int64_t at_s;
    char text[64];
};

struct layout {
    struct text documents[BOARD_DOCUMENTS], topics[BOARD_TOPICS];
    uint64_t memory_layout;
    uint64_t series_begun, series_done; /* a reader's copy is whole when neither moved */
    int64_t since_s;
    int64_t last_step[BOARD_WINDOWS];
    uint32_t series_count;
    uint32_t mark_count; /* ever */
    struct mark marks[BOARD_MARKS];
    struct series series[BOARD_SERIES];
};

struct board {
    struct layout *layout;
    size_t size;
    char *path;
    int lock;      /* the writer's own descriptor of the file, -1: not opened */
    pid_t lock_of; /* process that opened it */
    bool is_owner;
    char *metrics, *memory;
    size_t metrics_size;
    uint32_t guess; /* where the next sample's series probably is */
    bool has_warned;
};

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static size_t aligned(size_t size)
{
    return (size + 4095) / 4096 * 4096;
}

static size_t texts_size(void)
{
    size_t size = 0;

    for (size_t d = 0; d < BOARD_DOCUMENTS; d++)
        size += 2 * documents[d].bytes;
    return size + (size_t)BOARD_TOPICS * 2 * TOPIC_BYTES;
}

static void lay_out(struct board *board)
{
    struct layout *layout = board->layout;
    uint64_t at = aligned(sizeof(struct layout)) + aligned(board->metrics_size) + BOARD_MEMORY;

    for (size_t d = 0; d < BOARD_DOCUMENTS; d++) {
        layout->documents[d].at = at;
        layout->documents[d].limit = documents[d].bytes;
        at += 2 * documents[d].bytes;
    }
    for (size_t t = 0; t < BOARD_TOPICS; t++) {
        layout->topics[t].at = at;
        layout->topics[t].limit = TOPIC_BYTES;
        at += (uint64_t)2 * TOPIC_BYTES;
    }
}

struct board *board_create(const char *run_dir, struct acc_error *err)
{
    struct board *board = acc_zalloc(sizeof(*board));
    char *path = acc_format("%s/board", run_dir);

    board->metrics_size = metrics_size(METRICS_SERIES);
    board->size =
        aligned(sizeof(struct layout)) + aligned(board->metrics_size) + BOARD_MEMORY + texts_size();
    unlink(path); /* a new file each time: processes of an earlier host keep theirs */
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    void *map = MAP_FAILED;
    if (fd < 0)
        acc_fail_errno(err, "cannot make %s", path);
    else if (ftruncate(fd, (off_t)board->size) != 0 ||
             (map = mmap(NULL, board->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) ==
                 MAP_FAILED)
        acc_fail_errno(err, "cannot map %s (%zu bytes)", path, board->size);
    if (fd >= 0)
        close(fd);
    if (map == MAP_FAILED) {
        free(path);
        free(board);
        return NULL;
    }
    board->path = path;
    board->lock = -1;
    board->layout = map;
    board->metrics = (char *)map + aligned(sizeof(struct layout));
    board->memory = board->metrics + aligned(board->metrics_size);
    lay_out(board);
    return board;
}

void board_close(struct board *board)
{
    if (board == NULL)
        return;
    if (board->lock >= 0)
        close(board->lock);
    munmap(board->layout, board->size);
    free(board->path);
    free(board);
}

bool board_own(struct board *board)
{
    if (board->lock_of !=
        getpid()) { /* a descriptor from before the fork would share its parent's lock */
        board->lock = open(board->path, O_RDWR | O_CLOEXEC);
        board->lock_of = getpid();
        board->is_owner = false;
    }
    if (!board->is_owner && board->lock >= 0)
        board->is_owner = flock(board->lock, LOCK_EX | LOCK_NB) == 0;
    return board->is_owner;
}

struct metrics *board_metrics(struct board *board)
{
    return metrics_at(board->metrics, board->metrics_size);
}

void *board_memory(struct board *board, uint64_t layout, size_t size)
{
    if (size > BOARD_MEMORY) {
        log_error("board", "event=\"process ends\" memory=%zu wanted_at_most=%d", size,
                  BOARD_MEMORY);
        abort();
    }
    if (board->layout->memory_layout != layout) {
        memset(board->memory, 0, size);
        board->layout->memory_layout = layout;
    }
    return board->memory;
}

/* Texts */

static bool put(struct board *board, struct text *text, const void *data, size_t size)
{
    if (size > text->limit)
        return false;
    uint64_t version = load(&text->done) + 1;
    size_t place = version & 1;

    __atomic_store_n(&text->begun, version, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* nobody sees what follows without this */
    memcpy((char *)board->layout + text->at + place * text->limit, data, size);
    text->size[place] = size;
    text->at_us[place] = clock_us();
    __atomic_store_n(&text->done, version, __ATOMIC_RELEASE);
    return true;
}

static bool get(const struct board *board, const struct text *text, struct buf *out,
                uint64_t *version, int64_t *at_us)
{
    for (;;) {
        uint64_t seen = load(&text->done);
        size_t place = seen & 1;

        if (seen == 0)
            return false;
        uint64_t size = text->size[place];
        int64_t at = text->at_us[place];
        buf_reset(out);
        if (size <= text->limit)
            buf_add(out, (const char *)board->layout + text->at + place * text->limit, size);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (load(&text->begun) > seen + 1 || size > text->limit)
            continue;
        *version = seen;
        *at_us = at;
        return true;
    }
}

bool board_put(struct board *board, enum board_document document, const void *data, size_t size)
{
    if (put(board, &board->layout->documents[document], data, size))
        return true;
    log_error("board", "event=\"document too large\" document=%s bytes=%zu limit=%zu",
              log_quote(documents[document].name), size, documents[document].bytes);
    return false;
}

bool board_get(const struct board *board, enum board_document document, struct buf *out,
               uint64_t *version, int64_t *at_us)
{
    return get(board, &board->layout->documents[document], out, version, at_us);
}

uint64_t board_version(const struct board *board, enum board_document document)
{
    return load(&board->layout->documents[document].done);
}

void board_say(struct board *board, enum board_topic topic, const void *data, size_t size)
{
    if (!put(board, &board->layout->topics[topic], data, size))
        log_error("board", "event=\"message too large\" topic=%s bytes=%zu limit=%d",
                  board_topic_names[topic], size, TOPIC_BYTES);
}

bool board_hear(const struct board *board, enum board_topic topic, uint64_t *version,
                struct buf *out)
{
    const struct text *text = &board->layout->topics[topic];
    int64_t at_us;

    return load(&text->done) > *version && get(board, text, out, version, &at_us);
}

/* Series */

static void series_change(struct layout *layout)
{
    __atomic_store_n(&layout->series_begun, layout->series_done + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void series_changed(struct layout *layout)
{
    __atomic_store_n(&layout->series_done, layout->series_begun, __ATOMIC_RELEASE);
}

/* Forgets what stood in the places of steps that begin now. */
static void open_steps(struct layout *layout, size_t window, int64_t step)
{
    int64_t from = layout->last_step[window] + 1;

    if (step - from >= BOARD_POINTS)
        from = step - BOARD_POINTS + 1;
    for (int64_t s = from; s <= step; s++) {
        for (uint32_t i = 0; i < layout->series_count; i++) {
            layout->series[i].windows[window].points[s % BOARD_POINTS] = NAN;
            layout->series[i].windows[window].count = 0;
        }
    }
    if (step > layout->last_step[window])
        layout->last_step[window] = step;
}

void board_sample_begin(struct board *board, int64_t at_s)
{
    struct layout *layout = board->layout;

    series_change(layout);
    board->guess = 0;
    if (layout->since_s == 0)
        layout->since_s = at_s;
    for (size_t w = 0; w < BOARD_WINDOWS; w++)
        open_steps(layout, w, at_s / steps_s[w]);
}

static struct series *find_series(const struct board *board, const char *name,
                                  const char *lifecycle)
{
    struct layout *layout = board->layout;

    for (uint32_t i = 0; i < layout->series_count; i++) {
        if (strcmp(layout->series[i].name, name) == 0 &&
            strcmp(layout->series[i].lifecycle, lifecycle) == 0)
            return &layout->series[i];
    }
    return NULL;
}

static struct series *add_series(struct board *board, const char *name, const char *lifecycle)
{
    struct layout *layout = board->layout;

    if (layout->series_count == BOARD_SERIES || strlen(name) >= NAME_MAX_BYTES ||
        strlen(lifecycle) >= NAME_MAX_BYTES) {
        if (!board->has_warned)
            log_warn("board", "event=\"no room for a series\" name=%s lifecycle=%s limit=%d",
                     log_quote(name), log_quote(lifecycle), BOARD_SERIES);
        board->has_warned = true;
        return NULL;
    }
    struct series *series = &layout->series[layout->series_count];
    memset(series, 0, sizeof(*series));
    snprintf(series->name, sizeof(series->name), "%s", name);
    snprintf(series->lifecycle, sizeof(series->lifecycle), "%s", lifecycle);
    for (size_t w = 0; w < BOARD_WINDOWS; w++) {
        for (size_t p = 0; p < BOARD_POINTS; p++)
            series->windows[w].points[p] = NAN;
    }
    layout->series_count++;
    return series;
}

bool board_sample(struct board *board, const char *name, const char *lifecycle, double value)
{
    struct series *series = &board->layout->series[board->guess % BOARD_SERIES];

    if (board->guess >= board->layout->series_count || strcmp(series->name, name) != 0 ||
        strcmp(series->lifecycle, lifecycle) != 0)
        series = find_series(board, name, lifecycle);
    if (series == NULL)
        series = add_series(board, name, lifecycle);
    if (series == NULL)
        return false;
    board->guess = (uint32_t)(series - board->layout->series) + 1;
    for (size_t w = 0; w < BOARD_WINDOWS && !isnan(value); w++) {
        uint32_t count = ++series->windows[w].count;
        if (count == 1)
            series->windows[w].mean = 0;
        series->windows[w].mean += (float)((value - series->windows[w].mean) / count);
        series->windows[w].points[board->layout->last_step[w] % BOARD_POINTS] =
            series->windows[w].mean;
    }
    return true;
}

void board_sample_end(struct board *board)
{
    series_changed(board->layout);
}

/* The copy under way is of one state. */
static bool is_whole(const struct layout *layout, uint64_t seen)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load(&layout->series_begun) == seen;
}

int board_series(const struct board *board, const char *name, const char *lifecycle,
                 enum board_window window, int64_t *t, double *values, int *step_s)
{
    const struct layout *layout = board->layout;

    for (int tries = 0; tries < 1000; tries++) {
        uint64_t seen = load(&layout->series_done);
        const struct series *series = find_series(board, name, lifecycle);
        int64_t step = steps_s[window];
        int64_t last = layout->last_step[window];
        int64_t first = layout->since_s / step;
        int count = 0;

        if (first < last - BOARD_POINTS + 1)
            first = last - BOARD_POINTS + 1;
        for (int64_t s = first; series != NULL && s <= last && count < BOARD_POINTS; s++) {
            t[count] = s * step;
            values[count++] = series->windows[window].points[s % BOARD_POINTS];
        }
        if (!is_whole(layout, seen)) {
            usleep(
                100); /* a sample takes less; a writer that died in one is made good by the next */
            continue;
        }
        *step_s = (int)step;
        return series == NULL ? -1 : count;
    }
    return -1;
}

int64_t board_since(const struct board *board)
{
    return board->layout->since_s;
}

void board_mark(struct board *board, int64_t at_s, const char *text)
{
    struct layout *layout = board->layout;
    struct mark *mark = &layout->marks[layout->mark_count % BOARD_MARKS];

    series_change(layout);
    mark->at_s = at_s;
    snprintf(mark->text, sizeof(mark->text), "%s", text);
    layout->mark_count++;
    series_changed(layout);
}

int board_marks(const struct board *board, int64_t since_s, int64_t *t, char (*text)[64], int most)
{
    const struct layout *layout = board->layout;

    for (int tries = 0; tries < 1000; tries++) {
        uint64_t seen = load(&layout->series_done);
        uint32_t total = layout->mark_count;
        uint32_t first = total > BOARD_MARKS ? total - BOARD_MARKS : 0;
        int count = 0;

        for (uint32_t m = first; m < total && count < most; m++) {
            const struct mark *mark = &layout->marks[m % BOARD_MARKS];
            if (mark->at_s < since_s)
                continue;
            t[count] = mark->at_s;
            memcpy(text[count++], mark->text, sizeof(mark->text));
        }
        if (is_whole(layout, seen))
            return count;
        usleep(100);
    }
    return 0;
}
