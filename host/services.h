/*
 * Services: the processes behind HTTP and the one that keeps the board, as the master looks after them. It opens the
 * listeners, starts, replaces and ends them; a new generation's process serves before the old one retires, so that no
 * request finds nobody.
 */
#pragma once

#include "app.h"
#include "board.h"
#include "page.h"

struct services;

/*
 * Opens the listeners that http.listen names (none when http.enabled is no, and nothing is started). start_child is
 * what every child does first.
 * is_serving no: nothing is opened or started (a machine that only lends its workers). NULL with err.
 */
struct services *services_new(struct app *app, struct page *page, struct board *board,
                              bool is_serving, void (*start_child)(void *context, pid_t parent),
                              void *context, struct acc_error *err) ACC_MUST_CHECK;
void services_free(struct services *services);

/* Starts what is due for the page's generation; conninfo is borrowed until the next call. */
void services_start_due(struct services *services, const char *conninfo);
/* Collects those that ended; when draining, goes on with it. */
void services_reap(struct services *services);
/* Kills those that do not move. */
void services_kill_stuck(struct services *services);
/* Everything is replaced: new settings, or http.* of the same generation. */
void services_renew(struct services *services);
/*
 * Asks all to end, the fronts first, so that what they have forwarded is answered; at_once kills them. services_any: some are
 * left.
 */
void services_drain(struct services *services, bool at_once);
bool services_any(const struct services *services);

/*
 * Whether app may listen where http.listen says: an address that others reach wants TLS certificates that can be read, and
 * tokens (has_tokens) or http.open.
 */
bool services_check(const struct app *app, bool has_tokens, struct acc_error *err) ACC_MUST_CHECK;
