/* accrete queue: what waits, what failed and why, and what may be done about it. */
#include "cli/queue_verbs.h"

#include <string.h>

enum verb {
    VERB_OVERVIEW,
    VERB_LIST,
    VERB_SHOW,
    VERB_RETRY,
    VERB_DISCARD,
    VERB_PAUSE,
    VERB_RESUME,
    VERB_THROTTLE,
    VERB_LOG,
    VERB_COUNT
};

static const struct {
    const char *name;
    int argc_min, argc_max; /* with the verb itself; -1: any number */
    const char *wanted;     /* when there are fewer */
    bool wants_reason;      /* it changes something */
} verbs[] = {
    [VERB_OVERVIEW] = {.name = "overview", .argc_min = 1, .argc_max = 1},
    [VERB_LIST] = {.name = "list", .argc_min = 1, .argc_max = 1},
    [VERB_SHOW] = {"show", 2, 2, "an event as LIFECYCLE:FACTID", false},
    [VERB_RETRY] = {"retry", 1, -1, NULL, true},
    [VERB_DISCARD] = {"discard", 1, -1, NULL, true},
    [VERB_PAUSE] = {"pause", 1, 1, NULL, true},
    [VERB_RESUME] = {"resume", 1, 1, NULL, true},
    [VERB_THROTTLE] = {"throttle", 3, 3, "a lifecycle and events a second, or none", true},
    [VERB_LOG] = {.name = "log", .argc_min = 1, .argc_max = 1},
};

static bool check_change(struct cli *cli)
{
    bool has_filter = cli_has(cli, "lifecycle") || cli_has(cli, "state") || cli_has(cli, "group");

    if (cli->argc == 1 && !has_filter)
        cli_misuse(cli, "wanted events, --group, --lifecycle or --state");
    else if (cli->argc > 1 && has_filter)
        cli_misuse(cli, "wanted events or --group, --lifecycle, --state, got both");
    else
        return true;
    return false;
}

/* Which verb the arguments begin with; VERB_COUNT: misuse, printed. */
static enum verb verb_of(struct cli *cli)
{
    enum verb verb = VERB_OVERVIEW;

    if (cli->argc == 0)
        return verb;
    while (verb < VERB_COUNT && strcmp(verbs[verb].name, cli->argv[0]) != 0)
        verb++;
    if (verb == VERB_COUNT)
        cli_misuse(cli,
                   "wanted list, show, retry, discard, pause, resume, throttle or log, got \"%s\"",
                   cli->argv[0]);
    else if (cli->argc < verbs[verb].argc_min)
        cli_misuse(cli, "%s: wanted %s", verbs[verb].name, verbs[verb].wanted);
    else if (verbs[verb].argc_max >= 0 && cli->argc > verbs[verb].argc_max)
        cli_misuse(cli, "%s: got also \"%s\"", verbs[verb].name, cli->argv[verbs[verb].argc_max]);
    else if (verbs[verb].wants_reason && !cli_has(cli, "reason"))
        cli_misuse(cli, "wanted --reason: it is kept with your name");
    else if ((verb != VERB_RETRY && verb != VERB_DISCARD) || check_change(cli))
        return verb;
    return VERB_COUNT;
}

static int without_tables(struct cli *cli)
{
    struct acc_error err;

    acc_fail(&err, ACC_EINPUT, "nothing is stored yet: ingest facts, or run the app once");
    return cli_fail(cli, &err);
}

static int run_verb(struct cli *cli, struct work *work, enum verb verb)
{
    switch (verb) {
    case VERB_LIST:
        return queue_list(cli, work);
    case VERB_SHOW:
        return work->has_tables ? queue_show(cli, work) : without_tables(cli);
    case VERB_RETRY:
    case VERB_DISCARD:
        return work->has_tables ? queue_change(cli, work, verb == VERB_RETRY) : without_tables(cli);
    case VERB_PAUSE:
    case VERB_RESUME:
        return work->has_tables ? queue_pause(cli, work, verb == VERB_PAUSE) : without_tables(cli);
    case VERB_THROTTLE:
        return work->has_tables ? queue_throttle(cli, work) : without_tables(cli);
    case VERB_LOG:
        return queue_log(cli, work);
    default:
        return queue_overview(cli, work);
    }
}

