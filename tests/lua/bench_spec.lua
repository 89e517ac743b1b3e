local bench = require("accrete.bench")

--- Computes for so many nanoseconds.
local function burn(ns)
  local from = bench.now("cpu")
  while bench.now("cpu") - from < ns do end -- luacheck: ignore 542
end

local QUICK = { runs = 7, run_ms = 0.2, warm_ms = 0, clock = "cpu" }

describe("bench", function()
  it("takes the middle of a list, or the mean of its two", function()
    assert.equal(2, bench.median { 3, 1, 2 })
    assert.equal(2.5, bench.median { 4, 1, 3, 2 })
    assert.equal(7, bench.median { 7 })
  end)

  it("leaves the list as it is", function()
    local list = { 3, 1, 2 }
    bench.median(list)
    bench.quantile(list, 0.5)
    bench.interval(list)
    assert.same({ 3, 1, 2 }, list)
  end)

  it("gives the value that a share does not exceed", function()
    local list = { 10, 9, 8, 7, 6, 5, 4, 3, 2, 1 }
    assert.equal(1, bench.quantile(list, 0))
    assert.equal(5, bench.quantile(list, 0.5))
    assert.equal(9, bench.quantile(list, 0.9))
    assert.equal(10, bench.quantile(list, 1))
  end)

  -- n, lower and upper rank, confidence: 1 - 2 P(B < rank) of the binomial (n, 1/2).
  for _, row in ipairs { { 6, 1, 6, 0.969 }, { 8, 1, 8, 0.992 }, { 10, 2, 9, 0.979 }, { 20, 6, 15, 0.959 },
    { 30, 10, 21, 0.957 }, { 50, 18, 33, 0.967 }, { 70, 27, 44, 0.959 } } do
    it(("encloses the median of %d values with ranks %d and %d"):format(row[1], row[2], row[3]), function()
      local list = {}
      for i = 1, row[1] do
        list[i] = row[1] + 1 - i
      end
      local low, high, confidence = bench.interval(list)
      assert.equal(row[2], low)
      assert.equal(row[3], high)
      assert.near(row[4], confidence, 0.001)
    end)
  end

  it("encloses the true median as often as it says", function()
    math.randomseed(7)
    local held, tries = 0, 2000
    for _ = 1, tries do
      local list = {}
      for i = 1, 30 do
        list[i] = math.random() ^ 3 -- skewed; its median is 1/8
      end
      local low, high = bench.interval(list)
      held = held + (low <= 0.125 and 0.125 <= high and 1 or 0)
    end
    assert.near(0.957, held / tries, 0.02)
  end)

  it("says that few values do not reach 95 %", function()
    local low, high, confidence = bench.interval { 5, 1, 3 }
    assert.equal(1, low)
    assert.equal(5, high)
    assert.equal(0.75, confidence)
  end)

  it("counts calls so that a run lasts long enough", function()
    local calls = 0
    local result = bench.measure(function()
      calls = calls + 1
      burn(20000)
    end, { runs = 3, run_ms = 1, warm_ms = 0, clock = "cpu" })
    assert.equal(3, result.runs)
    assert.is_true(result.calls >= 2 and result.calls <= 50, "calls of a run: " .. result.calls)
    assert.is_true(calls >= 3 * result.calls)
    assert.is_true(result.ns >= 20000, "ns: " .. result.ns)
    assert.is_true(result.min_ns <= result.low_ns and result.low_ns <= result.ns)
    assert.is_true(result.ns <= result.high_ns and result.high_ns <= result.max_ns)
    assert.near(1e9 / result.ns, result.per_second, 1e-6)
    assert.near((result.high_ns - result.low_ns) / 2, result.ci_ns, 1e-9)
  end)

  it("hands a batch the number of calls", function()
    local made = {}
    local result = bench.measure(function(n)
      made[#made + 1] = n
      burn(1000 * n)
    end, { runs = 4, run_ms = 0.2, warm_ms = 0, clock = "cpu", batch = true })
    assert.equal(result.calls, made[#made])
    assert.is_true(result.ns >= 1000)
  end)

  it("makes 30 runs unless told otherwise", function()
    assert.equal(30, bench.measure(function() end, { run_ms = 0.01, warm_ms = 0 }).runs)
  end)

  it("begins no run after the limit, but makes one", function()
    local result = bench.measure(function() burn(2e6) end, { runs = 1000, run_ms = 0.1, limit_ms = 20 })
    assert.is_true(result.runs >= 1 and result.runs < 1000, "runs: " .. result.runs)
  end)

  it("passes on what is raised", function()
    local ok, err = pcall(bench.measure, function() error("broken", 0) end, QUICK)
    assert.is_false(ok)
    assert.equal("broken", err)
  end)

  for words, call in pairs {
    ['no option "run"'] = function() bench.measure(print, { run = 3 }) end,
    ["runs: wanted a number from 1 on, got 0"] = function() bench.measure(print, { runs = 0 }) end,
    ["run_ms: wanted a number from 0.001 on"] = function() bench.measure(print, { run_ms = 0 }) end,
    ['wanted "wall" or "cpu", got "sun"'] = function() bench.measure(print, { clock = "sun" }) end,
    ["wanted a function, got nil"] = function() bench.measure() end,
    ["bench.median: wanted a list of numbers, got an empty one"] = function() bench.median({}) end,
    ["bench.interval: wanted a list of numbers, got nil"] = function() bench.interval() end,
  } do
    it("says: " .. words, function()
      local ok, err = pcall(call)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(words, 1, true), tostring(err))
    end)
  end

  it("counts a change beyond 5 % and beyond both intervals", function()
    local function beyond(a, a_ci, b, b_ci)
      return bench.compare({ ns = a, ci_ns = a_ci }, { ns = b, ci_ns = b_ci }).is_beyond
    end
    assert.is_true(beyond(100, 1, 118, 1))
    assert.is_true(beyond(118, 1, 100, 1))
    assert.is_false(beyond(100, 0, 104, 0)) -- below 5 %
    assert.is_false(beyond(100, 9, 118, 9)) -- intervals touch
    assert.is_true(beyond(100, 9, 118, 8))
    assert.near(0.18, bench.compare({ ns = 100, ci_ns = 1 }, { ns = 118, ci_ns = 1 }).change, 1e-9)
    assert.near(-0.5, bench.compare({ ns = 100, ci_ns = 1 }, { ns = 50, ci_ns = 1 }).change, 1e-9)
  end)

  it("tells slow from fast", function()
    local fast = bench.measure(function() burn(5000) end, QUICK)
    local slow = bench.measure(function() burn(50000) end, QUICK)
    local compared = bench.compare(fast, slow)
    assert.is_true(compared.is_beyond)
    assert.is_true(compared.change > 1)
  end)

  it("writes times with three digits", function()
    for ns, text in pairs { [0.5] = "0.50 ns", [7.789] = "7.79 ns", [31.26] = "31.3 ns", [1310] = "1.31 µs",
      [229000] = "229 µs", [1.5e6] = "1.50 ms", [2e9] = "2.00 s" } do
      assert.equal(text, bench.format(ns))
    end
  end)

  it("puts results in columns, with the change when there is a baseline", function()
    local a = { ns = 1000, ci_ns = 10, per_second = 1e6 }
    local b = { ns = 1500, ci_ns = 10, per_second = 1e9 / 1500 }
    assert.equal(table.concat({
      "   per call  ± 95 %  calls/s",
      "a   1.00 µs   1.0 %    1e+06" }, "\n"), bench.table { { "a", a } })
    assert.equal(table.concat({
      "      per call  ± 95 %    calls/s  baseline   change",
      "name   1.50 µs   0.7 %  6.667e+05   1.00 µs  +50.0 %  slower",
      "same   1.00 µs   1.0 %      1e+06   1.00 µs   +0.0 %" }, "\n"),
      bench.table { { "name", b, a }, { "same", a, a } })
  end)
end)
