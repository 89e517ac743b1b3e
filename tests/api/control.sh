#!/bin/bash
# Pause, resume, throttle, reload, wait and audit over HTTP and on the command line, with right and wrong input.
. tests/host.sh "$@"
. tests/api/api.sh

# n of item makes n of mark; the module may have a throttle.
marks_app() # MORE-FIELDS
{
    new_app
    echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/item.lua"
    echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/mark.lua"
    module "${1-}"
}

module() # MORE-FIELDS
{
    cat >"$app/lifecycles/item_marks.lua" <<LUA
local M = { on = "item", finds = { "mark" }, monotone = true ${1-} }
function M.process_data(item, found) found.mark(nil, item.n) end
return M
LUA
}

items() # FROM TO
{
    seq "$1" "$2" | sed 's/.*/{"n":&}/' | ingest item
}

has_marks() # COUNT
{
    [ "$(sql "SELECT count(*) FROM fact_mark")" -ge "$1" ]
}

check "pause begins no batches while facts are taken in; resume goes on to the same fixpoint"
marks_app
items 1 3000
fixpoint
want=$(checksum)
marks_app
start_api
send POST /queue/pause '{"reason":"test of pausing"}'
wanted 202
audit=$(answer a.audit)
sleep 2 # obeyed within a second
items 1 3000
get "/wait?timeout_s=1"
wanted 200
gives a.fixpoint false
gives a.ready 3000
gives a.paused.reason "test of pausing"
same "marks while paused" "$(sql "SELECT count(*) FROM fact_mark")" 0
get "/audit"
gives 'a.rows[1].id' "$audit"
gives 'a.rows[1].act' "queue pause"
gives 'a.rows[1].reason' "test of pausing"
[[ $(answer 'a.rows[1].who') == 127.* ]] || fail "who: $(cat "$TMPDIR/answer")"
send POST /queue/resume '{"reason":"over"}'
wanted 202
audit=$(answer a.audit)
send POST /queue/resume '{"reason":"over again"}'
wanted 202
gives a.audit null
get "/audit?limit=1"
gives 'a.rows[1].id' "$audit"
get "/wait?timeout_s=20"
gives a.fixpoint true
gives a.dead 0
same "marks at the fixpoint" "$(sql "SELECT count(*) FROM fact_mark")" 3000
same "the fixpoint" "$(checksum)" "$want"
stop_host
ok

check "a pause from the command line lasts over a restart, and neither wait nor run --until-fixpoint ends while events wait"
marks_app
items 1 10
acc queue pause --reason "a restart" >"$TMPDIR/out" 2>/dev/null
grep -q "audit" "$TMPDIR/out" || fail "pause says: $(cat "$TMPDIR/out")"
code=0
timeout 3 "$ACCRETE" run --quiet --until-fixpoint --app "$app" "${settings[@]}" >>"$app/host.log" 2>&1 || code=$?
same "exit code of a run that was ended" $code 124
grep -q 'the queue is paused' "$app/host.log" || fail "the run does not say that the queue is paused"
start_api
code=0
acc wait --quiet --timeout 1s >/dev/null 2>"$TMPDIR/said" || code=$?
same "exit code of wait" $code 1
grep -q "the queue is paused by .*: a restart" "$TMPDIR/said" || fail "wait says: $(cat "$TMPDIR/said")"
acc queue resume --reason "go on" >/dev/null
acc wait --quiet --timeout 20s >/dev/null
same marks "$(acc count mark)" 10
same "who in the audit" "$(sql "SELECT who LIKE '%@%' FROM audit WHERE act = 'queue resume'")" t
stop_host
ok

check "a quarantined packet does not run while the queue is paused"
marks_app
cat >"$app/lifecycles/item_marks.lua" <<LUA
local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int, int);")
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found)
  if item.n == 3 and not io.open("$app/mended") then ffi.C.kill(ffi.C.getpid(), 11) end
  found.mark(nil, item.n)
end
return M
LUA
items 1 5
acc queue pause --reason "before a deadly event" >/dev/null 2>&1
start_api --set queue.attempts=50
sleep 1
same "marks while paused" "$(sql "SELECT count(*) FROM fact_mark")" 0
send POST /queue/resume '{"reason":"let it die"}'
until_true eval '[ "$(sql "SELECT count(*) FROM packet WHERE tries > 0")" -gt 0 ]'
send POST /queue/pause '{"reason":"it dies"}'
sleep 1
before=$(sql "SELECT sum(tries) FROM packet")
sleep 2
same "deaths while paused" "$(sql "SELECT sum(tries) FROM packet")" "$before"
touch "$app/mended"
send POST /queue/resume '{"reason":"mended"}'
get "/wait?timeout_s=20"
gives a.fixpoint true
same marks "$(sql "SELECT count(*) FROM fact_mark")" 5
stop_host
ok

