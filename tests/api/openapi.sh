#!/bin/bash
# /openapi.json: linted, against the table of routes, and against real answers of every route with and without rows.
. tests/host.sh "$@"
. tests/api/api.sh

export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
answers=$TMPDIR/answers
mkdir "$answers"
asked=0

# Asks and keeps the answer for validate.mjs.
ask() # STATUS METHOD PATH CURL-ARGUMENTS...
{
    local wanted=$1 method=$2 path=$3 way=(-X "$2")

    shift 3
    asked=$((asked + 1))
    [ "$method" != HEAD ] || way=(--head)
    curl -s -m "${wait_s:-20}" "${way[@]}" -D "$answers/$asked.head" -o "$answers/$asked.body" "$@" "$base$path" || true
    [ "$method" != HEAD ] || : >"$answers/$asked.body"
    [ -e "$answers/$asked.body" ] || : >"$answers/$asked.body"
    printf '%s\t%s\t%s\n' $asked "$method" "$path" >>"$answers/index"
    cp "$answers/$asked.body" "$TMPDIR/answer"
    code=$(sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$answers/$asked.head" | tail -n 1)
    [ "$code" = "$wanted" ] || fail "$method $path: wanted $wanted, got $code: $(head -c 400 "$TMPDIR/answer")"
}

tell() # STATUS METHOD PATH JSON CURL-ARGUMENTS...: the same with a body
{
    local status=$1 method=$2 path=$3 body=$4

    shift 4
    ask "$status" "$method" "$path" -H 'Content-Type: application/json' --data-binary "$body" "$@"
    [[ $status != 2* ]] || printf '%s' "$body" >"$answers/$asked.sent"
}

# Asks GET PATH until the Lua expression is true, then once more for validate.mjs.
ask_when() # PATH LUA-EXPRESSION
{
    until_true holds "$1" "$2"
    ask 200 GET "$1"
}

holds()
{
    get "$1"
    [ "$code" = 200 ] && [ "$(answer "$2")" = true ]
}

id_of() # KIND CONDITION
{
    sql "SELECT replace(_id::text, '-', '') FROM fact_$1 WHERE $2 ORDER BY _id LIMIT 1"
}

validate() # POINTER JSON: with an error planted, if given
{
    node tests/api/validate.mjs "$modules" "$TMPDIR/openapi.json" "$answers" "$TMPDIR/operations" "$@"
}

lint() # DOCUMENT
{
    "$modules/.bin/redocly" lint --extends=recommended-strict "$1" 2>&1
}

series() # ARRAY of host/figures_series.c, as parameters
{
    sed -n "/$1\[\]/,/NULL/p" host/figures_series.c | grep -o '"[a-z_0-9]*"' | tr -d '"' | sed 's/^/\&name=/' | tr -d '\n'
}

modules=$(tests/npm/install)

# A kind with a field of every type, one for text, one for text with a name, one that facts may contradict, and lifecycles that
# find, fail, wait, take long, never end.
new_app
cat >"$app/kinds/thing.lua" <<'END'
return { fields = { { "n", "int8" }, { "word", "text" } },
         nullable = { { "flag", "bool" }, { "ratio", "float8" }, { "raw", "bytes" }, { "doc", "json" }, { "ref", "uuid" },
                      { "flags", "bool[]" }, { "list", "int8[]" }, { "ratios", "float8[]" }, { "words", "text[]" },
                      { "raws", "bytes[]" }, { "docs", "json[]" }, { "refs", "uuid[]" } } }
END
echo 'return { fields = { { "n", "int8" }, { "word", "text" } } }' >"$app/kinds/square.lua"
echo 'return { fields = { { "body", "text" } } }' >"$app/kinds/page.lua"
echo 'return { fields = { { "title", "text" }, { "body", "text" } }, unique = { "title" } }' >"$app/kinds/note.lua"
echo 'return { fields = { { "n", "int8" } } }' | tee "$app/kinds/tree.lua" "$app/kinds/slow.lua" >"$app/kinds/trap.lua"
cat >"$app/lifecycles/thing_squares.lua" <<'END'
--- Squares things.
local M = { on = "thing", friends = { thing = { { "word" } } }, finds = { "square" }, monotone = true }
function M.abort_early(thing) if thing.n == 13 then return true, "thirteen" end end
function M.load_friends(db, thing) return db.thing:where({ word = thing.word }) end
function M.abort_late(thing, things) if thing.n == 14 then return true, "fourteen" end end
function M.process_data(thing, things, found)
  if thing.n < 4 then error("cannot square " .. tostring(thing.n)) end
  for _, other in things:each() do
    if other.n == thing.n - 8 then found.square(other, thing.n * thing.n, thing.word) end
  end
end
return M
END
cat >"$app/lifecycles/tree_grows.lua" <<'END'
local M = { on = "tree", finds = { "tree" }, monotone = true }
function M.process_data(tree, found)
  found.tree(nil, 2 * tree.n)
  found.tree(nil, 2 * tree.n + 1)
end
return M
END
cat >"$app/lifecycles/slow_waits.lua" <<'END'
local M = { on = "slow", finds = {}, monotone = true }
function M.process_data(slow, found)
  local till = os.clock() + slow.n
  while os.clock() < till do end
end
return M
END
cat >"$app/lifecycles/trap_loops.lua" <<'END'
local M = { on = "trap", finds = {}, monotone = true }
function M.process_data(trap, found) while trap.n > 0 do end end
return M
END
start_api --set queue.attempts=2 --set queue.retry=1h --set http.body=64KiB --set http.streams=1 --set worker.count=2
things()
{
    luajit -e '
for n = 1, 1500 do
  local more = n % 3 ~= 0 and "" or (",\"flag\":%s,\"ratio\":%s,\"raw\":\"%04x\",\"doc\":{\"n\":%d},\"ref\":\"00000000-0000-4000-8000-%012d\""
    .. ",\"flags\":[true,false],\"list\":[%d,-1],\"ratios\":[0.5,\"NaN\"],\"words\":[\"a\",\"b\"],\"raws\":[\"00ff\"],\"docs\":[null,1],"
    .. "\"refs\":[\"00000000-0000-4000-8000-%012d\"]"):format(n % 2 == 0, n % 9 == 0 and "\"-Infinity\"" or n / 8, n, n, n, n, n)
  print(("{\"n\":%d,\"word\":\"w%d\"%s}"):format(n, n % 8, more))
end'
}

# All routes of the table, with a path for each kind.
sed -n 's/^    {"\([A-Z]*\)", "\([^"]*\)".*/\1 \2/p' host/api/routes.c | while read -r method path; do
    case $path in
    *{kind}*) for kind in "$app"/kinds/*.lua; do echo "$method ${path/\{kind\}/$(basename "$kind" .lua)}"; done ;;
    *) echo "$method $path" ;;
    esac
done >"$TMPDIR/operations"
kinds="note page slow square thing trap tree"

check "without rows, routes answer"
until_true holds /ready a.ready
until_true holds /status true
until_true holds '/series?name=todo' true
for path in /ingests /kinds /graph '/graph?window=5m' /lifecycles /lifecycles/thing_squares /lifecycles/thing_squares/source \
    '/lifecycles/thing_squares/source?generation=1' /events '/events?state=ready' '/events?state=claimed' /events/dead/groups \
    '/wait?timeout_s=0' /status /workers /generations /database /bench /audit /metrics /live /ready '/find?q=nothing' \
    '/series?name=todo&name=conflicts&window=24h' '/series?name=friends_mean&lifecycle=thing_squares'; do
    ask 200 GET "$path"
done
for kind in $kinds; do
    ask 200 GET "/facts/$kind"
    ask 200 GET "/facts/$kind/count"
    ask 200 GET "/facts/$kind.csv"
done
ask 200 GET '/facts/thing/values?field=doc'
ask 200 HEAD /status
ask 200 HEAD /facts/thing
ask 200 GET /openapi.json
cp "$answers/$asked.body" "$TMPDIR/openapi.json"
ok

check "the document is without fault for redocly, and a fault is found"
lint "$TMPDIR/openapi.json" >"$TMPDIR/lint" || fail "$(cat "$TMPDIR/lint")"
grep -q 'is valid' "$TMPDIR/lint" || fail "$(cat "$TMPDIR/lint")"
sed 's|"#/components/schemas/database"|"#/components/schemas/nothing"|' "$TMPDIR/openapi.json" >"$TMPDIR/wrong.json"
! lint "$TMPDIR/wrong.json" >"$TMPDIR/lint" || fail "a reference to nothing passes: $(cat "$TMPDIR/lint")"
ok

check "facts of every type go in, in every way"
trace=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
things >"$TMPDIR/things"
head -n 500 "$TMPDIR/things" >"$TMPDIR/part"
ask 200 POST '/facts/thing?name=things&part=1&parts=2' -H 'Content-Type: application/x-ndjson' -H "traceparent: $trace" \
    --data-binary "@$TMPDIR/part"
tail -n +501 "$TMPDIR/things" | gzip >"$TMPDIR/part"
ask 200 POST '/facts/thing?name=things&part=2&parts=2' -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: gzip' \
    --data-binary "@$TMPDIR/part"
tell 200 POST '/facts/thing?check=1' '[{"n":2,"word":"w2"},{"n":2000,"word":"new"}]'
tell 200 POST /facts/thing '{"kind":"thing","n":"9007199254740993","word":"large","ratio":"Infinity"}'
tell 200 POST /facts/thing '{"n":2,"word":"w2"}'
tell 200 POST /facts/square '{"kind":"square","n":3,"word":"sent"}'
tell 200 POST /facts/page '{"kind":"page","body":"once upon a time"}'
ask 200 POST /facts/page -H 'Content-Type: text/plain' --data-binary 'a page of text'
ask 200 POST '/facts/note?name=title' -H 'Content-Type: text/plain' --data-binary 'a note'
tell 200 POST /facts/note '{"kind":"note","title":"a title","body":"a body"}'
ask 200 POST /facts/note -H 'Content-Type: text/csv' --data-binary $'title,body\nsecond,b\nthird,c,d\n'
ask 200 POST /facts/thing -H 'Content-Type: application/x-ndjson' --data-binary $'{"n":5,"word":5}\n{"n":5,"word":"w5"}\n'
refused_lines=$(answer a.ingest)
tell 200 POST /facts/trap '{"kind":"trap","n":0}'
tell 409 POST /facts/note '{"title":"a title","body":"another body"}'
tell 422 POST /facts/thing '{"n":"three","word":"w"}'
tell 400 POST /facts/thing '{"n":'
tell 400 POST '/facts/thing?part=3' '{"n":5,"word":"w"}'
ask 415 POST /facts/thing -H 'Content-Type: text/html' --data-binary x
ask 415 POST /facts/thing -H 'Content-Type: application/json' -H 'Content-Encoding: br' --data-binary x
head -c 70000 /dev/zero | tr '\0' x >"$TMPDIR/large"
ask 413 POST /facts/page -H 'Content-Type: text/plain' --data-binary "@$TMPDIR/large"
ask 200 GET '/ingests?limit=2'
ask 200 GET "/ingests?limit=100&before=$(answer a.before)"
ask 200 GET "/ingests/$refused_lines/errors"
ok

check "an event that fails is delayed, tried again it is dead; others wait and run"
ask_when '/events?state=delayed' '#a.rows == 3'
ask 200 GET "/events/$(answer 'a.rows[1].id')"
tell 202 POST /events/retry '{"match":{"state":"delayed","lifecycle":"thing_squares"},"expect":3,"reason":"a test"}'
ask_when '/events?state=dead' '#a.rows == 3'
dead=$(answer 'a.rows[1].id')
ask 200 GET "/events/$dead"
ask 200 GET /events?limit=1
ask 200 GET "/events?limit=1&before=$(answer a.before)"
sig=$(answer 'a.rows[1].sig')
ask 200 GET "/events?sig=$sig&lifecycle=thing_squares"
ask 200 GET /events/dead/groups
ask 200 GET '/events/dead/groups?lifecycle=thing_squares'
tell 202 POST /events/retry "{\"match\":{\"sig\":\"$sig\"},\"expect\":3,\"reason\":\"a test\"}"
ask_when '/events?state=dead' '#a.rows == 3'
tell 202 POST /events/discard "{\"ids\":[\"$dead\"],\"reason\":\"a test\"}"
ask 200 GET "/events?state=discarded"
ask 200 GET "/facts/thing/${dead#*:}/events"
tell 409 POST /events/retry '{"match":{},"expect":1,"reason":"a test"}'
tell 409 POST /events/discard '{"match":{"state":"dead"},"expect":7,"reason":"a test"}'
tell 400 POST /events/retry '{"reason":"a test"}'
ask_when /status 'a.state == "fixpoint_except"'
ask_when /kinds 'a[5].facts > 1500'
tell 200 PUT /lifecycles/tree_grows/throttle '{"per_s":20,"reason":"it has no end"}'
tell 200 POST /facts/tree '{"kind":"tree","n":1}'
tell 200 POST /facts/slow '{"kind":"slow","n":3}'
ask_when '/events?state=claimed&lifecycle=slow_waits' '#a.rows == 1'
ask 200 GET "/events/$(answer 'a.rows[1].id')"
ask_when /workers 'a[1].batch.lifecycle == "slow_waits" or a[2].batch.lifecycle == "slow_waits"'
deadline_s=60 ask_when /status 'a.state == "not_converging"'
grown() { [ -n "$(id_of tree "n = 4")" ]; }
until_true grown
ask 200 GET /lifecycles
ask 200 GET /graph
tell 202 POST /queue/pause '{"reason":"a test"}'
ask_when /status 'a.state == "paused"'
ask 200 GET '/events?state=ready&limit=1'
ask 200 GET "/events/$(answer 'a.rows[1].id')"
fact=$(answer a.fact)
ask 200 GET "/facts/tree/$fact/events"
ask 200 GET /lifecycles/tree_grows
ask 200 GET '/wait?timeout_s=1'
ask_when /workers 'a[1].state == "paused"'
kill -KILL "$(answer 'a[1].pid')"
ask_when /workers 'a[1].last_exit.signal == 9'
ok

check "facts come out, page by page and one by one"
one=$(id_of thing "n = 300")
ask 200 GET '/facts/thing?limit=2'
ask 200 GET "/facts/thing?limit=2&before=$(answer a.before)"
ask 200 GET "/facts/thing?limit=2&after=$(answer a.after)"
ask 200 GET '/facts/thing?order=n~desc&fields=n,word'
ask 200 GET '/facts/thing?order=id&f=n~ge~3&f=word~eq~w3&f=doc~notnull&f=list~has~-1'
ask 200 GET '/facts/thing/count?f=ratio~null&limit_ms=100'
for field in flag ratio raw doc ref list docs; do
    ask 200 GET "/facts/thing/values?field=$field&limit=3"
done
for kind in $kinds; do
    ask 200 GET "/facts/$kind?limit=1"
    [ $kind != trap ] || ask 200 GET "/facts/$kind?order=id"
    id=$(answer 'a.rows[1].id')
    ask 200 GET "/facts/$kind.ndjson"
    ask 200 GET "/facts/$kind.csv"
    ask 200 GET "/facts/$kind/values?field=$(sed -n 's/.*{ { "\([a-z]*\)".*/\1/p' "$app/kinds/$kind.lua" | head -n 1)"
    ask 200 GET "/facts/$kind/$id"
    ask 200 GET "/facts/$kind/$id/causes"
    ask 200 GET "/facts/$kind/$id/effects"
    ask 200 GET "/facts/$kind/$id/events"
    ask 200 POST "/facts/$kind/$id/dry-run"
