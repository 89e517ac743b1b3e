---@meta accrete.queue
-- luacheck: ignore 211 212 221 241

---@class accrete.Job
---@field id integer|ffi.cdata*
---@field payload string
---@field priority integer
---@field attempts integer with this one
---@field error? string of the last attempt
---@field queue accrete.Queue
local Job = {}

--- The job is done and gone. Raises "stale" when another has taken it over.
function Job:done() end

--- Keeps it for so many seconds from now. Raises "stale".
---@param lease number
function Job:extend(lease) end

--- Tries it again later, or buries it after the last attempt. Raises "stale".
---@param problem any
---@param options? { retry_in?: number } seconds; 1, 2, 4 ... 3600 by default
---@return boolean is_dead
function Job:fail(problem, options) end

---@class accrete.PushOptions
---@field priority? integer 0; higher first
---@field delay? number seconds

---@class accrete.NewJob : accrete.PushOptions
---@field payload string

---@class accrete.DeadJob
---@field id integer|ffi.cdata*
---@field payload string
---@field priority integer
---@field attempts integer
---@field error string
---@field died string

---@class accrete.Queue
local Queue = {}

---@param payload string
---@param options? accrete.PushOptions
---@return integer|ffi.cdata* id
function Queue:push(payload, options) end

--- All or nothing.
---@param list (string|accrete.NewJob)[]
---@return (integer|ffi.cdata*)[] ids
function Queue:push_all(list) end

---@param n? integer 1
---@param options? { lease?: number, wait?: number } seconds: 60, 0
---@return accrete.Job[]
function Queue:take(n, options) end

--- All or nothing. Raises "stale" when another has taken over one of them.
---@param jobs accrete.Job|accrete.Job[]
function Queue:done(jobs) end

---@return { ready: integer, delayed: integer, taken: integer, dead: integer }
function Queue:count() end

---@param n? integer 100
---@param after? integer|ffi.cdata* id
---@return accrete.DeadJob[]
function Queue:dead(n, after) end

---@param id integer|ffi.cdata*
---@return boolean was_dead
function Queue:retry(id) end

---@param id integer|ffi.cdata*
---@param reason string
---@return boolean was_dead
function Queue:discard(id, reason) end

local M = {}

---@param conn accrete.Connection
---@param name string
---@param options? { attempts?: integer } 5
---@return accrete.Queue
function M.open(conn, name, options) end

return M
