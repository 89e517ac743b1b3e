#include "native.h"

#include "base/buf.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "embedded_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 512
#define HASH_DIGITS 16

static const char *const flags[] = {"-O2",     "-g",    "-std=c17", "-fPIC",
                                    "-shared", "-Wall", "-Wextra",  "-Werror"};
static const char *const headers[] = {"accrete/hot.h"};

/* A command line being put together. The strings are borrowed. */
struct command {
    const char *argv[ARGS_MAX + 1];
    size_t argc;
};

static bool add(struct command *command, const char *arg, struct acc_error *err)
{
    if (command->argc == ARGS_MAX)
        return acc_fail(err, ACC_ELIMIT, "native: more than %d files and flags", ARGS_MAX);
    command->argv[command->argc++] = arg;
    return true;
}

/* Words of $CC ("ccache gcc"), in a copy that lives as long as the command. */
static bool add_compiler(struct command *command, char *compiler, struct acc_error *err)
{
    char *rest = NULL;

    for (char *word = strtok_r(compiler, " \t", &rest); word != NULL;
         word = strtok_r(NULL, " \t", &rest))
        if (!add(command, word, err))
            return false;
    return command->argc > 0 || acc_fail(err, ACC_EINPUT, "CC: wanted a compiler, got nothing");
}

static char *compiler_of_env(void)
{
    const char *cc = getenv("CC");

    return acc_strdup(cc == NULL || cc[0] == '\0' ? "cc" : cc);
}

/*
 * Runs it; stdout goes to output (a descriptor). false: it could not be run, or ended with a status
 * other than 0.
 */
static bool run(const struct command *command, int output, struct acc_error *err)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    int failed =
        posix_spawnp(&pid, command->argv[0], &actions, NULL, (char *const *)command->argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0)
        return acc_fail(
            err, ACC_ESYS,
            "cannot run the C compiler \"%s\": %s (install gcc, or name another one in CC)",
            command->argv[0], strerror(failed));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return acc_fail_errno(err, "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return acc_fail(err, ACC_EINPUT, "the native part of the app does not compile (%s failed)",
                        command->argv[0]);
    return true;
}

/* What the compiler says about itself goes into the hash. */
static bool add_version(struct buf *hashed, struct acc_error *err)
{
    char *compiler = compiler_of_env();
    struct command command = {0};
    FILE *output = tmpfile();
    char text[4096];
    bool ok = output != NULL || acc_fail_errno(err, "temporary file");

    buf_text(hashed, compiler);
    ok = ok && add_compiler(&command, compiler, err) && add(&command, "--version", err) &&
         run(&command, fileno(output), err);
    if (ok) {
        rewind(output);
        buf_add(hashed, text, fread(text, 1, sizeof(text), output));
    }
    if (output != NULL)
        fclose(output);
    free(compiler);
    return ok;
}

static bool add_file(struct buf *hashed, const char *path, struct acc_error *err)
{
    FILE *file = fopen(path, "re");
    char text[16384];
    size_t got;

    if (file == NULL)
        return acc_fail_errno(err, "cannot read \"%s\"", path);
    buf_text(hashed, strrchr(path, '/'));
    buf_byte(hashed, 0);
    size_t start = hashed->size;
    while ((got = fread(text, 1, sizeof(text), file)) > 0)
        buf_add(hashed, text, got);
    buf_be64(hashed, hashed->size - start);
    fclose(file);
    return true;
}

static bool hash_all(const glob_t *files, char digits[2 * SHA256_BYTES + 1], struct acc_error *err)
{
    struct buf hashed = {0};
    uint8_t hash[SHA256_BYTES];
    bool ok = add_version(&hashed, err);

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        buf_text(&hashed, flags[i]);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        char *name = acc_format("host/include/%s", headers[i]);
        size_t size;
        const char *data = files_get(name, &size);

        buf_add(&hashed, data, size);
        free(name);
    }
    for (size_t i = 0; ok && i < files->gl_pathc; i++)
        ok = add_file(&hashed, files->gl_pathv[i], err);
    sha256(hashed.data, hashed.size, hash);
    hex_encode(hash, sizeof(hash), digits);
    buf_clear(&hashed);
    return ok;
}

/* The header that native code includes comes out of this program, so it always fits it. */
static bool write_headers(const char *include_dir, struct acc_error *err)
{
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        char *name = acc_format("host/include/%s", headers[i]);
        char *path = acc_format("%s/%s", include_dir, headers[i]);
        char *dir = acc_strdup(path);
        size_t size;
        const char *data = files_get(name, &size);

        *strrchr(dir, '/') = '\0';
        FILE *file = make_directory(dir, err) ? fopen(path, "we") : NULL;
        bool ok = file != NULL && fwrite(data, 1, size, file) == size;
        ok = (file == NULL || fclose(file) == 0) && ok;
        if (!ok)
            acc_fail_errno(err, "cannot write \"%s\"", path);
        free(name);
        free(path);
        free(dir);
        if (!ok)
            return false;
    }
    return true;
}

