#!/bin/bash
# /metrics as OpenMetrics, read by a parser of others; alert rules and dashboard name only what is there.
. tests/host.sh "$@"
. tests/api/api.sh

check "the parser of prometheus_client takes it, and figures are those of the tables"
new_app examples/closure
start_api --set worker.count=2
seq 60 | awk '{ printf "{\"from\":%d,\"to\":%d}\n", $1, $1 + 1 }' | ingest edge
is_done()
{
    get /status
    [ "$(answer a.state)" = fixpoint ] && get /metrics &&
        grep -q '^accrete_facts{kind="path"} 1830$' "$TMPDIR/answer" && grep -q '^accrete_table_bytes' "$TMPDIR/answer" &&
        grep -q '^accrete_buckets{state="owned"} [1-9]' "$TMPDIR/answer" # read less often than the rest
}
until_true is_done
[ "$(curl -s -o /dev/null -w '%{content_type}' "$base/metrics")" = "application/openmetrics-text; version=1.0.0; charset=utf-8" ] ||
    fail "content type: $(curl -s -o /dev/null -w '%{content_type}' "$base/metrics")"
cp "$TMPDIR/answer" "$TMPDIR/metrics"
cat >"$TMPDIR/read.py" <<'PY'
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = {}
for family in text_string_to_metric_families(open(sys.argv[1]).read()):
    assert family.name not in families, "twice: " + family.name
    assert family.documentation, "no help: " + family.name
    families[family.name] = family
def value(name, **labels):
    for family in families.values():
        for sample in family.samples:
            if sample.name == name and all(sample.labels.get(k) == v for k, v in labels.items()):
                return sample.value
    raise SystemExit("no sample " + name + str(labels))
def same(got, wanted, what):
    if got != wanted:
        raise SystemExit("%s: wanted %r, got %r" % (what, wanted, got))
same(value("accrete_facts", kind="edge"), 60, "edges")
same(value("accrete_facts_new_total", kind="edge", lifecycle="ingest"), 60, "ingested")
same(value("accrete_events_done_total", lifecycle="path_takes_edge", outcome="found") +
     value("accrete_events_done_total", lifecycle="path_takes_edge", outcome="empty"), 1830, "events of paths")
same(value("accrete_abort_late_calls_total", lifecycle="path_takes_edge"), 1830, "calls of abort_late")
same(value("accrete_events", lifecycle="path_takes_edge", state="ready"), 0, "ready")
same(value("accrete_state", state="fixpoint"), 1, "state")
same(value("accrete_database_up"), 1, "database")
same(value("accrete_workers", state="alive"), 2, "workers")
assert value("accrete_wait_seconds_count", lifecycle="path_takes_edge") > 0
assert value("accrete_batch_seconds_count", lifecycle="path_takes_edge", phase="commit") > 0
assert value("accrete_batch_seconds_sum", lifecycle="path_takes_edge", phase="commit") > 0
assert value("accrete_http_requests_total", status="2xx") > 0
assert value("accrete_buckets", state="owned") > 0
assert value("accrete_buckets_taken_total") >= 16
assert value("accrete_table_bytes", table="fact_path") > 0
labels = {label for family in families.values() for sample in family.samples for label in sample.labels}
allowed = {"kind", "lifecycle", "outcome", "state", "phase", "le", "status", "part", "result", "process", "table", "role", "version", "route"}
same(labels - allowed, set(), "labels")
names = {sample.name for family in families.values() for sample in family.samples}
open(sys.argv[2], "w").write("\n".join(sorted(names)) + "\n")
print("%d families, %d samples" % (len(families), sum(len(family.samples) for family in families.values())))
PY
told=$(/usr/bin/python3 "$TMPDIR/read.py" "$TMPDIR/metrics" "$TMPDIR/names") || fail "$told"
ok "$told"

check "counters never fall while it works"
for _ in 1 2 3 4 5 6; do
    seq 100 | awk -v n=$RANDOM '{ printf "{\"from\":%d,\"to\":%d}\n", n * 1000 + $1 * 2, n * 1000 + $1 * 2 + 1 }' | ingest edge
    get /metrics
    cp "$TMPDIR/answer" "$TMPDIR/now"
    /usr/bin/python3 - "$TMPDIR/metrics" "$TMPDIR/now" <<'PY' || fail "a counter fell"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
