/* Requests as they come, and their answers: which are taken, which wait, which are turned away. */
#include "intake_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Jobs */

void intake_list_init(struct intake_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

void intake_list_add(struct intake_list *list, struct intake_job *job)
{
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
}

struct intake_job *intake_list_take(struct intake_list *list)
{
    struct intake_job *job = list->first;

    list->first = job->next;
    if (list->first == NULL)
        list->end = &list->first;
    return job;
}

static char *copy(const char *text)
{
    return acc_strdup(text == NULL ? "" : text);
}

static struct intake_job *make_job(struct intake *intake, const struct intake_request *request,
                                   const struct kind *kind, bool is_plain)
{
    struct intake_job *job = intake->spare;

    if (job != NULL)
        intake->spare = job->next;
    else
        job = acc_alloc(sizeof(*job));
    *job = (struct intake_job){
        .done = request->done,
        .context = request->context,
        .kind = kind,
        .body = request->body,
        .size = request->size,
        .format = request->format,
        .is_check = request->is_check,
    };
    intake->counts.waiting++;
    intake->counts.waiting_bytes += (int64_t)request->size;
    if (is_plain)
        return job;
    struct intake_more *more = acc_zalloc(sizeof(*more));
    more->who = copy(request->who);
    more->name = copy(request->name);
    more->trace = copy(request->trace);
    more->part = request->part;
    more->parts = request->parts;
    more->is_gzip = request->encoding == INTAKE_GZIP;
    more->text = request->body;
    more->size = request->size;
    job->more = more;
    return job;
}

void intake_answer(struct intake *intake, struct intake_job *job,
                   const struct intake_answer *answer)
{
    intake->counts.waiting--;
    intake->counts.waiting_bytes -= (int64_t)job->size;
    job->done(job->context, answer);
    intake_more_free(job->more);
    free(job->who);
    job->next = intake->spare;
    intake->spare = job;
}

void intake_refuse(struct intake *intake, struct intake_job *job, int status, const char *code,
                   const char *field, const char *format, ...)
{
    struct intake_answer answer = {.status = status, .code = code, .field = field};
    char text[sizeof(((struct acc_error *)NULL)->text) + 100];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    answer.message = text;
    answer.retry_after_s = status == 503;
    if (status == 422)
        answer.lines = answer.refused = 1;
    intake->counts.refused += status == 422;
    intake_answer(intake, job, &answer);
}

/* Requests */

/* A request that is refused as it comes. */
static void turn_away(const struct intake_request *request, int status, const char *code,
                      const char *message)
{
    struct intake_answer answer = {
        .status = status, .code = code, .message = message, .retry_after_s = status != 404};

    request->done(request->context, &answer);
}

/* Whether it is taken; else it is answered. */
static bool is_taken(struct intake *intake, const struct intake_request *request)
{
    const struct intake_limits *limits = &intake->limits;
    char text[160];

    if (intake->state == INTAKE_AWAY && intake->is_lost) {
        intake->counts.refused_busy++;
        turn_away(request, 503, "database_away", "the database is away; send it again soon");
        return false;
    }
    if (intake->counts.waiting >= limits->waiting_requests) {
        intake->counts.refused_busy++;
        snprintf(text, sizeof(text),
                 "%lld requests wait to be written, at most so many may (http.waiting_requests)",
                 (long long)intake->counts.waiting);
        turn_away(request, 429, "too_many", text);
        return false;
    }
    /* One alone is always taken: the server bounds its size. */
    if (intake->counts.waiting > 0 &&
        intake->counts.waiting_bytes + (int64_t)request->size > limits->waiting_bytes) {
        intake->counts.refused_busy++;
        snprintf(text, sizeof(text),
                 "%lld bytes wait to be written, at most %lld may (http.waiting)",
                 (long long)intake->counts.waiting_bytes, (long long)limits->waiting_bytes);
        turn_away(request, 503, "too_much", text);
        return false;
    }
    return true;
}

/* Whether a body is one JSON object, by its first byte. */
static bool is_object(const struct intake_request *request)
{
    const char *text = request->body;
    size_t at = 0;

    if (request->format != INTAKE_JSON || request->encoding != INTAKE_PLAIN)
        return false;
    while (at < request->size &&
           (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
        at++;
    return at < request->size && text[at] == '{';
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

void intake_remember_who(struct intake *intake, const char *who)
{
    buf_reset(&intake->who);
    buf_text(&intake->who, who == NULL ? "" : who);
}

void intake_submit(struct intake *intake, const struct intake_request *request)
{
    struct acc_error err;
    const struct kind *kind = values_kind(&intake->target, request->kind, &err);

    intake->counts.requests++;
    if (kind == NULL) {
        turn_away(request, 404, "not_found", err.text);
        return;
    }
    if (!is_taken(intake, request))
        return;
    bool is_fact = is_object(request) && !request->is_check;
    bool has_record = is_given(request->name) || is_given(request->trace) || request->part > 0;
    struct intake_job *job = make_job(intake, request, kind, is_fact && !has_record);
    job->is_fact = is_fact;
    if (!is_fact) {
        intake_list_add(&intake->bulks, job);
    } else if (intake->ingest == NULL || intake->facts.first != NULL ||
               intake->filling->check != NULL || !intake_has_room(intake)) {
        job->who = job->more == NULL ? copy(request->who) : NULL;
        intake_list_add(&intake->facts, job);
    } else {
        intake_remember_who(intake, request->who);
        intake_read_fact(intake, job);
    }
}
