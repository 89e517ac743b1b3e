/* Where settings come from: a YAML file, the environment. */
#include "conf/settings.h"

#include "conf/option.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <yaml.h>

/* A file or an environment being read over a copy of the settings. */
struct reader {
    const char *source;       /* file name, or NULL */
    struct settings settings; /* the copy */
    struct buf messages;      /* one line an error */
    size_t errors;
    yaml_document_t *document; /* of a file */
};

static void copy_settings(struct settings *to, const struct settings *from)
{
    struct buf text = {0};

    settings_init(to);
    for (size_t i = 0; i < option_count; i++) {
        buf_reset(&text);
        buf_text(&text, ""); /* so that an unset text is "" */
        option_format(&options[i], from, &text);
        if (!option_parse(&options[i], text.data, to))
            abort(); /* what was set could be set */
    }
    buf_clear(&text);
    to->app = acc_alloc(from->app_count * sizeof(*to->app));
    to->app_count = from->app_count;
    for (size_t i = 0; i < from->app_count; i++)
        to->app[i] = (struct app_setting){.name = acc_strdup(from->app[i].name),
                                          .value = acc_strdup(from->app[i].value)};
}

/* Ends the reading: the copy becomes the settings, or the messages are handed out. */
static bool finish(struct reader *reader, struct settings *settings, char **messages,
                   struct acc_error *err)
{
    if (reader->errors == 0) {
        settings_clear(settings);
        *settings = reader->settings;
        buf_clear(&reader->messages);
        return true;
    }
    settings_clear(&reader->settings);
    *messages = reader->messages.data; /* taken by the caller */
    return acc_fail(err, ACC_EINPUT, "%s: %zu %s", reader->source, reader->errors,
                    reader->errors == 1 ? "error" : "errors");
}

/*
 * Starts a message with its place; the caller adds the rest and a newline. Lines and columns count
 * from 1.
 */
static struct buf *complain_at(struct reader *reader, yaml_mark_t mark)
{
    reader->errors++;
    buf_printf(&reader->messages, "%s:%zu:%zu: ", reader->source, mark.line + 1, mark.column + 1);
    return &reader->messages;
}

