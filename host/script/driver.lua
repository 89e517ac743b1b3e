--- Drives a lifecycle's callbacks over a batch: one loop in Lua under one pcall, text generated per kind, so that
--- LuaJIT compiles the whole way. The host calls gather and process with the batch's memory mapped through the FFI.
local ffi = require("ffi")

local host = ... -- functions of host/script/lua_batch.c

local driver = { host = host }
for _, part in ipairs({ "memory", "values", "rows", "lookups", "finds", "loops" }) do
  host.part("driver_" .. part)(driver)
end

local M = {}

local active
local by_name = {}

--- Called from C when an event's finds fill the batch: writes them and goes on.
function M.flushed()
  active.state.flushed = true
end

--- Takes the kinds and lifecycles of the app (lists of tables made by the host).
function M.setup(kind_list, lifecycle_list)
  for _, kind in ipairs(kind_list) do
    driver.declare_kind(kind)
  end
  for _, lifecycle in ipairs(lifecycle_list) do
    local data, got = {}, {}
    for i = 1, driver.arity(lifecycle) do
      got[i] = {}
    end
    by_name[lifecycle.name] = lifecycle
    lifecycle.state, lifecycle.events, lifecycle.got = { flushed = false }, data, got
    lifecycle.db = driver.make_db(lifecycle)
    lifecycle.found = driver.make_found(lifecycle)
    local gather, process = driver.make_gather(lifecycle, data, got), driver.make_process(lifecycle, data, got)
    lifecycle.gather = function(n) active = lifecycle return gather(n) end
    lifecycle.process = function(first, n) active = lifecycle return process(first, n) end
    if type(lifecycle.module.priority) == "function" then
      local function_of = lifecycle.module.priority
      local row_pointer = ffi.typeof("acc_row_" .. lifecycle.on .. " *")
      lifecycle.priority_of = function(row)
        local value = function_of(ffi.cast(row_pointer, row)[0])
        value = tonumber(value) or 0
        return math.max(-32768, math.min(32767, math.floor(value)))
      end
    end
  end
end

--- Measures the callbacks of a lifecycle whose events have been gathered (driver_bench.lua).
function M.bench(name, report, options)
  host.part("driver_bench")(driver)
  driver.bench(by_name[name], report, options)
end

function M.bench_examples(name)
  host.part("driver_bench")(driver)
  return driver.bench_examples(by_name[name])
end

function M.bench_rows(kind, count, options)
  host.part("driver_bench")(driver)
  return driver.bench_rows(kind, count, options)
end

return M
