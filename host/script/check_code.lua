--- Reads an app's code without running it: syntax, and LuaJIT's own bytecode for names, which is exact about lines.
local check = ...

local util = require("jit.util")
local bit = require("bit")

local problem, locate = check.problem, check.locate
local friends_fix = check.host.part("friends_fix")

local function op_of(func, pc)
  local ins = util.funcbc(func, pc)
  return ins and bit.band(ins, 0xff), ins
end

--- Numbers of the operations we look for, learnt from code that has them: they differ between LuaJITs.
local function learn()
  local op = {}
  local function find(name, code, at)
    op[name] = op_of(loadstring(code), at)
  end
  find("GGET", "return a_global", 1)
  find("GSET", "a_global = ...", 2)
  find("TGETS", "local t = ... return t.name", 2)
  find("FNEW", "return function() end", 1)
  local function find_last(name, code)
    local func, pc = loadstring(code), 1
    while op_of(func, pc) do
      op[name], pc = op_of(func, pc), pc + 1
    end
  end
  find_last("CALLT", "local f = ... return f()")
  find_last("CALLMT", "local f = ... return f(...)")
  for name, value in pairs({ USETV = "v", USETS = '"s"', USETN = "1", USETP = "nil" }) do
    local set = loadstring("local u return function(v) u = " .. value .. " end")()
    op[name] = op_of(set, 1)
  end
  return op
end

local op = learn()

