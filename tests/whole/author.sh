#!/bin/bash
# Writing an app: from accrete new to a fixpoint and its explanation, and what accrete check says to typical mistakes.
. tests/host.sh "$@"

# A fresh app of accrete new in $app.
fresh()
{
    apps=$((apps + 1))
    app=$TMPDIR/family$apps
    (cd "$TMPDIR" && "$ACCRETE" new "family$apps" >/dev/null) || fail "accrete new"
    schema=t$$_$apps
    mkdir -p "$app/data" "$app/run"
    settings=(--set "data.dir=$app/data" --set "data.run_dir=$app/run")
    [ -n "${own_cluster-}" ] || settings+=(--set "database.url=$ACCRETE_TEST_URL" --set "database.schema=$schema")
}

examine() # OPTIONS: checks the app; the output in $said, the exit code in $code
{
    code=0
    said=$(acc check "$@" 2>&1) || code=$?
}

# The check fails and names the place; more arguments: words that it says.
names() # FILE:LINE WORDS...
{
    local place=$1 words

    shift
    examine
    same "exit code of check" $code 1
    [[ $said == *"$place: "* ]] || fail "wanted $place, got: $said"
    for words in "$@"; do
        [[ $said == *"$words"* ]] || fail "wanted \"$words\", got: $said"
    done
}

put() # FILE: its text from stdin
{
    mkdir -p "$(dirname "$app/$1")"
    cat >"$app/$1"
}

mend() # FILE SED-EXPRESSION
{
    sed -i "$2" "$app/$1"
}

is=lifecycles/parent_is_ancestor.lua
has=lifecycles/ancestor_has_parent.lua

check "a new app runs at once, and its fixpoint is explained"
fresh
examine --strict
same "exit code of check" $code 0
examine --facts 5
same "exit code of check --facts without any fact" $code 0
acc ingest --quiet parent --format csv "$app/parents.csv"
fixpoint
same ancestors "$(acc dump --quiet --kind ancestor | wc -l)" 16
id=$(acc lua -e 'print(require("accrete.db").value("SELECT left(_id::text, 13) FROM fact_ancestor WHERE elder = $1 AND younger = $2", "Ada", "Eve"))')
acc explain ancestor "${id//-/}" >"$TMPDIR/explained" || fail "explain"
grep -q Eve "$TMPDIR/explained" || fail "explain names no Eve"
examine --strict --facts 20
same "exit code of check --facts" $code 0
[[ $said == *"real facts"* ]] || fail "no real facts were sampled: $said"
echo 'return { fields = { { "elder", "text" }, { "younger", "text" } }, nullable = { { "age", "int8" } } }' | put kinds/ancestor.lua
examine --facts 5
same "exit code of check --facts of a kind that has changed" $code 1
[[ $said == *'kinds/ancestor.lua:1: error: the database has it otherwise: column "age" does not exist'* ]] || fail "$said"
ok

check "look-ups without a valid index in the database are told, and how they get one"
fresh
acc ingest --quiet parent --format csv "$app/parents.csv"
fixpoint
examine --strict
[[ $said != *" index "* ]] || fail "a complaint about indexes that are there: $said"
index=$(sql "SELECT min(indexname) FROM pg_indexes WHERE schemaname = '$schema' AND indexname LIKE 'ix\_%'")
for state in missing invalid; do
    if [ $state = missing ]; then
        sql "DROP INDEX $index"
    else
        sql "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '$index'::regclass"
    fi
    examine --strict
    same "exit code of check" $code 0
    [[ $said == *"kinds/"*".lua:1: hint: in the database the index $index of look-ups by "*" is $state: "*"accrete schema apply"* ]] ||
        fail "the index is $state: $said"
    acc schema apply >/dev/null 2>&1 || fail "schema apply"
    examine --strict
    [[ $said != *" index "* ]] || fail "a complaint about an index that was built again: $said"
done
settings+=(--set "database.url=host=/nowhere/at/all")
examine --strict
same "exit code of check without the database" $code 0
ok

