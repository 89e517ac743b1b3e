--- Samples: a lifecycle's examples; for each, as for real facts, that order and repetition change nothing, and that
--- more friends never mean fewer finds.
local check = ...

local problem, locate = check.problem, check.locate

local SHUFFLES, SUBSETS = 6, 12

--- Friends of one event that are looked at.
check.FRIENDS_MAX = 200

-- The same draws every time, whatever the app does with math.random.
local seed = 12345
local function draw(n)
  seed = (seed * 16807) % 2147483647
  return seed % n + 1
end

check.draw = draw

local function shuffled(list)
  local out = { unpack(list) }
  for i = #out, 2, -1 do
    local j = draw(i)
    out[i], out[j] = out[j], out[i]
  end
  return out
end

local function some(list)
  local out = {}
  for _, one in ipairs(list) do
    if draw(2) == 1 then
      out[#out + 1] = one
    end
  end
  return out
end

--- The first find of a that b does not have.
local function missing(a, b)
  for _, fact in ipairs(a.list) do
    if not b.finds[fact.full] then
      return fact
    end
  end
end

local function map_friends(friends, change)
  local out = {}
  for i, one in ipairs(friends) do
    out[i] = one.kind and { kind = one.kind, facts = change(one.facts, i) } or one
  end
  return out
end

local function count_of(friends)
  local n, largest = 0, 0
  for _, one in ipairs(friends) do
    n = n + #one.facts
    largest = math.max(largest, #one.facts)
  end
  return n, largest
end

local function words_of(fact)
  return check.show(fact.kind, fact.values)
end

local function line_of(lifecycle)
  return debug.getinfo(lifecycle.module.process_data, "S").linedefined
end

--- A problem; a warning only when it takes friends that no example has.
local function tell(rule, lifecycle, line, words, fix, is_made_up)
  problem(is_made_up and "warning" or "error", rule, lifecycle.path, line,
    words .. (is_made_up and " (friends made up after those of an example)" or ""),
    fix .. (is_made_up and "; if such friends cannot be, let the example have two that can" or ""))
end

local function check_order(lifecycle, fact, friends, whole, is_made_up)
  for _ = 1, SHUFFLES do
    local other = check.run(lifecycle, fact, nil, map_friends(friends, shuffled))
    if other.outcome == "failed" or other.outcome == "unknown" then
      return
    end
    local gone = missing(whole, other) or missing(other, whole)
    if gone then
      tell("order", lifecycle, gone.line,
        ("the order of friends decides: %s is found in one order of them and not in another"):format(words_of(gone)),
        "friends come in no order that means something: look at all of them, keep no first or last", is_made_up)
      return
    end
  end
end

local function check_repeat(lifecycle, fact, friends, whole)
  local other = check.run(lifecycle, fact, nil, map_friends(friends, function(list) return list end))
  local gone = other.outcome == "done" and (missing(whole, other) or missing(other, whole))
  if gone then
    problem("error", "pure", lifecycle.path, gone.line,
      ("not pure: run twice for %s, only one time it finds %s"):format(words_of(fact), words_of(gone)),
      "keep no state between events, use no clock and no chance")
    return false
  end
  return other.outcome == "done"
end

--- Friends without some, one list of subsets for all look-ups.
local function subset(friends, number)
  if number == 1 then
    return map_friends(friends, function() return {} end)
  elseif number <= 6 then -- without one of them
    return map_friends(friends, function(list)
      local out = { unpack(list) }
      if #out > 0 then
        table.remove(out, draw(#out))
      end
      return out
    end)
  end
  return map_friends(friends, some)
end

local function check_monotone(lifecycle, fact, friends, whole, is_made_up)
  for number = 1, SUBSETS do
    local fewer = subset(friends, number)
    local other = check.run(lifecycle, fact, nil, fewer)
    if other.outcome == "unknown" then
      return
    end
    local gone = missing(other, whole)
    if gone then
      tell("monotone", lifecycle, gone.line or line_of(lifecycle),
        ("not monotone: for %s it finds %s with %d friends, and not with %d"):format(words_of(fact), words_of(gone),
          (count_of(fewer)), (count_of(friends))) .. (whole.outcome == "late" and " (abort_late)" or ""),
        "never conclude from what is missing: friends may still come. If that is meant, say monotone = false",
        is_made_up)
      return
    end
  end
end

--- Probes one event: data and what load_friends returned. is_made_up: no example or database has these friends.
function check.probe(lifecycle, fact, friends, whole, is_made_up)
  local n, largest = count_of(friends)
  if whole.outcome ~= "done" and whole.outcome ~= "late" or largest > check.FRIENDS_MAX then
    return
  end
  if whole.outcome == "done" and not check_repeat(lifecycle, fact, friends, whole) then
    return
  end
  if n > 1 and whole.outcome == "done" then
    check_order(lifecycle, fact, friends, whole, is_made_up)
  end
  if n > 0 and lifecycle.module.monotone then
    check_monotone(lifecycle, fact, friends, whole, is_made_up)
  end
end

-- Examples ------------------------------------------------------------------------------------------------------------

local function example_line(lifecycle, name)
  local text = check.text_of(lifecycle.path)
  local from = text:find("examples%s*=") or 1
  local place = text:find("%f[%w_]" .. tostring(name):gsub("%W", "%%%0") .. "%f[^%w_]", from + 8)
  return check.line_at(text, place or from)
end

--- A fact of a table of an example: by name, or in order.
local function fact_of_table(kind, t)
  if type(t) ~= "table" then
    return nil, ("wanted a table of fields of %s, got %s"):format(kind.name, check.describe(t))
  end
  local values = {}
  for key, value in pairs(t) do
    local field = type(key) == "number" and kind.fields[key] or kind.by_name[key]
    if not field then
      return nil, ("%s has no field %q%s"):format(kind.name, tostring(key), check.did_you_mean(key, kind.field_names))
    end
    values[field.name] = value
  end
  for _, field in ipairs(kind.fields) do
    local words = check.value_problem(kind, field, values[field.name])
    if words then
      return nil, words
    end
  end
  return check.make_fact(kind, values)
end

--- Kinds of what load_friends returns, by number; nil where it cannot be told.
local function kinds_of_friends(lifecycle, fact)
  local kinds, only = {}, nil
  for name in pairs(lifecycle.friend_kinds) do
    only = only == nil and name or false
  end
  local saved = #check.problems
  local run = lifecycle.module.load_friends and check.run(lifecycle, fact)
  while #check.problems > saved do -- with no facts at all it may well fail
    table.remove(check.problems)
  end
  for i = 1, lifecycle.arity do
    kinds[i] = run and run.friends and run.friends[i].kind or only and check.kinds[only] or nil
  end
  return kinds
end

local function kind_with(lifecycle, t)
  for name in pairs(lifecycle.friend_kinds) do
    local fits = type(t) == "table"
    for key in pairs(fits and t or {}) do
      fits = fits and (type(key) == "number" or check.kinds[name].by_name[key] ~= nil)
    end
    if fits then
      return check.kinds[name]
    end
  end
end

--- Friends of an example as check.run takes them; nil and why not.
local function read_friends(lifecycle, example, kinds)
  local friends = {}
  if type(example.friends or {}) ~= "table" then
    return nil, "friends: wanted a list of lists of rows"
  elseif #(example.friends or {}) > lifecycle.arity then
    return nil, ("friends: %d lists, but process_data takes %d"):format(#example.friends, lifecycle.arity)
  end
  for i = 1, lifecycle.arity do
    local rows = example.friends and example.friends[i] or {}
    local kind = kinds[i] or kind_with(lifecycle, rows[1])
    if not kind then
      return nil, nil
    end
    friends[i] = { kind = kind, facts = {} }
    for k, row in ipairs(rows) do
      local fact, words = fact_of_table(kind, row)
      if not fact then
        return nil, ("friends[%d][%d]: %s"):format(i, k, words)
      end
      friends[i].facts[k] = fact
    end
  end
  return friends
end

--- Compares finds with what the example says is found.
local function compare(lifecycle, name, example, run)
  if example.found == nil then
    return
  end
  local line = example_line(lifecycle, name)
  local declared = {}
  for kind_name, list in pairs(example.found) do
    local kind = check.kinds[kind_name]
    if not kind then
      problem("error", "example", lifecycle.path, line, ("examples.%s: found: no kind %q%s"):format(name,
        tostring(kind_name), check.did_you_mean(kind_name, check.kind_names)))
      return
    end
    for _, t in ipairs(list) do
      local fact, words = fact_of_table(kind, t)
      if not fact then
        problem("error", "example", lifecycle.path, line, ("examples.%s: found: %s"):format(name, words))
        return
      end
      declared[fact.full] = fact
      if not run.finds[fact.full] then
        problem("error", "example", lifecycle.path, line, ("examples.%s: wanted %s, which is not found"):format(name,
          words_of(fact)), "mend the example or process_data")
      end
    end
  end
  for _, fact in ipairs(run.list) do
    if not declared[fact.full] then
      problem("error", "example", lifecycle.path, line, ("examples.%s: finds %s, which it does not say"):format(name,
        words_of(fact)), "mend the example or process_data")
    end
  end
end

--- A value that differs.
local function another(field, value)
  if field.is_array then
    local list = { unpack(value) }
    list[#list + 1] = list[#list]
    return list
  elseif field.type == "bool" then
    return not value
  elseif field.type == "uuid" then
    return string.char((value:byte(1) + 1) % 256) .. value:sub(2)
  elseif field.type == "int8" or field.type == "float8" then
    return value + 1
  end
  return value .. "~"
end

--- A store of data, friends, and of facts like each friend but for one unique field.
local function store_of(fact, friends, is_varied)
  local store = check.make_store()
  store.add(fact)
  for _, one in ipairs(friends) do
    for _, friend in ipairs(one.facts) do
      store.add(friend)
    end
  end
  for _, one in ipairs(is_varied and friends or {}) do
    for _, friend in ipairs(one.facts) do
      for _, field in ipairs(one.kind.fields) do
        local values = {}
        for name, value in pairs(friend.values) do
          values[name] = value
        end
        values[field.name] = field.is_unique and another(field, values[field.name]) or values[field.name]
        store.add(check.make_fact(one.kind, values))
      end
    end
  end
  return store
end

--- An example with at most one friend in each list cannot show what a second one does: probes it with more like them.
local function probe_with_more(lifecycle, fact, friends)
  local _, largest = count_of(friends)
  if largest ~= 1 or not lifecycle.module.load_friends then
    return
  end
  local told = #check.problems
  local run = check.run(lifecycle, fact, store_of(fact, friends, true).find)
  if run.friends and (run.outcome == "done" or run.outcome == "late") then
    check.probe(lifecycle, fact, run.friends, run, true)
  end
  for i = #check.problems, told + 1, -1 do -- what has no such friends may fail of them
    if check.problems[i].level == "error" then
      table.remove(check.problems, i)
    end
  end
end

--- Whether the look-ups of load_friends find the example's friends among all of them.
local function check_look_ups(lifecycle, name, fact, friends)
  if not lifecycle.module.load_friends then
    return
  end
  local run = check.run(lifecycle, fact, store_of(fact, friends).find)
  for i, one in ipairs(run.friends or {}) do
    local known = {}
    for _, friend in ipairs(one.facts) do
      known[friend.full] = true
    end
    for _, friend in ipairs(one.kind and friends[i].facts or {}) do
      if not known[friend.full] then
        problem("warning", "look-up", lifecycle.path, example_line(lifecycle, name),
          ("examples.%s: load_friends does not look up %s"):format(name, words_of(friend)),
          "mend the look-up, or take the row out of the example")
        return
      end
    end
  end
end

--- Facts of all examples, for check.grow.
check.example_facts = {}

local function sample(lifecycle, name, example)
  local line = example_line(lifecycle, name)
  local kind = check.kinds[lifecycle.on]
  if type(example) ~= "table" then
    problem("error", "example", lifecycle.path, line, ("examples.%s: wanted a table, got %s"):format(name,
      check.describe(example)), "write NAME = { data = {...}, friends = {...}, found = {...} }")
    return
  end
  local fact, words = fact_of_table(kind, example.data)
  if not fact then
    problem("error", "example", lifecycle.path, line, ("examples.%s: data: %s"):format(name, words),
      "data has the fields of " .. kind.name .. ": " .. table.concat(kind.field_names, ", "))
    return
  end
  local friends, why = read_friends(lifecycle, example, kinds_of_friends(lifecycle, fact))
  if not friends then
    if why then
      problem("error", "example", lifecycle.path, line, ("examples.%s: %s"):format(name, why),
        "friends is a list: for each value that load_friends returns a list of rows")
    end
    return
  end
  table.insert(check.example_facts, fact)
  for _, one in ipairs(friends) do
    for _, friend in ipairs(one.facts) do
      table.insert(check.example_facts, friend)
    end
  end
  local run = check.run(lifecycle, fact, nil, friends)
  if run.outcome == "failed" or run.outcome == "unknown" then
    return
  end
  check.sampled[lifecycle.name].examples = check.sampled[lifecycle.name].examples + 1
  compare(lifecycle, name, example, run)
  check_look_ups(lifecycle, name, fact, friends)
  check.probe(lifecycle, fact, friends, run)
  if not check.has_error(lifecycle.path) then
    probe_with_more(lifecycle, fact, friends)
  end
  check.forget_rows()
end

function check.sample_examples(lifecycle)
  local examples = lifecycle.module.examples
  if examples == nil then
    return
  elseif type(examples) ~= "table" then
    problem("error", "example", lifecycle.path, locate(lifecycle.path, "examples"), "examples: wanted a table, got "
      .. check.describe(examples), "write M.examples = { hit = { data = {...} } }")
    return
  end
  local names = {}
  for name in pairs(examples) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    sample(lifecycle, name, examples[name])
  end
end
