/* The block that processes share, and its table of families and series. */
#include "metrics_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

/*
 * The block: a head, a table of slots, then records. A slot is the offset of a record, or 0; it is
 * filled once, by compare and swap, and never emptied, so probing needs no lock. A record is
 * complete before its offset is in a slot. Families and series share the table.
 */

#define ALIGNMENT 64     /* no two series share a cache line */
#define SERIES_BYTES 768 /* the largest family and the largest series without buckets */
#define PROBES_MAX 256   /* slots that are looked at before the table counts as full */

struct metrics {
    _Atomic uint64_t size;
    _Atomic uint64_t used; /* bytes of records, from records_at on */
    _Atomic uint64_t dropped;
};

/* What a caller gets when there is no room: takes nothing. */
static struct metric none = {.type = METRIC_NONE};

const char *const metrics_type_names[] = {
    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint64_t slots_at(void)
{
    return round_up(sizeof(struct metrics));
}

/*
 * Slots of a block of that size: a power of two, twice as many as families and series for which
 * there is room at their largest.
 */
static uint64_t slot_count(uint64_t size)
{
    uint64_t count = 16;

    while (count * SERIES_BYTES < 4 * size)
        count *= 2;
    return count;
}

static _Atomic uint64_t *slots_of(const struct metrics *metrics)
{
    return (_Atomic uint64_t *)(void *)((char *)metrics + slots_at());
}

static uint64_t records_at(uint64_t size)
{
    return round_up(slots_at() + slot_count(size) * sizeof(uint64_t));
}

static void *record_at(const struct metrics *metrics, uint64_t offset)
{
    return (char *)metrics + offset;
}

static uint64_t size_of(const struct metrics *metrics)
{
    return atomic_load_explicit(&metrics->size, memory_order_relaxed);
}

size_t metrics_size(size_t series)
{
    uint64_t bytes = 4096;

    while (bytes < records_at(bytes) + series * SERIES_BYTES) /* the table grows with the block */
        bytes = records_at(bytes) + series * SERIES_BYTES;
    return bytes;
}

struct metrics *metrics_at(void *memory, size_t size)
{
    struct metrics *metrics = memory;
    uint64_t old = 0;

    assert((uintptr_t)memory % ALIGNMENT == 0 && size >= metrics_size(0));
    if (!atomic_compare_exchange_strong(&metrics->size, &old, size))
        assert(old == size);
    return metrics;
}

struct metrics *metrics_new(size_t series)
{
    size_t size = metrics_size(series);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        abort();
    return metrics_at(memory, size);
}

void metrics_free(struct metrics *metrics)
{
    if (metrics != NULL)
        munmap(metrics, size_of(metrics));
}

/* Records */

struct key {
    enum record_type type;
    size_t size;
    char text[(METRICS_LABELS_MAX + 1) * (METRICS_NAME_MAX + 1)]; /* texts with their NULs */
};

static void key_add(struct key *key, const char *text)
{
    size_t size = strlen(text) + 1;

    memcpy(key->text + key->size, text, size);
    key->size += size;
}

static uint64_t key_hash(const struct key *key)
{
    return XXH3_64bits_withSeed(key->text, key->size, key->type);
}

const struct family *metrics_family_of(const struct metrics *metrics, const struct metric *metric)
{
    return record_at(metrics, metric->family);
}

const char *metrics_values_of(const struct metric *metric)
{
    return (const char *)&metric->buckets[metric->bucket_count];
}

size_t metrics_texts_size(const char *texts, size_t count)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++)
        size += strlen(texts + size) + 1;
    return size;
}

static bool has_key(const struct metrics *metrics, const struct record *record,
                    const struct key *key)
{
    if (record->type != key->type)
        return false;
    if (record->type == RECORD_FAMILY)
        return strcmp(((const struct family *)record)->texts, key->text) == 0;

    const struct metric *metric = (const struct metric *)record;
    const struct family *family = metrics_family_of(metrics, metric);
    size_t name_size = strlen(key->text) + 1;

    return strcmp(family->texts, key->text) == 0 &&
           memcmp(metrics_values_of(metric), key->text + name_size, key->size - name_size) == 0;
}

