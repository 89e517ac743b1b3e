#!/bin/bash
# Lua routes of an app: what they answer, look up and write, and that bad ones hurt only themselves.
. tests/host.sh "$@"

routes_app()
{
    new_app
    mkdir -p "$app/routes"
    cat >"$app/kinds/thing.lua" <<'LUA'
return {
  fields = { { "b", "bool" }, { "n", "int8" }, { "t", "text" }, { "y", "bytes" }, { "u", "uuid" }, { "ns", "int8[]" }, { "ts", "text[]" } },
  nullable = { { "j", "json" }, { "f", "float8" }, { "us", "uuid[]" }, { "ys", "bytes[]" }, { "o", "text" } },
  unique = { "n", "t" },
}
LUA
    echo 'return { fields = { { "from", "int8" }, { "to", "int8" } } }' >"$app/kinds/edge.lua"
}

# Starts the host and waits until its routes answer.
serve()
{
    start_host --set http.listen=127.0.0.1:0 "$@"
    address=$(grep -o "http=127.0.0.1:[0-9]*" "$app/host.log" | tail -n 1 | cut -c6-)
    until_true answers /fine
}

answers() # PATH [CURL OPTION]...: sets code and out
{
    local path=$1

    shift
    code=$(curl -s -g -m 20 -o "$TMPDIR/out" -D "$TMPDIR/head" -w '%{http_code}' "$@" "$address$path") || true
    out=$(cat "$TMPDIR/out" 2>/dev/null || true)
    [ "$code" = 200 ]
}

# What a path is answered with: "CODE BODY".
wants() # PATH WANTED [CURL OPTION]...
{
    local path=$1 wanted=$2

    shift 2
    answers "$path" "$@" || true
    [[ "$code $out" == $wanted ]] || fail "$path: wanted $wanted, got $code $out"
}

has_head() # LINE: of the last answer, in any case
{
    grep -qi "^$1" "$TMPDIR/head" || fail "no header $1 in $(cat "$TMPDIR/head")"
}

refused_while_away()
{
    ! answers /edges && [ "$code" = 503 ]
}

gone() # PATH
{
    ! answers "$1" && [ "$code" = 404 ]
}

at_fixpoint() # EDGES
{
    [ "$(sql "SELECT (SELECT count(*) FROM packet) || ' ' || (SELECT count(*) FROM fact_edge)")" = "0 $1" ]
}

logged() # WORDS
{
    grep -qF -- "$1" "$app/host.log"
}

