#!/bin/bash
# accrete bench: what it measures, keeps, compares and survives, and that it writes nothing else.
. tests/host.sh "$@"

bench() # ARGUMENTS...: its JSON is in $TMPDIR/answer, its words in $TMPDIR/err, its exit code in code
{
    code=0
    acc bench --runs 6 --samples 50 --json "$@" >"$TMPDIR/answer" 2>"$TMPDIR/err" || code=$?
}

answer() # LUA-EXPRESSION over the answer a, with row(of, part)
{
    luajit -e "
        package.path = 'tests/?.lua;' .. package.path
        local a = require('json')(io.read('*a'))
        local function row(of, part)
          for _, r in ipairs(a) do
            if r.of == of and (r.part == part or not part) then return r end
          end
        end
        local function all(test)
          for _, r in ipairs(a) do
            if not test(r) then return r.of .. ' ' .. r.part end
          end
          return true
        end
        print($1)" <"$TMPDIR/answer"
}

gives() # LUA-EXPRESSION WANTED
{
    same "$1" "$(answer "$1")" "$2"
}

says() # WORDS
{
    grep -Fq -- "$1" "$TMPDIR/err" || fail "wanted \"$1\", got: $(cat "$TMPDIR/err")"
}

lifecycle() # NAME < LUA
{
    cat >"$app/lifecycles/$1.lua"
}

written() # what a benchmark must leave as it is
{
    checksum
    sql "SELECT (SELECT count(*) FROM batch), (SELECT count(*) FROM packet), (SELECT count(*) FROM audit),
        (SELECT count(*) FROM generation), (SELECT sum(new) FROM tally_kind)"
}

check "every callback and part of the host is measured, over facts that are there, and nothing is written but the results"
new_app examples/closure
head -61 examples/closure/edges.csv | acc ingest --quiet --format csv edge -
fixpoint
before=$(written)
bench
same "exit code" $code 0
gives 'all(function(r) return r.value > 0 and r.ci >= 0 and r.runs == 6 and r.unit == "ns" and r.generation == 1 end)' true
gives 'all(function(r) return r.note == "" and tostring(r.baseline) == "null" and tostring(r.change) == "null" and r.beyond == false end)' true
gives 'all(function(r) return #r.history == 1 and r.history[1] == r.value and type(r.host) == "string" and type(r.at) == "string" end)' true
for part in "edge_extends_path load_friends" "edge_extends_path process_data" "path_takes_edge load_friends" \
    "path_takes_edge process_data" "host identity" "host packet_encode" "host packet_decode" "host ndjson_parse" \
    "host row_to_table" "host friends_lookup" "host facts_insert" "host claim_complete"; do
    gives "row('${part% *}', '${part#* }').part" "${part#* }"
done
gives '#a' 12
gives 'row("path_takes_edge").samples' 50
same "what is written" "$(written)" "$before"
same "results kept" "$(sql 'SELECT count(*) FROM bench')" 12
ok

check "the table has a line for each part"
acc bench --runs 2 --samples 10 path_takes_edge host >"$TMPDIR/table"
head -n 1 "$TMPDIR/table" | grep -Eq '^belongs to +part +per call +± 95 % +baseline +change +history +note' || fail "$(cat "$TMPDIR/table")"
same lines "$(grep -Ec '^(path_takes_edge|host) +[a-z_]+ +[0-9.]+ (ns|µs|ms) ' "$TMPDIR/table")" 10
ok

check "a result of the same generation is replaced, --no-save keeps none, and no more than 60 generations stay"
same "rows of a part" "$(sql "SELECT count(*) FROM bench WHERE part = 'identity'")" 1
sql "UPDATE bench SET ns = 1 WHERE of = 'host'"
bench --no-save host
same "kept" "$(sql "SELECT DISTINCT ns FROM bench WHERE of = 'host'")" 1
gives 'row("host", "identity").baseline' 1
gives 'row("host", "identity").generation' null
sql "INSERT INTO bench SELECT -g, of, part, at, ns, ci_ns, runs, samples, host, module, note, is_failed FROM bench, generate_series(1, 80) g"
bench host
same "exit code" $code 0
same "generations" "$(sql 'SELECT count(DISTINCT generation), max(generation) FROM bench')" "60|1"
sql "DELETE FROM bench WHERE generation < 1"
ok

check "modules that have changed are measured against what is kept, and are not kept"
cp "$app/lifecycles/path_takes_edge.lua" "$TMPDIR/good.lua"
cat >>"$TMPDIR/slow.lua" <<'END'
local M = require("path_takes_edge")
local quick = M.process_data
function M.process_data(path, edges, found)
  local n = 0
  for i = 1, 20000 do n = n + i % 7 end
  quick(path, edges, found, n)
