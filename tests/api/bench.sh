#!/bin/bash
# GET and POST /bench: figures, history over reloads, what is slower, what never ends; nothing else is written.
. tests/host.sh "$@"
. tests/api/api.sh

part() # OF PART MEMBER: of the last answer
{
    answer "(function() for _, r in ipairs(a) do if r.of == '$1' and r.part == '$2' then return tostring(r.$3) end end end)()"
}

bench() # PATH
{
    get "$1"
    wanted 200
}

# Starts one and waits until the audit says what became of it; result is that.
run_bench() # JSON
{
    send POST /bench "$1"
    wanted 202
    audit=$(answer a.audit)
    deadline_s=120 until_true is_told
    result=$(sql "SELECT result FROM audit WHERE id = $audit")
}

is_told()
{
    [ "$(sql "SELECT result FROM audit WHERE id = $audit")" != running ]
}

# A child of the process that benchmarks, child, works: one for each lifecycle.
is_at() # first | second
{
    child=$(pgrep -P "$(cut -d ' ' -f 1 "$app/data/bench.lock")") && [ "$1" = first -o "$child" != "${first-}" ]
}

reload()
{
    local before

    before=$(sql 'SELECT max(id) FROM generation')
    send POST /reload '{"reason":"another module"}'
    wanted 202
    same "generation" "$(answer a.generation)" $((before + 1))
}

everything='{"reason":"to know"}'

new_app examples/closure
cp "$app/lifecycles/path_takes_edge.lua" "$TMPDIR/good.lua"
head -61 examples/closure/edges.csv | acc ingest --quiet --format csv edge -
fixpoint
before=$(checksum)
start_api --set bench.limit=24s

check "before the first run there is nothing"
bench /bench
gives '#a' 0
get '/bench?baseline=1'
wanted 404
gives a.error.message "there are no benchmarks of generation 1; there are none at all"
ok

check "a run measures everything, tells the audit, and writes nothing to the facts"
run_bench "$everything"
same "result" "$result" "2 lifecycles and the host, 12 parts, 0 failed"
same "audit" "$(sql "SELECT act, what, reason, who FROM audit WHERE id = $audit")" "bench|all|to know|127.0.0.1"
bench /bench
gives '#a' 12
gives '(function() for _, r in ipairs(a) do if not (r.value > 0 and r.ci >= 0 and r.unit == "ns" and r.note == "" and r.runs >= 1) then return r.part end end return true end)()' true
! grep -Eo '"(value|ci)":[0-9]+\.[0-9]{4,}' "$TMPDIR/answer" || fail "binary digits"
gives 'a[1].generation' 1
gives '#a[1].history' 1
same "change" "$(part path_takes_edge process_data change)" null
same "dump" "$(checksum)" "$before"
same "queue" "$(sql 'SELECT count(*) FROM packet')" 0
ok

check "a lifecycle made slower on purpose is flagged against the generation before, and the note says what changed"
sed 's/^function M.process_data(.*/&\n  local n = 0 for i = 1, 20000 do n = n + i % 7 end/' "$TMPDIR/good.lua" >"$app/lifecycles/path_takes_edge.lua"
reload
bench /bench
[[ $(part path_takes_edge process_data note) == "" ]] || fail "$(cat "$TMPDIR/answer")"
run_bench '{"reason":"is it slower?","lifecycles":["path_takes_edge"]}'
same "result" "$result" "1 lifecycle, 2 parts, 0 failed"
same "what" "$(sql "SELECT what FROM audit WHERE id = $audit")" path_takes_edge
bench /bench
same "beyond" "$(part path_takes_edge process_data beyond)" true
gives '(function() for _, r in ipairs(a) do if r.part == "process_data" and r.of == "path_takes_edge" then return r.change > 1 and r.value - r.baseline > r.ci and r.baseline == r.history[1] and r.value == r.history[2] end end end)()' true
same "note" "$(part path_takes_edge process_data note)" "changed in generation 2"
same "generation" "$(part path_takes_edge process_data generation)$(part host identity generation)" 21
same "history" "$(answer '(function() for _, r in ipairs(a) do if r.part == "identity" then return #r.history .. tostring(r.history[2]) end end end)()')" 2null
ok