static int run(struct cli *cli)
{
    enum verb verb = verb_of(cli);
    struct work work;
    int exit_code;

    if (verb == VERB_COUNT)
        return CLI_MISUSE;
    if (!work_open(cli, &work, 0, &exit_code))
        return exit_code;
    bool writes = verbs[verb].wants_reason;
    if (work_connect(cli, &work, writes ? 0 : WORK_READ, &exit_code) &&
        (writes || !work.has_tables || queue_bridge(cli, &work, &exit_code)))
        exit_code = run_verb(cli, &work, verb);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_queue = {
    .name = "queue",
    .summary = "shows what waits and what failed; retries, discards, pauses, throttles",
    .usage = "[list | show EVENT | retry [EVENT...] | discard [EVENT...] | pause | resume | "
             "throttle LIFECYCLE RATE | log]",
    .help =
        "Without a verb: packets by lifecycle and bucket, parked events by state, dead ones by\n"
        "like errors. An EVENT is LIFECYCLE:FACTID; the first digits will do when no other parked\n"
        "event begins so. A failed event is delayed and tried again until it is dead.\n"
        "\n"
        "retry gives events one more try now; discard gives them up, so that results stay\n"
        "incomplete. Both take events, or a choice by --group, --lifecycle and --state (dead "
        "ones,\n"
        "unless told otherwise), and want a --reason, which is kept with your name (log). A\n"
        "choice also wants its number confirmed: by --expect, or asked on a terminal.\n"
        "\n"
        "pause lets running batches end and begins no new ones, on all machines, until resume;\n"
        "facts can be ingested meanwhile. throttle holds a lifecycle to RATE events a second over\n"
        "all workers, whatever its module says; none lifts it. Both last over restarts, are\n"
        "obeyed within a second, and want a --reason.",
    .argc_max = -1,
    .arguments =
        (const struct cli_argument[]){
            {"list", CLI_TEXT, "parked events one by one, newest first"},
            {"show EVENT", CLI_TEXT, "one event: error, traceback, attempts, times, its fact"},
            {"retry", CLI_TEXT, "tries events again now"},
            {"discard", CLI_TEXT, "gives events up"},
            {"pause", CLI_TEXT, "begins no new batches, until resumed"},
            {"resume", CLI_TEXT, "begins batches again"},
            {"throttle LIFECYCLE RATE", CLI_TEXT,
             "at most RATE events a second of it; none lifts it"},
            {"log", CLI_TEXT, "who changed what, and why"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"lifecycle", 'l', CLI_TEXT, "NAME", .help = "of this lifecycle only"},
            {"state", 's', CLI_WORD, "STATE", .words = "delayed queued dead discarded",
             .help = "parked events in this state only"},
            {"group", 'g', CLI_TEXT, "GROUP", .help = "of this group of like errors only"},
            {"limit", 'n', CLI_COUNT, "N", .min = 1, .max = 1000000,
             .help = "list and log: no more than these, 100 by default"},
            {"reason", 'r', CLI_TEXT, "TEXT", .help = "of every change: why"},
            {"expect", 0, CLI_COUNT, "N", .min = 0, .max = INT64_MAX,
             .help = "retry and discard: changes nothing unless it is N events"},
            {"json", 0, CLI_SWITCH, .help = "the same for programs"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete queue", "what waits, what failed and why"},
            {"accrete queue show fold_up:3f5a12", "one failed event with its traceback"},
            {"accrete queue retry --group 9c1f03ab --expect 12 --reason \"fixed in generation 4\"",
             "the twelve that failed alike"},
            {"accrete queue discard fold_up:3f5a12 --reason \"a broken line of the input\"",
             "gives one up"},
            {"accrete queue pause --reason \"the disk is nearly full\"", "no new batches"},
            {"accrete queue throttle fold_up 800 --reason \"let others catch up\"",
             "at most 800 events a second of it"},
            {0},
        },
    .run = run,
};
