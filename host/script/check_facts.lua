--- Facts as plain tables: rows, what look-ups return, a store in memory. They refuse what the host's would.
local check = ...

local ffi = require("ffi")
local text = require("accrete.text")

local host = check.host
local WHOLE = 2 ^ 53
local NAN = 0 / 0
local i64 = ffi.typeof("int64_t")

check.kinds, check.kind_names = {}, {}

function check.declare(kinds)
  for _, kind in ipairs(kinds) do
    kind.by_name, kind.field_names = {}, {}
    for i, field in ipairs(kind.fields) do
      kind.by_name[field.name] = field
      kind.field_names[i] = field.name
    end
    check.kinds[kind.name] = kind
    table.insert(check.kind_names, kind.name)
  end
  table.sort(check.kind_names)
end

-- Values --------------------------------------------------------------------------------------------------------------

local function describe(value)
  if type(value) == "string" then
    return ("%q"):format(#value > 60 and value:sub(1, 60) .. "…" or value)
  end
  return type(value) == "table" and "a table" or tostring(value)
end
check.describe = describe

local function is_whole(value)
  return type(value) == "number" and value % 1 == 0 and value >= -WHOLE and value <= WHOLE or ffi.istype(i64, value)
end

local wanted = {
  bool = { "a boolean", function(v) return type(v) == "boolean" end },
  int8 = { "a whole number within 2^53, or int64 cdata", is_whole },
  float8 = { "a number", function(v) return type(v) == "number" end },
  text = { "UTF-8 text without NUL", function(v)
    return type(v) == "string" and text.is_utf8(v) and not v:find("%z")
  end },
  bytes = { "a string of bytes", function(v) return type(v) == "string" end },
  json = { "JSON text", function(v) return type(v) == "string" and host.json(v) ~= nil end },
  uuid = { "16 bytes", function(v) return type(v) == "string" and #v == 16 end },
}

--- What is wrong with a value of a field, or nil.
local function value_problem(kind, field, value)
  if value == nil then
    return not field.is_nullable and ("%s.%s is missing"):format(kind.name, field.name) or nil
  end
  local words, fits = wanted[field.type][1], wanted[field.type][2]
  if not field.is_array then
    return not fits(value) and ("%s.%s: wanted %s, got %s"):format(kind.name, field.name, words, describe(value)) or nil
  elseif type(value) ~= "table" then
    return ("%s.%s: wanted a list, got %s"):format(kind.name, field.name, describe(value))
  end
  for i, one in ipairs(value) do
    if not fits(one) then
      return ("%s.%s[%d]: wanted %s, got %s"):format(kind.name, field.name, i, words, describe(one))
    end
  end
end
check.value_problem = value_problem

--- The value of a field as the host would keep it and give it back, so that what is one fact there is one here.
local function normalised(field, value)
  if type(value) == "table" then
    local list = {}
    for i, one in ipairs(value) do
      list[i] = normalised(field, one)
    end
    return list
  elseif field.type == "int8" then
    local number = tonumber(value)
    local is_exact = number > -WHOLE and number < WHOLE -- at the bound it may have been rounded
    return is_exact and number + 0 or i64(value)
  elseif field.type == "float8" then
    return value ~= value and NAN or value + 0
  elseif field.type == "json" then
    return (host.json(value))
  end
  return value
end

local function key_of_value(value)
  if type(value) == "table" then
    local parts = {}
    for i, one in ipairs(value) do
      parts[i] = key_of_value(one)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  elseif type(value) == "string" then
    return #value .. ":" .. value
  end
  return (type(value) == "number" and ("%.17g"):format(value + 0) or tostring(value))
end
check.key_of_value = key_of_value

--- Identity of values (by field), and of all of them.
local function keys_of(kind, values)
  local unique, all = { kind.name }, { kind.name }
  for _, field in ipairs(kind.fields) do
    local part = field.name .. "=" .. (values[field.name] == nil and "" or key_of_value(values[field.name]))
    all[#all + 1] = part
    if field.is_unique then
      unique[#unique + 1] = part
    end
  end
  return table.concat(unique, ";"), table.concat(all, ";")
end

--- A fact as people read it: path(1, 3).
local function show(kind, values)
  local parts = {}
  for i, field in ipairs(kind.fields) do
    local value = values[field.name]
    parts[i] = type(value) == "table" and "{" .. #value .. "}" or value == nil and "nil" or describe(value)
  end
  return ("%s(%s)"):format(kind.name, table.concat(parts, ", "))
end
check.show = show

-- Rows ----------------------------------------------------------------------------------------------------------------

local facts = setmetatable({}, { __mode = "k" }) -- row to fact

--- The row of a fact { kind, values, id, key, full }.
local function make_row(fact)
  local kind = fact.kind
  local row = setmetatable({}, {
    __index = function(_, name)
      if name == "_id" then
        return fact.id
      elseif not kind.by_name[name] then
        error(("%s has no field %q%s"):format(kind.name, tostring(name),
          check.did_you_mean(name, kind.field_names)), 2)
      end
      return fact.values[name]
    end,
    __newindex = function()
      error(("a %s is a fact: it never changes"):format(kind.name), 2)
    end,
    __tostring = function() return kind.name end,
  })
  facts[row] = fact
  fact.row = row
  return row
end

function check.fact_of(row)
  return facts[row]
end

--- A fact of values by field name. Its id is as good as the host's for what is checked here.
function check.make_fact(kind, values)
  for _, field in ipairs(kind.fields) do
    if values[field.name] ~= nil then
      values[field.name] = normalised(field, values[field.name])
    end
  end
  local fact = { kind = kind, values = values }
  fact.key, fact.full = keys_of(kind, values)
  fact.id = text.unhex(text.sha256(fact.key):sub(1, 32))
  make_row(fact)
  return fact
end

-- What a look-up returns is cdata here as there, so that # works.
ffi.cdef("typedef struct { int32_t number; } acc_check_rows;")
local lists, list_count = {}, 0 -- number to { kind, facts }
local Rows = {}
local rows_type

local function list_of(self)
  return lists[self.number]
end

function Rows.count(self)
  return #list_of(self).facts
end

function Rows.each(self)
  local list, i = list_of(self).facts, 0
  return function()
    i = i + 1
    if list[i] then
      return i, list[i].row
    end
  end
end

function Rows.get(self, i)
  local list = list_of(self).facts
  if type(i) ~= "number" or not list[i] then
    error(("row %s of 1..%d"):format(tostring(i), #list), 2)
  end
  return list[i].row
end

function Rows.column(self, name)
  local list = list_of(self)
  local field, n = list.kind.by_name[name], #list.facts
  if not field then
    error(("%s has no field %q%s"):format(list.kind.name, tostring(name),
      check.did_you_mean(name, list.kind.field_names)), 2)
  end
  if field.is_array or field.is_nullable or field.type ~= "int8" and field.type ~= "float8" then
    local values = {}
    for i = 1, n do
      values[i] = list.facts[i].values[name]
    end
    return values, n
  end
  local column = ffi.new(field.type == "int8" and "int64_t[?]" or "double[?]", n)
  for i = 1, n do
    column[i - 1] = list.facts[i].values[name]
  end
  return column, n
end

function Rows.kind(self)
  return list_of(self).kind.name
end

function Rows.version(self)
  return self.number
end

local function no_list()
  error("what a look-up returns is no list: write for _, row in rows:each() do", 2)
end

rows_type = ffi.metatype("acc_check_rows", {
  __ipairs = no_list,
  __pairs = no_list,
  __index = function(_, name)
    if type(name) == "number" then
      error(("what a look-up returns is no list: row number %d is rows:get(%d)"):format(name, name), 2)
    end
    return Rows[name] or error(("no method %q of what a look-up returns%s"):format(tostring(name),
      check.did_you_mean(name, { "each", "count", "get", "column", "kind", "version" })), 2)
  end,
  __len = Rows.count,
})

--- What a look-up returns, of these facts in this order.
function check.make_rows(kind, list)
  list_count = list_count + 1
  lists[list_count] = { kind = kind, facts = list }
  return rows_type(list_count)
end

function check.is_rows(value)
  return ffi.istype(rows_type, value)
end

--- Kind and facts of what a look-up returned.
function check.list_of(rows)
  return list_of(rows).kind, list_of(rows).facts
end

--- Forgets all that look-ups have returned; nothing of it may be used any more.
function check.forget_rows()
  lists, list_count = {}, 0
end

-- Look-ups ------------------------------------------------------------------------------------------------------------

local any_mt, has_mt = {}, {}

local function any(list)
  if type(list) ~= "table" then
    error("db.any: wanted a list, got " .. describe(list), 2)
  end
  return setmetatable({ list = list }, any_mt)
end

local function holds(value)
  if getmetatable(value) == any_mt then
    value = value.list
  end
  return setmetatable({ list = type(value) == "table" and value or { value } }, has_mt)
end

--- A condition on one field: its values, and whether the field is an array that holds one.
local function condition(kind, name, value)
  local mt = getmetatable(value)
  local field = kind.by_name[name]
  if mt ~= any_mt and mt ~= has_mt then
    local is_scalar_of_array = field.is_array and type(value) ~= "table"
    if is_scalar_of_array then
      error(("%s.%s is an array: wanted db.has(value)"):format(kind.name, name), 4)
    end
    value = { list = { value } }
  end
  for _, one in ipairs(value.list) do
    local element = { name = name, type = field.type, is_array = field.is_array and mt ~= has_mt }
    local words = value_problem(kind, element, one)
    if words then
      error(words, 4)
    end
  end
  local list = {}
  for i, one in ipairs(value.list) do
    list[i] = normalised(field, one)
  end
  return { field = field, list = list, has = mt == has_mt }
end

local function fits(fact, conditions)
  for _, c in ipairs(conditions) do
    local value, ok = fact.values[c.field.name], false
    for _, one in ipairs(c.list) do
      if c.has then
        for _, element in ipairs(value or {}) do
          ok = ok or key_of_value(element) == key_of_value(one)
        end
      else
        ok = ok or value ~= nil and key_of_value(value) == key_of_value(one)
      end
    end
    if not ok then
      return false
    end
  end
  return true
end

--- The db of a lifecycle over source(kind, conditions) -> facts. check.phase is the callback that runs.
function check.make_db(lifecycle, source)
  local db = { any = any, has = holds }
  local function where_of(kind)
    return function(_, t)
      local now = check.phase
      if now ~= "load" and now ~= "load_friends" then
        error(("a look-up in %s: only load and load_friends may look up"):format(now), 2)
      elseif type(t) ~= "table" then
        error(("db.%s:where: wanted a table of fields, got %s"):format(kind.name, describe(t)), 2)
      end
      local keys, conditions = {}, {}
      for key in pairs(t) do
        keys[#keys + 1] = tostring(key)
      end
      table.sort(keys)
      local words, fix = check.look_up_problem(lifecycle, kind, keys)
      if words then
        error(words .. (fix and ": " .. fix or ""), 2)
      end
      for i, key in ipairs(keys) do
        conditions[i] = condition(kind, key, t[key])
      end
      return check.make_rows(kind, source(kind, conditions))
    end
  end
  for name in pairs(lifecycle.friend_kinds) do
    local where = where_of(check.kinds[name])
    db[name] = { where = where, get = where }
  end
  function db.query()
    error(check.UNKNOWN, 0)
  end
  return setmetatable(db, {
    __index = function(_, name)
      if check.kinds[name] then
        local fix = host.part("friends_fix")(lifecycle.friends, name)
        error(("look-ups of %s are not declared: %s"):format(name, fix), 2)
      end
      error(("no kind %q%s"):format(tostring(name), check.did_you_mean(name, check.kind_names)), 2)
    end,
  })
end

--- Raised where the check cannot know: SQL.
check.UNKNOWN = setmetatable({}, { __tostring = function() return "db:query" end })

--- An empty store. Facts are kept once; add says whether one was new, and the one that it contradicts.
function check.make_store()
  local store = { by_kind = {}, by_key = {}, count = 0 }
  function store.add(fact)
    local known = store.by_key[fact.key]
    if known then
      return false, known.full ~= fact.full and known or nil
    end
    local list = store.by_kind[fact.kind.name] or {}
    store.by_kind[fact.kind.name] = list
    list[#list + 1] = fact
    store.by_key[fact.key] = fact
    store.count = store.count + 1
    return true
  end
  function store.find(kind, conditions)
    local list = {}
    for _, fact in ipairs(store.by_kind[kind.name] or {}) do
      if fits(fact, conditions) then
        list[#list + 1] = fact
      end
    end
    return list
  end
  return store
end

check.suggest = host.suggest
