/* accrete queue: retry and discard; pause, resume and throttles. */
#include "cli/queue_verbs.h"

#include "control.h"
#include "schema.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct parked_filter queue_filter(const struct cli *cli)
{
    return (struct parked_filter){.lifecycle = cli_value(cli, "lifecycle"),
                                  .state = cli_value(cli, "state"),
                                  .group = cli_value(cli, "group")};
}

/* Retry and discard */

/* The choice in words, for the audit. */
static char *words_of(struct cli *cli)
{
    static const char *const options[] = {"lifecycle", "state", "group"};
    struct buf words = {0};

    for (int i = 1; i < cli->argc; i++)
        buf_printf(&words, "%s%s", words.size == 0 ? "" : " ", cli->argv[i]);
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        if (cli_value(cli, options[i]) != NULL)
            buf_printf(&words, "%s%s=%s", words.size == 0 ? "" : " ", options[i],
                       cli_value(cli, options[i]));
    return words.data;
}

static int change(struct cli *cli, struct work *work, struct parked_act *act)
{
    int64_t count = 0;
    int64_t audit_id = 0;
    struct acc_error err;
    const char *verb = act->is_retry ? "retried" : "discarded";

    if (!parked_change(&work->session.pg, act, &count, &audit_id, &err))
        return cli_fail(cli, &err);
    if (!act->is_retry)
        cli_note(cli, "discarded events are never run: what would have followed from their facts "
                      "is missing, and results are incomplete until they are retried");
    if (act->is_retry && app_host(&work->app) == 0)
        cli_note(cli, "no host of this app runs on this machine: accrete run takes them up");
    if (cli_has(cli, "json"))
        return cli_print_json(cli, json_pack("{s:s, s:I, s:I}", "act",
                                             act->is_retry ? "retry" : "discard", "events",
                                             (json_int_t)count, "audit", (json_int_t)audit_id));
    printf("%s %s, audit %" PRId64 "\n", cli_counted(count, "event"), verb, audit_id);
    return cli_flush(cli, CLI_DONE);
}

/* Without --expect the number is asked for on a terminal, and wanted elsewhere. */
static bool agree(struct cli *cli, const struct parked_act *act, int64_t count, int *exit_code)
{
    char answer[16] = "";
    struct acc_error err;

    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) {
        fprintf(stderr, "%s %s of %s? [y/N] ", act->is_retry ? "retry" : "discard",
                cli_counted(count, "event"), act->what);
        if (fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
            return true;
        acc_fail(&err, ACC_EINPUT, "nothing was changed");
        *exit_code = cli_fail(cli, &err);
        return false;
    }
    *exit_code = cli_misuse(cli, "%s would be changed; say --expect %" PRId64 " if that is right",
                            cli_counted(count, "event"), count);
    return false;
}

static int choose_and_change(struct cli *cli, struct work *work, bool is_retry, char *words)
{
    struct parked_key *keys = acc_alloc((uint64_t)cli->argc * sizeof(*keys));
    struct parked_filter filter = queue_filter(cli);
    struct parked_act act = {.filter = &filter,
                             .is_retry = is_retry,
                             .what = words,
                             .reason = cli_value(cli, "reason"),
                             .expect = cli_number(cli, "expect", -1)};
    struct acc_error err;
    int exit_code = CLI_FAILED;
    bool ok = true;
    int64_t count;

    for (int i = 1; ok && i < cli->argc; i++)
        ok = parked_find(&work->session.pg, cli->argv[i], &keys[filter.key_count++], &err);
    filter.keys = keys;
    if (filter.key_count == 0 && filter.state == NULL)
        filter.state = "dead";
    if (!ok || !parked_count(&work->session.pg, &filter, is_retry, &count, &err))
        exit_code = cli_fail(cli, &err);
    else if (count == 0 && act.expect != 0) {
        acc_fail(&err, ACC_EINPUT, "no event of %s can be %s%s", words,
                 is_retry ? "retried" : "discarded",
                 is_retry ? ": wanted dead, delayed or discarded ones of a lifecycle that is there"
                          : ": wanted dead or delayed ones");
        exit_code = cli_fail(cli, &err);
    } else if (act.expect >= 0)
        exit_code = change(cli, work, &act);
    else if (filter.key_count > 0 || agree(cli, &act, count, &exit_code)) {
        act.expect = count;
        exit_code = change(cli, work, &act);
    }
    free(keys);
    return exit_code;
}

int queue_change(struct cli *cli, struct work *work, bool is_retry)
{
    struct acc_error err;
    char *words = words_of(cli);
    int exit_code;

    if (!schema_base(&work->session.pg, work->app.schema, &err)) /* an older one has no audit */
        exit_code = cli_fail(cli, &err);
    else
        exit_code = choose_and_change(cli, work, is_retry, words);
    free(words);
    return exit_code;
}

/* Pause, resume, throttle */

/* What has been changed, for people or programs. */
static int tell(struct cli *cli, struct work *work, const char *act, int64_t audit_id,
                const char *words)
{
    if (app_host(&work->app) == 0)
        cli_note(cli,
                 "no host of this app runs on this machine: those that run obey within a second");
    if (cli_has(cli, "json"))
        return cli_print_json(cli,
                              json_pack("{s:s, s:I}", "act", act, "audit", (json_int_t)audit_id));
    printf("%s, audit %" PRId64 "\n", words, audit_id);
    return cli_flush(cli, CLI_DONE);
}

int queue_pause(struct cli *cli, struct work *work, bool is_paused)
{
    struct control_act act = {.reason = cli_value(cli, "reason")};
    struct acc_error err;
    int64_t audit_id;

    if (!schema_base(&work->session.pg, work->app.schema, &err) ||
        !control_pause(&work->session.pg, is_paused, &act, &audit_id, &err))
        return cli_fail(cli, &err);
    if (audit_id == 0) {
        cli_note(cli, "the queue is not paused: nothing was changed");
        return cli_has(cli, "json")
                   ? cli_print_json(cli, json_pack("{s:s, s:n}", "act", "resume", "audit"))
                   : CLI_DONE;
    }
    return tell(cli, work, is_paused ? "pause" : "resume", audit_id,
                is_paused ? "paused: running batches end, no new ones begin" : "resumed");
}

/* "800", "800/s" or "none" (0); false: something else. */
static bool read_rate(const char *text, double *per_s)
{
    char *end;

    *per_s = strcmp(text, "none") == 0 ? 0 : strtod(text, &end);
    return *per_s == 0 ? strcmp(text, "none") == 0
                       : *per_s > 0 && (*end == '\0' || strcmp(end, "/s") == 0);
}

int queue_throttle(struct cli *cli, struct work *work)
{
    struct control_act act = {.reason = cli_value(cli, "reason")};
    struct acc_error err;
    char words[128];
    double per_s;
    int64_t audit_id;

    if (!read_rate(cli->argv[2], &per_s))
        return cli_misuse(cli, "wanted events a second, as 800, or none, got \"%s\"", cli->argv[2]);
    if (!schema_base(&work->session.pg, work->app.schema, &err) ||
        !control_throttle(&work->session.pg, cli->argv[1], per_s, &act, &audit_id, &err))
        return cli_fail(cli, &err);
    if (per_s > 0)
        snprintf(words, sizeof(words), "%.60s: %g events a second over all workers", cli->argv[1],
                 per_s);
    else
        snprintf(words, sizeof(words), "%.60s: as its module says", cli->argv[1]);
    return tell(cli, work, "throttle", audit_id, words);
}
