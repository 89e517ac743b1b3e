/* Events that are in packets: a few packets are read and decoded. */
#include "api/events.h"
#include "api/rows.h"

#include "columns.h"
#include "rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define PACKETS_MOST 64  /* read for one answer */
#define ROWS_MOST 100000 /* events of one packet: its limit is far below */
#define CLAIMED_MOST 2048

/* A packet in a worker's hands. */
struct claimed {
    int64_t id;
    int16_t bucket, lifecycle;
    int slot;
};

static size_t read_claimed(const struct page *page, struct claimed *claimed)
{
    size_t count = 0;

    for (int s = 0; s < PAGE_SLOTS; s++) {
        const struct page_slot *slot = &page->slots[s];
        uint32_t packets =
            slot->pid == 0 ? 0 : __atomic_load_n(&slot->packet_count, __ATOMIC_ACQUIRE);

        for (uint32_t p = 0; p < packets && p < PAGE_PACKETS && count < CLAIMED_MOST; p++)
            claimed[count++] = (struct claimed){.id = slot->packets[p].id,
                                                .bucket = slot->packets[p].bucket,
                                                .lifecycle = slot->packets[p].lifecycle,
                                                .slot = s};
    }
    return count;
}

static void time_text(int64_t wall_us, char *out, size_t size)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    size_t n;

    gmtime_r(&seconds, &tm);
    n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, size - n, ".%03dZ", (int)(wall_us / 1000 % 1000));
}

/* slot: of the worker that runs it, -1: nobody does. */
static json_t *row_of(const struct lifecycle *lifecycle, const struct packet *packet,
                      const struct acc_row *fact, int slot)
{
    char id[KIND_NAME_MAX + 40];
    char born[40];
    char worker[80];
    const char *hex = fact_id_text(fact->id);
    int priority = lifecycle->has_priority_function ? packet->priority : (int)lifecycle->priority;

    snprintf(id, sizeof(id), "%s:%s", lifecycle->name, hex);
    time_text(packet->born_us, born, sizeof(born));
    json_t *row = json_pack(
        "{s:s, s:s, s:s, s:s, s:n, s:s, s:i, s:i, s:s, s:s, s:n, s:n, s:n, s:n, s:n}", "id", id,
        "lifecycle", lifecycle->name, "kind", lifecycle->on->name, "fact", hex, "label", "state",
        slot >= 0 ? "claimed" : "ready", "priority", priority, "attempts", (int)packet->tries,
        "raised_at", born, "ready_at", born, "error", "in", "sig", "generation", "worker");
    if (slot >= 0) {
        page_worker_name(slot, worker, sizeof(worker));
        json_object_set_new(row, "worker", json_string(worker));
    }
    return row;
}

/* Its facts, or at least their ids. One that cannot be read is left out: workers say so. */
static bool read_packet(struct api_call *call, const struct lifecycle *lifecycle,
                        const struct packet *packet, struct acc_rows *rows, struct acc_error *err)
{
    bool ids_only;

    if (packet_decode(packet, lifecycle->on, rows, call->api->heap, &ids_only, err))
        return true;
    if (err->code != ACC_EINPUT)
        return false;
    rows->count = 0;
    return true;
}

/* Adds the packet's events from the one with number first on, at most `most`. *end: the number behind the last one. */
static bool add_packet(struct api_call *call, const struct packet *packet, int slot, uint32_t first,
                       size_t most, struct events *events, uint32_t *end, struct acc_error *err)
{
    const struct lifecycle *lifecycle = program_by_id(call->api->program, packet->lifecycle);
    struct acc_rows rows;

    *end = (uint32_t)packet->count;
    if (lifecycle == NULL)
        return true; /* of another generation */
    rows_init(&rows, lifecycle->on, ROWS_MOST);
    bool ok = read_packet(call, lifecycle, packet, &rows, err);
    for (uint32_t i = first; ok && i < rows.count; i++) {
        if (most-- == 0) {
            *end = i;
            break;
        }
        const struct acc_row *fact = rows_at(&rows, i);
        events_add(events, row_of(lifecycle, packet, fact, slot), fact->id);
    }
    rows_clear(&rows);
    return ok;
}

static void free_packets(struct packet **packets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        packet_free(packets[i]);
    free(packets);
}

/* The key of a page: the packet's birth and number, and the number of the event in it. */
struct place {
    int64_t born_us, id, first;
};

static bool read_place(const char *text, struct place *place)
{
    *place = (struct place){0};
    return text == NULL ||
           (rows_number(&text, '-', &place->born_us) && rows_number(&text, '-', &place->id) &&
            rows_number(&text, '\0', &place->first));
}

static char *place_text(const struct packet *packet, uint32_t first)
{
    return acc_format("%" PRId64 "-%" PRId64 "-%" PRIu32, packet->born_us, packet->id, first);
}

/* Numbers of the lifecycles that are meant. */
static size_t lifecycles_of(const struct program *program, int16_t only, int16_t *numbers)
{
    size_t count = 0;

    for (size_t i = 0; i < program->lifecycle_count; i++) {
        int16_t id = program->lifecycles[i]->id;
        if (id != 0 && (only == 0 || only == id))
            numbers[count++] = id;
    }
    return count;
}

