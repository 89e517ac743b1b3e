--- What accrete lua evaluates line by line: db, kinds and the tools at hand, results shown as they are.
local host = ... -- kinds: { { name, fields } }, suggest

local ffi = require("ffi")
local db = require("accrete.db")

local M = {}

local tools = { "bench", "csv", "db", "error", "http", "json", "log", "metrics", "native", "queue", "ram", "settings",
  "text", "yaml" }
local words = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil",
  "not", "or", "repeat", "return", "then", "true", "until", "while" }

--- kinds.NAME: look at the facts of a kind without SQL.
local Kind = {}
Kind.__index = Kind

local function columns(kind)
  local list = {}
  for i, field in ipairs(kind.fields) do
    list[i] = db.quote(field)
  end
  return table.concat(list, ", ")
end

--- Raises that there is no such name, with the line that was typed.
local function no_name(what, name, names)
  local near = host.suggest(tostring(name), names)
  error(("%s %q%s"):format(what, tostring(name), near and (", did you mean %q?"):format(near) or ""), 3)
end

--- Facts whose fields have these values (all when none are given), at most limit (20) of them.
function Kind:where(fields, limit)
  local tests, values = {}, {}
  local known = {}
  for _, field in ipairs(self.fields) do
    known[field] = true
  end
  for name, value in pairs(fields or {}) do
    if not known[name] then
      no_name(self.name .. " has no field", name, self.fields)
    end
    values[#values + 1] = value
    tests[#tests + 1] = ("%s = $%d"):format(db.quote(name), #values)
  end
  local text = "SELECT left(replace(_id::text, '-', ''), 12) AS id, %s FROM %s%s ORDER BY _id LIMIT %d"
  local rows = db.query(text:format(
    columns(self), db.quote("fact_" .. self.name), #tests > 0 and " WHERE " .. table.concat(tests, " AND ") or "",
    limit or 20), unpack(values))
  return rows
end

function Kind:count()
  return db.value("SELECT count(*) FROM " .. db.quote("fact_" .. self.name))
end

--- Globals of the prompt: tools load when they are used; kinds by name.
local kinds, kind_names = {}, {}
for i, kind in ipairs(host.kinds) do
  kinds[kind.name] = setmetatable(kind, Kind)
  kind_names[i] = kind.name
end
setmetatable(kinds, { __index = function(_, name) no_name("no kind", name, kind_names) end })

local is_tool = {}
for _, name in ipairs(tools) do
  is_tool[name] = true
end

local env = setmetatable({ kinds = kinds }, {
  __index = function(t, name)
    if rawget(_G, name) ~= nil then
      return _G[name]
    elseif is_tool[name] and name ~= "error" then
      t[name] = require("accrete." .. name)
      return t[name]
    end
  end,
})

-- Showing -------------------------------------------------------------------------------------------------------------

local LIST_MAX, DEPTH_MAX = 50, 4

local function show(value, depth)
  if type(value) == "string" then
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  elseif type(value) == "cdata" and ffi.istype("int64_t", value) then
    return (tostring(value):gsub("LL$", ""))
  elseif type(value) ~= "table" or getmetatable(value) and getmetatable(value).__tostring or depth > DEPTH_MAX then
    return tostring(value)
  end
  local parts = {}
  for i, one in ipairs(value) do
    if i > LIST_MAX then
      parts[i] = ("… %d in all"):format(#value)
      break
    end
    parts[i] = show(one, depth + 1)
  end
  local names = {}
  for name in pairs(value) do
    if type(name) ~= "number" then
      names[#names + 1] = tostring(name)
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    parts[#parts + 1] = name .. " = " .. show(value[name], depth + 1)
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function print_results(count, ...)
  for i = 1, count do
    local value = select(i, ...)
    if type(value) == "table" and not getmetatable(value) and type(value[1]) == "table" then
      for n, row in ipairs(value) do -- rows: a line each
        if n > LIST_MAX then
          io.stdout:write(("… %d in all\n"):format(#value))
          break
        end
        io.stdout:write(show(row, 1), "\n")
      end
    else
      io.stdout:write(show(value, 1), "\n")
    end
  end
end

--- The chunk of an expression or of statements; nil, why not, and whether more of it may come.
local function compile(text, name)
  local chunk, of_expression = loadstring("return " .. text, "=" .. name)
  local of_statement
  if not chunk then
    chunk, of_statement = loadstring(text, "=" .. name)
  end
  if chunk then
    return setfenv(chunk, env)
  end
  local ends = "near '<eof>'$"
  return nil, of_statement, (of_statement:find(ends) or of_expression:find(ends)) ~= nil
end

--- The chunk of the text of accrete lua -e; nil and why not.
function M.chunk(text)
  local chunk, reason = loadstring(text, "=-e")
  return chunk and setfenv(chunk, env), reason
end

local function trace(err)
  if type(err) == "table" then
    return tostring(err)
  end
  local text = debug.traceback(tostring(err), 2):gsub("\n%s*%[C%]: in function 'xpcall'.*", "")
  text = text:gsub("\n%s*%[builtin[^\n]*", ""):gsub("\n%s*%[C%]: in function 'error'", "")
  text = text:gsub("\n%s*host/script/[^\n]*", "")
  return (text:gsub("\nstack traceback:$", ""))
end

--- Takes what has been typed. "more": it is not complete; else it has been run, results and errors shown.
function M.take(text)
  local chunk, reason, is_begun = compile(text, "prompt")
  if is_begun then
    return "more"
  elseif not chunk then
    io.stderr:write(reason, "\n")
    return "done"
  end
  local function finish(ok, ...)
    if ok then
      print_results(select("#", ...), ...)
    else
      io.stderr:write(tostring((...)), "\n")
    end
  end
  finish(xpcall(chunk, trace))
  io.stdout:flush()
  return "done"
end

-- Completion ----------------------------------------------------------------------------------------------------------

local function add_fitting(list, prefix, start, names)
  for _, name in ipairs(names) do
    if name:sub(1, #start) == start then
      list[#list + 1] = prefix .. name
    end
  end
end

local function names_of(value)
  local names = {}
  if type(value) == "table" then
    for name in pairs(value) do
      if type(name) == "string" then
        names[#names + 1] = name
      end
    end
    if getmetatable(value) == Kind then
      names = { "where", "count", "name", "fields" }
    end
  elseif type(value) == "string" then
    return names_of(string)
  end
  return names
end

--- What the last word typed may become: a list of whole words.
function M.complete(word)
  local list = {}
  local path, start = word:match("^(.*[.:])([%w_]*)$")
  if not path then
    add_fitting(list, "", word, words)
    add_fitting(list, "", word, names_of(_G))
    add_fitting(list, "", word, names_of(env))
    for _, tool in ipairs(tools) do
      if rawget(env, tool) == nil and tool ~= "error" then
        add_fitting(list, "", word, { tool })
      end
    end
  else
    local value = env
    for name in path:gmatch("([%a_][%w_]*)[.:]") do
      value = type(value) == "table" and value[name] or nil
    end
    add_fitting(list, path, start, names_of(value))
  end
  table.sort(list)
  return list
end

return M
