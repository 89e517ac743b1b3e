/* Drawing what accrete explain has read: as a tree of text, as JSON, for Graphviz. */
#include "cli/explain.h"

#include "base/hash.h"
#include "cli/show.h"
#include "formats/dump_json.h"
#include "identity.h"

#include <stdlib.h>
#include <string.h>

#define FIELDS_SHOWN 160
#define LABEL_SHOWN 60

static const char *kind_of(const struct explain_drawing *drawing, const uint8_t *id)
{
    const struct kind *kind = catalog_by_tag(drawing->provenance->catalog, id_tag(id));

    return kind == NULL ? "?" : kind->name;
}

/* The links of a node, in order: its data and friends, or what came of it. */
struct child {
    const uint8_t *id;
    const char *role;
};

static int child_count(const struct explain_drawing *drawing, const struct provenance_node *node)
{
    return drawing->is_down ? node->found_count : (int)node->has_data + node->friend_count;
}

static struct child child_at(const struct explain_drawing *drawing,
                             const struct provenance_node *node, int i)
{
    if (drawing->is_down) {
        const struct effects_row *link = &node->found[i];

        return (struct child){link->id, !link->as_data    ? "as friend"
                                        : link->as_friend ? "as both"
                                                          : "as data"};
    }
    if (node->has_data && i == 0)
        return (struct child){node->data, "data"};
    return (struct child){node->friends + (size_t)(i - (int)node->has_data) * 16, "friend"};
}

/* Text */

static void print_node(struct explain_drawing *drawing, const struct provenance_node *node)
{
    printf("%s %.*s", node->kind == NULL ? "?" : node->kind->name, SHOW_ID_DIGITS,
           fact_id_text(node->id));
    if (!node->is_read) {
        printf("  (there is no such fact)");
        return;
    }
    buf_reset(&drawing->line);
    fact_legible(node->fields, strlen(node->fields), FIELDS_SHOWN, &drawing->line);
    printf(" %s", drawing->line.data);
    if (node->lifecycle != NULL)
        printf("  found by %s, generation %d, %s", node->lifecycle, (int)node->generation,
               node->at);
    else
        printf("  ingested %s", node->at);
}

static void print_children(struct explain_drawing *drawing, int parent, struct buf *indent);

static void print_child(struct explain_drawing *drawing, int parent, const struct child *child,
                        bool is_last, struct buf *indent)
{
    struct provenance *provenance = drawing->provenance;
    size_t size = indent->size;
    int n = provenance_find(provenance, child->id);

    printf("%s%s %-*s", indent->size == 0 ? "" : indent->data, is_last ? "└─" : "├─",
           drawing->is_down ? 10 : 7, child->role);
    if (n >= 0 && !drawing->is_drawn[n] && provenance->nodes[n].parent == parent) {
        drawing->is_drawn[n] = true;
        print_node(drawing, &provenance->nodes[n]);
        putchar('\n');
        buf_text(indent, is_last ? "   " : "│  ");
        print_children(drawing, n, indent);
        indent->size = size;
        indent->data[size] = '\0';
        return;
    }
    const char *why = n < 0 && provenance->nodes[parent].is_followed
                          ? "cut off here: too many facts"
                      : n < 0                ? "deeper than --depth"
                      : drawing->is_drawn[n] ? "above"
                                             : "below";
    /* What is cut off can be asked for: with all digits. */
    printf("%s %.*s  (%s)\n", kind_of(drawing, child->id), n < 0 ? 32 : SHOW_ID_DIGITS,
           fact_id_text(child->id), why);
}

static void print_rest(const struct explain_drawing *drawing, const struct provenance_node *node,
                       const struct buf *indent)
{
    const char *before = indent->size == 0 ? "" : indent->data;

    if (!drawing->is_down)
        printf("%s└─ %s more friends\n", before,
               cli_grouped(node->friend_total - node->friend_count));
    else if (node->parent < 0)
        printf("%s└─ more: --after %s\n", before,
               fact_id_text(node->found[node->found_count - 1].id));
    else
        printf("%s└─ more: explain %s %s --down\n", before, kind_of(drawing, node->id),
               fact_id_text(node->id));
}

static void print_children(struct explain_drawing *drawing, int parent, struct buf *indent)
{
    const struct provenance_node *node = &drawing->provenance->nodes[parent];
    bool is_more =
        drawing->is_down ? node->has_more : node->friend_total > (int64_t)node->friend_count;
    int count = child_count(drawing, node);

    for (int i = 0; i < count; i++) {
        struct child child = child_at(drawing, node, i);

        print_child(drawing, parent, &child, i + 1 == count && !is_more, indent);
    }
    if (is_more)
        print_rest(drawing, node, indent);
}

int explain_text(struct explain_drawing *drawing)
{
    struct buf indent = {0};

    print_node(drawing, &drawing->provenance->nodes[0]);
    putchar('\n');
    drawing->is_drawn[0] = true;
    print_children(drawing, 0, &indent);
    buf_clear(&indent);
    return cli_flush(drawing->cli, CLI_DONE);
}

/* JSON */

static json_t *json_of(struct explain_drawing *drawing, int n);

