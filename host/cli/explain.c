/* accrete explain: why a fact is there, as a tree of what it was found from. */
#include "base/hash.h"
#include "cli/commands.h"
#include "cli/work.h"
#include "facts.h"
#include "formats/dump_json.h"
#include "formats/values.h"
#include "identity.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 500
#define FRIENDS_MAX 500 /* of one fact that are looked at */
#define CANDIDATES_MAX 10
#define ID_SHOWN 12 /* hex digits */
#define FIELDS_SHOWN 160
#define DEPTH_DEFAULT 5

/* A fact of the tree. Nodes are found level by level, so that each hangs where it is nearest to the root. */
struct node {
    uint8_t id[16];
    const struct kind *kind; /* NULL: of no kind of the app */
    int parent;              /* the node it is drawn under, -1 for the root */
    int depth;
    bool is_read;
    bool is_drawn;
    char *fields;    /* JSON object, owned */
    char *lifecycle; /* who found it; NULL: ingested. Owned */
    int32_t generation;
    char *at; /* UTC, owned */
    bool has_data;
    uint8_t data[16];
    uint8_t *friends; /* 16 bytes each, owned */
    int friend_count; /* in friends */
    int64_t friend_total;
};

struct tree {
    struct cli *cli;
    struct work *work;
    struct node nodes[NODES_MAX];
    int count;
    int depth_max;
    struct acc_heap heap;
    struct buf line;
};

static int find_node(const struct tree *tree, const uint8_t *id)
{
    for (int n = 0; n < tree->count; n++)
        if (id_compare(tree->nodes[n].id, id) == 0)
            return n;
    return -1;
}

static void add_node(struct tree *tree, const uint8_t *id, int parent, int depth)
{
    if (tree->count == NODES_MAX || find_node(tree, id) >= 0)
        return;
    struct node *node = &tree->nodes[tree->count++];
    *node = (struct node){.parent = parent, .depth = depth};
    memcpy(node->id, id, sizeof(node->id));
    node->kind = catalog_by_tag(&tree->work->program.catalog, id_tag(id));
}

/* Reading */

static uint32_t be32(const char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return __builtin_bswap32(value);
}

/* A binary uuid[]: five words of head, then length and 16 bytes each. */
static void read_friends(struct node *node, const PGresult *res, int row, int column)
{
    const char *wire = PQgetvalue(res, row, column);
    int length = PQgetlength(res, row, column);

    if (PQgetisnull(res, row, column) || length < 20 || be32(wire) != 1)
        return;
    node->friend_count = (int)be32(wire + 12);
    if (node->friend_count > FRIENDS_MAX || length != 20 + 20 * node->friend_count)
        node->friend_count = 0;
    node->friends = acc_alloc((uint64_t)node->friend_count * 16 + 1);
    for (int i = 0; i < node->friend_count; i++)
        memcpy(node->friends + (size_t)i * 16, wire + 20 + (size_t)i * 20 + 4, 16);
}

static bool read_node(struct tree *tree, const struct kind *kind, const PGresult *res, int row,
                      struct acc_row *fact, struct acc_error *err)
{
    int column = (int)kind->field_count + 1;

    memset(fact, 0, kind->row_bytes);
    heap_reset(&tree->heap);
    if (!facts_decode(kind, res, row, 0, &tree->heap, fact, err))
        return false;
    int n = find_node(tree, fact->id);
    if (n < 0)
        return true;
    struct node *node = &tree->nodes[n];
    buf_reset(&tree->line);
    dump_json_fields(&tree->line, kind, fact); /* begins with a comma, which the brace replaces */
    if (tree->line.size == 0)
        buf_text(&tree->line, ",");
    tree->line.data[0] = '{';
    buf_byte(&tree->line, '}');
    node->fields = acc_strdup(tree->line.data);
    node->is_read = true;
    node->has_data = !PQgetisnull(res, row, column);
    if (node->has_data)
        memcpy(node->data, PQgetvalue(res, row, column), 16);
    read_friends(node, res, row, column + 1);
    node->friend_total = pg_get_int8(res, row, column + 2);
    node->lifecycle =
        PQgetisnull(res, row, column + 3) ? NULL : acc_strdup(pg_get_text(res, row, column + 3));
    node->generation = PQgetisnull(res, row, column + 4) ? 0 : pg_get_int4(res, row, column + 4);
    node->at =
        acc_strdup(PQgetisnull(res, row, column + 5) ? "" : pg_get_text(res, row, column + 5));
    return true;
}

