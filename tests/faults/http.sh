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

in_database() # SQL
{
    local socket

    socket=$(find "$app/run" -type s -name '.s.PGSQL.*' | head -n 1)
    "$bin/psql" -XAtq -h "${socket%/*}" -p "${socket##*.}" -U accrete -c "$1" accrete
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

is_at_fixpoint()
{
    acc wait --quiet --timeout 60s >/dev/null 2>&1
}

# Everything acknowledged is there, nothing is there that nobody sent, and the fixpoint is that of what is there.
all_there()
{
    until_true is_at_fixpoint
    dump >"$TMPDIR/dump" || fail "dump ended with $?"
    sed -n 's/^{"kind":"item",.*"n":\([0-9]*\).*/\1/p' "$TMPDIR/dump" | LC_ALL=C sort >"$TMPDIR/there"
    LC_ALL=C sort "$TMPDIR/acked" >"$TMPDIR/wanted"
    same "facts acknowledged twice" "$(uniq -d "$TMPDIR/wanted" | wc -l)" 0
    same "facts acknowledged and lost" "$(LC_ALL=C comm -23 "$TMPDIR/wanted" "$TMPDIR/there" | wc -l)" 0
    [ "$(sort -n "$TMPDIR/there" | tail -n 1)" -lt "$first" ] || fail "a fact is there that nobody sent"
    luajit - "$TMPDIR/there" >"$TMPDIR/steps" <<'END'
local steps = {}
for line in io.lines(arg[1]) do
  local n = tonumber(line) % 997
  while not steps[n] do steps[n], n = true, math.floor(n / 2) end
end
for n in pairs(steps) do print(n) end
END
    same "facts found" "$(sed -n 's/^{"kind":"step",.*"n":\([0-9]*\).*/\1/p' "$TMPDIR/dump" | sort)" "$(sort "$TMPDIR/steps")"
}

comes_back() # LIMIT_S: serves everything again
{
    deadline_s=$1 until_true serves_all
}

load_app
settings+=(--set worker.count=1 --set http.listen=127.0.0.1:0 --set queue.packet_events=400)
start_host
base=http://$(grep -o 'http=[^ ]*' "$app/host.log" | tail -n 1 | cut -d= -f2)
comes_back 30
same fsync "$(in_database 'SHOW fsync')" on

# Kills under load: WHAT happens to be killed; afterwards clients have seen nothing but what is allowed.
killed() # SENTENCE COMMAND...
{
    check "$1"
    shift
    begin_load
    for ((i = 0; i < rounds; i++)); do
        sleep "1.$(printf %03d $((RANDOM % 500)))"
        "$@"
        comes_back 40
    done
    sleep 0.5
    end_load
    [ "$acked" -gt 100 ] || fail "only $acked facts were taken"
    all_there
    ok "$(figures)"
}

kill_role() # ROLE
{
    kill -KILL $(pids_of "$1")
}

kill_backends()
{
    kill -KILL "$(in_database "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1")"
}

killed "kill -9 of the front" kill_role front
killed "kill -9 of the query processes" kill_role query
killed "kill -9 of the routes process" kill_role routes
killed "kill -9 of the figures process" kill_role figures
same "what clients saw of it" "$busy $gone $refused" "0 0 0"
killed "kill -9 of a backend" kill_backends

terminate_backends()
{
    in_database "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()" >/dev/null
}

kill_postmaster()
{
    kill -KILL "$(postmaster)"
}

killed "an administrator ends every connection" terminate_backends
killed "kill -9 of PostgreSQL" kill_postmaster

check "PostgreSQL stands still for some seconds"
begin_load
sleep 1
stopped=($(postmaster) $(pgrep -P "$(postmaster)"))
kill -STOP "${stopped[@]}"
sleep $((2 + rounds))
get /live
wanted 200
get /status
wanted 200
kill -CONT "${stopped[@]}"
comes_back 30
end_load
all_there
[ "$gone $refused" = "0 0" ] || fail "connections ended: $(figures)"
ok "$(figures)"

check "reloads under load: no request fails"
begin_load
for ((i = 0; i < 2 + rounds; i++)); do
    sleep 0.7
    sed -i "1i -- text $i" "$app/lifecycles/item_steps.lua" "$app/routes/app.lua"
    before=$(status status.generation)
    kill -HUP "$host"
    is_newer()
    {
        [ "$(status status.generation)" -gt "$before" ]
    }
    until_true is_newer
done
sleep 1.5
end_load
same "requests that failed" "$busy busy, $gone gone, $refused refused" "0 busy, 0 gone, 0 refused"
all_there
ok "$(figures)"

check "a stop under load answers what is in hand"
begin_load
curl -s -m 60 -o "$TMPDIR/waited" -w '%{http_code}' "$base/wait?timeout_s=600" >"$TMPDIR/waited.code" &
waiter=$!
sleep 1
began=$SECONDS
stop_host
took=$((SECONDS - began))
wait $waiter || true
end_load
[ "$refused" -gt 0 ] || fail "nobody was refused: $(figures)"
same "busy" "$busy" 0
[ $took -le 8 ] || fail "it took $took s"
same "the wait" "$(cat "$TMPDIR/waited.code")" 200
! grep -Ei 'assert|signal=|standing still|does not end|level=error' "$app/host.log" | grep -v 'signal=9\|PostgreSQL ended' | grep . ||
    fail "a process did not end well"
start_host
base=http://$(grep -o 'http=[^ ]*' "$app/host.log" | tail -n 1 | cut -d= -f2)
comes_back 30
all_there
stop_host
ok "$(figures)"

check "a stop with requests that hang ends in time, and without a word of complaint"
start_host --set http.route_timeout=1s --set worker.grace=4s
base=http://$(grep -o 'http=[^ ]*' "$app/host.log" | tail -n 1 | cut -d= -f2)
comes_back 30
before=$(wc -l <"$app/host.log")
curl -s -m 30 -o "$TMPDIR/hung" -w '%{http_code}' "$base/forever" >"$TMPDIR/hung.code" &
asked=$!
curl -s -N -m 30 -o "$TMPDIR/stream" "$base/stream?topics=status" &
reader=$!
exec {half}<>"/dev/tcp/127.0.0.1/${base##*:}" {idle}<>"/dev/tcp/127.0.0.1/${base##*:}"
printf 'POST /facts/item HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{' >&"$half"
sleep 0.5
began=$SECONDS
stop_host
took=$((SECONDS - began))
wait $asked || fail "curl of the hung route ended with $?"
wait $reader || fail "the stream was cut: curl ended with $?"
exec {half}>&- {idle}>&-
[ $took -le 6 ] || fail "it took $took s"
same "the hung route" "$(cat "$TMPDIR/hung.code")" 502
! tail -n "+$before" "$app/host.log" | grep -Ei 'assert|signal=6|signal=11|level=error' || fail "a process did not end well"
ok "$took s"

check "the same facts ingested by the command have the same digest"
through_http=$(checksum)
dump | sed -n 's/^{"kind":"item",.*"n":\([0-9]*\).*/{"n":\1}/p' >"$TMPDIR/items"
load_app
ingest item <"$TMPDIR/items"
fixpoint
same digest "$(checksum)" "$through_http"
ok "$(wc -l <"$TMPDIR/items") facts"

finish
