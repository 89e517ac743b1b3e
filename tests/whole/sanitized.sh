#!/bin/bash
# The whole way under ASan, LSan and UBSan: ingest, batches, look-ups, finds, mirrors, parking, reload, dump.
# tests: dev
ACCRETE=$PWD/build/dev/accrete
. tests/host.sh "$@"
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

no_reports()
{
    local report

    report=$(grep -hE -A12 "ERROR: (Address|Leak)Sanitizer|runtime error:" "$app"/host.log "$app"/err | head -40 || true)
    [ -z "$report" ] || fail "a sanitizer complained: $report"
}

check "closure, with a reload in the middle"
new_app examples/closure
settings+=(--set worker.count=2 --set worker.batch_finds=200)
start_host
luajit tests/order/graph.lua edges random 60 "$seed" | acc ingest --quiet edge - 2>>"$app/err"
printf '\n-- changed\n' >>"$app/lifecycles/path_takes_edge.lua"
acc reload 2>>"$app/err"
acc wait --quiet 2>>"$app/err"
luajit tests/order/graph.lua closure random 60 "$seed" | LC_ALL=C sort >"$app/wanted"
acc dump --quiet 2>>"$app/err" | cmp - "$app/wanted" || fail "not the closure"
acc status >/dev/null 2>>"$app/err"
acc graph --json >/dev/null 2>>"$app/err"
acc facts path --limit 5 >/dev/null 2>>"$app/err"
stop_host
no_reports
ok

check "fold over a real text"
new_app examples/fold
acc ingest --quiet book /usr/share/common-licenses/BSD 2>>"$app/err"
fixpoint
same "orthos" "$(acc count ortho 2>>"$app/err")" 34
no_reports
ok

check "an event that fails"
new_app
echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/item.lua"
cat >"$app/lifecycles/fails.lua" <<'END'
local M = { on = "item", finds = { "item" }, monotone = true }

function M.process_data(item, found)
  if item.n == 3 then error("three") end
  if item.n < 10 then found.item(nil, item.n + 20) end
end

return M
END
seq 1 5 | sed 's/.*/{"n":&}/' | acc ingest --quiet item - 2>>"$app/err"
fixpoint -x 1 --set queue.attempts=2 --set queue.retry=10ms
same "dead" "$(status status.queue.dead)" 1
no_reports
ok
finish
