--- How many events a second does a lifecycle without friends do, whose every event finds exactly one new fact?
local bench = require("bench")

local CHAINS, LAST = 20000, 50

local function once()
  local host = bench.host("bench/apps/chain", { ["settings.last"] = LAST })
  local before = host:cpu()
  local start = bench.now()
  local chain = 0
  host:ingest("step", { "chain", "n" }, function()
    chain = chain + 1
    return chain <= CHAINS and { chain, 1 } or nil
  end)
  local took = host:wait(start)
  local after = host:cpu()
  assert(host:count("step") == CHAINS * LAST, "steps are missing")
  local result = { rate = CHAINS * LAST / took, workers = after.workers - before.workers, server = after.server - before.server,
    conditions = host:conditions(), mib = host:worker_mib() }

  -- The ceiling of the same run: the facts alone, sorted, one statement a thousand, on one connection.
  local conn = host.conn
  conn:run([[CREATE TABLE ceiling (LIKE fact_step INCLUDING INDEXES);
    SET default_transaction_isolation = serializable; SET synchronous_commit = off]])
  conn:run("CREATE TEMPORARY TABLE source AS SELECT *, row_number() OVER (ORDER BY n, chain) / 1000 AS part FROM fact_step")
  conn:run("CREATE INDEX ON source (part); ANALYZE source")
  local insert = conn:prepare("INSERT INTO ceiling SELECT _id, chain, n, _batch, _data, _friends FROM source WHERE part = $1::int8 ORDER BY _id")
  start = bench.now()
  for part = 0, CHAINS * LAST / 1000 do
    insert:query(part)
  end
  result.ceiling = CHAINS * LAST / (bench.now() - start)
  host:stop()
  return result
end

local runs = bench.runs or 5
local rates, ratios, ceilings, cpu, conditions, memory = {}, {}, {}, {}, nil, {}
for i = 1, runs do
  local r = once()
  rates[i], ceilings[i], ratios[i], memory[i] = r.rate, r.ceiling, r.rate / r.ceiling, r.mib
  cpu[i] = (r.workers + r.server) / (CHAINS * LAST) * 1e6
  conditions = r.conditions
  bench.say("chain %d/%d: %.0f events/s, plain inserts %.0f/s, workers %.2f s, server %.2f s", i, runs, r.rate, r.ceiling, r.workers, r.server)
end
bench.print("chain", {
  value = math.floor(bench.median(rates)), unit = "events/s", runs = runs, target = 100000, events = CHAINS * LAST,
  ceiling = "plain INSERT of the same facts, one connection, rows/s", ceiling_value = math.floor(bench.median(ceilings)),
  ratio = bench.round(bench.median(ratios), 2), cpu_us_per_event = bench.round(bench.median(cpu), 2),
  worker_mib = bench.median(memory), conditions = conditions,
})
