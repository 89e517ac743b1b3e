#include "metrics.h"

#include "base/utf8.h"
#include "formats/dump_json.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xxhash.h>

/*
 * The block: a head, a table of slots, then records. A slot is the offset of a record, or 0; it is
 * filled once, by compare and swap, and never emptied, so probing needs no lock. A record is
 * complete before its offset is in a slot. Families and series share the table.
 */

/* Buckets: one for all up to 2^-20, four for each doubling up to 2^20, one for the rest. */
#define EXPONENT_MIN (-20)
#define EXPONENT_MAX 20
#define PER_DOUBLING 4
#define BUCKETS ((EXPONENT_MAX - EXPONENT_MIN) * PER_DOUBLING + 2)
#define FIRST_BITS UINT64_C(0x3EB0000000000000) /* of 2^-20 as a double */
#define BUCKET_SHIFT 50 /* exponent and the first two bits of the fraction */

#define ALIGNMENT 64     /* no two series share a cache line */
#define SERIES_BYTES 768 /* the largest family and the largest series without buckets */
#define PROBES_MAX 256   /* slots that are looked at before the table counts as full */

enum record_type { RECORD_FAMILY = 1, RECORD_SERIES };

/* Begins both kinds of records. */
struct record {
    uint32_t type; /* enum record_type */
    uint32_t bytes;
    uint64_t hash;
};

/* Followed by name, help and the names of labels, each with its NUL. */
struct family {
    struct record record;
    uint32_t type; /* enum metric_type */
    uint32_t label_count;
    char texts[];
};

/* Followed by buckets (of a histogram), then the values of the labels, each with its NUL. */
struct metric {
    struct record record;
    uint32_t type;          /* enum metric_type, or TYPE_NONE */
    uint32_t bucket_count;  /* 0 or BUCKETS */
    uint64_t family;        /* offset */
    _Atomic uint64_t value; /* bits of a double; of a histogram the sum */
    _Atomic uint64_t buckets[];
};

struct metrics {
    _Atomic uint64_t size;
    _Atomic uint64_t used; /* bytes of records, from records_at on */
    _Atomic uint64_t dropped;
};

/* What a caller gets when there is no room: takes nothing. */
#define TYPE_NONE UINT32_MAX
static struct metric none = {.type = TYPE_NONE};

static const char *const type_names[] = {
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

/* Checks */

static bool is_name(const char *name)
{
    size_t size = strlen(name);

    if (size == 0 || size > METRICS_NAME_MAX || (*name >= '0' && *name <= '9'))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == size;
}

static const char *reserved_end(const char *name)
{
    static const char *const ends[] = {"_total", "_bucket", "_created"};
    size_t size = strlen(name);

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t end = strlen(ends[i]);
        if (size > end && strcmp(name + size - end, ends[i]) == 0)
            return ends[i];
    }
    return NULL;
}

static size_t label_count(const struct metric_family *family)
{
    size_t count = 0;

    while (count < METRICS_LABELS_MAX && family->labels[count] != NULL)
        count++;
    return count;
}

static bool check_text(const char *what, const char *text, size_t most, struct acc_error *err)
{
    size_t size = strlen(text);

    if (size > most)
        return acc_fail(err, ACC_EINPUT, "%s: wanted at most %zu bytes, got %zu", what, most, size);
    if (utf8_valid_prefix(text, size) != size)
        return acc_fail(err, ACC_EINPUT, "%s: byte %zu is not UTF-8", what,
                        utf8_valid_prefix(text, size) + 1);
    return true;
}

static bool check_label(const struct metric_family *family, size_t number, struct acc_error *err)
{
    const char *label = family->labels[number];

    if (!is_name(label) || strncmp(label, "__", 2) == 0 || strcmp(label, "le") == 0)
        return acc_fail(err, ACC_EINPUT,
                        "metric %s: label \"%.80s\": wanted letters, digits and _, at most %d, not "
                        "le, not beginning with __",
                        family->name, label, METRICS_NAME_MAX);
    for (size_t i = 0; i < number; i++)
        if (strcmp(family->labels[i], label) == 0)
            return acc_fail(err, ACC_EINPUT, "metric %s: label %s is there twice", family->name,
                            label);
    return true;
}