static char *select_sql(const struct kind *kind)
{
    struct buf sql = {0};

    buf_text(&sql, "SELECT ");
    facts_select_list(kind, &sql);
    buf_printf(&sql,
               ", f._data, f._friends[1:%d], coalesce(cardinality(f._friends), 0)::int8, l.name, "
               "b.generation, "
               "to_char(b.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') "
               "FROM %s f LEFT JOIN batch b ON b.id = f._batch LEFT JOIN lifecycle l ON l.id = "
               "b.lifecycle "
               "WHERE f._id = ANY ($1)",
               FRIENDS_MAX, kind->table);
    return sql.data;
}

/* Reads the nodes first .. last-1 that are of kind. */
static bool read_kind(struct tree *tree, const struct kind *kind, int first, int last,
                      struct acc_error *err)
{
    struct pg_args args = {0};
    struct buf ids = {0};
    bool has = false;
    bool ok = true;

    pg_array_begin(&ids, PG_UUID);
    for (int n = first; n < last; n++) {
        if (tree->nodes[n].kind != kind)
            continue;
        pg_array_add(&ids, tree->nodes[n].id, 16);
        has = true;
    }
    pg_array_end(&ids, 0);
    if (has) {
        char *sql = select_sql(kind);
        struct acc_row *fact = acc_zalloc(kind->row_bytes);

        pg_array(&args, PG_UUID_ARRAY, &ids);
        PGresult *res = pg_exec(&tree->work->session.pg, sql, &args, err);
        ok = res != NULL;
        for (int r = 0; ok && r < PQntuples(res); r++)
            ok = read_node(tree, kind, res, r, fact, err);
        PQclear(res);
        free(fact);
        free(sql);
    }
    buf_clear(&ids);
    return ok;
}

/* Level by level: one query a kind and level, whatever the number of facts. */
static bool read_tree(struct tree *tree, struct acc_error *err)
{
    const struct catalog *catalog = &tree->work->program.catalog;
    int first = 0;

    for (int depth = 0; depth <= tree->depth_max && first < tree->count; depth++) {
        int last = tree->count;

        for (size_t k = 0; k < catalog->count; k++)
            if (!read_kind(tree, catalog->kinds[k], first, last, err))
                return false;
        for (int n = first; n < last && depth < tree->depth_max; n++) {
            const struct node *node = &tree->nodes[n];

            if (node->has_data)
                add_node(tree, node->data, n, depth + 1);
            for (int i = 0; i < node->friend_count; i++)
                add_node(tree, node->friends + (size_t)i * 16, n, depth + 1);
        }
        first = last;
    }
    return true;
}

static void clear_tree(struct tree *tree)
{
    for (int n = 0; n < tree->count; n++) {
        free(tree->nodes[n].fields);
        free(tree->nodes[n].lifecycle);
        free(tree->nodes[n].at);
        free(tree->nodes[n].friends);
    }
    buf_clear(&tree->line);
}

/* The id that was meant */

/* What a fact was asked for by: all ids between two, which come from digits, or from values of the unique fields. */
struct wanted {
    uint8_t low[16];
    uint8_t high[16];
    const char *words; /* for messages */
};

/* Lowest and highest id with the digits of prefix. */
static bool read_prefix(const char *prefix, struct wanted *wanted)
{
    char digits[2][33];
    size_t size = 0;

    wanted->words = prefix;
    for (; *prefix != '\0' && size < 32; prefix++) {
        if (*prefix == '-') /* as a uuid is written */
            continue;
        if (!isxdigit((uint8_t)*prefix))
            return false;
        digits[0][size] = digits[1][size] = *prefix;
        size++;
    }
    if (*prefix != '\0' || size < 4)
        return false;
    memset(digits[0] + size, '0', 32 - size);
    memset(digits[1] + size, 'f', 32 - size);
    return hex_decode(digits[0], 32, wanted->low) && hex_decode(digits[1], 32, wanted->high);
}

