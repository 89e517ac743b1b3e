--- A bounded cache by itself: accrete lua examples/tools/ram.lua
--- Shows a cache bounded by entries, one bounded by bytes, and how to see whether it pays.
local ram = require("accrete.ram")

-- At most 1,000 entries; what was not used for longest goes first. fetch makes what is not there.
local squares = ram.cache { entries = 1000 }
math.randomseed(42)
for _ = 1, 100000 do
  local n = math.floor(math.random() ^ 4 * 10000) -- small numbers are asked for more often
  assert(squares:fetch(n, function(key) return key * key end) == n * n)
end
local stats = squares:stats()
print(("%d entries, %.1f %% hits, %d forgotten"):format(stats.entries,
  100 * stats.hits / (stats.hits + stats.misses), stats.evicted))

-- About 64 KiB, whatever the values are. Strings are weighed by their length; for tables say what they cost.
local pages = ram.cache { bytes = 64 * 1024 }
for i = 1, 1000 do
  pages:set("page " .. i, ("x"):rep(i))
end
pages:set("a table", { 1, 2, 3 }, 200)
print(pages:has("page 1"), pages:has("page 1000"), pages:get("a table")[3], pages:stats().bytes .. " bytes")

-- Forget one, forget all.
pages:set("a table", nil)
pages:clear()
print(pages:stats().entries)
