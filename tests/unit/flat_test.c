/* The quick way through a line of NDJSON against the whole JSON reader, on random objects and on what is left of them. */
#include "formats/flat.h"
#include "formats/ndjson.h"
#include "kinds_for_tests.h"

#define ROUNDS 200000

struct random {
    uint64_t state;
};

static uint32_t draw(struct random *random, uint32_t below)
{
    random->state = random->state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)((random->state >> 33) % below);
}

#define PICK(random, list) ((list)[draw(random, COUNT_OF(list))])

static void add_blanks(struct random *random, struct buf *line)
{
    static const char *const blanks[] = {"", "", "", "", "", " ", "\t", " \r\n  "};

    buf_text(line, PICK(random, blanks));
}

static void add_string(struct random *random, struct buf *line)
{
    static const char *const pieces[] = {
        "a",   "some words", "é",        "\U0001f600", "\\n",    "\\\"", "\\\\",
        "\\/", "\\u00e9",    "\\u20AC",  "\\u0001",    "\\t\\b", " ",    "'",
        "{",   "],",         "0123abcd", "-17",        "\\r\\f", "",     "\x7f",
    };

    buf_byte(line, '"');
    for (uint32_t n = draw(random, 4); n > 0; n--)
        buf_text(line, PICK(random, pieces));
    buf_byte(line, '"');
}

/* A value that fits the field, written as any program might. */
static void add_value(struct random *random, const struct field *field, struct buf *line)
{
    static const char *const whole[] = {"0", "7", "-1", "123456789012345678", "\"-42\"", "-0"};
    static const char *const parts[] = {"0.5", "-1e3", "2E-7", "1.0",          "-0.0",
                                        "3",   "1e+2", "0",    "\"Infinity\"", "\"0.25\""};
    static const char *const bytes[] = {"\"\"", "\"00ff\"", "\"ABcd\""};
    static const char *const ids[] = {"\"00112233-4455-6677-8899-aabbccddeeff\"",
                                      "\"00112233445566778899AABBCCDDEEFF\""};

    if (field->is_nullable && draw(random, 4) == 0)
        buf_text(line, "null");
    else if (field->type == FIELD_BOOL)
        buf_text(line, draw(random, 2) == 0 ? "true" : "false");
    else if (field->type == FIELD_INT8)
        buf_text(line, PICK(random, whole));
    else if (field->type == FIELD_FLOAT8)
        buf_text(line, PICK(random, parts));
    else if (field->type == FIELD_BYTES)
        buf_text(line, PICK(random, bytes));
    else if (field->type == FIELD_UUID)
        buf_text(line, PICK(random, ids));
    else
        add_string(random, line);
}

/* What fits few fields or none, or only the whole reader takes. */
static void add_other(struct random *random, struct buf *line)
{
    static const char *const others[] = {
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e400",
        "-",
        "--1",
        "3.0",
        "1e2",
        "1.5",
        "true",
        "false",
        "tru",
        "null",
        "nul",
        "[]",
        "[1,2]",
        "{}",
        "{\"a\":[1]}",
        "\"\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"a\nb\"",
        "\"",
        "\"NaN\"",
        "\"zz\"",
        "",
        "0.1234567890123456789012345678901",
        "\"00112233-4455-6677-8899-aabbccddeef\"",
        "123456789012345678901234567890",
    };

    buf_text(line, PICK(random, others));
}

static void add_member(struct random *random, const char *name, struct buf *line)
{
    add_blanks(random, line);
    if (line->size > 0 && strchr(line->data, ':') != NULL)
        buf_byte(line, ',');
    add_blanks(random, line);
    buf_printf(line, "\"%s\"", name);
    add_blanks(random, line);
    buf_byte(line, ':');
    add_blanks(random, line);
}

/* A line of a fact of kind; is_right false: with mistakes and rarities in it. */
static void add_line(struct random *random, const struct kind *kind, bool is_right,
                     struct buf *line)
{
    static const char *const names[] = {"", "kind", "from", "to", "i", "nobody", "\\u0066rom", "é"};
    bool is_kind_told = draw(random, 2) == 0;
    size_t start = draw(random, 3) == 0 ? draw(random, (uint32_t)kind->field_count) : 0;

    add_blanks(random, line);
    buf_byte(line, '{');
    if (is_kind_told) {
        add_member(random, "kind", line);
        buf_printf(line, "\"%s\"", is_right || draw(random, 10) > 0 ? kind->name : "book");
    }
    for (size_t i = 0; i < kind->field_count; i++) {
        const struct field *field = &kind->fields[(start + i) % kind->field_count];

        if (is_right && (field->is_array || field->type == FIELD_JSON))
            continue; /* all of them may be left out */
        if ((field->is_nullable || !is_right) && draw(random, is_right ? 3 : 8) == 0)
            continue;
        add_member(random, !is_right && draw(random, 30) == 0 ? PICK(random, names) : field->name,
                   line);
        if (!is_right && draw(random, 10) == 0)
            add_other(random, line);
        else
            add_value(random, field, line);
    }
    add_blanks(random, line);
    buf_byte(line, '}');
    add_blanks(random, line);
}