/* Sets one field from "from=1". */
static bool read_field(const struct values_target *target, const struct kind *kind,
                       const char *word, struct acc_row *row, uint64_t *given,
                       struct acc_error *err)
{
    const char *equals = strchr(word, '=');

    if (equals == NULL)
        return acc_fail(err, ACC_EINPUT, "wanted FIELD=VALUE, got \"%s\"", word);
    char *name = acc_format("%.*s", (int)(equals - word), word);
    int field = values_field(kind, name, err);
    free(name);
    if (field < 0)
        return false;
    if ((kind->unique_mask >> field & 1) == 0)
        return acc_fail(err, ACC_EINPUT, "field \"%s\" of kind \"%s\" is not among the unique ones",
                        kind->fields[field].name, kind->name);
    *given |= UINT64_C(1) << field;
    return values_set_text(target, kind, (size_t)field, equals + 1, strlen(equals + 1), row, err);
}

/* The id of the fact with these values of all unique fields. */
static bool read_fields(const struct work *work, const struct kind *kind, int argc, char **argv,
                        struct wanted *wanted, struct acc_error *err)
{
    struct acc_heap heap;
    struct values_target target = {.heap = &heap,
                                   .value_bytes = work->app.settings.ingest.value_bytes};
    struct acc_row *row = acc_zalloc(kind->row_bytes);
    uint64_t given = 0;
    bool ok = true;

    heap_init(&heap, 0);
    for (int i = 0; ok && i < argc; i++)
        ok = read_field(&target, kind, argv[i], row, &given, err);
    if (ok)
        ok = values_complete(kind, given | kind->other_mask, row, err);
    if (ok) {
        identity_set(kind, row);
        memcpy(wanted->low, row->id, 16);
        memcpy(wanted->high, row->id, 16);
        wanted->words = "these values";
    }
    free(row);
    return ok;
}

static int refuse_many(struct tree *tree, const char *prefix, const PGresult *res)
{
    int count = PQntuples(res);
    char digits[33];

    cli_note(tree->cli, "id \"%s\" begins %s%d ids, wanted more digits:", prefix,
             count > CANDIDATES_MAX ? "more than " : "",
             count > CANDIDATES_MAX ? CANDIDATES_MAX : count);
    for (int r = 0; r < count && r < CANDIDATES_MAX; r++) {
        hex_encode(PQgetvalue(res, r, 0), 16, digits);
        fprintf(stderr, "  %s\n", digits);
    }
    return CLI_FAILED;
}

/* Finds the one fact of kind that is wanted. */
static bool find_root(struct tree *tree, const struct kind *kind, const struct wanted *wanted,
                      int *exit_code)
{
    struct pg_args args = {0};
    struct acc_error err;

    pg_uuid(&args, wanted->low);
    pg_uuid(&args, wanted->high);
    pg_int8(&args, CANDIDATES_MAX + 1);
    char *sql = acc_format("SELECT _id FROM %s WHERE _id BETWEEN $1 AND $2 ORDER BY _id LIMIT $3",
                           kind->table);
    PGresult *res = work_query(tree->cli, tree->work, sql, &args, exit_code);
    free(sql);
    if (res == NULL)
        return false;
    bool ok = PQntuples(res) == 1;
    if (ok) {
        add_node(tree, (const uint8_t *)PQgetvalue(res, 0, 0), -1, 0);
    } else if (PQntuples(res) > 1) {
        *exit_code = refuse_many(tree, wanted->words, res);
    } else {
        acc_fail(&err, ACC_EINPUT, "no fact of kind \"%s\" fits %s", kind->name, wanted->words);
        *exit_code = cli_fail(tree->cli, &err);
    }
    PQclear(res);
    return ok;
}

/* Text */