check "new kinds and lifecycles load, pass the check and are never overwritten"
fresh
acc new kind edge --fields from:int8,to:int8,marks:text[] >/dev/null
acc new kind path --fields from:int8,to:int8 >/dev/null
acc new lifecycle edge_extends_path --on edge --friends path.to,edge.marks,path.from --finds path,ancestor >/dev/null
examine --strict
same "exit code of check" $code 0
for wrong in "kind edge" "kind Edge" "kind end" "kind a b" "lifecycle x" "lifecycle x --on edg --finds path" \
    "lifecycle x --on edge --finds path --friends path" "kind x --fields a" "kind x --fields a:int" "Family"; do
    code=0
    # shellcheck disable=SC2086
    acc new $wrong >/dev/null 2>"$TMPDIR/said" || code=$?
    case $wrong in
    "kind edge") same "exit code of new $wrong" $code 1 ;;
    *) same "exit code of new $wrong" $code 2 ;;
    esac
    [ -s "$TMPDIR/said" ] || fail "accrete new $wrong says nothing"
done
(cd "$TMPDIR" && ! "$ACCRETE" new "family$apps" 2>/dev/null) || fail "an app was overwritten"
ok

check "mistake 1: a wrong field name"
fresh
mend $is 's/parent\.child)$/parent.chld)/'
names "$is:16" 'no field "chld"' 'did you mean "child"'
fresh
mend $is 's/ancestor\.younger)/ancestor.yunger)/'
names "$is:18" 'no field "yunger"' 'did you mean "younger"'
fresh
mend $is 's/where({ elder/where({ edler/'
names "$is:8" 'no field "edler"' 'did you mean "elder"' '1 error,'
ok

check "mistake 2: a look-up without an index"
fresh
mend $is 's/where({ elder/where({ younger/'
names "$is:8" 'by {younger} is not declared' 'add { "younger" } to friends.ancestor' '1 error,'
fresh
mend $is 's/where({ elder = [^}]*})/where({})/'
names "$is:8" 'by {} is not declared' 'add {} to friends.ancestor'
fresh
mend $is 's/friends = { ancestor = { { "elder" } } }/friends = { parent = { { "child" } } }/'
names "$is:8" 'look-ups of ancestor are not declared' 'add ancestor = { { "FIELD" } } to friends: its index'
fresh
mend $is 's/friends = { ancestor = { { "elder" } } }, //'
names "$is:8" 'look-ups of ancestor are not declared' 'add friends = { ancestor = { { "FIELD" } } }' '1 error,'
ok

check "mistake 3: a lifecycle that is not monotone"
fresh
mend $is 's/^  found.ancestor(nil.*/  if below:count() == 0 then found.ancestor(nil, parent.parent, parent.child) end/'
names "$is:16" "not monotone" "friends may still come"
fresh # the examples have one friend each: a second one is made up
mend $is 's/^  for _, ancestor in.*/  local last\n  for _, a in below:each() do if not last or a.younger > last.younger then last = a end end\n  for _, ancestor in ipairs({ last }) do/'
examine --strict
same "exit code of check --strict" $code 1
[[ $said == *"$is:20: warning: not monotone"*"let the example have two"* ]] || fail "$said"
mend $is 's/friends = { { { elder = "Ben", younger = "Cleo" } } }/friends = { { { elder = "Ben", younger = "Cleo" }, { elder = "Ben", younger = "Dan" } } }/'
names "$is:20" "error: not monotone"
ok

check "mistake 4: wrong finds"
fresh
mend $has 's/finds = { "ancestor" }/finds = { "parent" }/'
names "$has:16" "finds ancestor without saying so" 'add "ancestor" to finds'
fresh
mend $has 's/found\.ancestor(/found.ancester(/'
names "$has:16" 'no kind "ancester", did you mean "ancestor"'
fresh
mend $has 's/finds = { "ancestor" }/finds = { "ancester" }/'
names "$has:3" 'did you mean "ancestor"'
fresh
mend $has 's/finds = { "ancestor" }/finds = "ancestor"/'
names "$has:3" 'wanted a list of kinds, finds = { "KIND" }, got a string'
fresh
mend $has 's/finds = { "ancestor" }/finds = { "ancestor", "parent" }/'
examine
[[ $said == *"$has:3: hint: finds says \"parent\", but no found.parent stands here"* ]] || fail "$said"
fresh
mend $has 's/found\.ancestor(parent, /found.ancestor(/'
names "$has:16" "found.ancestor takes first what it rests on" "then elder, younger"
ok

