#include "tokens.h"

#include "audit.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "acc_" /* so that a secret that got somewhere is recognised */

static const char *const role_names[] = {
    [HTTP_ROLE_READ] = "read", [HTTP_ROLE_INGEST] = "ingest", [HTTP_ROLE_ADMIN] = "admin"};

bool token_role(const char *text, enum http_role *role)
{
    for (int r = HTTP_ROLE_READ; r <= HTTP_ROLE_ADMIN; r++) {
        if (strcmp(text, role_names[r]) == 0) {
            *role = (enum http_role)r;
            return true;
        }
    }
    return false;
}

const char *token_role_name(enum http_role role)
{
    return role < HTTP_ROLE_READ || role > HTTP_ROLE_ADMIN ? "none" : role_names[role];
}

bool tokens_load(struct token_set *set, struct pg *pg, struct acc_error *err)
{
    static struct pg_stmt read = {
        .sql = "SELECT name, role, hash FROM token WHERE revoked IS NULL ORDER BY name"};
    PGresult *res = pg_look(pg, &read, NULL, err);

    if (res == NULL && !pg_lacks_table(err)) /* older tables know no tokens */
        return false;
    struct token_set *now = acc_zalloc(sizeof(*now));
    for (int r = 0; res != NULL && r < PQntuples(res) && now->count < TOKENS_MAX; r++) {
        struct token *token = &now->tokens[now->count];
        const char *name = pg_get_text(res, r, 0);
        enum http_role role;

        if (strlen(name) > TOKEN_NAME_MAX || PQgetlength(res, r, 2) != SHA256_BYTES ||
            !token_role(pg_get_text(res, r, 1), &role))
            continue; /* made by nobody we know: it opens nothing */
        strcpy(token->name, name);
        memcpy(token->hash, PQgetvalue(res, r, 2), SHA256_BYTES);
        token->role = (int32_t)role;
        now->count++;
    }
    PQclear(res);
    uint8_t digest[SHA256_BYTES];
    sha256(now->tokens, now->count * sizeof(now->tokens[0]), digest);
    memcpy(&now->version, digest, sizeof(now->version));
    now->version |= 1;
    if (now->version != set->version)
        *set = *now;
    free(now);
    return true;
}

bool tokens_check(const struct token_set *set, struct http_text text, const char **name,
                  enum http_role *role)
{
    const struct token *found = NULL;
    uint8_t hash[SHA256_BYTES];

    sha256(text.at, text.size, hash);
    for (uint32_t i = 0; i < set->count && i < TOKENS_MAX; i++) /* all of them, found or not */
        if (CRYPTO_memcmp(set->tokens[i].hash, hash, sizeof(hash)) == 0)
            found = &set->tokens[i];
    OPENSSL_cleanse(hash, sizeof(hash));
    if (found == NULL)
        return false;
    *name = found->name;
    *role = (enum http_role)found->role;
    return true;
}

/* sql returns one row when it did something, else complaint says why not; with its row of the audit. */
struct change {
    const char *sql;
    const struct pg_args *args;
    const struct audit *audit;
    const char *complaint;
    int64_t *audit_id;
};

static bool change(struct pg *pg, void *context, struct acc_error *err)
{
    const struct change *it = context;
    PGresult *res = pg_exec(pg, it->sql, it->args, err);
    bool ok = res != NULL && (PQntuples(res) > 0 || acc_fail(err, ACC_EINPUT, "token \"%s\": %s",
                                                             it->audit->what, it->complaint));

    PQclear(res);
    return ok && audit_add(pg, it->audit, it->audit_id, err);
}

static bool is_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= TOKEN_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               length;
}

static bool count_valid(struct pg *pg, int64_t *count, struct acc_error *err)
{
    struct pg_args none = {0};
    PGresult *res = pg_exec(pg, "SELECT count(*) FROM token WHERE revoked IS NULL", &none, err);

    if (res == NULL)
        return false;
    *count = pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

bool token_new(struct pg *pg, const char *name, enum http_role role, const char *who,
               const char *reason, char secret[TOKEN_BYTES], int64_t *audit_id,
               struct acc_error *err)
{
    static const char sql[] =
        "INSERT INTO token (name, role, hash, made, who) SELECT $1, $2, $3, clock_timestamp(), $4 "
        "WHERE NOT EXISTS (SELECT FROM token WHERE name = $1) RETURNING 1";
    uint8_t random_bytes[32];
    uint8_t hash[SHA256_BYTES];
    struct pg_args args = {0};
    int64_t valid;

    if (!is_name(name))
        return acc_fail(err, ACC_EINPUT,
                        "\"%s\": wanted a name of 1 to %d letters, digits, dots, dashes and _",
                        name, TOKEN_NAME_MAX);
    if (!count_valid(pg, &valid, err))
        return false;
    if (valid >= TOKENS_MAX)
        return acc_fail(err, ACC_ELIMIT, "there are %d valid tokens already: revoke one first",
                        TOKENS_MAX);
    if (RAND_bytes(random_bytes, sizeof(random_bytes)) != 1)
        return acc_fail(err, ACC_ESYS, "the machine has no random bytes for a secret");
    strcpy(secret, PREFIX);
    hex_encode(random_bytes, sizeof(random_bytes), secret + strlen(PREFIX));
    OPENSSL_cleanse(random_bytes, sizeof(random_bytes));
    sha256(secret, strlen(secret), hash);

    char *by = who != NULL ? acc_strdup(who) : audit_who();
    struct audit audit = {.who = by,
                          .act = "token new",
                          .what = name,
                          .reason = reason,
                          .result = token_role_name(role)};
    pg_text(&args, name);
    pg_text(&args, token_role_name(role));
    pg_bytes(&args, PG_BYTEA, hash, sizeof(hash));
    pg_text(&args, by);
    struct change it = {.sql = sql,
                        .args = &args,
                        .audit = &audit,
                        .complaint = "the name has been given, and is not given again: what the "
                                     "audit says of it is about one secret"};

    it.audit_id = audit_id;
    bool ok = pg_write(pg, change, &it, err);
    if (!ok)
        OPENSSL_cleanse(secret, TOKEN_BYTES);
    free(by);
    return ok;
}

bool token_revoke(struct pg *pg, const char *name, const char *who, const char *reason,
                  int64_t *audit_id, struct acc_error *err)
{
    static const char sql[] = "UPDATE token SET revoked = clock_timestamp() WHERE name = $1 AND "
                              "revoked IS NULL RETURNING 1";
    struct audit audit = {.who = who,
                          .act = "token revoke",
                          .what = name,
                          .reason = reason,
                          .result = "refused from now on"};
    struct pg_args args = {0};

    pg_text(&args, name);
    struct change it = {.sql = sql,
                        .args = &args,
                        .audit = &audit,
                        .complaint = "there is no valid token of that name"};

    it.audit_id = audit_id;
    return pg_write(pg, change, &it, err);
}
