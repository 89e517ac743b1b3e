#include "base/linesort.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUNS_MAX 128 /* runs that are merged at a time */

/* A line in memory; the text is in the run buffer or in the buffer of a file. */
struct line {
    const char *data;
    size_t size;
};

/* A sorted file that is read back. */
struct run {
    FILE *file;
    char *data; /* the line it stands at, owned */
    size_t capacity;
    struct line line;
};

struct linesort {
    char *dir;
    char *text; /* lines in memory, one after the other */
    size_t text_size, text_max;
    struct line *lines;
    size_t line_count, line_capacity;
    struct run runs[RUNS_MAX];
    size_t run_count;
};

struct linesort *linesort_new(const char *dir, size_t run_bytes)
{
    struct linesort *sort = acc_zalloc(sizeof(*sort));

    sort->dir = acc_strdup(dir);
    sort->text_max = run_bytes;
    sort->text = acc_alloc(run_bytes);
    return sort;
}

static void close_runs(struct linesort *sort)
{
    for (size_t i = 0; i < sort->run_count; i++) {
        fclose(sort->runs[i].file);
        free(sort->runs[i].data);
        sort->runs[i] = (struct run){0};
    }
    sort->run_count = 0;
}

void linesort_free(struct linesort *sort)
{
    if (sort == NULL)
        return;
    close_runs(sort);
    free(sort->lines);
    free(sort->text);
    free(sort->dir);
    free(sort);
}

static int compare(const void *a, const void *b)
{
    const struct line *x = a;
    const struct line *y = b;
    size_t size = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->data, y->data, size);

    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

static bool write_line(const struct line *line, FILE *out, struct acc_error *err)
{
    if (fwrite(line->data, 1, line->size, out) == line->size && putc('\n', out) != EOF)
        return true;
    return acc_fail_errno(err, "cannot write");
}

/* A temporary file without a name. */
static FILE *make_file(const struct linesort *sort, struct acc_error *err)
{
    char *path = acc_format("%s/sort.XXXXXX", sort->dir);
    int fd = mkostemp(path, O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w+");

    if (file == NULL)
        acc_fail_errno(err, "cannot make \"%s\"", path);
    if (fd >= 0)
        unlink(path);
    free(path);
    return file;
}

static bool rewind_run(FILE *file, struct acc_error *err)
{
    if (fflush(file) != 0 || fseek(file, 0, SEEK_SET) != 0)
        return acc_fail_errno(err, "cannot write a temporary file");
    return true;
}

/* Reads the next line of a run; at its end size is SIZE_MAX. */
static bool next_line(struct run *run, struct acc_error *err)
{
    ssize_t got = getline(&run->data, &run->capacity, run->file);

    if (got < 0 && ferror(run->file))
        return acc_fail_errno(err, "cannot read a temporary file");
    run->line = (struct line){run->data, got < 0 ? SIZE_MAX : (size_t)got - 1};
    return true;
}

/* Lets the run at place sink to where it belongs in the heap of runs, least line first. */
static void sink(struct run **heap, size_t count, size_t place)
{
    for (;;) {
        size_t least = place;

        for (size_t child = 2 * place + 1; child <= 2 * place + 2 && child < count; child++)
            if (compare(&heap[child]->line, &heap[least]->line) < 0)
                least = child;
        if (least == place)
            return;
        struct run *moved = heap[place];
        heap[place] = heap[least];
        heap[least] = moved;
        place = least;
    }
}

static bool merge(struct linesort *sort, FILE *out, struct acc_error *err)
{
    struct run *heap[RUNS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < sort->run_count; i++) {
        struct run *run = &sort->runs[i];

        if (!rewind_run(run->file, err) || !next_line(run, err))
            return false;
        if (run->line.size != SIZE_MAX)
            heap[count++] = run;
    }
    for (size_t i = count; i > 0; i--)
        sink(heap, count, i - 1);
    while (count > 0) {
        if (!write_line(&heap[0]->line, out, err) || !next_line(heap[0], err))
            return false;
        if (heap[0]->line.size == SIZE_MAX)
            heap[0] = heap[--count];
        sink(heap, count, 0);
    }
    return true;
}

/* All runs become one, so that there is room for more. */
static bool merge_runs(struct linesort *sort, struct acc_error *err)
{
    FILE *file = make_file(sort, err);

    if (file == NULL)
        return false;
    if (!merge(sort, file, err) || fflush(file) != 0) {
        fclose(file);
        return false;
    }
    close_runs(sort);
    sort->runs[sort->run_count++].file = file;
    return true;
}

static bool write_lines(struct linesort *sort, FILE *out, struct acc_error *err)
{
    if (sort->line_count > 0)
        qsort(sort->lines, sort->line_count, sizeof(*sort->lines), compare);
    for (size_t i = 0; i < sort->line_count; i++)
        if (!write_line(&sort->lines[i], out, err))
            return false;
    sort->line_count = 0;
    sort->text_size = 0;
    return true;
}

static bool write_run(struct linesort *sort, struct acc_error *err)
{
    if (sort->run_count == RUNS_MAX && !merge_runs(sort, err))
        return false;

    FILE *file = make_file(sort, err);
    if (file == NULL)
        return false;
    sort->runs[sort->run_count++].file = file;
    return write_lines(sort, file, err) &&
           (fflush(file) == 0 || acc_fail_errno(err, "cannot write a temporary file"));
}

bool linesort_add(struct linesort *sort, const char *line, size_t size, struct acc_error *err)
{
    if (sort->text_size > 0 && sort->text_max - sort->text_size < size && !write_run(sort, err))
        return false;
    if (size > sort->text_max) { /* nothing is in memory now */
        sort->text_max = size;
        sort->text = acc_realloc(sort->text, size);
    }
    if (sort->line_count == sort->line_capacity) {
        sort->line_capacity = 2 * sort->line_capacity + 1024;
        sort->lines = acc_realloc(sort->lines, sort->line_capacity * sizeof(*sort->lines));
    }
    memcpy(sort->text + sort->text_size, line, size);
    sort->lines[sort->line_count++] = (struct line){sort->text + sort->text_size, size};
    sort->text_size += size;
    return true;
}

bool linesort_write(struct linesort *sort, FILE *out, struct acc_error *err)
{
    if (sort->run_count == 0)
        return write_lines(sort, out, err);
    return write_run(sort, err) && merge(sort, out, err);
}
