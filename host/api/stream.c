/*
 * GET /stream: Server-Sent Events. One hub a process looks at the board a few times a second and builds each message once;
 * readers share its bytes. Documents are versions: who has the one before gets what changed, anybody else the whole. A
 * reader whose last message is still on its way gets nothing meanwhile, and then what is newest.
 */
#include "api/handlers.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_MS 250
#define HEARTBEAT_US 15000000
#define NAMES_MAX 32 /* lifecycle:NAME topics of one reader */

/* Bytes on their way to some readers. */
struct message {
    size_t readers; /* and one for the hub */
    struct buf text;
};

/* Status, lifecycles, or one lifecycle: a document in versions. */
struct channel {
    char name[64];           /* of the event */
    json_t *now;             /* as it stands */
    uint64_t version;        /* counts changes; 0: nothing yet */
    struct message *whole;   /* made when somebody needs it */
    struct message *changes; /* since the version before */
    struct channel *next;    /* of lifecycles */
};

struct reader {
    struct http_stream *stream; /* NULL until it has begun */
    unsigned topics;            /* bit by enum board_topic */
    uint64_t seen[BOARD_TOPICS];
    struct {
        struct channel *channel;
        uint64_t seen;
    } names[NAMES_MAX];
    size_t name_count;
    int64_t sent_us;
    struct reader *next;
};

static struct hub {
    struct api *api;
    struct http_timer *timer;
    struct reader *readers;
    size_t count;
    uint64_t event_id;
    struct channel status, lifecycles;
    struct channel *names;              /* lifecycle:NAME that somebody has asked for */
    uint64_t document[BOARD_DOCUMENTS]; /* version that was looked at */
    uint64_t heard[BOARD_TOPICS];
    struct message *said[BOARD_TOPICS];
    struct message *heartbeat;
    bool is_ending;
} hub;

/* Messages */

static void release(void *owner)
{
    struct message *message = owner;

    if (message == NULL || --message->readers > 0)
        return;
    buf_clear(&message->text);
    free(message);
}

/* id, event and data of one event; data has no newlines. */
static struct message *event_new(const char *name, const char *data, size_t size)
{
    struct message *message = acc_zalloc(sizeof(*message));

    message->readers = 1;
    if (hub.event_id == 0)
        hub.event_id = (uint64_t)clock_wall_us();
    buf_printf(&message->text, "id: %llu\nevent: %s\ndata: ", (unsigned long long)++hub.event_id,
               name);
    buf_add(&message->text, data, size);
    buf_text(&message->text, "\n\n");
    return message;
}

static struct message *event_json(const char *name, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(10));
    struct message *message =
        event_new(name, text == NULL ? "null" : text, text == NULL ? 4 : strlen(text));

    free(text);
    return message;
}

/* Channels */

/* Members of now that differ from those of before; NULL: none does. */
static json_t *changed_members(const json_t *before, json_t *now)
{
    json_t *changed = json_object();
    const char *name;
    json_t *value;

    json_object_foreach(now, name, value)
    {
        if (!json_equal(value, json_object_get(before, name)))
            json_object_set(changed, name, value);
    }
    if (json_object_size(changed) > 0)
        return changed;
    json_decref(changed);
    return NULL;
}

static json_t *row_named(const json_t *rows, const char *name)
{
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0)
            return row;
    }
    return NULL;
}

/* Changed members of a row, with its name. */
static json_t *changed_row(const json_t *before, json_t *row)
{
    json_t *changed = changed_members(before, row);

    if (changed != NULL)
        json_object_set(changed, "name", json_object_get(row, "name"));
    return changed;
}

static json_t *changed_rows(const json_t *before, const json_t *now)
{
    json_t *rows = json_array();
    size_t i;
    json_t *row;

    json_array_foreach(now, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        json_t *changed = changed_row(row_named(before, name), row);
        if (changed != NULL)
            json_array_append_new(rows, changed);
    }
    if (json_array_size(rows) > 0)
        return rows;
    json_decref(rows);
    return NULL;
}

/* Takes changes (NULL: nothing changed). now is borrowed. */
static void channel_move(struct channel *channel, json_t *now, json_t *changes)
{
    json_decref(channel->now);
    channel->now = json_incref(now);
    if (changes == NULL)
        return;
    channel->version++;
    release(channel->whole);
    release(channel->changes);
    channel->whole = NULL;
    channel->changes = event_json(channel->name, changes);
    json_decref(changes);
}

static void channel_clear(struct channel *channel)
{
    json_decref(channel->now);
    release(channel->whole);
    release(channel->changes);
    channel->now = NULL;
    channel->whole = channel->changes = NULL;
}

