#!/bin/bash
# What a lifecycle may do: every type of field, every kind of look-up, every limit.
. tests/host.sh "$@"

kind() # NAME < LUA
{
    cat >"$app/kinds/$1.lua"
}

lifecycle() # NAME < LUA
{
    cat >"$app/lifecycles/$1.lua"
}

simple_kinds() # NAME...
{
    local kind

    for kind in "$@"; do
        echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/$kind.lua"
    done
}

items() # COUNT: numbers from 1
{
    seq "$1" | sed 's/.*/{"n":&}/' | ingest item
}

errors()
{
    sql "SELECT string_agg(DISTINCT error, E'\n') FROM parked WHERE state = 'dead'"
}

wants_error() # TEXT
{
    [[ $(errors) == *"$1"* ]] || fail "wanted an error with \"$1\", got: $(errors)"
}

numbers() # KIND: its n in order
{
    sql "SELECT string_agg(n::text, ' ' ORDER BY n) FROM fact_$1"
}

check "all types and arrays travel as data, as friends and as finds unchanged"
new_app
fields='{ "i", "int8" }, { "b", "bool" }, { "f", "float8" }, { "t", "text" }, { "y", "bytes" }, { "u", "uuid" }, { "j", "json" },
  { "bs", "bool[]" }, { "is", "int8[]" }, { "fs", "float8[]" }, { "ts", "text[]" }, { "ys", "bytes[]" }, { "us", "uuid[]" }, { "js", "json[]" }'
nullable='{ "ni", "int8" }, { "nb", "bool" }, { "nf", "float8" }, { "nt", "text" }, { "ny", "bytes" }, { "nu", "uuid" }, { "nj", "json" }, { "nis", "int8[]" }, { "nts", "text[]" }, { "nfs", "float8[]" }'
for k in every copy mirror_image; do
    echo "return { fields = { $fields }, nullable = { $nullable }, unique = { \"i\" } }" | kind $k
done
echo 'return { fields = { { "i", "int8" } } }' | kind wish
all='i b f t y u j bs is fs ts ys us js ni nb nf nt ny nu nj nis nts nfs'
lifecycle copies <<END
local M = { on = "every", finds = { "copy" }, monotone = true }
function M.process_data(row, found)
  found.copy(nil, $(printf 'row.%s, ' $all | sed 's/, $//'))
end
return M
END
lifecycle mirrors <<END
local M = { on = "wish", friends = { every = { { "i" } } }, finds = { "mirror_image" }, monotone = true }
function M.load_friends(db, wish) return db.every:where({ i = wish.i }) end
function M.process_data(_, rows, found)
  for _, row in rows:each() do
    found.mirror_image(row, { $(printf '%s = row.%s, ' $(for f in $all; do echo $f $f; done) | sed 's/, $//') })
  end
