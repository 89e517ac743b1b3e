#!/bin/bash
# Events over HTTP: by state, page by page, one by one, dead ones in groups; retry and discard with the number that was meant.
. tests/host.sh "$@"
. tests/api/api.sh

# n of item makes n of mark, but raises: 1..9 in process_data, 11..14 in load_friends, until the app is mended.
failing_app()
{
    new_app
    echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/item.lua"
    echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/mark.lua"
    cat >"$app/lifecycles/marks.lua" <<LUA
local M = { on = "item", friends = { mark = { { "n" } } }, finds = { "mark" }, monotone = true, priority = 7 }
local function mended() return io.open("$app/mended") ~= nil end
function M.load_friends(db, item)
  if item.n > 10 and item.n < 15 and not mended() then error("no friends of " .. tostring(item.n)) end
  return db.mark:where({ n = item.n })
end
function M.process_data(item, marks, found)
  if item.n < 10 and not mended() then error("cannot mark " .. tostring(item.n)) end
  found.mark(nil, item.n)
end
return M
LUA
}

items() # FROM TO
{
    seq "$1" "$2" | sed 's/.*/{"n":&}/' | ingest item
}

count_is() # STATE COUNT
{
    get "/events?state=$1&limit=1000"
    [ "$code" = 200 ] && [ "$(answer '#a.rows')" = "$2" ]
}

check "events that wait are listed in line, page by page, without being touched"
failing_app
acc schema apply >/dev/null 2>&1
acc queue pause --reason "a look at the queue" >/dev/null 2>&1
start_api --set queue.attempts=3 --set queue.retry=10ms
items 1 50
get "/events?state=ready&limit=1000"
wanted 200
gives '#a.rows' 50
gives 'a.rows[1].lifecycle' marks
gives 'a.rows[1].kind' item
gives 'a.rows[1].state' ready
gives 'a.rows[1].priority' 7
gives 'a.rows[1].id == "marks:" .. a.rows[1].fact' true
gives 'a.rows[1].raised_at ~= nil and #a.rows[1].raised_at' 24
luajit -e 'package.path = "tests/?.lua;" .. package.path; for _, r in ipairs(require("json")(io.read("*a")).rows) do print(r.label) end' <"$TMPDIR/answer" | sort -n >"$TMPDIR/labels"
seq 50 | cmp - "$TMPDIR/labels" || fail "labels: $(tr '\n' ' ' <"$TMPDIR/labels")"
one=$(answer 'a.rows[1].id')
: >"$TMPDIR/ids"
before=
pages=0
while :; do
    get "/events?state=ready&limit=7${before:+&before=$before}"
    wanted 200
    luajit -e 'package.path = "tests/?.lua;" .. package.path; for _, r in ipairs(require("json")(io.read("*a")).rows) do print(r.id) end' <"$TMPDIR/answer" >>"$TMPDIR/ids"
    pages=$((pages + 1))
    before=$(answer 'a.before')
    [ "$before" != null ] || break
    [ $pages -lt 20 ] || fail "pages do not end"
done
same "events of all pages" "$(sort -u "$TMPDIR/ids" | wc -l) $(wc -l <"$TMPDIR/ids")" "50 50"
get "/events/$one"
wanted 200
gives a.state ready
gives '#a.attempts' 0
get "/events?state=ready&lifecycle=nothing"
wanted 422
same "packets" "$(sql "SELECT sum(n) FROM packet")" 50
ok

