/* What failed results say, and names in SQL. */
#include "pg/pg.h"

void pg_trim(char *text)
{
    size_t n = strlen(text);

    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        text[--n] = '\0';
    for (char *at = text; (at = strpbrk(at, "\n\t")) != NULL;)
        *at = ' '; /* libpq writes several lines; a message of ours is one */
}

bool pg_fail(struct acc_error *err, const PGresult *res, const PGconn *conn)
{
    const char *state = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *primary = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    enum acc_code code = ACC_EDB;

    if (state == NULL)
        code = conn == NULL || PQstatus(conn) == CONNECTION_BAD ? ACC_ELOST : ACC_EDB;
    else if (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0 ||
             strcmp(state, "23505") == 0)
        code = ACC_ECONFLICT;
    else if (strcmp(state, "22012") == 0)
        code = ACC_ESTALE;
    else if (strncmp(state, "57P", 3) == 0 || strncmp(state, "08", 2) == 0)
        code = ACC_ELOST;
    acc_fail(err, code, "%s%s%s",
             primary != NULL ? primary
             : conn != NULL  ? PQerrorMessage(conn)
                             : "no connection",
             detail != NULL && code != ACC_ECONFLICT ? ": " : "",
             detail != NULL && code != ACC_ECONFLICT ? detail : "");
    if (err != NULL) {
        pg_trim(err->text);
        snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", state == NULL ? "" : state);
    }
    return false;
}

bool pg_is_transient(const struct acc_error *err)
{
    static const char *const classes[] = {"40", "08", "53", "57"};

    if (err->code == ACC_ECONFLICT || err->code == ACC_ESTALE || err->code == ACC_ELOST)
        return true;
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        if (strncmp(err->sqlstate, classes[i], 2) == 0)
            return true;
    }
    return strcmp(err->sqlstate, "23505") == 0;
}

void pg_identifier(struct buf *out, const char *name)
{
    buf_byte(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            buf_byte(out, '"');
        buf_byte(out, (uint8_t)*name);
    }
    buf_byte(out, '"');
}