/* Changes, takes out or cuts off an ASCII character or two. */
static void break_line(struct random *random, struct buf *line)
{
    static const char characters[] = "{}[]\",:\\0129-+.eEtfn u";

    for (uint32_t n = 1 + draw(random, 2); n > 0 && line->size > 0; n--) {
        size_t at = draw(random, (uint32_t)line->size);

        if ((uint8_t)line->data[at] >= 0x80)
            continue;
        switch (draw(random, 3)) {
        case 0:
            line->data[at] = characters[draw(random, sizeof(characters) - 1)];
            break;
        case 1:
            memmove(line->data + at, line->data + at + 1, line->size - at - 1);
            line->size--;
            break;
        default:
            line->size = at;
        }
    }
}

/* Whether the quick way takes the line; if so, the whole reader makes the same of it. */
static bool is_taken(struct fixture *fixture, const struct kind *kind, const struct buf *line)
{
    char *copy =
        acc_alloc(line->size + 1); /* exactly as long: a look behind it is seen by checkers */
    const struct kind *whole = NULL;

    memcpy(copy, line->data, line->size);
    heap_reset(&fixture->heap);
    uint64_t used = fixture->heap.used;
    for (size_t k = 0; k < fixture->catalog.count; k++)
        fixture->rows[k].count = 0;
    const struct kind *quick = flat_line(&fixture->target, kind, copy, line->size);
    for (size_t k = 0; k < fixture->catalog.count; k++)
        assert_int_equal(fixture->rows[k].count, quick == fixture->catalog.kinds[k]);
    if (quick == NULL) {
        assert_int_equal(fixture->heap.used, used);
    } else if (!ndjson_line_whole(&fixture->target, kind, copy, line->size, &whole,
                                  &fixture->err)) {
        fail_msg("only the quick way takes %.*s: %s", (int)line->size, copy, fixture->err.text);
    } else {
        struct acc_rows *rows = &fixture->rows[quick->index];

        assert_ptr_equal(whole, quick);
        if (!rows_equal(quick, rows_at(rows, 0), rows_at(rows, 1), UINT64_MAX))
            fail_msg("not the same fact: %.*s", (int)line->size, copy);
    }
    free(copy);
    return quick != NULL;
}

/* The fixture's kinds, but with every type that stands on one line and nothing that must be there and is an object. */
static int setup(void **state)
{
    static const char *const plain[][2] = {
        {"b", "bool!"},   {"i", "int8!"},    {"f", "float8!"}, {"t", "text!"},
        {"y", "bytes"},   {"u", "uuid"},     {"n", "int8?"},   {"s", "text?"},
        {"d", "float8?"}, {"is", "int8[]?"}, {"j", "json?"},   {NULL, NULL},
    };

    return fixture_of(state, "plain", plain);
}

static const struct kind *draw_kind(struct fixture *fixture, struct random *random)
{
    const struct kind *kinds[] = {fixture->edge, fixture->all, fixture->book};

    return PICK(random, kinds);
}

static void objects_of_plain_values_are_taken(void **state)
{
    struct fixture *fixture = *state;
    struct random random = {1};

    for (int i = 0; i < ROUNDS; i++) {
        const struct kind *kind = draw_kind(fixture, &random);

        buf_reset(&fixture->line);
        add_line(&random, kind, true, &fixture->line);
        bool is_kind_told = strstr(fixture->line.data, "kind") != NULL;
        if (!is_taken(fixture, kind, &fixture->line))
            fail_msg("not taken: %s", fixture->line.data);
        assert_int_equal(is_taken(fixture, NULL, &fixture->line), is_kind_told);
    }
}

static void what_is_taken_the_whole_reader_takes_as_the_same(void **state)
{
    struct fixture *fixture = *state;
    struct random random = {2};
    int taken = 0;

    for (int i = 0; i < ROUNDS; i++) {
        const struct kind *kind = draw_kind(fixture, &random);

        buf_reset(&fixture->line);
        add_line(&random, kind, draw(&random, 2) == 0, &fixture->line);
        if (draw(&random, 2) == 0)
            break_line(&random, &fixture->line);
        taken += is_taken(fixture, draw(&random, 3) == 0 ? NULL : kind, &fixture->line);
    }
    assert_in_range(taken, ROUNDS / 20, ROUNDS / 20 * 19);
}

static void what_is_rare_is_left_to_the_whole_reader(void **state)
{
    static const char *const lines[] = {
        "",
        "{",
        "{}",
        "[]",
        "null",
        "{\"from\":1}",
        "{\"from\":1,\"to\":2",
        "{\"from\":1,\"to\":2}}",
        "{\"from\":1,\"to\":2,}",
        "{,\"from\":1,\"to\":2}",
        "{\"from\":1 \"to\":2}",
        "{\"from\":1,\"from\":1,\"to\":2}",
        "{\"from\":1,\"to\":9223372036854775807}",
        "{\"from\":1,\"to\":2.0}",
        "{\"from\":1,\"to\":02}",
        "{\"from\":1,\"to\":true}",
        "{\"from\":1,\"to\":null}",
        "{\"from\":1,\"to\":2,\"x\":3}",
        "{\"\\u0066rom\":1,\"to\":2}",
        "{\"from\":1,\"kind\":\"edge\",\"to\":2}",
        "{\"kind\":\"book\",\"from\":1,\"to\":2}",
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        buf_reset(&fixture->line);
        buf_text(&fixture->line, lines[i]);
        if (is_taken(fixture, fixture->edge, &fixture->line))
            fail_msg("taken: %s", lines[i]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(objects_of_plain_values_are_taken),
        TEST(what_is_taken_the_whole_reader_takes_as_the_same),
        TEST(what_is_rare_is_left_to_the_whole_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