/* What a reader that has seen so much needs; NULL: nothing. Borrowed. */
static struct message *channel_message(struct channel *channel, uint64_t seen)
{
    if (channel->version == 0 || channel->version == seen)
        return NULL;
    if (channel->version == seen + 1 && seen > 0)
        return channel->changes;
    if (channel->whole == NULL)
        channel->whole = event_json(channel->name, channel->now);
    return channel->whole;
}

static json_t *document(enum board_document which)
{
    static struct buf text;
    int64_t at_us;

    if (board_version(hub.api->board, which) == hub.document[which] ||
        !board_get(hub.api->board, which, &text, &hub.document[which], &at_us))
        return NULL;
    return json_loadb(text.data, text.size, 0, NULL);
}

static void look_at_names(json_t *rows)
{
    for (struct channel *channel = hub.names; channel != NULL; channel = channel->next) {
        json_t *row = row_named(rows, channel->name + strlen("lifecycle:"));
        if (row != NULL)
            channel_move(channel, row, changed_row(channel->now, row));
    }
}

static void look(void)
{
    static struct buf text;
    json_t *status = document(BOARD_STATUS);
    json_t *rows = document(BOARD_LIFECYCLES);

    if (status != NULL)
        channel_move(&hub.status, status, changed_members(hub.status.now, status));
    if (rows != NULL) {
        channel_move(&hub.lifecycles, rows, changed_rows(hub.lifecycles.now, rows));
        look_at_names(rows);
    }
    json_decref(status);
    json_decref(rows);
    for (size_t t = TOPIC_FACTS; t < BOARD_TOPICS; t++) {
        if (!board_hear(hub.api->board, (enum board_topic)t, &hub.heard[t], &text))
            continue;
        release(hub.said[t]);
        hub.said[t] = event_new(board_topic_names[t], text.data, text.size);
    }
}

/* Readers */

static void send_message(struct reader *reader, struct message *message)
{
    message->readers++;
    reader->sent_us = clock_us();
    http_stream_send_shared(reader->stream, message->text.data, message->text.size, release,
                            message);
}

static bool wants(const struct reader *reader, enum board_topic topic)
{
    return (reader->topics >> topic & 1) != 0;
}

static struct message *next_of(struct channel *channel, uint64_t *seen)
{
    struct message *message = channel_message(channel, *seen);

    if (message != NULL)
        *seen = channel->version;
    return message;
}

/* The next message that the reader lacks, which it has afterwards; NULL: none. Borrowed. */
static struct message *next_message(struct reader *reader)
{
    struct message *message = NULL;

    if (wants(reader, TOPIC_STATUS))
        message = next_of(&hub.status, &reader->seen[TOPIC_STATUS]);
    if (message == NULL && wants(reader, TOPIC_LIFECYCLES))
        message = next_of(&hub.lifecycles, &reader->seen[TOPIC_LIFECYCLES]);
    for (size_t n = 0; message == NULL && n < reader->name_count; n++)
        message = next_of(reader->names[n].channel, &reader->names[n].seen);
    for (size_t t = TOPIC_FACTS; message == NULL && t < BOARD_TOPICS; t++) {
        if (!wants(reader, (enum board_topic)t) || reader->seen[t] == hub.heard[t])
            continue;
        reader->seen[t] = hub.heard[t];
        message = hub.said[t];
    }
    return message;
}

static void serve(struct reader *reader)
{
    struct message *message;

    if (reader->stream == NULL || http_stream_is_busy(reader->stream))
        return;
    if (hub.is_ending) {
        http_stream_send(reader->stream, NULL, 0, true);
        reader->stream = NULL; /* closed is still to come */
        return;
    }
    message = next_message(reader);
    if (message == NULL && clock_us() - reader->sent_us > HEARTBEAT_US)
        message = hub.heartbeat;
    if (message != NULL)
        send_message(reader, message);
}

static void on_more(void *context, struct http_stream *stream)
{
    (void)stream;
    serve(context);
}

static void forget_all(void)
{
    http_timer_set(hub.timer, -1);
    channel_clear(&hub.status);
    channel_clear(&hub.lifecycles);
    for (struct channel *channel = hub.names, *next; channel != NULL; channel = next) {
        next = channel->next;
        channel_clear(channel);
        free(channel);
    }
    hub.names = NULL;
    memset(hub.document, 0, sizeof(hub.document));
}

static void on_closed(void *context)
{
    struct reader **place = &hub.readers;

    while (*place != NULL && *place != context)
        place = &(*place)->next;
    if (*place != NULL) {
        *place = (*place)->next;
        hub.count--;
    }
    free(context);
    if (hub.count == 0)
        forget_all();
}

static const struct http_stream_calls stream_calls = {.more = on_more, .closed = on_closed};

