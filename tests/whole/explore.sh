#!/bin/bash
# Looking at facts: facts, count, find, explain, graph and index, with right and wrong arguments, in a pipe and on a terminal,
# for an app that is empty, runs, or has stopped; long chains and facts with very many consequences.
. tests/host.sh "$@"

# Runs accrete on the app; out and err are what it wrote.
on()
{
    local command=$1

    shift
    code=0
    PATH=${its_path:-$PATH} acc "$command" "$@" >"$TMPDIR/out" 2>"$TMPDIR/err" </dev/null || code=$?
    out=$(cat "$TMPDIR/out")
    err=$(cat "$TMPDIR/err")
    ran="accrete $command $*"
}

done_with() # exit code 0 and nothing on stderr
{
    same "exit code of $ran ($err)" $code 0
    same "stderr of $ran" "$err" ""
}

failed() # CODE TEXT: that exit code, TEXT on stderr, nothing on stdout
{
    same "exit code of $ran ($err)" $code "$1"
    [[ $err == *"$2"* ]] || fail "$ran: wanted \"$2\" on stderr, got \"$err\""
    same "stdout of $ran" "$out" ""
}

prints() # TEXT
{
    [[ $out == *"$1"* ]] || fail "$ran: wanted \"$1\" on stdout, got \"$out\""
}

says() # TEXT
{
    [[ $err == *"$1"* ]] || fail "$ran: wanted \"$1\" on stderr, got \"$err\""
}

lines() # N
{
    same "lines of $ran" "$(wc -l <"$TMPDIR/out")" "$1"
}

json() # EXPRESSION WANTED: of stdout
{
    same "$1 of $ran" "$(value "$1")" "$2"
}

value()
{
    luajit -e "
        package.path = 'tests/?.lua;' .. package.path
        local json = require('json')(io.read('*a'))
        print($1)" <"$TMPDIR/out"
}

# The answer took less than a time that only a scan or a mistake needs: not a measure of speed.
quick() # MILLISECONDS COMMAND...; took is how many it took
{
    local most=$1 start

    shift
    start=$(date +%s%3N)
    on "$@"
    took=$(($(date +%s%3N) - start))
    [ $took -lt "$most" ] || fail "$ran took $took ms"
}

on_a_terminal() # COMMAND LINE: out is what it shows; the exit code is its own
{
    code=0
    out=$(TERM=xterm script -qec "$1" /dev/null </dev/null) || code=$?
    ran=$1
}

new_app examples/closure

check every_command_has_help_with_examples
for command in facts count find explain graph index; do
    on $command --help && done_with
    prints "Examples:"
done
ok

check an_app_without_facts_says_so
for command in "find 0123" "explain edge 0123" "explain edge from=1 to=2" index "index explorer"; do
    on $command && failed 1 "nothing is stored yet"
done
on count edge -f from~eq~1 && done_with
same "count" "$out" 0
on facts edge --json && done_with
same "facts" "$out" '{"kind":"edge","facts":[],"is_more":false}'
on facts edge --ndjson && done_with
same "facts as NDJSON" "$out" ""
on facts edge -f from~eq~1 --csv && done_with
same "facts as CSV" "$out" "_id,from,to"
on graph --json && done_with
ok

check wrong_arguments_are_misuse_and_say_what_was_meant
on facts && failed 2 "wanted KIND"
on facts egde && failed 2 'unknown kind "egde", did you mean "edge"?'
on facts edge -f form~eq~1 && failed 2 'did you mean "from"?'
on facts edge -f from~eqq~1 && failed 2 "did you mean eq?"
on facts edge -f from~eq~one && failed 2 "wanted int8"
on facts edge -f from=1 && failed 2 "wanted FIELD~OP~VALUE"
on facts edge --order newset && failed 2 'did you mean "newest"?'
on facts edge --fields form && failed 2 'did you mean "from"?'
on facts edge --limit 0 && failed 2 "wanted 1.."
on facts edge --limit 20000 && failed 2 "only with --ndjson or --csv"
on facts edge --json --csv && failed 2 "exclude each other"
on facts edge --after 0123 --before 0123 && failed 2 "exclude each other"
on count -f from~eq~1 && failed 2 "wanted the KIND"
on find && failed 2 "wanted PREFIX"
on find 012 && failed 2 "wanted 4 to 32 hex digits"
on find 012x && failed 2 "wanted 4 to 32 hex digits"
on explain edge && failed 2 "wanted KIND ID"
on explain edge 0123 --json --dot && failed 2 "exclude each other"
on explain edge 0123 --after 0123 && failed 2 "only with --down"
on explain edge 0123 --why-not x --down && failed 2 "--why-not takes none"
on graph --dot --svg && failed 2 "exclude each other"
on index exploerr && failed 2 'wanted "explorer" or nothing'
on index explorer --json && failed 2 "only for the list"
ok