check "history grows with generations, with gaps where nothing was measured"
{ cat "$TMPDIR/good.lua" && echo "-- a third"; } >"$app/lifecycles/path_takes_edge.lua"
reload
{ cat "$TMPDIR/good.lua" && echo "-- a fourth"; } >"$app/lifecycles/path_takes_edge.lua"
reload
run_bench '{"reason":"again","lifecycles":["path_takes_edge","host"]}'
bench /bench
same "history" "$(answer '(function() for _, r in ipairs(a) do if r.part == "process_data" and r.of == "path_takes_edge" then
    return #r.history .. tostring(r.history[3]) .. tostring(r.history[4] == r.value) end end end)()')" 4nulltrue
same "baseline" "$(part path_takes_edge process_data baseline_generation)$(part host identity baseline_generation)" 21
same "faster" "$(answer "(function() for _, r in ipairs(a) do if r.part == 'process_data' and r.beyond then return r.change < 0 end end end)()")" true
bench '/bench?baseline=1'
same "baseline" "$(part path_takes_edge process_data baseline_generation)" 1
bench '/bench?baseline=2'
same "without one" "$(part host identity baseline)" null
ok

check "baselines and bodies that are wrong are refused"
get '/bench?baseline=3'
wanted 404
gives a.error.message "there are no benchmarks of generation 3; there are those of 4, 2, 1"
for baseline in 0 x -1 99999999999; do
    get "/bench?baseline=$baseline"
    wanted 400
    gives a.error.field baseline
done
refused 400 "reason: wanted a text" POST /bench '{}'
refused 400 "wanted a list of names" POST /bench '{"reason":"x","lifecycles":[]}'
refused 400 "wanted texts" POST /bench '{"reason":"x","lifecycles":[1]}'
refused 400 'there is no member "only" here, wanted reason, lifecycles' POST /bench '{"reason":"x","only":[]}'
refused 422 'there is no lifecycle "path_take_edge"' POST /bench '{"reason":"x","lifecycles":["path_take_edge"]}'
ok

check "a callback that never ends has failed, the host goes on, and one run is enough at a time"
sed 's/^function M.process_data(.*/&\n  while true do end/' "$TMPDIR/good.lua" >"$app/lifecycles/path_takes_edge.lua"
reload
send POST /bench "$everything"
wanted 202
audit=$(answer a.audit)
refused 409 "a benchmark is running already, process " POST /bench "$everything"
acc bench --runs 1 >/dev/null 2>"$TMPDIR/err" && fail "the command ran beside it"
grep -q "a benchmark is running already" "$TMPDIR/err" || fail "$(cat "$TMPDIR/err")"
get /status
wanted 200
get /audit
wanted 200
ok

check "a reload does not end it: its results are of the generation that it began with"
cp "$TMPDIR/good.lua" "$app/lifecycles/path_takes_edge.lua"
reload
deadline_s=120 until_true is_told
same "result" "$(sql "SELECT result FROM audit WHERE id = $audit")" "2 lifecycles and the host, 12 parts, 1 failed"
bench /bench
same "note" "$(part path_takes_edge process_data note)" \
    "it ran longer than 6000 ms and was stopped; changed in generation 5; changed since, in generation 6"
same "value" "$(part path_takes_edge process_data value)" null
same "generation" "$(part path_takes_edge process_data generation)$(part host identity generation)" 55
run_bench "$everything"
same "result" "$result" "2 lifecycles and the host, 12 parts, 0 failed"
ok

