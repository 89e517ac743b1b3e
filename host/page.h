/*
 * The shared page: heartbeats, positions and live counters of all processes of one host, in a file
 * of the run directory, so that commands can look without a database. One writer a slot.
 */
#pragma once

#include "accrete/hot.h"
#include "base/error.h"

#include <stddef.h>

#define PAGE_SLOTS 130
#define PAGE_PACKETS 256

enum page_phase {
    PHASE_NONE,
    PHASE_START,
    PHASE_IDLE,
    PHASE_CLAIM,
    PHASE_FRIENDS,
    PHASE_LUA,
    PHASE_WRITE
};

struct page_packet {
    int64_t id;
    int16_t bucket;
    int16_t lifecycle;
    int32_t first_event; /* number of its first event in the batch */
};

/* A fact that a worker found a moment ago; a few of many. */
struct page_sample {
    int64_t at_us; /* wall clock; 0: none */
    int32_t lifecycle;
    uint8_t id[16];
};
#define PAGE_SAMPLES 4

/* How a worker's process ended. */
struct page_exit {
    int64_t at_us;    /* wall clock; 0: none has ended */
    int64_t stuck_ms; /* how long it stood still before it was killed; 0: it ended by itself */
    int32_t signal;   /* what ended it, 0: it exited */
    int32_t code;     /* its enum worker_exit, or another exit code */
};

struct page_slot {
    struct acc_slot run; /* Lua writes here */
    int32_t pid;         /* 0: free */
    int32_t generation;
    int32_t is_quarantine;
    int32_t retire;        /* set by the master: end after this batch */
    int32_t lifecycle;     /* of the running batch, 0: none */
    uint32_t batch_events; /* of the running batch */
    uint32_t
        packet_count; /* packets of the running batch; more than PAGE_PACKETS: the rest is not listed */
    struct page_packet packets[PAGE_PACKETS];
    uint64_t events, found, new_facts, repeats, conflicts, failed,
        batches; /* since the process began */
    uint64_t friend_rows, round_trips;
    uint64_t seen_bytes;
    uint64_t buckets_taken; /* over since the process began */
    int32_t buckets_owned;  /* now */
    int32_t is_paused;      /* it begins no batches: somebody has paused the queue */
    int64_t started_us, batch_started_us;
    uint64_t lua_bytes; /* what its lua_State held after the last batch */
    uint64_t deaths;    /* of this slot's processes, written by the master */
    uint64_t restarts;  /* in its place, after deaths; written by the master */
    struct page_exit
        last_exit; /* of the process whose place this one took, written by the master */
    /* Written in turn; of a half-written id there is no fact. */
    struct page_sample samples[PAGE_SAMPLES];
    uint32_t next_sample;
};

/*
 * A packet whose worker died: nobody runs it until the quarantine worker has split it. The master
 * adds, quarantine clears.
 */
struct page_poison {
    int64_t id; /* 0: free entry */
    int16_t bucket;
    int16_t lifecycle;
    int32_t suspect;  /* event of the packet whose callback ran, or -1 */
    int32_t signal;   /* what ended the process, 0: it exited */
    int32_t status;   /* its exit code */
    int64_t stuck_ms; /* how long it stood still before it was killed; 0: it died by itself */
};

#define PAGE_POISON (8 * PAGE_PACKETS)

/* The processes behind HTTP and the one that keeps the board. */
enum page_role { SERVICE_NONE, SERVICE_FRONT, SERVICE_QUERY, SERVICE_ROUTES, SERVICE_FIGURES };

/* "front", "query" ... */
const char *page_role_name(int32_t role);

/* Whether whoever asks over HTTP from now on is answered by processes of the current generation. */
struct page;
bool page_is_served(const struct page *page);

/* "machine-slot": how people see a worker of this host. */
void page_worker_name(int slot, char *out, size_t size);

struct page_service {
    int32_t pid; /* 0: free */
    int32_t role;
    int32_t number; /* among those of its role */
    int32_t generation;
    int32_t retire;   /* set by the master: end when all that is held has been answered */
    int32_t is_ready; /* it serves, and takes connections */
    uint64_t beat;    /* moves while it lives, at least once a second */
    uint64_t deaths;  /* of this place's processes, written by the master */
    int64_t started_us;
};

#define PAGE_SERVICES 32

struct page {
    uint64_t magic;
    int32_t master_pid;
    int32_t worker_count; /* wanted */
    int32_t generation;   /* current */
    int32_t draining;
    uint64_t reloads, refused;
    char refused_text[1024];   /* why the last reload was refused; "" after a good one */
    int16_t bucket_slot[4096]; /* slot of the local worker that owns the bucket, or -1 */
    struct page_poison poison[PAGE_POISON];
    struct page_slot slots[PAGE_SLOTS];
    struct page_service services[PAGE_SERVICES];
    char http_address[128]; /* "127.0.0.1:7171", as it is bound; "": HTTP is off */
};

/*
 * Makes the page (master) at run_dir/page, or maps an existing one read-only (commands). NULL with
 * err.
 */
struct page *page_create(const char *run_dir, struct acc_error *err) ACC_MUST_CHECK;
const struct page *page_open(const char *run_dir, struct acc_error *err) ACC_MUST_CHECK;
void page_close(const struct page *page);