end
return M
END
luajit - >"$app/facts" <<'END'
local ids = { "0", "1", "-1", "9007199254740991", "9007199254740993", "-9007199254740993", "9223372036854775807", "-9223372036854775808" }
local floats = { "0.0", "-0.0", "0.1", "1e308", "5e-324", "-1.5", "123456789.125", "3.0" }
local texts = { '""', '"a"', [["\"quoted\" \\ back\\\\slash"]], '"gr\\u00fc\\u00dfe \\ud83d\\ude00"', '"\\n\\t\\u0001"', '"{1,2}"', '"NULL"', "\"it's $1 %s\"" }
local bytes = { '""', '"00"', '"00ff00"', '"5c78"', '"27"', '"deadbeef"', '"0a0d"', '"7b7d"' }
for k = 1, #ids do
  local i, f, t, y = ids[k], floats[k], texts[k], bytes[k]
  local u = ('"%032x"'):format(k)
  local j = ({ "null", "1", '"x"', "[]", '{"b":[1,2,{"c":null}],"a":0.1}', "true", "12345678901234567", '{"\\u00e9":1e100}' })[k]
  local out = ('{"i":%s,"b":%s,"f":%s,"t":%s,"y":%s,"u":%s,"j":%s'):format(i, tostring(k % 2 == 0), f, t, y, u, j)
  local n = k - 1
  local function list(v)
    local l = {}
    for m = 1, n do l[m] = v[(m + k) % #v + 1] end
    return "[" .. table.concat(l, ",") .. "]"
  end
  out = out .. (',"bs":%s,"is":%s,"fs":%s,"ts":%s,"ys":%s,"us":%s,"js":%s'):format(list({ "true", "false" }), list(ids), list(floats), list(texts), list(bytes), list({ u }), list({ j, "{}" }))
  if k % 3 == 0 then
    out = out .. (',"ni":%s,"nb":false,"nf":%s,"nt":%s,"ny":%s,"nu":%s,"nj":%s,"nis":%s,"nts":%s,"nfs":%s'):format(i, f, t, y, u, j, list(ids), list(texts), list(floats))
  elseif k % 3 == 1 then
    out = out .. ',"nt":"","nis":[],"ni":null'
  end
  print(out .. "}")
end
END
ingest every <"$app/facts"
sed 's/^{"i":\([-0-9]*\),.*/{"i":\1}/' "$app/facts" | ingest wish
fixpoint
dump >"$app/got"
for k in copy mirror_image; do
    same "facts of $k" "$(grep "\"kind\":\"$k\"" "$app/got" | sed "s/\"kind\":\"$k\"/\"kind\":\"every\"/" | LC_ALL=C sort | sha256sum)" \
        "$(grep '"kind":"every"' "$app/got" | sha256sum)"
done
same facts "$(grep -c '"kind":"every"' "$app/got")" 8
grep -q '"i":9223372036854775807,' "$app/got" || fail "int8 beyond 2^53: $(cat "$app/got")"
grep '"kind":"every"' "$app/got" | acc ingest --quiet - || fail "the dump is not taken back"
same "contradictions with the dump" "$(status status.contradictions)" 0
ok

check "outcomes and reasons are counted, a reason is cut at a character"
new_app
simple_kinds item mark
lifecycle count <<'END'
local M = { on = "item", friends = { mark = { { "n" } } }, finds = { "mark" }, monotone = true }
function M.abort_early(item)
  if item.n % 5 == 1 then return true, "one" end
  if item.n % 5 == 2 then return true end
  if item.n == 3 then return true, ("x"):rep(79) .. "éé" end
  if item.n == 4 then return true, 42 end
  return nil, "not told"
