#include "batch.h"

#include "base/log.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HANDLES_MAX (1u << 20)
#define KEYS_MAX (1u << 21)
#define INDEX_MAX (1u << 25)
#define FRIEND_IDS_MAX (1u << 24)
#define FINDS_MAX (1u << 21)
#define ERROR_BYTES 8192
#define TRACE_BYTES 65536

static void *reserve(uint64_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        abort();
    return at;
}

static void lookup_init(struct lookup *lookup, const struct kind *kind, const struct shape *shape)
{
    struct kind *key = &lookup->key_kind;

    *lookup = (struct lookup){.kind = kind, .shape = shape};
    snprintf(key->name, sizeof(key->name), "%s", kind->name);
    for (size_t i = 0; i < shape->count; i++) {
        struct field *field = &key->fields[key->field_count++];
        *field = kind->fields[shape->fields[i]];
        if (shape->has[i])
            field->is_array = false;
    }
    key->row_bytes = (uint32_t)(sizeof(struct acc_row) + 8 * key->field_count);
    rows_init(&lookup->keys, key, KEYS_MAX);
}

struct batch *batch_new(const struct settings *settings, const struct program *program,
                        struct pg *pg, struct facts *facts, struct seen *seen,
                        struct acc_slot *slot)
{
    struct batch *batch = acc_zalloc(sizeof(*batch));
    const struct catalog *catalog = &program->catalog;
    uint32_t friends_max =
        (uint32_t)(settings->worker.friends_max + settings->worker.batch_friends + 2);

    batch->settings = settings;
    batch->program = program;
    batch->pg = pg;
    batch->facts = facts;
    batch->seen = seen;
    batch->slot = slot;
    heap_init(&batch->heap, 0);
    heap_init(&batch->mirror_heap, 1);
    batch->data = acc_zalloc(catalog->count * sizeof(struct acc_rows) + 1);
    batch->friends = acc_zalloc(catalog->count * sizeof(struct acc_rows) + 1);
    batch->finds = acc_zalloc(catalog->count * sizeof(struct acc_rows) + 1);
    batch->mirrors = acc_zalloc(catalog->count * sizeof(struct mirror) + 1);
    for (size_t i = 0; i < catalog->count; i++) {
        const struct kind *kind = catalog->kinds[i];

        rows_init(&batch->data[i], kind, BATCH_EVENTS_MAX);
        rows_init(&batch->friends[i], kind, friends_max);
        rows_init(&batch->finds[i], kind, FINDS_MAX);
        batch->lookup_count += kind->shape_count;
    }
    batch->lookups = acc_zalloc(batch->lookup_count * sizeof(struct lookup) + 1);
    batch->lookup_count = 0;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct kind *kind = catalog->kinds[i];
        for (size_t s = 0; s < kind->shape_count; s++) {
            lookup_init(&batch->lookups[batch->lookup_count++], kind, &kind->shapes[s]);
            if (kind->shapes[s].count == 0) {
                uint32_t room = (uint32_t)(settings->worker.mirror_bytes / kind->row_bytes) + 1;
                batch->mirrors[i].kind = kind;
                rows_init(&batch->mirrors[i].rows, kind, room);
            }
        }
    }
    batch->handles = reserve((uint64_t)HANDLES_MAX * sizeof(struct acc_handle));
    batch->index = reserve((uint64_t)INDEX_MAX * sizeof(uint32_t));
    batch->index_limit = INDEX_MAX;
    batch->friend_ids = reserve((uint64_t)FRIEND_IDS_MAX * 16);
    batch->hot.handle_limit = HANDLES_MAX;
    batch->hot.friend_id_limit = FRIEND_IDS_MAX;
    return batch;
}

static void errors_clear(struct batch *batch)
{
    for (size_t i = 0; i < batch->error_count; i++) {
        free(batch->errors[i].text);
        free(batch->errors[i].trace);
    }
    batch->error_count = 0;
}

void batch_free(struct batch *batch)
{
    if (batch == NULL)
        return;
    errors_clear(batch);
    for (size_t i = 0; i < batch->program->catalog.count; i++) {
        rows_clear(&batch->data[i]);
        rows_clear(&batch->friends[i]);
        rows_clear(&batch->finds[i]);
        rows_clear(&batch->mirrors[i].rows);
        free(batch->mirrors[i].epochs);
        free(batch->candidates[i]);
    }
    for (size_t i = 0; i < batch->lookup_count; i++) {
        rows_clear(&batch->lookups[i].keys);
        free((char *)batch->lookups[i].stmt.sql);
        free((char *)batch->lookups[i].restricted.sql);
    }
    munmap(batch->handles, (uint64_t)HANDLES_MAX * sizeof(struct acc_handle));
    munmap(batch->index, (uint64_t)INDEX_MAX * sizeof(uint32_t));
    munmap(batch->friend_ids, (uint64_t)FRIEND_IDS_MAX * 16);
    free(batch->data);
    free(batch->friends);
    free(batch->finds);
    free(batch->mirrors);
    free(batch->lookups);
    free(batch->errors);
    free(batch);
}

