--- Measures what a call takes: a median over runs with a 95 % interval, and whether two such results differ.
local ffi = require("ffi")

local M = {}

ffi.cdef([[
struct accrete_bench_time { int64_t s, ns; };
int accrete_bench_clock(int, struct accrete_bench_time *) __asm__("clock_gettime");
]])

local RUNS, RUN_MS, WARM_MS = 30, 5, 50
local CLOCKS = { wall = 1, cpu = 2 } -- CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID
local SMALLEST_CHANGE = 0.05
local MOST_CALLS = 2 ^ 40

local stamp = ffi.new("struct accrete_bench_time")

--- Nanoseconds of a clock: "wall" (one that never jumps; the default) or "cpu" (what this process has computed).
function M.now(clock)
  local number = CLOCKS[clock or "wall"]
  if not number then
    error(('bench: clock: wanted "wall" or "cpu", got %q'):format(tostring(clock)), 2)
  end
  ffi.C.accrete_bench_clock(number, stamp)
  return tonumber(stamp.s) * 1e9 + tonumber(stamp.ns)
end

-- Figures of lists ----------------------------------------------------------------------------------

local function sorted_copy(list)
  local sorted = { unpack(list) }
  table.sort(sorted)
  return sorted
end

local function median_of(sorted)
  local n = #sorted
  return n % 2 == 1 and sorted[(n + 1) / 2] or (sorted[n / 2] + sorted[n / 2 + 1]) / 2
end

local function check_list(name, list)
  if type(list) ~= "table" or #list == 0 then
    local got = type(list) == "table" and "an empty one" or type(list)
    error(("bench.%s: wanted a list of numbers, got %s"):format(name, got), 3)
  end
end

function M.median(list)
  check_list("median", list)
  return median_of(sorted_copy(list))
end

