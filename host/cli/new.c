/* accrete new: a working small app, or a kind, lifecycle or route inside one. */
#include "api/access.h"
#include "base/buf.h"
#include "base/files.h"
#include "cli/commands.h"
#include "cli/work.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPLATES "host/cli/new/"
#define ROUTE_TEMPLATE "host/cli/new_route.lua"
#define PARTS_MAX 16 /* kinds of --finds, fields of --fields */

/* Writing. Nothing that is there is touched. */

static bool make_folder(const char *path, struct acc_error *err)
{
    return mkdir(path, 0777) == 0 || errno == EEXIST ||
           acc_fail_errno(err, "cannot make \"%s\"", path);
}

static bool write_new(const char *path, const char *text, struct acc_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (fd < 0 && errno == EEXIST)
        return acc_fail(err, ACC_EINPUT, "\"%s\" is there already, and is left alone", path);
    if (fd < 0)
        return acc_fail_errno(err, "cannot write \"%s\"", path);
    size_t size = strlen(text);
    bool ok = write(fd, text, size) == (ssize_t)size;
    ok = close(fd) == 0 && ok;
    return ok || acc_fail_errno(err, "cannot write \"%s\"", path);
}

static void add_text(struct buf *out, const char *text, const char *app)
{
    static const char mark[] = "@APP@";

    for (const char *at; (at = strstr(text, mark)) != NULL; text = at + sizeof(mark) - 1) {
        buf_add(out, text, (size_t)(at - text));
        buf_text(out, app);
    }
    buf_text(out, text);
}

/* A new app */

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    bool is = true;

    if (dir == NULL)
        return errno == ENOENT;
    for (struct dirent *entry; is && (entry = readdir(dir)) != NULL;)
        is = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    return is;
}

static bool write_template(const struct embedded_file *file, const char *dir, const char *app,
                           struct acc_error *err)
{
    char *path = acc_format("%s/%s", dir, file->name + strlen(TEMPLATES));
    char *folder = acc_strdup(path);
    struct buf text = {0};

    *strrchr(folder, '/') = '\0';
    add_text(&text, file->data, app);
    bool ok = make_folder(folder, err) && write_new(path, text.data, err);
    buf_clear(&text);
    free(folder);
    free(path);
    return ok;
}

static int new_app(struct cli *cli)
{
    const char *dir = cli->argv[0];
    const char *base = strrchr(dir, '/');
    struct acc_error err;

    base = base == NULL ? dir : base + 1;
    if (!name_check("NAME", base, &err))
        return cli_misuse(cli, "%s", err.text);
    if (!is_empty(dir))
        return cli_misuse(cli, "\"%s\" is there already, and is left alone", dir);
    if (!make_folder(dir, &err))
        return cli_fail(cli, &err);
    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++)
        if (strncmp(file->name, TEMPLATES, strlen(TEMPLATES)) == 0 &&
            !write_template(file, dir, base, &err))
            return cli_fail(cli, &err);
    printf("%s: an app that runs. Next:\n\n  cd %s\n  accrete check\n  accrete ingest parent "
           "--format csv parents.csv\n  accrete run --until-fixpoint\n  accrete dump --kind "
           "ancestor\n",
           dir, dir);
    return cli_flush(cli, CLI_DONE);
}

/* Lists in options: "a,b", split in a copy. */

struct parts {
    char *copy;
    char *words[PARTS_MAX];
    size_t count;
};

static bool split(struct cli *cli, const char *option, const char *text, struct parts *parts)
{
    char *rest = NULL;

    *parts = (struct parts){.copy = acc_strdup(text == NULL ? "" : text)};
    for (char *word = strtok_r(parts->copy, ",", &rest); word != NULL;
         word = strtok_r(NULL, ",", &rest)) {
        if (parts->count == PARTS_MAX) {
            cli_misuse(cli, "--%s: more than %d of them", option, PARTS_MAX);
            return false;
        }
        parts->words[parts->count++] = word;
    }
    return true;
}

/* Where a module of this name goes, in the app; caller frees. */
static char *module_path(const struct app *app, const char *folder, const char *name)
{
    return acc_format("%s/%s/%s.lua", app->dir, folder, name);
}

