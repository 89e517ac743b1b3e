#!/bin/bash
# What an author reads when a callback fails: the app's file and line, the callback, the fact, and what was probably meant.
. tests/host.sh "$@"

# An app with kinds item(n, word) and pair(a, b), and lua/helper.lua.
items_app()
{
    new_app
    echo 'return { fields = { { "n", "int8" }, { "word", "text" } } }' >"$app/kinds/item.lua"
    echo 'return { fields = { { "a", "int8" }, { "b", "text" } } }' >"$app/kinds/pair.lua"
    mkdir -p "$app/lua"
    printf 'local M = {}\n\nfunction M.fails(n)\n  error("helper has " .. n)\nend\n\nreturn M\n' >"$app/lua/helper.lua"
    settings+=(--set queue.attempts=1)
}

# Runs one item through a lifecycle whose process_data has this body (line 6) and load_friends that one (line 4).
fails() # BODY [LOAD]
{
    items_app
    cat >"$app/lifecycles/tries.lua" <<END
local helper = require("helper") -- luacheck: ignore
local M = { on = "item", friends = { pair = { { "a" } } }, finds = { "pair" }, monotone = true }
function M.load_friends(db, item) -- luacheck: ignore
  ${2-return db.pair:where({ a = item.n \})}
end
function M.process_data(item, pairs_found, found) $1 end -- luacheck: ignore
return M
END
    echo '{"n":7,"word":"seven"}' | ingest item
    fixpoint -x 1
    error=$(sql "SELECT error FROM parked")
    trace=$(sql "SELECT trace FROM parked")
}

says() # TEXT
{
    same error "$error" "$1"
    [[ $trace == *"for item(n = 7, word = \"seven\") "* ]] || fail "no fact in the trace: $trace"
    [[ $trace != *host/script* && $trace != *"tries process"* && $trace != *"tries gather"* ]] || fail "the host is in the trace: $trace"
}

check "a misspelt field of the data names line and field"
fails 'found.pair(nil, item.m, item.word)'
says 'lifecycles/tries.lua:6: item has no field "m", did you mean "n"?'
[[ $trace == *"in process_data of tries, for "* && $trace == *"lifecycles/tries.lua:6: in function 'process_data'"* ]] || fail "$trace"
ok

check "a misspelt field of a find names line and field"
fails 'found.pair(nil, { a = item.n, bb = item.word })'
says 'lifecycles/tries.lua:6: found.pair has no field "bb", did you mean "b"?'
fails 'found.pair(nil, { a = item.n })'
says 'lifecycles/tries.lua:6: found.pair: field "b" is missing'
ok

check "a value of another type names line, field and value"
fails 'found.pair(nil, item.word, item.word)'
says 'lifecycles/tries.lua:6: pair.a: wanted a whole number, got "seven"'
fails 'found.pair(nil, { a = 1.5, b = item.word })'
says 'lifecycles/tries.lua:6: pair.a: wanted a whole number within 2^53, or int64 cdata, got 1.5'
fails 'found.pair("x", 1, item.word)'
says 'lifecycles/tries.lua:6: found.pair takes first what it rests on (a row, a list of rows, or nil), then a, b; got "x" first'
ok

check "a misspelt kind names line and kind"
fails 'found.pear(nil, 1, "b")'
says 'lifecycles/tries.lua:6: no kind "pear", did you mean "pair"?'
fails 'found.item(nil, 1, "b")'
says 'lifecycles/tries.lua:6: lifecycle tries finds item without saying so: add it to finds'
fails 'found.pair(nil, 1, "b")' 'return db.pari:where({ a = 1 })'
says 'lifecycles/tries.lua:4: no kind "pari", did you mean "pair"?'
[[ $trace == *"in load_friends of tries, for "* ]] || fail "$trace"
ok

check "a wrong look-up names line and field"
fails 'found.pair(nil, 1, "b")' 'return db.pair:where({ aa = 1 })'
says 'lifecycles/tries.lua:4: pair has no field "aa", did you mean "a"?'
fails 'found.pair(nil, 1, "b")' 'return db.pair:where({ b = "x" })'
says 'lifecycles/tries.lua:4: look-up of pair by {b} is not declared in lifecycle tries: add { "b" } to friends.pair'
fails 'found.pair(nil, 1, "b")' 'return db.item:where({ n = 1 })'
says 'lifecycles/tries.lua:4: look-ups of item are not declared in lifecycle tries: add item = { { … } } to friends'
fails 'found.pair(nil, 1, "b")' 'return db.pair:where({ a = "x" })'
says 'lifecycles/tries.lua:4: pair.a: wanted a whole number, got "x"'
fails 'pairs_found:column("bb")'
says 'lifecycles/tries.lua:6: pair has no field "bb", did you mean "b"?'
ok

check "an error in a module of the app names its file, and the way to it"
fails 'helper.fails(item.n)'
says 'lua/helper.lua:4: helper has 7'
[[ $trace == *"lua/helper.lua:4: in function 'fails'"*"lifecycles/tries.lua:6: in function 'process_data'"* ]] || fail "$trace"
ok

check "a global names its line, and what was meant"
fails 'count = 1'
says 'lifecycles/tries.lua:6: global "count": write local count'
fails 'prnt(1)'
says 'lifecycles/tries.lua:6: no global "prnt", did you mean "print"?'
ok

finish
