#include "http/decode.h"
#include "http/head.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

/* Reads text in pieces of so many bytes, each time from memory of its own. */
static enum http_reading read_in(struct http_head *head, const char *text, size_t size, size_t step)
{
    enum http_reading reading = HTTP_MORE;

    *head = (struct http_head){0};
    for (size_t end = 0; end < size && reading == HTTP_MORE;) {
        char *copy;

        end = end + step < size ? end + step : size;
        copy = malloc(end);
        memcpy(copy, text, end);
        reading = http_head_read(head, copy, end);
        free(copy);
    }
    return reading;
}

static void a_head_is_read_alike_however_it_is_cut(void **state)
{
    static const char text[] =
        "\r\nPOST /a?b=c HTTP/1.1\r\nhOsT: [::1]:80\r\nX:\t y \r\nContent-Length: 12\r\n"
        "Expect: 100-continue\r\n\r\nGET /";
    size_t size = strlen(text);
    struct http_head head;

    (void)state;
    for (size_t step = 1; step <= size; step++) {
        assert_int_equal(read_in(&head, text, size, step), HTTP_DONE);
        assert_int_equal(head.size, size - 5);
        assert_int_equal(head.body_bytes, 12);
        assert_true(head.has_expect && !head.is_chunked && !head.is_http10);
    }
    for (size_t end = 0; end < size - 5; end++) {
        head = (struct http_head){0};
        assert_int_equal(http_head_read(&head, text, end), HTTP_MORE);
    }
}

static void put(char *at, const char *text)
{
    while (*text != '\0')
        *at++ = *text++;
}

static void limits_of_a_head_are_exact(void **state)
{
    static char text[HTTP_HEAD_BYTES + 64];
    static const char start[] = "GET / HTTP/1.0\r\n";
    struct http_head head;
    size_t size = strlen(start);

    (void)state;
    memset(text, 'a', sizeof(text));
    put(text, start);
    text[size + 1] = ':';
    put(text + HTTP_HEAD_BYTES - 4, "\r\n\r\n");
    assert_int_equal(read_in(&head, text, HTTP_HEAD_BYTES, 1000), HTTP_DONE);
    put(text + HTTP_HEAD_BYTES - 4, "a\r\n\r\n");
    assert_int_equal(read_in(&head, text, HTTP_HEAD_BYTES + 1, 1000), HTTP_BAD);
    assert_int_equal(head.refusal.status, 431);
}

static enum http_reading chunks_in(struct http_chunks *chunks, const char *text, size_t step,
                                   int64_t limit_bytes, size_t *end)
{
    enum http_reading reading = HTTP_MORE;
    size_t size = strlen(text), used;

    *chunks = (struct http_chunks){0};
    for (*end = 0; *end < size && reading == HTTP_MORE; *end += used)
        reading = http_chunks_read(chunks, text + *end, step < size - *end ? step : size - *end,
                                   limit_bytes, &used);
    return reading;
}

static void chunks_end_where_they_end_however_they_are_cut(void **state)
{
    static const char text[] = "3;a=b\r\nabc\r\n00A \r\n0123456789\r\n0\r\nX: y\r\n\r\nGET /";
    struct http_chunks chunks;
    size_t end;

    (void)state;
    for (size_t step = 1; step <= strlen(text); step++) {
        assert_int_equal(chunks_in(&chunks, text, step, 13, &end), HTTP_DONE);
        assert_int_equal(end, strlen(text) - 5);
        assert_int_equal(chunks.total, 13);
        assert_int_equal(chunks_in(&chunks, text, step, 12, &end), HTTP_BAD);
        assert_int_equal(chunks.refusal.status, 413);
    }
    assert_int_equal(chunks_in(&chunks, "fffffffffffffff\r\n", 100, INT64_MAX, &end), HTTP_MORE);
    assert_int_equal(chunks_in(&chunks, "ffffffffffffffff\r\n", 100, INT64_MAX, &end), HTTP_BAD);
}

static void paths_are_decoded_or_refused(void **state)
{
    static const char *const bad[] = {"/%",   "/%0",  "/%g0", "/%00", "/%1f",    "/%7F",    "/%2F",
                                      "/%80", "/%c3", "/.",   "/..",  "/a/../b", "/%2e./a", "/a/."};
    char out[64];
    const char *reason;
    size_t size;

    (void)state;
    assert_true(http_decode_path("/a%20b/%C3%A9/...", 17, out, &size, &reason));
    assert_string_equal(out, "/a b/\xc3\xa9/...");
    assert_int_equal(size, strlen(out));
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        reason = NULL;
        assert_false(http_decode_path(bad[i], strlen(bad[i]), out, &size, &reason));
        assert_non_null(reason);
    }
    assert_true(http_decode_query("a+b%2B%26", 9, out, &reason));
    assert_string_equal(out, "a b+&");
    assert_false(http_decode_query("%00", 3, out, &reason));
    assert_false(http_decode_query("%a", 2, out, &reason));
    assert_false(http_decode_query("\xff", 1, out, &reason));
}

static bool is_trace(const char *text)
{
    return http_is_trace((struct http_text){text, strlen(text)});
}

static void traces_are_those_of_the_standard(void **state)
{
    (void)state;
    assert_true(is_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
    assert_true(is_trace("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"));
    assert_true(is_trace("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    assert_false(is_trace("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x"));
    assert_false(is_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-"));
    assert_false(is_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"));
    assert_false(is_trace("00-0af7651916cd43dd8448eb211c80319C-b7ad6b7169203331-00"));
    assert_false(is_trace("00-00000000000000000000000000000000-b7ad6b7169203331-00"));
    assert_false(is_trace("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-00"));
    assert_false(is_trace("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
    assert_false(is_trace("0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
    assert_false(is_trace(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_read_alike_however_it_is_cut),
        cmocka_unit_test(limits_of_a_head_are_exact),
        cmocka_unit_test(chunks_end_where_they_end_however_they_are_cut),
        cmocka_unit_test(paths_are_decoded_or_refused),
        cmocka_unit_test(traces_are_those_of_the_standard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
