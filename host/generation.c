#include "generation.h"

#include "native.h"
#include "schema.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOAD_SECONDS 60

char *generation_dir(const struct app *app, int32_t generation)
{
    return acc_format("%s/generations/%d", app->data_dir, generation);
}

char *generation_native_dir(const struct app *app, int32_t generation)
{
    return acc_format("%s/generations/%d/so", app->data_dir, generation);
}

static bool copy_file(const char *from, const char *to, struct acc_error *err)
{
    struct stat st;
    bool ok = false;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (out >= 0 && fstat(in, &st) == 0) {
        off_t left = st.st_size;
        ssize_t n = 1;
        while (left > 0 && (n = sendfile(out, in, NULL, (size_t)left)) > 0)
            left -= n;
        ok = left == 0;
    }
    if (!ok)
        acc_fail_errno(err, "cannot copy %s", from);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return ok;
}

static bool make_dir(const char *path, struct acc_error *err)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST || acc_fail_errno(err, "cannot make %s", path);
}

/* The regular files of from, not deeper, into to. A folder that is not there is nothing. */
static bool copy_folder(const char *from, const char *to, struct acc_error *err)
{
    DIR *dir = opendir(from);
    bool ok = true;

    if (dir == NULL)
        return errno == ENOENT || acc_fail_errno(err, "cannot read %s", from);
    ok = make_dir(to, err);
    for (struct dirent *entry; ok && (entry = readdir(dir)) != NULL;) {
        char *a = acc_format("%s/%s", from, entry->d_name);
        char *b = acc_format("%s/%s", to, entry->d_name);
        struct stat st;
        if (entry->d_name[0] != '.' && stat(a, &st) == 0 && S_ISREG(st.st_mode))
            ok = copy_file(a, b, err);
        free(a);
        free(b);
    }
    closedir(dir);
    return ok;
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);

    if (dir == NULL) {
        unlink(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *inner = acc_format("%s/%s", path, entry->d_name);
        remove_tree(inner);
        free(inner);
    }
    closedir(dir);
    rmdir(path);
}

static bool snapshot(struct app *app, const char *to, struct acc_error *err)
{
    static const char *const folders[] = {"kinds", "lifecycles", "lua", "native", "routes"};
    char *so_path = NULL;
    bool ok = make_dir(to, err);

    for (size_t i = 0; ok && i < sizeof(folders) / sizeof(*folders); i++) {
        char *a = acc_format("%s/%s", app->dir, folders[i]);
        char *b = acc_format("%s/%s", to, folders[i]);
        ok = copy_folder(a, b, err);
        free(a);
        free(b);
    }
    ok = ok && native_build(app, &so_path, err);
    if (ok && so_path != NULL) {
        char *so = acc_format("%s/so", to);
        char *b = acc_format("%s/%s", so, strrchr(so_path, '/') + 1);
        ok = make_dir(so, err) && copy_file(so_path, b, err);
        free(so);
        free(b);
    }
    free(so_path);
    return ok;
}

static bool make_current(struct app *app, struct pg *pg, struct program *program, bool may_replace,
                         struct acc_error *err)
{
    if (!may_replace)
        return schema_join(pg, app->schema, program, &app->settings, err);
    return schema_apply(pg, app->schema, program, &app->settings, err) &&
           schema_activate(pg, program, err);
}

static bool check_and_activate(struct app *app, const char *conninfo, const char *dir,
                               bool may_replace, int32_t *generation, struct acc_error *err)
{
    char *native = acc_format("%s/so", dir);
    struct script *script = script_new(&app->settings, dir, native, err);
    struct program program = {0};
    struct pg pg = {0};
    alarm(
        LOAD_SECONDS); /* a module that loops while it is loaded ends this process, not the host */
    bool ok = script != NULL && script_load(script, &program, false, err) &&
              script_load_routes(script, err);
    alarm(0);
    ok = ok &&
         pg_open(&pg, conninfo, app->schema, app->settings.database.connect_timeout_ms, 0, err) &&
         make_current(app, &pg, &program, may_replace, err);

    *generation = program.generation;
    pg_close(&pg);
    script_free(script);
    free(native);
    return ok;
}

bool generation_prepare(struct app *app, const char *conninfo, bool may_replace,
                        int32_t *generation, struct acc_error *err)
{
    char *parent = acc_format("%s/generations", app->data_dir);
    char *temporary = acc_format("%s/new-%d", parent, (int)getpid());
    bool ok = make_dir(parent, err) && snapshot(app, temporary, err) &&
              check_and_activate(app, conninfo, temporary, may_replace, generation, err);

    if (ok) {
        char *final = generation_dir(app, *generation);
        /* The same modules again: the snapshot that is there has the same text. */
        if (rename(temporary, final) != 0 && errno != ENOTEMPTY && errno != EEXIST)
            ok = acc_fail_errno(err, "cannot rename %s", temporary);
        free(final);
    }
    remove_tree(temporary);
    free(parent);
    free(temporary);
    return ok;
}
