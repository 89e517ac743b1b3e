#!/bin/bash
# Every command with right and wrong arguments: exit codes 0 done, 1 failed, 2 misuse; results on stdout, all else on stderr.
. tests/host.sh "$@"

# Runs accrete; out and err are what it wrote.
run()
{
    code=0
    "$ACCRETE" "$@" >"$TMPDIR/out" 2>"$TMPDIR/err" <"${input:-/dev/null}" || code=$?
    out=$(cat "$TMPDIR/out")
    err=$(cat "$TMPDIR/err")
    ran="accrete $*"
}

# The same on the app.
on()
{
    local command=$1

    shift
    run "$command" --app "$app" "${settings[@]}" "$@"
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

json() # EXPRESSION WANTED: of stdout
{
    same "$1 of $ran" "$(luajit -e "
        package.path = 'tests/?.lua;' .. package.path
        local json = require('json')(io.read('*a'))
        print($1)" <"$TMPDIR/out")" "$2"
}

mapfile -t commands < <("$ACCRETE" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')

check what_is_misspelt_is_misuse_and_says_what_was_meant
run && failed 2 "wanted a command"
run be && failed 2 'unknown command "be", did you mean "bench"?'
run cuont && failed 2 'unknown command "cuont", did you mean "count"?'
run count --jsno && failed 2 'unknown option "--jsno", did you mean "--json"?'
run count -x && failed 2 'unknown option "-x"'
run count --json=yes && failed 2 "--json takes no value"
run dump --kind && failed 2 "--kind: wanted KIND, got nothing"
run ingest --format xml && failed 2 '--format: wanted auto, ndjson, csv or text, got "xml"'
run explain --depth many edge 0123 && failed 2 '--depth: wanted 0..10000, got "many"'
run wait --timeout 5 && failed 2 '--timeout: wanted a time like 500ms, 30s, 5m or 2h, got "5"'
run status more && failed 2 'wanted no arguments, got also "more"'
run explain edge && failed 2 "wanted KIND ID"
ok

check common_options_are_checked_before_anything_is_done
run --set worker.count count && failed 2 '--set: wanted NAME=VALUE, got "worker.count"'
run --set worker.cuont=1 count && failed 2 'did you mean "worker.count"'
run count --set worker.count=lots && failed 2 'worker.count: wanted 0..1024, got "lots"'
run count --log loud && failed 2 '--log: wanted error, warn, info or debug, got "loud"'
run count --app "$TMPDIR/none" && failed 2 "--app: wanted the folder of an app"
ok

check each_command_has_help_with_its_options
[ ${#commands[@]} -gt 25 ] || fail "commands that --help lists: ${commands[*]}"
for command in "${commands[@]}"; do
    run "$command" --help && done_with
    prints "Usage: accrete $command [OPTIONS]"
    prints "--app DIR"
    prints "Examples:"
    cp "$TMPDIR/out" "$TMPDIR/help"
    run help "$command" && done_with
    cmp "$TMPDIR/out" "$TMPDIR/help" || fail "help $command is not $command --help"
    run "$command" --nonsense && failed 2 'unknown option "--nonsense"'
done
run help && done_with
prints "Commands:"
run help --help && done_with
prints "Commands:"
run help count status && failed 2 'wanted one command, got also "status"'
run help cuont && failed 2 'did you mean "count"?'
run --help-config && done_with
prints worker.count
ok

check version_tells_the_version
run --version && done_with
prints "accrete 0."
run version --json && done_with
json "type(json.version)" string
ok

check without_an_app_commands_say_where_they_looked
cd "$TMPDIR"
run count && failed 1 'no app: wanted --app DIR, ACCRETE_APP, or accrete.yaml in "'
cd "$OLDPWD"
mkdir "$TMPDIR/nothing"
run count --app "$TMPDIR/nothing" && failed 1 "found neither accrete.yaml nor kinds/ in it"
ok

check a_broken_config_is_named_with_file_and_line
new_app examples/closure
printf 'worker:\n  cuont: 2\n  jit: maybe\n' >"$app/accrete.yaml"
on count && failed 1 "accrete.yaml:2:"
says "accrete.yaml:3:"
ok

check an_app_that_never_ran_is_empty
new_app examples/closure
on count --json && done_with
json "json.edge + json.path" 0
on dump && done_with
same "dump of nothing" "$out" ""
on status && done_with
prints "nothing is stored yet"
on status --json && done_with
json "json.has_tables" false
on wait && done_with
on graph && done_with
on explain edge 0123 && failed 1 "nothing is stored yet"
ok

check ingest_takes_ndjson_csv_and_stdin
printf 'from,to\n1,2\n2,3\n' >"$TMPDIR/edges.csv"
printf '{"kind":"edge","from":3,"to":4}\n\n{"to":"5","from":4,"kind":"edge"}\n' >"$TMPDIR/edges.ndjson"
on ingest --json edge "$TMPDIR/edges.csv" "$TMPDIR/edges.ndjson" && done_with
json "json.lines .. ' ' .. json.new .. ' ' .. json.refused" "4 4 0"
input=$TMPDIR/edges.ndjson
on ingest --json && done_with
json "json.new .. ' ' .. json.repeats" "0 2"
input=
on count edge && done_with
same "edges" "$out" 4
ok

check bad_lines_are_named_and_good_ones_loaded
{
    echo '{"kind":"edge","from":10,"to":11}'
    echo '{"from":1,"to":2}'
    echo '{"kind":"egde","from":1,"to":2}'
    echo '{"kind":"edge","from":1}'
    echo '{"kind":"edge","from":1,"to":"two"}'
    echo '{"kind":"edge","from":1,"to":2,"too":3}'
    echo '{"kind":"edge","from":1,"from":1,"to":2}'
    printf '{"kind":"edge","from":1,"to":2\xff}\n'
    echo '{"kind":"edge"'
    echo '{"kind":"edge","from":11,"to":12}'
} >"$TMPDIR/bad"
on ingest "$TMPDIR/bad"
same "exit code of ingest" $code 1
says "bad:2: member \"kind\" is missing"
says "bad:3: unknown kind \"egde\", did you mean \"edge\"?"
says "bad:4: field \"to\" of kind \"edge\" is missing, wanted int8"
says "bad:5: field \"to\": wanted int8"
says "bad:6: kind \"edge\" has no field \"too\", did you mean \"to\"?"
says "bad:7: not JSON: duplicate object key"
says "bad:8: line: wanted UTF-8, byte 31 is 0xff"
says "bad:9: not JSON:"
says "10 lines in"
says "2 new, 0 repeats, 8 refused"
printf 'from,to\n20,21\n1\nx,1\n"1,2\n' >"$TMPDIR/bad.csv"
on ingest edge "$TMPDIR/bad.csv"
same "exit code of ingest" $code 1
says "bad.csv:3: wanted 2 values as in the header, got 1"
says "bad.csv:4: field \"from\": wanted int8"
says "bad.csv:5: value 1: the quote is never closed"
printf 'from,too\n1,2\n' >"$TMPDIR/header.csv"
on ingest edge "$TMPDIR/header.csv" "$TMPDIR/edges.csv"
same "exit code of ingest" $code 1
says "header.csv:1: header: column 2: kind \"edge\" has no field \"too\""
says "0 new, 2 repeats"
on ingest edge "$TMPDIR/none.csv" && failed 1 "cannot read \"$TMPDIR/none.csv\""
on ingest egde none.csv && failed 2 'unknown kind "egde", did you mean "edge"?'
on ingest edge --field from && failed 2 "wanted a text field"
on ingest --format csv "$TMPDIR/edges.csv" && failed 2 "wanted a kind"
on ingest edge "$TMPDIR" && failed 1 "wanted a file, got a folder"
on count edge && done_with
same "edges" "$out" 7
ok

check while_work_is_left_wait_and_dump_say_so
on wait && failed 1 "no worker is connected"
on dump
same "exit code of dump" $code 1
says "work is unfinished (7 events are queued, delayed or dead)"
prints '{"kind":"edge","from":1,"to":2}'
ok

check after_run_until_fixpoint_everything_has_its_answer
on run --until-fixpoint
same "exit code of run" $code 0
[[ $err =~ 21\ events\ in\ 0:[0-9]{2},\ [0-9,]+/s\;\ 21\ facts$ ]] || fail "the run does not tell what it did: $err"
on run --until-fixpoint --quiet
same "exit code of run" $code 0
[[ $err != *" events in "* ]] || fail "--quiet tells all the same: $err"
on wait && done_with
on count --json && done_with
json "json.edge" 7
json "json.path" 14
on count path edge && done_with
same "count path edge" "$out" $'path  14\nedge  7'
on count paht && failed 2 'unknown kind "paht", did you mean "path"?'
on status && done_with
prints path_takes_edge
on status --json && done_with
json "json.queue.ready .. ' ' .. json.generation .. ' ' .. json.facts.path" "0 1 14"
on graph && done_with
prints "edge_extends_path  with path"
on graph --json && done_with
json "#json.kinds .. ' ' .. json.lifecycles[1].finds[1].kind" "2 path"
on graph --dot && done_with
prints '"k:edge" -> "l:edge_extends_path"'
on graph --dot --json && failed 2 "exclude each other"
ok

check dump_is_sorted_by_bytes_and_goes_in_again
on dump && done_with
cp "$TMPDIR/out" "$TMPDIR/all"
LC_ALL=C sort -c "$TMPDIR/all" || fail "not sorted"
same "lines" "$(wc -l <"$TMPDIR/all")" 21
on dump --kind edge --out "$TMPDIR/edges" && done_with
same "stdout" "$out" ""
grep '"edge"' "$TMPDIR/all" | cmp - "$TMPDIR/edges" || fail "--kind edge is not the edges of the dump"
on dump --kind egde && failed 2 'unknown kind "egde"'
on dump --out "$TMPDIR/none/x" && failed 1 "cannot write"
on dump --out /dev/full && failed 1 "No space left"
input=$TMPDIR/all
on ingest --json && done_with
json "json.lines .. ' ' .. json.new .. ' ' .. json.repeats" "21 0 21"
input=
ok

check explain_goes_back_to_what_came_from_outside
on explain path from=1 to=4 && done_with
prints 'found by path_takes_edge'
prints '└─ friend edge'
prints '{"from":1,"to":2}  ingested'
same "lines" "$(wc -l <"$TMPDIR/out")" 6
on explain path from=1 to=4 --depth 1 && done_with
prints "deeper than --depth"
on explain --json path from=1 to=4 && done_with
json "json.fields.to .. ' ' .. json.data.fields.to .. ' ' .. #json.friends" "4 3 1"
id=$(luajit -e "package.path = 'tests/?.lua;' .. package.path
    print(require('json')(io.read('*a')).id)" <"$TMPDIR/out")
on explain path "$id" && done_with
on explain path "${id:0:12}" && done_with
prints "path ${id:0:12} {\"from\":1,\"to\":4}"
on explain path "${id:0:4}"
[ $code = 0 ] || says "wanted more digits"
on explain path 12x4 && failed 2 'ID: wanted 4 to 32 hex digits, got "12x4"'
on explain path 123 && failed 2 "wanted 4 to 32 hex digits"
on explain path from=1 && failed 2 'field "to" of kind "path" is missing'
on explain path from=1 to=x && failed 2 "wanted int8"
on explain paht from=1 to=2 && failed 2 'unknown kind "paht"'
on explain path from=4 to=1 && failed 1 "no fact of kind \"path\" fits these values"
ok

check without_a_host_stop_is_done_and_reload_fails
on stop
same "exit code of stop" $code 0
says "no host of this app runs"
on reload && failed 1 "no host of this app runs"
ok

check a_running_host_is_waited_for_reloaded_and_stopped
start_host
on run && failed 1 ""
printf '{"from":4,"to":40}\n' | acc ingest --quiet edge -
on wait --timeout 60s && done_with
on count path && done_with
same "paths" "$out" 18
on status --json && done_with
json "json.host" "$host"
json "json.url == 'http://' .. json.http" true
json "#json.workers > 0" true
curl -sSf "$(acc status | sed -n 's/^http on //p')/status" >"$TMPDIR/out" || fail "status does not print an address that answers"
json "json.state ~= nil" true
on reload
same "exit code of reload" $code 0
says "generation 1 already"
echo "-- changed" >>"$app/lifecycles/edge_extends_path.lua"
on reload --json && done_with
json "json.generation .. ' ' .. tostring(json.changed)" "2 true"
echo "x x" >"$app/lifecycles/broken.lua"
on reload && failed 1 "lifecycles/broken.lua:1:"
on status && done_with
prints "the last reload was refused: lifecycles/broken.lua:1:"
on count && done_with
on graph && failed 1 "lifecycles/broken.lua:1:"
rm "$app/lifecycles/broken.lua"
on stop && done_with
wait "$host" || fail "the host ended with $?"
ok

check dead_events_are_shown_with_error_and_trace
new_app
echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/number.lua"
cat >"$app/lifecycles/number_fails.lua" <<'LUA'
local M = { on = "number", finds = {}, monotone = true }
function M.process_data(number)
  if number.n == 2 then
    error("two is too much")
  end
end
return M
LUA
printf '{"n":1}\n{"n":2}\n{"n":3}\n' | ingest number
fixpoint -x 1 --set queue.retry=1ms
on wait
same "exit code of wait" $code 1
says "1 event is dead"
on status && done_with
same "lines with the error" "$(grep -c "two is too much" <<<"$out")" 1
prints "number_fails:"
prints ", 3 attempts"
on status --json && done_with
json "json.queue.dead .. ' ' .. json.dead[1].lifecycle" "1 number_fails"
on dump
same "exit code of dump" $code 1
ok

check whole_texts_become_facts
new_app
echo 'return { fields = { { "title", "text" }, { "body", "text" } } }' >"$app/kinds/book.lua"
printf 'one text\n' >"$TMPDIR/one"
printf 'a\0b' >"$TMPDIR/nul"
printf 'a\xffb' >"$TMPDIR/latin"
on ingest --quiet book "$TMPDIR/one" && done_with
on dump --quiet
same "the fact" "$out" '{"kind":"book","title":"one","body":"one text\n"}'
on ingest book "$TMPDIR/nul" "$TMPDIR/latin"
same "exit code of ingest" $code 1
says 'nul: field "body": wanted text without NUL, byte 2 is one'
says 'latin: field "body": wanted UTF-8, byte 2 is 0xff'
head -c 2000 /dev/zero | tr '\0' x >"$TMPDIR/long"
on ingest --set ingest.value=1KiB book "$TMPDIR/long"
same "exit code of ingest" $code 1
says "wanted at most 1024 bytes (ingest.value)"
ok

check build_compiles_what_has_changed_and_passes_errors_on
on build
same "exit code of build" $code 0
says "no C in native/"
mkdir "$app/native"
printf '#include <accrete/hot.h>\nint twice(int a);\nint twice(int a)\n{\n    return 2 * a;\n}\n' >"$app/native/twice.c"
on build && done_with
first=$out
[ -s "$first" ] || fail "no library at \"$first\""
on build && done_with
same "a second build" "$out" "$first"
printf 'int twice(void)\n{\n    return x;\n}\n' >"$app/native/twice.c"
on build
same "exit code of build" $code 1
says "native/twice.c:3:"
CC=/none/cc on build && failed 1 "/none/cc"
ok

check lua_runs_scripts_with_arguments
echo 'print(arg[1], arg[2], ...) os.exit(arg[1] == "--fail" and 3 or 0)' >"$TMPDIR/script.lua"
cd "$TMPDIR"
run lua script.lua --json x && done_with
same "stdout" "$out" $'--json\tx\t--json\tx'
echo 'local x = nil; x()' >broken.lua
run lua broken.lua && failed 1 "broken.lua:1:"
run lua none.lua && failed 2 'cannot read "none.lua"'
run lua -e 'print(1' && failed 1 "-e:1:"
same "lines of a syntax error ($err)" "$(wc -l <<<"$err")" 1
run lua -e 'local a, b = ... print(b, a) error("here")' x y
same "stdout" "$out" $'y\tx'
says "-e:1: here"
run lua -e 'print(yaml ~= nil, csv ~= nil, http ~= nil, metrics ~= nil, bench ~= nil)' && done_with
same "tools of -e" "$out" $'true\ttrue\ttrue\ttrue\ttrue'
cd "$OLDPWD"
new_app examples/closure
echo 'print(require("accrete.db").connect():value("SELECT 40 + 2"))' >"$TMPDIR/db.lua"
on lua "$TMPDIR/db.lua" && done_with
same "stdout" "$out" 42
ok

check a_password_never_shows
on worker --database postgresql://u:geheim@127.0.0.1:1/x && failed 2 "without password"
[[ $err != *geheim* ]] || fail "the password is in \"$err\""
ACCRETE_DATABASE__URL=postgresql://u:geheim@127.0.0.1:1/x run count --app "$app" "${settings[@]:0:4}" && failed 1 "cannot reach the database"
[[ $err != *geheim* ]] || fail "the password is in \"$err\""
run count --app "$app" "${settings[@]:0:4}" --set database.url_file="$TMPDIR/none" && failed 1 "database.url_file"
ok

check a_private_cluster_serves_commands_before_and_after_run_and_at_once
own_cluster=yes
new_app examples/closure
input=$TMPDIR/edges.ndjson
on ingest --quiet && done_with
input=
for i in 1 2 3 4; do
    acc count --json >"$TMPDIR/count$i" 2>&1 &
done
wait
same "four at once" "$(cat "$TMPDIR"/count[1-4] | sort -u)" '{"edge":2,"path":0}'
on wait && failed 1 "no host is running"
fixpoint
on count path && done_with
same "paths" "$out" 3
ok

finish
