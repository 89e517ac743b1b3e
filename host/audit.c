#include "audit.h"

#include <assert.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const audit_acts[] = {"queue retry",    "queue discard", "queue pause", "queue resume",
                                  "queue throttle", "reload",        "bench",       "restore",
                                  "token new",      "token revoke",  NULL};

const char *audit_act_of(const char *word)
{
    for (const char *const *act = audit_acts; *act != NULL; act++) {
        const char *blank = strrchr(*act, ' ');

        if (strcmp(word, *act) == 0 || (blank != NULL && strcmp(word, blank + 1) == 0))
            return *act;
    }
    return NULL;
}

char *audit_who(void)
{
    const struct passwd *user = getpwuid(geteuid());
    char host[65] = "";

    gethostname(host, sizeof(host) - 1);
    return user != NULL ? acc_format("%s@%s", user->pw_name, host)
                        : acc_format("%d@%s", (int)geteuid(), host);
}

bool audit_add(struct pg *pg, const struct audit *audit, int64_t *id, struct acc_error *err)
{
    /*
     * Numbered by hand: a sequence is not portable, and two at once conflict on the key, which is
     * run again.
     */
    static const char sql[] =
        "INSERT INTO audit (id, at, who, act, what, reason, result) "
        "SELECT (SELECT coalesce(max(id), 0) + 1 FROM audit), clock_timestamp(), $1, $2, $3, $4, "
        "$5 RETURNING id";
    char *who = audit->who != NULL ? acc_strdup(audit->who) : audit_who();
    struct pg_args args = {0};

    pg_text(&args, who);
    pg_text(&args, audit->act);
    pg_text(&args, audit->what);
    pg_text(&args, audit->reason);
    pg_text(&args, audit->result);
    PGresult *res = pg_exec(pg, sql, &args, err);
    free(who);
    if (res == NULL)
        return false;
    if (id != NULL)
        *id = pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

bool audit_result(struct pg *pg, int64_t id, const char *result, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_int8(&args, id);
    pg_text(&args, result);
    return pg_do(pg, "UPDATE audit SET result = $2 WHERE id = $1::int8", &args, err);
}
