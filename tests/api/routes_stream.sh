#!/bin/bash
# Answers that Lua routes write while they are sent: whole, in bounded memory, at the pace of their readers, and cut off when
# something fails in the middle.
. tests/host.sh "$@"
. tests/api/api.sh

big=100000000 # bytes
grows=16000   # KiB that a long answer may take
! ldd "$ACCRETE" | grep -q libasan || grows=1000000 # what is freed is kept for a while

new_app
mkdir "$app/routes"
echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/thing.lua"
cat >"$app/routes/pieces.lua" <<LUA
local http = require("accrete.http")
local flag = "$app/flag"
local function exists() local file = io.open(flag) if file then file:close() end return file ~= nil end
local counts = {} -- of each /big: bytes written, and how it ended
LUA
cat >>"$app/routes/pieces.lua" <<'LUA'
http.get("/lines/{n}", function(req)
  return http.stream(function(write)
    for i = 1, tonumber(req.parts.n) do write(i .. "\n") end
  end)
end)
http.get("/triple", function()
  return 201, function(write) write("made ") write("") write("so") end, { ["content-type"] = "text/csv", ["x-mine"] = "yes" }
end)
http.get("/things", function(_, db)
  return http.stream(function(write)
    local after
    repeat
      local rows = db.thing:where({}, { limit = 10, after = after })
      for _, row in rows:each() do write(tostring(row.n) .. "\n") after = row._id end
    until rows:count() < 10
  end)
end)
http.get("/hello_and_wait", function()
  return http.stream(function(write)
    write("hello\n")
    while not exists() do http.sleep(0.02) end
    write("bye\n")
  end)
end)
http.get("/big/{name}/{bytes}", function(req)
  local name, line = req.parts.name, ("x"):rep(999) .. "\n"
  counts[name] = 0
  return http.stream(function(write)
    local ok, err = pcall(function()
      for _ = 1, tonumber(req.parts.bytes) / 1000 do
        write(line)
        counts[name] = counts[name] + #line
      end
    end)
    counts[name .. " ended"] = ok and "whole" or err.code
    if not ok then error(err, 0) end
  end)
end)
http.get("/count/{name}", function(req) return tostring(counts[req.parts.name]) end)
http.get("/ended/{name}", function(req) return tostring(counts[req.parts.name .. " ended"]) end)
http.get("/piece/{bytes}", function(req)
  return http.stream(function(write) write(("y"):rep(tonumber(req.parts.bytes))) write("z") end)
end)
http.get("/fails/{when}", function(req)
  return http.stream(function(write)
    if req.parts.when == "told" then http.error(418, "teapot", "before the first piece") end
    if req.parts.when == "early" then error("before the first piece") end
    for _ = 1, 1000 do write(("a long line of text "):rep(20)) end
    if req.parts.when == "late" then error("in the middle of it") end
    if req.parts.when == "no_text" then write(7) end
    if req.parts.when == "stuck" then http.sleep(20) end
  end)
end)
http.get("/fails/with/{status}", function(req) return http.stream(function() end, tonumber(req.parts.status)) end)
http.get("/fails/as/no_function", function() return http.stream("text") end)
http.get("/slowly", function()
  return http.stream(function(write) for i = 1, 8 do write(i .. "\n") http.sleep(0.3) end end)
end)
local kept
http.get("/keep", function() return http.stream(function(write) kept = write write("kept") end) end)
http.get("/misuse", function() kept("into another's answer") end)
LUA
start_api --set http.route_timeout=1s --set http.read_timeout=500ms --set http.write_timeout=60s
peak_kib() # PID
{
    sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"
}
is_served() { get /lines/1 && [ "$code" = 200 ]; }
until_true is_served