check "mistake 5: a global variable"
fresh
mend $has 's/^  for _, parent in/  count = 1\n&/'
names "$has:15" 'global "count"' "write local count"
fresh
mend $has 's/^  for _, parent in/  prnt(1)\n&/'
names "$has:15" 'no global "prnt", did you mean "print"'
fresh
mend $has 's/^local M/M/'
names "$has:3" 'global "M"' '1 error,'
ok

check "what is kept between events, and modules that are not there, are named"
fresh
mend $has '3i local count = 0'
mend $has 's/^  for _, parent in/  count = count + 1\n&/'
examine
[[ $said == *"$has:16: warning: count is kept from one event to the next"* ]] || fail "$said"
fresh
mend $has '3i local helper = require("helper")'
names "$has:3" 'no module "helper" in the program, in lua/helper.lua of the app'
fresh
mend $has '3i local json = require("jsno")'
names "$has:3" 'did you mean "accrete.json"?'
fresh
mend $has '3i local db = require("accrete.db")'
names "$has:3" "accrete.db in a lifecycle" "look up by the first argument"
fresh
mend $is 's/in below:each()/in ipairs(below)/'
names "$is:17" "write for _, row in rows:each() do"
ok

check "mistake 6: a yield or a look-up in the wrong place"
fresh
mend $has 's/^  for _, parent in/  coroutine.yield()\n&/'
names "$has:15" "coroutine.yield in a lifecycle" "does not yield"
fresh
mend $has 's/^  return db/  M.db = db\n&/; s/^  for _, parent in .*/  for _, parent in M.db.parent:where({ child = ancestor.elder }):each() do/'
names "$has:16" "a look-up in process_data" "look it up in load_friends"
ok

check "mistake 7: a kind without unique fields"
fresh
echo 'return { fields = {}, nullable = { { "remark", "text" } } }' | put kinds/note.lua
names kinds/note.lua:1 "at least one unique field" "add a field to"
echo 'return { fields = { { "remark", "text" } }, unique = {} }' | put kinds/note.lua
names kinds/note.lua:1 "unique: wanted at least one unique field, got none"
echo 'return { fields = { remark = "text" } }' | put kinds/note.lua
names kinds/note.lua:1 'wanted a list, { "remark", "text" }, got remark = …'
echo 'return { { "remark", "text" } }' | put kinds/note.lua
names kinds/note.lua:1 'wanted keys like fields = …'
echo 'return { fields = { { "remark", "string" } } }' | put kinds/note.lua
names kinds/note.lua:1 'got "string", did you mean "text"?'
: | put kinds/note.lua
names kinds/note.lua:1 'a kind is: return { fields ='
ok

check "what a kind or a lifecycle says and nobody reads is refused, with its line and what is wanted"
fresh
printf '%s\n' '-- nullable = a comment' 'return { fields = {' '  { "writer", "text" },' '  { "note", "text", nullable = true } } }' | put kinds/note.lua
way='nullable fields stand in a list of the kind: nullable = { { "note", "text" } }'
names kinds/note.lua:4 'field "note": unknown key "nullable" (wanted { "name", "type" } alone' "$way"
refused=$(acc schema plan 2>&1) && fail "the plan takes it"
[[ $refused == *'kinds/note.lua:4: field "note": unknown key "nullable"'* ]] || fail "$refused"
mend kinds/note.lua 's/nullable = true/nulable = true/'
names kinds/note.lua:4 'unknown key "nulable", did you mean "nullable"?' "$way"
mend kinds/note.lua 's/nulable = true/"nullable"/'
names kinds/note.lua:4 'field "note": unknown value "nullable"' "$way"
mend kinds/note.lua 's/"text", "nullable"/"text", frob = 1/'
names kinds/note.lua:4 'unknown key "frob" (wanted { "name", "type" } alone)'
mend kinds/note.lua 's/frob = 1/unique = true/'
names kinds/note.lua:4 'the kind itself says: unique = { "note" }'
mend kinds/note.lua 's/, unique = true.*/ } },/'
printf '%s\n' '  uniqe = { "writer" } }' >>"$app/kinds/note.lua"
names kinds/note.lua:5 'unknown key "uniqe", did you mean "unique"? (wanted fields, nullable, unique, shard or doc)'
mend kinds/note.lua 's/uniqe = .*/unique = { "writer", note = true } }/'
names kinds/note.lua:5 'unique: wanted a list, got note = …'
fresh
mend $is 's/monotone = true/montone = true/'
names "$is:2" 'unknown key "montone", did you mean "monotone"? (wanted on, friends, finds,' 'what else the module has is local'
fresh
mend $is 's/friends = {/freinds = {/'
names "$is:2" 'unknown key "freinds", did you mean "friends"?'
fresh
mend $is 's/friends = { ancestor = { { "elder" } } }/friends = { ancestor = { { elder = true } } }/'
names "$is:2" 'friends.ancestor: wanted a list, got elder = …'
fresh
mend $is 's/^return M/function M.helper() end\n&/'
names "$is:$(grep -n 'M.helper' "$app/$is" | cut -d: -f1)" 'unknown key "helper" (wanted on,'
ok