static int write_module(struct cli *cli, const struct app *app, const char *folder,
                        const char *name, const struct buf *text)
{
    char *parent = acc_format("%s/%s", app->dir, folder);
    char *path = module_path(app, folder, name);
    struct acc_error err;
    int exit_code = CLI_DONE;

    if (!make_folder(parent, &err) || !write_new(path, text->data, &err)) {
        exit_code = cli_fail(cli, &err);
    } else {
        puts(path);
        exit_code = cli_flush(cli, CLI_DONE);
    }
    free(parent);
    free(path);
    return exit_code;
}

/* A new kind */

static bool add_fields(struct cli *cli, const struct parts *fields, struct buf *text)
{
    struct acc_error err;

    for (size_t i = 0; i < fields->count; i++) {
        char *colon = strchr(fields->words[i], ':');
        enum field_type type;
        bool is_array;

        if (colon != NULL)
            *colon = '\0';
        if (colon == NULL || !field_type_of(colon + 1, &type, &is_array)) {
            cli_misuse(cli,
                       "--fields: %s: wanted NAME:TYPE with a type of bool int8 float8 text bytes "
                       "json uuid or an array of one like text[]",
                       fields->words[i]);
            return false;
        }
        if (!name_check("--fields", fields->words[i], &err)) {
            cli_misuse(cli, "%s", err.text);
            return false;
        }
        buf_printf(text, "%s{ \"%s\", \"%s\" }", i == 0 ? "" : ", ", fields->words[i], colon + 1);
    }
    return true;
}

static int new_kind(struct cli *cli, const char *name)
{
    const char *given = cli_value(cli, "fields");
    struct parts fields = {0};
    struct buf text = {0};
    struct app app;
    int exit_code;

    if (!cli_app(cli, &app, &exit_code))
        return exit_code;
    buf_printf(&text,
               "--- What one %s says, in a sentence. A fact is unique on all its fields, unless "
               "`unique` names some:\n--- then the others must follow from those.\nreturn { fields "
               "= { ",
               name);
    exit_code = CLI_MISUSE;
    if (split(cli, "fields", given == NULL ? "name:text" : given, &fields) &&
        add_fields(cli, &fields, &text)) {
        buf_text(&text, " } }\n");
        exit_code = write_module(cli, &app, "kinds", name, &text);
    }
    free(fields.copy);
    buf_clear(&text);
    app_close(&app);
    return exit_code;
}

/* A new lifecycle */

struct sketch {
    struct cli *cli;
    const struct app *app;
    const struct catalog *catalog;
    const struct kind *on;
    const struct kind *friends[PARTS_MAX];
    int friend_fields[PARTS_MAX];
    size_t friend_count;
    const struct kind *finds[PARTS_MAX];
    size_t find_count;
    char data[KIND_NAME_MAX + 8]; /* how the callbacks call the fact */
};

static const struct kind *kind_named(const struct sketch *sketch, const char *option,
                                     const char *name)
{
    const struct kind *kind = catalog_find(sketch->catalog, name);
    const char *names[CATALOG_KINDS_MAX];

    if (kind != NULL)
        return kind;
    for (size_t i = 0; i < sketch->catalog->count; i++)
        names[i] = sketch->catalog->kinds[i]->name;
    const char *near = name_suggest(name, names, sketch->catalog->count);
    if (near != NULL)
        cli_misuse(sketch->cli, "--%s: no kind \"%s\", did you mean \"%s\"?", option, name, near);
    else
        cli_misuse(sketch->cli, "--%s: no kind \"%s\"; accrete new kind %s makes one", option, name,
                   name);
    return NULL;
}

static bool read_friend(struct sketch *sketch, char *word)
{
    char *dot = strchr(word, '.');

    if (dot == NULL) {
        cli_misuse(sketch->cli, "--friends: wanted KIND.FIELD, got \"%s\"", word);
        return false;
    }
    *dot = '\0';
    const struct kind *kind = kind_named(sketch, "friends", word);
    if (kind == NULL)
        return false;
    int field = kind_field(kind, dot + 1);
    if (field < 0) {
        cli_misuse(sketch->cli, "--friends: %s has no field \"%s\"", kind->name, dot + 1);
        return false;
    }
    sketch->friends[sketch->friend_count] = kind;
    sketch->friend_fields[sketch->friend_count++] = field;
    return true;
}

