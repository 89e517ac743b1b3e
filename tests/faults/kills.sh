#!/bin/bash
# kill -9 of workers, the host and PostgreSQL at random moments of a run: the fixpoint is exact, nothing is done twice.
own_cluster=yes
. tests/host.sh "$@"

kills=6
size=320
if [ $long = yes ]; then
    kills=24
    size=640
fi

counted=0
tried=0
declare -A by_kind=()

postmaster()
{
    head -n 1 "$app/data/pg/postmaster.pid"
}

# "done queued" now; fails while the database is away.
progress()
{
    acc status --json 2>/dev/null | luajit -e "
        package.path = 'tests/?.lua;' .. package.path
        local status, done = require('json')(io.read('*a')), 0
        for _, l in ipairs(status.lifecycles) do done = done + l.done end
        print(done, status.queue.ready)" 2>/dev/null
}

worker_pids()
{
    status "(function() local p = {} for _, w in ipairs(status.workers) do p[#p + 1] = w.pid end return table.concat(p, ' ') end)()"
}

moved() # beyond N events done
{
    local done queued

    read -r done queued < <(progress) && [ "$done" -gt "$1" ]
}

back() # the database answers and the host is there
{
    kill -0 "$host" 2>/dev/null && progress >/dev/null
}

kill_one() # WHAT
{
    local pids

    case $1 in
    worker)
        read -ra pids < <(worker_pids)
        kill -KILL "${pids[RANDOM % ${#pids[@]}]}"
        ;;
    workers) kill -KILL $(worker_pids) ;;
    master)
        kill -KILL "$host"
        wait "$host" 2>/dev/null || true
        ;;
    immediate) kill -QUIT "$(postmaster)" ;;
    postgres) kill -KILL "$(postmaster)" ;;
    all)
        kill -KILL "$host" "$(postmaster)"
        wait "$host" 2>/dev/null || true
        ;;
    esac
}

check "the fixpoint after kills is that without"
new_app examples/closure
settings+=(--set worker.count=2 --set worker.batch_events=10 --set queue.packet_events=40 --set "queue.shuffle_seed=$((seed % 1000 + 1))")
luajit tests/order/graph.lua edges random $size "$seed" >"$app/edges"
luajit tests/order/graph.lua closure random $size "$seed" | LC_ALL=C sort >"$app/wanted"
ingest edge <"$app/edges"
start_host
socket=$(find "$app/run" -type s -name '.s.PGSQL.*' | head -n 1)
same fsync "$("$bin/psql" -XAtq -h "${socket%/*}" -p "${socket##*.}" -U accrete -c 'SHOW fsync' accrete)" on

what=(worker master immediate postgres workers all)
seen=0
while [ $counted -lt $kills ]; do
    kind=${what[tried % ${#what[@]}]}
    tried=$((tried + 1))
    until_true moved $seen
    sleep "0.$(printf %03d $((RANDOM % 250)))"
    read -r before_done before_queued < <(progress) || fail "no status before a kill of $kind"
    [ "$before_queued" -gt 0 ] || break
    kill_one "$kind"
    case $kind in
    master | all) ;; # asked while no worker runs: exactly what the kill left
    *) until_true back ;;
    esac
    read -r seen queued < <(progress) || fail "no status after a kill of $kind"
    [ "$seen" -ge "$((before_done * 9 / 10))" ] || fail "$before_done events were done before, $seen after"
    if [ "$seen" -gt 0 ] && [ "$before_done" -gt 0 ] && [ "$queued" -gt 0 ]; then # nobody adds facts: queued now, queued then
        counted=$((counted + 1))
        by_kind[$kind]=$((${by_kind[$kind]-0} + 1))
        echo "kill of $kind: $before_done done, $queued queued"
    fi
    case $kind in
    master | all) start_host ;;
    esac
done
[ $counted -ge $kills ] || fail "wanted $kills kills in the middle, got $counted: the run was too short"

acc wait --quiet --timeout 300s || fail "wait ended with $?"
stop_host
dump >"$app/got" || fail "dump ended with $?"
cmp -s "$app/got" "$app/wanted" || { diff "$app/wanted" "$app/got" | head -n 10 >&2 && fail "not the closure"; }
for pair in "edge edge_extends_path" "path path_takes_edge"; do
    read -r kind lifecycle <<<"$pair"
    facts=$(grep -c "\"kind\":\"$kind\"" "$app/got")
    same "events of $lifecycle done" \
        "$(status "(function() for _, l in ipairs(status.lifecycles) do if l.name == '$lifecycle' then return l.done end end end)()")" "$facts"
    same "tally of $kind" "$(status "status.facts.$kind")" "$facts"
done
ok "$counted of $tried kills with work done and work queued: $(for k in "${!by_kind[@]}"; do printf '%s %s ' "${by_kind[$k]}" "$k"; done)$(wc -l <"$app/got") facts"
finish