check "a throttle that was set holds the rate, beats the module's, and is lifted"
marks_app
items 1 5000 # without a throttle: not held against it later
start_api
get "/wait?timeout_s=20"
gives a.fixpoint true
send PUT /lifecycles/item_marks/throttle '{"per_s":100,"reason":"slow"}'
wanted 200
sleep 2 # obeyed within a second
items 5001 10000
before=$(sql "SELECT count(*) FROM fact_mark")
sleep 3
rate=$((($(sql "SELECT count(*) FROM fact_mark") - before) / 3))
[ $rate -ge 40 ] && [ $rate -le 220 ] || fail "throttled to 100/s, it did $rate/s"
get /lifecycles/item_marks
wanted 200
gives a.throttle_set.per_s 100
gives a.throttle_set.reason slow
send PUT /lifecycles/item_marks/throttle '{"per_s":null,"reason":"enough"}'
wanted 200
get "/wait?timeout_s=10"
gives a.fixpoint true
same "throttles set" "$(sql "SELECT count(*) FROM control")" 0
module ', throttle = 20'
send POST /reload '{"reason":"a throttle in the module"}'
wanted 202
send PUT /lifecycles/item_marks/throttle '{"per_s":100000,"reason":"quick"}'
wanted 200
items 10001 12000
get "/wait?timeout_s=15" # the module's would take 100 s
gives a.fixpoint true
acc queue throttle item_marks none --reason again >/dev/null
acc queue throttle item_marks 50 --reason again >/dev/null
same "throttle set by the command" "$(sql "SELECT lifecycle || ' ' || per_s FROM control")" "1 50"
acc queue throttle item_marks none --reason again >/dev/null
same "throttles set" "$(sql "SELECT count(*) FROM control")" 0
same "the audit" "$(sql "SELECT string_agg(what || ': ' || result, ', ' ORDER BY id) FROM audit WHERE act = 'queue throttle'")" \
    "item_marks: 100/s over all workers, item_marks: the module's holds, item_marks: 100000/s over all workers, item_marks: the module's holds, item_marks: 50/s over all workers, item_marks: the module's holds"
stop_host
ok

check "who asks behind a reload's answer meets the new modules"
marks_app
mkdir "$app/routes"
route() # NUMBER
{
    echo "require('accrete.http').get('/number', function() return '$1' end)" >"$app/routes/number.lua"
}
start_api
for n in 1 2 3 4; do
    route "$n"
    if [ $((n % 2)) = 0 ]; then
        acc reload >/dev/null 2>&1
    else
        send POST /reload "{\"reason\":\"number $n\"}"
        wanted 202
    fi
    get /number
    wanted 200
    same "the route" "$(cat "$TMPDIR/answer")" "$n"
done
stop_host
ok

check "a reload takes up a good module and refuses a broken one with file and line"
marks_app
items 1 5
start_api
get "/wait?timeout_s=20"
sed -i 's/found.mark(nil, item.n)/found.mark(nil, item.n) found.mark(nil, item.n + 1000)/' "$app/lifecycles/item_marks.lua"
send POST /reload '{"reason":"more marks"}'
wanted 202
gives a.generation 2
items 6 6
get "/wait?timeout_s=20"
same "marks, the last item's twice" "$(sql "SELECT count(*) FROM fact_mark")" 7
printf 'local M = { on = "item" }\nfunction M.process_data(\nreturn M\n' >"$app/lifecycles/item_marks.lua"
send POST /reload '{"reason":"a mistake"}'
wanted 422
gives 'a.errors[1].file' "lifecycles/item_marks.lua"
gives 'a.errors[1].line' 3
same "the generation" "$(sql "SELECT max(id) FROM generation")" 2
module
send POST /reload '{"reason":"as before"}'
wanted 202
gives a.generation 3
send POST /reload '{"reason":"nothing new"}'
wanted 202
gives a.generation 3
acc reload --reason "on the command line" >/dev/null
get "/audit?act=reload&limit=2"
wanted 200
gives '#a.rows' 2
gives 'a.rows[1].reason' "on the command line"
gives 'a.rows[2].reason' "nothing new"
gives 'a.rows[2].result' "the same modules"
before=$(answer a.before)
get "/audit?act=reload&limit=2&before=$before"
gives 'a.rows[1].reason' "as before"
gives 'a.rows[1].what' "generation 2 to 3"
[[ $(answer 'a.rows[2].result') == *item_marks.lua:3:* ]] || fail "the refusal is not in the audit: $(cat "$TMPDIR/answer")"
get "/audit?who=nobody"
gives '#a.rows' 0
get "/audit?act=reload&who=127.0.0.1"
gives '#a.rows' 4
ok