local known_globals = {}
for name in pairs(_G) do
  known_globals[#known_globals + 1] = name
end
table.sort(known_globals)

--- Calls visit(proto, pc, ins, op) for each instruction of a function and of those made inside it.
local function each_instruction(func, visit, depth)
  local pc = 1
  while true do
    local what, ins = op_of(func, pc)
    if not what then
      break
    end
    visit(func, pc, ins, what, depth or 0)
    pc = pc + 1
  end
  for i = -1, -util.funcinfo(func).gcconsts, -1 do
    local constant = util.funck(func, i)
    if type(constant) == "proto" then
      each_instruction(constant, visit, (depth or 0) + 1)
    end
  end
end

local function line_of(func, pc)
  return util.funcinfo(func, pc).currentline
end

local function name_of_global(func, ins)
  return util.funck(func, -bit.rshift(ins, 16) - 1)
end

--- Slot and key of TGETS.
local function index_of(func, ins)
  return bit.rshift(ins, 24), util.funck(func, -bit.band(bit.rshift(ins, 16), 0xff) - 1)
end

local YIELD = "a lifecycle does not yield: it waits by using what a look-up returned, in load or load_friends"
local CLOCK = "a result that depends on clock or chance differs from run to run: take it from the facts"

-- Members of globals that do not belong into a lifecycle: level, rule, what to do.
local unwanted = {
  ["coroutine.yield"] = { "error", "yield", YIELD },
  ["coroutine.wrap"] = { "error", "yield", YIELD },
  ["coroutine.create"] = { "error", "yield", YIELD },
  ["coroutine.resume"] = { "error", "yield", YIELD },
  ["math.random"] = { "error", "pure", CLOCK },
  ["os.time"] = { "error", "pure", CLOCK },
  ["os.clock"] = { "error", "pure", CLOCK },
  ["os.date"] = { "error", "pure", CLOCK },
  ["os.getenv"] = { "warning", "pure", "use settings: in accrete.yaml and require(\"accrete.settings\")" },
  ["io.open"] = { "warning", "pure", "let facts come by accrete ingest: files change, facts do not" },
}

local function read_lifecycle_word(file, line, name)
  local found = unwanted[name]
  if found then
    problem(found[1], found[2], file, line, name .. " in a lifecycle", found[3])
  end
end

--- Comments become blanks, so that places stay.
function check.without_comments(text)
  return (text:gsub("%-%-[^\n]*", function(comment)
    return (" "):rep(#comment)
  end))
end

--- Tools that a lifecycle has no use for: its own way is said.
local function read_modules(file)
  local text = check.without_comments(check.text_of(file))
  for _, module in ipairs({ "accrete.db", "accrete.queue" }) do
    local place = text:find("require%s*%(?%s*[\"']" .. module:gsub("%.", "%%.") .. "[\"']")
    if place then
      problem("error", "look-up", file, check.line_at(text, place), module .. " in a lifecycle",
        "look up by the first argument of load and load_friends (db.KIND:where, db:query), find by the last one of "
          .. "process_data")
    end
  end
end

--- The local of the module that a function at depth 1 gives another value, if the instruction does that.
local function kept_name(func, ins, what)
  if what == op.USETV or what == op.USETS or what == op.USETN or what == op.USETP then
    return util.funcuvname(func, bit.band(bit.rshift(ins, 8), 0xff))
  end
end

--- Syntax and globals of one file.
function check.read_code(file)
  local chunk, reason = loadstring(check.text_of(file), "@" .. file)
  if not chunk then
    local _, line, words = check.parse(reason)
    problem("error", "syntax", file, line or 1, words)
    return
  end
  local is_lifecycle = file:find("^lifecycles/") ~= nil
  local before -- the global that the instruction before has read, and its slot
  local made = {} -- globals that the file makes: told there, not where they are used
  if is_lifecycle then
    read_modules(file)
  end
  each_instruction(chunk, function(func, _, ins, what)
    if what == op.GSET then
      made[name_of_global(func, ins)] = true
    end
  end)
  each_instruction(chunk, function(func, pc, ins, what, depth)
    local read = before
    before = nil
    local kept = is_lifecycle and depth == 1 and kept_name(func, ins, what)
    if kept then
      problem("warning", "state", file, line_of(func, pc), ("%s is kept from one event to the next"):format(kept),
        "what is found must follow from the event and its friends alone: make it local to the function; "
          .. "a cache is require(\"accrete.ram\")")
    end
    if what == op.GSET then
      local name = name_of_global(func, ins)
      problem("error", "global", file, line_of(func, pc), ("global %q"):format(name), "write local " .. name)
    elseif what == op.GGET then
      local name = name_of_global(func, ins)
      before = { name = name, slot = bit.band(bit.rshift(ins, 8), 0xff) }
      if rawget(_G, name) == nil and not made[name] then
        problem("error", "global", file, line_of(func, pc), ("no global %q%s"):format(name,
          check.did_you_mean(name, known_globals)), "declare it with local above, or require its module")
      elseif is_lifecycle and (name == "pcall" or name == "xpcall") then
        problem("warning", "pcall", file, line_of(func, pc), name .. " in a lifecycle",
          "let errors pass: conflicts of the database go through them too, and the event is tried again")
      end
    elseif what == op.TGETS and read and is_lifecycle then
      local slot, key = index_of(func, ins)
      if slot == read.slot then
        read_lifecycle_word(file, line_of(func, pc), read.name .. "." .. tostring(key))
      end
    end
  end)
end

--- The line of the only `return f()` of a function, which is gone when f raises; else its first line.
function check.tail_line(func)
  local line, count, pc = nil, 0, 1
  while op_of(func, pc) do
    local what = op_of(func, pc)
    if what == op.CALLT or what == op.CALLMT then
      line, count = line_of(func, pc), count + 1
    end
    pc = pc + 1
  end
  return count == 1 and line or debug.getinfo(func, "S").linedefined
end

-- Callbacks -----------------------------------------------------------------------------------------------------------

local function has(list, value)
  for _, one in ipairs(list) do
    if one == value then
      return true
    end
  end
  return false
end

--- The lines of a function.
local function lines_of(text, info)
  local lines, number = {}, 0
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    if number >= info.linedefined and number <= info.lastlinedefined then
      lines[#lines + 1] = line
    end
  end
  return "\n" .. table.concat(lines, "\n")
end

--- Whether a parameter is given another value somewhere, so that its slot says nothing.
local function is_assigned(text, name)
  return text:find("\n%s*" .. name .. "%s*=[^=]") ~= nil or
    text:find("\n%s*" .. name .. "%s*,[^\n]-[^=<>~]=[^=]") ~= nil
end

--- Calls visit(key, line) for each NAME.key of parameter number n of a callback.
local function each_key(lifecycle, callback, n, visit)
  local func = lifecycle.module[callback]
  local info = debug.getinfo(func, "Su")
  local name = debug.getlocal(func, n)
  if info.nparams < n or not name or info.source ~= "@" .. lifecycle.path or
    is_assigned(lines_of(check.text_of(lifecycle.path), info), name) then
    return
  end
  each_instruction(func, function(proto, pc, ins, what, depth)
    if what == op.TGETS and depth == 0 then
      local slot, key = index_of(proto, ins)
      if slot == n - 1 and type(key) == "string" then
        visit(key, line_of(proto, pc))
      end
    end
  end)
end

local function read_data_fields(lifecycle, callback, n)
  local kind = check.kinds[lifecycle.on]
  each_key(lifecycle, callback, n, function(key, line)
    if not kind.by_name[key] and key ~= "_id" then
      problem("error", "field", lifecycle.path, line, ("%s has no field %q%s"):format(kind.name, key,
        check.did_you_mean(key, kind.field_names)), "its fields: " .. table.concat(kind.field_names, ", "))
    end
  end)
end

local function undeclared(lifecycle, name, line)
  if name == "any" or name == "has" or name == "query" or lifecycle.friend_kinds[name] then
    return
  elseif check.kinds[name] then
    problem("error", "look-up", lifecycle.path, line, ("look-ups of %s are not declared"):format(name),
      friends_fix(lifecycle.friends, name, { "FIELD" }) .. ": its index comes from it")
  else
    problem("error", "look-up", lifecycle.path, line, ("no kind %q%s"):format(name,
      check.did_you_mean(name, check.kind_names)), "kinds: " .. table.concat(check.kind_names, ", "))
  end
end

--- The kinds that process_data finds by name, as a set; nil when its `found` goes to other code as well.
local function uses_of(lifecycle, found)
  local info = debug.getinfo(lifecycle.module.process_data, "S")
  local text = check.without_comments(lines_of(check.text_of(lifecycle.path), info))
  local _, from = text:find("function[^(\n]*%b()")
  local uses = {}
  for dot, name in text:sub((from or 0) + 1):gmatch("%f[%w_]" .. found .. "%f[^%w_]%s*(.?)%s*([%w_]*)") do
    if dot ~= "." then
      return nil
    end
    uses[name] = true
  end
  return uses
end

local function read_finds(lifecycle)
  local nparams = debug.getinfo(lifecycle.module.process_data, "u").nparams
  each_key(lifecycle, "process_data", nparams, function(key, line)
    if has(lifecycle.finds, key) then
      return
    elseif check.kinds[key] then
      problem("error", "finds", lifecycle.path, line, ("finds %s without saying so"):format(key),
        ("add %q to finds"):format(key))
    else
      problem("error", "finds", lifecycle.path, line, ("no kind %q%s"):format(key,
        check.did_you_mean(key, lifecycle.finds)), "finds: " .. table.concat(lifecycle.finds, ", "))
    end
  end)
  local found = debug.getlocal(lifecycle.module.process_data, nparams)
  local uses = uses_of(lifecycle, found)
  for _, name in ipairs(lifecycle.finds) do
    if uses and not uses[name] then
      problem("hint", "finds", lifecycle.path, locate(lifecycle.path, "finds"),
        ("finds says %q, but no %s.%s stands here"):format(name, found, name), "take it out of finds, or find it")
    end
  end
end

--- The keys that stand in a table constructor itself, sorted.
local function keys_of(constructor)
  local inner = constructor:sub(2, -2):gsub('"[^"\n]*"', '""'):gsub("%b{}", "0"):gsub("%b()", "()")
  local keys = {}
  for key in (" " .. inner):gmatch("[%s,;]([%a_][%w_]*)%s*=[^=]") do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys, inner:find("%[") ~= nil
end

local function is_declared(lifecycle, kind_name, keys)
  for _, friend in ipairs(lifecycle.friends) do
    if friend.kind == kind_name and table.concat(friend.sorted, ",") == table.concat(keys, ",") then
      return true
    end
  end
  return false
end

--- What a look-up of kind by these fields lacks: text and way out, or nil.
function check.look_up_problem(lifecycle, kind, keys)
  for _, key in ipairs(keys) do
    if not kind.by_name[key] then
      return ("%s has no field %q%s"):format(kind.name, key, check.did_you_mean(key, kind.field_names)),
        "its fields: " .. table.concat(kind.field_names, ", ")
    end
  end
  if not is_declared(lifecycle, kind.name, keys) then
    return ("look-up of %s by {%s} is not declared, so it has no index"):format(kind.name, table.concat(keys, ", ")),
      friends_fix(lifecycle.friends, kind.name, keys)
  end
end

--- Look-ups as they stand in the text: db.KIND:where({ field = ... }).
local function read_look_ups(lifecycle)
  local text = check.without_comments(check.text_of(lifecycle.path))
  local names = {}
  for _, callback in ipairs({ "load", "load_friends" }) do
    if lifecycle.module[callback] then
      names[debug.getlocal(lifecycle.module[callback], 1) or 0] = true
    end
  end
  local from = 1
  while true do
    local first, last, db, kind_name, method = text:find("([%a_][%w_]*)%.([%a_][%w_]*):(%a+)%s*%(?%s*%f[{]", from)
    if not first then
      return
    end
    local constructor = text:match("^%b{}", last + 1)
    local kind = check.kinds[kind_name]
    if names[db] and kind and constructor and (method == "where" or method == "get")
      and lifecycle.friend_kinds[kind_name] then
      local keys, is_computed = keys_of(constructor)
      local words, fix = check.look_up_problem(lifecycle, kind, keys)
      if words and not is_computed then
        problem("error", "look-up", lifecycle.path, check.line_at(text, first), words, fix)
      end
    end
    from = last + 1
  end
end

--- What keeps LuaJIT from compiling a callback. It works all the same.
local function read_speed(lifecycle, callback)
  local func = lifecycle.module[callback]
  if debug.getinfo(func, "S").source ~= "@" .. lifecycle.path then
    return
  end
  each_instruction(func, function(proto, pc, ins, what)
    if what == op.FNEW then
      problem("hint", "speed", lifecycle.path, line_of(proto, pc), "a function made for every event",
        "make it once, outside of " .. callback .. ": LuaJIT compiles no closure that is made in a loop")
    elseif what == op.TGETS then
      local _, key = index_of(proto, ins)
      if key == "gmatch" then
        problem("hint", "speed", lifecycle.path, line_of(proto, pc), "gmatch in " .. callback,
          "use find in a loop: LuaJIT does not compile gmatch")
      end
    end
  end)
end

local CALLBACKS = { "load", "abort_early", "load_friends", "abort_late", "process_data" }

--- Names in the callbacks of a lifecycle that is loaded.
function check.read_callbacks(lifecycle)
  local m = lifecycle.module
  lifecycle.friend_kinds = {}
  for _, friend in ipairs(lifecycle.friends) do
    lifecycle.friend_kinds[friend.kind] = true
    friend.sorted = {}
    for i, field in ipairs(friend.fields) do
      friend.sorted[i] = field
    end
    table.sort(friend.sorted)
  end
  for _, callback in ipairs(CALLBACKS) do
    if m[callback] then
      read_speed(lifecycle, callback)
    end
  end
  for _, callback in ipairs({ "load", "load_friends" }) do
    if m[callback] then
      each_key(lifecycle, callback, 1, function(key, line) undeclared(lifecycle, key, line) end)
      read_data_fields(lifecycle, callback, 2)
    end
  end
  for _, callback in ipairs({ "abort_early", "abort_late", "process_data" }) do
    if m[callback] then
      read_data_fields(lifecycle, callback, 1)
    end
  end
  read_look_ups(lifecycle)
  local info = debug.getinfo(m.process_data, "Su")
  if info.isvararg then
    problem("error", "callback", lifecycle.path, info.linedefined, "process_data takes ...",
      "name its parameters: data, one for each value of load_friends, found")
  elseif info.nparams < 2 then
    problem("warning", "callback", lifecycle.path, info.linedefined, "process_data takes less than data and found",
      "write function M.process_data(data, friends..., found)")
  else
    read_finds(lifecycle)
  end
  lifecycle.arity = math.max(info.nparams - 2, 0)
end