check "what is written is the body, however many pieces, to every kind of client"
get /lines/200000 -D "$TMPDIR/head"
wanted 200
seq 200000 | cmp - "$TMPDIR/answer" || fail "another body"
grep -qi '^content-type: text/plain; charset=utf-8' "$TMPDIR/head" && grep -qi '^transfer-encoding: chunked' "$TMPDIR/head" || fail "$(cat "$TMPDIR/head")"
grep -qi '^x-request-id: ' "$TMPDIR/head" && grep -qi '^content-security-policy: ' "$TMPDIR/head" || fail "$(cat "$TMPDIR/head")"
get /lines/1000 --http1.0
seq 1000 | cmp - "$TMPDIR/answer" || fail "another body by HTTP/1.0"
get /lines/0 -D "$TMPDIR/head"
wanted 200
[ ! -s "$TMPDIR/answer" ] || fail "it is not empty"
get /triple -D "$TMPDIR/head"
wanted 201
same body "$(cat "$TMPDIR/answer")" "made so"
grep -qi '^content-type: text/csv' "$TMPDIR/head" && grep -qi '^x-mine: yes' "$TMPDIR/head" || fail "$(cat "$TMPDIR/head")"
get /big/head/100000000 --head -D "$TMPDIR/head"
wanted 200
same "written for HEAD" "$(get /count/head && cat "$TMPDIR/answer")" 0
get /piece/9000000
same "of one piece" "$(tr -d y <"$TMPDIR/answer" | head -c 10) $(wc -c <"$TMPDIR/answer")" "z 9000001"
for i in 1 2 3 4 5 6 7 8; do
    curl -s -m 60 -o "$TMPDIR/beside.$i" "$base/lines/100000" &
    beside[i]=$!
done
for i in 1 2 3 4 5 6 7 8; do
    wait "${beside[i]}"
    seq 100000 | cmp - "$TMPDIR/beside.$i" || fail "one of eight at once is another"
done
ok

check "pages of facts go out as they are read"
seq 1 95 | sed 's/.*/{"n":&}/' | ingest thing
get /things
wanted 200
sort -n "$TMPDIR/answer" | cmp - <(seq 95) || fail "$(sort -n "$TMPDIR/answer" | tr '\n' ' ')"
ok

check "what is written goes out when the route waits, not when a piece is full"
curl -sN -m 60 -o "$TMPDIR/said" "$base/hello_and_wait" &
reader=$!
hosts+=("$reader")
until_true grep -qs hello "$TMPDIR/said"
touch "$app/flag"
wait $reader
same "all of it" "$(tr '\n' ' ' <"$TMPDIR/said")" "hello bye "
ok

check "a long answer takes no more memory than a short one, and is whole"
get /big/warm/1000000
wanted 200
# Its process says who it is by the one log line that it writes when it fails.
get /fails/early
wanted 500
pid=$(sed -n 's/.* pid=\([0-9]*\) at=routes .*before the first piece.*/\1/p' "$app/host.log" | tail -n 1)
[ -n "$pid" ] || fail "no process"
before=$(peak_kib "$pid")
same "bytes" "$(curl -s -m 300 "$base/big/fast/$big" | wc -c)" $big
after=$(peak_kib "$pid")
[ $((after - before)) -lt $grows ] || fail "$before KiB grew to $after KiB"
get /ended/fast
same "its end" "$(cat "$TMPDIR/answer")" whole
ok "$before KiB, then $after KiB for $((big / 1000000)) MB"

check "a route waits for a reader that takes nothing, others go on, and it gets all in the end"
mkfifo "$TMPDIR/tap"
curl -s -m 120 -o "$TMPDIR/tap" "$base/big/stalled/$big" &
reader=$!
hosts+=("$reader")
exec {tap}<"$TMPDIR/tap"
stands() # its count is the same after a second in which the process did other things
{
    local one two

    get /count/stalled
    one=$(cat "$TMPDIR/answer")
    sleep 1
    get /lines/1000
    wanted 200
    get /count/stalled
    two=$(cat "$TMPDIR/answer")
    [ "$one" != 0 ] && [ "$one" = "$two" ]
}
until_true stands
written=$(cat "$TMPDIR/answer")
[ "$written" -lt 8000000 ] || fail "$written bytes are held for it"
[ $(($(peak_kib "$pid") - before)) -lt $grows ] || fail "$before KiB grew to $(peak_kib "$pid") KiB"
same "all of it" "$(wc -c <&"$tap")" $big # more than its time limit later
exec {tap}<&-
wait $reader
ok "$written bytes were under way"