check "mistake 8: a type mismatch with C"
fresh
put native/size.h <<'END'
#pragma once
/* ffi:begin */
int size_of(const char *text, int length);
/* ffi:end */
END
printf '#include "size.h"\nint size_of(const char *text, int length)\n{\n    return text[0] + length;\n}\n' | put native/size.c
mend $has '1i local size = require("accrete.native").load("size")\n'
mend $has 's/^  for _, parent in/  size.size_of(ancestor.elder, ancestor.younger)\n&/'
name_of_library=$(cd "$app" && acc build 2>&1) || fail "build: $name_of_library"
if [[ $name_of_library != *"/size-"* ]]; then # the library has the app's name
    mend $has "s/load(\"size\")/load(\"family$apps\")/"
    mv "$app/native/size.h" "$app/native/family$apps.h"
    mv "$app/native/size.c" "$app/native/family$apps.c"
    sed -i "s/size\.h/family$apps.h/" "$app/native/family$apps.c"
fi
names "$has:17" "cannot convert 'string' to 'int'" "what the header in native/ declares"
fresh
printf '/* ffi:begin */\nint size_of(const char *text);\n/* ffi:end */\n' | put "native/family$apps.h"
printf 'long size_of(const char *text)\n{\n    return text[0];\n}\n' | put "native/family$apps.c"
names "native/family$apps.c:1" "conflicting types" "must agree"
ok

check "mistake 9: a reserved word"
fresh
echo 'return { fields = { { "name", "text" },
  { "end", "int8" } } }' | put kinds/range.lua
names kinds/range.lua:2 '"end" is a reserved word' "rename it"
fresh
mv "$app/$is" "$app/lifecycles/end.lua"
names lifecycles/end.lua:1 '"end" is a reserved word' "rename the file"
ok

check "mistake 10: a cycle that never ends"
fresh
acc new kind number --fields value:int8 >/dev/null
put lifecycles/number_counts.lua <<'END'
local M = { on = "number", finds = { "number" }, monotone = true }

function M.process_data(number, found)
  found.number(nil, number.value + 1)
end

M.examples = { hit = { data = { value = 1 }, friends = {}, found = { number = { { 2 } } } } }

return M
END
examine
same "exit code without --strict" $code 0
[[ $said == *"number_counts.lua:4: warning: a cycle that may never end: number ─▶ number_counts ─▶ number;"* ]] || fail "$said"
examine --strict
same "exit code of --strict" $code 1
mend lifecycles/number_counts.lua '/^M.examples/d' # then real facts show it
echo '{"value":7}' | acc ingest --quiet number -
examine --facts 5
[[ $said == *"number_counts.lua:4: warning: a cycle that may never end"*"1 facts of the database became "* ]] || fail "$said"
ok