/* A process that is to retire ends its streams: their readers come back to the next one. */
static bool is_retiring(void)
{
    const struct page *page = hub.api->page;

    for (size_t s = 0; s < PAGE_SERVICES; s++) {
        if (page->services[s].pid == getpid())
            return __atomic_load_n(&page->services[s].retire, __ATOMIC_ACQUIRE) != 0;
    }
    return false;
}

static void on_timer(void *context)
{
    (void)context;
    hub.is_ending = is_retiring();
    look();
    http_timer_set(hub.timer, LOOK_MS);
    for (struct reader *reader = hub.readers, *next; reader != NULL; reader = next) {
        next = reader->next;
        serve(reader);
    }
}

/* A request becomes a reader */

static struct channel *channel_of(const char *topic)
{
    struct channel *channel = hub.names;

    while (channel != NULL && strcmp(channel->name, topic) != 0)
        channel = channel->next;
    if (channel != NULL)
        return channel;
    channel = acc_zalloc(sizeof(*channel));
    snprintf(channel->name, sizeof(channel->name), "%s", topic);
    channel->next = hub.names;
    hub.names = channel;
    json_t *row = row_named(hub.lifecycles.now, topic + strlen("lifecycle:"));
    if (row != NULL)
        channel_move(channel, row, json_incref(row));
    return channel;
}

static bool refuse_topic(struct api_call *call, const char *topic)
{
    const char *near = name_suggest(topic, board_topic_names, BOARD_TOPICS);

    http_answer_error(call->request, 400, "bad_parameter", "topics",
                      "there is no topic \"%.60s\"%s%s%s", topic,
                      near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                      near != NULL ? "\"?" : "");
    return false;
}

static bool add_topic(struct api_call *call, struct reader *reader, const char *topic)
{
    static const char prefix[] = "lifecycle:";

    if (strncmp(topic, prefix, sizeof(prefix) - 1) == 0) {
        if (!api_is_lifecycle(call, "topics", topic + sizeof(prefix) - 1))
            return false;
        if (reader->name_count == NAMES_MAX) {
            http_answer_error(call->request, 400, "bad_parameter", "topics",
                              "topics: wanted at most %d lifecycles", NAMES_MAX);
            return false;
        }
        reader->names[reader->name_count++].channel = channel_of(topic);
        return true;
    }
    for (size_t t = 0; t < BOARD_TOPICS; t++) {
        if (strcmp(board_topic_names[t], topic) != 0)
            continue;
        reader->topics |= 1U << t;
        reader->seen[t] = t < TOPIC_FACTS ? 0 : hub.heard[t];
        return true;
    }
    return refuse_topic(call, topic);
}

static bool add_topics(struct api_call *call, struct reader *reader)
{
    size_t place = 0;
    const char *given = http_query(call->request, "topics", &place);
    char *topics = acc_strdup(given == NULL || *given == '\0' ? "status" : given);
    bool ok = true;

    for (char *rest = topics, *topic; ok && (topic = strsep(&rest, ",")) != NULL;)
        ok = add_topic(call, reader, topic);
    free(topics);
    return ok;
}

static void open_hub(struct api *api)
{
    hub.api = api;
    if (hub.timer == NULL) {
        hub.timer = http_timer_new(api->server, on_timer, NULL);
        snprintf(hub.status.name, sizeof(hub.status.name), "status");
        snprintf(hub.lifecycles.name, sizeof(hub.lifecycles.name), "lifecycles");
        hub.heartbeat = acc_zalloc(sizeof(*hub.heartbeat));
        hub.heartbeat->readers = 1;
        buf_text(&hub.heartbeat->text, ":\n\n");
    }
    if (hub.count == 0)
        look(); /* the first one gets what stands at once */
}

void api_stream(struct api_call *call)
{
    static const char first[] = "retry: 2000\n\n";

    if (hub.count >= (size_t)call->api->app->settings.http.streams) {
        http_add_header(call->request, "Retry-After", "5");
        http_answer_error(call->request, 503, "too_many_streams", NULL,
                          "%zu readers have streams already, http.streams allows no more",
                          hub.count);
        return;
    }
    struct reader *reader = acc_zalloc(sizeof(*reader));
    open_hub(call->api);
    if (!add_topics(call, reader)) {
        free(reader);
        if (hub.count == 0)
            forget_all();
        return;
    }
    reader->next = hub.readers;
    hub.readers = reader;
    if (hub.count++ == 0)
        http_timer_set(hub.timer, LOOK_MS);
    http_add_header(call->request, "Cache-Control", "no-store");
    reader->stream =
        http_stream_begin(call->request, 200, "text/event-stream", &stream_calls, reader);
    reader->sent_us = clock_us();
    http_stream_send(reader->stream, first, sizeof(first) - 1, false);
}