end
return M
END
mkdir -p "$app/lua"
cp "$TMPDIR/good.lua" "$app/lua/path_takes_edge.lua"
cp "$TMPDIR/slow.lua" "$app/lifecycles/path_takes_edge.lua"
kept=$(sql "SELECT string_agg(part || ns, ' ' ORDER BY part) FROM bench WHERE of = 'path_takes_edge'")
bench path_takes_edge --baseline 1
same "exit code" $code 0
says "not kept: the modules have changed"
gives 'row("path_takes_edge", "process_data").beyond' true
gives 'row("path_takes_edge", "process_data").change > 1' true
gives 'row("path_takes_edge", "process_data").note' "changed since generation 1"
same "what is kept" "$(sql "SELECT string_agg(part || ns, ' ' ORDER BY part) FROM bench WHERE of = 'path_takes_edge'")" "$kept"
acc bench --runs 6 --samples 50 path_takes_edge 2>/dev/null | grep -q ' slower ' || fail "the table does not say slower"
cp "$TMPDIR/good.lua" "$app/lifecycles/path_takes_edge.lua"
rm -r "$app/lua"
ok

check "wrong arguments are misuse, a baseline that is not there fails before anything is measured"
bench path_take_edge
same "exit code" $code 2
says 'unknown lifecycle "path_take_edge", did you mean "path_takes_edge"?'
bench --baseline 7
same "exit code" $code 1
says "there are no benchmarks of generation 7; there are those of 1"
bench --samples 0
same "exit code" $code 2
says "--samples: wanted 1..10000"
ok

check "one benchmark at a time"
exec 9<>"$app/data/bench.lock"
flock -n 9
bench host
same "exit code" $code 1
says "a benchmark is running already"
exec 9>&-
bench host
same "exit code" $code 0
ok

check "what raises, crashes or never ends has failed; the rest is measured"
new_app
echo 'return { fields = { { "n", "int8" }, { "w", "text" } } }' >"$app/kinds/letter.lua"
echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/rare.lua"
lifecycle crashes <<'END'
local ffi = require("ffi")
local M = { on = "letter", monotone = true }
function M.abort_late() return false end
function M.process_data(letter) if letter.n == 5 then ffi.cast("int *", 8)[0] = 1 end end
return M
END
lifecycle fits <<'END'
local M = { on = "letter", friends = { letter = { { "w" } } }, finds = { "rare" }, monotone = true }
function M.load(_, letter) return { n = letter.n, w = letter.w } end
function M.abort_early(letter) return letter.n % 4 == 3, "third" end
function M.load_friends(db, letter)
  for _, other in db.letter:where({ w = letter.w }):each() do
    return db.letter:where({ w = other.w })
  end
end
function M.abort_late(letter, others) return others:count() + letter.n == 10 end
function M.process_data(_, others, found)
  for _, other in others:each() do found.rare(other, other.n) end
end
return M
END
lifecycle loops <<'END'
local M = { on = "letter", monotone = true }
function M.abort_late() return false end
function M.process_data(letter) while letter.n == 5 do end end
return M
END
lifecycle loops_early <<'END'
local M = { on = "letter", monotone = true }
function M.abort_early(letter) while letter.n == 5 do end end
function M.process_data() end
return M
END
lifecycle never <<'END'
local M = { on = "letter", monotone = true }
function M.abort_early() return true end
function M.process_data() end
return M
END
lifecycle raises <<'END'
local M = { on = "letter", monotone = true }
function M.process_data(letter) if letter.n % 3 == 0 then error("a third") end end
return M
END
lifecycle raises_always <<'END'
local M = { on = "letter", monotone = true }
function M.abort_early(letter) return letter.n > nil end
function M.process_data() end
return M
END
lifecycle rare_example <<'END'
local M = { on = "rare", friends = { letter = { { "n" } } }, finds = { "rare" }, monotone = true }
function M.load_friends(db, rare)
  local letters = db.letter:where({ n = rare.n })
  return letters:count() > 0 and letters or nil
end
function M.process_data(rare, letters, found)
  for _, letter in letters:each() do found.rare(letter, rare.n + letter.n) end
end
M.examples = { hit = { data = { n = 1 }, friends = { { { 1, "a" }, { n = 1, w = "b" } } } } }
return M
END
lifecycle rare_unknown <<'END'
local M = { on = "rare", monotone = true }
function M.process_data() end
return M
END
for n in 0 1 2 3 4 5 6 7 8 9; do echo "{\"n\":$n,\"w\":\"w$((n / 3))\"}"; done | ingest letter
SECONDS=0
bench --set bench.limit=24s
[ $SECONDS -lt 60 ] || fail "it took $SECONDS s"
same "exit code" $code 1
gives 'row("crashes", "abort_late").value > 0' true
gives 'row("crashes", "process_data").value' null
gives 'row("crashes", "process_data").note' "its process crashed: signal 11 (Segmentation fault)"
gives 'row("loops", "abort_late").value > 0' true
gives 'row("loops", "process_data").note' "it ran longer than 6000 ms and was stopped"
gives 'row("loops_early", "abort_early").note' "it ran longer than 6000 ms and was stopped"
gives 'row("loops_early", "process_data").note' "abort_early: it ran longer than 6000 ms and was stopped"
gives 'row("never", "abort_early").value > 0' true
gives 'row("never", "process_data").note' "no sample gets this far"
gives 'row("raises").value > 0 and row("raises").samples' 6
gives 'row("raises").note' "4 of 10 samples raised: lifecycles/raises.lua:2: a third"
gives 'row("raises_always", "process_data").value' null
gives 'row("raises_always", "process_data").note:match("^10 of 10 samples raised: lifecycles/raises_always.lua:2: ") ~= nil' true
for part in load abort_early load_friends abort_late process_data; do
    gives "row('fits', '$part').value > 0 and row('fits', '$part').note" ""
