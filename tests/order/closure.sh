#!/bin/bash
# The same edges in any order, batches of any size, any number of workers: one fixpoint, that of tests/order/graph.lua.
. tests/host.sh "$@"
export ACCRETE_HTTP__ENABLED=no # hundreds of hosts start, and nobody asks them

# Starts an app with the edges of a graph. Sets wanted.
graph() # SHAPE SIZE
{
    new_app examples/closure
    luajit tests/order/graph.lua edges "$1" "$2" "$seed" >"$app/edges"
    luajit tests/order/graph.lua closure "$1" "$2" "$seed" | LC_ALL=C sort >"$app/wanted"
}

compare()
{
    dump >"$app/got" || fail "dump ended with $?"
    cmp -s "$app/got" "$app/wanted" || { diff "$app/wanted" "$app/got" | head -n 10 >&2 && fail "not the closure"; }
}

# All at once, then a run with these settings.
whole() # SHAPE SIZE [OPTION=VALUE]...
{
    local options=() option

    check "closure of $*"
    graph "$1" "$2"
    shift 2
    for option in "$@"; do
        options+=(--set "$option")
    done
    settings+=("${options[@]}")
    ingest edge <"$app/edges"
    fixpoint
    compare
    exactly_once
    ok "$(wc -l <"$app/got") facts"
}

# Every fact was an event of its one lifecycle, and was done once.
exactly_once()
{
    same "events done and facts" "$(sql "
        SELECT string_agg(l.name || ' ' || t.done, ', ' ORDER BY l.name) FROM lifecycle l
        JOIN (SELECT lifecycle, sum(early + late + empty + found) AS done FROM tally_lifecycle GROUP BY 1) t ON t.lifecycle = l.id")" \
        "$(sql "SELECT 'edge_extends_path ' || (SELECT count(*) FROM fact_edge) || ', path_takes_edge ' || (SELECT count(*) FROM fact_path)")"
    same "tallied and stored facts" "$(sql "SELECT sum(new) FROM tally_kind")" \
        "$(sql "SELECT (SELECT count(*) FROM fact_edge) + (SELECT count(*) FROM fact_path)")"
}

seeds=($((seed % 1000000 + 1)) $((seed % 777777 + 2)))
for shape in "random 60" "dense 20" "chain 60" "grid 6" "loops 30" "cycle 40" "wide 30"; do
    whole $shape worker.count=1
    whole $shape worker.count=4 worker.batch_events=3 "queue.shuffle_seed=${seeds[0]}"
done
for batch in 1 3 1000; do
    for workers in 1 4; do
        for shuffle in 0 "${seeds[@]}"; do
            whole random 40 worker.count=$workers worker.batch_events=$batch "queue.shuffle_seed=$shuffle" queue.packet_events=7
        done
    done
done
# A turn that ends in the middle of a packet, and an event whose finds fill several transactions.
whole dense 25 worker.count=2 worker.batch_finds=10
whole dense 25 worker.count=2 worker.batch_friends=15
whole random 60 worker.count=2 worker.seen=0
whole random 60 worker.count=3 worker.batches_max=3 queue.buckets=4
if [ $long = yes ]; then
    for i in $(seq 40); do
        whole random $((RANDOM % 150 + 10)) worker.count=$((RANDOM % 6 + 1)) worker.batch_events=$((RANDOM % 50 + 1)) \
            queue.shuffle_seed=$((RANDOM + 1)) queue.packet_events=$((RANDOM % 100 + 1)) worker.batch_finds=$((RANDOM % 500 + 5))
    done
    whole random 400 worker.count=4
    whole grid 20 worker.count=4
    whole chain 300 worker.count=4 queue.shuffle_seed=7
fi

# Parts that come one after the other while the host works.
while_running() # WORKERS [OPTION=VALUE]...
{
    local part option workers=$1

    check "edges in parts while $* work"
    graph random 80
    shift
    for option in "$@"; do
        settings+=(--set "$option")
    done
    head -n 1 "$app/edges" | ingest edge
    start_host --workers "$workers"
    split -n l/8 "$app/edges" "$app/part."
    for part in "$app"/part.*; do
        ingest edge <"$part" &
        [ $((RANDOM % 2)) = 0 ] || wait $!
    done
    for part in $(jobs -p); do
        [ "$part" = "$host" ] || wait "$part" || fail "an ingest ended with $?"
    done
    acc wait --quiet --timeout 60s || fail "wait ended with $?"
    stop_host
    compare
    exactly_once
    ok
}

while_running 1 worker.batch_events=3
while_running 4 "queue.shuffle_seed=${seeds[0]}"
while_running 4

# Every packet twice: repeats rise, nothing else changes.
redelivered() # [OPTION=VALUE]...
{
    local option once twice

    check "every packet twice $*"
    graph random 60
    settings+=(--set worker.count=2)
    for option in "$@"; do
        settings+=(--set "$option")
    done
    ingest edge <"$app/edges"
    cp "$app/edges" "$TMPDIR/once"
    fixpoint
    compare
    once=$(sql "SELECT sum(repeats) FROM tally_kind WHERE lifecycle > 0")
    graph random 60
    settings+=(--set worker.count=2 --set faults.redeliver=yes)
    for option in "$@"; do
        settings+=(--set "$option")
    done
    ingest edge <"$app/edges"
    fixpoint
    compare
    exactly_once
    twice=$(sql "SELECT sum(repeats) FROM tally_kind WHERE lifecycle > 0")
    [ "$twice" -gt "$once" ] || fail "wanted more than $once repeats, got $twice"
    ok "$once repeats, then $twice"
}

redelivered
redelivered "queue.shuffle_seed=${seeds[1]}" queue.packet_events=5
redelivered worker.batch_finds=20
redelivered worker.batch_friends=30

# The private cluster gives the same.
check "the private cluster finds the same"
checksum_there=$(checksum)
own_cluster=yes graph random 60
ingest edge <"$app/edges"
fixpoint
compare
same checksum "$(checksum)" "$checksum_there"
ok
finish