static bool read_sketch(struct sketch *sketch, struct parts *finds, struct parts *friends)
{
    struct cli *cli = sketch->cli;

    if (cli_value(cli, "on") == NULL || cli_value(cli, "finds") == NULL) {
        cli_misuse(cli, "lifecycle: wanted --on KIND and --finds KIND");
        return false;
    }
    sketch->on = kind_named(sketch, "on", cli_value(cli, "on"));
    if (sketch->on == NULL || !split(cli, "finds", cli_value(cli, "finds"), finds) ||
        !split(cli, "friends", cli_value(cli, "friends"), friends))
        return false;
    bool is_taken = strcmp(sketch->on->name, "db") == 0 || strcmp(sketch->on->name, "found") == 0;
    snprintf(sketch->data, sizeof(sketch->data), "%s", is_taken ? "data" : sketch->on->name);
    for (size_t i = 0; i < finds->count; i++) {
        sketch->finds[i] = kind_named(sketch, "finds", finds->words[i]);
        if (sketch->finds[i] == NULL)
            return false;
    }
    sketch->find_count = finds->count;
    for (size_t i = 0; i < friends->count; i++)
        if (!read_friend(sketch, friends->words[i]))
            return false;
    return true;
}

/* "closure.Edge": the class that accrete types writes. */
static void add_class(struct buf *text, const struct sketch *sketch, const struct kind *kind)
{
    buf_printf(text, "%s.%c%s", sketch->app->name, toupper((uint8_t)kind->name[0]), kind->name + 1);
}

static void add_head(struct buf *text, const struct sketch *sketch)
{
    buf_printf(text, "--- What follows from a new %s.\nlocal M = { on = \"%s\", ", sketch->on->name,
               sketch->on->name);
    if (sketch->friend_count > 0)
        buf_text(text, "friends = { ");
    for (size_t i = 0; i < sketch->friend_count; i++) {
        bool is_first = true;
        for (size_t k = 0; k < i; k++)
            is_first &= sketch->friends[k] != sketch->friends[i];
        if (!is_first)
            continue;
        buf_printf(text, "%s%s = { ", i == 0 ? "" : ", ", sketch->friends[i]->name);
        for (size_t k = i; k < sketch->friend_count; k++)
            if (sketch->friends[k] == sketch->friends[i])
                buf_printf(text, "%s{ \"%s\" }", k == i ? "" : ", ",
                           sketch->friends[k]->fields[sketch->friend_fields[k]].name);
        buf_text(text, " }");
    }
    buf_printf(text, "%sfinds = { ", sketch->friend_count > 0 ? " }, " : "");
    for (size_t i = 0; i < sketch->find_count; i++)
        buf_printf(text, "%s\"%s\"", i == 0 ? "" : ", ", sketch->finds[i]->name);
    buf_text(text, " }, monotone = true }\n\n");
}

/* The field of the data that a look-up of this field is likely to be by. */
static const char *field_like(const struct kind *on, const struct field *field)
{
    for (size_t f = 0; f < on->field_count; f++)
        if (on->fields[f].type == field->type && on->fields[f].is_array == field->is_array)
            return on->fields[f].name;
    return on->fields[0].name;
}

static void add_load_friends(struct buf *text, const struct sketch *sketch)
{
    if (sketch->friend_count == 0)
        return;
    buf_printf(text, "---@param db accrete.Batch\n---@param %s ", sketch->data);
    add_class(text, sketch, sketch->on);
    buf_printf(text, "\nfunction M.load_friends(db, %s)\n  return ", sketch->data);
    for (size_t i = 0; i < sketch->friend_count; i++) {
        const struct field *field = &sketch->friends[i]->fields[sketch->friend_fields[i]];
        bool is_has = field->is_array;

        buf_printf(text, "%sdb.%s:where({ %s = %s%s.%s%s })", i == 0 ? "" : ",\n    ",
                   sketch->friends[i]->name, field->name, is_has ? "db.has(" : "", sketch->data,
                   field_like(sketch->on, field), is_has ? ")" : "");
    }
    buf_text(text, "\nend\n\n");
}

