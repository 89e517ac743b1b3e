#include "api/access.h"

#include "tokens.h"

#include <string.h>
#include <strings.h>

static bool is_text(struct http_text text, const char *word)
{
    size_t size = strlen(word);

    return text.size == size && strncasecmp(text.at, word, size) == 0;
}

/* A name that a browser could have been led to by another site's DNS is not ours. */
static bool is_local_name(struct http_text host)
{
    size_t size = host.size;

    while (size > 0 && host.at[size - 1] >= '0' && host.at[size - 1] <= '9')
        size--;
    if (size > 0 && size < host.size && host.at[size - 1] == ':')
        size--;
    else
        size = host.size;
    struct http_text name = {host.at, size};
    return is_text(name, "localhost") || is_text(name, "[::1]") ||
           (size >= 8 && strncmp(host.at, "127.", 4) == 0 &&
            strspn(host.at, "0123456789.") >= size);
}

/*
 * A change that a browser sends for another site's page. Sec-Fetch-Site says so; browsers without it send Origin, whose
 * host must be the one that was asked.
 */
static bool is_from_elsewhere(const struct http_request *request)
{
    struct http_text site = http_header(request, "sec-fetch-site");
    struct http_text origin = http_header(request, "origin");
    struct http_text host = http_header(request, "host");

    if (site.size > 0)
        return !is_text(site, "same-origin") && !is_text(site, "none");
    if (origin.size == 0)
        return false;
    const char *at = memmem(origin.at, origin.size, "://", 3);
    if (at == NULL)
        return true; /* "null": a page without an origin */
    at += 3;
    size_t size = (size_t)(origin.at + origin.size - at);
    return size != host.size || strncasecmp(at, host.at, size) != 0;
}

static const char *who_without_token(const struct api *api, struct http_request *request)
{
    const char *name = api->app->settings.http.who_header;
    char lower[64];
    size_t i = 0;

    if (name == NULL)
        return http_peer(request);
    for (; name[i] != '\0' && i + 1 < sizeof(lower); i++)
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
    lower[i] = '\0';
    struct http_text value = http_header(request, lower);
    if (value.size == 0 || value.size > 200)
        return http_peer(request);
    char *who = http_alloc(request, value.size + 1);
    memcpy(who, value.at, value.size);
    who[value.size] = '\0';
    return who;
}

static bool wants_token(const struct api *api)
{
    return !api->app->settings.http.open && !http_is_loopback(api->page->http_address);
}

static bool refuse_token(struct http_request *request, const char *message)
{
    http_add_header(request, "WWW-Authenticate", "Bearer");
    http_answer_error(request, 401, "unauthorized", NULL, "%s", message);
    return false;
}

/* Whose token it is. false: answered. */
static bool find_token(struct api *api, struct http_request *request, struct http_text header)
{
    static const char scheme[] = "Bearer ";
    const char *name;
    enum http_role role;
    size_t skip = sizeof(scheme) - 1;

    if (header.size <= skip || strncasecmp(header.at, scheme, skip) != 0)
        return refuse_token(request, "wanted Authorization: Bearer TOKEN");
    struct http_text secret = {header.at + skip, header.size - skip};
    if (api->tokens->version == 0) {
        http_add_header(request, "Retry-After", "1");
        http_answer_error(request, 503, "starting", NULL, "tokens are not known yet");
        return false;
    }
    if (!tokens_check(api->tokens, secret, &name, &role))
        return refuse_token(request, "this token is not known, or was revoked");
    char *who = http_alloc(request, strlen(name) + 1);
    strcpy(who, name);
    http_set_who(request, who, role);
    return true;
}

static bool find_who(struct api *api, struct http_request *request)
{
    struct http_text header = http_header(request, "authorization");

    if (header.size > 0)
        return find_token(api, request, header);
    if (wants_token(api)) {
        http_set_who(request, http_peer(request), HTTP_ROLE_NONE);
        return true;
    }
    http_set_who(request, who_without_token(api, request), HTTP_ROLE_ADMIN);
    return true;
}

static bool forbid(struct http_request *request, const char *code, const char *message)
{
    http_answer_error(request, 403, code, NULL, "%s", message);
    return false;
}

bool access_allows(struct api *api, struct http_request *request, enum http_role wanted,
                   bool changes)
{
    if (http_is_loopback(api->page->http_address) &&
        http_header(request, "authorization").size == 0 && http_header(request, "host").size > 0 &&
        !is_local_name(http_header(request, "host")))
        return forbid(request, "bad_host",
                      "this address is asked as localhost or 127.0.0.1; a proxy in front sets Host "
                      "so, or sends a token");
    if (!find_who(api, request))
        return false;
    if (wanted == HTTP_ROLE_NONE)
        return true;
    if (http_role(request) == HTTP_ROLE_NONE)
        return refuse_token(request,
                            "wanted Authorization: Bearer TOKEN; accrete token new makes one");
    if (http_role(request) < wanted) {
        http_answer_error(request, 403, "forbidden", NULL,
                          "this wants a token of role %s, got one of role %s",
                          token_role_name(wanted), token_role_name(http_role(request)));
        return false;
    }
    if (!changes)
        return true;
    if (api->app->settings.http.readonly)
        return forbid(request, "read_only", "http.readonly is set: nothing is changed over HTTP");
    if (is_from_elsewhere(request))
        return forbid(request, "cross_origin",
                      "a browser may change things from this host's own pages only");
    return true;
}