--- The value that a share (0..1) of the list does not exceed.
function M.quantile(list, share)
  check_list("quantile", list)
  return sorted_copy(list)[math.max(1, math.ceil(share * #list))]
end

--- The rank l for which the l-th smallest and l-th largest of n values enclose the median in 95 % of all samples, and
--- the share in which they do. Free of any distribution: how many values lie below the median is binomial (n, 1/2), so
--- the share is 1 - 2 P(B < l). W. J. Conover, Practical Nonparametric Statistics, 3rd ed., 1999, section 3.2; with a
--- table of ranks in J.-Y. Le Boudec, Performance Evaluation of Computer and Communication Systems, 2010, appendix A.
local function rank(n)
  if n > 1000 then -- the binomial's normal approximation, of the same source
    return math.floor((n - 1.96 * math.sqrt(n)) / 2), 0.95
  end
  local l, below, one = 0, 0, 0.5 ^ n -- below: P(B < l), one: P(B = l)
  while below + one <= 0.025 do
    below, one, l = below + one, one * (n - l) / (l + 1), l + 1
  end
  if l == 0 then -- fewer than 6 values: all of them do not reach 95 %
    return 1, 1 - 2 * one
  end
  return l, 1 - 2 * below
end

--- The 95 % interval of the median of a list: its ends, and the share of samples whose interval holds the true median
--- (at least 0.95 from 6 values on; with fewer it is their whole range).
function M.interval(list)
  check_list("interval", list)
  local sorted = sorted_copy(list)
  local l, share = rank(#sorted)
  return sorted[l], sorted[#sorted + 1 - l], share
end

-- Measuring -----------------------------------------------------------------------------------------

--- Calls of fn in a loop of its own: the JIT compiles it for this fn alone, whatever was measured before.
local function loop_of(fn)
  return loadstring([[
    local fn = ...
    return function(n)
      for _ = 1, n do
        fn()
      end
    end]], "=bench loop")(fn)
end

local function option(options, name, initial, low)
  local value = options[name]
  if value == nil then
    return initial
  elseif type(value) ~= "number" or value ~= value or value < low then
    error(("bench.measure: %s: wanted a number from %g on, got %s"):format(name, low, tostring(value)), 3)
  end
  return value
end

local KNOWN = { runs = true, run_ms = true, warm_ms = true, limit_ms = true, clock = true, batch = true }

--- How many calls last run_ns, after they have been made for warm_ns.
local function calibrate(loop, clock, run_ns, warm_ns)
  local calls, spent = 1, 0
  while true do
    local began = M.now(clock)
    loop(calls)
    local took = M.now(clock) - began
    spent = spent + took
    if took >= run_ns and spent >= warm_ns then
      return math.max(1, math.ceil(calls * run_ns / took)), took / calls
    elseif took < run_ns then
      local factor = took > 0 and math.min(10, math.max(2, 1.2 * run_ns / took)) or 10
      calls = math.min(MOST_CALLS, math.ceil(calls * factor))
    end
  end
end

--- What a call of fn takes. options: runs (30), run_ms (5: each run lasts about as long), warm_ms (50: so long it is
--- called before), limit_ms (no run is begun after it, counted from the start; none), clock ("wall" or "cpu"), batch
--- (fn(n) makes n calls itself). Garbage that the calls make is collected in their time.
--- Returns { ns, ci_ns, low_ns, high_ns, confidence, min_ns, max_ns, per_second, runs, calls }: ns is the median per
--- call over the runs, ci_ns half the width of its interval (see bench.interval), calls those of one run.
function M.measure(fn, options)
  options = options or {}
  if type(fn) ~= "function" then
    error("bench.measure: wanted a function, got " .. type(fn), 2)
  end
  for name in pairs(options) do
    if not KNOWN[name] then
      error(("bench.measure: there is no option %q"):format(tostring(name)), 2)
    end
  end
  local runs = math.floor(option(options, "runs", RUNS, 1))
  local run_ns = option(options, "run_ms", RUN_MS, 0.001) * 1e6
  local warm_ns = option(options, "warm_ms", WARM_MS, 0) * 1e6
  local limit_ns = option(options, "limit_ms", math.huge, 0) * 1e6
  local clock = options.clock or "wall"
  local loop = options.batch and fn or loop_of(fn)
  collectgarbage()
  local began = M.now("wall")
  local calls = calibrate(loop, clock, run_ns, math.min(warm_ns, limit_ns / 4))
  local list = {}
  while #list < runs and (#list == 0 or M.now("wall") - began < limit_ns) do
    local from = M.now(clock)
    loop(calls)
    list[#list + 1] = (M.now(clock) - from) / calls
  end
  local low, high, confidence = M.interval(list)
  local sorted = sorted_copy(list)
  local ns = median_of(sorted)
  return {
    ns = ns, ci_ns = (high - low) / 2, low_ns = low, high_ns = high, confidence = confidence,
    min_ns = sorted[1], max_ns = sorted[#sorted], per_second = ns > 0 and 1e9 / ns or math.huge,
    runs = #list, calls = calls,
  }
end

--- How b differs from a, both { ns, ci_ns }: { change, is_beyond }. change is b.ns / a.ns - 1; is_beyond says that it
--- is more than 5 % and that the two intervals do not touch.
function M.compare(a, b)
  local change = b.ns / a.ns - 1
  return {
    change = change,
    is_beyond = math.abs(change) > SMALLEST_CHANGE and math.abs(b.ns - a.ns) > a.ci_ns + b.ci_ns,
  }
end

-- Telling -------------------------------------------------------------------------------------------

local UNITS = { { 1e9, "s" }, { 1e6, "ms" }, { 1e3, "µs" }, { 1, "ns" } }

--- Nanoseconds as people read them, three digits: "1.31 µs".
function M.format(ns)
  for _, unit in ipairs(UNITS) do
    if ns >= unit[1] or unit[1] == 1 then
      local value = ns / unit[1]
      return ("%%.%df %%s"):format(value >= 100 and 0 or value >= 10 and 1 or 2):format(value, unit[2])
    end
  end
end

local function width_of(text)
  return select(2, text:gsub("[^\128-\191]", ""))
end

local function percent(share)
  return ("%.1f %%"):format(share * 100)
end

--- Results as a table of text. rows: { { name, result [, baseline] } … }; with a baseline the change is told, marked
--- with "slower" or "faster" when it is beyond both intervals and 5 %.
function M.table(rows)
  local cells = { { "", "per call", "± 95 %", "calls/s", "baseline", "change", "" } }
  local has_baseline = false
  for _, row in ipairs(rows) do
    local name, result, baseline = row[1], row[2], row[3]
    local rate = ("%.4g"):format(result.per_second)
    local line = { name, M.format(result.ns), percent(result.ci_ns / result.ns), rate, "", "", "" }
    if baseline then
      local compared = M.compare(baseline, result)
      has_baseline = true
      line[5] = M.format(baseline.ns)
      line[6] = ("%+.1f %%"):format(compared.change * 100)
      line[7] = compared.is_beyond and (compared.change > 0 and "slower" or "faster") or ""
    end
    cells[#cells + 1] = line
  end
  local columns, widths, lines = has_baseline and 7 or 4, {}, {}
  for _, line in ipairs(cells) do
    for c = 1, columns do
      widths[c] = math.max(widths[c] or 0, width_of(line[c]))
    end
  end
  for i, line in ipairs(cells) do
    local out = {}
    for c = 1, columns do
      local pad = (" "):rep(widths[c] - width_of(line[c]))
      out[c] = (c == 1 or c == 7) and line[c] .. pad or pad .. line[c]
    end
    lines[i] = table.concat(out, "  "):gsub(" +$", "")
  end
  return table.concat(lines, "\n")
end

return M
