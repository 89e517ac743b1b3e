/* The schemas of the OpenAPI document: of every answer, and of what the kinds are made of. */
#pragma once

#include "kinds.h"

#include <jansson.h>

/*
 * components/schemas: the shapes of schemas.json, with what the kinds and the series say put in.
 *
 * A shape whose name begins with KIND. is there once for each kind, with its name instead of KIND. In the others a member KIND
 * is one for each kind, and a member SERIES one for each series. "extends" takes over those properties of another shape that
 * it does not name itself. Of each kind there are also, from its declaration: .sent (what makes a fact), .fields (any of them,
 * as they are shown), .all_fields.
 */
json_t *openapi_schemas(const struct catalog *catalog);

/* {"$ref"} to a schema; of_kind: "fact" of kind "word" is "word.fact". NULL kind: of none. */
json_t *openapi_schema(const struct kind *kind, const char *name);
/* The names of all series, as a list. */
json_t *openapi_series(void);
