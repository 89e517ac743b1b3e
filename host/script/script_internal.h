/* Script: what script.c, lua_app.c, lua_kinds.c, lua_lifecycles.c and lua_batch.c share. */
#pragma once

#include "batch.h"
#include "script/script.h"

#include <lua.h>

struct script {
    lua_State *L;
    const struct settings *settings;
    char *app_dir;
    struct program *program; /* what it has loaded */
    struct batch *batch;     /* the driver is bound to it; NULL before the first */
    int driver;              /* reference: the driver module */
    int modules; /* reference: list of { module, friends, finds … } as lua_lifecycles.c made it */
    struct acc_error fatal; /* why a write in the middle of a callback failed */
    bool is_fatal;
    int64_t query_count; /* queries of the lifecycles' own so far */
    /*
     * Told what is wrong with a module, which is left out then; NULL: the first problem ends
     * loading.
     */
    void (*on_problem)(struct script *script, const struct acc_error *err);
    bool has_problem; /* of a kind or lifecycle */
    int check;        /* reference: the check that on_problem tells */
    int prompt;       /* reference: what evaluates lines */
};

/* A lifecycle's side of the border. */
struct script_lifecycle {
    struct script *script;
    size_t number;                    /* in program->lifecycles */
    int gather, process, priority_of; /* references, LUA_NOREF before the driver is bound */
};

/* lua_kinds.c: kinds/ into program. */
bool script_load_kinds(struct script *script, struct program *program,
                       struct acc_error *err) ACC_MUST_CHECK;
/* lua_lifecycles.c: lifecycles/ into program; leaves the table for the driver in script->modules. */
bool script_load_lifecycles(struct script *script, struct program *program,
                            struct acc_error *err) ACC_MUST_CHECK;

/*
 * lua_app.c: sorted names in app_dir/folder that end in one of ends (NULL-terminated); a missing folder has
 * none.
 */
char **script_list_files(const char *app_dir, const char *folder, const char *const *ends,
                         size_t *count);
void script_free_files(char **names, size_t count);
/* Sets program's sha and files from the files of the app that shape it. */
bool script_read_files(const char *app_dir, struct program *program,
                       struct acc_error *err) ACC_MUST_CHECK;
/* Runs folder/name of the app; so many results are left on the stack. sha: of its text, hex. */
bool script_load_chunk(struct script *script, const char *folder, const char *name, int results,
                       char sha[65], struct acc_error *err) ACC_MUST_CHECK;
/* The same for a module: its result is a table. */
bool script_load_module(struct script *script, const char *folder, const char *name, char sha[65],
                        struct acc_error *err) ACC_MUST_CHECK;
/* The part of a file's name before ".lua". */
void script_stem(const char *file, char *out, size_t size);
/*
 * Whether the table on top of the stack has only the keys of known (NULL-terminated). where: its file
 * as seen from the app; more: what the message says behind the known keys.
 */
bool script_check_keys(lua_State *L, const char *const *known, const char *where, const char *more,
                       struct acc_error *err) ACC_MUST_CHECK;
/* Whether the table on top of the stack, which is key of the file where, has no named values. */
bool script_check_list(lua_State *L, const char *where, const char *key,
                       struct acc_error *err) ACC_MUST_CHECK;
#define SCRIPT_PLACE_MAX 160
/*
 * "FILE:LINE" in place: where file (as seen from the app) gives key a value, behind the word name;
 * each may be NULL. "FILE" alone when that stands nowhere as text. Returns place.
 */
const char *script_place(lua_State *L, char place[SCRIPT_PLACE_MAX], const char *file,
                         const char *name, const char *key);
/* Whether loading goes on after a module that failed: when somebody collects what is wrong. */
bool script_go_on(struct script *script, const struct acc_error *err);

#define SCRIPT_NEAR_MAX 96
/* `, did you mean "NEAR"?` as text, or "" when nothing is near or name is NULL. Returns text. */
const char *script_did_you_mean(char text[SCRIPT_NEAR_MAX], const char *name,
                                const char *const *names, size_t count);
/* The same among the fields of a kind. */
const char *script_near_field(char text[SCRIPT_NEAR_MAX], const char *name,
                              const struct kind *kind);

/* suggest(name, names) -> the nearest, or nil */
int script_l_suggest(lua_State *L);
/* json(text) -> canonical text, or nil and why not */
int script_l_json(lua_State *L);
/* part(name) -> the function that is host/script/NAME.lua */
int script_l_part(lua_State *L);

/* lua_batch.c: binds the driver to batch (once), fills the lifecycles' function pointers. */
bool script_bind(struct script *script, struct batch *batch, struct acc_error *err) ACC_MUST_CHECK;
bool script_gather(struct lifecycle *lifecycle, struct batch *batch, struct acc_error *err);
bool script_process(struct lifecycle *lifecycle, struct batch *batch, uint32_t *next,
                    struct acc_error *err);
int32_t script_priority_of(struct lifecycle *lifecycle, const struct acc_row *row);

/* The global arg of a script. */
void script_set_arguments(struct script *script, const char *name, int argc, char **argv);

/* lua_pcall with a traceback; err gets the message, prefixed by nothing. Pops what it called. */
bool script_call(lua_State *L, int args, int results, struct acc_error *err) ACC_MUST_CHECK;
