--- Runs a lifecycle's callbacks for one fact, as the host would, and says what came of it.
local check = ...

local problem, parse = check.problem, check.parse

--- The line of the app's file that runs now, in a coroutine or here.
local function line_in(lifecycle, co)
  for level = 0, 30 do
    local info
    if co then
      info = debug.getinfo(co, level, "Sl")
    else
      info = debug.getinfo(level + 2, "Sl")
    end
    if not info then
      break
    end
    if info.source == "@" .. lifecycle.path and info.currentline > 0 then
      return info.currentline
    end
  end
  return debug.getinfo(lifecycle.module.process_data, "S").linedefined
end

local function ids_of(friends, into)
  if friends == nil then
    return true
  elseif check.is_rows(friends) then
    local _, list = check.list_of(friends)
    for _, fact in ipairs(list) do
      into[#into + 1] = fact
    end
    return true
  elseif check.fact_of(friends) then
    into[#into + 1] = check.fact_of(friends)
    return true
  elseif type(friends) == "table" then
    for _, one in ipairs(friends) do
      if not check.fact_of(one) then
        return false
      end
      into[#into + 1] = check.fact_of(one)
    end
    return true
  end
  return false
end

local function named_values(kind, t)
  local values = {}
  for key, value in pairs(t) do
    if not kind.by_name[key] then
      error(("found.%s has no field %q%s"):format(kind.name, tostring(key),
        check.did_you_mean(key, kind.field_names)), 3)
    end
    values[key] = value
  end
  return values
end

local function finder(lifecycle, kind, run)
  local first = kind.fields[1]
  return function(friends, ...)
    local values, count = {}, select("#", ...)
    if friends ~= nil and type(friends) ~= "cdata" and type(friends) ~= "table" then
      error(("found.%s takes first what it rests on (a row, a list of rows, or nil), then %s; got %s first"):format(
        kind.name, table.concat(kind.field_names, ", "), check.describe(friends)), 2)
    end
    local v1 = ...
    if type(v1) == "table" and count == 1 and (not first.is_array or next(v1) ~= nil and v1[1] == nil) then
      values = named_values(kind, v1)
    else
      for i, field in ipairs(kind.fields) do
        values[field.name] = (select(i, ...))
      end
      if count > #kind.fields then
        error(("found.%s takes friends and %d fields (%s), got %d"):format(kind.name, #kind.fields,
          table.concat(kind.field_names, ", "), count), 2)
      end
    end
    for _, field in ipairs(kind.fields) do
      local words = check.value_problem(kind, field, values[field.name])
      if words then
        error(words, 2)
      end
    end
    local fact = check.make_fact(kind, values)
    fact.friends = {}
    if not ids_of(friends, fact.friends) then
      error(("found.%s: a friend must be a row, a list of rows, or nil; got %s"):format(kind.name,
        check.describe(friends)), 2)
    end
    fact.line = line_in(lifecycle)
    if not run.finds[fact.full] then
      run.finds[fact.full] = fact
      run.list[#run.list + 1] = fact
    end
    if #run.list > check.FINDS_MAX then
      error(check.UNKNOWN, 0)
    end
  end
end

check.FINDS_MAX = 5000

local function make_found(lifecycle, run)
  local found = {}
  for _, name in ipairs(lifecycle.finds) do
    found[name] = finder(lifecycle, check.kinds[name], run)
  end
  return setmetatable(found, {
    __index = function(_, name)
      if check.kinds[name] then
        error(("finds %s without saying so: add it to finds"):format(name), 2)
      end
      error(("no kind %q%s"):format(tostring(name), check.did_you_mean(name, lifecycle.finds)), 2)
    end,
  })
end

local YIELD_FIX = "a lifecycle does not yield: it waits by using what a look-up returned, in load or load_friends"
local fixes = {
  { "is no list", "look-up", nil },
  { "takes first what it rests on", "find", "write found.KIND(nil, …) when it rests on the data alone" },
  { "a look%-up in", "yield", "look it up in load_friends and return it: process_data gets it as an argument" },
  { "is not declared", "look-up", "friends says what is looked up; the index comes from it" },
  { "no field", "field", nil },
  { "no kind", "look-up", nil },
  { "without saying so", "finds", nil },
  { "bad argument #%d+ to '[%w_]+' %(cannot convert", "native", "pass what the header in native/ declares" },
  { "cannot convert", "native", "pass what the header in native/ declares" },
  { "wrong number of arguments for function call", "native", "pass what the header in native/ declares" },
  { "missing declaration", "native", "declare it in the header between the ffi marks" },
  { "undefined symbol", "native", "the header declares what no C file defines" },
  { "wanted", "type", nil },
  { "attempt to yield", "yield", YIELD_FIX },
  { "still running after", "endless", "a loop that does not end? The host kills such a worker and parks the event" },
  { "no global", "global", "declare it with local above, or require its module" },
  { 'global "', "global", nil },
}

--- A callback has raised: a problem, once a line.
local function raised(lifecycle, callback, message, data)
  if type(message) == "table" and message.message then
    local has_where = message.where and message.where ~= ""
    message = (has_where and message.where .. ": " or "") .. tostring(message.message)
  end
  local file, line, words = parse(message)
  if not file or not file:find("^[%w_]+/") or file:find("^host/") then
    file, line = lifecycle.path, check.tail_line(lifecycle.module[callback])
    words = tostring(message):gsub("\nstack traceback:.*", "")
  end
  local rule, fix = "raises", nil
  for _, known in ipairs(fixes) do
    if words:find(known[1]) then
      rule, fix = known[2], known[3]
      break
    end
  end
  problem("error", rule, file, line or 1, words, fix or ("%s raised it for %s"):format(callback, data))
end

local function pack(...)
  return { n = select("#", ...), ... }
end

-- The check interprets: compiled code would not be seen to run for ever.
jit.off()
local STEPS, SECONDS_MAX = 100000, 10

--- Makes co raise when it runs for too long.
local function bound(lifecycle, co)
  local ends = os.clock() + SECONDS_MAX
  debug.sethook(co, function()
    if os.clock() > ends then
      error(("%s:%d: still running after %d s"):format(lifecycle.path, line_in(lifecycle), SECONDS_MAX), 0)
    end
  end, "", STEPS)
end

--- Calls a callback where a yield is seen. Returns its packed results, or nil when a problem has been told.
local function call(lifecycle, run, callback, ...)
  check.phase = callback
  local co = coroutine.create(lifecycle.module[callback])
  bound(lifecycle, co)
  local results = pack(coroutine.resume(co, ...))
  check.phase = "no callback"
  if not results[1] then
    if results[2] == check.UNKNOWN then
      run.is_unknown = true
    else
      raised(lifecycle, callback, results[2], run.shown)
    end
    return nil
  elseif coroutine.status(co) == "suspended" then
    problem("error", "yield", lifecycle.path, line_in(lifecycle, co), "a yield in " .. callback, YIELD_FIX)
    return nil
  end
  return results
end

--- Runs the callbacks for a fact. source(kind, conditions) answers look-ups; friends (a list of lists of facts with
--- their kinds, { kind, facts }) stands in for what load_friends returns. Returns { outcome, list, finds, friends };
--- outcome is "early", "late", "done", "failed" or "unknown".
function check.run(lifecycle, fact, source, friends)
  local m = lifecycle.module
  local shown = check.show(fact.kind, fact.values)
  local run = { finds = {}, list = {}, shown = shown, outcome = "failed" }
  local db = check.make_db(lifecycle, source or function() return {} end)
  local function failed()
    run.outcome = run.is_unknown and "unknown" or "failed"
    return run
  end
  local counts = check.sampled[lifecycle.name]
  counts.runs = counts.runs + 1

  local data = fact.row
  if m.load then
    local results = call(lifecycle, run, "load", db, data)
    if not results then
      return failed()
    end
    data = results[2]
    if data == nil then
      local line = debug.getinfo(m.load, "S").linedefined
      raised(lifecycle, "load", ("%s:%d: load returned nil"):format(lifecycle.path, line), run.shown)
      return failed()
    end
  end
  if m.abort_early then
    local results = call(lifecycle, run, "abort_early", data)
    if not results then
      return failed()
    elseif results[2] then
      run.outcome = "early"
      return run
    end
  end
  local got = { n = lifecycle.arity }
  if friends then
    for i = 1, lifecycle.arity do
      local one = friends[i]
      got[i] = one and (one.value == nil and one.kind and check.make_rows(one.kind, one.facts) or one.value) or nil
    end
  elseif m.load_friends then
    local results = call(lifecycle, run, "load_friends", db, data)
    if not results then
      return failed()
    end
    if results.n - 1 > lifecycle.arity then
      problem("warning", "callback", lifecycle.path, debug.getinfo(m.process_data, "S").linedefined,
        ("load_friends returns %d values, process_data takes %d"):format(results.n - 1, lifecycle.arity),
        "process_data takes data, then each value of load_friends, then found")
    end
    for i = 1, lifecycle.arity do
      got[i] = results[i + 1]
    end
  end
  run.friends = {}
  for i = 1, lifecycle.arity do
    if check.is_rows(got[i]) then
      local kind, list = check.list_of(got[i])
      run.friends[i] = { kind = kind, facts = list }
    else
      run.friends[i] = { value = got[i], facts = {} }
    end
  end
  if m.abort_late then
    local results = call(lifecycle, run, "abort_late", data, unpack(got, 1, got.n))
    if not results then
      return failed()
    elseif results[2] then
      run.outcome = "late"
      return run
    end
  end
  local args = { data }
  for i = 1, got.n do
    args[i + 1] = got[i]
  end
  args[got.n + 2] = make_found(lifecycle, run)
  if not call(lifecycle, run, "process_data", unpack(args, 1, got.n + 2)) then
    return failed()
  end
  run.outcome = "done"
  return run
end

