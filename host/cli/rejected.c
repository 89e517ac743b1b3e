#include "cli/rejected.h"

#include <errno.h>
#include <stdlib.h>

void rejected_clear(struct rejected *rejected)
{
    free(rejected->path);
    buf_clear(&rejected->header);
}

bool rejected_close(struct rejected_out *out, struct acc_error *err)
{
    FILE *file = out->file;

    out->file = NULL;
    if (file == NULL)
        return true;
    bool is_bad = ferror(file) != 0;
    return (fclose(file) == 0 && !is_bad) ||
           acc_fail_errno(err, "cannot write \"%s\"", out->of->path);
}

static bool open_file(struct rejected_out *out, struct rejected *rejected, struct acc_error *err)
{
    if (!rejected_close(out, err))
        return false;
    out->file = fopen(rejected->path, rejected->is_begun ? "ae" : "we");
    out->of = rejected;
    if (out->file == NULL)
        return acc_fail_errno(err, "cannot keep refused lines in \"%s\"", rejected->path);
    if (!rejected->is_begun && rejected->header.size > 0) {
        fwrite(rejected->header.data, 1, rejected->header.size, out->file);
        fputc('\n', out->file);
    }
    rejected->is_begun = true;
    return true;
}

bool rejected_keep(struct rejected_out *out, struct rejected *rejected, const char *line,
                   size_t size, struct acc_error *err)
{
    if (rejected->is_failed)
        return true;
    if ((out->file == NULL || out->of != rejected) && !open_file(out, rejected, err)) {
        rejected->is_failed = true;
        return false;
    }
    fwrite(line, 1, size, out->file);
    fputc('\n', out->file);
    rejected->lines++;
    return true;
}
