---@meta
-- luacheck: ignore 211 212 221 241

--- What a lifecycle sees. `accrete types` adds a class for each kind of the app: its fields, and `_id`.

--- A fact. Fields by name; nullable ones may be nil; int8 is int64 cdata beyond 2^53; arrays are lists.
---@class accrete.Row
---@field _id string 16 bytes

--- What a look-up found, in id order. Filled when load_friends has returned, or when it is used before.
---@class accrete.Rows<T>
local Rows = {}

--- for i, row in rows:each() do. i only counts up.
---@return fun(): integer, accrete.Row
function Rows:each() end

---@return integer
function Rows:count() end

--- Row number i of 1 .. count().
---@param i integer
---@return accrete.Row
function Rows:get(i) end

--- All values of a field: int8 and float8 that are never NULL as a C array from 0, others as a list; and how many.
---@param field string
---@return ffi.cdata*|any[] values
---@return integer count
function Rows:column(field) end

---@return string
function Rows:kind() end

--- Only of a look-up without fields (`friends = { KIND = { {} } }`): counts up when row numbers have changed.
---@return integer
function Rows:version() end

--- Look-ups of one kind.
---@class accrete.Kind
local Kind = {}

--- Facts whose fields have these values. A shape of fields must be declared in `friends`.
---@param fields table<string, any> a value, db.any{...} or db.has(x)
---@return accrete.Rows
function Kind:where(fields) end

---@param fields table<string, any> the unique fields
---@return accrete.Rows none or one
function Kind:get(fields) end

--- The first argument of load and load_friends: a field for each kind in `friends`.
---@class accrete.Batch
---@field [string] accrete.Kind
local Batch = {}

--- Any of these values.
---@param list any[]
function Batch.any(list) end

--- Arrays that hold this value, or one of these.
---@param value any
function Batch.has(value) end

--- A read-only query in the batch's snapshot.
---@param sql string
---@param ... any
---@return table<string, any>[]
function Batch:query(sql, ...) end

--- Called with the friends a find rests on (a row, a list, what a look-up found, or nil), then its fields in order, or
--- a table of them by name.
---@alias accrete.Finder fun(friends: accrete.Row|accrete.Row[]|accrete.Rows|nil, ...: any)

--- The last argument of process_data: a finder for each kind in `finds`.
---@class accrete.Found
---@field [string] accrete.Finder
local Found = {}

--- lifecycles/NAME.lua
---@class accrete.Lifecycle
---@field on string the kind whose new facts are its events
---@field friends? table<string, string[][]> look-up shapes: kind to lists of fields
---@field finds? string[] kinds
---@field monotone? boolean more friends never mean fewer finds
---@field load? fun(db: accrete.Batch, data: accrete.Row): accrete.Row
---@field abort_early? fun(data: accrete.Row): boolean?, string?
---@field load_friends? fun(db: accrete.Batch, data: accrete.Row): ...
---@field abort_late? fun(data: accrete.Row, ...: any): boolean?, string?
---@field process_data fun(data: accrete.Row, ...: any) last argument: accrete.Found
---@field throttle? number events a second over the whole cluster
---@field priority? number|fun(data: accrete.Row): number higher first; ingested facts ask no function, they have 0
---@field examples? table<string, any>
---@field doc? string

---@alias accrete.Scalar "bool"|"int8"|"float8"|"text"|"bytes"|"json"|"uuid"
---@alias accrete.Array "bool[]"|"int8[]"|"float8[]"|"text[]"|"bytes[]"|"json[]"|"uuid[]"
---@alias accrete.Type accrete.Scalar|accrete.Array

--- kinds/NAME.lua
---@class accrete.KindModule
---@field fields { [1]: string, [2]: accrete.Type }[]
---@field nullable? { [1]: string, [2]: accrete.Type }[]
---@field unique? string[] all fields that are not nullable, by default
---@field shard? string[] among the unique fields; all of them by default
---@field doc? string
