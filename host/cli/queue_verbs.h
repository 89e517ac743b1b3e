/* accrete queue: what its files share. Each function is a verb, and returns an exit code. */
#pragma once

#include "cli/commands.h"
#include "cli/work.h"
#include "parked.h"

/* The events that --lifecycle, --state and --group name. */
struct parked_filter queue_filter(const struct cli *cli);

/* queue_show.c; queue_bridge comes before the others: it lets them read tables of an older version. false: printed. */
bool queue_bridge(struct cli *cli, struct work *work, int *exit_code) ACC_MUST_CHECK;
int queue_overview(struct cli *cli, struct work *work);
int queue_list(struct cli *cli, struct work *work);
int queue_show(struct cli *cli, struct work *work);
int queue_log(struct cli *cli, struct work *work);

/* queue_change.c */
int queue_change(struct cli *cli, struct work *work, bool is_retry);
int queue_pause(struct cli *cli, struct work *work, bool is_paused);
int queue_throttle(struct cli *cli, struct work *work);
