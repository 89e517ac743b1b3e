--- After a run: how many orthos there are per dims, and the largest one as a block of words.
local db = require("accrete.db")
local fold = require("fold")

local conn = db.connect()
print("orthos per dims")
for row in conn:rows("SELECT dims, count(*) AS n FROM fact_ortho GROUP BY dims ORDER BY count(*) DESC, dims") do
  print(("  %-12s %8d"):format(row.dims, tonumber(row.n)))
end
local largest = conn:one([[SELECT axes, words, dims FROM fact_ortho
  ORDER BY array_length(string_to_array(words, ' '), 1) DESC, axes, words LIMIT 1]])
if largest then
  print(("\nthe largest, dims %s"):format(largest.dims))
  io.write(fold.draw(largest))
end
