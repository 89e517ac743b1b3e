#!/bin/bash
# An app of 200 kinds and 398 lifecycles: all of them run, and show over HTTP; one kind too many is refused with the number.
. tests/host.sh "$@"
. tests/api/api.sh

kinds_of() # N: kinds k1..kN of a number each
{
    local i

    for ((i = 1; i <= $1; i++)); do
        echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/k$i.lua"
    done
}

# Fact n of k1 becomes n + 1 and n + 2 in k2, and so on: k200 has as many facts as there are sums of 199 ones and twos.
check "200 kinds and 398 lifecycles reach their fixpoint"
new_app
kinds_of 200
for ((i = 1; i < 200; i++)); do
    for more in 1 2; do
        cat >"$app/lifecycles/from${i}_by$more.lua" <<LUA
return {
  on = "k$i", finds = { "k$((i + 1))" }, monotone = true,
  process_data = function(k, found) found.k$((i + 1))(nil, k.n + $more) end,
}
LUA
    done
done
start_api
echo '{"n":0}' | ingest k1
acc wait --quiet --timeout 120s || fail "wait ended with $?"
same "facts of k200" "$(acc count k200)" 200
same "facts of k1" "$(acc count k1)" 1
ok

check "each of them shows over HTTP"
shows() { get /lifecycles && [ "$(answer "(function() local done = 0 for _, l in ipairs(a) do done = done + l.done end return #a .. ' ' .. done end)()")" = "398 39800" ]; }
until_true shows
get /graph
same "lifecycles in the graph" "$(answer '#a.lifecycles')" 398
get /kinds
same "kinds" "$(answer '#a')" 200
sampled() { get '/series?name=events_done&lifecycle=from199_by2' && [ "$(answer '#a.series.events_done > 0')" = true ]; }
until_true sampled
get /metrics
same "metrics of the last one" "$(grep -c '^accrete_events_done_total{.*from199_by2' "$TMPDIR/answer")" 4
stop_host
ok

check "257 kinds are refused"
new_app
kinds_of 257
acc check >"$TMPDIR/out" 2>&1 && fail "it was taken"
grep -q 'more than 256 kinds in one app' "$TMPDIR/out" || fail "it said $(cat "$TMPDIR/out")"
ok

check "1025 lifecycles are refused"
new_app
kinds_of 1
for ((i = 1; i <= 1025; i++)); do
    echo 'return { on = "k1", process_data = function() end }' >"$app/lifecycles/l$i.lua"
done
acc check >"$TMPDIR/out" 2>&1 && fail "it was taken"
grep -q 'lifecycles/ has 1025 modules, wanted at most 1024' "$TMPDIR/out" || fail "it said $(cat "$TMPDIR/out")"
ok
finish
