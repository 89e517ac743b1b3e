/* The one table of what is answered over HTTP. */
#include "api/handlers.h"

#define FILTER                                                                                     \
    {                                                                                              \
        "f", "filter", "FIELD~OP~VALUE; repeats, all must hold"                                    \
    }
#define LIMIT                                                                                      \
    {                                                                                              \
        "limit", "int", "Rows, 1..1000; 25 unless given"                                           \
    }
#define BEFORE                                                                                     \
    {                                                                                              \
        "before", "text", "The page that follows this one in the order shown (its `before`)"       \
    }
#define AFTER                                                                                      \
    {                                                                                              \
        "after", "text", "The page that precedes this one (its `after`)"                           \
    }
#define WINDOW                                                                                     \
    {                                                                                              \
        "window", "15m|1h|6h|24h", "How far back; 1h unless given"                                 \
    }

/* clang-format off */
const struct api_route api_routes[] = {
    /* Facts in */
    {"POST", "/facts/{kind}", API_FRONT, HTTP_ROLE_INGEST, api_facts_post,
     "Facts of a kind: one JSON object, an array, NDJSON, CSV, or text; answered when they are on disk",
     "facts", "ingest",
     {{"check", "bool", "Counts without writing"}, {"name", "text", "Of the file, for the record"},
      {"part", "int", "Number of this part of a file"}, {"parts", "int", "How many parts the file has"}}},
    {"GET", "/ingests", API_QUERY, HTTP_ROLE_READ, api_ingests, "Records of what was sent, newest first",
     NULL, "ingests", {BEFORE, LIMIT}},
    {"GET", "/ingests/{id}/errors", API_QUERY, HTTP_ROLE_READ, api_ingest_errors, "Lines that were refused",
     NULL, "ingest_errors", {{.name = NULL}}},

    /* Facts out */
    {"GET", "/kinds", API_FRONT, HTTP_ROLE_READ, api_kinds, "Every kind with its fields, count and rate",
     NULL, "kinds", {{.name = NULL}}},
    {"GET", "/facts/{kind}", API_QUERY, HTTP_ROLE_READ, api_facts, "A page of facts, newest first",
     NULL, "facts_page",
     {FILTER, BEFORE, AFTER, LIMIT, {"order", "text", "newest, id, FIELD or FIELD~desc"},
      {"fields", "text", "Names with commas; all unless given"}}},
    {"GET", "/facts/{kind}/count", API_QUERY, HTTP_ROLE_READ, api_facts_count,
     "How many facts pass the filters; exact when unfiltered, else as far as the time allows", NULL, "count",
     {FILTER, {"limit_ms", "int", "Time to count, 1..2000; 200 unless given"}}},
    {"GET", "/facts/{kind}/values", API_QUERY, HTTP_ROLE_READ, api_facts_values,
     "Common values of a field among the newest 10,000 facts", NULL, "values",
     {{"field", "field!", "Name of the field"}, FILTER, LIMIT}},
    {"GET", "/facts/{kind}.ndjson", API_QUERY, HTTP_ROLE_READ, api_facts_ndjson, "All that pass, one JSON object a line",
     NULL, "ndjson", {FILTER}},
    {"GET", "/facts/{kind}.csv", API_QUERY, HTTP_ROLE_READ, api_facts_csv, "All that pass, as CSV with a header",
     NULL, "csv", {FILTER}},
    {"GET", "/facts/{kind}/{id}", API_QUERY, HTTP_ROLE_READ, api_fact, "One fact, by id or its first digits",
     NULL, "fact", {{.name = NULL}}},
    {"GET", "/facts/{kind}/{id}/causes", API_QUERY, HTTP_ROLE_READ, api_fact_causes, "What it was found from, level by level",
     NULL, "causes", {{"depth", "int", "Levels, 1..100; 3 unless given"}}},
    {"GET", "/facts/{kind}/{id}/effects", API_QUERY, HTTP_ROLE_READ, api_fact_effects, "What came of it, by lifecycle",
     NULL, "effects", {{"by", "text",
       "Name of the lifecycle: its finds, page by page; of each kind those with the fact as data by id, then those with it as a "
       "friend only, about as they were found"},
      {"after", "text", "The page behind this fact (the `after` of the one before)"}, LIMIT}},
    {"GET", "/facts/{kind}/{id}/events", API_QUERY, HTTP_ROLE_READ, api_fact_events, "The events it raised and where they are",
     NULL, "fact_events", {{.name = NULL}}},
    {"POST", "/facts/{kind}/{id}/dry-run", API_QUERY, HTTP_ROLE_READ, api_fact_dry_run,
     "Runs a lifecycle on it without writing: outcome, reason, friends, finds, time", NULL, "dry_run_answer",
     {{"lifecycle", "text", "Its name; all that the kind wakes unless given"}}},
    {"GET", "/find", API_QUERY, HTTP_ROLE_READ, api_find, "Ids by their first digits, kinds and lifecycles by name",
     NULL, "find", {{"q", "text!", "What to look for, 1..200 bytes"}}},

    /* Lifecycles */
    {"GET", "/graph", API_FRONT, HTTP_ROLE_READ, api_graph, "Kinds and lifecycles with cardinalities and rates",
     NULL, "graph", {{"window", "all|5m", "all unless given"}}},
    {"GET", "/lifecycles", API_FRONT, HTTP_ROLE_READ, api_lifecycles, "Every lifecycle with outcomes, rates, latency, phases",
     NULL, "lifecycles", {{.name = NULL}}},
    {"GET", "/lifecycles/{name}", API_QUERY, HTTP_ROLE_READ, api_lifecycle_one,
     "One lifecycle, with its friends, errors and module", NULL, "lifecycle", {{.name = NULL}}},
    {"GET", "/lifecycles/{name}/source", API_QUERY, HTTP_ROLE_READ, api_lifecycle_source, "Its module's text",
     NULL, "text", {{"generation", "int", "The newest unless given"}}},
    {"PUT", "/lifecycles/{name}/throttle", API_QUERY, HTTP_ROLE_ADMIN, api_lifecycle_throttle,
     "Sets or lifts (null) its throttle over all workers", "throttle", "audited", {{.name = NULL}}},

    /* The queue */
    {"GET", "/events", API_QUERY, HTTP_ROLE_READ, api_events, "Events by state", NULL, "events",
     {{"state", "ready|claimed|delayed|dead|discarded", "dead unless given"}, {"lifecycle", "text", "Its name"},
      {"sig", "text", "Signature of the error"}, BEFORE, LIMIT}},
    {"GET", "/events/dead/groups", API_QUERY, HTTP_ROLE_READ, api_event_groups, "Dead events by signature of their error",
     NULL, "event_groups", {{"lifecycle", "text", "Its name"}}},
    {"GET", "/events/{id}", API_QUERY, HTTP_ROLE_READ, api_event, "One event, by LIFECYCLE:FACTID", NULL, "event", {{.name = NULL}}},
    {"POST", "/events/retry", API_QUERY, HTTP_ROLE_ADMIN, api_events_retry, "Tries dead or delayed events again now",
     "events_change", "changed", {{.name = NULL}}},
    {"POST", "/events/discard", API_QUERY, HTTP_ROLE_ADMIN, api_events_discard, "Gives events up: results become incomplete",
     "events_change", "changed", {{.name = NULL}}},
    {"POST", "/queue/pause", API_QUERY, HTTP_ROLE_ADMIN, api_queue_pause, "No new batches until resumed", "reason", "audited", {{.name = NULL}}},
    {"POST", "/queue/resume", API_QUERY, HTTP_ROLE_ADMIN, api_queue_resume, "Batches again", "reason", "resumed", {{.name = NULL}}},
    {"POST", "/reload", API_QUERY, HTTP_ROLE_ADMIN, api_reload, "Loads modules and settings again", "reason", "reloaded", {{.name = NULL}}},
    {"GET", "/wait", API_QUERY, HTTP_ROLE_READ, api_wait, "Answers when the fixpoint is reached, or the time is over",
     NULL, "wait", {{"timeout_s", "int", "Longest wait, 0..3600; 60 unless given"}}},

    /* The host */
    {"GET", "/status", API_FRONT, HTTP_ROLE_READ, api_status, "State, progress, rates, queue, workers", NULL, "status", {{.name = NULL}}},
    {"GET", "/series", API_FRONT, HTTP_ROLE_READ, api_series, "Figures over time", NULL, "series",
     {{"name", "series!", "Of the series; repeats"}, {"lifecycle", "text", "Its name; of the whole unless given"}, WINDOW}},
    {"GET", "/workers", API_FRONT, HTTP_ROLE_READ, api_workers, "Worker processes", NULL, "workers", {{.name = NULL}}},
    {"GET", "/generations", API_FRONT, HTTP_ROLE_READ, api_generations, "Loaded sets of modules, and refused reloads",
     NULL, "generations", {{.name = NULL}}},
    {"GET", "/database", API_FRONT, HTTP_ROLE_READ, api_database, "Connections, sizes, dead rows, write-ahead log",
     NULL, "database", {{.name = NULL}}},
    {"GET", "/bench", API_QUERY, HTTP_ROLE_READ, api_bench,
     "What a call of each callback and of parts of the host takes, against an earlier generation", NULL, "bench",
     {{"baseline", "int", "Generation to compare to; for each part the newest before unless given"}}},
    {"POST", "/bench", API_QUERY, HTTP_ROLE_ADMIN, api_bench_post,
     "Measures them, in a process of its own: the result comes into the audit and GET /bench", "bench_run", "audited", {{.name = NULL}}},
    {"GET", "/audit", API_QUERY, HTTP_ROLE_READ, api_audit, "What people did, newest first", NULL, "audit",
     {BEFORE, {"act", "text", "Only this act, by its name or last word: retry discard pause resume throttle reload bench restore new revoke"}, {"who", "text", "Only by this one"}, LIMIT}},
    {"GET", "/stream", API_FRONT, HTTP_ROLE_READ, api_stream, "Server-Sent Events", NULL, "stream",
     {{"topics", "text", "Names with commas: status lifecycles facts events workers reload audit lifecycle:NAME"}}},
    {"GET", "/metrics", API_FRONT, HTTP_ROLE_READ, api_metrics, "OpenMetrics", NULL, "openmetrics", {{.name = NULL}}},
    {"GET", "/live", API_FRONT, HTTP_ROLE_NONE, api_live, "Whether this process answers", NULL, "live", {{.name = NULL}}},
    {"GET", "/ready", API_FRONT, HTTP_ROLE_NONE, api_ready, "Whether database and workers are there", NULL, "ready", {{.name = NULL}}},
    {"GET", "/openapi.json", API_QUERY, HTTP_ROLE_READ, api_openapi_get, "This interface, OpenAPI 3.1", NULL, "openapi", {{.name = NULL}}},
};
/* clang-format on */
const size_t api_route_count = sizeof(api_routes) / sizeof(api_routes[0]);