end
function M.load_friends(db, item) return db.mark:where({ n = -item.n }), db.mark:where({ n = 2 * item.n }) end
function M.abort_late(item, a, b)
  assert(#a == 0 and a:count() == 0 and b.kind() == "mark")
  return item.n % 5 == 0, "five"
end
function M.process_data(item, _, _, found)
  if item.n % 5 == 3 then found.mark(nil, item.n) end
end
return M
END
items 100
fixpoint --set worker.batch_events=7
same tallies "$(sql "SELECT early, late, empty, found, failed FROM (SELECT sum(early) early, sum(late) late, sum(empty) empty, sum(found) found, sum(failed) failed FROM tally_lifecycle WHERE lifecycle > 0) t")" "42|20|19|19|0"
same reasons "$(sql "SELECT outcome, left(reason, 4), octet_length(reason), sum(n) FROM tally_reason GROUP BY outcome, reason ORDER BY 1, 2" | tr '\n' ' ')" \
    "early|42|2|1 early|one|3|20 early|xxxx|79|1 late|five|4|20 "
ok

check "load replaces the data"
new_app
simple_kinds item mark other
lifecycle loads <<'END'
local M = { on = "item", friends = { other = { { "n" } } }, finds = { "mark" }, monotone = true }
function M.load(db, item)
  local there = db.other:where({ n = item.n })
  return { item = item, bonus = #there * 1000 }
end
function M.abort_early(event) return event.item.n == 2 end
function M.process_data(event, found) found.mark(event.item, event.item.n + event.bonus) end
return M
END
echo '{"n":3}' | ingest other
items 4
fixpoint
same marks "$(numbers mark)" "1 4 1003"
ok

check "higher priority first, of lifecycles and of found events"
new_app
simple_kinds item mark low high late
for k in low high; do
    lifecycle to_$k <<END
local M = { on = "item", finds = { "$k" }, monotone = true, priority = $([ $k = high ] && echo 3 || echo -3) }
function M.process_data(item, found) found.$k(item, item.n) end
return M
END
done
lifecycle marks <<'END'
local M = { on = "mark", finds = { "late" }, monotone = true, priority = function(mark) return mark.n end }
function M.process_data(mark, found) found.late(mark, mark.n) end
return M
END
lifecycle makes_marks <<'END'
local M = { on = "high", finds = { "mark" }, monotone = true, priority = 2 }
function M.process_data(high, found) found.mark(high, high.n) end
return M
END
settings+=(--set worker.count=1 --set worker.batch_events=1 --set queue.packet_events=1 --set queue.buckets=1)
items 12
fixpoint
same "all high before the first low" "$(sql "SELECT (SELECT max(_batch) FROM fact_high) < (SELECT min(_batch) FROM fact_low)")" t
same "order of found marks" "$(sql "SELECT string_agg(n::text, ' ' ORDER BY _batch) FROM fact_late")" "12 11 10 9 8 7 6 5 4 3 2 1"
ok

check "a throttle holds over several workers"
new_app
simple_kinds item mark
lifecycle slow <<'END'
local M = { on = "item", finds = { "mark" }, monotone = true, throttle = function() return 100 end }
function M.process_data(item, found) found.mark(nil, item.n) end
return M
END
items 300
began=$(date +%s%N)
start_host --workers 4
most=0
while done=$(sql "SELECT coalesce(sum(found), 0) FROM tally_lifecycle"); [ "$done" -lt 300 ]; do
    elapsed=$((($(date +%s%N) - began) / 1000000))
    allowed=$((100 * (elapsed + 1000) / 1000 + 8)) # a second's worth may come at once
    [ "$done" -le $allowed ] || fail "$done events in $elapsed ms at 100 a second"
    [ $elapsed -lt 30000 ] || fail "only $done events in $elapsed ms"
done
elapsed=$((($(date +%s%N) - began) / 1000000))
[ $elapsed -ge 1900 ] || fail "300 events at 100 a second took $elapsed ms"
stop_host
ok "$elapsed ms for 300 at 100/s"

check "db.any, db.has and several look-ups that build on each other"
new_app
simple_kinds item
echo 'return { fields = { { "a", "int8" }, { "b", "text" } } }' | kind pair
echo 'return { fields = { { "n", "int8" }, { "tags", "text[]" }, { "ns", "int8[]" } }, unique = { "n" } }' | kind tagged
echo 'return { fields = { { "n", "int8" }, { "what", "text" } } }' | kind answer
echo 'return { fields = { { "cells", "int8[]" } } }' | kind block
lifecycle asks <<'END'
local M = { on = "item", finds = { "answer" }, monotone = true,
  friends = { pair = { { "a" }, { "a", "b" }, { "b" } }, tagged = { { "tags" }, { "ns" }, { "n" } }, block = { { "cells" } } } }
function M.load_friends(db, item)
  local n = item.n
  local r = {}
  local function say(what, rows)
    local list = {}
    for _, row in rows:each() do list[#list + 1] = rows.kind() == "pair" and row.a .. row.b or tostring(row.n) end
    table.sort(list)
    r[#r + 1] = what .. "=" .. table.concat(list, ",")
  end
  if n == 1 then
    say("any", db.pair:where({ a = db.any({ 1, 3, 3, 99 }) }))
    say("anyany", db.pair:where({ a = db.any({ 1, 2 }), b = db.any({ "x", "y" }) }))
    say("none", db.pair:where({ a = db.any({}) }))
    say("both", db.pair:where({ a = 2, b = "x" }))
    say("text", db.pair:where({ b = "y" }))
  elseif n == 2 then
    say("has", db.tagged:where({ tags = db.has("red") }))
    say("hasany", db.tagged:where({ tags = db.has({ "red", "blue" }) }))
    say("hasanyany", db.tagged:where({ tags = db.has(db.any({ "blue", "green" })) }))
    say("hasint", db.tagged:where({ ns = db.has(7) }))
  elseif n == 3 then
    local list = {}
    for _, row in db.tagged:where({ tags = db.has("red") }):each() do list[#list + 1] = row.n end
    say("then", db.pair:where({ a = db.any(list) }))
    local column, count = db.pair:where({ a = 2 }):column("b")
    table.sort(column)
    r[#r + 1] = "column=" .. table.concat(column, ",") .. "/" .. count
    r[#r + 1] = "get=" .. tostring(db.tagged:where({ n = 2 }):get(1).tags[1])
  elseif n == 4 then
    local rows = db:query("SELECT a, b, NULL AS c, 1.5::float8 AS d FROM fact_pair WHERE a = $1 AND b <> $2 ORDER BY b", 2, "z")
    r[#r + 1] = ("query=%d,%s%s,%s,%s"):format(#rows, rows[1].a + 0, rows[1].b, tostring(rows[1].c), rows[1].d * 2)
  elseif n == 5 then
    r[#r + 1] = "block=" .. #db.block:where({ cells = { 1, 2, 3 } }) .. "," .. #db.block:where({ cells = { 1, 2 } })
  elseif n == 6 then
    r[#r + 1] = "blocks=" .. #db.block:where({ cells = db.any({ { 1, 2, 3 }, { 9 }, { 5 } }) })
  end
  return table.concat(r, " ")
end
function M.process_data(item, text, found) found.answer(nil, item.n, text) end
return M
END
for a in 1 2 3; do for b in x y; do echo "{\"kind\":\"pair\",\"a\":$a,\"b\":\"$b\"}"; done; done >"$app/facts"
cat >>"$app/facts" <<'END'
{"kind":"tagged","n":1,"tags":["red","blue"],"ns":[7,8]}
{"kind":"tagged","n":2,"tags":["green","red","red"],"ns":[]}
{"kind":"tagged","n":3,"tags":["blue"],"ns":[7,7]}
{"kind":"tagged","n":4,"tags":[],"ns":[6]}
{"kind":"block","cells":[1,2,3]}
{"kind":"block","cells":[9]}
END
acc ingest --quiet - <"$app/facts"
items 6
fixpoint
answer() { sql "SELECT what FROM fact_answer WHERE n = $1"; }
same any "$(answer 1)" "any=1x,1y,3x,3y anyany=1x,1y,2x,2y none= both=2x text=1y,2y,3y"
same has "$(answer 2)" "has=1,2 hasany=1,2,3 hasanyany=1,2,3 hasint=1,3"
same chained "$(answer 3)" "then=1x,1y,2x,2y column=x,y/2 get=green"
same query "$(answer 4)" "query=2,2x,nil,3"
same "look-up by a unique array" "$(answer 5)" "block=1,0"
same "look-up by any of unique arrays" "$(answer 6)" "blocks=2"
ok

check "what an event looks up after it has used a look-up, and hands on unused, is there in abort_late"
new_app
echo 'return { fields = { { "n", "int8" }, { "w", "text" } } }' | kind letter
echo 'return { fields = { { "n", "int8" }, { "m", "int8" } } }' | kind met
lifecycle meets <<'END'
local M = { on = "letter", friends = { letter = { { "w" } } }, finds = { "met" }, monotone = true }
function M.load_friends(db, letter)
  for _, other in db.letter:where({ w = letter.w }):each() do
    return db.letter:where({ w = other.w })
  end
end
function M.abort_late(_, others) return others:count() == 0 end
function M.process_data(letter, others, found)
  for _, other in others:each() do found.met(other, letter.n, other.n) end
end
return M
END
for n in 1 2 3 4; do echo "{\"n\":$n,\"w\":\"w$((n / 3))\"}"; done | ingest letter
fixpoint
same "who met" "$(sql "SELECT string_agg(n || '-' || m, ' ' ORDER BY n, m) FROM fact_met")" "1-1 1-2 2-1 2-2 3-3 3-4 4-3 4-4"
ok

check "misuse of look-ups and finds names what to write instead"
new_app
simple_kinds item mark other
echo 'return { fields = { { "a", "int8" }, { "b", "text" } }, nullable = { { "c", "int8" } } }' | kind pair
lifecycle misuses <<'END'
local M = { on = "item", friends = { pair = { { "a" } } }, finds = { "pair" }, monotone = true }
local misuses = {
  function(db) db.pair:where({ b = "x" }) end,
  function(db) db.pair:where({ a = 1, b = "x" }) end,
  function(db) db.pair:where({ aa = 1 }) end,
  function(db) db.pair:where({}) end,
  function(db) db.mark:where({ n = 1 }) end,
  function(db) db.pears:where({ n = 1 }) end,
  function(db) db.pair:where({ a = "x" }) end,
  function(db) db.pair:where({ a = 1.5 }) end,
  function(db) db.pair:where({ a = 2 ^ 60 }) end,
  function(db) return db.pair:where({ a = 1 }):each().nothing end,
  function(_, f) f.mark(nil, 1) end,
  function(_, f) f.pears(nil, 1) end,
  function(_, f) f.pair(nil, 1) end,
  function(_, f) f.pair(nil, "x", "y") end,
  function(_, f) f.pair(nil, 1, "a\0b") end,
  function(_, f) f.pair(nil, 1, "\255") end,
  function(_, f) f.pair(nil, { a = 1, d = 2 }) end,
  function(_, f) f.pair(nil, { b = "x" }) end,
  function(_, f) f.pair("x", 1, "y") end,
  function(_, f) f.pair({ 7 }, 1, "y") end,
  function(db) db:query("SELECT nothing") end,
  function(db) return db.pair:where({ a = 1 })[1] end,
  function(db) return db.pair:where({ a = 1 }):eech() end,
  function(db) for _ in ipairs(db.pair:where({ a = 1 })) do end end,
  function(db) for _ in pairs(db.pair:where({ a = 1 })) do end end,
  function(db) return db.pair:where({ a = 1 }):column("aa") end,
}
function M.load_friends(db, item)
  if item.n <= 10 or item.n >= 21 then misuses[item.n](db) end
end
function M.process_data(item, found)
  if item.n > 10 and item.n < 21 then misuses[item.n](nil, found) end
end
return M
END
items 26
fixpoint -x 1 --set queue.attempts=1
same "dead events" "$(status status.queue.dead)" 26
for text in 'look-up of pair by {b} is not declared in lifecycle misuses: add { "b" } to friends.pair' \
    'look-up of pair by {a, b} is not declared in lifecycle misuses: add { "a", "b" } to friends.pair' \
    'pair has no field "aa"' 'look-up of pair by {} is not declared' 'look-ups of mark are not declared in lifecycle misuses: add mark = { { … } } to friends' \
    'no kind "pears", did you mean "pair"' 'pair.a: wanted a whole number, got "x"' 'pair.a: wanted a whole number within 2^53, or int64 cdata, got 1.5' \
    'lifecycle misuses finds mark without saying so: add it to finds' 'pair.b: wanted a text, got nil' 'pair.b: wanted UTF-8 text without NUL' \
    'found.pair has no field "d"' 'found.pair: field "a" is missing' 'found.pair takes first what it rests on (a row, a list of rows, or nil), then a, b, c; got "x" first' \
    'row number 1 is rows:get(1)' 'no method "eech" of what a look-up returns, did you mean "each"?' 'is no list: write for _, row in rows:each() do' 'found.pair: a friend must be a row, a list of rows, or nil' 'column "nothing" does not exist'; do
    wants_error "$text"
done
same "errors name their line" "$(sql "SELECT count(*) FROM parked WHERE error NOT LIKE 'lifecycles/misuses.lua:%'")" 0
ok

check "of two finds in one batch that contradict each other the one that is stored is right, else the first one"
new_app
simple_kinds item mark
echo 'return { fields = { { "k", "int8" }, { "v", "int8" } }, nullable = { { "w", "text" } }, unique = { "k" } }' | kind value
lifecycle says <<'END'
local M = { on = "item", finds = { "value", "mark" }, monotone = true }
function M.process_data(item, found)
  found.value(nil, math.floor((item.n + 1) / 2), item.n % 2)
  found.mark(nil, item.n)
end
return M
END
for k in {1..20}; do echo "{\"k\":$k,\"v\":$((k % 2))}"; done | ingest value
items 60
fixpoint -x 1 --set worker.count=1 --set worker.batch_events=100
same "events that say what is stored" "$(sql "SELECT count(*) FROM fact_mark WHERE n <= 40 AND n % 2 = (n + 1) / 2 % 2")" 20
same "events that contradict what is stored" "$(sql "SELECT count(*) FROM fact_mark WHERE n <= 40 AND n % 2 <> (n + 1) / 2 % 2")" 0
same "events of two finds that are both new" "$(sql "SELECT count(*), count(DISTINCT (n + 1) / 2) FROM fact_mark WHERE n > 40")" "10|10"
same "dead events" "$(sql "SELECT count(*) FROM parked WHERE state = 'dead'")" 30
same "the values of events that are done" "$(sql "SELECT count(*) FROM fact_value JOIN fact_mark ON k = (n + 1) / 2 AND v = n % 2")" 30
same "done and failed" "$(sql "SELECT sum(found), sum(failed) FROM tally_lifecycle WHERE lifecycle > 0")" "30|30"
ok

check "a contradiction kills its event alone"
new_app
simple_kinds item
echo 'return { fields = { { "k", "int8" }, { "v", "int8" } }, nullable = { { "w", "text" } }, unique = { "k" } }' | kind value
lifecycle says <<'END'
local M = { on = "item", finds = { "value" }, monotone = true }
function M.process_data(item, found)
  found.value(nil, item.n, 1)
  if item.n == 50 then found.value(nil, 1000, 1) end
  if item.n == 60 then found.value(nil, 1000, 1, "not NULL") end
  if item.n == 70 then found.value(nil, 2000, 1) found.value(nil, 2000, 2) end
end
return M
END
echo '{"k":10,"v":2}' | ingest value
items 100
fixpoint -x 1 --set worker.count=1 --set worker.batch_events=9
same "dead events" "$(sql "SELECT count(*) FROM parked WHERE state = 'dead' AND attempts = 1")" 3
wants_error "contradiction: value"
same values "$(sql "SELECT count(*) FROM fact_value WHERE k <= 100")" 98
same "value 10 stays" "$(sql "SELECT v FROM fact_value WHERE k = 10")" 2
[ "$(status status.contradictions)" -ge 3 ] || fail "contradictions in status: $(status status.contradictions)"
same "done and failed" "$(sql "SELECT sum(found), sum(failed) FROM tally_lifecycle WHERE lifecycle > 0")" "97|3"
echo '{"k":10,"v":3}' | acc ingest --quiet value - 2>"$TMPDIR/refused" && fail "a contradiction was taken"
grep -q contradicts "$TMPDIR/refused" || fail "ingest says: $(cat "$TMPDIR/refused")"
ok

check "one event may find more than a transaction takes"
new_app
simple_kinds item mark
lifecycle many <<'END'
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found)
  for i = 1, item.n == 7 and 25000 or 3 do found.mark(item, item.n * 100000 + i) end
  if item.n == 8 then error("after finds") end
end
return M
END
items 12
fixpoint -x 1 --set worker.batch_finds=100 --set queue.attempts=2
same marks "$(sql "SELECT count(*) FROM fact_mark")" 25030
same "tallied marks" "$(sql "SELECT sum(new) FROM tally_kind WHERE lifecycle > 0")" 25030
same outcomes "$(sql "SELECT sum(found), sum(empty) FROM tally_lifecycle WHERE lifecycle > 0")" "11|0"
[ "$(sql "SELECT max(found) FROM batch WHERE lifecycle > 0")" -le 200 ] || fail "a transaction wrote more than it should"
ok

check "a contradiction in the middle of a large event is counted as failed"
new_app
simple_kinds item
echo 'return { fields = { { "k", "int8" }, { "v", "int8" } }, unique = { "k" } }' | kind value
lifecycle many <<'END'
local M = { on = "item", finds = { "value" }, monotone = true }
function M.process_data(item, found)
  for i = 1, 500 do found.value(item, i, item.n == 2 and i == 50 and 3 or 4) end
end
return M
END
items 2
fixpoint -x 1 --set worker.batch_finds=100 --set worker.count=1 --set worker.batch_events=1
same outcomes "$(sql "SELECT sum(found), sum(failed) FROM tally_lifecycle WHERE lifecycle > 0")" "1|1"
same "dead events" "$(status status.queue.dead)" 1
ok

check "a lifecycle that is not monotone finds a transaction's worth, then fails with the number"
new_app
simple_kinds item mark
lifecycle many <<'END'
local M = { on = "item", finds = { "mark" } }
function M.process_data(item, found)
  for i = 1, item.n == 2 and 6000 or 1500 do found.mark(item, item.n * 100000 + i) end
end
return M
END
items 3
fixpoint -x 1 --set worker.batch_finds=100 --set queue.attempts=2
same marks "$(sql "SELECT count(*) FROM fact_mark")" 3000
wants_error "more than 5000 finds in one event of a lifecycle that is not monotone"
ok

check "too many friends halve the batch, too many for one event fail it with the number"
new_app
simple_kinds item mark
echo 'return { fields = { { "n", "int8" }, { "i", "int8" } } }' | kind friend
lifecycle counts <<'END'
local M = { on = "item", friends = { friend = { { "n" } } }, finds = { "mark" }, monotone = true }
function M.load_friends(db, item) return db.friend:where({ n = item.n }) end
function M.process_data(item, friends, found) found.mark(nil, item.n * 1000 + #friends) end
return M
END
luajit -e 'for n = 1, 20 do for i = 1, n == 13 and 400 or 50 do print(("{\"n\":%d,\"i\":%d}"):format(n, i)) end end' | ingest friend
items 20
fixpoint -x 1 --set worker.batch_friends=120 --set worker.friends_max=300 --set queue.attempts=2
same marks "$(sql "SELECT count(*), count(*) FILTER (WHERE n % 1000 = 50) FROM fact_mark")" "19|19"
wants_error "one event has more than worker.friends_max = 300 friends"
ok

check "texts of a megabyte are unique, looked up and found"
new_app
echo 'return { fields = { { "t", "text" } } }' | tee "$app/kinds/long.lua" >"$app/kinds/echo.lua"
echo 'return { fields = { { "n", "int8" }, { "t", "text" } }, unique = { "n" } }' | kind said
echo 'return { fields = { { "n", "int8" }, { "y", "bytes" } } }' | kind raw
lifecycle echoes <<'END'
local M = { on = "long", friends = { said = { { "t" } }, echo = { { "t" } }, raw = { { "y" } } }, finds = { "echo" }, monotone = true }
function M.load_friends(db, long)
  return db.said:where({ t = long.t }), db.echo:where({ t = long.t }), db.raw:where({ y = long.t })
end
function M.process_data(long, said, _, raw, found)
  for _, s in said:each() do
    for _, r in raw:each() do found.echo({ s, r }, long.t .. s.n .. r.n) end
  end
end
return M
END
luajit - >"$app/facts" <<'END'
local function hex(s) return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
for n = 1, 3 do
  local t = ("abcdefgh"):rep(131072) .. n
  print(('{"kind":"long","t":"%s"}\n{"kind":"said","n":%d,"t":"%s"}\n{"kind":"raw","n":%d,"y":"%s"}'):format(t, n, t, n, hex(t)))
end
END
acc ingest --quiet - <"$app/facts"
acc ingest --quiet - <"$app/facts"
fixpoint
same echoes "$(sql "SELECT string_agg(right(t, 3), ' ' ORDER BY right(t, 3)) || ' ' || min(length(t)) FROM fact_echo")" "111 222 333 1048579"
ok

check "many long facts in one packet fit the memory of a batch"
new_app
echo 'return { fields = { { "n", "int8" }, { "t", "text" } }, unique = { "n" } }' | kind long
simple_kinds mark
lifecycle measures <<'END'
local M = { on = "long", finds = { "mark" }, monotone = true }
function M.process_data(long, found) found.mark(long, long.n * 10000000 + #long.t) end
return M
END
luajit -e 'local t = ("x"):rep(4000000) for n = 1, 60 do print(("{\"n\":%d,\"t\":\"%s\"}"):format(n, t)) end' | ingest long
fixpoint --set queue.buckets=16 --set worker.count=1
same marks "$(sql "SELECT count(*) FROM fact_mark WHERE n % 10000000 = 4000000")" 60
ok

check "a mirror is complete whatever is found meanwhile"
new_app
simple_kinds item node
echo 'return { fields = { { "n", "int8" }, { "count", "int8" } } }' | kind seen
echo 'return { fields = { { "a", "int8" }, { "b", "int8" } } }' | kind pair
lifecycle grows <<'END'
local M = { on = "item", finds = { "node" }, monotone = true }
function M.process_data(item, found) found.node(item, item.n % 97) found.node(item, item.n) end
return M
END
lifecycle pairs_up <<'END'
local M = { on = "node", friends = { node = { {} } }, finds = { "pair" }, monotone = true }
function M.load_friends(db) return db.node:where({}) end
function M.process_data(node, nodes, found)
  for _, other in nodes:each() do
    found.pair(other, math.min(node.n, other.n), math.max(node.n, other.n))
  end
end
return M
END
seq 300 | sed 's/.*/{"n":&}/' >"$app/items"
head -n 20 "$app/items" | ingest item
start_host --workers 4 --set worker.batch_events=5 --set queue.packet_events=7 --set worker.batches_max=20
for part in 21,90p 91,130p 131,220p 221,300p; do
    sed -n $part "$app/items" | ingest item
done
acc wait --quiet --timeout 60s || fail "wait ended with $?"
stop_host
same "pairs that a join has and the fixpoint has not" "$(sql "
    SELECT count(*) FROM (SELECT a.n AS a, b.n AS b FROM fact_node a JOIN fact_node b ON a.n <= b.n EXCEPT SELECT a, b FROM fact_pair) x")" 0
same pairs "$(sql "SELECT count(*) FROM fact_pair")" "$(sql "SELECT count(*) * (count(*) + 1) / 2 FROM fact_node")"
ok "$(sql "SELECT count(*) FROM fact_pair") pairs of $(sql "SELECT count(*) FROM fact_node")"

check "a mirror is used as what any look-up returns"
new_app
simple_kinds item node seen
lifecycle sees <<'END'
local M = { on = "item", friends = { node = { {} } }, finds = { "seen" }, monotone = true }
function M.load_friends(db) return db.node:where({}) end
function M.process_data(item, nodes, found)
  if item.n == 1 then
    local column, n = nodes:column("n")
    local sum = 0
    for i = 0, n - 1 do sum = sum + tonumber(column[i]) end
    found.seen(nodes:get(#nodes), #nodes)
    found.seen(nodes, sum)
  elseif item.n == 2 then
    for _ in ipairs(nodes) do end
  elseif item.n == 3 then
    for _ in pairs(nodes) do end
  elseif item.n == 4 then
    nodes:eech()
  end
end
return M
END
printf '{"n":7}\n{"n":8}\n{"n":9}\n' | ingest node
items 4
fixpoint -x 1 --set queue.attempts=1
same "length and sum" "$(numbers seen)" "3 24"
same "dead events" "$(status status.queue.dead)" 3
wants_error 'is no list: write for _, row in rows:each() do'
wants_error 'no method "eech" of what a look-up returns, did you mean "each"?'
ok

check "not monotone, serializable: one name each, however many workers"
new_app
simple_kinds item
echo 'return { fields = { { "color", "int8" }, { "n", "int8" } } }' | kind owner
echo 'return { fields = { { "n", "int8" }, { "color", "int8" } }, unique = { "n" } }' | kind claim
lifecycle claims <<'END'
local M = { on = "item", friends = { owner = { { "color" } } }, finds = { "owner" } }
function M.load_friends(db, item) return db.owner:where({ color = item.n % 10 }) end
function M.process_data(item, owners, found)
  if #owners == 0 then found.owner(nil, item.n % 10, item.n) end
end
return M
END
items 400
fixpoint --set worker.count=4 --set worker.batch_events=1 --set queue.packet_events=3
same "colors with one owner" "$(sql "SELECT count(*), count(DISTINCT color) FROM fact_owner")" "10|10"
same "events done" "$(sql "SELECT sum(found + empty) FROM tally_lifecycle WHERE lifecycle > 0")" 400
ok "$(sql "SELECT sum(retries) FROM tally_lifecycle") retries"
finish