check "the order of friends, chance, contradictions and wrong examples are named"
fresh
mend $has 's/^    found.ancestor.*/&\n    break/'
mend $has 's/friends = { { { parent = "Ada", child = "Ben" } } }/friends = { { { parent = "Ada", child = "Ben" }, { parent = "Abe", child = "Ben" } } }/'
names "$has:16" "the order of friends decides"
fresh
mend $has 's/^  for _, parent in/  if math.random() > 2 then return end\n&/'
names "$has:15" "math.random in a lifecycle"
fresh
echo 'return { fields = { { "elder", "text" }, { "younger", "text" } }, unique = { "younger" } }' | put kinds/ancestor.lua
names "$has:16" "with the same unique fields" "add the field to unique"
fresh
mend $has 's/found = { ancestor = { { "Ada", "Cleo" } } }/found = { ancestor = { { "Ada", "Dan" } } }/'
names "$has:21" "examples.hit: wanted ancestor(\"Ada\", \"Dan\"), which is not found"
ok

check "examples are compared as the host would: by the type of the field"
fresh
echo 'return { fields = { { "n", "int8" }, { "list", "int8[]" }, { "f", "float8" } }, nullable = { { "j", "json" } } }' | put kinds/tick.lua
put lifecycles/tick_ticks.lua <<'LUA'
local M = { on = "tick", friends = { tick = { { "n" } } }, finds = { "tick" }, monotone = true }
function M.load_friends(db, tick) return db.tick:where({ n = tick.n }) end
function M.process_data(tick, ticks, found)
  if tick.n ~= 2 then found.tick(ticks, { n = tick.n + 1, list = tick.list, f = tick.f, j = tick.j }) end
  if tick.n == 0 then found.tick(ticks, { n = 9007199254740993LL, list = {}, f = 0 }) end
end
M.examples = {
  long = { data = { 1LL, { 3 }, 0, '{"b": 1, "a": 2}' }, friends = { { { 1, { 3LL }, 1 } } }, found = { tick = { { 2, { 3LL }, -0, '{"a":2,"b":1}' } } } },
  short = { data = { 1, { 3LL }, -0 }, found = { tick = { { 2LL, { 3 }, 0 } } } },
  large = { data = { 0, {}, 0 }, found = { tick = { { 1LL, {}, 0 }, { 9007199254740993LL, {}, 0 } } } },
}
return M
LUA
examine
same "exit code of check" "$code: $said" "0: $said"
mend lifecycles/tick_ticks.lua 's/{ 9007199254740993LL, {}, 0 } }/{ 9007199254740994LL, {}, 0 } }/'
names lifecycles/tick_ticks.lua:10 'wanted tick(9007199254740994LL' 'finds tick(9007199254740993LL'
mend lifecycles/tick_ticks.lua "s/'{\"a\":2,\"b\":1}'/'{'/"
names lifecycles/tick_ticks.lua:8 'tick.j: wanted JSON text, got "{"'
ok

check "a loop that does not end is named"
fresh
mend $has 's/^  for _, parent in/  while ancestor do parents:count() end\n&/'
names "$has:15" "still running after 10 s" "a loop that does not end"
ok

check "several mistakes are told together, and syntax errors among them"
fresh
echo 'return { fields = { { "name" "text" } } }' | put kinds/broken.lua
echo 'return { fields = { { "name", "txt" } } }' | put kinds/wrong.lua
mend $is 's/^  found.ancestor(nil/  x = 1\n&/'
names kinds/broken.lua:1 "kinds/wrong.lua:1: error: " '"txt"' "$is:16: error: global \"x\""
ok

check "what is not sampled is said, and fails with --strict"
fresh
acc new lifecycle rests --on parent --finds ancestor >/dev/null
mend lifecycles/rests.lua '/^--- For accrete check/,/^}/d'
mend $is '/^M.examples/,/^}/d'
mend $has '/^M.examples/,/^}/d'
examine
same "exit code" $code 0
[[ $said == *"lifecycles/rests.lua:1: note: not sampled"* ]] || fail "$said"
examine --strict
same "exit code of --strict" $code 1
examine --json
[[ $said == *'"not_sampled":3'* && $said == *'"ok":true'* ]] || fail "$said"
ok