/*
 * How process_data calls what look-up i found: "paths"; a second look-up of a kind gets its number.
 */
static void add_rows_name(struct buf *text, const struct sketch *sketch, size_t i)
{
    size_t before = 0;

    for (size_t k = 0; k < i; k++)
        before += sketch->friends[k] == sketch->friends[i];
    buf_printf(text, "%ss", sketch->friends[i]->name);
    if (before > 0)
        buf_printf(text, "_%zu", before + 1);
}

static void add_process_data(struct buf *text, const struct sketch *sketch)
{
    buf_text(text,
             "--- Pure: no database, no clock, no chance, no order. A find names the facts it "
             "rests on (a row, a list, or nil),\n--- then its fields in order.\n");
    buf_printf(text, "---@param %s ", sketch->data);
    add_class(text, sketch, sketch->on);
    for (size_t i = 0; i < sketch->friend_count; i++) {
        buf_text(text, "\n---@param ");
        add_rows_name(text, sketch, i);
        buf_text(text, " accrete.Rows<");
        add_class(text, sketch, sketch->friends[i]);
        buf_byte(text, '>');
    }
    buf_printf(text, "\n---@param found accrete.Found\nfunction M.process_data(%s", sketch->data);
    for (size_t i = 0; i < sketch->friend_count; i++) {
        buf_text(text, ", ");
        add_rows_name(text, sketch, i);
    }
    buf_text(text, ", found) -- luacheck: ignore 212\n");
    for (size_t i = 0; i < sketch->find_count; i++) {
        buf_printf(text, "  -- found.%s(nil", sketch->finds[i]->name);
        for (size_t f = 0; f < sketch->finds[i]->field_count; f++)
            buf_printf(text, ", %s", sketch->finds[i]->fields[f].name);
        buf_text(text, ")\n");
    }
    buf_text(text, "end\n\n");
}

static void add_examples(struct buf *text, const struct sketch *sketch)
{
    static const char *const values[] = {"true",           "1", "0.5", "\"a\"", "\"a\"", "\"{}\"",
                                         "(\"a\"):rep(16)"};

    buf_text(text, "--- For accrete check. friends: a list of rows for each value that "
                   "load_friends returns.\nM.examples = {\n  miss = { data = { ");
    for (size_t f = 0; f < sketch->on->field_count; f++) {
        const struct field *field = &sketch->on->fields[f];

        if (!field->is_nullable)
            buf_printf(text, field->is_array ? "%s%s = { %s }" : "%s%s = %s", f == 0 ? "" : ", ",
                       field->name, values[field->type]);
    }
    buf_text(text, " }, friends = {");
    for (size_t i = 0; i < sketch->friend_count; i++)
        buf_printf(text, "%s{}", i == 0 ? " " : ", ");
    buf_printf(text, "%s}, found = {} },\n}\n\nreturn M\n", sketch->friend_count == 0 ? "" : " ");
}

static int new_lifecycle(struct cli *cli, const char *name)
{
    struct parts finds = {0};
    struct parts friends = {0};
    struct buf text = {0};
    struct work work;
    int exit_code;

    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;
    struct sketch sketch = {.cli = cli, .app = &work.app, .catalog = &work.program.catalog};
    exit_code = CLI_MISUSE;
    if (read_sketch(&sketch, &finds, &friends)) {
        add_head(&text, &sketch);
        add_load_friends(&text, &sketch);
        add_process_data(&text, &sketch);
        add_examples(&text, &sketch);
        exit_code = write_module(cli, &work.app, "lifecycles", name, &text);
    }
    free(finds.copy);
    free(friends.copy);
    buf_clear(&text);
    work_close(&work);
    return exit_code;
}

/* A new route */

