--- How fast does `accrete ingest` load NDJSON of a kind without listeners, against the server's own binary COPY of the same rows, in the
--- same order, into a table with the same key?
local bench = require("bench")

local LINES = bench.is_long and 5000000 or 1000000
local shapes = {
  { name = "edge", line = function(i) return ('{"from":%d,"to":%d}\n'):format(math.random(0, 2 ^ 31), i) end, order = "to" },
  {
    name = "measure", order = "at",
    line = function(i)
      return ('{"at":%d,"source":"sensor-%d","name":"temperature.%08x","weight":%.6f,"note":"a \\"quoted\\" text of some length, \\u00e9, %d"}\n')
        :format(i, math.random(1000), math.random(0, 2 ^ 31), math.random() * 100, i)
    end,
  },
}

local host = bench.host("bench/apps/bulk")
local conn, runs, done = host.conn, bench.runs or 5, 0

--- Seconds of ingest and of COPY for the same fresh facts.
local function run(shape)
  local first = done * LINES
  done = done + 1
  local path = host.dir .. "/lines.ndjson"
  local file = assert(io.open(path, "w"))
  for i = first + 1, first + LINES do
    file:write(shape.line(i))
  end
  file:close()
  conn:run("CHECKPOINT")
  local start = bench.now()
  host:command("ingest", "--quiet", shape.name, path)
  local ingest = bench.now() - start
  os.remove(path)

  local raw = conn:value("SELECT current_setting('data_directory') || '/bench.raw'")
  local where = ('WHERE "%s" > %d'):format(shape.order, first)
  conn:run(("COPY (SELECT * FROM fact_%s %s ORDER BY \"%s\") TO '%s' (FORMAT binary)"):format(shape.name, where, shape.order, raw))
  conn:run(("CREATE TABLE IF NOT EXISTS raw_%s (LIKE fact_%s INCLUDING ALL)"):format(shape.name, shape.name))
  conn:run("CHECKPOINT")
  start = bench.now()
  conn:run(("COPY raw_%s FROM '%s' (FORMAT binary)"):format(shape.name, raw))
  local copy = bench.now() - start
  os.remove(raw)
  local count = conn:value(("SELECT count(*) FROM raw_%s %s"):format(shape.name, where))
  assert(tonumber(count) == LINES, ("%s facts are there, wanted %d"):format(tostring(count), LINES))
  bench.say("ingest: %s: %.2f s, COPY %.2f s", shape.name, ingest, copy)
  return ingest, copy
end

local result = {}
for _, shape in ipairs(shapes) do
  local rates, copies, ratios = {}, {}, {}
  for i = 1, runs do
    local ingest, copy = run(shape)
    rates[i], copies[i], ratios[i] = LINES / ingest, LINES / copy, copy / ingest
  end
  result[shape.name] = {
    rate = bench.round(bench.median(rates), 0), copy = bench.round(bench.median(copies), 0), ratio = bench.round(bench.median(ratios), 2),
    lowest = bench.round(bench.quantile(ratios, 0), 2),
  }
end
bench.print("ingest", {
  value = result.edge.rate, unit = "facts/s", runs = runs, target = 0.5, ratio = result.edge.ratio, ratio_to = "COPY",
  lines = LINES, edge = result.edge, measure = result.measure, conditions = host:conditions(),
})
host:stop()
