#!/bin/bash
# What an operator does: queue, doctor, reset, backup, restore, top; with right and wrong arguments, in a pipe and on a terminal,
# for an empty, a running and a broken app.
. tests/host.sh "$@"

# Runs accrete; wants its exit code. Sets out and said.
exits() # CODE SUBCOMMAND ARGUMENTS...
{
    local wanted=$1 code=0

    shift
    acc "$@" >"$TMPDIR/out" 2>"$TMPDIR/err" </dev/null || code=$?
    out=$(cat "$TMPDIR/out")
    said=$(cat "$TMPDIR/err")
    [ $code = "$wanted" ] || fail "accrete $*: exit code $code, wanted $wanted: $out $said"
}

says() # WORDS: on stderr
{
    [[ $said == *"$1"* ]] || fail "wanted \"$1\" on stderr, got: $said"
}

prints() # WORDS: on stdout
{
    [[ $out == *"$1"* ]] || fail "wanted \"$1\" on stdout, got: $out"
}

misuse() # WORDS SUBCOMMAND ARGUMENTS...
{
    local words=$1

    shift
    exits 2 "$@"
    says "$words"
    same "stdout of a misuse" "$out" ""
}

# The same on a terminal of 24 lines; keys come from stdin. Sets out.
on_terminal() # SUBCOMMAND ARGUMENTS...
{
    local command=$1 line

    shift
    # its number is left for who wants to signal it
    printf -v line '%q ' sh -c 'echo $$ >"$0" && exec "$@"' "$TMPDIR/pid" "$ACCRETE" "$command" --app "$app" "${settings[@]}" "$@"
    out=$(TERM=xterm timeout 30 script -qec "stty rows ${rows:-24} cols ${columns:-80}; $line; echo exit=\$?; stty -a" /dev/null | tr -d '\r') || true
}

# Items 1..N; those that end in 7 raise, those that end in 8 raise otherwise.
failing_app() # N
{
    new_app
    echo 'return { fields = { { "n", "int8" }, { "s", "text" } } }' | tee "$app/kinds/item.lua" >"$app/kinds/mark.lua"
    cat >"$app/lifecycles/marks.lua" <<'LUA'
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found)
  if item.n % 10 == 7 then error("cannot take " .. item.n .. ' of "' .. item.s .. '"') end
  if item.n % 10 == 8 then error("no " .. item.s) end
  found.mark(nil, item.n, item.s)
end
return M
LUA
    settings+=(--set queue.retry=10ms --set worker.count=2 --set queue.attempts=2)
    seq "$1" | sed 's/.*/{"n":&,"s":"x&"}/' | ingest item
}

mend_app() # what raised raises no more
{
    sed -i '/error(/d' "$app/lifecycles/marks.lua"
}

check "an empty app: nothing is queued, nothing dead, and that is no failure"
new_app examples/closure
exits 0 queue
same stdout "$out" ""
exits 0 queue --json
same stdout "$out" '{"paused":null,"throttles":[],"ready":[],"parked":[],"groups":[]}'
exits 0 queue list --json
same stdout "$out" '[]'
exits 1 queue show lifecycle:00
exits 1 queue retry lifecycle:00 --reason x
exits 1 backup "$TMPDIR/none"
says "nothing is stored yet"
[ ! -e "$TMPDIR/none" ] || fail "a backup of nothing was made"
exits 0 doctor
prints "no tables yet"
exits 0 top --once
prints "nothing is stored yet"
exits 1 schema drift
ok

check "wrong arguments are named, and print nothing on stdout"
misuse 'wanted list, show, retry, discard, pause, resume, throttle or log, got "remove"' queue remove
misuse "wanted an event" queue show
misuse "wanted --reason" queue retry marks:00
misuse "wanted events, --group" queue discard --reason x
misuse "got both" queue retry marks:00 --state dead --reason x
misuse "wanted delayed, queued, dead or discarded" queue list --state gone
misuse "--expect: wanted" queue retry --state dead --reason x --expect many
misuse 'wanted plan, apply or drift, got "aply"' schema aply
misuse "wanted plan | apply | drift" schema
misuse "wanted FILE" backup
misuse "wanted FILE" restore
misuse "got also" restore a b
misuse "wanted no arguments" doctor all
misuse "wanted no arguments" reset all
misuse "--interval: wanted" top --interval 1ms
misuse "did you mean" queue --lifecyle x
for command in queue schema doctor top reset backup restore; do
    exits 0 $command --help
    prints "Usage: accrete $command"
    [ $command = doctor ] || prints "Examples:"