/*
 * The record with that key, or NULL; *slot is then where it would go, slot_count when the table is
 * full.
 */
static struct record *find(const struct metrics *metrics, const struct key *key, uint64_t hash,
                           uint64_t *slot)
{
    _Atomic uint64_t *slots = slots_of(metrics);
    uint64_t count = slot_count(size_of(metrics));

    for (uint64_t i = 0; i < PROBES_MAX && i < count; i++) {
        *slot = (hash + i) & (count - 1);
        uint64_t offset = atomic_load_explicit(&slots[*slot], memory_order_acquire);
        if (offset == 0)
            return NULL;
        struct record *record = record_at(metrics, offset);
        if (record->hash == hash && has_key(metrics, record, key))
            return record;
    }
    *slot = count;
    return NULL;
}

/* Room for a record, zeroed; 0 when the block is full. */
static uint64_t reserve(struct metrics *metrics, uint64_t bytes)
{
    uint64_t start = records_at(size_of(metrics));
    uint64_t used = atomic_load_explicit(&metrics->used, memory_order_relaxed);

    do {
        if (bytes > size_of(metrics) - start - used)
            return 0;
    } while (!atomic_compare_exchange_weak(&metrics->used, &used, used + bytes));
    return start + used;
}

/* Takes back what reserve gave, when nobody has reserved since; else it is lost, which is little. */
static void give_back(struct metrics *metrics, uint64_t offset, uint64_t bytes)
{
    uint64_t end = offset - records_at(size_of(metrics)) + bytes;

    memset(record_at(metrics, offset), 0, bytes);
    atomic_compare_exchange_strong(&metrics->used, &end, end - bytes);
}

/*
 * Puts the complete record at offset into the table. When another process came first its record is
 * returned instead; NULL when the table is full.
 */
static struct record *publish(struct metrics *metrics, const struct key *key, uint64_t offset)
{
    struct record *record = record_at(metrics, offset);
    uint64_t bytes = record->bytes;

    for (;;) {
        uint64_t slot, empty = 0;
        struct record *other = find(metrics, key, record->hash, &slot);

        if (other != NULL || slot == slot_count(size_of(metrics))) {
            give_back(metrics, offset, bytes);
            return other;
        }
        if (atomic_compare_exchange_strong(&slots_of(metrics)[slot], &empty, offset))
            return record;
    }
}

static struct record *make_family(struct metrics *metrics, const struct metric_family *wanted,
                                  const struct key *key, uint64_t hash)
{
    size_t labels = metrics_label_count(wanted);
    size_t size = sizeof(struct family) + strlen(wanted->name) + strlen(wanted->help) + 2;

    for (size_t i = 0; i < labels; i++)
        size += strlen(wanted->labels[i]) + 1;
    uint64_t bytes = round_up(size);
    uint64_t offset = reserve(metrics, bytes);
    if (offset == 0)
        return NULL;
    struct family *family = record_at(metrics, offset);
    *family = (struct family){.record = {RECORD_FAMILY, (uint32_t)bytes, hash},
                              .type = wanted->type,
                              .label_count = (uint32_t)labels};
    char *at = stpcpy(family->texts, wanted->name) + 1;
    at = stpcpy(at, wanted->help) + 1;
    for (size_t i = 0; i < labels; i++)
        at = stpcpy(at, wanted->labels[i]) + 1;
    return publish(metrics, key, offset);
}

/* Whether a family that is there is the one that is wanted. */
static bool fits(const struct family *family, const struct metric_family *wanted,
                 struct acc_error *err)
{
    const char *label = family->texts + metrics_texts_size(family->texts, 2);

    if (family->type != wanted->type)
        return acc_fail(err, ACC_EINPUT, "metric %s: is a %s already, wanted a %s", wanted->name,
                        metrics_type_names[family->type], metrics_type_names[wanted->type]);
    bool is_same = family->label_count == metrics_label_count(wanted);
    for (size_t i = 0; is_same && i < family->label_count; i++, label += strlen(label) + 1)
        is_same = strcmp(label, wanted->labels[i]) == 0;
    return is_same ||
           acc_fail(err, ACC_EINPUT, "metric %s: is there already with other labels", wanted->name);
}

