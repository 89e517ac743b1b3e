/* The tables of the commands: complete, and all of them in help, manual and completion. */
#include "base/files.h"
#include "cli/cli.h"
#include "cli/manual.h"

#include "check.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What write prints, freed by the caller. */
#define PRINTED(text, ...)                                                                         \
    do {                                                                                           \
        size_t size_;                                                                              \
        FILE *out = open_memstream(&(text), &size_);                                               \
        __VA_ARGS__;                                                                               \
        fclose(out);                                                                               \
    } while (0)

static void assert_has(const char *where, const char *text, const char *what)
{
    if (strstr(text, what) == NULL)
        fail_msg("%s: \"%s\" is not in it", where, what);
}

static void assert_sentence(const char *where, const char *what, const char *text)
{
    if (text == NULL || text[0] == '\0')
        fail_msg("%s: %s has no help", where, what);
    if (text[strlen(text) - 1] == '.' || isupper((unsigned char)text[0]) != 0)
        if (isupper((unsigned char)text[1]) == 0 && strncmp(text, "M.", 2) != 0)
            fail_msg("%s: %s: wanted lower case and no full stop: %s", where, what, text);
}

static void check_option(const char *where, const struct cli_option *option)
{
    assert_sentence(where, option->name, option->help);
    if ((option->type == CLI_SWITCH) != (option->value == NULL))
        fail_msg("%s: --%s: a value has a name, a switch has none", where, option->name);
    if ((option->type == CLI_WORD) != (option->words != NULL))
        fail_msg("%s: --%s: words belong to CLI_WORD", where, option->name);
    if (option->type == CLI_COUNT && option->min >= option->max)
        fail_msg("%s: --%s: no range", where, option->name);
}

static void check_twins(const char *where, const struct cli_option *options)
{
    for (size_t i = 0; options[i].name != NULL; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(options[i].name, options[k].name) == 0 ||
                (options[i].letter != 0 && options[i].letter == options[k].letter))
                fail_msg("%s: --%s and --%s are the same", where, options[i].name, options[k].name);
        }
        for (const struct cli_option *common = cli_common; common->name != NULL; common++)
            if (strcmp(options[i].name, common->name) == 0 ||
                (options[i].letter != 0 && options[i].letter == common->letter))
                fail_msg("%s: --%s hides a common option", where, options[i].name);
    }
}

static void every_command_and_option_is_documented(void **state)
{
    (void)state;
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const struct cli_command *command = cli_commands[i];

        assert_sentence(command->name, "summary", command->summary);
        assert_non_null(command->usage);
        assert_non_null(command->run);
        assert_non_null(command->options);
        if (i > 0)
            assert_true(strcmp(cli_commands[i - 1]->name, command->name) < 0);
        for (const struct cli_option *o = command->options; o->name != NULL; o++)
            check_option(command->name, o);
        check_twins(command->name, command->options);
        for (const struct cli_argument *a = command->arguments; a != NULL && a->name != NULL; a++) {
            assert_sentence(command->name, a->name, a->help);
            assert_has(command->name, command->usage, a->name);
        }
        for (const struct cli_example *e = command->examples; e != NULL && e->line != NULL; e++) {
            assert_has(command->name, e->line, "accrete");
            assert_sentence(command->name, e->line, e->help);
        }
    }
}

static void every_command_and_option_is_in_help_and_manual(void **state)
{
    char *manual;
    char *all;

    (void)state;
    PRINTED(manual, manual_write(out));
    PRINTED(all, cli_help_all(out));
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const struct cli_command *command = cli_commands[i];
        char *help;
        char name[64];

        PRINTED(help, cli_help(command, out));
        if (!command->is_hidden) {
            snprintf(name, sizeof(name), "\n  %s ", command->name);
            assert_has("help", all, name);
            snprintf(name, sizeof(name), "\n.SS %s\n", command->name);
            assert_has("manual", manual, name);
        }
        for (const struct cli_option *o = command->options; o->name != NULL; o++) {
            snprintf(name, sizeof(name), "--%s", o->name);
            assert_has(command->name, help, name);
        }
        free(help);
    }
    free(manual);
    free(all);
}

/* lua/accrete/yaml.lua is named by accrete lua --help. */
static void the_help_of_lua_names_every_module(void **state)
{
    static const char folder[] = "lua/accrete/";
    const char *nearest;
    size_t modules = 0;

    (void)state;
    const struct cli_command *lua = cli_find("lua", &nearest);
    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++) {
        char name[64];

        if (strncmp(file->name, folder, strlen(folder)) != 0 ||
            strchr(file->name + strlen(folder), '/') != NULL)
            continue;
        modules++;
        snprintf(name, sizeof(name), ".%s", file->name + strlen(folder));
        name[strlen(name) - strlen(".lua")] = '\0';
        assert_has("lua", lua->help, name);
    }
    assert_true(modules > 10);
}

static void a_command_is_suggested_by_how_it_begins(void **state)
{
    const char *nearest;

    (void)state;
    assert_null(cli_find("be", &nearest));
    assert_string_equal(nearest, "bench");
    assert_null(cli_find("cuont", &nearest));
    assert_string_equal(nearest, "count");
    assert_null(cli_find("re", &nearest)); /* rejected, reload, reset, restore: any of them */
    assert_string_equal(nearest, "reset");
    assert_null(cli_find("nothing_like_it", &nearest));
    assert_null(nearest);
    assert_null(cli_find("", &nearest));
}

static void every_command_and_option_is_completed(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};

    (void)state;
    for (size_t s = 0; s < 3; s++) {
        char *text;

        PRINTED(text, completion_write(shells[s], out));
        for (size_t i = 0; cli_commands[i] != NULL; i++) {
            const struct cli_command *command = cli_commands[i];

            if (command->is_hidden)
                continue;
            assert_has(shells[s], text, command->name);
            for (const struct cli_option *o = command->options; o->name != NULL; o++) {
                char name[64];

                snprintf(name, sizeof(name), s == 2 ? "%s -l %s" : "%s--%s", s == 2 ? "'" : "",
                         o->name);
                assert_has(shells[s], text, name);
            }
        }
        free(text);
    }
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);

    assert_non_null(file);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

static void every_command_is_in_the_readme(void **state)
{
    char *readme = read_file("README.md");

    (void)state;
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        char name[64];

        snprintf(name, sizeof(name), "`%s", cli_commands[i]->name);
        if (!cli_commands[i]->is_hidden)
            assert_has("README.md", readme, name);
    }
    free(readme);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_and_option_is_documented),
        cmocka_unit_test(every_command_and_option_is_in_help_and_manual),
        cmocka_unit_test(the_help_of_lua_names_every_module),
        cmocka_unit_test(a_command_is_suggested_by_how_it_begins),
        cmocka_unit_test(every_command_and_option_is_completed),
        cmocka_unit_test(every_command_is_in_the_readme),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
