#!/bin/bash
# Figures over HTTP against counts in SQL: status, kinds, lifecycles, graph, workers, generations, database, series, health.
. tests/host.sh "$@"
. tests/api/api.sh

kind() # NAME
{
    echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/$1.lua"
}

# Of the numbers 1..300: 100 end early (n % 3 == 0), of the others 50 late (n % 4 == 0, one friend each), 3 fail (n > 297 but
# 300, which is early), some find one mark, others nothing (n % 5 == 0).
figures_app()
{
    new_app
    kind number
    kind mark
    kind friend
    cat >"$app/lifecycles/picks.lua" <<'LUA'
--- Picks numbers.
--- In two lines.
local M = { on = "number", friends = { friend = { { "n" } } }, finds = { "mark" } , monotone = true }
function M.abort_early(number) return number.n % 3 == 0 end
function M.load_friends(db, number) return db.friend:where { n = number.n % 4 } end
function M.abort_late(number, friends) return #friends > 0 end
function M.process_data(number, friends, found)
  if number.n > 297 then error("number too large: " .. number.n) end
  if number.n % 5 ~= 0 then found.mark(nil, number.n % 50) end
end
return M
LUA
    cat >"$app/lifecycles/looks.lua" <<'LUA'
local M = { on = "mark", finds = {}, monotone = true }
function M.process_data(mark, found) end
return M
LUA
}

numbers()
{
    seq 1 300 | sed 's/.*/{"n":&}/' | ingest number
}

is_state() # STATE
{
    get /status
    [ "$code" = 200 ] && [ "$(answer a.state)" = "$1" ]
}

all_is_told() # the last batch row has been read too: its events are in the rates
{
    get /lifecycles
    [ "$code" = 200 ] && [ "$(answer 'a[2].latency_ms.p50 ~= nil')" = true ]
}

# Facts of a kind are ready, claimed, delayed, dead, discarded or done, for each lifecycle and whatever goes on.
identity_holds()
{
    luajit - "$TMPDIR/kinds" "$TMPDIR/answer" <<'LUA'
package.path = "tests/?.lua;" .. package.path
local json = require("json")
local function read(path) return json(assert(io.open(path)):read("*a")) end
local facts = {}
for _, kind in ipairs(read(arg[1])) do facts[kind.name] = kind.facts end
for _, l in ipairs(read(arg[2])) do
  local q = l.queue
  local sum = q.ready + q.claimed + q.delayed + q.dead + q.discarded + q.unread + l.done
  if sum ~= facts[l.on] then
    print(("%s: %d facts of %s, %d events"):format(l.name, facts[l.on], l.on, sum))
    os.exit(1)
  end
end
LUA
}

