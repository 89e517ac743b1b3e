---@meta accrete.error
-- luacheck: ignore 211 212 221 241

---@alias accrete.Code
---| "input" # a value, file or argument is wrong
---| "conflict" # run the transaction again, or a unique constraint is broken (23505)
---| "stale" # what was held is out of date: drop it, read again
---| "lost" # the connection is gone
---| "database" # the database refused a statement
---| "limit" # a stated limit was reached
---| "lua"
---| "system"

--- What modules of accrete raise. tostring() gives "file:line: message".
---@class accrete.Error
---@field code accrete.Code
---@field message string
---@field where string "file:line" of the caller, or ""
---@field sqlstate? string when the database spoke
local Error

local M = {}

---@param value any
---@return boolean
function M.is(value) end

---@param code accrete.Code
---@param message string
---@param ... any for string.format
function M.raise(code, message, ...) end

return M
