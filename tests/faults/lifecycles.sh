#!/bin/bash
# Lifecycles that raise, crash in C, or loop for ever: their events end as dead, everything else reaches the fixpoint.
. tests/host.sh "$@"

# Items 1..$1, and a lifecycle that finds one `out` for each; a bad lifecycle is read from stdin.
bad_app() # ITEMS [NATIVE C]
{
    new_app
    echo 'return { fields = { { "n", "int8" } } }' | tee "$app/kinds/item.lua" >"$app/kinds/out.lua"
    cat >"$app/kinds/mark.lua" <<'END'
return { fields = { { "n", "int8" } } }
END
    cat >"$app/lifecycles/good.lua" <<'END'
local M = { on = "item", finds = { "out" }, monotone = true }
function M.process_data(item, found) found.out(nil, item.n) end
return M
END
    cat >"$app/lifecycles/bad.lua"
    seq "$1" | sed 's/.*/{"n":&}/' >"$app/items"
    settings+=(--set queue.retry=10ms --set worker.count=2)
}

# Every item but the listed ones has its mark; all have their out.
all_but() # NUMBERS...
{
    same "facts of out" "$(sql "SELECT count(*) FROM fact_out")" "$(wc -l <"$app/items")"
    same "items without mark" "$(sql "SELECT string_agg(i.n::text, ' ' ORDER BY i.n) FROM fact_item i LEFT JOIN fact_mark m ON m.n = i.n WHERE m.n IS NULL")" "$*"
    same "dead items" "$(sql "SELECT string_agg(i.n::text, ' ' ORDER BY i.n) FROM parked p JOIN fact_item i ON i._id = p.fact WHERE p.state = 'dead'")" "$*"
    same "parked and not dead" "$(sql "SELECT count(*) FROM parked WHERE state <> 'dead'")" 0
    same packets "$(sql "SELECT count(*) FROM packet")" 0
    same "dead in status" "$(status status.queue.dead)" $#
    same "bad's events done" "$(sql "SELECT sum(early + late + empty + found) FROM tally_lifecycle t JOIN lifecycle l ON l.id = t.lifecycle WHERE l.name = 'bad'")" \
        $(($(wc -l <"$app/items") - $#))
}

# error and trace of the dead events, as status tells them.
dead_text() # FIELD
{
    status "(function() local t = {} for _, d in ipairs(status.dead) do t[#t + 1] = d.$1 end return table.concat(t, '\n') end)()"
}

check "an event whose callback raises is tried queue.attempts times, then dead with error, line and trace"
bad_app 500 <<'END'
local M = { on = "item", finds = { "mark" }, monotone = true }
local function deeper(n)
  if n % 100 == 7 then
    error("cannot take " .. n)
  end
end
function M.process_data(item, found)
  deeper(item.n)
  found.mark(nil, item.n)
end
return M
END
ingest item <"$app/items"
fixpoint -x 1 --set queue.attempts=4
all_but 7 107 207 307 407
same attempts "$(sql "SELECT string_agg(DISTINCT attempts::text, ' ') FROM parked")" 4
same "failed attempts" "$(sql "SELECT sum(failed) FROM tally_lifecycle")" 20
[[ $(dead_text error) == *"lifecycles/bad.lua:4: cannot take 7"* ]] || fail "error: $(dead_text error)"
[[ $(dead_text trace) == *"lifecycles/bad.lua:8: in function"* ]] || fail "trace: $(dead_text trace)"
same "times that grow" "$(sql "SELECT bool_and(last_at - first_at >= interval '70 ms') FROM parked")" t
acc dump --quiet >"$TMPDIR/dump" 2>/dev/null || true
ok

check "each callback may raise, with a table or text that is not UTF-8"
bad_app 60 <<'END'
local M = { on = "item", friends = { out = { { "n" } } }, finds = { "mark" }, monotone = true }
function M.load(_, item) if item.n == 1 then error("load") end return item end
function M.abort_early(item) if item.n == 2 then error("early") end return false end
function M.load_friends(db, item)
  local rows = db.out:where({ n = item.n })
  if item.n == 3 then error("before") end
  if item.n % 2 == 0 then rows:count() end
  if item.n == 4 then error("after") end
  return rows
end
function M.abort_late(item) if item.n == 5 then error("late") end return false end
function M.process_data(item, _, found)
  if item.n == 6 then error({ message = "a table" }) end
  if item.n == 8 then error("\255\254 no text \0 at all") end
  if item.n == 9 then error() end
  if item.n == 10 then local t = nil; return t.x end
  if item.n == 11 then error(("x"):rep(3000000)) end
  found.mark(nil, item.n)
  if item.n == 12 then error("after a find") end
end
return M
END
ingest item <"$app/items"
fixpoint -x 1
all_but 1 2 3 4 5 6 8 9 10 11 12
for word in "bad.lua:2: load" "bad.lua:3: early" "bad.lua:6: before" "bad.lua:8: after" "bad.lua:11: late" "a table" " no text " \
    "bad.lua:16: attempt to index local 't'" "bad.lua:19: after a find"; do
    [[ $(sql "SELECT string_agg(error, E'\n') FROM parked") == *"$word"* ]] || fail "no error says \"$word\": $(sql "SELECT left(error, 100) FROM parked")"
done
same "long errors are cut" "$(sql "SELECT max(length(error)) < 100000 AND max(length(trace)) < 100000 FROM parked")" t
ok

check "an event that succeeds at its second try leaves nothing"
bad_app 50 <<'END'
local M = { on = "item", friends = { out = { { "n" } } }, finds = { "mark" }, monotone = true }
function M.load_friends(db, item) return db.out:where({ n = item.n }) end
function M.process_data(item, out, found)
  if #out == 0 then error("too early") end
  found.mark(nil, item.n)
end
return M
END
ingest item <"$app/items"
fixpoint --set queue.attempts=20 --set queue.shuffle_seed=5
same parked "$(sql "SELECT count(*) FROM parked")" 0
all_but
ok "$(sql "SELECT sum(failed) FROM tally_lifecycle") failed tries"

native()
{
    mkdir -p "$app/native"
    sed -i "s/load(\"break\")/load(\"${app##*/}\")/" "$app/lifecycles/bad.lua"
    cat >"$app/native/${app##*/}.h" <<'END'
/* ffi:begin */
void break_write(int64_t n);
void break_loop(int64_t n);
void break_exit(int64_t n);
/* ffi:end */
END
    cat >"$app/native/${app##*/}.c" <<'END'
#include <stdint.h>
#include <stdlib.h>
static volatile int *nowhere;
void break_write(int64_t n) { *nowhere = (int)n; }
void break_loop(int64_t n) { for (volatile int64_t i = 0; n >= 0; i++) { } }
void break_exit(int64_t n) { _Exit((int)n); }
END
}

check "an event that writes to NULL in C kills its worker, then is dead"
bad_app 1000 <<'END'
local C = require("accrete.native").load("break")
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found)
  if item.n == 300 or item.n == 700 then C.break_write(item.n) end
  found.mark(nil, item.n)
end
return M
END
native
ingest item <"$app/items"
start=$SECONDS
fixpoint -x 1
all_but 300 700
[[ $(dead_text error) == *"signal 11"* || $(dead_text error) == *"exit code 1"* ]] || # with sanitizers it ends by itself
    fail "error: $(dead_text error)"
same attempts "$(sql "SELECT string_agg(DISTINCT attempts::text, ' ') FROM parked")" 3
ok "$((SECONDS - start)) s"

check "twelve crashing events among others end one by one"
bad_app 3000 <<'END'
local C = require("accrete.native").load("break")
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found)
  if item.n % 250 == 0 then C.break_exit(7) end
  found.mark(nil, item.n)
