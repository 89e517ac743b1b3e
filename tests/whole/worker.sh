#!/bin/bash
# accrete worker joins the generation that there is; it makes one only on an empty database.
. tests/host.sh "$@"

write_app() # into $app
{
    echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/item.lua"
    cp "$app/kinds/item.lua" "$app/kinds/mark.lua"
    cat >"$app/lifecycles/marks.lua" <<'END'
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found) found.mark(item, item.n + 1000) end
return M
END
}

# Another machine: the same app and database, folders of its own, by the name of $1. Sets app, settings.
other_machine()
{
    cp -r "$first" "$TMPDIR/machine$1"
    app=$TMPDIR/machine$1
    rm -rf "$app/data" "$app/run" "$app/host.log"
    mkdir -p "$app/data" "$app/run"
    settings+=(--set "data.dir=$app/data" --set "data.run_dir=$app/run")
}

start_workers()
{
    local before

    touch "$app/host.log"
    before=$(runs)
    "$ACCRETE" worker --workers 1 --app "$app" "${settings[@]}" >>"$app/host.log" 2>&1 &
    host=$!
    hosts+=("$host")
    until_true runs_more "$before"
}

refused() # WORDS...: accrete worker ends with 1 and says each
{
    local code=0 word

    timeout 60 "$ACCRETE" worker --workers 1 --app "$app" "${settings[@]}" >"$TMPDIR/said" 2>&1 || code=$?
    same "exit code of worker" $code 1
    for word; do
        grep -qF -- "$word" "$TMPDIR/said" || fail "does not say \"$word\": $(cat "$TMPDIR/said")"
    done
    same generations "$(sql "SELECT string_agg(id::text, ' ' ORDER BY id) FROM generation")" 1
    same "routing's version" "$(sql "SELECT version FROM routing")" "$routing"
}

new_app
write_app
first=$app

check "on an empty database workers make the first generation"
start_workers
echo '{"n":1}' | ingest item
acc wait --quiet --timeout 60s || fail "wait ended with $?"
same generations "$(sql "SELECT count(*) FROM generation")" 1
same marks "$(sql "SELECT n FROM fact_mark")" 1001
routing=$(sql "SELECT version FROM routing")
first_host=$host
ok

check "workers with the same files join it"
other_machine 1
start_workers
stop_host
same generations "$(sql "SELECT count(*) FROM generation")" 1
ok

check "workers with another module are refused and told which"
sed -i s/1000/2000/ "$app/lifecycles/marks.lua"
refused "lifecycles/marks.lua differs" "generation 1" "accrete reload" "the same files"
ok

check "a file that is missing here or there is named, whatever its folder"
cp "$first/lifecycles/marks.lua" "$app/lifecycles/marks.lua"
cp "$app/kinds/item.lua" "$app/kinds/more.lua"
mkdir "$app/lua"
echo 'return {}' >"$app/lua/helps.lua"
rm "$app/kinds/mark.lua"
sed -i 's/finds = { "mark" }/finds = {}/; s/found.mark.*end/end/' "$app/lifecycles/marks.lua"
refused "kinds/mark.lua is not here" "kinds/more.lua is only here" "lua/helps.lua is only here" "lifecycles/marks.lua differs"
same "tables of the refused kind" "$(sql "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'fact_more'")" 0
ok

check "workers of two machines that begin at once on an empty database make one generation"
host=$first_host
stop_host
for round in 1 2 3; do
    new_app
    write_app
    first=$app
    pids=()
    machines=()
    for machine in a b c; do
        app=$first
        other_machine "$round$machine"
        machines+=("$app")
        touch "$app/host.log"
        "$ACCRETE" worker --workers 1 --app "$app" "${settings[@]}" >>"$app/host.log" 2>&1 &
        pids+=($!)
        hosts+=($!)
    done
    for n in 0 1 2; do
        host=${pids[n]} app=${machines[n]}
        until_true runs_more 0
        stop_host
    done
    same generations "$(sql "SELECT count(*) FROM generation")" 1
done
ok

check "accrete reload where workers are lent joins too: older modules bring nobody back"
new_app
write_app
start_host
first=$app
first_host=$host
first_settings=("${settings[@]}")
other_machine lent
lent=$app
start_workers
sed -i s/1000/3000/ "$first/lifecycles/marks.lua"
app=$first "$ACCRETE" reload --app "$first" "${first_settings[@]}" >/dev/null 2>&1 || fail "reload of the host ended with $?"
same generations "$(sql "SELECT count(*) FROM generation")" 2
acc reload >"$TMPDIR/said" 2>&1 && fail "the older modules were taken"
grep -qF "lifecycles/marks.lua differs" "$TMPDIR/said" || fail "it says $(cat "$TMPDIR/said")"
same "generations after the older modules" "$(sql "SELECT count(*) FROM generation")" 2
cp "$first/lifecycles/marks.lua" "$lent/lifecycles/marks.lua"
acc reload >"$TMPDIR/said" 2>&1 || fail "reload ended with $?: $(cat "$TMPDIR/said")"
same "generations after joining" "$(sql "SELECT count(*) FROM generation")" 2
same "generation of the lent workers" "$(status "status.workers[1].generation")" 2
stop_host
host=$first_host app=$first
stop_host
ok
finish
