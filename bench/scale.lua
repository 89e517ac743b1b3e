--- Does an event cost the same among many facts as among few? Short: 10^6 against 10^5; --long: 10^7 against 10^5.
local bench = require("bench")

local CHAINS = 10000
local MOST = bench.is_long and 1e7 or 1e6
local LAST = MOST / CHAINS

local function once()
  local host = bench.host("bench/apps/chain", { ["settings.last"] = LAST * 1.2 })
  local tally = host.conn:prepare("SELECT coalesce(sum(new), 0)::int8 FROM tally_kind")
  local chain = 0
  host:ingest("step", { "chain", "n" }, function()
    chain = chain + 1
    return chain <= CHAINS and { chain, 1 } or nil
  end)

  --- Time and CPU an event between two numbers of facts. Asking for the CPU takes a while, so it has events of its own.
  local function window(from, to)
    while tally:value() < from do
      bench.sleep(0.002)
    end
    local cpu, cpu_facts = host:cpu(), tally:value()
    local facts, at = cpu_facts, bench.now()
    while tally:value() < to do
      bench.sleep(0.002)
    end
    local took = bench.now() - at
    local now, now_facts = host:cpu(), tally:value()
    return took / (to - facts) * 1e6, (now.workers + now.server - cpu.workers - cpu.server) / (now_facts - cpu_facts) * 1e6
  end

  local result = {}
  result.few, result.few_cpu = window(4e4, 1.6e5)
  result.many, result.many_cpu = window(MOST, MOST * 1.1)
  result.mib = host:worker_mib()
  result.conditions = host:conditions()
  host:stop()
  return result
end

local runs = bench.runs or (bench.is_long and 1 or 3)
local few, many, cpu_few, cpu_many, ratios, cpu_ratios, conditions, memory = {}, {}, {}, {}, {}, {}, nil, {}
for i = 1, runs do
  local r = once()
  few[i], many[i], cpu_few[i], cpu_many[i], memory[i] = r.few, r.many, r.few_cpu, r.many_cpu, r.mib
  ratios[i], cpu_ratios[i] = r.many / r.few, r.many_cpu / r.few_cpu
  conditions = r.conditions
  bench.say("scale %d/%d: %.2f us an event at 10^5 facts, %.2f at %g; CPU %.2f and %.2f us", i, runs, r.few, r.many, MOST, r.few_cpu, r.many_cpu)
end
bench.print(bench.is_long and "scale_long" or "scale", {
  value = bench.round(bench.median(many), 2), unit = "us/event", runs = runs, facts = MOST, peer = "the same at 10^5 facts",
  peer_value = bench.round(bench.median(few), 2), ratio = bench.round(bench.median(ratios), 2), target_ratio = 1.3,
  cpu_us_per_event = { few = bench.round(bench.median(cpu_few), 2), many = bench.round(bench.median(cpu_many), 2) },
  cpu_ratio = bench.round(bench.median(cpu_ratios), 2), worker_mib = bench.median(memory), target_worker_mib = 64,
  conditions = conditions,
})
