#!/bin/bash
# accrete schema: plan, apply and drift; up from the tables of an older version; two versions of an app on one database.
. tests/host.sh "$@"

refused() # WORDS COMMAND...: the command fails and says so
{
    local words=$1 code=0 said

    shift
    said=$("$@" 2>&1) || code=$?
    same "exit code of $*" $code 1
    [[ $said == *"$words"* ]] || fail "$*: wanted \"$words\", got: $said"
}

kind() # NAME FIELDS
{
    echo "return { fields = { $2 }, ${3-} }" >"$app/kinds/$1.lua"
}

# n of item and m of mark; a lifecycle marks each item.
small_app()
{
    new_app
    kind item '{ "n", "int8" }'
    kind mark '{ "n", "int8" }'
    cat >"$app/lifecycles/item_marks.lua" <<'LUA'
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found) found.mark(nil, item.n) end
return M
LUA
}

items() # FROM TO
{
    seq "$1" "$2" | sed 's/.*/{"n":&}/' | ingest item
}

check "a plan on an empty database is the whole schema, changes nothing, and apply does exactly that"
small_app
acc schema plan >"$TMPDIR/plan" 2>/dev/null
same "schemas after plan" "$(sql "SELECT count(*) FROM pg_namespace WHERE nspname = '$schema'")" 0
acc schema apply >"$TMPDIR/applied" 2>/dev/null
cmp "$TMPDIR/plan" "$TMPDIR/applied" || fail "apply did something else than plan said"
same "plan after apply" "$(acc schema plan 2>/dev/null)" ""
acc schema plan --json >"$TMPDIR/json" 2>/dev/null
same "plan as JSON" "$(cut -c1-25 "$TMPDIR/json")" '{"steps":[],"refusals":[]'
ok

check "a plan can be run by hand"
small_app
acc schema plan 2>/dev/null >"$TMPDIR/plan"
{ echo "SET search_path = $schema;" && cat "$TMPDIR/plan"; } >"$TMPDIR/plan.sql"
"$bin/psql" -Xq -d "$ACCRETE_TEST_URL" -v ON_ERROR_STOP=1 -f "$TMPDIR/plan.sql" >/dev/null
same "what is left to do" "$(acc schema plan 2>/dev/null)" ""
ok

check "new kinds, nullable fields, look-ups and lifecycles come to facts that are there"
small_app
items 1 500
fixpoint
before=$(acc dump --quiet --kind item | sha256sum)
kind item '{ "n", "int8" }' 'nullable = { { "note", "text" } }'
kind extra '{ "n", "int8" }, { "half", "int8" }'
cat >"$app/lifecycles/item_halves.lua" <<'LUA'
local M = { on = "item", friends = { mark = { { "n" } } }, finds = { "extra" }, monotone = true }
function M.load_friends(db, item) return db.mark:where({ n = item.n }) end
function M.process_data(item, marks, found)
  if item.n % 2 == 0 then found.extra(nil, item.n, item.n / 2) end
end
return M
LUA
plan=$(acc schema plan 2>"$TMPDIR/notes")
for words in "new kind extra" "new nullable field note of kind item" "ALTER TABLE fact_item ADD COLUMN IF NOT EXISTS \"note\" text"; do
    [[ $plan == *"$words"* ]] || fail "the plan does not say \"$words\": $plan"
done
[[ $plan != *"CREATE TABLE IF NOT EXISTS fact_item"* ]] || fail "the plan makes a table that is there"
grep -q "lifecycle item_halves is new" "$TMPDIR/notes" || fail "the plan says nothing of the new lifecycle: $(cat "$TMPDIR/notes")"
fixpoint
same "facts of extra, found from old items" "$(acc count extra)" 250
same "items" "$(sql "SELECT count(*) FROM fact_item WHERE note IS NULL")" 500
same "ids of items" "$(acc dump --quiet --kind item | sed 's/,"note":null//' | sha256sum)" "$before"
items 501 502
echo '{"n":503,"note":"new"}' | ingest item
fixpoint
same "facts of extra" "$(acc count extra)" 251
acc schema drift >/dev/null 2>&1 || fail "drift: $(acc schema drift)"
ok

