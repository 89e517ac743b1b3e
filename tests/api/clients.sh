#!/bin/bash
# Real clients: curl as people use it, wrk, and Chromium with its EventSource.
. tests/host.sh "$@"
. tests/api/api.sh

new_app examples/closure
echo 'return { fields = { { "text", "text" } } }' >"$app/kinds/note.lua"
start_api --set worker.count=2

check "curl: one connection for many requests, pipes, files, gzip, HEAD, Expect and HTTP/1.0"
edge='{"from":100,"to":101}'
same "connections of ten requests" \
    "$(for i in {1..10}; do printf 'next\nurl = %s/facts/edge\njson = "{\\"from\\":%d,\\"to\\":0}"\noutput = /dev/null\nwrite-out = %%{num_connects}:%%{http_code}\n' "$base" $((200 + i)); done | sed 1d | curl -s -K - | tr -d '\n')" \
    "1:2000:2000:2000:2000:2000:2000:2000:2000:2000:200"
seq 1000 1999 | sed 's/.*/{"from":&,"to":1}/' >"$TMPDIR/edges"
get /facts/edge -H 'Content-Type: application/x-ndjson' -T - -X POST <"$TMPDIR/edges" # chunked
wanted 200
gives a.new 1000
gzip -k "$TMPDIR/edges"
get /facts/edge -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: gzip' --data-binary @"$TMPDIR/edges.gz"
wanted 200
gives a.repeats 1000
get /facts/edge -H 'Content-Type: application/x-ndjson' -H 'Expect: 100-continue' --data-binary @"$TMPDIR/edges"
wanted 200
get /facts/edge --http1.0 -H 'Content-Type: application/json' --data-binary "$edge"
wanted 200
same "length by HEAD" "$(curl -s -I "$base/kinds" | grep -i '^content-length' | tr -dc 0-9)" "$(curl -s "$base/kinds" | wc -c)"
same "unknown by its tag" "$(curl -s -o /dev/null -w '%{http_code}' -H "If-None-Match: $(curl -sI "$base/graph" | sed -n 's/^etag: \(.*\)\r$/\1/ip')" "$base/graph")" 304
same "HTTP/2 asked for" "$(curl -s --http2 -o /dev/null -w '%{http_version} %{http_code}' "$base/status")" "1.1 200"
ok

check "wrk: no error among all that it asks"
for path in /status "/facts/edge?limit=5" /live /metrics; do
    wrk -t1 -c8 -d1s "$base$path" >"$TMPDIR/wrk"
    ! grep -E 'Non-2xx|Socket errors' "$TMPDIR/wrk" || fail "$path: $(cat "$TMPDIR/wrk")"
done
cat >"$TMPDIR/post.lua" <<'END'
local n = 0
wrk.method, wrk.headers["Content-Type"] = "POST", "application/json"
function request() n = n + 1 return wrk.format(nil, nil, nil, ('{"text":"wrk %d"}'):format(n)) end
END
wrk -t1 -c32 -d1s -s "$TMPDIR/post.lua" "$base/facts/note" >"$TMPDIR/wrk"
! grep -E 'Non-2xx|Socket errors' "$TMPDIR/wrk" || fail "$(cat "$TMPDIR/wrk")"
asked=$(sed -n 's/^ *\([0-9]*\) requests in.*/\1/p' "$TMPDIR/wrk")
notes=$(sql "SELECT count(*) FROM fact_note WHERE text LIKE 'wrk %'")
[ "$notes" -ge "$asked" ] || fail "$asked were answered, $notes are there"
ok "$asked facts in a second"

check "Chromium's EventSource gets changes, comes back after a kill of the front, and pages from elsewhere get nothing"
NODE_MODULES=$(tests/npm/install)
export NODE_MODULES
sql "SELECT count(*) FROM fact_edge" >"$TMPDIR/edges.before"
mkfifo "$TMPDIR/steps"
HOME=$TMPDIR node tests/api/browser.mjs "$base" <"$TMPDIR/steps" >"$TMPDIR/seen" 2>"$TMPDIR/browser.log" &
browser=$!
hosts+=("$browser")
exec {steps}>"$TMPDIR/steps"
saw() # LINE
{
    kill -0 $browser 2>/dev/null || fail "the browser ended: $(cat "$TMPDIR/seen" "$TMPDIR/browser.log")"
    grep -q "^$1" "$TMPDIR/seen"
}
deadline_s=60 until_true saw "changed true"
grep -q '^posted 200 1$' "$TMPDIR/seen" || fail "$(cat "$TMPDIR/seen")"
kill -KILL $(status "(function() local p = {} for _, s in ipairs(status.services) do if s.role == 'front' then p[#p + 1] = s.pid end end return table.concat(p, ' ') end)()")
echo >&"$steps"
until_true saw "again true"
seq 3000 3030 | sed 's/.*/{"from":&,"to":2}/' | ingest edge
echo >&"$steps"
until_true saw "current true"
until_true grep -q '^complaints' "$TMPDIR/seen"
wait $browser || fail "the browser ended with $?: $(cat "$TMPDIR/browser.log")"
exec {steps}>&-
same "pages from elsewhere" "$(grep ^elsewhere "$TMPDIR/seen")" "elsewhere 127.0.0.1 failed, failed, failed, failed
elsewhere localhost failed, failed, failed, failed"
same "what they have written" "$(sql "SELECT count(*) FROM fact_note WHERE text = 'from elsewhere'") $(sql 'SELECT count(*) FROM fact_edge WHERE "from" = 7')" "0 0"
same "complaints" "$(grep ^complaints "$TMPDIR/seen")" "complaints 0 "
stop_host
ok

finish
