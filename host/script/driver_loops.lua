--- The loops over a batch's events: gather (load, abort_early, load_friends) and process (abort_late, process_data).
local driver = ...

local host, kinds, batch, slot, outcomes = driver.host, driver.kinds, driver.batch, driver.slot, driver.outcomes
local compile, OUTCOME, PHASE_LUA = driver.compile, driver.OUTCOME, driver.PHASE_LUA
local new_coroutine, resume, yield = coroutine.create, coroutine.resume, coroutine.yield

local CALLBACKS = { "load", "abort_early", "load_friends", "abort_late", "process_data" }

--- An event's fact as people read it: path(from = 1, to = 3) 0a1b2c3d4e5f.
local function show(kind, row)
  local parts = {}
  for i, field in ipairs(kind.fields) do
    local value = row[field.name]
    if type(value) == "string" then
      value = ("%q"):format(#value > 40 and value:sub(1, 40) .. "…" or value)
    elseif type(value) == "table" then
      value = ("{%d values}"):format(#value)
    end
    parts[i] = field.name .. " = " .. tostring(value)
  end
  local digits = row._id:sub(1, 6):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  return ("%s(%s) %s"):format(kind.name, table.concat(parts, ", "), digits)
end

local util = require("jit.util")

local function op_of(func, pc)
  local ins = util.funcbc(func, pc)
  return ins and ins % 256
end

-- CALLT and CALLMT, learnt from code that has them: their numbers differ between LuaJITs.
local is_tail_call = {}
for _, code in ipairs({ "local f = ... return f()", "local f = ... return f(...)" }) do
  local func, pc, last = loadstring(code), 1, nil
  while op_of(func, pc) do
    last, pc = op_of(func, pc), pc + 1
  end
  is_tail_call[last] = true
end

--- A callback that ends with `return f()` is gone when f raises. The line of its only such call, or its first line.
local function tail_line(func)
  local line, count, pc = nil, 0, 1
  while op_of(func, pc) do
    if is_tail_call[op_of(func, pc)] then
      line, count = util.funcinfo(func, pc).currentline, count + 1
    end
    pc = pc + 1
  end
  return count == 1 and line or debug.getinfo(func, "S").linedefined, count
end

--- The callback that was left by a tail call before something raised, and the line; nil: none is.
local function left_callback(module, is_gathering)
  for _, name in ipairs(is_gathering and { "load_friends", "load", "abort_early" } or { "process_data", "abort_late" }) do
    if module[name] then
      local line, count = tail_line(module[name])
      if count > 0 then
        return name, line
      end
    end
  end
end

local function text_of(err)
  if type(err) == "table" and err.message then
    return (err.where and err.where ~= "" and err.where .. ": " or "") .. tostring(err.message)
  end
  return tostring(err)
end

--- What an error says; what an object does when it is asked may raise, too.
local function words_of(err)
  local ok, text = pcall(text_of, err)
  return ok and text or "an error without words"
end

--- What an error raised by a callback says, with the callback, the fact, and the app's own frames: co is where it was
--- raised, nil: here, in the handler of xpcall.
local function trace_of(lifecycle, err, event, co)
  local module, names = lifecycle.module, {}
  for _, name in ipairs(CALLBACKS) do
    names[module[name] or name] = name
  end
  local text, callback, frames = words_of(err), nil, {}
  for level = co and 0 or 2, 60 do
    local info
    if co then
      info = debug.getinfo(co, level, "Slnf")
    else
      info = debug.getinfo(level + 1, "Slnf")
    end
    if not info then
      break
    end
    callback = callback or names[info.func]
    local is_ours = info.source:find("^@host/script/") or info.source:find("^=")
    if not is_ours then
      local name = names[info.func] or info.name
      frames[#frames + 1] = ("\t%s:%d: in function %s"):format(info.short_src, info.currentline,
        name and "'" .. name .. "'" or ("<%s:%d>"):format(info.short_src, info.linedefined))
    end
  end
  if not callback then
    local line
    callback, line = left_callback(module, co ~= nil)
    if callback then
      text = text:find("^[^\n:]+%.lua:%d+: ") and text or ("%s:%d: %s"):format(lifecycle.path, line, text)
      frames[#frames + 1] = ("\t%s:%d: in function '%s'"):format(lifecycle.path, line, callback)
    end
  end
  local kind = kinds[lifecycle.on]
  local ok, fact = pcall(show, kind, kind.data[event])
  local head = ("in %s of %s, for %s"):format(callback or "a callback", lifecycle.name, ok and fact or lifecycle.on)
  return { text = text, trace = ("%s\n%s\nstack traceback:\n%s"):format(text, head, table.concat(frames, "\n")) }
end

local function park(event, err)
  if type(err) ~= "table" or not err.text then
    err = { text = tostring(err), trace = tostring(err) }
  end
  host.park(event, err.text, err.trace)
end

--- How many values load_friends hands on: process_data's parameters less data and found.
local function arity(lifecycle)
  local info = debug.getinfo(lifecycle.module.process_data, "u")
  if info.isvararg then
    error(("%s: process_data must name its parameters"):format(lifecycle.path), 0)
  end
  return math.max(info.nparams - 2, 0)
end

--- gather(n): load, abort_early and load_friends of events 0 .. n-1.
local function make_gather(lifecycle, data, got)
  local m = lifecycle.module
  local n_got = #got
  local slots = {}
  for i = 1, n_got do
    slots[i] = ("got%d[i]"):format(i)
  end
  local code = { "local next_event, count = 0, 0", "local function run() while true do",
    "while next_event < count do local i = next_event next_event = i + 1 state.current = i slot.current = i slot.beat = slot.beat + 1",
    "local ev = rows[i]" }
  if m.load then
    code[#code + 1] = "ev = load(db, ev) if ev == nil then error('load returned nil', 0) end"
    code[#code + 1] = "slot.current = i"
  end
  code[#code + 1] = "data[i] = ev"
  code[#code + 1] = "local early, reason = false"
  if m.abort_early then
    code[#code + 1] = "early, reason = abort_early(ev)"
  end
  code[#code + 1] = "if early then outcomes[i] = EARLY if reason ~= nil then note(EARLY, reason) end else"
  if m.load_friends and n_got > 0 then
    code[#code + 1] = ("%s = load_friends(db, ev)"):format(table.concat(slots, ", "))
  elseif m.load_friends then
    code[#code + 1] = "load_friends(db, ev)"
  end
  code[#code + 1] = "outcomes[i] = READY end end yield(true) end end"
  code[#code + 1] = "return run, function(n) next_event, count = 0, n end, function() return next_event < count end"
  local env = { state = {}, slot = slot, rows = kinds[lifecycle.on].data, data = data, db = lifecycle.db, outcomes = outcomes,
    EARLY = OUTCOME.EARLY, READY = OUTCOME.READY, note = host.reason, load = m.load or false, abort_early = m.abort_early or false,
    load_friends = m.load_friends or false, yield = yield, error = error }
  for i = 1, n_got do
    env["got" .. i] = got[i]
  end
  local run, start, has_more = compile(lifecycle.name .. " gather", table.concat(code, "\n"), env)
  local pool, state = {}, env.state

  local function one(co, stuck)
    local ok, done = resume(co)
    if not ok then
      park(state.current, trace_of(lifecycle, done, state.current, co))
    elseif done then
      pool[#pool + 1] = co
    else
      state.owner[co] = state.current
      stuck[#stuck + 1] = co
    end
  end

  return function(n)
    start(n)
    state.owner = {}
    slot.phase = PHASE_LUA
    local stuck = {}
    repeat
      while has_more() do
        one(table.remove(pool) or new_coroutine(run), stuck)
      end
      host.fetch()
      slot.phase = PHASE_LUA
      local waiting = stuck
      stuck = {}
      for _, co in ipairs(waiting) do
        -- The coroutine goes on with its own event, then takes over the loop.
        slot.current = state.owner[co]
        state.current = state.owner[co]
        one(co, stuck)
      end
    until #stuck == 0 and not has_more()
    host.fetch() -- what events looked up after they had waited, and handed on unused
    slot.current = -1
  end
end

--- process(first, n): abort_late and process_data of the READY events from first on; returns the next to run.
local function make_process(lifecycle, data, got)
  local m = lifecycle.module
  local args = {}
  for i = 1, #got do
    args[i] = ("got%d[i]"):format(i)
  end
  local friends = #args > 0 and table.concat(args, ", ") .. ", " or ""
  local late_args = #args > 0 and ", " .. table.concat(args, ", ") or ""
  local code = { "return function(i, n) while i < n and batch.find_count < batch.find_limit do",
    "if outcomes[i] == READY then slot.current = i slot.beat = slot.beat + 1 state.flushed = false",
    "local ev = data[i]", "local late, reason = false" }
  if m.abort_late then
    code[#code + 1] = ("late, reason = abort_late(ev%s)"):format(late_args)
  end
  code[#code + 1] = "if late then outcomes[i] = LATE if reason ~= nil then note(LATE, reason) end else"
  code[#code + 1] = "local before = batch.find_count"
  code[#code + 1] = ("process_data(ev, %sfound)"):format(friends)
  -- A write in the middle of the event may have parked it already.
  code[#code + 1] = "if outcomes[i] == READY then"
  code[#code + 1] = "outcomes[i] = (batch.find_count > before or state.flushed) and FOUND or EMPTY"
  code[#code + 1] = "end end end i = i + 1 end return i end"
  local state = lifecycle.state
  local env = { batch = batch, outcomes = outcomes, slot = slot, data = data, note = host.reason, READY = OUTCOME.READY, LATE = OUTCOME.LATE,
    FOUND = OUTCOME.FOUND, EMPTY = OUTCOME.EMPTY, abort_late = m.abort_late or false, process_data = m.process_data,
    found = lifecycle.found, state = state }
  for i = 1, #got do
    env["got" .. i] = got[i]
  end
  local loop = compile(lifecycle.name .. " process", table.concat(code, "\n"), env)
  local function trace(err)
    return trace_of(lifecycle, err, slot.current)
  end
  return function(first, n)
    slot.phase = PHASE_LUA
    local i = first
    while i < n do
      local ok, result = xpcall(function() return loop(i, n) end, trace)
      if ok then
        i = result
        break
      end
      local event = slot.current
      if host.is_fatal() then -- a write in the middle of an event failed: the whole turn runs again
        error(result.text, 0)
      end
      park(event, result)
      i = event + 1
    end
    slot.current = -1
    return i
  end
end

driver.arity, driver.make_gather, driver.make_process = arity, make_gather, make_process