static void print_node(const struct node *node)
{
    char digits[33];
    char fields[FIELDS_SHOWN + 1];

    hex_encode(node->id, sizeof(node->id), digits);
    printf("%s %.*s", node->kind == NULL ? "?" : node->kind->name, ID_SHOWN, digits);
    if (node->fields != NULL) {
        cli_first_line(node->fields, fields, sizeof(fields));
        printf(" %s%s", fields, strlen(node->fields) > strlen(fields) ? "..." : "");
    }
    if (!node->is_read)
        return;
    if (node->lifecycle != NULL)
        printf("  found by %s, generation %d, %s", node->lifecycle, (int)node->generation,
               node->at);
    else
        printf("  ingested %s", node->at);
}

static void print_short(const struct tree *tree, const uint8_t *id, const char *why)
{
    const struct kind *kind = catalog_by_tag(&tree->work->program.catalog, id_tag(id));
    char digits[33];

    hex_encode(id, 16, digits);
    printf("%s %.*s  (%s)\n", kind == NULL ? "?" : kind->name, ID_SHOWN, digits, why);
}

static void print_children(struct tree *tree, int parent, struct buf *indent);

static void print_child(struct tree *tree, int parent, const uint8_t *id, const char *role,
                        bool is_last, struct buf *indent)
{
    size_t size = indent->size;
    int n = find_node(tree, id);

    printf("%s%s %-7s", indent->size == 0 ? "" : indent->data, is_last ? "└─" : "├─", role);
    if (n < 0) {
        print_short(tree, id,
                    tree->count == NODES_MAX ? "cut off here: too many facts"
                                             : "deeper than --depth");
    } else if (tree->nodes[n].is_drawn || tree->nodes[n].parent != parent) {
        print_short(tree, id, tree->nodes[n].is_drawn ? "above" : "below");
    } else {
        print_node(&tree->nodes[n]);
        putchar('\n');
        tree->nodes[n].is_drawn = true;
        buf_text(indent, is_last ? "   " : "│  ");
        print_children(tree, n, indent);
        indent->size = size;
        indent->data[size] = '\0';
    }
}

static void print_children(struct tree *tree, int parent, struct buf *indent)
{
    const struct node *node = &tree->nodes[parent];
    bool is_more = node->friend_total > node->friend_count;

    if (node->has_data)
        print_child(tree, parent, node->data, "data", node->friend_count == 0 && !is_more, indent);
    for (int i = 0; i < node->friend_count; i++)
        print_child(tree, parent, node->friends + (size_t)i * 16, "friend",
                    i + 1 == node->friend_count && !is_more, indent);
    if (is_more)
        printf("%s└─ %s more friends\n", indent->size == 0 ? "" : indent->data,
               cli_grouped(node->friend_total - node->friend_count));
}

static void print_tree(struct tree *tree)
{
    struct buf indent = {0};

    print_node(&tree->nodes[0]);
    putchar('\n');
    tree->nodes[0].is_drawn = true;
    print_children(tree, 0, &indent);
    buf_clear(&indent);
}

/* JSON */

static json_t *json_of(struct tree *tree, int n);

static json_t *json_child(struct tree *tree, int parent, const uint8_t *id)
{
    const struct kind *kind = catalog_by_tag(&tree->work->program.catalog, id_tag(id));
    int n = find_node(tree, id);
    char digits[33];

    if (n >= 0 && !tree->nodes[n].is_drawn && tree->nodes[n].parent == parent)
        return json_of(tree, n);
    hex_encode(id, 16, digits);
    return json_pack("{s:s, s:s, s:b}", "kind", kind == NULL ? "?" : kind->name, "id", digits,
                     n < 0 ? "cut" : "elsewhere", 1);
}

static json_t *json_of(struct tree *tree, int n)
{
    struct node *node = &tree->nodes[n];
    char digits[33];
    json_t *friends = json_array();

    node->is_drawn = true;
    hex_encode(node->id, sizeof(node->id), digits);
    json_t *one =
        json_pack("{s:s, s:s}", "kind", node->kind == NULL ? "?" : node->kind->name, "id", digits);
    if (node->fields != NULL)
        json_object_set_new(one, "fields", json_loads(node->fields, JSON_ALLOW_NUL, NULL));
    json_object_set_new(one, "lifecycle",
                        node->lifecycle == NULL ? json_null() : json_string(node->lifecycle));
    json_object_set_new(one, "generation", json_integer(node->generation));
    json_object_set_new(one, "at", json_string(node->at == NULL ? "" : node->at));
    json_object_set_new(one, "data",
                        node->has_data ? json_child(tree, n, node->data) : json_null());
    for (int i = 0; i < node->friend_count; i++)
        json_array_append_new(friends, json_child(tree, n, node->friends + (size_t)i * 16));
    json_object_set_new(one, "friends", friends);
    json_object_set_new(one, "friend_count", json_integer(node->friend_total));
    return one;
}

