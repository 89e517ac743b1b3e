#!/bin/bash
# Under the load of several clients: kill -9 of every process behind HTTP and of PostgreSQL, stopped servers, reloads and stops. What was
# answered with 2xx is there, clients see clean errors, service comes back by itself, the fixpoint is that of the same facts.
own_cluster=yes
. tests/host.sh "$@"
. tests/api/api.sh

rounds=1
clients=12
[ $long = no ] || rounds=8

load=$TMPDIR/http_load
${CC:-gcc} -O1 -Wall -Wextra -Werror -pthread -o "$load" tests/faults/http_load.c

load_app()
{
    new_app
    mkdir "$app/routes"
    echo 'return { fields = { { "n", "int8" } } }' | tee "$app/kinds/item.lua" >"$app/kinds/step.lua"
    cat >"$app/lifecycles/item_steps.lua" <<'END'
local M = { on = "item", finds = { "step" }, monotone = true }
function M.process_data(item, found) found.step(nil, item.n % 997) end
return M
END
    cat >"$app/lifecycles/step_halves.lua" <<'END'
local M = { on = "step", finds = { "step" }, monotone = true }
function M.abort_early(step) return step.n == 0 end
function M.process_data(step, found) found.step(nil, (step.n - step.n % 2) / 2) end
return M
END
    cat >"$app/routes/app.lua" <<'END'
local http = require("accrete.http")
http.get("/some", function(req, db) return { rows = db.step:where({ n = 1 }) } end)
http.get("/forever", function() while true do end end)
END
}

pids_of() # ROLE
{
    status "(function() local p = {} for _, s in ipairs(status.services) do if s.role == '$1' then p[#p + 1] = s.pid end end return table.concat(p, ' ') end)()"
}

postmaster()
{
    head -n 1 "$app/data/pg/postmaster.pid"
}

backend_of() # PID of a process of ours: pid of one of its backends
{
    url=$url url_schema=public sql "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name LIKE '%$1%' LIMIT 1"
}

paths=(/status "/facts/item?limit=3" /some /facts/step/count)
first=1
begin_load()
{
    "$load" "${base##*:}" $clients 2000 $first "$TMPDIR/acked" "${paths[@]}" >"$TMPDIR/load.out" 2>"$TMPDIR/load.err" &
    loading=$!
    hosts+=("$loading")
    : >>"$TMPDIR/acked"
}

# Ends the load; its figures are in acked, reads, busy, gone, refused, garbled, wrong, slowest_ms.
end_load()
{
    kill -TERM $loading
    wait $loading || fail "the clients ended with $?"
    eval "$(cat "$TMPDIR/load.out")"
    first=$next
    same "garbled answers" "$garbled $(cat "$TMPDIR/load.err")" "0 "
    same "wrong answers" "$wrong" 0
}

figures()
{
    echo "$acked acknowledged, $reads reads, $busy busy, $gone cut off, $refused refused, slowest $slowest_ms ms"
}

serves_all()
{
    local path

    for path in "${paths[@]}"; do
        get "$path"
        [ "$code" = 200 ] || return 1
    done
    send POST /facts/item '{"n":0}'
    [ "$code" = 200 ]
}

# All that was acknowledged, and nothing that was not sent.
all_there() # exactly: no client was left without an answer
{
    sort -nu "$TMPDIR/acked" >"$TMPDIR/wanted"
    same "numbers acknowledged twice" "$(wc -l <"$TMPDIR/acked")" "$(wc -l <"$TMPDIR/wanted")"
    acc sql 'SELECT n FROM fact_item WHERE n > 0 ORDER BY n' --csv 2>/dev/null | sed 1d >"$TMPDIR/there"
    [ "$(comm -23 <(sort "$TMPDIR/wanted") <(sort "$TMPDIR/there") | wc -l)" = 0 ] ||
        fail "acknowledged and not there: $(comm -23 <(sort "$TMPDIR/wanted") <(sort "$TMPDIR/there") | wc -l) of $(wc -l <"$TMPDIR/wanted")"
    [ "$(tail -n 1 "$TMPDIR/there")" -lt "$first" ] || fail "a fact is there that nobody sent"
}
