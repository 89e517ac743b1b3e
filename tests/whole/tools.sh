#!/bin/bash
# The scripts of examples/tools, each by itself: no app, nothing running but a PostgreSQL for those that want one.
. tests/host.sh "$@"

# What each script must say, among other things: extended regular expressions, one a line.
wanted()
{
    case $1 in
    bench) printf '%s\n' '^ +per call +± 95 % +calls/s +baseline +change' '^all at once .*faster$' '^table\.concat is faster$' \
        '^4	9	1	6	0\.9609375$' ;;
    csv) printf '%s\n' 'Lovelace, Ada	wrote "Note G"$' '^1906	nil	true$' '^94,Hopper,$' '^118,Noether,""$' '^1,,x$' \
        '^333338333350000 squares, the last in line 100001$' 'csv\.lua:[0-9]+: CSV line 3, column 2: wanted a comma' ;;
    db) echo '^10003 cities inserted$' ;;
    json) echo '^9007199254740993LL	0\.1	true$' ;;
    metrics) printf '%s\n' '^France: 327 arrived, 6 returned$' '^true	1 sorted$' '^# TYPE letter_seconds histogram$' \
        '^letters_sent_total\{country="France",outcome="returned"\} 6$' '^letters_waiting 0$' '^steps_total 3$' '^# EOF$' ;;
    queue) ;;
    ram) echo 'true	3	[0-9]+ bytes$' ;;
    yaml) printf '%s\n' '^1\.5	no	true	9007199254740993LL$' '^3$' '^  - country: "no"$' '^version: "1\.10"$' '^true$' \
        'YAML line 2, column 1: wanted the key "a" once' 'YAML line 3, column 3: merge keys' ;;
    esac
}

for script in examples/tools/*.lua; do
    tool=${script##*/}
    tool=${tool%.lua}
    [ "$tool" != http ] || continue # it serves until it is told to end
    check "examples/tools/$tool.lua runs outside of any app"
    "$ACCRETE" lua "$PWD/$script" "$ACCRETE_TEST_URL" >"$TMPDIR/$tool.out" 2>"$TMPDIR/$tool.err" ||
        fail "exit code $?: $(tail -n 3 "$TMPDIR/$tool.err")"
    [ -s "$TMPDIR/$tool.out" ] || fail "it says nothing"
    while IFS= read -r line; do
        grep -Eq -- "$line" "$TMPDIR/$tool.out" || fail "wanted $line among: $(head -n 40 "$TMPDIR/$tool.out")"
    done < <(wanted "$tool")
    grep -q "^--- .*: accrete lua examples/tools/$tool.lua" "$script" || fail "its first line does not say how to run it"
    grep -q '^--- Shows ' "$script" || fail "it does not say what it shows"
    ok
done

check "examples/tools/http.lua serves until it is told to end"
"$ACCRETE" lua examples/tools/http.lua 127.0.0.1:0 >"$TMPDIR/http.out" 2>"$TMPDIR/http.err" &
server=$!
hosts+=("$server")
until_true grep -q '^serving at ' "$TMPDIR/http.out"
url=$(sed -n 's/^serving at \(http:[^ ]*\).*/\1/p' "$TMPDIR/http.out")
same "what it answers" "$(curl -sS "$url/hello/Anna?times=2")" "hello Anna
hello Anna"
same "the status of a note" "$(curl -sS -o /dev/null -w '%{http_code}' "$url/notes" -d '{ "text": "milk" }')" 201
kill -INT "$server"
wait "$server" || fail "exit code $?: $(tail -n 3 "$TMPDIR/http.err")"
grep -q '^served; 1 notes' "$TMPDIR/http.out" || fail "it does not say goodbye"
ok

check "every module that works without a lifecycle has a script"
for module in bench csv db http json metrics queue ram yaml; do
    [ -e "examples/tools/$module.lua" ] || fail "examples/tools/$module.lua is missing"
done
ok

finish