check "dead events stand in groups with their callback, and each has its attempts, newest first"
send POST /queue/resume '{"reason":"go"}'
get "/wait?timeout_s=20"
gives a.fixpoint true
gives a.dead 13
get /events/dead/groups
wanted 200
gives '#a.groups' 2
gives 'a.groups[1].n' 9
gives 'a.groups[1]["in"]' process_data
gives 'a.groups[1].lifecycle' marks
gives 'a.groups[1].generations[1]' 1
gives 'a.groups[1].fresh' true
gives 'a.groups[2].n' 4
gives 'a.groups[2]["in"]' load_friends
gives a.over 10000
[[ $(answer 'a.groups[1].message') =~ "cannot mark "[0-9]+$ ]] || fail "message: $(cat "$TMPDIR/answer")"
sig=$(answer 'a.groups[1].sig')
get "/events?sig=$sig"
gives '#a.rows' 9
gives 'a.rows[1].sig' "$sig"
gives 'a.rows[1].attempts' 3
gives 'a.rows[1].generation' 1
gives 'a.rows[1]["in"]' process_data
gives 'a.before' null
[[ $(answer 'a.rows[1].error') == *"lifecycles/marks.lua:8: cannot mark "* ]] || fail "error: $(cat "$TMPDIR/answer")"
[[ $(answer 'a.rows[1].worker') == *-[01] ]] || fail "worker: $(cat "$TMPDIR/answer")"
one=$(answer 'a.rows[1].id')
get "/events/$one"
wanted 200
gives '#a.attempts' 3
gives 'a.attempts[1].n' 3
gives 'a.attempts[3].n' 1
gives 'a.attempts[1].result' "failed, dead"
gives 'a.attempts[2].result' failed
gives 'a.attempts[1].generation' 1
gives 'a.attempts[1].took_ms >= 0' true
gives 'a.attempts[1].at > a.attempts[2].at' true
[[ $(answer 'table.concat(a.trace, "|")') == *"in process_data of marks"*"marks.lua:8"* ]] || fail "trace: $(cat "$TMPDIR/answer")"
get "/events/${one:0:14}"
wanted 200
gives a.id "$one"
get "/events?limit=5"
gives '#a.rows' 5
before=$(answer a.before)
get "/events?limit=5&before=$before"
before=$(answer a.before)
get "/events?limit=5&before=$before"
gives '#a.rows' 3
gives a.before null
get "/events/dead/groups?lifecycle=marks"
gives '#a.groups' 2
get /lifecycles/marks
gives '#a.errors' 2
gives 'a.errors[1].n' 9
gives 'a.module.path' lifecycles/marks.lua
same "hash of the module" "$(answer a.module.sha256)" "$(sha256sum "$app/lifecycles/marks.lua" | cut -d' ' -f1)"
ok

check "a history is bounded"
sql "UPDATE parked SET state = 'delayed', ready_at = now()" # as many times as it takes
for i in $(seq 9); do
    until_true eval '[ "$(sql "SELECT count(*) FROM parked WHERE state = '"'dead'"'")" = 13 ]'
    sql "UPDATE parked SET state = 'delayed', ready_at = now()"
done
until_true eval '[ "$(sql "SELECT count(*) FROM parked WHERE state = '"'dead'"'")" = 13 ]'
get "/events/$one"
gives '#a.attempts' 10
gives 'a.attempts[1].n' 13
gives 'a.attempts[10].n' 4
ok

result_is() # AUDIT PATTERN
{
    get "/audit?limit=1000"
    [[ $(answer "(function() for _, r in ipairs(a.rows) do if r.id == $1 then return r.result end end end)()") == $2 ]]
}

check "what became of a retry is added to the audit, whatever dies meanwhile"
send POST /events/retry '{"match":{"lifecycle":"marks"},"expect":'"$(sql "SELECT count(*) FROM parked p JOIN lifecycle l ON l.id = p.lifecycle WHERE l.name = 'marks' AND state = 'dead'")"',"reason":"in vain"}'
wanted 202
many=$(answer a.count)
in_vain=$(answer a.audit)
get /workers
kill -KILL $(answer 'table.concat((function() local t = {} for _, w in ipairs(a) do t[#t + 1] = w.pid end return t end)(), " ")')
until_true result_is "$in_vain" "$many queued; $many dead again after * s"
same "open retries" "$(sql "SELECT count(*) FROM retry")" 0
ok "$many events"

check "retry and discard change the number that was meant, or nothing"
send POST /events/discard "{\"match\":{\"sig\":\"$sig\"},\"expect\":8,\"reason\":\"too few\"}"
wanted 409
gives a.match_count 9
gives a.error.code other_count
same "dead events" "$(sql "SELECT count(*) FROM parked WHERE state = 'dead'")" 13
same "rows of audit" "$(sql "SELECT count(*) FROM audit WHERE act = 'queue discard'")" 0
send POST /events/discard "{\"ids\":[\"$one\"],\"reason\":\"a broken line\"}"
wanted 202
gives a.count 1
[[ $(answer a.warning) == *"incomplete"* ]] || fail "discard does not warn: $(cat "$TMPDIR/answer")"
audit=$(answer a.audit)
same "what the audit says" "$(sql "SELECT act || ', ' || what || ', ' || reason || ', ' || result FROM audit WHERE id = $audit")" \
    "queue discard, $one, a broken line, 1 event"