routes_app
cat >"$app/routes/answers.lua" <<'LUA'
local http = require("accrete.http")
http.get("/fine", function() return "fine" end)
http.get("/text", function() return "grün" end)
http.get("/table", function() return { a = 1, list = { 1, 2 } } end)
http.get("/three", function() return 201, { made = true }, { location = "/three/1", ["Content-Type"] = "application/x-made+json" } end)
http.get("/nothing", function() end)
http.get("/list", function() return http.json({}, 200) end)
http.get("/empty", function() return http.json(require("accrete.json").array()) end)
http.get("/error/{code}", function(req) http.error(tonumber(req.parts.code), "as_asked", "%s is asked for", req.parts.code) end)
http.get("/parts/{a}/of/{b}.txt", function(req) return req.parts.a .. "|" .. req.parts.b end)
http.get("/parts/fixed/of/{b}.txt", function(req) return "fixed " .. req.parts.b end)
http.get("/query", function(req) return (req.query.q or "none") .. "|" .. table.concat(req:all("q"), ",") end)
http.post("/echo", function(req) return req.method .. " " .. req.path .. " " .. (req.headers["X-Mine"] or "") .. " " .. req.body end)
http.put("/echo", function(req) return "put " .. #req.body end)
http.delete("/echo", function(req) return 200, req.who .. " " .. (#req.id == 16 and "id" or "no id") end)
http.post("/json", function(req) return { got = req:json().x } end)
local asked = require("accrete.metrics").counter("routes_asked", "Times that /metered was asked")
http.get("/metered", function() asked:add(1) return "counted" end)
LUA
cat >"$app/routes/bad.lua" <<'LUA'
local http = require("accrete.http")
local ffi = require("ffi")
http.get("/raise", function() local nothing; return nothing.field end)
http.get("/raise_table", function() error({ secret = 1 }) end)
http.get("/loop", function() while true do end end)
http.get("/crash", function() ffi.cast("int *", 0)[0] = 1 end)
http.get("/yield", function() coroutine.yield() return "never" end)
http.get("/own_coroutine", function(_, db) return coroutine.wrap(function() return tostring(db.edge:count()) end)() end)
http.get("/sleep/{s}", function(req) http.sleep(tonumber(req.parts.s)) return "slept" end)
http.get("/slow_query", function(_, db) return db:query("SELECT pg_sleep(20)") end)
http.get("/caught", function(_, db)
  local ok, err = pcall(db.query, db, "SELECT pg_sleep(20)")
  return tostring(ok) .. " " .. err.sqlstate
end)
http.get("/bad_answer", function() return function() end end)
http.get("/bad_json", function() return { f = function() end } end)
http.get("/bad_header", function() return 200, "x", { ["x-a"] = "b\r\nx-c: d" } end)
http.get("/bad_status", function() return 99, "x" end)
http.get("/crumbs", function() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end end)
http.get("/hoard", function() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1e6) .. i end end)
LUA
serve --set http.route_timeout=1s --set http.read_timeout=300ms --set http.route_memory=64MiB

check "answers are text, JSON, or status, body and headers"
wants /text "200 grün"
has_head "content-type: text/plain; charset=utf-8"
wants /table '200 {"a":1,"list":\[1,2\]}'
has_head "content-type: application/json"
wants /three '201 {"made":true}'
has_head "location: /three/1"
has_head "content-type: application/x-made+json"
wants /nothing "204 "
wants /list "200 {}"
wants /empty "200 \[\]"
wants /error/404 '404 {"error":{"code":"as_asked","message":"404 is asked for","request":"????????????????"}}'
wants /error/503 '503 {"error":{"code":"as_asked",*'
ok

check "requests say what they are"
wants /parts/x/of/y%20z.txt "200 x|y z"
wants /parts/fixed/of/y.txt "200 fixed y"
wants "/query?q=a%26b&q=c+d&r=1" "200 a&b|a&b,c d"
wants /query "200 none|"
wants /echo "200 POST /echo mine a body" -d "a body" -H "X-Mine: mine"
wants /echo "200 put 6" -X PUT -d "a body"
wants /echo "200 * id" -X DELETE
wants /json '200 {"got":9007199254740993}' -d '{"x": 9007199254740993}'
wants /json '400 {"error":{"code":"bad_json","message":"JSON line 1, column*' -d '{"x":'
ok

check "other methods and paths are refused, HEAD is where GET is"
wants /echo "405 *" -X PATCH
has_head "allow: .*POST"
wants /text "405 *" -X POST
has_head "allow: GET, HEAD"
wants /text "200 HTTP/1.1 200*" -I
has_head "content-length: 5"
[[ $out != *grün* ]] || fail "HEAD has a body"
wants /nix '404 {"error":{"code":"not_found",*'
wants /text/more "404 *"
wants /parts/x/of/y "404 *"
wants //text "404 *"
ok

check "an error is answered with the request's id, its traceback stays in the log"
wants /raise '500 {"error":{"code":"route_failed","message":"*","request":"????????????????"}}'
[[ $out != *nothing* && $out != *bad.lua* ]] || fail "the answer tells: $out"
id=$(sed 's/.*"request":"\([0-9a-f]*\)".*/\1/' <<<"$out")
until_true logged "request=$id"
grep "request=$id" "$app/host.log" | grep -q 'routes/bad.lua:3: attempt to index.*place=routes/bad.lua:3.*traceback' || fail "no place in the log"
wants /raise_table "500 *"
for path in yield own_coroutine bad_answer bad_json bad_header bad_status; do
    wants /$path '500 {"error":{"code":"route_failed",*'
done
! grep -qi "^x-c:" "$TMPDIR/head" || fail "a header was smuggled in"
wants /fine "200 fine"
ok

check "while a request waits, others go on"
began=$SECONDS
for i in 1 2 3 4 5 6 7 8; do
    curl -s -m 5 -o "$TMPDIR/slept.$i" "$address/sleep/0.5" &
    sleepers[i]=$!
done
wants /fine "200 fine"
wait "${sleepers[@]}"
same "answers" "$(cat "$TMPDIR"/slept.*)" sleptsleptsleptsleptsleptsleptsleptslept
[ $((SECONDS - began)) -lt 3 ] || fail "they waited for each other"
ok

check "what a route counts is in /metrics"
wants /metered "200 counted"
wants /metered "200 counted"
answers /metrics
grep -q "^routes_asked_total 2" "$TMPDIR/out" || fail "no routes_asked_total 2 in /metrics: $(grep routes_asked "$TMPDIR/out")"
ok

check "a query or a handler that takes too long is answered by 504"
wants /slow_query '504 {"error":{"code":"timeout",*'
wants /caught "200 false 57014"
wants /sleep/5 '504 {"error":{"code":"timeout",*'
wants /fine "200 fine"
ok

# A bad route ends its process, which is there again soon; facts are taken in all the while.
hurts_itself() # PATH
{
    curl -s -g -m 20 -o "$TMPDIR/out" -w '%{http_code}' "$address$1" >"$TMPDIR/code" &
    local bad=$!

    while kill -0 $bad 2>/dev/null; do
        local got

        posts=$((posts + 1))
        got=$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$address/facts/edge" -H 'content-type: application/json' -d "{\"from\": $posts, \"to\": 1}") || true
        same "status of POST /facts beside it" "$got" 200
    done
    wait $bad || true
    [[ $(cat "$TMPDIR/code") == 50[0234] ]] || fail "$1: wanted 500, 502, 503 or 504, got $(cat "$TMPDIR/code")"
    grep -q '"error":{"code":"' "$TMPDIR/out" || fail "$1: no error in $(cat "$TMPDIR/out")"
    until_true answers /fine
}
posts=0
declare -A tokens
check "a runaway route hurts only its own process"
hurts_itself /loop
ok "$posts facts meanwhile"
check "a crashing route hurts only its own process"
hurts_itself /crash
hurts_itself /crash
ok "$posts facts meanwhile"
check "a route that hoards memory hurts only its own process"
hurts_itself /hoard
same "facts taken in" "$(sql "SELECT count(*) FROM fact_edge")" "$posts"
ok "$posts facts meanwhile"
check "a route that takes all memory in crumbs fails alone: who waits beside it and who comes next is answered"
for i in 1 2 3; do
    curl -s -m 5 -o "$TMPDIR/beside.$i" "$address/sleep/0.7" &
    beside=$!
    sleep 0.2
    wants /crumbs '500 {"error":{"code":"route_failed",*'
    wants /fine "200 fine"
    wait $beside || true
    same "the answer beside it" "$(cat "$TMPDIR/beside.$i")" slept
done
! logged PANIC || fail "Lua panicked: $(grep PANIC "$app/host.log")"
ok

check "lost connections to the database are made again"
wants "/sleep/0" "200 slept"
cat >"$app/routes/reads.lua" <<'LUA'
local http = require("accrete.http")
http.get("/edges", function(_, db) return tostring(db.edge:count { to = 1 }) end)
LUA
acc reload >/dev/null 2>&1
until_true answers /edges
sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid() AND query LIKE '%fact_edge%'" >/dev/null
wants /edges "200 $posts"
ok

stop_host

check "look-ups by every type, as lifecycles have them"
routes_app
cat >"$app/routes/look.lua" <<'LUA'
local http = require("accrete.http")
local text = require("accrete.text")
local U = text.unhex("000102030405060708090a0b0c0d0e0f")
http.get("/fine", function() return "fine" end)
http.get("/look", function(_, db)
  local tries = {
    { 2 }, { 2, {} }, { 1, { b = true } }, { 1, { n = 1 } }, { 1, { n = 9007199254740993LL } }, { 0, { n = 9007199254740992 } },
    { 1, { t = "a" } }, { 1, { y = "\0\255" } }, { 1, { u = U } }, { 1, { u = text.hex(U) } }, { 1, { ns = { 1, 2 } } }, { 1, { ns = {} } },
    { 1, { ns = db.has(2) } }, { 1, { ts = db.has { "x", "q" } } }, { 1, { n = db.any { 1, 2, 77 } } }, { 0, { n = db.any {} } },
    { 2, { t = db.any { "a", "b" } } }, { 1, { y = db.any { "\0\255" } } }, { 1, { u = db.any { U } } }, { 1, { o = db.null } },
    { 1, { n = 1, t = "a" } }, { 0, { n = 1, t = "b" } }, { 1, {}, { limit = 1 } }, { 1, { f = 0.5 } }, { 1, { us = db.has(U) } },
    { 1, { ys = db.has("\1") } },
  }
  for i, try in ipairs(tries) do
    local rows = db.thing:where(try[2], try[3])
    if #rows ~= try[1] or rows:count() ~= try[1] then
      http.error(500, "wrong", "look-up %d: wanted %d, got %d", i, try[1], #rows)
    end
    if not try[3] and db.thing:count(try[2]) ~= try[1] then
      http.error(500, "wrong", "count %d: wanted %d, got %s", i, try[1], tostring(db.thing:count(try[2])))
    end
  end
  local one = db.thing:get { n = 1, t = "a" }
  local row = db.thing:where({ n = 1 }):get(1)
  assert(one.b == true and one.n == 1 and one.t == "a" and one.y == "\0\255" and one.u == U and one.ns[2] == 2 and one.ts[1] == "x")
  assert(one.f == 0.5 and one.us[1] == U and one.ys[1] == "\1" and one.o == nil and #one._id == 16 and row._id == one._id)
  assert(db.thing:get(one._id).n == 1 and db.thing:get(text.hex(one._id)).n == 1)
  assert(db.thing:get { n = 1, t = "zz" } == nil and db.thing:get("abc") == nil and db.thing:get(("0"):rep(32)) == nil)
  for _, each in db.thing:where():each() do
    assert(each.t == "a" or each.t == "b")
  end
  return "all found"
end)
http.get("/wrong", function(_, db)
  local said = {}
  local function try(fn, ...)
    local ok, err = pcall(fn, ...)
    said[#said + 1] = ok and "ok" or tostring(err)
  end
  try(db.thing.where, db.thing, { nn = 1 })
  try(db.thing.where, db.thing, { j = "{}" })
  try(db.thing.where, db.thing, { n = { 1 } })
  try(db.thing.where, db.thing, { ns = 1 })
  try(db.thing.where, db.thing, {}, { limit = 0 })
  try(function() return db.thin end)
  try(function() return db.thing.wher end)
  try(function() return db.thing:where({ n = 1 })[1].tt end)
  try(db.query, db, "SELEC 1")
  try(db.query, db, "SELECT $1::int8")
  try(db.query, db, "DELETE FROM fact_thing")
  try(db.query, db, "WITH x AS (INSERT INTO meta VALUES ('a', 'b') RETURNING 1) SELECT * FROM x")
  try(db.one, db, "SELECT generate_series(1, 2)")
  try(db.value, db, "SELECT 1, 2")
  return table.concat(said, "\n")
end)
http.get("/all", function(_, db) return db.thing:where() end)
http.get("/page", function(req, db) return db.thing:where({}, { limit = 1, after = req.query.after }) end)
http.get("/query", function(req, db)
  return db:query("SELECT n, t, $1::int8 AS five, ns FROM fact_thing WHERE n = $2", 5, tonumber(req.query.n))
end)
http.get("/value", function(_, db)
  return { max = db:value("SELECT max(n) FROM fact_thing"), one = db:one("SELECT 1 AS a, 2 AS b"), role = db:value("SELECT current_user"),
    none = db:one("SELECT 1 WHERE false") == nil }
end)
http.get("/many_statements", function(_, db)
  local sum = 0
  for turn = 1, 2 do
    for i = 1, 300 do
      sum = sum + db:value("SELECT " .. i .. "::int8 * $1::int8", turn)
    end
  end
  return tostring(sum)
end)
http.get("/star", function(_, db)
  local columns = 0
  for _ in pairs(db:query("SELECT * FROM meta LIMIT 1")[1]) do
    columns = columns + 1
  end
  return tostring(columns)
end)
http.get("/by", function(req, db) return tostring(#db.thing:where { n = req.query.n }) end)
LUA
ingest thing <<'JSON'
{"b":true,"n":1,"t":"a","y":"00ff","u":"000102030405060708090a0b0c0d0e0f","ns":[1,2],"ts":["x","y"],"j":{"k":[1,null]},"f":0.5,"us":["000102030405060708090a0b0c0d0e0f"],"ys":["01"]}
{"b":false,"n":9007199254740993,"t":"b","y":"","u":"100102030405060708090a0b0c0d0e0f","ns":[],"ts":[],"o":"there"}
JSON
serve
wants /look "200 all found"
ok

check "rows are JSON that says what dump says, and their ids"
one='{"_id":"74db0a0b8f461712cb0f88cc470cadbb","b":true,"f":0.5,"j":{"k":\[1,null\]},"n":1,"ns":\[1,2\],"t":"a","ts":\["x","y"\],"u":"00010203-0405-0607-0809-0a0b0c0d0e0f","us":\["00010203-0405-0607-0809-0a0b0c0d0e0f"\],"y":"00ff","ys":\["01"\]}'
two='{"_id":"c18e0a0be102c192bc84b9c12d32344f","b":false,"n":9007199254740993,"ns":\[\],"o":"there","t":"b","ts":\[\],"u":"10010203-0405-0607-0809-0a0b0c0d0e0f","y":""}'
wants /all "200 \[$one,$two\]"
wants /page "200 \[$one\]"
wants /page?after=74db0a0b8f461712cb0f88cc470cadbb "200 \[$two\]"
wants /page?after=c18e0a0be102c192bc84b9c12d32344f "200 \[\]"
wants /page?after=c18e '400 {"error":{"code":"bad_value",*'
wants /by?n=1 "200 1"
wants /by?n=x '400 {"error":{"code":"bad_value",*'
wants /query?n=1 '200 \[{"five":5,"n":1,"ns":\[1,2\],"t":"a"}\]'
wants /query?n=x "200 \[\]"
wants /value "200 {\"max\":9007199254740993,\"none\":true,\"one\":{\"a\":1,\"b\":2},\"role\":\"*_reader\"}"
ok

check "statements beyond those kept prepared work too, and one whose table has changed"
wants /many_statements "200 135450"
wants /star "200 2"
sql "ALTER TABLE meta ADD COLUMN more int4 DEFAULT 7"
wants /star "200 3"
sql "ALTER TABLE meta DROP COLUMN more"
wants /star "200 2"
ok

check "wrong look-ups name the route's line and what was meant"
wants /wrong "200 *"
line=$(grep -n 'try(db.thing.where, db.thing, { nn = 1 })' "$app/routes/look.lua" | cut -d: -f1)
said=()
mapfile -t said <<<"$out"
expected=(
    "thing has no field \"nn\", did you mean \"n\"?"
    "thing.j is json: there is no look-up by it"
    "thing.n: wanted a value, got a table; db.any{...} stands for any of a list"
    "thing.ns is an array: wanted a list, or db.has(value)"
    "db.thing:where: limit: wanted 1..100000, got 0"
    "no kind \"thin\", did you mean \"thing\"?"
    "db.thing has no wher; there are where, get, count, insert and ingest"
    "thing has no field \"tt\", did you mean \"t\"?"
    "syntax error at or near \"SELEC\""
    "wanted 1 parameters, got 0"
    "a route only reads: wanted a query that returns rows"
    "cannot execute SELECT in a read-only transaction"
    "wanted at most one row, got 2"
    "db:value: wanted a query of one column, got 2"
)
for i in "${!expected[@]}"; do
    [[ ${said[i]} == routes/look.lua:*": ${expected[i]}" ]] || fail "wanted ${expected[i]}, got ${said[i]}"
done
[[ ${said[5]} == "routes/look.lua:$((line + 5)):"* ]] || fail "wanted line $((line + 5)): ${said[5]}"
stop_host
ok

check "facts come in by a route as by POST /facts, and what follows is found"
routes_app
rm "$app/kinds/thing.lua"
echo 'return { fields = { { "word", "text" }, { "length", "int8" }, { "raw", "bytes" } }, nullable = { { "j", "json" }, { "fs", "float8[]" }, { "u", "uuid" } }, unique = { "word" } }' >"$app/kinds/word.lua"
echo 'return { fields = { { "text", "text" } } }' >"$app/kinds/note.lua"
cat >"$app/lifecycles/turns.lua" <<'LUA'
local M = { on = "edge", finds = { "edge" }, monotone = true }
function M.process_data(edge, found)
  found.edge(nil, edge.to, edge.from)
end
return M
LUA
cat >"$app/routes/write.lua" <<'LUA'
local http = require("accrete.http")
http.get("/fine", function() return "fine" end)
http.post("/edges", function(req, db)
  return { result = db.edge:insert(req:json()) }
end)
http.post("/stubborn", function(_, db)
  local refused = 0
  for _ = 1, 50000 do
    refused = refused + (pcall(db.word.insert, db.word, { word = "x" }) and 0 or 1)
  end
  return tostring(refused)
end)
http.post("/words", function(_, db)
  local word = { word = "a", length = 9007199254740993LL, raw = "\0\255", j = '{"k":[1]}', fs = { 0.5, 1 / 0, 0 / 0 }, u = ("\1"):rep(16) }
  local first, second = db.word:insert(word), db.word:insert(word)
  local row = db.word:get { word = "a" }
  assert(row.length == word.length and row.raw == word.raw and row.u == word.u and row.fs[2] == 1 / 0 and row.fs[3] ~= row.fs[3])
  return first .. " " .. second .. " " .. row.j
end)
http.post("/contradiction", function(_, db)
  return db.word:insert { word = "a", length = 2, raw = "" }
end)
http.post("/caught", function(_, db)
  local ok, err = pcall(db.word.insert, db.word, { word = "a", length = 2, raw = "" })
  return tostring(ok) .. " " .. err.status .. " " .. err.code
end)
http.post("/many", function(_, db)
  local list = {}
  for i = 1, 1000 do
    list[i] = { from = i % 500, to = i % 500 + 1000 }
  end
  return db.edge:ingest(list)
end)
http.post("/lines/{format}", function(req, db)
  return db.edge:ingest(req.body, req.parts.format)
end)
http.get("/admin", function(req) return req.who end, { role = "admin" })
http.post("/misspelt", function(_, db)
  return db.edge:insert { form = 1, to = 2 }
end)
LUA
serve
wants /edges '200 {"result":"new"}' -d '{"from": 1, "to": 2}'
wants /edges '200 {"result":"repeat"}' -d '{"from": 1, "to": 2}'
wants /edges '422 {"error":{"code":"*' -d '{"from": "x", "to": 2}'
wants /edges '422 {"error":{"code":"*' -d '{"from": 1}'
wants /misspelt "500 *" -d ''
logged 'edge has no field \"form\", did you mean \"from\"?' || fail "the misspelt field is not in the log"
wants /words '200 new repeat {"k":\[1\]}' -d ''
wants /stubborn "200 50000" -d '' # each refusal comes at once, and none of them within the other
wants /contradiction '409 {"error":{"code":"*' -d ''
wants /caught "200 false 409 *" -d ''
wants /many '200 *' -d ''
[[ $out == *'"lines":1000'*'"new":500'*'"refused":0'*'"repeats":500'* ]] || fail "/many: $out"
wants /lines/csv '200 *"new":2,"refused":0,*' --data-binary $'from,to\n7,8\n7,9\n'
wants /lines/ndjson '200 *"line":2,*"new":1,"refused":1,*' --data-binary $'{"from":70,"to":80}\n{"from":1}\n'
wants /lines/nix "500 *" -d ''
until_true at_fixpoint 1008
ok

check "a route wants the role it says"
for role in read ingest admin; do
    tokens[$role]=$(acc token new "of_$role" --role $role --reason test)
done
until_true answers /fine -H "Authorization: Bearer ${tokens[read]}"
until_true answers /fine -H "Authorization: Bearer ${tokens[admin]}"
wants /edges '403 {"error":{"code":"forbidden",*' -d '{"from": 50, "to": 60}' -H "Authorization: Bearer ${tokens[read]}"
wants /edges '200 {"result":"new"}' -d '{"from": 50, "to": 60}' -H "Authorization: Bearer ${tokens[ingest]}"
wants /admin '403 {"error":{"code":"forbidden",*' -H "Authorization: Bearer ${tokens[ingest]}"
wants /admin "200 of_admin" -H "Authorization: Bearer ${tokens[admin]}"
ok

check "readonly refuses routes that change"
stop_host
serve --set http.readonly=yes
wants /fine "200 fine"
wants /edges '403 {"error":{"code":"*' -d '{"from": 3, "to": 4}'
stop_host
ok

check "a broken route is refused at reload with its line, and the old ones stay"
routes_app
echo 'local http = require("accrete.http") http.get("/fine", function() return "fine" end)' >"$app/routes/fine.lua"
serve
refused() # TEXT OF routes/new.lua, WORDS
{
    local said

    echo "$1" >"$app/routes/new.lua"
    ! said=$(acc reload 2>&1) || fail "taken: $1"
    [[ $said == *"$2"* ]] || fail "wanted $2, got $said"
    ! said=$(acc check 2>&1) || fail "check: passed: $1"
    said=$(tr -s ' \n' ' ' <<<"$said")
    [[ $said == *"${2#routes/new.lua:*: }"* ]] || fail "check: wanted $2, got $said"
    wants /fine "200 fine"
}
head='local http = require("accrete.http")
'
refused "${head}http.get(\"/x\", function() retur end)" "routes/new.lua:2: '=' expected near 'end'"
refused "${head}http.get(\"/status\", print)" "routes/new.lua:2: /status: the host's own paths begin with /status; take another name"
refused "${head}http.post(\"/facts/mine\", print)" "routes/new.lua:2: /facts/mine: the host's own paths begin with /facts; take another name"
refused "${head}http.get(\"/ui/x\", print)" "routes/new.lua:2: /ui/x: the host's own paths begin with /ui; take another name"
refused "${head}http.get(\"/\", print)" "routes/new.lua:2: /: the first part of an app's path is a fixed name, since the host has paths of its own"
refused "${head}http.get(\"/{x}/y\", print)" "routes/new.lua:2: /{x}/y: the first part of an app's path is a fixed name, since the host has paths of its own"
refused "$head

http.get(\"/fine\", print)" "routes/new.lua:4: GET /fine is served already, by routes/fine.lua:1"
refused "${head}http.get(\"/a/{x}\", print) http.get(\"/a/{y}\", print)" "routes/new.lua:2: GET /a/{y} is served already, by routes/new.lua:2"
refused "${head}http.get(\"x\", print)" "routes/new.lua:2: wanted a path that begins with /, got x"
refused "${head}http.get(\"/x//y\", print)" "routes/new.lua:2: wanted a path like /orthos/{dims}, got \"/x//y\""
refused "${head}http.get(\"/x/{A}\", print)" "routes/new.lua:2: wanted a path like /orthos/{dims}, got \"/x/{A}\""
refused "${head}http.get(\"/x/{a}/{a}\", print)" "routes/new.lua:2: /x/{a}/{a}: the part {a} stands in it twice"
refused "${head}http.get(\"/x\")" "routes/new.lua:2: GET /x: wanted a function(req), got a nil"
refused "${head}http.get(\"/x\", print, { role = \"boss\" })" "routes/new.lua:2: GET /x: wanted the role read, ingest or admin, got boss"
refused "${head}http.serve {}" "routes/new.lua:2: an app's routes are served by accrete run"
refused "${head}error(\"in the middle\")" "routes/new.lua:2: in the middle"
refused "${head}require(\"accrete.nix\")" 'routes/new.lua:2: no module "accrete.nix"'
rm "$app/routes/new.lua"
ok

check "routes of a new generation take over without a gap"
turn_to() # WORD
{
    echo "local http = require('accrete.http') http.get('/fine', function() return 'fine' end) http.get('/$1', function() return '$1' end)" >"$app/routes/fine.lua"
    acc reload >/dev/null 2>&1
    until_true answers "/$1"
}
curl -sS -m 60 -o /dev/null -w "%{http_code}\n" "http://$address/fine?[1-1000000]" >"$TMPDIR/codes" 2>"$TMPDIR/said" &
asking=$!
for word in one two three; do
    turn_to $word
done
kill $asking || fail "$(tail -n 3 "$TMPDIR/said" "$TMPDIR/codes") of $(wc -l <"$TMPDIR/codes")"
wait $asking || true
asked=$(wc -l <"$TMPDIR/codes")
[ "$asked" -gt 100 ] || fail "only $asked were asked"
same "answers meanwhile" "$(sort "$TMPDIR/codes" | uniq -c | awk '{ print $2 }' | paste -sd' ')" 200
wants /two "404 *"
rm "$app/routes/fine.lua"
acc reload >/dev/null 2>&1
until_true gone /fine
stop_host
ok "$asked asked"

check "accrete new route writes one that works and passes the check"
new_app examples/closure
acc new route paths --on path >/dev/null
acc check >/dev/null
! acc new route status 2>"$TMPDIR/said" || fail "a reserved name was taken"
grep -q "the host's own paths begin with /status" "$TMPDIR/said" || fail "$(cat "$TMPDIR/said")"
! acc new route paths 2>/dev/null || fail "overwritten"
echo 'local http = require("accrete.http") http.get("/fine", function() return "fine" end)' >"$app/routes/fine.lua"
serve
wants /paths '200 {"count":0,"page":\[\]}'
wants /paths '200 {"fact":"new"}' -d '{"from": 1, "to": 2}'
wants /paths '200 {"fact":"repeat"}' -d '{"from": 1, "to": 2}'
wants /paths '200 {"count":1,"page":\[{"_id":"*","from":1,"to":2}\]}'
id=$(sed 's/.*"_id":"\([0-9a-f]*\)".*/\1/' <<<"$out")
wants "/paths/$id" "200 {\"_id\":\"$id\",\"from\":1,\"to\":2}"
wants /paths/nix '404 {"error":{"code":"not_found",*'
wants /paths?limit=0 '400 {"error":{"code":"bad_limit",*'
wants /paths?limit=1 '200 {"after":"*'
stop_host
ok

check "while the database is away reads and writes are refused with 503, then they work again"
own_cluster=yes # of the app itself
new_app examples/closure
mkdir "$app/routes"
cat >"$app/routes/edges.lua" <<'LUA'
local http = require("accrete.http")
http.get("/fine", function() return "fine" end)
http.get("/edges", function(_, db) return tostring(db.edge:count()) end)
http.post("/edges", function(req, db) return db.edge:insert(req:json()) end)
LUA
serve
wants /edges "200 0"
wants /edges "200 new" -d '{"from": 1, "to": 2}'
postmaster=$(head -n 1 "$(find "$app/data" -name postmaster.pid)")
kill -STOP "$host" # it would start another at once
kill -KILL "$postmaster"
until_true refused_while_away
has_head "retry-after: "
answers /edges -d '{"from": 1, "to": 2}' || true
same "status of a write" "$code" 503
wants /fine "200 fine"
kill -CONT "$host"
until_true answers /edges -d '{"from": 2, "to": 3}'
wants /edges "200 2"
stop_host
unset own_cluster
ok

check "a plain script serves its own routes"
: >"$TMPDIR/script"
"$ACCRETE" lua examples/tools/http.lua 127.0.0.1:0 >"$TMPDIR/script" 2>&1 &
script=$!
hosts+=("$script")
until_true grep -q serving "$TMPDIR/script"
address=$(sed -n 's#^serving at http://\([^ ]*\) .*#\1#p' "$TMPDIR/script")
wants "/hello/Anna?times=2" "200 hello Anna?hello Anna"
wants /hello/Anna?times=no '400 {"error":{"code":"bad_times",*'
wants /notes '200 \[\]'
wants /notes '201 {"id":1,"text":"milk"}' -d '{"text": "milk"}'
has_head "location: /notes/1"
wants /notes/1 '200 {"id":1,"text":"milk"}'
wants /notes/2 '404 {"error":{"code":"no_note",*'
wants /notes "204 " -X DELETE
wants /status "404 *"
curl -s -m 5 "$address/slow?seconds=0.3" >"$TMPDIR/slow" &
slow=$!
wants /hello/Ben "200 hello Ben"
kill -TERM $script
wait $slow
same "what was in hand" "$(cat "$TMPDIR/slow")" "well rested"
wait $script || fail "exit code $?"
grep -q "^served; 0 notes" "$TMPDIR/script" || fail "$(cat "$TMPDIR/script")"
ok

check "a plain script is told what is wrong"
script_says() # LUA, WORDS
{
    local said

    echo "local http = require('accrete.http') $1" >"$TMPDIR/wrong.lua"
    ! said=$("$ACCRETE" lua "$TMPDIR/wrong.lua" 2>&1) || fail "no error: $1"
    [[ $said == *"$2"* ]] || fail "wanted $2, got $said"
}
script_says 'http.serve { listen = "0.0.0.0:0" }' 'wrong.lua:1: http.serve: 0.0.0.0:0 can be reached from other machines'
script_says 'http.serve { port = 1 }' 'wrong.lua:1: http.serve: no option port'
script_says 'http.serve { listen = 1 }' 'wrong.lua:1: http.serve: listen: wanted a string, got a number'
script_says 'http.sleep(1)' "wrong.lua:1: wanted this in a route's own coroutine"
script_says 'http.get("/x", print) http.get("/x", print)' 'wrong.lua:1: GET /x is served already'
ok

finish
