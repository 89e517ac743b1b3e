/* The board: one writer, readers without locks, series over several windows. */
#include "check.h"

#include "board.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static int make(void **state)
{
    struct acc_error err;

    snprintf(folder, sizeof(folder), "/tmp/accrete-board.XXXXXX");
    assert_non_null(mkdtemp(folder));
    *state = board_create(folder, &err);
    return *state == NULL;
}

static int drop(void **state)
{
    char path[96];

    board_close(*state);
    snprintf(path, sizeof(path), "%s/board", folder);
    unlink(path);
    return rmdir(folder);
}

static void a_document_is_there_after_it_was_put(void **state)
{
    struct board *board = *state;
    struct buf out = {0};
    uint64_t version = 0;
    int64_t at_us = 0;

    assert_false(board_get(board, BOARD_STATUS, &out, &version, &at_us));
    assert_int_equal(board_version(board, BOARD_STATUS), 0);
    assert_true(board_put(board, BOARD_STATUS, "one", 3));
    assert_true(board_get(board, BOARD_STATUS, &out, &version, &at_us));
    assert_string_equal(out.data, "one");
    assert_true(board_put(board, BOARD_STATUS, "two and more", 12));
    assert_int_not_equal(board_version(board, BOARD_STATUS), version);
    assert_true(board_get(board, BOARD_STATUS, &out, &version, &at_us));
    assert_string_equal(out.data, "two and more");
    assert_false(board_get(board, BOARD_KINDS, &out, &version, &at_us));
    buf_clear(&out);
}

static void a_document_too_large_leaves_the_old_one(void **state)
{
    struct board *board = *state;
    size_t size = 9 << 20;
    char *large = calloc(1, size);
    struct buf out = {0};
    uint64_t version;
    int64_t at_us;

    assert_true(board_put(board, BOARD_STATUS, "small", 5));
    assert_false(board_put(board, BOARD_STATUS, large, size));
    assert_true(board_get(board, BOARD_STATUS, &out, &version, &at_us));
    assert_string_equal(out.data, "small");
    free(large);
    buf_clear(&out);
}

/* Texts of one letter, of a length that follows from it: a torn copy shows two letters or another length. */
static size_t length_of(char letter)
{
    return 20000 + 1500 * (size_t)(letter - 'a');
}

static void a_reader_never_sees_half_of_a_document(void **state)
{
    struct board *board = *state;
    struct buf out = {0};
    uint64_t version;
    uint64_t last = 0;
    int64_t at_us;
    int changes = 0;

    pid_t writer = fork();
    if (writer == 0) {
        static char text[100000];
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a claim that fails leaves no writer behind */
        for (unsigned n = 0;; n++) {
            char letter = (char)('a' + n % 26);
            memset(text, letter, length_of(letter));
            if (!board_put(board, BOARD_STATUS, text, length_of(letter)))
                _exit(1);
        }
    }
    while (!board_get(board, BOARD_STATUS, &out, &version, &at_us))
        usleep(100);
    for (int n = 0; n < 2000 || (changes < 500 && n < 20000000); n++) {
        assert_true(board_get(board, BOARD_STATUS, &out, &version, &at_us));
        assert_true(version >= last);
        changes += version != last;
        last = version;
        assert_int_equal(out.size, length_of(out.data[0]));
        for (size_t i = 0; i < out.size; i += 97)
            assert_int_equal(out.data[i], out.data[0]);
        assert_int_equal(out.data[out.size - 1], out.data[0]);
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    assert_int_equal(changes >= 500, 1); /* the writer did write meanwhile */
    /* A writer that was killed in the middle stops neither readers nor the next writer. */
    assert_true(board_get(board, BOARD_STATUS, &out, &version, &at_us));
    assert_true(board_put(board, BOARD_STATUS, "next", 4));
    assert_true(board_get(board, BOARD_STATUS, &out, &version, &at_us));
    assert_string_equal(out.data, "next");
    buf_clear(&out);
}

static void one_process_at_a_time_is_the_writer(void **state)
{
    struct board *board = *state;
    int ends[2];
    int back[2];
    char word;

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pipe(back), 0);
    pid_t first = fork();
    if (first == 0) {
        word = board_own(board) ? 'y' : 'n';
        _exit(write(ends[1], &word, 1) != 1 || read(back[0], &word, 1) != 1);
    }
    assert_int_equal(read(ends[0], &word, 1), 1);
    assert_int_equal(word, 'y');
    assert_false(board_own(board));
    assert_int_equal(write(back[1], "x", 1), 1);
    waitpid(first, NULL, 0);
    assert_true(board_own(board));
    assert_true(board_own(board));
    for (int i = 0; i < 2; i++) {
        close(ends[i]);
        close(back[i]);
    }
}

