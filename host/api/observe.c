/* How long requests took, by what answered them. */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>

/* Series by mark; found once, since this is done for every request. */
static struct metric **series;

static struct metric *series_of(struct metrics *metrics, int mark)
{
    static const struct metric_family family = {
        "accrete_http_request_seconds",
        METRIC_HISTOGRAM,
        "Time from a request's head to the end of its answer, by route",
        {"route"}};
    char text[METRICS_VALUE_MAX + 1] = "none";
    const char *route = text;

    if (mark == API_MARK_APP)
        route = "app";
    else if (mark >= 0 && mark < (int)api_route_count)
        snprintf(text, sizeof(text), "%s %s", api_routes[mark].method, api_routes[mark].pattern);
    return metrics_get(metrics, &family, &route, NULL);
}

void api_observe(void *context, const struct http_request *request, int status, double seconds)
{
    const struct api *api = context;
    int mark = http_mark(request);

    (void)status;
    if (series == NULL)
        series = acc_zalloc((api_route_count + 2) * sizeof(struct metric *));
    if (mark < 0)
        mark = API_MARK_NONE;
    if (series[mark] == NULL)
        series[mark] = series_of(board_metrics(api->board), mark);
    metric_observe(series[mark], seconds);
}