check "the source of a module is that of the generation asked for"
get /lifecycles/item_marks/source
wanted 200
cmp "$TMPDIR/answer" "$app/lifecycles/item_marks.lua" || fail "it is another text"
get "/lifecycles/item_marks/source?generation=2"
grep -q 1000 "$TMPDIR/answer" || fail "generation 2: $(cat "$TMPDIR/answer")"
get "/lifecycles/item_marks/source?generation=9"
wanted 404
get "/lifecycles/item_marks/source?generation=0"
wanted 400
get "/lifecycles/item_marks/source?generation=../1"
wanted 400
get "/lifecycles/nothing/source"
wanted 404
get "/lifecycles/..%2f..%2fkinds%2fitem/source"
wanted 400
ok

check "wrong input is refused with what was wanted"
refused 400 "reason: wanted" POST /queue/pause '{}'
refused 400 "reason: wanted" POST /queue/pause '{"reason":""}'
refused 400 "there is no member" POST /queue/pause '{"reson":"x"}'
refused 400 "wanted a JSON object" POST /queue/pause '[1]'
refused 400 "wanted a JSON object" POST /reload '{"reason":'
refused 400 "per_s: wanted" PUT /lifecycles/item_marks/throttle '{"per_s":0,"reason":"x"}'
refused 400 "per_s: wanted" PUT /lifecycles/item_marks/throttle '{"per_s":"fast","reason":"x"}'
refused 400 "per_s: wanted" PUT /lifecycles/item_marks/throttle '{"reason":"x"}'
refused 404 "there is no lifecycle" PUT /lifecycles/item_mark/throttle '{"per_s":1,"reason":"x"}'
refused 405 "" PUT /queue/pause '{"reason":"x"}'
get /queue/pause -X POST -d reason=x
wanted 415
get "/wait?timeout_s=9999"
wanted 400
get "/audit?limit=0"
wanted 400
get "/audit?before=x"
wanted 400
get "/audit?what=x"
wanted 400
same "pauses" "$(sql "SELECT count(*) FROM control")" 0
for line in "throttle item_marks" "throttle item_marks fast --reason x" "throttle item_marks 0 --reason x" "pause" "pause now --reason x"; do
    code=0
    # shellcheck disable=SC2086
    acc queue $line >/dev/null 2>&1 || code=$?
    same "exit code of queue $line" $code 2
done
code=0
acc queue throttle nothing 5 --reason x >/dev/null 2>&1 || code=$?
same "exit code of a throttle of nothing" $code 1
ok

check "many wait at once, in time, and one that leaves is no burden"
send POST /queue/pause '{"reason":"waiters"}'
sleep 2
items 100 110
pids=()
for i in $(seq 20); do
    curl -s -m 30 -o "$TMPDIR/wait$i" "$base/wait?timeout_s=20" &
    pids+=($!)
done
curl -s -m 0.5 -o /dev/null "$base/wait?timeout_s=20" || true
get /audit # while others wait
wanted 200
get "/wait?timeout_s=0"
gives a.fixpoint false
send POST /queue/resume '{"reason":"waiters"}'
for pid in "${pids[@]}"; do
    wait "$pid" || fail "a waiter was not answered"
done
for i in $(seq 20); do
    grep -q '"fixpoint":true' "$TMPDIR/wait$i" || fail "waiter $i: $(cat "$TMPDIR/wait$i")"
done
ok

check "the audit is asked for acts by their name or its last word, and says which there are"
sum=0
for act in "queue retry" "queue discard" "queue pause" "queue resume" "queue throttle" reload bench restore "token new" "token revoke"; do
    get "/audit?limit=1000&act=${act/ /%20}"
    wanted 200
    count=$(answer '#a.rows')
    get "/audit?limit=1000&act=${act#* }"
    gives '#a.rows' "$count"
    sum=$((sum + count))
done
get "/audit?limit=1000&act=pause"
[ "$(answer '#a.rows')" -gt 0 ] || fail "no pause is known by its last word"
gives 'a.rows[1].act' "queue pause"
same "rows of all acts" $sum "$(sql "SELECT count(*) FROM audit")"
refused 422 'there is no act "paus", these there are: retry, discard, pause' GET "/audit?act=paus" ''
refused 422 'there is no act "queue"' GET "/audit?act=queue" ''
gives a.error.code unknown_act
stop_host
ok

# Sockets of the host that is killed stay with its processes for a moment; here with one of ours, so that it surely is so.
check "a host waits for addresses that are given free in a moment"
/usr/bin/python3 - "$app/run/query.sock" "$TMPDIR/held" <<'PY' &
import os, socket, sys, time
tcp = socket.socket()
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
tcp.bind(("127.0.0.1", 0))
tcp.listen()
if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
unix = socket.socket(socket.AF_UNIX)
unix.bind(sys.argv[1])
unix.listen()
open(sys.argv[2] + ".new", "w").write(str(tcp.getsockname()[1]))
os.rename(sys.argv[2] + ".new", sys.argv[2])
time.sleep(1)
PY
until_true test -s "$TMPDIR/held"
start_host --set "http.listen=127.0.0.1:$(cat "$TMPDIR/held")"
base=http://127.0.0.1:$(cat "$TMPDIR/held")
until_true serves
stop_host
ok

finish
