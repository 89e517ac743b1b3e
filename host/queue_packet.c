/* Packets in memory: events gathered into payloads, payloads back into rows. */
#include "queue.h"

#include <stdlib.h>
#include <string.h>

#define PAYLOAD_HEAD 4 /* form, tag, length of the layout */

void packet_free(struct packet *packet)
{
    if (packet != NULL) {
        free(packet->payload);
        free(packet);
    }
}

void packet_set_reset(struct packet_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        free(set->packets[i].payload);
    set->count = 0;
}

void packet_set_clear(struct packet_set *set)
{
    packet_set_reset(set);
    free(set->packets);
    buf_clear(&set->scratch);
    *set = (struct packet_set){0};
}

/*
 * The layout of a kind's rows as a packet keeps it; ids need none. Returns its bytes, at most 33.
 */
static size_t layout(const struct kind *kind, char form, char *out)
{
    size_t n = 0;

    if (form != 'R')
        return 0;
    out[n++] = kind->has_nullable ? 'n' : '-';
    for (size_t f = 0; f < kind->field_count; f++)
        out[n++] = field_is_span(&kind->fields[f]) ? 's' : 'f';
    return n;
}

/* The open packet of this group that still takes a fact of so many bytes, or a new one. */
static struct packet *group(struct packet_set *set, const struct packet *like,
                            const struct kind *kind, uint16_t tag, char form, size_t bytes)
{
    for (size_t i = set->count; i-- > 0;) {
        struct packet *p = &set->packets[i];
        uint16_t its;

        if (p->bucket != like->bucket || p->lifecycle != like->lifecycle ||
            p->priority != like->priority || p->tries != like->tries)
            continue;
        memcpy(&its, p->payload + 1, 2);
        if (p->payload[0] != form || its != tag)
            continue;
        if (p->count >= set->packet_events || (int64_t)(p->weight + bytes) > set->packet_bytes)
            break; /* full: later ones of this group stand further back only if they are full too */
        p->weight += bytes;
        return p;
    }
    if (set->count == set->capacity) {
        set->capacity = set->capacity * 2 + 64;
        set->packets = acc_realloc(set->packets, set->capacity * sizeof(*set->packets));
    }
    struct packet *p = &set->packets[set->count++];
    *p = *like;
    p->payload = acc_alloc(256);
    p->payload[0] = form;
    memcpy(p->payload + 1, &tag, 2);
    p->size = PAYLOAD_HEAD + layout(kind, form, p->payload + PAYLOAD_HEAD);
    p->payload[3] = (char)(p->size - PAYLOAD_HEAD);
    p->weight = bytes;
    return p;
}

/*
 * Payload memory grows by doubling: its capacity is the power of two at or above size, at least
 * 256.
 */
static void append(struct packet *packet, const void *data, size_t bytes)
{
    size_t capacity = 256;

    while (capacity < packet->size)
        capacity *= 2;
    if (packet->size + bytes > capacity) {
        while (capacity < packet->size + bytes)
            capacity *= 2;
        packet->payload = acc_realloc(packet->payload, capacity);
    }
    memcpy(packet->payload + packet->size, data, bytes);
    packet->size += bytes;
}

void packet_set_add_id(struct packet_set *set, int16_t lifecycle, int16_t bucket, int16_t priority,
                       int16_t tries, uint16_t tag, char form, const uint8_t *id, size_t weight,
                       int64_t now_us)
{
    struct packet like = {.bucket = bucket,
                          .lifecycle = lifecycle,
                          .priority = priority,
                          .tries = tries,
                          .born_us = now_us};
    struct packet *packet = group(set, &like, NULL, tag, form, weight);

    append(packet, id, 16);
    packet->count++;
}

void packet_set_route(struct packet_set *set, const struct routing *routing,
                      const struct program *program, const struct kind *kind, struct acc_row **rows,
                      size_t count, int64_t now_us)
{
    const struct route *first = routing->routes;
    const struct route *end = routing->routes + routing->count;

    while (first < end && first->kind != kind->tag)
        first++;
    for (size_t i = 0; first < end && first->kind == kind->tag && i < count; i++) {
        int16_t bucket = (int16_t)bucket_of(rows[i]->id, routing->buckets);

        buf_reset(&set->scratch);
        row_encode(kind, rows[i], &set->scratch);
        bool by_id = set->scratch.size > 2048; /* a large fact travels by its id */
        for (const struct route *route = first; route < end && route->kind == kind->tag; route++) {
            struct lifecycle *lifecycle =
                program == NULL ? NULL : program_by_id(program, route->lifecycle);
            struct packet like = {
                .bucket = bucket, .lifecycle = route->lifecycle, .born_us = now_us};

            if (lifecycle != NULL && lifecycle->has_priority_function)
                like.priority = (int16_t)lifecycle->priority_of(lifecycle, rows[i]);
            struct packet *packet =
                group(set, &like, kind, kind->tag, by_id ? 'I' : 'R', set->scratch.size);
            if (by_id)
                append(packet, rows[i]->id, 16);
            else
                append(packet, set->scratch.data, set->scratch.size);
            packet->count++;
        }
    }
}