end
return M
END
native
ingest item <"$app/items"
start=$SECONDS
fixpoint -x 1
all_but $(seq 250 250 3000)
[[ $(dead_text error) == *"exit code 7"* ]] || fail "error: $(dead_text error)"
ok "$((SECONDS - start)) s"

check "an event that ends the process is dead, whatever the exit code"
bad_app 100 <<'END'
local C = require("accrete.native").load("break")
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found)
  if item.n == 30 then C.break_exit(0) end
  if item.n == 31 then C.break_exit(1) end
  if item.n == 32 then C.break_exit(75) end
  found.mark(nil, item.n)
end
return M
END
native
ingest item <"$app/items"
deadline_s=30 fixpoint -x 1
all_but 30 31 32
ok

check "a loop without end in compiled Lua is stopped from outside"
bad_app 200 <<'END'
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found)
  local i = 0
  while item.n == 77 do i = i + 1 end
  found.mark(nil, item.n)
end
return M
END
ingest item <"$app/items"
fixpoint -x 1 --set worker.stuck=300ms --set queue.attempts=2
all_but 77
[[ $(dead_text error) == *"stood still for"*"worker.stuck"* ]] || fail "error: $(dead_text error)"
ok

check "a loop without end in C is stopped from outside"
bad_app 200 <<'END'
local C = require("accrete.native").load("break")
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.load_friends(_, item)
  if item.n == 78 then C.break_loop(item.n) end
end
function M.process_data(item, found)
  found.mark(nil, item.n)
end
return M
END
native
ingest item <"$app/items"
fixpoint -x 1 --set worker.stuck=300ms --set queue.attempts=2
all_but 78
ok

check "a priority function that raises or crashes costs no event"
bad_app 20 <<'END'
local M = { on = "mark", finds = {}, monotone = true }
function M.priority(mark) if mark.n == 3 then error("no priority") end return mark.n end
function M.process_data() end
return M
END
cat >"$app/lifecycles/marks.lua" <<'END'
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.process_data(item, found) found.mark(nil, item.n) end
return M
END
ingest item <"$app/items"
fixpoint
same "events of bad" "$(sql "SELECT sum(empty) FROM tally_lifecycle t JOIN lifecycle l ON l.id = t.lifecycle WHERE l.name = 'bad'")" 20
ok

check "a query that the database refuses parks its event alone, division by zero too"
bad_app 40 <<'END'
local M = { on = "item", finds = { "mark" }, monotone = true }
function M.load_friends(db, item)
  if item.n == 11 then db:query("SELECT no_such_column FROM fact_item") end
  if item.n == 12 then db:query("SELECT 1 / 0") end
  if item.n == 13 then db:query("INSERT INTO fact_out SELECT * FROM fact_out") end
end
function M.process_data(item, found) found.mark(nil, item.n) end
return M
END
ingest item <"$app/items"
deadline_s=20 fixpoint -x 1
all_but 11 12 13
ok

check "a query cannot write, in a lifecycle that reads inside its transaction either"
bad_app 10 <<'END'
local M = { on = "item", finds = { "mark" } }
function M.load_friends(db, item)
  if item.n == 4 then db:query("DELETE FROM tally_kind RETURNING 1") end
  if item.n == 5 then db:query("COMMIT") end
  if item.n == 6 then db:query("SELECT 1 / 0") end
end
function M.process_data(item, found) found.mark(nil, item.n) end
return M
END
ingest item <"$app/items"
deadline_s=20 fixpoint -x 1
all_but 4 5 6
ok
finish