check "a look-up of facts that are there is built beside a running host, and rebuilt when its building was cut off"
small_app
items 1 1000
start_host
sed -i 's/finds = /friends = { mark = { { "n" } } }, finds = /; s/(item, found)/(item, marks, found)/' "$app/lifecycles/item_marks.lua"
kind pair '{ "a", "int8" }, { "b", "text" }'
sed -i 's/friends = { mark/friends = { pair = { { "b" } }, mark/' "$app/lifecycles/item_marks.lua"
acc schema apply >/dev/null 2>&1
sed -i 's/pair = { { "b" } }/pair = { { "b" }, { "a" } }/' "$app/lifecycles/item_marks.lua"
[[ $(acc schema plan 2>/dev/null) == *"CREATE INDEX CONCURRENTLY"* ]] || fail "the index would block: $(acc schema plan)"
acc schema apply >/dev/null 2>&1
index=$(sql "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'fact_pair'::regclass AND NOT indisprimary LIMIT 1")
sql "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '$index'::regclass"
refused "left invalid" acc schema drift
[[ $(acc schema plan 2>/dev/null) == *"DROP INDEX CONCURRENTLY"* ]] || fail "the invalid index stays"
acc schema apply >/dev/null 2>&1
same "invalid indexes" "$(sql "SELECT count(*) FROM pg_index WHERE NOT indisvalid")" 0
stop_host
ok

check "what would change identity or lose facts is refused, with the way out, and changes nothing"
small_app
kind item '{ "n", "int8" }, { "s", "text" }' 'unique = { "n" }'
echo '{"n":1,"s":"x"}' | ingest item
before=$(sql "SELECT declaration FROM kind ORDER BY name")
refusing() # WORDS FIELDS REST
{
    kind item "$2" "${3-}"
    refused "$1" acc schema plan
    refused "$1" acc schema apply
    refused "$1" acc run --quiet --until-fixpoint
    same declarations "$(sql "SELECT declaration FROM kind ORDER BY name")" "$before"
}
refusing "make a new kind and copy through a lifecycle" '{ "n", "text" }, { "s", "text" }' 'unique = { "n" }'
refusing "make a new kind and copy through a lifecycle" '{ "n", "int8" }, { "s", "text" }' 'unique = { "n", "s" }'
refusing "make a new kind and copy through a lifecycle" '{ "n", "int8" }'
refusing "make a new kind and copy through a lifecycle" '{ "m", "int8" }, { "s", "text" }' 'unique = { "m" }'
refusing 'name unique = { "n" }, or make a new kind' '{ "n", "int8" }, { "s", "text" }'
refusing 'must be nullable: move it from fields to nullable = { { "t", "text" } }' '{ "n", "int8" }, { "s", "text" }, { "t", "text" }' \
    'unique = { "n" }'
kind item '{ "n", "int8" }, { "s", "text" }' 'unique = { "n" }'
acc schema plan --json 2>/dev/null | grep -q '"refusals":\[\]' || fail "refused what was there before"
fixpoint
refused "shape the fixpoint" acc schema plan --set settings.most=3
ok

check "a field added to a kind that names no unique ones is told as a change of unique, with the way out, which works"
small_app
kind item '{ "n", "int8" }, { "half", "int8" }'
echo '{"n":1,"half":0}' | ingest item
kind item '{ "n", "int8" }, { "half", "int8" }, { "note", "text" }'
words='unique has changed: facts are stored with unique = { "n", "half" }, now it is { "n", "half", "note" } (all fields are'
refused "$words" acc schema plan
refused "$words" acc run --quiet --until-fixpoint
refused 'move what is new from fields to nullable = { { "note", "text" } }' acc schema plan
kind item '{ "n", "int8" }, { "half", "int8" }' 'nullable = { { "note", "text" } }'
acc schema apply >/dev/null 2>&1
kind item '{ "n", "int8" }, { "half", "int8" }, { "more", "int8" }' 'nullable = { { "note", "text" } }'
refused 'nullable = { …, { "more", "int8" } }' acc schema plan
kind item '{ "n", "int8" }, { "half", "int8" }' 'nullable = { { "note", "text" }, { "more", "int8" } }, unique = { "n" }'
refused 'now it is { "n" } (all fields are unique when none are named), which would change identity: name unique = { "n", "half" }, or' \
    acc schema plan
kind item '{ "half", "int8" }, { "n", "int8" }' 'nullable = { { "note", "text" } }'
fixpoint
ok

check "a lifecycle cannot change its kind while its events wait"
small_app
items 1 3
echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/other.lua"
sed -i 's/on = "item"/on = "other"/' "$app/lifecycles/item_marks.lua"
refused 'events of kind "item" still wait' acc schema plan
refused 'give the new lifecycle another name' acc run --quiet --until-fixpoint
sed -i 's/on = "other"/on = "item"/' "$app/lifecycles/item_marks.lua"
fixpoint
sed -i 's/on = "item"/on = "other"/' "$app/lifecycles/item_marks.lua"
fixpoint
ok

