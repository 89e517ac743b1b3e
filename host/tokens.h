/*
 * Tokens: who may use HTTP, and as what. A token is a secret of 256 random bits that is shown once; the database keeps its
 * SHA-256. A plain hash suffices: slow hashes protect what can be guessed, and 2^256 secrets cannot.
 *
 * A name is given once: what the audit says of it is about one secret, even after it was revoked.
 */
#pragma once

#include "base/hash.h"
#include "http/http.h"
#include "pg/pg.h"

#define TOKENS_MAX 256 /* valid ones at a time */
#define TOKEN_NAME_MAX 40
#define TOKEN_BYTES 69 /* "acc_", 64 hex digits, NUL */

struct token {
    char name[TOKEN_NAME_MAX + 1];
    uint8_t hash[SHA256_BYTES];
    int32_t role; /* enum http_role */
};

/* All valid tokens. Flat: it may be copied and lie in shared memory. */
struct token_set {
    uint64_t version; /* of the contents: differs when they do; 0: never loaded */
    uint32_t count;   /* 0: there is no token */
    struct token tokens[TOKENS_MAX];
};

/*
 * Reads the valid tokens: one short query over a small table, meant for about once a second; a revoked token is refused
 * from then on. The role of readers may not see them. Tables of an older version hold none. On failure set stays as it is.
 */
bool tokens_load(struct token_set *set, struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
/*
 * Whether text (what stands behind "Bearer ") is a valid token: its name (in set) and role. Takes the same time whatever
 * text is.
 */
bool tokens_check(const struct token_set *set, struct http_text text, const char **name,
                  enum http_role *role);

/* "read", "ingest", "admin" and back; false: something else. */
bool token_role(const char *text, enum http_role *role);
const char *token_role_name(enum http_role role);

/*
 * Makes a token; secret gets its text, which is kept nowhere. who and reason go to the audit (who NULL: the user and machine
 * of this process). ACC_EINPUT: the name is taken or no name, ACC_ELIMIT: there are TOKENS_MAX.
 */
bool token_new(struct pg *pg, const char *name, enum http_role role, const char *who,
               const char *reason, char secret[TOKEN_BYTES], int64_t *audit_id,
               struct acc_error *err) ACC_MUST_CHECK;
/* Ends its validity; ACC_EINPUT: there is no valid token of that name. */
bool token_revoke(struct pg *pg, const char *name, const char *who, const char *reason,
                  int64_t *audit_id, struct acc_error *err) ACC_MUST_CHECK;
