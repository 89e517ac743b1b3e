--- PostgreSQL for plain scripts: one connection, SERIALIZABLE transactions that are retried, prepared and pipelined
--- queries, batch insert, rows one by one. Parameters are $1, $2 ...; nothing is ever spliced into SQL.
---
--- Values: int8 is a number within 2^53, int64 cdata beyond; bytea is a string of bytes; arrays are lists, in which
--- db.null stands for NULL; float8, bool, text, json as they are; every other type as its text. NULL is nil.
local C = require("accrete.db.c")
local errors = require("accrete.error")

local M = { null = C.null }

local ATTEMPTS = 10
local FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 1

local BEGIN = {
  ["serializable"] = "BEGIN ISOLATION LEVEL SERIALIZABLE",
  ["repeatable read"] = "BEGIN ISOLATION LEVEL REPEATABLE READ",
  ["read committed"] = "BEGIN ISOLATION LEVEL READ COMMITTED",
}

local Connection = {}
Connection.__index = Connection

--- Opens a connection. Without conninfo: the database of the app that the script runs in.
function M.connect(conninfo, options)
  local link = C.connect(conninfo, options and options.schema)
  return setmetatable({ link = link, columns = {} }, Connection)
end

function Connection:query(sql, ...)
  return self.link:query(sql, ...)
end

function Connection:one(sql, ...)
  return self.link:one(sql, ...)
end

function Connection:value(sql, ...)
  return self.link:value(sql, ...)
end

--- for row in conn:rows(sql, ...) do: one row in memory at a time. Using the connection otherwise ends the loop.
function Connection:rows(sql, ...)
  return self.link:stream(sql, ...)
end

--- Several statements at once, separated by semicolons; no parameters, no results.
function Connection:run(sql)
  return self.link:run(sql)
end

function Connection:close()
  return self.link:close()
end

--- Round trips to the server so far.
function Connection:round_trips()
  return self.link:round_trips()
end

--- "idle", "transaction", "failed" (in a transaction that can only end) or "closed".
function Connection:state()
  return self.link:state()
end

-- Statements

local Statement = {}
Statement.__index = Statement

--- Checks sql now and keeps it for use. Statements with parameters are prepared anyway; this finds errors early.
function Connection:prepare(sql)
  self.link:prepare(sql)
  return setmetatable({ link = self.link, sql = sql }, Statement)
end

function Statement:query(...)
  return self.link:query(self.sql, ...)
end

function Statement:one(...)
  return self.link:one(self.sql, ...)
end

function Statement:value(...)
  return self.link:value(self.sql, ...)
end

function Statement:rows(...)
  return self.link:stream(self.sql, ...)
end

-- Pipelines

local Pipeline = {}
Pipeline.__index = Pipeline

local function add(pipeline, shape, sql, ...)
  if type(sql) ~= "string" then
    errors.raise("input", "pipeline: wanted SQL, got %s", type(sql))
  end
  pipeline[#pipeline + 1] = { shape = shape, sql = sql, n = select("#", ...), ... }
  return #pipeline
end

function Pipeline:query(sql, ...)
  return add(self, "query", sql, ...)
end

function Pipeline:one(sql, ...)
  return add(self, "one", sql, ...)
end

function Pipeline:value(sql, ...)
  return add(self, "value", sql, ...)
end

--- Collects the statements that fn asks for and sends them in one round trip. Returns their results in order.
--- Outside a transaction they are one of their own: all or nothing.
function Connection:pipeline(fn)
  local pipeline = setmetatable({}, Pipeline)
  fn(pipeline)
  return self.link:pipeline(pipeline)
end

-- Transactions

local function is_conflict(sqlstate)
  return sqlstate == "40001" or sqlstate == "40P01"
end

local function end_of(link, ok, ...)
  if ok then
    local committed, err = pcall(link.commit, link)
    if committed then
      return true, nil, ...
    end
    link:rollback()
    return false, errors.is(err) and err.sqlstate, err
  end
  local err = ...
  local first = link:rollback()
  return false, errors.is(err) and err.sqlstate or first, err
end

local attempt

local function settle(self, fn, begin, options, number, ok, sqlstate, ...)
  if ok then
    return ...
  end
  if not is_conflict(sqlstate) or number >= (options.attempts or ATTEMPTS) then
    error((...), 0)
  end
  local pause = math.min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ^ (number - 1))
  C.pause(pause * (0.5 + C.random()))
  return attempt(self, fn, begin, options, number + 1)
end

function attempt(self, fn, begin, options, number)
  self.link:run(begin)
  return settle(self, fn, begin, options, number, end_of(self.link, pcall(fn, self, number)))
end

