--- Measures a lifecycle's callbacks over the events of a batch that has been gathered: each is called again and again with
--- what the events brought. Their friends are in memory; finds are counted and forgotten; nothing is written.
local driver = ...

local ffi = require("ffi")
local bench = require("accrete.bench")

local host, kinds, batch, slot, outcomes, handles = driver.host, driver.kinds, driver.batch, driver.slot, driver.outcomes, driver.handles
local compile, OUTCOME = driver.compile, driver.OUTCOME
local new_coroutine, resume, yield = coroutine.create, coroutine.resume, coroutine.yield

local heap = ffi.cast("struct acc_heap *", host.heap)
local HANDLE_BYTES = ffi.sizeof("struct acc_handle")

local NO_WORDS = "an error without words"

local function text_of(err)
  if type(err) == "table" then
    err = err.text or err.message or NO_WORDS
  end
  return tostring(err)
end

--- Its first line; what an error object does when it is asked may raise, too.
local function words_of(err)
  local ok, text = pcall(text_of, err)
  return ((ok and text or NO_WORDS):gsub("\n.*", ""))
end

--- Numbers of the look-ups that each event made, in their order.
local function look_ups_of(count)
  local own = {}
  for e = 0, count - 1 do
    own[e] = {}
  end
  for h = 0, batch.handle_count - 1 do
    local list = own[handles[h].event]
    list[#list + 1] = h
  end
  return own
end

--- Lines that forget what a call has left: keys and handles of look-ups, finds, their texts.
local function forget_code(lifecycle, env)
  local code = { "batch.handle_count = handle_count batch.find_count = 0 batch.friend_id_count = 0 heap.used = used" }
  for i, friend in ipairs(lifecycle.friends) do
    env["keys" .. i] = ffi.cast("struct acc_rows *", friend.keys.rows_struct)
    code[#code + 1] = ("keys%d.count = 0"):format(i)
  end
  for i, name in ipairs(lifecycle.finds) do
    env["finds" .. i] = kinds[name].find_rows
    code[#code + 1] = ("finds%d.count = 0"):format(i)
  end
  return table.concat(code, " ")
end

--- run(n): n calls, event by event and round again. leaves: what a call leaves behind is forgotten before the next.
--- In a coroutine it yields true after n calls and takes the next n.
local function make_calls(lifecycle, events, call, leaves, in_coroutine, env)
  env.batch, env.heap, env.slot, env.events, env.count, env.yield = batch, heap, slot, events, #events, yield
  env.handle_count, env.used = batch.handle_count, heap.used
  local loop = ([[for _ = 1, n do
    at = at + 1 if at > count then at = 1 end
    local e = events[at] slot.current = e
    %s
    if %s then hits = hits + 1 end
  end]]):format(leaves and forget_code(lifecycle, env) or "", call)
  local text = in_coroutine and ("while true do %s n = yield(true) end"):format(loop) or loop
  return compile(lifecycle.name .. " bench", ("local at, hits = 0, 0 return function(n) %s end"):format(text), env)
end

--- The same for callbacks that look up: what an event found when it was gathered is put where it looks again, as soon as it
--- uses that. skip[e]: so many of its look-ups were made by the callback before.
local function make_look_ups(lifecycle, events, call, own, skip, env)
  local co = new_coroutine(make_calls(lifecycle, events, call, true, true, env))
  local first = batch.handle_count
  local function fill()
    local e = slot.current
    for h = first, batch.handle_count - 1 do
      local source = own[e][(skip[e] or 0) + h - first + 1]
      if not source then
        error("it looked up other facts when it was called again", 0)
      end
      ffi.copy(handles + h, handles + source, HANDLE_BYTES)
    end
  end
  return function(n)
    local ok, done = resume(co, n)
    while ok and not done do
      fill()
      ok, done = resume(co)
    end
    if not ok then
      error(done, 0)
    end
  end
end

--- Calls once with each event, one(1) with the next; those it raises for are left out.
--- One pcall for many events, not one each: the JIT would give up on the callback.
local function try(events, one)
  local kept, failed, why, at = {}, 0, nil, 1
  local function rest()
    while at <= #events do
      one(1)
      kept[#kept + 1] = events[at]
      at = at + 1
    end
  end
  while at <= #events do
    local ok, err = pcall(rest)
    if not ok then
      failed, why, at = failed + 1, why or words_of(err), at + 1
    end
  end
  return kept, failed, why
end

--- Tells what measuring events gave, or why there is nothing. make() gives what is measured; notes says what else there is to
--- say, and notes.raised that samples that are not among events have raised.
local function tell(report, part, events, make, options, notes)
  local all, result, is_failed = { unpack(notes) }, {}, nil
  if #events == 0 then
    is_failed = notes.raised
    all[#all + 1] = not is_failed and "no sample gets this far" or nil
  else
    local ok, got = pcall(function() return bench.measure(make(), options) end)
    slot.current = -1
    if ok then
      result = got
    else
      is_failed, all[#all + 1] = true, words_of(got)
    end
  end
  report.result(part, result.ns, result.ci_ns, result.runs or 0, #events, table.concat(all, "; "), is_failed)
end

local function raised(failed, count, why)
  return failed > 0 and ("%d of %d samples raised: %s"):format(failed, count, why) or nil
end

--- load: skip[e] becomes the number of its look-ups.
local function bench_load(lifecycle, events, own, skip, report, options, notes)
  local function make()
    return make_look_ups(lifecycle, events, "load(db, rows[e]) ~= nil", own, {},
      { rows = kinds[lifecycle.on].data, db = lifecycle.db, load = lifecycle.module.load })
  end
  local first = batch.handle_count
  report.begin("load")
  tell(report, "load", events, function()
    local one = make()
    for _, e in ipairs(events) do
      one(1)
      skip[e] = batch.handle_count - first
      batch.handle_count = first
    end
    return make()
  end, options, notes)
  batch.handle_count = first
end

--- gathered: events whose load, abort_early and load_friends did not raise; ready: of these, who were not aborted.
local function bench_gather(lifecycle, gathered, ready, report, options, notes)
  local m, own, skip = lifecycle.module, look_ups_of(batch.run_count), {}
  if m.load then
    bench_load(lifecycle, gathered, own, skip, report, options, notes)
  end
  if m.abort_early then
    report.begin("abort_early")
    tell(report, "abort_early", gathered, function()
      return make_calls(lifecycle, gathered, "abort_early(data[e])", false, false,
        { data = lifecycle.events, abort_early = m.abort_early })
    end, options, notes)
  end
  if m.load_friends then
    local first = batch.handle_count
    report.begin("load_friends")
    tell(report, "load_friends", ready, function()
      return make_look_ups(lifecycle, ready, "load_friends(db, data[e]) ~= nil", own, skip,
        { data = lifecycle.events, db = lifecycle.db, load_friends = m.load_friends })
    end, options, notes)
    batch.handle_count = first
  end
end

--- Measures abort_late or process_data over those events for which it does not raise; returns them.
local function bench_one(lifecycle, part, events, env, call, leaves, report, options, notes)
  env[part], env.data = lifecycle.module[part], lifecycle.events
  for i, list in ipairs(lifecycle.got) do
    env["got" .. i] = list
  end
  report.begin(part)
  local kept, failed, why = try(events, make_calls(lifecycle, events, call, leaves, false, env))
  local all = { raised = notes.raised or failed > 0, unpack(notes) }
  all[#all + 1] = raised(failed, #events, why)
  tell(report, part, kept, function()
    return make_calls(lifecycle, kept, call, leaves, false, env)
  end, options, all)
  return kept
end

local function bench_process(lifecycle, ready, report, options, notes)
  local got = {}
  for i in ipairs(lifecycle.got) do
    got[i] = ("got%d[e], "):format(i)
  end
  local friends = table.concat(got)
  if lifecycle.module.abort_late then
    local is_late, going, env = {}, {}, {}
    local call = ("abort_late(%s)"):format(("data[e], " .. friends):sub(1, -3))
    local kept = bench_one(lifecycle, "abort_late", ready, env, call, false, report, options, notes)
    env.late = function(e)
      is_late[e] = true
      return true
    end
    try(kept, make_calls(lifecycle, kept, call .. " and late(e)", false, false, env))
    for _, e in ipairs(kept) do
      going[#going + 1] = not is_late[e] and e or nil
    end
    ready = going
  end
  bench_one(lifecycle, "process_data", ready, { found = lifecycle.found },
    ("process_data(data[e], %sfound)"):format(friends), true, report, options, notes)
end

-- Examples ----------------------------------------------------------------------------------------

--- put(values): a row of kind at the end of those that are data or friends; the values by name, or in order.
local function make_writer(kind, which)
  local rows = ffi.cast("struct acc_rows *", host.rows_struct(kind.index, which))
  local code = { "return function(values)", "local n = rows.count local o = places[n] o.nulls = 0 o.raw_id[0] = n % 256" }
  for i, field in ipairs(kind.fields) do
    code[#code + 1] = ("local v%d = values.%s if v%d == nil then v%d = values[%d] end"):format(i, field.name, i, i, i)
    code[#code + 1] = driver.store_code(kind.name, field, i - 1, "v" .. i)
  end
  code[#code + 1] = "rows.count = n + 1 return n end"
  return compile("example of " .. kind.name, table.concat(code, "\n"), driver.store_env({
    rows = rows, places = ffi.cast(("acc_out_%s *"):format(kind.name), host.rows(kind.index, which)), tonumber = tonumber,
  }))
end

--- The kind that a list of an example's friends is of: the first declared one that has all its fields.
local function kind_of(lifecycle, list)
  for _, friend in ipairs(lifecycle.friends) do
    local kind, fits = kinds[friend.kind], true
    for name in pairs(list[1] or {}) do
      fits = fits and (type(name) == "number" or kind.by_name[name] ~= nil)
    end
    if fits then
      return kind
    end
  end
  error("no kind that is looked up has these fields", 0)
end

local function put_example(lifecycle, example)
  local e = make_writer(kinds[lifecycle.on], "data")(example.data)
  for i, list in ipairs(lifecycle.got) do
    local friends = (example.friends or {})[i] or {}
    local kind = kind_of(lifecycle, friends)
    local writer, h = make_writer(kind, "friends"), batch.handle_count
    local first = h == 0 and 0 or handles[h - 1].e
    for k, values in ipairs(friends) do
      driver.index[first + k - 1] = writer(values)
    end
    handles[h].b, handles[h].e, handles[h].key_count, handles[h].loaded, handles[h].event = first, first + #friends, 0, 1, e
    batch.handle_count = h + 1
    list[e] = kind.handles[h]
  end
  local data = kinds[lifecycle.on].data[e]
  lifecycle.events[e] = data
  outcomes[e] = lifecycle.module.abort_early and lifecycle.module.abort_early(data) and OUTCOME.EARLY or OUTCOME.READY
  return e
end

--- Makes M.examples the batch's events, with their friends; returns how many there are. Those that are wrong are left out
--- (accrete check says why), and all of a lifecycle with load: what that looks up they do not say.
function driver.bench_examples(lifecycle)
  local examples, names, count = lifecycle.module.examples, {}, 0
  for name in pairs(type(examples) == "table" and not lifecycle.module.load and examples or {}) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local ok, e = pcall(put_example, lifecycle, examples[name])
    if not ok then
      break -- what it has left behind is its own
    end
    count = e + 1
  end
  batch.event_count, batch.run_count = count, count
  return count
end

--- Measures how a row of a kind, one of count that are data, becomes a Lua table.
function driver.bench_rows(name, count, options)
  local kind, parts = kinds[name], {}
  for i, field in ipairs(kind.fields) do
    parts[i] = ("%s = row.%s"):format(field.name, field.name)
  end
  local run = compile("bench of rows", ("local at, kept = 0 return function(n) for _ = 1, n do local row = rows[at] kept = { %s } "
    .. "at = at + 1 if at == count then at = 0 end end return kept end"):format(table.concat(parts, ", ")),
    { rows = kind.data, count = count })
  return bench.measure(run, options)
end

--- report: { begin(part), result(part, ns, ci_ns, runs, samples, note, is_failed) }. options: { runs, limit_ms (of one part), failed, why
--- (events that raised while they were gathered), asks (queries of the lifecycle's own that it took), note }.
function driver.bench(lifecycle, report, options)
  local gathered, ready, notes = {}, {}, { raised = options.failed > 0 }
  for e = 0, batch.run_count - 1 do
    if outcomes[e] == OUTCOME.READY or outcomes[e] == OUTCOME.EARLY then
      gathered[#gathered + 1] = e
    end
    if outcomes[e] == OUTCOME.READY then
      ready[#ready + 1] = e
    end
  end
  notes[1] = options.note
  notes[#notes + 1] = raised(options.failed, batch.run_count, options.why and words_of(options.why))
  local computing = { runs = options.runs, limit_ms = options.limit_ms, clock = "cpu", batch = true }
  local asking = { runs = options.runs, limit_ms = options.limit_ms, clock = options.asks > 0 and "wall" or "cpu", batch = true }
  bench_gather(lifecycle, gathered, ready, report, asking, notes)
  bench_process(lifecycle, ready, report, computing, notes)
end
