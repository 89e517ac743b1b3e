#!/bin/bash
# The holes that queue and batch close: a routing that changes under writers, a repeat of what is not on disk yet, a lost reply.
. tests/host.sh "$@"

numbered()
{
    local kind

    for kind in "$@"; do
        echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/$kind.lua"
    done
}

# Events that each lifecycle has done against the facts of its kind; empty when all are equal.
unequal()
{
    local lifecycle kind

    sql "SELECT l.name, k.name FROM lifecycle l JOIN kind k ON k.tag = l.kind" | while IFS='|' read -r lifecycle kind; do
        sql "SELECT '$lifecycle: ' || d.n || ' events, ' || f.n || ' facts of $kind; '
             FROM (SELECT coalesce(sum(early + late + empty + found), 0) AS n FROM tally_lifecycle t JOIN lifecycle l ON l.id = t.lifecycle WHERE l.name = '$lifecycle') d,
                  (SELECT count(*) AS n FROM fact_$kind) f WHERE d.n <> f.n"
    done
}

check "lifecycles that become active while facts pour in get every fact once"
new_app
numbered item mark late
cat >"$app/lifecycles/finds.lua" <<'END'
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found) found.mark(item, item.n + 1000000) end
return M
END
# Reads first and writes much later, so that a change falls between the two.
cat >"$app/lifecycles/slow.lua" <<'END'
local M = { on = "mark", finds = { "late" } }
function M.load_friends(db, mark)
  if mark.n % 50 == 0 then db:query("SELECT pg_sleep(0.05)") end
end
function M.process_data(mark, found) found.late(mark, mark.n + 1000000) end
return M
END
settings+=(--set ingest.batch_lines=20 --set worker.batch_events=40)
acc ingest --quiet item /dev/null
start_host --workers 3
pids=()
for part in 0 1 2; do
    (for i in $(seq 5); do
        seq $((part * 10000 + i * 1000)) $((part * 10000 + i * 1000 + 199)) | sed 's/.*/{"n":&}/' | ingest item 2>/dev/null || exit 1
    done) &
    pids+=($!)
done
changes=0
while kill -0 "${pids[0]}" "${pids[1]}" "${pids[2]}" 2>/dev/null || [ $changes -lt 6 ]; do
    for kind in item mark late; do
        echo "return { on = \"$kind\", monotone = true, process_data = function() end }" >"$app/lifecycles/new_${kind}_$changes.lua"
    done
    changes=$((changes + 1))
    acc reload >>"$app/host.log" 2>&1 || fail "reload ended with $?"
    [ $changes -lt 10 ] || break
done
for pid in "${pids[@]}"; do
    wait "$pid" || fail "an ingest ended with $?"
done
acc wait --quiet --timeout 120s || fail "wait ended with $?"
stop_host
same "lifecycles with missing or double events" "$(unequal)" ""
ok "$changes changes while $(sql "SELECT (SELECT count(*) FROM fact_item) + (SELECT count(*) FROM fact_mark) + (SELECT count(*) FROM fact_late)") facts came"

proxy=$TMPDIR/proxy
${CC:-gcc} -O1 -Wall -Wextra -Werror -o "$proxy" tests/faults/proxy.c

check "a COMMIT whose reply is lost is neither lost nor done twice"
new_app examples/closure
luajit tests/order/graph.lua edges random 60 "$seed" >"$app/edges"
luajit tests/order/graph.lua closure random 60 "$seed" | LC_ALL=C sort >"$app/wanted"
settings+=(--set worker.batch_events=50 --set worker.count=2)
server=$(tr ' ' '\n' <<<"$ACCRETE_TEST_URL" | sed -n 's/^host=//p')
mkdir "$TMPDIR/cut"
"$proxy" "$TMPDIR/cut/.s.PGSQL.5432" "$server/.s.PGSQL.5432" "$((seed % 100000 + 1))" 12 2>"$TMPDIR/cuts" &
proxy_pid=$!
hosts+=($proxy_pid)
until_true test -S "$TMPDIR/cut/.s.PGSQL.5432"
direct=("${settings[@]}")
settings+=(--set "database.url=host=$TMPDIR/cut user=$(tr ' ' '\n' <<<"$ACCRETE_TEST_URL" | sed -n 's/^user=//p') dbname=postgres")
tries=0
until ingest edge <"$app/edges" 2>>"$app/host.log"; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || fail "ingest does not come through: $(tail -n 1 "$app/host.log")"
done
tries=0
until timeout 60 "$ACCRETE" run --quiet --until-fixpoint --app "$app" "${settings[@]}" >>"$app/host.log" 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 40 ] || fail "does not come to the fixpoint"
done
kill "$proxy_pid"
wait "$proxy_pid" || true
cuts=$(grep -c cut "$TMPDIR/cuts" || true)
[ "$cuts" -ge 10 ] || fail "only $cuts replies were cut"
settings=("${direct[@]}")
dump >"$app/got" || fail "dump ended with $?"
cmp -s "$app/got" "$app/wanted" || fail "not the closure: $(diff "$app/wanted" "$app/got" | head -n 4)"
same "lifecycles with missing or double events" "$(unequal)" ""
same "tallied and stored facts" "$(sql "SELECT sum(new) FROM tally_kind")" "$(wc -l <"$app/got")"
ok "$cuts replies cut"

check "a repeat of what a worker has found and not yet flushed is on disk when ingest says so"
own_cluster=yes new_app
own_cluster=yes
numbered item mark
cat >"$app/lifecycles/finds.lua" <<'END'
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found) found.mark(item, item.n) end
return M
END
start_host --workers 1
socket=$(sed -n 5p "$app/data/pg/postmaster.pid")
url="host=$socket user=accrete dbname=accrete"
url_schema=${app##*/}
sql "ALTER SYSTEM SET wal_writer_delay = '10s'"
sql "SELECT pg_reload_conf()" >/dev/null
echo '{"n":0}' | ingest item
marked() { [ "$(sql "SELECT count(*) FROM fact_mark WHERE n = $1")" = 1 ]; }
until_true marked 0
for i in 1 2 3; do
    echo "{\"n\":$i}" | ingest item
    until_true marked $i
    before=$(sql "SELECT pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()")
    echo "{\"n\":$i}" | ingest mark
    kill -QUIT "$(head -n 1 "$app/data/pg/postmaster.pid")"
    kill -KILL "$host"
    wait "$host" || true
    same "mark $i after a crash (was it unflushed before: $before)" "$(acc dump --quiet --kind mark 2>/dev/null | grep -c "\"n\":$i}")" 1
    start_host --workers 1
done
stop_host
ok
finish
