local metrics = require("accrete.metrics")
local fixture = dofile("tests/lua/host/fixture.lua")

describe("metrics", function()
  it("count by label values", function()
    local registry = metrics.new()
    local jobs = registry:counter("jobs", "Jobs done", { "queue", "outcome" })
    jobs:add(2, "mail", "ok")
    jobs:add(nil, "mail", "ok")
    jobs:add(0.5, 7, true)
    assert.equal(3, jobs:value("mail", "ok"))
    assert.equal(0.5, jobs:value("7", "true"))
    assert.equal(0, jobs:value("mail", "failed"))
  end)

  it("render as OpenMetrics", function()
    local registry = metrics.new()
    registry:gauge("room_bytes", "Room"):set(5)
    registry:counter("jobs", 'Say "x"', { "queue" }):add(1, 'a"b')
    registry:counter("plain", "Made and never added to")
    local seconds = registry:histogram("job_seconds", "Time of a job")
    seconds:observe(1)
    seconds:observe(3)
    assert.equal([[
# TYPE job_seconds histogram
# UNIT job_seconds seconds
# HELP job_seconds Time of a job
job_seconds_bucket{le="0.5"} 0
job_seconds_bucket{le="1.0"} 1
job_seconds_bucket{le="2.0"} 1
job_seconds_bucket{le="4.0"} 2
job_seconds_bucket{le="+Inf"} 2
job_seconds_sum 4
job_seconds_count 2
# TYPE jobs counter
# HELP jobs Say \"x\"
jobs_total{queue="a\"b"} 1
# TYPE plain counter
# HELP plain Made and never added to
plain_total 0
# TYPE room_bytes gauge
# UNIT room_bytes bytes
# HELP room_bytes Room
room_bytes 5
# EOF
]], registry:render())
  end)

  it("go up and down as gauges only", function()
    local registry = metrics.new()
    local level = registry:gauge("level", "Level", { "tank" })
    level:set(10, "a")
    level:add(-3, "a")
    level:add(nil, "a")
    assert.equal(8, level:value("a"))
    local err = fixture.error_of(function() registry:counter("c", "C"):add(-1) end)
    assert.equal("input", err.code)
    assert.truthy(err.message:find("from 0 on, got -1", 1, true))
  end)

  it("tell quantiles, count and sum of what was observed", function()
    local seconds = metrics.new():histogram("s", "S", { "what" })
    assert.is_true(seconds:quantile(0.5, "a") ~= seconds:quantile(0.5, "a"))
    for i = 1, 1000 do
      seconds:observe(i, "a")
    end
    assert.equal(1000, seconds:count("a"))
    assert.equal(500500, seconds:sum("a"))
    for _, q in ipairs { 0.01, 0.5, 0.9, 0.99, 1 } do
      local wanted = q * 1000
      assert(math.abs(seconds:quantile(q, "a") - wanted) <= 0.12 * wanted, "quantile " .. q)
    end
  end)

  it("time a function, hand on what it returns, and leave errors alone", function()
    local seconds = metrics.new():histogram("s_seconds", "S", { "what" })
    assert.same({ 1, nil, 3 }, { seconds:time(function() return 1, nil, 3 end, "a") })
    assert.equal(1, seconds:count("a"))
    assert(seconds:sum("a") >= 0 and seconds:sum("a") < 10)
    local problem = {}
    assert.equal(problem, fixture.error_of(seconds.time, seconds, function() error(problem) end, "a"))
    assert.equal(1, seconds:count("a"))
  end)

  it("bind label values for loops", function()
    local registry = metrics.new()
    local jobs = registry:counter("jobs", "Jobs", { "queue" })
    local mail = jobs:with("mail")
    for _ = 1, 1000 do
      mail:add()
    end
    assert.equal(1000, jobs:value("mail"))
    assert.equal("input", fixture.error_of(mail.add, mail, 1, "mail").code)
  end)

  it("are the same when defined again, and refused when otherwise", function()
    local registry = metrics.new()
    local jobs = registry:counter("jobs", "Jobs", { "queue" })
    assert.equal(jobs, registry:counter("jobs", "Jobs", { "queue" }))
    for _, wrong in ipairs {
      { "gauge", "jobs", "Jobs", { "queue" } },
      { "counter", "jobs", "Jobs", { "other" } },
      { "counter", "jobs", "Jobs" },
    } do
      local err = fixture.error_of(registry[wrong[1]], registry, unpack(wrong, 2, 4))
      assert.truthy(err.message:find("already", 1, true))
    end
  end)

  it("refuse names and labels that nobody could read", function()
    local registry = metrics.new()
    for _, wrong in ipairs {
      { "accrete_jobs", "Ours" }, { "jobs_total", "X" }, { "jobs bucket", "X" }, { "", "X" }, { ("x"):rep(64), "X" },
      { "jobs" }, { "jobs", "X", "queue" }, { "jobs", "X", { "le" } }, { "jobs", "X", { "a", "a" } },
      { "jobs", "X", { "a", "b", "c", "d" } }, { "jobs", "X", { a = "b" } }, { "jobs", ("x"):rep(256) },
    } do
      assert.equal("input", fixture.error_of(registry.counter, registry, wrong[1], wrong[2], wrong[3]).code)
    end
    assert.equal("# EOF\n", registry:render())
  end)

  it("want as many label values as labels, from the line that counts", function()
    local jobs = metrics.new():counter("jobs", "Jobs", { "queue", "outcome" })
    local err = fixture.error_of(function() jobs:add(1, "mail") end)
    assert.equal("metric jobs: wanted 2 label values (queue, outcome), got 1", err.message)
    assert.truthy(err.where:find("metrics_spec.lua:%d+$"))
    for _, values in ipairs { {}, { "a", "b", "c" }, { nil, "b" }, { "a", {} }, { "a", 0 / 0 } } do
      assert.equal("input", fixture.error_of(jobs.add, jobs, 1, values[1], values[2], values[3]).code)
    end
    jobs:add(1, "mail", "ok")
    assert.equal("input", fixture.error_of(jobs.add, jobs, 1, "mail").code)
  end)

  it("drop what finds no room or does not fit, and count it", function()
    local registry = metrics.new(2)
    local many = registry:counter("many", "Many", { "n" })
    for i = 1, 1000 do
      many:add(1, i)
    end
    assert.equal(1, many:value(1))
    assert.equal(0, many:value(1000))
    local dropped = tonumber(registry:render():match("\naccrete_metrics_dropped_total (%d+)\n"))
    assert(dropped > 900, dropped)
    local long = metrics.new():counter("long", "Long", { "n" })
    for _, value in ipairs { ("x"):rep(64), "\255", "a\0b" } do
      long:add(1, value)
      assert.equal(0, long:value(value))
    end
  end)

  it("have a registry of the script's own without a host", function()
    local one = metrics.counter("spec_one", "One")
    one:add(2)
    metrics.gauge("spec_two", "Two"):set(3)
    metrics.histogram("spec_three", "Three"):observe(1)
    assert.truthy(metrics.render():find("\nspec_one_total 2\n", 1, true))
    assert.truthy(metrics.render():find("\nspec_two 3\n", 1, true))
    assert(metrics.now() <= metrics.now())
  end)

  it("live as long as one of their metrics", function()
    local jobs = metrics.new():counter("jobs", "Jobs", { "q" })
    local bound = jobs:with("a")
    jobs = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    bound:add(1)
    assert.equal(1, bound:value())
  end)
end)
