/* While others are being written. */
#include "api/handlers.h"
#include "serve.h"
#define WEAK __attribute__((weak))
#define STUB(name) WEAK void name(struct api_call *call) { http_answer_error(call->request, 501, "unfinished", NULL, #name); }
STUB(api_facts_post) STUB(api_ingests) STUB(api_ingest_errors)
STUB(api_lifecycle_one) STUB(api_lifecycle_source) STUB(api_lifecycle_throttle)
STUB(api_facts) STUB(api_facts_count) STUB(api_facts_values) STUB(api_facts_ndjson) STUB(api_facts_csv) STUB(api_fact) STUB(api_fact_causes)
STUB(api_fact_effects) STUB(api_fact_events) STUB(api_fact_dry_run) STUB(api_find) STUB(api_events) STUB(api_event) STUB(api_event_groups)
STUB(api_events_retry) STUB(api_events_discard) STUB(api_queue_pause) STUB(api_queue_resume) STUB(api_reload) STUB(api_wait) STUB(api_audit)
WEAK int serve_routes(const struct serve_options *o) { (void)o; return 0; }
WEAK struct intake *intake_new(const char *a, const char *b, const struct program *c, const struct settings *d, const struct intake_limits *e) { (void)a; (void)b; (void)c; (void)d; (void)e; return NULL; }
WEAK void intake_free(struct intake *i) { (void)i; }
WEAK void intake_submit(struct intake *i, const struct intake_request *r) { (void)i; (void)r; }
WEAK void intake_drive(struct intake *i) { (void)i; }
WEAK int intake_descriptor(const struct intake *i) { (void)i; return -1; }
WEAK bool intake_wants_write(const struct intake *i) { (void)i; return false; }
WEAK int64_t intake_wait_ms(const struct intake *i) { (void)i; return -1; }
WEAK bool intake_is_idle(const struct intake *i) { (void)i; return true; }