/* The template, with the words ROUTE and KIND replaced. */
static void add_route(struct buf *text, const char *route, const char *kind)
{
    size_t size;
    const char *at = files_get(ROUTE_TEMPLATE, &size);

    while (*at != '\0') {
        bool is_route = strncmp(at, "ROUTE", 5) == 0;
        bool is_kind = strncmp(at, "KIND", 4) == 0;

        if (is_route || is_kind)
            buf_text(text, is_route ? route : kind);
        else
            buf_byte(text, (uint8_t)*at);
        at += is_route ? 5 : is_kind ? 4 : 1;
    }
}

static int new_route(struct cli *cli, const char *name)
{
    const char *given = cli_value(cli, "on");
    struct buf text = {0};
    struct work work;
    int exit_code;

    char *path = acc_format("/%s", name);
    bool is_reserved = api_is_reserved((struct http_text){path, strlen(path)});
    free(path);
    if (is_reserved)
        return cli_misuse(cli, "the host's own paths begin with /%s; give the route another name",
                          name);
    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;
    struct sketch sketch = {.cli = cli, .app = &work.app, .catalog = &work.program.catalog};
    const struct kind *kind =
        given == NULL ? work.program.catalog.kinds[0] : kind_named(&sketch, "on", given);
    exit_code = CLI_MISUSE;
    if (kind != NULL) {
        add_route(&text, name, kind->name);
        exit_code = write_module(cli, &work.app, "routes", name, &text);
    }
    buf_clear(&text);
    work_close(&work);
    return exit_code;
}

static int run(struct cli *cli)
{
    static const struct {
        const char *what;
        int (*make)(struct cli *cli, const char *name);
    } parts[] = {{"kind", new_kind}, {"lifecycle", new_lifecycle}, {"route", new_route}};
    int (*make)(struct cli * cli, const char *name) = NULL;
    struct acc_error err;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strcmp(cli->argv[0], parts[i].what) == 0)
            make = parts[i].make;
    if (make == NULL)
        return cli->argc == 1
                   ? new_app(cli)
                   : cli_misuse(cli, "wanted kind NAME, lifecycle NAME or route NAME, got \"%s\"",
                                cli->argv[0]);
    if (cli->argc != 2)
        return cli_misuse(cli, "wanted a name behind \"%s\"", cli->argv[0]);
    if (!(make == new_lifecycle ? lifecycle_name_check : name_check)("NAME", cli->argv[1], &err))
        return cli_misuse(cli, "%s", err.text);
    return make(cli, cli->argv[1]);
}

const struct cli_command cli_new = {
    .name = "new",
    .summary = "makes a small app that works, or a kind, lifecycle or route in one",
    .usage = "NAME | kind NAME | lifecycle NAME --on KIND --finds KIND | route NAME",
    .help =
        "Makes a new folder NAME, an app that runs at once; or, inside an app, one file. What is\n"
        "there already is never touched. A new lifecycle loads and passes accrete check; what\n"
        "follows from its fact is yours to write. A new route serves facts of a kind at /NAME.",
    .argc_min = 1,
    .argc_max = 2,
    .arguments =
        (const struct cli_argument[]){
            {"NAME", CLI_TEXT, "[a-z][a-z0-9_]{0,40}; of an app also a path that ends so"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"fields", 0, CLI_TEXT, "NAME:TYPE,...", .help = "of a kind: its fields"},
            {"on", 0, CLI_KIND, "KIND",
             .help =
                 "of a lifecycle: the kind whose new facts wake it; of a route: what it serves"},
            {"friends", 0, CLI_TEXT, "KIND.FIELD,...",
             .help = "of a lifecycle: what it looks up, by which field"},
            {"finds", 0, CLI_TEXT, "KIND,...", .help = "of a lifecycle: the kinds it finds"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete new family", "an app in the folder family"},
            {"accrete new kind edge --fields from:int8,to:int8", "a kind, inside an app"},
            {"accrete new lifecycle edge_extends_path --on edge --friends path.to --finds path",
             "a lifecycle, inside an app"},
            {"accrete new route paths --on path", "HTTP, inside an app"},
            {0},
        },
    .run = run,
};
