#include "formats/csv.h"
#include "formats/dump_json.h"
#include "kinds_for_tests.h"

/* Feeds text line by line; the facts written again, refusals as "!line: message", a failed header as "X message". */
static const char *read_csv(struct fixture *fixture, const struct kind *kind, const char *text)
{
    struct csv csv = {.kind = kind};
    struct acc_rows *rows = &fixture->rows[kind->index];
    enum csv_result result = CSV_NONE;
    int number = 0;

    rows->count = 0;
    buf_reset(&fixture->line);
    buf_text(&fixture->line, "");
    while (result != CSV_FAILED && *text != '\0') {
        size_t size = strcspn(text, "\n");

        number++;
        result = csv_line(&csv, &fixture->target, text, size, &fixture->err);
        if (result == CSV_BAD)
            buf_printf(&fixture->line, "!%d: %s\n", number, fixture->err.text);
        if (result == CSV_FACT) {
            dump_json_fact(&fixture->line, kind, rows_at(rows, rows->count - 1));
            buf_text(&fixture->line, "\n");
        }
        text += size + (text[size] == '\n');
    }
    if (result != CSV_FAILED)
        result = csv_end(&csv, &fixture->err);
    if (result == CSV_BAD)
        buf_printf(&fixture->line, "!end: %s\n", fixture->err.text);
    if (result == CSV_FAILED)
        buf_printf(&fixture->line, "X %s\n", fixture->err.text);
    csv_clear(&csv);
    return fixture->line.data;
}

#define E(from, to) "{\"kind\":\"edge\",\"from\":" #from ",\"to\":" #to "}\n"
#define B(title, body) "{\"kind\":\"book\",\"title\":\"" title "\",\"body\":\"" body "\"}\n"

static void columns_go_by_the_header(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(read_csv(fixture, fixture->edge, "from,to\n1,2\n3,4\n"), E(1, 2) E(3, 4));
    assert_string_equal(read_csv(fixture, fixture->edge, "to,from\n1,2\n"), E(2, 1));
    assert_string_equal(read_csv(fixture, fixture->edge, "\"from\",\"to\"\r\n1,2\r\n\r\n3,4\r\n"),
                        E(1, 2) E(3, 4));
    assert_string_equal(read_csv(fixture, fixture->edge, "from,to\n1,2"), E(1, 2));
}

static void quotes_hold_commas_newlines_and_quotes(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(read_csv(fixture, fixture->book, "title,body\n\"a,b\",\"say \"\"x\"\"\"\n"),
                        B("a,b", "say \\\"x\\\""));
    assert_string_equal(read_csv(fixture, fixture->book, "title,body\na,\"1\n\n2\"\nb,c\n"),
                        B("a", "1\\n\\n2") B("b", "c"));
    assert_string_equal(read_csv(fixture, fixture->book, "title,body\r\na,\"1\r\n2\"\r\n"),
                        B("a", "1\\r\\n2"));
    assert_string_equal(read_csv(fixture, fixture->book, "title,body\n\"\",\"\"\n,\n"),
                        B("", "") B("", ""));
}

static void nothing_without_quotes_is_null_where_it_may_be(void **state)
{
    static const char *const head = "b,i,f,t,y,u,j,n,s\n";
    struct fixture *fixture = *state;
    char text[256];

    snprintf(text, sizeof(text),
             "%st,5,1.5,x,\\x00ff,00112233445566778899aabbccddeeff,\"{\"\"a\"\": 1}\",,\n", head);
    assert_string_equal(
        read_csv(fixture, fixture->all, text),
        "{\"kind\":\"every\",\"b\":true,\"i\":5,\"f\":1.5,\"t\":\"x\",\"y\":\"00ff\","
        "\"u\":\"00112233-4455-6677-8899-aabbccddeeff\",\"j\":{\"a\":1}}\n");
    snprintf(text, sizeof(text), "%sfalse,5,1.5,x,,00112233445566778899aabbccddeeff,1,7,\"\"\n",
             head);
    assert_non_null(strstr(read_csv(fixture, fixture->all, text), "\"y\":\"\","));
    assert_non_null(strstr(fixture->line.data, "\"n\":7,\"s\":\"\"}"));
    assert_string_equal(read_csv(fixture, fixture->edge, "from,to\n1,\n"),
                        "!2: field \"to\": wanted int8 (a whole number of 64 bits), got \"\"\n");
}