static bool fail_full(const struct metrics *metrics, struct acc_error *err)
{
    return acc_fail(err, ACC_ELIMIT, "the block of metrics is full with %zu bytes",
                    (size_t)size_of(metrics));
}

static struct family *get_family(struct metrics *metrics, const struct metric_family *wanted,
                                 struct acc_error *err)
{
    struct key key = {.type = RECORD_FAMILY};
    uint64_t slot;

    key_add(&key, wanted->name);
    uint64_t hash = key_hash(&key);
    struct record *record = find(metrics, &key, hash, &slot);
    if (record == NULL)
        record = make_family(metrics, wanted, &key, hash);
    if (record == NULL) {
        fail_full(metrics, err);
        return NULL;
    }
    return fits((struct family *)record, wanted, err) ? (struct family *)record : NULL;
}

bool metrics_declare(struct metrics *metrics, const struct metric_family *family,
                     struct acc_error *err)
{
    return metrics_check(family, err) && get_family(metrics, family, err) != NULL;
}

static struct metric *make_series(struct metrics *metrics, const struct family *family,
                                  const struct key *key, uint64_t hash, struct acc_error *err)
{
    size_t buckets = family->type == METRIC_HISTOGRAM ? METRIC_BUCKETS : 0;
    size_t name_size = strlen(family->texts) + 1;
    size_t values_size = key->size - name_size;
    uint64_t bytes = round_up(sizeof(struct metric) + buckets * sizeof(uint64_t) + values_size);
    uint64_t offset = reserve(metrics, bytes);

    if (offset == 0) {
        fail_full(metrics, err);
        return NULL;
    }
    struct metric *metric = record_at(metrics, offset);
    metric->record = (struct record){RECORD_SERIES, (uint32_t)bytes, hash};
    metric->type = family->type;
    metric->bucket_count = (uint32_t)buckets;
    metric->family = (uint64_t)((const char *)family - (const char *)metrics);
    memcpy((char *)&metric->buckets[buckets], key->text + name_size, values_size);
    metric = (struct metric *)publish(metrics, key, offset);
    if (metric == NULL)
        fail_full(metrics, err);
    return metric;
}

static struct metric *get_series(struct metrics *metrics, const struct metric_family *family,
                                 const char *const *values, struct acc_error *err)
{
    struct key key = {.type = RECORD_SERIES};
    uint64_t slot;

    if (!metrics_check(family, err) || !metrics_check_values(family, values, err))
        return NULL;
    const struct family *known = get_family(metrics, family, err);
    if (known == NULL)
        return NULL;
    key_add(&key, family->name);
    for (size_t i = 0; i < known->label_count; i++)
        key_add(&key, values[i]);
    uint64_t hash = key_hash(&key);
    struct record *record = find(metrics, &key, hash, &slot);
    return record != NULL ? (struct metric *)record : make_series(metrics, known, &key, hash, err);
}

struct metric *metrics_get(struct metrics *metrics, const struct metric_family *family,
                           const char *const *values, struct acc_error *err)
{
    struct metric *metric = get_series(metrics, family, values, err);

    if (metric != NULL)
        return metric;
    atomic_fetch_add(&metrics->dropped, 1);
    return &none;
}

uint64_t metrics_slots(const struct metrics *metrics)
{
    return slot_count(size_of(metrics));
}

const struct metric *metrics_series_at(const struct metrics *metrics, uint64_t slot)
{
    uint64_t offset = atomic_load_explicit(&slots_of(metrics)[slot], memory_order_acquire);
    const struct record *record = record_at(metrics, offset);

    return offset == 0 || record->type != RECORD_SERIES ? NULL : (const struct metric *)record;
}

uint64_t metrics_dropped(const struct metrics *metrics)
{
    return atomic_load(&metrics->dropped);
}
