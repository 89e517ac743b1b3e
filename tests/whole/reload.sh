#!/bin/bash
# Modules that change while the host runs: new code and new native code load, broken code is refused, new lifecycles see old facts.
. tests/host.sh "$@"

numbered()
{
    echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/$1.lua"
}

adds() # NAME ON FINDS OFFSET
{
    cat >"$app/lifecycles/$1.lua" <<END
local M = { on = "$2", finds = { "$3" }, monotone = true }
function M.process_data(item, found) found.$3(item, item.n + $4) end
return M
END
}

items() # FROM TO
{
    seq "$1" "$2" | sed 's/.*/{"n":&}/' | ingest item 2>>"$app/host.log"
}

settled()
{
    acc wait --quiet --timeout 60s || fail "wait ended with $?"
}

count()
{
    sql "SELECT count(*) FROM fact_$1"
}

done_by() # LIFECYCLE: events it has done
{
    sql "SELECT coalesce(sum(early + late + empty + found), 0) FROM tally_lifecycle t JOIN lifecycle l ON l.id = t.lifecycle WHERE l.name = '$1'"
}

new_app
for kind in item mark more; do
    numbered $kind
done
adds marks item mark 1000
start_host --workers 2
items 1 50
settled

check "changed code is taken by SIGHUP and works on new facts only"
adds marks item mark 2000
kill -HUP "$host"
until_true grep -q "modules loaded" "$app/host.log"
items 51 60
settled
same marks "$(sql "SELECT count(*) FILTER (WHERE n < 2000), count(*) FILTER (WHERE n > 2000) FROM fact_mark")" "50|10"
same "events done" "$(done_by marks)" 60
ok

check "a broken module is refused with file and line, the old generation goes on"
echo 'local M = { on = "item" ' >"$app/lifecycles/broken.lua"
acc reload >"$TMPDIR/said" 2>&1 && fail "taken: $(cat "$TMPDIR/said")"
grep -q 'lifecycles/broken.lua:' "$TMPDIR/said" || fail "said $(cat "$TMPDIR/said")"
cat >"$app/lifecycles/broken.lua" <<'END'
local M = { on = "item", finds = { "mark" } }
M.x = nothing.at_all
return M
END
acc reload >"$TMPDIR/said" 2>&1 && fail "taken: $(cat "$TMPDIR/said")"
grep -q 'lifecycles/broken.lua:2:' "$TMPDIR/said" || fail "said $(cat "$TMPDIR/said")"
echo 'return { on = "itme", process_data = function() end }' >"$app/lifecycles/broken.lua"
acc reload >"$TMPDIR/said" 2>&1 && fail "taken: $(cat "$TMPDIR/said")"
grep -q 'lifecycles/broken.lua: on: wanted the name of a kind, got "itme", did you mean "item"' "$TMPDIR/said" || fail "said $(cat "$TMPDIR/said")"
echo 'return { fields = { { "n", "text" } } }' >"$app/kinds/mark.lua"
rm "$app/lifecycles/broken.lua"
acc reload >"$TMPDIR/said" 2>&1 && fail "taken: $(cat "$TMPDIR/said")"
grep -q 'kinds/mark.lua: facts are stored with "n int8 unique"' "$TMPDIR/said" || fail "said $(cat "$TMPDIR/said")"
numbered mark
[[ $(status status.refused_reload) == *kinds/mark.lua* ]] || fail "status does not tell what was refused"
items 61 70
settled
same marks "$(sql "SELECT count(*) FILTER (WHERE n < 2000), count(*) FILTER (WHERE n > 2000) FROM fact_mark")" "50|20"
ok

check "a new lifecycle sees every old fact once, while new ones come"
items 1001 9000
adds again item more 100000
items 9001 9100 &
kill -HUP "$host"
items 9101 9200
wait $!
until_true grep -q 'modules loaded.*generation=3' "$app/host.log"
settled
same "facts and events done" "$(done_by again)" "$(count item)"
same more "$(count more)" "$(count item)"
same "replays left" "$(sql "SELECT count(*) FROM replay")" 0
ok

check "a nullable field that comes later keeps facts and ids"
before=$(checksum)
echo 'return { fields = { { "n", "int8" } }, nullable = { { "note", "text" } } }' >"$app/kinds/more.lua"
acc reload >/dev/null 2>&1 || fail "reload ended with $?"
same checksum "$(checksum)" "$before"
echo '{"n":77777777,"note":"new"}' | ingest more
same note "$(sql "SELECT note FROM fact_more WHERE n = 77777777")" new
ok

check "packets of a removed lifecycle stay and status says so"
cat >"$app/lifecycles/waits.lua" <<'END'
local M = { on = "item", finds = {}, monotone = true, throttle = 5 }
function M.process_data() end
return M
END
acc reload >/dev/null 2>&1 || fail "reload ended with $?"
rm "$app/lifecycles/waits.lua"
acc reload >/dev/null 2>&1 || fail "reload ended with $?"
settled
left=$(sql "SELECT coalesce(sum(n), 0) FROM packet p JOIN lifecycle l ON l.id = p.lifecycle WHERE l.name = 'waits'")
same orphaned "$(status status.queue.orphaned)" "$left"
same active "$(status "(function() for _, l in ipairs(status.lifecycles) do if l.name == 'waits' then return l.active end end end)()")" false
stop_host
fixpoint
ok "$left events, $(sql "SELECT count(*) FROM replay") replays"

