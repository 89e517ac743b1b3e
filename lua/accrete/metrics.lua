--- Counters, gauges and histograms, rendered as OpenMetrics text. Adding costs nanoseconds, so hot callbacks may do it:
---   local mails = metrics.counter("mails_sent", "Mails sent", { "outcome" })
---   mails:add(1, "ok")
--- In the processes of a host all count into one block that /metrics shows; a plain script has one of its own.
--- What finds no room there, or has a label value of more than 63 bytes, is dropped and counted in
--- accrete_metrics_dropped_total: measuring never breaks what is measured.
local ffi = require("ffi")
local C = require("accrete.metrics.c")
local errors = require("accrete.error")
local log = require("accrete.log")

require("accrete.native").declare_hot()

local M = {}

local hot = ffi.C
local series_type = ffi.typeof("struct acc_metric *")

local LABELS_MAX = 3
local OURS = "accrete_"

-- Families: { type, name, help, labels, label_count, known = the series itself, or by label values }

local function check_value(family, number, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "boolean" and (kind ~= "number" or value ~= value) then
    errors.raise("input", "metric %s: label %s: wanted a text, number or boolean, got %s", family.name,
      family.labels[number], kind == "number" and "NaN" or kind)
  end
  return tostring(value)
end

local function fail_count(family, ...)
  local got = 0
  for i = 1, select("#", ...) do
    got = select(i, ...) ~= nil and i or got
  end
  errors.raise("input", "metric %s: wanted %d label values%s, got %d", family.name, family.label_count,
    family.label_count > 0 and " (" .. table.concat(family.labels, ", ") .. ")" or "", got)
end

--- Keeps a series that is shown, so that the next use finds it by Lua's tables alone.
local function keep(family, series, values)
  local at = family.known
  for i = 1, family.label_count - 1 do
    at[values[i]] = at[values[i]] or {}
    at = at[values[i]]
  end
  at[values[family.label_count]] = series
end

local function make_series(family, ...)
  local texts = {}
  for i = 1, family.label_count do
    texts[i] = check_value(family, i, (select(i, ...)))
  end
  local pointer, is_shown = C.series(family.block, family.type, family.name, family.help, family.labels, unpack(texts))
  local series = ffi.cast(series_type, pointer)
  if family.label_count > 0 and is_shown then
    keep(family, series, { ... })
  end
  return series
end

local function series_of(family, a, b, c)
  local count = family.label_count
  if (count < 1) ~= (a == nil) or (count < 2) ~= (b == nil) or (count < 3) ~= (c == nil) then
    fail_count(family, a, b, c)
  end
  local at = family.known
  if count > 0 then
    at = at[a]
  end
  if at and count > 1 then
    at = at[b]
  end
  if at and count > 2 then
    at = at[c]
  end
  return at or make_series(family, a, b, c)
end

local function check_number(family, value)
  if type(value) ~= "number" then
    errors.raise("input", "metric %s: wanted a number, got %s", family.name, type(value))
  end
end

--- The series of these label values as a family without labels: for loops.
local function with(family, a, b, c)
  local one = { type = family.type, name = family.name, block = family.block, label_count = 0 }
  one.known = series_of(family, a, b, c)
  return setmetatable(one, getmetatable(family))
end

local Counter, Gauge, Histogram = {}, {}, {}
Counter.__index, Gauge.__index, Histogram.__index = Counter, Gauge, Histogram

--- Adds n (1 by default, never less than 0) to the series of these label values.
function Counter:add(n, a, b, c)
  n = n or 1
  if type(n) ~= "number" or n < 0 then
    errors.raise("input", "metric %s: wanted a number from 0 on, got %s", self.name, tostring(n))
  end
  hot.acc_metric_add(series_of(self, a, b, c), n)
end

function Counter:value(a, b, c)
  return hot.acc_metric_value(series_of(self, a, b, c))
end

function Counter:with(a, b, c)
  return with(self, a, b, c)
end

function Gauge:set(value, a, b, c)
  check_number(self, value)
  hot.acc_metric_set(series_of(self, a, b, c), value)
end

--- Adds n, which may be negative; 1 by default.
function Gauge:add(n, a, b, c)
  n = n or 1
  check_number(self, n)
  hot.acc_metric_add(series_of(self, a, b, c), n)
end

function Gauge:value(a, b, c)
  return hot.acc_metric_value(series_of(self, a, b, c))
end

function Gauge:with(a, b, c)
  return with(self, a, b, c)
end

--- Observes a value: exact between 1e-6 and 1e6 to 12 %, so say seconds, not milliseconds.
function Histogram:observe(value, a, b, c)
  check_number(self, value)
  hot.acc_metric_observe(series_of(self, a, b, c), value)
end

local function observed(self, started, a, b, c, ...)
  hot.acc_metric_observe(series_of(self, a, b, c), C.now() - started)
  return ...
end

--- Calls fn() and returns what it returns; observes the seconds it took. An error passes through unobserved.
function Histogram:time(fn, a, b, c)
  series_of(self, a, b, c)
  return observed(self, C.now(), a, b, c, fn())
end

--- The value below which a share of q (0 to 1) of all observations lies, within 12 %; NaN without observations.
function Histogram:quantile(q, a, b, c)
  if type(q) ~= "number" or not (q >= 0 and q <= 1) then
    errors.raise("input", "metric %s: wanted a quantile from 0 to 1, got %s", self.name, tostring(q))
  end
  return hot.acc_metric_quantile(series_of(self, a, b, c), q)
end

--- How many values were observed.
function Histogram:count(a, b, c)
  return tonumber(hot.acc_metric_count(series_of(self, a, b, c)))
end

--- Their sum.
function Histogram:sum(a, b, c)
  return hot.acc_metric_value(series_of(self, a, b, c))
end

function Histogram:with(a, b, c)
  return with(self, a, b, c)
end

local classes = { counter = Counter, gauge = Gauge, histogram = Histogram }

-- Registries

local Registry = {}
Registry.__index = Registry

local function same_list(a, b)
  if #a ~= #b then
    return false
  end
  for i = 1, #a do
    if a[i] ~= b[i] then
      return false
    end
  end
  return true
end

local function check_labels(name, labels)
  if type(labels) ~= "table" then
    errors.raise("input", "metric %s: wanted a list of label names, got %s", name, type(labels))
  end
  local count = 0
  for key, label in pairs(labels) do
    if type(key) ~= "number" or type(label) ~= "string" then
      errors.raise("input", "metric %s: wanted a list of label names, got %s = %s", name, tostring(key),
        tostring(label))
    end
    count = count + 1
  end
  if count ~= #labels or count > LABELS_MAX then
    errors.raise("input", "metric %s: wanted at most %d labels, got %d", name, LABELS_MAX, count)
  end
end

local function check_names(name, help)
  if type(name) ~= "string" or type(help) ~= "string" then
    errors.raise("input", "wanted a metric's name and what it says in a sentence, got %s and %s", type(name),
      type(help))
  end
  if name:sub(1, #OURS) == OURS then
    errors.raise("input", "metric %s: names that begin with %s are the host's", name, OURS)
  end
end

--- The family of that name, made when this Lua state has none. Only one place decides about type and labels.
local function define(registry, kind, name, help, labels)
  labels = labels or {}
  check_names(name, help)
  check_labels(name, labels)
  local known = registry.families[name]
  if known then
    if known.type ~= kind or not same_list(known.labels, labels) then
      errors.raise("input", "metric %s: is a %s with labels (%s) already", name, known.type,
        table.concat(known.labels, ", "))
    end
    return known
  end
  local family = {
    type = kind, name = name, help = help, labels = { unpack(labels) }, label_count = #labels, known = {},
    block = registry.block,
  }
  local fits, why = C.declare(registry.block, kind, name, help, family.labels)
  if not fits then -- the block is full, or has it otherwise from an older generation
    log.warn("metric is not shown", { at = "metrics", reason = why })
  end
  if family.label_count == 0 then
    family.known = make_series(family)
  end
  registry.families[name] = setmetatable(family, classes[kind])
  return family
end

--- counter(name, help [, { label names }]): what only grows. The name has no _total at its end.
function Registry:counter(name, help, labels)
  return define(self, "counter", name, help, labels)
end

--- gauge(name, help [, { label names }]): what goes up and down.
function Registry:gauge(name, help, labels)
  return define(self, "gauge", name, help, labels)
end

--- histogram(name, help [, { label names }]): how values are spread, mostly seconds.
function Registry:histogram(name, help, labels)
  return define(self, "histogram", name, help, labels)
end

--- All of it as OpenMetrics text.
function Registry:render()
  return C.render(self.block)
end

local function registry_of(block)
  return setmetatable({ block = block, families = {} }, Registry)
end

--- A registry of its own with room for so many series, 1,000 by default: new():counter(...), :render().
function M.new(series)
  if series ~= nil and (type(series) ~= "number" or series < 1 or series > 1e6) then
    errors.raise("input", "metrics.new: wanted 1 to 1000000 series, got %s", tostring(series))
  end
  return registry_of(C.new(series))
end

local default

local function default_registry()
  default = default or registry_of(C.default())
  return default
end

function M.counter(name, help, labels)
  return define(default_registry(), "counter", name, help, labels)
end

function M.gauge(name, help, labels)
  return define(default_registry(), "gauge", name, help, labels)
end

function M.histogram(name, help, labels)
  return define(default_registry(), "histogram", name, help, labels)
end

function M.render()
  return C.render(default_registry().block)
end

--- Seconds of a clock that only goes forward: for durations.
M.now = C.now

return M
