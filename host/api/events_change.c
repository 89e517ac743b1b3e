/* Retry and discard over HTTP. */
#include "api/events.h"
#include "api/handlers.h"
#include "api/rows.h"

#include "base/hash.h"
#include "parked.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define IDS_MOST 1000
#define IDS_NAMED 20 /* in the audit */

/* What a request wants changed. */
struct wish {
    struct parked_filter filter;
    struct parked_key *keys; /* owned */
    int64_t expect;
    struct buf words; /* for the audit */
};

static bool bad(struct api_call *call, const char *field, const char *wanted)
{
    http_answer_error(call->request, 400, "bad_body", field, "%s: wanted %s", field, wanted);
    return false;
}

/* LIFECYCLE:FACTID; the first digits will do. false: answered. */
static bool read_key(struct api_call *call, struct pg *pg, const char *text, struct parked_key *key)
{
    const char *colon = strchr(text, ':');
    char name[KIND_NAME_MAX + 2] = "";
    struct acc_error err;

    if (colon != NULL && (size_t)(colon - text) < sizeof(name) && strlen(colon + 1) == 32)
        snprintf(name, sizeof(name), "%.*s", (int)(colon - text), text);
    const struct lifecycle *lifecycle = program_find(call->api->program, name);
    if (lifecycle != NULL && hex_decode(colon + 1, 32, key->fact)) {
        key->lifecycle = lifecycle->id;
        return true;
    }
    if (parked_find(pg, text, key, &err))
        return true;
    if (err.code == ACC_EINPUT)
        http_answer_error(call->request, 400, "bad_body", "ids", "%s", err.text);
    else
        http_answer_failure(call->request, &err);
    return false;
}

static bool has_key(const struct wish *wish, const struct parked_key *key)
{
    for (size_t i = 0; i < wish->filter.key_count; i++)
        if (wish->keys[i].lifecycle == key->lifecycle &&
            memcmp(wish->keys[i].fact, key->fact, 16) == 0)
            return true;
    return false;
}

static bool read_ids(struct api_call *call, struct pg *pg, const json_t *ids, struct wish *wish)
{
    size_t count = json_array_size(ids);
    size_t i;
    json_t *id;

    if (!json_is_array(ids) || count < 1 || count > IDS_MOST)
        return bad(call, "ids", "1..1000 of LIFECYCLE:FACTID");
    wish->keys = acc_zalloc(count * sizeof(*wish->keys));
    wish->filter.keys = wish->keys;
    json_array_foreach(ids, i, id)
    {
        struct parked_key key = {0};

        if (!json_is_string(id))
            return bad(call, "ids", "texts, as LIFECYCLE:FACTID");
        if (!read_key(call, pg, json_string_value(id), &key))
            return false;
        if (!has_key(wish, &key))
            wish->keys[wish->filter.key_count++] = key;
        if (i < IDS_NAMED)
            buf_printf(&wish->words, "%s%.80s", i == 0 ? "" : " ", json_string_value(id));
    }
    if (count > IDS_NAMED)
        buf_printf(&wish->words, " and %zu more", count - IDS_NAMED);
    wish->expect = (int64_t)wish->filter.key_count;
    return true;
}

static bool read_word(struct api_call *call, const json_t *match, const char *name, const char **at)
{
    const json_t *value = json_object_get(match, name);

    *at = json_string_value(value);
    return value == NULL || *at != NULL || bad(call, name, "a text");
}