--- Runs fn(conn, attempt) in a SERIALIZABLE transaction and returns what it returns. When the database asks for it
--- (40001, 40P01) fn runs again from its start, at most options.attempts times (10) with growing pauses: so it must do
--- nothing that a ROLLBACK does not undo. Any error of fn rolls back and is raised again.
function Connection:transaction(fn, options)
  options = options or {}
  local begin = BEGIN[options.isolation or "serializable"]
  if not begin then
    errors.raise("input", "transaction: wanted isolation serializable, repeatable read or read committed, got %s",
      tostring(options.isolation))
  end
  local state = self.link:state()
  if state == "closed" then
    errors.raise("lost", "the connection is closed")
  elseif state ~= "idle" then
    errors.raise("input", "transaction: one is open on this connection already")
  end
  return attempt(self, fn, options.read_only and begin .. " READ ONLY" or begin, options, 1)
end

-- Batch insert

--- name in double quotes, for the rare SQL that needs one spliced.
M.quote = C.quote

local function check_name(name, what)
  if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") then
    errors.raise("input", "insert: wanted %s of letters, digits and _, got %s", what, tostring(name))
  end
  return C.quote(name)
end

local function table_name(name)
  local schema, rest = tostring(name):match("^([^.]*)%.(.*)$")
  if schema then
    return check_name(schema, "a schema") .. "." .. check_name(rest, "a table")
  end
  return check_name(name, "a table")
end

local COLUMNS = [[
  SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type, a.atttypid AS oid,
         t.typcategory = 'A' AS is_array
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped]]

local function columns_of(self, quoted)
  local columns = {}
  for _, column in ipairs(self:query(COLUMNS, quoted)) do
    columns[column.name] = column
  end
  if not next(columns) then
    errors.raise("input", "insert: no table %s", quoted)
  end
  return columns
end

--- Types of the named columns; read once for a table, and again when a column is not among them.
local function types_of(self, quoted, names)
  local types = {}
  for turn = 1, 2 do
    local columns = self.columns[quoted]
    if not columns or turn == 2 then
      columns = columns_of(self, quoted)
      self.columns[quoted] = columns
    end
    for i, name in ipairs(names) do
      types[i] = columns[name]
      if not types[i] then
        if turn == 2 then
          errors.raise("input", "insert: table %s has no column %s", quoted, name)
        end
        break
      end
    end
    if #types == #names then
      return types
    end
  end
end

--- An array column cannot pass through unnest, which would flatten it: it travels as the text of each array.
local function insert_sql(quoted, names, types, options)
  local into, from, lists = {}, {}, {}
  for i, name in ipairs(names) do
    into[i] = C.quote(name)
    from[i] = types[i].is_array and into[i] .. "::" .. types[i].type or into[i]
    lists[i] = ("$%d::%s[]"):format(i, types[i].is_array and "text" or types[i].type)
  end
  local columns = table.concat(into, ", ")
  return ("INSERT INTO %s (%s) SELECT %s FROM unnest(%s) AS _ (%s)%s"):format(quoted, columns,
    table.concat(from, ", "), table.concat(lists, ", "), columns,
    options.skip_duplicates and " ON CONFLICT DO NOTHING" or "")
end

local function value_of(link, row, position, name, type)
  local value = row[position]
  if value == nil then
    value = row[name]
  end
  if value == nil then
    return C.null
  end
  return type.is_array and link:literal(value, type.oid) or value
end

--- Inserts many rows by one statement; returns how many were new. A row is a list in the order of columns, or a table
--- keyed by their names. options.skip_duplicates leaves out rows that break a unique constraint.
function Connection:insert(name, columns, rows, options)
  local quoted = table_name(name)
  if #columns == 0 then
    errors.raise("input", "insert: wanted at least one column")
  end
  for _, column in ipairs(columns) do
    check_name(column, "a column")
  end
  if #rows == 0 then
    return 0
  end
  local types = types_of(self, quoted, columns)
  local lists = {}
  for i, column in ipairs(columns) do
    local list, type = {}, types[i]
    for r, row in ipairs(rows) do
      list[r] = value_of(self.link, row, i, column, type)
    end
    lists[i] = list
  end
  local _, count = self.link:query(insert_sql(quoted, columns, types, options or {}), unpack(lists, 1, #columns))
  return count
end

-- The shared connection

--- The connection of the whole script to its app's database, opened when first asked for.
function M.shared()
  local connection = C.shared.connection
  if not connection or connection.link:state() == "closed" then
    connection = M.connect()
    C.shared.connection = connection
  end
  return connection
end

--- db.query, db.transaction and so on use the shared connection.
for _, method in ipairs { "query", "one", "value", "rows", "run", "prepare", "pipeline", "transaction", "insert" } do
  M[method] = function(...)
    local connection = M.shared()
    return connection[method](connection, ...)
  end
end

return M
