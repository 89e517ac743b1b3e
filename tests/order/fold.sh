#!/bin/bash
# Fold through the whole host: every scenario in every order of its books, batches, claim orders, workers, deliveries and deaths: one digest.
. tests/host.sh "$@"
export ACCRETE_HTTP__ENABLED=no # hundreds of hosts start, and nobody asks them

luajit tests/order/fold_cases.lua "$TMPDIR/cases"

digest()
{
    acc lua "$app/dump.lua" --out "$app/orthos"
}

per_dims()
{
    local got

    got=$(cut -f1 "$app/orthos" | LC_ALL=C sort | uniq -c | awk '{ print $2 "=" $1 }' | LC_ALL=C sort | paste -sd' ')
    echo "${got:-none}"
}

workers_gone()
{
    [ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'accrete' AND pid <> pg_backend_pid()")" = 0 ]
}

# One case: its books are posted one after the other, each when all is quiet.
run_case() # FOLDER [OPTION=VALUE]...
{
    local folder=$1 book got wanted options=() option

    shift
    for option in "$@"; do
        options+=(--set "$option")
    done
    mapfile -t wanted <"$folder/case"
    check "${wanted[0]} ${folder##*/} $*"
    new_app examples/fold
    settings+=("${options[@]}")
    for book in "$folder"/*.txt; do
        acc ingest --quiet book "$book"
        fixpoint
    done
    got=$(digest)
    same "orthos per dims" "$(per_dims)" "${wanted[1]}"
    [ "${wanted[2]}" = - ] || same digest "${got:0:16}" "${wanted[2]}"
    ok
}

# In the short form each case meets one of these ways, in the long form each meets all.
ways=(
    "worker.count=1"
    "worker.count=4"
    "worker.count=1 worker.batch_events=1"
    "worker.count=4 worker.batch_events=3 queue.packet_events=2"
    "worker.count=4 queue.shuffle_seed=$((seed + 1)) queue.packet_events=1"
    "worker.count=1 queue.shuffle_seed=$((seed + 2)) worker.batch_events=1 queue.packet_events=1"
    "worker.count=2 faults.redeliver=yes"
    "worker.count=2 worker.batch_finds=2"
)
turn=$((seed % ${#ways[@]}))
for folder in "$TMPDIR"/cases/*; do
    if [ $long = yes ]; then
        for way in "${ways[@]}"; do
            run_case "$folder" $way
        done
    else
        run_case "$folder" ${ways[turn % ${#ways[@]}]}
        turn=$((turn + 1))
    fi
done

# One event a process: nothing that a process remembers can matter.
check "one event per fresh process"
new_app examples/fold
settings+=(--set worker.count=1 --set worker.batches_max=1 --set worker.batch_events=1 --set queue.packet_events=1)
acc ingest --quiet book "$TMPDIR"/cases/001/1.txt "$TMPDIR"/cases/001/2.txt "$TMPDIR"/cases/001/3.txt
deadline_s=600 fixpoint
same digest "$(digest | cut -c1-16)" 0d4516ac1d41a132
ok

# Real texts: counts of the specification, and one digest for every way.
real() # FILE DIMS [OPTION=VALUE]...
{
    local file=$1 dims=$2 options=() option

    shift 2
    for option in "$@"; do
        options+=(--set "$option")
    done
    check "${file##*/} $*"
    new_app examples/fold
    settings+=("${options[@]}")
    acc ingest --quiet book "$file"
    fixpoint
    got=$(digest)
    same "orthos per dims" "$(per_dims)" "$dims"
    ok "$(wc -l <"$app/orthos") orthos"
}

artistic="1,1,1=5 1,1=337 2,1=56 3,1=6"
real /usr/share/common-licenses/BSD "1,1=31 2,1=3" worker.count=4 queue.shuffle_seed=$((seed + 3))
real /usr/share/common-licenses/Artistic "$artistic" worker.count=1
first=$got
real /usr/share/common-licenses/Artistic "$artistic" worker.count=4 queue.shuffle_seed=$((seed + 4)) queue.packet_events=50
same "digest of Artistic" "$got" "$first"

check "every packet delivered twice: repeats rise, the digest stays"
repeats_before=$(sql "SELECT sum(repeats) FROM tally_kind")
real /usr/share/common-licenses/Artistic "$artistic" worker.count=2 faults.redeliver=yes
same "digest of Artistic" "$got" "$first"
repeats=$(sql "SELECT sum(repeats) FROM tally_kind")
[ "$repeats" -gt "$repeats_before" ] || fail "repeats: wanted more than $repeats_before, got $repeats"

check "kill -9 of the host in the middle, and again"
new_app examples/fold
settings+=(--set worker.count=2 --set worker.batch_events=100)
acc ingest --quiet book /usr/share/common-licenses/Artistic
kills=0
for _ in 1 2 3 4 5 6; do
    start_host
    sleep "0.$((RANDOM % 3 + 1))"
    kill -KILL "$host"
    wait "$host" 2>/dev/null || true
    until_true workers_gone
    [ "$(sql "SELECT count(*) FROM packet")" = 0 ] || kills=$((kills + 1))
done
fixpoint
same "digest of Artistic" "$(digest)" "$first"
same "events done" "$(sql "SELECT sum(early + late + empty + found) FROM tally_lifecycle")" "$(sql "
    SELECT sum(n) FROM (SELECT (SELECT count(*) FROM lifecycle l WHERE l.kind = k.kind) * sum(new) AS n FROM tally_kind k GROUP BY kind) x")"
ok "$kills kills with work left"

finish
