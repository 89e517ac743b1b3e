/*
 * What stands between a database and what an app declares: statements in their order, and what is
 * refused. schema_apply runs them, `accrete schema plan` shows them. Also the other way round:
 * where the two differ (drift).
 */
#pragma once

#include "schema.h"

/* One statement, or one block from BEGIN to COMMIT; a transaction of its own, idempotent. */
struct schema_step {
    char *sql;
    char *why;      /* "new kind path" */
    bool may_exist; /* another host may have been faster: that is no failure */
};

struct schema_plan {
    struct schema_step *steps;
    size_t count, capacity;
    char **refusals; /* what cannot be done, each with the way out */
    size_t refusal_count;
    char **notes; /* what follows when the modules become a generation */
    size_t note_count;
};

/*
 * Fills plan, changing nothing. program NULL: base tables only. A plan with refusals is not to be
 * run.
 */
bool schema_plan_make(struct schema_plan *plan, struct pg *pg, const char *schema,
                      const struct program *program, const struct settings *settings,
                      struct acc_error *err) ACC_MUST_CHECK;
/* Only the roles and their rights, where the base tables are there. */
bool schema_plan_roles(struct schema_plan *plan, struct pg *pg, const char *schema,
                       struct acc_error *err) ACC_MUST_CHECK;
void schema_plan_clear(struct schema_plan *plan);

/*
 * *is_current: the base tables have been brought to what this version wants. One look, for who is
 * in a hurry.
 */
bool schema_base_is_current(struct pg *pg, bool *is_current, struct acc_error *err) ACC_MUST_CHECK;

/*
 * The index of a declared look-up: its name (64 bytes) and what stands behind `ON table`. false: it
 * needs none.
 */
bool schema_index(const struct kind *kind, const struct shape *shape, char *name,
                  struct buf *expression);

enum drift_grade { DRIFT_NOTE, DRIFT_WARN, DRIFT_FAIL };

struct drift {
    enum drift_grade grade;
    char *object; /* "kind path", "index ix_path_..." */
    char *finding;
    char *mend; /* NULL: nothing needs to be done */
};

struct drift_list {
    struct drift *items;
    size_t count, capacity;
};

/*
 * What the database has that the app does not declare, and the other way. Needs the tables to be
 * there.
 */
bool schema_drift(struct drift_list *list, struct pg *pg, const char *schema,
                  const struct program *program, const struct settings *settings,
                  struct acc_error *err) ACC_MUST_CHECK;
void drift_clear(struct drift_list *list);