static bool compile(const struct app *app, const glob_t *files, const char *include_dir,
                    const char *so_path, struct acc_error *err)
{
    char *compiler = compiler_of_env();
    char *include = acc_format("-I%s", include_dir);
    char *partial = acc_format("%s.%d", so_path, (int)getpid());
    struct command command = {0};
    bool ok = add_compiler(&command, compiler, err);

    for (size_t i = 0; ok && i < sizeof(flags) / sizeof(flags[0]); i++)
        ok = add(&command, flags[i], err);
    ok = ok && add(&command, include, err) && add(&command, "-o", err) &&
         add(&command, partial, err);
    for (size_t i = 0; ok && i < files->gl_pathc; i++)
        if (strcmp(strrchr(files->gl_pathv[i], '.'), ".c") == 0)
            ok = add(&command, files->gl_pathv[i], err);
    ok = ok && add(&command, "-lm", err) && run(&command, STDERR_FILENO, err);
    /* Renamed when complete: who finds the file may load it. */
    if (ok && rename(partial, so_path) != 0)
        ok = acc_fail_errno(err, "cannot rename \"%s\"", partial);
    if (ok)
        log_info("native", "app=%s file=%s", app->name, log_quote(so_path));
    else
        unlink(partial);
    free(compiler);
    free(include);
    free(partial);
    return ok;
}

char *native_dir(const struct app *app)
{
    return acc_format("%s/native", app->data_dir);
}

static bool build(const struct app *app, const glob_t *files, char **so_path, struct acc_error *err)
{
    char digits[2 * SHA256_BYTES + 1];

    if (!hash_all(files, digits, err))
        return false;

    char *dir = native_dir(app);
    char *include_dir = acc_format("%s/include", dir);
    char *path = acc_format("%s/app-%.*s.so", dir, HASH_DIGITS, digits);
    /* What is there already becomes the newest again: that is what native.load takes. */
    bool ok = utimensat(AT_FDCWD, path, NULL, 0) == 0 ||
              (make_directory(dir, err) && write_headers(include_dir, err) &&
               compile(app, files, include_dir, path, err));
    if (ok)
        *so_path = path;
    else
        free(path);
    free(include_dir);
    free(dir);
    return ok;
}

bool native_build(const struct app *app, char **so_path, struct acc_error *err)
{
    char *sources = acc_format("%s/native/*.c", app->dir);
    char *own_headers = acc_format("%s/native/*.h", app->dir);
    glob_t files = {0};
    bool ok = true;

    if (glob(sources, 0, NULL, &files) == 0) {
        glob(own_headers, GLOB_APPEND, NULL,
             &files); /* sorted within each pattern, so the hash is stable */
        ok = build(app, &files, so_path, err);
    } else {
        *so_path = NULL;
    }
    globfree(&files);
    free(sources);
    free(own_headers);
    return ok;
}

/* Whether NAME.c (path) leaves out NAME.h (header), which is there. */
static bool leaves_out(const char *path, const char *header)
{
    char *include = acc_format("\"%s\"", strrchr(header, '/') + 1);
    struct buf text = {0};
    struct acc_error err;
    bool leaves = access(header, R_OK) == 0 && add_file(&text, path, &err) &&
                  memmem(text.data, text.size, include, strlen(include)) == NULL;

    buf_clear(&text);
    free(include);
    return leaves;
}

static bool compare(const char *path, const char *header, const char *include_dir,
                    struct acc_error *err)
{
    char *compiler = compiler_of_env();
    char *include = acc_format("-I%s", include_dir);
    const char *const args[] = {"-std=c17", "-fsyntax-only", include, "-include", header, path};
    struct command command = {0};
    bool ok = add_compiler(&command, compiler, err);

    for (size_t i = 0; ok && i < sizeof(args) / sizeof(args[0]); i++)
        ok = add(&command, args[i], err);
    ok = ok && run(&command, STDERR_FILENO, err);
    free(compiler);
    free(include);
    return ok;
}

bool native_check(const struct app *app, struct acc_error *err)
{
    char *sources = acc_format("%s/native/*.c", app->dir);
    char *include_dir = acc_format("%s/native/include", app->data_dir);
    glob_t files = {0};
    bool ok = true;

    if (glob(sources, 0, NULL, &files) == 0)
        ok = write_headers(include_dir, err);
    for (size_t i = 0; ok && i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i];
        char *header = acc_format("%.*s.h", (int)strlen(path) - 2, path);

        if (leaves_out(path, header))
            ok = compare(path, header, include_dir, err);
        free(header);
    }
    globfree(&files);
    free(sources);
    free(include_dir);
    return ok;
}