static const char *scalar_of(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static bool has_nul(const yaml_node_t *node)
{
    return strlen(scalar_of(node)) != node->data.scalar.length;
}

/* `key:` with nothing behind it, `~` or `null`. */
static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = scalar_of(node);
    return *text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

static const char *describe(const yaml_node_t *node)
{
    if (node->type == YAML_MAPPING_NODE)
        return "a map";
    if (node->type == YAML_SEQUENCE_NODE)
        return "a list";
    if (is_null(node))
        return "nothing";
    if (node->data.scalar.length == 0)
        return "an empty text";
    return has_nul(node) ? "a NUL character" : "a text";
}

static void read_option(struct reader *reader, const struct option *option, const yaml_node_t *node)
{
    if (option->type == OPTION_TEXT && is_null(node)) {
        if (!option_parse(option, "", &reader->settings))
            abort(); /* a text can be unset */
        return;
    }
    if (node->type == YAML_SCALAR_NODE && !is_null(node) && !has_nul(node)) {
        if (option_parse(option, scalar_of(node), &reader->settings))
            return;
        struct buf *out = complain_at(reader, node->start_mark);
        buf_printf(out, "%s: ", option->name);
        option_complain(option, scalar_of(node), out);
        buf_text(out, "\n");
        return;
    }
    struct buf *out = complain_at(reader, node->start_mark);
    buf_printf(out, "%s: wanted ", option->name);
    option_range(option, out);
    buf_printf(out, ", got %s\n", describe(node));
}

static void read_app(struct reader *reader, const char *name, const yaml_node_t *node)
{
    struct acc_error err;

    if (node->type != YAML_SCALAR_NODE || has_nul(node)) {
        buf_printf(complain_at(reader, node->start_mark), "%s: wanted one value, got %s\n", name,
                   describe(node));
        return;
    }
    if (!settings_set(&reader->settings, reader->source, name, scalar_of(node), &err))
        buf_printf(complain_at(reader, node->start_mark), "%s: wanted a name\n", name);
}

static void complain_unknown(struct reader *reader, const char *name, yaml_mark_t mark)
{
    const char *nearest = option_nearest(name);
    struct buf *out = complain_at(reader, mark);

    buf_printf(out, "%s: wanted a known option, got an unknown key", name);
    if (nearest != NULL)
        buf_printf(out, "; did you mean \"%s\"?", nearest);
    buf_text(out, "\n");
}

/*
 * The text of the key of pair; NULL when it cannot be one, or stands there for the second time,
 * which is then told.
 */
static const char *key_of(struct reader *reader, const yaml_node_t *map,
                          const yaml_node_pair_t *pair, const char *section)
{
    const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
    const yaml_node_pair_t *other = map->data.mapping.pairs.start;

    if (key->type != YAML_SCALAR_NODE || has_nul(key) || key->data.scalar.length == 0) {
        buf_printf(complain_at(reader, key->start_mark), "%s%swanted a name as key, got %s\n",
                   section, *section == '\0' ? "" : ": ", describe(key));
        return NULL;
    }
    for (; other < pair; other++) {
        const yaml_node_t *before = yaml_document_get_node(reader->document, other->key);

        if (before->type == YAML_SCALAR_NODE && strcmp(scalar_of(before), scalar_of(key)) == 0) {
            buf_printf(complain_at(reader, key->start_mark),
                       "%s%s%s: wanted once, got again; the first is in line %zu\n", section,
                       *section == '\0' ? "" : ".", scalar_of(key), before->start_mark.line + 1);
            return NULL;
        }
    }
    return scalar_of(key);
}

static void read_pair(struct reader *reader, const char *section, const char *key,
                      const yaml_node_pair_t *pair)
{
    const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
    char *name = acc_format("%s.%s", section, key);
    const struct option *option = option_find(name);

    if (strcmp(section, "settings") == 0)
        read_app(reader, name, value);
    else if (option != NULL)
        read_option(reader, option, value);
    else
        complain_unknown(reader, name,
                         yaml_document_get_node(reader->document, pair->key)->start_mark);
    free(name);
}

/* Reads the options of one section, or the app's own settings. */
static void read_section(struct reader *reader, const char *section, const yaml_node_t *node)
{
    if (is_null(node))
        return; /* all its options are commented out */
    if (node->type != YAML_MAPPING_NODE) {
        buf_printf(complain_at(reader, node->start_mark), "%s: wanted a map of options, got %s\n",
                   section, describe(node));
        return;
    }
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const char *key = key_of(reader, node, pair, section);
        if (key != NULL)
            read_pair(reader, section, key, pair);
    }
}

static bool is_section(const char *name)
{
    for (size_t i = 0; i < option_section_count; i++)
        if (strcmp(option_sections[i].name, name) == 0)
            return true;
    return strcmp(name, "settings") == 0;
}

static void read_root(struct reader *reader, const yaml_node_t *root)
{
    if (root == NULL || is_null(root))
        return; /* an empty file */
    if (root->type != YAML_MAPPING_NODE) {
        buf_printf(complain_at(reader, root->start_mark), "wanted a map of sections, got %s\n",
                   describe(root));
        return;
    }
    const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
    for (; pair < root->data.mapping.pairs.top; pair++) {
        const char *key = key_of(reader, root, pair, "");

        if (key == NULL)
            continue;
        if (is_section(key))
            read_section(reader, key, yaml_document_get_node(reader->document, pair->value));
        else
            complain_unknown(reader, key,
                             yaml_document_get_node(reader->document, pair->key)->start_mark);
    }
}

