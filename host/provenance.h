/*
 * Provenance: what a fact was first found from (its data and friends, and so on to facts from
 * outside), and what came of it. Read level by level, one query a kind and level, into a bounded
 * number of nodes; whatever lies beyond says so.
 */
#pragma once

#include "base/buf.h"
#include "effects.h"
#include "kinds.h"
#include "pg/pg.h"
#include "rows.h"

#define PROVENANCE_NODES 250    /* facts of one answer */
#define PROVENANCE_FRIENDS 500  /* of one fact that are looked at */
#define PROVENANCE_LINKS 100000 /* from facts to what came of them, of one answer */
#define PROVENANCE_DEPTH_MAX 10000

/* A fact of the answer. Each stands once, under the parent where it is nearest to the root. */
struct provenance_node {
    uint8_t id[16];
    const struct kind *kind; /* NULL: of no kind of the app */
    int parent;              /* number of the node it hangs under; -1: the root */
    int depth;
    bool is_read;     /* false: there is no such fact */
    bool is_followed; /* its own links have been looked for */
    char *fields;     /* JSON object, owned */
    char *label;      /* the same for people, one short line, owned */
    char *lifecycle;  /* who found it; NULL: ingested. Owned */
    char *worker;     /* host:pid of who wrote it, owned */
    int32_t generation;
    char *at; /* UTC, owned */
    bool has_data;
    uint8_t data[16];
    uint8_t *friends; /* 16 bytes each, owned */
    int friend_count; /* in friends */
    int64_t friend_total;
    struct effects_row *found; /* what came of it (down), owned; in the order of effects.h */
    int found_count;
    bool has_more; /* and there is more behind the last of them */
};

struct provenance {
    struct pg *pg;
    const struct catalog *catalog;
    struct provenance_node *nodes; /* the root is the first */
    int count, limit;
    int link_count; /* in found of all nodes */
    bool is_full;   /* facts were left out because of the limit */
    int *table;     /* number + 1 by id */
    uint32_t table_mask;
    struct pg_stmt *read, *follow; /* by kind->index, SQL owned */
    bool *is_found;                /* by kind->index: lifecycles have found facts of it */
    struct acc_heap heap;
    struct buf line, ids;
};

/* For answers of at most limit facts. catalog and pg are borrowed. */
void provenance_init(struct provenance *provenance, struct pg *pg, const struct catalog *catalog,
                     int limit);
void provenance_clear(struct provenance *provenance);

/* Reads what the fact was found from, depth steps back. */
bool provenance_up(struct provenance *provenance, const uint8_t *id, int depth,
                   struct acc_error *err) ACC_MUST_CHECK;

/*
 * What of the explorer's indexes is missing where facts were found; without them only depth 1 is
 * taken, by a search.
 */
bool provenance_has_indexes(struct provenance *provenance, bool *has,
                            struct acc_error *err) ACC_MUST_CHECK;

/*
 * Reads what came of the fact, depth steps on, at most page facts of each (fewer of those below it once PROVENANCE_LINKS
 * run out, yet one); of the fact itself those behind the one with id after (NULL: from the first). until_ms is the
 * session's statement_timeout. Errors as those of effects_page.
 */
bool provenance_down(struct provenance *provenance, const uint8_t *id, int depth, int page,
                     const uint8_t *after, int64_t until_ms, struct acc_error *err) ACC_MUST_CHECK;

/* The number of the node with this id, or -1. */
int provenance_find(const struct provenance *provenance, const uint8_t *id);