def read(path):
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in text_string_to_metric_families(open(path).read())
            if f.type in ("counter", "histogram") for s in f.samples if not s.name.endswith("_bucket")}
before, now = read(sys.argv[1]), read(sys.argv[2])
fell = [(k, v, now.get(k)) for k, v in before.items() if now.get(k, -1) < v]
if fell:
    print(fell[:5])
    sys.exit(1)
PY
    mv "$TMPDIR/now" "$TMPDIR/metrics"
done
ok

# Every name of a metric in a file of config.
names_in()
{
    grep -o 'accrete_[a-z0-9_]*' "$1" | sort -u
}

exist() # FILE
{
    local name

    for name in $(names_in "$1"); do
        grep -qx "$name" "$TMPDIR/names" || fail "$1 names $name, which /metrics lacks"
    done
}

check "the alert rules are sound and name what is there"
promtool check rules config/prometheus-rules.yaml >"$TMPDIR/rules" 2>&1 || fail "$(cat "$TMPDIR/rules")"
exist config/prometheus-rules.yaml
ok "$(grep -o '[0-9]* rules' "$TMPDIR/rules")"

check "the rules fire on what they are about"
cat >"$TMPDIR/rules_test.yaml" <<YAML
rule_files: [$PWD/config/prometheus-rules.yaml]
evaluation_interval: 30s
tests:
  - interval: 30s
    input_series:
      - { series: 'accrete_events{lifecycle="a",state="dead",instance="h"}', values: '0x5 2x20' }
      - { series: 'accrete_state{state="stalled",instance="h"}', values: '1x30' }
      - { series: 'accrete_database_up{instance="h"}', values: '1x10 0x20' }
      - { series: 'accrete_workers{state="alive",instance="h"}', values: '1x30' }
      - { series: 'accrete_workers{state="wanted",instance="h"}', values: '2x30' }
      - { series: 'accrete_disk_free_bytes{instance="h"}', values: '5x30' }
      - { series: 'accrete_disk_size_bytes{instance="h"}', values: '100x30' }
    alert_rule_test:
      - { eval_time: 2m, alertname: AccreteDeadEvents, exp_alerts: [] }
      - eval_time: 10m
        alertname: AccreteDeadEvents
        exp_alerts:
          - exp_labels: { severity: warning, instance: h, lifecycle: a }
            exp_annotations:
              summary: "2 events of a are dead"
              description: "The fixpoint lacks what they would have found. /ui/events?state=dead names the errors; mend them, then retry."
      - eval_time: 10m
        alertname: AccreteWorkersMissing
        exp_alerts:
          - exp_labels: { severity: warning, instance: h }
            exp_annotations: { summary: "Only 1 workers are alive" }
      - eval_time: 10m
        alertname: AccreteDatabaseAway
        exp_alerts:
          - exp_labels: { severity: critical, instance: h }
            exp_annotations: { summary: "The database does not answer" }
      - { eval_time: 4m, alertname: AccreteDatabaseAway, exp_alerts: [] }
      - eval_time: 10m
        alertname: AccreteNoWorkers
        exp_alerts: []
YAML
promtool test rules "$TMPDIR/rules_test.yaml" >"$TMPDIR/told" 2>&1 || fail "$(cat "$TMPDIR/told")"
ok

check "the dashboard is JSON, and its queries are sound and name what is there"
exist config/grafana-dashboard.json
/usr/bin/python3 - >"$TMPDIR/dashboard.yaml" <<'PY' || fail "the dashboard"
import json
board = json.load(open("config/grafana-dashboard.json"))
ids = [panel["id"] for panel in board["panels"]]
assert len(ids) == len(set(ids))
print("groups: [{name: dashboard, rules: [")
n = 0
for panel in board["panels"]:
    for target in panel.get("targets", []):
        n += 1
        query = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$lifecycle", ".*")
        print("  {record: 'dashboard:%d', expr: %s}," % (n, json.dumps(query)))
    right = panel["gridPos"]["x"] + panel["gridPos"]["w"]
    assert right <= 24, panel["title"]
print("]}]")
PY
promtool check rules "$TMPDIR/dashboard.yaml" >"$TMPDIR/told" 2>&1 || fail "$(cat "$TMPDIR/told")"
ok "$(grep -o '[0-9]* rules' "$TMPDIR/told" | sed s/rules/queries/)"
stop_host

finish
