--- The example, run by priority, finds what the definition says.
local host = require("host")
local reference = require("reference")
local texts = require("texts")

local long = os.getenv("FOLD_LONG") == "1"
local seed = tonumber(os.getenv("FOLD_SEED") or 1)

local function same(text, settings, keep)
  local set = reference.by_definition(text, 2000)
  if not set then
    return 0
  end
  for line in pairs(set) do
    if keep and not keep(line:match("^[^\t]+")) then
      set[line] = nil
    end
  end
  local dump = host.dump(host.close({ host.book(text) }))
  local wanted, count = reference.dump(set)
  assert(dump == wanted, "the example and the definition differ: " .. host.book(text) .. " " .. settings)
  return count
end

host.load()
local orthos, count = 0, long and 20000 or 2000
for i = 1, count do
  math.randomseed(seed * 1000003 + i)
  orthos = orthos + same(texts.random(), "")
end
print(("ok: the example agrees with the definition on %d texts, %d orthos (seed %d)"):format(count, orthos, seed))

for most = 2, 4 do
  host.load({ max_phrase = tostring(most) })
  for i = 1, count / 10 do
    math.randomseed(seed * 1000003 + i)
    same(texts.random(), "max_phrase " .. most, function(dims) return tonumber(dims:match("^%d+")) < most end)
  end
  host.load({ max_dims = tostring(most) })
  for i = 1, count / 10 do
    math.randomseed(seed * 1000003 + i)
    same(texts.random(), "max_dims " .. most, function(dims) return select(2, dims:gsub(",", "")) < most end)
  end
end
print("ok: max_phrase and max_dims leave out what is longer and nothing else")

host.load()
local grids = {
  { 2, 2 }, { 3, 3 }, { 4, 5 }, { 7, 7 }, { 10, 10 }, { 3, 3, 3 }, { 4, 4, 4 }, { 3, 2, 2, 2 }, { 2, 2, 2, 2 },
  { 2, 2, 2, 2, 2, 2 },
}
if long then
  table.insert(grids, { 20, 20 })
  table.insert(grids, { 5, 5, 5 })
end
for _, sizes in ipairs(grids) do
  local facts = host.close({ host.book(texts.grid(sizes)) })
  assert(facts:count("ortho") == texts.grid_count(sizes), "grid " .. table.concat(sizes, "x"))
end
print(("ok: %d grid texts have as many orthos as they must"):format(#grids))
