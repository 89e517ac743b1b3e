/* What the handlers of facts share: which facts are meant, and how one is written as JSON. */
#pragma once

#include "api/api.h"
#include "columns.h"
#include "filters.h"

/*
 * All f= of the query; filters_clear is due when true. false: answered with 400 (bad_filter, field names the field).
 * Uses call->api->heap until it returns.
 */
bool fact_filters(struct api_call *call, const struct kind *kind, struct filters *filters);

/*
 * The one fact of kind whose id begins with digits (4 or more). name: of the parameter, or "id" of the path. false:
 * answered: 400 (no digits), 404, 409 with candidates.
 */
bool fact_resolve(struct api_call *call, struct pg *pg, const struct kind *kind, const char *name,
                  const char *digits, uint8_t id[16]);

/* kind and id of the path `/facts/{kind}/{id}...`, and the connection for reads. false: answered. */
struct fact_call {
    const struct kind *kind;
    struct pg *pg;
    uint8_t id[16];
};
bool fact_of_path(struct api_call *call, struct fact_call *fact);

/* Answers with what went wrong: 503 too_slow when the time was up. */
void fact_failure(struct api_call *call, const struct acc_error *err);

/* `{"from":1,"note":null}`: all fields, or those of columns (NULL: all). */
void fact_fields(const struct kind *kind, const struct columns *columns,
                 const struct explorer_fact *fact, struct buf *out);

/* Answers 200 with JSON that is already text. */
void fact_answer(struct api_call *call, const struct buf *json);
