#!/bin/bash
# Every found fact is found again by process_data from its recorded data and friends alone.
. tests/host.sh "$@"

again=$(dirname "$ACCRETE")/tests/whole_provenance

find_again()
{
    local options=() i

    for ((i = 1; i < ${#settings[@]}; i += 2)); do
        options+=("${settings[i]}")
    done
    said=$("$again" "$app" "${options[@]}" 2>&1) || fail "$said"
}

check "closure finds each path again from its edge or path and the one friend it names"
new_app examples/closure
luajit tests/order/graph.lua edges random 50 "$seed" | ingest edge
fixpoint --set worker.count=4 --set worker.batch_events=7
find_again
ok "$said"

check "a find that names too few friends is noticed"
new_app examples/closure
sed -i 's/found.path(edge, path.from/found.path(nil, path.from/' "$app/lifecycles/path_takes_edge.lua"
luajit tests/order/graph.lua edges random 10 "$seed" | ingest edge
fixpoint
[[ $(find_again 2>&1) == *"not found again by path_takes_edge: path"* ]] || fail "nothing is said of the missing friends"
ok

check "finds with several friends and with all rows of a look-up are found again"
new_app
echo 'return { fields = { { "n", "int8" } } }' | tee "$app/kinds/item.lua" >"$app/kinds/goal.lua"
echo 'return { fields = { { "n", "int8" }, { "total", "int8" } } }' | tee "$app/kinds/sum.lua" >"$app/kinds/one.lua"
cat >"$app/lifecycles/adds.lua" <<'END'
local M = { on = "goal", friends = { item = { { "n" }, {} } }, finds = { "sum", "one" }, monotone = true }
function M.load_friends(db, goal)
  return db.item:where({ n = db.any({ goal.n, goal.n + 1, goal.n + 2 }) }), db.item:where({})
end
function M.process_data(goal, items, all, found)
  local total, list = 0, {}
  for _, item in items:each() do
    total = total + item.n
    list[#list + 1] = item
  end
  found.sum(items, goal.n, total)
  if #list > 1 then found.sum(list, goal.n, -total) end
  for _, item in all:each() do
    if item.n == goal.n + 3 then found.one(item, goal.n, item.n) end
  end
end
return M
END
seq 40 | sed 's/.*/{"n":&}/' >"$app/numbers"
ingest item <"$app/numbers"
ingest goal <"$app/numbers"
fixpoint
find_again
ok "$said"

check "fold finds its phrases, pairs and orthos again"
new_app examples/fold
printf 'a b. c d. a c. b d. the cat sat. the dog sat. a cat ran. a dog ran. the cat ran. a dog sat. the dog ran. a b c d.' >"$app/a.txt"
acc ingest --quiet book "$app/a.txt"
fixpoint
find_again
ok "$said"
finish