check "drift names what was changed by hand, with the mend"
small_app
items 1 3
fixpoint
acc schema drift >/dev/null 2>&1 || fail "drift: $(acc schema drift)"
sql "ALTER TABLE fact_item DISABLE TRIGGER permanent"
refused "ENABLE TRIGGER permanent" acc schema drift
sql "ALTER TABLE fact_item ENABLE TRIGGER permanent"
sql "ALTER TABLE fact_item ADD COLUMN more text"
refused "a column more that the module does not declare" acc schema drift
sql "ALTER TABLE fact_item DROP COLUMN more"
sql "GRANT DELETE ON fact_item TO ${schema}_worker"
refused "may change or delete facts" acc schema drift
sql "REVOKE DELETE ON fact_item FROM ${schema}_worker"
sql "CREATE TABLE fact_stray (n int)"
refused "looks like a kind's, but is none" acc schema drift
sql "DROP TABLE fact_stray"
acc schema drift >/dev/null 2>&1 || fail "drift: $(acc schema drift)"
rm "$app/lifecycles/item_marks.lua" "$app/kinds/mark.lua"
refused "the app does not have it any more" acc schema drift
ok

check "the mend of a lost trigger works as it is printed"
small_app
items 1 3
fixpoint
sql "DROP TRIGGER permanent ON fact_item"
mend=$(acc schema drift 2>/dev/null | sed -n 's/^ *mend: \(CREATE TRIGGER.*\)/\1/p') || true
"$bin/psql" -Xq -d "$ACCRETE_TEST_URL" -v ON_ERROR_STOP=1 -c "$mend" || fail "the mend fails: $mend"
acc schema drift >/dev/null 2>&1 || fail "drift: $(acc schema drift)"
ok

check "backslashes in strings are what they are, whatever the server's default"
export PGOPTIONS="-c standard_conforming_strings=off"
acc schema drift >/dev/null 2>&1 || fail "drift: $(acc schema drift)"
same "what is left to do" "$(acc schema plan 2>/dev/null)" ""
small_app
items 1 3
fixpoint
acc schema drift >/dev/null 2>&1 || fail "drift: $(acc schema drift)"
unset PGOPTIONS
acc schema drift >/dev/null 2>&1 || fail "drift: $(acc schema drift)"
same "what is left to do" "$(acc schema plan 2>/dev/null)" ""
ok

check "tables that are lost, changed or somebody else's are found before anything is done, with the way out"
sql "ALTER TABLE packet RENAME TO packet_away"
refused "table packet: gone" acc schema drift
for verb in plan apply; do
    refused "table packet is gone, and with it what it held: restore a backup" acc schema $verb
done
refused "table packet is gone" acc run --quiet --until-fixpoint
same "tables called packet" "$(sql "SELECT to_regclass('packet')")" ""
sql "ALTER TABLE packet_away RENAME TO packet; ALTER TABLE packet RENAME COLUMN born TO birth"
refused "table packet: it lacks the column born timestamptz" acc schema drift
refused "table packet has been changed by hand (it lacks the column born timestamptz): restore a backup" acc schema apply
sql "ALTER TABLE packet RENAME COLUMN birth TO born"
acc schema drift >/dev/null 2>&1 || fail "drift: $(acc schema drift)"
small_app
sql "CREATE SCHEMA $schema; CREATE TABLE $schema.packet (sent int)"
for command in "schema plan" "schema apply" "run --quiet --until-fixpoint"; do
    refused "has a table packet that accrete did not make (it lacks the column bucket int2): rename it, or give the app a schema of its own" acc $command
done
same "tables in the schema" "$(sql "SELECT count(*) FROM pg_class WHERE relnamespace = '$schema'::regnamespace")" 1
sql "DROP TABLE packet; CREATE VIEW packet AS SELECT 1"
refused "has a table packet that accrete did not make (it is no table)" acc schema apply
ok

# FILE: a schema `old` of an older version, as the schema of a new closure app with four buckets.
older_app()
{
    new_app examples/closure
    settings+=(--set queue.buckets=4)
    sed "s/\bold\b/$schema/g" "$1" >"$TMPDIR/old.sql"
    "$bin/psql" -Xq -d "$ACCRETE_TEST_URL" -v ON_ERROR_STOP=1 -f "$TMPDIR/old.sql" >/dev/null
}

check "the tables of format 1 come up to what this version wants, with facts, queue and counts"
older_app tests/whole/format1.sql
acc queue >/dev/null
acc status >/dev/null
[[ $(acc schema plan 2>/dev/null) == *"CREATE TABLE IF NOT EXISTS audit"* ]] || fail "the plan lacks what is new"
echo '{"from":1,"to":2}' | ingest edge # before any run
fixpoint
same "what is left to do" "$(acc schema plan 2>/dev/null)" ""
same "the format" "$(sql "SELECT value FROM meta WHERE key = 'format'")" 3
same edges "$(acc count edge)" 3
same paths "$(acc count path)" 6
same "ids of ingested edges" "$(printf '{"from":1,"to":2}\n' | ingest edge && acc count edge)" 3
ok

