---@meta accrete.http
-- luacheck: ignore 211 212 221 241

---@class accrete.http.Request
---@field method string
---@field path string decoded, without the query
---@field parts table<string, string> what stands in the pattern's {parts}
---@field query table<string, string> parameters, decoded; of one that is given twice the first value
---@field headers table<string, string?> by name, in any case; it cannot be listed
---@field body string as sent
---@field who string an access token's name, or an address
---@field peer string address of the client
---@field id string of the request: in its answer's header x-request-id, in errors and in the log
---@field trace string W3C traceparent, or ""
local Request = {}

--- The body as JSON (accrete.json); what is none is answered by 400.
---@return any
function Request:json() end

--- All values of a parameter of the query, in order.
---@param name string
---@return string[]
function Request:all(name) end

---@class accrete.http.Answer made by http.text, http.json and http.stream

--- The second argument of an app's handlers: a field for each kind, and queries. Reads run under the reader role, each
--- in its own snapshot, at most http.read_timeout long; a request that waits lets others go on. No look-up has to be
--- declared, but only those that a lifecycle declares in `friends` have an index: others scan.
---@class accrete.http.Database
---@field [string] accrete.http.Kind
---@field null lightuserdata in where: IS NULL
local Database = {}

--- Any of these values.
---@param list any[]
function Database.any(list) end

--- Arrays that hold this value, or one of these.
---@param value any
function Database.has(value) end

--- A query that reads, with $1, $2 ...
---@param sql string
---@param ... accrete.Value
---@return accrete.SqlRow[]
function Database:query(sql, ...) end

--- At most one row.
---@param sql string
---@param ... accrete.Value
---@return accrete.SqlRow?
function Database:one(sql, ...) end

--- The only column of at most one row.
---@param sql string
---@param ... accrete.Value
---@return any
function Database:value(sql, ...) end

--- What a look-up found: a list of rows, also by the methods that lifecycles know. In JSON ids and bytes are hex.
---@class accrete.http.Rows: accrete.Row[]
---@field each fun(self): fun(): integer, accrete.Row
---@field count fun(self): integer
---@field get fun(self, i: integer): accrete.Row

---@class accrete.http.Ingested
---@field ingest integer number of the record, as in GET /ingests
---@field lines integer
---@field new integer
---@field repeats integer
---@field refused integer
---@field errors { line: integer, field?: string, message: string }[] the first 20

---@class accrete.http.Kind
local Kind = {}

--- Facts whose fields have these values (a value, db.any{...}, db.has(x) or db.null), in the order of ids; at most
--- 100,000 without a limit. after: the page behind the fact of that id.
---@param fields? table<string, any>
---@param options? { limit?: integer, after?: string }
---@return accrete.http.Rows
function Kind:where(fields, options) end

--- One fact: by its id (16 bytes or 32 hex digits), or by all its unique fields.
---@param id string|table<string, any>
---@return accrete.Row?
function Kind:get(id) end

--- How many: of the whole kind exact and at once, from the tallies; by fields counted.
---@param fields? table<string, any>
---@return integer
function Kind:count(fields) end

--- Writes one fact, on the way of POST /facts: returns when it is on disk. A bad fact, or one that contradicts, ends
--- the handler with 422 or 409 unless it is caught.
---@param fact table<string, any>
---@return "new"|"repeat"
function Kind:insert(fact) end

--- Writes many: a list of facts, or a text in one of the formats of POST /facts (ndjson unless given).
---@param facts table<string, any>[]|string
---@param format? "json"|"ndjson"|"csv"|"text"
---@return accrete.http.Ingested
function Kind:ingest(facts, format) end

--- Returns a text (text/plain), a table (JSON), an Answer, nothing (204), or status, body and headers; a body may be a
--- function, as http.stream takes it. What it raises is logged with its traceback and answered by 500.
---@alias accrete.http.Handler fun(req: accrete.http.Request, db: accrete.http.Database): any, any, table?

---@class accrete.http.RouteOptions
---@field role? "read"|"ingest"|"admin" the least a client's token must have; of GET read, of others ingest

local M = {}

--- Answers GET and HEAD. A {part} of the path is one segment, and may end in fixed text: "/pages/{name}.txt".
---@param pattern string
---@param handler accrete.http.Handler
---@param options? accrete.http.RouteOptions
function M.get(pattern, handler, options) end

---@param pattern string
---@param handler accrete.http.Handler
---@param options? accrete.http.RouteOptions
function M.post(pattern, handler, options) end

---@param pattern string
---@param handler accrete.http.Handler
---@param options? accrete.http.RouteOptions
function M.put(pattern, handler, options) end

---@param pattern string
---@param handler accrete.http.Handler
---@param options? accrete.http.RouteOptions
function M.delete(pattern, handler, options) end

---@param text string
---@param status? integer 200
---@param headers? table<string, string>
---@return accrete.http.Answer
function M.text(text, status, headers) end

--- Any value, also a text, a number or an empty list.
---@param value any
---@param status? integer 200
---@param headers? table<string, string>
---@return accrete.http.Answer
function M.json(value, status, headers) end

--- An answer that is written while it is sent: produce is called when the handler has returned, and each write(text)
--- adds to the body. It waits while the client is behind, so that little is held however long the body is, and raises
--- when the client has left. The limit of time is for what happens between two pieces. Until the first write an error
--- is answered as any other; after it the body is cut off, which the client sees.
---@param produce fun(write: fun(text: string))
---@param status? integer 200
---@param headers? table<string, string> content-type: text/plain unless given
---@return accrete.http.Answer
function M.stream(produce, status, headers) end

--- Ends the handler: { "error": { code, message, request } }. With more arguments message is a format.
---@param status integer 400..599
---@param code string for programs: "not_found"
---@param message string for people
---@param ... any
function M.error(status, code, message, ...) end

--- Lets other requests go on for so long; 0: once around, for those that compute much.
---@param seconds number
function M.sleep(seconds) end

---@class accrete.http.Serve
---@field listen? string "ADDRESS:PORT" or "unix:PATH"; "127.0.0.1:8080"
---@field open? boolean an address that others reach, without tokens
---@field ready? fun(address: string) called once it can be reached
---@field timeout? number seconds for a handler with all it waits for; 10
---@field body? integer bytes of the longest body; 8 MiB
---@field connections? integer at once; 1000

--- A plain script's own server: until SIGTERM, SIGINT or http.stop(). accrete.db may be used in handlers, and blocks.
---@param options? accrete.http.Serve
function M.serve(options) end

--- Ends http.serve when the requests in hand are answered.
function M.stop() end

return M