static bool add_ready(struct api_call *call, struct pg *pg, const struct queue_look *look,
                      uint32_t first, int64_t limit, struct events *events, char **next,
                      struct acc_error *err)
{
    struct packet **packets = NULL;
    size_t count = 0;
    bool ok = queue_see(look, pg, &packets, &count, err);

    for (size_t i = 0; ok && i < count; i++) {
        bool is_first = i == 0 && packets[i]->id == look->from_id;
        uint32_t end;

        if ((int64_t)events->count == limit || i == PACKETS_MOST) {
            *next = place_text(packets[i], 0);
            break;
        }
        ok = add_packet(call, packets[i], -1, is_first ? first : 0, (size_t)limit - events->count,
                        events, &end, err);
        if (ok && end < (uint32_t)packets[i]->count) {
            *next = place_text(packets[i], end);
            break;
        }
    }
    free_packets(packets, count);
    return ok;
}

static bool add_claimed(struct api_call *call, struct pg *pg, const struct claimed *claimed,
                        size_t count, int16_t lifecycle, int64_t limit, struct events *events,
                        struct acc_error *err)
{
    for (size_t i = 0, seen = 0; i < count && seen < PACKETS_MOST; i++) {
        struct packet *packet = NULL;
        uint32_t end;

        if (lifecycle != 0 && claimed[i].lifecycle != lifecycle)
            continue;
        seen++;
        if (!queue_get(pg, claimed[i].bucket, claimed[i].id, &packet, err))
            return false;
        bool ok = packet == NULL || /* done meanwhile */
                  add_packet(call, packet, claimed[i].slot, 0, (size_t)limit - events->count,
                             events, &end, err);
        packet_free(packet);
        if (!ok || (int64_t)events->count == limit)
            return ok;
    }
    return true;
}

bool events_queued(struct api_call *call, struct pg *pg, bool is_claimed, int16_t lifecycle,
                   const char *before, int64_t limit, struct events *events, char **next)
{
    const struct program *program = call->api->program;
    struct claimed *claimed = acc_alloc(CLAIMED_MOST * sizeof(*claimed));
    int64_t *ids = acc_alloc(CLAIMED_MOST * sizeof(*ids));
    int16_t *numbers = acc_alloc(program->lifecycle_count * sizeof(*numbers) + 1);
    size_t count = read_claimed(call->api->page, claimed);
    struct place place;
    struct acc_error err;
    bool ok = false;

    *next = NULL;
    for (size_t i = 0; i < count; i++)
        ids[i] = claimed[i].id;
    if (!read_place(before, &place)) {
        http_answer_error(call->request, 400, "bad_parameter", "before",
                          "before: wanted what a page of this state gave, got \"%.80s\"", before);
        goto out;
    }
    struct queue_look look = {.lifecycles = numbers,
                              .lifecycle_count = lifecycles_of(program, lifecycle, numbers),
                              .bucket = -1,
                              .without = ids,
                              .without_count = count,
                              .from_born_us = place.born_us,
                              .from_id = place.id,
                              .most = PACKETS_MOST + 1};
    ok = is_claimed ? add_claimed(call, pg, claimed, count, lifecycle, limit, events, &err)
                    : add_ready(call, pg, &look, (uint32_t)place.first, limit, events, next, &err);
    if (!ok)
        http_answer_failure(call->request, &err);
out:
    free(claimed);
    free(ids);
    free(numbers);
    return ok;
}

/* Adds the event with this fact, when it is in the packet. */
static bool search_packet(struct api_call *call, const struct lifecycle *lifecycle,
                          const struct packet *packet, int slot, const uint8_t *fact,
                          struct events *events, bool *found, struct acc_error *err)
{
    struct acc_rows rows;

    rows_init(&rows, lifecycle->on, ROWS_MOST);
    bool ok = read_packet(call, lifecycle, packet, &rows, err);
    for (uint32_t i = 0; ok && i < rows.count && !*found; i++) {
        const struct acc_row *row = rows_at(&rows, i);

        if (memcmp(row->id, fact, 16) != 0)
            continue;
        *found = true;
        events_add(events, row_of(lifecycle, packet, row, slot), fact);
    }
    rows_clear(&rows);
    return ok;
}

bool event_queued(struct api_call *call, struct pg *pg, const struct lifecycle *lifecycle,
                  const uint8_t *fact, struct events *events, bool *found, struct acc_error *err)
{
    struct claimed *claimed = acc_alloc(CLAIMED_MOST * sizeof(*claimed));
    size_t claimed_count = read_claimed(call->api->page, claimed);
    struct packet **packets = NULL;
    size_t count = 0;
    int64_t buckets;
    int64_t owned;
    bool ok = queue_buckets(pg, &buckets, &owned, err);

    *found = false;
    if (ok && buckets > 0) {
        struct queue_look look = {.lifecycles = &lifecycle->id,
                                  .lifecycle_count = 1,
                                  .bucket = (int16_t)bucket_of(fact, (int)buckets),
                                  .most = EVENT_SEARCH_MOST};
        ok = queue_see(&look, pg, &packets, &count, err);
    }
    for (size_t i = 0; ok && !*found && i < count; i++) {
        int slot = -1;

        for (size_t c = 0; c < claimed_count; c++)
            slot = claimed[c].id == packets[i]->id ? claimed[c].slot : slot;
        ok = search_packet(call, lifecycle, packets[i], slot, fact, events, found, err);
    }
    free_packets(packets, count);
    free(claimed);
    return ok;
}
