#include "http/router.h"

#include "check.h"

#include <string.h>

static const char *const table[][2] = {
    {"GET", "/"},
    {"GET", "/facts/{kind}"},
    {"POST", "/facts/{kind}"},
    {"GET", "/facts/{kind}.ndjson"},
    {"GET", "/facts/{kind}.csv"},
    {"GET", "/facts/{kind}/count"},
    {"GET", "/facts/{kind}/{id}"},
    {"GET", "/facts/{kind}/{id}/causes"},
    {"GET", "/events/{id}"},
    {"POST", "/events/retry"},
    {"GET", "/events/dead/groups"},
    {"GET", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}"},
};

static const char *pattern_at(const void *context, size_t index, const char **method)
{
    (void)context;
    if (index >= COUNT_OF(table))
        return NULL;
    *method = table[index][0];
    return table[index][1];
}

static struct http_text text(const char *words)
{
    return (struct http_text){words, strlen(words)};
}

static struct router_match find(const char *method, const char *path)
{
    struct router_match match;

    router_find(pattern_at, NULL, text(method), text(path), &match);
    return match;
}

/* The pattern found is this one; its parts are, in order, those. */
static void finds(const char *method, const char *path, const char *pattern,
                  const char *const *parts)
{
    struct router_match match = find(method, path);
    size_t count = 0;

    assert_true(match.route >= 0);
    assert_string_equal(table[match.route][1], pattern);
    for (; parts[count] != NULL; count++) {
        assert_int_equal(match.parts[count].size, strlen(parts[count]));
        assert_memory_equal(match.parts[count].at, parts[count], match.parts[count].size);
    }
    assert_int_equal(match.part_count, count);
    assert_string_equal(match.allow, "");
}

#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_PARTS ((const char *const[]){NULL})

static void variable_parts_are_taken_from_the_path(void **state)
{
    (void)state;
    finds("GET", "/", "/", NO_PARTS);
    finds("GET", "/facts/edge", "/facts/{kind}", PARTS("edge"));
    finds("GET", "/facts/edge/12ab", "/facts/{kind}/{id}", PARTS("edge", "12ab"));
    finds("GET", "/facts/edge/12ab/causes", "/facts/{kind}/{id}/causes", PARTS("edge", "12ab"));
    finds("POST", "/facts/edge", "/facts/{kind}", PARTS("edge"));
}

static void fixed_text_is_preferred_to_a_variable_part(void **state)
{
    (void)state;
    finds("GET", "/facts/edge/count", "/facts/{kind}/count", PARTS("edge"));
    finds("GET", "/facts/edge.ndjson", "/facts/{kind}.ndjson", PARTS("edge"));
    finds("GET", "/facts/edge.csv", "/facts/{kind}.csv", PARTS("edge"));
    finds("GET", "/facts/edge.csv.csv", "/facts/{kind}.csv", PARTS("edge.csv"));
    finds("GET", "/facts/.csv", "/facts/{kind}", PARTS(".csv"));
    finds("GET", "/events/dead/groups", "/events/dead/groups", NO_PARTS);
}

static void head_goes_where_get_goes(void **state)
{
    (void)state;
    finds("HEAD", "/facts/edge", "/facts/{kind}", PARTS("edge"));
    assert_int_equal(find("HEAD", "/events/retry").route, -1);
}

static void a_known_path_tells_its_methods(void **state)
{
    struct router_match match = find("DELETE", "/facts/edge");

    (void)state;
    assert_int_equal(match.route, -1);
    assert_string_equal(match.allow, "GET, HEAD, POST");
    match = find("POST", "/facts/edge.csv");
    assert_int_equal(match.route, -1);
    assert_string_equal(match.allow, "GET, HEAD");
    match = find("GET", "/events/retry"); /* no event has that id */
    assert_int_equal(match.route, -1);
    assert_string_equal(match.allow, "POST");
    assert_string_equal(find("G", "/facts/edge").allow, "GET, HEAD, POST");
}

static void an_unknown_path_finds_nothing(void **state)
{
    static const char *const paths[] = {
        "",        "facts/edge",           "/fact/edge",   "/facts",
        "/facts/", "/facts//causes",       "/facts/edge/", "/facts/edge/1/nothing",
        "//",      "/facts/edge/1/causes/"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct router_match match = find("GET", paths[i]);

        assert_int_equal(match.route, -1);
        assert_string_equal(match.allow, "");
    }
    finds("GET", "/events/dead", "/events/{id}", PARTS("dead"));
    assert_int_equal(find("GET", "/1/2/3/4/5/6/7/8/9").route,
                     -1); /* more parts than there is room for */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variable_parts_are_taken_from_the_path),
        cmocka_unit_test(fixed_text_is_preferred_to_a_variable_part),
        cmocka_unit_test(head_goes_where_get_goes),
        cmocka_unit_test(a_known_path_tells_its_methods),
        cmocka_unit_test(an_unknown_path_finds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