check "the tables of format 2 come up to what this version wants, with facts, queue, dead events, counts and audit"
older_app tests/whole/format2.sql
acc status >/dev/null
acc queue list | grep -q "made up" || fail "the dead event is not listed"
acc queue | grep -q "made up" || fail "the dead event is in no group"
acc token list >/dev/null
plan=$(acc schema plan 2>/dev/null)
for words in "CREATE TABLE IF NOT EXISTS control" "CREATE TABLE IF NOT EXISTS token" "ADD COLUMN IF NOT EXISTS history"; do
    [[ $plan == *"$words"* ]] || fail "the plan lacks \"$words\": $plan"
done
fixpoint -x 1 # one event is dead
same "what is left to do" "$(acc schema plan 2>/dev/null)" ""
same "the format" "$(sql "SELECT value FROM meta WHERE key = 'format'")" 3
same edges "$(acc count edge)" 3
same paths "$(acc count path)" 6
same "events done" "$(sql "SELECT sum(early + late + empty + found) FROM tally_lifecycle WHERE lifecycle <> 0")" 9
same "attempts that are known of the dead event" "$(sql "SELECT history FROM parked")" "[]"
acc queue retry --state dead --expect 1 --reason "made up" >/dev/null
fixpoint
same "parked events" "$(sql "SELECT count(*) FROM parked")" 0
same "the audit" "$(sql "SELECT string_agg(act || ': ' || regexp_replace(result, '[0-9.]+ s$', 'T'), ', ' ORDER BY id) FROM audit")" "queue retry: 0 events, queue retry: 1 queued; 1 done after T"
acc schema drift >/dev/null 2>&1 || fail "drift: $(acc schema drift)"
ok

check "no role of the app sees tokens"
for role in worker reader; do
    same "tokens seen by $role" "$(sql "SELECT has_table_privilege('${schema}_$role', 'token', 'SELECT') OR has_table_privilege('${schema}_$role', 'token', 'INSERT')")" f
    same "audit seen by $role" "$(sql "SELECT has_table_privilege('${schema}_$role', 'audit', 'SELECT')")" t
done
sql "GRANT SELECT ON token TO ${schema}_worker"
[[ $(acc schema plan 2>/dev/null) == *"REVOKE ALL ON token FROM"* ]] || fail "a role that sees tokens is left so"
ok

check "a format that is not known is refused"
sql "UPDATE meta SET value = '99' WHERE key = 'format'"
refused "has format 99, this accrete knows 3" acc schema plan
refused "has format 99" acc run --quiet --until-fixpoint
sql "UPDATE meta SET value = '3' WHERE key = 'format'"
ok

check "two versions of an app on one database: the running older one goes on, one that would lose a field is refused"
small_app
old=$app
old_settings=("${settings[@]}")
items 1 100
start_host
new=$TMPDIR/newer
mkdir -p "$new/data" "$new/run"
cp -r "$old/kinds" "$old/lifecycles" "$old/accrete.yaml" "$new/"
app=$new
settings=(--set "data.dir=$new/data" --set "data.run_dir=$new/run" --set "database.url=$ACCRETE_TEST_URL" --set "database.schema=$schema")
kind item '{ "n", "int8" }' 'nullable = { { "note", "text" } }'
kind more '{ "n", "int8" }'
acc schema apply >/dev/null 2>&1
app=$old
settings=("${old_settings[@]}")
until_true eval '[ "$(acc count mark)" = 100 ]'
stop_host
refused "which the module no longer says" acc run --quiet --until-fixpoint
app=$new
settings=(--set "data.dir=$new/data" --set "data.run_dir=$new/run" --set "database.url=$ACCRETE_TEST_URL" --set "database.schema=$schema")
echo '{"n":101,"note":"x"}' | ingest item
fixpoint
same marks "$(acc count mark)" 101
app=$old
settings=("${old_settings[@]}")
refused "the database is newer than this app, it has 2 fields of the kind and the module 1: use the app's version that added them" \
    acc ingest --quiet item - <<<'{"n":102}'
ok

check "hosts that start at once take turns with the schema"
small_app
items 1 50
pids=()
for i in 1 2 3 4; do
    "$ACCRETE" schema apply --app "$app" "${settings[@]}" >/dev/null 2>&1 &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || fail "one of four failed"
done
fixpoint
same marks "$(acc count mark)" 50
ok

finish