check "a lifecycle that comes back gets what it missed"
items 20001 20100
cat >"$app/lifecycles/waits.lua" <<'END'
local M = { on = "item", finds = { "more" }, monotone = true }
function M.process_data(item, found) found.more(item, item.n + 500000) end
return M
END
fixpoint
same "more of waits" "$(sql "SELECT count(*) FROM fact_more WHERE n > 500000 AND n < 1000000")" "$(count item)"
same packets "$(sql "SELECT count(*) FROM packet")" 0
ok

check "workers of older modules on the same database hold up neither a new lifecycle nor its old facts"
new_app
numbered item
numbered more
: >"$app/lifecycles/.keep"
items 1 5000
echo 'return { on = "item", monotone = true, finds = {}, process_data = function() end }' >"$app/lifecycles/looks.lua"
start_host --workers 1
newer=$app newer_settings=("${settings[@]}") newer_host=$host
app=$TMPDIR/older
mkdir -p "$app/data" "$app/run"
cp -r "$newer/kinds" "$newer/lifecycles" "$newer/accrete.yaml" "$app/"
settings+=(--set "data.dir=$app/data" --set "data.run_dir=$app/run")
"$ACCRETE" worker --workers 1 --app "$app" "${settings[@]}" >>"$app/host.log" 2>&1 &
older_host=$!
hosts+=("$older_host")
until_true grep -q event=running "$app/host.log"
until_true eval '[ "$(sql "SELECT count(DISTINCT pid) FROM pg_locks k WHERE locktype = '\''advisory'\'' AND objid < 1048576 AND classid = current_schema()::regnamespace AND objsubid = 2")" = 2 ]'
app=$newer settings=("${newer_settings[@]}")
adds again item more 100000
acc reload >/dev/null 2>&1 || fail "reload ended with $?"
items 5001 5500
settled
same "replays left" "$(sql "SELECT count(*) FROM replay")" 0
same more "$(count more)" 5500
grep -q "workers of a newer generation have its buckets now" "$TMPDIR/older/host.log" || fail "the older host does not say why it rests"
host=$newer_host
stop_host
app=$TMPDIR/older
echo '{"n":7777}' | ingest item
until_true eval '[ "$(done_by looks)" = 5501 ]'
host=$older_host
stop_host
app=$newer
ok

check "changed native code loads"
new_app
numbered item
numbered mark
numbered more
mkdir -p "$app/native"
cat >"$app/native/${app##*/}.h" <<'END'
/* ffi:begin */
int64_t offset(void);
/* ffi:end */
END
printf '#include <stdint.h>\nint64_t offset(void) { return 3000000; }\n' >"$app/native/${app##*/}.c"
cat >"$app/lifecycles/marks.lua" <<END
local C = require("accrete.native").load("${app##*/}")
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found) found.mark(item, item.n + tonumber(C.offset())) end
return M
END
start_host --workers 2
echo '{"n":1000000}' | ingest item
settled
sed -i s/3000000/5000000/ "$app/native/${app##*/}.c"
acc reload >"$TMPDIR/said" 2>&1 || fail "reload ended with $?: $(cat "$TMPDIR/said")"
echo '{"n":1000001}' | ingest item
settled
same marks "$(sql "SELECT string_agg(n::text, ' ' ORDER BY n) FROM fact_mark WHERE n > 4000000")" "6000001"
same "old marks" "$(sql "SELECT count(*) FROM fact_mark WHERE n = 4000000")" 1
echo 'broken on purpose' >>"$app/native/${app##*/}.c"
acc reload >"$TMPDIR/said" 2>&1 && fail "taken: $(cat "$TMPDIR/said")"
grep -q "${app##*/}.c:" "$TMPDIR/said" "$app/host.log" || fail "no line of the C file: $(cat "$TMPDIR/said")"
sed -i 's/^broken.*//; s/5000000/7000000/' "$app/native/${app##*/}.c"
echo '{"n":1000002}' | ingest item
settled
same "the old code goes on" "$(sql "SELECT count(*) FROM fact_mark WHERE n = 6000002")" 1
stop_host
ok

check "facts are taken in while a lifecycle is broken, and found from when it is mended"
new_app examples/closure
echo '{"from":1,"to":2}' | ingest edge
fixpoint
cp "$app/lifecycles/path_takes_edge.lua" "$app/good"
echo 'local x = = 1' >"$app/lifecycles/path_takes_edge.lua"
echo '{"from":2,"to":3}' | ingest edge 2>"$TMPDIR/said" || fail "refused: $(cat "$TMPDIR/said")"
grep -q "path_takes_edge.lua:1:" "$TMPDIR/said" || fail "not told: $(cat "$TMPDIR/said")"
fixpoint -x 1
cp "$app/good" "$app/lifecycles/path_takes_edge.lua"
fixpoint
same paths "$(sql 'SELECT count(*) FROM fact_path')" 3
ok

check "run, too, goes to the server that database.url_file names"
new_app examples/closure
printf '%s\n' "$ACCRETE_TEST_URL" >"$app/url"
settings=(--set "data.dir=$app/data" --set "data.run_dir=$app/run" --set "database.schema=$schema" --set database.url_file=url)
echo '{"from":1,"to":2}' | ingest edge
fixpoint
same paths "$(sql 'SELECT count(*) FROM fact_path')" 1
[ ! -e "$app/data/pg" ] || fail "a private cluster was made"
ok
finish