check "one that runs when the host stops says so, and keeps whom it has measured"
sed 's/^function M.process_data(.*/&\n  while true do end/' "$TMPDIR/good.lua" >"$app/lifecycles/path_takes_edge.lua"
reload
send POST /bench "$everything"
wanted 202
audit=$(answer a.audit)
until_true is_at first
first=$child
until_true is_at second
stop_host
same "result" "$(sql "SELECT result FROM audit WHERE id = $audit")" "stopped with the host"
same "kept" "$(sql 'SELECT string_agg(of || part, chr(32) ORDER BY part) FROM bench WHERE generation = 7 AND NOT is_failed')" \
    "edge_extends_pathload_friends edge_extends_pathprocess_data"
same "failed" "$(sql 'SELECT count(*) FROM bench WHERE generation = 7 AND is_failed')" 0
cp "$TMPDIR/good.lua" "$app/lifecycles/path_takes_edge.lua"
ok

check "read-only mode shows and does not run"
start_api --set http.readonly=yes
send POST /bench "$everything"
wanted 403
gives a.error.code read_only
bench /bench
gives '#a' 12
stop_host
same "dump" "$(checksum)" "$before"
ok

check "workers that are busy meanwhile come to the same fixpoint"
new_app examples/closure
start_api
head -101 examples/closure/edges.csv | acc ingest --quiet --format csv edge -
send POST /bench "$everything"
wanted 202
audit=$(answer a.audit)
acc wait --quiet
deadline_s=120 until_true is_told
[[ $(sql "SELECT result FROM audit WHERE id = $audit") == *" 0 failed" ]] || fail "$(sql "SELECT result FROM audit WHERE id = $audit")"
disturbed=$(checksum)
stop_host
new_app examples/closure
head -101 examples/closure/edges.csv | acc ingest --quiet --format csv edge -
fixpoint
same "fixpoint" "$disturbed" "$(checksum)"
ok

check "its end is told with the app's own PostgreSQL, too: after a stop, after kill -9 of the host, of its process, of both"
own_cluster=yes
new_app examples/closure
head -61 examples/closure/edges.csv | acc ingest --quiet --format csv edge -
fixpoint
start_api
sed 's/^function M.process_data(.*/&\n  while true do end/' "$TMPDIR/good.lua" >"$app/lifecycles/path_takes_edge.lua"
send POST /reload '{"reason":"it never ends"}'
wanted 202
start_endless()
{
    send POST /bench '{"reason":"x","lifecycles":["path_takes_edge"]}'
    wanted 202
    audit=$(answer a.audit)
    runner=
    until_true is_signed
}
is_signed()
{
    read -r runner number _ <"$app/data/bench.lock" && [ "$number" = "$audit" ] && pgrep -P "$runner" >/dev/null &&
        ! pgrep -P "$host" | grep -qx "$runner" # signed by its own process
}
kill_host() # and other processes
{
    local processes

    processes=$(pgrep -P "$host")
    kill -KILL "$host" "$@"
    wait "$host" 2>/dev/null || true
    for process in $processes; do until_true is_gone "$process"; done
}
is_gone()
{
    ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}
is_result() # WORDS: of the newest benchmark in the audit
{
    get '/audit?act=bench&limit=1'
    [ "$code" = 200 ] && [ "$(answer 'a.rows[1].id .. a.rows[1].result')" = "$audit$1" ]
}
start_endless
stop_host
start_api
until_true is_result "stopped with the host"
start_endless
kill -KILL "$runner"
until_true is_result "its process was killed"
start_endless
kill_host
start_api
until_true is_result "stopped with the host"
start_endless
kill_host "$runner"
start_api
until_true is_result "stopped with the host"
start_endless
kill_host "$runner"
acc bench --runs 2 host >"$TMPDIR/table" # whoever comes next, before a host does
same "what is left to tell" "$(cut -d ' ' -f 2 "$app/data/bench.lock")" 0
start_api
until_true is_result "stopped with the host"
stop_host
unset own_cluster
ok

finish