static int explain(struct tree *tree, const struct kind *kind, const struct wanted *wanted)
{
    struct acc_error err;
    int exit_code;

    if (!tree->work->has_tables) {
        acc_fail(&err, ACC_EINPUT, "nothing is stored yet: accrete ingest loads facts");
        return cli_fail(tree->cli, &err);
    }
    if (!find_root(tree, kind, wanted, &exit_code))
        return exit_code;
    if (!read_tree(tree, &err))
        return cli_fail(tree->cli, &err);
    if (cli_has(tree->cli, "json"))
        return cli_print_json(tree->cli, json_of(tree, 0));
    print_tree(tree);
    return cli_flush(tree->cli, CLI_DONE);
}

static int explain_in(struct cli *cli, struct work *work, const struct kind *kind,
                      const struct wanted *wanted)
{
    struct tree *tree = acc_zalloc(sizeof(*tree));

    tree->cli = cli;
    tree->work = work;
    tree->depth_max = (int)cli_number(cli, "depth", DEPTH_DEFAULT);
    heap_init(&tree->heap, 0);
    int exit_code = explain(tree, kind, wanted);
    clear_tree(tree);
    free(tree);
    return exit_code;
}

/* What the arguments ask for; false: misuse, printed. */
static bool read_arguments(struct cli *cli, struct work *work, const struct kind **kind,
                           struct wanted *wanted)
{
    struct values_target names = {.catalog = &work->program.catalog};
    struct acc_error err;

    *kind = values_kind(&names, cli->argv[0], &err);
    if (*kind != NULL && strchr(cli->argv[1], '=') == NULL) {
        if (cli->argc == 2 && read_prefix(cli->argv[1], wanted))
            return true;
        acc_fail(&err, ACC_EINPUT, "ID: wanted 4 to 32 hex digits, got \"%s\"",
                 cli->argv[cli->argc == 2 ? 1 : 2]);
    } else if (*kind != NULL &&
               read_fields(work, *kind, cli->argc - 1, cli->argv + 1, wanted, &err)) {
        return true;
    }
    cli_misuse(cli, "%s", err.text);
    return false;
}

static int run(struct cli *cli)
{
    const struct kind *kind;
    struct wanted wanted;
    struct work work;
    int exit_code;

    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;
    if (!read_arguments(cli, &work, &kind, &wanted))
        exit_code = CLI_MISUSE;
    else if (work_connect(cli, &work, WORK_READ, &exit_code))
        exit_code = explain_in(cli, &work, kind, &wanted);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_explain = {
    .name = "explain",
    .summary = "tells why a fact is there, as a tree",
    .usage = "KIND ID|FIELD=VALUE...",
    .help =
        "For a found fact the data and friends it was first found from, and so on down to facts\n"
        "that came from outside. A fact that is met twice is drawn once, where it is nearest to\n"
        "the root; at most 500 facts are shown.",
    .argc_min = 2,
    .argc_max = -1,
    .arguments =
        (const struct cli_argument[]){
            {"KIND", CLI_KIND, "its kind"},
            {"ID", CLI_TEXT,
             "its id, 32 hex digits; or the first ones, at least 4, if they fit one fact only"},
            {"FIELD=VALUE", CLI_TEXT, "or the values of all its unique fields"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"depth", 'd', CLI_COUNT, "N", .max = 1000, .help = "steps to go back, 5 by default"},
            {"json", 0, CLI_SWITCH, .help = "the tree as nested objects, with full ids"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete explain path from=1 to=4", "where a path comes from"},
            {"accrete explain path 3f1a --depth 20 --json", "more of it, for programs"},
            {0},
        },
    .run = run,
};