get "/events?state=discarded"
gives '#a.rows' 1
gives 'a.rows[1].id' "$one"
touch "$app/mended"
send POST /events/retry "{\"match\":{\"sig\":\"$sig\",\"lifecycle\":\"marks\",\"state\":\"dead\"},\"expect\":8,\"reason\":\"mended\"}"
wanted 202
gives a.count 8
gives a.warning nil
mended=$(answer a.audit)
get "/wait?timeout_s=20"
gives a.dead 4
gives a.discarded 1
until_true result_is "$mended" "8 queued; 8 done after * s"
same marks "$(sql "SELECT count(*) FROM fact_mark")" $((50 - 13 + 8))
send POST /events/retry '{"match":{},"expect":4,"reason":"the rest"}'
wanted 202
send POST /events/retry "{\"ids\":[\"$one\"],\"reason\":\"after all\"}"
wanted 202
get "/wait?timeout_s=20"
gives a.dead 0
gives a.discarded 0
same marks "$(sql "SELECT count(*) FROM fact_mark")" 50
get "/events/$one"
wanted 404
ok

check "wrong input is refused with what was wanted"
for path in retry discard; do
    refused 400 "either ids, or match" POST /events/$path '{"reason":"x"}'
    refused 400 "either ids, or match" POST /events/$path '{"ids":["marks:00"],"match":{},"expect":1,"reason":"x"}'
    refused 400 "reason: wanted" POST /events/$path '{"match":{},"expect":1}'
    refused 400 "expect: wanted" POST /events/$path '{"match":{},"reason":"x"}'
    refused 400 "expect: wanted" POST /events/$path '{"match":{},"expect":-1,"reason":"x"}'
    refused 422 "state: wanted dead, delayed or discarded" POST /events/$path '{"match":{"state":"ready"},"expect":1,"reason":"x"}'
    gives a.error.code unknown_state
    refused 422 'did you mean "marks"?' POST /events/$path '{"match":{"lifecycle":"mark"},"expect":0,"reason":"x"}'
    gives a.error.code unknown_lifecycle
    gives a.error.field lifecycle
    refused 400 'no member "kind"' POST /events/$path '{"match":{"kind":"item"},"expect":1,"reason":"x"}'
    refused 400 'did you mean "lifecycle"?' POST /events/$path '{"match":{"lifecycl":"marks"},"expect":1,"reason":"x"}'
    gives a.error.field lifecycl
    refused 400 "ids: wanted" POST /events/$path '{"ids":[],"reason":"x"}'
    refused 400 "ids: wanted" POST /events/$path '{"ids":[7],"reason":"x"}'
    refused 400 "no such event is parked" POST /events/$path '{"ids":["marks:00"],"reason":"x"}'
    refused 400 "wanted LIFECYCLE:FACTID" POST /events/$path '{"ids":["marks:xyz"],"reason":"x"}'
    send POST /events/$path '{"ids":["marks:00000000000000000000000000000000"],"reason":"x"}'
    wanted 409
    gives a.match_count 0
done
for query in events?state=gone events?lifecycle=mark events/dead/groups?lifecycle=mark events?lifecycle=; do
    get "/$query"
    wanted 422
done
gives a.error.code unknown_lifecycle
for query in state=dead\&state=ready sig=xyz sig=ABCDEF01 limit=0 limit=x before=x "state=ready&before=1-2" kind=item; do
    get "/events?$query"
    wanted 400
done
for id in nothing marks:zz marks:00000000000000000000000000000000 :; do
    get "/events/$id"
    wanted 404
done
stop_host
ok

check "events in a worker's hands are claimed, and say whose"
new_app
echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/item.lua"
cat >"$app/lifecycles/slow.lua" <<LUA
local M = { on = "item", finds = {}, monotone = true }
function M.process_data(item, found)
  local stop = os.time() + 60
  while os.time() < stop and not io.open("$app/go") do end
end
return M
LUA
items 1 1
start_api
until_true count_is claimed 1
gives 'a.rows[1].state' claimed
gives 'a.rows[1].label' 1
[[ $(answer 'a.rows[1].worker') == *-[01] ]] || fail "worker: $(cat "$TMPDIR/answer")"
id=$(answer 'a.rows[1].id')
get "/events/$id"
gives a.state claimed
count_is ready 0 || fail "a claimed event is ready too: $(cat "$TMPDIR/answer")"
touch "$app/go"
get "/wait?timeout_s=20"
gives a.fixpoint true
count_is claimed 0 || fail "a done event is claimed: $(cat "$TMPDIR/answer")"
stop_host
ok

finish
