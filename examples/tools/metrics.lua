--- Measuring by itself: accrete lua examples/tools/metrics.lua
--- Shows a counter with labels, a gauge, a histogram with quantiles, and the text that a scraper reads. In a host
--- (a lifecycle, a route) the same lines count into what /metrics shows of the whole host.
local metrics = require("accrete.metrics")

-- What is counted, and by what. The unit ends the name; _total is added when it is shown.
local letters = metrics.counter("letters_sent", "Letters sent", { "country", "outcome" })
local waiting = metrics.gauge("letters_waiting", "Letters waiting to be sent")
local seconds = metrics.histogram("letter_seconds", "Time to write a letter")

waiting:set(1000)
math.randomseed(42)
for i = 1, 1000 do
  local country, outcome = i % 3 == 0 and "France" or "Ghana", i % 50 == 0 and "returned" or "arrived"
  letters:add(1, country, outcome)
  waiting:add(-1)
  seconds:observe(-0.05 * math.log(1 - math.random())) -- a letter takes 50 ms on average, some take long
end
print(("France: %d arrived, %d returned"):format(letters:value("France", "arrived"),
  letters:value("France", "returned")))

-- Quantiles are true within 12 %, however many values there were.
print(("half within %.0f ms, 99 %% within %.0f ms"):format(1000 * seconds:quantile(0.5), 1000 * seconds:quantile(0.99)))

-- Time a function; what it returns comes back.
local sorted = metrics.histogram("sort_seconds", "Time to sort", { "size" })
local first = sorted:time(function()
  local list = {}
  for i = 1, 10000 do
    list[i] = math.random()
  end
  table.sort(list)
  return list[1]
end, 10000)
print(first < 0.01, sorted:count(10000) .. " sorted")

-- In a loop, find the series once: then adding costs about 10 ns.
local ghana = letters:with("Ghana", "arrived")
local started = metrics.now()
for _ = 1, 1000000 do
  ghana:add(1)
end
print(metrics.now() - started < 1)

-- What Prometheus and its kin read.
print(metrics.render())

-- A registry of its own, for a part of a program or a test.
local own = metrics.new(10)
own:counter("steps", "Steps done"):add(3)
io.write(own:render())
