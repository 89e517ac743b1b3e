/* An app's files: listed, summed up, run as modules whose keys are checked. */
#include "script/script_internal.h"

#include "base/files.h"
#include "base/hash.h"
#include "script/lua_error.h"
#include "script/lua_tools.h"

#include <dirent.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **script_list_files(const char *dir, const char *folder, const char *const *ends,
                         size_t *count)
{
    char *path = acc_format("%s/%s", dir, folder);
    DIR *d = opendir(path);
    char **names = NULL;

    *count = 0;
    free(path);
    for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
        size_t length = strlen(entry->d_name);
        bool fits = false;
        for (const char *const *end = ends; *end != NULL; end++)
            fits |=
                length > strlen(*end) && strcmp(entry->d_name + length - strlen(*end), *end) == 0;
        if (!fits || entry->d_name[0] == '.')
            continue;
        names = acc_realloc(names, (*count + 1) * sizeof(char *));
        names[(*count)++] = acc_strdup(entry->d_name);
    }
    if (d != NULL)
        closedir(d);
    if (names != NULL)
        qsort(names, *count, sizeof(char *), by_name);
    return names;
}

void script_free_files(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static bool read_file(const char *path, struct buf *out, struct acc_error *err)
{
    char chunk[65536];
    FILE *file = fopen(path, "rb");

    if (file == NULL)
        return acc_fail_errno(err, "cannot read %s", path);
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), file)) > 0;)
        buf_add(out, chunk, n);
    bool ok = ferror(file) == 0;
    fclose(file);
    return ok || acc_fail_errno(err, "cannot read %s", path);
}

static void hex_sha(const struct buf *data, char hex[65])
{
    uint8_t digest[32];

    sha256(data->data == NULL ? "" : data->data, data->size, digest);
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

bool script_read_files(const char *app_dir, struct program *program, struct acc_error *err)
{
    static const char *const folders[] = {"kinds", "lifecycles", "lua", "native", "routes"};
    static const char *const lua[] = {".lua", NULL};
    static const char *const native[] = {".c", ".h", NULL};
    struct buf all = {0};
    struct buf lines = {0};
    bool ok = true;

    for (size_t f = 0; f < sizeof(folders) / sizeof(*folders); f++) {
        size_t count;
        char **names = script_list_files(app_dir, folders[f], f == 3 ? native : lua, &count);
        for (size_t i = 0; ok && i < count; i++) {
            struct buf text = {0};
            char sha[65];
            char *path = acc_format("%s/%s/%s", app_dir, folders[f], names[i]);
            ok = read_file(path, &text, err);
            hex_sha(&text, sha);
            buf_printf(&lines, "%s/%s %s\n", folders[f], names[i], sha);
            buf_printf(&all, "%s/%s %zu\n", folders[f], names[i], text.size);
            buf_add(&all, text.data == NULL ? "" : text.data, text.size);
            buf_clear(&text);
            free(path);
        }
        script_free_files(names, count);
    }
    hex_sha(&all, program->sha);
    program->files = lines.data; /* NULL of an app without files */
    buf_clear(&all);
    return ok;
}

bool script_load_chunk(struct script *script, const char *folder, const char *name, int results,
                       char sha[65], struct acc_error *err)
{
    lua_State *L = script->L;
    struct buf text = {0};
    char *path = acc_format("%s/%s/%s", script->app_dir, folder, name);
    char *chunk = acc_format("@%s/%s", folder, name);
    bool ok = read_file(path, &text, err);

    if (ok) {
        hex_sha(&text, sha);
        if (luaL_loadbuffer(L, text.data == NULL ? "" : text.data, text.size, chunk) != 0) {
            ok = acc_fail(err, ACC_ELUA, "%s", lua_tostring(L, -1));
            lua_pop(L, 1);
        } else if (text.size > 0 && text.data[0] == '\033') {
            ok = acc_fail(err, ACC_ELUA, "%s: wanted Lua source, got bytecode", chunk + 1);
            lua_pop(L, 1);
        } else {
            ok = script_call(L, 0, results, err);
        }
    }
    buf_clear(&text);
    free(path);
    free(chunk);
    return ok;
}

bool script_load_module(struct script *script, const char *folder, const char *name, char sha[65],
                        struct acc_error *err)
{
    lua_State *L = script->L;

    if (!script_load_chunk(script, folder, name, 1, sha, err))
        return false;
    if (lua_istable(L, -1))
        return true;
    acc_fail(err, ACC_EINPUT, "%s/%s: wanted a module that returns a table, got %s", folder, name,
             luaL_typename(L, -1));
    lua_pop(L, 1);
    return false;
}

void script_stem(const char *file, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)(strlen(file) - 4), file);
}

const char *script_did_you_mean(char text[SCRIPT_NEAR_MAX], const char *name,
                                const char *const *names, size_t count)
{
    const char *near = name == NULL ? NULL : name_suggest(name, names, count);

    snprintf(text, SCRIPT_NEAR_MAX, near == NULL ? "%s" : ", did you mean \"%s\"?",
             near == NULL ? "" : near);
    return text;
}

