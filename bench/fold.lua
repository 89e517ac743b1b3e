--- How long does the fold of the first 100 and 200 verses of Genesis take?
local bench = require("bench")

local VERSES = { { verses = 100, orthos = 11609, target = 10 }, { verses = 200, orthos = 126639, target = 60 } }

local function text_of(verses)
  local path = os.tmpname()
  bench.run({ "sh", "-c", ("bible -f 'gen1:1-gen50:26' </dev/null | sed 's/^[^ ]* //' | head -%d > '%s'"):format(verses, path) })
  return path
end

local runs = bench.runs or 3
local values, conditions = {}, nil
for k, case in ipairs(VERSES) do
  local seconds, memory = {}, {}
  local path = text_of(case.verses)
  for i = 1, runs do
    local host = bench.host("examples/fold")
    local start = bench.now()
    host:command("ingest", "--quiet", "--format", "text", "book", path)
    seconds[i] = host:wait(start)
    memory[i] = host:worker_mib()
    conditions = host:conditions()
    local orthos = host:count("ortho")
    assert(orthos == case.orthos, ("%d verses give %d orthos, wanted %d"):format(case.verses, orthos, case.orthos))
    bench.say("fold of %d verses %d/%d: %.2f s", case.verses, i, runs, seconds[i])
    host:stop()
  end
  os.remove(path)
  values[k] = { verses = case.verses, orthos = case.orthos, median = bench.round(bench.median(seconds), 2), target = case.target,
    ratio = bench.round(bench.median(seconds) / case.target, 2), worker_mib = bench.median(memory) }
end
bench.print("fold", { value = values[2].median, unit = "s", runs = runs, values = values, ratio = values[2].ratio, ratio_to = "target",
  conditions = conditions })