done
ok

check "queue groups dead events by what they said, without numbers and texts"
failing_app 100
exits 0 queue
prints "ready: events in packets"
fixpoint -x 1
exits 0 queue
prints 'marks.lua:3: cannot take N of "*"'
grep -qE 'as in marks:[0-9a-f]{32}: .*marks.lua:3: cannot take [0-9]+ of "[^*"]' <<<"$out" || fail "no real message: $out"
same groups "$(grep -c 'as in marks:' <<<"$out")" 11
same "dead in JSON" "$(acc queue --json | grep -o '"state":"dead","events":20')" '"state":"dead","events":20'
group=$(acc queue --json | grep -o '"group":"[0-9a-f]*"' | head -n 1 | cut -d'"' -f4)
same "events of the largest group" "$(acc queue list --group "$group" --json | grep -o '"fact"' | wc -l)" 10
same "no more than asked for" "$(acc queue list -n 3 | wc -l)" 3
ok

check "queue show tells one event by its first digits, with traceback and fact"
event=$(acc queue list -n 1 | cut -d' ' -f1)
exits 0 queue show "$event"
prints "stack traceback"
prints '"n":'
exits 0 queue show "${event#*:}"
exits 0 queue show "${event:0:16}" --json
prints '"data":{'
exits 1 queue show marks:
says "wanted LIFECYCLE:FACTID"
exits 1 queue show marks:xyz
exits 1 queue show other:"${event#*:}"
says "no such event is parked"
ok

check "retry and discard want a reason and the right number, and are audited"
exits 2 queue retry --state dead --reason test
says "say --expect 20"
exits 1 queue discard --group "$group" --expect 3 --reason test
says "expected 3 events, found 10: nothing was changed"
same "dead events" "$(sql "SELECT count(*) FROM parked WHERE state = 'dead'")" 20
exits 0 queue discard --group "$group" --expect 10 --reason "broken input"
says "results are incomplete"
prints "10 events discarded"
exits 0 queue log
prints "queue discard group=$group: 10 events, because broken input"
exits 0 queue retry "$(acc queue list --state dead -n 1 | cut -d' ' -f1)" --reason "one more try" --json
prints '{"act":"retry","events":1,"audit":2}'
fixpoint -x 1
same "dead again" "$(sql "SELECT count(*) FROM parked WHERE state = 'dead'")" 10
result_is() # AUDIT PATTERN
{
    [[ $(sql "SELECT result FROM audit WHERE id = $1") == $2 ]]
}
result_is 2 "1 queued; 1 dead again after *s" || fail "the retry came to: $(sql "SELECT result FROM audit WHERE id = 2")"
mend_app
exits 0 queue retry --state dead --expect 10 --reason mended
result_is 3 "10 queued" || fail "the retry began with: $(sql "SELECT result FROM audit WHERE id = 3")"
start_host
until_true eval '[ "$(acc count mark)" = 90 ]'
exits 0 queue retry --state discarded --lifecycle marks --expect 10 --reason "after all"
until_true eval '[ "$(acc count mark)" = 100 ]'
until_true eval '[ "$(sql "SELECT count(*) FROM parked")" = 0 ]'
until_true result_is 3 "10 queued; 10 done after *s"
until_true result_is 4 "10 queued; 10 done after *s"
same "open retries" "$(sql "SELECT count(*) FROM retry")" 0
exits 1 queue retry --state dead --reason x --expect 1
stop_host
ok

check "a paused queue and a throttle are seen wherever somebody looks, and a resume of nothing is none"
new_app examples/closure
acc ingest edge --quiet --format csv examples/closure/edges.csv
fixpoint
exits 0 status --json
prints '"paused":null'
exits 0 queue pause -r lunch
exits 0 queue throttle edge_extends_path 50 -r slowly
for command in queue status "top --once"; do
    exits 0 $command
    prints "the queue is paused by $(id -un)@"
    prints ": lunch"