check "before anything was ingested the state says so"
figures_app
# The host's way to the database, which can be taken away.
directory=${ACCRETE_TEST_URL#*host=}
ln -s "${directory%% *}" "$TMPDIR/way"
settings+=(--set "database.url=host=$TMPDIR/way ${directory#* } application_name=$schema")
start_api --set queue.attempts=1 --set worker.count=2
until_true is_state empty
gives a.facts 0
gives a.todo 0
gives 'a.queue.ready' 0
gives a.workers.want 2
gives a.database true
[[ $(answer a.at) == "$(date -u +%Y-%m-%d)"T*Z ]] || fail "read at $(answer a.at)"
at=$(answer a.at)
is_read_again()
{
    get /status
    [[ $(answer a.at) > $at ]]
}
until_true is_read_again
same "the day accrete status was read" "$(status 'status.at:sub(1, 10)')" "$(date -u +%Y-%m-%d)"
ok

check "after a run the figures are those of the tables"
echo '{"n":0}' | ingest friend
numbers
until_true is_state fixpoint_except
get /status
gives a.facts "$(sql "SELECT (SELECT count(*) FROM fact_number) + (SELECT count(*) FROM fact_mark) + (SELECT count(*) FROM fact_friend)")"
marks=$(sql "SELECT count(*) FROM fact_mark")
gives a.queue.dead "$(sql "SELECT count(*) FROM parked WHERE state = 'dead'")"
gives a.queue.dead 2
gives a.queue.ready 0
gives a.done $((298 + marks))
gives a.failed 2
gives a.todo 0
gives 'a.notices[1].level' error
gives 'a.notices[1].href' "/ui/events?state=dead"
[ "$(answer 'a.done_per_s > 0 and a.facts_new_per_s > 0 and a.commits_per_s > 0')" = true ] || fail "rates: $(cat "$TMPDIR/answer")"
ok "$(answer a.done) events"

check "each lifecycle has its outcomes, and abort_late its calls"
until_true all_is_told
gives 'a[1].name' looks
gives 'a[1].done' "$marks"
gives 'a[1].outcomes.empty' "$marks"
gives 'a[2].name' picks
gives 'a[2].doc' "Picks numbers. In two lines."
gives 'a[2].outcomes.early' 100
gives 'a[2].outcomes.late' 50
gives 'a[2].done' 298
gives 'a[2].failed' 2
gives 'a[2].abort_late_calls' 198
gives 'math.floor(a[2].late_share * 1000 + 0.5)' 253 # 50 of 198
gives 'math.floor(a[2].early_share * 1000 + 0.5)' 336 # 100 of 298
gives 'a[2].new.mark' "$marks"
gives 'a[2].repeats.mark' $((a = $(answer 'a[2].outcomes.found') - marks, a))
gives 'a[2].queue.dead' 2
gives 'math.floor(a[2].friends_mean * 1000 + 0.5)' 253
[ "$(answer 'a[2].latency_ms.p50 <= a[2].latency_ms.p99 and a[2].worker_time > 0 and a[2].phases_ms.commit > 0')" = true ] ||
    fail "times: $(cat "$TMPDIR/answer")"
same "friends by number" "$(sql "SELECT sum(by_friends[1]) || ' ' || sum(by_friends[2]) || ' ' || sum(late_by_friends[2]) FROM tally_lifecycle WHERE lifecycle = (SELECT id FROM lifecycle WHERE name = 'picks')")" "148 50 50"
ok

check "kinds say what they are made of and whom they wake"
get /kinds
wanted 200
cp "$TMPDIR/answer" "$TMPDIR/kinds"
gives '#a' 3
gives 'a[3].name' number
gives 'a[3].facts' 300
gives 'a[3].ingested' 300
gives 'a[2].ingested' 0
gives 'a[2].facts' "$marks"
gives 'a[3].wakes[1]' picks
gives 'a[2].found_by[1]' picks
gives 'a[1].friend_of[1]' picks
gives 'a[1].fields[1].type' int8
gives 'a[1].fields[1].unique' true
gives 'table.concat(a[1].fields[1].ops, " ")' "eq ne lt le gt ge"
get /lifecycles
identity_holds || fail "facts of a kind and its events differ"
ok

check "the graph has an edge for each way, with counts"
get /graph
wanted 200
gives '#a.lifecycles' 2
edge() # FROM TO MEMBER
{
    answer "(function() for _, e in ipairs(a.edges) do if e.from == '$1' and e.to == '$2' then return e.$3 end end end)()"
}
same data "$(edge number picks count)" 298
same friends "$(edge friend picks count)" 50
same found "$(edge picks mark count)" "$marks"
same type "$(edge picks mark type)" found
gives '#a.cycles' 0
get '/graph?window=5m'
wanted 200
get '/graph?window=2m'
wanted 400
ok

check "an answer is known by its tag until it changes"
get /kinds -D "$TMPDIR/head"
tag=$(sed -n 's/^etag: *//Ip' "$TMPDIR/head" | tr -d '\r')
[ -n "$tag" ] || fail "no ETag: $(cat "$TMPDIR/head")"
until_true eval 'get /generations -D "$TMPDIR/head"; tag=$(sed -n "s/^etag: *//Ip" "$TMPDIR/head" | tr -d "\r"); get /generations -H "If-None-Match: $tag"; [ "$code" = 304 ]'
ok

check "workers, generations and the database are named"
get /workers
gives '#a' 2
gives 'a[1].generation' 1
gives 'a[1].quarantine' false
[ "$(answer 'a[1].rss_bytes > 1000000 and a[1].pid > 1 and a[1].up_s >= 0')" = true ] || fail "$(cat "$TMPDIR/answer")"
get /generations
gives 'a[1].state' current
gives 'a[1].workers' 2
all_owned() # it is looked at every few seconds
{
    get /database
    [ "$(answer 'a.buckets.owned == a.buckets.all')" = true ]
}
until_true all_owned
gives a.connected true
[ "$(answer 'a.connections.used >= 3 and a.bytes > 0 and a.wal_bytes > 0 and #a.tables > 10')" = true ] || fail "$(cat "$TMPDIR/answer")"
ok

check "series have equal lengths, marks, and names that are checked"
has_points()
{
    get "/series?name=events_done&name=queue_depth&name=abort_late_called&window=15m"
    [ "$code" = 200 ] && [ "$(answer '#a.t >= 3')" = true ]
}
until_true has_points
gives '#a.t == #a.series.queue_depth and #a.t == #a.series.abort_late_called' true
gives a.step_s 3
get "/series?name=latency_p95_ms&lifecycle=picks&window=24h"
wanted 200
gives a.step_s 288
refused 422 'did you mean "events_done"' GET "/series?name=event_done" ''
refused 400 'at least one name' GET "/series" ''
refused 422 'no lifecycle' GET "/series?name=events_done&lifecycle=nobody" ''
refused 422 'did you mean "picks"' GET "/series?name=events_done&lifecycle=pick" ''
refused 400 'wanted 15m, 1h, 6h or 24h' GET "/series?name=events_done&window=2h" ''
ok

check "the identity holds while events are worked on, and a reload does not forget"
seq 1000 9000 | sed 's/.*/{"n":&}/' | ingest number &
loader=$!
# Two documents of one reading: the tag of the one is the same before and after the other was fetched.
both_agree()
{
    get /lifecycles -D "$TMPDIR/before"
    get /kinds
    cp "$TMPDIR/answer" "$TMPDIR/kinds"
    get /lifecycles -D "$TMPDIR/after"
    [ "$(grep -i ^etag "$TMPDIR/before")" = "$(grep -i ^etag "$TMPDIR/after")" ] && identity_holds >"$TMPDIR/why"
}
for _ in $(seq 8); do
    until_true both_agree
    sleep 0.1
done
wait $loader
before=$(get /status && answer a.done_per_s)
sed -i 's/In two lines/In 2 lines/' "$app/lifecycles/picks.lua"
acc reload >/dev/null 2>&1
reloaded()
{
    get /status
    [ "$(answer a.generation)" = 2 ] && get /lifecycles && [ "$(answer 'a[2].doc')" = "Picks numbers. In 2 lines." ]
}
until_true reloaded
get /status
[ "$(answer 'a.done_per_s > 0')" = true ] || fail "rates are forgotten: $before before, $(answer a.done_per_s) after"
# Tallies of the workers of generation 1 have been added up.
folded()
{
    [ "$(sql "SELECT count(*) FROM tally_lifecycle WHERE epoch = 0")" -gt 0 ]
}
until_true folded
same "friends by number, added up" "$(sql "SELECT sum(n) FROM tally_lifecycle t, unnest(t.by_friends) n")" \
    "$(sql "SELECT sum(late + empty + found) FROM tally_lifecycle t JOIN lifecycle l ON l.id = t.lifecycle WHERE l.name = 'picks'")"
same "friends given" "$(sql "SELECT sum(given) FROM tally_lifecycle")" "$(sql "SELECT sum(by_friends[2]) FROM tally_lifecycle")"
marked()
{
    get "/series?name=todo&window=15m"
    [ "$(answer 'a.marks[1] and a.marks[1].text')" = "generation 2" ]
}
until_true marked
ok

check "a worker says why the one before it ended, and what its Lua holds"
are_two() # those of the generation before have gone
{
    get /workers
    [ "$(answer '#a')" = 2 ]
}
until_true are_two
same "how the first ones of a generation ended" "$(answer 'tostring(a[1].last_exit) .. " " .. tostring(a[2].last_exit)')" "null null"
kill -KILL "$(answer 'a[1].pid')"
row="(function() for _, w in ipairs(a) do if w.last_exit.text then return w end end end)()"
has_followed()
{
    get /workers
    [ "$(answer "#a == 2 and $row ~= nil")" = true ]
}
until_true has_followed
gives "$row.last_exit.text" "killed by signal 9 (KILL)"
gives "$row.last_exit.signal" 9
gives "$row.restarts" 1
[[ $(answer "$row.last_exit.at") == "$(date -u +%Y-%m-%d)"T*Z ]] || fail "ended at $(answer "$row.last_exit.at")"
holds_lua()
{
    get /workers
    [ "$(answer "(tonumber($row.lua_bytes) or 0) > 10000")" = true ]
}
until_true holds_lua
same "last exit in accrete status" "$(status "(function() for _, w in ipairs(status.workers) do if w.last_exit.signal then return w.last_exit.signal end end end)()")" 9
same "Lua of all workers in accrete status" "$(status "status.workers[1].lua_bytes > 10000 and status.workers[2].lua_bytes > 10000")" true
ok

check "figures survive the loss of their connection, with what they knew"
backend=$(sql "SELECT pid FROM pg_stat_activity WHERE application_name = 'accrete figures' LIMIT 1")
sql "SELECT pg_terminate_backend($backend)" >/dev/null
reconnected()
{
    local now
    now=$(sql "SELECT pid FROM pg_stat_activity WHERE application_name = 'accrete figures' LIMIT 1")
    [ -n "$now" ] && [ "$now" != "$backend" ]
}
until_true reconnected
database_back()
{
    get /ready
    [ "$code" = 200 ]
}
until_true database_back
get /lifecycles
gives 'a[2].done_per_s > 0' true
ok

check "a paused queue, and one that stands still, say so"
send POST /queue/pause '{"reason":"for the test"}'
wanted 202
until_true is_state paused
gives a.paused.reason "for the test"
send POST /queue/resume '{"reason":"over"}'
wanted 202
until_true is_state fixpoint_except
get /live
wanted 200
get /ready
gives a.workers 2
ok

check "while the database is away, status and readiness say so"
said_before=$(wc -l <"$app/host.log")
away()
{
    get /status
    [ "$code" = 200 ] && [ "$(answer a.database)" = false ] && get /ready && [ "$code" = 503 ]
}
mv "$TMPDIR/way" "$TMPDIR/no-way"
sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name IN ('accrete figures', '$schema')" >/dev/null
until_true away
gives a.database false
for _ in $(seq 20); do
    get /audit
    wanted 503
done
lines_of() # STATION WORDS: how many since the database went
{
    tail -n "+$((said_before + 1))" "$app/host.log" | grep -c "at=$1 .*$2" || true
}
same "lines of figures" "$(lines_of figures 'event="the database does not answer"')" 1
asked=$(lines_of query 'event="the database does not answer"')
[[ $asked = [12] ]] || fail "two processes said $asked times that the database does not answer"
get /metrics
grep -q '^accrete_database_up 0$' "$TMPDIR/answer" || fail "accrete_database_up is not 0"
get /live
wanted 200
mv "$TMPDIR/no-way" "$TMPDIR/way"
until_true database_back
until_true is_state fixpoint_except
gives a.database true
all_are_back() # each process that said it was away says that it is back
{
    get /audit
    [ "$(lines_of query 'event="the database answers again"')" = "$asked" ] && [ "$(lines_of intake 'event="connected to the database again"')" = 1 ]
}
until_true all_are_back
same "lines of figures" "$(lines_of figures 'event="the database answers again"')" 1
ok

check "status takes less than 5 ms"
slow=$(for _ in $(seq 200); do curl -s -o /dev/null -w '%{time_total}\n' "$base/status"; done | sort -n | sed -n 100p)
[ "$(echo "$slow < 0.005" | bc -l 2>/dev/null || luajit -e "print($slow < 0.005 and 1 or 0)")" = 1 ] || fail "the median is $slow s"
ok "median $slow s"
stop_host

finish
