--- accrete lua show.lua [DIMS]
--- Prints how many orthos there are of each dims, and the largest one drawn as a block of words; with DIMS (say 2,2)
--- the first one of these.
local db = require("accrete.db")
local ortho = require("ortho")

local wanted = arg[1]
if arg[2] or (wanted and not wanted:find("^%d+[%d, ]*$")) then
  io.stderr:write("usage: accrete lua show.lua [DIMS]     as in show.lua 2,1\n")
  os.exit(2)
end
wanted = wanted and ortho.dims(wanted)

local conn = db.connect()
local counts, largest = {}, nil
for row in conn:rows("SELECT dims, count(*)::int8 AS count FROM fact_ortho GROUP BY dims") do
  counts[#counts + 1] = row
end
table.sort(counts, function(a, b)
  local size_a, size_b = ortho.size(a.dims), ortho.size(b.dims)
  if size_a ~= size_b then
    return size_a < size_b
  end
  return a.dims < b.dims
end)
for _, row in ipairs(counts) do
  print(("%-16s %9d"):format(row.dims, row.count))
  if not wanted or wanted == row.dims then
    largest = row.dims
  end
end
if not largest then
  print(wanted and "no ortho of dims " .. wanted or "no orthos")
  return
end

local first = conn:one([[
  SELECT dims, axes, words FROM fact_ortho WHERE dims = $1
   ORDER BY axes COLLATE "C", words COLLATE "C" LIMIT 1]], largest)
print(("\n%s, %d words:\n"):format(first.dims, ortho.size(first.dims)))
io.write(ortho.draw(first))