const char *script_near_field(char text[SCRIPT_NEAR_MAX], const char *name, const struct kind *kind)
{
    const char *names[KIND_FIELDS_MAX];

    for (size_t f = 0; f < kind->field_count; f++)
        names[f] = kind->fields[f].name;
    return script_did_you_mean(text, name, names, kind->field_count);
}

static bool is_word_byte(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Where word stands in text as a whole word outside of comments, and, if is_set, is given a value; or NULL. */
static const char *find_word(const char *text, const char *word, bool is_set)
{
    size_t length = strlen(word);

    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        const char *line = at;
        const char *end = at + length;
        bool is_comment = false;

        for (; line > text && line[-1] != '\n'; line--)
            is_comment |= line[0] == '-' && line[-1] == '-';
        bool is_word = !is_word_byte(end[0]) && (at == text || !is_word_byte(at[-1]));
        end += strspn(end, " \t\"']");
        if (is_word && !is_comment && (!is_set || *end == '(' || (*end == '=' && end[1] != '=')))
            return at;
    }
    return NULL;
}

const char *script_place(lua_State *L, char place[SCRIPT_PLACE_MAX], const char *file,
                         const char *name, const char *key)
{
    struct buf text = {0};
    struct acc_error later;

    snprintf(place, SCRIPT_PLACE_MAX, "%s", file);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_APP_DIR);
    char *path = acc_format("%s/%s", lua_tostring(L, -1), file);
    lua_pop(L, 1);
    if (read_file(path, &text, &later) && text.data != NULL) {
        const char *from = name == NULL ? text.data : find_word(text.data, name, false);
        const char *at = from == NULL || key == NULL ? from : find_word(from, key, true);
        int line = 1;

        for (const char *c = text.data; at != NULL && c < at; c++)
            line += *c == '\n';
        if (at != NULL)
            snprintf(place, SCRIPT_PLACE_MAX, "%s:%d", file, line);
    }
    buf_clear(&text);
    free(path);
    return place;
}

static bool refuse_key(lua_State *L, const char *key, const char *const *known, size_t count,
                       const char *where, const char *more, struct acc_error *err)
{
    char near[SCRIPT_NEAR_MAX];
    char place[SCRIPT_PLACE_MAX];
    struct buf keys = {0};

    for (size_t i = 0; i < count; i++)
        buf_printf(&keys, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", known[i]);
    acc_fail(err, ACC_EINPUT, "%s: unknown key \"%.60s\"%s (wanted %s%s)",
             script_place(L, place, where, NULL, key), key,
             script_did_you_mean(near, key, known, count), keys.data, more);
    buf_clear(&keys);
    return false;
}

bool script_check_keys(lua_State *L, const char *const *known, const char *where, const char *more,
                       struct acc_error *err)
{
    size_t count = 0;

    while (known[count] != NULL)
        count++;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        bool ok = false;
        lua_pop(L, 1);
        const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        for (size_t i = 0; key != NULL && i < count; i++)
            ok |= strcmp(known[i], key) == 0;
        if (ok)
            continue;
        if (key == NULL)
            acc_fail(err, ACC_EINPUT, "%s: wanted keys like %s = …, got a value without a name",
                     where, known[0]);
        else
            refuse_key(L, key, known, count, where, more, err);
        lua_pop(L, 1);
        return false;
    }
    return true;
}

bool script_check_list(lua_State *L, const char *where, const char *key, struct acc_error *err)
{
    char place[SCRIPT_PLACE_MAX];

    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            continue;
        acc_fail(err, ACC_EINPUT, "%s: %s: wanted a list, got %.60s = …",
                 script_place(L, place, where, NULL, lua_tostring(L, -1)), key,
                 lua_tostring(L, -1));
        lua_pop(L, 1);
        return false;
    }
    return true;
}

bool script_go_on(struct script *script, const struct acc_error *err)
{
    if (script->on_problem == NULL)
        return false;
    script->on_problem(script, err);
    script->has_problem = true;
    return true;
}

int script_l_suggest(lua_State *L)
{
    const char *names[256];
    size_t count = 0;
    const char *name = luaL_checkstring(L, 1);

    luaL_checktype(L, 2, LUA_TTABLE);
    for (int i = 1; count < 256 && i <= (int)lua_objlen(L, 2); i++) {
        lua_rawgeti(L, 2, i); /* the table keeps it */
        names[count++] = luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    lua_pushstring(L, name_suggest(name, names, count));
    return 1;
}

int script_l_part(lua_State *L)
{
    size_t size;
    const char *path = lua_pushfstring(L, "host/script/%s.lua", luaL_checkstring(L, 1));
    const char *text = files_get(path, &size);

    if (text == NULL)
        return luaL_error(L, "no %s in the program", path);
    if (luaL_loadbuffer(L, text, size, lua_pushfstring(L, "@%s", path)) != 0)
        return lua_error(L);
    return 1;
}