check "lua runs code with arguments, and lines from a pipe"
fresh
acc ingest --quiet parent --format csv "$app/parents.csv"
same "-e" "$(acc lua -e 'print(kinds.parent:count(), db.value("SELECT 2"), ...)' x y)" $'7\t2\tx\ty'
code=0
said=$(acc lua -e 'error("no")' 2>&1) || code=$?
same "exit code of an error" $code 1
[[ $said == *"-e:1: no"* && $said != *host/script* ]] || fail "$said"
said=$(printf '%s\n' 'x = 20' 'for i = 1, 1 do' 'x = x + i' 'end' 'x, {1, {a = "b"}}' 'kinds.parent:where({ child = "Eve" })' 'nothing.here' | acc lua 2>"$TMPDIR/errors")
[[ $said == *$'21\n{ 1, { a = "b" } }\n{ child = "Eve", id = "'*'parent = "Dan" }' ]] || fail "$said"
grep -q "prompt:1: attempt to index" "$TMPDIR/errors" || fail "no error was shown"
ok

check "at a terminal lines are completed and kept"
if command -v script >/dev/null; then
    {
        sleep 2
        printf 'kinds.par\t:cou\t()\n'
        sleep 1
        printf '\004'
        sleep 1
    } | TERM=xterm script -qec "$(printf '%q ' "$ACCRETE" lua --app "$app" "${settings[@]}")" /dev/null >"$TMPDIR/screen" ||
        fail "$(cat "$TMPDIR/screen")"
    grep -q '^7' "$TMPDIR/screen" || fail "$(cat "$TMPDIR/screen")"
    grep -q 'kinds.parent:count()' "$app/data/lua_history" || fail "no history"
fi
ok

# What the prompt on a terminal has shown.
screen()
{
    tr -d '\r' <"$TMPDIR/screen"
}

shows() # WORDS
{
    [[ $(screen) == *"$1"* ]]
}

check "at a terminal Ctrl-C ends loops, queries and what was begun, and nothing typed is lost"
if command -v script >/dev/null; then
    mkfifo "$TMPDIR/keys"
    TERM=xterm script -qefc "$(printf '%q ' "$ACCRETE" lua --app "$app" "${settings[@]}")" /dev/null <"$TMPDIR/keys" >"$TMPDIR/screen" 2>&1 &
    prompting=$!
    exec 7>"$TMPDIR/keys"
    until_true shows "family$apps> "
    printf 'while true do end\n' >&7
    until_true shows "while true do end"
    sleep 0.5 # it runs
    printf '\003' >&7
    until_true shows interrupted
    printf 'db.query("SELECT pg_sleep(60)")\n' >&7
    until_true eval '[ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE query = '"'SELECT pg_sleep(60)'"'")" = 1 ]'
    printf '\003' >&7
    until_true shows "canceling statement due to user request"
    printf 'for i = 1, 2 do\n' >&7
    until_true shows "family$apps... "
    printf '\003"all " .. "well"\n' >&7
    until_true shows '"all well"'
    printf '2 *\n21\n' >&7
    until_true shows $'\n42\n'
    printf 'kinds.paernt\nkinds.parent:where({ chld = 1 })\nerror("boom")\njson.encode(print)\n' >&7
    until_true shows 'cannot encode a function'
    shows 'prompt:1: no kind "paernt", did you mean "parent"?' || fail "$(screen)"
    shows 'parent has no field "chld", did you mean "child"?' || fail "$(screen)"
    ! shows host/script && ! shows builtin || fail "the host shows: $(screen)"
    grep -q chld "$app/data/lua_history" || fail "no history before the end"
    exec 7>&-
    wait $prompting || fail "the prompt ended with $?"
    rm "$TMPDIR/keys"
fi
ok

check "types describe the app's kinds and are written for the editor"
fresh
acc new kind edge --fields "from:int8,marks:text[]" >/dev/null
said=$(acc types --stdout)
[[ $said == *"---@class family$apps.Edge : accrete.Row"*"---@field marks string[] text[], unique"* ]] || fail "$said"
acc types >/dev/null
for file in "$app"/.luals/*.lua; do
    luajit -e "assert(loadfile('$file'))"
done
grep -q '.luals' "$app/.luarc.json" || fail "no .luarc.json"
ok

finish
