--- What a call takes, measured: accrete lua examples/tools/bench.lua
--- Shows a median with its interval, two ways compared, and a table of results.
local bench = require("accrete.bench")

-- Two ways to join words. Calls are counted so that a run lasts 5 ms; 30 runs; the median per call.
local words = {}
for i = 1, 200 do
  words[i] = ("word%d"):format(i)
end

local function one_by_one()
  local text = ""
  for _, word in ipairs(words) do
    text = text .. word
  end
  return text
end

local function all_at_once()
  return table.concat(words)
end

-- "cpu" is what this process computes, so that others on the machine disturb less; "wall", the default, for what waits.
local slow = bench.measure(one_by_one, { clock = "cpu" })
local fast = bench.measure(all_at_once, { clock = "cpu" })
print(bench.table { { "one by one", slow }, { "all at once", fast, slow } })

-- A difference counts when it is more than 5 % and the 95 % intervals of both medians do not touch.
local compared = bench.compare(slow, fast)
print(compared.is_beyond and compared.change < 0 and "table.concat is faster" or "no difference that counts")

-- The same figures of any list.
local list = { 3, 1, 4, 1, 5, 9, 2, 6, 5 }
print(bench.median(list), bench.quantile(list, 0.9), bench.interval(list))
