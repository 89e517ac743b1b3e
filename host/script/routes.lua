--- What an app's routes get as their second argument: look-ups by kind, queries, facts in. Everything lets other
--- requests go on while the database works. See lua/accrete/_meta/http.lua.
local host, kinds = ...

local quote = require("accrete.db.c").quote
local errors = require("accrete.error")
local json = require("accrete.json")
local text = require("accrete.text")

local C, await, Failure = host.C, host.await, host.Failure
local null = json.null

local ROWS_MAX = 100000

-- Statements ----------------------------------------------------------------------------------------------------------

local statements = {} -- by SQL: { number, types, columns }
local count = 0

--- What a statement is: asked of the database once. Those kept prepared are numbered.
local function statement_of(sql)
  local statement = statements[sql]
  if statement then
    return statement
  end
  local types, columns = await(C.describe, sql)
  if columns == 0 then
    errors.raise("input", "a route only reads: wanted a query that returns rows")
  elseif statements[sql] then -- another request was as quick
    return statements[sql]
  end
  statement = { number = 0, types = types, columns = columns }
  if count < C.statements_max then
    count = count + 1
    statement.number = count
    statements[sql] = statement
  end
  return statement
end

local function query(sql, ...)
  if type(sql) ~= "string" then
    errors.raise("input", "db:query: wanted SQL, got a %s", type(sql))
  end
  local statement = statement_of(sql)
  if select("#", ...) ~= #statement.types then
    errors.raise("input", "wanted %d parameters, got %d", #statement.types, select("#", ...))
  end
  return json.array((await(C.read, sql, statement.number, statement.types, ...)))
end

-- Values --------------------------------------------------------------------------------------------------------------

local any_class, has_class = {}, {}

local function suggest(word, names)
  local near = C.suggest(tostring(word), names)
  return near and (", did you mean %q?"):format(near) or ""
end

local function field_of(kind, name)
  local field = kind.by_name[name]
  if not field then
    errors.raise("input", "%s has no field %q%s", kind.name, tostring(name), suggest(name, kind.names))
  end
  return field
end

--- Ids and uuids are 16 bytes in Lua; the 32 hex digits by which they are known outside will do too.
local function digits_of(value)
  if type(value) == "string" then
    local digits = #value == 16 and text.hex(value) or value:gsub("-", "")
    return digits:find("^%x+$") and #digits == 32 and digits or nil
  end
end

--- A fault of the request's, since that is where such values come from.
local function uuid_of(value, what)
  local digits = digits_of(value)
  if not digits then
    error(setmetatable({ status = 400, code = "bad_value",
      message = ("%s: wanted 32 hex digits, got %q"):format(what, tostring(value)) }, Failure), 0)
  end
  return digits
end

--- A value as a parameter.
local function parameter(kind, field, value)
  local where = kind.name .. "." .. field.name
  if type(value) == "table" and not field.is_array then
    errors.raise("input", "%s: wanted a value, got a table; db.any{...} stands for any of a list", where)
  elseif type(value) ~= "table" and field.is_array then
    errors.raise("input", "%s is an array: wanted a list, or db.has(value)", where)
  elseif field.type == "uuid" and not field.is_array then
    return uuid_of(value, where)
  end
  return value
end

--- An element as a parameter or inside a list of them.
local function element(kind, field, value)
  return field.type == "uuid" and uuid_of(value, kind.name .. "." .. field.name) or value
end

local function elements(kind, field, list)
  if type(list) ~= "table" then
    errors.raise("input", "%s.%s: wanted a list, got %s", kind.name, field.name, tostring(list))
  end
  local values = {}
  for i, value in ipairs(list) do
    values[i] = element(kind, field, value)
  end
  return values
end

local HASH = { text = "hashtextextended(%s, 0)", bytes = "sha256(%s)" }
local SQL_TYPE = { bytes = "bytea", json = "text" }

--- One condition; equal texts have equal hashes, and look-ups are indexed by these.
local function condition(kind, field, value, values)
  local column, class = "f." .. quote(field.name), getmetatable(value)
  local sql_type = SQL_TYPE[field.type] or field.type
  local hash = not field.is_array and HASH[field.type]
  if field.type == "json" then
    errors.raise("input", "%s.%s is json: there is no look-up by it", kind.name, field.name)
  elseif value == null then
    return column .. " IS NULL"
  elseif class == has_class then
    if not field.is_array then
      errors.raise("input", "%s.%s is no array: db.has does not fit", kind.name, field.name)
    end
    values[#values + 1] = elements(kind, field, value.list)
    return ("%s && $%d::%s[]"):format(column, #values, sql_type)
  elseif class == any_class then
    if field.is_array then
      errors.raise("input", "%s.%s is an array: db.any does not fit", kind.name, field.name)
    end
    values[#values + 1] = elements(kind, field, value.list)
    local list = ("$%d::%s[]"):format(#values, sql_type)
    local plain = ("%s = ANY(%s)"):format(column, list)
    return hash and ("%s = ANY(ARRAY(SELECT %s FROM unnest(%s) AS v)) AND %s"):format(hash:format(column),
      hash:format("v"), list, plain) or plain
  end
  values[#values + 1] = parameter(kind, field, value)
  local place = ("$%d::%s%s"):format(#values, sql_type, field.is_array and "[]" or "")
  if field.is_array then
    hash = "hash_array_extended(%s, 0)"
  end
  local plain = ("%s = %s"):format(column, place)
  return hash and ("%s = %s AND %s"):format(hash:format(column), hash:format(place), plain) or plain
end

-- Rows ----------------------------------------------------------------------------------------------------------------

--- A value as JSON shows it, and accrete dump: bytes as hex digits, uuids with dashes, json as what it says.
local function shown(field, value)
  if field.type == "json" then
    return json.decode(value)
  elseif field.type == "bytes" then
    return text.hex(value)
  elseif field.type == "uuid" then
    return (text.hex(value):gsub("^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x)", "%1-%2-%3-%4-"))
  end
  return value
end

local function row_class(kind)
  return {
    __index = function(_, name)
      field_of(kind, name)
    end,
    present = function(row)
      local out = { _id = text.hex(rawget(row, "_id")) }
      for _, field in ipairs(kind.fields) do
        local value = rawget(row, field.name)
        if field.is_array and value ~= nil then
          local list = json.array {}
          for i, one in ipairs(value) do
            list[i] = shown(field, one)
          end
          out[field.name] = list
        elseif value ~= nil then
          out[field.name] = shown(field, value)
        end
      end
      return out
    end,
  }
end

local Rows = {}

function Rows:count()
  return #self
end

function Rows:each()
  return ipairs(self)
end

function Rows:get(i)
  return self[i]
end

local rows_class = {
  __index = function(_, name)
    return Rows[name]
  end,
}

function rows_class.present(rows)
  local list = json.array {}
  for i, row in ipairs(rows) do
    list[i] = getmetatable(row).present(row)
  end
  return list
end

-- Kinds ---------------------------------------------------------------------------------------------------------------

local Kind = {}

local function sorted_names(fields)
  local names = {}
  for name in pairs(fields) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

local function conditions(kind, fields, values)
  if fields ~= nil and type(fields) ~= "table" then
    errors.raise("input", "wanted { field = value }, got a %s: it is db.%s:where, with a colon", type(fields),
      kind.name)
  end
  local list = {}
  for i, name in ipairs(sorted_names(fields or {})) do
    list[i] = condition(kind, field_of(kind, name), fields[name], values)
  end
  return list
end

local function column_sql(field)
  local column = "f." .. quote(field.name)
  if field.type ~= "uuid" then
    return column
  elseif field.is_array then
    return ([[CASE WHEN %s IS NOT NULL THEN
      ARRAY(SELECT uuid_send(v) FROM unnest(%s) WITH ORDINALITY AS _ (v, i) ORDER BY i) END AS %s]])
      :format(column, column, quote(field.name))
  end
  return ("uuid_send(%s) AS %s"):format(column, quote(field.name))
end

local function fetch(kind, list, values, limit)
  local rows = query(("SELECT %s FROM %s f%s ORDER BY f._id LIMIT %d"):format(kind.columns, quote(kind.table),
    #list > 0 and " WHERE " .. table.concat(list, " AND ") or "", limit), unpack(values, 1, #values))
  for _, row in ipairs(rows) do
    setmetatable(row, kind.row_class)
  end
  return setmetatable(rows, rows_class)
end

function Kind:where(fields, options)
  local values, limit = {}, options and options.limit
  local list = conditions(self, fields, values)
  if limit ~= nil and (type(limit) ~= "number" or limit < 1 or limit > ROWS_MAX or limit % 1 ~= 0) then
    errors.raise("input", "db.%s:where: limit: wanted 1..%d, got %s", self.name, ROWS_MAX, tostring(limit))
  end
  if options and options.after then
    values[#values + 1] = uuid_of(options.after, "after")
    list[#list + 1] = ("f._id > $%d::uuid"):format(#values)
  end
  local rows = fetch(self, list, values, limit or ROWS_MAX + 1)
  if not limit and #rows > ROWS_MAX then
    errors.raise("input", "more than %d facts of %s: page by page with { limit = n, after = the last row's _id }",
      ROWS_MAX, self.name)
  end
  return rows
end

function Kind:get(id)
  if type(id) == "table" then
    local unique = {}
    for _, name in ipairs(self.unique) do
      if id[name] == nil then
        errors.raise("input", "db.%s:get: wanted an id or all unique fields, %s is missing", self.name, name)
      end
      unique[name] = id[name]
    end
    id = C.identity(self.index, self:json(unique))
  end
  local digits = digits_of(id)
  return digits and fetch(self, { "f._id = $1::uuid" }, { digits }, 1)[1]
end

local COUNT = "SELECT coalesce(sum(t.new), 0)::int8 AS n FROM tally_kind t WHERE t.kind = $1::int4"

function Kind:count(fields)
  if fields == nil or next(fields) == nil then
    return query(COUNT, self.tag)[1].n
  end
  local values = {}
  local list = conditions(self, fields, values)
  return query(("SELECT count(*)::int8 AS n FROM %s f WHERE %s"):format(quote(self.table), table.concat(list, " AND ")),
    unpack(values, 1, #values))[1].n
end

-- Facts in ------------------------------------------------------------------------------------------------------------

local function inward(kind, field, value)
  if value == null then
    return null
  elseif field.type == "bytes" and type(value) == "string" then
    return text.hex(value)
  elseif field.type == "uuid" then
    return uuid_of(value, kind.name .. "." .. field.name)
  elseif field.type == "json" and type(value) == "string" then
    return json.decode(value)
  elseif field.type == "float8" and value ~= value then
    return "NaN"
  elseif field.type == "float8" and (value == math.huge or value == -math.huge) then
    return value > 0 and "Infinity" or "-Infinity"
  end
  return value
end

--- A fact as one line of JSON.
function Kind:json(fact)
  if type(fact) ~= "table" then
    errors.raise("input", "wanted a fact of %s as { field = value }, got a %s", self.name, type(fact))
  end
  local out = {}
  for name, value in pairs(fact) do
    local field = field_of(self, name)
    if field.is_array and type(value) == "table" then
      local list = json.array {}
      for i, one in ipairs(value) do
        list[i] = inward(self, field, one)
      end
      out[name] = list
    else
      out[name] = inward(self, field, value)
    end
  end
  return json.encode(out)
end

local function submit(kind, format, body)
  local answer = await(C.ingest, host.current().handle, kind.name, format, body)
  if answer.status >= 400 then
    error(setmetatable({
      status = answer.status, code = answer.code or "refused", message = answer.message or "the facts were refused",
      field = answer.field, retry_after_s = answer.retry_after_s,
    }, Failure), 0)
  end
  answer.status = nil
  return answer
end

function Kind:insert(fact)
  local answer = submit(self, "json", self:json(fact))
  return answer.new > 0 and "new" or "repeat"
end

function Kind:ingest(facts, format)
  if type(facts) == "string" then
    return submit(self, format or "ndjson", facts)
  elseif type(facts) ~= "table" then
    errors.raise("input", "db.%s:ingest: wanted a list of facts, or a text and its format, got a %s", self.name,
      type(facts))
  end
  local lines = {}
  for i, fact in ipairs(facts) do
    lines[i] = self:json(fact)
  end
  return submit(self, "ndjson", table.concat(lines, "\n"))
end

-- db ------------------------------------------------------------------------------------------------------------------

local db = {}

function db.any(list)
  if type(list) ~= "table" then
    errors.raise("input", "db.any: wanted a list, got %s", tostring(list))
  end
  return setmetatable({ list = list }, any_class)
end

function db.has(value)
  if getmetatable(value) == any_class then
    value = value.list
  end
  return setmetatable({ list = type(value) == "table" and value or { value } }, has_class)
end

db.null = null

function db.query(_, ...)
  return query(...)
end

function db.one(_, ...)
  local rows = query(...)
  if #rows > 1 then
    errors.raise("input", "wanted at most one row, got %d", #rows)
  end
  return rows[1]
end

function db.value(_, sql, ...)
  local row = db.one(_, sql, ...)
  if row and statement_of(sql).columns ~= 1 then
    errors.raise("input", "db:value: wanted a query of one column, got %d", statement_of(sql).columns)
  end
  return row and row[next(row)]
end

local kind_names = {}
local kind_class = {
  __index = function(kind, name)
    local method = Kind[name]
    if method == nil then
      errors.raise("input", "db.%s has no %s; there are where, get, count, insert and ingest", rawget(kind, "name"),
        tostring(name))
    end
    return method
  end,
}

for i, kind in ipairs(kinds) do
  kind.by_name, kind.names, kind.unique = {}, {}, {}
  local columns = { "uuid_send(f._id) AS _id" }
  for f, field in ipairs(kind.fields) do
    kind.by_name[field.name], kind.names[f], columns[f + 1] = field, field.name, column_sql(field)
    if field.is_unique then
      kind.unique[#kind.unique + 1] = field.name
    end
  end
  kind.columns, kind.row_class = table.concat(columns, ", "), row_class(kind)
  kind_names[i] = kind.name
  db[kind.name] = setmetatable(kind, kind_class)
end

return setmetatable(db, {
  __index = function(_, name)
    errors.raise("input", "no kind %q%s", tostring(name), suggest(name, kind_names))
  end,
})