done
for command in queue status; do
    exits 0 $command
    prints "edge_extends_path is held to 50 events a second by $(id -un)@"
    prints ": slowly"
    exits 0 $command --json
    prints '"paused":{"by":"'
    prints '"reason":"lunch"'
    prints '"lifecycle":"edge_extends_path","per_s":50.0'
done
exits 0 doctor
prints "warn  queue"
prints ": lunch"
prints "1 lifecycle is throttled by hand"
exits 0 queue resume -r back
prints "resumed, audit"
rows=$(sql "SELECT count(*) FROM audit")
exits 0 queue resume -r "back again"
says "is not paused"
same stdout "$out" ""
same "rows of the audit" "$(sql "SELECT count(*) FROM audit")" "$rows"
exits 0 queue throttle edge_extends_path none -r over
for command in queue status doctor; do
    exits 0 $command
    [[ $out != *paused* && $out != *throttled* && $out != *"is held to"* ]] || fail "$command still holds: $out"
done
sql "INSERT INTO audit (id, at, who, act, what, reason, result) SELECT max(id) + 1, now(), 'anna', 'reload', 'generation 2', '', 'taken up' FROM audit"
exits 0 queue log
prints "anna  reload generation 2: taken up"$'\n'
prints "queue resume: batches again, because back"
ok

check "on a terminal a choice is asked for"
failing_app 20
fixpoint -x 1
on_terminal queue discard --state dead --reason x <<<n
[[ $out == *"discard 4 events of state=dead? [y/N]"*"nothing was changed"*"exit=1"* ]] || fail "it was not asked, or not refused: $out"
on_terminal queue discard --state dead --reason x <<<y
[[ $out == *"4 events discarded"*"exit=0"* ]] || fail "it was not done: $out"
same discarded "$(sql "SELECT count(*) FROM parked WHERE state = 'discarded'")" 4
ok

check "doctor names what is wrong and the mend, and fails only when something does"
exits 0 doctor
prints "events discarded"
exits 0 doctor --json
prints '{"worst":"warn","checks":['
sql "ALTER TABLE fact_item DISABLE TRIGGER permanent"
exits 1 doctor
prints "ENABLE TRIGGER permanent"
sql "ALTER TABLE fact_item ENABLE TRIGGER permanent"
echo 'return {' >"$app/lifecycles/broken.lua"
exits 1 doctor
prints "lifecycles/broken.lua"
prints "mend: correct the module"
rm "$app/lifecycles/broken.lua"
echo 'worker: { cuont: 3 }' >"$app/accrete.yaml"
exits 1 doctor
prints "worker.cuont"
: >"$app/accrete.yaml"
exits 1 doctor --set database.url=host=/nowhere
prints "cannot reach the database"
mkdir "$app/native" && echo 'int broken(' >"$app/native/x.c"
exits 1 doctor
prints "fail  native"
rm -r "$app/native"
ok

check "doctor says what is wrong with a server, its role and its schema, and the mend of just that"
exits 1 doctor --set database.url=nonsense
prints "wanted postgresql://USER@HOST:PORT/DATABASE or words like host="
exits 1 doctor --set database.url=http://u:geheim@localhost
prints "wanted postgresql://"
[[ $out != *geheim* ]] || fail "a password is shown: $out"
exits 1 doctor --set "database.url=$ACCRETE_TEST_URL dbname=nobody_made_it"
prints 'mend: correct the database in database.url, or CREATE DATABASE'
exits 1 doctor --set "database.url=$ACCRETE_TEST_URL user=nobody_is_this"
prints 'mend: correct the user in database.url, or CREATE ROLE ... LOGIN'
exits 1 doctor --set database.schema=pg_own
prints "PostgreSQL keeps this name for itself, choose another one (database.schema)"
exits 1 doctor --set "database.url=$ACCRETE_TEST_URL options='-c track_counts=off'"
prints "mend: ALTER SYSTEM SET track_counts = on, then SELECT pg_reload_conf()"
exits 1 doctor --set "database.url=$ACCRETE_TEST_URL options='-c default_transaction_read_only=on'"
prints "transaction_read_only is on, wanted off: nothing can be written"
owner=$(sql "SELECT current_user") weak=weak_$schema
sql "CREATE ROLE $weak LOGIN"
exits 1 doctor --set "database.url=$ACCRETE_TEST_URL user=$weak"
prints "the app's schema belongs to \"$owner\": \"$weak\" may not work in it"
exits 1 doctor --set "database.url=$ACCRETE_TEST_URL user=$weak" --set database.schema=not_yet
prints "TO \"$weak\""
sql "DROP ROLE $weak"
sql "CREATE SCHEMA foreign_$schema" && sql "CREATE TABLE foreign_$schema.packet (x int)"
exits 1 doctor --set "database.schema=foreign_$schema"
prints "holds 1 tables or views that are not accrete's"
sql "DROP TABLE foreign_$schema.packet; DROP SCHEMA foreign_$schema"
ok