bool metrics_check(const struct metric_family *family, struct acc_error *err)
{
    if (!is_name(family->name))
        return acc_fail(err, ACC_EINPUT,
                        "metric \"%.80s\": wanted a name of letters, digits and _, at most %d",
                        family->name, METRICS_NAME_MAX);
    if (reserved_end(family->name) != NULL)
        return acc_fail(err, ACC_EINPUT, "metric %s: wanted a name without \"%s\" at its end",
                        family->name, reserved_end(family->name));
    if (family->type > METRIC_HISTOGRAM)
        return acc_fail(err, ACC_EINPUT, "metric %s: there is no type %d", family->name,
                        (int)family->type);
    if (!check_text("help", family->help, METRICS_HELP_MAX, err))
        return acc_fail_prefix(err, "metric %s", family->name);
    for (size_t i = 0; i < label_count(family); i++)
        if (!check_label(family, i, err))
            return false;
    return true;
}

static bool check_values(const struct metric_family *family, const char *const *values,
                         struct acc_error *err)
{
    for (size_t i = 0; i < label_count(family); i++) {
        if (values == NULL || values[i] == NULL)
            return acc_fail(err, ACC_EINPUT, "metric %s: label %s has no value", family->name,
                            family->labels[i]);
        if (!check_text(family->labels[i], values[i], METRICS_VALUE_MAX, err))
            return acc_fail_prefix(err, "metric %s: label", family->name);
    }
    return true;
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

static const struct family *family_of(const struct metrics *metrics, const struct metric *metric)
{
    return record_at(metrics, metric->family);
}

static const char *values_of(const struct metric *metric)
{
    return (const char *)&metric->buckets[metric->bucket_count];
}

/* Bytes of count texts that follow each other. */
static size_t texts_size(const char *texts, size_t count)
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
    const struct family *family = family_of(metrics, metric);
    size_t name_size = strlen(key->text) + 1;

    return strcmp(family->texts, key->text) == 0 &&
           memcmp(values_of(metric), key->text + name_size, key->size - name_size) == 0;
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
    size_t labels = label_count(wanted);
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
    const char *label = family->texts + texts_size(family->texts, 2);

    if (family->type != wanted->type)
        return acc_fail(err, ACC_EINPUT, "metric %s: is a %s already, wanted a %s", wanted->name,
                        type_names[family->type], type_names[wanted->type]);
    bool is_same = family->label_count == label_count(wanted);
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
    size_t buckets = family->type == METRIC_HISTOGRAM ? BUCKETS : 0;
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

