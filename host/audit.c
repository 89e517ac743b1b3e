#include "audit.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

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
