/* accrete token: who may use HTTP, and as what. */
#include "cli/commands.h"
#include "cli/work.h"
#include "schema.h"
#include "tokens.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

#define TIME(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

static const char *reason_of(const struct cli *cli)
{
    return cli_has(cli, "reason") ? cli_value(cli, "reason") : "";
}

static int tell_new(struct cli *cli, const char *name, const char *role, const char *secret,
                    int64_t audit_id)
{
    if (cli_has(cli, "json"))
        return cli_print_json(cli, json_pack("{s:s, s:s, s:s, s:I}", "name", name, "role", role,
                                             "token", secret, "audit", (json_int_t)audit_id));
    cli_note(cli, "this is the only time the token is shown; send it as Authorization: Bearer");
    printf("%s\n", secret);
    return cli_flush(cli, CLI_DONE);
}

static int make(struct cli *cli, struct work *work)
{
    const char *name = cli->argv[1];
    const char *role_name = cli_value(cli, "role");
    enum http_role role = HTTP_ROLE_NONE;
    char secret[TOKEN_BYTES];
    struct acc_error err;
    int64_t audit_id;

    token_role(role_name, &role); /* the parser takes no other words */
    if (!schema_base(&work->session.pg, work->app.schema, &err) ||
        !token_new(&work->session.pg, name, role, NULL, reason_of(cli), secret, &audit_id, &err))
        return cli_fail(cli, &err);
    int code = tell_new(cli, name, role_name, secret, audit_id);
    OPENSSL_cleanse(secret, sizeof(secret));
    return code;
}

static int revoke(struct cli *cli, struct work *work)
{
    struct acc_error err;
    int64_t audit_id;

    if (!schema_base(&work->session.pg, work->app.schema, &err) ||
        !token_revoke(&work->session.pg, cli->argv[1], NULL, reason_of(cli), &audit_id, &err))
        return cli_fail(cli, &err);
    if (cli_has(cli, "json"))
        return cli_print_json(
            cli, json_pack("{s:s, s:I}", "name", cli->argv[1], "audit", (json_int_t)audit_id));
    printf("%s is revoked, audit %" PRId64 "\n", cli->argv[1], audit_id);
    return cli_flush(cli, CLI_DONE);
}

static json_t *read_list(const PGresult *res)
{
    static const char *const names[] = {"name", "role", "made", "who", "revoked"};
    json_t *list = json_array();

    for (int r = 0; r < PQntuples(res); r++) {
        json_t *one = json_object();

        for (int c = 0; c < 5; c++)
            json_object_set_new(one, names[c],
                                PQgetisnull(res, r, c) ? json_null()
                                                       : json_string(pg_get_text(res, r, c)));
        json_array_append_new(list, one);
    }
    return list;
}

static const char *text(const json_t *token, const char *name)
{
    return json_string_value(json_object_get(token, name));
}

static int list(struct cli *cli, struct work *work)
{
    static const char there[] = "SELECT to_regclass('token') IS NOT NULL";
    static const char sql[] =
        "SELECT name, role, " TIME("made") ", who, " TIME("revoked") " FROM token ORDER BY name";
    struct pg_args none = {0};
    json_t *tokens = json_array();
    int exit_code;

    PGresult *res = work_query(cli, work, there, &none, &exit_code);
    bool has_table = res != NULL && pg_get_bool(res, 0, 0);
    bool ok = res != NULL;
    PQclear(res);
    if (has_table) {
        res = work_query(cli, work, sql, &none, &exit_code);
        ok = res != NULL;
        json_decref(tokens);
        tokens = ok ? read_list(res) : NULL;
        PQclear(res);
    }
    if (!ok) {
        json_decref(tokens);
        return exit_code;
    }
    if (cli_has(cli, "json"))
        return cli_print_json(cli, tokens);
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const json_t *token = json_array_get(tokens, i);
        const char *revoked = text(token, "revoked");

        printf("%-24s %-7s made %s by %s%s%s\n", text(token, "name"), text(token, "role"),
               text(token, "made"), text(token, "who"), revoked != NULL ? ", revoked " : "",
               revoked != NULL ? revoked : "");
    }
    if (json_array_size(tokens) == 0)
        cli_note(cli, "there are no tokens");
    json_decref(tokens);
    return cli_flush(cli, CLI_DONE);
}

/* The verb, or NULL: misuse, printed. */
static int (*verb_of(struct cli *cli))(struct cli *cli, struct work *work)
{
    const char *verb = cli->argc > 0 ? cli->argv[0] : "list";
    bool is_new = strcmp(verb, "new") == 0;

    if (!is_new && strcmp(verb, "revoke") != 0 && strcmp(verb, "list") != 0)
        cli_misuse(cli, "wanted new, list or revoke, got \"%s\"", verb);
    else if (strcmp(verb, "list") == 0) {
        if (cli->argc <= 1)
            return list;
        cli_misuse(cli, "list: got also \"%s\"", cli->argv[1]);
    } else if (cli->argc != 2)
        cli_misuse(cli, "%s: wanted one name", verb);
    else if (is_new && !cli_has(cli, "role"))
        cli_misuse(cli, "new: wanted --role read, ingest or admin");
    else
        return is_new ? make : revoke;
    return NULL;
}

static int run(struct cli *cli)
{
    int (*verb)(struct cli * cli, struct work * work) = verb_of(cli);
    struct work work;
    int exit_code;

    if (verb == NULL)
        return CLI_MISUSE;
    if (!work_open(cli, &work, 0, &exit_code))
        return exit_code;
    if (work_connect(cli, &work, verb == list ? WORK_READ : 0, &exit_code))
        exit_code = verb(cli, &work);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_token = {
    .name = "token",
    .summary = "makes, lists and revokes tokens for HTTP",
    .usage = "[list | new NAME | revoke NAME]",
    .help =
        "A token is sent as `Authorization: Bearer TOKEN`. It is shown once, when it is made; the\n"
        "database keeps a hash. Its name stands in the audit of whatever it changes, and is never\n"
        "given a second time. A revoked token is refused within two seconds.\n"
        "\n"
        "An address that other machines reach wants a token for every request, unless http.open\n"
        "says otherwise; loopback wants none.",
    .argc_max = 2,
    .arguments =
        (const struct cli_argument[]){
            {"list", CLI_TEXT, "names, roles and times of all that were made"},
            {"new NAME", CLI_TEXT, "makes one and prints it"},
            {"revoke NAME", CLI_TEXT, "ends its validity"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"role", 0, CLI_WORD, "ROLE", .words = "read ingest admin",
             .help = "new: what it may do; each role includes the one before"},
            {"reason", 'r', CLI_TEXT, "TEXT", .help = "new and revoke: why, for the audit"},
            {"json", 0, CLI_SWITCH, .help = "the same for programs"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete token new grafana --role read", "may read, and fetch /metrics"},
            {"accrete token revoke grafana --reason \"moved\"", "ends it"},
            {0},
        },
    .run = run,
};
