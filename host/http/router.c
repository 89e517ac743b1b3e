#include "http/router.h"

#include <stdio.h>
#include <string.h>

/* How well a segment fits: 0 not, 1 as the variable part, 2 as the very text. */
static int segment_fit(const char *pattern, size_t pattern_size, const char *text, size_t size,
                       struct http_text *part)
{
    const char *open = memchr(pattern, '{', pattern_size);
    const char *close =
        open == NULL ? NULL : memchr(open, '}', pattern_size - (size_t)(open - pattern));

    if (close == NULL)
        return size == pattern_size && memcmp(pattern, text, size) == 0 ? 2 : 0;

    size_t before = (size_t)(open - pattern);
    size_t after = pattern_size - (size_t)(close + 1 - pattern);

    if (size <= before + after || memcmp(text, pattern, before) != 0 ||
        memcmp(text + size - after, close + 1, after) != 0)
        return 0;
    *part = (struct http_text){text + before, size - before - after};
    return 1;
}

struct walk {
    struct http_text parts[ROUTER_PARTS_MAX];
    size_t part_count;
    char rank[32]; /* of each segment: fixed before fixed end before variable; compared as text */
};

/* Length of the segment at text, which follows a slash. */
static size_t segment_size(const char *text, const char *end)
{
    const char *slash = memchr(text, '/', (size_t)(end - text));

    return (size_t)((slash == NULL ? end : slash) - text);
}

static char rank_of(int fit, const char *pattern, size_t size)
{
    if (fit == 2)
        return '2';
    return pattern[0] != '{' || pattern[size - 1] != '}' ? '1' : '0';
}

static bool fits(const char *pattern, struct http_text path, struct walk *walk)
{
    const char *p = pattern, *p_end = pattern + strlen(pattern);
    const char *t = path.at, *t_end = path.at + path.size;
    size_t depth = 0;

    walk->part_count = 0;
    while (p < p_end && t < t_end) {
        if (*p != '/' || *t != '/')
            return false;
        p++;
        t++;

        size_t p_size = segment_size(p, p_end), t_size = segment_size(t, t_end);
        struct http_text part;
        int fit = segment_fit(p, p_size, t, t_size, &part);

        if (fit == 0 || (fit == 1 && walk->part_count == ROUTER_PARTS_MAX))
            return false;
        if (fit == 1)
            walk->parts[walk->part_count++] = part;
        if (depth < sizeof(walk->rank) - 1)
            walk->rank[depth++] = p_size == 0 ? '2' : rank_of(fit, p, p_size);
        p += p_size;
        t += t_size;
    }
    walk->rank[depth] = '\0';
    return p == p_end && t == t_end;
}

static void allow(struct router_match *match, const char *method)
{
    size_t size = strlen(match->allow);

    if (strstr(match->allow, method) != NULL) /* no method is part of another */
        return;
    snprintf(match->allow + size, sizeof(match->allow) - size, "%s%s%s", size > 0 ? ", " : "",
             method, strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

static bool is_method(struct http_text method, const char *name)
{
    if (method.size == 4 && memcmp(method.at, "HEAD", 4) == 0 && strcmp(name, "GET") == 0)
        return true;
    return method.size == strlen(name) && memcmp(method.at, name, method.size) == 0;
}

void router_find(router_pattern_fn *pattern, const void *context, struct http_text method,
                 struct http_text path, struct router_match *match)
{
    char best[sizeof(((struct walk *)NULL)->rank)] = "", known[sizeof(best)] = "";
    const char *name, *text;

    *match = (struct router_match){.route = -1};
    for (size_t i = 0; (text = pattern(context, i, &name)) != NULL; i++) {
        struct walk walk;

        if (!fits(text, path, &walk))
            continue;
        /* What a more general pattern allows says nothing of this path. */
        int order = strcmp(walk.rank, known);

        if (order > 0) {
            strcpy(known, walk.rank);
            match->allow[0] = '\0';
        }
        if (order >= 0)
            allow(match, name);
        if (!is_method(method, name) || (match->route >= 0 && strcmp(walk.rank, best) <= 0))
            continue;
        strcpy(best, walk.rank);
        match->route = (int)i;
        match->part_count = walk.part_count;
        memcpy(match->parts, walk.parts, walk.part_count * sizeof(walk.parts[0]));
    }
    /* "/facts/{kind}" may not answer what "/facts/dead" knows by another method. */
    if (match->route >= 0 && strcmp(best, known) < 0)
        match->route = -1;
    if (match->route >= 0)
        match->allow[0] = '\0';
}
