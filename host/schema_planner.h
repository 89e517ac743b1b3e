/* Between the files of schema_plan: a plan in the making and what adds to it. */
#pragma once

#include "schema_plan.h"

/* A plan in the making. */
struct planner {
    struct schema_plan *plan;
    struct pg *pg;
    const char *schema;
    const struct program *program;
    const struct settings *settings;
    bool has_base;    /* all base tables are there, so facts may be */
    bool makes_table; /* a step makes a table: rights are granted anew */
};

/* schema_plan.c. Takes a copy of sql; why is printed. */
struct schema_step *plan_step(struct planner *p, const char *sql, const char *fmt, ...)
    ACC_PRINTF(3, 4);
void plan_refuse(struct planner *p, const char *fmt, ...) ACC_PRINTF(2, 3);
void plan_note(struct planner *p, const char *fmt, ...) ACC_PRINTF(2, 3);
/* One value of a query, or NULL (err code ACC_OK when there was no row). Caller frees. */
char *plan_value(struct pg *pg, const char *sql, const char *arg, struct acc_error *err);
/* *answer: the query gives a row. */
bool plan_ask(struct pg *pg, const char *sql, const char *arg, bool *answer, struct acc_error *err);
/* Appends text as an SQL literal, quoted by libpq. */
void plan_literal(struct planner *p, struct buf *sql, const char *text);
/* Appends the statement that sets a key of meta; plan_meta makes a step of it. */
void plan_meta_statement(struct planner *p, struct buf *sql, const char *key, const char *value);
void plan_meta(struct planner *p, const char *key, const char *value, const char *why);

/* schema_base.c: the base tables that schema.sql makes, as they are in the database. */
#define BASE_TABLES_MAX 32
enum base_is { BASE_RIGHT, BASE_GONE, BASE_OTHER };
struct base_table {
    char name[64];
    enum base_is is;
    char flaw[160]; /* BASE_OTHER: "lacks the column n int4" */
};
struct base {
    struct base_table tables[BASE_TABLES_MAX];
    size_t count;
};
bool base_look(struct base *base, struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
const struct base_table *base_find(const struct base *base, const char *name);
/* The next statement of schema.sql, into sql; *at begins as NULL. false: there is none more. */
bool base_next(const char **at, struct buf *sql);
/* The name behind prefix, when statement begins with it. */
bool base_name_behind(const char *statement, const char *prefix, char *name, size_t size);
/* Appended to a finding about a base table that is gone or was changed. */
#define BASE_MEND "restore a backup: accrete restore"

/* schema_plan_base.c, schema_plan_kinds.c, schema_plan_roles.c: what is still to be done for each. */
bool plan_base(struct planner *p, struct acc_error *err);
bool plan_kind(struct planner *p, const struct kind *kind, bool *is_new, struct acc_error *err);
bool plan_index(struct planner *p, const struct kind *kind, const struct shape *shape, bool is_new,
                struct acc_error *err);
bool plan_roles(struct planner *p, struct acc_error *err);
