/*
 * All facts that pass, as NDJSON (the lines of accrete dump) or CSV (all fields), in pieces: each is one short statement,
 * and between two of them nothing is held but the place in the table.
 */
#include "api/fact_call.h"
#include "api/handlers.h"
#include "base/clock.h"
#include "formats/dump_json.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (256 << 10) /* aimed at */
#define FACTS_MOST 1000         /* of a piece that goes by an index */
#define BLOCKS_MOST 256         /* of a piece that is searched for */
#define PIECE_US 50000          /* the loop is given back at least as often */

struct download {
    struct api *api;
    struct http_stream *stream; /* NULL: not begun */
    struct http_timer *timer;   /* goes on after a search without a match */
    struct filters filters;
    struct columns columns;
    bool is_csv;
    bool by_search; /* block by block, as it lies on disk; else by an index, in the order of ids */
    int64_t step;   /* facts, or blocks, of the next piece */
    int64_t block;  /* the next one */
    bool has_last;
    uint8_t last[16];
    bool is_end;
    struct buf piece;
};

static void free_download(struct download *download)
{
    http_timer_free(download->timer);
    filters_clear(&download->filters);
    buf_clear(&download->piece);
    free(download);
}

static bool add_fact(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct download *download = context;

    (void)err;
    memcpy(download->last, fact->row->id, 16);
    download->has_last = true;
    if (download->is_csv) {
        columns_csv_row(&download->columns, fact, &download->piece);
        return true;
    }
    dump_json_fact(&download->piece, fact->kind, fact->row);
    buf_byte(&download->piece, '\n');
    return true;
}

/* The next piece has as much as fits what is aimed at. */
static void adapt(struct download *download, size_t bytes)
{
    int64_t most = download->by_search ? BLOCKS_MOST : FACTS_MOST;

    if (bytes < PIECE_BYTES / 2 && download->step < most)
        download->step = download->step * 2 > most ? most : download->step * 2;
    else if (bytes > 2 * PIECE_BYTES && download->step > 1)
        download->step /= 2;
}

static bool read_next(struct download *download, struct pg *pg, struct acc_error *err)
{
    struct explorer_visit visit = {download, add_fact};
    struct explorer_query query = {.kind = download->filters.kind,
                                   .filters = &download->filters,
                                   .order = ORDER_ID,
                                   .limit = download->step};
    uint8_t cursor[16];
    bool is_more = false;
    int64_t blocks;

    if (!download->by_search) {
        memcpy(cursor, download->last, 16);
        query.cursor = download->has_last ? cursor : NULL;
        if (!explorer_page(pg, &query, download->api->heap, &visit, &is_more, err))
            return false;
        download->is_end = !is_more;
        return true;
    }
    if (!explorer_count_blocks(pg, query.kind, &blocks, err) ||
        !explorer_scan(pg, query.filters, download->block, download->block + download->step,
                       download->api->heap, &visit, err))
        return false;
    download->block += download->step;
    download->is_end = download->block >= blocks;
    return true;
}

/* Fills piece; searches on while there is no match, but not for long. */
static bool fill(struct download *download, struct acc_error *err)
{
    int64_t started_us = clock_us();
    struct pg *pg = api_connect(download->api, err);

    if (pg == NULL)
        return false;
    do {
        size_t before = download->piece.size;

        heap_reset(download->api->heap);
        if (!read_next(download, pg, err))
            return false;
        adapt(download, download->piece.size - before);
    } while (!download->is_end && download->piece.size == 0 && clock_us() - started_us < PIECE_US);
    return true;
}

/* NDJSON says at its end that it is not complete, CSV breaks off. */
static void break_off(struct download *download, const struct acc_error *err)
{
    json_t *line = json_pack("{s:{s:s, s:s}}", "error", "code",
                             err->code == ACC_ELIMIT ? "too_slow" : "broken", "message", err->text);
    char *text = json_dumps(line, JSON_COMPACT);

    json_decref(line);
    if (download->is_csv || text == NULL) {
        http_stream_abort(download->stream);
    } else {
        buf_reset(&download->piece);
        buf_printf(&download->piece, "%s\n", text);
        http_stream_send(download->stream, download->piece.data, download->piece.size, true);
    }
    free(text);
}

static void send_piece(struct download *download)
{
    struct http_stream *stream = download->stream;

    if (download->piece.size == 0 && !download->is_end) {
        http_timer_set(download->timer, 0);
        return;
    }
    /* The stream may end, and download with it, in there. */
    struct buf piece = download->piece;
    download->piece = (struct buf){0};
    http_stream_send(stream, piece.data == NULL ? "" : piece.data, piece.size, download->is_end);
    buf_clear(&piece);
}

static void go_on(struct download *download)
{
    struct acc_error err;

    if (download->is_end)
        return;
    if (fill(download, &err))
        send_piece(download);
    else
        break_off(download, &err);
}

/* Not at once: a reader that takes all as quickly as it comes must not keep the loop from others. */
static void on_more(void *context, struct http_stream *stream)
{
    struct download *download = context;

    (void)stream;
    http_timer_set(download->timer, 0);
}

static void on_timer(void *context)
{
    go_on(context);
}

static void on_closed(void *context)
{
    free_download(context);
}

/* The first piece is read before the answer begins, so that what is wrong from the start has a status of its own. */
static void begin(struct api_call *call, struct download *download)
{
    static const struct http_stream_calls calls = {on_more, on_closed};
    const char *name = download->filters.kind->name;
    struct acc_error err;
    char disposition[128];

    if (download->is_csv)
        columns_csv_head(&download->columns, &download->piece);
    if (!fill(download, &err)) {
        fact_failure(call, &err);
        free_download(download);
        return;
    }
    snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s.%s\"", name,
             download->is_csv ? "csv" : "ndjson");
    http_add_header(call->request, "Content-Disposition", disposition);
    download->timer = http_timer_new(download->api->server, on_timer, download);
    download->stream = http_stream_begin(
        call->request, 200,
        download->is_csv ? "text/csv; charset=utf-8; header=present" : "application/x-ndjson",
        &calls, download);
    if (download->stream != NULL)
        send_piece(download);
}

static void download(struct api_call *call, bool is_csv)
{
    const struct kind *kind = api_kind(call, 0);
    struct acc_error err;

    if (kind == NULL)
        return;
    struct download *download = acc_zalloc(sizeof(*download));
    download->api = call->api;
    download->is_csv = is_csv;
    if (!fact_filters(call, kind, &download->filters)) {
        free(download);
        return;
    }
    download->by_search = !explorer_is_indexed(&download->filters);
    struct pg *pg = api_reader(call);
    download->columns = (struct columns){.kind = kind, .count = kind->field_count};
    for (size_t f = 0; f < kind->field_count; f++)
        download->columns.list[f].field = f;
    if (pg != NULL && explorer_fit(pg, kind, PIECE_BYTES, 100, &download->step, &err)) {
        begin(call, download);
        return;
    }
    if (pg != NULL)
        fact_failure(call, &err);
    free_download(download);
}

void api_facts_ndjson(struct api_call *call)
{
    download(call, false);
}

void api_facts_csv(struct api_call *call)
{
    download(call, true);
}