static void arrays_are_json(void **state)
{
    struct fixture *fixture = *state;
    const char *text =
        "b,i,f,t,y,u,j,is,ts\n"
        "0,5,1.5,x,,00112233445566778899aabbccddeeff,null,\"[1,2]\",\"[\"\"a\"\"]\"\n"
        "0,5,1.5,x,,00112233445566778899aabbccddeeff,null,1;2,\n";

    assert_non_null(
        strstr(read_csv(fixture, fixture->all, text), "\"is\":[1,2],\"ts\":[\"a\"]}\n"));
    assert_non_null(
        strstr(fixture->line.data, "!3: field \"is\": wanted int8[] as JSON, got \"1;2\""));
}

static void a_bad_record_is_refused_and_the_next_one_read(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(
        read_csv(fixture, fixture->edge, "from,to\n1\n1,2,3\nx,2\n1,2\n"),
        "!2: wanted 2 values as in the header, got 1\n"
        "!3: wanted 2 values as in the header, got 3\n"
        "!4: field \"from\": wanted int8 (a whole number of 64 bits), got \"x\"\n" E(1, 2));
    assert_string_equal(
        read_csv(fixture, fixture->book, "title,body\na\"b,c\n\"a\"b,c\nd,e\n"),
        "!2: value 1: a quote inside a value that does not begin with one\n"
        "!3: value 1: wanted a comma after the closing quote, got \"b\"\n" B("d", "e"));
    assert_string_equal(read_csv(fixture, fixture->book, "title,body\na,\xff\nd,e\n"),
                        "!2: field \"body\": wanted UTF-8, byte 1 is 0xff\n" B("d", "e"));
}

static void a_quote_that_stays_open_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct buf text = {0};

    assert_string_equal(read_csv(fixture, fixture->book, "title,body\na,b\nc,\"d\n"),
                        B("a", "b") "!end: value 2: the quote is never closed\n");
    buf_text(&text, "title,body\nc,\"d\n");
    for (int i = 0; i < 70000; i++)
        buf_text(&text, "x\n");
    const char *got = read_csv(fixture, fixture->book, text.data);
    assert_non_null(
        strstr(got, "a quote is open for 66538 bytes, at most 66536 are taken (ingest.value)"));
    buf_clear(&text);
}

static void a_wrong_header_fails_at_once(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(
        read_csv(fixture, fixture->edge, "from,tu\n1,2\n"),
        "X header: column 2: kind \"edge\" has no field \"tu\", did you mean \"to\"?\n");
    assert_string_equal(read_csv(fixture, fixture->edge, "from\n1\n"),
                        "X header: field \"to\" of kind \"edge\" is missing, wanted int8\n");
    assert_string_equal(read_csv(fixture, fixture->edge, "from,to,from\n"),
                        "X header: column 3: field \"from\" is there twice\n");
    assert_string_equal(read_csv(fixture, fixture->edge, "\n"),
                        "X wanted a header line with field names, got nothing\n");
    assert_string_equal(read_csv(fixture, fixture->edge, "fr\"om,to\n"),
                        "X value 1: a quote inside a value that does not begin with one\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(columns_go_by_the_header),
        TEST(quotes_hold_commas_newlines_and_quotes),
        TEST(nothing_without_quotes_is_null_where_it_may_be),
        TEST(arrays_are_json),
        TEST(a_bad_record_is_refused_and_the_next_one_read),
        TEST(a_quote_that_stays_open_is_refused),
        TEST(a_wrong_header_fails_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