static json_t *json_child(struct explain_drawing *drawing, int parent, const uint8_t *id)
{
    const struct provenance *provenance = drawing->provenance;
    int n = provenance_find(provenance, id);

    if (n >= 0 && !drawing->is_drawn[n] && provenance->nodes[n].parent == parent)
        return json_of(drawing, n);
    return json_pack("{s:s, s:s, s:b}", "kind", kind_of(drawing, id), "id", fact_id_text(id),
                     n < 0 ? "cut" : "elsewhere", 1);
}

static void add_origin(struct explain_drawing *drawing, int n, json_t *one)
{
    const struct provenance_node *node = &drawing->provenance->nodes[n];
    json_t *friends = json_array();

    json_object_set_new(one, "data",
                        node->has_data ? json_child(drawing, n, node->data) : json_null());
    for (int i = 0; i < node->friend_count; i++)
        json_array_append_new(friends, json_child(drawing, n, node->friends + (size_t)i * 16));
    json_object_set_new(one, "friends", friends);
    json_object_set_new(one, "friend_count", json_integer(node->friend_total));
}

static void add_found(struct explain_drawing *drawing, int n, json_t *one)
{
    const struct provenance_node *node = &drawing->provenance->nodes[n];
    json_t *found = json_array();

    for (int i = 0; i < node->found_count; i++) {
        const struct effects_row *link = &node->found[i];
        json_t *child = json_child(drawing, n, link->id);

        json_object_set_new(child, "as_data", json_boolean(link->as_data));
        json_object_set_new(child, "as_friend", json_boolean(link->as_friend));
        json_array_append_new(found, child);
    }
    if (!node->is_followed) {
        json_decref(found);
        json_object_set_new(one, "is_cut", json_true());
        return;
    }
    json_object_set_new(one, "found", found);
    json_object_set_new(one, "is_more", json_boolean(node->has_more));
    if (node->has_more)
        json_object_set_new(one, "last",
                            json_string(fact_id_text(node->found[node->found_count - 1].id)));
}

static json_t *json_of(struct explain_drawing *drawing, int n)
{
    const struct provenance_node *node = &drawing->provenance->nodes[n];
    json_t *one =
        json_pack("{s:s, s:s}", "kind", kind_of(drawing, node->id), "id", fact_id_text(node->id));

    drawing->is_drawn[n] = true;
    if (node->fields != NULL)
        json_object_set_new(one, "fields", json_loads(node->fields, JSON_ALLOW_NUL, NULL));
    json_object_set_new(one, "lifecycle",
                        node->lifecycle == NULL ? json_null() : json_string(node->lifecycle));
    json_object_set_new(one, "generation", json_integer(node->generation));
    json_object_set_new(one, "at", json_string(node->at == NULL ? "" : node->at));
    if (drawing->is_down)
        add_found(drawing, n, one);
    else
        add_origin(drawing, n, one);
    return one;
}

int explain_json(struct explain_drawing *drawing)
{
    return cli_print_json(drawing->cli, json_of(drawing, 0));
}

/* DOT */

static void print_label(struct explain_drawing *drawing, const struct provenance_node *node)
{
    struct buf text = {0};
    struct buf quoted = {0};

    buf_printf(&text, "%s %.*s", kind_of(drawing, node->id), SHOW_ID_DIGITS,
               fact_id_text(node->id));
    dump_json_text(&quoted, text.data, text.size);
    quoted.size--; /* the closing quote */
    buf_text(&quoted, "\\n");
    buf_reset(&text);
    if (node->fields != NULL)
        fact_legible(node->fields, strlen(node->fields), LABEL_SHOWN, &text);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            buf_byte(&quoted, '\\');
        buf_byte(&quoted, (uint8_t)text.data[i]);
    }
    printf("%s\"", quoted.data == NULL ? "\"" : (quoted.data[quoted.size] = '\0', quoted.data));
    buf_clear(&text);
    buf_clear(&quoted);
}

static void print_edges(struct explain_drawing *drawing, const struct provenance_node *node)
{
    for (int i = 0; i < child_count(drawing, node); i++) {
        struct child child = child_at(drawing, node, i);
        bool is_data = strstr(child.role, "friend") == NULL;
        const uint8_t *from = drawing->is_down ? node->id : child.id;
        const uint8_t *to = drawing->is_down ? child.id : node->id;

        if (provenance_find(drawing->provenance, child.id) >= 0)
            printf("  \"%s\" -> \"%s\"%s;\n", fact_id_text(from), fact_id_text(to),
                   is_data ? "" : " [style=dashed]");
    }
}

int explain_dot(struct explain_drawing *drawing)
{
    const struct provenance *provenance = drawing->provenance;

    printf("digraph explain {\n  node [shape=box];\n");
    for (int n = 0; n < provenance->count; n++) {
        const struct provenance_node *node = &provenance->nodes[n];

        printf("  \"%s\" [label=", fact_id_text(node->id));
        print_label(drawing, node);
        printf("%s];\n", node->lifecycle == NULL ? "" : ", style=rounded");
        print_edges(drawing, node);
    }
    printf("}\n");
    return cli_flush(drawing->cli, CLI_DONE);
}
