/* What doctor.c and its files of checks share. */
#pragma once

#include "cli/work.h"

enum grade { GRADE_OK, GRADE_WARN, GRADE_FAIL };

struct doctor {
    struct cli *cli;
    struct app app;
    bool has_app;
    struct script *script;
    struct program program; /* of the modules here; valid when has_program */
    bool has_program;
    struct session session;
    bool has_session, has_tables;
    json_t *lines;
    enum grade worst;
};

/* Adds a line. mend NULL: nothing to do. */
void doctor_say(struct doctor *doctor, const char *check, enum grade grade, const char *mend,
                const char *fmt, ...) ACC_PRINTF(5, 6);

/* The files of checks; each needs what its name says to be there. */
void doctor_machine(struct doctor *doctor);
void doctor_server(struct doctor *doctor);
void doctor_tables(struct doctor *doctor);