void packet_set_add(struct packet_set *set, const struct packet *like, const struct kind *kind,
                    const struct acc_row *row)
{
    struct packet head = *like;

    head.count = 0;
    head.payload = NULL;
    head.is_redelivered = false;
    buf_reset(&set->scratch);
    row_encode(kind, row, &set->scratch);
    struct packet *packet = group(set, &head, kind, kind->tag, like->payload[0], set->scratch.size);
    if (like->payload[0] == 'R')
        append(packet, set->scratch.data, set->scratch.size);
    else
        append(packet, row->id, 16);
    packet->count++;
}

/* Moves *at over one row of a layout that may not be the kind's. */
static bool skip_row(const char *layout, size_t fields, const struct packet *packet, size_t *at)
{
    uint64_t nulls = 0;

    *at += 16;
    if (layout[0] == 'n') {
        if (packet->size < *at + sizeof(nulls))
            return false;
        memcpy(&nulls, packet->payload + *at, sizeof(nulls));
        *at += sizeof(nulls);
    }
    for (size_t f = 0; f < fields; f++) {
        uint32_t bytes = 0;

        if ((nulls >> f & 1) != 0)
            continue;
        if (layout[1 + f] == 'f') {
            *at += 8;
            continue;
        }
        if (packet->size < *at + sizeof(bytes))
            return false;
        memcpy(&bytes, packet->payload + *at, sizeof(bytes));
        *at += sizeof(bytes) + bytes;
    }
    return *at <= packet->size;
}

static bool decode_ids(const struct packet *packet, struct acc_rows *rows, struct acc_error *err)
{
    const char *its = packet->payload + PAYLOAD_HEAD;
    size_t its_size = (uint8_t)packet->payload[3];

    for (size_t at = PAYLOAD_HEAD + its_size; at < packet->size;) {
        struct acc_row *row = packet->size < at + 16 ? NULL : rows_add(rows, err);

        if (packet->size < at + 16)
            break;
        if (row == NULL)
            return false;
        memcpy(row->id, packet->payload + at, 16);
        if (packet->payload[0] != 'R')
            at += 16;
        else if (its_size == 0 || !skip_row(its, its_size - 1, packet, &at))
            return acc_fail(err, ACC_EINPUT, "packet %lld is cut", (long long)packet->id);
    }
    return true;
}

bool packet_decode(const struct packet *packet, const struct kind *kind, struct acc_rows *rows,
                   struct acc_heap *heap, bool *ids_only, struct acc_error *err)
{
    char now[1 + KIND_FIELDS_MAX];
    uint32_t before = rows->count;
    uint16_t tag = 0;

    if (packet->size < PAYLOAD_HEAD ||
        packet->size < PAYLOAD_HEAD + (size_t)(uint8_t)packet->payload[3])
        return acc_fail(err, ACC_EINPUT, "packet %lld is cut", (long long)packet->id);
    memcpy(&tag, packet->payload + 1, 2);
    if (tag != kind->tag)
        return acc_fail(err, ACC_EINPUT, "packet %lld is of kind %04x, wanted \"%s\"",
                        (long long)packet->id, tag, kind->name);
    size_t size = layout(kind, packet->payload[0], now);
    *ids_only = packet->payload[0] != 'R' || size != (uint8_t)packet->payload[3] ||
                memcmp(now, packet->payload + PAYLOAD_HEAD, size) != 0;
    if (*ids_only) {
        if (!decode_ids(packet, rows, err))
            return false;
    } else {
        for (size_t at = PAYLOAD_HEAD + size; at < packet->size;) {
            struct acc_row *row = rows_add(rows, err);
            if (row == NULL ||
                !row_decode(kind, packet->payload, packet->size, &at, heap, row, err))
                return false;
        }
    }
    return rows->count - before == (uint32_t)packet->count ||
           acc_fail(err, ACC_EINPUT, "packet %lld holds %u events, it says %d",
                    (long long)packet->id, rows->count - before, packet->count);
}