    if (!metrics_check(family, err) || !check_values(family, values, err))
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

/* Numbers */

static double double_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void add_double(_Atomic uint64_t *to, double value)
{
    uint64_t old = atomic_load_explicit(to, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(to, &old, bits_of(double_of(old) + value),
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

void metric_add(struct metric *metric, double value)
{
    if (metric->type == METRIC_GAUGE
            ? !isnan(value)
            : metric->type == METRIC_COUNTER && value > 0 && isfinite(value))
        add_double(&metric->value, value);
}

void metric_set(struct metric *metric, double value)
{
    if (metric->type == METRIC_GAUGE ||
        (metric->type == METRIC_COUNTER && value >= 0 && isfinite(value)))
        atomic_store_explicit(&metric->value, bits_of(value), memory_order_relaxed);
}

/* Bucket k ends at bound(k), which belongs to it. */
static size_t bucket_of(double value)
{
    if (value <= double_of(FIRST_BITS))
        return 0;
    /* Positive doubles sort like their bits: one less puts a bound into the bucket that it ends. */
    uint64_t step = ((bits_of(value) - 1) >> BUCKET_SHIFT) - (FIRST_BITS >> BUCKET_SHIFT);
    return step < BUCKETS - 2 ? (size_t)step + 1 : BUCKETS - 1;
}

static double bound(size_t bucket)
{
    return double_of(FIRST_BITS + ((uint64_t)bucket << BUCKET_SHIFT));
}

void metric_observe(struct metric *metric, double value)
{
    if (metric->type != METRIC_HISTOGRAM || !isfinite(value))
        return;
    atomic_fetch_add_explicit(&metric->buckets[bucket_of(value)], 1, memory_order_relaxed);
    add_double(&metric->value, value);
}

double metric_value(const struct metric *metric)
{
    return double_of(atomic_load_explicit(&metric->value, memory_order_relaxed));
}

/* What is in bucket. */
static uint64_t bucket_count(const struct metric *metric, size_t bucket)
{
    return atomic_load_explicit(&metric->buckets[bucket], memory_order_relaxed);
}

uint64_t metric_count(const struct metric *metric)
{
    uint64_t count = 0;

    for (size_t i = 0; i < metric->bucket_count; i++)
        count += bucket_count(metric, i);
    return count;
}

double metric_quantile(const struct metric *metric, double q)
{
    uint64_t count = metric_count(metric);
    double wanted = ceil(q * (double)count); /* the rank that is looked for, from 1 on */
    uint64_t rank = 0;

    if (count == 0 || !(q >= 0 && q <= 1))
        return NAN;
    for (size_t i = 0; i < BUCKETS - 1; i++) {
        rank += bucket_count(metric, i);
        if (rank > 0 &&
            (double)rank >= wanted) /* the harmonic middle errs least: 1/9 at both ends */
            return i == 0 ? 0 : 2 / (1 / bound(i - 1) + 1 / bound(i));
    }
    return bound(BUCKETS - 2);
}

/* Rendering */

/* A series with what it is sorted by. */
struct entry {
    const struct family *family;
    const struct metric *metric;
};

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left;
    const struct entry *b = right;
    int order = strcmp(a->family->texts, b->family->texts);
    const char *x = values_of(a->metric), *y = values_of(b->metric);

    for (size_t i = 0; order == 0 && i < a->family->label_count; i++) {
        order = strcmp(x, y);
        x += strlen(x) + 1;
        y += strlen(y) + 1;
    }
    return order;
}

/* All series, sorted; caller frees. */
static struct entry *list_series(const struct metrics *metrics, size_t *count)
{
    _Atomic uint64_t *slots = slots_of(metrics);
    uint64_t slot_number = slot_count(size_of(metrics));
    struct entry *entries = acc_alloc(slot_number * sizeof(*entries));

    *count = 0;
    for (uint64_t i = 0; i < slot_number; i++) {
        uint64_t offset = atomic_load_explicit(&slots[i], memory_order_acquire);
        const struct record *record = record_at(metrics, offset);

        if (offset == 0 || record->type != RECORD_SERIES)
            continue;
        const struct metric *metric = (const struct metric *)record;
        entries[(*count)++] = (struct entry){family_of(metrics, metric), metric};
    }
    qsort(entries, *count, sizeof(*entries), compare_entries);
    return entries;
}

static struct metric_family describe(const struct family *family)
{
    struct metric_family described = {.name = family->texts, .type = family->type};
    const char *text = family->texts + texts_size(family->texts, 1);

    described.help = text;
    for (size_t i = 0; i < family->label_count; i++) {
        text += strlen(text) + 1;
        described.labels[i] = text;
    }
    return described;
}

void metrics_each(const struct metrics *metrics,
                  void (*visit)(void *context, const struct metric_family *family,
                                const char *const *values, const struct metric *metric),
                  void *context)
{
    size_t count;
    struct entry *entries = list_series(metrics, &count);

    for (size_t i = 0; i < count; i++) {
        struct metric_family family = describe(entries[i].family);
        const char *values[METRICS_LABELS_MAX] = {NULL};
        const char *at = values_of(entries[i].metric);

        for (size_t k = 0; k < entries[i].family->label_count; k++, at += strlen(at) + 1)
            values[k] = at;
        visit(context, &family, values, entries[i].metric);
    }
    free(entries);
}

static void put_number(struct buf *out, double value)
{
    if (isnan(value))
        buf_text(out, "NaN");
    else if (isinf(value))
        buf_text(out, value > 0 ? "+Inf" : "-Inf");
    else
        dump_json_float(out, value);
}

static void put_escaped(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            buf_text(out, "\\n");
            continue;
        }
        if (*text == '"' || *text == '\\')
            buf_byte(out, '\\');
        buf_byte(out, (uint8_t)*text);
    }
}

/* `{a="1",le="2.0"}`; le may be NULL. */
static void put_labels(struct buf *out, const struct metric_family *family,
                       const char *const *values, const char *le)
{
    size_t count = label_count(family);

    if (count == 0 && le == NULL)
        return;
    buf_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s%s=\"", i > 0 ? "," : "", family->labels[i]);
        put_escaped(out, values[i]);
        buf_byte(out, '"');
    }
    if (le != NULL)
        buf_printf(out, "%sle=\"%s\"", count > 0 ? "," : "", le);
    buf_byte(out, '}');
}