static bool read_match(struct api_call *call, struct pg *pg, const json_t *match,
                       const json_t *expect, struct wish *wish)
{
    static const char *const names[] = {"state", "lifecycle", "sig", NULL};
    static const char *const states[] = {"dead", "delayed", "discarded"};
    struct parked_filter *filter = &wish->filter;
    int16_t number;

    if (!json_is_object(match))
        return bad(call, "match", "an object of state, lifecycle, sig");
    if (!api_members(call, match, names))
        return false;
    if (!read_word(call, match, "state", &filter->state) ||
        !read_word(call, match, "lifecycle", &filter->lifecycle) ||
        !read_word(call, match, "sig", &filter->group))
        return false;
    if (filter->state == NULL)
        filter->state = "dead";
    if (!events_state(call, filter->state, states, sizeof(states) / sizeof(*states)) ||
        (filter->lifecycle != NULL &&
         !api_lifecycle_number(call, pg, "lifecycle", filter->lifecycle, &number)))
        return false;
    if (!json_is_integer(expect) || json_integer_value(expect) < 0)
        return bad(call, "expect", "how many events match, so that no others are changed");
    wish->expect = json_integer_value(expect);
    buf_printf(&wish->words, "state=%s%s%.60s%s%.60s", filter->state,
               filter->lifecycle != NULL ? " lifecycle=" : "",
               filter->lifecycle != NULL ? filter->lifecycle : "",
               filter->group != NULL ? " group=" : "", filter->group != NULL ? filter->group : "");
    return true;
}

static bool read_wish(struct api_call *call, struct pg *pg, const json_t *body, struct wish *wish)
{
    const json_t *ids = json_object_get(body, "ids");
    const json_t *match = json_object_get(body, "match");

    if ((ids == NULL) == (match == NULL))
        return bad(call, "ids", "either ids, or match and expect");
    return ids != NULL ? read_ids(call, pg, ids, wish)
                       : read_match(call, pg, match, json_object_get(body, "expect"), wish);
}

static void answer_other_count(struct api_call *call, int64_t expect, int64_t count)
{
    char message[160];

    snprintf(message, sizeof(message),
             "%" PRId64 " event%s can be changed so, expected %" PRId64 ": nothing was changed",
             count, count == 1 ? "" : "s", expect);
    http_answer_json(call->request, 409,
                     json_pack("{s:{s:s, s:s, s:s}, s:I}", "error", "code", "other_count",
                               "message", message, "request", http_request_id(call->request),
                               "match_count", (json_int_t)count));
}

static void run(struct api_call *call, struct pg *pg, const struct wish *wish, bool is_retry,
                const char *reason)
{
    struct parked_act act = {.filter = &wish->filter,
                             .is_retry = is_retry,
                             .who = http_who(call->request),
                             .what = wish->words.data,
                             .reason = reason,
                             .expect = wish->expect};
    int64_t count = -1;
    int64_t audit_id;
    struct acc_error err;

    if (parked_change(pg, &act, &count, &audit_id, &err)) {
        json_t *answer =
            json_pack("{s:I, s:I}", "audit", (json_int_t)audit_id, "count", (json_int_t)count);

        if (!is_retry && count > 0)
            json_object_set_new(answer, "warning",
                                json_string("discarded events are never run: what would have "
                                            "followed from their facts is missing, and results are "
                                            "incomplete until they are retried"));
        http_answer_json(call->request, 202, answer);
    } else if (err.code == ACC_EINPUT && count >= 0 && count != wish->expect) {
        answer_other_count(call, wish->expect, count);
    } else {
        http_answer_failure(call->request, &err);
    }
}

static void change(struct api_call *call, bool is_retry)
{
    static const char *const names[] = {"ids", "match", "expect", "reason", NULL};
    json_t *body = api_body(call, names);
    const char *reason = body == NULL ? NULL : api_reason(call, body);
    struct pg *pg = reason == NULL ? NULL : api_writer(call);
    struct wish wish = {0};

    if (pg != NULL && read_wish(call, pg, body, &wish))
        run(call, pg, &wish, is_retry, reason);
    if (pg != NULL)
        api_writer_end(call, pg);
    free(wish.keys);
    buf_clear(&wish.words);
    json_decref(body);
}

void api_events_retry(struct api_call *call)
{
    change(call, true);
}

void api_events_discard(struct api_call *call)
{
    change(call, false);
}