static void complain_syntax(struct reader *reader, const yaml_parser_t *parser)
{
    yaml_mark_t mark = parser->problem_mark;
    const char *context = parser->context == NULL ? "" : parser->context;

    if (parser->error == YAML_READER_ERROR) { /* bytes that are no text have an offset, no line */
        reader->errors++;
        buf_printf(&reader->messages, "%s: byte %zu: wanted UTF-8, got %s\n", reader->source,
                   parser->problem_offset, parser->problem);
        return;
    }
    buf_printf(complain_at(reader, mark), "wanted YAML, got an error %s: %s\n", context,
               parser->problem == NULL ? "unknown" : parser->problem);
}

/* Reads the first document; a second one is an error. */
static void read_documents(struct reader *reader, FILE *file)
{
    yaml_parser_t parser;
    yaml_document_t document;
    yaml_document_t second;

    if (!yaml_parser_initialize(&parser))
        abort(); /* out of memory */
    yaml_parser_set_input_file(&parser, file);
    if (!yaml_parser_load(&parser, &document)) {
        complain_syntax(reader, &parser);
        yaml_parser_delete(&parser);
        return;
    }
    reader->document = &document;
    yaml_node_t *root = yaml_document_get_root_node(&document);
    read_root(reader, root);
    if (root != NULL) {
        if (!yaml_parser_load(&parser, &second)) {
            complain_syntax(reader, &parser);
        } else {
            root = yaml_document_get_root_node(&second);
            if (root != NULL)
                buf_text(complain_at(reader, root->start_mark),
                         "wanted one document, got a second one\n");
            yaml_document_delete(&second);
        }
    }
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
}

bool settings_read_file(struct settings *settings, const char *path, char **messages,
                        struct acc_error *err)
{
    struct reader reader = {.source = path};
    FILE *file = fopen(path, "re");

    *messages = NULL;
    if (file == NULL)
        return acc_fail_errno(err, "%s: cannot be opened", path);
    copy_settings(&reader.settings, settings);
    read_documents(&reader, file);
    int problem = ferror(file);
    fclose(file);
    if (problem != 0) {
        settings_clear(&reader.settings);
        buf_clear(&reader.messages);
        errno = EISDIR; /* what opens but cannot be read */
        return acc_fail_errno(err, "%s: cannot be read", path);
    }
    return finish(&reader, settings, messages, err);
}

/* Turns `WORKER__COUNT` into `worker.count`. */
static char *name_of_variable(const char *variable, size_t bytes)
{
    char *name = acc_alloc(bytes + 1);
    size_t size = 0;
    bool has_dot = false;

    for (size_t i = 0; i < bytes; i++) {
        if (!has_dot && i + 1 < bytes && memcmp(variable + i, "__", 2) == 0) {
            has_dot = true;
            name[size++] = '.';
            i++;
        } else {
            name[size++] = (char)tolower((uint8_t)variable[i]);
        }
    }
    name[size] = '\0';
    return name;
}

bool settings_read_env(struct settings *settings, char **environment, char **messages,
                       struct acc_error *err)
{
    static const char prefix[] = "ACCRETE_";
    size_t prefix_bytes = sizeof(prefix) - 1;
    struct reader reader = {.source = "environment"};
    struct acc_error problem;

    *messages = NULL;
    copy_settings(&reader.settings, settings);
    for (char **at = environment; *at != NULL; at++) {
        const char *equals = strchr(*at, '=');
        const char *split = strstr(*at, "__");

        if (strncmp(*at, prefix, prefix_bytes) != 0 || equals == NULL || split == NULL ||
            split > equals)
            continue;
        char *variable = acc_format("%.*s", (int)(equals - *at), *at);
        char *name = name_of_variable(variable + prefix_bytes, strlen(variable) - prefix_bytes);
        if (!settings_set(&reader.settings, variable, name, equals + 1, &problem)) {
            reader.errors++;
            buf_printf(&reader.messages, "%s\n", problem.text);
        }
        free(name);
        free(variable);
    }
    return finish(&reader, settings, messages, err);
}