static void its_memory_outlives_the_writer(void **state)
{
    struct board *board = *state;
    int status;

    pid_t writer = fork();
    if (writer == 0) {
        int *memory = board_memory(board, 7, 4096);
        _exit(memory[100] != 0 || (memory[100] = 42) != 42);
    }
    waitpid(writer, &status, 0);
    assert_int_equal(status, 0);
    int *memory = board_memory(board, 7, 4096);
    assert_int_equal(memory[100], 42);
    memory = board_memory(board, 8, 4096); /* another layout begins with nothing */
    assert_int_equal(memory[100], 0);
}

static void messages_are_heard_once(void **state)
{
    struct board *board = *state;
    struct buf out = {0};
    uint64_t version = 0;

    assert_false(board_hear(board, TOPIC_FACTS, &version, &out));
    board_say(board, TOPIC_FACTS, "{}", 2);
    board_say(board, TOPIC_FACTS, "[1]", 3);
    assert_true(board_hear(board, TOPIC_FACTS, &version, &out));
    assert_string_equal(out.data, "[1]");
    assert_false(board_hear(board, TOPIC_FACTS, &version, &out));
    assert_false(board_hear(board, TOPIC_AUDIT, &version, &out));
    buf_clear(&out);
}

/* Series */

static void sample(struct board *board, int64_t at_s, double value)
{
    board_sample_begin(board, at_s);
    if (!isnan(value))
        assert_true(board_sample(board, "depth", "", value));
    board_sample_end(board);
}

static void a_series_has_its_points_in_order(void **state)
{
    struct board *board = *state;
    int64_t t[BOARD_POINTS];
    double values[BOARD_POINTS];
    int step_s;

    assert_int_equal(board_series(board, "depth", "", WINDOW_15M, t, values, &step_s), -1);
    for (int n = 0; n < 10; n++)
        sample(board, 3000 + 3 * n, n);
    int count = board_series(board, "depth", "", WINDOW_15M, t, values, &step_s);
    assert_int_equal(count, 10);
    assert_int_equal(step_s, 3);
    for (int n = 0; n < 10; n++) {
        assert_int_equal(t[n], 3000 + 3 * n);
        assert_true(values[n] == n);
    }
    assert_int_equal(board_series(board, "depth", "other", WINDOW_15M, t, values, &step_s), -1);
}

static void time_without_samples_is_a_gap(void **state)
{
    struct board *board = *state;
    int64_t t[BOARD_POINTS];
    double values[BOARD_POINTS];
    int step_s;

    sample(board, 3000, 1);
    sample(board, 3009, 4);
    sample(board, 3012, NAN);
    assert_int_equal(board_series(board, "depth", "", WINDOW_15M, t, values, &step_s), 5);
    assert_true(values[0] == 1);
    assert_true(isnan(values[1]) && isnan(values[2]));
    assert_true(values[3] == 4);
    assert_true(isnan(values[4]));
    /* Longer than the window: nothing of the old round shows. */
    sample(board, 3000 + 5000, 9);
    assert_int_equal(board_series(board, "depth", "", WINDOW_15M, t, values, &step_s),
                     BOARD_POINTS);
    for (int n = 0; n < BOARD_POINTS - 1; n++)
        assert_true(isnan(values[n]));
    assert_true(values[BOARD_POINTS - 1] == 9);
}

