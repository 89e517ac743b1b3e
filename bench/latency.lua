--- How long from the commit of one new edge to the fixpoint, among 500,000 facts, with 400 consequences over 20 dependent steps?
---
--- Each part of the graph is a star of 19 nodes around a, and a chain of 20 nodes from b. The edge a-b gives 20 paths that end at b,
--- then 20 more for each further node of the chain, one after the other: 400 paths in 20 steps.
local bench = require("bench")

local STAR, CHAIN = 19, 20
local FACTS_OF_PART = 2 * STAR + (CHAIN - 1) + CHAIN * (CHAIN - 1) / 2
local PARTS = math.ceil(500000 / FACTS_OF_PART)
local NODES = STAR + 1 + CHAIN

local function edges_of(part)
  local base, list = part * NODES, {}
  local a, b = base + STAR, base + STAR + 1
  for i = 0, STAR - 1 do
    list[#list + 1] = { base + i, a }
  end
  for i = 0, CHAIN - 2 do
    list[#list + 1] = { b + i, b + i + 1 }
  end
  return list, { a, b }
end

local host = bench.host("examples/closure")
local part, queue = -1, {}
bench.say("latency: making %d facts", PARTS * FACTS_OF_PART)
local start = bench.now()
host:ingest("edge", { "from", "to" }, function()
  if #queue == 0 then
    part = part + 1
    if part == PARTS then
      return nil
    end
    queue = edges_of(part)
  end
  return table.remove(queue)
end)
host:wait(start)
local facts = host:count("edge") + host:count("path")
assert(facts == PARTS * FACTS_OF_PART, ("the graph has %d facts, wanted %d"):format(facts, PARTS * FACTS_OF_PART))

-- Between two looks less than the time of one step passes, so that neither begin nor end is missed.
local is_queued = host.conn:prepare("SELECT EXISTS (SELECT FROM packet)")
local batches = host.conn:prepare("SELECT count(*) FROM batch WHERE lifecycle <> 0")
local samples, steps = {}, {}
local many = bench.runs or 200
for i = 1, many do
  local _, edge = edges_of(i)
  local paths, done = host:count("path"), batches:value()
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(("from,to\n%d,%d\n"):format(edge[1], edge[2]))
  file:close()
  local ingest = io.popen(("'%s' ingest --app '%s/examples/closure' --set 'data.dir=%s' --quiet --format csv edge '%s'"):format(
    os.getenv("ACCRETE"), bench.root, host.dir, path))
  local before = bench.now()
  while true do -- the last look that saw nothing is before the commit: what is measured is not too short
    local look = bench.now()
    if is_queued:value() then
      break
    end
    before = look
    bench.sleep(0.0002)
  end
  while is_queued:value() do
    bench.sleep(0.0002)
  end
  samples[i] = (bench.now() - before) * 1000
  ingest:close()
  os.remove(path)
  steps[i] = batches:value() - done
  local found = host:count("path") - paths
  assert(found == (STAR + 1) * CHAIN, ("edge %d has %d consequences"):format(i, found))
  assert(steps[i] >= CHAIN, ("edge %d took %d batches"):format(i, steps[i]))
end
bench.print("latency", {
  value = bench.round(bench.median(samples), 2), unit = "ms", p50 = bench.round(bench.median(samples), 2),
  p90 = bench.round(bench.quantile(samples, 0.9), 2), p99 = bench.round(bench.quantile(samples, 0.99), 2), runs = many, target = 20,
  ratio = bench.round(bench.median(samples) / 20, 2), ratio_to = "target", facts = facts, consequences = (STAR + 1) * CHAIN,
  batches = bench.median(steps), conditions = host:conditions(),
})
host:stop()