printf 'from,to\n1,2\n2,3\n3,4\n4,5\n5,6\n6,7\n' >"$TMPDIR/edges.csv"
on ingest --quiet edge "$TMPDIR/edges.csv" && done_with
fixpoint

check facts_are_listed_as_table_json_ndjson_and_csv
on facts edge --order from && done_with
lines 7
prints "_id           from  to"
on facts edge --order from --fields from,to --csv && done_with
same "csv" "$out" "$(cat "$TMPDIR/edges.csv")"
on facts edge --order from~desc --fields from,to --ndjson -n 2 && done_with
same "ndjson" "$out" '{"from":6,"to":7}
{"from":5,"to":6}'
on facts path --json -f from~eq~1 -f to~ge~6 --order to && done_with
json "#json.facts .. ' ' .. json.facts[1].to .. ' ' .. tostring(json.is_more)" "2 6 false"
on facts path -f from~eq~1 -f to~eq~3 --fields _by,_at --ndjson && done_with
prints '"_by":"'
on facts path -n 5
says "there are more: --after"
on facts path -f from~gt~100 --ndjson && done_with
lines 0
ok

check pages_join_without_gap_or_double_in_every_order
for explorer in no yes; do
    [ $explorer = no ] || { on index explorer --quiet && done_with; }
    for order in id id~desc newest newest~desc to to~desc; do
        on facts path --order $order -n 100 --ndjson && done_with
        mapfile -t all <"$TMPDIR/out"
        same "facts" ${#all[@]} 21
        pages=()
        after=()
        while :; do
            on facts path --order $order -n 4 --json "${after[@]}" && done_with
            after=(--after "$(value json.last)")
            more=$(value json.is_more)
            on facts path --order $order -n 1 --ndjson "${after[@]/--after/--before}" && done_with
            on facts path --order $order -n 4 --ndjson --before "$(sed 's/.*"_id":"\([0-9a-f]*\).*/\1/' <<<"${all[10]}")" && done_with
            same "the page before, $order" "$out" "$(printf '%s\n' "${all[@]:6:4}")"
            on facts path --order $order -n 4 --ndjson --after "$(sed 's/.*"_id":"\([0-9a-f]*\).*/\1/' <<<"${all[10]}")" && done_with
            same "the page after, $order" "$out" "$(printf '%s\n' "${all[@]:11:4}")"
            pages+=(x)
            [ "$more" = true ] || break
        done
        same "pages, $order" ${#pages[@]} 6
    done
done
ok

check an_index_of_an_older_version_is_built_anew
sql "DROP INDEX ex_path_batch; CREATE INDEX ex_path_batch ON fact_path USING brin (_batch)" >/dev/null
on facts path --order newest -n 3 --ndjson && done_with
lines 3
on index explorer --quiet && done_with
same "method of the index" "$(sql "SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relname = 'ex_path_batch' AND
    relnamespace = '$schema'::regnamespace")" btree
ok

check count_is_exact_with_and_without_filters
on count && done_with
on count path && done_with
same "paths" "$out" 21
on count path -f from~eq~1 && done_with
same "paths from 1" "$out" 6
on count path edge -f from~eq~1 --json && done_with
json "json.path.count .. ' ' .. json.edge.count .. ' ' .. tostring(json.path.is_exact)" "6 1 true"
ok

check find_knows_a_fact_of_any_kind_by_its_first_digits
on facts path -f from~eq~1 -f to~eq~7 --fields _id --csv && done_with
id=${out##*$'\n'}
on find "$id" && done_with
same "found" "$out" "path $id {\"from\":1,\"to\":7}"
on find "$id" --json && done_with
json "#json .. json[1].id" "1$id"
on find "${id:0:4}" # an edge and six paths from 1 share a slot
same "exit code" $code 1
says "wanted more digits"
says "edge "
on find "${id:0:4}" --json
same "exit code" $code 1
json "#json" 7
on find "${id:0:24}00000000" && failed 1 "no fact has an id that begins with"
ok

check explain_goes_up_and_down
on explain "$id" && done_with
on explain path from=1 to=7 --dot && done_with
prints "digraph explain {"
on explain edge from=1 to=2 --down && done_with
prints "as data   path"
on explain edge from=1 to=2 --down --depth 100 --json && done_with
json "json.found[1].as_data" true
on explain edge from=1 to=2 --down --depth 3 --dot && done_with
on explain path from=7 to=1 && failed 1 "fits these values"
ok

check why_not_runs_a_lifecycle_and_writes_nothing
before=$(sql "SELECT count(*) FROM batch")
on explain --why-not edge_extends_path edge from=3 to=4 && done_with
prints "outcome: found"
prints "friends of kind path: 2"
prints "finds of kind path: 0 new, 3 known"
on explain --why-not edge_extends_path edge from=3 to=4 --json && done_with
json "json.outcome .. ' ' .. json.finds.path.known" "found 3"
on explain --why-not path_takes_edge path from=1 to=7 && done_with
prints "outcome: empty"
on explain --why-not edge_extends_paht edge from=3 to=4 && failed 2 'did you mean "edge_extends_path"?'
on explain --why-not edge_extends_path path from=1 to=7 && failed 2 'is on "edge"'
same "batches" "$(sql "SELECT count(*) FROM batch")" "$before"
ok

check indexes_are_listed_with_state_and_size
on index && done_with
prints "explorer"
on index --json && done_with
json "json[1].state" valid
sql "DROP INDEX ex_path_data" >/dev/null
on index --json && done_with
[[ $out == *'"name":"ex_path_data"'*'"state":"missing"'* ]] || fail "the index that is gone is not missing"
on explain edge from=1 to=2 --down
same "exit code" $code 0
says "accrete index explorer makes it quick"
on index explorer
same "exit code" $code 0
says "ex_path_data on fact_path"
same "stdout" "$out" ""
ok

check graph_is_drawn_by_graphviz_or_says_what_is_missing
mkdir -p "$TMPDIR/bin"
printf '#!/bin/sh\ntest "$1" = -Tsvg && echo "<svg>" && cat\n' >"$TMPDIR/bin/dot"
chmod +x "$TMPDIR/bin/dot"
its_path=$TMPDIR/bin:$PATH
on graph --svg && done_with
prints "<svg>"
printf '#!/bin/sh\nexit 3\n' >"$TMPDIR/bin/dot"
on graph --svg && failed 1 "exit code 3"
its_path=$TMPDIR/nowhere
on graph --svg && failed 1 'there is no program "dot" here'
its_path=
if command -v dot >/dev/null; then # the real one
    on graph --svg && done_with
    prints "<svg width="
    prints ">edge_extends_path</text>"
    prints "</svg>"
    on explain path from=1 to=4 --dot && done_with
    dot -Tsvg "$TMPDIR/out" | grep -q "</svg>" || fail "dot cannot read explain --dot"
fi
ok

check a_terminal_gets_colours_and_no_color_takes_them_away
line="$ACCRETE facts edge --app $app ${settings[*]@Q}"
on_a_terminal "$line"
same "exit code" $code 0
prints $'\033[1m'
on_a_terminal "NO_COLOR=1 $line"
[[ $out != *$'\033['* ]] || fail "colours with NO_COLOR"
on_a_terminal "$ACCRETE facts egde --app $app ${settings[*]@Q}"
same "exit code" $code 2
ok

check a_running_host_does_not_mind
start_host
printf '{"from":7,"to":8}\n' | acc ingest --quiet edge -
acc wait >/dev/null
on facts path --order newest -f to~eq~8 && done_with
lines 8
on count path -f to~eq~8 && done_with
same "paths to 8" "$out" 7
on explain --why-not path_takes_edge path from=1 to=7 && done_with
on index explorer --quiet && done_with
on explain edge from=7 to=8 --down && done_with
stop_host
ok

check a_reader_that_goes_away_and_a_full_disk_are_no_crash
acc facts path -n 100 --ndjson | head -n 1 >/dev/null || true
code=0
acc facts path >/dev/full 2>"$TMPDIR/err" || code=$?
same "exit code" $code 1
ok

check every_type_of_field_can_be_filtered
new_app
cat >"$app/kinds/item.lua" <<'LUA'
return {
  fields = { { "name", "text" } },
  nullable = {
    { "size", "int8" }, { "score", "float8" }, { "tags", "text[]" }, { "raw", "bytes" }, { "doc", "json" },
    { "good", "bool" }, { "who", "uuid" },
  },
}
LUA
cat >"$TMPDIR/items" <<'LINES'
{"name":"=1+1","size":-5,"score":1.5,"tags":["a","b"],"raw":"00ff","doc":{"k":[1]},"good":true,"who":"00112233-4455-6677-8899-aabbccddeeff"}
{"name":"plain, \"quoted\"","size":7,"score":-0.25,"tags":[],"raw":"01","doc":"x","good":false}
{"name":"none"}
LINES
on ingest --quiet item "$TMPDIR/items" && done_with
while read -r wanted filter; do
    on count item -f "$filter" && done_with
    same "$filter" "$out" "$wanted"
done <<'LINES'
1 name~eq~none
2 name~ne~none
1 name~prefix~=
1 name~contains~"quo
0 name~contains~%
1 size~lt~0
2 size~ne~7
1 size~null
1 score~ge~1.5
1 tags~has~b
1 tags~eq~[]
1 raw~eq~00ff
1 raw~prefix~00
1 raw~contains~ff
1 doc~eq~{"k": [1]}
1 doc~contains~"k"
1 good~eq~true
1 who~eq~00112233445566778899aabbccddeeff
2 who~null
LINES
on facts item --csv --fields name,size,tags,raw --order name~desc && done_with
same "csv" "$out" 'name,size,tags,raw
"plain, ""quoted""",7,[],01
none,,,
'\''=1+1,-5,"[""a"",""b""]",00ff'
on facts item --order size --fields name --csv -n 2 && done_with
same "NULL is last" "$out" "name
'=1+1
\"plain, \"\"quoted\"\"\""
for order in size size~desc score; do
    on facts item --order $order --json -n 2
    on facts item --order $order --fields name --csv --after "$(value json.last)" && done_with
    same "behind two, $order" "${out##*$'\n'}" none
    on facts item --order $order --json -n 3
    on facts item --order $order --fields name --csv -n 1 --before "$(value json.last)" && done_with
    [[ $out != *none* ]] || fail "none stands in front of itself"
done
on facts item --order tags && failed 2 "is an array and has no order"
ok

check a_search_without_an_index_ends_in_time_and_says_what_is_indexed
sql "INSERT INTO fact_item (_id, name, _batch) SELECT gen_random_uuid(), 'n' || i, 0 FROM generate_series(1, 300000) i" >/dev/null
on facts item -f name~contains~nothing --timeout 1ms && failed 1 "searched without an index"
on count item -f name~contains~nothing --timeout 1ms && failed 1 "the time was up"
ok

check an_error_of_a_lifecycle_is_shown_with_its_trace
new_app
echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/number.lua"
cat >"$app/lifecycles/picky.lua" <<'LUA'
local M = { on = "number", finds = {}, monotone = true }
function M.abort_early(number) if number.n == 1 then return true, "one is too small" end end
function M.process_data(number) if number.n == 3 then error("three is too much") end end
return M
LUA
printf '{"n":1}\n{"n":2}\n{"n":3}\n' | ingest number
fixpoint -x 1 --set queue.attempts=1
on explain --why-not picky number n=1 && done_with
prints "outcome: early"
prints "reason: one is too small"
on explain --why-not picky number n=2 && done_with
prints "outcome: empty"
on explain --why-not picky number n=3
same "exit code" $code 0
prints "outcome: failed"
prints "three is too much"
prints "lifecycles/picky.lua:3"
prints "in the queue it is dead"
ok

check long_chains_and_many_consequences_come_in_pages_of_bounded_cost
new_app
echo 'return { fields = { { "n", "int8" } } }' | tee "$app/kinds/step.lua" >"$app/kinds/hub.lua"
echo 'return { fields = { { "hub", "int8" }, { "i", "int8" } }, shard = { "hub" } }' | tee "$app/kinds/spoke.lua" >"$app/kinds/rim.lua"
cat >"$app/lifecycles/walk.lua" <<'LUA'
local M = { on = "step", finds = { "step" }, monotone = true }
function M.process_data(step, found) if step.n < 10000 then found.step(nil, step.n + 1) end end
return M
LUA
cat >"$app/lifecycles/spread.lua" <<'LUA'
local M = { on = "hub", finds = { "spoke" }, monotone = true }
function M.process_data(hub, found) for i = 1, 100000 do found.spoke(nil, hub.n, i) end end
return M
LUA
cat >"$app/lifecycles/turn.lua" <<'LUA'
local M = { on = "spoke", friends = { hub = { { "n" } } }, finds = { "rim" }, monotone = true }
function M.load_friends(db, spoke) return db.hub:where({ n = spoke.hub }) end
function M.process_data(spoke, hubs, found)
  for _, hub in hubs:each() do found.rim(hub, spoke.hub, spoke.i) end
end
return M
LUA
printf '{"n":1}\n' | ingest step
printf '{"n":7}\n' | ingest hub
fixpoint
on index explorer --quiet && done_with
quick 5000 explain step n=10000 --depth 10000 && done_with
lines 251
prints "cut off here"
chain_up=$took
quick 5000 explain "$(grep -o '[0-9a-f]\{32\}' "$TMPDIR/out" | head -n 1)" --depth 10000 --json && done_with
quick 5000 explain step n=1 --down --depth 10000 && done_with
lines 251
chain_down=$took
quick 5000 facts rim --order newest -f i~gt~10 --ndjson && done_with
lines 20
ok "10,000 steps: $chain_up ms up, $chain_down ms down"

# The hub is the data of each spoke and a friend of each rim.
check pages_of_consequences_hold_all_of_them_once_as_data_and_as_friend
quick 5000 explain hub n=7 --down && done_with
lines 22
prints "more: --after"
after=()
: >"$TMPDIR/found"
while :; do
    quick 10000 explain hub n=7 --down -n 9999 --json "${after[@]}" && done_with
    value "(function()
        for _, one in ipairs(json.found) do
            io.write(one.kind, ' ', one.id, ' ', tostring(one.as_data), ' ', tostring(one.as_friend), '\n')
        end
        return ''
    end)()" | sed '/^$/d' >>"$TMPDIR/found"
    [ "$(value json.is_more)" = true ] || break
    after=(--after "$(value json.last)")
done
same "consequences, each once" "$(sort -u "$TMPDIR/found" | wc -l) $(wc -l <"$TMPDIR/found")" "200000 200000"
same "kinds and roles" "$(cut -d' ' -f1,3- "$TMPDIR/found" | sort | uniq -c | sed 's/^ *//')" "100000 rim false true
100000 spoke true false"
times=()
for row in 1 100 50000 99990; do
    for kind in spoke rim; do
        id=$(grep "^$kind" "$TMPDIR/found" | sed -n "${row}s/^[a-z]* \([0-9a-f]*\).*/\1/p")
        quick 5000 explain hub n=7 --down --json --after "$id" && done_with
        same "the fact behind row $row" "$(value json.found[1].id)" \
            "$(grep -A 1 "$id" "$TMPDIR/found" | sed -n '2s/^[a-z]* \([0-9a-f]*\).*/\1/p')"
        times+=("$took")
    done
done
on explain hub n=7 --down --after "$(acc facts step -n 1 --fields _id --csv | tail -n 1)" && failed 1 "wanted a fact that came of this one"
on explain hub n=7 --down --after 10ab10ab10ab10ab10ab10ab10ab10ab && failed 1 "10ab10ab"
quick 5000 explain hub n=7 --down --depth 3 --after "$id" && done_with
prints "as data   rim"
ok "pages from all over: ${times[*]} ms"

check an_answer_has_a_bounded_number_of_consequences
sql "INSERT INTO fact_spoke (_id, hub, i, _batch, _data) SELECT (substr(replace(s._id::text, '-', ''), 1, 8) ||
        substr(md5(r._id::text || n), 1, 24))::uuid, 8, 0, 0, r._id
    FROM (SELECT _id FROM fact_spoke LIMIT 1) s, (SELECT _id FROM fact_rim ORDER BY ctid LIMIT 400) r, generate_series(1, 400) n" >/dev/null
quick 20000 explain hub n=7 --down --depth 2 -n 400 --json && done_with
json "(function()
    local n, more = #json.found, 0
    for _, rim in ipairs(json.found) do
        n = n + #rim.found
        more = more + (rim.is_more and 1 or 0)
    end
    return n .. ' ' .. more
end)()" "100000 400"
ok

finish