static void put_sample(struct buf *out, const struct metric_family *family, const char *end,
                       const char *const *values, const char *le, double value)
{
    buf_text(out, family->name);
    buf_text(out, end);
    put_labels(out, family, values, le);
    buf_byte(out, ' ');
    put_number(out, value);
    buf_byte(out, '\n');
}

static void put_bucket(struct buf *out, const struct metric_family *family,
                       const char *const *values, double le, uint64_t count)
{
    struct buf text = {0};

    put_number(&text, le);
    if (isfinite(le) && le == floor(le) && strpbrk(text.data, ".e") == NULL)
        buf_text(&text, ".0"); /* the canonical form of a bound */
    put_sample(out, family, "_bucket", values, text.data, (double)count);
    buf_clear(&text);
}

/* The bucket that ends where the doubling of bucket begins; 0 has none below. */
static size_t doubling_below(size_t bucket)
{
    return bucket == 0 ? 0 : (bucket - 1) / PER_DOUBLING * PER_DOUBLING;
}

static void put_histogram(struct buf *out, const struct metric_family *family,
                          const char *const *values, const struct metric *metric)
{
    uint64_t counts[BUCKETS]; /* read once, so that what is shown adds up */
    size_t first = BUCKETS - 1, last = 0;
    uint64_t all = 0, below = 0;

    for (size_t i = 0; i < BUCKETS; i++) {
        all += counts[i] = bucket_count(metric, i);
        if (counts[i] == 0)
            continue;
        first = first < i ? first : i;
        last = i;
    }
    first = doubling_below(first);
    for (size_t i = 0; all > 0 && i < BUCKETS - 1; i++) {
        below += counts[i];
        if (i % PER_DOUBLING == 0 && i >= first)
            put_bucket(out, family, values, bound(i), below);
        if (i % PER_DOUBLING == 0 && i >= last)
            break;
    }
    put_bucket(out, family, values, INFINITY, all);
    put_sample(out, family, "_sum", values, NULL, metric_value(metric));
    put_sample(out, family, "_count", values, NULL, (double)all);
}

static const char *unit_of(const char *name)
{
    static const char *const units[] = {"seconds", "bytes", "ratio"};
    const char *end = strrchr(name, '_');

    for (size_t i = 0; end != NULL && i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(end + 1, units[i]) == 0)
            return units[i];
    return NULL;
}

static void put_head(struct buf *out, const struct metric_family *family)
{
    const char *unit = unit_of(family->name);

    buf_printf(out, "# TYPE %s %s\n", family->name, type_names[family->type]);
    if (unit != NULL)
        buf_printf(out, "# UNIT %s %s\n", family->name, unit);
    buf_printf(out, "# HELP %s ", family->name);
    put_escaped(out, family->help);
    buf_byte(out, '\n');
}

struct rendering {
    struct buf *out;
    const char *name; /* of the family that the last series belongs to, in the block; "" */
    uint64_t dropped; /* still to be shown, in its place among the names */
};

static const struct metric_family dropped_family = {
    "accrete_metrics_dropped", METRIC_COUNTER, "Series that found no room or did not fit", {NULL}};

static void put_dropped(struct rendering *rendering)
{
    if (rendering->dropped == 0)
        return;
    put_head(rendering->out, &dropped_family);
    put_sample(rendering->out, &dropped_family, "_total", NULL, NULL, (double)rendering->dropped);
    rendering->dropped = 0;
}

static void render_series(void *context, const struct metric_family *family,
                          const char *const *values, const struct metric *metric)
{
    struct rendering *rendering = context;

    if (strcmp(rendering->name, family->name) != 0) {
        if (strcmp(family->name, dropped_family.name) > 0)
            put_dropped(rendering);
        put_head(rendering->out, family);
        rendering->name = family->name;
    }
    if (family->type == METRIC_HISTOGRAM)
        put_histogram(rendering->out, family, values, metric);
    else
        put_sample(rendering->out, family, family->type == METRIC_COUNTER ? "_total" : "", values,
                   NULL, metric_value(metric));
}

void metrics_render(const struct metrics *metrics, bool is_whole, struct buf *out)
{
    struct rendering rendering = {out, "", atomic_load(&metrics->dropped)};

    metrics_each(metrics, render_series, &rendering);
    put_dropped(&rendering);
    if (is_whole)
        buf_text(out, "# EOF\n");
}
