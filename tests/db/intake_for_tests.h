/* A desk that sends requests to an intake, turns its loop, and keeps the replies. */
#pragma once

#include "database_for_tests.h"

#include "base/clock.h"
#include "base/hash.h"
#include "intake.h"

#include <poll.h>

#define MOST 4096

/* What came of a request; texts are copied. */
struct reply {
    int status, calls, retry_after_s;
    char code[40], message[300], field[40];
    int64_t ingest, lines, fresh, repeats, refused;
    uint8_t id[16];
    bool has_id;
    size_t error_count;
    struct {
        int64_t line;
        char field[40], message[200];
    } errors[INTAKE_ERRORS];
};

struct desk {
    struct database *database;
    struct intake *intake;
    struct intake_limits limits;
    struct reply replies[MOST];
    size_t sent, answered;
    bool has_waited; /* for the socket to take more */
};

static inline void put(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text == NULL ? "" : text);
}

static struct desk *desk_now;

static inline void done(void *context, const struct intake_answer *answer)
{
    struct reply *reply = context;

    desk_now->answered++;
    reply->calls++;
    reply->status = answer->status;
    reply->retry_after_s = answer->retry_after_s;
    put(reply->code, sizeof(reply->code), answer->code);
    put(reply->message, sizeof(reply->message), answer->message);
    put(reply->field, sizeof(reply->field), answer->field);
    reply->ingest = answer->ingest;
    reply->lines = answer->lines;
    reply->fresh = answer->fresh;
    reply->repeats = answer->repeats;
    reply->refused = answer->refused;
    reply->has_id = answer->id != NULL;
    if (answer->id != NULL)
        memcpy(reply->id, answer->id, 16);
    reply->error_count = answer->error_count;
    for (size_t i = 0; i < answer->error_count; i++) {
        reply->errors[i].line = answer->errors[i].line;
        put(reply->errors[i].field, sizeof(reply->errors[i].field), answer->errors[i].field);
        put(reply->errors[i].message, sizeof(reply->errors[i].message), answer->errors[i].message);
    }
}

static inline struct desk *desk_open(struct database *database)
{
    struct desk *desk = calloc(1, sizeof(*desk));

    desk->database = database;
    desk->limits = (struct intake_limits){MOST, 64 << 20, 1 << 20};
    desk->intake = intake_new(getenv("ACCRETE_TEST_URL"), database->schema, &database->program,
                              &database->settings, &desk->limits);
    desk_now = desk;
    return desk;
}

static inline void desk_close(struct desk *desk)
{
    intake_free(desk->intake);
    assert_int_equal(desk->answered, desk->sent);
    free(desk);
}

static inline struct reply *submit(struct desk *desk, struct intake_request request,
                                   const char *body)
{
    struct reply *reply = &desk->replies[desk->sent++];

    assert_true(desk->sent <= MOST);
    *reply = (struct reply){0};
    if (body != NULL) {
        request.body = body;
        request.size = strlen(body);
    }
    request.who = request.who == NULL ? "127.0.0.1" : request.who;
    request.trace = request.trace == NULL ? "" : request.trace;
    request.done = done;
    request.context = reply;
    intake_submit(desk->intake, &request);
    return reply;
}

#define SEND(desk, body, ...) submit(desk, (struct intake_request){__VA_ARGS__}, body)

/* One turn of a loop that has nothing else to do. */
static inline void turn(struct desk *desk)
{
    struct pollfd fd = {.fd = intake_descriptor(desk->intake),
                        .events = intake_wants_write(desk->intake) ? POLLIN | POLLOUT : POLLIN};
    int64_t wait_ms = intake_wait_ms(desk->intake);

    desk->has_waited |= intake_wants_write(desk->intake);
    poll(&fd, 1, wait_ms < 0 || wait_ms > 1000 ? 1000 : (int)wait_ms);
    intake_drive(desk->intake);
}

static inline void settle(struct desk *desk)
{
    int64_t until_us = clock_us() + 20 * INT64_C(1000000);

    intake_drive(desk->intake);
    while (desk->answered < desk->sent) {
        assert_true(clock_us() < until_us);
        turn(desk);
    }
    for (size_t i = 0; i < desk->sent; i++)
        assert_int_equal(desk->replies[i].calls, 1);
}

#define EDGES "SELECT count(*) FROM fact_edge"

/* Edges from..to as NDJSON. Caller frees. */
static inline char *many_edges(int from, int to)
{
    struct buf text = {0};

    for (int i = from; i < to; i++)
        buf_printf(&text, "{\"from\":%d,\"to\":%d}\n", i, i);
    return text.data;
}
