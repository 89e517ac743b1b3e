#!/bin/bash
# GET /stream: what readers get at first, what later, and how many there may be.
. tests/host.sh "$@"
. tests/api/api.sh

# Reads a stream into a file in the background; its pid is in reader.
read_stream() # FILE TOPICS CURL-ARGUMENTS...
{
    local file=$1 topics=$2

    shift 2
    curl -sN -m 60 "$@" "$base/stream?topics=$topics" >"$file" &
    reader=$!
    hosts+=("$reader") # ended with the host, whatever happens
}

# Events of a file as Lua: list of {id, event, data}; prints the expression, in which e is the list.
events() # FILE LUA-EXPRESSION
{
    luajit - "$1" "$2" <<'LUA'
package.path = "tests/?.lua;" .. package.path
local json = require("json")
local text = assert(io.open(arg[1])):read("*a")
e = {}
for block in text:gmatch("(.-)\n\n") do
  local one = {}
  for line in (block .. "\n"):gmatch("(.-)\n") do
    local name, value = line:match("^(%w+): (.*)$")
    if name then one[name] = value end
  end
  if one.data then one.data = json(one.data) e[#e + 1] = one end
end
function of(name)
  local list = {}
  for _, one in ipairs(e) do if one.event == name then list[#list + 1] = one end end
  return list
end
print(assert(loadstring("return " .. arg[2]))())
LUA
}

says() # FILE LUA-EXPRESSION: true
{
    [ "$(events "$1" "$2")" = true ]
}

edges() # FROM COUNT
{
    seq "$1" $(($1 + $2)) | awk '{ printf "{\"from\":%d,\"to\":%d}\n", $1, $1 + 1 }' | ingest edge
}

new_app examples/closure
start_api --set worker.count=2 --set http.streams=6
has_status()
{
    get /status
    [ "$code" = 200 ]
}
until_true has_status
read_stream "$TMPDIR/audit" audit
audit_reader=$reader

check "the first message is the whole status, later ones what changed"
read_stream "$TMPDIR/first" status
until_true says "$TMPDIR/first" '#of("status") == 1'
grep -q '^retry: 2000$' "$TMPDIR/first" || fail "no retry: $(head -c 200 "$TMPDIR/first")"
same "version" "$(events "$TMPDIR/first" 'e[1].data.version ~= nil and e[1].data.queue ~= nil')" true
edges 1 100
until_true says "$TMPDIR/first" 'e[#e].data.facts == 5252 or (function() for _, o in ipairs(e) do if o.data.facts == 5252 then return true end end end)()'
same "later ones" "$(events "$TMPDIR/first" '(function() for i = 2, #e do if e[i].data.version then return "whole" end end return "changes" end)()')" changes
same "ids" "$(events "$TMPDIR/first" '(function() for i = 2, #e do if tonumber(e[i].id) <= tonumber(e[i - 1].id) then return "fall" end end return "rise" end)()')" rise
at_rises() # from one message to the next
{
    events "$TMPDIR/first" '(function() local last = "" for _, o in ipairs(e) do if not o.data.at or o.data.at <= last then return tostring(o.data.at) .. " after " .. last end last = o.data.at end return "rises" end)()'
}
same "the time of each" "$(at_rises)" rises
get /status
members=$(events "$TMPDIR/first" '(function() local s = {} for _, o in ipairs(e) do for k, v in pairs(o.data) do s[k] = v end end return s.facts .. " " .. s.done .. " " .. s.state end)()')
same "status put together" "$members" "$(answer 'a.facts .. " " .. a.done .. " " .. a.state')"
kill "$reader"
ok

check "whoever comes back gets the whole status"
read_stream "$TMPDIR/again" status -H 'Last-Event-ID: 12345'
until_true says "$TMPDIR/again" '#e >= 1'
same "version" "$(events "$TMPDIR/again" 'e[1].data.version ~= nil')" true
kill "$reader"
ok

check "topics bring lifecycles, one lifecycle, facts, events and workers"
read_stream "$TMPDIR/all" status,lifecycles,lifecycle:path_takes_edge,facts,events,workers,reload,audit
until_true says "$TMPDIR/all" '#of("lifecycle:path_takes_edge") >= 1'
same "rows at first" "$(events "$TMPDIR/all" '#of("lifecycles")[1].data .. " " .. of("lifecycles")[1].data[1].on')" "2 edge"
for n in 1 2 3; do
    edges $((n * 1000)) 60
    sleep 0.5
done
until_true says "$TMPDIR/all" '#of("facts") >= 2 and #of("lifecycles") >= 3'
same "a row's changes" "$(events "$TMPDIR/all" '(function() local r = of("lifecycles")[2].data[1] return r.name ~= nil and r.on == nil end)()')" true
same "one lifecycle" "$(events "$TMPDIR/all" '(function() local l = of("lifecycle:path_takes_edge") return l[1].data.on .. " " .. tostring(l[2].data.on) end)()')" "path nil"
same "facts" "$(events "$TMPDIR/all" '(function() local of_all, rows = 0, 0 for _, o in ipairs(of("facts")) do
    of_all = of_all + o.data.of rows = rows + #o.data.rows
    if #o.data.rows > 5 or #o.data.rows ~= o.data.shown or o.data.shown > o.data.of then return "too many" end
    for _, r in ipairs(o.data.rows) do if #r.id ~= 32 or r.kind ~= "path" or not r.label:match("^%d+ %d+$") or not r.by or not r.found_at:match("Z$") then return "bad row" end end
end return rows > 0 and of_all > rows end)()')" true
same "the events" "$(events "$TMPDIR/all" '#of("events") == 0 or of("events")[1].data.ready ~= nil')" true
ok "$(events "$TMPDIR/all" '#e') messages"

check "a pause stands in audit and status at once"
send POST /queue/pause '{"reason":"seen by all"}'
wanted 202
until_true says "$TMPDIR/all" '#of("audit") >= 1'
same "audit" "$(events "$TMPDIR/all" 'of("audit")[1].data.rows[1].reason')" "seen by all"
until_true says "$TMPDIR/all" '(function() for _, o in ipairs(of("status")) do if o.data.state == "paused" then return true end end end)()'
send POST /queue/resume '{"reason":"over"}'
wanted 202
ok

check "however many results never come, the newest are told"
sql "INSERT INTO audit (id, at, who, act, what, reason, result) SELECT (SELECT coalesce(max(id), 0) FROM audit) + n, now(), 'x', 'bench', 'all',
    CASE n WHEN 101 THEN 'the last one' ELSE '' END, 'running' FROM generate_series(1, 101) n"
results_of() # REASON
{
    events "$TMPDIR/all" '(function() local s = {} for _, o in ipairs(of("audit")) do for _, r in ipairs(o.data.rows) do if r.reason == "'"$1"'" then s[#s + 1] = r.result end end end return table.concat(s, " | ") end)()'
}
is_told() # REASON PATTERN
{
    [[ $(results_of "$1") == $2 ]]
}
until_true is_told "the last one" running
send POST /bench '{"reason":"is it told?"}'
wanted 202
deadline_s=90 until_true is_told "is it told?" "running | 2 lifecycles and the host, * parts, 0 failed"
sql "DELETE FROM audit WHERE act = 'bench' AND who = 'x'"
ok

check "an audit row comes again when its result is known"
fact=$(sql "SELECT replace(_id::text, '-', '') FROM fact_path LIMIT 1")
sql "INSERT INTO parked (lifecycle, fact, bucket, state, attempts, error, trace, generation, first_at, last_at, ready_at) SELECT id, '$fact', 0, 'dead', 3, 'no', '', 1, now(), now(), now() FROM lifecycle WHERE name = 'path_takes_edge'"
send POST /queue/pause '{"reason":"so that the retry waits"}'
wanted 202
send POST /events/retry "{\"ids\":[\"path_takes_edge:$fact\"],\"reason\":\"once more\"}"
wanted 202
results() # of the rows of that retry
{
    events "$TMPDIR/all" '(function() local s = {} for _, o in ipairs(of("audit")) do for _, r in ipairs(o.data.rows) do if r.reason == "once more" then s[#s + 1] = r.result end end end return table.concat(s, " | ") end)()'
}
has_results()
{
    [[ $(results) == $1 ]]
}
until_true has_results "1 queued"
send POST /queue/resume '{"reason":"let it run"}'
wanted 202
until_true has_results "1 queued | 1 queued; 1 done after * s"
ok

check "topics and lifecycles that there are not are refused"
refused 400 'did you mean "status"' GET "/stream?topics=statuss" ''
refused 422 'there is no lifecycle "nobody"' GET "/stream?topics=status,lifecycle:nobody" ''
ok

check "no more readers than http.streams, and a place is free again"
several=()
for _ in 1 2 3 4; do
    read_stream "$TMPDIR/more" status
    several+=("$reader")
done
full()
{
    get "/stream?topics=status" -m 1 -D "$TMPDIR/head"
    [ "$code" = 503 ]
}
until_true full
grep -qi '^retry-after: 5' "$TMPDIR/head" || fail "no Retry-After: $(cat "$TMPDIR/head")"
gives a.error.code too_many_streams
kill "${several[@]}" 2>/dev/null || true # one may have been refused
has_room() # a closed connection shows when something is sent: within the heartbeat
{
    code=$(curl -s -o /dev/null -m 1 -w '%{http_code}' "$base/stream?topics=status") || true
    [ "$code" = 200 ]
}
until_true has_room
ok

check "all readers of a message get the same bytes"
read_stream "$TMPDIR/one" status
one=$reader
read_stream "$TMPDIR/two" status
edges 90000 40
until_true says "$TMPDIR/one" '#e >= 3'
until_true says "$TMPDIR/two" '#e >= 3'
shared=$(grep '^id:' "$TMPDIR/one" | sort >"$TMPDIR/ids"; grep '^id:' "$TMPDIR/two" | sort | comm -12 - "$TMPDIR/ids" | wc -l)
[ "$shared" -ge 2 ] || fail "messages are built for each reader: $shared in common"
kill "$one" "$reader"
ok "$shared messages in common"

check "a reader that hears nothing hears a heartbeat"
kept()
{
    grep -q '^:' "$TMPDIR/audit"
}
until_true kept
kill -0 "$audit_reader" || fail "the reader has ended"
ok

check "a reload ends streams, and who comes back is served"
sed -i '1i -- another text' "$app/lifecycles/path_takes_edge.lua"
acc reload >/dev/null 2>&1
ended()
{
    ! kill -0 "$audit_reader" 2>/dev/null
}
until_true ended
wait "$audit_reader" || fail "the stream was cut, not ended: curl says $?"
read_stream "$TMPDIR/after" status
until_true says "$TMPDIR/after" '#e >= 1'
until_true says "$TMPDIR/after" '(function() local g for _, o in ipairs(e) do g = o.data.generation or g end return g == 2 end)()'
kill "$reader"
ok
stop_host

finish