done
ask 200 GET "/facts/thing/${one:0:12}"
ask 200 GET "/facts/thing/$one/events"
ask 200 GET "/facts/thing/$one/effects"
ask 200 GET "/facts/thing/$one/effects?by=thing_squares&limit=1"
ask 200 GET "/facts/thing/$one/effects?by=thing_squares&after=$(answer a.after)"
ask 200 GET "/facts/square/$(id_of square "n = 90000")/causes?depth=1"
ask 200 GET "/facts/tree/$(id_of tree "n = 4")"
ask 200 GET "/facts/tree/$(id_of tree "n = 4")/causes?depth=1"
for n in 1 13 14 300; do
    ask 200 POST "/facts/thing/$(id_of thing "n = $n")/dry-run?lifecycle=thing_squares"
done
tell 200 POST /facts/trap '{"n":1}'
ask 200 POST "/facts/trap/$(id_of trap "n = 1")/dry-run"
ask 200 GET '/find?q=th'
ask 200 GET "/find?q=${one:0:6}"
ok

check "what is done to the host is written down, what it refuses is an error"
tell 202 POST /queue/resume '{"reason":"a test"}'
tell 200 PUT /lifecycles/thing_squares/throttle '{"per_s":0.5,"reason":"a test"}'
ask_when /lifecycles 'a[2].throttle_per_s == 0.5'
ask 200 GET /lifecycles/thing_squares
tell 200 PUT /lifecycles/thing_squares/throttle '{"per_s":null,"reason":"a test"}'
echo 'local M = {' >"$app/lifecycles/broken.lua"
tell 422 POST /reload '{"reason":"a test"}'
ask_when /generations 'a[1].state == "refused"'
rm "$app/lifecycles/broken.lua"
tell 202 POST /reload '{"reason":"a test"}'
echo '-- changed' >>"$app/lifecycles/thing_squares.lua"
tell 202 POST /reload '{"reason":"a test"}'
tell 202 POST /bench '{"lifecycles":["thing_squares","tree_grows"],"reason":"a test"}'
tell 409 POST /bench '{"reason":"a test"}'
deadline_s=120 ask_when /bench '#a > 0'
ask 200 GET "/bench?baseline=$(answer 'a[1].generation')"
ask 404 GET '/bench?baseline=99'
ask 400 GET '/bench?baseline=0'
tell 422 POST /bench '{"lifecycles":["nobody"],"reason":"a test"}'
ask 200 GET '/audit?limit=1'
ask 200 GET "/audit?limit=100&before=$(answer a.before)"
ask 200 GET '/audit?act=throttle&who=127.0.0.1'
ask_when "/series?window=15m$(series figures_series_names)" '#a.t >= 3 and a.marks[1] ~= nil'
ask 200 GET "/series?window=15m&lifecycle=thing_squares$(series figures_lifecycle_series_names)"
ask_when /database 'a.tables[1].rows > 0'
ask 200 GET /metrics
ask 404 GET /nothing/here
ask 405 DELETE /status
ask 405 PUT "/facts/thing/$one"
ask 400 GET '/status?colour=red'
ask 400 GET '/facts/thing?f=n~like~1'
ask 400 GET '/facts/thing?limit=many'
ask 400 GET '/facts/thing/zz'
ask 400 GET '/series'
ask 422 GET '/events?state=gone'
ask 404 GET '/facts/thing/0000000000000000000000000000000f'
ask 422 GET "/facts/thing/$one/effects?by=nobody"
ask 404 GET '/lifecycles/nobody'
ask 404 GET '/lifecycles/thing_squares/source?generation=99'
ask 404 GET '/ingests/1/errors'
ask 404 GET '/events/thing_squares:0000000000000000000000000000000f'
ask 422 GET '/events?lifecycle=nobody'
ask 422 GET '/events/dead/groups?lifecycle=nobody'
ask 422 GET '/series?name=todo&lifecycle=nobody'
ask 422 GET '/stream?topics=lifecycle:nobody'
ask 422 POST "/facts/thing/$one/dry-run?lifecycle=nobody"
tell 422 POST /events/retry '{"match":{"lifecycle":"nobody"},"expect":0,"reason":"a test"}'
tell 422 POST /events/discard '{"match":{"state":"ready"},"expect":0,"reason":"a test"}'
same_digits=$(sql "SELECT left(_id::text, 4) FROM fact_thing GROUP BY 1 HAVING count(*) > 1 LIMIT 1")
ask 409 GET "/facts/thing/$same_digits"
ask 409 GET "/facts/thing/$same_digits/causes"
ask 409 GET "/facts/thing?before=$same_digits"
ask 415 POST /reload -H 'Content-Type: text/plain' --data-binary '{}'
tell 400 POST /reload '{"reasons":"a test"}'
tell 400 PUT /lifecycles/thing_squares/throttle '{"per_s":-1,"reason":"a test"}'
tell 404 PUT /lifecycles/nobody/throttle '{"per_s":1,"reason":"a test"}'
tell 403 POST /queue/pause '{"reason":"a test"}' -H 'Sec-Fetch-Site: cross-site'
ask 403 GET /status -H 'Host: example.org'
ask 401 GET /status -H 'Authorization: Bearer nothing'
token=$(acc token new reader --role read 2>/dev/null | tail -n 1)
known() # the front has read the tokens
{
    get /status -H "Authorization: Bearer $token"
    [ "$code" = 200 ]
}
until_true known
tell 403 POST /queue/pause '{"reason":"a test"}' -H "Authorization: Bearer $token"
tell 413 POST /reload "{\"reason\":\"$(cat "$TMPDIR/large")\"}"
unchanged()
{
    ask 200 GET /generations
    tag=$(sed -n 's/^etag: *//Ip' "$answers/$asked.head" | tr -d '\r')
    get /generations -H "If-None-Match: $tag"
    [ "$code" = 304 ] && ask 304 GET /generations -H "If-None-Match: $tag"
}
until_true unchanged
wait_s=2 ask 200 GET '/stream?topics=status'
curl -sN -m 5 "$base/stream?topics=status,facts" >/dev/null &
stream=$!
full()
{
    curl -s -m 1 -o "$TMPDIR/answer" -w '%{http_code}' "$base/stream" | grep -q 503
}
until_true full
ask 503 GET /stream
wait $stream || true
ok "$asked answers"