static void long_windows_hold_means(void **state)
{
    struct board *board = *state;
    int64_t t[BOARD_POINTS];
    double values[BOARD_POINTS];
    int step_s;

    for (int n = 0; n < 2000; n++) /* 100 minutes; four samples make a step of an hour's window */
        sample(board, 2880000 + 3 * n, n);
    int count = board_series(board, "depth", "", WINDOW_15M, t, values, &step_s);
    assert_int_equal(count, BOARD_POINTS);
    assert_true(values[BOARD_POINTS - 1] == 1999 && values[0] == 1700);
    assert_int_equal(t[0], 2880000 + 3 * 1700);
    count = board_series(board, "depth", "", WINDOW_1H, t, values, &step_s);
    assert_int_equal(count, BOARD_POINTS);
    assert_int_equal(step_s, 12);
    assert_true(fabs(values[BOARD_POINTS - 1] - 1997.5) < 0.01);
    assert_true(fabs(values[BOARD_POINTS - 2] - 1993.5) < 0.01);
    count = board_series(board, "depth", "", WINDOW_6H, t, values, &step_s);
    assert_int_equal(step_s, 72);
    assert_true(count == 84); /* 6,000 s */
    assert_true(fabs(values[0] - 11.5) < 0.01);
    count = board_series(board, "depth", "", WINDOW_24H, t, values, &step_s);
    assert_int_equal(step_s, 288);
    assert_int_equal(count, 21);
}

static void series_of_lifecycles_are_apart(void **state)
{
    struct board *board = *state;
    int64_t t[BOARD_POINTS];
    double values[BOARD_POINTS];
    int step_s;

    for (int n = 0; n < 3; n++) {
        board_sample_begin(board, 300 + 3 * n);
        board_sample(board, "done", "a", n);
        board_sample(board, "done", "b", 10 * n);
        board_sample_end(board);
    }
    assert_int_equal(board_series(board, "done", "b", WINDOW_15M, t, values, &step_s), 3);
    assert_true(values[2] == 20);
    assert_int_equal(board_series(board, "done", "a", WINDOW_15M, t, values, &step_s), 3);
    assert_true(values[2] == 2);
}

static void there_is_an_end_to_the_number_of_series(void **state)
{
    struct board *board = *state;
    char name[32];

    board_sample_begin(board, 300);
    for (int n = 0; n < BOARD_SERIES; n++) {
        snprintf(name, sizeof(name), "series_%d", n);
        assert_true(board_sample(board, name, "", n));
    }
    assert_false(board_sample(board, "one_more", "", 1));
    board_sample_end(board);
}

static void marks_are_those_of_the_time(void **state)
{
    struct board *board = *state;
    int64_t t[4];
    char text[4][64];

    for (int n = 0; n < 70; n++) {
        char word[32];
        snprintf(word, sizeof(word), "generation %d", n);
        board_mark(board, 1000 + n, word);
    }
    assert_int_equal(board_marks(board, 1067, t, text, 4), 3);
    assert_int_equal(t[0], 1067);
    assert_string_equal(text[2], "generation 69");
    assert_int_equal(board_marks(board, 0, t, text, 4), 4);
    assert_string_equal(text[0], "generation 6"); /* the oldest that is kept */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_document_is_there_after_it_was_put, make, drop),
        cmocka_unit_test_setup_teardown(a_document_too_large_leaves_the_old_one, make, drop),
        cmocka_unit_test_setup_teardown(a_reader_never_sees_half_of_a_document, make, drop),
        cmocka_unit_test_setup_teardown(one_process_at_a_time_is_the_writer, make, drop),
        cmocka_unit_test_setup_teardown(its_memory_outlives_the_writer, make, drop),
        cmocka_unit_test_setup_teardown(messages_are_heard_once, make, drop),
        cmocka_unit_test_setup_teardown(a_series_has_its_points_in_order, make, drop),
        cmocka_unit_test_setup_teardown(time_without_samples_is_a_gap, make, drop),
        cmocka_unit_test_setup_teardown(long_windows_hold_means, make, drop),
        cmocka_unit_test_setup_teardown(series_of_lifecycles_are_apart, make, drop),
        cmocka_unit_test_setup_teardown(there_is_an_end_to_the_number_of_series, make, drop),
        cmocka_unit_test_setup_teardown(marks_are_those_of_the_time, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