check "a backup taken beside a running host comes back with facts, queue, counts and provenance; the fixpoint is the same"
new_app examples/closure
acc ingest edge --quiet --format csv examples/closure/edges.csv
fixpoint
wanted=$(checksum)
printf '{"from":900001,"to":900002}\n{"from":900002,"to":900003}\n' | ingest edge
start_host
exits 0 backup "$TMPDIR/a.accrete"
prints "facts in"
stop_host
later=$(checksum)
exits 1 backup "$TMPDIR/a.accrete"
says "--force replaces it"
exits 0 backup "$TMPDIR/b.accrete" --json
prints '"kinds":{"edge":'
url_schema=$schema
exits 1 restore "$TMPDIR/a.accrete"
says "is not empty: --force"
exits 0 restore "$TMPDIR/a.accrete" --force
exits 0 schema plan
same "what is still to be done for the schema" "$out" ""
fixpoint
same "the fixpoint" "$(checksum)" "$later"
same "schemas left behind" "$(sql "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '${schema}_replaced%'")" 0
echo '{"from":900003,"to":900004}' | ingest edge
fixpoint
same "batches of new facts are new" "$(sql "SELECT count(*) - count(DISTINCT id) FROM batch")" 0
same "every fact has its batch" "$(sql "SELECT count(*) FROM fact_path p WHERE NOT EXISTS (SELECT FROM batch b WHERE b.id = p._batch)")" 0
unset url_schema
ok

check "from a server to a private cluster and back, under another name"
own_cluster=yes
new_app examples/closure
exits 0 restore "$TMPDIR/b.accrete"
prints "all counted"
same "the same facts" "$(checksum)" "$later"
fixpoint
exits 0 backup "$TMPDIR/c.accrete"
private=$app
private_settings=("${settings[@]}")
own_cluster=
new_app examples/closure
exits 0 restore "$TMPDIR/c.accrete" --json
same "the same facts" "$(checksum)" "$later"
fixpoint
exits 0 schema drift
ok

check "a pg_dump older than the server is not used, and the one to install is named"
major=$(sql "SELECT current_setting('server_version_num')::int / 10000")
mkdir "$TMPDIR/old"
printf '#!/bin/sh\necho "pg_dump (PostgreSQL) 13.2 (old)"\n' >"$TMPDIR/old/pg_dump"
chmod +x "$TMPDIR/old/pg_dump"
exits 1 backup --set "postgres.bin_dir=$TMPDIR/old" "$TMPDIR/d.accrete"
says "the database is PostgreSQL $major, and the newest pg_dump here is 13: install postgresql-client-$major"
[ ! -e "$TMPDIR/d.accrete" ] || fail "a file was made"
ok

check "modules that came after the backup become a generation of their own after it"
mkdir -p "$app/lua"
sed -i '1s/^/-- second\n/' "$app/lifecycles/edge_extends_path.lua"
fixpoint
exits 0 restore --force "$TMPDIR/c.accrete"
sed -i '1s/.*/-- third/' "$app/lifecycles/edge_extends_path.lua"
fixpoint
same "the same facts" "$(checksum)" "$later"
ok

check "a restore that fails changes nothing"
before=$(checksum)
head -c 2000 "$TMPDIR/c.accrete" >"$TMPDIR/cut.accrete"
exits 1 restore --force "$TMPDIR/cut.accrete"
echo nonsense >"$TMPDIR/nonsense"
exits 1 restore --force "$TMPDIR/nonsense"
says "is no backup that can be read"
exits 1 restore "$TMPDIR/missing"
says "cannot read"
size=$(stat -c %s "$TMPDIR/c.accrete")
head -c $((size - 200)) "$TMPDIR/c.accrete" >"$TMPDIR/cut.accrete"
exits 1 restore --force "$TMPDIR/cut.accrete"
same "the same facts" "$(checksum)" "$before"
start_host
exits 1 restore --force "$TMPDIR/c.accrete"
says "accrete stop ends it"
stop_host
ok

