/*
 * Schema: makes the tables, kinds' tables and indexes, lifecycles and routes of an app, additively.
 */
#pragma once

#include "conf/settings.h"
#include "lifecycle.h"
#include "pg/pg.h"

/*
 * Brings the schema to what program declares: base tables, kinds, nullable fields added, look-up
 * indexes (CONCURRENTLY), roles and triggers. Idempotent; each statement is its own transaction.
 * Refuses (ACC_EINPUT) what would change identity or lose data, with the way out.
 */
bool schema_apply(struct pg *pg, const char *schema, const struct program *program,
                  const struct settings *settings, struct acc_error *err) ACC_MUST_CHECK;

/*
 * The base tables alone, as this version wants them, for a command on tables that an older version
 * made.
 */
bool schema_base(struct pg *pg, const char *schema, struct acc_error *err) ACC_MUST_CHECK;

/*
 * The roles and their rights on the tables that are there: a backup has none. The base tables are there. A role of the
 * database that may not create roles does without.
 */
bool schema_roles(struct pg *pg, const char *schema, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Makes program the current generation: registers lifecycles, moves the routing version, queues
 * replays of new lifecycles over old facts. Sets program->generation and the ids of its lifecycles.
 * When the modules are those of the current generation, nothing changes.
 */
bool schema_activate(struct pg *pg, struct program *program, struct acc_error *err) ACC_MUST_CHECK;

/*
 * For who adds workers to what others run: schema_apply and schema_activate when there is no
 * generation yet, else program must be the current one: ACC_ESTALE names the files that differ and the way out,
 * and nothing has changed.
 */
bool schema_join(struct pg *pg, const char *schema, struct program *program,
                 const struct settings *settings, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Sets the ids of program's lifecycles and generation from the database; ACC_ESTALE, with the files that
 * differ, when its modules are not those of the current generation.
 */
bool schema_bind(struct pg *pg, struct program *program, struct acc_error *err) ACC_MUST_CHECK;

/* The roles "worker" and "reader" of a schema; name has room for 80 bytes. */
#define SCHEMA_ROLE_BYTES 80
void schema_role_name(const char *schema, const char *role, char *name);
/*
 * Takes the role's rights for the rest of the session, when there is such a role and we may (without
 * it the session keeps its own).
 */
bool schema_become(struct pg *pg, const char *schema, const char *role,
                   struct acc_error *err) ACC_MUST_CHECK;