/* Gives back what a large batch has used beyond keep bytes. */
static void trim(void *base, uint64_t used, uint64_t keep)
{
    if (used > keep)
        madvise((char *)base + keep, ((used + 4095) & ~UINT64_C(4095)) - keep, MADV_DONTNEED);
}

static void forget_turn(struct batch *batch)
{
    trim(batch->handles, batch->hot.handle_count * sizeof(struct acc_handle), 1 << 20);
    trim(batch->index, batch->index_count * sizeof(uint32_t), 1 << 20);
    trim(batch->friend_ids, (uint64_t)batch->hot.friend_id_count * 16, 1 << 20);
    batch->hot.handle_count = 0;
    batch->hot.find_count = 0;
    batch->hot.friend_id_count = 0;
    batch->index_count = 0;
    for (size_t i = 0; i < batch->program->catalog.count; i++) {
        rows_reset(&batch->friends[i]);
        rows_reset(&batch->finds[i]);
        batch->candidate_count[i] = 0;
        memset(&batch->found_counts[i], 0, sizeof(batch->found_counts[i]));
    }
    for (size_t i = 0; i < batch->lookup_count; i++) {
        rows_reset(&batch->lookups[i].keys);
        batch->lookups[i].fetched = 0;
    }
    errors_clear(batch);
    batch->reason_count = 0;
    batch->too_many_friends = false;
    batch->friend_rows = 0;
}

void batch_start(struct batch *batch, const struct lifecycle *lifecycle)
{
    forget_turn(batch);
    if (batch->lifecycle != NULL)
        rows_reset(&batch->data[batch->lifecycle->on->index]);
    heap_reset(&batch->heap);
    batch->lifecycle = lifecycle;
    batch->hot.event_count = 0;
    batch->hot.run_count = 0;
    batch->hot.find_limit = (uint32_t)batch->settings->worker.batch_finds;
    batch->in_transaction = false;
}

void batch_restart(struct batch *batch)
{
    forget_turn(batch);
    memset(batch->outcomes, OUTCOME_NONE, batch->hot.event_count);
}

void batch_drop_finds(struct batch *batch, uint32_t event)
{
    for (size_t i = 0; i < batch->program->catalog.count; i++) {
        struct acc_rows *finds = &batch->finds[i];
        while (finds->count > 0 && rows_at(finds, finds->count - 1)->event == event) {
            finds->count--;
            batch->hot.find_count--;
        }
    }
}

/* A copy of at most so many bytes that the database takes as text: what is no UTF-8 becomes "?". */
static char *legible(const char *text, size_t most)
{
    size_t size = strnlen(text, most + 1);

    if (size > most) {
        for (size = most; size > 0 && (text[size] & 0xc0) == 0x80;)
            size--;
    }
    char *copy = acc_alloc(size + 1);
    memcpy(copy, text, size);
    copy[size] = '\0';
    utf8_mend(copy, size);
    return copy;
}

void batch_park_event(struct batch *batch, uint32_t event, const char *text, const char *trace,
                      bool is_final)
{
    batch_drop_finds(batch, event);
    batch->outcomes[event] = OUTCOME_FAILED;
    if (batch->error_count == batch->error_capacity) {
        batch->error_capacity = batch->error_capacity * 2 + 8;
        batch->errors = acc_realloc(batch->errors, batch->error_capacity * sizeof(*batch->errors));
    }
    batch->errors[batch->error_count++] =
        (struct event_error){.event = event,
                             .is_final = is_final,
                             .text = legible(text, ERROR_BYTES),
                             .trace = legible(trace, TRACE_BYTES)};
}

void batch_reason(struct batch *batch, enum outcome outcome, const char *text)
{
    char *cut = legible(text, sizeof(batch->reasons[0].text) - 1);

    for (size_t i = 0; i < batch->reason_count; i++) {
        if (batch->reasons[i].outcome == (int16_t)outcome &&
            strcmp(batch->reasons[i].text, cut) == 0) {
            batch->reasons[i].n++;
            free(cut);
            return;
        }
    }
    if (batch->reason_count < BATCH_REASONS_MAX) {
        struct batch_reason *reason = &batch->reasons[batch->reason_count++];
        *reason = (struct batch_reason){.outcome = (int16_t)outcome, .n = 1};
        memcpy(reason->text, cut, strlen(cut) + 1);
    }
    free(cut);
}

struct lookup *batch_lookup(struct batch *batch, const struct kind *kind, int shape)
{
    for (size_t i = 0; i < batch->lookup_count; i++) {
        if (batch->lookups[i].kind == kind && batch->lookups[i].shape == &kind->shapes[shape])
            return &batch->lookups[i];
    }
    return NULL;
}