check "every answer is what the document says, which names what is there and no more"
validate >"$TMPDIR/validated" || fail "$(grep -v '^never null' "$TMPDIR/validated")"
ok "$(tail -n 1 "$TMPDIR/validated")"

check "a schema that is wrong is found"
planted=0
plant() # POINTER JSON
{
    ! validate "$1" "$2" >"$TMPDIR/validated" || fail "$1 may be $2: $(cat "$TMPDIR/validated")"
    grep -q '^WRONG' "$TMPDIR/validated" || fail "$1: $(cat "$TMPDIR/validated")"
    planted=$((planted + 1))
}
schemas=/components/schemas
plant $schemas/count/properties/exact/type '"string"'
plant $schemas/status/properties/workers/properties/old ''
plant $schemas/event_row/properties/colour '{"type":"string"}'
plant $schemas/thing.fields/properties/refs/items/format '"date"'
plant $schemas/thing.fields/properties/flag/type '"boolean"'
plant $schemas/graph/properties/edges/items/properties/type/enum '["data","found"]'
plant $schemas/error/properties/error/required '["code","message","request","field"]'
plant $schemas/status/properties/facts '{"type":"strng"}'
plant /paths/~1ready/get ''
plant /paths/~1ready/post '{"operationId":"x","responses":{}}'
plant /paths/~1generations/get/responses/304 ''
ok "$planted errors"

finish
