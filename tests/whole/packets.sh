#!/bin/bash
# Packets that lie in the queue while an app changes: their events are done all the same, each once.
. tests/host.sh "$@"

check "a field added while packets wait"
new_app
cat >"$app/kinds/item.lua" <<'END'
return { fields = { { "n", "int8" }, { "name", "text" } }, unique = { "n" } }
END
cat >"$app/kinds/out.lua" <<'END'
return { fields = { { "n", "int8" }, { "text", "text" } } }
END
cat >"$app/lifecycles/copies.lua" <<'END'
local M = { on = "item", finds = { "out" }, monotone = true }

function M.process_data(item, found)
  found.out(nil, item.n, item.name)
end

return M
END
seq 1 2500 | awk '{ printf "{\"n\":%d,\"name\":\"name %d\"}\n", $1, $1 }' | ingest item
cat >"$app/kinds/item.lua" <<'END'
return { fields = { { "n", "int8" }, { "name", "text" } }, nullable = { { "extra", "float8" }, { "note", "text" } }, unique = { "n" } }
END
fixpoint
same "facts found" "$(sql "SELECT count(*), count(DISTINCT n), min(text), max(length(text)) FROM fact_out")" "2500|2500|name 1|9"
same "events done" "$(sql "SELECT sum(found) FROM tally_lifecycle")" 2500
ok

check "facts too large for a packet travel by their id, a few at a time"
new_app
cat >"$app/kinds/page.lua" <<'END'
return { fields = { { "n", "int8" }, { "body", "text" } }, unique = { "n" } }
END
cat >"$app/kinds/size.lua" <<'END'
return { fields = { { "n", "int8" }, { "bytes", "int8" } } }
END
cat >"$app/lifecycles/measures.lua" <<'END'
local M = { on = "page", finds = { "size" }, monotone = true }

function M.process_data(page, found)
  found.size(nil, page.n, #page.body)
end

return M
END
luajit -e 'for n = 1, 40 do print(("{\"n\":%d,\"body\":%q}"):format(n, ("x"):rep(100000 + n))) end' | ingest page
same "packets hold few of them" "$(sql "SELECT max(n) <= 3 FROM packet")" t
fixpoint
same "sizes" "$(sql "SELECT count(*), sum(bytes) FROM fact_size")" "40|4000820"
ok
finish
