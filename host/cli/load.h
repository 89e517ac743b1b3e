/*
 * Loading: files of facts, in any format and packing, read into an ingest; what is refused is told
 * and kept.
 */
#pragma once

#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/rejected.h"
#include "formats/csv.h"
#include "ingest.h"

enum load_format { LOAD_AUTO, LOAD_NDJSON, LOAD_CSV, LOAD_TEXT };

struct load_side;
struct load_source;

struct load {
    /* The caller's: */
    struct cli *cli;
    const struct catalog *catalog;
    struct ingest *ingest;
    struct seen *seen;       /* of a check, else NULL */
    const char *who;         /* for the records */
    const struct kind *kind; /* NULL: each line names it */
    enum load_format format; /* AUTO: by name and first bytes */
    const char *field;       /* gets the text of a text file, or NULL */
    struct csv_name *names;  /* columns that are not called like their field */
    size_t name_count;
    const char *rejected; /* refused lines of all files go there; NULL: beside each file */
    bool keeps_rejected;  /* false: they are only told */
    int64_t batch_lines, value_bytes;
    struct progress progress;

    /* Results: */
    int64_t lines, refused, files_failed;
    struct ingest_counts counts;

    /* Its own: */
    struct values_target target;
    struct load_side *sides[2], *filling;
    size_t pending; /* rows in filling */
    struct load_source **sources;
    size_t source_count;
    struct rejected shared; /* of `rejected` */
    struct rejected_out out;
    struct buf record;    /* lines of the CSV record being read */
    int64_t bytes_before; /* of files that are done */
    bool is_broken;       /* facts could not be written: no use to go on */
};

/*
 * Reads all files ("-": stdin) and waits until their facts are on disk. A file that cannot be read
 * is told and counted, the others are read all the same. false: facts could not be written; those
 * counted are.
 */
bool load_files(struct load *load, char *const *files, size_t count,
                struct acc_error *err) ACC_MUST_CHECK;
/* The n-th file that refused lines are in, from 0; NULL: there are no more. */
const struct rejected *load_kept(const struct load *load, size_t n);
void load_clear(struct load *load);
