---@meta accrete.db
-- luacheck: ignore 211 212 221 241

---@alias accrete.Value nil|boolean|number|string|ffi.cdata*|accrete.Value[] -- a parameter; int64 cdata beyond 2^53
---@alias accrete.SqlRow table<string, any> -- keyed by column name; NULL is nil, inside lists db.null

---@class accrete.Connection
local Connection = {}

---@param sql string with $1, $2 ...
---@param ... accrete.Value
---@return accrete.SqlRow[] rows
---@return number count rows read or written
function Connection:query(sql, ...) end

--- At most one row.
---@param sql string
---@param ... accrete.Value
---@return accrete.SqlRow?
function Connection:one(sql, ...) end

--- The first column of at most one row.
---@param sql string
---@param ... accrete.Value
---@return any
function Connection:value(sql, ...) end

--- One row in memory at a time. Using the connection otherwise ends the loop.
---@param sql string
---@param ... accrete.Value
---@return fun(): accrete.SqlRow?
function Connection:rows(sql, ...) end

--- Several statements, separated by semicolons; no parameters, no results.
---@param sql string
function Connection:run(sql) end

---@param sql string
---@return accrete.Statement
function Connection:prepare(sql) end

--- One round trip; outside a transaction all or nothing.
---@param fn fun(pipeline: accrete.Pipeline)
---@return any[] results in the order of the requests
function Connection:pipeline(fn) end

---@class accrete.TransactionOptions
---@field attempts? integer 10
---@field isolation? "serializable"|"repeatable read"|"read committed" serializable
---@field read_only? boolean

--- fn runs again from its start on 40001 and 40P01.
---@generic T
---@param fn fun(conn: accrete.Connection, attempt: integer): T, ...
---@param options? accrete.TransactionOptions
---@return T
---@return any ...
function Connection:transaction(fn, options) end

--- Many rows by one statement.
---@param name string table or schema.table
---@param columns string[]
---@param rows table[] each a list in the order of columns, or keyed by their names
---@param options? { skip_duplicates?: boolean }
---@return number count rows that are new
function Connection:insert(name, columns, rows, options) end

---@return "idle"|"transaction"|"failed"|"closed"
function Connection:state() end

---@return number
function Connection:round_trips() end

function Connection:close() end

---@class accrete.Statement
local Statement = {}

---@param ... accrete.Value
---@return accrete.SqlRow[] rows
---@return number count
function Statement:query(...) end

---@param ... accrete.Value
---@return accrete.SqlRow?
function Statement:one(...) end

---@param ... accrete.Value
---@return any
function Statement:value(...) end

---@param ... accrete.Value
---@return fun(): accrete.SqlRow?
function Statement:rows(...) end

--- Each request returns its place among the results.
---@class accrete.Pipeline
local Pipeline = {}

---@param sql string
---@param ... accrete.Value
---@return integer
function Pipeline:query(sql, ...) end

---@param sql string
---@param ... accrete.Value
---@return integer
function Pipeline:one(sql, ...) end

---@param sql string
---@param ... accrete.Value
---@return integer
function Pipeline:value(sql, ...) end

--- Functions of the same names as a connection's methods use the shared connection.
local M = {}

--- NULL inside lists and rows.
---@type lightuserdata
M.null = nil

--- Without conninfo: the database of the app that the script runs in.
---@param conninfo? string libpq URL or keywords
---@param options? { schema?: string }
---@return accrete.Connection
function M.connect(conninfo, options) end

---@return accrete.Connection
function M.shared() end

--- An identifier in double quotes.
---@param name string
---@return string
function M.quote(name) end

---@param sql string
---@param ... accrete.Value
---@return accrete.SqlRow[] rows
---@return number count
function M.query(sql, ...) end

---@param sql string
---@param ... accrete.Value
---@return accrete.SqlRow?
function M.one(sql, ...) end

---@param sql string
---@param ... accrete.Value
---@return any
function M.value(sql, ...) end

---@param sql string
---@param ... accrete.Value
---@return fun(): accrete.SqlRow?
function M.rows(sql, ...) end

---@param sql string
function M.run(sql) end

---@param sql string
---@return accrete.Statement
function M.prepare(sql) end

---@param fn fun(pipeline: accrete.Pipeline)
---@return any[]
function M.pipeline(fn) end

---@generic T
---@param fn fun(conn: accrete.Connection, attempt: integer): T, ...
---@param options? accrete.TransactionOptions
---@return T
---@return any ...
function M.transaction(fn, options) end

---@param name string
---@param columns string[]
---@param rows table[]
---@param options? { skip_duplicates?: boolean }
---@return number count
function M.insert(name, columns, rows, options) end

return M
