/* accrete types: the app's kinds, and the modules it may require, as LuaLS annotations. */
#include "base/buf.h"
#include "base/files.h"
#include "cli/commands.h"
#include "cli/work.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER ".luals"
#define META "lua/accrete/_meta/"

static const char *type_of(const struct field *field)
{
    static const char *const types[] = {
        [FIELD_BOOL] = "boolean", [FIELD_INT8] = "integer", [FIELD_FLOAT8] = "number",
        [FIELD_TEXT] = "string",  [FIELD_BYTES] = "string", [FIELD_JSON] = "string",
        [FIELD_UUID] = "string",
    };

    return types[field->type];
}

/* "family.Parent" */
static void add_class(struct buf *out, const char *app, const char *kind)
{
    buf_printf(out, "%s.%c%s", app, toupper((uint8_t)kind[0]), kind + 1);
}

static void add_field(struct buf *out, const struct field *field)
{
    buf_printf(out, "---@field %s%s %s%s %s%s%s\n", field->name, field->is_nullable ? "?" : "",
               type_of(field), field->is_array ? "[]" : "", field_type_name(field->type),
               field->is_array ? "[]" : "", field->is_unique ? ", unique" : "");
}

static void add_kind(struct buf *out, const char *app, const struct kind *kind)
{
    buf_printf(out, "--- kinds/%s.lua\n---@class ", kind->name);
    add_class(out, app, kind->name);
    buf_text(out, " : accrete.Row\n");
    for (size_t f = 0; f < kind->field_count; f++)
        add_field(out, &kind->fields[f]);
    /* What a find takes: the friends it rests on, then the fields in order. */
    buf_printf(out, "\n---@alias ");
    add_class(out, app, kind->name);
    buf_text(out, "Finder fun(friends: accrete.Row|accrete.Row[]|accrete.Rows|nil");
    for (size_t f = 0; f < kind->field_count; f++)
        buf_printf(out, ", %s%s: %s%s", kind->fields[f].name,
                   kind->fields[f].is_nullable ? "?" : "", type_of(&kind->fields[f]),
                   kind->fields[f].is_array ? "[]" : "");
    buf_text(out, ")\n\n");
}

static void add_kinds(struct buf *out, const char *app, const struct catalog *catalog)
{
    buf_text(out,
             "---@meta\n-- Made by accrete types from kinds/. Make it again when they change.\n\n");
    for (size_t k = 0; k < catalog->count; k++)
        add_kind(out, app, catalog->kinds[k]);
    buf_printf(out,
               "--- The last argument of process_data, with the kinds of this app.\n"
               "---@class %s.Found : accrete.Found\n",
               app);
    for (size_t k = 0; k < catalog->count; k++) {
        buf_printf(out, "---@field %s ", catalog->kinds[k]->name);
        add_class(out, app, catalog->kinds[k]->name);
        buf_text(out, "Finder\n");
    }
}

static bool write_file(const char *path, const char *data, size_t size, struct acc_error *err)
{
    FILE *file = fopen(path, "we");
    bool ok = file != NULL && fwrite(data, 1, size, file) == size;

    ok = (file == NULL || fclose(file) == 0) && ok;
    return ok || acc_fail_errno(err, "cannot write \"%s\"", path);
}

/* The app's kinds and our modules into dir, which is made. */
static bool write_all(const char *dir, const struct buf *kinds, struct acc_error *err)
{
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return acc_fail_errno(err, "cannot make \"%s\"", dir);
    char *path = acc_format("%s/kinds.lua", dir);
    bool ok = write_file(path, kinds->data, kinds->size, err);

    free(path);
    for (const struct embedded_file *file = embedded_files; ok && file->name != NULL; file++) {
        if (strncmp(file->name, META, strlen(META)) != 0)
            continue;
        path = acc_format("%s/accrete_%s", dir, file->name + strlen(META));
        ok = write_file(path, file->data, file->size, err);
        free(path);
    }
    return ok;
}

static bool write_settings(const struct app *app, bool *is_ours, struct acc_error *err)
{
    static const char text[] = "{\n  \"runtime.version\": \"LuaJIT\",\n"
                               "  \"workspace.library\": [\".luals\"],\n"
                               "  \"runtime.path\": [\"lua/?.lua\", \"?.lua\"]\n}\n";
    char *path = acc_format("%s/.luarc.json", app->dir);

    *is_ours = access(path, F_OK) != 0;
    bool ok = !*is_ours || write_file(path, text, sizeof(text) - 1, err);
    free(path);
    return ok;
}

static int write_for_editor(struct cli *cli, const struct app *app, const struct buf *kinds)
{
    char *dir = acc_format("%s/" FOLDER, app->dir);
    struct acc_error err;
    bool is_ours = false;
    int exit_code = CLI_DONE;

    if (!write_all(dir, kinds, &err) || !write_settings(app, &is_ours, &err)) {
        exit_code = cli_fail(cli, &err);
    } else {
        puts(dir);
        if (!is_ours)
            cli_note(cli, ".luarc.json is there and is left alone; its workspace.library wants "
                          "\"" FOLDER "\"");
        exit_code = cli_flush(cli, CLI_DONE);
    }
    free(dir);
    return exit_code;
}

static int run(struct cli *cli)
{
    struct buf kinds = {0};
    struct work work;
    int exit_code;

    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;
    add_kinds(&kinds, work.app.name, &work.program.catalog);
    if (cli_has(cli, "stdout")) {
        fwrite(kinds.data, 1, kinds.size, stdout);
        exit_code = cli_flush(cli, CLI_DONE);
    } else {
        exit_code = write_for_editor(cli, &work.app, &kinds);
    }
    buf_clear(&kinds);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_types = {
    .name = "types",
    .summary = "writes the app's kinds as types for an editor's Lua language server",
    .usage = "",
    .help =
        "Writes " FOLDER "/ in the app: a class APP.Kind for each kind, with its fields, and the\n"
        "modules of accrete. .luarc.json, which names that folder, is written when there is none.",
    .options =
        (const struct cli_option[]){
            {"stdout", 0, CLI_SWITCH, .help = "prints the app's types instead of writing them"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete types", "again whenever a kind has changed"},
            {0},
        },
    .run = run,
};