check "a route is told that its client has left"
curl -s -m 60 "$base/big/left/$big" 2>/dev/null | head -c 100000 >/dev/null || true
is_told() { get /ended/left && [ "$(cat "$TMPDIR/answer")" = lost ]; }
until_true is_told
! grep -q 'route="GET /big/{name}/{bytes}"' "$app/host.log" || fail "it is logged as an error"
ok

check "an error before the first piece is answered as any other"
get /fails/told
wanted 418
gives a.error.code teapot
get /fails/early
wanted 500
gives a.error.code route_failed
get /fails/with/204
wanted 500
get /fails/with/99
wanted 500
get /fails/as/no_function
wanted 500
grep -q 'http.stream: wanted a function(write), got a string' "$app/host.log" || fail "no reason in the log"
ok

check "an error after it cuts the body off, and the log says why"
for when in late no_text stuck; do
    code=0
    curl -s -m 20 -o "$TMPDIR/cut" "$base/fails/$when" || code=$?
    [[ $code = 18 || $code = 56 ]] || fail "$when: curl ended with $code"
    [ -s "$TMPDIR/cut" ] || fail "$when: nothing of it came"
done
for words in "in the middle of it" "write: wanted a text, got a number" "nothing was written for 1000 ms"; do
    grep -q "a route failed in the middle of its answer.*$words.*route=\"GET /fails/{when}\"\|a route failed in the middle of its answer.*route=\"GET /fails/{when}\".*$words" "$app/host.log" ||
        fail "no $words in $(grep at=routes "$app/host.log" | tail -n 3)"
done
get /keep
get /misuse
wanted 500
is_served || fail "it is not served any more"
ok

check "the time limit is one between two pieces"
get /slowly
wanted 200
same "all of it" "$(tr '\n' ' ' <"$TMPDIR/answer")" "1 2 3 4 5 6 7 8 "
ok

check "a body whose process is killed is cut off"
curl -s -m 60 --limit-rate 10M -o "$TMPDIR/half" "$base/big/killed/$big" &
reader=$!
hosts+=("$reader")
until_true test -s "$TMPDIR/half"
kill -KILL "$pid"
code=0
wait $reader || code=$?
[ $code != 0 ] || fail "it looked whole"
until_true is_served
stop_host
ok

check "a plain script streams as well"
cat >"$TMPDIR/script.lua" <<'LUA'
local http = require("accrete.http")
http.get("/lines/{n}", function(req)
  return http.stream(function(write)
    for i = 1, tonumber(req.parts.n) do write(i .. "\n") end
    if req.query.fail then error("on purpose") end
  end)
end)
http.serve { listen = "127.0.0.1:0", ready = function(address) print("serving " .. address) io.stdout:flush() end }
LUA
: >"$TMPDIR/script"
"$ACCRETE" lua "$TMPDIR/script.lua" >"$TMPDIR/script" 2>&1 &
script=$!
hosts+=("$script")
until_true grep -q serving "$TMPDIR/script"
base=http://$(sed -n 's/^serving //p' "$TMPDIR/script")
get /lines/300000
wanted 200
seq 300000 | cmp - "$TMPDIR/answer" || fail "another body"
code=0
curl -s -m 20 -o "$TMPDIR/cut" "$base/lines/10000?fail=1" || code=$?
[[ $code = 18 || $code = 56 ]] || fail "curl ended with $code"
kill -TERM $script
wait $script || fail "exit code $?"
ok

finish