check "reset wants a yes, a private cluster and no host; what is not accrete's stays"
exits 1 reset --yes
says "only a private cluster can be reset"
app=$private
settings=("${private_settings[@]}")
misuse "say --yes" reset
on_terminal reset <<<n
[[ $out == *"[y/N]"*"nothing was removed"*"exit=1"* ]] || fail "it was not asked, or not refused: $out"
start_host
exits 1 reset --yes
says "accrete stop ends it"
stop_host
echo mine >"$app/data/notes"
exits 0 bench --runs 1
[ -e "$app/data/bench.lock" ] || fail "bench has no lock any more: $(ls "$app/data")"
mkdir "$TMPDIR/outside" && echo kept >"$TMPDIR/outside/file"
ln -s "$TMPDIR/outside" "$app/data/generations/link"
exits 0 reset --yes
says 'notes" is not accrete'
[[ $said != *"lock"* && ! -e $app/data/bench.lock ]] || fail "the lock of bench is not accrete's: $said"
same "what is left" "$(ls "$app/data" | grep -v "\.lock$")" notes
same "behind a link" "$(cat "$TMPDIR/outside/file")" kept
exits 0 reset --yes
same "facts after a reset" "$(acc count edge)" 0
ok

# A folder of postgres, pg_dump and the like of a newer major: the newest that is installed, or NEXT_POSTGRES.
next=${NEXT_POSTGRES:-$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1)}
next_major=$("$next/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
if [ "$next_major" -gt "$major" ]; then
    check "onto a newer PostgreSQL, in a private cluster of it and from there on"
    own_cluster=yes
    new_app examples/closure
    exits 1 restore --set "postgres.bin_dir=$TMPDIR/old" "$TMPDIR/c.accrete"
    settings+=(--set "postgres.bin_dir=$next")
    exits 0 restore "$TMPDIR/c.accrete"
    same "the same facts" "$(checksum)" "$later"
    fixpoint
    exits 0 doctor
    prints "PostgreSQL $next_major."
    exits 0 backup "$TMPDIR/next.accrete"
    exits 0 restore --force "$TMPDIR/next.accrete"
    same "the same facts" "$(checksum)" "$later"
    own_cluster=
    ok
fi

check "top in a pipe: snapshots with rates, as text and as JSON"
failing_app 200
start_host
until_true eval '[ "$(acc count mark)" = 160 ]'
exits 0 top --once
prints "events/s"
prints "marks"
prints "40 dead"
[[ $out != *$'\033'* ]] || fail "escapes in a pipe"
exits 0 top --count 2 --interval 100ms --json
same "lines of JSON" "$(wc -l <<<"$out")" 2
prints '"events_per_s":'
ok

check "top on a terminal: keys, small sizes, and the terminal is given back"
on_terminal top --interval 100ms < <(sleep 0.5; printf s; sleep 0.3; printf p; sleep 0.3; printf q)
[[ $out == *$'\033[?1049h'*"sorts by rate"*PAUSED*$'\033[?1049l'*"exit=0"*" icanon "*" echo "* ]] || fail "wanted the screen, keys and the terminal back: $out"
rows=4 columns=20 on_terminal top --interval 100ms < <(sleep 0.5; printf q)
[[ $out == *"exit=0"* ]] || fail "a small terminal: $out"
NO_COLOR=1 on_terminal top --interval 100ms < <(sleep 0.5; printf q)
[[ $out != *$'\033[1m'* && $out != *$'\033[31m'* ]] || fail "colours in spite of NO_COLOR"
for signal in INT TERM HUP; do
    rm -f "$TMPDIR/pid"
    (until_true test -s "$TMPDIR/pid" && sleep 1 && kill -$signal "$(cat "$TMPDIR/pid")") &
    on_terminal top --interval 100ms < <(sleep 3)
    wait $!
    [[ $out == *$'\033[?1049l'*" icanon "*" echo "* ]] || fail "after SIG$signal the terminal is not given back: $out"
done
stop_host
ok

finish