done
gives 'row("fits", "load").samples .. row("fits", "load_friends").samples .. row("fits", "process_data").samples' 1087
gives 'row("rare_unknown").note' "not sampled"
gives 'row("rare_example", "load_friends").value > 0' true
gives 'row("rare_example", "process_data").note' "no facts, M.examples replayed"
gives 'row("host", "claim_complete").value > 0' true
ok

check "what an error says is one line of UTF-8, whatever it says, and the other samples are measured"
new_app
echo 'return { fields = { { "n", "int8" }, { "w", "text" } } }' >"$app/kinds/letter.lua"
number=0
while read -r raise; do
    number=$((number + 1))
    lifecycle "data$number" <<END
local M = { on = "letter", monotone = true }
function M.process_data(letter) if letter.n == 1 then $raise end end
return M
END
    lifecycle "friends$number" <<END
local M = { on = "letter", friends = { letter = { { "w" } } }, monotone = true }
function M.load_friends(db, letter)
  if letter.n == 1 then $raise end
  return db.letter:where({ w = letter.w })
end
function M.process_data() end
return M
END
done <<'END'
error("caf\xe9 \xff", 0)
error("one\ntwo", 0)
error(setmetatable({}, { __tostring = function() error("no\nwords\xe9") end }))
error(setmetatable({}, { __index = function() error("no\nwords\xe9") end }))
END
for n in 0 1 2 3; do echo "{\"n\":$n,\"w\":\"w$((n / 3))\"}"; done | ingest letter
bench
same "exit code" $code 0
gives '(row("data1").note:gsub(" lifecycles/data1.lua:%d+:", ""))' "1 of 4 samples raised: caf? ?"
gives '(row("friends1").note:gsub(" lifecycles/friends1.lua:%d+:", ""))' "1 of 4 samples raised: caf? ?"
gives '(row("data2").note:gsub(" lifecycles/data2.lua:%d+:", ""))' "1 of 4 samples raised: one"
gives 'row("data3").note' "1 of 4 samples raised: an error without words"
gives 'row("data4").note' "1 of 4 samples raised: an error without words"
gives 'row("data1").value > 0 and row("friends1").value > 0 and row("data2").value > 0 and row("data3").value > 0 and row("data4").value > 0' true
gives 'row("friends3").note' "1 of 4 samples raised: an error without words"
gives 'row("friends4").note' "1 of 4 samples raised: an error without words"
gives 'all(function(r) return not r.note:find("\n") and not r.note:find("traceback") end)' true
gives 'row("host", "identity").value > 0' true
ok

check "figures have the digits that they are rounded to"
! grep -Eo '"(value|ci)":[0-9]+\.[0-9]{4,}' "$TMPDIR/answer" || fail "binary digits"
ok

check "no lifecycle has the name of the host's own parts"
cp "$app/lifecycles/data1.lua" "$app/lifecycles/host.lua"
bench
same "exit code" $code 1
says "lifecycles/host.lua: \"host\" names the host's own parts in benchmarks, choose another name"
rm "$app/lifecycles/host.lua"
acc new lifecycle host --on letter 2>"$TMPDIR/err" && fail "it was made"
says "\"host\" names the host's own parts"
[ ! -e "$app/lifecycles/host.lua" ] || fail "it was made"
ok

check "the time is bounded in all, and what had no turn says so"
for n in 1 2 3 4 5; do
    lifecycle "a_loop$n" <<'END'
local M = { on = "letter", monotone = true }
function M.process_data(letter) while letter.n == 1 do end end
return M
END
done
SECONDS=0
bench --set bench.limit=2s
[ $SECONDS -lt 30 ] || fail "it took $SECONDS s"
gives 'row("a_loop1", "process_data").note' "it ran longer than 500 ms and was stopped"
gives 'row("host", "identity").note' "bench.limit of 2000 ms was over before its turn"
ok

check "before anything has come there is nothing to measure"
new_app examples/closure
rm "$app"/lifecycles/*.lua
cp examples/closure/kinds/*.lua "$app/kinds/"
printf 'local M = { on = "edge", monotone = true }\nfunction M.process_data() end\nreturn M\n' | lifecycle nothing
bench
same "exit code" $code 0
gives 'all(function(r) return tostring(r.value) == "null" and r.note == "not sampled" end)' true
ok

finish
