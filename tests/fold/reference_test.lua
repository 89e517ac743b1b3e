--- Both forms of the definition agree: closed under the three rules, and arrays by their lines and blocks.
local reference = require("reference")
local texts = require("texts")

local long = os.getenv("FOLD_LONG") == "1"
local seed = tonumber(os.getenv("FOLD_SEED") or 1)
local compared, orthos, deep = 0, 0, 0

for i = 1, long and 3000 or 250 do
  math.randomseed(seed * 1000003 + i)
  local text = texts.random()
  local a = reference.by_definition(text, 150)
  if a then
    local b = reference.by_rules(text, 1000)
    local dump_a, count = reference.dump(a)
    local dump_b = b and reference.dump(b)
    assert(dump_a == dump_b, ("text %d of seed %d: the forms differ"):format(i, seed))
    compared, orthos = compared + 1, orthos + count
    deep = deep + (dump_a:find("[2-9],1,1\t") and 1 or 0)
  end
end
assert(deep > 0, "no text had a long block of three axes")
print(("ok: two oracles agree on %d texts, %d orthos (seed %d)"):format(compared, orthos, seed))

for _, sizes in ipairs({ { 2, 2 }, { 3, 3 }, { 4, 5 }, { 2, 2, 2, 2 }, { 3, 3, 3 }, { 3, 2, 2, 2 } }) do
  local _, count = reference.dump(reference.by_definition(texts.grid(sizes), 1000))
  assert(count == texts.grid_count(sizes), "grid " .. table.concat(sizes, "x"))
end
print("ok: the definition gives the numbers of the grid texts")
