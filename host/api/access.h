/* Access: who asks, and whether that one may. For the front alone; others believe it. */
#pragma once

#include "api/api.h"

/*
 * Finds out who sends the request (token, header of a proxy, address) and keeps that with it. false: answered already, with
 * 401 (a token is wanted, or not known), 403 (the role is not enough, read-only, a browser's request from elsewhere, a
 * strange Host at a loopback address) or 503 (tokens are not known yet). changes: the request would change something.
 */
bool access_allows(struct api *api, struct http_request *request, enum http_role wanted,
                   bool changes);

/* Whether the first segment of path is the host's own. */
bool api_is_reserved(struct http_text path);
