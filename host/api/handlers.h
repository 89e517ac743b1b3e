/* The handlers of the table in api.c, by file. */
#pragma once

#include "api/api.h"

/* ingest.c */
api_handler_fn api_facts_post, api_ingests, api_ingest_errors;
/* board.c: what the board has, as it is */
api_handler_fn api_status, api_series, api_kinds, api_lifecycles, api_graph, api_workers,
    api_generations, api_database, api_metrics, api_live, api_ready;
/* stream.c */
api_handler_fn api_stream;
/* lifecycle.c */
api_handler_fn api_lifecycle_one, api_lifecycle_source, api_lifecycle_throttle;
/* facts.c, facts_stream.c, fact.c, dry_run.c */
api_handler_fn api_facts, api_facts_count, api_facts_values, api_facts_ndjson, api_facts_csv,
    api_fact, api_fact_causes, api_fact_effects, api_fact_events, api_fact_dry_run, api_find;
/* events.c */
api_handler_fn api_events, api_event, api_event_groups, api_events_retry, api_events_discard;
/* bench.c */
api_handler_fn api_bench, api_bench_post;
/* control.c */
api_handler_fn api_queue_pause, api_queue_resume, api_reload, api_wait, api_audit;
/* openapi.c */
api_handler_fn api_openapi_get;
