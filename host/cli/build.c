/* accrete build: compiles the app's hot paths in C. */
#include "cli/commands.h"
#include "native.h"

#include <stdlib.h>

static int run(struct cli *cli)
{
    struct acc_error err;
    struct app app;
    char *so_path = NULL;
    int exit_code;

    if (!cli_app(cli, &app, &exit_code))
        return exit_code;
    if (!native_build(&app, &so_path, &err)) {
        exit_code = cli_fail(cli, &err);
    } else if (so_path == NULL) {
        cli_note(cli, "the app has no C in native/");
        exit_code = CLI_DONE;
    } else {
        puts(so_path);
        exit_code = cli_flush(cli, CLI_DONE);
    }
    free(so_path);
    app_close(&app);
    return exit_code;
}

const struct cli_command cli_build = {
    .name = "build",
    .summary = "compiles the app's native C, if it is not up to date",
    .usage = "",
    .help =
        "All C files of native/ become one library, named by a hash of sources, headers, compiler\n"
        "and flags; its path is printed. The compiler is $CC or cc. accrete run and accrete\n"
        "reload do this by themselves.",
    .options = (const struct cli_option[]){{0}},
    .examples =
        (const struct cli_example[]){
            {"accrete build", "before accrete check, or to see the compiler's warnings"},
            {0},
        },
    .run = run,
};
